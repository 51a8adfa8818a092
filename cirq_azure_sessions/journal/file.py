"""The file behind a journal: SQLite, private to its owner, in a version that is known."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from cirq_azure_sessions.errors import JournalError

__all__ = ["JournalFile"]

# Seconds to wait for another process that is writing.
_BUSY_SECONDS = 30.0

# SQLite keeps this number in the file's header; it says whose the file is.
_APPLICATION_ID = 0x63617A73

# The file's version is the number of these that it has been through. Never change one: add one.
#
# runs: one row a journal that was opened for writing. `ended` is null while the run is alive, and
#     after it died until another one notices.
# jobs: one row a job, from before it was submitted. Jobs are never removed.
# places: the n-th request with a fingerprint, the job that answers it, and the run that has asked
#     for it; null once that run is over, and then it is free for the next one.
# outputs: what came of jobs; apart from them, so that lists of jobs stay quick to read.
# sessions: one row a session that a pool opened; `closed` is null while it may be open.
_VERSIONS = (
    (
        """
        CREATE TABLE runs (
            id INTEGER PRIMARY KEY,
            host TEXT NOT NULL,
            pid INTEGER NOT NULL,
            started REAL NOT NULL,
            ended REAL
        )
        """,
        "CREATE INDEX runs_not_ended ON runs (id) WHERE ended IS NULL",
        """
        CREATE TABLE jobs (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            fingerprint TEXT NOT NULL,
            occurrence INTEGER NOT NULL,
            target TEXT NOT NULL,
            name TEXT NOT NULL,
            session_id TEXT,
            output_format TEXT NOT NULL,
            input_params TEXT NOT NULL,
            metadata TEXT NOT NULL,
            state TEXT NOT NULL,
            status TEXT,
            code TEXT NOT NULL DEFAULT '',
            message TEXT NOT NULL DEFAULT '',
            cost TEXT,
            creation_time REAL,
            begin_time REAL,
            end_time REAL,
            written REAL NOT NULL,
            changed REAL NOT NULL
        )
        """,
        """
        CREATE TABLE places (
            fingerprint TEXT NOT NULL,
            occurrence INTEGER NOT NULL,
            job INTEGER NOT NULL REFERENCES jobs,
            run INTEGER REFERENCES runs,
            PRIMARY KEY (fingerprint, occurrence)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX places_of_run ON places (run, fingerprint, occurrence)",
        "CREATE TABLE outputs (job INTEGER PRIMARY KEY REFERENCES jobs, payload BLOB NOT NULL)",
        """
        CREATE TABLE sessions (
            id TEXT PRIMARY KEY,
            run INTEGER NOT NULL REFERENCES runs,
            workspace TEXT NOT NULL,
            target TEXT NOT NULL,
            name TEXT NOT NULL,
            opened REAL NOT NULL,
            closed REAL
        )
        """,
        "CREATE INDEX sessions_not_closed ON sessions (run) WHERE closed IS NULL",
    ),
)

# Closing any handle on a file ends all locks that this process has on it, SQLite's own among them
# (https://www.sqlite.org/howtocorrupt.html, 2.2). So files are made and opened one at a time. And
# SQLite remembers the locks on a file for the process: the child of a fork in mid-transaction could
# never write. So nobody forks then.
_lock = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )


class JournalFile:
    """One connection that writes, for one thread at a time, and one for each reader.

    Args:
        path: Where the file is, or is to be made, with mode 0600. SQLite gives the same mode to
            the `-wal` and `-shm` files beside it.

    Raises:
        JournalError: If the file cannot be opened, or is not a journal, or a later version's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _lock, self._translating():
            _make_private(path)
            self._connection = self._connect(path.as_uri())
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is on the disk once it is left, or undone if it is left by an error.

        Those of one process take turns.

        Raises:
            JournalError: If it cannot be begun or committed.
        """
        connection = self._connection
        with _lock, self._translating():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection of the caller's own that sees one state of the file throughout."""
        with (
            self._translating(),
            closing(self._connect(f"{self.path.as_uri()}?mode=ro")) as connection,
        ):
            connection.execute("BEGIN")
            yield connection

    def close(self) -> None:
        """Closes the connection that writes."""
        self._connection.close()

    def _connect(self, uri: str) -> sqlite3.Connection:
        # The threads of a lane take turns.
        connection = sqlite3.connect(
            uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        return connection

    def _prepare(self) -> None:
        """Brings the file to the latest version and makes what is committed survive power loss."""
        self._check_owner()
        self._enter_wal()
        self._connection.execute("PRAGMA synchronous = FULL")
        with self.transaction() as connection:
            for number in range(self._version(), len(_VERSIONS)):
                for statement in _VERSIONS[number]:
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {len(_VERSIONS)}")

    def _check_owner(self) -> None:
        # Of one moment: another process may be making the journal.
        self._connection.execute("BEGIN")
        (application_id,) = self._connection.execute("PRAGMA application_id").fetchone()
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        self._connection.execute("COMMIT")
        if tables and application_id != _APPLICATION_ID:
            raise self._error("it is some other program's database: give another path")
        if self._version() > len(_VERSIONS):
            raise self._error("a later cirq-azure-sessions wrote it: update this one")

    def _version(self) -> int:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        return int(version)

    def _enter_wal(self) -> None:
        """Switches to write-ahead logging, which the file then keeps."""
        # Where two processes make the same journal at once, SQLite refuses the switch to one of
        # them without waiting; an empty transaction waits.
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute("COMMIT")

    @contextmanager
    def _translating(self) -> Iterator[None]:
        """The door at which the errors of SQLite and of the file system become ours."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            raise self._error(_ADVICE.get(code, f"SQLite says {error}")) from error
        except OSError as error:
            raise self._error(error.strerror or str(error)) from error

    def _error(self, advice: str) -> JournalError:
        return JournalError(f"The journal {self.path} cannot be used: {advice}.")


def _make_private(path: Path) -> None:
    """Makes the file if there is none; takes it from everybody but its owner."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        return
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        path.chmod(0o600)


_ADVICE = {
    sqlite3.SQLITE_BUSY: f"another process has been writing to it for {_BUSY_SECONDS:g} s: end "
    "that process or give another path",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check that its directory exists and is yours",
    sqlite3.SQLITE_CORRUPT: "it is damaged: put back a copy of it, or move it away and look at "
    "your workspace for the jobs of earlier runs",
    sqlite3.SQLITE_FULL: "there is no room for it: make room on the disk and run again",
    sqlite3.SQLITE_IOERR: "the disk does not take or give the data: check its room, its quota and "
    "its health, then run again",
    sqlite3.SQLITE_NOTADB: "it is some other program's file: give another path",
    sqlite3.SQLITE_READONLY: "it may not be written: check the permissions of the file and of its "
    "directory",
}
