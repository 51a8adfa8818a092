"""`HostedJobs`: jobs that the SDK's own backends and targets submit into a pool's sessions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from cirq_azure_sessions import background, process
from cirq_azure_sessions.errors import AzureSessionsError, PoolClosed, SessionNotAvailable
from cirq_azure_sessions.model import Job
from cirq_azure_sessions.sessions.table import Generation
from cirq_azure_sessions.workspaces.base import WorkspacePort

if TYPE_CHECKING:
    from cirq_azure_sessions.sessions.pool import SessionPool

__all__ = ["HostedJobs"]

logger = logging.getLogger(__name__)


class HostedJobs:
    """The jobs that the SDK submits, and asks for, on the threads of the user's program."""

    def __init__(self, pool: SessionPool) -> None:
        self._pool = pool
        self._after_fork()
        process.register(self)

    def _after_fork(self) -> None:
        # State: the jobs that have not been seen to finish, by id, with their generations; and
        # whether the pool waits for them itself. Touched on the background loop alone.
        self._running: dict[str, tuple[Job, Generation]] = {}
        self._is_draining = False

    # On the user's threads

    def submit(self, target: str, send: Callable[[str], Job]) -> Job:
        """Submits a job in the target's session; once more, in the next, if that has ended.

        `send` submits it in the session with this id; `SessionNotAvailable` if that has ended.
        """
        pool, is_repeated = self._pool, False
        workspace = pool._router.for_target(target)
        while True:
            taken: list[Any] = []
            job: Job | None = None
            try:
                pool._portal.run(self._take(target, workspace, taken))
                job = send(taken[0].session_id)
                return job
            except SessionNotAvailable:
                if taken:
                    pool._portal.run(pool._lifecycle.retire(taken[0]))
                if is_repeated or not taken:
                    raise
                is_repeated = True
            finally:
                # Also where Ctrl-C strikes. What a pool that is closed by then counts is moot.
                with suppress(PoolClosed):
                    pool._portal.run(self._settle(taken, job))

    def saw(self, job: Job) -> None:
        """Notes what the user's program has learned of a job, whether it is one of these or not."""
        if job.is_final and job.id in self._running:
            noting = background.loop.start(self.note_end(job))
            if not background.loop.is_current:
                noting.result()

    # On the background loop

    async def _take(self, target: str, workspace: WorkspacePort, taken: list[Any]) -> None:
        # Whatever interrupts the caller, a generation with one more job is in the list.
        generation = await self._pool._lifecycle.find(target, workspace, for_job=True)
        if taken:
            # The caller was interrupted, and has settled without it.
            self._pool._table.release(generation)
        taken.append(generation)

    async def _settle(self, taken: list[Any], job: Job | None) -> None:
        """Notes that the job was accepted, or that the generation is without it."""
        if not taken:
            taken.append(None)
            return
        generation: Generation = taken[0]
        if job is None:
            self._pool._table.release(generation)
            return
        self._pool._events.report_job(job, self._pool._clock.time(), is_new=True)
        self._running[job.id] = job, generation
        if self._is_draining:
            self._pool._portal.spawn(self._follow(job, generation))

    def drain(self) -> None:
        """Has the pool wait for the jobs that the user's program may not ask for any more."""
        self._is_draining = True
        for running in self._running.values():
            self._pool._portal.spawn(self._follow(*running))

    async def _follow(self, job: Job, generation: Generation) -> None:
        try:
            job = await self._pool._watcher.wait(job, generation.workspace)
        except AzureSessionsError as error:
            logger.warning("It is not known what became of job %s: %s", job.id, error)
        await self.note_end(job)

    async def note_end(self, job: Job) -> None:
        """Reports once what became of a job, if it is one of these."""
        _, generation = self._running.pop(job.id, (job, None))
        if generation is not None:
            if job.is_final:
                self._pool._events.report_job(job, self._pool._clock.time())
            self._pool._table.release(generation)

    # Copies of a backend share its pool, and in another process have the pool that is there.

    def __deepcopy__(self, memo: object) -> HostedJobs:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return attrgetter("_hosts"), (self._pool,)
