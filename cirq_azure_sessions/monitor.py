"""Looks at a workspace from outside: its sessions and jobs, whoever opened or submitted them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cirq_azure_sessions.background import LoopThread
from cirq_azure_sessions.clock import Clock, SystemClock
from cirq_azure_sessions.errors import AzureSessionsError
from cirq_azure_sessions.journal import Journal
from cirq_azure_sessions.journal.session_journal import SessionJournal
from cirq_azure_sessions.model import Job, Quota, Session, TargetStatus
from cirq_azure_sessions.wanted import Wanted
from cirq_azure_sessions.watch.timeline import Timeline
from cirq_azure_sessions.workspaces.base import WorkspacePort

__all__ = ["Monitor", "SessionView", "Wanted"]

# The ids of the service are UUIDs, of which tables and pictures show the beginning.
_ID_LENGTH = 36


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session at one moment.

    Attributes:
        jobs: The number of its jobs in each status.
    """

    session: Session
    jobs: Counter[str]


class Monitor:
    """The sessions, jobs, targets and quotas of a workspace.

    Args:
        workspace: One of this package's workspaces.
        clock: Where ages are read and waits pass.

    Wherever an id is asked for, its beginning will do, if it is that of one session or job alone.

    Every method may raise `ServiceError`, or `AzureSessionsError` for a beginning of none or many.
    """

    def __init__(self, workspace: WorkspacePort, *, clock: Clock | None = None) -> None:
        self._workspace = workspace
        self._clock: Clock = clock or SystemClock()
        self._loop = LoopThread("cirq-azure-sessions-monitor")

    @property
    def now(self) -> float:
        """The time of day, for ages."""
        return self._clock.time()

    def targets(self) -> Sequence[TargetStatus]:
        """The targets of the workspace."""
        return self._loop.run(self._workspace.list_targets())

    def quotas(self) -> Sequence[Quota]:
        """The quotas of the workspace."""
        return self._loop.run(self._workspace.list_quotas())

    def sessions(self, wanted: Wanted) -> Sequence[Session]:
        """The newest sessions that are wanted."""
        return self._loop.run(wanted.take(self._workspace.list_sessions(), self.now))

    def jobs(self, wanted: Wanted, *, session_id: str | None = None) -> Sequence[Job]:
        """The newest jobs that are wanted, of one session or of all and none."""
        if session_id is not None:
            session_id = self._whole_session_id(session_id)
        return self._loop.run(
            wanted.take(self._workspace.list_jobs(session_id=session_id), self.now)
        )

    def session(self, session_id: str) -> SessionView:
        """The session as it stands now."""
        return self._loop.run(self._view(self._whole_session_id(session_id)))

    def timeline(self, wanted: Wanted) -> Timeline:
        """The newest sessions that are wanted, with all of their jobs."""
        return self._loop.run(self._timeline(wanted))

    def job(self, job_id: str) -> Job:
        """The job as it stands now."""
        return self._loop.run(self._workspace.get_job(self._whole_job_id(job_id)))

    def close_session(self, session_id: str) -> Session:
        """Lets the session take no more jobs; those it has still run."""
        return self._loop.run(self._workspace.close_session(self._whole_session_id(session_id)))

    def open_sessions(self, name: str) -> Sequence[str]:
        """The ids of the open sessions of exactly this name."""
        sessions = self.sessions(Wanted(name=name, limit=None))
        return [one.id for one in sessions if one.name == name and one.is_open]

    def close_orphans(self, journal: Journal) -> tuple[Sequence[Session], Sequence[str]]:
        """Closes the sessions of this workspace that runs left open which are over by now.

        Returns:
            The sessions that were closed, and the ids of those that could not be.

        Raises:
            JournalError: If the journal cannot be written.
        """
        return self._loop.run(self._close_orphans(journal))

    def cancel_job(self, job_id: str) -> Job:
        """Asks the service to cancel the job."""
        return self._loop.run(self._workspace.cancel_job(self._whole_job_id(job_id)))

    def output(self, job: Job) -> Any:
        """The result of a job as its provider wrote it."""
        return self._loop.run(self._workspace.fetch_output(job))

    def watch(self, session_id: str, *, interval: float) -> Iterator[SessionView]:
        """The session each time that it or its jobs have changed, until it is over.

        Args:
            session_id: The session.
            interval: Seconds between two looks.
        """
        session_id = self._whole_session_id(session_id)
        shown: SessionView | None = None
        while shown is None or shown.session.is_open:
            if shown is not None:
                self._loop.run(self._clock.sleep(interval))
            seen = self.session(session_id)
            if shown is None or (seen.session.status, seen.jobs) != (
                shown.session.status,
                shown.jobs,
            ):
                yield seen
            shown = seen

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.run(self._workspace.aclose())
        self._loop.stop()

    def _whole_session_id(self, beginning: str) -> str:
        return _whole_id(beginning, "session", self.sessions)

    def _whole_job_id(self, beginning: str) -> str:
        return _whole_id(beginning, "job", self.jobs)

    async def _close_orphans(self, journal: Journal) -> tuple[Sequence[Session], Sequence[str]]:
        sessions = SessionJournal(journal, self._workspace)
        await sessions.find_orphans()
        closed = await sessions.close_orphans()
        for session in closed:
            sessions.ended(session.id)
        return closed, sessions.orphans

    async def _timeline(self, wanted: Wanted) -> Timeline:
        sessions = await wanted.take(self._workspace.list_sessions(), self.now)
        jobs = await asyncio.gather(*(self._jobs_of(session) for session in sessions))
        return Timeline.of_service(zip(sessions, jobs, strict=True), now=self._clock.time())

    async def _jobs_of(self, session: Session) -> list[Job]:
        return [job async for job in self._workspace.list_jobs(session_id=session.id)]

    async def _view(self, session_id: str) -> SessionView:
        session = await self._workspace.get_session(session_id)
        jobs = self._workspace.list_jobs(session_id=session_id)
        return SessionView(session, Counter([str(job.status) async for job in jobs]))


def _whole_id(
    beginning: str, kind: str, list_items: Callable[[Wanted], Sequence[Session] | Sequence[Job]]
) -> str:
    """The id of the one session or job that begins so; a whole id is not looked up."""
    if len(beginning) >= _ID_LENGTH:
        return beginning
    found = [item.id for item in list_items(Wanted(limit=None)) if item.id.startswith(beginning)]
    if not found:
        raise AzureSessionsError(
            f"This workspace has no {kind} {beginning}: `{kind}s list` shows those it has."
        )
    if len(found) > 1:
        raise AzureSessionsError(
            f"The ids of {len(found)} {kind}s begin with {beginning!r}: give more of it."
        )
    return found[0]
