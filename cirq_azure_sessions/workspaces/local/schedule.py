"""The past and future events of sessions and jobs.

A `Schedule` knows no clock, thread or lock: it is given the time, and runs everything that is due
by then, in order of time. Each call takes at most logarithmic time in the number of events.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter, deque
from collections.abc import Callable, Mapping
from functools import partial

from cirq_azure_sessions.model import JobRequest, JobStatus, SessionRequest, SessionStatus
from cirq_azure_sessions.workspaces.local.state import (
    JobPace,
    JobRecord,
    Ledger,
    Outcome,
    SessionRecord,
    remove,
)
from cirq_azure_sessions.workspaces.local.target_queue import TargetQueue

__all__ = ["Schedule"]

# Long enough to be useful, and bounded so that a process may run jobs forever.
MAX_HISTORY = 10_000
MAX_OUTPUTS = 1_000


class Schedule:
    """The schedule of a workspace's sessions and jobs.

    Not thread-safe: its owner's lock guards it. All times are seconds of one monotonic clock; call
    `settle` first with the time that the other methods are then given.

    Args:
        session_timeout: Seconds without activity after which a session times out.

    Attributes:
        timeout_notice: Delay in seconds before a timeout is noticed, or a function that draws it.
        max_history: How many finished jobs to keep, dropping the first to finish first; and how
            many sessions, dropping the oldest ended one first, with its jobs.
        max_outputs: How many finished jobs keep program and output once the output has been
            fetched; also how many without an output.
        slots: How many jobs a target runs at once, for all targets or by target; further ones wait
            until one stops executing. None sets no limit.
        sessions, jobs: By id.
        session_order: The sessions in order of creation.
        top_level: The sessions, and the jobs outside any session, in order of creation.
        ledger: All jobs, in sessions or not.
        unfinished: The number of unfinished jobs, by target.
        just_ended: Jobs that have ended since the owner last took them out.
    """

    def __init__(self, session_timeout: float) -> None:
        self.session_timeout = session_timeout
        self.timeout_notice: float | Callable[[], float] = 0.0
        self.max_history: float = MAX_HISTORY
        self.max_outputs: float = MAX_OUTPUTS
        self.slots: int | Mapping[str, int] | None = None
        self.sessions: dict[str, SessionRecord] = {}
        self.session_order: list[SessionRecord] = []
        self.top_level: list[SessionRecord | JobRecord] = []
        self.jobs: dict[str, JobRecord] = {}
        self.ledger = Ledger()
        self.unfinished: Counter[str] = Counter()
        self.just_ended: list[JobRecord] = []
        self._over: deque[JobRecord] = deque()
        # The finished jobs whose output was fetched, or that have none, oldest first.
        self._fetched: dict[JobRecord, None] = {}
        self._queues: dict[str, TargetQueue] = {}
        # A heap of future events: the time, a number that breaks ties, and the action.
        self._agenda: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = itertools.count()

    @property
    def next_due(self) -> float:
        """The time of the next due event, or infinity."""
        return self._agenda[0][0] if self._agenda else math.inf

    def settle(self, now: float) -> None:
        """Runs all due events in order of time."""
        while self._agenda and self._agenda[0][0] <= now:
            due, _, happen = heapq.heappop(self._agenda)
            happen(due)

    def open_session(self, request: SessionRequest, now: float) -> SessionRecord:
        """The session with the id of the request, opened if necessary."""
        session = self.sessions.get(request.id)
        if session is None:
            session = SessionRecord(request, next(self._numbers), now)
            self.sessions[request.id] = session
            self.session_order.append(session)
            self.top_level.append(session)
            self._watch(session)
            self._forget_a_session()
        return session

    def accept(
        self,
        request: JobRequest,
        pace: JobPace,
        session: SessionRecord | None,
        now: float,
        *,
        started: float,
    ) -> JobRecord:
        """Accepts a new job, whose program starts at the real time `started`."""
        job = JobRecord(request, next(self._numbers), pace, session, now, started=started)
        self.jobs[request.id] = job
        self.unfinished[request.target] += 1
        self.ledger.add(job)
        if session is not None:
            session.add(job)
        else:
            self.top_level.append(job)
        self._line_up(job, now)
        return job

    def resolve(self, job: JobRecord, outcome: Outcome, now: float, duration: float) -> None:
        """Records the outcome of the job's program, after `duration` real seconds."""
        if job.final is not None:
            return
        job.resolve(outcome, now, duration)
        if job.is_overdue:
            self._plan(job.ripe, partial(self._come_due, job))
            self.settle(now)

    def cancel(self, job: JobRecord, now: float) -> None:
        """Ends the job if it has not finished."""
        if job.final is None:
            self._end(job, JobStatus.CANCELLED, now)

    def note_fetched(self, job: JobRecord) -> None:
        """Records that the job's output was fetched, or that it has none, and enforces the limit.

        An output that has not been fetched is kept as long as its job.
        """
        self._fetched.pop(job, None)
        self._fetched[job] = None
        while len(self._fetched) > self.max_outputs:
            self.forget_output(next(iter(self._fetched)))

    def forget_output(self, job: JobRecord) -> None:
        """Drops the program of a finished job, and its output or exception."""
        self._fetched.pop(job, None)
        job.forget()

    def remove(self, job: JobRecord) -> None:
        """Removes a finished job."""
        del self.jobs[job.request.id]
        self._fetched.pop(job, None)
        for ledger in self.ledgers(job):
            remove(ledger.jobs, job)
        if job.session is None:
            remove(self.top_level, job)

    def break_off(self, session: SessionRecord, status: SessionStatus, now: float) -> None:
        """Ends the session with this final status, and cancels its jobs."""
        for job in session.break_off(status, now):
            self._end(job, JobStatus.CANCELLED, now)

    def change_pace(self, job: JobRecord, pace: JobPace, now: float) -> None:
        """Gives a new pace to a job that has not begun, as if it had been submitted now."""
        if job.final is None and now < job.begins:
            self._vacate(job, now)
            job.change_pace(pace, now)
            self._line_up(job, now)

    def ledgers(self, job: JobRecord) -> list[Ledger]:
        """The ledgers of the job: that of all jobs, and that of its session."""
        return [self.ledger] if job.session is None else [self.ledger, job.session.ledger]

    def _plan(self, due: float, happen: Callable[[float], None]) -> None:
        # An event at infinity would stay in the heap forever.
        if due < math.inf:
            heapq.heappush(self._agenda, (due, next(self._numbers), happen))

    def _queue(self, target: str) -> TargetQueue | None:
        """The queue of a target with a limit on slots, or None."""
        slots = self.slots.get(target) if isinstance(self.slots, Mapping) else self.slots
        if slots is None:
            return None
        if target not in self._queues:
            self._queues[target] = TargetQueue(slots)
        return self._queues[target]

    def _line_up(self, job: JobRecord, now: float) -> None:
        """Lets a job begin, now or when its target has a slot for it."""
        if job.ready == math.inf:
            # Its target does not run jobs now; its pace is changed when it does.
            return
        queue = self._queue(job.request.target)
        if queue is None or queue.enter(job):
            self._begin(job, now)

    def _begin(self, job: JobRecord, now: float) -> None:
        job.begin(now)
        self._plan(job.due, partial(self._come_due, job))
        if self._queue(job.request.target) is not None:
            self._plan(job.stops, partial(self._stop, job))

    def _stop(self, job: JobRecord, now: float) -> None:
        """Stops the job's execution, unless its program is slower or its pace has changed."""
        if now >= job.stops and job.outcome is not None:
            self._vacate(job, now)

    def _vacate(self, job: JobRecord, now: float) -> None:
        """Passes the job's slot, if it has one, to the next waiting job."""
        queue = self._queue(job.request.target)
        following = None if queue is None else queue.leave(job)
        if following is not None:
            self._begin(following, now)

    def _come_due(self, job: JobRecord, now: float) -> None:
        """Ends the job, which is due, unless its program is still running."""
        if job.final is not None or now < job.due:
            # It was cancelled, or this event is from before its pace changed.
            return
        if job.outcome is None:
            for ledger in self.ledgers(job):
                ledger.overdue += not job.is_overdue
            job.is_overdue = True
        elif now < job.ripe:
            self._plan(job.ripe, partial(self._come_due, job))
        else:
            self._end(job, job.outcome.status, now)

    def _end(self, job: JobRecord, status: JobStatus, now: float) -> None:
        """Ends a job, and its session if the policy says so."""
        job.end(status, now)
        self._vacate(job, now)
        self.just_ended.append(job)
        self.unfinished[job.request.target] -= 1
        for ledger in self.ledgers(job):
            ledger.end(job)
        if job.session is not None:
            if job.cost is not None:
                job.session.add_cost(job.cost)
            for other in job.session.end_job(status, now):
                self._end(other, JobStatus.CANCELLED, now)
            self._watch(job.session)
        self._over.append(job)
        if not status.has_result:
            self.note_fetched(job)
        if len(self._over) > self.max_history:
            self._forget(self._over.popleft())

    def _forget(self, job: JobRecord) -> None:
        # It may have been removed long ago, and its id may be in use again.
        if self.jobs.get(job.request.id) is job:
            self.remove(job)

    def _forget_a_session(self) -> None:
        """Keeps the history of sessions bounded, by dropping one for each one opened."""
        if len(self.session_order) <= self.max_history:
            return
        over = (session for session in self.session_order if session.status.is_final)
        session = next(over, None)
        if session is not None:
            # An ended session has no unfinished jobs.
            for job in tuple(session.ledger.jobs):
                self.remove(job)
            del self.sessions[session.request.id]
            remove(self.session_order, session)
            remove(self.top_level, session)

    def _watch(self, session: SessionRecord) -> None:
        """Schedules a check of the session's idle timer, if it is running and none is scheduled."""
        if session.is_watched or not session.is_idle:
            return
        session.is_watched = True
        notice = self.timeout_notice
        timeout = self.session_timeout + (notice() if callable(notice) else notice)
        self._plan(session.last_activity + timeout, partial(self._look, session, timeout))

    def _look(self, session: SessionRecord, timeout: float, now: float) -> None:
        """Ends the session if it was idle throughout, else checks again when it may be due."""
        session.is_watched = False
        if session.is_idle and session.last_activity + timeout <= now:
            session.time_out(now)
        else:
            self._watch(session)
