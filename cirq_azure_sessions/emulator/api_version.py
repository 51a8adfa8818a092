"""Differences between the API versions that clients name in `api-version`.

Three generations are known: `2024-10-01-preview` and `2025-12-01-preview` from recordings, and
`2026-01-15-preview` from the SDK's source. A version belongs to the latest generation that is not
newer than it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cirq_azure_sessions.emulator.responses import ApiError

__all__ = ["ApiVersion"]

_FORM = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class ApiVersion:
    """An API version, identified by the date in its name."""

    name: str

    @classmethod
    def parse(cls, text: str | None) -> ApiVersion:
        """Reads the query parameter.

        Raises:
            ApiError: If it is missing or not the name of a version.
        """
        if not text:
            raise ApiError(
                400,
                "MissingApiVersionParameter",
                "The api-version query parameter (?api-version=) is required for all requests.",
            )
        if not _FORM.fullmatch(text):
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
