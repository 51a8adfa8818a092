"""Jobs of a sweep: submitted under a limit, watched together, brought home as they finish.

A job's id never changes. After a submission whose answer was lost, in this run or in an earlier one
that left word in the journal, the service is asked for that id before anything else, so no job is
submitted twice.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cirq_azure_sessions import background as shutdown
from cirq_azure_sessions.costs.budget import Budget
from cirq_azure_sessions.costs.quota_guard import QuotaGuard
from cirq_azure_sessions.errors import (
    AzureSessionsError,
    CostLimitReached,
    JournalError,
    PoolClosed,
    ServiceError,
    SessionNotAvailable,
    UnsupportedTarget,
    check_succeeded,
    out_of_reach,
)
from cirq_azure_sessions.generation import Generation
from cirq_azure_sessions.job_batch import Delivery, JobBatch
from cirq_azure_sessions.job_record import JobRecord, find_job
from cirq_azure_sessions.journal import Journal
from cirq_azure_sessions.limiter import AdaptiveLimit
from cirq_azure_sessions.model import Job, JobEvent, JobRequest, JobStatus
from cirq_azure_sessions.patience import backoff, insist
from cirq_azure_sessions.session_pool import SessionPool
from cirq_azure_sessions.workspaces.base import WorkspacePort

__all__ = ["JobRunner"]

# So many sessions in a row may end before taking a job; after that something else is wrong.
_MOST_SESSIONS = 5
# A submission without an answer that the service does not know of is sent so often in all: for
# seconds while the service has not taken any job, for as long as `PATIENCE` once it has.
_MOST_FIRST_SUBMISSIONS = 4
_MOST_SUBMISSIONS = 18


@dataclass(slots=True)
class _Errand:
    """One job on its way: its place in its batch, where it goes, and where its input lies.

    Attributes:
        is_lost: Whether the answer to its submission was lost, and that of the service's looking
            for it too.
    """

    index: int
    record: JobRecord
    batch: JobBatch
    workspace: WorkspacePort
    stored: Any = None
    is_lost: bool = False

    @property
    def may_cost(self) -> bool:
        """Whether the service has the job, or may have it."""
        return self.record.job is not None or self.index in self.batch.running or self.is_lost


class JobRunner:
    """Runs jobs on one target, with so many at a time in flight as the service allows.

    Args:
        pool: Where sessions come from.
        target: The target.
        max_concurrent_jobs: The most jobs in flight; the service may allow fewer.
        journal: Where jobs are written down, if anywhere.
        budget: What the jobs may cost together; by default anything.
    """

    def __init__(
        self,
        pool: SessionPool,
        target: str,
        max_concurrent_jobs: int,
        journal: Journal | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._pool = pool
        self._target = target
        self._journal = journal
        self._budget = budget or Budget()
        self._quotas = QuotaGuard(target)
        self._max_concurrent_jobs = max_concurrent_jobs
        self._places = AdaptiveLimit(max_concurrent_jobs)
        # Inputs are stored ahead, and outputs fetched behind, of the jobs in flight.
        self._window = 2 * max_concurrent_jobs
        self._most_stored_at_once = max_concurrent_jobs
        shutdown.register(self)

    def disown(self) -> None:
        """Starts afresh in the child of a fork: the jobs in flight are the parent's."""
        self._places = AdaptiveLimit(self._max_concurrent_jobs)
        self._budget.disown()

    @property
    def journal_path(self) -> Path | None:
        """The file in which the jobs are written down, if they are."""
        return None if self._journal is None else self._journal.path

    async def run(self, batch: JobBatch) -> AsyncGenerator[Delivery, None]:
        """Yields what became of each job, in the order in which they end.

        Raises:
            QuotaExceeded: If the workspace's quotas have no room for the batch.
        """
        workspace = self._pool.workspace_for(self._target)
        if batch.usage is not None and not self._quotas.is_idle:
            await self._quotas.check(workspace, batch.usage())
        deliveries: asyncio.Queue[Delivery | None] = asyncio.Queue(maxsize=self._window)
        source = enumerate(batch.requests)

        async def work() -> None:
            try:
                for index, request in source:
                    await deliveries.put(await self._deliver(index, request, batch, workspace))
            except Exception:
                # Whatever it was is raised by the batch. A worker that is cancelled tells nobody,
                # since nobody reads deliveries any more.
                await deliveries.put(None)
                raise
            await deliveries.put(None)

        batch.storing = asyncio.Semaphore(self._most_stored_at_once)
        count = min(self._window, batch.size)
        batch.workers = [asyncio.ensure_future(work()) for _ in range(count)]
        try:
            for _ in batch.workers:
                while (delivery := await deliveries.get()) is not None:
                    yield delivery
            # A worker that could not even make its job ends the batch with its error.
            await asyncio.gather(*batch.workers)
        finally:
            await batch.end()

    def stop(self, batch: JobBatch) -> None:
        """The call was interrupted, wherever it was: nothing more is submitted or waited for."""
        batch.submit_no_more()
        with suppress(PoolClosed):
            self._pool.loop.run(batch.end())

    def give_back(self, batch: JobBatch) -> None:
        """The call did not end well: the next same call is handed the same jobs."""
        if self._journal is not None and batch.places:
            self._journal.give_back(batch.places)

    def cancel(self, batch: JobBatch) -> None:
        """Asks the service to cancel what is not over; it may have been too late for some."""
        workspace = self._pool.workspace_for(self._target)

        async def cancel_all() -> None:
            running = list(batch.running.values())
            await asyncio.gather(*map(workspace.cancel_job, running), return_exceptions=True)

        with suppress(PoolClosed):
            self._pool.loop.run(cancel_all())

    async def _deliver(
        self, index: int, request: JobRequest, batch: JobBatch, workspace: WorkspacePort
    ) -> Delivery:
        record = JobRecord(request, self._journal)
        errand = _Errand(index, record, batch, workspace)
        try:
            if batch.stopped_by is not None:
                raise batch.stopped_by
            await record.recall(lambda job_id: self._find(job_id, workspace))
            await self._budget.reserve(record.request, is_paid=record.job is not None)
            if record.output is None:
                await self._bring_home(errand)
        except Exception as error:
            failure = _named(error, record)
            record.failed(failure)
            if record.job is None and _concerns_all(error):
                batch.stopped_by = batch.stopped_by or error
            batch.tell_end(record.request.id, failed=True)
            return Delivery(index, record, failure)
        except BaseException:
            record.give_back()
            raise
        finally:
            bill = None if record.job is None else record.job.cost
            self._budget.settle(record.request.id, bill, may_cost=errand.may_cost)
        batch.home.append(record.request.id)
        if record.place is not None:
            batch.places.append(record.place)
        batch.tell_end(record.request.id, failed=False)
        return Delivery(index, record)

    async def _bring_home(self, errand: _Errand) -> None:
        """Submits the job unless the service has it already, waits for it, fetches its output."""
        record, batch, workspace = errand.record, errand.batch, errand.workspace
        if record.job is not None:
            job = await self._follow(errand, record.job)
        else:
            if batch.opening is None:
                batch.opening = asyncio.ensure_future(self._pool.prepare(self._target))
            async with batch.storing:
                errand.stored = await insist(
                    self._pool.clock,
                    lambda: workspace.store_input(record.request),
                    patience=lambda: batch.patience,
                )
            job = await self._run_to_end(errand)
        record.job = job
        # Until its output is home, whoever ends the call is told of it.
        with batch.in_flight(errand.index, job.id):
            # The job that takes its place is submitted before this one's output is fetched.
            await self._pool.clock.sleep(0)
            await record.finished(job, await self._fetch_output(job, workspace, errand.stored))

    async def _fetch_output(self, job: Job, workspace: WorkspacePort, stored: Any = None) -> Any:
        check_succeeded(job)
        return await insist(self._pool.clock, lambda: workspace.fetch_output(job, stored))

    async def _run_to_end(self, errand: _Errand) -> Job:
        """Submits the job and waits until it is over, holding a place among the jobs in flight."""
        generation, job = await self._submit(errand)
        errand.record.accepted(job)
        try:
            self._report("submitted", job, errand.batch)
            return await self._follow(errand, job)
        finally:
            self._pool.release(generation)
            self._places.release()

    async def _follow(self, errand: _Errand, job: Job) -> Job:
        """Waits until a job that the service has accepted is over."""
        batch = errand.batch
        batch.accepted += 1
        look = None if batch.follower is None else batch.follower.look
        if look is not None:
            look(job)
        with batch.in_flight(errand.index, job.id):
            job = await self._pool.watch(job, errand.workspace, look)
        self._report(_OUTCOMES.get(job.status, "succeeded"), job, batch)
        return job

    async def _submit(self, errand: _Errand) -> tuple[Generation, Job]:
        """Submits under the limit. The place and the generation are then the caller's to release.

        A job refused for its number waits until another one is over. Only where that cannot help,
        because none of ours is running or it was refused again, does it wait for time to pass.
        """
        refusals = 0
        while True:
            await self._places.acquire(first=refusals > 0)
            try:
                if errand.batch.stopped_by is not None:
                    raise errand.batch.stopped_by
                accepted = await self._submit_in_session(errand)
            except ServiceError as error:
                if not error.is_throttled:
                    self._places.release()
                    raise
                self._places.refuse()
                refusals += 1
                if refusals > 1 or not self._places.taken:
                    await self._pool.clock.sleep(error.retry_after or backoff(refusals))
            except BaseException:
                self._places.release()
                raise
            else:
                self._places.accept()
                return accepted

    async def _submit_in_session(self, errand: _Errand) -> tuple[Generation, Job]:
        """Takes the session, submits, and where the session is over goes round with a new one."""
        for _ in range(_MOST_SESSIONS):
            generation = await insist(
                self._pool.clock,
                lambda: self._pool.acquire(self._target),
                patience=lambda: errand.batch.patience,
            )
            try:
                return generation, await self._submit_once(errand, generation.opened_session.id)
            except SessionNotAvailable:
                self._pool.release(generation)
                await self._pool.discard(generation)
            except BaseException:
                self._pool.release(generation)
                raise
        raise SessionNotAvailable(
            f"{_MOST_SESSIONS} sessions in a row on {self._target} ended before they took a job: "
            "check the target's availability and try again later."
        )

    async def _submit_once(self, errand: _Errand, session_id: str) -> Job:
        """Submits so that the service has the job exactly once, whatever is lost on the way."""
        batch = errand.batch
        request = dataclasses.replace(errand.record.request, session_id=session_id)
        for attempt in itertools.count(1):
            with batch.in_flight(errand.index, request.id):
                try:
                    return await errand.workspace.submit_job(request, errand.stored)
                except ServiceError as error:
                    if not error.is_ambiguous:
                        raise
                    failure = error
                errand.is_lost = True
                job = await self._find(request.id, errand.workspace)
                errand.is_lost = False
                if job is not None:
                    return job
            if attempt >= (_MOST_SUBMISSIONS if batch.accepted else _MOST_FIRST_SUBMISSIONS):
                raise failure
            await self._pool.clock.sleep(failure.retry_after or backoff(attempt))
        raise AssertionError("unreachable")

    async def _find(self, job_id: str, workspace: WorkspacePort) -> Job | None:
        """The job of which it is not known whether the service got it; None if it did not."""
        try:
            return await insist(self._pool.clock, lambda: find_job(job_id, workspace))
        except ServiceError as error:
            raise ServiceError(
                f"Whether the service has job {job_id} cannot be learned now: {error} "
                f"Later, get_result({job_id!r}) tells, and brings its result.",
                status_code=error.status_code,
                code=error.code,
            ) from error

    def _report(self, kind: str, job: Job, batch: JobBatch) -> None:
        cost = job.cost if kind != "submitted" else None
        self._pool.report(
            JobEvent(
                kind,
                job.id,
                job.session_id,
                job.target,
                time=self._pool.clock.time(),
                cost=cost.total if cost is not None else None,
                reason=job.error_code,
                sweep_id=batch.id,
                creation_time=job.creation_time,
                end_time=job.end_time,
                currency=cost.currency if cost is not None else "",
                consumed=tuple(cost.consumed.items()) if cost is not None else (),
            )
        )


_CONCERNING_ALL = (
    CostLimitReached,
    JournalError,
    PoolClosed,
    SessionNotAvailable,
    UnsupportedTarget,
)

_OUTCOMES = {JobStatus.FAILED: "failed", JobStatus.CANCELLED: "cancelled"}


def _concerns_all(error: Exception) -> bool:
    """Whether the other jobs of the batch would meet the same error."""
    return isinstance(error, _CONCERNING_ALL) or (
        isinstance(error, ServiceError) and error.status_code in (401, 403)
    )


def _named(error: Exception, record: JobRecord) -> Exception:
    """The error, so that it names the job and how to come back to it."""
    if record.job is not None and isinstance(error, ServiceError):
        return out_of_reach(record.job, error)
    if not isinstance(error, AzureSessionsError):
        error.add_note(f"while running job {record.request.id}")
    return error
