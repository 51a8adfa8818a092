"""A job on the service, in the hands of a user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cirq_azure_sessions.clock import within
from cirq_azure_sessions.errors import (
    ResultFormatError,
    ServiceError,
    check_succeeded,
    not_over,
    out_of_reach,
)
from cirq_azure_sessions.model import Job, JobStatus
from cirq_azure_sessions.patience import insist
from cirq_azure_sessions.pooled.item import PooledItem
from cirq_azure_sessions.results.azure_result import AzureResult
from cirq_azure_sessions.results.html import moment, table

__all__ = ["PooledJob"]


class PooledJob(PooledItem[Job]):
    """A job of a workspace, whoever submitted it.

    What it tells is what the service told last; `refresh` asks again. Every method may raise
    `ServiceError`, and `PoolClosed` once the pool is closed.
    """

    @property
    def session_id(self) -> str | None:
        """The session that it is in; None if it is in none."""
        return self._item.session_id

    @property
    def status(self) -> JobStatus:
        """The status that the service last told, such as `JobStatus.EXECUTING`."""
        return self._item.status

    @property
    def is_final(self) -> bool:
        """Whether the job is over."""
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
        """The service's code of a failure, such as `InvalidInputData`; empty if there is none."""
        return self._item.error_code

    @property
    def error_message(self) -> str:
        """The service's words for a failure."""
        return self._item.error_message

    @property
    def azure_job(self) -> Any:
        """The SDK's own `azure.quantum.Job`; None for a local target."""
        return self._item.handle

    def refresh(self) -> PooledJob:
        """Asks the service how the job stands; returns the job itself."""
        self._item = self._pool.loop.run(self._workspace.get_job(self.id))
        return self

    def wait(self, timeout: float | None = None) -> PooledJob:
        """Waits until the job is over, well or not; returns the job itself.

        Raises:
            JobTimeout: If it is not over after `timeout` seconds.
            JobError: If the service does not know the job any more.
        """
        try:
            self._pool.loop.run(within(self._pool.clock, timeout, self._watch()))
        except TimeoutError:
            raise not_over(self.id, timeout or 0.0) from None
        return self

    def cancel(self) -> PooledJob:
        """Asks the service to cancel the job, which may take a while; returns the job itself."""
        self._item = self._pool.loop.run(self._workspace.cancel_job(self.id))
        return self

    def results(self, timeout: float | None = None) -> Sequence[AzureResult]:
        """The results of the job's points, mostly one, once it is over.

        The circuit is not needed: what a result means is written in the job's metadata.

        Raises:
            JobError: If the job failed or was cancelled, or its result is gone.
            JobTimeout: If it is not over after `timeout` seconds.
            ResultFormatError: If the job was not submitted by this package.
        """
        # Imported here so that looking at sessions does not load what translates circuits.
        from cirq_azure_sessions.formats import results_of

        try:
            output = self._pool.loop.run(within(self._pool.clock, timeout, self._bring_home()))
        except TimeoutError:
            raise not_over(self.id, timeout or 0.0) from None
        return results_of(self._item, output)

    def result(self, timeout: float | None = None) -> AzureResult:
        """The result of a job of one point.

        Raises:
            JobError, JobTimeout: As `results` does.
            ResultFormatError: Likewise, and if the job is one of several points.
        """
        results = self.results(timeout)
        if len(results) != 1:
            raise ResultFormatError(
                f"Job {self.id} is a sweep of {len(results)} points: read them with results()."
            )
        return results[0]

    async def _watch(self) -> None:
        self._item = await self._pool.watch(self._item, self._workspace)

    async def _bring_home(self) -> Any:
        try:
            await self._watch()
            check_succeeded(self._item)
            return await insist(self._pool.clock, lambda: self._workspace.fetch_output(self._item))
        except ServiceError as error:
            raise out_of_reach(self._item, error) from error

    def _repr_html_(self) -> str:
        rows = {
            "id": self.id,
            "name": self.name,
            "status": self.status.value,
            "session": self.session_id,
            "submitted": moment(self.creation_time),
            "began": moment(self.begin_time),
            "ended": moment(self.end_time),
            "error": ": ".join(filter(None, (self.error_code, self.error_message))) or None,
            "cost": self.cost and f"{self.cost.total:g} {self.cost.currency}",
        }
        return table(f"Job on {self.target}", [], [row for row in rows.items() if row[1]])
