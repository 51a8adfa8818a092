"""An event loop on a thread of its own, and the doors into it from other threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Generic, TypeVar

from cirq_azure_sessions.errors import PoolClosed

__all__ = ["Call", "LoopThread"]

T = TypeVar("T")

# How long a cancelled call may take to clean up before its caller goes on without it.
_CLEAN_UP_SECONDS = 10.0


class Call(Generic[T]):
    """A coroutine that runs on the loop, as its caller on another thread sees it.

    A signal may strike its caller at any instant, and Python's own futures and events are then
    left locked: their locks are taken in Python code. Here all is done on the loop's thread, where
    no signal strikes, and each caller waits on a lock that nobody else needs.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, T],
        tell: Callable[[], object],
    ) -> None:
        self._loop = loop
        self._tell = tell
        # State: the task, whether it was cancelled, and whether it is over; written on the loop
        # alone. And a lock for each caller that waits, which the loop releases.
        self._task: asyncio.Task[T] | None = None
        self._is_cancelled = False
        self._is_over = False
        self._waiters: list[threading.Lock] = []
        loop.call_soon_threadsafe(self._begin, work)

    @property
    def is_cancelled(self) -> bool:
        """Whether the coroutine was cancelled before its end."""
        return self._is_cancelled

    def cancel(self) -> None:
        """Cancels the coroutine and gives it time to clean up."""
        # Where the loop has ended, so has the task.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._cancel)
        self.wait(_CLEAN_UP_SECONDS)

    def wait(self, timeout: float = -1) -> bool:
        """Whether the coroutine is over within so many seconds; -1 for however long it takes."""
        waiter = threading.Lock()
        waiter.acquire()
        self._waiters.append(waiter)
        # The loop notes the end first and then looks for those who wait.
        return self._is_over or waiter.acquire(timeout=timeout)

    def result(self) -> T:
        """Waits for the result; whatever interrupts the wait cancels the coroutine.

        Raises:
            CancelledError: That of `concurrent.futures`, if the call was cancelled meanwhile.
        """
        try:
            self.wait()
        except BaseException:
            self.cancel()
            raise
        assert self._task is not None, "it is over"
        if self._task.cancelled():
            raise concurrent.futures.CancelledError
        return self._task.result()

    # On the loop's thread

    def _begin(self, work: Coroutine[Any, Any, T]) -> None:
        self._task = self._loop.create_task(work)
        self._task.add_done_callback(self._end)

    def _cancel(self) -> None:
        assert self._task is not None, "begun before it is cancelled"
        self._is_cancelled = self._task.cancel() or self._is_cancelled

    def _end(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self._is_cancelled = True
        else:
            # An error that nobody asks for is not asyncio's to complain of.
            task.exception()
        self._is_over = True
        for waiter in self._waiters:
            waiter.release()
        self._tell()


class LoopThread:
    """An asyncio event loop on a daemon thread, started when it is first needed."""

    def __init__(self, name: str) -> None:
        self._name = name
        # State: the running loop and its thread, while there are any. One value, so that a signal
        # that strikes in between leaves both or neither.
        self._serving: tuple[asyncio.AbstractEventLoop, threading.Thread] | None = None
        # Guards the above, and the order of what the loop is given.
        self._lock = threading.Lock()
        # Tasks that the loop would otherwise only refer to weakly; touched on the loop alone.
        self._tasks: set[asyncio.Task[None]] = set()

    def start(
        self, work: Coroutine[Any, Any, T], tell: Callable[[], object] = lambda: None
    ) -> Call[T]:
        """Starts a coroutine on the loop; the caller may wait for it or not.

        Args:
            work: The coroutine.
            tell: Called on the loop's thread once the coroutine is over.
        """
        # A call that is given to the loop before it is told to stop is cancelled, not lost.
        with self._lock:
            loop, _ = self._serving or self._serve()
            return Call(loop, work, tell)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the loop and waits for its result.

        Raises:
            RuntimeError: If called on the loop's own thread, where waiting would never end.
            PoolClosed: If the loop is stopped meanwhile.
        """
        if self._serving and threading.current_thread() is self._serving[1]:
            work.close()
            raise RuntimeError(
                "This call waits for the pool's event loop and was made on that loop: "
                "call it from another thread, not from an event callback."
            )
        try:
            return self.start(work).result()
        except concurrent.futures.CancelledError:
            raise PoolClosed(
                "The session pool was closed while this call waited: "
                "make a new SessionPool to go on."
            ) from None

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Starts a task that outlives whoever needed it first; called on the loop itself."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """Cancels what still runs, stops the loop and waits for the thread to end."""
        with self._lock:
            if self._serving is None:
                return
            loop, thread = self._serving
            loop.call_soon_threadsafe(loop.stop)
            self._serving = None
        if thread is not threading.current_thread():
            thread.join(_CLEAN_UP_SECONDS)

    def _serve(self) -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=_serve, args=(loop,), name=self._name, daemon=True)
        try:
            thread.start()
            self._serving = loop, thread
        finally:
            # A signal may have come before the thread, or just after it.
            if self._serving is None:
                loop.call_soon_threadsafe(loop.stop)
        return self._serving


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
