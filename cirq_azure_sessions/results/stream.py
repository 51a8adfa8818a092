"""`ResultStream`: the queue of results between a sweep and its reader."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from cirq_azure_sessions.results.azure_result import AzureResult

__all__ = ["ResultStream"]


class ResultStream:
    """A bounded queue between the background loop, which runs a sweep, and its reader.

    Its size is limited, so that a slow reader slows the sweep down; once its pool is closing the
    limit is lifted, so that nothing waits for a reader that may never come back.

    Args:
        limit: The maximum number of results in the queue.
        items: The initial results, with the indices of their points.
    """

    def __init__(self, limit: int, items: Iterable[tuple[int, AzureResult]] = ()) -> None:
        # State: the limit, the results, whether the sweep has ended, and an event for changes of
        # these. Accessed only on the background loop.
        self._limit: float = limit
        self._items = deque(items)
        self._is_finished = False
        self._change = asyncio.Condition()

    async def feed(self, run: Callable[[], Awaitable[None]], group: set[ResultStream]) -> None:
        """Runs the sweep that `put`s the results, with the stream in `group`, and marks the end."""
        group.add(self)
        try:
            await run()
        finally:
            group.discard(self)
            async with self._change:
                self._is_finished = True
                self._change.notify_all()

    async def put(self, point: int, result: AzureResult) -> None:
        """Adds a result, waiting for room."""
        async with self._change:
            await self._change.wait_for(lambda: len(self._items) < self._limit)
            self._items.append((point, result))
            self._change.notify_all()

    async def get(self) -> tuple[int, AzureResult] | None:
        """The next result, or None after the last."""
        async with self._change:
            await self._change.wait_for(lambda: self._items or self._is_finished)
            if not self._items:
                return None
            item = self._items.popleft()
            self._change.notify_all()
            return item

    async def lift_limit(self) -> None:
        """Removes the limit."""
        async with self._change:
            self._limit = math.inf
            self._change.notify_all()
