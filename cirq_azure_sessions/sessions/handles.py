"""`SessionHandle` and `JobHandle`: what a pool returns for a session or a job, anybody's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cirq_azure_sessions.clock import retry, retry_for
from cirq_azure_sessions.errors import (
    PoolTimeout,
    ResultFormatError,
    ServiceError,
    check_succeeded,
    not_finished,
    result_unavailable,
)
from cirq_azure_sessions.model import (
    Cost,
    Job,
    JobFailurePolicy,
    JobStatus,
    Session,
    SessionStatus,
)
from cirq_azure_sessions.results.html import job_card, session_card
from cirq_azure_sessions.workspaces.base import ItemFilter, WorkspacePort

if TYPE_CHECKING:
    from cirq_azure_sessions.results.azure_result import AzureResult
    from cirq_azure_sessions.sessions.pool import SessionPool

__all__ = ["JobHandle", "SessionHandle"]

Item = TypeVar("Item", bound=Session | Job)

# Seconds to ask again through transient errors.
_RETRY_TIMEOUT = 600.0
# Seconds between two looks at a session that is waited for: short at first, then longer.
_FIRST_DELAY = 1.0
_MAX_DELAY = 30.0
_DELAY_GROWTH = 1.5


class _Handle(Generic[Item]):
    """What sessions and jobs have in common; two handles are equal if their ids are."""

    def __init__(self, item: Item, workspace: WorkspacePort, pool: SessionPool) -> None:
        self._item = item
        self._workspace = workspace
        self._pool = pool

    @property
    def id(self) -> str:
        """The id on the service."""
        return self._item.id

    @property
    def target(self) -> str:
        """The target that jobs run on."""
        return self._item.target

    @property
    def name(self) -> str:
        """The name on the service."""
        return self._item.name

    @property
    def creation_time(self) -> float | None:
        """When it was opened or submitted, in seconds since the Unix epoch."""
        return self._item.creation_time

    @property
    def end_time(self) -> float | None:
        """When it ended, in seconds since the Unix epoch; None if it has not."""
        return self._item.end_time

    @property
    def cost(self) -> Cost | None:
        """What the service says it costs; None if it does not say, or not yet."""
        return self._item.cost

    def __eq__(self, other: Any) -> bool:
        return self.id == other.id if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(id={self.id!r}, target={self.target!r}, name={self.name!r}, "
            f"status={self._item.status.value!r})"
        )


class SessionHandle(_Handle[Session]):
    """A session that a pool keeps for one target, or any other session of its workspace.

    Attributes show what the service said last; `refresh` asks again. Every method may raise
    `ServiceError`, and `PoolClosed` once the pool is closed.
    """

    @property
    def status(self) -> SessionStatus:
        """The status that the service reported last, such as `SessionStatus.EXECUTING`."""
        return self._item.status

    @property
    def is_open(self) -> bool:
        """Whether the session had not ended when the service last described it."""
        return self._item.is_open

    @property
    def job_failure_policy(self) -> JobFailurePolicy:
        """What a failed job does to the session."""
        return self._item.job_failure_policy

    @property
    def azure_session(self) -> Any:
        """The SDK's own `azure.quantum.Session`; None for a local target."""
        return self._item.handle

    def refresh(self) -> SessionHandle:
        """Asks the service for the session's state; returns the handle itself."""
        self._update(self._pool._run(self._workspace.get_session(self.id)))
        return self

    def wait(self, timeout: float | None = None) -> SessionHandle:
        """Waits until the session has ended: closed with its jobs done, failed, or timed out.

        It does not close it: one that nobody closes ends ten minutes after its last job.

        Args:
            timeout: Seconds to wait; None for no limit.

        Returns:
            The handle itself.

        Raises:
            PoolTimeout: If it has not ended by then.
        """
        try:
            self._pool._run_within(timeout, self._poll)
        except TimeoutError:
            raise PoolTimeout(
                f"Session {self.id} on {self.target} has not ended after {timeout:g} s: "
                "close it, or wait longer."
            ) from None
        return self

    def close(self) -> SessionHandle:
        """Closes the session to new jobs; those in it still run.

        If it is the one that the pool keeps for its target, the next job goes in another.

        Returns:
            The handle itself.
        """
        close = self._pool._lifecycle.close_by_hand(self.id, self._workspace)
        self._update(self._pool._run(close))
        return self

    def jobs(
        self,
        *,
        status: str | None = None,
        name: str | None = None,
        max_age: float | None = None,
        limit: int | None = None,
    ) -> Sequence[JobHandle]:
        """The jobs of the session, newest first.

        Args:
            status: A status of the service, in any case.
            name: Name prefix.
            max_age: Seconds since submission.
            limit: Maximum number of jobs.
        """
        where = ItemFilter.of(
            status=status,
            name=name,
            max_age=max_age,
            limit=limit,
            now=self._pool._clock.time(),
        )

        async def collect() -> list[Job]:
            return [job async for job in self._workspace.list_jobs(where, session_id=self.id)]

        return [JobHandle(job, self._workspace, self._pool) for job in self._pool._run(collect())]

    def _update(self, session: Session) -> None:
        """Takes over a newer description of the same session."""
        self._item = session

    async def _poll(self) -> None:
        clock, delay = self._pool._clock, _FIRST_DELAY

        async def ask() -> Session:
            return await self._workspace.get_session(self.id)

        while self.is_open:
            self._update(await retry(clock, ask, retry_for(_RETRY_TIMEOUT)))
            if self.is_open:
                await clock.sleep(delay)
                delay = min(delay * _DELAY_GROWTH, _MAX_DELAY)

    def _repr_html_(self) -> str:
        return session_card(self._item)


