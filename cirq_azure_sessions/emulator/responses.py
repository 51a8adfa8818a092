"""Answers of the data plane, as aiohttp sends them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from cirq_azure_sessions.emulator.api_error import ApiError, error_document
from cirq_azure_sessions.emulator.query import QueryError
from cirq_azure_sessions.errors import ServiceError, SessionNotAvailable, UnsupportedTarget

__all__ = ["json_response", "refusal", "translate"]

_SESSION_OVER = (
    "Session is already in a terminal state. "
    "This may have been due to failures in prior jobs in the session."
)


def json_response(document: Mapping[str, Any], status: int = 200) -> web.Response:
    """An answer in JSON, with the recorded content type."""
    return web.Response(
        body=json.dumps(document).encode(),
        status=status,
        content_type="application/json",
        charset="utf-8",
    )


def refusal(error: ApiError) -> web.Response:
    """The answer that a refusal becomes."""
    response = json_response(error_document(error.code, error.message), error.status)
    response.headers.update(error.headers)
    return response


def translate(error: Exception) -> ApiError:
    """The refusal that an error of the workspace means to its clients.

    Raises:
        Exception: The error itself, if it means nothing to them.
    """
    match error:
        case ApiError():
            return error
        case SessionNotAvailable():
            return ApiError(400, "InvalidJobDefinition", _SESSION_OVER)
        case UnsupportedTarget():
            return ApiError(400, "InvalidJobDefinition", str(error))
        case ServiceError():
            code = error.code or ("NotFound" if error.is_missing else "InvalidRequest")
            return ApiError(error.status_code or 400, code, str(error))
        case QueryError():
            return ApiError(400, "InvalidQueryParameter", str(error))
        case ConnectionError():
            return ApiError(400, "InvalidRequest", "The request was broken off.")
        case web.HTTPRequestEntityTooLarge():
            return ApiError(413, "RequestBodyTooLarge", "The body is too large.")
        case web.HTTPClientError():
            return ApiError(error.status, error.reason.replace(" ", ""), "There is no such route.")
        case _:
            raise error
