"""The state machines of sessions and jobs, independent of threads, locks and clocks.

`LocalWorkspace` reads the clock, runs the programs and holds the lock. All times are seconds of the
clock's `monotonic`, passed by the caller. The rules are those recorded from the service.
"""

from __future__ import annotations

import asyncio
import bisect
import math
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from cirq_azure_sessions.model import (
    Cost,
    Job,
    JobFailurePolicy,
    JobRequest,
    JobStatus,
    Session,
    SessionRequest,
    SessionStatus,
)

__all__ = [
    "JobPace",
    "JobRecord",
    "Ledger",
    "Outcome",
    "ProgramError",
    "SessionRecord",
    "remove",
]

R = TypeVar("R", bound="SessionRecord | JobRecord")


@dataclass(frozen=True, slots=True)
class JobPace:
    """How long a job takes on the clock. `math.inf` makes it hang.

    Attributes:
        queue: Seconds from its creation until it starts executing.
        run: Seconds of execution.
        visible: Seconds from the end of its execution until it has a final status.
        finishing: The last seconds of these, during which its status is `Finishing`.
        handover: Seconds from its creation until it is handed to the provider.
    """

    queue: float = 0.0
    run: float = 0.0
    visible: float = 0.0
    finishing: float = 0.0
    handover: float = 0.0


class ProgramError(Exception):
    """Raised by a backend if the program is at fault; the job fails with its code.

    Attributes:
        code: The service's code, such as `InvalidInputData`.
        message: A sentence for the job's submitter.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a program: an output, or the error that it raised."""

    status: JobStatus
    output: Any = field(default=None, repr=False)
    code: str = ""
    message: str = ""
    cost: Cost | None = None
    exception: BaseException | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, run: Future[Any]) -> Outcome:
        """The outcome of a finished run."""
        error = run.exception()
        if error is None:
            return cls(JobStatus.SUCCEEDED, run.result())
        return cls.failure(error)

    @classmethod
    def failure(cls, error: BaseException) -> Outcome:
        """The outcome of a run that raised this error."""
        code, message = "RuntimeError", type(error).__name__
        # The error is the user's, and may have no text; its job must finish nevertheless.
        with suppress(Exception):
            message = f"{message}: {error}"
        if isinstance(error, ProgramError):
            code, message = error.code, error.message
        return cls(JobStatus.FAILED, code=code, message=message, exception=error)


class Ledger:
    """Jobs in order of creation, their counts by status, and the waiters for news of them."""

    def __init__(self) -> None:
        self.jobs: list[JobRecord] = []
        self.unfinished: dict[str, JobRecord] = {}
        # How many jobs are due on the clock while their program is still running.
        self.overdue = 0
        self.ended = 0
        self.waiters: set[asyncio.Future[None]] = set()

    @property
    def is_late(self) -> bool:
        """Whether any job is due but its program is still running."""
        return self.overdue > 0

    def add(self, job: JobRecord) -> None:
        self.jobs.append(job)
        self.unfinished[job.request.id] = job

    def end(self, job: JobRecord) -> None:
        del self.unfinished[job.request.id]
        self.overdue -= job.is_overdue
        self.ended += 1


