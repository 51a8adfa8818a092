"""What is asked of the service about a pool's sessions: to open, describe and close them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import uuid
from collections.abc import Coroutine
from typing import Any

from cirq_azure_sessions.background import LoopThread
from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.errors import ServiceError, SessionNotAvailable
from cirq_azure_sessions.generation import Generation, settled
from cirq_azure_sessions.journal.session_journal import SessionJournal
from cirq_azure_sessions.model import (
    JobFailurePolicy,
    Session,
    SessionEvent,
    SessionRequest,
    SessionStatus,
)
from cirq_azure_sessions.pooled.port import PoolPort
from cirq_azure_sessions.pooled.session import PooledSession
from cirq_azure_sessions.session_table import SessionTable, Step
from cirq_azure_sessions.watch.event_log import EventLog
from cirq_azure_sessions.workspaces.base import WorkspacePort

__all__ = ["SessionKeeper"]

logger = logging.getLogger(__name__)


class SessionKeeper:
    """Does what the table decides, and tells it what the service answers.

    Lives on the pool's event loop, and needs no lock.

    Args:
        pool: What the sessions are handed out with.
        table: Where the decisions are made.
        loop: That event loop.
        journal: Where sessions are written down.
        events: Who is told.
        clock: When.
        name: The sessions' name; None for a new one each, and no session is adopted then.
        policy: What a failed job does to its session.
    """

    def __init__(
        self,
        pool: PoolPort,
        table: SessionTable,
        loop: LoopThread,
        journal: SessionJournal,
        events: EventLog,
        clock: Clock,
        *,
        name: str | None,
        policy: JobFailurePolicy,
    ) -> None:
        self._pool = pool
        self._table = table
        self._loop = loop
        self._journal = journal
        self._events = events
        self._clock = clock
        self._name = name
        self._policy = policy

    async def find(
        self, target: str, workspace: WorkspacePort, *, for_job: bool = False
    ) -> Generation:
        """The target's generation, open: opened, adopted or asked about first where need be.

        Raises:
            PoolClosed: If the pool is closed.
            SessionNotAvailable: If the service does not open a session.
        """
        trusted: Generation | None = None
        while True:
            step, generation = self._table.decide(
                target, workspace, trusted=trusted, for_job=for_job
            )
            # Each in a task of its own, so that whoever met it first may be cancelled.
            if step is Step.TAKE:
                return generation
            if step is Step.OPEN:
                self._loop.spawn(self._make_ready(generation, self._open(generation)))
            elif step is Step.CHECK:
                self._loop.spawn(self._make_ready(generation, self._check(generation)))
            await settled(generation.ready)
            trusted = generation

    async def discard(self, generation: Generation) -> None:
        """The service refused a job of this generation because its session is over.

        The first of many such refusals asks how the session ended; all learn the same.

        Raises:
            SessionNotAvailable: If the session failed under the Abort policy.
        """
        verdict, is_first = self._table.condemn(generation)
        if is_first:
            self._loop.spawn(self._ask_how_it_ended(generation, verdict))
        ended = await settled(verdict)
        if ended is not None and _failed_under_abort(ended):
            raise SessionNotAvailable(
                f"Session {ended.id} on {ended.target} failed under the Abort policy: "
                "look at the failed job, then run again; the next run opens a fresh session.",
                session_id=ended.id,
            )

    def handle(self, session: Session, workspace: WorkspacePort) -> PooledSession:
        """The session for a user's hands: the pool's own object, if it is one of the pool's."""
        handle = self._table.find(session.id)
        if handle is None:
            return PooledSession(session, workspace, self._pool)
        handle.update(session)
        return handle

    async def attach(self, session: Session, workspace: WorkspacePort) -> PooledSession:
        """Lets the jobs of the session's target go in it; it is left to whoever opened it.

        Raises:
            PoolClosed: If the pool is closed.
            JournalError: If the journal cannot be written.
        """
        await self._journal.find_orphans()
        # What a dead run of this journal left open is this pool's to close.
        is_orphan = self._journal.adopt(session.id)
        handle = self.handle(session, workspace)
        is_new = self._table.find(session.id) is None
        self._table.attach(handle, workspace, adopted=not is_orphan)
        if is_new:
            self._tell("adopted", session)
        return handle

    async def close_by_hand(self, session_id: str, workspace: WorkspacePort) -> Session:
        """Closes any session of the workspace; one of the pool's takes no more jobs before."""
        generation = self._table.drain(session_id)
        closed = await workspace.close_session(session_id)
        if generation is not None:
            self._tell("closed", closed)
            self._table.note_end(generation)
        return closed

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
                session.update(closed)
                self._tell("closed", closed)
        self._table.note_end(generation)
        return None

    async def close_orphans(self) -> list[str]:
        """Closes what earlier runs left open; returns the ids of what was closed.

        Raises:
            JournalError: If the journal cannot be written.
        """
        await self._journal.find_orphans()
        closed = await self._journal.close_orphans()
        for session in closed:
            self._tell("closed", session)
        return [session.id for session in closed]

    # Opening and asking

    async def _make_ready(self, generation: Generation, work: Coroutine[Any, Any, bool]) -> None:
        """Opens or checks a generation and tells everybody who waits for it."""
        try:
            is_open = await work
        except BaseException as error:
            self._table.give_up(generation)
            generation.ready.set_exception(_as_session_error(error, generation.target))
            if not isinstance(error, Exception):
                raise
            return
        self._table.settle(generation, is_open=is_open)
        generation.ready.set_result(None)

    async def _open(self, generation: Generation) -> bool:
        """Adopts the latest open session of the pool's name, or opens a new one."""
        await self._journal.find_orphans()
        self._loop.spawn(self._close_other_orphans())
        session = await self._find_to_adopt(generation)
        if session is not None:
            # What a dead run of this journal left open is this pool's to close.
            is_orphan = self._journal.adopt(session.id)
            handle = self.handle(session, generation.workspace)
            self._table.note_session(generation, handle, adopted=not is_orphan)
            self._tell("adopted", session)
            return True
        session = await self._open_new(generation)
        self._table.note_session(generation, self.handle(session, generation.workspace))
        self._tell("opened", session)
        return True

    async def _open_new(self, generation: Generation) -> Session:
        session_id = str(uuid.uuid4())
        request = SessionRequest(
            id=session_id,
            target=generation.target,
            name=self._name or f"session-{session_id}",
            job_failure_policy=self._policy,
        )
        await self._journal.opening(request, generation.workspace)
        try:
            return await generation.workspace.open_session(request)
        except ServiceError as error:
            if error.is_ambiguous:
                self._journal.doubt(request)
            raise

    async def _find_to_adopt(self, generation: Generation) -> Session | None:
        if self._name is None:
            return None
        async for session in generation.workspace.list_sessions(target=generation.target):
            if session.name == self._name and session.is_open:
                # The list may be older than the service's own sweep for idle sessions.
                session = await generation.workspace.get_session(session.id)
                if session.is_open:
                    return session
        return None

    async def _check(self, generation: Generation) -> bool:
        """Asks the service whether a session that rested for long is still open."""
        self._events.count("sessions_checked")
        session = await self._describe(generation)
        if session is not None and session.is_open:
            return True
        self._tell_end(generation, session)
        return False

    async def _ask_how_it_ended(
        self, generation: Generation, verdict: concurrent.futures.Future[Session | None]
    ) -> None:
        try:
            session = await self._describe(generation)
        except ServiceError:
            # That it is over is certain; how it ended is not worth a sweep.
            session = None
        self._tell_end(generation, session)
        verdict.set_result(session)

    async def _describe(self, generation: Generation) -> Session | None:
        """The session as the service has it now, or None if it does not know it any more."""
        try:
            session = await generation.workspace.get_session(generation.opened_session.id)
        except ServiceError as error:
            if error.is_missing:
                return None
            raise
        generation.opened_session.update(session)
        return session

    async def _close_other_orphans(self) -> None:
        """Closes those orphans that the pool does not adopt."""
        for session in await self._journal.close_orphans(but=self._name):
            self._tell("closed", session)

    # Telling

    def _tell_end(self, generation: Generation, session: Session | None) -> None:
        session = session or _vanished(generation.opened_session)
        if session.status is SessionStatus.TIMED_OUT:
            kind = "timed_out"
        else:
            kind = "failed" if _failed_under_abort(session) else "lost"
        self._tell(kind, session, reason=session.status.value)

    def _tell(self, kind: str, session: Session, reason: str = "") -> None:
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
            self._journal.ended(session.id)
        self._events.report(event)


def _failed_under_abort(session: Session) -> bool:
    return (
        session.status is SessionStatus.FAILED
        and session.job_failure_policy is JobFailurePolicy.ABORT
    )


def _vanished(session: PooledSession) -> Session:
    """Stands in for a session that the service no longer knows."""
    return Session(session.id, session.target, session.name, SessionStatus.SUCCEEDED)


def _as_session_error(error: BaseException, target: str) -> BaseException:
    """What everybody learns who waits for a session that could not be opened."""
    if isinstance(error, ServiceError):
        failure = SessionNotAvailable(
            f"No session could be opened on {target}: {error}", may_pass=error.may_pass
        )
        failure.__cause__ = error
        return failure
    return error
