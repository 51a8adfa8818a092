"""Which session a job goes in.

The pool keeps one open session a target, hands it to whoever has a job for that target, and
replaces it when the service has ended it. Its table decides, its keeper asks the service, and the
pool is the face of both.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cirq_azure_sessions import background as shutdown
from cirq_azure_sessions.background import Call, LoopThread
from cirq_azure_sessions.clock import Clock, SystemClock
from cirq_azure_sessions.directory import Directory
from cirq_azure_sessions.errors import JournalError, SessionNotAvailable
from cirq_azure_sessions.generation import Generation, settled
from cirq_azure_sessions.job_watcher import JobWatchers
from cirq_azure_sessions.journal import Journal, open_journal
from cirq_azure_sessions.journal.session_journal import SessionJournal
from cirq_azure_sessions.model import Event, Job, JobFailurePolicy, Session, SweepEvent
from cirq_azure_sessions.pooled.job import PooledJob
from cirq_azure_sessions.pooled.session import PooledSession
from cirq_azure_sessions.results.html import table
from cirq_azure_sessions.session_keeper import SessionKeeper
from cirq_azure_sessions.session_table import SessionTable
from cirq_azure_sessions.wanted import Wanted
from cirq_azure_sessions.watch.event_log import EventLog
from cirq_azure_sessions.watch.timeline import Timeline
from cirq_azure_sessions.workspace_router import WorkspaceRouter
from cirq_azure_sessions.workspaces.base import WorkspacePort

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SessionPool"]

logger = logging.getLogger(__name__)

# At interpreter exit nobody waits longer than this for the service to close sessions.
_EXIT_SECONDS = 30.0


class SessionPool:
    """Sessions keyed by target: opened when needed, reused while alive, replaced when over.

    Thread-safe. Leaving the `with` block waits for the jobs that still run, then closes every
    session that the pool opened; sessions it adopted are left to whoever opened them.

    Args:
        workspace: An `azure.quantum.Workspace`, a `LocalWorkspace` or another of this package's
            workspaces. With None only `local.*` targets work.
        name: The name of the pool's sessions on the service. With a name, the pool first looks for
            the latest session of that name which is still open, and joins it. If the run that
            opened it was killed, it is this pool's to close only with that run's `journal`; without
            one nobody knows, and it times out ten minutes after its last job.
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
        self._directory = Directory(self._workspaces)
        self._journal, self._owns_journal = open_journal(journal, self._clock)
        self._start_afresh()
        shutdown.register(self)

    def _start_afresh(self) -> None:
        """Sets up the state of a pool that has no session: at birth, and in the child of a fork."""
        self._loop = LoopThread(f"cirq-azure-sessions-{id(self):x}")
        self._events = EventLog()
        self._watchers = JobWatchers(self._clock)
        self._table = SessionTable(max_idle=self._max_idle, clock=self._clock)
        self._keeper = SessionKeeper(
            self,
            self._table,
            self._loop,
            SessionJournal(self._journal, self._workspaces.given),
            self._events,
            self._clock,
            name=self._name,
            policy=self._policy,
        )
        # State: the call that closes the pool, if any, and whether it has come to its end.
        self._closing: Call[None] | None = None
        self._has_ended = False
        # Guards both; what is open is the table's to know. Never held while anything is waited for.
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
        generation = self._table.take_fresh(target)
        if generation is None:
            generation = self._loop.run(self._find(target))
            self._table.note_use(generation)
        return generation.opened_session

    def sessions(self) -> Sequence[PooledSession]:
        """The sessions of the pool that are open, as far as it knows, oldest first."""
        return self._table.open_sessions()

    def attach(self, session: Any) -> PooledSession:
        """Lets the jobs of a target go in a session that was opened elsewhere.

        The session is left open to whoever opened it. When it is over, the pool goes on by its own
        rules. A session of the pool's own that it takes the place of takes no more jobs, and is
        closed with the pool.

        Args:
            session: The SDK's own `azure.quantum.Session`, a `PooledSession`, or a session's id.

        Raises:
            PoolClosed: If the pool is closed.
            SessionNotAvailable: If the session is over, or not in this workspace.
            UnsupportedTarget: If no workspace here takes jobs for its target.
        """
        session_id = getattr(session, "id", session)
        if not isinstance(session_id, str):
            raise TypeError(f"attach takes a session or the id of one, not {session!r}.")
        return self.loop.run(self._attach(session_id))

    def list_sessions(
        self,
        *,
        target: str | None = None,
        status: str | None = None,
        name: str | None = None,
        max_age: float | None = None,
        limit: int | None = 100,
    ) -> Sequence[PooledSession]:
        """The sessions of the whole workspace, whoever opened them, newest first.

        Args:
            target: Only those on this target; `*` stands for any characters, as in `ionq.*`.
            status: Only those in this status; a word of the service, in any case.
            name: Only those whose name begins so.
            max_age: Only those opened within so many seconds.
            limit: At most so many; None for all, however long it takes to list them.

        Raises:
            ServiceError: If the service does not list them.
            ValueError: If there is no such status.
        """
        wanted = Wanted(target, status, name, max_age, limit)
        found = self.loop.run(self._directory.list_sessions(wanted, self._clock.time()))
        return [self._keeper.handle(session, workspace) for session, workspace in found]

    def get_session(self, session_id: str) -> PooledSession:
        """Any session of the workspace, as it stands now.

        Raises:
            SessionNotAvailable: If there is none with this id.
            ServiceError: If the service does not say.
        """
        return self._keeper.handle(*self.loop.run(self._directory.get_session(session_id)))

    def list_jobs(
        self,
        *,
        target: str | None = None,
        status: str | None = None,
        name: str | None = None,
        max_age: float | None = None,
        limit: int | None = 100,
    ) -> Sequence[PooledJob]:
        """The jobs of the whole workspace, in sessions and outside, newest first.

        Arguments and errors are those of `list_sessions`.
        """
        wanted = Wanted(target, status, name, max_age, limit)
        found = self.loop.run(self._directory.list_jobs(wanted, self._clock.time()))
        return [PooledJob(job, workspace, self) for job, workspace in found]

    def get_job(self, job_id: str) -> PooledJob:
        """Any job of the workspace, as it stands now.

        Raises:
            JobError: If there is none with this id.
            ServiceError: If the service does not say.
        """
        return PooledJob(*self.loop.run(self._directory.get_job(job_id)), self)

    def get_stats(self) -> dict[str, float]:
        """What happened so far, as numbers.

        Returns:
            The counts `sessions_opened`, `sessions_adopted`, `sessions_reused` (a job or a call
            that found its session open), `sessions_checked`, `sessions_reopened`,
            `sessions_timed_out`, `sessions_failed`, `sessions_lost`, `sessions_closed`,
            `jobs_submitted`, `jobs_succeeded`, `jobs_failed` and `jobs_cancelled`; the levels
            `sessions_open` and `jobs_running`; and what the service reported of jobs: their `cost`
            in the account's currency (`nan` if there are several, which have no sum), the same by
            currency, such as `cost_USD`, and what they consumed of each dimension, whether a plan
            includes it or not, such as `consumed_ehqc`.
        """
        return self._events.stats() | self._table.stats()

    def timeline(self) -> Timeline:
        """The sessions that the pool had, how they ended, and what became of their jobs.

        Sends no request, and works after the pool is closed too. The pool remembers the latest
        sessions, some 500, and their latest jobs, some 5,000.
        """
        session_events, job_events = self._events.recent()
        return Timeline.of_events(session_events, job_events, now=self._clock.time())

    def plot_timeline(self, ax: Axes | None = None) -> Axes:
        """Draws `timeline()`: one row a session, and a tick where each of its jobs ended.

        Args:
            ax: Where to draw; by default in a new figure.

        Returns:
            The axes that were drawn on; `.figure.savefig(path)` writes them to a file.
        """
        return self.timeline().plot(ax)

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
        return self._loop.run(self._keeper.close_orphans())

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Calls `callback` with every `SessionEvent` and `JobEvent` from now on.

        The callback runs on the pool's event loop: it must be quick, and an error in it is logged
        and otherwise without effect.

        Returns:
            A function that ends the subscription.
        """
        return self._events.subscribers.add(callback)

    def subscribe_sweeps(self, callback: Callable[[SweepEvent], None]) -> Callable[[], None]:
        """Calls `callback` when a call of one of the pool's samplers begins, and when it ends.

        The callback runs in the thread and the context of that call; else as `subscribe`.
        """
        return self._events.sweep_subscribers.add(callback)

    def close(self, cancel: bool = False) -> None:
        """Closes the pool and every session that it opened. Closing twice is no error.

        Args:
            cancel: Cancel the jobs that are not finished, instead of waiting for them: those that
                somebody waits for, and all others in the sessions that the pool opened.

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
        with suppress(Exception):
            self._begin_to_close(drain=False, cancel=False).wait(_EXIT_SECONDS)

    def disown(self) -> None:
        """Starts afresh in the child of a fork: the sessions belong to the parent."""
        self._start_afresh()

    def __repr__(self) -> str:
        name = f" {self._name!r}" if self._name else ""
        closed = " closed" if self._table.is_closed else ""
        return f"<SessionPool{name}{closed}: {self._table!r}>"

    def _repr_html_(self) -> str:
        counts = [
            f"{count:g} {name.replace('_', ' ')}"
            for name, count in self.get_stats().items()
            if count and name != "cost"
        ]
        caption = ["SessionPool", self._name, "closed" if self._table.is_closed else None]
        return table(
            " ".join(filter(None, caption)),
            ["target", "session", "status", "state", "jobs running"],
            [generation.overview() for generation in self._table.generations()],
            below=", ".join(counts),
        )

    # What samplers, sessions and jobs call

    @property
    def clock(self) -> Clock:
        """Where the pool reads time."""
        return self._clock

    @property
    def loop(self) -> LoopThread:
        """The event loop on which the pool's work runs; `PoolClosed` once it has ended."""
        with self._lock:
            has_ended = self._has_ended
        if has_ended:
            self._table.check_open()
        return self._loop

    @property
    def journal(self) -> Journal | None:
        """The record of jobs and sessions, if there is one."""
        return self._journal

    def check_open(self) -> None:
        """Raises `PoolClosed` if the pool is closed."""
        self._table.check_open()

    def workspace_for(self, target: str) -> WorkspacePort:
        """The workspace that takes jobs for this target; `UnsupportedTarget` if there is none."""
        return self._workspaces.find(target)

    async def acquire(self, target: str) -> Generation:
        """The generation to submit one job to. Give it back with `release`.

        Raises:
            PoolClosed, UnsupportedTarget, SessionNotAvailable: As `session` does.
        """
        generation = await self._find(target, for_job=True)
        self._table.note_use(generation)
        return generation

    async def prepare(self, target: str) -> None:
        """Opens the session that jobs are going to need, if it is not open."""
        await self._find(target)

    def release(self, generation: Generation) -> None:
        """Says that a job of this generation is over, or was not accepted."""
        for future in self._table.remove_job(generation):
            future.set_result(None)

    async def discard(self, generation: Generation) -> None:
        """The service refused a job of this generation because its session is over.

        Raises:
            SessionNotAvailable: If the session failed under the Abort policy.
        """
        await self._keeper.discard(generation)

    async def watch(
        self, job: Job, workspace: WorkspacePort, follower: Callable[[Job], None] | None = None
    ) -> Job:
        """Waits until the job is over. One watcher polls for all jobs of a session.

        Args:
            job: The job, as the service described it last.
            workspace: Where it is.
            follower: Called with the job each time that it was looked at before its end.
        """
        return await self._watchers.wait(job, workspace, follower)

    async def close_session(self, session_id: str, workspace: WorkspacePort) -> Session:
        """Closes any session of the workspace; no job goes in it any more."""
        return await self._keeper.close_by_hand(session_id, workspace)

    def report(self, event: Event) -> None:
        """Counts an event, logs it and tells the subscribers."""
        self._events.report(event)

    def report_sweep(self, event: SweepEvent) -> None:
        """Logs that a call begins or ends, and tells the subscribers."""
        self._events.sweep_subscribers.tell(event)

    async def _find(self, target: str, *, for_job: bool = False) -> Generation:
        workspace = self._workspaces.find(target)
        self._table.check_open()
        # From here on something may be open, also if nobody refers to the pool any more.
        shutdown.hold(self)
        return await self._keeper.find(target, workspace, for_job=for_job)

    async def _attach(self, session_id: str) -> PooledSession:
        self._table.check_open()
        session, _ = await self._directory.get_session(session_id)
        if not session.is_open:
            raise SessionNotAvailable(
                f"Session {session.id} on {session.target} is over ({session.status}): attach one "
                "that is open, or let the pool open one.",
                session_id=session.id,
            )
        workspace = self._workspaces.find(session.target)
        shutdown.hold(self)
        return await self._keeper.attach(session, workspace)

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
            if self._closing is None or self._closing.is_cancelled:
                self._table.close()
                self._closing = self._loop.start(self._close_all(drain=drain, cancel=cancel))
            return self._closing

    async def _close_all(self, *, drain: bool, cancel: bool) -> None:
        generations = self._table.generations()
        await asyncio.gather(
            *(settled(generation.ready) for generation in generations), return_exceptions=True
        )
        if cancel:
            await self._watchers.cancel_all()
            await asyncio.gather(*map(self._keeper.cancel_jobs, generations))
        if drain:
            await asyncio.gather(*map(settled, self._table.when_idle()))
        not_closed = [
            session_id
            for session_id in await asyncio.gather(
                *(self._keeper.close(generation) for generation in generations)
            )
            if session_id
        ]
        try:
            await self._keeper.close_orphans()
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