class SessionRecord:
    """One session: its jobs and its state.

    Args:
        request: The request that opened it.
        number: The session's index among all sessions and jobs.
        now: The time on the clock.
    """

    def __init__(self, request: SessionRequest, number: int, now: float) -> None:
        self.request = request
        self.number = number
        self.created = now
        self.ended: float | None = None
        self.status = SessionStatus.WAITING
        # When it was closed, if it was.
        self.closed: float | None = None
        # The cost of its jobs, once one with a cost has succeeded.
        self.cost: Cost | None = None
        self.ledger = Ledger()
        # When the idle timer was last restarted.
        self.last_activity = now
        # Whether a check of the idle timer is scheduled.
        self.is_watched = False

    @property
    def takes_jobs(self) -> bool:
        """Whether a job may be submitted."""
        return self.closed is None and not self.status.is_final

    @property
    def is_idle(self) -> bool:
        """Whether the idle timer is running."""
        return not (self.ledger.unfinished or self.status.is_final)

    def add(self, job: JobRecord) -> None:
        """Adds an accepted job."""
        self.ledger.add(job)
        self.last_activity = job.created

    def end_job(self, status: JobStatus, now: float) -> list[JobRecord]:
        """Records the end of one of its jobs.

        Returns:
            The jobs that have to be cancelled now.
        """
        if self.status.is_final:
            return []
        self.last_activity = max(self.last_activity, now)
        if status is JobStatus.FAILED:
            self.status = SessionStatus.FAILURES
            if self.request.job_failure_policy is JobFailurePolicy.ABORT:
                self._end(SessionStatus.FAILED, now)
                return list(self.ledger.unfinished.values())
        elif status.has_result and self.status is SessionStatus.WAITING:
            self.status = SessionStatus.EXECUTING
        self._end_if_closed(now)
        return []

    def add_cost(self, cost: Cost) -> None:
        """Adds the cost of a job; a session reports only the total."""
        total = cost.total + (self.cost.total if self.cost else 0.0)
        self.cost = Cost(total, cost.currency)

    def close(self, now: float) -> None:
        """Stops accepting jobs; ends at once if all have finished, else with the last one."""
        self.closed = now if self.closed is None else self.closed
        self._end_if_closed(now)

    def time_out(self, now: float) -> None:
        """Ends the session because it was idle for too long."""
        self._end(SessionStatus.TIMED_OUT, now)

    def break_off(self, status: SessionStatus, now: float) -> list[JobRecord]:
        """Ends the session for an external reason, with this final status.

        Returns:
            The jobs that have to be cancelled now.
        """
        if self.status.is_final:
            return []
        self._end(status, now)
        return list(self.ledger.unfinished.values())

    def describe(self, epoch: float, now: float) -> Session:
        """The session's present state, on a clock that read zero at `epoch`."""
        return Session(
            id=self.request.id,
            target=self.request.target,
            name=self.request.name,
            status=self.status,
            job_failure_policy=self.request.job_failure_policy,
            creation_time=epoch + self.created,
            end_time=_date(epoch, self.ended),
            cost=self.cost,
        )

    def _end_if_closed(self, now: float) -> None:
        if self.closed is not None and self.is_idle:
            has_failures = self.status is SessionStatus.FAILURES
            status = SessionStatus.FAILED if has_failures else SessionStatus.SUCCEEDED
            # Its last program may report late, with an earlier end.
            self._end(status, max(self.closed, now))

    def _end(self, status: SessionStatus, now: float) -> None:
        self.status = status
        self.ended = now


