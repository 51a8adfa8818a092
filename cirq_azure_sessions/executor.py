"""`DaemonExecutor`: threads for what blocks, which do not keep the interpreter from exiting."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, TypeVar

from cirq_azure_sessions.background import Call, loop
from cirq_azure_sessions.process import register

__all__ = ["DaemonExecutor"]

T = TypeVar("T")


class DaemonExecutor:
    """Runs functions in the order they come, on up to `threads` daemon threads at a time.

    A thread ends when there is nothing left to do, so that an idle executor has none and there is
    nothing to shut down. Where `concurrent.futures.ThreadPoolExecutor` would keep the interpreter
    from exiting until a long simulation is done, Ctrl-C ends daemons at once.
    """

    def __init__(self, threads: int = 1, *, name: str = "worker") -> None:
        self._threads = threads
        self._name = name
        self._after_fork()
        register(self)

    def _after_fork(self) -> None:
        """Forgets all work and threads: at birth, and in the child of a fork, which has neither."""
        # State: the work that no thread has taken yet, and how many threads are at work.
        self._queue: deque[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self._running = 0
        # Guards both. Reentrant: garbage collection may end a stream, which has something to write,
        # on a thread that holds it.
        self._lock = threading.RLock()

    def submit(
        self, function: Callable[..., Any], *args: Any, future: Future[Any] | None = None
    ) -> Future[Any]:
        """Queues `function(*args)`; its outcome goes to a new future, or to the one given."""
        future = Future() if future is None else future
        with self._lock:
            self._queue.append((future, function, args))
            needs_thread = self._running < self._threads
            self._running += needs_thread
        if sys.is_finalizing():
            # All threads have ended, and none can be started.
            self._drain()
        elif needs_thread:
            try:
                threading.Thread(target=self._drain, name=self._name, daemon=True).start()
            except RuntimeError:
                # No more threads can be started: at interpreter exit, or too many run already.
                self._drain()
        return future

    def call(self, function: Callable[..., T], *args: Any) -> Call[T]:
        """Queues `function(*args)` in the caller's context, to be awaited under asyncio or duet."""
        context = copy_context()

        async def outcome() -> T:
            result: T = await asyncio.wrap_future(self.submit(context.run, function, *args))
            return result

        return loop.start(outcome)

    def _drain(self) -> None:
        while True:
            # Critical section: a thread that finds no work is off the count before anyone else
            # looks, so that no work is left behind without a thread.
            with self._lock:
                if not self._queue:
                    self._running -= 1
                    return
                future, function, args = self._queue.popleft()
            if future.set_running_or_notify_cancel():
                try:
                    result = function(*args)
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)
                    del result
            # An idle moment must not keep the last result alive.
            del future, function, args
