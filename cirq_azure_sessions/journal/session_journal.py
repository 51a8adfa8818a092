"""What a pool writes down of its sessions, and the sessions that earlier runs left open."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.journal import Journal
from cirq_azure_sessions.journal.entry import JournalSession
from cirq_azure_sessions.model import Session, SessionRequest
from cirq_azure_sessions.workspaces.base import WorkspacePort

__all__ = ["SessionJournal"]

logger = logging.getLogger(__name__)


class SessionJournal:
    """The sessions of one workspace in a journal, and those that nobody else will close.

    An *orphan* is a session that a run opened which is over by now without having closed it, or one
    whose opening was not answered. Without a journal there are only the latter.

    Args:
        journal: Where sessions are written down, if anywhere.
        workspace: Where they are. One that ends with its process leaves no orphans.
    """

    def __init__(self, journal: Journal | None, workspace: WorkspacePort | None) -> None:
        self._journal = journal
        self._workspace = workspace
        self._identity = None if workspace is None else workspace.identity
        # State: the orphans that are neither closed nor adopted, by their ids. Touched on the
        # pool's event loop alone.
        self._orphans: dict[str, JournalSession] = {}

    @property
    def orphans(self) -> Sequence[str]:
        """The ids of the orphans that are known and neither closed nor adopted."""
        return list(self._orphans)

    async def opening(self, request: SessionRequest, workspace: WorkspacePort) -> None:
        """The pool is about to open this session.

        Raises:
            JournalError: If it cannot be written down; the session must not be opened then.
        """
        if self._journal is not None and workspace.identity is not None:
            await self._journal.opening(request, workspace.identity)

    def doubt(self, request: SessionRequest) -> None:
        """The opening of this session was not answered: it may be open all the same."""
        self._orphans[request.id] = JournalSession(request.id, request.target, request.name)

    def ended(self, session_id: str) -> None:
        """The session is over."""
        self._orphans.pop(session_id, None)
        if self._journal is not None:
            self._journal.closed(session_id)

    async def find_orphans(self) -> None:
        """Takes over the sessions that runs which are over by now left open.

        Raises:
            JournalError: If the journal cannot be written.
        """
        if self._journal is not None and self._identity is not None:
            for session in await self._journal.inherit_sessions(self._identity):
                self._orphans[session.id] = session

    def adopt(self, session_id: str) -> bool:
        """Whether this is an orphan; from now on it counts as opened by the pool."""
        return self._orphans.pop(session_id, None) is not None

    async def close_orphans(self, *, but: str | None = None) -> Sequence[Session]:
        """Closes the orphans, except those with the name `but`; returns them as they are then.

        One that cannot be closed now is left for later, with a line in the log.
        """
        orphans = [one for one in self._orphans.values() if but is None or one.name != but]
        closed = await asyncio.gather(*(self._close(orphan.id) for orphan in orphans))
        return [session for session in closed if session is not None]

    async def _close(self, session_id: str) -> Session | None:
        assert self._workspace is not None, "orphans are of a workspace"
        try:
            return await self._workspace.close_session(session_id)
        except ServiceError as error:
            if error.is_missing:
                self.ended(session_id)
            else:
                # Of an earlier run, or of this one if its opening was not answered.
                logger.warning(
                    "Session %s may be open and could not be closed: %s",
                    session_id,
                    error,
                    extra={"session_id": session_id},
                )
            return None
