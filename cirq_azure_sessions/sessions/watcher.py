"""Waiting for many jobs with few requests: one poller for all jobs of a session.

A list request shows a hundred jobs at once. How long a poller waits between two requests follows
the jobs: how long such jobs usually take, and for how long these have been running.
"""

from __future__ import annotations

import asyncio
import statistics
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass

from cirq_azure_sessions.clock import Clock, retry, retry_for
from cirq_azure_sessions.errors import JobError, ServiceError
from cirq_azure_sessions.model import Job
from cirq_azure_sessions.workspaces.base import JOBS_PER_PAGE, WorkspacePort

__all__ = ["JobDurations", "JobWatchers"]

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


class JobDurations:
    """How long the latest jobs of a target took, and so when the next poll is worth a request."""

    def __init__(self) -> None:
        # State: seconds from submission to end, the latest last.
        self._latest: deque[float] = deque(maxlen=32)

    def add(self, duration: float) -> None:
        """Records one job's duration, in seconds."""
        self._latest.append(duration)

    def next_poll(self, submissions: Iterable[float], last_poll: float) -> float:
        """When to ask again about unfinished jobs; all times are of one clock, in seconds.

        Jobs that end together are seen together, so that those submitted in their places end
        together again: where jobs take about equally long, few polls find them all, and in time.

        Args:
            submissions: When each of them was submitted; at least one.
            last_poll: When they were last asked about, or when the first of them was submitted.

        Returns:
            A time between a twentieth of a second and half a minute after the last poll.
        """
        step = _ALIKE * statistics.median(self._latest) if self._latest else 0.0
        # The quickest, not the median: a long wait for a quick job costs more than an extra poll.
        quickest = min(self._latest, default=0.0)
        usual = max((each for each in self._latest if each <= quickest + step), default=0.0)

        def worth_a_poll(submission: float) -> float:
            due = submission + max(usual, _MIN_DELAY)
            # 1. It was too early to expect its end at the last poll.
            if due > last_poll:
                return due
            # 2. It is overdue, and polled for less and less often.
            return last_poll + max(step, _OVERDUE * (last_poll - due))

        # A poll is for a quarter of the jobs, and for those that end at about the same time.
        times = sorted(map(worth_a_poll, submissions))
        quarter = times[(len(times) - 1) // 4]
        poll = max(each for each in times if each <= quarter + step)
        return min(max(poll, last_poll + _MIN_DELAY), last_poll + _MAX_DELAY)


@dataclass(eq=False, slots=True)
class _Waiter:
    """Somebody who waits for a job: where to put the outcome, and whom to show it before that."""

    outcome: asyncio.Future[Job]
    observer: Callable[[Job], None] | None
    gate: AbstractAsyncContextManager[object]


class _Poller:
    """Polls one session, or the jobs outside any session, for as long as somebody waits.

    Lives on the background loop, and needs no lock.

    Args:
        workspace: Where the session is.
        session_id: The session, or None for jobs outside any session.
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
        # State: for each job that is waited for everybody who waits, since when, and since when the
        # service has not known it, if it does not; the task that polls while there are any; the
        # poll under way, and when its delay ends; and when the last poll was answered.
        self._waiters: dict[str, list[_Waiter]] = {}
        self._since: dict[str, float] = {}
        self._missing_since: dict[str, float] = {}
        self._polling: asyncio.Task[None] | None = None
        self._poll: asyncio.Task[None] | None = None
        self._poll_due = 0.0
        self._last_poll = clock.monotonic()

    @property
    def jobs(self) -> list[str]:
        """The ids of the jobs that are waited for."""
        return list(self._waiters)

    async def wait(self, job: Job, waiter: _Waiter) -> Job:
        """Returns the job once it has finished; takes and raises what `JobWatchers.wait` does."""
        if job.id not in self._waiters:
            self._waiters[job.id] = []
            self._since[job.id] = self._clock.monotonic()
            self._cut_delay_short()
        self._waiters[job.id].append(waiter)
        if self._polling is None or self._polling.done():
            self._polling = asyncio.ensure_future(self._keep_polling())
        try:
            return await waiter.outcome
        finally:
            # However the wait ends, only this waiter leaves; the others wait on.
            waiters = self._waiters.get(job.id, [])
            if waiter in waiters:
                waiters.remove(waiter)
                if not waiters:
                    self._forget(job.id)
            if not self._waiters and self._polling is not None:
                self._polling.cancel()

    async def _keep_polling(self) -> None:
        while self._waiters:
            try:
                await retry(self._clock, self._poll_once, retry_for(_POLL_TIMEOUT))
            except Exception as error:
                # Whoever waits is told; the jobs themselves go on.
                for job_id in self.jobs:
                    self._resolve(job_id, error)

    def _cut_delay_short(self) -> None:
        """Ends a long delay: the job that has just come may be a quick one."""
        left = self._poll_due - self._clock.monotonic()
        if self._poll is not None and left > _ALMOST_OVER:
            self._poll.cancel()

    async def _poll_once(self) -> None:
        """Waits as long as seems right, then asks about all jobs; unless it is cut short."""
        now = self._clock.monotonic()
        delay = max(self._durations.next_poll(self._since.values(), self._last_poll) - now, 0.0)
        if self._workspace.announces_ends:
            delay = max(delay, _MIN_DELAY_ANNOUNCED)
        waiters = [waiter for group in self._waiters.values() for waiter in group]
        if any(waiter.observer is not None for waiter in waiters):
            delay = min(delay, _MAX_DELAY_OBSERVED)
        self._poll_due = now + delay
        self._poll = poll = asyncio.ensure_future(
            self._ask(set(self._waiters), wait=delay, gate=waiters[0].gate)
        )
        try:
            await asyncio.wait({poll})
            if not poll.cancelled():
                poll.result()
                self._last_poll = max(self._poll_due, self._clock.monotonic())
        finally:
            poll.cancel()
            self._poll = None

    async def _ask(
        self, asked: set[str], *, wait: float, gate: AbstractAsyncContextManager[object]
    ) -> None:
        """Waits, then asks: for one job by its id, for more by as few pages of the list as do."""
        if not self._workspace.announces_ends:
            # The gate is for requests: nobody else is kept waiting at it for the delay.
            await self._clock.sleep(wait)
            wait = 0.0
        async with nullcontext() if wait else gate:
            if self._session_id is None or len(asked) == 1:
                await self._look_up(asked, wait=wait)
                return
            # Running jobs are among the newest: a page with room for as many finished ones will do.
            page_size = min(2 * len(asked), JOBS_PER_PAGE)
            jobs = await self._workspace.list_session_jobs(
                self._session_id, top=page_size, wait=wait
            )
            seen = len(jobs)
            asked -= self._take_note(jobs)
            while len(asked) > _FEW_JOBS and len(jobs) >= page_size:
                jobs = await self._workspace.list_session_jobs(self._session_id, skip=seen)
                page_size = JOBS_PER_PAGE
                seen += len(jobs)
                asked -= self._take_note(jobs)
            await self._look_up(asked)

    def _take_note(self, jobs: Iterable[Job]) -> set[str]:
        """Resolves the finished jobs; returns the ids of all that were listed."""
        listed = set()
        for job in jobs:
            listed.add(job.id)
            self._missing_since.pop(job.id, None)
            if job.is_final:
                self._resolve(job.id, job)
                continue
            for waiter in self._waiters.get(job.id, ()):
                if waiter.observer is not None:
                    waiter.observer(job)
        return listed

    async def _look_up(self, job_ids: Iterable[str], wait: float = 0.0) -> None:
        for job_id in job_ids:
            try:
                self._take_note([await self._workspace.get_job(job_id, wait=wait)])
            except ServiceError as error:
                if not error.is_missing:
                    raise
                self._note_missing(job_id)
            wait = 0.0

    def _note_missing(self, job_id: str) -> None:
        """Gives up on a job that the service has not known for minutes; one in memory, at once."""
        if job_id not in self._waiters:
            return
        now = self._clock.monotonic()
        missing = now - self._missing_since.setdefault(job_id, now)
        if missing < _MISSING_TIMEOUT and not self._workspace.announces_ends:
            return
        error = JobError(
            f"The service accepted job {job_id} and does not know it any more: look for it in the "
            f"Azure portal, or try get_result({job_id!r}) later; submitting the point again may "
            "pay for it twice.",
            job_id=job_id,
            status="Missing",
        )
        self._resolve(job_id, error)

    def _resolve(self, job_id: str, outcome: Job | Exception) -> None:
        waiters = self._waiters.get(job_id)
        if waiters is None:
            return
        if isinstance(outcome, Job):
            self._durations.add(self._duration(outcome))
        self._forget(job_id)
        for waiter in waiters:
            if waiter.outcome.done():
                continue
            if isinstance(outcome, Job):
                waiter.outcome.set_result(outcome)
            else:
                waiter.outcome.set_exception(outcome)

    def _duration(self, job: Job) -> float:
        """How long the job took by the service's own account, else until it was seen to end.

        The second includes the wait for the poll, so that alone it could never grow shorter. The
        service shows ends late: a job that was running at the last poll took longer than that.
        """
        since = self._since[job.id]
        seen = self._clock.monotonic() - since
        if job.creation_time is None or job.end_time is None:
            return _EARLY * seen
        return min(max(job.end_time - job.creation_time, self._last_poll - since, 0.0), seen)

    def _forget(self, job_id: str) -> None:
        self._waiters.pop(job_id, None)
        self._since.pop(job_id, None)
        self._missing_since.pop(job_id, None)


class JobWatchers:
    """The pollers of a pool, one for each session whose jobs are waited for, made when needed.

    Lives on the background loop, and needs no lock.

    Args:
        clock: Where ages are read.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # State: the pollers, by session; how long each target's jobs take; and whether every job
        # that is waited for from now on is to be cancelled.
        self._pollers: dict[str | None, _Poller] = {}
        self._durations: dict[str, JobDurations] = {}
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
        if self._is_cancelling and not job.is_final:
            job = await workspace.cancel_job(job.id)
        if job.is_final:
            return job
        poller = self._pollers.get(job.session_id)
        if poller is None:
            durations = self._durations.setdefault(job.target, JobDurations())
            poller = _Poller(workspace, job.session_id, self._clock, durations)
            self._pollers[job.session_id] = poller
        outcome = asyncio.get_running_loop().create_future()
        try:
            return await poller.wait(job, _Waiter(outcome, observer, gate or nullcontext()))
        finally:
            if not poller.jobs and self._pollers.get(job.session_id) is poller:
                del self._pollers[job.session_id]

    async def cancel_all(self) -> None:
        """Asks the service to cancel every job that is waited for, or will be from now on."""
        self._is_cancelling = True
        await asyncio.gather(
            *(
                poller._workspace.cancel_job(job_id)
                for poller in self._pollers.values()
                for job_id in poller.jobs
            ),
            return_exceptions=True,
        )
