"""The sessions and jobs of a pool's workspaces, whoever opened or submitted them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from cirq_azure_sessions.errors import ServiceError, SessionNotAvailable, unknown_job
from cirq_azure_sessions.model import Job, Session
from cirq_azure_sessions.wanted import Wanted
from cirq_azure_sessions.workspace_router import WorkspaceRouter
from cirq_azure_sessions.workspaces.base import WorkspacePort

__all__ = ["Directory"]

Item = TypeVar("Item", Session, Job)


class Directory:
    """Looks up sessions and jobs in all workspaces of a pool.

    Lives on the pool's event loop. Every method may raise `ServiceError`.
    """

    def __init__(self, workspaces: WorkspaceRouter) -> None:
        self._workspaces = workspaces

    async def list_sessions(
        self, wanted: Wanted, now: float
    ) -> Sequence[tuple[Session, WorkspacePort]]:
        """The sessions that are wanted, newest first, each with where it is."""
        # The service itself leaves out other targets, if the target is a whole id.
        target = None if wanted.is_pattern else wanted.target
        found = [
            (session, workspace)
            for workspace in self._workspaces.all
            for session in await wanted.take(workspace.list_sessions(target=target), now)
        ]
        return _newest(found, wanted)

    async def list_jobs(self, wanted: Wanted, now: float) -> Sequence[tuple[Job, WorkspacePort]]:
        """The jobs that are wanted, newest first, each with where it is."""
        found = [
            (job, workspace)
            for workspace in self._workspaces.all
            for job in await wanted.take(workspace.list_jobs(), now)
        ]
        return _newest(found, wanted)

    async def get_session(self, session_id: str) -> tuple[Session, WorkspacePort]:
        """The session as it stands now, and where it is.

        Raises:
            SessionNotAvailable: If there is none with this id.
        """
        for workspace in self._workspaces.all:
            try:
                return await workspace.get_session(session_id), workspace
            except ServiceError as error:
                if not error.is_missing:
                    raise
        raise SessionNotAvailable(
            f"This workspace has no session {session_id}: check the id and the workspace.",
            session_id=session_id,
        )

    async def get_job(self, job_id: str) -> tuple[Job, WorkspacePort]:
        """The job as it stands now, and where it is.

        Raises:
            JobError: If there is none with this id.
        """
        for workspace in self._workspaces.all:
            try:
                return await workspace.get_job(job_id), workspace
            except ServiceError as error:
                if not error.is_missing:
                    raise
        raise unknown_job(job_id)


def _newest(
    found: list[tuple[Item, WorkspacePort]], wanted: Wanted
) -> Sequence[tuple[Item, WorkspacePort]]:
    """The newest of what several workspaces have, as many as are wanted."""
    found.sort(key=lambda pair: pair[0].creation_time or 0.0, reverse=True)
    return found[: wanted.limit]
