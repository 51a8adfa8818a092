"""Many small writes in few transactions, away from the threads that ask for them."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from cirq_azure_sessions.lane import Lane

__all__ = ["GroupCommit"]

T = TypeVar("T")

Work = Callable[[sqlite3.Connection], T]


class GroupCommit:
    """Writes to a database, in the order in which they come.

    A transaction that survives power loss waits for the disk, however little it holds. So the
    writes that come in while one is being committed wait, and share the next. They succeed or
    fail together.

    Args:
        transaction: Gives a context manager: a transaction that is committed when it is left.
    """

    def __init__(
        self, transaction: Callable[[], AbstractContextManager[sqlite3.Connection]]
    ) -> None:
        self._transaction = transaction
        self._lane = Lane(name="cirq-azure-sessions-journal")
        # State: the writes that wait for the next transaction.
        self._waiting: list[tuple[Work[Any], Future[Any]]] = []
        # Guards the above.
        self._lock = threading.Lock()

    def write(self, work: Work[T]) -> Future[T]:
        """Queues a write.

        Returns:
            What `work` returned, once it is durable. Cancelling it in time undoes the request.
        """
        future: Future[T] = Future()
        with self._lock:
            self._waiting.append((work, future))
            is_first = len(self._waiting) == 1
        if is_first:
            self._lane.submit(self._commit)
        return future

    def flush(self) -> None:
        """Waits until everything that was asked for so far is written, or has failed."""
        self._lane.submit(self._commit).result()

    def _commit(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        writes = [pair for pair in waiting if pair[1].set_running_or_notify_cancel()]
        if not writes:
            return
        try:
            with self._transaction() as connection:
                results = [work(connection) for work, _ in writes]
        except Exception as error:
            for _, future in writes:
                future.set_exception(error)
        else:
            for (_, future), result in zip(writes, results, strict=True):
                future.set_result(result)
