"""`SessionPool`: sessions keyed by target, and the sessions and jobs of its workspaces."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeVar, cast

from cirq_azure_sessions import background
from cirq_azure_sessions.background import Call, Portal
from cirq_azure_sessions.clock import Clock, SystemClock, timeout
from cirq_azure_sessions.errors import (
    JournalError,
    ServiceError,
    SessionNotAvailable,
    UnsupportedTarget,
    unknown_job,
)
from cirq_azure_sessions.journal import Journal, open_journal
from cirq_azure_sessions.model import AnyEvent, Job, JobFailurePolicy, Session
from cirq_azure_sessions.results.html import table
from cirq_azure_sessions.sessions.handles import JobHandle, SessionHandle
from cirq_azure_sessions.sessions.lifecycle import SessionLifecycle
from cirq_azure_sessions.sessions.table import CLOSED_MESSAGE, Generation, SessionTable
from cirq_azure_sessions.sessions.watcher import JobWatcher
from cirq_azure_sessions.watch.event_log import EventLog
from cirq_azure_sessions.watch.timeline import Timeline
from cirq_azure_sessions.workspaces.base import ItemFilter, WorkspacePort

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SessionPool"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
Item = TypeVar("Item", Session, Job)

# Seconds that interpreter exit waits for the service to close sessions.
_EXIT_TIMEOUT = 30.0


class SessionPool:
    """Sessions keyed by target: opened when needed, reused while open, replaced when they end.

    Thread-safe; costs no thread and no descriptor of its own. Leaving the `with` or `async with`
    block waits for the jobs that still run, then closes every session that the pool opened;
    sessions that it adopted are left to their openers.

    Args:
        workspace: An `azure.quantum.Workspace`, a `LocalWorkspace` or another of this package's
            workspaces. With None only `local.*` targets work.
        name: The name of the pool's sessions on the service. With a name, the pool first looks for
            the latest open session of that name and target, and joins it. If the run that opened it
            was killed, only that run's `journal` makes it this pool's to close; otherwise it times
            out ten minutes after its last job.
        max_idle: Seconds without use after which the service is asked whether the session is still
            open. The service ends a session after 600 s of idleness.
        job_failure_policy: What a failed job does to its session: `"Continue"` or `"Abort"`.
        journal: Path of a file that records jobs and sessions across runs, or a `Journal`: results
            that an earlier run fetched are not paid for again, and sessions that it left open are
            closed.
        executor: A `concurrent.futures.Executor` over which sweeps on local targets are split.
        clock: Where the pool reads time; a `ManualClock` in tests.
        close_on_sigterm: Whether SIGTERM ends the process by an ordinary exit, so that sessions are
            closed; a handler that the program has installed stays.

    Raises:
        ValueError: If the policy is unknown or `max_idle` is no positive number.
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
        close_on_sigterm: bool = False,
    ) -> None:
        # Imported here so that importing the package costs little; so is the adapter below.
        from cirq_azure_sessions.workspaces.local import LocalWorkspace

        if isinstance(max_idle, bool) or not (isinstance(max_idle, Real) and float(max_idle) > 0):
            raise ValueError(f"max_idle must be a positive number of seconds, not {max_idle!r}.")
        policies = [policy.value for policy in JobFailurePolicy]
        if job_failure_policy not in policies:
            raise ValueError(
                f"job_failure_policy must be {' or '.join(map(repr, policies))}, "
                f"not {job_failure_policy!r}."
            )
        if name is not None and not (isinstance(name, str) and name):
            raise ValueError(f"name must be a non-empty string or None, not {name!r}.")
        self._clock: Clock = clock or SystemClock()
        self._name: str | None = name
        self._max_idle: float = float(max_idle)
        self._policy: JobFailurePolicy = JobFailurePolicy(job_failure_policy)
        self._given: WorkspacePort | None = (
            None if workspace is None else _as_port(workspace, self._clock)
        )
        self._local: WorkspacePort = LocalWorkspace(executor=executor, clock=self._clock)
        self._journal: Journal | None
        self._owns_journal: bool
        self._journal, self._owns_journal = open_journal(journal, self._clock)
        self._after_fork()
        background.register(self)
        if close_on_sigterm:
            background.exit_on_sigterm()

    def _after_fork(self) -> None:
        """Sets up the state of a pool without sessions: at birth, and in the child of a fork."""
        self._portal = Portal(CLOSED_MESSAGE)
        self._events = EventLog()
        self._watcher = JobWatcher(self._clock)
        self._table = SessionTable(max_idle=self._max_idle, clock=self._clock)
        self._lifecycle = SessionLifecycle(
            self,
            self._table,
            self._events,
            self._journal,
            name=self._name,
            policy=self._policy,
        )
        # State: the samplers' calls that run, and their streams; the task that closes the pool,
        # once somebody has asked for that; whether it waits for jobs no longer, and whether they
        # are to be cancelled. Touched on the background loop alone.
        self._calls: set[asyncio.Task[Any]] = set()
        self._streams: weakref.WeakSet[Any] = weakref.WeakSet()
        self._closing: asyncio.Task[None] | None = None
        self._stop_draining = asyncio.Event()
        self._is_cancelling = asyncio.Event()

    # Sessions

    def session(self, target: str) -> SessionHandle:
        """The session that a job for this target would go in now; opened or adopted if needed.

        While the session was used within `max_idle` this sends no request.

        Raises:
            PoolClosed: If the pool is closed.
            UnsupportedTarget: If no workspace here has the target.
            SessionNotAvailable: If the service does not open a session.
        """
        generation = self._table.take_fresh(target)
        if generation is None:
            found = self._run(self._lifecycle.find(target, self._workspace_for(target)))
            # On its way here it may have been idle for longer than a tiny max_idle.
            generation = self._table.take_fresh(target) or found
        return generation.opened_session

    def sessions(self) -> Sequence[SessionHandle]:
        """The sessions of the pool that are open, as far as it knows, oldest first."""
        return self._table.open_sessions()

    def attach(self, session: Any) -> SessionHandle:
        """Sends the jobs of a target to a session that was opened elsewhere.

        The session is left to its opener. When it has ended, the pool goes on by its own rules. A
        session of the pool's own that it replaces takes no more jobs and is closed with the pool.

        Args:
            session: The SDK's own `azure.quantum.Session`, a `SessionHandle`, or a session's id.

        Raises:
            PoolClosed: If the pool is closed.
            SessionNotAvailable: If the session has ended, or is not in this workspace.
            UnsupportedTarget: If no workspace here takes jobs for its target.
        """
        session_id = getattr(session, "id", session)
        if not isinstance(session_id, str):
            raise TypeError(f"attach takes a session or the id of one, not {session!r}.")
        return self._run(self._attach(session_id))

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
        """The sessions of the whole workspace, whoever opened them, newest first.

        Args:
            target: A target; `*` stands for any characters, as in `ionq.*`.
            status: A status of the service, in any case.
            name: Name prefix.
            max_age: Seconds since opening.
            limit: Maximum number of sessions; None for all, however long it takes to list them.

        Raises:
            ServiceError: If the service does not list them.
            ValueError: If there is no such status.
        """
        found = self._list(
            lambda workspace, where: workspace.list_sessions(where),
            target=target,
            status=status,
            name=name,
            max_age=max_age,
            limit=limit,
        )
        return [self._lifecycle.handle(*each) for each in found]

    def get_session(self, session_id: str) -> SessionHandle:
        """Any session of the workspace, as it stands now.

        Raises:
            SessionNotAvailable: If there is none with this id.
            ServiceError: If the service does not say.
        """
        return self._lifecycle.handle(*self._run(self._look_up_session(session_id)))

    def list_jobs(
        self,
        *,
        target: str | None = None,
        status: str | None = None,
        name: str | None = None,
        max_age: float | None = None,
        limit: int | None = 100,
    ) -> Sequence[JobHandle]:
        """The jobs of the whole workspace, in sessions and outside, newest first.

        Arguments and errors are those of `list_sessions`.
        """
        found = self._list(
            lambda workspace, where: workspace.list_jobs(where),
            target=target,
            status=status,
            name=name,
            max_age=max_age,
            limit=limit,
        )
        return [JobHandle(*each, self) for each in found]

    def get_job(self, job_id: str) -> JobHandle:
        """Any job of the workspace, as it stands now.

        Raises:
            JobError: If there is none with this id.
            ServiceError: If the service does not say.
        """
        return JobHandle(*self._run(self._look_up_job(job_id)), self)

    def _list(
        self,
        list_items: Callable[[WorkspacePort, ItemFilter], AsyncIterator[Item]],
        **filters: Any,
    ) -> list[tuple[Item, WorkspacePort]]:
        """The newest of what the workspaces list, each with where it is."""
        where = ItemFilter.of(now=self._clock.time(), **filters)

        async def collect() -> list[tuple[Item, WorkspacePort]]:
            return [
                (item, workspace)
                for workspace in self._workspaces
                async for item in list_items(workspace, where)
            ]

        found = self._run(collect())
        found.sort(key=lambda pair: pair[0].creation_time or -math.inf, reverse=True)
        return found[: where.limit]

    # Watching

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

    def subscribe(self, callback: Callable[[AnyEvent], None]) -> Callable[[], None]:
        """Calls `callback` with every `SessionEvent`, `JobEvent` and `SweepEvent` from now on.

        The callback must be quick: it runs on the background loop, where methods that wait for the
        service are refused with `RuntimeError`; a `SweepEvent` of the kind `started` comes on the
        thread and in the context of its call. An error in a callback is logged and otherwise has no
        effect.

        Returns:
            A function that ends the subscription.
        """
        return self._events.subscribe(callback)

    def plot_timeline(self, ax: Axes | None = None) -> Axes:
        """Draws the pool's sessions, one per row, how they ended, and what became of their jobs.

        Sends no request, and works after the pool is closed too. The pool remembers the latest
        sessions, some 500, and their latest jobs, some 5,000.

        Args:
            ax: Where to draw; by default in a new figure.

        Returns:
            The axes that were drawn on; `.figure.savefig(path)` writes them to a file.
        """
        return self._timeline().plot(ax)

    def _timeline(self) -> Timeline:
        session_events, job_events = self._events.recent()
        return Timeline.of_events(session_events, job_events, now=self._clock.time())

    # Closing

    def close_orphans(self) -> list[str]:
        """Closes the sessions that earlier runs with this journal opened and did not close.

        The pool does so by itself when it opens its first session, and when it is closed.

        Returns:
            The ids of the sessions that were closed now; none without a journal.

        Raises:
            PoolClosed: If the pool is closed.
            JournalError: If the journal cannot be written.
        """
        self._table.check_open()
        return [session.id for session in self._run(self._lifecycle.close_orphans())]

    def close(self, cancel: bool = False) -> None:
        """Closes the pool and every session that it opened, once their jobs have finished.

        Closing twice, or from several threads, is no error: all wait for the same end. In an event
        callback, where waiting would never end, it only begins to close.

        Args:
            cancel: Cancel unfinished jobs instead of waiting for them: those that somebody waits
                for, and all others in the sessions that the pool opened.

        Raises:
            SessionNotAvailable: If a session could not be closed; all others are closed then.
        """
        self._close(drain=True, cancel=cancel)

    def __enter__(self) -> SessionPool:
        self._table.check_open()
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *exc_info: object) -> None:
        try:
            self._close(drain=not _is_interruption(exc_type), cancel=False)
        except SessionNotAvailable as error:
            if exc_type is None:
                raise
            logger.warning("%s", error)

    async def __aenter__(self) -> SessionPool:
        return self.__enter__()

    async def __aexit__(self, exc_type: type[BaseException] | None, *exc_info: object) -> None:
        try:
            await self._aclose(drain=not _is_interruption(exc_type), cancel=False)
        except SessionNotAvailable as error:
            if exc_type is None:
                raise
            logger.warning("%s", error)

    def _close_at_exit(self) -> None:
        """Closes the sessions because the process ends; waits for no job."""
        with suppress(Exception):
            self._begin_to_close(drain=False, cancel=False).wait(_EXIT_TIMEOUT)

    def _close(self, *, drain: bool, cancel: bool) -> None:
        call = self._begin_to_close(drain=drain, cancel=cancel)
        if background.loop.is_current:
            return
        try:
            call.wait()
        except BaseException:
            # Whoever is tired of waiting for jobs still wants the sessions closed.
            self._begin_to_close(drain=False, cancel=cancel).result()
            raise
        call.result()

    async def _aclose(self, *, drain: bool, cancel: bool) -> None:
        try:
            await self._begin_to_close(drain=drain, cancel=cancel)
        except asyncio.CancelledError:
            await self._begin_to_close(drain=False, cancel=cancel)
            raise

    def _begin_to_close(self, *, drain: bool, cancel: bool) -> Call[None]:
        self._table.close()
        # Not through the portal, which the end of closing closes.
        return background.loop.start(self._join_closing(drain=drain, cancel=cancel))

    async def _join_closing(self, *, drain: bool, cancel: bool) -> None:
        """Joins the task that closes the pool, and hurries it as asked."""
        if not drain:
            self._stop_draining.set()
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close_all())
        if cancel and not self._closing.done():
            # Whoever waits to submit a job, or to try something again, gives up.
            self._is_cancelling.set()
            await self._watcher.cancel_all()
            generations = self._table.generations()
            await asyncio.gather(*map(self._lifecycle.cancel_jobs, generations))
        await asyncio.shield(self._closing)

    async def _close_all(self) -> None:
        for stream in list(self._streams):
            await stream.lift_limit()
        generations = self._table.generations()
        opening = [each.ready for each in generations if each.ready is not None]
        await asyncio.gather(*map(asyncio.shield, opening), return_exceptions=True)
        drained = asyncio.ensure_future(self._drain(generations))
        stopped = asyncio.ensure_future(self._stop_draining.wait())
        await asyncio.wait({drained, stopped}, return_when=asyncio.FIRST_COMPLETED)
        drained.cancel()
        stopped.cancel()
        closing = [*map(self._lifecycle.close, generations), self._lifecycle.close_orphans()]
        *closed, orphans = await asyncio.gather(*closing, return_exceptions=True)
        # Calls that still wait for jobs end with PoolClosed.
        await self._portal.close()
        try:
            # Whoever else uses the workspace opens connections again.
            if self._given is not None:
                await self._given.aclose()
        finally:
            if self._journal is not None:
                # What became of the sessions is on the disk when the pool is closed.
                (self._journal.close if self._owns_journal else self._journal.flush)()
            background.let_go(self)
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

    async def _drain(self, generations: Sequence[Generation]) -> None:
        """Waits for the jobs of the sessions, and for calls that still fetch results."""
        await asyncio.gather(*(each.idle.wait() for each in generations))
        while self._calls:
            await asyncio.wait(self._calls)

    # Display

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

    # For samplers and handles

    @property
    def _workspaces(self) -> Sequence[WorkspacePort]:
        """Every workspace of the pool, those first that need no request."""
        return [self._local] if self._given is None else [self._local, self._given]

    def _workspace_for(self, target: str) -> WorkspacePort:
        """The workspace that takes jobs for this target: the user's own, or one in memory.

        Raises:
            UnsupportedTarget: If there is none.
        """
        if not isinstance(target, str):
            raise UnsupportedTarget(
                f"A target is a string such as 'ionq.simulator', not {target!r}."
            )
        for workspace in reversed(self._workspaces):
            if workspace.takes(target):
                return workspace
        if self._given is None and not target.startswith("local."):
            raise UnsupportedTarget(
                f"{target!r} is not a local target: pass workspace= (an azure.quantum.Workspace) "
                "or use a local.* target such as 'local.simulator'."
            )
        raise UnsupportedTarget(
            f"No workspace here has the target {target!r}: check its spelling, "
            "or list the targets of your workspace with `cirq-azure-sessions targets`."
        )

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs work that ends with the pool, and waits for its result."""
        return self._portal.run(work)

    def _run_within(self, seconds: float | None, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Runs such work; `TimeoutError` if it takes longer."""

        async def bounded() -> T:
            return await timeout(self._clock, seconds, work())

        return self._run(bounded())

    def _hold(self, workspace: WorkspacePort) -> None:
        """Has the pool closed at exit, if its sessions outlive the process."""
        if workspace.identity is not None:
            background.hold(self)

    async def _attach(self, session_id: str) -> SessionHandle:
        self._table.check_open()
        session, _ = await self._look_up_session(session_id)
        if not session.is_open:
            raise SessionNotAvailable(
                f"Session {session.id} on {session.target} has ended ({session.status}): attach "
                "one that is open, or let the pool open one.",
                session_id=session.id,
            )
        workspace = self._workspace_for(session.target)
        self._hold(workspace)
        return await self._lifecycle.attach(session, workspace)

    async def _look_up_session(self, session_id: str) -> tuple[Session, WorkspacePort]:
        for workspace in self._workspaces:
            try:
                return await workspace.get_session(session_id), workspace
            except ServiceError as error:
                if not error.is_missing:
                    raise
        raise SessionNotAvailable(
            f"This workspace has no session {session_id}: check the id and the workspace.",
            session_id=session_id,
        )

    async def _look_up_job(self, job_id: str) -> tuple[Job, WorkspacePort]:
        for workspace in self._workspaces:
            try:
                return await workspace.get_job(job_id), workspace
            except ServiceError as error:
                if not error.is_missing:
                    raise
        raise unknown_job(job_id)


def _as_port(workspace: Any, clock: Clock) -> WorkspacePort:
    """The workspace itself if it is a port already, else the adapter round the SDK's."""
    if hasattr(workspace, "store_input"):
        return cast(WorkspacePort, workspace)
    from cirq_azure_sessions.workspaces.azure import AzureWorkspace

    return AzureWorkspace(workspace, clock=clock)


def _is_interruption(exc_type: type[BaseException] | None) -> bool:
    """Whether a block was left by Ctrl-C or the like: nobody wants to wait for a queue then."""
    return exc_type is not None and not issubclass(exc_type, Exception)
