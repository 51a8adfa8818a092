"""Clocks, and everything that waits on one: timeouts and retries.

Whatever waits or measures takes a `Clock`. `SystemClock` is the real one. `ManualClock` is for
tests and rehearsals: time stands still until someone moves it, so that a ten-minute timeout takes
microseconds.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from cirq_azure_sessions.errors import AzureSessionsError

__all__ = [
    "Clock",
    "ManualClock",
    "RetryDecision",
    "StoppableClock",
    "SystemClock",
    "backoff",
    "retry",
    "retry_for",
    "timeout",
]

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Clock(Protocol):
    """What the package asks of time. All values are seconds, as floats."""

    def time(self) -> float:
        """The time of day, in seconds since the Unix epoch: for dates that others read."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start that never go back: for ages and deadlines."""

    async def sleep(self, seconds: float) -> None:
        """Returns when `seconds` have passed on this clock."""


class SystemClock:
    """The machine's own time."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def __repr__(self) -> str:
        return "SystemClock()"


class ManualClock:
    """A clock that moves only when it is told to.

    By default whoever sleeps moves it: `sleep(30)` puts the clock 30 s on and returns, so code that
    polls makes progress without anybody waiting. With `auto_advance=False` a sleeper waits until
    `advance` has carried the clock past its deadline.

    Thread-safe; one clock may be shared by a pool and the workspace or emulator it talks to, and
    then both sides age together.

    Args:
        start: The time of day to begin with, in seconds since the Unix epoch.
        auto_advance: Whether a sleeper moves the clock itself.

    Attributes:
        is_manual: That time stands still, also while a program runs: who keeps such a clock lets
            work that is due finish before saying how it stands.
    """

    is_manual = True

    def __init__(self, start: float = 1_767_225_600.0, *, auto_advance: bool = True) -> None:
        self._start = start
        self._auto_advance = auto_advance
        # State: the seconds passed, and a heap of (deadline, number, loop, future) of the sleepers.
        self._elapsed = 0.0
        self._sleepers: list[
            tuple[float, int, asyncio.AbstractEventLoop, asyncio.Future[None]]
        ] = []
        self._numbers = itertools.count()
        # Guards all of the above.
        self._lock = threading.Lock()

    def time(self) -> float:
        return self._start + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed

    def advance(self, seconds: float) -> None:
        """Moves the clock on, and wakes every sleeper whose time has come.

        Raises:
            ValueError: If `seconds` is negative.
        """
        if seconds < 0:
            raise ValueError(f"Time goes forward only: advance by 0 s or more, not {seconds}.")
        with self._lock:
            woken = self._move_to(self._elapsed + seconds)
        _wake(woken)

    async def sleep(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            deadline = self._elapsed + max(seconds, 0.0)
            heapq.heappush(self._sleepers, (deadline, next(self._numbers), loop, future))
            woken = self._move_to(deadline if self._auto_advance else self._elapsed)
        _wake(woken)
        await future
        # Others get a turn even where this sleep cost no real time.
        await asyncio.sleep(0)

    def _move_to(self, elapsed: float) -> list[tuple[asyncio.AbstractEventLoop, Any]]:
        """Sets the time and takes out the sleepers that are due. Needs the lock."""
        self._elapsed = elapsed
        woken = []
        while self._sleepers and self._sleepers[0][0] <= elapsed:
            _, _, loop, future = heapq.heappop(self._sleepers)
            woken.append((loop, future))
        return woken

    def __repr__(self) -> str:
        return f"ManualClock(elapsed={self._elapsed:g} s)"


def _wake(sleepers: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]]) -> None:
    for loop, future in sleepers:
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, future)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class StoppableClock:
    """Another clock, whose sleepers are woken with an error once they are to stop.

    Args:
        clock: The other clock.
        stopped: Gives the event that says so.
        make_error: Makes the error.
    """

    def __init__(
        self,
        clock: Clock,
        stopped: Callable[[], asyncio.Event],
        make_error: Callable[[], Exception],
    ) -> None:
        self._clock = clock
        self._stopped = stopped
        self._make_error = make_error
        self.time = clock.time
        self.monotonic = clock.monotonic

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await self._clock.sleep(seconds)
            return
        event = self._stopped()
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        stopped = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait({sleeping, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            stopped.cancel()
        if event.is_set():
            raise self._make_error()


async def timeout(clock: Clock, seconds: float | None, work: Coroutine[Any, Any, T]) -> T:
    """Awaits `work` for at most `seconds` on `clock`; None sets no limit.

    Raises:
        TimeoutError: If the time ran out; the work has then been cancelled and has cleaned up.
    """
    if seconds is None:
        return await work
    task = asyncio.ensure_future(work)
    alarm = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({task, alarm}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise TimeoutError
        return await task
    finally:
        alarm.cancel()
        task.cancel()
        await asyncio.gather(task, alarm, return_exceptions=True)


# Given an error, the number of attempts so far and the seconds since the first, returns the seconds
# to wait before the next attempt, or None to give up.
RetryDecision = Callable[[AzureSessionsError, int, float], float | None]


def backoff(attempt: int, *, first: float = 0.2, longest: float = 60.0) -> float:
    """Exponential backoff: the seconds to wait after the n-th failure in a row, from one up."""
    # Beyond 2**60 a float would overflow long before the pause stops at its longest.
    return float(min(first * 2.0 ** min(attempt - 1, 60), longest))


def retry_for(seconds: float | Callable[[], float]) -> RetryDecision:
    """Retries transient errors for so many seconds, or as many as a function says at the time."""

    def decide(error: AzureSessionsError, attempt: int, elapsed: float) -> float | None:
        limit = seconds() if callable(seconds) else seconds
        if not error.may_pass or elapsed >= limit:
            return None
        return min(error.retry_after or backoff(attempt), limit - elapsed)

    return decide


async def retry(clock: Clock, call: Callable[[], Awaitable[T]], decide: RetryDecision) -> T:
    """Calls until a call succeeds, or its error is not worth another attempt.

    Args:
        clock: Where the pauses pass.
        call: One attempt; it must be harmless to repeat.
        decide: The policy.

    Raises:
        AzureSessionsError: The error of the last attempt.
    """
    began = clock.monotonic()
    for attempt in itertools.count(1):
        try:
            return await call()
        except AzureSessionsError as error:
            pause = decide(error, attempt, clock.monotonic() - began)
            if pause is None:
                raise
            logger.debug("%s Trying again in %.2g s.", error, pause, extra={"pause": pause})
        await clock.sleep(pause)
    raise AssertionError("unreachable")
