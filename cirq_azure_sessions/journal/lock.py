"""A lock that lasts as long as the process that holds it.

A process id does not show whether a run is alive: ids are reused, and a killed process cannot
remove its own. The kernel releases a lock on an open file as soon as the process ends, whether by
exit, by `kill -9` or with the machine.

SQLite takes the lock, because it works on every system, and separates locks within one process.
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from pathlib import Path

from cirq_azure_sessions.journal.file import make_private, no_fork

__all__ = ["RunLock"]


class RunLock:
    """An empty database file that its run keeps locked, and removes when it releases the lock."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection

    @classmethod
    def take(cls, path: Path) -> RunLock:
        """Creates the file, readable by its owner only, and locks it.

        Raises:
            BlockingIOError: If a run holds it.
            FileExistsError: If another program has a file of that name.
            OSError, sqlite3.Error: If the file cannot be created.
        """
        with no_fork:
            if not _may_be_lock(path):
                raise FileExistsError(
                    errno.EEXIST,
                    f"{path.name} next to it belongs to another program: give another path",
                )
            make_private(path)
            return cls(path, _lock(path))

    @staticmethod
    def is_held(path: Path) -> bool:
        """Whether a live run holds this lock. A dead run's lock file is removed.

        Two simultaneous checks would mistake each other for the run: the caller serializes them.
        """
        with no_fork:
            if not (path.exists() and _may_be_lock(path)):
                return False
            try:
                RunLock(path, _lock(path)).release()
            except BlockingIOError:
                return True
            return False

    def release(self) -> None:
        """Unlocks the file and removes it."""
        with no_fork:
            self._connection.close()
            # On Windows an open file cannot be removed; the next run will remove it.
            with contextlib.suppress(OSError):
                self._path.unlink()

    def abandon(self) -> None:
        """Drops the lock's copy in a forked child; the parent keeps the lock.

        Locks belong to a process, so the child holds none. Only its copy in memory is dropped; the
        file is empty, so nothing can be damaged.
        """
        self._connection.close()


def _may_be_lock(path: Path) -> bool:
    """Whether the file is missing or has never been written."""
    return not path.exists() or (path.is_file() and not path.stat().st_size)


def _lock(path: Path) -> sqlite3.Connection:
    """Locks without waiting; raises `BlockingIOError` if another run holds the lock."""
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=rw",
        uri=True,
        timeout=0.0,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        # Nothing is ever written, so SQLite needs no files next to this one.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise BlockingIOError(f"{path} is held") from None
        raise
    return connection
