"""`JobRunner`: submit, follow, fetch. The policy by which every job is run exactly once.

A job's id never changes. After a submission whose answer was lost, in this run or in an earlier one
that the journal recorded, the service is asked for that id before anything else, so that no job is
submitted twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from cirq_azure_sessions.clock import (
    RETRY_TIMEOUT,
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
    UnsupportedProgram,
    UnsupportedTarget,
    check_succeeded,
)
from cirq_azure_sessions.jobs.job import JobRun
from cirq_azure_sessions.jobs.sweep import SweepRun
from cirq_azure_sessions.jobs.throttle import Slot, Throttle
from cirq_azure_sessions.journal import Journal
from cirq_azure_sessions.model import Job
from cirq_azure_sessions.process import register
from cirq_azure_sessions.sessions.pool import SessionPool
from cirq_azure_sessions.workspaces.local.callers import wait_for

__all__ = ["JobRunner"]

T = TypeVar("T")

# Consecutive sessions that may end before they take a job; beyond that, something is wrong.
_MAX_SESSIONS = 5
# Submissions of one job whose answers may be lost: with their backoff they take some seconds, as
# long as the service has accepted no job of the call, and some ten minutes once it has.
_MAX_FIRST_SUBMISSIONS = 4
_MAX_SUBMISSIONS = 18

# Errors that the other jobs of a call would also get.
_CALL_ERRORS = (
    CostLimitReached,
    JournalError,
    PoolClosed,
    SessionNotAvailable,
    UnsupportedProgram,
    UnsupportedTarget,
)


@dataclass(eq=False, repr=False)
class JobRunner:
    """Runs the jobs of one sampler, with no more in flight than the service allows."""

    pool: SessionPool
    target: str
    max_concurrent_jobs: int
    journal: Journal | None
    budget: Budget | None
    # Whether unfinished jobs of an interrupted call are cancelled.
    cancels: bool

    def __post_init__(self) -> None:
        pool = self.pool
        self._workspace = pool._router.for_target(self.target)
        self._clock = StoppableClock(pool._clock, lambda: pool._watcher.is_cancelling, PoolClosed)
        self._after_fork()
        register(self)

    def _after_fork(self) -> None:
        """Resets the runner to have no jobs: at construction, and in a forked child."""
        self.throttle = Throttle(self.max_concurrent_jobs, self._clock)
        self._quotas = QuotaGuard(self.target, self._clock)
        if self.budget is not None:
            self.budget.after_fork()

    async def run(self, sweeps: Sequence[SweepRun], seconds: float | None) -> None:
        """Runs all jobs of a call; results go into their sweep, or into the call's stream."""
        for sweep in sweeps:
            sweep.call = sweeps
        try:
            await timeout(self.pool._clock, seconds, self._run_all(sweeps))
        except TimeoutError:
            for sweep in sweeps:
                sweep.time_out(seconds or 0.0)
        except asyncio.CancelledError:
            if self.cancels:
                running = [job_id for sweep in sweeps for job_id in sweep.running()]
                cancel = map(self._workspace.cancel_job, running)
                # For some it may be too late.
                await asyncio.gather(*cancel, return_exceptions=True)
            raise
        finally:
            for sweep in sweeps:
                sweep.call = ()
            if self.budget is not None:
                self.budget.release({sweep.id for sweep in sweeps})

    async def _run_all(self, sweeps: Sequence[SweepRun]) -> None:
        if self.journal is not None:
            for sweep in sweeps:
                await sweep.reuse(self.journal, self._workspace, self.throttle.requests)
        source = (job for sweep in sweeps for job in sweep.jobs())

        async def work() -> None:
            for job in source:
                await self._run_job(job)
                for point, result in job.sweep.take(job):
                    if job.sweep.stream is None:
                        job.sweep.results[point] = result
                    else:
                        await job.sweep.stream.put(point, result)

        charging = [sweep for sweep in sweeps if sweep.num_jobs and sweep.pricing.is_charging]
        usages = [partial(sweep.pricing.usage, sweep.translation) for sweep in charging]
        # With a journal a call runs until a quota is used up; the next run continues there.
        is_metered = usages and self.journal is None
        async with self._quotas.room_for(self._workspace, usages) if is_metered else nullcontext():
            # Inputs are stored ahead of the jobs in flight, and outputs fetched behind them.
            count = min(2 * self.max_concurrent_jobs, sum(sweep.num_jobs for sweep in sweeps))
            workers: list[asyncio.Future[None]] = []
            try:
                for _ in range(count):
                    workers.append(asyncio.ensure_future(work()))
                    # The first requests are sent while the next jobs are made.
                    await self.pool._clock.sleep(0)
                # If a job cannot even be made, its error ends the call.
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def _run_job(self, job: JobRun) -> None:
        """Runs one job from its request to its output; every error ends up in the job."""
        try:
            await self._begin(job)
            if not job.may_exist:
                await self._submit_and_follow(job)
            elif not job.is_fetched:
                await self._follow(job)
            if not job.is_fetched:
                assert job.job is not None, "it has finished"
                if not job.job.status.has_result:
                    check_succeeded(job.job)
                # The jobs that take the slots are submitted before any output is fetched.
                for _ in range(2):
                    await self.pool._clock.sleep(0)
                fetch = partial(self._workspace.fetch_output, job.job, job.stored)
                await job.fetched(await self._request(job, fetch))
        except Exception as error:
            is_denied = isinstance(error, ServiceError) and error.status_code in (401, 403)
            if job.job is None and (is_denied or isinstance(error, _CALL_ERRORS)):
                job.sweep.stop(error)
            job.failed(error)
        finally:
            if self.budget is not None:
                bill = None if job.job is None else job.job.cost
                self.budget.settle(job.request.id, bill, may_cost=job.may_exist)

    async def _begin(self, job: JobRun) -> None:
        """Checks that the call continues, claims the job in the journal, and reserves its cost."""
        budget = self.budget
        point = job.sweep.id, job.points[0]
        share = job.estimate, point, job.point_cost
        try:
            is_budgeted = budget is not None and budget.holds(point)
            job.sweep.check_going_on(job.points, is_budgeted=is_budgeted)
            if self.journal is not None:
                await job.claim(self.journal, partial(self._find, job))
            if not job.may_exist:  # a calling job may hold the budget or the slot that it needs
                wait_for(job.request.id, (self._workspace, self.target))
        except BaseException:
            if budget is not None:
                # Otherwise jobs that wait for a slot would wait for this one forever.
                budget.pass_over(*share)
            raise
        if budget is not None:
            await budget.reserve(job.request.id, *share, is_paid=job.may_exist)

    async def _submit_and_follow(self, job: JobRun) -> None:
        """Submits the job, in the next session if one has ended, and waits until it finishes."""
        sessions = self.pool._lifecycle
        # The session opens while the first input is stored.
        requests, policy = self.throttle.requests, self._retries(job)
        sessions.prepare(self.target, self._workspace, requests)
        targets = self.pool._targets.list(self._workspace, requests)
        async with Slot(self.throttle) as slot:
            job.sweep.check_going_on(job.points, is_budgeted=True)
            job.stored = await self._request(job, partial(self._workspace.store_input, job.request))
            if (status := (await targets).get(self.target)) is not None:
                job.sweep.format_.check_target(job.request, status)
            await slot.take()
            for _ in range(_MAX_SESSIONS):
                job.sweep.check_going_on(job.points, is_budgeted=True)
                async with sessions.use(self.target, self._workspace, policy) as generation:
                    since = await self._submit(job, generation.session_id, slot)
                    if since is not None:
                        await self._follow(job, since)
                        return
                ended = await sessions.retire(generation)
                has_used = any(ended.id in sweep.session_ids for sweep in job.sweep.call)
                if ended.failed_under_abort and has_used:
                    raise SessionNotAvailable(
                        f"Session {ended.id} on {ended.target} failed under the Abort policy: "
                        "look at the failed job; the next call opens a new session.",
                        session_id=ended.id,
                    )
        raise SessionNotAvailable(
            f"{_MAX_SESSIONS} sessions in a row on {self.target} ended before they took a job: "
            "check the target's availability and try again later."
        )

    async def _submit(self, job: JobRun, session_id: str, slot: Slot) -> float | None:
        """Submits so that the service has the job exactly once; the whole retry policy.

        Returns about when it was accepted; None if the session has ended, which then has no job.
        """
        request = replace(job.request, session_id=session_id)
        lost = 0
        while True:
            job.sweep.check_going_on(job.points, is_budgeted=True)
            try:
                async with self.throttle.requests:
                    job.may_exist, sent = True, self._clock.monotonic()
                    accepted = await self._workspace.submit_job(request, job.stored)
                break
            # 1. The session has ended: the next one takes the job.
            except SessionNotAvailable:
                job.may_exist = False
                return None
            except ServiceError as error:
                job.may_exist = error.is_ambiguous
                # 2. Too many jobs or requests: wait for a slot.
                if error.is_throttled:
                    await slot.refused(error)
                    continue
                # 3. Refused permanently.
                if not error.is_ambiguous:
                    raise
                # 4. The answer was lost: before anything else, ask whether the job arrived. While
                # that cannot be answered, it may have.
                if (known := await self._find(job, job.request.id)) is not None:
                    accepted = known
                    break
                # 5. It did not arrive: submit it again, under the same id.
                job.may_exist, lost = False, lost + 1
                limit = _MAX_SUBMISSIONS if job.sweep.is_answered else _MAX_FIRST_SUBMISSIONS
                if lost >= limit:
                    raise
                await self._clock.sleep(error.retry_after or backoff(lost))
        job.sweep.session_ids.add(session_id)
        job.accepted(accepted)
        slot.accepted()
        now, sweep_id = self._clock.time(), job.sweep.id
        self.pool._events.report_job(accepted, now, sweep_id=sweep_id, is_new=True)
        return (sent + self._clock.monotonic()) / 2

    async def _follow(self, job: JobRun, since: float | None = None) -> None:
        """Waits until a job that the service has accepted has finished."""
        assert job.job is not None, "it was accepted"
        observer = None
        if job.sweep.progress is not None:
            observer = job.sweep.progress.job_seen
            observer(job.job)
        call, gate = (job.job, self._workspace), self.throttle.requests
        job.job = await self.pool._watcher.wait(*call, since=since, observer=observer, gate=gate)
        self.pool._events.report_job(job.job, self._clock.time(), sweep_id=job.sweep.id)

    async def _find(self, job: JobRun, job_id: str) -> Job | None:
        """The service's job for `job`; None if it has none."""
        try:
            find = partial(self._workspace.get_job, job_id)
            return await self._request(job, find, is_urgent=True)
        except ServiceError as error:
            if error.is_missing:
                return None
            raise ServiceError(
                f"It is not known whether the service has job {job_id}: {error} Call "
                f"get_result({job_id!r}) later to find out and to fetch its result.",
                status_code=error.status_code,
                code=error.code,
            ) from error

    async def _request(
        self, job: JobRun, call: Callable[[], Awaitable[T]], *, is_urgent: bool = False
    ) -> T:
        """Makes a repeatable request, with long retries: giving up would lose a paid result."""

        async def attempt() -> T:
            await self.throttle.requests.enter(is_urgent)
            try:
                return await call()
            finally:
                self.throttle.requests.leave()

        return await retry(self._clock, attempt, self._retries(job))

    def _retries(self, job: JobRun) -> RetryDecision:
        """Retries once the service has accepted a job of the call, or if it may have this one."""
        return retry_for(lambda: RETRY_TIMEOUT if job.may_exist or job.sweep.is_answered else 0.0)
