"""`JobRun`: one job from its request to its result, the only record of it while it is in flight."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from cirq_azure_sessions.errors import (
    AzureSessionsError,
    JobCancelled,
    JobError,
    JobFailed,
    ResultNotAvailable,
    ServiceError,
    result_unavailable,
)
from cirq_azure_sessions.journal import Journal
from cirq_azure_sessions.journal.rows import EntryState, JournalEntry
from cirq_azure_sessions.model import Job, JobEvent, JobRequest, JobStatus

if TYPE_CHECKING:
    from cirq_azure_sessions.jobs.sweep import SweepRun

__all__ = ["JobRun", "JobState"]


class JobState(enum.Enum):
    """How far a job is."""

    # The service does not have it.
    NEW = enum.auto()
    # The service may have it: its submission was sent, and the answer is to come or was lost.
    SUBMITTED = enum.auto()
    # The service has it.
    ACCEPTED = enum.auto()
    # Its output is here.
    FETCHED = enum.auto()


class JobRun:
    """A request, its job, its output and its error, as far as they have come.

    What happens to them goes into the journal, if there is one and the request is for it.

    Attributes:
        sweep: The sweep that it belongs to.
        index: Which of the sweep's jobs it is.
        points: The points of the sweep that it covers.
        layout: What its output means.
        id: The job's id.
        request: What to submit. Where an earlier run submitted the same, it has the id and the
            metadata of then.
        estimate: What it is estimated to cost.
        point_cost: What all jobs of its point are estimated to cost.
        state: How far it is.
        stored: Where its input lies, once it is stored.
        job: The job as the service last described it; None until the service has it.
        output: The result's bytes, or the object that a local target returned.
        error: Why there is no output.
        entry: What the journal says of it, if there is one.
    """

    def __init__(
        self,
        sweep: SweepRun,
        index: int,
        points: range,
        layout: Any,
        request: JobRequest,
        *,
        estimate: float = 0.0,
        point_cost: float = 0.0,
    ) -> None:
        self.sweep = sweep
        self.index = index
        self.points = points
        self.layout = layout
        self.request = request
        self.id = request.id
        self.estimate = estimate
        self.point_cost = point_cost
        self.state = JobState.NEW
        self.stored: Any = None
        self.job: Job | None = None
        self.output: Any = None
        self.error: Exception | None = None
        self._journal: Journal | None = None
        self.entry: JournalEntry | None = None

    @property
    def may_exist(self) -> bool:
        """Whether the service has the job, or may have it."""
        return self.state is not JobState.NEW

    @property
    def is_running(self) -> bool:
        """Whether the job may be running on the service, or its output waits there."""
        return self.state in (JobState.SUBMITTED, JobState.ACCEPTED)

    async def claim(self, journal: Journal, find: Callable[[str], Awaitable[Job | None]]) -> None:
        """Learns what earlier runs left, or writes the request down before anything is sent.

        `find` asks the service for the job with an id. Every error means that nothing may be sent.
        """
        self._journal = journal
        entry = self.entry = await journal._claim(self.request)
        # 1. Nobody has asked for this before.
        if entry.is_new:
            return
        # 2. The result has been fetched.
        if entry.is_finished:
            self.job, self.output = entry.job, entry.output
            self.state = JobState.FETCHED
            return
        # 3. A run ended while it was submitting or waiting: the service knows how far it came.
        job = await find(entry.job_id)
        if job is None and entry.is_accepted:
            raise JobError(
                f"The service accepted job {entry.job_id} on {entry.target} in an earlier run and "
                "does not know it any more: look for it in the Azure portal, or run the point "
                "again to submit it anew.",
                job_id=entry.job_id,
                status="Missing",
            )
        # 4. Cancelled along with that run, most likely, and in any case without a result.
        if job is not None and job.status is JobStatus.CANCELLED:
            self.entry = await journal._renew(entry, self.request, job)
            return
        # 5. Still there, or it never arrived: then it is submitted again under the same id.
        self.request = dataclasses.replace(
            self.request, id=entry.job_id, name=entry.name, metadata=entry.metadata
        )
        self.id = entry.job_id
        if job is not None:
            self.accepted(job)

    def accepted(self, job: Job) -> None:
        """Notes that the service has the job."""
        self.job = job
        self.state = JobState.ACCEPTED
        self.sweep.accepted += 1
        if self._journal and self.entry:
            self._journal._accepted(self.entry, job)

    async def fetched(self, output: Any) -> None:
        """Notes the result; with a journal it is on the disk when this returns."""
        self.output = output
        if self._journal and self.entry and self.job:
            await self._journal._finished(self.entry, self.job, output)
        self.state = JobState.FETCHED

    def failed(self, error: Exception) -> None:
        """Notes that there is no result; the next same request tries again."""
        if self.job is not None and isinstance(error, ServiceError):
            error = result_unavailable(self.job, error)
        if not isinstance(error, AzureSessionsError):
            error.add_note(f"while running job {self.id}")
        self.error = error
        if self._journal is None or self.entry is None:
            return
        if self.job is not None and self.job.status.has_result:
            self._journal._unavailable(self.entry, self.job, error)
        elif isinstance(error, JobError) and not isinstance(error, ResultNotAvailable):
            self._journal._ended(self.entry, _end(error), self.job)
        else:
            self.give_back()

    def give_back(self) -> None:
        """Nobody waits for this any more; the next same request takes over its job."""
        if self._journal and self.entry:
            self._journal._give_back([self.entry.place])

    def event(self, kind: str, time: float) -> JobEvent:
        """The event that tells what happened to the job."""
        job = self.job
        assert job is not None, "told once the service has it"
        cost = job.cost if kind != "submitted" else None
        return JobEvent(
            kind,
            job.id,
            job.session_id,
            job.target,
            time=time,
            cost=cost.total if cost is not None else None,
            reason=job.error_code,
            sweep_id=self.sweep.id,
            creation_time=job.creation_time,
            end_time=job.end_time,
            currency=cost.currency if cost is not None else "",
            consumed=tuple(cost.consumed.items()) if cost is not None else (),
        )

    def __repr__(self) -> str:
        return f"JobRun({self.id} {self.state.name})"


def _end(error: JobError) -> EntryState:
    if isinstance(error, JobFailed):
        return EntryState.FAILED
    return EntryState.CANCELLED if isinstance(error, JobCancelled) else EntryState.LOST
