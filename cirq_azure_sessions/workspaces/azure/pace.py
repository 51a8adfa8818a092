"""Pacing of requests to a host that asks for fewer."""

from __future__ import annotations

import asyncio
import math

from cirq_azure_sessions.clock import Clock, backoff, jitter

__all__ = ["Pace"]

# Seconds to pause where the host does not say how long: 0.2, 0.4, and so on up to this.
_MAX_BACKOFF = 5.0
# Up to how many seconds a pause that a host asks for is prolonged, where no answer came before it.
_MAX_SPREAD = 8.0
# Seconds between two requests after a pause before which nothing was answered, so that it is not
# known how often the host does answer; and the most, since a host is rather asked once too often
# than left alone for long.
_UNKNOWN_INTERVAL = 0.1
_MAX_INTERVAL = 1.0
# Seconds of waiting requests after which they are sent twice as often. The growth is cubic: slow
# around a limit that is known, quick beyond it, and at 28 times the pace it is free again. At every
# further refusal the limit is known better, and is tried half as often.
_GROWTH_TIME = 20.0
_MAX_GROWTH_TIME = 60.0
_UNKNOWN_GROWTH_TIME = 2.0
_FREE_AT = 28.0
# The part of a pace that remains where it was refused: within a second it was far too fast.
_REMAINS = 0.95
_REMAINS_OF_FAR_TOO_FAST = 0.8
_FAR_TOO_FAST_WITHIN = 1.0
# After this many seconds without a request, earlier answers do not count: the host may
# answer more often than it was asked.
_SILENCE = 1.0
# Seconds by which timers are late, or a little more: requests make up for them.
_LATENESS = 0.01


class Pace:
    """The pace of all requests to one host: free, until the host asks for fewer.

    A refusal of one request applies to all. After the pause they go one at a time, as often as the
    host answered up to then, pause included; then more and more often, as long as requests wait. If
    that is refused, they go on a little more slowly.

    Lives on one event loop.

    Args:
        clock: Where pauses pass.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Requests go in the order in which they come.
        self._line = asyncio.Lock()
        # State: when the last request went and the next may go; the interval after the last pause
        # (0 is free), for how long requests have waited since, and in what time the pace doubles.
        self._last_turn = -math.inf
        self._next_turn = -math.inf
        self._interval = 0.0
        self._waited = 0.0
        self._growth_time = _GROWTH_TIME
        # And how many answers have come since the first of them; whether a pause is to be followed
        # by a new interval; and how many pauses there were in a row, without an answer in between.
        self._first_answer = -math.inf
        self._answers = 0
        self._is_paused = False
        self._pauses = 0

    async def turn(self) -> None:
        """Returns when it is the request's turn."""
        async with self._line:
            arrival = now = self._clock.monotonic()
            # A refusal that comes meanwhile prolongs the pause.
            while now < self._next_turn:
                await self._clock.sleep(self._next_turn - now)
                now = self._clock.monotonic()
            if self._is_paused:
                self._slow_down()
            elif now - self._last_turn > _SILENCE:
                self._answers = 0
            elif now > arrival:
                self._waited += now - self._last_turn
            if self._growth() > _FREE_AT:
                self._interval = 0.0
            interval = self._interval / self._growth()
            self._next_turn = max(self._next_turn, now - max(interval, _LATENESS)) + interval
            self._last_turn = now

    def _growth(self) -> float:
        """How many times as fast as after the last pause requests go."""
        return 1.0 + (self._waited / self._growth_time) ** 3

    def _slow_down(self) -> None:
        """Sets the interval after a pause."""
        if self._interval:
            is_far = self._waited < _FAR_TOO_FAST_WITHIN
            self._interval /= self._growth() * (_REMAINS_OF_FAR_TOO_FAST if is_far else _REMAINS)
            self._growth_time = min(2 * self._growth_time, _MAX_GROWTH_TIME)
        elif self._answers:
            self._interval = (self._next_turn - self._first_answer) / self._answers
            self._growth_time = _GROWTH_TIME
        else:
            self._interval, self._growth_time = _UNKNOWN_INTERVAL, _UNKNOWN_GROWTH_TIME
        self._interval = min(self._interval, _MAX_INTERVAL)
        self._waited = 0.0
        self._is_paused = False
        self._answers = 0

    def answered(self) -> None:
        """Notes that the host answered, and did not ask for fewer requests."""
        if not self._answers:
            self._first_answer = self._clock.monotonic()
        self._answers += 1
        self._pauses = 0

    def pause(self, seconds: float) -> None:
        """Sends nothing for this long, as the host asks for reasons other than the pace."""
        self._next_turn = max(self._next_turn, self._clock.monotonic() + seconds)

    def refused(self, seconds: float | None) -> None:
        """Notes that the host asks for fewer requests, and for a pause, or does not say how long.

        Many requests may be refused at once, and make one pause.
        """
        if not self._is_paused or self._clock.monotonic() >= self._next_turn:
            self._pauses += 1
            if seconds is None:
                seconds = backoff(self._pauses, max_delay=_MAX_BACKOFF) * jitter(self._clock)
            else:
                # Where many clients come back after the same pause, all but a few are refused.
                longest = min(seconds * 2.0 ** min(self._pauses - 1, 30), _MAX_SPREAD)
                seconds += max(longest - seconds, 0.0) * (2.0 * jitter(self._clock) - 1.0)
            self._is_paused = True
        if seconds is not None:
            self.pause(seconds)
