"""`Throttle`: limits on a sampler's jobs in flight and on its requests."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass

from cirq_azure_sessions.clock import Clock, backoff
from cirq_azure_sessions.errors import ServiceError

__all__ = ["Gate", "Slot", "Throttle"]


class Gate:
    """Admits up to `limit` at a time, in order, urgent ones first; `async with gate` is urgent."""

    def __init__(self, limit: int) -> None:
        # State: the limit, the number inside, and the waiters. Lives on the background loop.
        self.limit = limit
        self.inside = 0
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._urgent) + len(self._others)

    async def enter(self, is_urgent: bool = True) -> None:
        """Waits for room; `leave` makes room again."""
        future = asyncio.get_running_loop().create_future()
        queue = self._urgent if is_urgent else self._others
        queue.append(future)
        self.admit()
        try:
            await future
        except asyncio.CancelledError:
            # Either it still waits, or it was admitted in the meantime and leaves again.
            if future in queue:
                queue.remove(future)
            elif not future.cancelled():
                self.inside -= 1
            self.admit()
            raise

    def leave(self) -> None:
        self.inside -= 1
        self.admit()

    def admit(self) -> None:
        """Admits as many as fit; called after every change of the counts."""
        while self.inside < self.limit and (queue := self._urgent or self._others):
            future = queue.popleft()
            if not future.done():
                self.inside += 1
                future.set_result(None)

    __aenter__ = enter

    async def __aexit__(self, *exc_info: object) -> None:
        self.leave()


class Throttle:
    """The slots of a sampler's jobs in flight, and the gate for its requests.

    The number of slots begins at its maximum. A 429 answer sets it to the number of other jobs in
    flight; from then on every full round of accepted jobs adds one slot, to find out whether there
    is more room.
    """

    def __init__(self, max_concurrent_jobs: int, clock: Clock) -> None:
        self.slots = Gate(max_concurrent_jobs)
        # Inputs are stored ahead of the jobs in flight, and outputs fetched behind them, but by no
        # more requests at a time than there may be jobs.
        self.requests = Gate(max_concurrent_jobs)
        self.clock = clock
        self.maximum = max_concurrent_jobs
        # State: the jobs accepted since the number of slots last changed; the end of the pause.
        self.accepted = 0
        self.resume_at = -math.inf


@dataclass
class Slot:
    """One job's slot, from before its submission until it has finished: `async with Slot(...)`."""

    throttle: Throttle
    # State: whether the slot is held, and how often the service has refused its job.
    _is_held: bool = False
    _refusals: int = 0

    async def __aenter__(self) -> Slot:
        """Waits for a slot, refused jobs before new ones, and for the end of a pause."""
        throttle = self.throttle
        if not self._is_held:
            await throttle.slots.enter(is_urgent=self._refusals > 0)
            self._is_held = True
        try:
            # The slot is held through the pause: a job interrupted in it admits the next.
            while (seconds := throttle.resume_at - throttle.clock.monotonic()) > 0:
                await throttle.clock.sleep(seconds)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._is_held:
            self._is_held = False
            self.throttle.slots.leave()

    def accepted(self) -> None:
        """Records that the service accepted the job; a full round of these adds a slot."""
        throttle, slots = self.throttle, self.throttle.slots
        throttle.accepted += 1
        if slots.limit < throttle.maximum and throttle.accepted >= slots.limit:
            throttle.accepted = 0
            slots.limit += 1
            slots.admit()

    async def refused(self, error: ServiceError) -> None:
        """Waits until the refused job should be submitted again.

        It is next once another job finishes. All jobs pause if the service says how long, or if no
        other job is running; a job that is refused again pauses alone.
        """
        throttle, slots = self.throttle, self.throttle.slots
        self._refusals += 1
        others, throttle.accepted = slots.inside - 1, 0
        slots.limit = max(1, min(slots.limit, others))
        pause = error.retry_after or backoff(self._refusals)
        if error.retry_after is not None or not others:
            throttle.resume_at = max(throttle.resume_at, throttle.clock.monotonic() + pause)
        # The only job keeps its slot while it pauses, so that all others wait behind it.
        if others:
            await self.__aexit__()
            if error.retry_after is None and self._refusals > 1:
                await throttle.clock.sleep(pause)
        await self.__aenter__()
