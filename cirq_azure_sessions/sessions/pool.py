"""`SessionPool`: sessions keyed by target, and the sessions and jobs of its workspaces."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from cirq_azure_sessions import background, process
from cirq_azure_sessions.background import Call, Portal
from cirq_azure_sessions.clock import Clock, SystemClock
from cirq_azure_sessions.errors import JournalError, SessionNotAvailable
from cirq_azure_sessions.journal import Journal, open_journal
from cirq_azure_sessions.model import JobFailurePolicy
from cirq_azure_sessions.options import STRING, checked, shown
from cirq_azure_sessions.pickling import Arguments, PickledAsRecipe
from cirq_azure_sessions.results.html import Listing, Stats, pool_card
from cirq_azure_sessions.sessions.handles import JobHandle, SessionHandle
from cirq_azure_sessions.sessions.hosts import HostedJobs
from cirq_azure_sessions.sessions.lifecycle import SessionLifecycle
from cirq_azure_sessions.sessions.table import SessionTable
from cirq_azure_sessions.sessions.watcher import JobWatcher
from cirq_azure_sessions.watch.event_log import EventLog
from cirq_azure_sessions.watch.events import AnyEvent
from cirq_azure_sessions.watch.timeline import Timeline
from cirq_azure_sessions.workspaces.base import WorkspacePort
from cirq_azure_sessions.workspaces.filters import ItemFilter
from cirq_azure_sessions.workspaces.local.callers import is_called_in
from cirq_azure_sessions.workspaces.router import WorkspaceRouter
from cirq_azure_sessions.workspaces.targets import TargetCatalog

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cirq_azure_sessions.costs.estimate import CostEstimate, TimeEstimate
    from cirq_azure_sessions.results.stream import ResultStream

__all__ = ["SessionPool"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Seconds that interpreter exit waits for the service to close sessions.
_EXIT_TIMEOUT = 30.0


class SessionPool(PickledAsRecipe):
    """Sessions keyed by target: opened when needed, reused while open, replaced when they end.

    Thread-safe; costs no thread and no descriptor of its own. Leaving the `with` or `async with`
    block waits for the jobs that still run, then closes every session that the pool opened;
    sessions that it adopted are left to their openers.

    Args:
        workspace: An `azure.quantum.Workspace`, a `LocalWorkspace` or another of this package's
            workspaces. Without one, only `local.*` targets work.
        name: The name of the pool's sessions on the service. The pool first joins the latest open
            session of that name and target. If the run that opened it was killed, the
            pool closes it only with that run's `journal`; else it times out after its last job.
        max_idle: Seconds without use after which the pool checks whether the session is still open.
            The service ends a session after 600 s of idleness.
        job_failure_policy: The effect of a failed job on its session: `"Continue"` or `"Abort"`.
        journal: Path of a file that records jobs and sessions across runs, or a `Journal`: results
            of earlier runs are not paid for again, and sessions that they left open are closed.
        executor: A `concurrent.futures.Executor` over which sweeps on local targets are split.
        clock: The pool's clock; a `ManualClock` in tests.
        close_on_sigterm: Whether SIGTERM ends the process by an ordinary exit, so that sessions are
            closed; a handler installed by the program is kept.

    Raises:
        ValueError: If an option is invalid.
        JournalError: If the journal cannot be opened.
    """

    @checked()
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
        close_on_sigterm: bool = False,
    ) -> None:
        self._clock: Clock = clock or SystemClock()
        self._name: str | None = name
        self._max_idle: float = float(max_idle)
        self._policy: JobFailurePolicy = JobFailurePolicy(job_failure_policy)
        self._router: WorkspaceRouter = WorkspaceRouter(workspace, executor, self._clock)
        self._given: WorkspacePort | None = self._router.given
        self._journal, self._owns_journal = open_journal(journal, self._clock)
        self._after_fork()
        self._hosts: HostedJobs = HostedJobs(self)
        process.register(self)
        if close_on_sigterm:
            process.exit_on("SIGTERM")
        if self._given is not None and self._given.identity is not None:
            process.close_in_workers()

    def _after_fork(self) -> None:
        """Resets the pool to have no sessions: at construction, and in a forked child."""
        self._portal = Portal()
        self._events = EventLog()
        self._watcher = JobWatcher(self._clock)
        self._targets = TargetCatalog(self._clock, self._portal.spawn)
        self._table = SessionTable(max_idle=self._max_idle, clock=self._clock)
        self._lifecycle = SessionLifecycle(self)
        # State, accessed only on the background loop: the running calls of samplers, their streams,
        # and once closing has begun, the task that waits for jobs and the one that closes the pool.
        self._calls: set[asyncio.Task[Any]] = set()
        self._streams: set[ResultStream] = set()
        self._draining: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    # Sessions

    @checked(target=STRING)
    def session(self, target: str) -> SessionHandle:
        """The session for a job on this target, which is opened or adopted if needed.

        If the session was used within `max_idle` this sends no request.

        Raises:
            PoolClosed: If the pool is closed.
            UnsupportedTarget: If no workspace here has the target.
            SessionNotAvailable: If the service does not open a session.
        """
        generation = self._table.take_fresh(target)
        if generation is None:
            workspace = self._router.for_target(target)
            found = self._portal.run(self._lifecycle.find, target, workspace)
            # With a tiny max_idle it may already be due for another check.
            generation = self._table.take_fresh(target) or found
        return generation.opened_session

    def sessions(self) -> Sequence[SessionHandle]:
        """The sessions of the pool that are open, as far as it knows, oldest first."""
        return Listing(self._table.open_sessions())

    def attach(self, session: Any) -> SessionHandle:
        """Sends the jobs of a target to a session that was opened elsewhere.

        The opener has to close the session. Once it has ended, the pool opens its own again. A
        session of the pool that it replaces takes no more jobs and is closed with the pool.

        Args:
            session: The SDK's own `azure.quantum.Session`, a `SessionHandle`, or a session's id.

        Raises:
            PoolClosed: If the pool is closed.
            SessionNotAvailable: If the session has ended, or is not in this workspace.
            UnsupportedTarget: If no workspace here takes jobs for its target.
        """
        session_id = getattr(session, "id", session)
        if not isinstance(session_id, str):
            raise TypeError(f"attach takes a session or a session id, not {shown(session)}.")
        self._table.check_open()
        found, _ = self._portal.run(self._router.get_session, session_id)
        if not found.is_open:
            raise SessionNotAvailable(
                f"Session {found.id} on {found.target} has ended ({found.status}): attach one that "
                "is open, or let the pool open one.",
                session_id=found.id,
            )
        workspace = self._router.for_target(found.target)
        return self._portal.run(self._lifecycle.attach, found, workspace)

    def host(self, backend_or_target: T) -> T:
        """A copy of one of the SDK's backends or targets, whose jobs run in the pool's sessions.

        The original is unchanged. The pool sees the copy's jobs finish when the program reads them,
        or when the pool is closed. A session opened on the copy by hand takes its jobs until it is
        closed. A job refused because its session has ended is submitted once more, in a new one;
        any other error is the SDK's.

        Args:
            backend_or_target: A Qiskit backend of the SDK's `AzureQuantumProvider`, a target from
                `Workspace.get_targets`, or one of `azure.quantum.cirq`, of the pool's workspace.

        Raises:
            PoolClosed: If the pool is closed; so does every later submission.
            TypeError: If it is none of these.
            UnsupportedTarget: If it belongs to another workspace, or the pool has none on Azure.
        """
        self._table.check_open()
        # Imported here so that local targets do not load the SDK.
        from cirq_azure_sessions.workspaces.azure.hosting import host

        return host(backend_or_target, self._given, self._hosts)

    # The workspace's sessions and jobs

    def list_sessions(
        self,
        *,
        target: str | None = None,
        status: str | None = None,
        name: str | None = None,
        max_age: float | None = None,
        limit: int | None = 100,
    ) -> Sequence[SessionHandle]:
        """The workspace's sessions, including other users', newest first.

        Args:
            target: A target or a provider, such as `ionq`; `*` stands for any characters.
            status: A status of the service, or `queued`, `running`, `done`, `finished`, `open`.
            name: Name prefix.
            max_age: Seconds since opening.
            limit: Maximum number of sessions; None for all, which may take long.

        Raises:
            ServiceError: If the service cannot list them.
            ValueError: If the status is unknown.
        """
        where = ItemFilter.of(self._clock.time(), target, status, name, max_age, limit)
        found = self._portal.run(self._router.list_sessions, where)
        return Listing(self._lifecycle.handle(*each) for each in found)

    def get_session(self, session_id: str) -> SessionHandle:
        """Any session of the workspace, in its current state.

        Raises:
            SessionNotAvailable: If there is none with this id.
            ServiceError: If the service does not answer.
        """
        return self._lifecycle.handle(*self._portal.run(self._router.get_session, session_id))

    def list_jobs(
        self,
        *,
        target: str | None = None,
        status: str | None = None,
        name: str | None = None,
        max_age: float | None = None,
        limit: int | None = 100,
    ) -> Sequence[JobHandle]:
        """The workspace's jobs, inside and outside sessions, newest first.

        Arguments and errors are those of `list_sessions`.
        """
        where = ItemFilter.of(self._clock.time(), target, status, name, max_age, limit)
        found = self._portal.run(self._router.list_jobs, where)
        return Listing(JobHandle(*each, self) for each in found)

    def get_job(self, job_id: str) -> JobHandle:
        """Any job of the workspace, in its current state.

        Raises:
            JobError: If there is none with this id.
            ServiceError: If the service does not answer.
        """
        return JobHandle(*self._portal.run(self._router.get_job, job_id), self)

    def least_busy(self, target: str = "*") -> str:
        """The available target with the shortest queue now; `UnsupportedTarget` if none fits."""
        return self._portal.run(self._router.least_busy, target).id

    @checked()
    def estimate_time(self, cost: CostEstimate, max_concurrent_jobs: int = 100) -> TimeEstimate:
        """The queue time of an estimate's jobs, from the service's current averages."""
        status = self._portal.run(self._router.least_busy, cost.target, is_asked_for=True)
        return cost.time(status.average_queue_time, max_concurrent_jobs)

    # Watching

    def get_stats(self) -> dict[str, float]:
        """Statistics so far.

        Returns:
            The counts `sessions_opened`, `sessions_adopted`, `sessions_reused` (a job or a call
            that found its session open), `sessions_checked`, `sessions_reopened`,
            `sessions_timed_out`, `sessions_failed`, `sessions_lost`, `sessions_closed`,
            `jobs_submitted`, `jobs_succeeded`, `jobs_failed` and `jobs_cancelled`; the levels
            `sessions_open` and `jobs_running`; and what the service reported of jobs: their `cost`
            (`nan` in several currencies, which have no sum), the same by currency, such as
            `cost_USD`, and what they consumed of each dimension, such as `consumed_ehqc`.
        """
        return Stats(self._events.stats() | self._table.stats())

    @checked()
    def subscribe(self, callback: Callable[[AnyEvent], None]) -> Callable[[], None]:
        """Calls `callback` with every `SessionEvent`, `JobEvent` and `SweepEvent` from now on.

        The callback must be quick: it runs on the background loop, where methods that wait for the
        service are refused with `RuntimeError`; a `SweepEvent` of the kind `started` comes on the
        thread and in the context of its call. Errors of a callback, except Ctrl-C, are logged.

        Returns:
            A function that ends the subscription.
        """
        return self._events.subscribe(callback)

    def plot_timeline(self, ax: Axes | None = None) -> Axes:
        """Draws the pool's sessions, one per row, with their ends and their jobs.

        Sends no request, and also works after the pool is closed. The pool keeps about the latest
        500 sessions and 5,000 jobs.

        Args:
            ax: The axes to draw on; by default those of a new figure.

        Returns:
            The axes of the plot; `.figure.savefig(path)` writes them to a file.
        """
        return self._timeline().plot(ax)

    def _timeline(self) -> Timeline:
        return Timeline.of_events(*self._events.recent(), now=self._clock.time())

    # Closing

    def close_orphans(self) -> list[str]:
        """Closes the sessions that earlier runs with this journal opened and did not close.

        The pool does this automatically when it opens its first session, and when it is closed.

        Returns:
            The ids of the sessions that were closed now; none without a journal.

        Raises:
            PoolClosed: If the pool is closed.
            JournalError: If the journal cannot be written.
        """
        self._table.check_open()
        return self._portal.run(self._lifecycle.close_orphans)

    @checked()
    def close(self, cancel: bool = False) -> None:
        """Closes the pool and every session that it opened, once their jobs have finished.

        Closing twice, or from several threads, is harmless: all wait for the same close. In an
        event callback or a running local sampler, which must not wait, it only starts the close.

        Args:
            cancel: Cancel unfinished jobs instead of waiting for them: those of calls, and all
                others in the sessions that the pool opened.

        Raises:
            SessionNotAvailable: If a session could not be closed; all others are closed then.
        """
        if sys.is_finalizing():
            return  # it was closed at exit
        closing = self._begin_to_close(cancel, None)
        if not background.loop.is_current:
            closing.result()

    def __enter__(self) -> SessionPool:
        self._table.check_open()
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *exc_info: object) -> None:
        closing = self._begin_to_close(False, exc_type or Exception)
        if not background.loop.is_current:
            closing.result()

    async def __aenter__(self) -> SessionPool:
        return self.__enter__()

    async def __aexit__(self, exc_type: type[BaseException] | None, *exc_info: object) -> None:
        await self._begin_to_close(False, exc_type or Exception)

    def _close_at_exit(self) -> None:
        with suppress(Exception):
            self._begin_to_close(False, SystemExit).wait(_EXIT_TIMEOUT)

    def _begin_to_close(self, cancel: bool, left_by: type[BaseException] | None) -> Call[None]:
        """Stops handing out sessions, and closes the open ones.

        At the end of a block it raises no error, which would lose the block's results; after an
        interruption such as Ctrl-C it does not wait for jobs.
        """
        self._table.is_closed = True
        # Not through the portal, which is closed at the end of closing.
        return background.loop.start(self._join_closing, cancel, left_by)

    async def _join_closing(self, cancel: bool, left_by: type[BaseException] | None) -> None:
        """Waits for the task that closes the pool, and speeds it up as requested."""
        if self._draining is None or self._closing is None:
            self._draining = asyncio.ensure_future(self._drain())
            self._closing = asyncio.ensure_future(self._close_all(self._draining))
        if left_by is not None and not issubclass(left_by, Exception):
            self._draining.cancel()
        try:
            if cancel and not self._closing.done():
                # From here on, everything that waits to submit a job or to retry gives up.
                await self._watcher.cancel_all()
                await asyncio.gather(*map(self._lifecycle.cancel_jobs, self._table.generations()))
            # A sampler that waited here would keep its own job from finishing.
            if not is_called_in({each.session_id for each in self._table.generations()}):
                await asyncio.shield(self._closing)
        except asyncio.CancelledError:
            # A caller that no longer waits for jobs still wants the sessions closed.
            if not self._closing.done():
                await self._join_closing(cancel, asyncio.CancelledError)
            raise
        except SessionNotAvailable as error:
            if left_by is None:
                raise
            logger.warning("%s", error)

    async def _drain(self) -> None:
        """Waits for the jobs of the sessions, and for calls that still fetch results."""
        for stream in list(self._streams):
            await stream.lift_limit()
        self._hosts.drain()
        await asyncio.gather(*(each.idle.wait() for each in self._table.generations()))
        while self._calls:
            await asyncio.wait(self._calls)

    async def _close_all(self, draining: asyncio.Task[None]) -> None:
        await asyncio.wait({draining})
        # Sessions that are still opening can be closed only afterwards.
        generations = self._table.generations()
        opening = [each.ready for each in generations if each.ready is not None]
        await asyncio.gather(*map(asyncio.shield, opening), return_exceptions=True)
        closing = [*map(self._lifecycle.close, generations), self._lifecycle.close_orphans()]
        *closed, orphans = await asyncio.gather(*closing, return_exceptions=True)
        # Calls that still wait for jobs end with PoolClosed.
        await self._portal.close()
        try:
            # Other users of the workspace reopen connections.
            if self._given is not None:
                await self._given.aclose()
        finally:
            if self._journal is not None:
                # The sessions' outcomes are on disk when the pool is closed.
                (self._journal.close if self._owns_journal else self._journal.flush)()
            process.let_go(self)
        if isinstance(orphans, JournalError):
            logger.warning("%s", orphans)
        for outcome in closed:
            if isinstance(outcome, BaseException):
                raise outcome
        if not_closed := [str(session_id) for session_id in closed if session_id]:
            raise SessionNotAvailable(
                f"The service did not close {', '.join(not_closed)}: close it with "
                "`cirq-azure-sessions sessions close`, or let it time out after ten minutes.",
                session_id=not_closed[0],
            )

    # Pickling

    @property
    def _is_spent(self) -> bool:
        return self._table.is_closed

    def _recipe(self) -> Arguments:
        # A journal has its absolute path.
        args, options = super()._recipe()
        return args, {**options, "journal": self._journal}

    # Display

    def __repr__(self) -> str:
        name = f" {self._name!r}" if self._name else ""
        closed = " closed" if self._table.is_closed else ""
        return f"<SessionPool{name}{closed}: {self._table!r}>"

    def _repr_html_(self) -> str:
        rows = [generation.overview() for generation in self._table.generations()]
        return pool_card(self._name, rows, self.get_stats(), is_closed=self._table.is_closed)
