"""What is asked of the service about a pool's sessions: open, check, adopt, close."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from cirq_azure_sessions.clock import Clock, RetryDecision, retry
from cirq_azure_sessions.errors import ServiceError, SessionNotAvailable
from cirq_azure_sessions.journal import Journal
from cirq_azure_sessions.journal.rows import JournalSession
from cirq_azure_sessions.model import (
    JobFailurePolicy,
    Session,
    SessionEvent,
    SessionRequest,
    SessionStatus,
)
from cirq_azure_sessions.sessions.handles import SessionHandle
from cirq_azure_sessions.sessions.table import Generation, SessionTable, Step
from cirq_azure_sessions.watch.event_log import EventLog
from cirq_azure_sessions.workspaces.base import OPEN, ItemFilter, WorkspacePort

if TYPE_CHECKING:
    from cirq_azure_sessions.sessions.pool import SessionPool

__all__ = ["SessionLifecycle"]

logger = logging.getLogger(__name__)


class SessionLifecycle:
    """Does what the table decides, and tells it what the service answers.

    It also keeps the pool's *orphans*: sessions that a run of the same journal opened which has
    died without closing them, or whose opening was not answered. They are the pool's to close.

    Lives on the background loop, and needs no lock.

    Args:
        pool: Whose sessions these are.
        table: Where the decisions are made.
        events: Where to report.
        journal: Where sessions are written down, if anywhere.
        name: The sessions' name; None for a new one each, and no session is adopted then.
        policy: What a failed job does to its session.
    """

    def __init__(
        self,
        pool: SessionPool,
        table: SessionTable,
        events: EventLog,
        journal: Journal | None,
        *,
        name: str | None,
        policy: JobFailurePolicy,
    ) -> None:
        self._pool = pool
        self._clock: Clock = pool._clock
        self._table = table
        self._events = events
        self._journal = journal
        self._name = name
        self._policy = policy
        # State: the orphans that are neither closed nor adopted, by their ids.
        self._orphans: dict[str, JournalSession] = {}

    # For jobs

    @asynccontextmanager
    async def use(
        self, target: str, workspace: WorkspacePort, decide: RetryDecision
    ) -> AsyncIterator[Generation]:
        """The target's open generation, with one more job in it until the block is left."""
        generation = await retry(
            self._clock, lambda: self.find(target, workspace, for_job=True), decide
        )
        try:
            yield generation
        finally:
            self._table.release(generation)

    async def find(
        self, target: str, workspace: WorkspacePort, *, for_job: bool = False
    ) -> Generation:
        """The target's generation, open: opened, adopted or checked first where needed.

        Raises:
            PoolClosed: If the pool is closed.
            SessionNotAvailable: If the service does not open a session.
        """
        trusted: Generation | None = None
        while True:
            step, generation = self._table.decide(
                target, workspace, trusted=trusted, for_job=for_job
            )
            if step is Step.TAKE:
                return generation
            self._act(step, generation)
            assert generation.ready is not None, "somebody opens or checks it"
            await asyncio.shield(generation.ready)
            trusted = generation

    def prepare(
        self, target: str, workspace: WorkspacePort, gate: AbstractAsyncContextManager[object]
    ) -> None:
        """Begins to open or check the target's session if needed, and does not wait."""
        step, generation = self._table.decide(target, workspace)
        if step is not Step.TAKE:
            self._act(step, generation, gate)

    async def retire(self, generation: Generation) -> Session:
        """Replaces a session of which the service says that it has ended; returns how it ended.

        The first of many refusals asks the service; all get the same answer.
        """
        if self._table.retire(generation):
            generation.ending = self._pool._portal.spawn(self._ask_how_it_ended(generation))
        if generation.ending is not None:
            await asyncio.shield(generation.ending)
        return generation.opened_session._item

    # For users

    def handle(self, session: Session, workspace: WorkspacePort) -> SessionHandle:
        """The handle for a session: the pool's own, if the session is one of the pool's."""
        handle = self._table.find(session.id)
        if handle is None:
            return SessionHandle(session, workspace, self._pool)
        handle._update(session)
        return handle

    async def attach(self, session: Session, workspace: WorkspacePort) -> SessionHandle:
        """Sends the jobs of the session's target to it; it is left to its opener."""
        await self._find_orphans()
        is_orphan = self._orphans.pop(session.id, None) is not None
        handle = self.handle(session, workspace)
        is_new = self._table.find(session.id) is None
        self._table.attach(handle, workspace, adopted=not is_orphan)
        if is_new:
            self._report("adopted", session)
        return handle

    async def close_by_hand(self, session_id: str, workspace: WorkspacePort) -> Session:
        """Closes any session of the workspace; one of the pool's takes no more jobs before."""
        generation = self._table.drain(session_id)
        closed = await workspace.close_session(session_id)
        if generation is not None:
            self._report("closed", closed)
            self._table.note_end(generation)
        return closed

    # For closing the pool

    async def cancel_jobs(self, generation: Generation) -> None:
        """Asks the service to cancel every job of a session that is the pool's to close."""
        if not self._table.is_ours_to_close(generation):
            return
        workspace, session_id = generation.workspace, generation.opened_session.id
        try:
            jobs = [job async for job in workspace.list_jobs(session_id=session_id)]
            running = [job.id for job in jobs if not job.is_final]
            await asyncio.gather(*map(workspace.cancel_job, running))
        except ServiceError as error:
            logger.warning("Jobs of session %s may still run: %s", session_id, error)

    async def close(self, generation: Generation) -> str | None:
        """Closes one session, if that is the pool's business; returns its id if that failed."""
        if self._table.is_ours_to_close(generation):
            session = generation.opened_session
            try:
                closed = await generation.workspace.close_session(session.id)
            except ServiceError as error:
                if not error.is_missing:
                    logger.warning(
                        "%s: session %s is not closed: %s",
                        session.target,
                        session.id,
                        error,
                        extra={"session_id": session.id, "target": session.target},
                    )
                    return session.id
            else:
                session._update(closed)
                self._report("closed", closed)
        self._table.note_end(generation)
        return None

    async def close_orphans(self, *, but: str | None = None) -> Sequence[Session]:
        """Closes the orphans, except those with the name `but`; returns those that were closed.

        One that cannot be closed now is left for later, with a line in the log.
        """
        await self._find_orphans()
        orphans = [one.id for one in self._orphans.values() if but is None or one.name != but]
        closed = await asyncio.gather(*map(self._close_orphan, orphans))
        for session in filter(None, closed):
            self._report("closed", session)
        return [session for session in closed if session is not None]

    # Opening and checking

    def _act(
        self,
        step: Step,
        generation: Generation,
        gate: AbstractAsyncContextManager[object] | None = None,
    ) -> None:
        """Opens or checks a generation in a task that outlives whoever needed it first.

        The gate is held during the requests.
        """

        async def settle(work: Coroutine[Any, Any, bool]) -> None:
            try:
                async with gate or nullcontext():
                    is_open = await work
            except ServiceError as error:
                self._table.give_up(generation)
                raise SessionNotAvailable(
                    f"No session could be opened on {generation.target}: {error}",
                    may_pass=error.may_pass,
                ) from error
            except BaseException:
                work.close()
                self._table.give_up(generation)
                raise
            self._table.settle(generation, is_open=is_open)

        if step is Step.OPEN:
            # From here on something may be open, also if nobody refers to the pool any more.
            self._pool._hold(generation.workspace)
            generation.ready = self._pool._portal.spawn(settle(self._open(generation)))
        elif step is Step.CHECK:
            generation.ready = self._pool._portal.spawn(settle(self._check(generation)))

    async def _open(self, generation: Generation) -> bool:
        """Adopts the latest open session of the pool's name, or opens a new one."""
        await self._find_orphans()
        self._pool._portal.spawn(self._close_other_orphans())
        workspace = generation.workspace
        session = await self._find_to_adopt(generation)
        if session is not None:
            # What a dead run of this journal left open is this pool's to close.
            is_orphan = self._orphans.pop(session.id, None) is not None
            handle = self.handle(session, workspace)
            self._table.set_session(generation, handle, adopted=not is_orphan)
            self._report("adopted", session)
            return True
        session = await self._open_new(generation)
        self._table.set_session(generation, self.handle(session, workspace))
        self._report("opened", session)
        return True

    async def _open_new(self, generation: Generation) -> Session:
        session_id, workspace = str(uuid.uuid4()), generation.workspace
        request = SessionRequest(
            id=session_id,
            target=generation.target,
            name=self._name or f"session-{session_id}",
            job_failure_policy=self._policy,
        )
        if self._journal is not None and workspace.identity is not None:
            await self._journal._opening(request, workspace.identity)
        try:
            return await workspace.open_session(request)
        except ServiceError as error:
            if error.is_ambiguous:
                # It may be open all the same.
                orphan = JournalSession(request.id, request.target, request.name)
                self._orphans[request.id] = orphan
            raise

    async def _find_to_adopt(self, generation: Generation) -> Session | None:
        if self._name is None:
            return None
        where = ItemFilter(target=generation.target, statuses=OPEN, name=self._name)
        async for session in generation.workspace.list_sessions(where):
            if session.name != self._name:
                continue
            # The list may lag behind the service's own sweep for idle sessions.
            session = await generation.workspace.get_session(session.id)
            if session.is_open:
                return session
        return None

    async def _check(self, generation: Generation) -> bool:
        """Asks the service whether a session that was idle for long is still open."""
        self._events.count("sessions_checked")
        session = await self._describe(generation)
        if session is not None and session.is_open:
            return True
        self._report_end(generation, session)
        return False

    async def _ask_how_it_ended(self, generation: Generation) -> None:
        try:
            session = await self._describe(generation)
        except ServiceError:
            # The session has ended either way; do not fail the sweep to learn why.
            session = None
        self._report_end(generation, session)

    async def _describe(self, generation: Generation) -> Session | None:
        """The session as the service has it now, or None if it does not know it any more."""
        try:
            session = await generation.workspace.get_session(generation.opened_session.id)
        except ServiceError as error:
            if error.is_missing:
                return None
            raise
        generation.opened_session._update(session)
        return session

    # Orphans

    async def _find_orphans(self) -> None:
        """Takes over the sessions that dead runs of the journal left open in this workspace."""
        workspace = self._pool._given
        if self._journal is not None and workspace is not None and workspace.identity is not None:
            for session in await self._journal._inherit_sessions(workspace.identity):
                self._orphans[session.id] = session

    async def _close_other_orphans(self) -> None:
        """Closes those orphans that the pool does not adopt."""
        await self.close_orphans(but=self._name)

    async def _close_orphan(self, session_id: str) -> Session | None:
        workspace = self._pool._given
        assert workspace is not None, "orphans are of a workspace"
        try:
            return await workspace.close_session(session_id)
        except ServiceError as error:
            if error.is_missing:
                self._note_end(session_id)
            else:
                logger.warning(
                    "Session %s may be open and could not be closed: %s",
                    session_id,
                    error,
                    extra={"session_id": session_id},
                )
            return None

    # Reporting

    def _report_end(self, generation: Generation, session: Session | None) -> None:
        handle = generation.opened_session
        if session is None:
            # The service no longer knows it.
            session = Session(handle.id, handle.target, handle.name, SessionStatus.SUCCEEDED)
        if session.status is SessionStatus.TIMED_OUT:
            kind = "timed_out"
        else:
            kind = "failed" if session.failed_under_abort else "lost"
        self._report(kind, session, reason=session.status.value)

    def _report(self, kind: str, session: Session, reason: str = "") -> None:
        event = SessionEvent(
            kind,
            session.id,
            session.target,
            time=self._clock.time(),
            reason=reason,
            creation_time=session.creation_time,
            end_time=session.end_time,
        )
        if not event.is_start_of_session:
            self._note_end(session.id)
        self._events.report(event)

    def _note_end(self, session_id: str) -> None:
        self._orphans.pop(session_id, None)
        if self._journal is not None:
            self._journal._closed(session_id)
