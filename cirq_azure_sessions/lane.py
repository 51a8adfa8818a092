"""Work done in order on threads that nobody has to put away."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

__all__ = ["Lane"]


class _Work(Future[Any]):
    """A queued function's future; cancelling it also cancels what the function waits for."""

    def __init__(self, parts: Sequence[Future[Any]]) -> None:
        super().__init__()
        self._parts = parts

    def cancel(self) -> bool:
        for part in self._parts:
            part.cancel()
        return super().cancel()


class Lane:
    """Runs functions in the order they come, on up to `threads` threads at a time.

    A thread ends when there is nothing left to do, so an idle lane holds none, and there is nothing
    to shut down. The threads are daemons: where `concurrent.futures.ThreadPoolExecutor` would keep
    the interpreter from exiting until a long simulation is over, Ctrl-C ends it at once.

    Args:
        threads: How many functions may run at once; with one, they run strictly in order.
        name: What the threads are called.
    """

    def __init__(self, threads: int = 1, *, name: str = "lane") -> None:
        self._threads = threads
        self._name = name
        self._start_afresh()
        _lanes.add(self)

    def _start_afresh(self) -> None:
        """Forgets all work and threads: at birth, and in the child of a fork, which has neither."""
        # State: the work that no thread has taken yet, and how many threads are at work.
        self._queue: deque[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self._running = 0
        # Guards both.
        self._lock = threading.Lock()

    def submit(
        self, function: Callable[..., Any], *args: Any, parts: Sequence[Future[Any]] = ()
    ) -> Future[Any]:
        """Queues `function(*args)`.

        Args:
            function: What to run.
            args: Its arguments.
            parts: The futures that the function waits for; it may add to them while it runs.

        Returns:
            A future that is cancellable until a thread takes the function, and afterwards as far as
            its `parts` are.
        """
        future = _Work(parts)
        with self._lock:
            self._queue.append((future, function, args))
            is_short_handed = self._running < self._threads
            self._running += is_short_handed
        if is_short_handed:
            self._start()
        return future

    def _start(self) -> None:
        try:
            threading.Thread(target=self._drain, name=self._name, daemon=True).start()
        except RuntimeError:
            # There are no more threads to be had: at interpreter exit, or too many run already.
            self._drain()

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
                _run(future, function, args)
            # An idle moment must not keep the last result alive.
            del future, function, args


_lanes: weakref.WeakSet[Lane] = weakref.WeakSet()


def _start_all_afresh() -> None:
    for lane in list(_lanes):
        lane._start_afresh()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_all_afresh)


def _run(future: Future[Any], function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    try:
        result = function(*args)
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
