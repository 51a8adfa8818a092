"""`HostedJobs`: jobs that the SDK's own backends and targets submit into a pool's sessions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextvars import copy_context
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from cirq_azure_sessions import background, process
from cirq_azure_sessions.errors import AzureSessionsError, SessionNotAvailable
from cirq_azure_sessions.executor import DaemonExecutor
from cirq_azure_sessions.model import Job
from cirq_azure_sessions.sessions.table import Generation

if TYPE_CHECKING:
    from cirq_azure_sessions.sessions.pool import SessionPool

__all__ = ["HostedJobs"]

logger = logging.getLogger(__name__)


class HostedJobs:
    """The jobs that the user's program submits and reads through the SDK."""

    def __init__(self, pool: SessionPool) -> None:
        self._pool = pool
        # Signals do not interrupt these threads, so Ctrl-C leaves no accepted job unrecorded.
        self._threads = DaemonExecutor(64, name="hosted-jobs")
        self._after_fork()
        process.register(self)

    def _after_fork(self) -> None:
        # State: the jobs not yet seen to finish, by id, with their generations; and whether the
        # pool waits for them itself. Accessed only on the background loop.
        self._running: dict[str, tuple[Job, Generation]] = {}
        self._is_draining = False

    def submit(self, target: str, send: Callable[[str], Job]) -> Job:
        """Submits a job in the target's session; once more, in the next, if that has ended.

        `send` submits it in the session with this id; `SessionNotAvailable` if that has ended.
        Whatever interrupts the caller, a job that is being sent is sent, and counted.
        """
        context = copy_context()
        return self._pool._portal.run(
            self._submit, target, lambda session_id: context.run(send, session_id)
        )

    def saw(self, job: Job) -> None:
        """Records the state of any job as seen by the user's program."""
        if job.is_final and job.id in self._running:
            noting = background.loop.start(self.note_end, job)
            if not background.loop.is_current:
                noting.result()

    # On the background loop

    async def _submit(self, target: str, send: Callable[[str], Job]) -> Job:
        workspace = self._pool._router.for_target(target)
        lifecycle, is_repeated = self._pool._lifecycle, False
        while True:
            generation = await lifecycle.find(target, workspace, for_job=True)
            sending = self._pool._portal.spawn(self._send(send, generation))
            try:
                return await asyncio.shield(sending)
            except SessionNotAvailable:
                await lifecycle.retire(generation)
                if is_repeated:
                    raise
                is_repeated = True

    async def _send(self, send: Callable[[str], Job], generation: Generation) -> Job:
        """Submits a job that the generation already counts; a failure uncounts it."""
        try:
            job: Job = await asyncio.wrap_future(self._threads.submit(send, generation.session_id))
        except BaseException:
            self._pool._table.release(generation)
            raise
        self._pool._events.report_job(job, self._pool._clock.time(), is_new=True)
        self._running[job.id] = job, generation
        if job.is_final:
            await self.note_end(job)
        elif self._is_draining:
            self._pool._portal.spawn(self._follow(job, generation))
        return job

    def drain(self) -> None:
        """Has the pool wait for the jobs, which the user's program may no longer read."""
        self._is_draining = True
        for running in self._running.values():
            self._pool._portal.spawn(self._follow(*running))

    async def _follow(self, job: Job, generation: Generation) -> None:
        try:
            job = await self._pool._watcher.wait(job, generation.workspace)
        except AzureSessionsError as error:
            logger.warning("The outcome of job %s is unknown: %s", job.id, error)
        await self.note_end(job)

    async def note_end(self, job: Job) -> None:
        """Reports the end of a job once, if it is one of these."""
        _, generation = self._running.pop(job.id, (job, None))
        if generation is not None:
            if job.is_final:
                self._pool._events.report_job(job, self._pool._clock.time())
            self._pool._table.release(generation)

    # Copies of a backend share its pool; in another process they use that process's pool.

    def __deepcopy__(self, memo: object) -> HostedJobs:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return attrgetter("_hosts"), (self._pool,)
