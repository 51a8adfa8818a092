"""Sessions and jobs as JSON documents, field by field as recorded.

The service is not of one mind about times, and the documents follow it: a session's end in `Z`; a
job's `creationTime` and `lastModifiedTime` end in `+00:00` in answers to PUT and GET and in `Z` in
lists; `beginExecutionTime` and `endExecutionTime` are written as the provider writes them.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import quote_plus

from cirq_azure_sessions.emulator.api_version import ApiVersion
from cirq_azure_sessions.emulator.program_runner import StoredProgram, result_blob
from cirq_azure_sessions.emulator.storage import Storage
from cirq_azure_sessions.emulator.workspace import EmulatedWorkspace, JobDetails
from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.model import (
    Cost,
    Job,
    JobStatus,
    Session,
    SessionRequest,
)

__all__ = [
    "Items",
    "JobView",
    "NotedSessionRequest",
    "job_document",
    "output_blob",
    "session_document",
]

_ZULU = "Z"
_OFFSET = "+00:00"

# IonQ's and the test provider's clocks tick in milliseconds.
_MILLISECOND_PROVIDERS = ("ionq", "microsoft.test.firstparty", "microsoft.test")


class JobView(enum.Enum):
    """The kinds of answers that show a job."""

    PUT = "put"
    GET = "get"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class NotedSessionRequest(SessionRequest):
    """A session to open, with fields that only the service's answers use.

    Attributes:
        provider: The provider's id, in lower case as the service gives it back.
        priority: `Standard` or `High`, if that was said.
        tags: Words of the client's own.
    """

    provider: str = ""
    priority: str | None = None
    tags: tuple[str, ...] = ()


def session_document(
    session: Session, request: NotedSessionRequest, version: ApiVersion
) -> dict[str, Any]:
    """A session; it looks the same in every kind of answer."""
    return {
        "status": session.status.value,
        "jobFailurePolicy": session.job_failure_policy.value,
        **_priorities(request.priority, version),
        **({"tags": list(request.tags)} if version.has_priorities else {}),
        "name": session.name,
        "id": session.id,
        "providerId": request.provider,
        "target": session.target,
        "creationTime": format_time(session.creation_time, _ZULU),
        "endExecutionTime": format_time(session.end_time, _ZULU),
        "costEstimate": _cost_document(session.cost),
        "itemType": "Session",
    }


def job_document(
    job: Job, details: JobDetails, storage: Storage, view: JobView, version: ApiVersion
) -> dict[str, Any]:
    """A job as an answer of this kind shows it.

    Args:
        job: The job's state.
        details: What else is known of it; the payload of its request is a `StoredProgram`.
        storage: Signs the addresses of blobs.
        view: The kind of answer.
        version: The API version that the client speaks.
    """
    request = details.request
    program: StoredProgram = request.payload
    container_uri, input_uri, output_uri = _job_uris(job, program, storage, view, version)
    zone = _ZULU if view is JobView.LIST else _OFFSET
    return {
        "containerUri": container_uri,
        "inputDataUri": input_uri,
        "inputDataFormat": request.input_format,
        "inputParams": request.input_params,
        "metadata": request.metadata or None,
        "sessionId": job.session_id,
        **_priorities(request.priority, version),
        "status": job.status.value,
        "jobType": "QuantumComputing",
        "outputDataFormat": request.output_format,
        "outputDataUri": output_uri,
        "beginExecutionTime": _execution_time(job.begin_time, program.provider, zone),
        "cancellationTime": format_time(details.cancellation_time, zone),
        **_modification(details.last_modified_time, zone, version),
        "quantumComputingData": _quantum_computing_data(details, view),
        "errorData": _error_document(job),
        "isCancelling": job.status in (JobStatus.CANCELLATION_REQUESTED, JobStatus.CANCELLING),
        "tags": list(job.tags),
        "name": job.name,
        "id": job.id,
        "providerId": program.provider,
        "target": job.target,
        "creationTime": format_time(job.creation_time, zone),
        "endExecutionTime": _execution_time(job.end_time, program.provider, zone),
        "costEstimate": _cost_document(job.cost),
        "itemType": "Job",
    }


def output_blob(job: Job) -> str:
    """The blob that `outputDataUri` names: the result's, once there is one.

    A provider's own format is in `rawOutputData`, while the job finishes and after a failure too;
    `outputData` stands for what is still to come, for what the service translates, and for what it
    failed to translate.
    """
    has_run = job.is_final or job.status is JobStatus.FINISHING
    never_ran = not has_run or job.status is JobStatus.CANCELLED
    if never_ran or job.error_code == "CannotTranslateOutputData":
        return "outputData"
    return result_blob(job.output_format)


def format_time(seconds: float | None, zone: str) -> str | None:
    """A time as .NET writes it: no zeros at the end of the fraction, and no empty fraction."""
    if seconds is None:
        return None
    text = datetime.fromtimestamp(seconds, UTC).isoformat().removesuffix(_OFFSET)
    return (text.rstrip("0") if "." in text else text) + zone


def _execution_time(seconds: float | None, provider: str, zone: str) -> str | None:
    if seconds is None:
        return None
    if provider in _MILLISECOND_PROVIDERS:
        return format_time(round(seconds, 3), _ZULU)
    return format_time(seconds, zone if provider in ("quantinuum", "pasqal") else _ZULU)


def _job_uris(
    job: Job, program: StoredProgram, storage: Storage, view: JobView, version: ApiVersion
) -> tuple[str, str, str]:
    """The addresses of a job's container, program and result."""
    container, blob = program.container, output_blob(job)
    if container is None or program.blob is None:
        return program.container_uri, program.input_uri, f"{program.container_uri}/{blob}"
    if view is JobView.GET:
        return (
            storage.container_sas_uri(container, "rl" if version.has_bare_uris else "rcwl"),
            storage.blob_sas_uri(container, program.blob, "r", _filename(job, "input")),
            storage.blob_sas_uri(container, blob, "r", _filename(job, "output")),
        )
    if version.has_bare_uris:
        return (
            program.container_uri,
            program.input_uri,
            _with_port(storage.blob_uri(container, blob)),
        )
    # The generation of 2024 signed addresses in every answer; that to PUT gave back what was sent.
    signed_container = storage.container_sas_uri(container)
    if view is JobView.PUT:
        output = _with_port(storage.blob_uri(container, blob))
        sas = signed_container.partition("?")[2]
        return (signed_container, program.input_uri, f"{output}?{sas}")
    return (
        signed_container,
        storage.blob_sas_uri(container, program.blob, "rcw"),
        storage.blob_sas_uri(container, blob, "rcw"),
    )


