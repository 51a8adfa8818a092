"""Which of a workspace's sessions or jobs somebody wants to see."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol, TypeVar

from cirq_azure_sessions.model import JobStatus, SessionStatus

__all__ = ["Wanted"]


_STATUSES = {word.lower(): word for word in [*JobStatus, *SessionStatus]}


class _Item(Protocol):
    """What sessions and jobs have in common."""

    @property
    def name(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def creation_time(self) -> float | None: ...


Item = TypeVar("Item", bound=_Item)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which sessions or jobs to list. What is None does not matter.

    Attributes:
        target: A target's id; `*` and `?` stand for any characters, as in `ionq.*`.
        status: A word of the service, in any case.
        name: How the name begins.
        max_age: Seconds since it was opened or submitted.
        limit: The most to list, the newest of them.

    Raises:
        ValueError: If no session and no job is ever in that status.
    """

    target: str | None = None
    status: str | None = None
    name: str | None = None
    max_age: float | None = None
    limit: int | None = 20

    def __post_init__(self) -> None:
        if self.status is not None and self.status.lower() not in _STATUSES:
            raise ValueError(
                f"There is no status {self.status!r}: give one of {', '.join(_STATUSES.values())}."
            )

    @property
    def is_pattern(self) -> bool:
        """Whether the target stands for several."""
        return any(character in (self.target or "") for character in "*?[")

    def includes(self, item: _Item) -> bool:
        """Whether the target, the status and the name are the wanted ones."""
        return (
            fnmatchcase(item.target, self.target or "*")
            and item.status.lower() == (self.status or item.status).lower()
            and item.name.startswith(self.name or "")
        )

    def is_too_old(self, item: _Item, now: float) -> bool:
        """Whether the item, and so every older one, is not wanted any more."""
        if self.max_age is None or item.creation_time is None:
            return False
        return now - item.creation_time > self.max_age

    async def take(self, items: AsyncIterator[Item], now: float) -> list[Item]:
        """Those of a listing, newest first, that are wanted; no more pages are read than needed."""
        taken: list[Item] = []
        async for item in items:
            if self.is_too_old(item, now):
                break
            if self.includes(item):
                taken.append(item)
            if len(taken) == self.limit:
                break
        return taken
