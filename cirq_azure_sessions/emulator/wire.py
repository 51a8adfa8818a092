"""Sessions and jobs as JSON documents, field by field as recorded.

The service formats times inconsistently, and so do the documents: a session's times end in `Z`; a
job's `creationTime` and `lastModifiedTime` end in `+00:00` in responses to PUT and GET and in `Z`
in lists; `beginExecutionTime` and `endExecutionTime` have the provider's format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias
from urllib.parse import quote_plus

from cirq_azure_sessions.emulator.program_runner import StoredProgram, result_blob
from cirq_azure_sessions.emulator.responses import ApiVersion
from cirq_azure_sessions.emulator.storage import Storage
from cirq_azure_sessions.emulator.workspace import EmulatedWorkspace, JobDetails
from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.model import Cost, Job, JobStatus, Session

__all__ = ["Documents"]

_ZULU = "Z"
_OFFSET = "+00:00"

# IonQ and the test provider report times in milliseconds.
_MILLISECOND_PROVIDERS = ("ionq", "microsoft.test.firstparty", "microsoft.test")


# The kinds of responses that contain a job.
_View: TypeAlias = Literal["put", "get", "list"]


@dataclass(frozen=True, slots=True)
class Documents:
    """The sessions and jobs of a workspace as documents, and their fields for filters.

    A full history drops a job whenever another one finishes; a list then omits it.
    """

    workspace: EmulatedWorkspace
    # It signs the addresses of blobs.
    storage: Storage
    version: ApiVersion

    def session(self, session: Session) -> dict[str, Any]:
        """A session, which is the same in every response."""
        request = self.workspace.session_request(session.id)
        return {
            "status": session.status.value,
            "jobFailurePolicy": session.job_failure_policy.value,
            **_priorities(request.priority, self.version),
            **({"tags": list(request.tags)} if self.version.is_of_2026 else {}),
            "name": session.name,
            "id": session.id,
            "providerId": request.provider,
            "target": session.target,
            "creationTime": _format_time(session.creation_time, _ZULU),
            "endExecutionTime": _format_time(session.end_time, _ZULU),
            "costEstimate": _cost_document(session.cost),
            "itemType": "Session",
        }

    def job(self, job: Job, view: _View) -> dict[str, Any]:
        """A job, as it appears in this kind of response."""
        details = self.workspace.job_details(job.id)
        request, program = details.request, details.request.payload
        container_uri, input_uri, output_uri = self._uris(job, program, view)
        zone = _ZULU if view == "list" else _OFFSET
        cancelled = job.end_time if job.status is JobStatus.CANCELLED else None
        return {
            "containerUri": container_uri,
            "inputDataUri": input_uri,
            "inputDataFormat": request.input_format,
            "inputParams": request.input_params,
            "metadata": request.metadata or None,
            "sessionId": job.session_id,
            **_priorities(request.priority, self.version),
            "status": job.status.value,
            "jobType": "QuantumComputing",
            "outputDataFormat": request.output_format,
            "outputDataUri": output_uri,
            "beginExecutionTime": _execution_time(job.begin_time, program.provider, zone),
            "cancellationTime": _format_time(cancelled, zone),
            **_modification(details.last_modified_time, zone, self.version),
            "quantumComputingData": _quantum_computing_data(details, view),
            "errorData": _error_document(job),
            "isCancelling": job.status in (JobStatus.CANCELLATION_REQUESTED, JobStatus.CANCELLING),
            "tags": list(job.tags),
            "name": job.name,
            "id": job.id,
            "providerId": program.provider,
            "target": job.target,
            "creationTime": _format_time(job.creation_time, zone),
            "endExecutionTime": _execution_time(job.end_time, program.provider, zone),
            "costEstimate": _cost_document(job.cost),
            "itemType": "Job",
        }

    def update(self, job: Job) -> Mapping[str, Any]:
        """The updatable fields of a job (Azure's API specification, `JobUpdateResponse`)."""
        priority = self.workspace.job_details(job.id).request.priority or "Standard"
        return {"id": job.id, "name": job.name, "priority": priority, "tags": list(job.tags)}

    def listed(self, items: Iterable[Session | Job]) -> list[dict[str, Any]]:
        """The documents of sessions and jobs in a list, omitting dropped ones."""
        documents = []
        for item in items:
            with suppress(ServiceError):
                if isinstance(item, Job):
                    documents.append(self.job(item, "list"))
                else:
                    documents.append(self.session(item))
        return documents

    def field(self, item: Session | Job, name: str) -> Any:
        """The field that a filter calls `name`; see `query.FIELDS`."""
        if name != "ProviderId":
            return _FIELDS[name](item)
        with suppress(ServiceError):
            if isinstance(item, Session):
                return self.workspace.session_request(item.id).provider
            return self.workspace.job_details(item.id).request.payload.provider
        return ""

    def _uris(self, job: Job, program: StoredProgram, view: _View) -> tuple[str, str, str]:
        """The addresses of a job's container, program and result."""
        container, blob, storage = program.container, _output_blob(job), self.storage
        if container is None or program.blob is None:
            return program.container_uri, program.input_uri, f"{program.container_uri}/{blob}"
        if view == "get":
            return (
                storage.sas_uri(container, "", "rl" if self.version.is_of_2025 else "rcwl"),
                storage.sas_uri(container, program.blob, "r", _filename(job, "input")),
                storage.sas_uri(container, blob, "r", _filename(job, "output")),
            )
        output = _with_port(storage.uri(container, blob))
        if self.version.is_of_2025:
            return program.container_uri, program.input_uri, output
        # The generation of 2024 signed addresses in every response; PUT returned those sent.
        signed_container = storage.sas_uri(container)
        if view == "put":
            sas = signed_container.partition("?")[2]
            return signed_container, program.input_uri, f"{output}?{sas}"
        return (
            signed_container,
            storage.sas_uri(container, program.blob, "rcw"),
            storage.sas_uri(container, blob, "rcw"),
        )


def _output_blob(job: Job) -> str:
    """The blob that `outputDataUri` names: the result, once there is one.

    A provider's own format is in `rawOutputData`, while the job finishes and after a failure too;
    `outputData` stands for what is still to come, for what the service translates, and for what it
    failed to translate.
    """
    has_run = job.is_final or job.status is JobStatus.FINISHING
    never_ran = not has_run or job.status is JobStatus.CANCELLED
    if never_ran or job.error_code == "CannotTranslateOutputData":
        return "outputData"
    return result_blob(job.output_format)


def _format_time(seconds: float | None, zone: str) -> str | None:
    """A time as .NET formats it: no trailing zeros in the fraction, and no empty fraction."""
    if seconds is None:
        return None
    text = datetime.fromtimestamp(seconds, UTC).isoformat().removesuffix(_OFFSET)
    return (text.rstrip("0") if "." in text else text) + zone


def _execution_time(seconds: float | None, provider: str, zone: str) -> str | None:
    if seconds is None:
        return None
    if provider in _MILLISECOND_PROVIDERS:
        return _format_time(round(seconds, 3), _ZULU)
    return _format_time(seconds, zone if provider in ("quantinuum", "pasqal") else _ZULU)


def _filename(job: Job, kind: str) -> str:
    return f"{quote_plus(job.name)}-{job.id}.{kind}.json"


def _with_port(uri: str) -> str:
    """The address with an explicit port, as in the service's `outputDataUri`."""
    scheme, _, rest = uri.partition("://")
    host, _, path = rest.partition("/")
    if host.rpartition(":")[2].isdigit():
        return uri
    return f"{scheme}://{host}:{443 if scheme == 'https' else 80}/{path}"


def _priorities(priority: str | None, version: ApiVersion) -> dict[str, Any]:
    document = {"jobPriority": "Basic"} if version.is_of_2025 else {}
    return document | ({"priority": priority or "Standard"} if version.is_of_2026 else {})


def _modification(time: float, zone: str, version: ApiVersion) -> dict[str, Any]:
    modified = _format_time(time, zone)
    document = {"lastModifiedTime": modified} if version.is_of_2025 else {}
    return document | ({"lastUpdatedTime": modified, "usage": None} if version.is_of_2026 else {})


def _quantum_computing_data(details: JobDetails, view: _View) -> dict[str, int] | None:
    """How many programs a job has, once it has reached the provider: its `items`, or one.

    It is in no recorded response to PUT.
    """
    if view == "put" or not details.was_handed_over:
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


_FIELDS: dict[str, Callable[[Session | Job], Any]] = {
    "Name": lambda item: item.name,
    # Azure's names for the two kinds match the class names.
    "ItemType": lambda item: type(item).__name__,
    "JobType": lambda item: "QuantumComputing" if isinstance(item, Job) else "",
    "Target": lambda item: item.target,
    "State": lambda item: item.status,
    "CreationTime": lambda item: item.creation_time,
}
