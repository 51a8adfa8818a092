"""Whether what a workspace's quotas have left does for a sweep."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

from cirq_azure_sessions.errors import QuotaExceeded, ServiceError
from cirq_azure_sessions.model import Quota
from cirq_azure_sessions.workspaces.base import WorkspacePort

__all__ = ["QuotaGuard"]

# Sums of floats may miss a limit by their last digits.
_TOLERANCE = 1e-6

logger = logging.getLogger(__name__)


class QuotaGuard:
    """Refuses sweeps that cannot fit into the quotas, with as few requests as that takes.

    Quotas are read before the first sweep, and again only where what is known of them would not
    do. Where they cannot be read the sweep goes on: the service has the last word in any case.

    Only quotas on the dimensions of bills are held against a sweep. Of IonQ's `qgs` the
    documentation says two things that differ, and a sweep must not be refused by mistake.

    Lives on the pool's event loop, and needs no lock.

    Args:
        target: The target of the sweeps.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        # State: the quotas of the target's provider, None before they are read, and what sweeps
        # were let through since.
        self._quotas: Sequence[Quota] | None = None
        self._used: Counter[str] = Counter()

    @property
    def is_idle(self) -> bool:
        """Whether the workspace has no quota to look after."""
        return self._quotas is not None and not self._quotas

    async def check(self, workspace: WorkspacePort, usage: Mapping[str, float]) -> None:
        """Passes if the quotas have room for what a sweep is going to consume.

        Args:
            workspace: Whose quotas.
            usage: What the sweep consumes, by dimension.

        Raises:
            QuotaExceeded: If one has not.
        """
        if self._quotas is None or self._lacking(usage):
            self._quotas = await self._read(workspace, usage)
            self._used.clear()
        if lacking := self._lacking(usage):
            raise QuotaExceeded(
                f"The sweep consumes about {usage[lacking.dimension]:g} {lacking.dimension} on "
                f"{self._target}, and the {lacking.scope.lower()}'s quota has "
                f"{max(_left(lacking), 0.0):g} of {lacking.limit:g} left: take fewer points or "
                "repetitions, or ask for a larger quota in the portal."
            )
        self._used.update(usage)

    def _lacking(self, usage: Mapping[str, float]) -> Quota | None:
        """The quota that has least room, if that is not enough."""

        def room(quota: Quota) -> float:
            return _left(quota) - self._used[quota.dimension] - usage[quota.dimension]

        tightest = min(self._quotas or (), key=room, default=None)
        return tightest if tightest is not None and room(tightest) < -_TOLERANCE else None

    async def _read(self, workspace: WorkspacePort, usage: Mapping[str, float]) -> list[Quota]:
        provider = self._target.partition(".")[0]
        try:
            quotas = await workspace.list_quotas()
        except ServiceError as error:
            logger.info("Quotas cannot be read, so sweeps are not held against them: %s", error)
            return []
        return [q for q in quotas if q.provider.lower() == provider and q.dimension in usage]


def _left(quota: Quota) -> float:
    return quota.limit - quota.utilization - quota.holds
