"""Admission of jobs: slots in flight, requests at a time, the cost cap and the quotas."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager

from cirq_azure_sessions.clock import Clock, backoff
from cirq_azure_sessions.errors import CostLimitReached, QuotaExceeded, ServiceError
from cirq_azure_sessions.model import Cost, Quota
from cirq_azure_sessions.workspaces.base import WorkspacePort

__all__ = ["Budget", "QuotaGuard", "Slot", "Throttle"]

logger = logging.getLogger(__name__)

# Sums of floats may miss a limit by their last digits.
_TOLERANCE = 1e-9
# Seconds for which a reading of the quotas counts as fresh.
_QUOTA_LIFETIME = 30.0


class Gate:
    """Lets a limited number in at a time, in order; the urgent before the others.

    Lives on the background loop, and needs no lock.

    Args:
        limit: How many may be inside at once; at least one.
    """

    def __init__(self, limit: int) -> None:
        # State: the limit, how many are inside, and who waits.
        self._limit = limit
        self._inside = 0
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        """How many may be inside at once."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        self._admit()

    @property
    def inside(self) -> int:
        """How many are inside."""
        return self._inside

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._urgent) + len(self._others)

    async def enter(self, *, is_urgent: bool = False) -> None:
        """Returns once there is room; `leave` makes room again."""
        future = asyncio.get_running_loop().create_future()
        queue = self._urgent if is_urgent else self._others
        queue.append(future)
        self._admit()
        try:
            await future
        except asyncio.CancelledError:
            # Either it still waits, or it was let in meanwhile and leaves again.
            if future in queue:
                queue.remove(future)
            elif not future.cancelled():
                self._inside -= 1
            self._admit()
            raise

    def leave(self) -> None:
        """Makes room for the next."""
        self._inside -= 1
        self._admit()

    @asynccontextmanager
    async def in_turn(self) -> AsyncIterator[None]:
        """Inside, after everybody who came before and everybody urgent."""
        await self.enter()
        try:
            yield
        finally:
            self.leave()

    async def __aenter__(self) -> None:
        await self.enter(is_urgent=True)

    async def __aexit__(self, *exc_info: object) -> None:
        self.leave()

    def _admit(self) -> None:
        """Lets in as many as there is room for. Called after every change of the numbers."""
        while self._inside < self._limit and (queue := self._urgent or self._others):
            future = queue.popleft()
            if not future.done():
                self._inside += 1
                future.set_result(None)

    def __repr__(self) -> str:
        return f"Gate({self._inside} of {self._limit} inside, {self.waiting} waiting)"


class Throttle:
    """How many jobs of a sampler are in flight, and how many requests are under way.

    The number of slots begins at its maximum. A 429 answer sets it to the number of other jobs in
    flight; from then on every full round of accepted jobs adds one slot, to find out whether there
    is more room.

    Lives on the background loop, and needs no lock.

    Args:
        max_concurrent_jobs: The maximum number of slots; at least one.
        clock: Where pauses pass.

    Attributes:
        requests: Inputs are stored ahead of the jobs in flight and outputs fetched behind them, but
            by no more requests at a time than there may be jobs.
    """

    def __init__(self, max_concurrent_jobs: int, clock: Clock) -> None:
        self._maximum = max_concurrent_jobs
        self._clock = clock
        self.requests = Gate(max_concurrent_jobs)
        # State: the slots, how many jobs were accepted since their number last changed, and until
        # when nobody submits.
        self._slots = Gate(max_concurrent_jobs)
        self._accepted = 0
        self._resume_at = -math.inf

    @property
    def limit(self) -> int:
        """The number of slots there are now."""
        return self._slots.limit

    @property
    def running(self) -> int:
        """The number of slots in use."""
        return self._slots.inside

    @property
    def waiting(self) -> int:
        """The number of jobs that wait for a slot."""
        return self._slots.waiting

    @property
    def requesting(self) -> int:
        """The number of requests under way."""
        return self.requests.inside

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Slot]:
        """A slot for one job, from before its submission until it has finished."""
        slot = Slot(self)
        try:
            await slot.acquire()
            yield slot
        finally:
            slot.release()

    def __repr__(self) -> str:
        return f"Throttle({self.running} of {self.limit} running, {self.waiting} waiting)"


