"""What happened to sessions and jobs, as frozen values for those who subscribe."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar

__all__ = ["Event", "JobEvent", "SessionEvent"]


class _Happening:
    """What those who count, log and follow events ask of each: this one changes no session."""

    __slots__ = ()

    _subject: ClassVar[str]
    # People follow sessions, not jobs.
    level: ClassVar[int] = logging.DEBUG

    kind: str

    @property
    def counter(self) -> str:
        """The name of the pool's statistic that counts such events."""
        return f"{self._subject}_{self.kind}"

    @property
    def is_start_of_session(self) -> bool:
        """Whether the target has a session from now on."""
        return False

    @property
    def is_end_of_session(self) -> bool:
        """Whether the service has ended the session, so that the next one is a reopening."""
        return False


@dataclass(frozen=True, slots=True)
class SessionEvent(_Happening):
    """Something happened to a session of the pool.

    Attributes:
        kind: `opened`, `adopted`, `timed_out`, `failed` (under the Abort policy), `lost` (over for
            any other reason) or `closed`.
        time: Seconds since the Unix epoch, on the pool's clock.
        cost: Always None; jobs report their costs.
        reason: The service's word where the kind does not tell all.
    """

    kind: str
    session_id: str
    target: str
    time: float
    cost: float | None = None
    reason: str = ""

    _subject: ClassVar[str] = "sessions"
    level: ClassVar[int] = logging.INFO

    @property
    def is_start_of_session(self) -> bool:
        return self.kind in ("opened", "adopted")

    @property
    def is_end_of_session(self) -> bool:
        return self.kind in ("timed_out", "failed", "lost")


@dataclass(frozen=True, slots=True)
class JobEvent(_Happening):
    """Something happened to a job.

    Attributes:
        kind: `submitted`, `succeeded`, `failed` or `cancelled`.
        time: Seconds since the Unix epoch, on the pool's clock.
        cost: What the service reports for the job, in the currency of the account, if it does.
        reason: The service's code of a failure.
    """

    kind: str
    job_id: str
    session_id: str | None
    target: str
    time: float
    cost: float | None = None
    reason: str = ""

    _subject: ClassVar[str] = "jobs"


Event = SessionEvent | JobEvent
