"""The quotas of the emulated workspace and their usage.

By default the workspace lists the two recorded quotas, of providers whose jobs the emulator does
not run. A limit applies to a dimension of `costEstimate`, and each job uses the amount of its
estimate. How the service refuses a job over its quota is not recorded.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from cirq_azure_sessions.emulator.responses import ApiError
from cirq_azure_sessions.model import Cost, Quota

__all__ = ["Quotas"]

_RECORDED = (
    Quota("concurrent_dft_jobs", "Subscription", "microsoft-elements", 0.0, 0.0, 5.0),
    Quota("concurrent_resource_estimator_jobs", "Workspace", "microsoft-qc", 0.0, 0.0, 10.0),
)

# The provider whose jobs consume each dimension.
_PROVIDERS = {
    "gs1q": "ionq",
    "gs2q": "ionq",
    "hqc": "quantinuum",
    "ehqc": "quantinuum",
    "qpu_time_centiseconds": "rigetti",
}


class Quotas:
    """Monthly limits on the consumption of jobs, and the amounts used.

    Args:
        limits: By dimension, such as `{"ehqc": 100.0}`.

    Raises:
        ValueError: If no job is billed in one of the dimensions.
    """

    def __init__(self, limits: Mapping[str, float] | None = None) -> None:
        self._limits = dict(limits or {})
        unknown = self._limits.keys() - _PROVIDERS.keys()
        if unknown:
            known = ", ".join(_PROVIDERS)
            raise ValueError(f"Limit {known}; no job consumes {', '.join(sorted(unknown))}.")
        # State: how much of each dimension is used up.
        self._used: Counter[str] = Counter()
        # Guards it, since jobs end on worker threads.
        self._lock = threading.Lock()

    def charge(self, cost: Cost | None) -> None:
        """Adds a job's consumption."""
        with self._lock:
            for event in cost.events if cost is not None else ():
                self._used[event["dimensionId"]] += event["amountConsumed"]

    def check(self, provider: str) -> None:
        """Checks that a provider's jobs may run.

        Raises:
            ApiError: If a quota is used up.
        """
        for quota in self._listed():
            if quota.provider == provider and quota.utilization >= quota.limit:
                message = f"The quota of {quota.dimension} is used up until the next month."
                raise ApiError(403, "QuotaExceeded", message)

    def documents(self) -> list[dict[str, Any]]:
        """The entries of `quotas`."""
        return [
            {
                "dimension": quota.dimension,
                "scope": quota.scope,
                "providerId": quota.provider,
                "utilization": quota.utilization,
                "holds": quota.holds,
                "limit": quota.limit,
                # The service gives a concurrency quota the period "None".
                "period": str(quota.period),
            }
            for quota in (*_RECORDED, *self._listed())
        ]

    def _listed(self) -> list[Quota]:
        with self._lock:
            used = dict(self._used)
        return [
            Quota(
                dimension=dimension,
                scope="Workspace",
                provider=_PROVIDERS[dimension],
                utilization=float(used.get(dimension, 0.0)),
                holds=0.0,
                limit=float(limit),
                period="Monthly",
            )
            for dimension, limit in self._limits.items()
        ]
