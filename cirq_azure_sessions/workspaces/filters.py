"""Filters for listing sessions and jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeVar

from cirq_azure_sessions.model import Job, JobStatus, Session, SessionStatus
from cirq_azure_sessions.options import AMOUNT, STRING, WHOLE, check_option, shown

__all__ = ["ANY", "OPEN", "ItemFilter", "target_pattern"]

Item = TypeVar("Item", Session, Job)

# The statuses of a session that still accepts jobs, as far as the service has noticed.
OPEN = frozenset(status.value for status in SessionStatus if not status.is_final)

# Everyday words for statuses; the enumerations have the service's words.
_EVERYDAY: Mapping[str, Collection[str]] = {
    "queued": ("Queued", "Waiting"),
    "running": ("Executing", "Finishing"),
    "done": ("Succeeded", "Completed"),
    "finished": [status.value for status in (*JobStatus, *SessionStatus) if status.is_final],
    "open": OPEN,
    "closed": ("Succeeded",),
    "timed-out": ("TimedOut",),
}
_SERVICE: Mapping[str, Collection[str]] = {
    status.lower(): (status.value,) for status in (*JobStatus, *SessionStatus)
}


def target_pattern(target: str) -> str:
    """A user's pattern for targets as a full one: a provider's name such as `ionq` is a prefix."""
    return target if any(character in target for character in ".*?[") else f"{target}*"


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """Filters for listing sessions and jobs; None and an empty set match everything.

    Attributes:
        target: A target's id, or a pattern in which `*` stands for any characters, as in `ionq.*`.
        statuses: Statuses, as the service writes them.
        name: A prefix of the name.
        created_after: Seconds since the Unix epoch.
        limit: The maximum number of items, counted from the newest.
    """

    target: str | None = None
    statuses: frozenset[str] = frozenset()
    name: str | None = None
    created_after: float | None = None
    limit: int | None = None

    @classmethod
    def of(
        cls,
        now: float,
        target: str | None,
        status: str | None,
        name: str | None,
        max_age: float | None,
        limit: int | None,
    ) -> ItemFilter:
        """The filter for a user's options, at the time `now`.

        Raises:
            ValueError: If the status is unknown, or the age or limit is no number or negative.
        """
        for text, value in (("target", target), ("status", status), ("name", name)):
            check_option(text, value, or_none=True, kind=STRING)
        check_option("max_age", max_age, or_none=True, kind=AMOUNT)
        check_option("limit", limit, or_none=True, kind=WHOLE)
        statuses: Collection[str] | None = ()
        if status is not None:
            statuses = _EVERYDAY.get(status.lower()) or _SERVICE.get(status.lower())
        if statuses is None:
            service = ", ".join(status for (status,) in _SERVICE.values())
            raise ValueError(
                f"Unknown status {shown(status)}: use one of {', '.join(_EVERYDAY)}, or a word of "
                f"the service: {service}."
            )
        return cls(
            None if target is None else target_pattern(target),
            frozenset(statuses),
            name,
            None if max_age is None else now - max_age,
            limit,
        )

    async def apply(self, newest_first: AsyncIterator[Item]) -> AsyncIterator[Item]:
        """The items that match, up to the limit; reads no more of the list than needed."""
        found = 0
        if self.limit == 0:
            return
        async for item in newest_first:
            created, oldest = item.creation_time, self.created_after
            # All that follow one that is too old are older still.
            if oldest is not None and created is not None and created < oldest:
                return
            if (
                (self.target is None or fnmatchcase(item.target, self.target))
                and (not self.statuses or item.status.value in self.statuses)
                and item.name.startswith(self.name or "")
            ):
                yield item
                found += 1
                if found == self.limit:
                    return


ANY = ItemFilter()
