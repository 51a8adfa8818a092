"""A session on the service, in the hands of a user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cirq_azure_sessions.clock import within
from cirq_azure_sessions.errors import PoolTimeout
from cirq_azure_sessions.model import JobFailurePolicy, Session, SessionStatus
from cirq_azure_sessions.patience import insist
from cirq_azure_sessions.pooled.item import PooledItem
from cirq_azure_sessions.pooled.job import PooledJob
from cirq_azure_sessions.results.html import moment, table
from cirq_azure_sessions.wanted import Wanted

__all__ = ["PooledSession"]

# Seconds between two looks at a session that is waited for: short at first, then long.
_FIRST_DELAY = 1.0
_LONGEST_DELAY = 30.0
_GROWTH = 1.5


class PooledSession(PooledItem[Session]):
    """A session that a pool keeps for one target, or any other session of its workspace.

    What it tells is what the service told last; `refresh` asks again. Leaving a `with` block round
    it leaves it open: the pool closes the sessions that it opened. Every method may raise
    `ServiceError`, and `PoolClosed` once the pool is closed.
    """

    @property
    def status(self) -> SessionStatus:
        """The status that the service last told, such as `SessionStatus.EXECUTING`."""
        return self._item.status

    @property
    def is_open(self) -> bool:
        """Whether the session was not over when the service last told."""
        return self._item.is_open

    @property
    def job_failure_policy(self) -> JobFailurePolicy:
        """What a failed job does to the session."""
        return self._item.job_failure_policy

    @property
    def azure_session(self) -> Any:
        """The SDK's own `azure.quantum.Session`; None for a local target."""
        return self._item.handle

    def refresh(self) -> PooledSession:
        """Asks the service how the session stands; returns the session itself."""
        self.update(self._pool.loop.run(self._workspace.get_session(self.id)))
        return self

    def wait(self, timeout: float | None = None) -> PooledSession:
        """Waits until the session is over: closed with its jobs done, failed, or timed out.

        It does not close it: one that nobody closes ends ten minutes after its last job.

        Returns:
            The session itself.

        Raises:
            PoolTimeout: If it is not over after `timeout` seconds.
        """
        try:
            self._pool.loop.run(within(self._pool.clock, timeout, self._until_over()))
        except TimeoutError:
            raise PoolTimeout(
                f"Session {self.id} on {self.target} is not over after {timeout:g} s: "
                "close it, or wait longer."
            ) from None
        return self

    def close(self) -> PooledSession:
        """Lets the session take no more jobs; those that it has still run.

        If it is the one that the pool keeps for its target, the next job goes in another.

        Returns:
            The session itself.
        """
        self.update(self._pool.loop.run(self._pool.close_session(self.id, self._workspace)))
        return self

    def jobs(
        self,
        *,
        status: str | None = None,
        name: str | None = None,
        max_age: float | None = None,
        limit: int | None = None,
    ) -> Sequence[PooledJob]:
        """The jobs of the session, newest first.

        Args:
            status: Only those in this status; a word of the service, in any case.
            name: Only those whose name begins so.
            max_age: Only those submitted within so many seconds.
            limit: At most so many.
        """
        wanted = Wanted(status=status, name=name, max_age=max_age, limit=limit)
        jobs = self._pool.loop.run(
            wanted.take(self._workspace.list_jobs(session_id=self.id), self._pool.clock.time())
        )
        return [PooledJob(job, self._workspace, self._pool) for job in jobs]

    def update(self, session: Session) -> None:
        """Takes over a newer description of the same session."""
        self._item = session

    async def _until_over(self) -> None:
        clock, delay = self._pool.clock, _FIRST_DELAY
        while self.is_open:
            self.update(await insist(clock, lambda: self._workspace.get_session(self.id)))
            if self.is_open:
                await clock.sleep(delay)
                delay = min(delay * _GROWTH, _LONGEST_DELAY)

    def __enter__(self) -> PooledSession:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None

    def _repr_html_(self) -> str:
        rows = {
            "id": self.id,
            "name": self.name,
            "status": self.status.value,
            "if a job fails": self.job_failure_policy.value,
            "opened": moment(self.creation_time),
            "ended": moment(self.end_time),
            "cost": self.cost and f"{self.cost.total:g} {self.cost.currency}",
        }
        return table(f"Session on {self.target}", [], [row for row in rows.items() if row[1]])