class Slot:
    """One job's slot among those in flight; made by `Throttle.slot`."""

    def __init__(self, throttle: Throttle) -> None:
        self._throttle = throttle
        # State: whether the slot is held, and how often the service has refused its job.
        self._is_held = False
        self._refusals = 0

    def accepted(self) -> None:
        """Notes that the service accepted the job: after a full round there may be more room."""
        throttle, slots = self._throttle, self._throttle._slots
        throttle._accepted += 1
        if slots.limit < throttle._maximum and throttle._accepted >= slots.limit:
            throttle._accepted = 0
            slots.limit += 1

    async def refused(self, error: ServiceError) -> None:
        """Returns when it is worth submitting the refused job again.

        It is next in line once another job finishes. Only where that cannot help, because none is
        running, or the job was refused before, or the service says how long to wait, do all pause.
        """
        throttle, slots = self._throttle, self._throttle._slots
        self._refusals += 1
        others = slots.inside - 1
        throttle._accepted = 0
        slots.limit = max(1, min(slots.limit, others))
        if error.retry_after is not None or self._refusals > 1 or not others:
            pause = error.retry_after or backoff(self._refusals)
            resume_at = throttle._clock.monotonic() + pause
            throttle._resume_at = max(throttle._resume_at, resume_at)
        # The only job keeps its slot while it pauses, so that all others wait behind it.
        if others:
            self.release()
        await self.acquire()

    async def acquire(self) -> None:
        """Waits for a slot, refused jobs before new ones, and for the end of a pause."""
        throttle = self._throttle
        if not self._is_held:
            await throttle._slots.enter(is_urgent=self._refusals > 0)
            self._is_held = True
        while (seconds := throttle._resume_at - throttle._clock.monotonic()) > 0:
            await throttle._clock.sleep(seconds)

    def release(self) -> None:
        """Gives the slot back, if it is held."""
        if self._is_held:
            self._is_held = False
            self._throttle._slots.leave()


class Budget:
    """What the jobs of a sampler may cost together.

    A job counts with its estimate from before its submission until its bill comes. Where there is
    no room for the next job, it waits for bills that may be lower than their estimates; when none
    is outstanding any more, the cap is reached. So the cap is never passed, whatever the number of
    jobs in flight, unless a bill exceeds its estimate; and where a sweep stops does not depend on
    how fast its jobs are. A point that takes several jobs is not begun without room for all.

    Lives on the background loop, and needs no lock.

    Args:
        max_cost: The cap, in the unit of the target's rates.
        unit: That unit.
    """

    def __init__(self, max_cost: float, unit: str) -> None:
        self._max_cost = max_cost
        self._unit = unit
        # State: what jobs have cost whose bills are in, or will not come; the estimates of all
        # others; the one job that is next, and whether a bill has come in since it looked.
        self._spent = 0.0
        self._open: dict[str, float] = {}
        self._turn = asyncio.Lock()
        self._change = asyncio.Event()

    @property
    def committed(self) -> float:
        """What is spent, and what the jobs without a bill are estimated to cost."""
        return self._spent + sum(self._open.values())

    def check(self, amount: float) -> None:
        """Refuses a sweep whose first point would never fit.

        Raises:
            CostLimitReached: If the point costs more than the cap alone.
        """
        if amount > self._max_cost * (1 + _TOLERANCE):
            raise CostLimitReached(
                f"One point costs about {amount:,.2f} {self._unit}, more than "
                f"max_cost={self._max_cost:g}: raise it, or take fewer repetitions."
            )

    async def reserve(
        self, job_id: str, estimate: float, rest: float, *, is_paid: bool = False
    ) -> None:
        """Makes room for a job that is about to be submitted; jobs take turns.

        Args:
            job_id: The job.
            estimate: What it is estimated to cost.
            rest: What the jobs after it cost that its point takes.
            is_paid: Whether an earlier run has submitted it, so that it counts in any case.

        Raises:
            CostLimitReached: If there is no room, and will not be.
        """
        async with self._turn:
            while not (is_paid or self._fits(estimate + rest)):
                if not self._open:
                    raise CostLimitReached(
                        f"{self.committed:,.2f} of max_cost={self._max_cost:g} {self._unit} are "
                        f"spent, and the next point costs about {estimate + rest:,.2f}: raise "
                        "max_cost to go on, with a journal to keep what is paid for."
                    )
                self._change.clear()
                await self._change.wait()
            self._open[job_id] = estimate

    def settle(self, job_id: str, bill: Cost | None, *, may_cost: bool) -> None:
        """Replaces a job's estimate by its bill; where there is no bill, the estimate stands.

        Args:
            job_id: The job; nothing happens if no room was made for it.
            bill: What the service says.
            may_cost: Whether the service has the job, or may have it.
        """
        estimate = self._open.pop(job_id, None)
        if estimate is None:
            return
        billed = None if bill is None else amount_of(bill, self._unit)
        if may_cost:
            self._spent += estimate if billed is None else billed
        self._change.set()

    def after_fork(self) -> None:
        """In the child of a fork: what the parent has in flight counts as spent."""
        self._spent, self._open = self.committed, {}
        self._turn, self._change = asyncio.Lock(), asyncio.Event()

    def _fits(self, amount: float) -> bool:
        return self.committed + amount <= self._max_cost * (1 + _TOLERANCE)


