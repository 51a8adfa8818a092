"""The jobs of one call, who follows them, and what becomes of each."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from cirq_azure_sessions.errors import AzureSessionsError
from cirq_azure_sessions.job_record import JobRecord
from cirq_azure_sessions.journal.entry import Place
from cirq_azure_sessions.model import Job, JobRequest
from cirq_azure_sessions.patience import PATIENCE

__all__ = ["Delivery", "Follower", "JobBatch"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one job: its output, or the error that stands for it.

    Attributes:
        index: The job's place in its batch.
        record: The job and its output.
        error: Why there is no output.
    """

    index: int
    record: JobRecord = field(repr=False)
    error: Exception | None = None


class Follower(Protocol):
    """Who wants to know how the jobs of a batch are. Called on the pool's event loop."""

    def look(self, job: Job) -> None:
        """The service has described the job so: on accepting it, or later."""

    def end(self, job_id: str, *, failed: bool) -> None:
        """The job's output is here, or there will be none; the service may never have had it."""


@dataclass(slots=True)
class JobBatch:
    """The jobs of one call, and how far they are.

    Attributes:
        requests: The jobs, made when their turn comes.
        size: How many they are.
        id: Names the call in events.
        accepted: How many jobs the service has accepted.
        running: The id of each job that is not over and that the service has, or may have since
            its answer is still to come, by its index.
        home: The ids of the jobs that brought an output.
        places: Their places in the journal, if there is one.
        workers: Each takes one job after the other.
        opening: Opens the session while the first input is stored.
        storing: Held while an input is stored, by not more jobs at once than may be in flight; else
            the session and the first submission would come after all inputs stored ahead.
        stopped_by: The error after which nothing more of the batch is submitted.
        follower: Who wants to know how the jobs are, if anybody does.
        usage: Works out what the jobs consume of the workspace's quotas; None where that is
            nothing, or where they are not to be held against quotas.
    """

    requests: Iterable[JobRequest]
    size: int
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    accepted: int = 0
    running: dict[int, str] = field(default_factory=dict)
    home: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    workers: list[asyncio.Task[None]] = field(default_factory=list)
    opening: asyncio.Task[None] | None = None
    storing: asyncio.Semaphore = field(default_factory=asyncio.Semaphore)
    stopped_by: Exception | None = None
    follower: Follower | None = None
    usage: Callable[[], Mapping[str, float]] | None = None

    @contextmanager
    def in_flight(self, index: int, job_id: str) -> Iterator[None]:
        """Counts the job as running; also afterwards, if whoever waited for it was cancelled."""
        self.running[index] = job_id
        try:
            yield
        except Exception:
            self.running.pop(index, None)
            raise
        self.running.pop(index, None)

    def submit_no_more(self) -> None:
        """Keeps a call that is about to be cancelled from taking the places of those that were."""
        if self.stopped_by is None:
            self.stopped_by = AzureSessionsError("The call was interrupted: run it again.")

    async def end(self) -> None:
        """Cancels the work on its jobs; the jobs themselves go on."""
        tasks = [*self.workers, self.opening] if self.opening is not None else self.workers
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def tell_end(self, job_id: str, *, failed: bool) -> None:
        """Tells whoever follows the jobs that one is over."""
        if self.follower is not None:
            self.follower.end(job_id, failed=failed)

    @property
    def patience(self) -> float:
        """For how long to go on where the service does not answer: once it did, it will again."""
        return PATIENCE if self.accepted else 0.0

    @property
    def never_started(self) -> bool:
        """Whether an error that concerns every job came before any was accepted or home."""
        return self.stopped_by is not None and not self.accepted and not self.home
