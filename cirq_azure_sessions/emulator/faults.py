"""Faults to inject: what the emulator does wrong next, and how often.

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

A fault happens to the next `times` requests, jobs, submissions or signatures that it matches. If
several match a request, the oldest one happens. `route` is one of the names in `route_names`, or a
glob on the path.

Over HTTP, with the server's key: POST the same arguments as JSON to `/emulator/faults`, such as
`{"route": "submit", "status": 429, "retry_after": 1, "times": 3}`; see `fault_documents`.
"""

from __future__ import annotations

import fnmatch
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cirq_azure_sessions.emulator.fault_kinds import (
    JobFault,
    RequestFault,
    SasFault,
    SessionFault,
    check,
    is_duration,
    is_whole,
)
from cirq_azure_sessions.emulator.route_names import RoutePattern
from cirq_azure_sessions.emulator.sas import Lifetime
from cirq_azure_sessions.model import SessionStatus

__all__ = ["Faults"]

_GARBAGE = "<html><body>This is not the answer.</body></html>"

Fault = TypeVar("Fault")


@dataclass(slots=True)
class _Pending(Generic[Fault]):
    """A fault and how often it is still to happen; infinitely often until it is cleared."""

    fault: Fault
    times: float

    def __str__(self) -> str:
        if self.times == math.inf:
            return f"{self.fault}, until cleared"
        return f"{self.fault}{'' if self.times == 1 else f', {self.times:g} times'}"


class Faults:
    """The faults that are still to happen.

    Thread-safe. `times=None` means until `clear()`.

    Args:
        latency: Seconds that every request waits first, on the server's clock.
    """

    def __init__(self, latency: float = 0.0) -> None:
        # State: the faults to come, oldest first of each kind, and the latency of every request.
        self._requests: list[_Pending[RequestFault]] = []
        self._jobs: list[_Pending[JobFault]] = []
        self._sessions: list[_Pending[SessionFault]] = []
        self._signatures: list[_Pending[SasFault]] = []
        self._latency = 0.0
        # Guards all of the above.
        self._lock = threading.Lock()
        self.latency = latency

    @property
    def latency(self) -> float:
        """Seconds that every request waits first, on the server's clock."""
        return self._latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        check(is_duration(seconds), "latency", "seconds, 0 or more")
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
            self._requests,
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
        self._append(
            self._requests, RequestFault(pattern, is_reset=True, after=after, delay=delay), times
        )

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
        self._append(
            self._requests, RequestFault(pattern, garbage=garbage, after=after, delay=delay), times
        )

    def fail_job(
        self,
        code: str = "InternalError",
        message: str = "The job failed, as was asked for.",
        *,
        target: str = "*",
        times: int | None = 1,
    ) -> None:
        """The next jobs are accepted and fail, with this `errorData`; `target` is a glob."""
        self._append(self._jobs, JobFault("fail", target, code, message), times)

    def hang_job(self, *, target: str = "*", times: int | None = 1) -> None:
        """The next jobs are accepted and execute until they are cancelled."""
        self._append(self._jobs, JobFault("hang", target), times)

    def cancel_job(self, *, target: str = "*", times: int | None = 1) -> None:
        """The next jobs are accepted and then cancelled by the service."""
        self._append(self._jobs, JobFault("cancel", target), times)

    def time_out_session(self, *, target: str = "*", times: int | None = 1) -> None:
        """The next submission in a session finds that the session has timed out."""
        self._append(self._sessions, SessionFault(SessionStatus.TIMED_OUT, target), times)

    def fail_session(self, *, target: str = "*", times: int | None = 1) -> None:
        """The next submission in a session finds that the session has failed."""
        self._append(self._sessions, SessionFault(SessionStatus.FAILED, target), times)

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
        self._append(self._signatures, SasFault(resource, lifetime), times)

    def clear(self) -> None:
        """Forgets every fault to come; `latency` stays."""
        with self._lock:
            for queue in (self._requests, self._jobs, self._sessions, self._signatures):
                queue.clear()

    def pending(self) -> list[str]:
        """What is to come, one phrase a fault, oldest first of each kind."""
        with self._lock:
            queues = (self._requests, self._jobs, self._sessions, self._signatures)
            return [str(pending) for queue in queues for pending in queue]

    def take_request(self, verb: str, path: str) -> RequestFault | None:
        """What happens to this request; it counts as having happened."""
        return self._take(self._requests, lambda fault: fault.pattern.matches(verb, path))

    def take_job(self, target: str) -> JobFault | None:
        """What becomes of a job on `target` that is accepted now."""
        return self._take(self._jobs, lambda fault: fnmatch.fnmatchcase(target, fault.target))

    def take_session(self, target: str) -> SessionFault | None:
        """How the session of a submission on `target` has ended, if it has."""
        return self._take(self._sessions, lambda fault: fnmatch.fnmatchcase(target, fault.target))

    def sas_lifetime(self, resource: str) -> Lifetime:
        """How long the SAS that is signed now for `container` or `container/blob` holds."""
        fault = self._take(
            self._signatures, lambda fault: fnmatch.fnmatchcase(resource, fault.resource)
        )
        return Lifetime() if fault is None else fault.lifetime

    def _append(self, queue: list[_Pending[Fault]], fault: Fault, times: int | None) -> None:
        check(times is None or is_whole(times, 1, 10**9), "times", "a whole number from 1 on")
        with self._lock:
            queue.append(_Pending(fault, math.inf if times is None else times))

    def _take(self, queue: list[_Pending[Fault]], matches: Callable[[Fault], bool]) -> Fault | None:
        with self._lock:
            pending = next((pending for pending in queue if matches(pending.fault)), None)
            if pending is None:
                return None
            pending.times -= 1
            if pending.times == 0:
                queue.remove(pending)
            return pending.fault

    def __repr__(self) -> str:
        waiting = f"latency {self.latency:g} s; " if self.latency else ""
        return f"Faults({waiting}{'; '.join(self.pending()) or 'nothing to come'})"
