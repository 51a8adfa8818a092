"""The file behind a journal: its schema, its transactions, and many writes in one commit.

It is SQLite, private to its owner, in a version that is known. A file that is not a journal is
refused and left as it is.
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
# What waits for a write, with what the write returned or raised.
Outcome = tuple["asyncio.Future[Any]", Any]

# Seconds to wait for another process that is writing.
_BUSY_SECONDS = 30.0

# SQLite keeps this number in the file's header; it identifies the application.
_APPLICATION_ID = 0x63617A73

# How an SQLite file begins (https://www.sqlite.org/fileformat.html, 1.3).
_MAGIC = b"SQLite format 3\0"
_HEADER_SIZE = 100
_PAGES, _VERSION, _APPLICATION = 28, 60, 68

# How the files begin that SQLite keeps beside it (1.4, and 1 and 2.2 of walformat.html there).
_BESIDE: dict[str, tuple[bytes, ...]] = {
    "-journal": (b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7",),
    "-wal": (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83"),
    "-shm": ((3_007_000).to_bytes(4, sys.byteorder),),
}

# The file's version is the number of these that it has been through. Never change one: add one.
#
# runs: one row a journal that was opened for writing. `ended` is null while the run is alive, and
#     after it died until another one notices.
# jobs: one row a job, from before it was submitted. Jobs are never removed.
# places: the n-th request with a fingerprint, the job that answers it, and the run that has asked
#     for it; null once that run has ended, and then it is free for the next one.
# outputs: what came of jobs; apart from them, so that lists of jobs stay quick to read.
# places.line: the run that first made a place of this line; 0 for the places of version 1, of which
#     that is not known. places.used: the last run that held it. places.answered: whether that run
#     ended in order and had its answer. runs.line: the line that the run is on.
# places.block: the number of the point that the request is for, among those of the job.
# parts: the jobs that answer a request together, and the number of its point among those of the
#     job; before version 6 it was one job a request. places.repetitions: how many they have; null
#     in a place of before, whose fingerprint is that of one job with its repetitions, and not of a
#     circuit. It is brought up to date when somebody asks for it.
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
        # The job that was handed out the fewest times is the one unused the longest.
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

# Closing any handle on a file ends all locks that this process has on it, SQLite's own among them
# (https://www.sqlite.org/howtocorrupt.html, 2.2). So files are made and opened one at a time. And
# SQLite remembers the locks on a file for the process: the child of a fork in mid-transaction could
# never write. So nobody forks then.
no_fork = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=no_fork.acquire, after_in_parent=no_fork.release, after_in_child=no_fork.release
    )

# How many connections this process has on a file. Guarded by `no_fork`.
_open_here: Counter[tuple[int, int]] = Counter()


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

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is on disk after the block, or rolled back after an error.

        Those of one process take turns.

        Raises:
            JournalError: If it cannot be begun or committed.
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
        """A connection of the caller's own that sees one state of the file throughout."""
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
        """Closes the writing connection; closing twice is harmless."""
        with no_fork:
            self._connection.close()
            _open_here[self._key] -= not self._is_closed
            self._is_closed = True

    def _address(self, mode: str = "rwc") -> str:
        uri = f"{self.path.as_uri()}?mode={mode}"
        is_final = not (os.access(self.path, os.W_OK) or Path(f"{self.path}-wal").exists())
        # SQLite reads a file in a folder where it may not make its `-shm` only if told that nobody
        # writes it meanwhile.
        return f"{uri}&immutable=1" if is_final else uri

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
        """Checks an existing file before anything changes it."""
        if not self.path.exists():
            self._refuse_others_beside()
            return
        if not self.path.is_file():
            raise self._error("it is not a regular file: give the path of a file")
        if self.path.stat().st_nlink > 1:
            raise self._error(_SECOND_NAME)
        if _open_here[_key(self.path)]:
            # To open and close it here would end SQLite's locks, and it has been looked at.
            return
        self._refuse_others_beside()
        header = _begin_of(self.path, _HEADER_SIZE)
        if not header:
            return
        if len(header) < _HEADER_SIZE or not header.startswith(_MAGIC):
            raise self._error(_ADVICE[sqlite3.SQLITE_NOTADB])
        if _number(header, _PAGES) == 1 and not any(header[_VERSION : _VERSION + 12]):
            # The first commits of a database are in its write-ahead log alone at first.
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
            # Of a process that was killed they may be empty, or not have been begun.
            begin = _begin_of(beside, 8)
            if any(begin) and not begin.startswith(magics):
                raise self._error(
                    f"{beside.name} next to it belongs to something else: give another path"
                )

    def _first_page_in_log(self) -> bytes:
        """The header of the first page that the write-ahead log has; none if it has none."""
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
        # Of one moment: another process may be making the journal.
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
        """Translates errors of SQLite and of the file system to `JournalError`."""
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
    """Creates the file if needed, and makes it accessible to its owner only."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        return
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        # What belongs to somebody else may still be read.
        with suppress(PermissionError):
            path.chmod(0o600)


def _key(path: Path) -> tuple[int, int]:
    """The identity of a file, whatever the path to it."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _begin_of(path: Path, size: int) -> bytes:
    """The first bytes of a file; none if there is none, or not any more."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        return file.read(size)
    return b""


def _number(header: bytes, at: int) -> int:
    return int.from_bytes(header[at : at + 4], "big")


_OTHER_DATABASE = "it is another program's database: give another path"
_SECOND_NAME = (
    "it has a second name (a hard link), through which SQLite would miss what is written here: "
    "remove that link, or use a copy"
)
_REPLACED = (
    "it was removed or replaced while it was in use, so that what is written to it is lost: put it "
    "back, or run again with another path"
)
_LATER_VERSION = "a newer cirq-azure-sessions wrote it: update this one"
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
    """Writes to a database, in the order in which they come.

    A transaction that survives power loss waits for the disk, however little it holds. So the
    writes that come in while one is being committed wait, and share the next. One that raises is
    undone and fails alone; where the file fails, all do.

    Args:
        transaction: Gives a context manager: a transaction that is committed when it is left.
        on_failure: Called, on a worker thread, with the error of each write that failed alone, and
            once with that of a transaction.
        on_waiting: Called with True when writes begin to wait, with False when none waits any more.
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
        # State: the writes that wait for the next transaction, each with who waits for it.
        self._waiting: list[tuple[Write[Any], asyncio.Future[Any] | None]] = []
        # Guards the above. Reentrant: garbage collection may end a stream, which posts, on a thread
        # that holds it.
        self._lock = threading.RLock()

    def write(self, work: Write[T]) -> asyncio.Future[T]:
        """Queues a write, on an event loop.

        Returns:
            What `work` returned, once it is durable.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue(work, future)
        return future

    def post(self, work: Write[object]) -> None:
        """Queues a write that nobody waits for."""
        self._queue(work, None)

    def then(self, function: Callable[[], None]) -> None:
        """Runs `function` when everything asked for so far is written or has failed; waits for it.

        It and the transactions take turns.
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
    """What a write returns, or the error that it raises, with all that it wrote undone.

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
        # Where the file has failed, SQLite may have ended the whole transaction.
        if connection.in_transaction:
            connection.execute("RELEASE alone")


def _answer(outcomes: list[Outcome]) -> None:
    """Wakes each event loop once, however many wait on it."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Outcome]] = defaultdict(list)
    for future, outcome in outcomes:
        by_loop[future.get_loop()].append((future, outcome))
    for loop, pairs in by_loop.items():
        # Who waited on a loop that has been closed in the meantime waits no more.
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
