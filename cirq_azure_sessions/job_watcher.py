"""Waiting for many jobs of a session with few requests.

One watcher polls for all jobs of its session: a list request shows a hundred of them at once. How
long it waits between two requests follows the jobs: how long such jobs usually take, and for how
long these have been running.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.errors import JobError, ServiceError
from cirq_azure_sessions.job_durations import JobDurations
from cirq_azure_sessions.model import Job
from cirq_azure_sessions.patience import insist
from cirq_azure_sessions.workspaces.base import JOBS_PER_PAGE, WorkspacePort

__all__ = ["JobWatcher", "JobWatchers"]

# Seconds between two looks. Where ends are announced, looking often would only take the processor
# from the programs that are waited for.
_LEAST_DELAY_ANNOUNCED = 1.0
# Somebody who follows jobs wants to see them leave the queue.
_LONGEST_DELAY_FOLLOWED = 5.0
# A wait that has only so many seconds left is not cut short.
_MOMENT = 0.05
# Where the service does not say how long a job took: a share of the time until it was seen to end.
_EARLY = 0.95
# Looking up so few jobs one by one is no more work than turning pages for them.
_FEW_JOBS = 3


class JobWatcher:
    """Polls one session for the ends of jobs.

    Lives on the pool's event loop, and needs no lock.

    Args:
        workspace: Where the session is.
        session_id: The session, or None for a watcher of jobs outside of any session.
        clock: Where ages are read.
        durations: How long such jobs took; added to.
    """

    def __init__(
        self,
        workspace: WorkspacePort,
        session_id: str | None,
        clock: Clock,
        durations: JobDurations,
    ) -> None:
        self._workspace = workspace
        self._session_id = session_id
        self._clock = clock
        self._durations = durations
        # State: the future and the time of submission of each job that is waited for, and who wants
        # to be told of every look at it; the task that polls while there are any; the look under
        # way, and when its waiting ends; and when the last look was that was answered.
        self._waiting: dict[str, asyncio.Future[Job]] = {}
        self._since: dict[str, float] = {}
        self._followers: dict[str, Callable[[Job], None]] = {}
        self._polling: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._look_due = 0.0
        self._last_look = clock.monotonic()

    @property
    def is_idle(self) -> bool:
        """Whether no job is waited for."""
        return not self._waiting

    async def wait(self, job: Job, follower: Callable[[Job], None] | None = None) -> Job:
        """Returns the job once it is over.

        Args:
            job: The job.
            follower: Called with the job at every look at it before that.

        Raises:
            JobError: If the service does not know the job any more.
            ServiceError: If the service cannot be asked, and that for long.
        """
        if follower is not None:
            self._followers[job.id] = follower
        future = self._waiting.get(job.id)
        if future is None:
            future = self._waiting[job.id] = asyncio.get_running_loop().create_future()
            self._since[job.id] = self._clock.monotonic()
            self._wake()
        if self._polling is None or self._polling.done():
            self._polling = asyncio.ensure_future(self._poll())
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self._forget(job.id)
            if self.is_idle and self._polling is not None:
                self._polling.cancel()
            raise

    async def cancel_all(self) -> None:
        """Asks the service to cancel every job that is waited for."""
        await asyncio.gather(
            *(self._workspace.cancel_job(job_id) for job_id in list(self._waiting)),
            return_exceptions=True,
        )

    async def _poll(self) -> None:
        while self._waiting:
            try:
                await insist(self._clock, self._look)
            except Exception as error:
                # Whoever waits is told; the jobs themselves go on.
                for job_id in list(self._waiting):
                    self._resolve(job_id, error)

    def _wake(self) -> None:
        """Cuts a long wait short: the job that has just come may be a quick one."""
        wait_left = self._look_due - self._clock.monotonic()
        if self._looking is not None and wait_left > _MOMENT:
            self._looking.cancel()

    async def _look(self) -> None:
        """Waits as long as seems right, then asks once about all jobs; unless it is cut short."""
        asked = set(self._waiting)
        if not asked:
            return
        now = self._clock.monotonic()
        submissions = [self._since[job_id] for job_id in asked]
        delay = max(self._durations.next_look(submissions, self._last_look) - now, 0.0)
        if self._workspace.announces_ends:
            delay = max(delay, _LEAST_DELAY_ANNOUNCED)
        if self._followers:
            delay = min(delay, _LONGEST_DELAY_FOLLOWED)
        self._look_due = now + delay
        self._looking = looking = asyncio.ensure_future(self._ask(asked, wait=delay))
        try:
            await asyncio.wait({looking})
            if not looking.cancelled():
                looking.result()
                # A workspace that is told of changes may have answered early.
                self._last_look = min(self._look_due, self._clock.monotonic())
        finally:
            looking.cancel()
            self._looking = None

    async def _ask(self, asked: set[str], wait: float) -> None:
        """Waits, then asks: for one job by its id, for more by as few pages of the list as do."""
        if self._session_id is None or len(asked) == 1:
            await self._look_up(asked, wait=wait)
            return
        # Jobs that run are among the newest: a page with room for as many that are over will do.
        page_size = min(2 * len(asked), JOBS_PER_PAGE)
        jobs = await self._workspace.list_session_jobs(self._session_id, top=page_size, wait=wait)
        seen = len(jobs)
        asked -= self._take_note(jobs)
        while len(asked) > _FEW_JOBS and len(jobs) >= page_size:
            jobs = await self._workspace.list_session_jobs(self._session_id, skip=seen)
            page_size = JOBS_PER_PAGE
            seen += len(jobs)
            asked -= self._take_note(jobs)
        await self._look_up(asked)

    def _take_note(self, jobs: Iterable[Job]) -> set[str]:
        """Resolves the jobs that are over; returns the ids of all that were listed."""
        listed = set()
        for job in jobs:
            listed.add(job.id)
            if job.is_final:
                self._resolve(job.id, job)
            elif (follower := self._followers.get(job.id)) is not None:
                follower(job)
        return listed

    async def _look_up(self, job_ids: Iterable[str], wait: float = 0.0) -> None:
        for job_id in job_ids:
            try:
                self._take_note([await self._workspace.get_job(job_id, wait=wait)])
                wait = 0.0
            except ServiceError as error:
                if not error.is_missing:
                    raise
                self._resolve(
                    job_id,
                    JobError(
                        f"The service does not know job {job_id} any more: submit the point again.",
                        job_id=job_id,
                        status="Missing",
                    ),
                )

    def _resolve(self, job_id: str, outcome: Job | Exception) -> None:
        future = self._waiting.get(job_id)
        if future is None or future.done():
            return
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            self._durations.learn(self._duration(outcome))
            future.set_result(outcome)
        self._forget(job_id)

    def _duration(self, job: Job) -> float:
        """How long the job took by the service's own account, else until it was seen to end.

        The second includes the wait for the look, so that alone it could never grow shorter. The
        service shows ends late: a job that was running at the last look took longer than that.
        """
        since = self._since[job.id]
        seen = self._clock.monotonic() - since
        if job.creation_time is None or job.end_time is None:
            return _EARLY * seen
        return min(max(job.end_time - job.creation_time, self._last_look - since, 0.0), seen)

    def _forget(self, job_id: str) -> None:
        self._waiting.pop(job_id, None)
        self._since.pop(job_id, None)
        self._followers.pop(job_id, None)


class JobWatchers:
    """The watcher of each session whose jobs are waited for, made when needed.

    Lives on the pool's event loop, and needs no lock.

    Args:
        clock: Where ages are read.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # State: the watchers, by session; how long each target's jobs take; and whether jobs are to
        # be cancelled, whichever come.
        self._watchers: dict[str | None, JobWatcher] = {}
        self._durations: dict[str, JobDurations] = {}
        self._is_cancelling = False

    async def wait(
        self, job: Job, workspace: WorkspacePort, follower: Callable[[Job], None] | None = None
    ) -> Job:
        """Returns the job once it is over; takes and raises what `JobWatcher.wait` does."""
        if self._is_cancelling and not job.is_final:
            job = await workspace.cancel_job(job.id)
        if job.is_final:
            return job
        watcher = self._watchers.get(job.session_id)
        if watcher is None:
            durations = self._durations.setdefault(job.target, JobDurations())
            watcher = JobWatcher(workspace, job.session_id, self._clock, durations)
            self._watchers[job.session_id] = watcher
        try:
            return await watcher.wait(job, follower)
        finally:
            if watcher.is_idle and self._watchers.get(job.session_id) is watcher:
                del self._watchers[job.session_id]

    async def cancel_all(self) -> None:
        """Asks the service to cancel every job that is waited for, or will be from now on."""
        self._is_cancelling = True
        await asyncio.gather(*(watcher.cancel_all() for watcher in self._watchers.values()))
