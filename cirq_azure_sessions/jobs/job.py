"""`JobRun`: one job from its request to its result, the only record of it while it is in flight."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cirq_azure_sessions.errors import AzureSessionsError, ServiceError, result_unavailable
from cirq_azure_sessions.journal import Journal
from cirq_azure_sessions.journal.journal import FindJob
from cirq_azure_sessions.journal.rows import JournalEntry
from cirq_azure_sessions.model import Job, JobRequest

if TYPE_CHECKING:
    from cirq_azure_sessions.jobs.sweep import SweepRun

__all__ = ["JobRun"]


@dataclasses.dataclass(eq=False, repr=False)
class JobRun:
    """One of a sweep's jobs; once claimed, its events are recorded in the journal."""

    sweep: SweepRun
    index: int
    points: Sequence[int]
    # The layout of the output.
    layout: Any
    # What to submit; if an earlier run submitted the same, with the id and the metadata of then.
    request: JobRequest
    # The estimated cost of the job, and that of all jobs of its point.
    estimate: float
    point_cost: float
    # The location of the input, once it is stored.
    stored: Any = None
    # Whether the service has the job, or may have it because a response is pending or was lost.
    may_exist: bool = False
    # The job as the service last described it; None until it has accepted it.
    job: Job | None = None
    # The result's bytes, or the object that a local target returned; and whether it is here.
    output: Any = None
    is_fetched: bool = False
    error: Exception | None = None
    # What the journal says of it, if there is one; of an earlier run's job, before it is claimed.
    entry: JournalEntry | None = None
    _journal: Journal | None = None

    async def claim(self, journal: Journal, find: FindJob) -> None:
        """Loads what earlier runs recorded, or records the request before anything is sent.

        `find` asks the service for the job with an id. Every error means that nothing may be sent.
        """
        self._journal = journal
        self.sweep.reserved.difference_update((*place[:2], 0) for place in self.request.places)
        self.entry, self.request, job = await journal._answer(self.request, self.entry, find)
        if self.entry.is_finished:
            self.job, self.output = job, self.entry.output
            self.may_exist = self.is_fetched = True
        elif job is not None:
            self.accepted(job)

    def accepted(self, job: Job) -> None:
        """Records that the service has the job."""
        self.job = job
        self.may_exist = self.sweep.is_accepted = True
        if self._journal and self.entry:
            self._journal._accepted(self.entry, job)

    async def fetched(self, output: Any) -> None:
        """Records the result; with a journal it is on disk when this returns."""
        self.output = output
        if self._journal and self.entry and self.job:
            await self._journal._finished(self.entry, self.job, output)
        self.is_fetched = True

    def failed(self, error: Exception) -> None:
        """Records that there is no result; the next equal request tries again."""
        if self.job is not None and isinstance(error, ServiceError):
            error = result_unavailable(self.job, error)
        if not isinstance(error, AzureSessionsError):
            error.add_note(f"while running job {self.request.id}")
        self.error = error
        if self._journal and self.entry:
            self._journal._failed(self.entry, self.job, error)

    def give_back(self) -> None:
        """Frees the job for the next equal request, since no call waits for it now."""
        if self._journal and self.entry:
            self._journal._give_back(self.entry.places)
