"""The service's JSON documents, read into values and written from them.

Only the essential fields are required: a status, and in lists an id. An invalid name, time or cost
counts as absent, so that it never costs a result; unreadable items of a list are skipped. Otherwise
a reader raises one of `UNREADABLE`, which `HttpClient` turns into a `ServiceError`.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from azure.quantum import Workspace
from azure.quantum.job import Job as AzureJob
from azure.quantum.job import JobDetails, SessionDetails
from azure.quantum.job import Session as AzureSession

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
from cirq_azure_sessions.redaction import printable, redact

__all__ = [
    "BLOB_URL",
    "UNREADABLE",
    "job_document",
    "max_output_bytes",
    "parse",
    "read_job",
    "read_page",
    "read_quota",
    "read_session",
    "read_targets",
    "read_time",
    "says_session_has_ended",
    "sdk_results",
    "session_document",
    "without_secrets",
]

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Like all patterns for texts of the service, it takes linear time: a match begins where one ended.
_URL_QUERY = re.compile(r"(https?://[^\s?\"'<>]*+)(?:\?[^\s\"'<>]*)?")
# A host, which may be an IPv6 address, without a user name; and a path.
BLOB_URL = re.compile(r"https?://(?:[\w.-]+|\[[\da-f:.]+\])(?::\d+)?/+[^\s/?#]\S*", re.ASCII | re.I)
_MAX_MESSAGE_LENGTH = 500

# JSON's strings, of which the last may be cut off, and brackets; the limits of Python's parser on
# nesting and on digits of an integer.
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]')
_MAX_DEPTH = 100
# Bytes; ten times a page of 100 jobs.
_MAX_REPAIRED = 4 * 2**20
_MAX_DIGITS = 4_000

# The end of the year 9999 in UTC, Python's last.
_MAX_TIME = datetime.max.replace(tzinfo=UTC).timestamp()

# The errors of readers for invalid documents. (JSON's integers are unbounded and may overflow.)
UNREADABLE = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    RecursionError,
)

# The maximum bytes of a result: fixed, per shot, and per bit of a shot. Services write each bit
# once or twice, at worst with the name of an item and indentation.
_OUTPUT_BYTES = 2**20
_SHOT_BYTES = 2_048
_BIT_BYTES = 128


def parse(content: bytes) -> Any:
    """The JSON of a response; `ValueError` if it is not JSON.

    If one item of a list has nesting, an integer or a character that Python cannot read, that value
    becomes null, infinity or a question mark, so that the other items can be read.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        # The rest takes a microsecond per byte, in which no other call gets on.
        if len(content) > _MAX_REPAIRED:
            raise
        text = content.decode(json.detect_encoding(content), errors="replace")
    kept, depth, start = [], 0, 0
    for token in _TOKENS.finditer(text):
        if token[0] in "[{":
            depth += 1
            if depth == _MAX_DEPTH:
                kept += [text[start : token.start()], "null"]
        elif token[0] in "]}":
            if depth == _MAX_DEPTH:
                start = token.end()
            depth -= 1
    if depth:
        raise ValueError("brackets that are not closed")
    kept.append(text[start:])
    return json.loads(
        "".join(kept),
        parse_int=lambda digits: int(digits) if len(digits) < _MAX_DIGITS else math.inf,
    )


def sdk_results(job: AzureJob, output: bytes) -> Any:
    """The result of the SDK's `get_results`, from the output of a successful job."""
    fetched = AzureJob(job.workspace, job.details)
    fetched.download_data = lambda uri: output
    return fetched.get_results()


def says_session_has_ended(code: str, message: str) -> bool:
    """Whether the service's error means that a job's session has ended (recorded)."""
    # The code alone is not specific.
    return code == "InvalidJobDefinition" and "Session is already in a terminal state" in message


def read_session(workspace: Workspace, document: Mapping[str, Any]) -> Session:
    """A session, with the SDK's own object for it as `handle`."""
    policy = _field(document, "jobFailurePolicy", str) or ""
    continues = policy.lower() == JobFailurePolicy.CONTINUE.lower()
    return Session(
        id=_word(document, "id", is_required=True),
        target=_word(document, "target") or "",
        name=_field(document, "name", str) or "",
        status=SessionStatus(_word(document, "status", is_required=True)),
        job_failure_policy=JobFailurePolicy.CONTINUE if continues else JobFailurePolicy.ABORT,
        creation_time=read_time(document.get("creationTime")),
        end_time=read_time(document.get("endExecutionTime")),
        cost=_read_cost(document),
        handle=_session_handle(workspace, document),
    )