class JobHandle(_Handle[Job]):
    """A job of a workspace, whoever submitted it.

    Attributes show what the service said last; `refresh` asks again. Every method may raise
    `ServiceError`, and `PoolClosed` once the pool is closed.
    """

    @property
    def session_id(self) -> str | None:
        """The id of its session; None if it is in none."""
        return self._item.session_id

    @property
    def status(self) -> JobStatus:
        """The status that the service reported last, such as `JobStatus.EXECUTING`."""
        return self._item.status

    @property
    def is_final(self) -> bool:
        """Whether the job has finished, well or not."""
        return self._item.is_final

    @property
    def tags(self) -> tuple[str, ...]:
        """The job's tags on the service."""
        return self._item.tags

    @property
    def begin_time(self) -> float | None:
        """When it began to run, in seconds since the Unix epoch; None if it has not."""
        return self._item.begin_time

    @property
    def error_code(self) -> str:
        """The service's error code, such as `InvalidInputData`; empty if there is none."""
        return self._item.error_code

    @property
    def error_message(self) -> str:
        """The service's error message."""
        return self._item.error_message

    @property
    def azure_job(self) -> Any:
        """The SDK's own `azure.quantum.Job`; None for a local target."""
        return self._item.handle

    def refresh(self) -> JobHandle:
        """Asks the service for the job's state; returns the handle itself."""
        self._item = self._pool._run(self._workspace.get_job(self.id))
        return self

    def wait(self, timeout: float | None = None) -> JobHandle:
        """Waits until the job has finished, well or not; returns the handle itself.

        Args:
            timeout: Seconds to wait; None for no limit.

        Raises:
            JobTimeout: If it has not finished by then; it runs on.
            JobError: If the service does not know the job any more.
        """
        try:
            self._pool._run_within(timeout, self._finish)
        except TimeoutError:
            raise not_finished(self.id, timeout or 0.0) from None
        return self

    def cancel(self) -> JobHandle:
        """Asks the service to cancel the job, which may take a while; returns the handle itself."""
        self._item = self._pool._run(self._workspace.cancel_job(self.id))
        return self

    def results(self, timeout: float | None = None) -> Sequence[AzureResult]:
        """The results of the job's points, usually one, once it has finished.

        The circuit is not needed: the layout of the result is in the job's metadata.

        Args:
            timeout: Seconds to wait; None for no limit.

        Raises:
            JobError: If the job failed or was cancelled, or its result is gone.
            JobTimeout: If it has not finished by then.
            ResultFormatError: If the job was not submitted by this package.
        """
        # Imported here so that looking at sessions does not load what translates circuits.
        from cirq_azure_sessions.formats import results_of

        try:
            output = self._pool._run_within(timeout, self._fetch)
        except TimeoutError:
            raise not_finished(self.id, timeout or 0.0) from None
        return results_of(self._item, output)

    def result(self, timeout: float | None = None) -> AzureResult:
        """The result of a job of one point.

        Raises:
            JobError, JobTimeout: As `results` does.
            ResultFormatError: Likewise, and if the job has several points.
        """
        results = self.results(timeout)
        if len(results) != 1:
            raise ResultFormatError(
                f"Job {self.id} is a sweep of {len(results)} points: read them with results()."
            )
        return results[0]

    async def _finish(self) -> None:
        self._item = await self._pool._watcher.wait(self._item, self._workspace)

    async def _fetch(self) -> Any:
        async def fetch() -> Any:
            return await self._workspace.fetch_output(self._item)

        try:
            await self._finish()
            check_succeeded(self._item)
            return await retry(self._pool._clock, fetch, retry_for(_RETRY_TIMEOUT))
        except ServiceError as error:
            raise result_unavailable(self._item, error) from error

    def _repr_html_(self) -> str:
        return job_card(self._item)
