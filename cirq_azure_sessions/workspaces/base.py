"""The port: what a workspace can do for a pool and its jobs.

`LocalWorkspace` and `AzureWorkspace` implement it; `tests/workspaces/test_contract.py` holds both
to the same rules. A verb is one exchange with the service, or a few, and does not know why it is
called. The caller makes the ids, so that it can look an item up after a lost response.

Every verb may raise `ServiceError`; its docstring lists other errors. An implementation may retry
requests that are safe to repeat. Unless all requests are throttled, it leaves 429 responses to
`submit_job` to the caller, which knows how many jobs are in flight.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any, Protocol

from cirq_azure_sessions.model import Job, JobRequest, Quota, Session, SessionRequest, TargetStatus
from cirq_azure_sessions.workspaces.filters import ANY, ItemFilter

__all__ = ["JOBS_PER_PAGE", "WorkspacePort"]

# The service returns up to 100 items per page of a list (recorded).
JOBS_PER_PAGE = 100


class WorkspacePort(Protocol):
    """The interface of a workspace. All verbs are called on the background loop."""

    @property
    def identity(self) -> str | None:
        """An identifier that is stable across runs; None if the workspace ends with its process."""

    @property
    def announces_ends(self) -> bool:
        """Whether a verb with `wait` returns as soon as a job finishes, without polling."""

    def takes(self, target: str) -> bool:
        """Whether it accepts jobs for this target, as far as is known without a request."""

    async def open_session(self, request: SessionRequest) -> Session:
        """Opens a session under the id in the request. Repeating it is harmless.

        `UnsupportedTarget` if the workspace has no such target.
        """

    async def get_session(self, session_id: str) -> Session:
        """The session in its current state. `ServiceError.is_missing` if there is none."""

    async def close_session(self, session_id: str) -> Session:
        """Closes the session to new jobs; those in it still run. Repeating it is harmless."""

    def list_sessions(self, where: ItemFilter = ANY) -> AsyncIterator[Session]:
        """The sessions that match, newest first, page by page as they are consumed."""

    async def store_input(self, request: JobRequest) -> Any:
        """Uploads the job's input for the service. Needs no session; repeatable.

        The return value is for `submit_job` and `fetch_output`, and may contain secrets.
        """

    async def submit_job(self, request: JobRequest, stored: Any) -> Job:
        """Submits the job, in `request.session_id` if given.

        Raises:
            SessionNotAvailable: If the service refuses because the session has ended. The service
                does not know the job then, and it may be submitted again under the same id.
            ServiceError: With `is_ambiguous` if the job may have been accepted nevertheless, and
                with `is_throttled` if the service wants fewer jobs now.
        """

    async def get_job(self, job_id: str, *, wait: float = 0.0) -> Job:
        """The job, now or after a wait as in `list_session_jobs`; `is_missing` if there is none."""

    async def list_session_jobs(
        self,
        session_id: str,
        *,
        skip: int = 0,
        top: int = JOBS_PER_PAGE,
        wait: float = 0.0,
        until: Collection[str] = (),
    ) -> Sequence[Job]:
        """One page of the session's jobs, newest first, after the first `skip`.

        Args:
            wait: Seconds to wait first, on the workspace's clock.
            until: The ids of jobs to wait for. A workspace that announces ends returns as soon as
                one of them has finished, or at once if one has; others wait in full.
        """

    def list_jobs(
        self, where: ItemFilter = ANY, *, session_id: str | None = None
    ) -> AsyncIterator[Job]:
        """The matching jobs of a session, or of the whole workspace, as in `list_sessions`."""

    async def cancel_job(self, job_id: str) -> Job:
        """Asks the service to cancel the job. Harmless for a finished one."""

    async def update_job(
        self, job_id: str, *, name: str | None, tags: Sequence[str] | None, priority: str | None
    ) -> Job:
        """Changes the fields that are not None; tags replace the job's tags."""

    async def delete_job(self, job_id: str) -> None:
        """Deletes the job, which the service cancels first if it has not finished."""

    async def fetch_output(self, job: Job, stored: Any = None) -> Any:
        """The result of a job that `has_result`: bytes, or an object from a local target.

        The return value of `store_input` saves a request. `is_missing` if there is no result.
        """

    async def list_targets(self, *, retries: bool = True) -> Sequence[TargetStatus]:
        """The targets of the workspace, with availability and queue times.

        Without `retries` it sends one request, with no retry and no further pages.
        """

    async def list_quotas(self) -> Sequence[Quota]:
        """The quotas of the workspace."""

    async def aclose(self) -> None:
        """Closes connections. The workspace may be used again afterwards."""
