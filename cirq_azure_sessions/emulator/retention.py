"""Retention of jobs' programs and results."""

from __future__ import annotations

from collections import deque

from cirq_azure_sessions.emulator.storage import Storage
from cirq_azure_sessions.emulator.workspace import EmulatedWorkspace
from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.model import JobRequest

__all__ = ["Retention"]


class Retention:
    """Keeps a limited number of containers and drops those of the earliest jobs.

    Only a container of the job's own goes, which is called `job-ID` as the SDK calls it, and only
    when the job finishes. The job itself stays in the lists.

    Lives on the server's event loop, and needs no lock.

    Args:
        workspace: Knows which jobs have finished.
        storage: Where the containers lie.
        max_stored_jobs: How many jobs keep theirs; None means all.
    """

    def __init__(
        self, workspace: EmulatedWorkspace, storage: Storage, max_stored_jobs: int | None
    ) -> None:
        self._workspace = workspace
        self._storage = storage
        self._max_stored_jobs = max_stored_jobs
        # State: the jobs whose containers are kept, the earliest first.
        self._stored: deque[str] = deque()

    async def note(self, request: JobRequest) -> None:
        """Adds an accepted job, and drops an earlier one in its place."""
        if self._max_stored_jobs is None or request.payload.container != f"job-{request.id}":
            return
        self._stored.append(request.id)
        for _ in range(len(self._stored) - self._max_stored_jobs):
            job_id = self._stored.popleft()
            if await self._is_over(job_id):
                await self._storage.drop(f"job-{job_id}")
            else:
                # Its turn comes again when it has had the time to end.
                self._stored.append(job_id)

    async def _is_over(self, job_id: str) -> bool:
        try:
            return (await self._workspace.get_job(job_id)).is_final
        except ServiceError:
            # It was deleted or forgotten.
            return True
