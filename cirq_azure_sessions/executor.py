"""`DaemonExecutor`: threads for blocking calls, which do not keep the interpreter from exiting."""

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
from cirq_azure_sessions.process import register, start_thread

__all__ = ["DaemonExecutor"]

T = TypeVar("T")


class DaemonExecutor:
    """Runs functions in order of submission, on up to `threads` daemon threads at a time.

    A thread ends when there is no work left, so that an idle executor has none and there is nothing
    to shut down. `concurrent.futures.ThreadPoolExecutor` would keep the interpreter from exiting
    until a long simulation is done; daemons end at once on Ctrl-C.
    """

    def __init__(self, threads: int = 1, *, name: str = "worker") -> None:
        self._threads = threads
        self._name = name
        self._after_fork()
        register(self)

    def _after_fork(self) -> None:
        """Resets work and threads: at construction, and in a forked child, which has neither."""
        # State: the queued work, and the number of running threads.
        self._queue: deque[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self._running = 0
        # Guards both. Reentrant, because garbage collection on a thread that holds it may end a
        # stream, which submits work.
        self._lock = threading.RLock()

    def submit(
        self, function: Callable[..., Any], *args: Any, future: Future[Any] | None = None
    ) -> Future[Any]:
        """Queues `function(*args)`; its outcome goes to a new future or to the given one."""
        future = Future() if future is None else future
        with self._lock:
            self._queue.append((future, function, args))
            needs_thread = self._running < self._threads
            self._running += needs_thread
        if sys.is_finalizing():
            # All threads have ended, and no more can be started.
            self._drain()
        elif needs_thread:
            try:
                start_thread(threading.Thread(target=self._drain, name=self._name, daemon=True))
            except RuntimeError:
                # No more threads can be started: at interpreter exit, or because too many are
                # running.
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
            # Critical section: a thread that finds no work leaves the count before the lock is
            # released, so that no work is left without a thread.
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
            # An idle thread must not keep the last result alive.
            del future, function, args