def _filename(job: Job, kind: str) -> str:
    return f"{quote_plus(job.name)}-{job.id}.{kind}.json"


def _with_port(uri: str) -> str:
    """The address with its port written out, as the service gives `outputDataUri`."""
    scheme, _, rest = uri.partition("://")
    host, _, path = rest.partition("/")
    if host.rpartition(":")[2].isdigit():
        return uri
    return f"{scheme}://{host}:{443 if scheme == 'https' else 80}/{path}"


def _priorities(priority: str | None, version: ApiVersion) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if version.has_modification_times:
        document["jobPriority"] = "Basic"
    if version.has_priorities:
        document["priority"] = priority or "Standard"
    return document


def _modification(time: float, zone: str, version: ApiVersion) -> dict[str, Any]:
    modified = format_time(time, zone)
    document: dict[str, Any] = {}
    if version.has_modification_times:
        document["lastModifiedTime"] = modified
    if version.has_priorities:
        document |= {"lastUpdatedTime": modified, "usage": None}
    return document


def _quantum_computing_data(details: JobDetails, view: JobView) -> dict[str, int] | None:
    """How many programs a job holds, once it was handed to the provider: its `items`, or one.

    The answer to PUT never says, in any recording.
    """
    if view is JobView.PUT or not details.was_handed_over:
        return None
    items = details.request.input_params.get("items")
    return {"count": len(items) if isinstance(items, list) and items else 1}


def _error_document(job: Job) -> dict[str, str] | None:
    if not job.error_code:
        return None
    return {"code": job.error_code, "message": job.error_message}


def _cost_document(cost: Cost | None) -> Mapping[str, Any] | None:
    if cost is None:
        return None
    return {
        "currencyCode": cost.currency,
        "events": [dict(event) for event in cost.events],
        "estimatedTotal": cost.total,
    }


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

    def session(self, session: Session, version: ApiVersion) -> Mapping[str, Any]:
        """A session's document."""
        return session_document(session, self._request(session.id), version)

    def job(self, job: Job, view: JobView, version: ApiVersion) -> Mapping[str, Any]:
        """A job's document in this kind of answer."""
        details = self._workspace.job_details(job.id)
        return job_document(job, details, self._storage, view, version)

    def update(self, job: Job) -> Mapping[str, Any]:
        """The updatable fields of a job (Azure's API specification, `JobUpdateResponse`)."""
        priority = self._workspace.job_details(job.id).request.priority or "Standard"
        return {"id": job.id, "name": job.name, "priority": priority, "tags": list(job.tags)}

    def listed(
        self, items: Iterable[Session | Job], version: ApiVersion
    ) -> list[Mapping[str, Any]]:
        """The documents of sessions and jobs in a list, of those that are still there."""
        documents = []
        for item in items:
            with suppress(ServiceError):
                if isinstance(item, Job):
                    documents.append(self.job(item, JobView.LIST, version))
                else:
                    documents.append(self.session(item, version))
        return documents

    def field(self, item: Session | Job, name: str) -> Any:
        """What a filter calls `name`; see `query.FIELDS`."""
        if name != "ProviderId":
            return _FIELDS[name](item)
        with suppress(ServiceError):
            if isinstance(item, Session):
                return self._request(item.id).provider
            return self._workspace.job_details(item.id).request.payload.provider
        return ""

    def _request(self, session_id: str) -> NotedSessionRequest:
        # The emulator opens all sessions of its workspace, with requests of this kind.
        return cast(NotedSessionRequest, self._workspace.session_request(session_id))


_FIELDS: dict[str, Callable[[Session | Job], Any]] = {
    "Name": lambda item: item.name,
    # Azure's names of the two kinds are those of their classes.
    "ItemType": lambda item: type(item).__name__,
    "JobType": lambda item: "QuantumComputing" if isinstance(item, Job) else "",
    "Target": lambda item: item.target,
    "State": lambda item: item.status,
    "CreationTime": lambda item: item.creation_time,
}
