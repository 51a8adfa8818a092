"""Clocks, and everything that waits on one: timeouts and retries.

Whatever waits or measures takes a `Clock`: a `SystemClock`, or in tests and rehearsals a
`ManualClock`, under which a ten-minute timeout takes microseconds.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import random
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from cirq_azure_sessions.errors import AzureSessionsError
from cirq_azure_sessions.options import MAX_TIME, check_time, checked
from cirq_azure_sessions.pickling import Arguments, PickledAsRecipe

__all__ = [
    "RETRY_TIMEOUT",
    "Clock",
    "ManualClock",
    "RetryDecision",
    "StoppableClock",
    "SystemClock",
    "backoff",
    "jitter",
    "retry",
    "retry_for",
    "timeout",
]

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Seconds to retry through transient errors where giving up would lose what is paid for: a network
# may be away for an hour, and one result that cannot be fetched must not hold up all others.
RETRY_TIMEOUT = 7_200.0


class Clock(Protocol):
    """The package's interface to time. All values are seconds, as floats."""

    def time(self) -> float:
        """The time of day, in seconds since the Unix epoch: for dates."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start that never go back: for ages and deadlines."""

    async def sleep(self, seconds: float) -> None:
        """Returns when `seconds` have passed on this clock."""


class SystemClock:
    """The machine's time."""

    random = staticmethod(random.random)
    sleep = staticmethod(asyncio.sleep)
    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)
    _call_later = staticmethod(lambda *args: asyncio.get_running_loop().call_later(*args))

    def __repr__(self) -> str:
        return "SystemClock()"


class ManualClock(PickledAsRecipe):
    """A clock that moves only when it is advanced.

    By default a sleeper advances it: `sleep(30)` puts the clock 30 s on and returns, so that code
    that polls makes progress without waiting. With `auto_advance=False` a sleeper waits until
    `advance` has carried the clock past its deadline. A deadline after the year 9899 sets no limit.

    Thread-safe; a pool and its workspace or emulator may share one, and then age together.

    Args:
        start: The time of day to begin with, in seconds since the Unix epoch.
        auto_advance: Whether a sleeper advances the clock itself.

    Attributes:
        random: A source of numbers from 0 to 1 for jitter: always 1 until it is replaced.
        is_manual: True: time stands still also while a program runs, so that a workspace on this
            clock lets work that is due finish before it reports its state.
    """

    random: Callable[[], float] = staticmethod(lambda: 1.0)
    is_manual = True

    @checked()
    def __init__(self, start: float = 1_767_225_600.0, *, auto_advance: bool = True) -> None:
        self._start = start
        self._auto_advance = auto_advance
        # State: the seconds passed, and a heap of (deadline, number, loop, event) of the sleepers.
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._numbers = itertools.count()
        # Guards all of the above.
        self._lock = threading.Lock()

    def time(self) -> float:
        return self._start + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed

    @checked()
    def advance(self, seconds: float) -> None:
        """Advances the clock and wakes the sleepers that are due.

        Raises:
            ValueError: If `seconds` is negative, or the clock would pass the year 9899.
        """
        with self._lock:
            check_time(self.time() + seconds)
            self._move_to(self._elapsed + seconds)

    async def sleep(self, seconds: float) -> None:
        is_due = asyncio.Event()
        with self._lock:
            deadline = self._elapsed + max(seconds, 0.0)
            if self._start + deadline <= MAX_TIME:
                sleeper = deadline, next(self._numbers), asyncio.get_running_loop(), is_due
                heapq.heappush(self._sleepers, sleeper)
                self._move_to(deadline if self._auto_advance else self._elapsed)
        await is_due.wait()
        # Yields to other tasks even if this sleep took no real time.
        await asyncio.sleep(0)

    def _move_to(self, elapsed: float) -> None:
        """Sets the time and wakes the sleepers that are due. Needs the lock."""
        self._elapsed = elapsed
        while self._sleepers and self._sleepers[0][0] <= elapsed:
            _, _, loop, is_due = heapq.heappop(self._sleepers)
            # A loop that was closed in the meantime has no sleepers left.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(is_due.set)

    def _recipe(self) -> Arguments:
        # In another process it starts at the current time, and advances independently.
        return (self.time(),), {"auto_advance": self._auto_advance}

    def __repr__(self) -> str:
        return f"ManualClock(elapsed={self._elapsed:g} s)"


class StoppableClock:
    """Another clock, whose sleepers get an error once an event is set.

    Every sleep gets the event again, since a forked child has another one.
    """

    def __init__(
        self, clock: Clock, stopped: Callable[[], asyncio.Event], error: Callable[[], Exception]
    ) -> None:
        self._clock = clock
        self._stopped = stopped
        self._error = error
        self.time = clock.time
        self.monotonic = clock.monotonic
        self.random = getattr(clock, "random", random.random)

    async def sleep(self, seconds: float) -> None:
        try:
            await timeout(self._clock, seconds, self._stopped().wait())
        except TimeoutError:
            return
        raise self._error()


async def timeout(clock: Clock, seconds: float | None, work: Coroutine[Any, Any, T]) -> T:
    """Awaits `work` for at most `seconds` on `clock`; None and infinity set no limit.

    Raises:
        TimeoutError: If the time ran out; the work has then been cancelled and has cleaned up.
    """
    if seconds is None or isinstance(clock, SystemClock):
        async with asyncio.timeout(seconds):
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


def backoff(attempt: int, *, max_delay: float = 60.0) -> float:
    """Exponential backoff: the seconds to wait after the n-th failure in a row, from one up."""
    # After thousands of failures the power would overflow.
    return min(0.2 * 2.0 ** min(attempt - 1, 60), max_delay)


def jitter(clock: Clock) -> float:
    """A random factor from 0.5 to 1: callers that met the same fault must not retry together."""
    return 0.5 + 0.5 * float(getattr(clock, "random", random.random)())


def retry_for(seconds: float | Callable[[], float]) -> RetryDecision:
    """Retries transient errors for a number of seconds, which a function may return."""

    def decide(error: AzureSessionsError, attempt: int, elapsed: float) -> float | None:
        limit = seconds() if callable(seconds) else seconds
        if not error.may_pass or elapsed >= limit:
            return None
        return min(error.retry_after or backoff(attempt), limit - elapsed)

    return decide


async def retry(clock: Clock, call: Callable[[], Awaitable[T]], decide: RetryDecision) -> T:
    """Repeats a call until it succeeds, or `decide` gives up: then its last error is raised."""
    began = clock.monotonic()
    for attempt in itertools.count(1):
        try:
            return await call()
        except AzureSessionsError as error:
            pause = decide(error, attempt, clock.monotonic() - began)
            if pause is None:
                raise
            if error.retry_after is None:
                pause *= jitter(clock)
            logger.debug("%s Trying again in %.2g s.", error, pause, extra={"pause": pause})
        await clock.sleep(pause)
    raise AssertionError("unreachable")
