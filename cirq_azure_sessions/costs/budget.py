"""The spending cap of a sampler and the quotas of its workspace."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.costs.estimate import how_to_know
from cirq_azure_sessions.costs.pricing import Pricing
from cirq_azure_sessions.errors import CostLimitReached, QuotaExceeded, ServiceError
from cirq_azure_sessions.executor import DaemonExecutor
from cirq_azure_sessions.model import Cost, Quota
from cirq_azure_sessions.options import check_option
from cirq_azure_sessions.workspaces.base import WorkspacePort

__all__ = ["Budget", "QuotaGuard"]

logger = logging.getLogger(__name__)

_counting = DaemonExecutor(name="cirq-azure-sessions-usage")

# Tolerance for rounding errors in sums of floats.
_TOLERANCE = 1e-9
# Seconds for which quotas count as fresh.
_QUOTA_LIFETIME = 30.0


class Budget:
    """The spending cap of a sampler's jobs.

    A job counts with its estimate from just before its submission until its bill arrives. If the
    next job would exceed the cap, it waits for outstanding bills, which may be lower than their
    estimates; once none is outstanding, the cap is reached. So with any number of jobs in flight,
    the cap is never exceeded unless a bill exceeds its estimate, and the point at which a sweep
    stops does not depend on the speed of its jobs. A point that takes several jobs starts only when
    there is budget for all of them.

    Lives on the background loop, and needs no lock.

    Args:
        max_cost: The cap, in the unit of the target's rates.
        unit: That unit.
    """

    def __init__(self, max_cost: float, unit: str) -> None:
        self._max_cost = max_cost
        self._unit = unit
        # State: the cost of jobs whose bills have arrived or never will, in total and of each; the
        # estimates of all other jobs; for each point, the estimate of its remaining jobs; the
        # points that have begun, for which this budget is reserved; the jobs waiting for budget, in
        # order; and an event that is set when any of these changes.
        self._spent = 0.0
        self._paid: dict[str, float] = {}
        self._open: dict[str, float] = {}
        self._to_come: dict[tuple[str, int], float] = {}
        self._begun: set[tuple[str, int]] = set()
        self._line: dict[str, None] = {}
        self._change = asyncio.Event()

    @classmethod
    def of(cls, max_cost: Any, pricing: Pricing) -> Budget | None:
        """The budget for a sampler's `max_cost`; None without a cap.

        Raises:
            ValueError: If `max_cost` is not an amount, or the target's rates are unknown.
        """
        if max_cost is None:
            return None
        check_option("max_cost", max_cost)
        rates = pricing.rates
        if rates is None or not rates.is_complete:
            reason = how_to_know(pricing.target, rates)
            raise ValueError(f"max_cost needs known costs: {reason}")
        return cls(float(max_cost), rates.unit)

    @property
    def committed(self) -> float:
        """The amount spent, plus the estimates of jobs that have no bill yet."""
        held = sum(self._to_come[point] for point in self._begun)
        return self._spent + sum(self._open.values()) + held

    def holds(self, point: tuple[str, int]) -> bool:
        """Whether budget is reserved for further jobs of a point that has begun."""
        return point in self._begun

    async def reserve(
        self,
        job_id: str,
        estimate: float,
        point: tuple[str, int],
        point_cost: float,
        *,
        is_paid: bool = False,
    ) -> None:
        """Reserves budget for a job that is about to be submitted, in the order of the calls.

        Args:
            job_id: The job.
            estimate: Its estimated cost.
            point: Its sweep and point.
            point_cost: The estimated cost of all jobs of the point.
            is_paid: Whether an earlier run submitted it, so that it counts in any case.

        Raises:
            CostLimitReached: If the job would exceed the cap, and no bill is outstanding.
        """
        self._to_come.setdefault(point, point_cost)
        self._line[job_id] = None
        try:
            while not (is_paid or point in self._begun):
                # Only the first in the queue begins a point; jobs of points that have begun skip
                # the queue.
                if next(iter(self._line)) == job_id:
                    if self.committed + self._to_come[point] <= self._max_cost * (1 + _TOLERANCE):
                        self._begun.add(point)
                        break
                    if not (self._open or self._begun):
                        raise CostLimitReached(
                            f"{self.committed:,.2f} of max_cost={self._max_cost:g} {self._unit} "
                            f"are spent, and the next point costs about {point_cost:,.2f}: raise "
                            "max_cost or use fewer repetitions; a journal keeps the results so far."
                        )
                self._change.clear()
                await self._change.wait()
        finally:
            del self._line[job_id]
            self._change.set()
        # A job of an earlier call, which did not wait for it, counts once.
        self._spent -= self._paid.pop(job_id, 0.0)
        self._open[job_id] = estimate
        self.pass_over(estimate, point, point_cost)

    def pass_over(self, estimate: float, point: tuple[str, int], point_cost: float) -> None:
        """Drops the point's reservation for a job that has its own now, or is not submitted.

        Args:
            estimate: The estimated cost of the job.
            point: Its sweep and point.
            point_cost: The estimated cost of all jobs of the point.
        """
        to_come = self._to_come.pop(point, point_cost) - estimate
        if to_come > _TOLERANCE * point_cost:
            self._to_come[point] = to_come
        else:
            self._begun.discard(point)
        self._change.set()

    def release(self, sweeps: Collection[str]) -> None:
        """Releases the reservations of sweeps that have ended."""
        for point in [point for point in self._to_come if point[0] in sweeps]:
            del self._to_come[point]
            self._begun.discard(point)
        self._change.set()

    def settle(self, job_id: str, bill: Cost | None, *, may_cost: bool) -> None:
        """Replaces a job's estimate by its bill; without a bill, the estimate remains.

        Args:
            job_id: The job; nothing happens if it has no reservation.
            bill: The cost that the service reports.
            may_cost: Whether the service has, or may have, the job.
        """
        estimate = self._open.pop(job_id, None)
        if estimate is None:
            return
        billed = None if bill is None else amount_of(bill, self._unit)
        if may_cost:
            self._paid[job_id] = estimate if billed is None else billed
            self._spent += self._paid[job_id]
        self._change.set()

    def after_fork(self) -> None:
        """In a forked child: the parent's jobs in flight count as spent."""
        self._spent, self._open, self._to_come = self.committed, {}, {}
        self._begun = set()
        self._line, self._change = {}, asyncio.Event()


