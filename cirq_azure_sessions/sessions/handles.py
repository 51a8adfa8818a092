"""`SessionHandle` and `JobHandle`: what a pool returns for a session or a job."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cirq_azure_sessions.clock import RETRY_TIMEOUT, backoff, retry, retry_for, timeout
from cirq_azure_sessions.errors import (
    PoolTimeout,
    ResultFormatError,
    ServiceError,
    check_succeeded,
    not_finished,
    result_unavailable,
)
from cirq_azure_sessions.formats import results_of
from cirq_azure_sessions.model import Cost, Job, JobFailurePolicy, JobStatus, Session, SessionStatus
from cirq_azure_sessions.options import AMOUNT, check_option, checked, shown
from cirq_azure_sessions.results.html import Listing, job_card, session_card
from cirq_azure_sessions.workspaces.base import WorkspacePort
from cirq_azure_sessions.workspaces.filters import ItemFilter
from cirq_azure_sessions.workspaces.local.callers import wait_for

if TYPE_CHECKING:
    from cirq_azure_sessions.sessions.pool import SessionPool

__all__ = ["JobHandle", "SessionHandle"]

T = TypeVar("T")
Item = TypeVar("Item", bound=Session | Job)

# Maximum number of seconds between two polls of a session.
_MAX_DELAY = 30.0


def _reported(name: str) -> Any:
    """A read-only attribute with the last reported value of a field."""
    return property(attrgetter(f"_item.{name}"))


class _Handle(Generic[Item]):
    """The common part of sessions and jobs; two handles are equal if their ids are."""

    id: str = _reported("id")
    target: str = _reported("target")
    name: str = _reported("name")
    creation_time: float | None = _reported("creation_time")
    end_time: float | None = _reported("end_time")
    cost: Cost | None = _reported("cost")

    def __init__(self, item: Item, workspace: WorkspacePort, pool: SessionPool) -> None:
        self._item = item
        self._workspace = workspace
        self._pool = pool

    def _run(
        self,
        work: Callable[[], Coroutine[Any, Any, T]],
        limit: float | None,
        late: Callable[[float], Exception],
    ) -> T:
        """Runs work that ends with the pool; raises `late(limit)` after that many seconds."""
        check_option("timeout", limit, or_none=True, kind=AMOUNT)
        seconds = None if limit is None else float(limit)

        async def bounded() -> T:
            return await timeout(self._pool._clock, seconds, work())

        try:
            return self._pool._portal.run(bounded)
        except TimeoutError:
            raise late(seconds or 0.0) from None

    def __eq__(self, other: Any) -> bool:
        return self.id == other.id if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(id={self.id!r}, target={self.target!r}, "
            f"name={shown(self.name)}, status={self._item.status.value!r})"
        )


class SessionHandle(_Handle[Session]):
    """A session that a pool keeps for one target, or any other session of its workspace.

    Attributes show what the service reported last; `refresh` asks again. Every method may raise
    `ServiceError`, and `PoolClosed` once the pool is closed.

    Attributes:
        id: The session's id on the service.
        target: The target that its jobs run on.
        name: Its name on the service.
        creation_time: When it was opened, in seconds since the Unix epoch.
        end_time: When it ended, likewise; None if it has not.
        cost: What the service says it costs; None if it does not say, or not yet.
        status: Its status, such as `SessionStatus.EXECUTING`.
        is_open: Whether it had not ended.
        job_failure_policy: The effect of a failed job on the session.
        azure_session: The SDK's own `azure.quantum.Session`; None for a local target.
    """

    status: SessionStatus = _reported("status")
    is_open: bool = _reported("is_open")
    job_failure_policy: JobFailurePolicy = _reported("job_failure_policy")
    azure_session: Any = _reported("handle")

    def refresh(self) -> SessionHandle:
        """Asks the service for the session's state; returns the handle itself."""
        self._item = self._pool._portal.run(self._workspace.get_session, self.id)
        return self

    def wait(self, timeout: float | None = None) -> SessionHandle:
        """Waits until the session has ended in any way; returns the handle itself.

        A session that is not closed ends ten minutes after its last job.

        Args:
            timeout: Seconds to wait; None for no limit.

        Raises:
            PoolTimeout: If it has not ended by then.
        """
        words = f"Session {self.id} on {self.target} is open: close it, or wait for more than"
        self._run(self._poll, timeout, lambda late: PoolTimeout(f"{words} {late:g} s."))
        return self

    def close(self) -> SessionHandle:
        """Closes the session to new jobs, while those in it still run; returns the handle itself.

        If it is the one that the pool keeps for its target, the next job goes in another.
        """
        close = self._pool._lifecycle.close_by_hand
        self._item = self._pool._portal.run(close, self.id, self._workspace)
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
            status: A status of the service, or `queued`, `running`, `done` or `finished`.
            name: Name prefix.
            max_age: Seconds since submission.
            limit: Maximum number of jobs.
        """
        now = self._pool._clock.time()
        where = ItemFilter.of(now, None, status, name, max_age, limit)

        async def collect() -> list[Job]:
            return [job async for job in self._workspace.list_jobs(where, session_id=self.id)]

        jobs = self._pool._portal.run(collect)
        return Listing(JobHandle(job, self._workspace, self._pool) for job in jobs)

    async def _poll(self) -> None:
        clock, polls = self._pool._clock, 0
        while self.is_open:
            wait_for(self.id, (self._workspace, self.target))
            if polls:
                await clock.sleep(backoff(polls, max_delay=_MAX_DELAY))
            polls += 1
            get = partial(self._workspace.get_session, self.id)
            self._item = await retry(clock, get, retry_for(RETRY_TIMEOUT))

    def _repr_html_(self) -> str:
        return session_card(self._item)


class JobHandle(_Handle[Job]):
    """A job of a workspace, whether this package submitted it or not.

    Attributes show what the service reported last; `refresh` asks again. Every method may raise
    `ServiceError`, and `PoolClosed` once the pool is closed.

    Attributes:
        id: The job's id on the service.
        session_id: The id of its session; None if it is in none.
        target: The target that it runs on.
        name: Its name on the service.
        tags: Its tags on the service.
        status: Its status, such as `JobStatus.EXECUTING`.
        is_final: Whether it has finished, successfully or not.
        creation_time: When it was submitted, in seconds since the Unix epoch.
        begin_time: When it began to run, likewise; None if it has not.
        end_time: When it finished, likewise.
        cost: What the service says it costs; None if it does not say, or not yet.
        error_code: The service's error code, such as `InvalidInputData`; empty if there is none.
        error_message: The service's error message.
        azure_job: The SDK's own `azure.quantum.Job`; None for a local target.
    """

    session_id: str | None = _reported("session_id")
    tags: tuple[str, ...] = _reported("tags")
    status: JobStatus = _reported("status")
    is_final: bool = _reported("is_final")
    begin_time: float | None = _reported("begin_time")
    error_code: str = _reported("error_code")
    error_message: str = _reported("error_message")
    azure_job: Any = _reported("handle")

    def refresh(self) -> JobHandle:
        """Asks the service for the job's state; returns the handle itself."""
        self._item = self._pool._portal.run(self._workspace.get_job, self.id)
        return self

    def wait(self, timeout: float | None = None) -> JobHandle:
        """Waits until the job has finished, successfully or not; returns the handle itself.

        Args:
            timeout: Seconds to wait; None for no limit.

        Raises:
            JobTimeout: If it has not finished by then; it continues to run.
            JobError: If the service does not know the job any more.
        """
        self._run(self._finish, timeout, partial(not_finished, self.id))
        return self

    def cancel(self) -> JobHandle:
        """Asks the service to cancel the job, which may take a while; returns the handle itself."""
        self._item = self._pool._portal.run(self._workspace.cancel_job, self.id)
        return self

    @checked()
    def update(
        self,
        *,
        name: str | None = None,
        tags: Sequence[str] | None = None,
        priority: str | None = None,
    ) -> JobHandle:
        """Changes the job's name, priority or tags, if given; returns the handle itself."""
        self._item = self._pool._portal.run(
            self._workspace.update_job, self.id, name=name, tags=tags, priority=priority
        )
        return self

    def delete(self) -> None:
        """Deletes the job and its result from the service, after cancelling it if it still runs."""
        self._pool._portal.run(self._workspace.delete_job, self.id)

    def attachments(self) -> Sequence[Any]:
        """The attachments in the job's container, as in the SDK; none for a local target."""
        if self.azure_job is None:
            return []
        from cirq_azure_sessions.workspaces.azure.programs import list_attachments

        return list_attachments(self.azure_job)

    def results(self, timeout: float | None = None) -> Sequence[Any]:
        """The results of the job's points, usually one, once it has finished.

        The circuit is not needed: the layout of the result is in the job's metadata. A job that
        this package did not submit has one result, that of the SDK's `azure_job.get_results()`:
        often a histogram by outcome. `azure_job` also has its counts and shots, if its format does.

        Args:
            timeout: Seconds to wait; None for no limit.

        Raises:
            JobError: If the job failed or was cancelled, or its result is gone.
            JobTimeout: If it has not finished by then.
            ResultFormatError: If the result is not what the layout promises.
        """
        output = self._run(self._fetch, timeout, partial(not_finished, self.id))
        # Imported here: local targets do not load the SDK, and lists of jobs do not load Cirq.
        from cirq_azure_sessions.formats.layout import has_layout

        if self.azure_job is None or has_layout(self._item.metadata):
            return results_of(self._item, output)
        from cirq_azure_sessions.workspaces.azure.documents import sdk_results

        return [sdk_results(self.azure_job, output)]

    def result(self, timeout: float | None = None) -> Any:
        """The result of a job of one point: a `cirq.Result`, or that of the SDK's job.

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
        await self._pool._hosts.note_end(self._item)

    async def _fetch(self) -> Any:
        try:
            await self._finish()
            check_succeeded(self._item)
            fetch = partial(self._workspace.fetch_output, self._item)
            return await retry(self._pool._clock, fetch, retry_for(RETRY_TIMEOUT))
        except ServiceError as error:
            raise result_unavailable(self._item, error) from error

    def _repr_html_(self) -> str:
        return job_card(self._item)
