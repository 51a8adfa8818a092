"""A clock that follows the machine's and can be advanced."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Protocol

from cirq_azure_sessions.clock import Clock, SystemClock, timeout
from cirq_azure_sessions.options import check_time, checked

__all__ = ["MovableClock", "ShiftedClock"]


class MovableClock(Clock, Protocol):
    """A clock that can be advanced: a `ManualClock` or a `ShiftedClock`."""

    def advance(self, seconds: float) -> None:
        """Advances the clock. `ValueError` if `seconds` is negative."""


class ShiftedClock:
    """The machine's time, moved forward by `advance`. Thread-safe."""

    def __init__(self) -> None:
        self._real = SystemClock()
        # State: the total seconds advanced, and the deadline and loop of each sleeper.
        self._shift = 0.0
        self._sleepers: dict[asyncio.Event, tuple[float, asyncio.AbstractEventLoop]] = {}
        # Guards both.
        self._lock = threading.Lock()

    def time(self) -> float:
        return self._real.time() + self._shift

    def monotonic(self) -> float:
        return self._real.monotonic() + self._shift

    @checked()
    def advance(self, seconds: float) -> None:
        """Advances the clock and wakes the sleepers that are due.

        Raises:
            ValueError: If `seconds` is negative, or the clock would pass the year 9899.
        """
        with self._lock:
            check_time(self.time() + seconds)
            self._shift += seconds
            now = self.monotonic()
            due = [(event, loop) for event, (end, loop) in self._sleepers.items() if end <= now]
        for event, loop in due:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    async def sleep(self, seconds: float) -> None:
        is_due = asyncio.Event()
        with self._lock:
            deadline = self.monotonic() + seconds
            self._sleepers[is_due] = deadline, asyncio.get_running_loop()
        try:
            with suppress(TimeoutError):
                await timeout(self._real, seconds, is_due.wait())
        finally:
            with self._lock:
                del self._sleepers[is_due]

    def __repr__(self) -> str:
        return f"ShiftedClock(shift={self._shift:g} s)"
