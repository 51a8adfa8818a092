"""Trouble on order: what the emulator does wrong next, and how often.

    with EmulatorServer() as server:
        faults = server.faults
        faults.add("submit", status=429, retry_after=1, times=3)  # three refusals, then all is well
        faults.add("sasUri", status=503)                          # one 503; so with 500
        faults.add("poll", delay=30)                              # half a minute late, on the clock
        faults.reset("upload")                                    # cut off before it took effect
        faults.reset("upload", after=True)                        # ... after the blob was stored
        faults.garble("job")                                      # 200, and no JSON
        faults.add("*/jobs/*", verb="PUT", status=500)            # any path, by a glob
        faults.latency = 0.05                                     # every request, for good

        faults.fail_job(code="InternalError", message="Lost.")    # the next job submitted
        faults.hang_job(target="ionq.*")                          # it executes for ever
        faults.cancel_job()                                       # the service cancels it
        faults.time_out_session()                                 # found at the next submission
        faults.fail_session()
        faults.expire_sas("*/rawOutputData")                      # refused, whatever its `se` says
        faults.expire_sas(announced=60)                           # its `se` says so: a minute

        print(faults)       # what is still to come
        faults.clear()

A fault waits for the next `times` requests, jobs, submissions or signatures that it matches, and is
then gone. Where several match, the oldest goes first, one a request. `route` is one of the names
in `route_names`, or a glob on the path.

Over HTTP, with the server's key: POST the same arguments as JSON to `/emulator/faults`, such as
`{"route": "submit", "status": 429, "retry_after": 1, "times": 3}`; see `control`.
"""

from __future__ import annotations

import fnmatch
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from cirq_azure_sessions.emulator.route_names import RoutePattern
from cirq_azure_sessions.emulator.sas import Lifetime
from cirq_azure_sessions.model import SessionStatus

__all__ = ["Fault", "Faults", "JobFault", "RequestFault", "SasFault", "SessionFault"]

JobEnd = Literal["fail", "hang", "cancel"]

_GARBAGE = "<html><body>This is not the answer.</body></html>"


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
        _check(self.status is None or _is_whole(self.status, 400, 599), "status", "400 to 599")
        _check(
            self.retry_after is None or _is_number(self.retry_after),
            "retry_after",
            "seconds, 0 or more",
        )
        _check(_is_number(self.delay), "delay", "seconds, 0 or more")
        _check(self.retry_after is None or self.status is not None, "retry_after", "with a status")
        kinds = [self.status is not None, self.is_reset, self.garbage is not None]
        _check(sum(kinds) <= 1, "a fault", "one of a status, a reset and garbage")
        _check(any(kinds) or self.delay > 0, "a fault", "a status, a reset, garbage or a delay")
        _check(any(kinds) or not self.after, "after", "with a status, a reset or garbage")

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
        _check(self.end in get_args(JobEnd), "job", ", ".join(get_args(JobEnd)))

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
        _check(self.status in ends, "session", "TimedOut or Failed")

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
        _check(_is_number(self.lifetime.announced), "announced", "seconds, 0 or more")
        actual = self.lifetime.actual
        _check(actual is None or _is_number(actual), "after", "seconds, 0 or more")

    def __str__(self) -> str:
        return f"SAS on {self.resource}: expires after {self.lifetime.shortest:g} s"


Fault = RequestFault | JobFault | SessionFault | SasFault

F = TypeVar("F", RequestFault, JobFault, SessionFault, SasFault)


@dataclass(slots=True)
class _Pending:
    """A fault and how often it is still to happen; infinitely often until it is cleared."""

    fault: Fault
    times: float

    def __str__(self) -> str:
        return f"{self.fault}{'' if self.times == 1 else f', {self.times:g} times'}"