class JobRecord:
    """One job: its request, its times and its outcome.

    Its program is run at once; when the job finishes depends on its pace, or on the program if
    that takes longer.

    Args:
        request: The request that submitted it.
        number: The job's index among all sessions and jobs.
        pace: How long it takes on the clock.
        session: The session it is in, if any.
        now: When it was submitted, on the clock.
        started: When it was submitted, in real time.
    """

    # There may be many of them.
    __slots__ = (
        "begins",
        "created",
        "due",
        "ended",
        "final",
        "is_forgotten",
        "is_overdue",
        "last_words",
        "number",
        "outcome",
        "pace",
        "ready",
        "request",
        "ripe",
        "run",
        "session",
        "started",
    )

    def __init__(
        self,
        request: JobRequest,
        number: int,
        pace: JobPace,
        session: SessionRecord | None,
        now: float,
        *,
        started: float,
    ) -> None:
        self.request = request
        self.number = number
        self.pace = pace
        self.session = session
        self.created = now
        # When it can begin if its target has a free slot, when it does begin, and when it ends.
        self.ready = now + pace.queue
        self.begins = self.due = math.inf
        self.started = started
        # The future of its program's run, while it matters.
        self.run: Future[Any] | None = None
        # The outcome of the program, and the earliest time on the clock when it may be visible.
        self.outcome: Outcome | None = None
        self.ripe = math.inf
        self.is_overdue = False
        self.is_forgotten = False
        # How the job ended, and when.
        self.final: JobStatus | None = None
        self.ended: float | None = None
        # Its description, which no longer changes.
        self.last_words: Job | None = None

    @property
    def is_late(self) -> bool:
        """Whether the job is due but its program is still running."""
        return self.is_overdue and self.final is None

    @property
    def cost(self) -> Cost | None:
        """Its cost, if it has succeeded and the cost is known."""
        has_result = self.final is not None and self.final.has_result
        return self.outcome.cost if has_result and self.outcome is not None else None

    def status(self, now: float) -> JobStatus:
        """The status at `now`, once all due events have been settled."""
        if self.final is not None:
            return self.final
        if self.pace.finishing and now >= self.due - self.pace.finishing:
            return JobStatus.FINISHING
        # A job with zero run time is never seen executing, unless its program is slow.
        executes = self.begins if self.pace.run else self.due
        return JobStatus.EXECUTING if now >= executes else JobStatus.WAITING

    @property
    def stops(self) -> float:
        """When it stops executing, by its pace alone."""
        return self.begins + self.pace.run

    def begin(self, now: float) -> None:
        """Begins execution as soon as the job is ready; its target has a slot."""
        self.begins = max(self.ready, now)
        self.due = self.ripe = self.stops + self.pace.visible

    def change_pace(self, pace: JobPace, now: float) -> None:
        """Changes the pace, as if the job had been submitted now."""
        self.pace = pace
        self.ready = now + pace.queue
        self.begins = self.due = self.ripe = math.inf

    def resolve(self, outcome: Outcome, now: float, duration: float) -> None:
        """Records the outcome of the program, after `duration` seconds of real time.

        A program that is slower than its job's pace delays the job's end, but by no more than its
        own duration: advancing a manual clock while it runs must not make it look slow.
        """
        self.outcome = outcome
        self.ripe = max(self.due, min(now, self.created + duration))

    def end(self, status: JobStatus, now: float) -> None:
        """Ends the job, permanently."""
        self.final = status
        # Another job's failure, which cancels this job, may be reported late.
        self.ended = max(self.created, now)

    def change(self, **fields: Any) -> None:
        """Changes its name, its priority or its tags."""
        self.request = replace(self.request, **fields)
        self.last_words = None

    def forget(self) -> None:
        """Drops the program of a finished job, and its output or its exception."""
        self.request = replace(self.request, payload=None)
        self.outcome = self.outcome and replace(self.outcome, output=None, exception=None)
        self.last_words = None
        self.is_forgotten = True

    def describe(self, epoch: float, now: float) -> Job:
        """The job's present state, on a clock that read zero at `epoch`."""
        if self.last_words is not None:
            return self.last_words
        job = self._describe(epoch, now)
        # Long lists hold mostly finished jobs, so their descriptions are cached.
        if self.final is not None:
            self.last_words = job
        return job

    def _describe(self, epoch: float, now: float) -> Job:
        request, outcome = self.request, self.outcome
        has_failed = self.final is JobStatus.FAILED and outcome is not None
        return Job(
            id=request.id,
            target=request.target,
            name=request.name,
            status=self.status(now),
            session_id=request.session_id,
            output_format=request.output_format,
            input_params=request.input_params,
            metadata=request.metadata,
            tags=request.tags,
            creation_time=epoch + self.created,
            begin_time=_date(epoch, self._begin_time(now)),
            end_time=_date(epoch, self._end_time(now)),
            error_code=outcome.code if has_failed and outcome else "",
            error_message=outcome.message if has_failed and outcome else "",
            exception=outcome.exception if has_failed and outcome else None,
            cost=self.cost,
        )

    def _begin_time(self, now: float) -> float | None:
        """When it began to execute, if visible."""
        is_over = self.final is not None and self.final is not JobStatus.CANCELLED
        has_begun = is_over or self.begins <= (now if self.ended is None else self.ended)
        return self.begins if has_begun and self.status(now) is not JobStatus.WAITING else None

    def _end_time(self, now: float) -> float | None:
        """When it stopped executing, if visible: somewhat before the job finishes."""
        if self.status(now) is JobStatus.FINISHING:
            return self.stops
        if self.ended is None or self.final is JobStatus.CANCELLED:
            return self.ended
        return max(self.begins, self.ended - self.pace.visible)


def remove(records: list[R], record: R) -> None:
    """Removes a record from a list in order of creation."""
    del records[bisect.bisect_left(records, record.number, key=lambda other: other.number)]


def _date(epoch: float, seconds: float | None) -> float | None:
    return None if seconds is None else epoch + seconds