def read_job(workspace: Workspace, document: Mapping[str, Any]) -> Job:
    """A job, with the SDK's own object for it as `handle`."""
    error = _field(document, "errorData", dict) or {}
    output_uri = (_field(document, "outputDataUri", str) or "").partition("?")[0]
    return Job(
        id=_word(document, "id", is_required=True),
        target=_word(document, "target") or "",
        name=_field(document, "name", str) or "",
        status=JobStatus(_word(document, "status", is_required=True)),
        session_id=_word(document, "sessionId"),
        output_format=_word(document, "outputDataFormat") or "",
        output_uri=output_uri if BLOB_URL.fullmatch(output_uri) else None,
        input_params=_field(document, "inputParams", dict) or {},
        metadata={
            name: value
            for name, value in (_field(document, "metadata", dict) or {}).items()
            if isinstance(value, str)
        },
        tags=tuple(tag for tag in _field(document, "tags", list) or () if tag and type(tag) is str),
        creation_time=read_time(document.get("creationTime")),
        begin_time=read_time(document.get("beginExecutionTime")),
        end_time=read_time(document.get("endExecutionTime")),
        error_code=without_secrets(_field(error, "code", str) or ""),
        error_message=without_secrets(_field(error, "message", str) or ""),
        cost=_read_cost(document),
        handle=_JobHandle(workspace, document),
    )


def max_output_bytes(job: Job) -> float:
    """The maximum size of a job's result in any format of the service; infinite if unknown.

    It follows from the job's shots and bits. Only this package's jobs record their number of bits.
    """
    try:
        shots = int(job.input_params.get("shots") or job.input_params["count"])
        bits = int(job.metadata["bits"])
        if min(shots, bits) < 1:
            return math.inf
        # A simulator's histogram, or an error-mitigated one, may have outcomes that no shot had.
        rows = 2.0**bits if job.output_format.startswith("ionq.") else shots
        return _OUTPUT_BYTES + rows * float(_SHOT_BYTES + bits * _BIT_BYTES)
    except (ValueError, TypeError, LookupError, OverflowError):
        return math.inf


def read_targets(provider: Mapping[str, Any]) -> Sequence[TargetStatus]:
    """The targets of one provider."""
    return [
        TargetStatus(
            id=target["id"],
            provider=_field(provider, "id", str, is_required=True),
            availability=_field(target, "currentAvailability", str) or "",
            average_queue_time=_number(target, "averageQueueTime") or 0.0,
            target_profile=_field(target, "targetProfile", str) or "",
            num_qubits=_positive(target.get("numQubits")),
        )
        for target in provider["targets"]
        if isinstance(target, dict) and isinstance(target.get("id"), str)
    ]


def read_quota(document: Mapping[str, Any]) -> Quota:
    """One quota."""
    period = _field(document, "period", str)
    used, held, limit = (_number(document, name) for name in ("utilization", "holds", "limit"))
    if used is None or held is None or limit is None:
        raise TypeError("an amount is not a number")
    return Quota(
        dimension=_field(document, "dimension", str, is_required=True),
        scope=_field(document, "scope", str, is_required=True),
        provider=_field(document, "providerId", str, is_required=True),
        utilization=used,
        holds=held,
        limit=limit,
        # The service writes "None" for none.
        period=None if period == "None" else period,
    )


def read_page(
    read_item: Callable[[Any], T], document: Mapping[str, Any]
) -> tuple[Sequence[T], Mapping[str, str] | None]:
    """The items of one page of a list, and the query of the next page, or None after the last.

    An unreadable item does not hide the others. Only the query of the next page's address is used,
    so that a key is sent only to the endpoint.
    """
    items: list[T] = []
    for item in document["value"]:
        try:
            items.append(read_item(item))
        except UNREADABLE as error:
            logger.warning("An item of a list cannot be read (%s).", type(error).__name__)
    _, _, following = (_field(document, "nextLink", str) or "").partition("?")
    query = dict(parse_qsl(following))
    query.pop("api-version", None)
    # An address without a query would be the first page again.
    return items, query or None


