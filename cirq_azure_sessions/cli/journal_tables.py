"""The contents of a journal, as tables for 80 columns and as JSON values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from cirq_azure_sessions.cli.tables import as_values, detail_table, new_table, results_as_json
from cirq_azure_sessions.errors import AzureSessionsError
from cirq_azure_sessions.formats import results_of
from cirq_azure_sessions.journal import Journal
from cirq_azure_sessions.journal.rows import JournalEntry, JournalRun, JournalSession

__all__ = ["Contents", "contents", "export_lines", "journal_tables"]


@dataclass(frozen=True)
class Contents:
    """The contents of a journal.

    Attributes:
        states: The number of jobs in each state that occurs.
        runs, jobs: The latest, oldest first.
        alive: The ids of the runs that have not ended.
        open_sessions: The sessions without a recorded end.
    """

    path: Path
    states: Mapping[str, int]
    runs: Sequence[JournalRun]
    jobs: Sequence[JournalEntry]
    alive: frozenset[int]
    open_sessions: Sequence[JournalSession]

    def as_values(self) -> dict[str, Any]:
        """The contents as JSON values."""
        return {
            "path": str(self.path),
            "jobs_by_state": dict(self.states),
            "runs": [_values(run) for run in self.runs],
            "jobs": [_values(job) for job in self.jobs],
            "open_sessions": [_values(session) for session in self.open_sessions],
        }


def contents(journal: Journal, limit: int) -> Contents:
    """The contents of a journal, with at most `limit` of the latest runs and jobs."""
    counts = journal.summary()
    del counts["sessions_open"]
    runs = list(journal.runs())
    return Contents(
        journal.path,
        {state: count for state, count in counts.items() if count},
        runs[-limit:],
        journal.latest(limit),
        frozenset(run.id for run in runs if run.ended is None),
        [session for session in journal.sessions() if session.closed is None],
    )


def journal_tables(seen: Contents) -> Iterator[Table | str]:
    """The tables that are not empty, each with a title."""
    summary = {"journal": str(seen.path), "jobs": seen.states}
    yield detail_table({**summary, "sessions open": len(seen.open_sessions)})
    if seen.runs:
        yield "\nRuns"
        yield _table(
            ("run", "host", "process", "began", "ended"),
            [
                (run.id, run.host, run.pid, _moment(run.started), _moment(run.ended) or "alive")
                for run in seen.runs
            ],
        )
    if seen.jobs:
        yield "\nJobs"
        yield _table(
            ("job", "target", "state"), [(job.job_id, job.target, job.state) for job in seen.jobs]
        )
    if reasons := [(job.job_id, _reason(job)) for job in seen.jobs if job.code]:
        yield "\nJobs without a result"
        yield _table(("job", "why"), reasons)
    if seen.open_sessions:
        yield "\nSessions that may be open"
        yield _table(
            ("session", "target", "run"),
            [
                (one.id, one.target, f"{one.run}, {'alive' if one.run in seen.alive else 'ended'}")
                for one in seen.open_sessions
            ],
        )


def export_lines(journal: Journal) -> Iterator[str]:
    """All jobs in the order of submission, with their results, as JSON."""
    for job in journal.entries():
        yield json.dumps(
            {
                **_values(job),
                "input_params": dict(job.input_params),
                "output": _text(job.output),
                **_meaning(job),
            }
        )


def _meaning(job: JournalEntry) -> dict[str, Any]:
    """The keys and points in a job's output; empty if the output cannot be read."""
    try:
        results = [] if job.output is None else results_of(job.job, job.output)
    except AzureSessionsError as error:
        return {"keys": [], "points": [], "message": str(error)}
    read = results_as_json(job.target, results)
    return {"keys": read["keys"], "points": read["points"]}


def _values(item: object) -> dict[str, Any]:
    values = as_values(item)
    for name in ("places", "blocks", "is_new"):
        values.pop(name, None)
    return values


def _text(output: bytes | None) -> str | None:
    """An output as text, with undecodable bytes escaped."""
    return None if output is None else output.decode(errors="backslashreplace")


def _reason(job: JournalEntry) -> str:
    return f"{job.code}: {job.message}" if job.message else job.code


def _moment(seconds: float | None) -> str:
    """A time in UTC, to the second."""
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def _table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    table = new_table()
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*map(str, row))
    return table
