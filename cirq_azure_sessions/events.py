"""What happened to sessions, jobs and sweeps, as frozen values for those who subscribe."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

__all__ = ["AnyEvent", "Event", "JobEvent", "SessionEvent", "SweepEvent"]


class _Happening:
    """What those who count, log and follow events ask of each: this one changes no session.

    As a string it is a line for a log.
    """

    __slots__: tuple[str, ...] = ()

    # What it happened to, in a word.
    subject: ClassVar[str]

    kind: str
    target: str
    reason: str
    # Only jobs cost something.
    currency: str = ""
    consumed: tuple[tuple[str, float], ...] = ()

    @property
    def id(self) -> str:
        """The id of what it happened to."""
        raise NotImplementedError

    @property
    def level(self) -> int:
        """The level of its line in the log: people follow sessions, not jobs."""
        return logging.DEBUG

    @property
    def counter(self) -> str:
        """The name of the pool's statistic that counts such events."""
        return f"{self.subject}s_{self.kind}"

    @property
    def is_beginning(self) -> bool:
        """Whether what it happened to was not there before, and goes on from here."""
        return self.kind in ("opened", "submitted", "started")

    @property
    def is_start_of_session(self) -> bool:
        """Whether the target has a session from now on."""
        return False

    @property
    def is_end_of_session(self) -> bool:
        """Whether the service has ended the session, so that the next one is a reopening."""
        return False

    def fields(self) -> dict[str, Any]:
        """Its attributes by name, as a structured log or a table takes them."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __str__(self) -> str:
        reason = f" ({self.reason})" if self.reason else ""
        return f"{self.target}: {self.subject} {self.id} {self.kind.replace('_', ' ')}{reason}"


@dataclass(frozen=True, slots=True)
class SessionEvent(_Happening):
    """Something happened to a session of the pool.

    Attributes:
        kind: `opened`, `adopted`, `timed_out`, `failed` (under the Abort policy), `lost` (over for
            any other reason) or `closed`.
        time: Seconds since the Unix epoch, on the pool's clock.
        cost: Always None; jobs report their costs.
        reason: The service's word where the kind does not tell all.
        creation_time: When it was opened, on the service's clock, as far as the service told.
        end_time: When it ended, likewise.
    """

    kind: str
    session_id: str
    target: str
    time: float
    cost: float | None = None
    reason: str = ""
    creation_time: float | None = None
    end_time: float | None = None

    subject: ClassVar[Literal["session"]] = "session"

    @property
    def id(self) -> str:
        return self.session_id

    @property
    def level(self) -> int:
        return logging.INFO

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
        sweep_id: The call of a sampler that the job belongs to, as its `SweepEvent`s name it.
        creation_time: When it was submitted, on the service's clock, as far as the service told.
        end_time: When it ended, likewise.
        currency: The currency of `cost`.
        consumed: What the job consumed, as the service reports it: dimensions and amounts, such as
            `(("ehqc", 8.3),)`.
    """

    kind: str
    job_id: str
    session_id: str | None
    target: str
    time: float
    cost: float | None = None
    reason: str = ""
    sweep_id: str | None = None
    creation_time: float | None = None
    end_time: float | None = None
    currency: str = ""
    consumed: tuple[tuple[str, float], ...] = ()

    subject: ClassVar[Literal["job"]] = "job"

    @property
    def id(self) -> str:
        return self.job_id

    @property
    def level(self) -> int:
        return logging.DEBUG if self.kind in ("submitted", "succeeded") else logging.INFO


@dataclass(frozen=True, slots=True)
class SweepEvent(_Happening):
    """A call of a sampler began or ended: a sweep, or one of the circuits of a batch.

    Attributes:
        kind: `started`; then `finished`, also where points failed with `on_error="return"`;
            `failed`, with an error of this package; or `interrupted`, by anything else.
        sweep_id: Names the call in the events of its jobs.
        time: Seconds since the Unix epoch, on the pool's clock.
        jobs: How many jobs the call is for.
        reason: The class of the error that ended the call.
    """

    kind: str
    sweep_id: str
    target: str
    time: float
    jobs: int
    reason: str = ""

    subject: ClassVar[str] = "sweep"

    @property
    def id(self) -> str:
        return self.sweep_id


Event = SessionEvent | JobEvent
AnyEvent = Event | SweepEvent
