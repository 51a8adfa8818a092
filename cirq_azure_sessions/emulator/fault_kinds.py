"""What can be ordered to go wrong: frozen values that check themselves and say what they do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from cirq_azure_sessions.emulator.route_names import RoutePattern
from cirq_azure_sessions.emulator.sas import Lifetime
from cirq_azure_sessions.model import SessionStatus

__all__ = [
    "JobFault",
    "RequestFault",
    "SasFault",
    "SessionFault",
    "check",
    "is_duration",
    "is_whole",
]

JobEnd = Literal["fail", "hang", "cancel"]


def check(is_right: bool, name: str, wanted: str) -> None:
    """Passes if an argument is right.

    Raises:
        ValueError: Naming the argument and what it takes.
    """
    if not is_right:
        raise ValueError(f"Give {name}: {wanted}.")


def is_whole(value: object, least: int, most: int) -> bool:
    """Whether `value` is a whole number between these two."""
    return isinstance(value, int) and least <= value <= most


def is_duration(value: object) -> bool:
    """Whether `value` is a finite number of seconds, 0 or more."""
    return isinstance(value, int | float) and 0 <= value < math.inf


@dataclass(frozen=True, slots=True)
class RequestFault:
    """What happens to a request.

    Attributes:
        pattern: Which requests.
        status: The HTTP status answered instead, or None.
        retry_after: The seconds in `Retry-After`, or None for no such header.
        delay: Seconds on the server's clock before anything else happens.
        is_reset: Whether the connection is cut instead of an answer.
        garbage: The body answered with 200 instead, or None.
        after: Whether the request takes effect before its answer is spoiled.
        code: The service's code in the body; by default what goes with the status.
        message: The sentence in the body.
    """

    pattern: RoutePattern
    status: int | None = None
    retry_after: float | None = None
    delay: float = 0.0
    is_reset: bool = False
    garbage: str | None = None
    after: bool = False
    code: str = ""
    message: str = "This fault was asked for."

    def __post_init__(self) -> None:
        check(self.status is None or is_whole(self.status, 400, 599), "status", "400 to 599")
        check(
            self.retry_after is None or is_duration(self.retry_after),
            "retry_after",
            "seconds, 0 or more",
        )
        check(is_duration(self.delay), "delay", "seconds, 0 or more")
        check(self.retry_after is None or self.status is not None, "retry_after", "with a status")
        kinds = [self.status is not None, self.is_reset, self.garbage is not None]
        check(sum(kinds) <= 1, "a fault", "one of a status, a reset and garbage")
        check(any(kinds) or self.delay > 0, "a fault", "a status, a reset, garbage or a delay")
        check(any(kinds) or not self.after, "after", "with a status, a reset or garbage")

    @property
    def is_only_late(self) -> bool:
        """Whether the request is served as ever once the delay is over."""
        return self.status is None and not self.is_reset and self.garbage is None

    def __str__(self) -> str:
        parts = [f"{self.delay:g} s late"] if self.delay else []
        if self.status is not None:
            parts.append(str(self.status))
        if self.retry_after is not None:
            parts.append(f"retry after {self.retry_after:g} s")
        if self.is_reset:
            parts.append("reset")
        if self.garbage is not None:
            parts.append("garbage")
        if self.after:
            parts.append("after it took effect")
        return f"{self.pattern}: {', '.join(parts)}"


@dataclass(frozen=True, slots=True)
class JobFault:
    """What becomes of a job.

    Attributes:
        end: `fail`, `hang` or `cancel`.
        target: A glob on the job's target.
        code, message: The `errorData` of a job that fails.
    """

    end: JobEnd
    target: str = "*"
    code: str = "InternalError"
    message: str = "The job failed, as was asked for."

    def __post_init__(self) -> None:
        check(self.end in get_args(JobEnd), "job", ", ".join(get_args(JobEnd)))

    @property
    def keeps_running(self) -> bool:
        """Whether the job never ends of itself: it hangs, or the service is to cancel it."""
        return self.end in ("hang", "cancel")

    def __str__(self) -> str:
        ends = {"fail": f"fails with {self.code}", "hang": "hangs", "cancel": "is cancelled"}
        return f"job on {self.target}: {ends[self.end]}"


@dataclass(frozen=True, slots=True)
class SessionFault:
    """How the session of a submission turns out to have ended.

    Attributes:
        status: `TimedOut` or `Failed`.
        target: A glob on the session's target.
    """

    status: SessionStatus
    target: str = "*"

    def __post_init__(self) -> None:
        ends = (SessionStatus.TIMED_OUT, SessionStatus.FAILED)
        check(self.status in ends, "session", "TimedOut or Failed")

    def __str__(self) -> str:
        return f"session on {self.target}: {self.status.value}"


@dataclass(frozen=True, slots=True)
class SasFault:
    """How long a SAS holds.

    Attributes:
        resource: A glob on `container` or `container/blob`.
        lifetime: What it says, and when it is refused.
    """

    resource: str
    lifetime: Lifetime

    def __post_init__(self) -> None:
        check(is_duration(self.lifetime.announced), "announced", "seconds, 0 or more")
        actual = self.lifetime.actual
        check(actual is None or is_duration(actual), "after", "seconds, 0 or more")

    def __str__(self) -> str:
        return f"SAS on {self.resource}: expires after {self.lifetime.shortest:g} s"
