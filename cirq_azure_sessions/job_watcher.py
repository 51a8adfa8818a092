"""Waiting for many jobs of a session with few requests.

One watcher polls for all jobs of its session: a list request shows a hundred of them at once. How
long it waits between two requests follows the jobs: how long such jobs usually take, and for how
long these have been running.
"""

from __future__ import annotations

import asyncio
import statistics
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.errors import JobError, ServiceError
from cirq_azure_sessions.model import Job
from cirq_azure_sessions.patience import insist
from cirq_azure_sessions.workspace import JOBS_PER_PAGE, WorkspacePort

__all__ = ["JobPace", "JobWatcher", "JobWatchers"]

T = TypeVar("T")

_SHORTEST_DELAY = 0.05
_LONGEST_DELAY = 30.0
# Somebody who follows jobs wants to see them leave the queue.
_LONGEST_DELAY_FOLLOWED = 5.0
# The watcher looks a little before jobs are expected to end, then again in short steps. Once it has
# seen some end it waits longer, so that the next look shows many. Jobs that are overdue are looked
# for less and less often. All as fractions: of the usual duration, and of the time overdue.
_EARLY = 0.95
_STEP = 0.05
_STEP_AFTER_ENDS = 0.25
_STEP_OVERDUE = 0.25
# Looking up so few jobs one by one is no more work than turning pages for them.
_FEW_JOBS = 3


class JobPace:
    """How long jobs of a target take from submission to end, and when to look for their ends."""

    def __init__(self) -> None:
        self._durations: deque[float] = deque(maxlen=32)

    def learn(self, duration: float) -> None:
        """Takes note of one job's duration, in seconds."""
        self._durations.append(duration)

    def delay(self, ages: Iterable[float], *, after_ends: bool = False) -> float:
        """How long to wait before asking again about unfinished jobs.

        Args:
            ages: Since when each of them has been submitted, in seconds.
            after_ends: Whether the last look saw jobs end.

        Returns:
            Seconds, between a twentieth of one and thirty.
        """
        ages = sorted(ages)
        # The quickest, not the median: a long wait for a quick job costs more than a look too many.
        usual = min(self._durations, default=0.0)
        until_first_end = _EARLY * usual - ages[-1]
        if until_first_end > 0:
            delay = until_first_end
        else:
            overdue = statistics.median(ages) - usual
            step = _STEP_AFTER_ENDS if after_ends else _STEP
            delay = max(step * usual, _STEP_OVERDUE * overdue)
        return min(max(delay, _SHORTEST_DELAY), _LONGEST_DELAY)


class JobWatcher:
    """Polls one session for the ends of jobs.

    Lives on the pool's event loop, and needs no lock.

    Args:
        workspace: Where the session is.
        session_id: The session, or None for a watcher of jobs outside of any session.
        clock: Where ages are read.
        pace: What is known of the durations of such jobs; added to.
    """

    def __init__(
        self, workspace: WorkspacePort, session_id: str | None, clock: Clock, pace: JobPace
    ) -> None:
        self._workspace = workspace
        self._session_id = session_id
        self._clock = clock
        self._pace = pace
        # State: the future and the time of submission of each job that is waited for, and who wants
        # to be told of every look at it; the task that polls while there are any; the request under
        # way, and when its waiting ends; and whether the last look saw jobs end.
        self._waiting: dict[str, asyncio.Future[Job]] = {}
        self._since: dict[str, float] = {}
        self._followers: dict[str, Callable[[Job], None]] = {}
        self._polling: asyncio.Task[None] | None = None
        self._answer: asyncio.Task[Any] | None = None
        self._answer_due = 0.0
        self._saw_ends = False

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
        wait_left = self._answer_due - self._clock.monotonic()
        if self._answer is not None and wait_left > _SHORTEST_DELAY:
            self._answer.cancel()

    async def _look(self) -> None:
        """Waits as long as seems right, then asks once about all jobs."""
        asked = set(self._waiting)
        if not asked:
            return
        now = self._clock.monotonic()
        ages = [now - self._since[job_id] for job_id in asked]
        delay = self._pace.delay(ages, after_ends=self._saw_ends)
        if self._followers:
            delay = min(delay, _LONGEST_DELAY_FOLLOWED)
        self._saw_ends = False
        if self._session_id is None or len(asked) == 1:
            await self._first_answer(delay, self._look_up(asked, wait=delay))
            return
        jobs = await self._first_answer(
            delay, self._workspace.list_session_jobs(self._session_id, wait=delay)
        )
        if jobs is None:
            return
        pages = 1
        asked -= self._take_note(jobs)
        while len(asked) > _FEW_JOBS and len(jobs) == JOBS_PER_PAGE:
            jobs = await self._workspace.list_session_jobs(
                self._session_id, skip=pages * JOBS_PER_PAGE
            )
            pages += 1
            asked -= self._take_note(jobs)
        await self._look_up(asked)

    async def _first_answer(self, delay: float, asking: Coroutine[Any, Any, T]) -> T | None:
        """What the service says after `delay`, or None if `_wake` cut the wait short."""
        self._answer_due = self._clock.monotonic() + delay
        self._answer = answer = asyncio.ensure_future(asking)
        try:
            await asyncio.wait({answer})
            return None if answer.cancelled() else answer.result()
        finally:
            answer.cancel()
            self._answer = None

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
            self._pace.learn(self._duration(outcome))
            self._saw_ends = True
            future.set_result(outcome)
        self._forget(job_id)

    def _duration(self, job: Job) -> float:
        """How long the job took by the service's own account, else until it was seen to end.

        The second includes the wait for the look, so that alone it could never grow shorter.
        """
        seen = self._clock.monotonic() - self._since[job.id]
        if job.creation_time is None or job.end_time is None:
            return _EARLY * seen
        return min(max(job.end_time - job.creation_time, 0.0), seen)

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
        # State: the watchers, by session, and the pace of each target's jobs.
        self._watchers: dict[str | None, JobWatcher] = {}
        self._paces: dict[str, JobPace] = {}

    async def wait(
        self, job: Job, workspace: WorkspacePort, follower: Callable[[Job], None] | None = None
    ) -> Job:
        """Returns the job once it is over; takes and raises what `JobWatcher.wait` does."""
        if job.is_final:
            return job
        watcher = self._watchers.get(job.session_id)
        if watcher is None:
            pace = self._paces.setdefault(job.target, JobPace())
            watcher = JobWatcher(workspace, job.session_id, self._clock, pace)
            self._watchers[job.session_id] = watcher
        try:
            return await watcher.wait(job, follower)
        finally:
            if watcher.is_idle and self._watchers.get(job.session_id) is watcher:
                del self._watchers[job.session_id]

    async def cancel_all(self) -> None:
        """Asks the service to cancel every job that is waited for."""
        await asyncio.gather(*(watcher.cancel_all() for watcher in self._watchers.values()))