def amount_of(bill: Cost, unit: str) -> float | None:
    """A job's cost in this unit, as the service reports it; None if it does not.

    A total of zero for a job that consumed something is not a price: the service reports it if a
    plan includes the usage.
    """
    consumed = bill.consumed
    if unit.lower() in consumed:
        return consumed[unit.lower()]
    if bill.currency != unit or (any(consumed.values()) and not bill.total):
        return None
    return bill.total


class QuotaGuard:
    """Refuses calls that exceed the workspace's quotas, with as few requests as possible.

    Quotas are read once for all simultaneous calls, and again only if a call exceeds the known ones
    and these may be stale. If they cannot be read, the call continues, because the service checks
    them as well.

    Only quotas on the dimensions of bills are checked. The documentation of IonQ's `qgs` is
    contradictory, and a call must not be refused by mistake.

    Lives on the background loop, and needs no lock.

    Args:
        target: The target of the calls.
        clock: The clock for the age of known quotas.
    """

    def __init__(self, target: str, clock: Clock) -> None:
        self._target = target
        self._clock = clock
        # State: the quotas of the target's provider, None while unknown; when they were last
        # requested; the consumption of calls in flight, and of those that have ended since; and a
        # lock for requests.
        self._quotas: Sequence[Quota] | None = None
        self._read_at = -math.inf
        self._under_way: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()
        self._turn = asyncio.Lock()

    @property
    def is_idle(self) -> bool:
        """Whether the workspace is known to have no quota for this target."""
        return self._quotas is not None and not self._quotas

    @asynccontextmanager
    async def room_for(
        self, workspace: WorkspacePort, usages: Sequence[Callable[[], Mapping[str, float]]]
    ) -> AsyncIterator[None]:
        """Reserves quota for a call until the block ends.

        Args:
            workspace: The workspace with the quotas.
            usages: Functions that return the consumption of each part of the call.

        Raises:
            QuotaExceeded: If the call exceeds a quota.
        """
        if self.is_idle:
            yield
            return
        usage: Counter[str] = Counter()
        for count in usages:
            # Counting makes every job once; yield to other calls in between.
            usage.update(await asyncio.wrap_future(_counting.submit(count)))
        async with self._turn:
            if self._is_worth_reading(usage):
                # By now the service counts these itself, except those that end during the request.
                ended = self._ended.copy()
                self._quotas = await self._read(workspace, usage)
                self._read_at = self._clock.monotonic()
                if self._quotas is not None:
                    self._ended -= ended
            if lacking := self._lacking(usage):
                room = max(self._room(lacking), 0.0)
                raise QuotaExceeded(
                    f"The call consumes about {usage[lacking.dimension]:g} {lacking.dimension} on "
                    f"{self._target}, and the {lacking.scope.lower()}'s quota has "
                    f"{room:g} of {lacking.limit:g} left: use fewer points or "
                    "repetitions, or ask for a larger quota in the portal."
                )
            self._under_way.update(usage)

        try:
            yield
        finally:
            self._under_way.subtract(usage)
            self._ended.update(usage)

    def _is_worth_reading(self, usage: Mapping[str, float]) -> bool:
        """Whether the quotas are unknown, or may be stale and would refuse the call."""
        is_old = self._clock.monotonic() - self._read_at > _QUOTA_LIFETIME
        if self._quotas is None:
            return is_old
        return (is_old or bool(self._ended)) and self._lacking(usage) is not None

    def _lacking(self, usage: Mapping[str, float]) -> Quota | None:
        """The quota that the call exceeds by most, if any."""

        def missing(quota: Quota) -> float:
            return usage[quota.dimension] - self._room(quota)

        worst = max(self._quotas or (), key=missing, default=None)
        return worst if worst is not None and missing(worst) > 1e-6 else None

    def _room(self, quota: Quota) -> float:
        left = quota.limit - quota.utilization - quota.holds
        return left - self._under_way[quota.dimension] - self._ended[quota.dimension]

    async def _read(
        self, workspace: WorkspacePort, usage: Mapping[str, float]
    ) -> Sequence[Quota] | None:
        provider = self._target.partition(".")[0]
        try:
            quotas = await workspace.list_quotas()
        except ServiceError as error:
            logger.info("Quotas cannot be read, so calls are not checked against them: %s", error)
            # A missing permission is permanent; other faults are transient.
            return None if error.may_pass else []
        return [q for q in quotas if q.provider.lower() == provider and q.dimension in usage]
