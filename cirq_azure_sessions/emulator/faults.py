"""Faults to inject: what goes wrong next, how often, and for how long.

    with EmulatorServer() as server:
        faults = server.faults
        faults.add("submit", status=429, retry_after=1, times=3)  # three refusals, then none
        faults.add("poll", delay=30)                              # 30 s late on the server's clock
        faults.add("job", status=404, duration=60)                # for a minute from the first one
        faults.add("*", status=429, rate=120, times=None)         # beyond 120 requests a second
        faults.add("close", drip=0.1)                             # a body of ten bytes a second
        faults.garble("*/jobs/*", verb="PUT")                     # any path, as a glob
        faults.reset("upload", after=True)                        # lost after the blob was stored
        faults.reset("*", trigger="upload", skip=4, duration=3600)  # no network from the 5th upload
        faults.fail_job(code="InternalError", target="ionq.*")    # the next job submitted there
        faults.expire_sas("*/rawOutputData", announced=60)        # with an early `se`: in a minute

Each call adds a `Fault`. To do the same over HTTP, POST its attributes as JSON with the server's
key, such as `{"route": "submit", "status": 429, "retry_after": 1, "times": 3}`, to
`/emulator/faults`. If several faults match a request, the oldest applies.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import http.client
import math
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from cirq_azure_sessions.clock import Clock, SystemClock
from cirq_azure_sessions.emulator.requests import (
    CONTROL,
    STORAGE_ROUTES,
    Requests,
    is_on_route,
    is_route,
    route_name,
)
from cirq_azure_sessions.emulator.responses import ApiError
from cirq_azure_sessions.emulator.sas import Lifetime
from cirq_azure_sessions.emulator.storage_error import error_response

__all__ = ["Fault", "Faults", "fault_middleware"]

# Azure's error codes are mostly the status in words; these are not.
_STORAGE_CODES = {429: "ServerBusy", 500: "InternalError", 503: "ServerBusy"}


def _is_duration(value: Any) -> bool:
    # By its type, since a bool is an int too; an int may be larger than any float.
    return type(value) in (int, float) and 0 <= value <= sys.float_info.max


def _is_whole(value: object, least: int, most: int = 10**9) -> bool:
    return type(value) is int and least <= value <= most


_Values: TypeAlias = tuple[str, Callable[[Any], object]]

_TEXT: _Values = "a text", lambda value: isinstance(value, str)
_SECONDS: _Values = "seconds, 0 or more", _is_duration
_SWITCH: _Values = "true or false", lambda value: type(value) is bool

# The attributes of each kind of fault, with the values that they take in words and as a check.
_KINDS: dict[str, dict[str, _Values]] = {
    "route": {
        **dict.fromkeys(("route", "trigger"), ("a route", is_route)),
        **dict.fromkeys(("garbage", "code", "message"), _TEXT),
        **dict.fromkeys(("retry_after", "delay", "drip"), _SECONDS),
        **dict.fromkeys(("reset", "after"), _SWITCH),
        "verb": (
            "an HTTP verb in capitals",
            lambda value: isinstance(value, str) and value.isascii() and value.isupper(),
        ),
        "status": ("400 to 599", lambda value: _is_whole(value, 400, 599)),
        "skip": ("a whole number from 0", lambda value: _is_whole(value, 0)),
        "rate": ("1 or more a second", lambda value: _is_duration(value) and value >= 1),
    },
    "job": {
        "job": ("fail, hang or cancel", ("fail", "hang", "cancel").count),
        **dict.fromkeys(("target", "code", "message"), _TEXT),
    },
    "session": {
        "session": ("TimedOut or Failed", ("TimedOut", "Failed").count),
        "target": _TEXT,
    },
    "sas": {"sas": _TEXT, "after": _SECONDS, "announced": _SECONDS},
}
_COMMON: dict[str, _Values] = {
    "times": ("a whole number from 1", lambda value: value is None or _is_whole(value, 1)),
    "duration": _SECONDS,
}
# The attributes that replace a request's answer.
_ANSWERS = {"status", "reset", "garbage", "drip"}


@dataclasses.dataclass(kw_only=True, eq=False)
class Fault:
    """A fault of a request, a job, a session or a signature, whichever of the first four fields is
    given. `times` and `skip` count down as it is used.

    Attributes:
        route: The requests it applies to: a name in `requests`, or a glob on the path.
        job: What happens to an accepted job: `fail`, `hang` or `cancel`.
        session: The state in which a submission finds its session: `TimedOut` or `Failed`.
        sas: The signatures that expire early: a glob on `container` or `container/blob`.
        times: How many times it applies; None for no limit, the default with a duration.
        duration: Seconds on the clock from its first use until it ends; None for no end.
        target: A glob on the target of the job or session.
        verb: An HTTP verb, or None for any.
        status: An HTTP status from 400 to 599 to answer with.
        retry_after: The seconds in `Retry-After`, or None for no such header.
        delay: Seconds on the clock before anything else happens.
        reset: Whether the connection is cut instead of an answer.
        garbage: The body answered with 200 instead, or None.
        drip: Seconds of real time between two bytes of a body that never ends, or None.
        after: Whether the request takes effect before its answer is spoiled; of a signature, the
            seconds until it is refused, whatever its `se` says.
        announced: Seconds until a signature expires as its `se` says.
        code, message: Of the body, or of the `errorData` of a job; by default those of the fault.
        trigger: The route whose requests start it, in place of `route`.
        skip: How many requests on that route succeed first.
        rate: The requests a second on that route that succeed, at first up to one second's at
            once; the fault applies to all others. None for no such limit.
    """

    route: str | None = None
    job: str | None = None
    session: str | None = None
    sas: str | None = None
    times: int | None = 1
    duration: float | None = None
    target: str = "*"
    verb: str | None = None
    status: int | None = None
    retry_after: float | None = None
    delay: float = 0.0
    reset: bool = False
    garbage: str | None = None
    drip: float | None = None
    after: float | bool | None = None
    announced: float | None = None
    code: str = ""
    message: str = ""
    trigger: str | None = None
    skip: int = 0
    rate: float | None = None

    def __post_init__(self) -> None:
        # State: when it ends, from its first use on; for a rate, the requests that may succeed now,
        # and when they were computed.
        self.end: float | None = None
        self._spare, self._counted_at = 0.0, -math.inf
        given = self.document()
        kinds = [kind for kind in _KINDS if kind in given]
        _check(len(kinds) == 1, "a fault", f"one of {', '.join(_KINDS)}")
        values = _COMMON | _KINDS[kinds[0]]
        _check(given.keys() <= values.keys(), f"a {kinds[0]} fault", "only its own attributes")
        for name, value in given.items():
            description, is_valid = values[name]
            _check(is_valid(value), name, description)
        if self.job in ("hang", "cancel"):
            _check(not (self.code or self.message), "code and message", "to a job that fails")
        answers = given.keys() & _ANSWERS
        # Whether a request is served normally after the delay.
        self.is_only_late = not answers
        if self.route is not None:
            valid = "a delay, or one of a status, a reset, garbage and a drip"
            _check(len(answers) == 1 or (not answers and self.delay), "a fault", valid)
            _check(answers or not self.after, "after", "with a status, a reset, garbage or a drip")
            _check(self.status or self.retry_after is None, "retry_after", "with a status")

    def document(self) -> dict[str, Any]:
        """The attributes that are not at their defaults, as `Faults.add` takes them."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }

    def affects(self, name: str, verb: str, path: str, now: float) -> bool:
        """Whether it spoils this request, which may use up what `skip` and `rate` let pass."""
        has_begun = self.end is not None
        route = self.route if has_begun or self.trigger is None else self.trigger
        if self.verb not in (None, verb) or not is_on_route(route or "*", name, path):
            return False
        if not has_begun and self.skip:
            self.skip -= 1
            return False
        if self.rate is not None:
            refilled = self._spare + self.rate * (now - self._counted_at)
            self._spare, self._counted_at = min(refilled, self.rate), now
            if self._spare >= 1:
                self._spare -= 1
                return False
        return True


