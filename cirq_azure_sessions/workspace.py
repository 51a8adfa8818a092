"""The port: what a workspace can do for a pool and its jobs.

`LocalWorkspace` and `AzureWorkspace` both are one; `tests/test_workspace_contract.py` holds them to
the same rules. A verb is one exchange with the service, or a few; none of them knows why it is
asked. Ids are made by the caller, so that a lost answer can be asked about.

Every verb may raise `ServiceError`; what else it may raise is said with it. An implementation may
retry within a verb what is safe to repeat, but it leaves 429 answers of `submit_job` to the caller,
who knows how many jobs are in flight.

All verbs run on the one event loop of the pool that holds the workspace.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from cirq_azure_sessions.model import (
    Job,
    JobRequest,
    Quota,
    Session,
    SessionRequest,
    TargetStatus,
)

__all__ = ["JOBS_PER_PAGE", "WorkspacePort"]

# The service shows up to 100 jobs in one page of a list (recorded).
JOBS_PER_PAGE = 100


class WorkspacePort(Protocol):
    """Where jobs go."""

    @property
    def identity(self) -> str | None:
        """What tells this workspace from any other, now and in later runs, such as a resource id.

        None for a workspace that ends with its process: there is nothing to come back to.
        """

    @property
    def announces_ends(self) -> bool:
        """Whether it is told of the ends of jobs, so that who waits for one hears of it at once."""

    def takes(self, target: str) -> bool:
        """Whether jobs for this target can go here, as far as it is known without a request."""

    async def open_session(self, request: SessionRequest) -> Session:
        """Opens a session under the id in the request. Repeating it is harmless.

        Raises:
            UnsupportedTarget: If the workspace has no such target.
        """

    async def get_session(self, session_id: str) -> Session:
        """The session as it stands now. `ServiceError.is_missing` if there is none."""

    async def close_session(self, session_id: str) -> Session:
        """Lets the session take no more jobs; those it has still run. Repeating it is harmless."""

    def list_sessions(self, *, target: str | None = None) -> AsyncIterator[Session]:
        """Sessions of the whole workspace, newest first, page by page as they are consumed."""

    async def store_input(self, request: JobRequest) -> Any:
        """Puts the job's input where the service will read it. Needs no session; repeatable.

        Returns:
            A value of the workspace's own to hand on to `submit_job` and `fetch_output`. It may
            hold secrets and is never printed.
        """

    async def submit_job(self, request: JobRequest, stored: Any) -> Job:
        """Submits the job, in `request.session_id` if given.

        Raises:
            SessionNotAvailable: If the service refuses because the session is over. The job is then
                not known to the service, and may be submitted again under the same id.
            ServiceError: With `is_ambiguous` if the job may have been accepted all the same, and
                with `is_throttled` if the service wants fewer jobs now.
        """

    async def get_job(self, job_id: str, *, wait: float = 0.0) -> Job:
        """The job as it stands now, or after waiting for its end as `list_session_jobs` does.

        Raises:
            ServiceError: With `is_missing` if there is no such job.
        """

    async def list_session_jobs(
        self, session_id: str, *, skip: int = 0, top: int = JOBS_PER_PAGE, wait: float = 0.0
    ) -> Sequence[Job]:
        """One page of the session's jobs, newest first.

        Args:
            session_id: The session.
            skip: How many of the newest to pass over.
            top: How many to show at most, up to `JOBS_PER_PAGE`.
            wait: Seconds that the caller is ready to wait first. A workspace that is told of
                changes answers as soon as there is one, any other waits them on its clock.
        """

    def list_jobs(self, *, session_id: str | None = None) -> AsyncIterator[Job]:
        """Jobs of the session, or of the whole workspace, newest first, page by page."""

    async def cancel_job(self, job_id: str) -> Job:
        """Asks the service to cancel the job. Harmless for one that is over."""

    async def fetch_output(self, job: Job, stored: Any = None) -> Any:
        """The result of a job that `has_result`: bytes, or an object from a local target.

        Args:
            job: The job, as last listed or got.
            stored: What `store_input` returned for it, if at hand: it spares a request.

        Raises:
            ServiceError: With `is_missing` if there is no result to fetch.
            ResultFormatError: If it is too large to be one.
        """

    async def list_targets(self) -> Sequence[TargetStatus]:
        """The targets of the workspace, with availability and queue times."""

    async def list_quotas(self) -> Sequence[Quota]:
        """The quotas of the workspace."""

    async def aclose(self) -> None:
        """Lets go of connections and threads. The workspace may be used again afterwards."""
