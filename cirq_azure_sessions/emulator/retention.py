"""Retention of jobs' programs and results."""

from __future__ import annotations

from collections import deque

from cirq_azure_sessions.emulator.storage import Storage
from cirq_azure_sessions.emulator.workspace import EmulatedWorkspace
from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.model import JobRequest

__all__ = ["Retention"]


class Retention:
    """Keeps a limited number of containers, dropping those of the oldest jobs.

    It drops a container only if it is named `job-ID`, as the SDK names a job's own container, and
    only once the job has finished. The job itself stays in the lists.

    Lives on the server's event loop, and needs no lock.

    Args:
        workspace: The status of the jobs.
        storage: Holds the containers.
        max_stored_jobs: How many jobs keep their containers; None means all.
    """

    def __init__(
        self, workspace: EmulatedWorkspace, storage: Storage, max_stored_jobs: int | None
    ) -> None:
        self._workspace = workspace
        self._storage = storage
        self._max_stored_jobs = max_stored_jobs
        # State: the jobs whose containers are kept, oldest first.
        self._stored: deque[str] = deque()

    async def note(self, request: JobRequest) -> None:
        """Adds an accepted job, and drops the oldest one if there are too many."""
        if self._max_stored_jobs is None or request.payload.container != f"job-{request.id}":
            return
        self._stored.append(request.id)
        for _ in range(len(self._stored) - self._max_stored_jobs):
            job_id = self._stored.popleft()
            if await self._is_finished(job_id):
                await self._storage.drop(f"job-{job_id}")
            else:
                # Not finished yet: moved to the end of the queue.
                self._stored.append(job_id)

    async def _is_finished(self, job_id: str) -> bool:
        try:
            return (await self._workspace.get_job(job_id)).is_final
        except ServiceError:
            # The job was deleted or dropped.
            return True
