"""Pacing of requests to a host that throttles."""

from __future__ import annotations

import asyncio
import math
from contextlib import nullcontext

from cirq_azure_sessions.clock import Clock, backoff, jitter

__all__ = ["Pace"]

# Seconds to pause if the host does not say how long: 0.2, 0.4, and so on up to this.
_MAX_BACKOFF = 5.0
# The maximum seconds by which a requested pause is prolonged if nothing was answered before it.
_MAX_SPREAD = 8.0
# Seconds between requests after a pause if nothing was answered before it, so that the host's rate
# is unknown; and the maximum, since one request too many is better than a long silence.
_UNKNOWN_INTERVAL = 0.1
_MAX_INTERVAL = 1.0
# Seconds of queueing after which requests are sent twice as often. The growth is cubic: slow near a
# known limit, fast beyond it, and from 28 times the pace on unlimited. Every further refusal makes
# the limit better known, and it is tested half as often.
_GROWTH_TIME = 20.0
_MAX_GROWTH_TIME = 60.0
_UNKNOWN_GROWTH_TIME = 2.0
_FREE_AT = 28.0
# Seconds after a refusal from which it says nothing about the host any more. Requests that queue
# for as long are unlimited by then.
_FORGOTTEN_AFTER = 300.0
# The factor on a pace that was refused. Within a second it was far too fast: then it becomes what
# the host took on average since the refusal before, within these limits.
_REMAINS = 0.95
_REMAINS_OF_FAR_TOO_FAST = 0.8
_FAR_TOO_FAST_WITHIN = 1.0
# After this many seconds without a request, earlier responses do not count: the host may be
# able to answer more often than it was asked.
_SILENCE = 1.0
# A bound on the delay of timers in seconds, which later requests make up for.
_LATENESS = 0.01


class Pace:
    """The pace of all requests to one host: unlimited until the host throttles.

    Throttling of one request applies to all. After the pause they go one at a time, at the host's
    average rate so far, pause included; then faster and faster, as long as requests are queued. If
    one is refused again, they continue a little more slowly. If none is for minutes, the pace is
    unlimited again. Urgent requests go before others.

    Lives on one event loop.

    Args:
        clock: The clock for pauses.

    Attributes:
        is_paused: Whether the host has throttled, and no request has gone since.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Requests go first come, first served; of those that are not urgent, one at a time is in
        # line, so that the urgent ones wait behind no more.
        self._line = asyncio.Lock()
        self._second_line = asyncio.Lock()
        # State: when the last request went and the next may go; the interval after the last pause
        # (0 for unlimited), for how long requests have queued since, and the time in which the pace
        # doubles.
        self._last_turn = -math.inf
        self._next_turn = -math.inf
        self._interval = 0.0
        self._waited = 0.0
        self._growth_time = _GROWTH_TIME
        # Also the number of responses since the last refusal, or since the first response after a
        # silence; when the last pause began, whether it is to be followed by a new interval, and
        # the number of consecutive pauses without a response between them.
        self._answers = 0
        self._counts_from = math.inf
        self._refused_at = -math.inf
        self.is_paused = False
        self._pauses = 0

    async def turn(self, *, is_urgent: bool = False) -> float:
        """Waits until it is the request's turn, and returns when that is."""
        async with nullcontext() if is_urgent else self._second_line, self._line:
            arrival = now = self._clock.monotonic()
            # A refusal in the meantime prolongs the pause.
            while now < self._next_turn:
                await self._clock.sleep(self._next_turn - now)
                now = self._clock.monotonic()
            if self.is_paused:
                self._slow_down()
            elif now - self._last_turn > _SILENCE:
                self._answers, self._counts_from = 0, math.inf
            elif now > arrival:
                self._waited += now - self._last_turn
            if self._growth() > _FREE_AT or now - self._refused_at > _FORGOTTEN_AFTER:
                self._interval = 0.0
            interval = self._interval / self._growth()
            self._next_turn = max(self._next_turn, now - max(interval, _LATENESS)) + interval
            self._last_turn = now
            return now

    def _growth(self) -> float:
        """The current rate of requests, relative to that after the last pause."""
        return 1.0 + (self._waited / self._growth_time) ** 3

    def _slow_down(self) -> None:
        """Sets the interval after a pause."""
        if self._interval:
            refused = self._interval / self._growth()
            is_far = self._waited < _FAR_TOO_FAST_WITHIN
            slowest = refused / (_REMAINS_OF_FAR_TOO_FAST if is_far else _REMAINS)
            span = self._refused_at - self._counts_from
            average = span / self._answers if self._answers else math.inf
            self._interval = min(max(average, refused / _REMAINS), slowest)
            self._growth_time = min(2 * self._growth_time, _MAX_GROWTH_TIME)
        elif self._answers:
            self._interval = (self._next_turn - self._counts_from) / self._answers
            self._growth_time = _GROWTH_TIME
        else:
            self._interval, self._growth_time = _UNKNOWN_INTERVAL, _UNKNOWN_GROWTH_TIME
        self._interval = min(self._interval, _MAX_INTERVAL)
        self._waited = 0.0
        self.is_paused = False
        self._answers, self._counts_from = 0, self._refused_at

    def answered(self) -> None:
        """Records that the host answered without throttling."""
        self._counts_from = min(self._counts_from, self._clock.monotonic())
        self._answers += 1
        self._pauses = 0

    def pause(self, seconds: float) -> None:
        """Pauses all requests, which the host asked for, for a reason other than their rate."""
        self._next_turn = max(self._next_turn, self._clock.monotonic() + seconds)

    def refused(self, seconds: float | None, turn: float) -> None:
        """Records that the host throttles, with the pause it asks for, if any.

        Many requests refused at once cause a single pause, even if some are answered after it:
        those whose turn was before it began.
        """
        is_over = not self.is_paused or self._clock.monotonic() >= self._next_turn
        if is_over and turn >= self._refused_at:
            self._pauses += 1
            self._refused_at = self._clock.monotonic()
            # Should the first answer come after the pause, the average is still that until its end.
            self._counts_from = min(self._counts_from, self._refused_at)
            if seconds is None:
                seconds = backoff(self._pauses, max_delay=_MAX_BACKOFF) * jitter(self._clock)
            else:
                # If many clients return after the same pause, all but a few are refused.
                longest = min(seconds * 2.0 ** min(self._pauses - 1, 30), _MAX_SPREAD)
                seconds += max(longest - seconds, 0.0) * (2.0 * jitter(self._clock) - 1.0)
            self.is_paused = True
        if seconds is not None:
            self.pause(seconds)
