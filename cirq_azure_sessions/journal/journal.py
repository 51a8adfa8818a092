"""The durable record of jobs: requests, the jobs that were submitted for them, and their outcomes.

A job is recorded before the first request that could cost anything, so a run that is killed at any
instant leaves a record of every job that the service may have. The next run makes the same requests
in the same order, gets the same jobs, and submits only those that were never submitted.

The file contains hashes of requests instead of programs, and no SAS signatures or keys, even if a
result quotes one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import platform
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any, TypeVar

from cirq_azure_sessions import process
from cirq_azure_sessions.clock import Clock, SystemClock
from cirq_azure_sessions.errors import (
    AzureSessionsError,
    JobCancelled,
    JobError,
    JobFailed,
    JournalError,
    ResultNotAvailable,
)
from cirq_azure_sessions.journal.file import GroupCommit, JournalFile, no_fork
from cirq_azure_sessions.journal.lock import RunLock
from cirq_azure_sessions.journal.rows import (
    EntryState,
    JobTable,
    JournalEntry,
    JournalRun,
    JournalSession,
    Place,
    columns_of,
    read_row,
)
from cirq_azure_sessions.model import Job, JobRequest, JobStatus, SessionRequest
from cirq_azure_sessions.options import PATH, WHOLE, check_option, checked, shortened
from cirq_azure_sessions.pickling import Arguments, PickledAsRecipe
from cirq_azure_sessions.redaction import redact_bytes

__all__ = ["FindJob", "Journal", "open_journal"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Returns the service's job with an id; None if it does not know it.
FindJob = Callable[[str], Awaitable[Job | None]]

_ENDS: dict[type[JobError], EntryState] = {
    JobFailed: EntryState.FAILED,
    JobCancelled: EntryState.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class _Run:
    """One opening of a journal for writing, with the lock that shows that it is alive."""

    id: int
    lock: RunLock


class Journal(PickledAsRecipe):
    """A file that records jobs and sessions across runs.

    A *run* is one `Journal`, from its first write until it is closed or its process ends. Two live
    runs never hold the same job. A job that was submitted for a run that has ended goes to the next
    run that requests the same circuit, and only missing repetitions are submitted. If one run
    requests the same circuit twice, there are two jobs.

    Which jobs a request gets: each request has a *place*, with the jobs that were submitted for it.
    It gets as many of their repetitions as it needs, in the order of submission; one more job in
    the same place supplies what is missing. If runs follow one another, the n-th request of a run
    for a circuit gets the n-th place. So a program that is run again gets its own jobs in order,
    and continues where they end. Runs that are alive at the same time have separate places, one
    *line* per run. If there are several lines, a later run gets the free place that

    1. has the fewest repetitions of those with enough, or else the most,
    2. belonged to a run that was killed or interrupted before it had the result,
    3. is in a line that no other live run uses,
    4. has been unused for the longest time,
    5. is the oldest.

    So runs that shared a journal can be repeated in any order, and no job is used twice before all
    others of its size have been used once. If no place is free, the request gets a new one in the
    line of its run.

    Thread-safe, and safe for several processes on one machine; not for a network file system,
    where SQLite's write-ahead log does not work. Every record is durable before it counts
    (`PRAGMA synchronous = FULL`).

    A job that the service accepted is never submitted again just because a response is missing. If
    the service no longer knows the job, every run waits for it for some minutes and then fails that
    point. Only the user can have it submitted again, with `forget` or `resubmit_lost`.

    Args:
        path: The file; created with mode 0600 if it does not exist.
        clock: The clock for the times in the rows.
        resubmit_lost: Whether to submit a job again that an earlier run waited for in vain and that
            the service still does not know. You may then pay for it twice.

    Raises:
        JournalError: If the file cannot be opened, or is not a journal.
    """

    @checked()
    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Clock | None = None,
        resubmit_lost: bool = False,
    ) -> None:
        if not os.fspath(path):
            raise JournalError("The path of the journal is empty: give the path of a file.")
        # Resolved, because SQLite's files and the run locks are next to the file itself.
        self._path = Path(os.path.realpath(path))
        self._resubmit_lost = resubmit_lost
        self._clock: Clock = clock or SystemClock()
        self._jobs = JobTable(self._clock)
        # State: the open file, and the run with its lock, begun by the first write. Only the thread
        # that commits touches them, so they need no lock.
        self._file: JournalFile | None = JournalFile(self._path)
        self._run: _Run | None = None
        self._is_closed = False
        # Never reset: nothing is ever removed from a journal.
        self._has_others = False
        self._commits = self._new_commits()
        process.register(self)

    @property
    def path(self) -> Path:
        """The path of the file."""
        return self._path

    # Jobs

    async def _claim(self, request: JobRequest) -> JournalEntry:
        """Claims the job that answers this request: one of an earlier run, or a new one.

        Call it in the order of the requests; what counts is the order of the calls, not of the
        awaits. A new job, which has the request's own id, is durable when this returns. So is a job
        that replaces one that failed or was cancelled in an earlier run.

        Raises:
            JournalError: If the job cannot be recorded; it must not be submitted then.
        """

        def work(file: sqlite3.Connection, taken: list[Place]) -> JournalEntry:
            entry = self._jobs.claim(file, request, self._run_id)
            if entry.places != request.places:
                taken.extend(entry.places)
            return entry

        return await self._taking(work)

    async def _taking(self, work: Callable[[sqlite3.Connection, list[Place]], T]) -> T:
        """The result of a write that takes places, which it adds to a list."""
        taken: list[Place] = []
        try:
            return await self._commits.write(lambda file: work(file, taken))
        except asyncio.CancelledError:
            # The write still happens, and no caller is left to give the places back.
            self._give_back(taken)
            raise

    async def _answer(
        self, request: JobRequest, entry: JournalEntry, find: FindJob
    ) -> tuple[JournalEntry, JobRequest, Job | None]:
        """The job that answers a request, or the request to send if the service has no such job.

        Args:
            request: What to send if no earlier run sent it.
            entry: The job that was claimed for the request, or taken from an earlier run.
            find: Asks the service for the job with an id.

        Returns:
            The job's entry, with the output if it is stored; the request, under the id that it had
            before; and the job, if the service has it. After an error, nothing may be sent.
        """
        if entry.is_new:
            return entry, request, None
        state, job = await self._look_up(entry, find)
        if state is EntryState.INTENDED and entry.fingerprint != request.fingerprint:
            # It never arrived, and was also for other points.
            state = EntryState.FORGOTTEN
        # 1. There will be no result.
        if state.is_without_result:
            return await self._renew(entry, request, state, job), request, None
        # 2. The result has been fetched.
        if entry.is_finished and entry.output is None:
            finished = entry
            output = await self._commits.write(lambda file: self._jobs.output(file, finished))
            entry = replace(entry, output=output)
        # 3. The service has it, or it never arrived: then it is submitted again under the same id.
        request = replace(request, id=entry.job_id, name=entry.name, metadata=entry.metadata)
        return entry, request, job

    async def _take(
        self, asked: Sequence[tuple[str, Sequence[tuple[str, int]], int]]
    ) -> list[tuple[int, list[JournalEntry]]]:
        """Takes a place for each request, with its jobs, as `JobTable.take` returns them.

        This run holds them from now on, including those without a result.

        Args:
            asked: For each request, the fingerprint of its circuit, the argument of
                `JobTable.migrate` for it, and the number of repetitions.
        """

        def work(
            file: sqlite3.Connection, taken: list[Place]
        ) -> list[tuple[int, list[JournalEntry]]]:
            for circuit, earlier in {circuit: earlier for circuit, earlier, _ in asked}.items():
                self._jobs.migrate(file, circuit, earlier)
            found = []
            for circuit, _, repetitions in asked:
                found.append(self._jobs.take(file, circuit, repetitions, self._run_id))
                taken.append((circuit, found[-1][0], 0))
            return found

        return await self._taking(work)

    async def _look_up(self, entry: JournalEntry, find: FindJob) -> tuple[EntryState, Job | None]:
        """The current state of an earlier run's job, and the job itself, if it exists.

        `find` asks the service for the job with an id. Its response is not recorded here.
        """
        # 1. The result was fetched, or there is none.
        if entry.is_finished or entry.state.is_without_result:
            return entry.state, entry.job if entry.is_finished else None
        # 2. A run ended while it was submitting or waiting: ask the service.
        job = await find(entry.job_id)
        if job is None and not entry.is_accepted:
            return EntryState.INTENDED, None
        if job is None:
            job = self._missing(entry)
            return (EntryState.FORGOTTEN, None) if job is None else (EntryState.LOST, job)
        # 3. Probably cancelled together with that run; it has no result in any case.
        is_cancelled = job.status is JobStatus.CANCELLED
        return EntryState.CANCELLED if is_cancelled else EntryState.ACCEPTED, job

    def _ended(self, entry: JournalEntry, state: EntryState, job: Job | None) -> None:
        """Records that the job has no result; the next request in its places makes a new one."""
        ended = {"state": state, **columns_of(job)}
        self._commits.post(lambda file: self._jobs.update(file, entry, **ended))

    def _is_mixed(self, repetitions: int) -> bool:
        """Whether the file is known to have jobs of several points, or with other repetitions."""
        if self._has_others:
            return True
        with no_fork, self._reading() as file:
            # Null comes from an earlier version. Each term is a search in the index.
            others = "repetitions < ?1 OR repetitions > ?1 OR repetitions IS NULL"
            odd = file.execute(f"SELECT 1 FROM places WHERE {others} LIMIT 1", (repetitions,))
            parts = file.execute("SELECT 1 FROM parts WHERE block > 0 OR part > 0 LIMIT 1")
            self._has_others = parts.fetchone() is not None
            return self._has_others or odd.fetchone() is not None

    async def _renew(
        self, entry: JournalEntry, request: JobRequest, state: EntryState, job: Job | None
    ) -> JournalEntry:
        """A new job, under the request's id, that replaces one without a result.

        Args:
            entry: The job to replace.
            request: The new one.
            state: The final state of the job to replace.
            job: That job, as last described by the service; None if the service does not have it.

        Raises:
            JournalError: If the job cannot be recorded; it must not be submitted then.
        """

        def work(file: sqlite3.Connection) -> JournalEntry:
            self._jobs.update(file, entry, state=state, **columns_of(job))
            return self._jobs.insert(file, request, entry.places)

        return await self._commits.write(work)

    def _missing(self, entry: JournalEntry) -> Job | None:
        """An accepted job that the service does not show; None if it may be submitted again.

        The job has been paid for, so the run waits for it unless the user has decided otherwise.
        """
        if self._resubmit_lost and entry.state is EntryState.LOST:
            return None
        logger.warning(
            "The service does not show job %s on %s, which it accepted in an earlier run: "
            "waiting for it. `cirq-azure-sessions journal forget %s %s` lets the next run "
            "submit it again.",
            entry.job_id,
            entry.target,
            quote(str(self.path)),
            entry.job_id,
        )
        return replace(entry.job, status=JobStatus.WAITING)

    def _accepted(self, entry: JournalEntry, job: Job) -> None:
        """Records that the service has the job; not urgent, since its id finds it too."""
        self._commits.post(
            lambda file: self._jobs.update(
                file, entry, state=EntryState.ACCEPTED, session_id=job.session_id
            )
        )

    async def _finished(self, entry: JournalEntry, job: Job, output: Any) -> None:
        """Records the result; returns when it is on disk.

        If it cannot be recorded, or is neither bytes nor text, the caller still gets the result;
        the problem is logged, and the next run fetches the result from the service.
        """

        def work(file: sqlite3.Connection) -> None:
            self._jobs.store_output(file, entry, redact_bytes(_bytes_of(output)))
            self._jobs.update(file, entry, state=EntryState.FINISHED, **columns_of(job))

        # The problem has been logged.
        with suppress(Exception):
            await self._commits.write(work)

    def _failed(self, entry: JournalEntry, job: Job | None, error: Exception) -> None:
        """Records that the job has no output; the next equal request retries it if that is safe.

        Whether it is still running or was never sent is not known here, and not recorded.

        Args:
            entry: The job in the journal.
            job: The job, as last described by the service; None if the service may not have it.
            error: The reason for the missing output.
        """
        if job is not None and job.status.has_result:
            self._unavailable(entry, job, error)
        elif isinstance(error, JobError) and not isinstance(error, ResultNotAvailable):
            self._ended(entry, _ENDS.get(type(error), EntryState.LOST), job)

    def _unavailable(self, entry: JournalEntry, job: Job, error: Exception) -> None:
        """Records that the job succeeded, but that its output is missing, refused or invalid.

        The job has been paid for, so the next equal request fetches the output again instead of
        being sent.
        """
        # Errors of other packages may quote anything, including secrets.
        words = str(error) if isinstance(error, AzureSessionsError) else ""
        described = columns_of(job) | {"code": type(error).__name__, "message": words}

        def work(file: sqlite3.Connection) -> None:
            self._jobs.update(file, entry, state=EntryState.UNAVAILABLE, **described)

        self._commits.post(work)

    def _give_back(self, places: Sequence[Place]) -> None:
        """Frees the places of requests whose results did not reach the caller.

        Called once by the call that holds the places, when none of its jobs is in flight. The same
        requests, made again in this run or a later one, then get the same jobs.
        """
        self._commits.post(
            lambda file: file.executemany(
                "UPDATE places SET run = NULL WHERE fingerprint = ? AND occurrence = ? AND run = ?",
                [(*place[:2], self._run_id) for place in places],
            )
        )

    # Sessions

    async def _opening(self, request: SessionRequest, workspace: str) -> None:
        """Records a session that a pool is about to open; it is durable when this returns.

        Raises:
            JournalError: If it cannot be recorded; the session must not be opened then.
        """
        row = (request.id, workspace, request.target, request.name, self._clock.time())
        await self._commits.write(
            lambda file: file.execute(
                "INSERT INTO sessions (run, id, workspace, target, name, opened) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (self._run_id, *row),
            )
        )

    def _closed(self, session_id: str) -> None:
        """Records that the session has ended."""
        now = self._clock.time()
        self._commits.post(
            lambda file: file.execute(
                "UPDATE sessions SET closed = ? WHERE id = ?", (now, session_id)
            )
        )

    async def _inherit_sessions(self, workspace: str) -> list[JournalSession]:
        """The sessions that ended runs may have left open in this workspace.

        This run is responsible for closing them from now on.

        Raises:
            JournalError: If the journal cannot be written.
        """
        return await self._commits.write(lambda file: self._inherit(file, workspace))

    # Inspection

    def entries(self) -> Iterator[JournalEntry]:
        """All jobs in the order of submission, in a consistent snapshot.

        Raises:
            JournalError: If the file cannot be read.
        """
        with self._reading() as file:
            yield from self._jobs.all(file)

    @checked(count=WHOLE)
    def latest(self, count: int) -> list[JournalEntry]:
        """The latest jobs in the order of submission, without their outputs.

        Raises:
            JournalError: If the file cannot be read.
        """
        with self._reading() as file:
            return self._jobs.latest(file, int(count))

    def runs(self) -> Iterator[JournalRun]:
        """All runs, oldest first. Runs whose processes have died are marked as ended.

        Raises:
            JournalError: If the file cannot be read, or a dead run cannot be ended.
        """
        self._commits.then(self._end_dead_runs)
        with self._reading() as file:
            for row in file.execute("SELECT id, host, pid, started, ended FROM runs ORDER BY id"):
                yield read_row(JournalRun, row)

    def sessions(self) -> Iterator[JournalSession]:
        """All sessions that pools opened, oldest first.

        Raises:
            JournalError: If the file cannot be read.
        """
        with self._reading() as file:
            for row in file.execute(f"{_SELECT_SESSIONS} ORDER BY opened"):
                yield read_row(JournalSession, row)

    @checked()
    def forget(self, job_id: str) -> None:
        """Lets the next run resubmit a job that has no result.

        The service may still have the first job; you then pay for both.

        Raises:
            JournalError: If the journal has no such job, or has its result; if a live run is
                waiting for it; or if the file cannot be written.
        """
        self._commits.then(lambda: self._forget(job_id))

    def export(self) -> Iterator[str]:
        """All jobs as JSON, one line each; text outputs remain text.

        Raises:
            JournalError: If the file cannot be read.
        """
        for entry in self.entries():
            document = asdict(entry)
            for name in ("places", "blocks", "is_new"):
                del document[name]
            document["output"] = (entry.output or b"").decode(errors="backslashreplace") or None
            yield json.dumps(document)

    def summary(self) -> dict[str, int]:
        """The number of jobs in each state, by its name, and of `sessions_open`.

        Raises:
            JournalError: If the file cannot be read.
        """
        with self._reading() as file:
            counts = self._jobs.counts(file)
            (counts["sessions_open"],) = file.execute(
                "SELECT count(*) FROM sessions WHERE closed IS NULL"
            ).fetchone()
        return counts

    # The end

    def flush(self) -> None:
        """Waits until everything recorded so far is on disk."""
        self._commits.then(lambda: None)

    def close(self) -> None:
        """Ends the run and frees its places for later runs. Closing twice is harmless."""
        self._commits.then(self._end_run)

    def _end_run(self) -> None:
        self._is_closed = True
        file, run = self._file, self._run
        self._file = self._run = None
        if file is not None and run is not None:
            # If this cannot be recorded, the released lock shows it as well.
            with suppress(JournalError), file.transaction() as connection:
                connection.execute("UPDATE places SET answered = 1 WHERE run = ?", (run.id,))
                self._end(connection, run.id)
            run.lock.release()
        if file is not None:
            file.close()

    def _close_at_exit(self) -> None:
        """Writes everything that is still queued; the run ends with its process."""
        self.flush()

    def _after_fork(self) -> None:
        """Starts afresh in a forked child: file and run belong to the parent."""
        # SQLite forbids even closing a connection in a forked child
        # (https://www.sqlite.org/howtocorrupt.html, 2.6), so it must outlive this object.
        _parents_files.append(self._file)
        if self._run is not None:
            self._run.lock.abandon()
        self._run = self._file = None
        self._jobs = JobTable(self._clock)
        self._commits = self._new_commits()

    def _new_commits(self) -> GroupCommit:
        return GroupCommit(self._transaction, _log_failure, self._hold_while)

    def _hold_while(self, is_waiting: bool) -> None:
        """Registers for exit while writes are queued, so that they are still written at exit."""
        if is_waiting:
            process.hold(self)
        else:
            process.let_go(self)

    @property
    def _is_spent(self) -> bool:
        return self._is_closed

    def _recipe(self) -> Arguments:
        # The other process may have another working directory.
        _, options = super()._recipe()
        return (), {**options, "path": self._path}

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Journal({str(self._path)!r}{', closed' if self._is_closed else ''})"

    # Writing and reading

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction of this journal's run; the first begins the run."""
        file = self._open_file()
        if self._run is None:
            self._run = self._begin(file)
        with file.transaction() as connection:
            self._note_dead_runs(connection)
            yield connection

    def _open_file(self) -> JournalFile:
        if self._is_closed:
            raise JournalError(f"The journal {self._path} is closed: open it again.")
        file = self._file = self._file or JournalFile(self._path)
        return file

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        file = self._file or JournalFile(self._path)
        with file.reading() as connection:
            yield connection

    # Runs

    @property
    def _run_id(self) -> int:
        assert self._run is not None, "asked for within a transaction"
        return self._run.id

    def _end_dead_runs(self) -> None:
        with self._open_file().transaction() as connection:
            self._note_dead_runs(connection)

    def _begin(self, file: JournalFile) -> _Run:
        file.check()
        row = (platform.node(), os.getpid(), self._clock.time())
        with ExitStack() as undo:
            with file.transaction() as connection:
                run_id = connection.execute(
                    "INSERT INTO runs (host, pid, started) VALUES (?, ?, ?)", row
                ).lastrowid
                assert run_id is not None, "a row was inserted"
                # Before the commit, so that no live run is ever visible without its lock.
                lock = RunLock.take(self._lock_path(run_id))
                undo.callback(lock.release)
            undo.pop_all()
        return _Run(run_id, lock)

    def _lock_path(self, run_id: int) -> Path:
        return self._path.with_name(f"{self._path.name}-run-{run_id}")

    def _end(self, file: sqlite3.Connection, run_id: int) -> None:
        file.execute("UPDATE runs SET ended = ? WHERE id = ?", (self._clock.time(), run_id))
        file.execute("UPDATE places SET run = NULL WHERE run = ?", (run_id,))

    def _note_dead_runs(self, file: sqlite3.Connection) -> None:
        """Marks runs whose processes died as ended. `RunLock` needs transactions one at a time."""
        own = None if self._run is None else self._run.id
        others = file.execute("SELECT id FROM runs WHERE ended IS NULL AND id IS NOT ?", (own,))
        for (run_id,) in others.fetchall():
            if not RunLock.is_held(self._lock_path(run_id)):
                self._end(file, run_id)

    def _forget(self, job_id: str) -> None:
        with self._open_file().transaction() as file:
            self._note_dead_runs(file)
            entry = self._jobs.find(file, job_id)
            if entry is None:
                raise JournalError(
                    f"The journal {self._path} has no job {shortened(job_id)}: check the id."
                )
            if entry.is_finished:
                raise JournalError(
                    f"The journal {self._path} has the result of job {job_id}: only jobs without "
                    "a result can be forgotten."
                )
            if self._jobs.is_held(file, entry):
                raise JournalError(
                    f"A live run is waiting for job {job_id}: end that run before you forget the "
                    "job."
                )
            if not entry.state.is_without_result:
                self._jobs.update(file, entry, state=EntryState.FORGOTTEN)

    # Within a transaction

    def _inherit(self, file: sqlite3.Connection, workspace: str) -> list[JournalSession]:
        rows = file.execute(
            f"{_SELECT_SESSIONS} WHERE closed IS NULL AND workspace = ? "
            "AND run IN (SELECT id FROM runs WHERE ended IS NOT NULL)",
            (workspace,),
        ).fetchall()
        file.executemany(
            "UPDATE sessions SET run = ? WHERE id = ?", [(self._run_id, row[0]) for row in rows]
        )
        return [read_row(JournalSession, row) for row in rows]


def _bytes_of(output: Any) -> bytes:
    """The output of any workspace's job as bytes; a port may return text."""
    if isinstance(output, str):
        return output.encode()
    if isinstance(output, bytes | bytearray | memoryview):
        return bytes(output)
    raise JournalError(f"An output of type {type(output).__name__} cannot be recorded.")


def _log_failure(error: Exception) -> None:
    logger.warning("%s The next run asks the service for what could not be recorded.", error)


def open_journal(
    journal: Journal | str | os.PathLike[str] | None, clock: Clock
) -> tuple[Journal | None, bool]:
    """The journal at a path, or the journal itself, and whether the caller has to close it.

    Raises:
        JournalError: If the file cannot be opened, or is not a journal.
    """
    if isinstance(journal, Journal | None):
        return journal, False
    check_option("journal", journal, kind=("a Journal, a path or None", PATH[1]))
    return Journal(journal, clock=clock), True


# Connections of parent processes, kept so that they are never closed in a child.
_parents_files: list[JournalFile | None] = []

_SELECT_SESSIONS = "SELECT id, target, name, opened, closed, workspace, run FROM sessions"
