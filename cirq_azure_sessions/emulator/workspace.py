"""The emulator's workspace: `LocalWorkspace` with the features of a service."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, cast

from cirq_azure_sessions.model import (
    Cost,
    Job,
    JobRequest,
    Session,
    SessionRequest,
    SessionStatus,
)
from cirq_azure_sessions.workspaces.local import JobPace, LocalWorkspace
from cirq_azure_sessions.workspaces.local.state import Outcome

__all__ = ["EmulatedWorkspace", "JobDetails", "NotedSessionRequest"]

# The service keeps everything; an emulator that runs for days must limit its memory.
_MAX_HISTORY = 100_000


@dataclass(frozen=True, slots=True)
class JobDetails:
    """What a job's document tells that its `Job` does not.

    Attributes:
        request: The submitted request, with any later updates.
        last_modified_time: When it was created, handed to the provider or finished, whichever came
            last, in seconds since the epoch.
    """

    request: JobRequest
    last_modified_time: float
    was_handed_over: bool


@dataclass(frozen=True, slots=True)
class NotedSessionRequest(SessionRequest):
    """A session to open, with what only its document tells."""

    # In lower case, as the service returns it.
    provider: str = ""
    priority: str | None = None
    tags: tuple[str, ...] = ()


class EmulatedWorkspace(LocalWorkspace):
    """A `LocalWorkspace` with costs, queues, late timeouts, and control over sessions and jobs.

    It keeps the requests of all its jobs, because lists show their contents.

    Args:
        slots: How many jobs a target runs at once on the clock, for all targets or by target;
            further ones wait in its queue. None sets no limit.
        timeout_notice: Delay in seconds before a session's timeout is noticed, or a function that
            draws it, called with the workspace locked. Until then the session accepts jobs.
        **options: Those of `LocalWorkspace`. A backend that stores the results itself returns the
            job's `Cost`.
    """

    def __init__(
        self,
        *,
        slots: int | Mapping[str, int] | None = None,
        timeout_notice: float | Callable[[], float] = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._schedule.timeout_notice = timeout_notice
        self._schedule.slots = slots
        self._schedule.max_history = self._schedule.max_outputs = _MAX_HISTORY

    def top_level_items(self) -> Sequence[Session | Job]:
        """All sessions, and the jobs outside any session: a view, as `jobs()` is."""
        return self._live.view(self._schedule.top_level)

    def session_request(self, session_id: str) -> NotedSessionRequest:
        """The request that opened a session. `ServiceError.is_missing` if there is none."""
        return cast(NotedSessionRequest, self._session(session_id).request)

    def job_details(self, job_id: str) -> JobDetails:
        """The further fields of a job. `ServiceError.is_missing` if there is none."""
        with self._live.deciding() as now:
            job = self._job(job_id)
            handed_over = job.created + job.pace.handover
            last_step = handed_over if now >= handed_over else job.created
            last_step = last_step if job.ended is None else job.ended
            return JobDetails(
                request=job.request,
                last_modified_time=self._live.epoch + last_step,
                was_handed_over=now > handed_over or job.final is not None,
            )

    async def break_off_session(self, session_id: str, status: SessionStatus) -> None:
        """Ends a session and cancels its jobs, as the service does after a failure."""
        session = self._session(session_id)
        with self._live.deciding() as now:
            self._schedule.break_off(session, status, now)

    async def change_pace(self, job_id: str, pace: JobPace) -> None:
        """Gives new times, counted from now, to a job that has not begun."""
        with self._live.deciding() as now:
            self._schedule.change_pace(self._job(job_id), pace, now)

    def _outcome(self, request: JobRequest, run: Future[Any]) -> Outcome:
        outcome = super()._outcome(request, run)
        cost = outcome.output if isinstance(outcome.output, Cost) else None
        # Clients receive a code and a message; the traceback is not needed.
        return replace(outcome, cost=cost, exception=None)
