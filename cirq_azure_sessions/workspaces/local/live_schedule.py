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

# Programs run in real time, whatever the schedule's clock.
REAL_TIME = SystemClock()

# A program that takes less than this many real seconds is as good as instant.
_MOMENT = 1.0


class LiveSchedule:
    """A schedule that catches up with a clock whenever it is read.

    May be used from several threads and event loops.

    Args:
        schedule: What happens.
        clock: When.

    Attributes:
        epoch: The time of day at which the clock's ages begin: dates follow from ages, so that a
            look at the schedule is one look at the clock.
    """

    def __init__(self, schedule: Schedule, clock: Clock) -> None:
        # State: the schedule with its records, and the futures in them of those who wait.
        self._schedule = schedule
        # Guards it. Never held while a program is cancelled or somebody is woken.
        self._after_fork()
        register(self)
        self._clock = clock
        self.epoch = clock.time() - clock.monotonic()
        # A clock that stands still does so while programs run, too.
        self._is_manual = getattr(clock, "is_manual", False)

    def _after_fork(self) -> None:
        """Renews the lock: a thread that held it is not in the child of the fork."""
        self._lock = threading.Lock()

    @contextmanager
    def deciding(self) -> Iterator[float]:
        """The critical section, in which the schedule is up to date and may be changed.

        Yields the clock's time. On leaving, whatever happened has its effects: programs of
        cancelled jobs are cancelled, and those who wait for news are woken.
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
        """The records as the values that describe them: slices cost what they hold."""
        return _View(self, records)

    async def let_finish(self, ledger: Ledger, is_late: Callable[[], bool]) -> None:
        """Under a manual clock, gives programs that are due a moment of real time to finish.

        Under any other they have had the time that passed, unless it was put forward.
        """
        if self._is_manual:
            await self._wait(ledger, lambda: not is_late(), REAL_TIME, _MOMENT)
        else:
            await self.notice_idleness(ledger)

    async def notice_idleness(self, ledger: Ledger) -> None:
        """Lets programs finish that were due so long ago that their session may have timed out."""
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
            ledger: Whose jobs the news is of.
            has_news: Whether there is news; asked whenever one of them ends.
            is_late: Whether a program is running that is due.
            seconds: How long to wait at most, on the clock.
        """
        with self.deciding() as now:
            deadline = now + seconds
        # Before a manual clock may move, a program that is due gets the same time to finish.
        moment = min(seconds, _MOMENT)
        await self._wait(ledger, lambda: has_news() or not is_late(), REAL_TIME, moment)
        while True:
            with self.deciding() as now:
                if has_news() or now >= deadline:
                    return
                # Whatever is due next may be the end of a job.
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
    """An item of a view: it describes its state at a time."""

    def describe(self, epoch: float, now: float) -> V_co: ...


class _View(Sequence[V]):
    """A list of records as the values that describe them, made on access."""

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
    # The loop of someone who has given up may be closed by now.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(_resolve, waiter)


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
