"""The service's JSON documents, read into values and written from them. Pure.

A reader raises `ValueError`, `TypeError`, `LookupError` or `AttributeError` for a document unlike
those recorded from the service; `HttpClient` turns that into a `ServiceError`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from azure.quantum import Workspace
from azure.quantum.job import Job as AzureJob
from azure.quantum.job import JobDetails, SessionDetails
from azure.quantum.job import Session as AzureSession

from cirq_azure_sessions.errors import redact
from cirq_azure_sessions.model import (
    Cost,
    Job,
    JobFailurePolicy,
    JobRequest,
    JobStatus,
    Quota,
    Session,
    SessionRequest,
    SessionStatus,
    TargetStatus,
)

__all__ = [
    "is_blob_url",
    "job_document",
    "read_job",
    "read_page",
    "read_quota",
    "read_session",
    "read_targets",
    "read_time",
    "session_document",
    "without_secrets",
]

T = TypeVar("T")

_URL_QUERY = re.compile(r"(https?://[^\s?\"'<>]*)\?[^\s\"'<>]*")
# A host, which may be an address of IPv6, with no user name; and a path.
_BLOB_URL = re.compile(
    r"https?://(?:[\w.-]+|\[[\da-f:.]+\])(?::\d+)?/+[^\s/?#]\S*", re.ASCII | re.I
)
_MAX_MESSAGE_LENGTH = 500


def read_session(workspace: Workspace, document: Mapping[str, Any]) -> Session:
    """A session, with the SDK's own object for it as `handle`."""
    return Session(
        id=_text(document["id"]),
        target=_text(document["target"]),
        name=_text(document["name"]),
        status=SessionStatus(document["status"]),
        job_failure_policy=JobFailurePolicy(document.get("jobFailurePolicy") or "Abort"),
        creation_time=read_time(document.get("creationTime")),
        end_time=read_time(document.get("endExecutionTime")),
        cost=_read_cost(document.get("costEstimate")),
        handle=AzureSession(workspace, details=SessionDetails(document)),
    )


def read_job(workspace: Workspace, document: Mapping[str, Any]) -> Job:
    """A job, with the SDK's own object for it as `handle`."""
    error = document.get("errorData") or {}
    output_uri = (document.get("outputDataUri") or "").partition("?")[0]
    return Job(
        id=_text(document["id"]),
        target=_text(document["target"]),
        name=_text(document["name"]),
        status=JobStatus(document["status"]),
        session_id=document.get("sessionId"),
        output_format=document.get("outputDataFormat") or "",
        output_uri=output_uri if is_blob_url(output_uri) else None,
        input_params=document.get("inputParams") or {},
        metadata=document.get("metadata") or {},
        tags=tuple(document.get("tags") or ()),
        creation_time=read_time(document.get("creationTime")),
        begin_time=read_time(document.get("beginExecutionTime")),
        end_time=read_time(document.get("endExecutionTime")),
        error_code=without_secrets(error["code"]) if error.get("code") else "",
        error_message=without_secrets(error["message"]) if error.get("message") else "",
        cost=_read_cost(document.get("costEstimate")),
        handle=_JobHandle(workspace, document),
    )


def read_targets(provider: Mapping[str, Any]) -> Sequence[TargetStatus]:
    """The targets of one provider."""
    return [
        TargetStatus(
            id=_text(target["id"]),
            provider=_text(provider["id"]),
            availability=target.get("currentAvailability") or "",
            average_queue_time=float(target.get("averageQueueTime") or 0),
            status_page=target.get("statusPage") or "",
        )
        for target in provider["targets"]
    ]


def read_quota(document: Mapping[str, Any]) -> Quota:
    """One quota."""
    period = document.get("period")
    return Quota(
        dimension=_text(document["dimension"]),
        scope=_text(document["scope"]),
        provider=_text(document["providerId"]),
        utilization=float(document["utilization"]),
        holds=float(document["holds"]),
        limit=float(document["limit"]),
        # The service has a word for none.
        period=None if period == "None" else period,
    )


def read_page(
    read_item: Callable[[Any], T], document: Mapping[str, Any]
) -> tuple[Sequence[T], Mapping[str, str] | None]:
    """The items of one page of a list, and the query of the next page, or None after the last.

    Of the next page's address only the query is used: a key goes to nobody but the endpoint.
    """
    items = [read_item(item) for item in document["value"]]
    if not document.get("nextLink"):
        return items, None
    query = dict(parse_qsl(urlsplit(document["nextLink"]).query))
    query.pop("api-version", None)
    return items, query


def session_document(request: SessionRequest, provider: str) -> dict[str, Any]:
    """What to send to open a session."""
    return {
        "itemType": "Session",
        "name": request.name,
        "providerId": provider,
        "target": request.target,
        "jobFailurePolicy": request.job_failure_policy.value,
    }


def job_document(
    request: JobRequest, provider: str, *, container_uri: str, input_uri: str
) -> dict[str, Any]:
    """What to send to submit a job: the fields that `azure.quantum.JobDetails` would send."""
    document: dict[str, Any] = {
        "itemType": "Job",
        "name": request.name,
        "containerUri": container_uri,
        "inputDataUri": input_uri,
        "inputDataFormat": request.input_format,
        "outputDataFormat": request.output_format,
        "inputParams": dict(request.input_params),
        "providerId": provider,
        "target": request.target,
    }
    optional = {
        "sessionId": request.session_id,
        "metadata": dict(request.metadata),
        "tags": list(request.tags),
        "priority": request.priority,
    }
    return document | {name: value for name, value in optional.items() if value}


def read_time(text: str | None) -> float | None:
    """Seconds since the Unix epoch of a time as the service writes it, or None for none.

    With `Z` or an offset, or neither, which means UTC; with 0 to 7 digits after the second.
    """
    if text is None:
        return None
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def without_secrets(text: str) -> str:
    """A message of the service, redacted, without the queries of URLs, cut to a fit length."""
    text = redact(_URL_QUERY.sub(r"\1", text))
    return text if len(text) <= _MAX_MESSAGE_LENGTH else f"{text[:_MAX_MESSAGE_LENGTH]}..."


def is_blob_url(url: str) -> bool:
    """Whether this is the address of something in a storage account."""
    return _BLOB_URL.fullmatch(url) is not None


def _read_cost(document: Mapping[str, Any] | None) -> Cost | None:
    if document is None:
        return None
    return Cost(
        total=float(document["estimatedTotal"]),
        currency=_text(document["currencyCode"]),
        events=tuple(document.get("events") or ()),
    )


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise TypeError(f"a string was expected, not {type(value).__name__}")


class _JobHandle:
    """A stand-in for the SDK's own job, which is made when an attribute is first read.

    Making one takes 0.1 ms, and each poll lists up to a hundred jobs of which few are read.
    """

    __slots__ = ("_document", "_job", "_workspace")

    def __init__(self, workspace: Workspace, document: Mapping[str, Any]) -> None:
        self._workspace = workspace
        self._document = document
        self._job: AzureJob | None = None

    # For isinstance. (typeshed has the attribute writable.)
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return AzureJob

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._made(), name)

    def __dir__(self) -> Iterator[str]:
        return iter(dir(self._made()))

    def __repr__(self) -> str:
        return repr(self._made())

    def _made(self) -> AzureJob:
        if self._job is None:
            self._job = AzureJob(self._workspace, JobDetails(self._document))
        return self._job
