"""The queue of a target that runs a limited number of jobs at once."""

from __future__ import annotations

from cirq_azure_sessions.workspaces.local.state import JobRecord

__all__ = ["TargetQueue"]


class TargetQueue:
    """The jobs of a target that have a slot or wait for one: first come, first served.

    Not thread-safe: the lock of the schedule guards it.

    Args:
        slots: The number of slots.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._served: set[JobRecord] = set()
        # A dict keeps their order, and allows cheap removal from the middle.
        self._waiting: dict[JobRecord, None] = {}

    def enter(self, job: JobRecord) -> bool:
        """Adds a job; returns whether it has a slot now."""
        if len(self._served) < self._slots:
            self._served.add(job)
            return True
        self._waiting[job] = None
        return False

    def leave(self, job: JobRecord) -> JobRecord | None:
        """Removes a job; returns the job that takes over its slot, if any."""
        self._waiting.pop(job, None)
        if job not in self._served:
            return None
        self._served.remove(job)
        if not self._waiting:
            return None
        following = next(iter(self._waiting))
        del self._waiting[following]
        self._served.add(following)
        return following