def amount_of(bill: Cost, unit: str) -> float | None:
    """What the service says that a job cost, in this unit; None if it does not say so.

    A total of nothing for a job that consumed something is no price: plans that include the use
    report it.
    """
    consumed = bill.consumed
    if unit.lower() in consumed:
        return consumed[unit.lower()]
    if bill.currency != unit or (any(consumed.values()) and not bill.total):
        return None
    return bill.total


class QuotaGuard:
    """Refuses calls that cannot fit into the workspace's quotas, with as few requests as possible.

    Quotas are read once for all calls that come together, and again only where what is known of
    them would not do and may be out of date. Where they cannot be read the call goes on: the
    service has the last word in any case.

    Only quotas on the dimensions of bills are held against a call. Of IonQ's `qgs` the
    documentation says two things that differ, and a call must not be refused by mistake.

    Lives on the background loop, and needs no lock.

    Args:
        target: The target of the calls.
        clock: Where the age of a reading is measured.
    """

    def __init__(self, target: str, clock: Clock) -> None:
        self._target = target
        self._clock = clock
        # State: the quotas of the target's provider, None before they are read, and when that was;
        # what calls consume that are under way, and what those consumed that have ended since; and
        # the one call that looks.
        self._quotas: Sequence[Quota] | None = None
        self._read_at = -math.inf
        self._under_way: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()
        self._turn = asyncio.Lock()

    @property
    def is_idle(self) -> bool:
        """Whether the workspace is known to have no quota for this target."""
        return self._quotas is not None and not self._quotas

    async def check(self, workspace: WorkspacePort, usage: Mapping[str, float]) -> None:
        """Reserves what a call is going to consume; `release` gives it back.

        Raises:
            QuotaExceeded: If a quota has no room for it.
        """
        async with self._turn:
            age = self._clock.monotonic() - self._read_at
            is_stale = age > _QUOTA_LIFETIME or bool(self._ended)
            if self._quotas is None or (is_stale and self._lacking(usage)):
                self._quotas = await self._read(workspace, usage)
                self._read_at = self._clock.monotonic()
                # The service counts these itself now.
                self._ended.clear()
            if lacking := self._lacking(usage):
                room = max(self._room(lacking), 0.0)
                raise QuotaExceeded(
                    f"The call consumes about {usage[lacking.dimension]:g} {lacking.dimension} on "
                    f"{self._target}, and the {lacking.scope.lower()}'s quota has "
                    f"{room:g} of {lacking.limit:g} left: take fewer points or "
                    "repetitions, or ask for a larger quota in the portal."
                )
            self._under_way.update(usage)

    @contextmanager
    def released_after(self, usage: Mapping[str, float]) -> Iterator[None]:
        """Gives back what `check` reserved when the call ends."""
        try:
            yield
        finally:
            self._under_way.subtract(usage)
            self._ended.update(usage)

    def _lacking(self, usage: Mapping[str, float]) -> Quota | None:
        """The quota that has least room, if that is not enough."""

        def missing(quota: Quota) -> float:
            return usage[quota.dimension] - self._room(quota)

        worst = max(self._quotas or (), key=missing, default=None)
        return worst if worst is not None and missing(worst) > 1e-6 else None

    def _room(self, quota: Quota) -> float:
        left = quota.limit - quota.utilization - quota.holds
        return left - self._under_way[quota.dimension] - self._ended[quota.dimension]

    async def _read(self, workspace: WorkspacePort, usage: Mapping[str, float]) -> list[Quota]:
        provider = self._target.partition(".")[0]
        try:
            quotas = await workspace.list_quotas()
        except ServiceError as error:
            logger.info("Quotas cannot be read, so calls are not held against them: %s", error)
            return []
        return [q for q in quotas if q.provider.lower() == provider and q.dimension in usage]
