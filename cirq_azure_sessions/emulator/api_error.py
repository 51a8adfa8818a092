"""The refusals of the data plane: a status, a code and a sentence, as JSON."""

from __future__ import annotations

from typing import Any

__all__ = ["ApiError", "error_document"]


class ApiError(Exception):
    """The data plane refuses a request.

    Args:
        status: The HTTP status.
        code: Azure's word for the refusal, such as `InvalidJobDefinition`.
        message: What is wrong. Never a secret, nor what the client sent.
        retry_after: Seconds that the client is asked to wait, for a 429.
    """

    def __init__(
        self, status: int, code: str, message: str, *, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after


def error_document(code: str, message: str) -> dict[str, Any]:
    """The body of a refusal, in the form of the recordings."""
    return {"error": {"code": code, "message": message}}
