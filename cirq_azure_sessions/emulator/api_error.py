"""The refusals of the data plane: a status, a code and a sentence, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["ApiError", "error_document"]


class ApiError(Exception):
    """The data plane refuses a request.

    Args:
        status: The HTTP status.
        code: Azure's word for the refusal, such as `InvalidJobDefinition`.
        message: What is wrong. Never a secret, nor what the client sent.
        headers: Further headers of the answer.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}


def error_document(code: str, message: str) -> dict[str, Any]:
    """The body of a refusal, in the form of the recordings."""
    return {"error": {"code": code, "message": message}}
