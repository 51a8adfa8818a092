"""The state machines of sessions and jobs, apart from threads, locks and clocks.

What is here decides; `LocalWorkspace` looks at the clock, runs the programs and keeps the lock. All
times are seconds of the clock's `monotonic`, given by whoever calls. The rules are the recorded
ones (AZURE_WIRE, section 3).
"""

from __future__ import annotations

import asyncio
import bisect
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from cirq_azure_sessions.model import (
    JobFailurePolicy,
    JobRequest,
    JobStatus,
    SessionRequest,
    SessionStatus,
)

__all__ = ["JobPace", "JobRecord", "Ledger", "Outcome", "SessionRecord"]


@dataclass(frozen=True, slots=True)
class JobPace:
    """How long a job takes on the clock. `math.inf` makes it hang.

    Attributes:
        queue: Seconds from its creation to the begin of its execution.
        run: Seconds from the begin to the end of its execution.
        visible: Seconds from the end until its status tells.
    """

    queue: float = 0.0
    run: float = 0.0
    visible: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of running a program.

    Attributes:
        status: `Succeeded`, `Failed`, or `Cancelled` if it was not run to the end.
        output: What the backend returned.
        code, message: The error of a failure.
    """

    status: JobStatus
    output: Any = field(default=None, repr=False)
    code: str = ""
    message: str = ""


class Ledger:
    """Jobs in the order of their creation, how they stand, and who waits for news of them."""

    def __init__(self) -> None:
        self.jobs: list[JobRecord] = []
        self.unfinished: dict[str, JobRecord] = {}
        # How many jobs are due by the clock while their program is still running.
        self.overdue = 0
        # How many jobs have ended; and how many had when a page was last shown, by its `skip`.
        self.ended = 0
        self.shown: dict[int, int] = {}
        self.waiters: set[asyncio.Future[None]] = set()

    @property
    def is_late(self) -> bool:
        """Whether the end of some job waits for its program."""
        return self.overdue > 0

    def add(self, job: JobRecord) -> None:
        self.jobs.append(job)
        self.unfinished[job.request.id] = job

    def end(self, job: JobRecord) -> None:
        del self.unfinished[job.request.id]
        self.overdue -= job.is_overdue
        self.ended += 1

    def remove(self, job: JobRecord) -> None:
        """Takes out a job that is over."""
        del self.jobs[bisect.bisect_left(self.jobs, job.number, key=_number)]


def _number(job: JobRecord) -> int:
    return job.number


class SessionRecord:
    """One session: its jobs, and what has become of it.

    Args:
        request: What was asked for.
        now: When.
    """

    def __init__(self, request: SessionRequest, now: float) -> None:
        self.request = request
        self.created = now
        self.ended: float | None = None
        self.status = SessionStatus.WAITING
        self.is_closing = False
        self.ledger = Ledger()
        # The idle clock starts anew here.
        self.last_activity = now
        # Whether somebody will look at the idle clock.
        self.is_watched = False

    @property
    def takes_jobs(self) -> bool:
        """Whether a job may be submitted."""
        return not (self.is_closing or self.status.is_final)

    @property
    def is_idle(self) -> bool:
        """Whether the idle clock is running."""
        return not (self.ledger.unfinished or self.status.is_final)

    def add(self, job: JobRecord) -> None:
        """Takes note of a job that was accepted."""
        self.ledger.add(job)
        self.last_activity = job.created

    def end_job(self, status: JobStatus, now: float) -> list[JobRecord]:
        """Takes note of the end of one of its jobs.

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

    def close(self, now: float) -> None:
        """Takes no more jobs; ends at once if none is unfinished, else with the last of them."""
        self.is_closing = True
        self._end_if_closed(now)

    def time_out(self, now: float) -> None:
        """Ends because nothing has happened for too long."""
        self._end(SessionStatus.TIMED_OUT, now)

    def _end_if_closed(self, now: float) -> None:
        if self.is_closing and self.is_idle:
            has_failures = self.status is SessionStatus.FAILURES
            self._end(SessionStatus.FAILED if has_failures else SessionStatus.SUCCEEDED, now)

    def _end(self, status: SessionStatus, now: float) -> None:
        self.status = status
        self.ended = now


class JobRecord:
    """One job: what was asked, when, and what came of it.

    Its program is run at once; when the job is over is for its pace to say, or for the program if
    that takes longer.

    Args:
        request: What was asked for.
        number: The job's place among all jobs.
        pace: How long it takes on the clock.
        session: The session it is in, if any.
        now: When it was submitted, on the clock.
        started: The real time of that.
    """

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
        self.begins = now + pace.queue
        self.due = self.begins + pace.run + pace.visible
        self.started = started
        # The future of its program's run.
        self.run: Future[Any] | None = None
        # What came of the program, and when on the clock that may show at the earliest.
        self.outcome: Outcome | None = None
        self.ripe = self.due
        self.is_overdue = False
        self.is_forgotten = False
        # How the job ended, and when.
        self.final: JobStatus | None = None
        self.ended: float | None = None

    @property
    def is_late(self) -> bool:
        """Whether the job's end waits for its program."""
        return self.is_overdue and self.final is None

    def status(self, now: float) -> JobStatus:
        """The status at a time when everything due has been settled."""
        if self.final is not None:
            return self.final
        # A job that runs for no time at all is not seen executing, unless its program is slow.
        executes = self.begins if self.pace.run else self.due
        return JobStatus.EXECUTING if now >= executes else JobStatus.WAITING

    def resolve(self, outcome: Outcome, now: float, duration: float) -> None:
        """Takes note of what came of the program, after `duration` seconds of real time.

        A program that is slower than its job's pace delays the job's end, by its own duration at
        most: a manual clock that is put on while it runs must not make it look slow.
        """
        self.outcome = outcome
        self.ripe = max(self.due, min(now, self.created + duration))

    def end(self, status: JobStatus, now: float) -> None:
        """The job is over, and stays so."""
        self.final = status
        self.ended = now

    def forget(self) -> None:
        """Drops program and output of a job that is over."""
        self.request = replace(self.request, payload=None)
        self.outcome = self.outcome and replace(self.outcome, output=None)
        self.is_forgotten = True

    def begin_time(self, now: float) -> float | None:
        """When it began to execute, if that shows."""
        if self.status(now) is JobStatus.WAITING or (self.ended or now) < self.begins:
            return None
        return self.begins

    @property
    def end_time(self) -> float | None:
        """When it stopped executing, of a job that is over: some time before that shows."""
        if self.ended is None or self.final is JobStatus.CANCELLED:
            return self.ended
        return max(self.begins, self.ended - self.pace.visible)
