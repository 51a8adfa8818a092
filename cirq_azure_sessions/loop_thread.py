"""An event loop on a thread of its own, and the doors into it from other threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

from cirq_azure_sessions.errors import PoolClosed

__all__ = ["Call", "LoopThread"]

T = TypeVar("T")

# How long a cancelled call may take to clean up before its caller goes on without it.
_CLEAN_UP_SECONDS = 10.0


class Call(Generic[T]):
    """A coroutine that runs on the loop, as its caller on another thread sees it.

    Attributes:
        future: Its result, once there is one. Cancelling it cancels the coroutine.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> None:
        self._cleaned_up = threading.Event()
        self.future: concurrent.futures.Future[T] = asyncio.run_coroutine_threadsafe(
            self._run(work), loop
        )

    async def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await work
        finally:
            self._cleaned_up.set()

    def cancel(self) -> None:
        """Cancels the coroutine and gives it time to clean up."""
        self.future.cancel()
        self._cleaned_up.wait(_CLEAN_UP_SECONDS)

    def result(self) -> T:
        """Waits for the result; whatever interrupts the wait cancels the coroutine."""
        try:
            return self.future.result()
        except BaseException:
            if not self._cleaned_up.is_set():
                self.cancel()
            raise


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

    def start(self, work: Coroutine[Any, Any, T]) -> Call[T]:
        """Starts a coroutine on the loop; the caller may wait for it or not."""
        # A call that is given to the loop before it is told to stop is cancelled, not lost.
        with self._lock:
            loop, _ = self._serving or self._serve()
            return Call(loop, work)

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
