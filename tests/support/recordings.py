"""The recorded traffic of the real service, request by request.

Times are read out of the answers: an answer was given no earlier than the latest time it names, and
a manual clock that follows them meets the service's state at every step.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs, urlsplit

from shared import SHARED

FOLDER = SHARED / "recordings"

_TIMES = ("creationTime", "beginExecutionTime", "endExecutionTime", "lastModifiedTime")
_STORAGE = re.compile(r"https://[^/]*\.blob\.core\.windows\.net(?::443)?/")


@dataclass(frozen=True)
class Exchange:
    """One request of a recording, and its answer."""

    method: str
    uri: str
    body: Any
    content_type: str | None
    status: int
    answer: Any
    answer_type: str

    @property
    def is_storage(self) -> bool:
        return _STORAGE.match(self.uri) is not None

    @property
    def path(self) -> str:
        return urlsplit(self.uri).path

    @property
    def query(self) -> str:
        return urlsplit(self.uri).query

    @cached_property
    def sas(self) -> dict[str, list[str]]:
        return parse_qs(self.query)

    def items(self) -> Iterator[dict[str, Any]]:
        """The sessions and jobs in the answer."""
        if isinstance(self.answer, dict):
            for document in self.answer.get("value", [self.answer]):
                if "itemType" in document:
                    yield document

    @property
    def earliest(self) -> float:
        """When the answer can have been given at the earliest; 0 if it does not say."""
        return max((time for item in self.items() for time in times(item).values()), default=0.0)


def times(item: dict[str, Any]) -> dict[str, float]:
    """The times that a session or job names, in seconds since the epoch."""
    return {name: parse_time(item[name]) for name in _TIMES if item.get(name)}


def parse_time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load(name: str) -> list[Exchange]:
    document = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return [
        Exchange(
            method=exchange["method"],
            uri=exchange["uri"],
            body=exchange["request"],
            content_type=exchange["request_headers"].get("content-type"),
            status=exchange["status"],
            answer=exchange["response"],
            answer_type=exchange["response_headers"].get("content-type", ""),
        )
        for exchange in document["exchanges"]
    ]
