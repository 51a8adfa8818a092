"""Events of a pool, as subscribers receive them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

__all__ = ["AnyEvent", "JobEvent", "SessionEvent", "SweepEvent"]


class _Event:
    """Base class of events. As a string, an event is a log line."""

    __slots__ = ()

    subject: ClassVar[str]
    kind: str
    target: str
    time: float
    reason: str
    # Only jobs have a cost.
    cost: float | None = None
    currency: str = ""
    consumed: tuple[tuple[str, float], ...] = ()

    @property
    def id(self) -> str:
        """The id of the session, job or sweep."""
        return str(getattr(self, f"{self.subject}_id"))

    @property
    def counter(self) -> str:
        """The name of the pool's statistic that counts events of this kind."""
        return f"{self.subject}s_{self.kind}"

    def __str__(self) -> str:
        # The service's status TimedOut says no more than the kind does.
        is_news = self.reason.lower() not in ("", self.kind.replace("_", ""))
        reason = f" ({self.reason})" if is_news else ""
        return f"{self.target}: {self.subject} {self.id} {self.kind.replace('_', ' ')}{reason}"


@dataclass(frozen=True, slots=True)
class SessionEvent(_Event):
    """A session of the pool was opened or adopted, or ended.

    Attributes:
        kind: `opened`, `adopted`, `timed_out`, `failed` (under the Abort policy), `lost` (ended for
            any other reason) or `closed`.
        time: Seconds since the Unix epoch, on the pool's clock.
        cost: Always None; jobs report their costs.
        reason: The service's status where the kind does not say it.
        creation_time: When it was opened, on the service's clock; None if that is not known.
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
    def is_start_of_session(self) -> bool:
        """Whether the target has an open session from this event on."""
        return self.kind in ("opened", "adopted")


@dataclass(frozen=True, slots=True)
class JobEvent(_Event):
    """A job was submitted or finished.

    Attributes:
        kind: `submitted`, `succeeded`, `failed` or `cancelled`.
        time: Seconds since the Unix epoch, on the pool's clock.
        cost: The cost that the service reports, in the account's currency; None if it does not.
        reason: The service's error code of a failure.
        sweep_id: The `sweep_id` of the sampler's call that the job belongs to, if any.
        creation_time: When it was submitted, on the service's clock; None if that is not known.
        begin_time: When it began to run, likewise; None if it had not.
        end_time: When it ended, likewise.
        currency: The currency of `cost`.
        consumed: The job's consumption, as the service reports it: dimensions and amounts, such as
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
    begin_time: float | None = None

    subject: ClassVar[Literal["job"]] = "job"


@dataclass(frozen=True, slots=True)
class SweepEvent(_Event):
    """A call of a sampler began or ended: a sweep, or one circuit of a batch.

    Attributes:
        kind: `started`; then `finished`, even if points failed under `on_error="return"`;
            `failed`, with an error of this package; or `interrupted`, by anything else.
        sweep_id: The id of the call, which the events of its jobs carry too.
        time: Seconds since the Unix epoch, on the pool's clock.
        jobs: The number of jobs of the call.
        reason: The class of the error of the point that failed first, or else of what ended the
            call.
    """

    kind: str
    sweep_id: str
    target: str
    time: float
    jobs: int
    reason: str = ""

    subject: ClassVar[Literal["sweep"]] = "sweep"


AnyEvent = SessionEvent | JobEvent | SweepEvent
