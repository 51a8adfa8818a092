"""What happened to sessions and jobs, as frozen values for those who subscribe."""

from __future__ import annotations

import logging
from dataclasses import dataclass

__all__ = ["Event", "JobEvent", "SessionEvent"]


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """Something happened to a session of the pool.

    Attributes:
        kind: `opened`, `adopted`, `timed_out`, `failed` (under the Abort policy), `lost` (over for
            any other reason), `closed` or `not_closed`.
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

    @property
    def counter(self) -> str:
        """The name of the pool's statistic that counts such events."""
        return f"sessions_{self.kind}"

    @property
    def level(self) -> int:
        """The level at which it is logged: people follow sessions, not jobs."""
        return logging.INFO

    @property
    def is_start_of_session(self) -> bool:
        """Whether the target has a session from now on."""
        return self.kind in ("opened", "adopted")

    @property
    def is_end_of_session(self) -> bool:
        """Whether the service has ended the session, so that the next one is a reopening."""
        return self.kind in ("timed_out", "failed", "lost")


@dataclass(frozen=True, slots=True)
class JobEvent:
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

    @property
    def counter(self) -> str:
        """The name of the pool's statistic that counts such events."""
        return f"jobs_{self.kind}"

    @property
    def level(self) -> int:
        """The level at which it is logged: people follow sessions, not jobs."""
        return logging.DEBUG

    @property
    def is_start_of_session(self) -> bool:
        """Never: jobs do not change which session a target has."""
        return False

    @property
    def is_end_of_session(self) -> bool:
        """Never: jobs do not change which session a target has."""
        return False


Event = SessionEvent | JobEvent