class Faults:
    """The pending faults of a server, on its clock. Thread-safe."""

    def __init__(self, latency: float = 0.0, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        # State: the pending faults, oldest first.
        self._pending: list[Fault] = []
        # Guards them, and what they count down.
        self._lock = threading.Lock()
        self.latency = latency

    @property
    def latency(self) -> float:
        """Seconds that every request waits first, on the server's clock."""
        return self._latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        _check(_is_duration(seconds), "latency", "seconds, 0 or more")
        self._latency = float(seconds)

    def add(self, route: str | None = None, /, **members: Any) -> None:
        """Adds a fault; `members` are attributes of `Fault`.

        Raises:
            ValueError: If they are invalid; the message says what is valid.
        """
        if route is not None:
            members["route"] = route
        if members.get("duration") is not None:
            members.setdefault("times", None)
        try:
            fault = Fault(**members)
        except TypeError:
            raise ValueError("Unknown fault attribute: see the attributes of Fault.") from None
        with self._lock:
            self._pending.append(fault)

    def reset(self, route: str, **members: Any) -> None:
        """The next requests on `route` lose their connection, before or after they take effect."""
        self.add(route, reset=True, **members)

    def garble(
        self, route: str, garbage: str = "<p>This is not the answer.</p>", **members: Any
    ) -> None:
        """The next requests on `route` are answered with status 200 and `garbage` as the body."""
        self.add(route, garbage=garbage, **members)

    def fail_job(
        self,
        code: str = "InternalError",
        message: str = "The emulator was told to fail this job.",
        **members: Any,
    ) -> None:
        """The next jobs are accepted and fail, with this `errorData`."""
        self.add(job="fail", code=code, message=message, **members)

    def hang_job(self, **members: Any) -> None:
        """The next jobs are accepted and run until they are cancelled."""
        self.add(job="hang", **members)

    def cancel_job(self, **members: Any) -> None:
        """The next jobs are accepted and then cancelled by the service."""
        self.add(job="cancel", **members)

    def time_out_session(self, **members: Any) -> None:
        """The next submission in a session finds that the session has timed out."""
        self.add(session="TimedOut", **members)

    def fail_session(self, **members: Any) -> None:
        """The next submission in a session finds that the session has failed."""
        self.add(session="Failed", **members)

    def expire_sas(self, resource: str = "*", **members: Any) -> None:
        """The next SAS for `resource` expires early: at once without `after` and `announced`."""
        self.add(sas=resource, **members)

    def clear(self) -> None:
        """Drops all pending faults; `latency` stays."""
        with self._lock:
            self._pending.clear()

    def pending(self) -> list[dict[str, Any]]:
        """The pending faults, oldest first, as `add` takes them."""
        with self._lock:
            return [fault.document() for fault in self._pending]

    def take_request(self, name: str, verb: str, path: str) -> Fault | None:
        """Takes the fault for this request on the route of this name, if any."""
        now = self._clock.monotonic()
        return self._take("route", lambda fault: fault.affects(name, verb, path, now))

    def take_job(self, target: str) -> Fault | None:
        """Takes the fault for a job just accepted on `target`, if any."""
        return self._take("job", lambda fault: fnmatch.fnmatchcase(target, fault.target))

    def take_session(self, target: str) -> Fault | None:
        """Takes the fault for the session of a submission on `target`: the state it ends in."""
        return self._take("session", lambda fault: fnmatch.fnmatchcase(target, fault.target))

    def sas_lifetime(self, resource: str) -> Lifetime:
        """The lifetime of a SAS signed now for `container` or `container/blob`."""
        fault = self._take("sas", lambda fault: fnmatch.fnmatchcase(resource, fault.sas or ""))
        if fault is None:
            return Lifetime()
        given = {"announced": fault.announced, "actual": fault.after}
        times = {name: seconds for name, seconds in given.items() if seconds is not None}
        return Lifetime(**times or {"actual": 0.0})

    def _take(self, kind: str, matches: Callable[[Fault], bool]) -> Fault | None:
        if not self._pending:
            return None
        with self._lock:
            now = self._clock.monotonic()
            self._pending = [each for each in self._pending if each.end is None or now < each.end]
            for fault in self._pending:
                if getattr(fault, kind) is None or not matches(fault):
                    continue
                if fault.end is None:
                    fault.end = math.inf if fault.duration is None else now + fault.duration
                if fault.times is not None:
                    fault.times -= 1
                if fault.times == 0:
                    self._pending.remove(fault)
                return fault
            return None

    def __repr__(self) -> str:
        return f"Faults(latency={self.latency:g}, pending={self.pending()})"


def fault_middleware(faults: Faults, requests: Requests, clock: Clock) -> Middleware:
    """Counts, delays and spoils every request except those to the control routes."""

    @web.middleware
    async def disturb(request: web.Request, handler: Handler) -> web.StreamResponse:
        name = route_name(request)
        if name == CONTROL:
            return await handler(request)
        requests.count(name)
        fault = faults.take_request(name, request.method, request.path)
        delay = faults.latency + (fault.delay if fault else 0.0)
        if delay > 0:
            await clock.sleep(delay)
        if fault is None or fault.is_only_late:
            return await handler(request)
        if fault.after:
            await handler(request)
        if fault.reset and request.transport is not None:
            # Unread and unwritten data is lost.
            request.transport.abort()
        if fault.drip is not None:
            return await _drip(request, fault.drip)
        return _answer(fault, is_storage=name in STORAGE_ROUTES)

    return disturb


async def _drip(request: web.Request, pause: float) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = 2**40
    await response.prepare(request)
    # Until the client hangs up, or the server stops.
    while request.transport is not None and not request.transport.is_closing():
        await response.write(b" ")
        # Clients measure their timeouts in real time too.
        await SystemClock.sleep(pause)
    return response


def _answer(fault: Fault, *, is_storage: bool) -> web.Response:
    if fault.status is None:
        return web.Response(text=fault.garbage or "", content_type="application/json")
    in_words = http.client.responses.get(fault.status, "Unknown").replace(" ", "")
    code = fault.code or (is_storage and _STORAGE_CODES.get(fault.status)) or in_words
    message = fault.message or "The emulator was told to answer with this fault."
    if is_storage:
        response = error_response(fault.status, code, message)
    else:
        response = ApiError(fault.status, code, message).response()
    if fault.retry_after is not None:
        response.headers["Retry-After"] = f"{fault.retry_after:g}"
    return response


def _check(is_right: object, name: str, valid: str) -> None:
    if not is_right:
        raise ValueError(f"Give {name}: {valid}.")
