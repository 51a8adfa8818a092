"""Which session a job goes in.

The pool keeps one open session a target, hands it to whoever has a job for that target, and
replaces it when the service has ended it. What it may decide without asking the service it decides
under its lock; every request is sent with the lock released.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import enum
import logging
import math
import os
import threading
import uuid
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any

import cachetools

from cirq_azure_sessions import shutdown
from cirq_azure_sessions.clock import Clock, SystemClock
from cirq_azure_sessions.errors import (
    JournalError,
    PoolClosed,
    ServiceError,
    SessionNotAvailable,
)
from cirq_azure_sessions.event_log import EventLog
from cirq_azure_sessions.events import Event, SessionEvent
from cirq_azure_sessions.generation import Generation, PooledSession, State, settled
from cirq_azure_sessions.job_watcher import JobPace, JobWatcher
from cirq_azure_sessions.journal import Journal, open_journal
from cirq_azure_sessions.journal.session_journal import SessionJournal
from cirq_azure_sessions.loop_thread import Call, LoopThread
from cirq_azure_sessions.model import Job, JobFailurePolicy, Session, SessionRequest, SessionStatus
from cirq_azure_sessions.workspace import WorkspacePort
from cirq_azure_sessions.workspace_router import WorkspaceRouter

__all__ = ["PooledSession", "SessionPool"]

logger = logging.getLogger(__name__)

# At interpreter exit nobody waits longer than this for the service to close sessions.
_EXIT_SECONDS = 30.0


class _Step(enum.Enum):
    """What has to be done before a generation takes a job."""

    TAKE = enum.auto()
    WAIT = enum.auto()
    OPEN = enum.auto()
    CHECK = enum.auto()


class SessionPool:
    """Sessions keyed by target: opened when needed, reused while alive, replaced when over.

    Thread-safe. Leaving the `with` block waits for the jobs that still run, then closes every
    session that the pool opened; sessions it adopted are left to whoever opened them.

    Args:
        workspace: An `azure.quantum.Workspace`, a `LocalWorkspace` or another of this package's
            workspaces. With None only `local.*` targets work.
        name: The name of the pool's sessions on the service. With a name, the pool first looks for
            the latest session of that name which is still open, and joins it.
        max_idle: Seconds without use after which the service is asked whether the session is still
            open. The service ends a session after 600 s of idleness.
        job_failure_policy: What a failed job does to its session: `"Continue"` or `"Abort"`.
        journal: Path of a file that remembers jobs and sessions across runs, or a `Journal`: what
            an earlier run brought home is not paid again, and what it left open is closed.
        executor: A `concurrent.futures.Executor` over which sweeps on local targets are split.
        clock: Where the pool reads time; a `ManualClock` in tests.

    Raises:
        ValueError: If the policy is unknown or `max_idle` is not positive.
        JournalError: If the journal cannot be opened.
    """

    def __init__(
        self,
        workspace: Any = None,
        *,
        name: str | None = None,
        max_idle: float = 540.0,
        job_failure_policy: str = "Continue",
        journal: Journal | str | os.PathLike[str] | None = None,
        executor: Executor | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not max_idle > 0:
            raise ValueError(f"max_idle must be a positive number of seconds, not {max_idle}.")
        self._clock: Clock = clock or SystemClock()
        self._name = name
        self._max_idle = max_idle
        self._policy = JobFailurePolicy(job_failure_policy)
        self._workspaces = WorkspaceRouter(workspace, executor=executor, clock=self._clock)
        self._journal, self._owns_journal = open_journal(journal, self._clock)
        self._start_afresh()
        shutdown.register(self)

    def _start_afresh(self) -> None:
        """Sets up the state of a pool that has no session: at birth, and in the child of a fork."""
        self._loop = LoopThread(f"cirq-azure-sessions-{id(self):x}")
        self._events = EventLog()
        # Tasks that the event loop would otherwise only refer to weakly; touched on the loop alone.
        self._tasks: set[asyncio.Task[None]] = set()
        self._session_journal = SessionJournal(self._journal, self._workspaces.given)
        # State: for each target the generation that its jobs go to; those of them used within
        # max_idle; every generation that is not over; the watcher of each session whose jobs are
        # waited for, and the pace of each target's jobs; the call that closes the pool, if any, and
        # whether it has come to its end.
        self._current: dict[str, Generation] = {}
        self._fresh: cachetools.TTLCache[str, Generation] = cachetools.TTLCache(
            maxsize=math.inf, ttl=self._max_idle, timer=self._clock.monotonic
        )
        self._generations: list[Generation] = []
        self._watchers: dict[str | None, JobWatcher] = {}
        self._paces: dict[str, JobPace] = {}
        self._closing: Call[None] | None = None
        self._has_ended = False
        # Guards all of the above. No request is ever sent, and nobody is called, with it held.
        self._lock = threading.Lock()

    # What users call

    def session(self, target: str) -> PooledSession:
        """The session that a job for this target would go in now; opened or adopted if needed.

        While the session was used within `max_idle` this sends no request.

        Raises:
            PoolClosed: If the pool is closed.
            UnsupportedTarget: If no workspace here knows the target.
            SessionNotAvailable: If the service does not open a session.
        """
        with self._lock:
            generation = self._take_fresh(target)
        if generation is None:
            generation = self._loop.run(self._find(target))
        self._note_use(generation)
        return generation.opened_session

    def sessions(self) -> Sequence[PooledSession]:
        """The sessions of the pool that are open, as far as it knows, oldest first."""
        with self._lock:
            return [
                generation.session
                for generation in self._generations
                if generation.session is not None and generation.is_open
            ]

    def get_stats(self) -> dict[str, float]:
        """What happened so far, as numbers.

        Returns:
            The counts `sessions_opened`, `sessions_adopted`, `sessions_reused` (a job or a call
            that found its session open), `sessions_checked`, `sessions_reopened`,
            `sessions_timed_out`, `sessions_failed`, `sessions_lost`, `sessions_closed`,
            `jobs_submitted`, `jobs_succeeded`, `jobs_failed` and `jobs_cancelled`; the levels
            `sessions_open` and `jobs_running`; and `cost`, the sum that the service reported.
        """
        stats = self._events.stats()
        with self._lock:
            stats["sessions_open"] = sum(generation.is_open for generation in self._generations)
            stats["jobs_running"] = sum(generation.jobs for generation in self._generations)
        return stats

    def close_orphans(self) -> list[str]:
        """Closes the sessions that earlier runs with this journal opened and did not close.

        The pool does so by itself: when it opens its first session, and when it is closed.

        Returns:
            The ids of the sessions that were closed now; none without a journal.

        Raises:
            PoolClosed: If the pool is closed.
            JournalError: If the journal cannot be written.
        """
        self.check_open()
        return self._loop.run(self._close_orphans())

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Calls `callback` with every `SessionEvent` and `JobEvent` from now on.

        The callback runs on the pool's event loop: it must be quick, and an error in it is logged
        and otherwise without effect.

        Returns:
            A function that ends the subscription.
        """
        return self._events.subscribe(callback)

    def close(self, cancel: bool = False) -> None:
        """Closes the pool and every session that it opened. Closing twice is no error.

        Args:
            cancel: Cancel the jobs that are not finished, instead of waiting for them.

        Raises:
            SessionNotAvailable: If a session could not be closed; all others are closed then.
        """
        self._close(drain=True, cancel=cancel)

    def __enter__(self) -> SessionPool:
        self.check_open()
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *exc_info: object) -> None:
        # Whoever interrupts the block does not want to wait hours for a queue.
        interrupted = exc_type is not None and not issubclass(exc_type, Exception)
        try:
            self._close(drain=not interrupted, cancel=False)
        except SessionNotAvailable as error:
            if exc_type is None:
                raise
            logger.warning("%s", error)

    def close_at_exit(self) -> None:
        """Closes the sessions because the interpreter ends; waits for no job."""
        with self._lock:
            if not self._generations and self._journal is None:
                return
        with suppress(Exception):
            self._begin_to_close(drain=False, cancel=False).future.result(_EXIT_SECONDS)

    def disown(self) -> None:
        """Starts afresh in the child of a fork: the sessions belong to the parent."""
        self._start_afresh()

    def __repr__(self) -> str:
        with self._lock:
            parts = [repr(generation) for generation in self._generations]
            closed = " closed" if self._closing is not None else ""
        name = f" {self._name!r}" if self._name else ""
        return f"<SessionPool{name}{closed}: {', '.join(parts) or 'no session'}>"

    # What samplers call

    @property
    def clock(self) -> Clock:
        """Where the pool reads time."""
        return self._clock

    @property
    def loop(self) -> LoopThread:
        """The event loop on which the pool's work runs; `PoolClosed` once it has ended."""
        with self._lock:
            if self._has_ended:
                self._refuse_if_closed()
        return self._loop

    @property
    def journal(self) -> Journal | None:
        """The record of jobs and sessions, if there is one."""
        return self._journal

    def check_open(self) -> None:
        """Raises `PoolClosed` if the pool is closed."""
        with self._lock:
            self._refuse_if_closed()

    def workspace_for(self, target: str) -> WorkspacePort:
        """The workspace that takes jobs for this target; `UnsupportedTarget` if there is none."""
        return self._workspaces.find(target)

    async def acquire(self, target: str) -> Generation:
        """The generation to submit one job to. Give it back with `release`.

        Raises:
            PoolClosed, UnsupportedTarget, SessionNotAvailable: As `session` does.
        """
        generation = await self._find(target, for_job=True)
        self._note_use(generation)
        return generation

    async def prepare(self, target: str) -> None:
        """Opens the session that jobs are going to need, if it is not open."""
        await self._find(target)

    def release(self, generation: Generation) -> None:
        """Says that a job of this generation is over, or was not accepted."""
        with self._lock:
            told = generation.remove_job()
            self._forget_if_over(generation)
        for future in told:
            future.set_result(None)

    async def discard(self, generation: Generation) -> None:
        """The service refused a job of this generation because its session is over.

        The first of many such refusals asks how the session ended; all learn the same.

        Raises:
            SessionNotAvailable: If the session failed under the Abort policy.
        """
        with self._lock:
            first = generation.verdict is None
            if generation.verdict is None:
                generation.verdict = concurrent.futures.Future()
                generation.state = State.LOST
                self._retire(generation)
            verdict = generation.verdict
        if first:
            self._spawn(self._ask_how_it_ended(generation, verdict))
        ended = await settled(verdict)
        if ended is not None and _failed_under_abort(ended):
            raise SessionNotAvailable(
                f"Session {ended.id} on {ended.target} failed under the Abort policy: "
                "look at the failed job, then run again; the next run opens a fresh session.",
                session_id=ended.id,
            )

    async def watch(self, job: Job, workspace: WorkspacePort) -> Job:
        """Waits until the job is over. One watcher polls for all jobs of a session."""
        if job.is_final:
            return job
        with self._lock:
            watcher = self._watchers.get(job.session_id)
            if watcher is None:
                pace = self._paces.setdefault(job.target, JobPace())
                watcher = JobWatcher(workspace, job.session_id, self._clock, pace)
                self._watchers[job.session_id] = watcher
        try:
            return await watcher.wait(job)
        finally:
            with self._lock:
                if watcher.is_idle and self._watchers.get(job.session_id) is watcher:
                    del self._watchers[job.session_id]

    def report(self, event: Event) -> None:
        """Counts an event, logs it and tells the subscribers."""
        self._events.report(event)

    # Finding the session

    def _decide(self, target: str, trusted: Generation | None) -> tuple[_Step, Generation | None]:
        """What a job for this target needs; the whole policy. Needs the lock, does no I/O.

        Args:
            target: The target.
            trusted: A generation that the service has just confirmed to be open.
        """
        self._refuse_if_closed()
        generation = self._current.get(target)
        # 1. Nobody has needed this target yet, or its session is over.
        if generation is None:
            return _Step.OPEN, None
        # 2. Somebody else is opening it, or asking about it.
        if generation.state is State.OPENING:
            return _Step.WAIT, generation
        # 3. Used a short while ago, or just confirmed: the service will not have timed it out.
        if self._take_fresh(target) is not None or generation is trusted:
            return _Step.TAKE, generation
        # 4. At rest for long: the service knows, a timer only guesses.
        return _Step.CHECK, generation

    def _take_fresh(self, target: str) -> Generation | None:
        """The open generation used within max_idle, whose rest now starts again. Needs the lock."""
        self._refuse_if_closed()
        generation = self._fresh.get(target)
        if generation is not None:
            self._fresh[target] = generation
        return generation

    async def _find(self, target: str, *, for_job: bool = False) -> Generation:
        workspace = self._workspaces.find(target)
        trusted: Generation | None = None
        while True:
            with self._lock:
                step, generation = self._decide(target, trusted)
                if step is _Step.OPEN:
                    generation = Generation(target, workspace)
                    self._current[target] = generation
                    self._generations.append(generation)
                elif step is _Step.CHECK:
                    assert generation is not None
                    generation.state = State.OPENING
                    generation.ready = concurrent.futures.Future()
                assert generation is not None
                if step is _Step.TAKE:
                    generation.jobs += for_job
            # Each in a task of its own, so that whoever met it first may be cancelled.
            if step is _Step.TAKE:
                return generation
            if step is _Step.OPEN:
                shutdown.hold(self)
                self._spawn(self._make_ready(generation, self._open(generation)))
            elif step is _Step.CHECK:
                self._spawn(self._make_ready(generation, self._check(generation)))
            await settled(generation.ready)
            trusted = generation

    def _note_use(self, generation: Generation) -> None:
        """Counts a use of a session; the first is not a reuse."""
        with self._lock:
            is_reuse, generation.is_used = generation.is_used, True
        if is_reuse:
            self._events.count("sessions_reused")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Starts a task that outlives whoever needed it first."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _make_ready(self, generation: Generation, work: Coroutine[Any, Any, bool]) -> None:
        """Opens or checks a generation and tells everybody who waits for it."""
        try:
            is_open = await work
        except BaseException as error:
            with self._lock:
                if generation.session is None:
                    generation.state = State.LOST
                    self._retire(generation)
                else:
                    # It could not be asked about, and may well be open: the next use asks again.
                    generation.state = State.OPEN
            generation.ready.set_exception(_as_session_error(error, generation.target))
            if not isinstance(error, Exception):
                raise
            return
        with self._lock:
            generation.state = State.OPEN if is_open else State.LOST
            if is_open and self._closing is None:
                self._fresh[generation.target] = generation
            elif is_open:
                generation.state = State.DRAINING
            else:
                self._retire(generation)
        generation.ready.set_result(None)

    async def _open(self, generation: Generation) -> bool:
        """Adopts the latest open session of the pool's name, or opens a new one."""
        await self._session_journal.find_orphans()
        self._spawn(self._close_other_orphans())
        session = await self._find_to_adopt(generation)
        if session is not None:
            # What a dead run of this journal left open is this pool's to close.
            generation.adopted = not self._session_journal.adopt(session.id)
            generation.session = PooledSession(session)
            self._tell("adopted", session)
            return True
        session_id = str(uuid.uuid4())
        request = SessionRequest(
            id=session_id,
            target=generation.target,
            name=self._name or f"session-{session_id}",
            job_failure_policy=self._policy,
        )
        await self._session_journal.opening(request, generation.workspace)
        try:
            session = await generation.workspace.open_session(request)
        except ServiceError as error:
            if error.is_ambiguous:
                self._session_journal.doubt(request)
            raise
        generation.session = PooledSession(session)
        self._tell("opened", session)
        return True

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

    # Closing

    def _close(self, *, drain: bool, cancel: bool) -> None:
        try:
            self._begin_to_close(drain=drain, cancel=cancel).result()
        except (KeyboardInterrupt, SystemExit):
            # Whoever is tired of waiting for jobs still wants the sessions closed.
            if self._closing is not None:
                self._closing.cancel()
            self._begin_to_close(drain=False, cancel=cancel).result()
            raise
        finally:
            with self._lock:
                self._has_ended = True
            self._loop.stop()
            shutdown.let_go(self)

    def _begin_to_close(self, *, drain: bool, cancel: bool) -> Call[None]:
        with self._lock:
            if self._closing is None or self._closing.future.cancelled():
                self._closing = self._loop.start(self._close_all(drain=drain, cancel=cancel))
                self._fresh.clear()
                self._current.clear()
            return self._closing

    async def _close_all(self, *, drain: bool, cancel: bool) -> None:
        with self._lock:
            generations = list(self._generations)
            watchers = list(self._watchers.values())
        await asyncio.gather(
            *(settled(generation.ready) for generation in generations), return_exceptions=True
        )
        if cancel:
            await asyncio.gather(*(watcher.cancel_all() for watcher in watchers))
        with self._lock:
            waits = [generation.when_idle() for generation in generations] if drain else []
        await asyncio.gather(*(settled(wait) for wait in waits))
        not_closed = [
            session_id
            for session_id in await asyncio.gather(
                *(self._close_session(generation) for generation in generations)
            )
            if session_id
        ]
        try:
            await self._close_orphans()
        except JournalError as error:
            logger.warning("%s", error)
        await self._workspaces.aclose()
        if self._journal is not None and self._owns_journal:
            self._journal.close()
        if not_closed:
            raise SessionNotAvailable(
                f"The service did not close {', '.join(not_closed)}: close it with "
                "`cirq-azure-sessions sessions close`, or leave it to time out after ten minutes.",
                session_id=not_closed[0],
            )

    async def _close_session(self, generation: Generation) -> str | None:
        """Closes one session; returns its id if that failed."""
        with self._lock:
            ours = generation.is_ours_to_close
        if ours:
            session = generation.opened_session
            try:
                closed = await generation.workspace.close_session(session.id)
            except ServiceError as error:
                if not error.is_missing:
                    logger.warning("Session %s is not closed: %s", session.id, error)
                    return session.id
            else:
                session.update(closed)
                self._tell("closed", closed)
        with self._lock:
            if generation.state is not State.LOST:
                generation.state = State.CLOSED
            self._forget_if_over(generation)
        return None

    async def _close_orphans(self) -> list[str]:
        await self._session_journal.find_orphans()
        closed = await self._session_journal.close_orphans()
        for session in closed:
            self._tell("closed", session)
        return [session.id for session in closed]

    async def _close_other_orphans(self) -> None:
        """Closes those orphans that the pool does not adopt."""
        for session in await self._session_journal.close_orphans(but=self._name):
            self._tell("closed", session)

    def _refuse_if_closed(self) -> None:
        if self._closing is not None:
            raise PoolClosed("The session pool is closed: make a new SessionPool to go on.")

    # Keeping the books

    def _retire(self, generation: Generation) -> None:
        """Sends no more jobs to this generation. Needs the lock."""
        if self._current.get(generation.target) is generation:
            del self._current[generation.target]
            self._fresh.pop(generation.target, None)
        self._forget_if_over(generation)

    def _forget_if_over(self, generation: Generation) -> None:
        if generation.is_over and generation in self._generations:
            self._generations.remove(generation)

    def _tell_end(self, generation: Generation, session: Session | None) -> None:
        session = session or _vanished(generation.opened_session)
        if session.status is SessionStatus.TIMED_OUT:
            kind = "timed_out"
        else:
            kind = "failed" if _failed_under_abort(session) else "lost"
        self._tell(kind, session, reason=session.status.value)

    def _tell(self, kind: str, session: Session, reason: str = "") -> None:
        event = SessionEvent(
            kind, session.id, session.target, time=self._clock.time(), reason=reason
        )
        if not event.is_start_of_session:
            self._session_journal.ended(session.id)
        self.report(event)


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
        failure = SessionNotAvailable(f"No session could be opened on {target}: {error}")
        failure.__cause__ = error
        return failure
    return error
