"""What stands in a journal, as values."""

from __future__ import annotations

import enum
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cirq_azure_sessions.model import Cost, Job, JobStatus

__all__ = ["EntryState", "JournalEntry", "JournalRun", "JournalSession", "Place", "columns_of"]

# The n-th request with a fingerprint.
Place = tuple[str, int]


class EntryState(enum.StrEnum):
    """How far a job is, as far as its journal knows."""

    INTENDED = "intended"
    ACCEPTED = "accepted"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"
    UNAVAILABLE = "unavailable"

    @property
    def is_without_result(self) -> bool:
        """Whether the job is over and brought nothing; lost means that the service forgot it."""
        return self in (self.FAILED, self.CANCELLED, self.LOST)


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One job in a journal.

    Attributes:
        number: Its number in the journal, in the order of submission.
        job_id: Its id on the service.
        fingerprint: The hash of what it asks for.
        occurrence: It answers the n-th request with this fingerprint, counted from 1.
        metadata: What was sent as the job's metadata; how to read its output is among it.
        state: How far it is.
        status: The service's word for it, once it is over.
        code, message: The service's reason for a failure; the error, where the job succeeded and
            its result could not be had.
        output: The result's bytes, once it is finished.
        written, changed: When its row was made and last changed.
        is_new: Whether the claim that returned it has just made it; the service then cannot know
            the job.
    """

    number: int
    job_id: str
    fingerprint: str
    occurrence: int
    target: str
    name: str
    output_format: str
    input_params: Mapping[str, Any] = field(repr=False)
    metadata: Mapping[str, str] = field(repr=False)
    written: float
    changed: float
    state: EntryState = EntryState.INTENDED
    session_id: str | None = None
    status: str | None = None
    code: str = ""
    message: str = ""
    cost: Cost | None = None
    creation_time: float | None = None
    begin_time: float | None = None
    end_time: float | None = None
    output: bytes | None = field(default=None, repr=False)
    is_new: bool = False

    @classmethod
    def read(cls, row: sqlite3.Row) -> JournalEntry:
        """The entry in a row that has a column for each attribute but `is_new`."""
        values = dict(row)
        values["state"] = EntryState(values["state"])
        values["input_params"] = json.loads(values["input_params"])
        values["metadata"] = json.loads(values["metadata"])
        if values["cost"] is not None:
            cost = json.loads(values["cost"])
            values["cost"] = Cost(cost["total"], cost["currency"], tuple(cost["events"]))
        return cls(**values)

    @property
    def is_accepted(self) -> bool:
        """Whether the service has confirmed the job, and its result may still come."""
        return self.state in (EntryState.ACCEPTED, EntryState.UNAVAILABLE)

    @property
    def is_finished(self) -> bool:
        """Whether the output is here."""
        return self.state is EntryState.FINISHED

    @property
    def place(self) -> Place:
        """Which request it answers: the fingerprint, and the occurrence."""
        return self.fingerprint, self.occurrence

    @property
    def job(self) -> Job:
        """The job as the service described it when it was over."""
        return Job(
            id=self.job_id,
            target=self.target,
            name=self.name,
            status=JobStatus(self.status or JobStatus.WAITING),
            session_id=self.session_id,
            output_format=self.output_format,
            input_params=self.input_params,
            metadata=self.metadata,
            creation_time=self.creation_time,
            begin_time=self.begin_time,
            end_time=self.end_time,
            error_code=self.code,
            error_message=self.message,
            cost=self.cost,
        )


@dataclass(frozen=True, slots=True)
class JournalRun:
    """One run in a journal: what one opening of it has written.

    Attributes:
        host, pid: Where it ran, and the id of its process there.
        started: When it first wrote.
        ended: When it was closed or found dead; None while it is alive.
    """

    id: int
    host: str
    pid: int
    started: float
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class JournalSession:
    """One session in a journal.

    Attributes:
        workspace: The identity of its workspace.
        run: The id of the run that opened it, or took it over to close it.
        opened: When the pool was about to open it; 0 if that is not known.
        closed: When it was seen to be over; None if it may be open.
    """

    id: str
    target: str
    name: str
    opened: float = 0.0
    closed: float | None = None
    workspace: str = field(default="", repr=False)
    run: int = 0


def columns_of(job: Job) -> dict[str, Any]:
    """What the service says of a job that is over, by column."""
    return {
        "session_id": job.session_id,
        "status": job.status.value,
        "code": job.error_code,
        "message": job.error_message,
        "cost": None if job.cost is None else _written(job.cost),
        "creation_time": job.creation_time,
        "begin_time": job.begin_time,
        "end_time": job.end_time,
    }


def _written(cost: Cost) -> str:
    events = [dict(event) for event in cost.events]
    return json.dumps({"total": cost.total, "currency": cost.currency, "events": events})