def session_document(request: SessionRequest) -> dict[str, Any]:
    """The request body to open a session, without the provider."""
    return {
        "itemType": "Session",
        "name": request.name,
        "target": request.target,
        "jobFailurePolicy": request.job_failure_policy.value,
    }


def job_document(request: JobRequest, *, container_uri: str, input_uri: str) -> dict[str, Any]:
    """The request body to submit a job, without the provider, in the form of `azure.quantum`."""
    document: dict[str, Any] = {
        "itemType": "Job",
        "name": request.name,
        "containerUri": container_uri,
        "inputDataUri": input_uri,
        "inputDataFormat": request.input_format,
        "outputDataFormat": request.output_format,
        "inputParams": dict(request.input_params),
        "target": request.target,
    }
    optional = {
        "sessionId": request.session_id,
        "metadata": dict(request.metadata),
        "tags": list(request.tags),
        "priority": request.priority,
    }
    return document | {name: value for name, value in optional.items() if value}


def read_time(text: object) -> float | None:
    """Seconds since the Unix epoch of a time in the service's format; None if it is not one.

    The time has `Z`, an offset or neither, which means UTC, and a fraction of 0 to 7 digits. Years
    before 1970 are .NET's null; years that UTC does not reach cannot be represented.
    """
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text)
        seconds = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if 0.0 <= seconds < _MAX_TIME else None


def without_secrets(text: str) -> str:
    """A message of the service on one line: redacted, without URL queries, and shortened."""
    if not text:
        # The case of most jobs: faster than four passes.
        return text
    text = printable(redact(_URL_QUERY.sub(r"\1", " ".join(text.split()))))
    return text if len(text) <= _MAX_MESSAGE_LENGTH else f"{text[:_MAX_MESSAGE_LENGTH]}..."


def _read_cost(document: Mapping[str, Any]) -> Cost | None:
    cost = _field(document, "costEstimate", dict) or {}
    total = _number(cost, "estimatedTotal")
    if total is None:
        return None
    events = _field(cost, "events", list) or ()
    return Cost(
        total=total,
        currency=_word(cost, "currencyCode") or "USD",
        events=tuple(
            {name: value for name, value in event.items() if _is_plain(value)}
            for event in events
            if isinstance(event, dict)
        ),
    )


def _number(document: Mapping[str, Any], name: str) -> float | None:
    """A field that is a finite number, else None."""
    try:
        number = float(_field(document, name, (int, float), is_required=True))
    except (TypeError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _is_plain(value: object) -> bool:
    """Whether a value is a string, a finite number, a bool or null."""
    try:
        return isinstance(value, str | None) or math.isfinite(value)  # type: ignore[arg-type]
    except (TypeError, OverflowError):
        return False


def _positive(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None


def _field(document: Mapping[str, Any], name: str, kind: Any, *, is_required: bool = False) -> Any:
    """A field of the document; None if it is absent or of another type, unless it is required."""
    value = document.get(name)
    if isinstance(value, kind):
        # A lone surrogate is valid JSON, but can be neither printed nor stored.
        return value.encode(errors="replace").decode() if kind is str else value
    if is_required:
        raise TypeError(f"{name} is {type(value).__name__}")
    return None


def _word(document: Mapping[str, Any], name: str, *, is_required: bool = False) -> Any:
    """A field that is an id or a keyword of the service, for use in messages and logs."""
    word = _field(document, name, str, is_required=is_required)
    return word and printable(word)


def _session_handle(workspace: Workspace, document: Mapping[str, Any]) -> AzureSession:
    """The SDK's session object; if it cannot read the document, only with the readable fields."""
    try:
        return AzureSession(workspace, SessionDetails(document))
    except UNREADABLE:
        words = {name: _word(document, name) for name in ("id", "name", "status", "target")}
        return AzureSession(workspace, SessionDetails(words))


class _JobHandle:
    """A proxy for the SDK's job object, which is made when an attribute is first read.

    Making one takes 0.1 ms, and each poll lists up to a hundred jobs, few of which are read.
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
