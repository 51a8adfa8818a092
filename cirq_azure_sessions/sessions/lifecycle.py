"""The lifecycle of a pool's sessions on the service: open, check, adopt, close."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Literal

from cirq_azure_sessions import process
from cirq_azure_sessions.clock import RetryDecision, retry
from cirq_azure_sessions.errors import ServiceError, SessionNotAvailable
from cirq_azure_sessions.journal.rows import JournalSession
from cirq_azure_sessions.model import Session, SessionRequest, SessionStatus
from cirq_azure_sessions.sessions.handles import SessionHandle
from cirq_azure_sessions.sessions.table import Generation, State, Step
from cirq_azure_sessions.workspaces.base import WorkspacePort
from cirq_azure_sessions.workspaces.filters import OPEN, ItemFilter

if TYPE_CHECKING:
    from cirq_azure_sessions.sessions.pool import SessionPool

__all__ = ["SessionLifecycle"]

logger = logging.getLogger(__name__)

_Gate = AbstractAsyncContextManager[object]


class SessionLifecycle:
    """Executes the decisions of the session table, and records the service's answers in it.

    It also tracks the pool's *orphans*: sessions left open by a dead run of the same journal, or
    whose opening was not answered. The pool has to close them.

    Lives on the background loop, and needs no lock.
    """

    def __init__(self, pool: SessionPool) -> None:
        self._pool = pool
        self._table = pool._table
        self._journal = pool._journal
        # State: the orphans that are neither closed nor adopted, by id.
        self._orphans: dict[str, JournalSession] = {}

    # For jobs

    @asynccontextmanager
    async def use(
        self, target: str, workspace: WorkspacePort, decide: RetryDecision
    ) -> AsyncIterator[Generation]:
        """The target's open generation, which counts one more job within the block."""
        find = partial(self.find, target, workspace, for_job=True)
        generation = await retry(self._pool._clock, find, decide)
        try:
            yield generation
        finally:
            self._table.release(generation)

    async def find(
        self, target: str, workspace: WorkspacePort, *, for_job: bool = False
    ) -> Generation:
        """The target's open generation, which is opened, adopted or checked first if needed."""
        trusted: Generation | None = None
        while True:
            step, generation = self._table.decide(
                target, workspace, trusted=trusted, for_job=for_job
            )
            if step is Step.TAKE:
                return generation
            self._act(step, generation)
            assert generation.ready is not None, "it is being opened or checked"
            await asyncio.shield(generation.ready)
            trusted = generation

    def prepare(self, target: str, workspace: WorkspacePort, gate: _Gate) -> None:
        """Starts opening or checking the target's session if needed, without waiting."""
        step, generation = self._table.decide(target, workspace)
        if step is not Step.TAKE:
            self._act(step, generation, gate)

    async def retire(self, generation: Generation) -> Session:
        """Retires a session that has ended and returns its last state; the first caller asks."""
        if self._table.retire(generation):
            generation.ending = self._pool._portal.spawn(self._is_open(generation, has_ended=True))
        if generation.ending is not None:
            await asyncio.shield(generation.ending)
        return generation.opened_session._item

    # For users

    def handle(self, session: Session, workspace: WorkspacePort) -> SessionHandle:
        """The handle for a session: the pool's own, if the session is one of the pool's."""
        generation = self._table.find(session.id)
        if generation is None:
            return SessionHandle(session, workspace, self._pool)
        generation.opened_session._item = session
        return generation.opened_session

    async def attach(self, session: Session, workspace: WorkspacePort) -> SessionHandle:
        """Sends the jobs of the session's target to it; its opener has to close it."""
        await self._find_orphans()
        is_orphan = self._orphans.pop(session.id, None) is not None
        is_new = self._table.find(session.id) is None
        handle = self.handle(session, workspace)
        self._table.attach(handle, workspace, adopted=not is_orphan)
        # Not earlier: a pool closed in the meantime has nothing to close at exit.
        self._hold(workspace)
        if is_new:
            self._report("adopted", session)
        return handle

    async def close_by_hand(self, session_id: str, workspace: WorkspacePort) -> Session:
        """Closes any session of the workspace; one of the pool's takes no more jobs before."""
        generation = self._table.find(session_id)
        if generation is not None:
            self._table.drain(generation)
        closed = await workspace.close_session(session_id)
        if generation is not None:
            self._report("closed", closed)
            self._table.retire(generation, State.CLOSED)
        return closed

    # For closing the pool

    async def cancel_jobs(self, generation: Generation) -> None:
        """Asks the service to cancel every job of a session that the pool has to close."""
        if not generation.is_ours_to_close:
            return
        workspace, session_id = generation.workspace, generation.session_id
        try:
            jobs = [job async for job in workspace.list_jobs(session_id=session_id)]
            running = [job.id for job in jobs if not job.is_final]
            await asyncio.gather(*map(workspace.cancel_job, running))
        except ServiceError as error:
            logger.warning("Jobs of session %s may still run: %s", session_id, error)

    async def close(self, generation: Generation) -> str | None:
        """Closes a session that the pool has to close; returns its id if that failed."""
        session_id, workspace = generation.session_id, generation.workspace
        if generation.is_ours_to_close and await self._close(session_id, workspace) == "failed":
            return session_id
        self._table.retire(generation, State.CLOSED)
        return None

    async def close_orphans(self, *, but: str | None = None) -> list[str]:
        """Closes the orphans, except those with the name `but`; returns the ids of the closed."""
        await self._find_orphans()
        workspace = self._pool._given
        if workspace is None:
            return []
        ids = [each.id for each in self._orphans.values() if but is None or each.name != but]
        outcomes = await asyncio.gather(*(self._close(each, workspace) for each in ids))
        return [each for each, outcome in zip(ids, outcomes, strict=True) if outcome == "closed"]

    async def _close(
        self, session_id: str, workspace: WorkspacePort
    ) -> Literal["closed", "missing", "failed"]:
        """Closes a session; if that fails now, it is logged and left for later."""
        try:
            closed = await workspace.close_session(session_id)
        except ServiceError as error:
            if error.is_missing:
                self._note_end(session_id)
                return "missing"
            message = "Session %s could not be closed and may still be open: %s"
            logger.warning(message, session_id, error, extra={"session_id": session_id})
            return "failed"
        self.handle(closed, workspace)
        self._report("closed", closed)
        return "closed"

    # Opening and checking

    def _act(self, step: Step, generation: Generation, gate: _Gate | None = None) -> None:
        """Opens or checks a generation, holding the gate, in a task that outlives the caller."""

        async def settle() -> None:
            is_open: bool | None = None
            try:
                async with gate or nullcontext():
                    if step is Step.CHECK:
                        self._pool._events.count("sessions_checked")
                        is_open = await self._is_open(generation)
                    else:
                        await self._open(generation)
                        is_open = True
            except ServiceError as error:
                raise SessionNotAvailable(
                    f"No session could be opened on {generation.target}: {error}",
                    may_pass=error.may_pass,
                ) from error
            finally:
                self._table.settle(generation, is_open=is_open)

        if step is Step.OPEN:
            # From here on a session may be open, even if nothing refers to the pool any more.
            self._hold(generation.workspace)
        if step in (Step.OPEN, Step.CHECK):
            generation.ready = self._pool._portal.spawn(settle())

    async def _open(self, generation: Generation) -> None:
        """Adopts an open session of the pool's name, or opens a new one."""
        target, workspace, name = generation.target, generation.workspace, self._pool._name
        await self._find_orphans()
        # Those that are not adopted.
        self._pool._portal.spawn(self.close_orphans(but=name))
        if name is not None and await self._adopt(generation, name):
            return
        session_id = str(uuid.uuid4())
        label = name or f"session-{session_id}"
        request = SessionRequest(session_id, target, label, self._pool._policy)
        if self._journal is not None and workspace.identity is not None:
            await self._journal._opening(request, workspace.identity)
        try:
            session = await workspace.open_session(request)
        except ServiceError as error:
            if error.is_ambiguous:
                # It may be open nevertheless.
                self._orphans[session_id] = JournalSession(session_id, target, label)
            raise
        generation.session = self.handle(session, workspace)
        self._report("opened", session)
        if name is not None:
            await self._yield_to_older(generation, name)

    async def _yield_to_older(self, generation: Generation, name: str) -> None:
        """Adopts an older session of the pool's name, and closes the one just opened.

        Pools that open one at the same instant have all found none. So each looks again once its
        own is open, and all use the oldest: of two pools at least the later one sees both.
        """
        own = generation.opened_session
        try:
            is_late = await self._adopt(generation, name, before=own.id)
        except ServiceError as error:
            logger.warning("Session %s may not be the only one of its name: %s", own.id, error)
            return
        if is_late and await self._close(own.id, generation.workspace) == "failed":
            self._orphans[own.id] = JournalSession(own.id, own.target, name)

    async def _adopt(self, generation: Generation, name: str, *, before: str | None = None) -> bool:
        """Adopts the latest open session of the name, or the oldest one before another."""
        target, workspace = generation.target, generation.workspace
        found = workspace.list_sessions(ItemFilter(target, OPEN, name))
        # The filter is a prefix.
        ids = [session.id async for session in found if session.name == name]
        if before is not None:
            ids = ids[: ids.index(before) : -1] if before in ids else []
        for session_id in ids:
            # The list may be out of date, and an unreadable session is skipped.
            try:
                session = await workspace.get_session(session_id)
            except ServiceError as error:
                if error.may_pass:
                    raise
                continue
            if session.is_open:
                # This pool has to close sessions that a dead run of this journal left open.
                generation.adopted = self._orphans.pop(session.id, None) is None
                generation.session = self.handle(session, workspace)
                self._report("adopted", session)
                return True
        return False

    async def _is_open(self, generation: Generation, *, has_ended: bool = False) -> bool:
        """Asks the service about a session and reports its end; returns whether it is open."""
        handle = generation.opened_session
        # The state to report for a session that the service no longer knows.
        session = Session(handle.id, handle.target, handle.name, SessionStatus.SUCCEEDED)
        try:
            session = await generation.workspace.get_session(handle.id)
            handle._item = session
        except ServiceError as error:
            # The session has ended either way, so this does not fail the sweep.
            if not (error.is_missing or has_ended):
                raise
        if session.is_open and not has_ended:
            return True
        if generation.has_ended and not has_ended:
            # Another caller may have reported it in the meantime.
            return False
        is_late = session.status is SessionStatus.TIMED_OUT
        kind = "timed_out" if is_late else "failed" if session.failed_under_abort else "lost"
        self._report(kind, session, reason=session.status.value)
        return False

    async def _find_orphans(self) -> None:
        """Adopts the sessions that dead runs of the journal left open in this workspace."""
        workspace = self._pool._given
        if self._journal is not None and workspace is not None and workspace.identity is not None:
            for session in await self._journal._inherit_sessions(workspace.identity):
                self._orphans[session.id] = session

    def _hold(self, workspace: WorkspacePort) -> None:
        """Has the pool closed at exit, if its sessions outlive the process."""
        if workspace.identity is not None:
            process.hold(self._pool)

    def _report(self, kind: str, session: Session, reason: str = "") -> None:
        if kind not in ("opened", "adopted"):
            self._note_end(session.id)
        self._pool._events.report_session(kind, session, self._pool._clock.time(), reason)

    def _note_end(self, session_id: str) -> None:
        self._orphans.pop(session_id, None)
        if self._journal is not None:
            self._journal._closed(session_id)
