"""The items of a workspace, sessions and jobs, as their lists need them: documents and fields."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, cast

from cirq_azure_sessions.emulator.api_version import ApiVersion
from cirq_azure_sessions.emulator.storage import Storage
from cirq_azure_sessions.emulator.wire import (
    JobView,
    NotedSessionRequest,
    job_document,
    session_document,
    update_document,
)
from cirq_azure_sessions.emulator.workspace import EmulatedWorkspace
from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.model import Job, Session

__all__ = ["Items"]


class Items:
    """Knows of each session and job what answers and filters show.

    While a filter looks at many, others have their turns, and may delete what it has found: then a
    list goes without.

    Args:
        workspace: Holds the sessions and jobs.
        storage: Signs the addresses of blobs.
    """

    def __init__(self, workspace: EmulatedWorkspace, storage: Storage) -> None:
        self._workspace = workspace
        self._storage = storage
        self._documents: dict[type, Callable[[Any, ApiVersion], Mapping[str, Any]]] = {
            Session: self.session,
            Job: self._listed_job,
        }
        self._providers: dict[type, Callable[[str], str]] = {
            Session: lambda session_id: self._request(session_id).provider,
            Job: self._job_provider,
        }

    def session(self, session: Session, version: ApiVersion) -> Mapping[str, Any]:
        """A session's document."""
        return session_document(session, self._request(session.id), version)

    def job(self, job: Job, view: JobView, version: ApiVersion) -> Mapping[str, Any]:
        """A job's document in this kind of answer."""
        details = self._workspace.job_details(job.id)
        return job_document(job, details, self._storage, view, version)

    def update(self, job: Job) -> Mapping[str, Any]:
        """What a job's update answers."""
        return update_document(job, self._workspace.job_details(job.id).request)

    def listed(
        self, items: Iterable[Session | Job], version: ApiVersion
    ) -> list[Mapping[str, Any]]:
        """The documents of sessions and jobs in a list, of those that are still there."""
        documents = []
        for item in items:
            with suppress(ServiceError):
                documents.append(self._documents[type(item)](item, version))
        return documents

    def field(self, item: Session | Job, name: str) -> Any:
        """What a filter calls `name`; see `query.FIELDS`."""
        if name != "ProviderId":
            return _FIELDS[name](item)
        with suppress(ServiceError):
            return self._providers[type(item)](item.id)
        return ""

    def _request(self, session_id: str) -> NotedSessionRequest:
        # The emulator opens all sessions of its workspace, with requests of this kind.
        return cast(NotedSessionRequest, self._workspace.session_request(session_id))

    def _listed_job(self, job: Job, version: ApiVersion) -> Mapping[str, Any]:
        return self.job(job, JobView.LIST, version)

    def _job_provider(self, job_id: str) -> str:
        provider: str = self._workspace.job_details(job_id).request.payload.provider
        return provider


_FIELDS: dict[str, Callable[[Session | Job], Any]] = {
    "Name": lambda item: item.name,
    # Azure's names of the two kinds are those of their classes.
    "ItemType": lambda item: type(item).__name__,
    "JobType": lambda item: "QuantumComputing" if isinstance(item, Job) else "",
    "Target": lambda item: item.target,
    "State": lambda item: item.status,
    "CreationTime": lambda item: item.creation_time,
}
