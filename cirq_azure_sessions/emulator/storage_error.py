"""Errors of the blob service: codes with their status and message.

Codes and statuses are from Azure Storage's "Blob Service error codes"; the form of the XML is
as recorded (a byte order mark, then `<Error><Code>...`).
"""

from __future__ import annotations

from xml.sax.saxutils import escape

from aiohttp import web

__all__ = ["StorageError", "error_response"]

_UNAUTHENTICATED = (
    "Server failed to authenticate the request. Make sure the value of Authorization header is "
    "formed correctly including the signature."
)
_UNSUPPORTED = (
    "The emulator's own storage takes a block blob in one request, up to 64 MiB from Azure's "
    "client, and lists all of a container: for other operations, keep the blobs in Azurite, whose "
    "connection string EmulatorServer(store=...) and emulate --store take."
)
_TOO_LARGE = (
    "The request body is too large and exceeds the maximum permissible limit: 256 MiB a blob, and "
    "2 GiB in memory together. EmulatorServer(store=...) and emulate --store keep blobs on disk."
)

_CODES: dict[str, tuple[int, str]] = {
    "AuthenticationFailed": (403, _UNAUTHENTICATED),
    "AuthorizationFailure": (403, "This request is not authorized to perform this operation."),
    "AuthorizationPermissionMismatch": (
        403,
        "This request is not authorized to perform this operation using this permission.",
    ),
    "BlobAlreadyExists": (409, "The specified blob already exists."),
    "BlobNotFound": (404, "The specified blob does not exist."),
    "ConditionNotMet": (
        412,
        "The condition specified using HTTP conditional header(s) is not met.",
    ),
    "ContainerAlreadyExists": (409, "The specified container already exists."),
    "ContainerNotFound": (404, "The specified container does not exist."),
    "InvalidHeaderValue": (
        400,
        "The value for one of the HTTP headers is not in the correct format.",
    ),
    "InvalidRange": (
        416,
        "The range specified is invalid for the current size of the resource.",
    ),
    "InvalidUri": (400, "The requested URI does not represent any resource on the server."),
    "NoAuthenticationInformation": (401, _UNAUTHENTICATED),
    "RequestBodyTooLarge": (413, _TOO_LARGE),
    "UnsupportedHeader": (400, _UNSUPPORTED),
    "UnsupportedHttpVerb": (405, _UNSUPPORTED),
    "UnsupportedQueryParameter": (400, _UNSUPPORTED),
}


class StorageError(Exception):
    """An error response of the blob service: a code of Azure Storage, which has its own message.

    `detail` is more specific, and never contains a signature. One code has two statuses.
    """

    def __init__(self, code: str, detail: str = "", *, status: int | None = None) -> None:
        self.code = code
        usual, self.message = _CODES[code]
        self.status = status or usual
        self.detail = detail
        super().__init__(f"{code}: {detail or self.message}")


def error_response(status: int, code: str, message: str, detail: str = "") -> web.Response:
    """An error as XML."""
    fields = {"Code": code, "Message": message, "AuthenticationErrorDetail": detail}
    error = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in fields.items() if text)
    text = f'\ufeff<?xml version="1.0" encoding="utf-8"?><Error>{error}</Error>'
    return web.Response(
        status=status,
        # Bytes, because Azure names no charset.
        body=text.encode(),
        content_type="application/xml",
        # The response to HEAD has no body, so the SDK reads the code from this header.
        headers={"x-ms-error-code": code},
    )
