"""Validation of clients' requests, and their translation into requests to the workspace.

Nothing in a request is trusted: every field is validated before it is used, and an invalid one is
refused with 400: its reader raises `ApiError`, whose message names the field, never its value.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from cirq_azure_sessions.emulator.program_runner import StoredProgram
from cirq_azure_sessions.emulator.responses import ApiError
from cirq_azure_sessions.emulator.storage import Storage
from cirq_azure_sessions.emulator.workspace import NotedSessionRequest
from cirq_azure_sessions.model import JobFailurePolicy, JobRequest

__all__ = [
    "read_blob_details",
    "read_item_id",
    "read_job",
    "read_json",
    "read_session",
    "read_update",
]

# The pattern of job and session ids in Azure's API specification.
_ITEM_ID = re.compile(r"[a-fA-F0-9]{8}(-[a-fA-F0-9]{4}){3}-[a-fA-F0-9]{12}")

_CONTAINER_NAME = re.compile(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*")

_MAX_BODY_BYTES = 4 * 1024 * 1024
_MAX_TEXT_LENGTH = 2048
_MAX_TAGS = 64
_MAX_DEPTH = 32


async def read_json(request: web.Request) -> dict[str, Any]:
    """The body of a request: a JSON object."""
    body = await request.clone(client_max_size=_MAX_BODY_BYTES).read()
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise _invalid("The body is not a JSON object.")
    return document


def read_item_id(text: str) -> str:
    """The id of a job or session from a path."""
    if not _ITEM_ID.fullmatch(text):
        raise _invalid("The id in the path is not a GUID.")
    return text.lower()


def read_session(session_id: str, document: Mapping[str, Any]) -> NotedSessionRequest:
    """The session that a PUT opens."""
    _check_item_type(document, "Session")
    policy = _read_text(document, "jobFailurePolicy", default=JobFailurePolicy.ABORT.value)
    try:
        failure_policy = JobFailurePolicy(policy.capitalize())
    except ValueError:
        raise _invalid("The field jobFailurePolicy takes Abort or Continue.") from None
    return NotedSessionRequest(
        id=session_id,
        target=_read_text(document, "target"),
        name=_read_text(document, "name", default=f"session-{session_id}"),
        job_failure_policy=failure_policy,
        provider=_read_text(document, "providerId").lower(),
        priority=_read_priority(document),
        tags=_read_tags(document),
    )


def read_job(job_id: str, document: Mapping[str, Any], storage: Storage) -> JobRequest:
    """The job that a PUT submits."""
    _check_item_type(document, "Job")
    session_id = _read_text(document, "sessionId", default="")
    return JobRequest(
        id=job_id,
        target=_read_text(document, "target"),
        name=_read_text(document, "name", default=""),
        payload=_read_program(document, storage),
        input_format=_read_text(document, "inputDataFormat", default=""),
        output_format=_read_text(document, "outputDataFormat", default=""),
        session_id=read_item_id(session_id) if session_id else None,
        input_params=_read_object(document, "inputParams"),
        metadata=_read_metadata(document),
        tags=_read_tags(document),
        priority=_read_priority(document),
    )


def read_update(document: Mapping[str, Any]) -> dict[str, Any]:
    """The changes that a PATCH makes to a job; None for what it leaves as it is."""
    return {
        "name": _read_text(document, "name", default="") or None,
        "priority": _read_priority(document),
        "tags": _read_tags(document) if document.get("tags") is not None else None,
    }


def read_blob_details(document: Mapping[str, Any]) -> tuple[str, str]:
    """The names of a container and of a blob in it (or an empty one), to sign for."""
    container = _read_text(document, "containerName")
    blob = _read_text(document, "blobName", default="")
    if not _CONTAINER_NAME.fullmatch(container):
        raise _invalid("A containerName has 3 to 63 small letters, digits and single hyphens.")
    return container, blob


def _read_text(document: Mapping[str, Any], field: str, *, default: str | None = None) -> str:
    """A field of text; without a default it must be present and not empty."""
    value = document.get(field)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or (not value and default is None):
        raise _invalid(f"The field {field} takes text.")
    if len(value) > _MAX_TEXT_LENGTH or not value.isprintable():
        raise _invalid(f"The field {field} takes at most {_MAX_TEXT_LENGTH} printable characters.")
    return value


def _read_priority(document: Mapping[str, Any]) -> str | None:
    """The field `priority`: `Standard` or `High`, in whatever case, or None if there is none."""
    priority = _read_text(document, "priority", default="").capitalize()
    if priority not in ("", "Standard", "High"):
        raise _invalid("The field priority takes Standard or High.")
    return priority or None


def _read_tags(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The field `tags`, a list of text."""
    tags = document.get("tags")
    if tags is None:
        return ()
    texts = isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)
    if not texts or len(tags) > _MAX_TAGS:
        raise _invalid(f"The field tags takes a list of at most {_MAX_TAGS} texts.")
    return tuple(tags)


def _check_item_type(document: Mapping[str, Any], item_type: str) -> None:
    if _read_text(document, "itemType", default=item_type) != item_type:
        raise _invalid(f"The field itemType takes {item_type} here.")


def _read_program(document: Mapping[str, Any], storage: Storage) -> StoredProgram:
    container_uri = _read_text(document, "containerUri")
    bare_container_uri = container_uri.partition("?")[0]
    input_uri = _read_text(document, "inputDataUri", default=f"{bare_container_uri}/inputData")
    container = storage.locate(container_uri)
    program = storage.locate(input_uri)
    return StoredProgram(
        provider=_read_text(document, "providerId").lower(),
        container=container[0] if container else None,
        blob=program[1] if container and program and program[0] == container[0] else None,
        container_uri=bare_container_uri,
        input_uri=input_uri.partition("?")[0],
    )


def _read_object(document: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = document.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _invalid(f"The field {field} takes an object.")
    if not _is_plain(value, _MAX_DEPTH):
        raise _invalid(f"The field {field} takes finite numbers and at most {_MAX_DEPTH} levels.")
    return value


def _is_plain(value: Any, levels: int) -> bool:
    """Whether a value can be written as JSON again: no infinity, and not too deep to recurse."""
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return levels > 0 and all(_is_plain(part, levels - 1) for part in parts)
    return not isinstance(value, float) or math.isfinite(value)


def _read_metadata(document: Mapping[str, Any]) -> Mapping[str, str]:
    """The metadata, whose values the service keeps as text: 2 becomes "2"."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in _read_object(document, "metadata").items()
    }


def _invalid(message: str) -> ApiError:
    return ApiError(400, "InvalidRequest", message)
