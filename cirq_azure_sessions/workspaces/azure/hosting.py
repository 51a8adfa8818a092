"""Hosting of the SDK's backends and targets, whose jobs then run in a pool's sessions.

Every framework of the SDK calls `Workspace.submit_job`, with the id of any session opened on the
backend or target. So hosting a backend copies it, and gives the copy a copy of its workspace in
which that method uses the pool.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

from azure.core.exceptions import AzureError, HttpResponseError, ServiceResponseError
from azure.quantum import Workspace
from azure.quantum.job import Job as AzureJob
from azure.quantum.job import JobDetails
from azure.quantum.job import Session as AzureSession
from azure.quantum.job.session import SessionHost

from cirq_azure_sessions import upstream
from cirq_azure_sessions.errors import SessionNotAvailable, UnsupportedTarget
from cirq_azure_sessions.model import Job, JobStatus, SessionStatus
from cirq_azure_sessions.options import shown
from cirq_azure_sessions.workspaces.azure.documents import (
    read_job,
    read_session,
    says_session_has_ended,
)
from cirq_azure_sessions.workspaces.azure.workspace import AzureWorkspace
from cirq_azure_sessions.workspaces.base import WorkspacePort

__all__ = ["host"]

T = TypeVar("T")

_AZURE = ".quantum.azure.com"


def host(backend: T, workspace: WorkspacePort | None, jobs: Any) -> T:
    """A copy of a backend or target whose jobs go through `jobs`; the original is unchanged.

    Args:
        backend: A Qiskit backend of `AzureQuantumProvider`, or a target of `azure.quantum` or
            `azure.quantum.cirq`; also one that is already hosted.
        workspace: The pool's workspace, which must be that of the backend.
        jobs: The pool's `HostedJobs`.

    Raises:
        TypeError: If it is something else.
        UnsupportedTarget: If it belongs to another workspace.
    """
    # The SDK's protocol does not support isinstance.
    if SessionHost not in type(backend).__mro__:
        raise TypeError(
            "host takes a Qiskit backend of an AzureQuantumProvider or a target of azure.quantum, "
            f"not {shown(backend)}."
        )
    theirs, target = upstream.session_host(backend)
    ours = workspace._workspace if isinstance(workspace, AzureWorkspace) else None
    if ours is None or _address(theirs) != _address(ours):
        raise UnsupportedTarget(
            f"{target} is a target of the workspace {theirs.name!r}, which "
            "is not the pool's: take it from the azure.quantum.Workspace that the pool was made "
            "with."
        )
    is_hosted = isinstance(theirs, _HostedWorkspace) and theirs._jobs is jobs
    hosted = theirs if is_hosted else _hosted(theirs, jobs)
    own_session = getattr(backend, "latest_session", None)
    if own_session is not None and own_session.is_in_terminal_state():
        # The SDK continues to submit with its id.
        hosted._closed.add(own_session.id)
    return upstream.copy_with_workspace(backend, theirs, hosted)


def _says_session_has_ended(error: HttpResponseError) -> bool:
    return says_session_has_ended(getattr(error.error, "code", ""), str(error))


def _address(workspace: Workspace) -> tuple[str, ...]:
    """The identity of a workspace: its resource and its service."""
    service = urlsplit(upstream.service_config(workspace).endpoint).netloc.lower()
    # Azure serves a workspace at several addresses: its region's and its own.
    service = _AZURE if service.endswith(_AZURE) else service
    resource = workspace.subscription_id, workspace.resource_group, workspace.name
    return service, *(part.lower() for part in resource)


class _HostedWorkspace(Workspace):  # type: ignore[misc]
    """A copy of a `Workspace` that submits jobs without a session of their own through a pool.

    It shares the client of the original until the SDK changes the user agent; then it gets its own,
    and the original is not affected.
    """

    _jobs: Any
    # The ids of sessions known to have been opened and closed by hand.
    _closed: set[str]

    def submit_job(self, job: AzureJob) -> AzureJob:
        own_session_id = job.details.session_id
        if own_session_id is not None and own_session_id not in self._closed:
            try:
                return super().submit_job(job)
            except HttpResponseError as error:
                if not (_says_session_has_ended(error) and self._was_closed(own_session_id)):
                    raise
        send = functools.partial(self._submit_in_session, super().submit_job, job)
        try:
            submitted: AzureJob = self._jobs.submit(job.details.target, send).handle
        except BaseException as error:
            if not isinstance(error, Exception):
                error.add_note(
                    f"Job {job.id} on {job.details.target} may have been submitted: "
                    f"check with workspace.get_job({job.id!r})."
                )
            raise
        return submitted

    def _submit_in_session(
        self, submit: Callable[[AzureJob], AzureJob], job: AzureJob, session_id: str
    ) -> Job:
        """Submits a job in this session, without changing the job."""
        details = JobDetails({**job.details, "sessionId": session_id})
        try:
            return self._read(submit(AzureJob(self, details)))
        except HttpResponseError as error:
            if _says_session_has_ended(error):
                raise SessionNotAvailable(
                    f"Session {session_id} has ended: submit the job again.", session_id=session_id
                ) from error
            if (error.status_code or 500) < 500 or not (accepted := self._find(job.id)):
                raise
            return accepted
        except ServiceResponseError:
            if not (accepted := self._find(job.id)):
                raise
            return accepted

    def _find(self, job_id: str) -> Job | None:
        """The job of an ambiguous submission, if it arrived."""
        with suppress(AzureError):
            return self._read(super().get_job(job_id))
        return None

    def _was_closed(self, session_id: str) -> bool:
        """Whether a session that has ended was closed by hand, perhaps through the original."""
        session = read_session(self, self.get_session(session_id).details.as_dict())
        if session.status is SessionStatus.TIMED_OUT or session.failed_under_abort:
            return False
        self._closed.add(session_id)
        return True

    def get_job(self, job_id: str) -> AzureJob:
        return self._seen(super().get_job(job_id))

    def cancel_job(self, job: AzureJob) -> AzureJob:
        return self._seen(super().cancel_job(job))

    def delete_job(self, job: AzureJob) -> None:
        super().delete_job(job)
        # Ends any wait for it.
        self._jobs.saw(replace(self._read(job), status=JobStatus.CANCELLED))

    def close_session(self, session: AzureSession) -> None:
        super().close_session(session)
        # It stays `latest_session` of its backend or target, whose jobs go to the pool again.
        self._closed.add(session.id)

    def _seen(self, job: AzureJob) -> AzureJob:
        if job.has_completed():
            self._jobs.saw(self._read(job))
        return job

    def _read(self, job: AzureJob) -> Job:
        return replace(read_job(self, job.details.as_dict()), handle=job)

    def __reduce__(self) -> tuple[Any, ...]:
        # Its class is made at run time, so pickle cannot find it by name.
        return _new, (type(self).__bases__[1],), vars(self)


def _hosted(workspace: Workspace, jobs: Any) -> _HostedWorkspace:
    is_hosted = isinstance(workspace, _HostedWorkspace)
    hosted = _new(type(workspace).__bases__[1] if is_hosted else type(workspace))
    hosted.__dict__.update(workspace.__dict__)
    hosted._jobs, hosted._closed = jobs, set()
    upstream.separate_user_agent(hosted)
    return hosted


def _new(kind: Any) -> _HostedWorkspace:
    """A blank hosted workspace that also is an instance of `kind`, with its methods."""
    hosted_class = _class_for(kind)
    return hosted_class.__new__(hosted_class)


@functools.cache
def _class_for(kind: Any) -> type[_HostedWorkspace]:
    return type(kind.__name__, (_HostedWorkspace, kind), {"__doc__": kind.__doc__})
