"""The file of a journal: schema, transactions and group commit.

The file is an SQLite database that only its owner can read, with a version number. A file that is
not a journal is refused and left unchanged.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from cirq_azure_sessions.errors import JournalError
from cirq_azure_sessions.executor import DaemonExecutor
from cirq_azure_sessions.options import shortened

__all__ = ["GroupCommit", "JournalFile", "make_private", "no_fork"]

T = TypeVar("T")

Write = Callable[[sqlite3.Connection], T]
# Receives what a write returned or raised.
Outcome = tuple["asyncio.Future[Any]", Any]

# Seconds to wait for another process that is writing.
_BUSY_SECONDS = 30.0

# SQLite keeps this number in the file's header; it identifies the application.
_APPLICATION_ID = 0x63617A73

# The first bytes of an SQLite file (https://www.sqlite.org/fileformat.html, 1.3).
_MAGIC = b"SQLite format 3\0"
_HEADER_SIZE = 100
_PAGES, _VERSION, _APPLICATION = 28, 60, 68

# The first bytes of SQLite's files beside it (1.4, and 1 and 2.2 of walformat.html there).
_BESIDE: dict[str, tuple[bytes, ...]] = {
    "-journal": (b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7",),
    "-wal": (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83"),
    "-shm": ((3_007_000).to_bytes(4, sys.byteorder),),
}

# Migrations. A file's version is the number of those applied to it. Never change one; append.
#
# runs: one row for each opening for writing. `ended` is null while the run is alive, and
#     after a crash until another run notices.
# jobs: one row for each job, inserted before it is submitted. Jobs are never removed.
# places: the n-th request with a fingerprint, the job that answers it, and the run that holds it;
#     null once that run has ended and the place is free.
# outputs: the results of jobs, in a table of their own so that listing jobs stays fast.
# places.line: the run that began this line of places; 0 for places of version 1, where it is not
#     known. places.used: the last run that held it. places.answered: whether that run closed its
#     journal and had its answer. runs.line: the line that the run is on.
# places.block: the index of the request's point among the points of the job.
# parts: the jobs that answer a request together, and the index of its point in each job; before
#     version 6 a request had one job. places.repetitions: their total; null in a place of an older
#     version, whose fingerprint is that of a job with its repetitions instead of a circuit. Such a
#     place is migrated when it is requested.
# sessions: one row for each session that a pool opened; `closed` is null while it may be open.
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
    (
        "ALTER TABLE places ADD COLUMN line INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE places ADD COLUMN used INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX places_free ON places (fingerprint, line, occurrence) WHERE run IS NULL",
        "CREATE INDEX places_used ON places (line, used) WHERE run IS NULL",
        "CREATE INDEX places_held ON places (fingerprint, line, run) WHERE run IS NOT NULL",
    ),
    (
        "DROP INDEX places_free",
        "DROP INDEX places_used",
        "ALTER TABLE places DROP COLUMN used",
        "ALTER TABLE places ADD COLUMN uses INTEGER NOT NULL DEFAULT 0",
        """
        CREATE INDEX places_free ON places (fingerprint, uses, line, occurrence)
        WHERE run IS NULL
        """,
        "CREATE INDEX places_line ON places (fingerprint, line)",
    ),
    (
        "ALTER TABLE places ADD COLUMN block INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX places_packed ON places (job) WHERE block > 0",
    ),
    (
        "DROP INDEX places_free",
        "DROP INDEX places_held",
        # The job that was used the fewest times is the one unused for the longest.
        "ALTER TABLE places RENAME COLUMN uses TO used",
        "ALTER TABLE places ADD COLUMN answered INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE runs ADD COLUMN line INTEGER",
        "CREATE INDEX places_free ON places (fingerprint, occurrence) WHERE run IS NULL",
        """
        CREATE INDEX places_used ON places (fingerprint, answered, used, occurrence, line)
        WHERE run IS NULL
        """,
    ),
    (
        """
        CREATE TABLE parts (
            fingerprint TEXT NOT NULL,
            occurrence INTEGER NOT NULL,
            part INTEGER NOT NULL,
            job INTEGER NOT NULL REFERENCES jobs,
            block INTEGER NOT NULL,
            repetitions INTEGER NOT NULL,
            PRIMARY KEY (fingerprint, occurrence, part)
        ) WITHOUT ROWID
        """,
        "INSERT INTO parts SELECT fingerprint, occurrence, 0, job, block, 0 FROM places",
        "CREATE INDEX parts_of_job ON parts (job)",
        "CREATE INDEX parts_mixed ON parts (job) WHERE block > 0 OR part > 0",
        "DROP INDEX places_packed",
        "DROP INDEX places_used",
        "ALTER TABLE places DROP COLUMN block",
        "ALTER TABLE places DROP COLUMN job",
        "ALTER TABLE places ADD COLUMN repetitions INTEGER",
        "CREATE INDEX places_repetitions ON places (repetitions)",
        """
        CREATE INDEX places_used
        ON places (fingerprint, repetitions, answered, used, occurrence, line) WHERE run IS NULL
        """,
    ),
)

# Closing any handle on a file releases all locks that this process has on it, SQLite's included
# (https://www.sqlite.org/howtocorrupt.html, 2.2). So files are created and opened one at a time.
# And SQLite remembers the locks on a file for the process: the child of a fork in mid-transaction
# could never write, and one of a fork while another thread reads may wait for ever for a lock that
# this thread held in memory. So forks wait.
no_fork = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=no_fork.acquire, after_in_parent=no_fork.release, after_in_child=no_fork.release
    )

# How many connections this process has on a file. Guarded by `no_fork`.
_open_here: Counter[tuple[int, int]] = Counter()


class JournalFile:
    """An SQLite file: one connection for writing, on one thread at a time, and one per reader.

    Args:
        path: The file; created with mode 0600 if there is none. SQLite gives the same mode to
            the `-wal` and `-shm` files beside it.

    Raises:
        JournalError: If the file cannot be opened, is not a journal, or has a newer version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_closed = False
        with no_fork, self._translating():
            self._refuse_what_is_no_journal()
            make_private(path)
            self._connection = self._connect(self._address())
            self._key = _key(path)
            _open_here[self._key] += 1
            try:
                self._prepare()
            except BaseException:
                self.close()
                raise

    def check(self) -> None:
        """Compares every index with its table, in 20 µs per job.

        Reading alone misses a page in the place of another: requests recorded on it seem new.

        Raises:
            JournalError: If the file is damaged.
        """
        with no_fork, self._translating():
            (result,) = self._connection.execute("PRAGMA integrity_check(1)").fetchone()
        if result != "ok":
            raise self._error(_DAMAGED)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction, durable after the block and rolled back after an error.

        Transactions of one process run one at a time.

        Raises:
            JournalError: If it cannot begin or commit.
        """
        connection = self._connection
        with no_fork, self._translating():
            self._check_in_place()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A separate connection with a consistent snapshot of the file."""
        with self._translating():
            with no_fork:
                self._check_in_place()
                connection = self._connect(self._address(mode="ro"))
                _open_here[self._key] += 1
            try:
                with closing(connection):
                    connection.execute("BEGIN")
                    yield connection
            finally:
                _open_here[self._key] -= 1

    def close(self) -> None:
        """Closes the connection for writing; closing twice is harmless."""
        with no_fork:
            self._connection.close()
            _open_here[self._key] -= not self._is_closed
            self._is_closed = True

    def _address(self, mode: str = "rwc") -> str:
        uri = f"{self.path.as_uri()}?mode={mode}"
        is_writable = os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK)
        is_final = not (is_writable or Path(f"{self.path}-wal").exists())
        # In a folder where SQLite may not create its `-shm` file, it reads a database only if it is
        # told that nothing changes it meanwhile.
        return f"{uri}&immutable=1" if is_final else uri

    def _connect(self, uri: str) -> sqlite3.Connection:
        # The threads of an executor take turns.
        connection = sqlite3.connect(
            uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        return connection

    def _prepare(self) -> None:
        """Applies missing migrations and makes commits survive a power failure."""
        self._check_owner()
        self._enter_wal()
        self._connection.execute("PRAGMA synchronous = FULL")
        if self._version() == len(_VERSIONS):
            # Reading a journal does not change it.
            return
        with self.transaction() as connection:
            for number in range(self._version(), len(_VERSIONS)):
                for statement in _VERSIONS[number]:
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {len(_VERSIONS)}")

    def _refuse_what_is_no_journal(self) -> None:
        """Checks an existing file before it is changed."""
        if not self.path.exists():
            self._refuse_others_beside()
            return
        if not self.path.is_file():
            raise self._error("it is not a regular file: give the path of a file")
        if self.path.stat().st_nlink > 1:
            raise self._error(_SECOND_NAME)
        if _open_here[_key(self.path)]:
            # Opening and closing it here would release SQLite's locks; it was checked before.
            return
        self._refuse_others_beside()
        header = _begin_of(self.path, _HEADER_SIZE)
        if not header:
            return
        if len(header) < _HEADER_SIZE or not header.startswith(_MAGIC):
            raise self._error(_ADVICE[sqlite3.SQLITE_NOTADB])
        if _number(header, _PAGES) == 1 and not any(header[_VERSION : _VERSION + 12]):
            # The first commits of a database may be in its write-ahead log only.
            header = self._first_page_in_log()
            if not header:
                return
        if _number(header, _APPLICATION) != _APPLICATION_ID:
            raise self._error(_OTHER_DATABASE)
        if _number(header, _VERSION) > len(_VERSIONS):
            raise self._error(_LATER_VERSION)

    def _refuse_others_beside(self) -> None:
        """Checks neighbouring files that SQLite would overwrite or delete as its own."""
        for suffix, magics in _BESIDE.items():
            beside = Path(f"{self.path}{suffix}")
            # A process that was killed may have left them empty or zeroed.
            begin = _begin_of(beside, 8)
            if any(begin) and not begin.startswith(magics):
                raise self._error(
                    f"{beside.name} next to it belongs to another program: give another path"
                )

    def _first_page_in_log(self) -> bytes:
        """The first page's header in the write-ahead log; empty if there is none."""
        with suppress(FileNotFoundError), Path(f"{self.path}-wal").open("rb") as log:
            size = _number(log.read(32).ljust(32, b"\0"), 8)
            while len(frame := log.read(24 + size)) > 24 + _HEADER_SIZE:
                if _number(frame, 0) == 1:
                    return frame[24 : 24 + _HEADER_SIZE]
        return b""

    def _check_in_place(self) -> None:
        """Checks that the open file is still the one at the path, where the next run looks."""
        with suppress(FileNotFoundError):
            if _key(self.path) == self._key:
                return
        raise self._error(_REPLACED)

    def _check_owner(self) -> None:
        # One snapshot: another process may be creating the journal.
        self._connection.execute("BEGIN")
        (application_id,) = self._connection.execute("PRAGMA application_id").fetchone()
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        self._connection.execute("COMMIT")
        if tables and application_id != _APPLICATION_ID:
            raise self._error(_OTHER_DATABASE)
        if self._version() > len(_VERSIONS):
            raise self._error(_LATER_VERSION)

    def _version(self) -> int:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        return int(version)

    def _enter_wal(self) -> None:
        """Switches to write-ahead logging, which the file then keeps."""
        # When two processes create a journal at the same time, SQLite refuses the switch to one of
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
        """Translates errors from SQLite and the file system to `JournalError`."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
            other = f"SQLite says {shortened(str(error))}: restore a backup, or give another path"
            raise self._error(_ADVICE.get(code, other)) from error
        except UnicodeDecodeError as error:
            # SQLite's message quotes a damaged name.
            raise self._error(_DAMAGED) from error
        except OSError as error:
            raise self._error(error.strerror or str(error)) from error

    def _error(self, advice: str) -> JournalError:
        return JournalError(
            f"The journal {shortened(str(self.path), 250)} cannot be used: {advice}."
        )


def make_private(path: Path) -> None:
    """Creates the file if needed, and makes it accessible to its owner only.

    A read-only file stays read-only.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        # Another user's file can still be read.
        with suppress(PermissionError):
            path.chmod(mode & 0o600)


def _key(path: Path) -> tuple[int, int]:
    """The identity of a file, whatever the path to it."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _begin_of(path: Path, size: int) -> bytes:
    """The first bytes of a file; empty if the file does not exist."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        return file.read(size)
    return b""


def _number(header: bytes, at: int) -> int:
    return int.from_bytes(header[at : at + 4], "big")


_OTHER_DATABASE = "it is another program's database: give another path"
_SECOND_NAME = (
    "it has another hard link, and SQLite does not see changes made through the other name: remove "
    "that link, or use a copy"
)
_REPLACED = (
    "it was removed or replaced while it was in use, so everything written to it would be lost: "
    "put it back, or run again with another path"
)
_LATER_VERSION = "it was written by a newer cirq-azure-sessions: update this one"
_DAMAGED = (
    "it is damaged: restore a backup, or move it away and look for the jobs of earlier runs in "
    "your workspace"
)
_ADVICE = {
    sqlite3.SQLITE_BUSY: f"another process has been writing to it for {_BUSY_SECONDS:g} s: end "
    "that process or give another path",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check that its directory exists and is writable",
    sqlite3.SQLITE_CONSTRAINT: _DAMAGED,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_FULL: "the disk is full: free some space and run again",
    sqlite3.SQLITE_IOERR: "the disk cannot be read or written: check its space, quota and health, "
    "then run again",
    sqlite3.SQLITE_NOTADB: "it is another program's file: give another path",
    sqlite3.SQLITE_READONLY: "it is not writable: check the permissions of the file and of its "
    "directory",
}


class GroupCommit:
    """Writes to a database in order, with many writes in one commit.

    Every durable commit waits for the disk, even a small one. So writes that arrive during a commit
    share the next one. A write that raises is undone and fails alone; if the file fails, all fail.

    Args:
        transaction: Returns a context manager for a transaction, which commits on exit.
        on_failure: Called on a worker thread, once with the error of each write that failed alone,
            and once for each transaction that failed.
        on_waiting: Called with True when writes begin to wait, and with False when none is waiting.
    """

    def __init__(
        self,
        transaction: Callable[[], AbstractContextManager[sqlite3.Connection]],
        on_failure: Callable[[Exception], None],
        on_waiting: Callable[[bool], None] = lambda is_waiting: None,
    ) -> None:
        self._transaction = transaction
        self._on_failure = on_failure
        self._on_waiting = on_waiting
        self._executor = DaemonExecutor(name="cirq-azure-sessions-journal")
        # State: the writes for the next transaction, each with the callback that waits for it.
        self._waiting: list[tuple[Write[Any], asyncio.Future[Any] | None]] = []
        # Guards the above. Reentrant: garbage collection may close a stream, which posts, on a
        # thread that holds it.
        self._lock = threading.RLock()

    def write(self, work: Write[T]) -> asyncio.Future[T]:
        """Queues a write and waits for it, on an event loop.

        Returns:
            What `work` returned, once it is durable.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue(work, future)
        return future

    def post(self, work: Write[object]) -> None:
        """Queues a write without waiting for it."""
        self._queue(work, None)

    def then(self, function: Callable[[], None]) -> None:
        """Runs `function` after all queued writes have finished or failed, and waits for it.

        No transaction runs at the same time.
        """
        self._executor.submit(function).result()

    def _queue(self, work: Write[Any], future: asyncio.Future[Any] | None) -> None:
        with self._lock:
            self._waiting.append((work, future))
            is_first = len(self._waiting) == 1
            if is_first:
                self._on_waiting(True)
        if is_first:
            self._executor.submit(self._commit)

    def _commit(self) -> None:
        with self._lock:
            writes, self._waiting = self._waiting, []
        try:
            with self._transaction() as connection:
                outcomes = [_run_alone(work, connection) for work, _ in writes]
            failures = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        except Exception as error:
            outcomes, failures = [error] * len(writes), [error]
        _answer(
            [(future, out) for (_, future), out in zip(writes, outcomes, strict=True) if future]
        )
        for failure in failures:
            self._on_failure(failure)
        with self._lock:
            if not self._waiting:
                self._on_waiting(False)


def _run_alone(work: Write[Any], connection: sqlite3.Connection) -> Any:
    """The return value of a write, or the error that it raised, with its changes undone.

    Raises:
        sqlite3.Error: If the file has failed or is damaged, which is no fault of this write.
    """
    connection.execute("SAVEPOINT alone")
    try:
        return work(connection)
    except Exception as error:
        is_of_values = isinstance(error, sqlite3.DataError | sqlite3.ProgrammingError)
        if isinstance(error, sqlite3.Error) and not is_of_values:
            raise
        connection.execute("ROLLBACK TO alone")
        return error
    finally:
        # If the file has failed, SQLite may have ended the whole transaction.
        if connection.in_transaction:
            connection.execute("RELEASE alone")


def _answer(outcomes: list[Outcome]) -> None:
    """Wakes each event loop once, for all writes that wait on it."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Outcome]] = defaultdict(list)
    for future, outcome in outcomes:
        by_loop[future.get_loop()].append((future, outcome))
    for loop, pairs in by_loop.items():
        # If the loop has been closed meanwhile, nothing waits on it any more.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_resolve, pairs)


def _resolve(outcomes: list[Outcome]) -> None:
    for future, outcome in outcomes:
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
