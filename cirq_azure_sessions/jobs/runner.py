"""`JobRunner`: submit, follow, fetch. The policy by which every job is run exactly once.

A job's id never changes. After a submission whose answer was lost, in this run or in an earlier one
that the journal recorded, the service is asked for that id before anything else, so that no job is
submitted twice.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import Any

from cirq_azure_sessions import background
from cirq_azure_sessions.clock import (
    Clock,
    RetryDecision,
    StoppableClock,
    backoff,
    retry,
    retry_for,
    timeout,
)
from cirq_azure_sessions.costs.budget import Budget, QuotaGuard
from cirq_azure_sessions.errors import (
    CostLimitReached,
    JournalError,
    PoolClosed,
    ServiceError,
    SessionNotAvailable,
    UnsupportedTarget,
    check_succeeded,
)
from cirq_azure_sessions.jobs.job import JobRun, JobState
from cirq_azure_sessions.jobs.sweep import SweepRun
from cirq_azure_sessions.jobs.throttle import Slot, Throttle
from cirq_azure_sessions.journal import Journal
from cirq_azure_sessions.model import Job, JobStatus
from cirq_azure_sessions.results.azure_result import AzureResult
from cirq_azure_sessions.sessions.pool import SessionPool
from cirq_azure_sessions.sessions.table import CLOSED_MESSAGE

__all__ = ["JobRunner"]

# Takes the result of a point; may wait until there is room for it.
Deliver = Callable[[SweepRun, int, AzureResult], Awaitable[None]]

# So many sessions in a row may end before they take a job; after that something else is wrong.
_MAX_SESSIONS = 5
# A submission without an answer that the service does not know of is repeated so often: for seconds
# while the service has not accepted any job of the call, for some ten minutes once it has.
_MAX_FIRST_SUBMISSIONS = 4
_MAX_SUBMISSIONS = 18
# Seconds to retry through transient errors where giving up would lose what is paid for.
_RETRY_TIMEOUT = 600.0

_JOB_EVENTS = {JobStatus.FAILED: "failed", JobStatus.CANCELLED: "cancelled"}


class JobRunner:
    """Runs the jobs of one sampler, at most so many at a time as the service allows.

    Args:
        pool: Where sessions come from.
        target: The target.
        max_concurrent_jobs: The maximum number of jobs in flight; the service may allow fewer.
        journal: Where jobs are recorded, if anywhere.
        budget: What the jobs may cost together, if there is a cap.
        is_charging: Whether jobs cost something, and it is known what.
        cancels: Whether unfinished jobs of an interrupted call are cancelled.

    Attributes:
        max_concurrent_jobs: As given.
        throttle: What is in flight.
    """

    def __init__(
        self,
        pool: SessionPool,
        target: str,
        max_concurrent_jobs: int,
        *,
        journal: Journal | None,
        budget: Budget | None,
        is_charging: bool,
        cancels: bool,
    ) -> None:
        self._pool = pool
        self._clock: Clock = StoppableClock(
            pool._clock, lambda: pool._is_cancelling, lambda: PoolClosed(CLOSED_MESSAGE)
        )
        self._target = target
        self._workspace = pool._workspace_for(target)
        self._journal = journal
        self._budget = budget
        self._is_charging = is_charging
        self._cancels = cancels
        self.max_concurrent_jobs = max_concurrent_jobs
        self._reset()
        background.register(self)

    def _reset(self) -> None:
        self.throttle = Throttle(self.max_concurrent_jobs, self._clock)
        self._quotas = QuotaGuard(self._target, self._clock)

    def _after_fork(self) -> None:
        """Starts anew in the child of a fork: the jobs in flight are the parent's."""
        self._reset()
        if self._budget is not None:
            self._budget.after_fork()

    async def run(
        self, sweeps: Sequence[SweepRun], seconds: float | None, deliver: Deliver | None = None
    ) -> None:
        """Runs all jobs of a call; results go to their places, or are delivered as they arrive.

        Raises:
            QuotaExceeded: If the workspace's quotas have no room for the call.
        """
        for sweep in sweeps:
            sweep.call = sweeps
        try:
            work = self._run_all(sweeps, deliver)
            await (work if seconds is None else timeout(self._pool._clock, seconds, work))
        except TimeoutError:
            for sweep in sweeps:
                sweep.time_out(seconds or 0.0)
        except asyncio.CancelledError:
            if self._cancels:
                await self._cancel_unfinished(sweeps)
            raise
        finally:
            if self._budget is not None:
                self._budget.release({sweep.id for sweep in sweeps})

    async def _run_all(self, sweeps: Sequence[SweepRun], deliver: Deliver | None) -> None:
        source = (job for sweep in sweeps for job in sweep.jobs())

        async def work() -> None:
            for job in source:
                await self._run_job(job)
                for point, result in job.sweep.take(job):
                    if deliver is None:
                        job.sweep.results[point] = result
                    else:
                        await deliver(job.sweep, point, result)

        # With a journal a call goes as far as a quota does, and the next run goes on from there.
        jobs = sum(sweep.num_jobs for sweep in sweeps)
        is_metered = self._is_charging and self._journal is None and not self._quotas.is_idle
        async with self._within_quotas(sweeps) if is_metered and jobs else nullcontext():
            # Inputs are stored ahead of the jobs in flight, and outputs fetched behind them.
            count = min(2 * self.max_concurrent_jobs, jobs)
            workers = [asyncio.ensure_future(work()) for _ in range(count)]
            try:
                # A worker that cannot even make its job ends the call with its error.
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def _run_job(self, job: JobRun) -> None:
        """Runs one job from its request to its output; every error ends up in the job."""
        try:
            await self._begin(job)
            async with nullcontext() if self._budget is None else self._within_budget(job):
                if job.state is JobState.NEW:
                    # The session opens while the first input is stored.
                    requests = self.throttle.requests
                    self._pool._lifecycle.prepare(self._target, self._workspace, requests)
                    # A service that has not answered the call at all is not waited for.
                    policy = retry_for(lambda: _RETRY_TIMEOUT if job.sweep.is_answered else 0.0)
                    job.stored = await retry(self._clock, partial(self._store, job), policy)
                    await self._submit_and_follow(job, policy)
                elif job.state is JobState.ACCEPTED:
                    await self._follow(job)
                if job.state is not JobState.FETCHED:
                    assert job.job is not None, "it has finished"
                    if not job.job.status.has_result:
                        check_succeeded(job.job)
                    fetch = partial(self._fetch, job)
                    await job.fetched(await retry(self._clock, fetch, retry_for(_RETRY_TIMEOUT)))
        except Exception as error:
            if job.job is None and _concerns_all(error):
                job.sweep.stop(error)
            job.failed(error)
        except BaseException:
            job.give_back()
            raise

    async def _begin(self, job: JobRun) -> None:
        """Sees to it that the call goes on, and asks the journal for the job."""
        budget = self._budget
        point = job.sweep.id, job.points.start
        try:
            is_budgeted = budget is not None and budget.holds(point)
            job.sweep.check_going_on(job.points, is_budgeted=is_budgeted)
            if self._journal is not None:
                await job.claim(self._journal, self._find)
        except BaseException:
            if budget is not None:
                # Others would wait for ever for a job that does not come.
                budget.pass_over(job.estimate, point=point, point_cost=job.point_cost)
            raise

    async def _submit_and_follow(self, job: JobRun, policy: RetryDecision) -> None:
        """Submits the job, in the next session if one has ended, and waits for its end."""
        sessions = self._pool._lifecycle
        async with Slot(self.throttle) as slot:
            for _ in range(_MAX_SESSIONS):
                job.sweep.check_going_on(job.points, is_budgeted=True)
                async with sessions.use(self._target, self._workspace, policy) as generation:
                    if await self._submit(job, generation.session_id, slot):
                        await self._follow(job)
                        return
                ended = await sessions.retire(generation)
                if ended.failed_under_abort and job.sweep.has_used(ended.id):
                    raise SessionNotAvailable(
                        f"Session {ended.id} on {ended.target} failed under the Abort policy: "
                        "look at the failed job; the next call opens a fresh session.",
                        session_id=ended.id,
                    )
        raise SessionNotAvailable(
            f"{_MAX_SESSIONS} sessions in a row on {self._target} ended before they took a job: "
            "check the target's availability and try again later."
        )

    async def _submit(self, job: JobRun, session_id: str, slot: Slot) -> bool:
        """Submits so that the service has the job exactly once; the whole retry policy.

        Returns False if the session has ended; the service does not have the job then.
        """
        request = dataclasses.replace(job.request, session_id=session_id)
        lost = 0
        while True:
            job.sweep.check_going_on(job.points, is_budgeted=True)
            try:
                async with self.throttle.requests:
                    job.state = JobState.SUBMITTED
                    accepted = await self._workspace.submit_job(request, job.stored)
                break
            # 1. The session has ended: the next one takes the job.
            except SessionNotAvailable:
                job.state = JobState.NEW
                return False
            except ServiceError as error:
                # 2. Too many jobs or requests: wait in line.
                if error.is_throttled:
                    job.state = JobState.NEW
                    await slot.refused(error)
                    continue
                # 3. Refused for good.
                if not error.is_ambiguous:
                    job.state = JobState.NEW
                    raise
                # 4. The answer was lost: before anything else, ask whether the job arrived. While
                # that cannot be answered, it may have.
                known = await self._find(job.id)
                if known is not None:
                    accepted = known
                    break
                # 5. It did not arrive: submit it again, under the same id.
                job.state, lost = JobState.NEW, lost + 1
                limit = _MAX_SUBMISSIONS if job.sweep.is_answered else _MAX_FIRST_SUBMISSIONS
                if lost >= limit:
                    raise
                await self._clock.sleep(error.retry_after or backoff(lost))
        job.sweep.session_ids.add(session_id)
        job.accepted(accepted)
        slot.accepted()
        self._pool._events.report(job.event("submitted", self._clock.time()))
        return True

    async def _follow(self, job: JobRun) -> None:
        """Waits until a job that the service has accepted has finished."""
        assert job.job is not None, "it was accepted"
        progress = job.sweep.progress
        if progress is not None:
            progress.job_seen(job.job)
        job.job = await self._pool._watcher.wait(
            job.job,
            self._workspace,
            observer=None if progress is None else progress.job_seen,
            gate=self.throttle.requests,
        )
        kind = _JOB_EVENTS.get(job.job.status, "succeeded")
        self._pool._events.report(job.event(kind, self._clock.time()))

    # Requests

    async def _store(self, job: JobRun) -> Any:
        # Behind the requests of jobs that are further on.
        await self.throttle.requests.enter(is_urgent=False)
        try:
            return await self._workspace.store_input(job.request)
        finally:
            self.throttle.requests.leave()

    async def _fetch(self, job: JobRun) -> Any:
        # The job that takes the slot is submitted before this one's output is fetched.
        await self._pool._clock.sleep(0)
        assert job.job is not None, "it has finished"
        async with self.throttle.requests:
            return await self._workspace.fetch_output(job.job, job.stored)

    async def _find(self, job_id: str) -> Job | None:
        """The job of which it is not known whether the service has it; None if it has not."""

        async def ask() -> Job | None:
            try:
                async with self.throttle.requests:
                    return await self._workspace.get_job(job_id)
            except ServiceError as error:
                if error.is_missing:
                    return None
                raise

        try:
            return await retry(self._clock, ask, retry_for(_RETRY_TIMEOUT))
        except ServiceError as error:
            raise ServiceError(
                f"Whether the service has job {job_id} cannot be learned now: {error} "
                f"Later, get_result({job_id!r}) tells, and fetches its result.",
                status_code=error.status_code,
                code=error.code,
            ) from error

    async def _cancel_unfinished(self, sweeps: Sequence[SweepRun]) -> None:
        """Asks the service to cancel what an interrupted call leaves; it may be too late."""
        running = [
            job.id for sweep in sweeps for job in sweep.jobs_in_flight.values() if job.is_running
        ]
        cancel = map(self._workspace.cancel_job, running)
        await asyncio.gather(*cancel, return_exceptions=True)

    # Limits

    @asynccontextmanager
    async def _within_budget(self, job: JobRun) -> AsyncIterator[None]:
        """Room for the job under the cost cap, until its bill is in."""
        budget = self._budget
        assert budget is not None, "there is a cap"
        await budget.reserve(
            job.id,
            job.estimate,
            point=(job.sweep.id, job.points.start),
            point_cost=job.point_cost,
            is_paid=job.may_exist,
        )
        try:
            yield
        finally:
            bill = None if job.job is None else job.job.cost
            budget.settle(job.id, bill, may_cost=job.may_exist)

    @asynccontextmanager
    async def _within_quotas(self, sweeps: Sequence[SweepRun]) -> AsyncIterator[None]:
        """Room for the whole call in the workspace's quotas."""
        usage: Counter[str] = Counter()
        for sweep in sweeps:
            # Counting makes every job once; the loop has other calls to serve meanwhile.
            usage.update(await asyncio.wrap_future(_counting.submit(sweep.usage)))
        async with self._quotas.room_for(self._workspace, usage):
            yield


_counting = background.DaemonExecutor(name="cirq-azure-sessions-usage")

_CONCERNING_ALL = (
    CostLimitReached,
    JournalError,
    PoolClosed,
    SessionNotAvailable,
    UnsupportedTarget,
)


def _concerns_all(error: Exception) -> bool:
    """Whether the other jobs of the call would meet the same error."""
    return isinstance(error, _CONCERNING_ALL) or (
        isinstance(error, ServiceError) and error.status_code in (401, 403)
    )