class Faults:
    """What is to go wrong; see the module's text for every kind.

    Thread-safe. `times=None` means until `clear()`.

    Args:
        latency: Seconds that every request waits first, on the server's clock.
    """

    def __init__(self, latency: float = 0.0) -> None:
        # State: the faults to come, oldest first, and the latency of every request.
        self._pending: list[_Pending] = []
        self._latency = 0.0
        # Guards both.
        self._lock = threading.Lock()
        self.latency = latency

    @property
    def latency(self) -> float:
        """Seconds that every request waits first, on the server's clock."""
        return self._latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        _check(_is_number(seconds), "latency", "seconds, 0 or more")
        with self._lock:
            self._latency = float(seconds)

    def add(
        self,
        route: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        delay: float = 0.0,
        after: bool = False,
        verb: str | None = None,
        code: str = "",
        message: str = "This fault was asked for.",
        times: int | None = 1,
    ) -> None:
        """The next requests on `route` are answered with `status`, or are late, or both.

        Args:
            route: A name of `route_names`, or a glob on the path.
            status: An HTTP status from 400 to 599.
            retry_after: Seconds for the `Retry-After` header; None for no header.
            delay: Seconds on the server's clock before the request is looked at.
            after: Whether the request takes effect and only its answer is replaced.
            verb: An HTTP verb, or None for any.
            code: The code in the body; by default what Azure says with that status.
            message: The sentence in the body.
            times: How many requests; None for all.

        Raises:
            ValueError: If an argument makes no sense; the message says what would.
        """
        pattern = RoutePattern(route, verb)
        self._append(
            RequestFault(
                pattern,
                status=status,
                retry_after=retry_after,
                delay=delay,
                after=after,
                code=code,
                message=message,
            ),
            times,
        )

    def reset(
        self,
        route: str,
        *,
        after: bool = False,
        delay: float = 0.0,
        verb: str | None = None,
        times: int | None = 1,
    ) -> None:
        """The next requests on `route` lose their connection, before or after they took effect."""
        pattern = RoutePattern(route, verb)
        self._append(RequestFault(pattern, is_reset=True, after=after, delay=delay), times)

    def garble(
        self,
        route: str,
        garbage: str = _GARBAGE,
        *,
        after: bool = False,
        delay: float = 0.0,
        verb: str | None = None,
        times: int | None = 1,
    ) -> None:
        """The next requests on `route` are answered with 200 and `garbage` for a body."""
        pattern = RoutePattern(route, verb)
        self._append(RequestFault(pattern, garbage=garbage, after=after, delay=delay), times)

    def fail_job(
        self,
        code: str = "InternalError",
        message: str = "The job failed, as was asked for.",
        *,
        target: str = "*",
        times: int | None = 1,
    ) -> None:
        """The next jobs are accepted and fail, with this `errorData`; `target` is a glob."""
        self._append(JobFault("fail", target, code, message), times)

    def hang_job(self, *, target: str = "*", times: int | None = 1) -> None:
        """The next jobs are accepted and execute until they are cancelled."""
        self._append(JobFault("hang", target), times)

    def cancel_job(self, *, target: str = "*", times: int | None = 1) -> None:
        """The next jobs are accepted and then cancelled by the service."""
        self._append(JobFault("cancel", target), times)

    def time_out_session(self, *, target: str = "*", times: int | None = 1) -> None:
        """The next submission in a session finds that the session has timed out."""
        self._append(SessionFault(SessionStatus.TIMED_OUT, target), times)

    def fail_session(self, *, target: str = "*", times: int | None = 1) -> None:
        """The next submission in a session finds that the session has failed."""
        self._append(SessionFault(SessionStatus.FAILED, target), times)

    def expire_sas(
        self,
        resource: str = "*",
        *,
        after: float | None = None,
        announced: float | None = None,
        times: int | None = 1,
    ) -> None:
        """The next SAS that is signed for `resource` expires early.

        Args:
            resource: A glob on `container` or `container/blob`, such as `*/rawOutputData`.
            after: Seconds until it is refused, whatever its `se` says; with neither this nor
                `announced`, it is refused at once.
            announced: Seconds until it expires as its `se` says.
            times: How many signatures; None for all.
        """
        if after is None and announced is None:
            after = 0.0
        usual = Lifetime().announced
        lifetime = Lifetime(usual if announced is None else announced, after)
        self._append(SasFault(resource, lifetime), times)

    def add_document(self, document: Mapping[str, Any]) -> None:
        """Adds a fault from JSON.

        The member that says what is disturbed comes with the keyword arguments of the method that
        does it from Python: `route` (with `status` or `delay`, with `reset: true`, or with
        `garbage`), `job` (`fail`, `hang`, `cancel`), `session` (`TimedOut`, `Failed`) or `sas`.

        Raises:
            ValueError: If it is no fault; the message says what would be one.
        """
        kinds = [kind for kind in _DOCUMENTS if kind in document]
        if len(kinds) != 1:
            raise ValueError(f"A fault has one of these members: {', '.join(_DOCUMENTS)}.")
        arguments = {name: value for name, value in document.items() if name != kinds[0]}
        for name, value in document.items():
            _check_json_type(name, value)
        try:
            _DOCUMENTS[kinds[0]](self, document[kinds[0]], **arguments)
        except TypeError:
            raise ValueError(f"A {kinds[0]} fault does not have these members.") from None

    def clear(self) -> None:
        """Forgets every fault to come; `latency` stays."""
        with self._lock:
            self._pending.clear()

    def pending(self) -> list[str]:
        """What is to come, one sentence a fault, oldest first."""
        with self._lock:
            return [str(pending) for pending in self._pending]

    def take_request(self, verb: str, path: str) -> RequestFault | None:
        """What happens to this request; it counts as having happened."""
        return self._take(RequestFault, lambda fault: fault.pattern.matches(verb, path))

    def take_job(self, target: str) -> JobFault | None:
        """What becomes of a job on `target` that is accepted now."""
        return self._take(JobFault, lambda fault: fnmatch.fnmatchcase(target, fault.target))

    def take_session(self, target: str) -> SessionFault | None:
        """How the session of a submission on `target` has ended, if it has."""
        return self._take(SessionFault, lambda fault: fnmatch.fnmatchcase(target, fault.target))

    def sas_lifetime(self, resource: str) -> Lifetime:
        """How long the SAS that is signed now for `container` or `container/blob` holds."""
        fault = self._take(SasFault, lambda fault: fnmatch.fnmatchcase(resource, fault.resource))
        return Lifetime() if fault is None else fault.lifetime

    def _append(self, fault: Fault, times: int | None) -> None:
        _check(times is None or _is_whole(times, 1, 10**9), "times", "a whole number from 1 on")
        with self._lock:
            self._pending.append(_Pending(fault, math.inf if times is None else times))

    def _take(self, kind: type[F], matches: Callable[[F], bool]) -> F | None:
        with self._lock:
            for pending in self._pending:
                if isinstance(pending.fault, kind) and matches(pending.fault):
                    pending.times -= 1
                    if pending.times == 0:
                        self._pending.remove(pending)
                    return pending.fault
        return None

    def __repr__(self) -> str:
        waiting = f"latency {self.latency:g} s; " if self.latency else ""
        return f"Faults({waiting}{'; '.join(self.pending()) or 'nothing to come'})"


