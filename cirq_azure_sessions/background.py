"""The process's background event loop.

All state of jobs, limits and watchers lives on the one background loop. A `Portal` is the entrance
from other threads; a `Call` is work on the loop, as its caller sees it.
"""

from __future__ import annotations

import asyncio
import math
import sys
import threading
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

from duet.futuretools import AwaitableFuture

from cirq_azure_sessions.errors import PoolClosed
from cirq_azure_sessions.process import register, start_thread

__all__ = ["Call", "EventLoopThread", "Portal", "loop"]

P = ParamSpec("P")
T = TypeVar("T")
# Makes a coroutine. It is called on the loop: between a caller who makes one and the loop a signal
# could strike, and leave a coroutine that nobody awaits.
_Work = Callable[P, Coroutine[Any, Any, T]]

_Serving = tuple[asyncio.AbstractEventLoop, threading.Thread]
# asyncio's own: that of a program's policy, such as Qt's, may not run on another thread.
_EventLoop = getattr(asyncio, "ProactorEventLoop", asyncio.SelectorEventLoop)

# Seconds that a cancelled call may take to clean up before its caller goes on without it.
_CLEAN_UP_TIMEOUT = 10.0
# Seconds that a thread waits for a lock in one go.
_MAX_UNINTERRUPTED = 0.25


