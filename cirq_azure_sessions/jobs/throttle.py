"""`Throttle`: limits on a sampler's jobs in flight and on its requests."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass, field

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
    """The slots of a sampler's jobs in flight, and the gates for their inputs and for requests.

    A 429 answer lowers the number of slots to that of the other jobs in flight. After four full
    rounds of accepted jobs one slot is added, and then after each, to find out if there is room.
    """

    def __init__(self, max_concurrent_jobs: int, clock: Clock) -> None:
        # As many inputs are stored ahead, and requests made at a time, as jobs may be in flight.
        self.inputs = Gate(max_concurrent_jobs)
        self.slots = Gate(max_concurrent_jobs)
        self.requests = Gate(max_concurrent_jobs)
        self.clock = clock
        # State: how many more jobs are accepted before a slot is added; the end of the pause.
        self.countdown = 0
        self.resume_at = -math.inf

    def resize(self, num_slots: int, rounds: int) -> None:
        self.countdown = rounds * num_slots
        for gate in (self.inputs, self.slots):
            gate.limit = num_slots
            gate.admit()


@dataclass
class Slot:
    """One job's slot: `async with Slot(...)` from before its input is stored, then `take()`."""

    throttle: Throttle
    # State: the gates it has entered, and how often the service has refused its job.
    _entered: set[Gate] = field(default_factory=set)
    _refusals: int = 0

    async def __aenter__(self) -> Slot:
        await self.throttle.inputs.enter()
        self._entered.add(self.throttle.inputs)
        return self

    async def take(self) -> None:
        """Waits for a slot, refused jobs before new ones, and for the end of a pause."""
        throttle, slots = self.throttle, self.throttle.slots
        if slots not in self._entered:
            await slots.enter(is_urgent=self._refusals > 0)
            self._entered.add(slots)
        # The slot is held through the pause: a job interrupted in it admits the next.
        while (seconds := throttle.resume_at - throttle.clock.monotonic()) > 0:
            await throttle.clock.sleep(seconds)

    async def __aexit__(self, *exc_info: object) -> None:
        self._leave(*self._entered)

    def _leave(self, *gates: Gate) -> None:
        for gate in self._entered.intersection(gates):
            self._entered.remove(gate)
            gate.leave()

    def accepted(self) -> None:
        """Records that the service accepted the job; a full round of these adds a slot."""
        throttle, num_slots = self.throttle, self.throttle.slots.limit
        self._leave(throttle.inputs)
        throttle.countdown -= 1
        if num_slots < throttle.requests.limit and throttle.countdown <= 0:
            throttle.resize(num_slots + 1, rounds=1)

    async def refused(self, error: ServiceError) -> None:
        """Waits until the refused job should be submitted again.

        It is next once another job finishes. All jobs pause if the service says how long, or if no
        other job is running; a job that is refused again pauses alone.
        """
        throttle, slots = self.throttle, self.throttle.slots
        self._refusals += 1
        others = slots.inside - 1
        throttle.resize(max(1, min(slots.limit, others)), rounds=4)
        pause = error.retry_after or backoff(self._refusals)
        if error.retry_after is not None or not others:
            throttle.resume_at = max(throttle.resume_at, throttle.clock.monotonic() + pause)
        # The only job keeps its slot while it pauses, so that all others wait behind it.
        if others:
            self._leave(slots)
            if error.retry_after is None and self._refusals > 1:
                await throttle.clock.sleep(pause)
        await self.take()
