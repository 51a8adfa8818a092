"""Waiting for many jobs with few requests: one poller for all jobs of a session.

A list request shows a hundred jobs at once. How long a poller waits between two requests follows
the jobs: how long such jobs usually take, and for how long these have been running.
"""

from __future__ import annotations

import asyncio
import statistics
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass, field

from cirq_azure_sessions.clock import Clock, retry, retry_for
from cirq_azure_sessions.errors import JobError, ServiceError
from cirq_azure_sessions.model import Job
from cirq_azure_sessions.workspaces.base import JOBS_PER_PAGE, WorkspacePort

__all__ = ["JobWatcher", "next_poll"]

# Seconds between two polls.
_MIN_DELAY = 0.05
_MAX_DELAY = 30.0
# Where ends are announced, frequent polls would only take the processor from the programs.
_MIN_DELAY_ANNOUNCED = 1.0
# Somebody who looks at a progress bar wants to see jobs leave the queue.
_MAX_DELAY_OBSERVED = 5.0
# A delay that has only so many seconds left is not cut short for a new job.
_ALMOST_OVER = 0.05
# Looking up so few jobs one by one is no more work than turning pages for them.
_FEW_JOBS = 3
# Seconds to poll on through errors, and through 404 answers: the service may need a while to show
# a job that it has accepted, and one lost answer is no reason to give up what is paid for.
_POLL_TIMEOUT = 600.0
_MISSING_TIMEOUT = 300.0

# Durations, and ends, that differ by less than this share of a usual duration are alike.
_ALIKE = 0.1
# Overdue jobs are polled for after this share of the time that they are overdue.
_OVERDUE = 0.25
# Where the service does not say how long a job took: a share of the time until it was seen to end.
_EARLY = 0.95


