"""A `Schedule` on a clock: thread-safe, and awaitable."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol, TypeVar, overload

from cirq_azure_sessions.clock import Clock, SystemClock, timeout
from cirq_azure_sessions.model import JobStatus
from cirq_azure_sessions.process import register
from cirq_azure_sessions.workspaces.local.schedule import Schedule
from cirq_azure_sessions.workspaces.local.state import JobRecord, Ledger

__all__ = ["REAL_TIME", "LiveSchedule"]

V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)

# Programs run in real time, regardless of the schedule's clock.
REAL_TIME = SystemClock()

# A program that takes less than this many real seconds counts as instant.
_MOMENT = 1.0


class LiveSchedule:
    """A schedule that catches up with a clock whenever it is read.

    May be used from several threads and event loops.

    Args:
        schedule: The events.
        clock: The clock.

    Attributes:
        epoch: The time of day when `clock.monotonic` was zero. Dates are computed from it, so that
            reading the schedule reads the clock only once.
    """

    def __init__(self, schedule: Schedule, clock: Clock) -> None:
        # State: the schedule with its records, including the futures of waiters.
        self._schedule = schedule
        # Guards it. Never held while cancelling a program or waking a waiter.
        self._after_fork()
        register(self)
        self._clock = clock
        self.epoch = clock.time() - clock.monotonic()
        # A manual clock does not advance while programs run.
        self._is_manual = getattr(clock, "is_manual", False)

    def _after_fork(self) -> None:
        """Renews the lock: a thread that held it does not exist in a forked child."""
        self._lock = threading.Lock()

    @contextmanager
    def deciding(self) -> Iterator[float]:
        """The critical section, in which the schedule is up to date and may be changed.

        Yields the clock's time. On leaving, programs of cancelled jobs are cancelled, and waiters
        are woken.
        """
        ended: list[JobRecord] = []
        waiters: set[asyncio.Future[None]] = set()
        try:
            with self._lock:
                now = self._clock.monotonic()
                try:
                    self._schedule.settle(now)
                    yield now
                finally:
                    ended, self._schedule.just_ended = self._schedule.just_ended, []
                    for job in ended:
                        waiters.update(*(each.waiters for each in self._schedule.ledgers(job)))
        finally:
            for job in ended:
                _let_go(job)
            for waiter in waiters:
                _wake(waiter)

    def view(self, records: Sequence[_Record[V]]) -> Sequence[V]:
        """A view of the records as values, made on access: a slice costs only its own items."""
        return _View(self, records)

    async def let_finish(self, ledger: Ledger, is_late: Callable[[], bool]) -> None:
        """Under a manual clock, gives programs that are due a moment of real time to finish.

        Under any other clock they have had that time, unless the clock was advanced.
        """
        if self._is_manual:
            await self._wait(ledger, lambda: not is_late(), REAL_TIME, _MOMENT)
        else:
            await self.notice_idleness(ledger)

    async def notice_idleness(self, ledger: Ledger) -> None:
        """Lets programs finish that are so late that their session may have timed out."""
        with self.deciding() as now:
            oldest = next(iter(ledger.unfinished.values()), None)
            is_in_doubt = oldest and oldest.created + self._schedule.session_timeout <= now
        if is_in_doubt:
            await self._wait(ledger, lambda: not ledger.is_late, REAL_TIME, _MOMENT)

    async def wait_for_news(
        self,
        ledger: Ledger,
        has_news: Callable[[], bool],
        is_late: Callable[[], bool],
        seconds: float,
    ) -> None:
        """Waits until one of the given jobs has news, or the time has passed.

        Args:
            ledger: The jobs.
            has_news: Whether there is news; called whenever one of them ends.
            is_late: Whether a program that is due is still running.
            seconds: The maximum time to wait, on the clock.
        """
        with self.deciding() as now:
            deadline = now + seconds
        # As in `let_finish`, a program that is due gets time to finish before a manual clock moves.
        moment = min(seconds, _MOMENT)
        await self._wait(ledger, lambda: has_news() or not is_late(), REAL_TIME, moment)
        while True:
            with self.deciding() as now:
                if has_news() or now >= deadline:
                    return
                # The next due event may be the end of a job.
                pause = min(deadline, self._schedule.next_due) - now
            await self._wait(ledger, has_news, self._clock, pause)

    async def _wait(
        self, ledger: Ledger, is_over: Callable[[], bool], clock: Clock, seconds: float
    ) -> None:
        """Waits until a condition holds, checked whenever a job ends, or until the timeout."""
        with self.deciding():
            if is_over():
                return
        with suppress(TimeoutError):
            await timeout(clock, seconds, self._until(ledger, is_over))

    async def _until(self, ledger: Ledger, is_over: Callable[[], bool]) -> None:
        while True:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            with self.deciding():
                if is_over():
                    return
                ledger.waiters.add(waiter)
            try:
                await waiter
            finally:
                with self._lock:
                    ledger.waiters.discard(waiter)


class _Record(Protocol[V_co]):
    """An item of a view, which can describe its state at a time."""

    def describe(self, epoch: float, now: float) -> V_co: ...


class _View(Sequence[V]):
    """A list of records as the values that describe them, which are made on access."""

    def __init__(self, schedule: LiveSchedule, records: Sequence[_Record[V]]) -> None:
        self._schedule = schedule
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> V: ...
    @overload
    def __getitem__(self, index: slice) -> list[V]: ...
    def __getitem__(self, index: int | slice) -> V | list[V]:
        epoch = self._schedule.epoch
        with self._schedule.deciding() as now:
            if isinstance(index, slice):
                return [record.describe(epoch, now) for record in self._records[index]]
            return self._records[index].describe(epoch, now)

    def __iter__(self) -> Iterator[V]:
        return iter(self[:])


def _let_go(job: JobRecord) -> None:
    """Drops the program of a finished job."""
    run, job.run = job.run, None
    if run is not None and job.final is JobStatus.CANCELLED:
        run.cancel()


def _wake(waiter: asyncio.Future[None]) -> None:
    loop = waiter.get_loop()
    # The loop of a waiter that has given up may be closed by now.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(_resolve, waiter)


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
