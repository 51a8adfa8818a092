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
from cirq_azure_sessions.model import Cost

__all__ = ["Quotas"]

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
        # Guards the sums, since jobs end on worker threads.
        self._lock = threading.Lock()

    def charge(self, cost: Cost | None) -> Cost | None:
        """Adds a job's consumption, and returns its cost."""
        with self._lock:
            for event in cost.events if cost is not None else ():
                self._used[event["dimensionId"]] += event["amountConsumed"]
        return cost

    def check(self, provider: str) -> None:
        """Checks that a provider's jobs may run.

        Raises:
            ApiError: If a quota is used up.
        """
        for dimension, limit in self._limits.items():
            if _PROVIDERS[dimension] == provider and self._used[dimension] >= limit:
                message = f"The quota of {dimension} is used up until the next month."
                raise ApiError(403, "QuotaExceeded", message)

    def documents(self) -> list[dict[str, Any]]:
        """The entries of `quotas`."""
        # The service gives a concurrency quota the period "None".
        quotas = [
            ("concurrent_dft_jobs", "Subscription", "microsoft-elements", 5.0, "None"),
            ("concurrent_resource_estimator_jobs", "Workspace", "microsoft-qc", 10.0, "None"),
            *(
                (dimension, "Workspace", _PROVIDERS[dimension], float(limit), "Monthly")
                for dimension, limit in self._limits.items()
            ),
        ]
        return [
            {
                "dimension": dimension,
                "scope": scope,
                "providerId": provider,
                "utilization": float(self._used[dimension]),
                "holds": 0.0,
                "limit": limit,
                "period": period,
            }
            for dimension, scope, provider, limit, period in quotas
        ]