class Call(Generic[T]):
    """A coroutine that runs on an event loop, as its caller on another thread sees it.

    Wait for it with `result()`, or `await` it under asyncio or duet. Whatever interrupts the wait
    cancels the coroutine and lets it clean up.

    A signal may interrupt the caller at any instant, which may leave Python's futures and events
    locked: their locks are taken in Python code. Here all is done on the loop's thread, which no
    signal interrupts, and each caller waits on a lock that nobody else needs.

    Attributes:
        is_done: Whether the coroutine has returned, raised or been cancelled.
    """

    def __init__(self, thread: EventLoopThread, serving: _Serving, work: _Work[[], T]) -> None:
        self._thread = thread
        self._serving = serving
        self._loop = serving[0]
        # State: the task, and whether it is done; written on the loop alone. And what the loop
        # calls then: each waiter adds itself.
        self._task: asyncio.Task[T] | None = None
        self.is_done = False
        self._callbacks: list[Callable[[], object]] = []
        self._loop.call_soon_threadsafe(self._begin, work)

    def cancel(self) -> None:
        """Cancels the coroutine, if it is not done, and gives it time to clean up."""
        self._ask_to_cancel()
        # A generator may be collected on any thread, also on the loop's.
        if not self._thread.is_current:
            self.wait(_CLEAN_UP_TIMEOUT)

    async def acancel(self) -> None:
        """`cancel` for asyncio, which it does not block, and for duet."""
        if _running_loop() is None:
            # duet drops a generator when nothing can be awaited any more.
            self.cancel()
            return
        self._ask_to_cancel()
        if not (self.is_done or self._is_lost):
            await _Completion(self)

    def wait(self, timeout: float = -1) -> bool:
        """Waits up to `timeout` seconds, or without limit; returns whether it is done."""
        self._thread.check_not_current()
        if self._is_lost:
            return False
        waiter = threading.Lock()
        waiter.acquire()
        self._callbacks.append(waiter.release)
        # The loop notes the end first and then looks for those who wait. On Windows Ctrl-C does not
        # interrupt a wait for a lock, and takes effect between two.
        rest = math.inf if timeout < 0 else timeout
        while not (self.is_done or self._is_lost) and rest > 0:
            step = min(rest, _MAX_UNINTERRUPTED)
            if waiter.acquire(timeout=step):
                break
            rest -= step
        return self.is_done

    def result(self) -> T:
        """Waits for the result; `concurrent.futures.CancelledError` if there will be none."""
        try:
            is_done = self.wait()
        except BaseException:
            self.cancel()
            raise
        # One that was begun before a fork never ends here.
        if not is_done or self._task is None or self._task.cancelled():
            raise CancelledError
        return self._task.result()

    def __await__(self) -> Generator[Any, None, T]:
        self._thread.check_not_current()
        try:
            yield from _Completion(self).__await__()
        except asyncio.CancelledError:
            # The caller's loop goes on while the coroutine cleans up.
            yield from self.acancel().__await__()
            raise
        except BaseException:
            # duet interrupts by an exception of any kind, and ends what then still waits.
            self.cancel()
            raise
        return self.result()

    def check_reachable(self) -> None:
        """Raises `RuntimeError` in the child of a fork, where a call of the parent never ends."""
        if self._is_lost:
            raise RuntimeError(
                "This call was started before a fork and continues in the parent process: make "
                "another one here."
            )

    @property
    def _is_lost(self) -> bool:
        """Whether it never ends here: the loop is that of the parent, or has been stopped."""
        is_served = self._thread._serving is self._serving and not sys.is_finalizing()
        return not (self.is_done or is_served)

    def _ask_to_cancel(self) -> None:
        # Once the loop has ended, so has the task.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._cancel)

    # On the loop's thread

    def _begin(self, work: _Work[[], T]) -> None:
        async def run() -> T:
            # Here, so that what a function raises that makes no coroutine ends the call too.
            return await work()

        self._task = asyncio.get_running_loop().create_task(run())
        self._task.add_done_callback(self._end)

    def _cancel(self) -> None:
        assert self._task is not None, "begun before it is cancelled"
        # Not before its first step, in which closing, for one, begins what nothing cancels.
        self._loop.call_soon(self._task.cancel)

    def _end(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            # Keeps asyncio from warning about an error that nobody reads.
            task.exception()
        self.is_done = True
        for callback in self._callbacks:
            callback()


class _Completion(AwaitableFuture[None]):
    """The end of a call, as a future that may be awaited under duet and under asyncio.

    duet takes any `concurrent.futures.Future`. asyncio takes any object with the attribute
    `_asyncio_future_blocking` and the methods of its own futures, which it calls from its loop.
    """

    _asyncio_future_blocking = False

    def __init__(self, call: Call[Any]) -> None:
        super().__init__()
        self._caller_loop = _running_loop()
        call._callbacks.append(lambda: self.try_set_result(None))
        if call.is_done:
            self.try_set_result(None)

    def __await__(self) -> Generator[Any, None, None]:
        # asyncio takes this back to False when it has registered its callback; duet ignores it.
        self._asyncio_future_blocking = True
        with suppress(CancelledError):
            yield self
        if self.cancelled():
            raise asyncio.CancelledError

    def get_loop(self) -> asyncio.AbstractEventLoop | None:
        return self._caller_loop

    def cancel(self, msg: object = None) -> bool:
        return super().cancel()

    def add_done_callback(self, fn: Callable[[Any], object], *, context: Any = None) -> None:
        caller_loop = self._caller_loop
        if context is None or caller_loop is None:
            super().add_done_callback(fn)
            return

        def wake(future: Any) -> None:
            # A loop that was closed in the meantime has no waiters left.
            with suppress(RuntimeError):
                caller_loop.call_soon_threadsafe(fn, future, context=context)

        super().add_done_callback(wake)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    with suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None


class EventLoopThread:
    """An asyncio event loop on a daemon thread, started when it is first needed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._after_fork()
        register(self)

    def _after_fork(self) -> None:
        """Forgets loop and thread: at birth, and in the child of a fork, which has neither."""
        # State: the loop that runs and its thread, if any: one value, which no signal splits.
        self._serving: _Serving | None = None
        # Guards the above while it is set.
        self._lock = threading.Lock()

    @property
    def is_current(self) -> bool:
        """Whether the caller runs on this loop's thread."""
        return self._serving is not None and threading.current_thread() is self._serving[1]

    def check_not_current(self) -> None:
        """Raises `RuntimeError` on the loop's own thread, where waiting never ends."""
        if self._serving is not None and threading.current_thread() is self._serving[1]:
            raise RuntimeError(
                "This call waits for the background event loop and was made on that loop: "
                "make it on another thread, not in an event callback."
            )

    def start(self, work: _Work[P, T], *args: P.args, **kwargs: P.kwargs) -> Call[T]:
        """Starts a coroutine on the loop; the caller may wait for it or not."""
        if sys.is_finalizing():
            raise RuntimeError("Python is shutting down: make this call before the program ends.")
        return Call(self, self._serving or self._begin_to_serve(), partial(work, *args, **kwargs))

    def _begin_to_serve(self) -> _Serving:
        with self._lock:
            if self._serving is None:
                made: list[asyncio.AbstractEventLoop] = []
                is_made, given_up = threading.Semaphore(0), threading.Event()
                work = partial(_serve, made, is_made, given_up)
                thread = threading.Thread(target=work, name=self._name, daemon=True)
                try:
                    start_thread(thread)
                    is_made.acquire()
                    if not made:
                        raise RuntimeError("No event loop can run: close files or unpatch threads.")
                    self._serving = made[0], thread
                finally:
                    # A signal may have come before the thread, or just after it.
                    if self._serving is None:
                        given_up.set()
                        with suppress(IndexError, RuntimeError):
                            made[0].call_soon_threadsafe(made[0].stop)
            return self._serving

    def run(self, work: _Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a coroutine on the loop and waits for its result."""
        self.check_not_current()
        return self.start(work, *args, **kwargs).result()

    def stop(self) -> None:
        """Cancels what still runs and waits for the thread to end; nothing may start meanwhile."""
        with self._lock:
            if self._serving is None:
                return
            loop, thread = self._serving
            loop.call_soon_threadsafe(loop.stop)
            self._serving = None
        if thread is not threading.current_thread():
            thread.join(_CLEAN_UP_TIMEOUT)


def _serve(
    made: list[asyncio.AbstractEventLoop], is_made: threading.Semaphore, given_up: threading.Event
) -> None:
    """Makes a loop, on this thread, where no signal leaves half of one, and runs it."""
    with suppress(OSError):
        if _running_loop() is None:  # as in the threads of gevent, which share the first one's
            made.append(_EventLoop())
    is_made.release()
    if not made:
        return
    loop = made[0]
    if given_up.is_set():
        loop.close()
        return
    try:
        while True:
            # asyncio lets these errors out of the loop as well as out of the task that raised them,
            # where its caller gets them.
            with suppress(SystemExit, KeyboardInterrupt):
                loop.run_forever()
                break
    finally:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


# The process's one background loop. It takes a thread and three descriptors once it is used.
loop = EventLoopThread("cirq-azure-sessions")


class Portal:
    """The entrance to one owner's work on the background loop.

    Takes no thread and no descriptor. Closing it cancels running work, whose waiters get
    `PoolClosed`.
    """

    def __init__(self) -> None:
        # State: the running tasks, and whether it is closed. Accessed only on the loop.
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closed = False

    def run(self, work: _Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a coroutine and waits for its result."""
        loop.check_not_current()
        return loop.start(self.admit, set(), partial(work, *args, **kwargs)).result()

    # On the loop's thread

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Starts a task that outlives the one that needed it first."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # As for a call: asyncio need not complain of its error.
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return task

    async def close(self) -> None:
        """Cancels running tasks, except the caller, and admits no more."""
        self._is_closed = True
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def admit(self, group: set[asyncio.Task[Any]], work: _Work[[], T]) -> T:
        """Runs a coroutine in the caller's task, which closing cancels; `group` holds it."""
        task = asyncio.current_task()
        assert task is not None, "runs in a task of its own"
        if self._is_closed:
            raise PoolClosed
        self._tasks.add(task)
        group.add(task)
        try:
            return await work()
        except asyncio.CancelledError:
            if self._is_closed:
                raise PoolClosed from None
            raise
        finally:
            self._tasks.discard(task)
            group.discard(task)
