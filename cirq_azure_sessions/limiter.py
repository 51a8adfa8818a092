"""How many jobs may be in flight, learned from the service's refusals."""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["AdaptiveLimit"]


class AdaptiveLimit:
    """A number of places that shrinks when the service refuses jobs and grows back slowly.

    It begins at its maximum. A refusal sets it to the number of jobs that the service has accepted;
    from then on every full round of accepted jobs adds one place, to find out whether there is
    more room. Lives on one event loop, and needs no lock.

    Args:
        maximum: The most places there will ever be; at least one.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        # State: the places there are now, those taken, how many jobs were accepted since the
        # number last changed, and those who wait for a place, in their order.
        self._limit = maximum
        self._taken = 0
        self._accepted = 0
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        """The number of places there are now."""
        return self._limit

    @property
    def taken(self) -> int:
        """The number of places taken."""
        return self._taken

    async def acquire(self, *, first: bool = False) -> None:
        """Takes a place, waiting for one if need be.

        Args:
            first: Whether to go before those who wait already.
        """
        if self._taken < self._limit and (first or not self._queue):
            self._taken += 1
            return
        future = asyncio.get_running_loop().create_future()
        if first:
            self._queue.appendleft(future)
        else:
            self._queue.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.release()
            elif future in self._queue:
                self._queue.remove(future)
            raise

    def release(self) -> None:
        """Gives a place back."""
        self._taken -= 1
        self._admit()

    def accept(self) -> None:
        """The service accepted a job: after a full round of these there may be room for more."""
        self._accepted += 1
        if self._limit < self._maximum and self._accepted >= self._limit:
            self._limit += 1
            self._accepted = 0
            self._admit()

    def refuse(self) -> None:
        """The service wants fewer jobs: gives the place back, and keeps no more than are taken."""
        self._taken -= 1
        self._limit = max(1, min(self._limit, self._taken))
        self._accepted = 0

    def _admit(self) -> None:
        while self._queue and self._taken < self._limit:
            future = self._queue.popleft()
            if not future.done():
                self._taken += 1
                future.set_result(None)

    def __repr__(self) -> str:
        return f"AdaptiveLimit({self._taken} of {self._limit} taken, {len(self._queue)} waiting)"
