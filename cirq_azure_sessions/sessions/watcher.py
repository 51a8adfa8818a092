"""Waiting for many jobs with few requests: one poller for all jobs of a session."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass, field

from cirq_azure_sessions.clock import Clock, retry, retry_for
from cirq_azure_sessions.errors import JobError, ServiceError
from cirq_azure_sessions.model import Job
from cirq_azure_sessions.workspaces.base import JOBS_PER_PAGE, WorkspacePort
from cirq_azure_sessions.workspaces.local.callers import check_wait
from cirq_azure_sessions.workspaces.polling import MIN_DELAY, next_poll

__all__ = ["JobWatcher"]

# If the workspace announces ends, frequent polls would only slow its simulators down.
_MIN_DELAY_ANNOUNCED = 1.0
# A progress bar should show when jobs leave the queue.
_MAX_DELAY_OBSERVED = 5.0
# Up to this many jobs are looked up one by one; for more, another page of the list is read.
_MAX_LOOKUPS = 3
# Seconds to keep polling through errors, since queues take days and a network may be down for
# hours; and through 404 responses, since the service may take a while to show an accepted job, and
# giving up would lose a paid result.
_POLL_TIMEOUT = 86_400.0
_MISSING_TIMEOUT = 300.0

# If no duration is reported: the share to use of the time until a job was seen finished.
_EARLY = 0.95

_Observer = Callable[[Job], None]
_Gate = AbstractAsyncContextManager[object]


@dataclass(slots=True)
class _Watched:
    """A job being waited for: since when, its outcome, and its waiters."""

    since: float
    outcome: asyncio.Future[Job] = field(default_factory=asyncio.Future)
    waiters: list[tuple[_Observer | None, _Gate]] = field(default_factory=list)
    # When the service first failed to show it.
    missing_since: float | None = None


@dataclass(eq=False)
class _Poller:
    """Polls one session, or the jobs outside any session, while any of its jobs is waited for."""

    workspace: WorkspacePort
    session_id: str | None
    clock: Clock
    # Of the latest jobs of the target.
    durations: deque[float]
    # When the last poll was due, not when it was answered: slow responses must not add delay.
    last_poll: float
    # When the current delay ends.
    poll_due: float = -math.inf
    # The jobs being waited for, and the task that polls while there are any.
    jobs: dict[str, _Watched] = field(default_factory=dict)
    polling: asyncio.Task[None] | None = None

    async def keep_polling(self) -> None:
        while self.jobs:
            try:
                await retry(self.clock, self._poll, retry_for(_POLL_TIMEOUT))
            except BaseException as error:
                task = asyncio.current_task()
                is_cancelled = task is not None and task.cancelling()
                # Its error holds this frame, and no frame may hold the task in turn.
                del task
                if is_cancelled:
                    raise
                # All waiters get any error of a verb; the jobs themselves continue.
                for job_id in list(self.jobs):
                    self.jobs.pop(job_id).outcome.set_exception(error)

    async def _poll(self) -> None:
        """Waits for the polling delay, then asks about all jobs."""
        now, watched = self.clock.monotonic(), self.jobs.values()
        due = next_poll(self.durations, [each.since for each in watched], self.last_poll)
        waiters = [waiter for each in watched for waiter in each.waiters]
        delay = max(due - now, _MIN_DELAY_ANNOUNCED if self.workspace.announces_ends else 0.0)
        if any(observer is not None for observer, _ in waiters):
            delay = min(delay, _MAX_DELAY_OBSERVED)
        self.poll_due = now + delay
        if not self.workspace.announces_ends:
            await self.clock.sleep(delay)
            delay = 0.0
        # The gate is for requests, and not held through a delay.
        async with nullcontext() if delay else waiters[0][1]:
            await self._ask(set(self.jobs), delay)
        # A workspace that announces ends may have answered early.
        self.last_poll = min(self.poll_due, self.clock.monotonic())

    async def _ask(self, asked: set[str], delay: float) -> None:
        """Reads a single job by its id, and several with as few list pages as possible."""
        if self.session_id is not None and len(asked) > 1:
            # Running jobs are among the newest, so the page leaves room for as many finished ones.
            seen, page_size = 0, min(2 * len(asked), JOBS_PER_PAGE)
            while not seen or len(asked) > _MAX_LOOKUPS:
                page = await self.workspace.list_session_jobs(
                    self.session_id, skip=seen, top=page_size, wait=delay, until=asked
                )
                for job in page:
                    self._note(job)
                asked -= {job.id for job in page}
                delay = 0.0
                if len(page) < page_size:
                    break
                seen, page_size = seen + len(page), JOBS_PER_PAGE
        for job_id in asked:
            try:
                self._note(await self.workspace.get_job(job_id, wait=delay))
            except ServiceError as error:
                if not (error.is_missing or error.is_unreadable):
                    raise
                self._note_missing(job_id)
            delay = 0.0

    def _note(self, job: Job) -> None:
        """Passes an unfinished job to its observers, and a finished one to all its waiters."""
        watched = self.jobs.get(job.id)
        if watched is None:
            return
        watched.missing_since = None
        if not job.is_final:
            for observer, _ in watched.waiters:
                if observer is not None:
                    observer(job)
            return
        # The reported duration, else the time until it was seen finished. The latter includes the
        # delay of the poll, so on its own it could never get shorter; and a job that ran at the
        # last poll took longer than until then.
        seen = self.clock.monotonic() - watched.since
        duration = _EARLY * seen
        if job.creation_time is not None and job.end_time is not None:
            at_least = max(self.last_poll - watched.since, 0.0)
            duration = min(max(job.end_time - job.creation_time, at_least), seen)
        self.durations.append(duration)
        self.jobs.pop(job.id).outcome.set_result(job)

    def _note_missing(self, job_id: str) -> None:
        """Gives up on a job that has been missing for minutes, or on one in memory immediately."""
        watched, now = self.jobs.get(job_id), self.clock.monotonic()
        if watched is None:
            return
        if watched.missing_since is None:
            watched.missing_since = now
        if now - watched.missing_since >= _MISSING_TIMEOUT or self.workspace.announces_ends:
            message = (
                f"The service accepted job {job_id} but no longer shows it: look for it in the "
                f"Azure portal, or try get_result({job_id!r}) later; submitting the point again "
                "may cost twice."
            )
            error = JobError(message, job_id=job_id, status="Missing")
            self.jobs.pop(job_id).outcome.set_exception(error)


class JobWatcher:
    """Waits for the jobs of a pool, with one poller per session. Lives on the background loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # State: the pollers, by workspace and session; the durations of the latest jobs of each
        # target; and an event that is set to cancel every job being waited for.
        self._pollers: dict[tuple[WorkspacePort, str | None], _Poller] = {}
        self._durations: dict[str, deque[float]] = {}
        self.is_cancelling = asyncio.Event()

    async def wait(
        self,
        job: Job,
        workspace: WorkspacePort,
        *,
        since: float | None = None,
        observer: _Observer | None = None,
        gate: _Gate | None = None,
    ) -> Job:
        """Returns the job once it has finished, successfully or not.

        `since` is about when it was accepted, if not now. The observer is called with the job at
        every poll before that; the gate is held during requests. `JobError` if the service has not
        known the job for minutes, and `ServiceError` if it cannot be asked for long.
        """
        if self.is_cancelling.is_set() and not job.is_final:
            # A job that cannot be cancelled continues, and its result is not lost.
            with suppress(ServiceError):
                job = await workspace.cancel_job(job.id)
        if job.is_final:
            return job
        check_wait(job.id)
        key, now = (workspace, job.session_id), self._clock.monotonic()
        poller = self._pollers.get(key)
        if poller is None:
            durations = self._durations.setdefault(job.target, deque(maxlen=32))
            poller = self._pollers[key] = _Poller(*key, self._clock, durations, last_poll=now)
        watched = poller.jobs.get(job.id)
        if watched is None:
            watched = poller.jobs[job.id] = _Watched(now if since is None else since)
            if poller.polling is not None and poller.poll_due - now > MIN_DELAY:
                # The new job may be fast, so the delay starts over.
                poller.polling.cancel()
                poller.polling, poller.poll_due = None, now
        if poller.polling is None or poller.polling.done():
            poller.polling = asyncio.ensure_future(poller.keep_polling())
        waiter = observer, gate or nullcontext()
        watched.waiters.append(waiter)
        try:
            return await asyncio.shield(watched.outcome)
        finally:
            # This waiter leaves, and the others keep waiting.
            watched.waiters.remove(waiter)
            if not watched.waiters and poller.jobs.get(job.id) is watched:
                del poller.jobs[job.id]
            if not poller.jobs and self._pollers.get(key) is poller:
                poller.polling.cancel()
                del self._pollers[key]

    async def cancel_all(self) -> None:
        """Asks the service to cancel every job that is being waited for, now or later."""
        self.is_cancelling.set()
        pollers = self._pollers.values()
        cancel = [each.workspace.cancel_job(job_id) for each in pollers for job_id in each.jobs]
        await asyncio.gather(*cancel, return_exceptions=True)
