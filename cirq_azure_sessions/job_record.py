"""One request on its way to a result, and what its journal knows of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from cirq_azure_sessions.errors import (
    JobCancelled,
    JobError,
    JobFailed,
    ResultNotAvailable,
    ServiceError,
)
from cirq_azure_sessions.journal import Journal
from cirq_azure_sessions.journal.entry import EntryState, JournalEntry, Place
from cirq_azure_sessions.model import Job, JobRequest, JobStatus
from cirq_azure_sessions.workspaces.base import WorkspacePort

__all__ = ["JobRecord", "find_job"]


class JobRecord:
    """A request, its job and its output, as far as they have come.

    What happens to them goes into the journal, if there is one and the request is for it.

    Attributes:
        request: What to submit. Where an earlier run intended or submitted the same, it has the id
            and the metadata of then.
        job: The job as the service last described it; None until the service has it.
        output: The result's bytes, or the object that a local target gave; None until it is home.
    """

    def __init__(self, request: JobRequest, journal: Journal | None) -> None:
        self.request = request
        self.job: Job | None = None
        self.output: Any = None
        self._journal = journal if request.fingerprint is not None else None
        self._entry: JournalEntry | None = None

    @property
    def place(self) -> Place | None:
        """Which request of the journal this is; None if it is not journalled."""
        return None if self._entry is None else self._entry.place

    @property
    def earlier_metadata(self) -> Mapping[str, str] | None:
        """What the job was submitted with, if an earlier run submitted it."""
        return None if self._entry is None or self._entry.is_new else self._entry.metadata

    async def recall(self, find: Callable[[str], Awaitable[Job | None]]) -> None:
        """Learns what earlier runs left, or writes the request down before anything is sent.

        Args:
            find: Asks the service for the job with an id; None if there is none.

        Raises:
            JournalError: If the journal cannot be written; nothing must be sent then.
            JobError: If the service does not know a job any more that it had accepted.
            ServiceError: If the service cannot be asked.
        """
        if self._journal is None:
            return
        entry = self._entry = await self._journal.claim(self.request)
        # 1. Nobody has asked for this before.
        if entry.is_new:
            return
        # 2. The result is home.
        if entry.is_finished:
            self.job, self.output = entry.job, entry.output
            return
        # 3. A run ended while it was submitting or waiting: the service knows how far it came.
        job = await find(entry.job_id)
        if job is None and entry.is_accepted:
            raise _forgotten(entry)
        # 4. Cancelled along with that run, most likely, and in any case without a result.
        if job is not None and job.status is JobStatus.CANCELLED:
            self._entry = await self._journal.renew(entry, self.request, job)
            return
        # 5. Still there, or it never arrived: then it goes again under the same id.
        self.request = dataclasses.replace(
            self.request, id=entry.job_id, name=entry.name, metadata=entry.metadata
        )
        if job is not None:
            self.accepted(job)

    def accepted(self, job: Job) -> None:
        """The service has the job."""
        self.job = job
        if self._journal and self._entry:
            self._journal.accepted(self._entry, job)

    async def finished(self, job: Job, output: Any) -> None:
        """The result is home, and on the disk when this returns."""
        self.job, self.output = job, output
        if self._journal and self._entry:
            await self._journal.finished(self._entry, job, output)

    def failed(self, error: Exception) -> None:
        """There is no result; the next same request has another try at it."""
        if self._journal is None or self._entry is None:
            return
        if self.job is not None and self.job.status.has_result:
            self._journal.unavailable(self._entry, self.job, error)
        elif isinstance(error, JobError) and not isinstance(error, ResultNotAvailable):
            self._journal.ended_without_result(self._entry, _end(error), self.job)
        else:
            self.give_back()

    def give_back(self) -> None:
        """Nobody waits for this any more; the next same request takes over its job."""
        if self._journal and self._entry:
            self._journal.give_back([self._entry.place])


async def find_job(job_id: str, workspace: WorkspacePort) -> Job | None:
    """The job as it stands now, or None if the service does not know it."""
    try:
        return await workspace.get_job(job_id)
    except ServiceError as error:
        if error.is_missing:
            return None
        raise


def _forgotten(entry: JournalEntry) -> JobError:
    return JobError(
        f"The service accepted job {entry.job_id} on {entry.target} in an earlier run and does "
        "not know it any more: look for it in the portal, or run the point again to submit it "
        "anew.",
        job_id=entry.job_id,
        status="Missing",
    )


def _end(error: JobError) -> EntryState:
    if isinstance(error, JobFailed):
        return EntryState.FAILED
    return EntryState.CANCELLED if isinstance(error, JobCancelled) else EntryState.LOST
