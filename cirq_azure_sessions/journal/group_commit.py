"""Many small writes in few transactions, away from the threads that ask for them."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, TypeVar

from cirq_azure_sessions.background import DaemonExecutor

__all__ = ["GroupCommit"]

T = TypeVar("T")

Work = Callable[[sqlite3.Connection], T]
# What waits for a write, with what the write returned.
Answers = list[tuple["asyncio.Future[Any]", Any]]


class GroupCommit:
    """Writes to a database, in the order in which they come.

    A transaction that survives power loss waits for the disk, however little it holds. So the
    writes that come in while one is being committed wait, and share the next. They succeed or
    fail together.

    Args:
        transaction: Gives a context manager: a transaction that is committed when it is left.
        on_failure: Called, on a thread of its own, with the error of each transaction that failed.
    """

    def __init__(
        self,
        transaction: Callable[[], AbstractContextManager[sqlite3.Connection]],
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._transaction = transaction
        self._on_failure = on_failure
        self._lane = DaemonExecutor(name="cirq-azure-sessions-journal")
        # State: the writes that wait for the next transaction, each with who waits for it.
        self._waiting: list[tuple[Work[Any], asyncio.Future[Any] | None]] = []
        # Guards the above.
        self._lock = threading.Lock()

    def write(self, work: Work[T]) -> asyncio.Future[T]:
        """Queues a write, on an event loop.

        Returns:
            What `work` returned, once it is durable.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue(work, future)
        return future

    def post(self, work: Work[object]) -> None:
        """Queues a write that nobody waits for."""
        self._queue(work, None)

    def then(self, function: Callable[[], None]) -> None:
        """Runs `function` when everything asked for so far is written or has failed; waits for it.

        It and the transactions take turns.
        """
        self._lane.submit(function).result()

    def _queue(self, work: Work[Any], future: asyncio.Future[Any] | None) -> None:
        with self._lock:
            self._waiting.append((work, future))
            is_first = len(self._waiting) == 1
        if is_first:
            self._lane.submit(self._commit)

    def _commit(self) -> None:
        with self._lock:
            writes, self._waiting = self._waiting, []
        if not writes:
            return
        try:
            with self._transaction() as connection:
                results = [work(connection) for work, _ in writes]
        except Exception as error:
            _answer([future for _, future in writes], [error] * len(writes), _fail)
            self._on_failure(error)
        else:
            _answer([future for _, future in writes], results, _succeed)


def _answer(
    futures: Sequence[asyncio.Future[Any] | None],
    answers: Sequence[Any],
    resolve: Callable[[Answers], None],
) -> None:
    """Wakes each event loop once, however many wait on it."""
    by_loop: dict[asyncio.AbstractEventLoop, Answers] = defaultdict(list)
    for future, answer in zip(futures, answers, strict=True):
        if future is not None:
            by_loop[future.get_loop()].append((future, answer))
    for loop, pairs in by_loop.items():
        # Who waited on a loop that has been closed in the meantime waits no more.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(resolve, pairs)


def _succeed(answers: Answers) -> None:
    for future, result in answers:
        if not future.done():
            future.set_result(result)


def _fail(answers: Answers) -> None:
    for future, error in answers:
        if not future.done():
            future.set_exception(error)
