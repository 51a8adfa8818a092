"""The data plane's versions and errors, and the middleware that translates errors."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from cirq_azure_sessions.errors import ServiceError, SessionNotAvailable, UnsupportedTarget

__all__ = ["ApiError", "ApiVersion", "gate_middleware"]

_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?", re.ASCII)

_KEY_HEADER = "x-ms-quantum-api-key"

# Storage is protected by SAS instead.
_GUARDED = ("/subscriptions/", "/emulator/")

_SESSION_OVER = (
    "Session is already in a terminal state. "
    "This may have been due to failures in prior jobs in the session."
)


@dataclass(eq=False)
class ApiError(Exception):
    """An error response of the data plane.

    Attributes:
        status: The HTTP status.
        code: Azure's error code, such as `InvalidJobDefinition`.
        message: What is wrong. Never contains a secret, nor more of what the client sent than a
            word of a filter.
        headers: Further headers of the response.
    """

    status: int
    code: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> web.Response:
        """The response, in the recorded form."""
        document = {"error": {"code": self.code, "message": self.message}}
        return web.json_response(document, status=self.status, headers=self.headers)


@dataclass(frozen=True, slots=True)
class ApiVersion:
    """An API version that a client names in `api-version`, identified by its date.

    Three generations are known: `2024-10-01-preview` and `2025-12-01-preview` from recordings, and
    `2026-01-15-preview` from the SDK's source. A version belongs to the latest generation that is
    not newer than it.
    """

    name: str

    @classmethod
    def parse(cls, text: str | None) -> ApiVersion:
        """Reads the query parameter. `ApiError` if it is not the name of a version."""
        if not text:
            raise ApiError(
                400,
                "MissingApiVersionParameter",
                "The api-version query parameter (?api-version=) is required for all requests.",
            )
        if not _VERSION.fullmatch(text):
            raise ApiError(
                400,
                "InvalidApiVersionParameter",
                "The api-version is a date, such as 2026-01-15-preview.",
            )
        return cls(text)

    @property
    def is_of_2025(self) -> bool:
        """Whether it is of 2025 or later.

        Jobs then have `lastModifiedTime`, and jobs and sessions `jobPriority`; the blob addresses
        in PUT and list responses have no SAS; and a session's jobs come newest first.
        """
        return self.name >= "2025"

    @property
    def deletes_jobs(self) -> bool:
        """Whether DELETE deletes a job; before 2025-12-01-preview it cancels it (from the SDK)."""
        return self.name >= "2025-12-01"

    @property
    def is_of_2026(self) -> bool:
        """Whether it is of 2026 or later.

        Jobs and sessions then have `priority` (`Standard` or `High`), and jobs `usage`; and
        `sasUri` also creates the container, which clients create themselves before.
        """
        return self.name >= "2026"


def _translate(error: Exception) -> ApiError:
    """The error response for an error of the workspace; one without a response is raised again."""
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
        case ConnectionError():
            return ApiError(400, "InvalidRequest", "The request was broken off.")
        case web.HTTPRequestEntityTooLarge():
            return ApiError(413, "RequestBodyTooLarge", "The body is too large.")
        case web.HTTPMethodNotAllowed():
            verbs = ", ".join(sorted(error.allowed_methods))
            message = f"This route takes {verbs} only."
            return ApiError(405, "MethodNotAllowed", message, {"Allow": verbs})
        case web.HTTPClientError():
            return ApiError(error.status, error.reason.replace(" ", ""), "There is no such route.")
        case _:
            raise error


def gate_middleware(key: str) -> Middleware:
    """Checks the key, and turns errors into error responses."""
    expected = key.encode()

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get(_KEY_HEADER, "").encode(errors="surrogateescape")
        if request.path.startswith(_GUARDED) and not hmac.compare_digest(given, expected):
            # As recorded: no body, and this header even for a key.
            headers = {"www-authenticate": 'Bearer error="invalid_token"'}
            return web.Response(status=401, headers=headers)
        try:
            return await handler(request)
        except Exception as error:
            return _translate(error).response()

    return guard
