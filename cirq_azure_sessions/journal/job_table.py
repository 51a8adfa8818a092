"""The rows of jobs in a journal, and of the places that requests hold among them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.journal.entry import EntryState, JournalEntry
from cirq_azure_sessions.model import JobRequest

__all__ = ["JobTable"]


class JobTable:
    """What a journal reads and writes of jobs. What writes is for use within a transaction.

    Args:
        clock: Where the times in the rows are read.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def claim(self, file: sqlite3.Connection, request: JobRequest, run: int) -> JournalEntry:
        """The job that answers a request: the first whose place is free, or a new one."""
        row = file.execute(_SELECT_FREE, (request.fingerprint,)).fetchone()
        if row is None:
            return self.insert(file, request, run)
        entry = JournalEntry.read(row)
        if entry.state.is_without_result:
            return self.insert(file, request, run, entry.occurrence)
        self._hold(file, entry, run)
        return entry

    def insert(
        self,
        file: sqlite3.Connection,
        request: JobRequest,
        run: int,
        occurrence: int | None = None,
    ) -> JournalEntry:
        """Writes a new job down, for this place or else for the next one of its fingerprint."""
        now = self._clock.time()
        number, nth = file.execute(
            _INSERT_JOB,
            {
                "id": request.id,
                "fingerprint": request.fingerprint,
                "occurrence": occurrence,
                "target": request.target,
                "name": request.name,
                "output_format": request.output_format,
                "input_params": json.dumps(dict(request.input_params), default=str),
                "metadata": json.dumps(dict(request.metadata)),
                "state": EntryState.INTENDED,
                "now": now,
            },
        ).fetchone()
        assert request.fingerprint is not None, "only such requests are journalled"
        entry = JournalEntry(
            number=number,
            job_id=request.id,
            fingerprint=request.fingerprint,
            occurrence=nth,
            target=request.target,
            name=request.name,
            output_format=request.output_format,
            input_params=request.input_params,
            metadata=request.metadata,
            written=now,
            changed=now,
            is_new=True,
        )
        self._hold(file, entry, run)
        return entry

    def _hold(self, file: sqlite3.Connection, entry: JournalEntry, run: int) -> None:
        file.execute(
            "INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?)",
            (*entry.place, entry.number, run),
        )

    def update(self, file: sqlite3.Connection, entry: JournalEntry, **values: Any) -> None:
        """Changes columns of a job's row."""
        values["changed"] = self._clock.time()
        columns = ", ".join(f"{name} = ?" for name in values)
        file.execute(
            f"UPDATE jobs SET {columns} WHERE number = ?", (*values.values(), entry.number)
        )

    def store_output(self, file: sqlite3.Connection, entry: JournalEntry, output: bytes) -> None:
        """Keeps what a job brought."""
        file.execute("INSERT OR REPLACE INTO outputs VALUES (?, ?)", (entry.number, output))

    def all(self, file: sqlite3.Connection) -> Iterator[JournalEntry]:
        """All jobs with their outputs, in the order of submission."""
        return map(JournalEntry.read, file.execute(f"{_SELECT_JOBS} ORDER BY number"))

    def latest(self, file: sqlite3.Connection, count: int) -> list[JournalEntry]:
        """The latest jobs in the order of submission, without their outputs."""
        rows = file.execute(f"{_SELECT_BARE} ORDER BY number DESC LIMIT ?", (count,)).fetchall()
        return [JournalEntry.read(row) for row in reversed(rows)]

    def counts(self, file: sqlite3.Connection) -> dict[str, int]:
        """How many jobs are in each state, by its name."""
        found = file.execute("SELECT state, count(*) FROM jobs GROUP BY state")
        return {state.value: 0 for state in EntryState} | dict(map(tuple, found))


_JOB = """
    number, jobs.id AS job_id, jobs.fingerprint, jobs.occurrence, target, name, session_id,
    output_format, input_params, metadata, state, status, code, message, cost,
    creation_time, begin_time, end_time, written, changed
"""
_SELECT_BARE = f"SELECT {_JOB} FROM jobs"
_SELECT_JOBS = f"""
    SELECT {_JOB}, outputs.payload AS output FROM jobs LEFT JOIN outputs ON outputs.job = number
"""
# The primary key finds the place as well, but by way of all that are taken.
_SELECT_FREE = f"""
    {_SELECT_JOBS} WHERE number = (
        SELECT job FROM places INDEXED BY places_of_run
        WHERE run IS NULL AND fingerprint = ? ORDER BY occurrence LIMIT 1
    )
"""
_INSERT_JOB = """
    INSERT INTO jobs (id, fingerprint, occurrence, target, name, output_format, input_params,
        metadata, state, written, changed)
    VALUES (:id, :fingerprint,
        coalesce(:occurrence,
            1 + (SELECT max(occurrence) FROM places WHERE fingerprint = :fingerprint), 1),
        :target, :name, :output_format, :input_params, :metadata, :state, :now, :now)
    RETURNING number, occurrence
"""