def _add_route(
    faults: Faults,
    route: str,
    *,
    reset: bool = False,
    garbage: str | None = None,
    **arguments: Any,
) -> None:
    if garbage is not None:
        faults.garble(route, garbage, **arguments)
    elif reset:
        faults.reset(route, **arguments)
    else:
        faults.add(route, **arguments)


def _add_job(faults: Faults, end: str, **arguments: Any) -> None:
    verbs = {"fail": faults.fail_job, "hang": faults.hang_job, "cancel": faults.cancel_job}
    _check(end in verbs, "job", ", ".join(verbs))
    verbs[end](**arguments)


def _add_session(faults: Faults, status: str, **arguments: Any) -> None:
    verbs = {"TimedOut": faults.time_out_session, "Failed": faults.fail_session}
    _check(status in verbs, "session", ", ".join(verbs))
    verbs[status](**arguments)


_DOCUMENTS: dict[str, Callable[..., None]] = {
    "route": _add_route,
    "job": _add_job,
    "session": _add_session,
    "sas": Faults.expire_sas,
}

_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "status": (int,),
    "times": (int, type(None)),
    "retry_after": (int, float, type(None)),
    "delay": (int, float),
    "announced": (int, float),
    "reset": (bool,),
}


def _check_json_type(name: str, value: object) -> None:
    # `after` is seconds of a SAS and a yes or no of a request; every other member is text.
    wanted = (int, float, bool) if name == "after" else _JSON_TYPES.get(name, (str,))
    is_right = isinstance(value, wanted) and (bool in wanted or not isinstance(value, bool))
    _check(is_right, name, " or ".join(kind.__name__ for kind in wanted))


def _is_whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and least <= value <= most


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < math.inf


def _check(is_right: bool, name: str, wanted: str) -> None:
    if not is_right:
        raise ValueError(f"Give {name}: {wanted}.")