def next_poll(durations: Sequence[float], submissions: Iterable[float], last_poll: float) -> float:
    """When to ask again about unfinished jobs; all times are of one clock, in seconds.

    Jobs that end together are seen together, so that those submitted in their places end together
    again: where jobs take about equally long, few polls find them all, and in time.

    Args:
        durations: How long the latest jobs of the target took from submission to end.
        submissions: When each unfinished job was submitted; at least one.
        last_poll: When they were last asked about, or when the first of them was submitted.

    Returns:
        A time between a twentieth of a second and half a minute after the last poll.
    """
    step = _ALIKE * statistics.median(durations) if durations else 0.0
    # The quickest, not the median: a long wait for a quick job costs more than an extra poll.
    quickest = min(durations, default=0.0)
    usual = max((each for each in durations if each <= quickest + step), default=0.0)
    times = []
    for submission in submissions:
        due = submission + max(usual, _MIN_DELAY)
        # It was too early to expect its end at the last poll; or it is overdue, and polled for less
        # and less often.
        is_early = due > last_poll
        times.append(due if is_early else last_poll + max(step, _OVERDUE * (last_poll - due)))
    # A poll is for a quarter of the jobs, and for those that end at about the same time.
    times.sort()
    quarter = times[(len(times) - 1) // 4]
    poll = max(each for each in times if each <= quarter + step)
    return min(max(poll, last_poll + _MIN_DELAY), last_poll + _MAX_DELAY)


# Whom to show the job at every poll, and what to hold during requests.
_Waiter = tuple[Callable[[Job], None] | None, AbstractAsyncContextManager[object]]


@dataclass(slots=True)
class _Watched:
    """A job that somebody waits for: since when, who, and since when the service denies it."""

    since: float
    missing_since: float | None = None
    # One future for each waiter, so that nobody's end is anybody else's.
    waiters: dict[asyncio.Future[Job], _Waiter] = field(default_factory=dict)


class _Poller:
    """Polls one session, or the jobs outside any session, for as long as somebody waits."""

    def __init__(
        self,
        workspace: WorkspacePort,
        session_id: str | None,
        clock: Clock,
        durations: deque[float],
    ) -> None:
        self.workspace = workspace
        self._session_id = session_id
        self._clock = clock
        self._durations = durations
        # State: the jobs that are waited for; the task that polls while there are any; the poll
        # under way, when its delay ends, and whether it was cut short; and when the last poll
        # was.
        self.jobs: dict[str, _Watched] = {}
        self._polling: asyncio.Task[None] | None = None
        self._poll: asyncio.Task[None] | None = None
        self._poll_due = 0.0
        self._is_cut_short = False
        self._last_poll = clock.monotonic()

    async def wait(
        self,
        job_id: str,
        observer: Callable[[Job], None] | None,
        gate: AbstractAsyncContextManager[object],
    ) -> Job:
        """Returns the job once it has finished; takes and raises what `JobWatcher.wait` does."""
        now = self._clock.monotonic()
        watched = self.jobs.get(job_id)
        if watched is None:
            watched = self.jobs[job_id] = _Watched(since=now)
            if self._poll is not None and self._poll_due - now > _ALMOST_OVER:
                # The job that has just come may be a quick one.
                self._is_cut_short = True
                self._poll.cancel()
        outcome: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        watched.waiters[outcome] = observer, gate
        if self._polling is None or self._polling.done():
            self._polling = asyncio.ensure_future(self._keep_polling())
        try:
            return await outcome
        finally:
            # However the wait ends, only this waiter leaves; the others wait on.
            watched.waiters.pop(outcome, None)
            if not watched.waiters and self.jobs.get(job_id) is watched:
                del self.jobs[job_id]
            if not self.jobs:
                self._polling.cancel()

    async def _keep_polling(self) -> None:
        while self.jobs:
            try:
                await retry(self._clock, self._poll_once, retry_for(_POLL_TIMEOUT))
            except BaseException as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                # Whoever waits gets the error, whatever a verb raised; the jobs themselves go on.
                for job_id in list(self.jobs):
                    self._fail(job_id, error)

    async def _poll_once(self) -> None:
        """Waits as long as seems right, then asks about all jobs; unless it is cut short."""
        now, watched = self._clock.monotonic(), self.jobs.values()
        submissions = [each.since for each in watched]
        delay = max(next_poll(self._durations, submissions, self._last_poll) - now, 0.0)
        if self.workspace.announces_ends:
            delay = max(delay, _MIN_DELAY_ANNOUNCED)
        waiters = [waiter for each in watched for waiter in each.waiters.values()]
        if any(observer is not None for observer, _ in waiters):
            delay = min(delay, _MAX_DELAY_OBSERVED)
        gate = waiters[0][1]
        self._poll_due = now + delay
        self._is_cut_short = False
        self._poll = poll = asyncio.ensure_future(self._ask(set(self.jobs), delay, gate))
        try:
            await asyncio.wait({poll})
            if not (poll.cancelled() and self._is_cut_short):
                poll.result()
                # When it was asked; a workspace that announces ends may have answered early.
                self._last_poll = min(self._poll_due, self._clock.monotonic())
        finally:
            poll.cancel()
            self._poll = None

    async def _ask(
        self, asked: set[str], delay: float, gate: AbstractAsyncContextManager[object]
    ) -> None:
        """Waits, then asks: for one job by its id, for more by as few pages of the list as do."""
        if not self.workspace.announces_ends:
            await self._clock.sleep(delay)
            delay = 0.0
        # The gate is for requests: nobody is kept waiting at it for a delay.
        async with nullcontext() if delay else gate:
            if self._session_id is not None and len(asked) > 1:
                # Running jobs are among the newest: a page with room for as many finished ones.
                seen, page_size = 0, min(2 * len(asked), JOBS_PER_PAGE)
                while not seen or len(asked) > _FEW_JOBS:
                    page = await self.workspace.list_session_jobs(
                        self._session_id, skip=seen, top=page_size, wait=delay, until=asked
                    )
                    self._take_note(page)
                    asked -= {job.id for job in page}
                    if len(page) < page_size:
                        break
                    seen, page_size, delay = seen + len(page), JOBS_PER_PAGE, 0.0
                delay = 0.0
            for job_id in asked:
                try:
                    self._take_note([await self.workspace.get_job(job_id, wait=delay)])
                except ServiceError as error:
                    if not error.is_missing:
                        raise
                    self._note_missing(job_id)
                delay = 0.0

    def _take_note(self, jobs: Collection[Job]) -> None:
        """Shows unfinished jobs to their observers, and finished ones to everybody who waits."""
        now = self._clock.monotonic()
        for job in jobs:
            watched = self.jobs.get(job.id)
            if watched is None:
                continue
            watched.missing_since = None
            if not job.status.is_final:
                for observer, _ in watched.waiters.values():
                    if observer is not None:
                        observer(job)
                continue
            # How long it took by the service's own account, else until it was seen to end. The
            # second includes the delay of the poll, so that alone it could never grow shorter; and
            # ends show late: a job that ran at the last poll took longer than until that.
            seen = now - watched.since
            duration = _EARLY * seen
            if job.creation_time is not None and job.end_time is not None:
                at_least = max(self._last_poll - watched.since, 0.0)
                duration = min(max(job.end_time - job.creation_time, at_least), seen)
            self._durations.append(duration)
            del self.jobs[job.id]
            for waiter in watched.waiters:
                if not waiter.done():
                    waiter.set_result(job)

    def _note_missing(self, job_id: str) -> None:
        """Gives up on a job that the service has not known for minutes; one in memory, at once."""
        watched, now = self.jobs.get(job_id), self._clock.monotonic()
        if watched is None:
            return
        if watched.missing_since is None:
            watched.missing_since = now
        if now - watched.missing_since >= _MISSING_TIMEOUT or self.workspace.announces_ends:
            error = JobError(
                f"The service accepted job {job_id} and does not know it any more: look for it in "
                f"the Azure portal, or try get_result({job_id!r}) later; submitting the point "
                "again may pay for it twice.",
                job_id=job_id,
                status="Missing",
            )
            self._fail(job_id, error)

    def _fail(self, job_id: str, error: BaseException) -> None:
        for waiter in self.jobs.pop(job_id).waiters:
            if not waiter.done():
                waiter.set_exception(error)


class JobWatcher:
    """Waits for the jobs of a pool, with one poller for each session. Lives on the background loop.

    Args:
        clock: Where ages are read.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # State: the pollers, by workspace and session; how long the latest jobs of each target
        # took; and whether
        # every job that is waited for from now on is to be cancelled.
        self._pollers: dict[tuple[WorkspacePort, str | None], _Poller] = {}
        self._durations: dict[str, deque[float]] = {}
        self._is_cancelling = False

    async def wait(
        self,
        job: Job,
        workspace: WorkspacePort,
        *,
        observer: Callable[[Job], None] | None = None,
        gate: AbstractAsyncContextManager[object] | None = None,
    ) -> Job:
        """Returns the job once it has finished, well or not.

        Args:
            job: The job, as the service described it last.
            workspace: Where it is.
            observer: Called with the job at every poll before that.
            gate: Held during requests.

        Raises:
            JobError: If the service has not known the job for minutes.
            ServiceError: If the service cannot be asked, and that for long.
        """
        if self._is_cancelling and not job.status.is_final:
            # A job that cannot be cancelled runs on, and its result is not lost for that.
            with suppress(ServiceError):
                job = await workspace.cancel_job(job.id)
        if job.status.is_final:
            return job
        key = workspace, job.session_id
        poller = self._pollers.get(key)
        if poller is None:
            durations = self._durations.setdefault(job.target, deque(maxlen=32))
            poller = self._pollers[key] = _Poller(workspace, key[1], self._clock, durations)
        try:
            return await poller.wait(job.id, observer, gate or nullcontext())
        finally:
            if not poller.jobs and self._pollers.get(key) is poller:
                del self._pollers[key]

    async def cancel_all(self) -> None:
        """Asks the service to cancel every job that is waited for, or will be from now on."""
        self._is_cancelling = True
        cancellations = [
            poller.workspace.cancel_job(job_id)
            for poller in self._pollers.values()
            for job_id in poller.jobs
        ]
        await asyncio.gather(*cancellations, return_exceptions=True)
