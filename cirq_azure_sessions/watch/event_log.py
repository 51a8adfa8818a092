"""The log of a pool's events: counts, history and subscribers."""

from __future__ import annotations

import logging
import math
import os
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import asdict

from cirq_azure_sessions import background, process
from cirq_azure_sessions.model import Job, JobStatus, Session
from cirq_azure_sessions.spelling import counted
from cirq_azure_sessions.watch.events import AnyEvent, JobEvent, SessionEvent, SweepEvent

__all__ = ["EventLog"]

logger = logging.getLogger(__name__)

# The number of events kept: those of some 500 sessions and 5,000 jobs, about two megabytes.
_MAX_SESSION_EVENTS = 1_000
_MAX_JOB_EVENTS = 10_000

# Kinds of events after which a target's next session is counted as reopened.
_ENDED_BY_SERVICE = ("timed_out", "failed", "lost")

_END_EVENTS = {JobStatus.FAILED: "failed", JobStatus.CANCELLED: "cancelled"}

_COUNTERS = (
    "sessions_opened",
    "sessions_adopted",
    "sessions_checked",
    "sessions_reopened",
    "sessions_timed_out",
    "sessions_failed",
    "sessions_lost",
    "sessions_closed",
    "jobs_submitted",
    "jobs_succeeded",
    "jobs_failed",
    "jobs_cancelled",
)


class EventLog:
    """Counts, logs and keeps events, and notifies subscribers. Thread-safe."""

    def __init__(self) -> None:
        # State: the callbacks, by a key of each subscription.
        self._callbacks: dict[object, Callable[[AnyEvent], None]] = {}
        # The counts; the costs of jobs by currency, and their consumption by dimension; the targets
        # on which the service has ended a session; and the latest events.
        self._counts: Counter[str] = Counter()
        self._costs: dict[str, float] = defaultdict(float)
        self._consumed: dict[str, float] = defaultdict(float)
        self._ended: set[str] = set()
        # When each running sweep started, and what its jobs have cost by currency.
        self._sweeps: dict[str, tuple[float, dict[str, float]]] = {}
        self._session_events: deque[SessionEvent] = deque(maxlen=_MAX_SESSION_EVENTS)
        self._job_events: deque[JobEvent] = deque(maxlen=_MAX_JOB_EVENTS)
        # Guards all of the above; never held while a callback runs. Reentrant, because garbage
        # collection on a thread that holds it may end a stream, which reports that.
        self._lock = threading.RLock()

    def subscribe(self, callback: Callable[[AnyEvent], None]) -> Callable[[], None]:
        """Calls `callback` with every event from now on, on the thread that reports it.

        Returns:
            A function that ends the subscription; calling it again does nothing.
        """
        # The same callback may be subscribed twice, so it cannot be the key.
        key = object()
        with self._lock:
            self._callbacks[key] = callback

        def unsubscribe() -> None:
            with self._lock:
                self._callbacks.pop(key, None)

        return unsubscribe

    def report_sweeps(self, events: Sequence[SweepEvent]) -> None:
        """Reports that the sweeps of a call began or ended; logs those of a batch in one line."""
        if len(events) == 1:
            return self.report(events[0])
        with self._lock:
            begun = [
                self._sweeps[each.sweep_id] for each in events if each.sweep_id in self._sweeps
            ]
        for event in events:
            self.report(event, level=logging.DEBUG)
        if events and logger.isEnabledFor(logging.INFO):
            target, time = events[0].target, max(each.time for each in events)
            kinds = Counter(each.kind for each in events)
            kind = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
            kind = f"ended ({kind})" if len(kinds) > 1 else events[0].kind
            jobs = sum(each.jobs for each in events)
            line = f"{target}: batch of {len(events)} sweeps {kind}{_summary(jobs, time, begun)}"
            logger.info(line, extra={"kind": kind, "target": target, "time": time, "jobs": jobs})

    def report(self, event: AnyEvent, *, level: int | None = None) -> None:
        """Counts an event, logs it and notifies the subscribers."""
        more = ""
        with self._lock:
            self._counts[f"{event.subject}s_{event.kind}"] += 1
            if event.cost is not None:
                self._costs[event.currency] += event.cost
            for dimension, amount in event.consumed:
                self._consumed[dimension] += amount
            if isinstance(event, SweepEvent):
                begun = self._sweeps.pop(event.sweep_id, None)
                if event.kind == "started":
                    self._sweeps[event.sweep_id] = event.time, defaultdict(float)
                more = _summary(event.jobs, event.time, [] if begun is None else [begun])
            elif isinstance(event, JobEvent):
                if event.cost is not None and event.sweep_id in self._sweeps:
                    self._sweeps[event.sweep_id][1][event.currency] += event.cost
                self._job_events.append(event)
            elif isinstance(event, SessionEvent):
                self._session_events.append(event)
                if event.kind in _ENDED_BY_SERVICE:
                    self._ended.add(event.target)
                elif event.is_start_of_session and event.target in self._ended:
                    self._counts["sessions_reopened"] += 1
                    more = " to replace one that had ended"
            callbacks = list(self._callbacks.values())
        # INFO is for sessions, sweeps and failed jobs, which users follow.
        if level is None:
            level = logging.DEBUG if event.kind in ("submitted", "succeeded") else logging.INFO
        if logger.isEnabledFor(level):
            logger.log(level, "%s%s", event, more, extra=asdict(event))
        for callback in callbacks:
            _notify(callback, event)

    def report_session(self, kind: str, session: Session, time: float, reason: str = "") -> None:
        """Reports an event of a session, as the service describes it."""
        self.report(
            SessionEvent(
                kind,
                session.id,
                session.target,
                time=time,
                reason=reason,
                creation_time=session.creation_time,
                end_time=session.end_time,
            )
        )

    def report_job(
        self, job: Job, time: float, *, sweep_id: str | None = None, is_new: bool = False
    ) -> None:
        """Reports that a job was submitted or finished, at a time in seconds since the epoch."""
        # A job just submitted has cost nothing yet, even if there is an early bill.
        bill = None if is_new else job.cost
        self.report(
            JobEvent(
                "submitted" if is_new else _END_EVENTS.get(job.status, "succeeded"),
                job.id,
                job.session_id,
                job.target,
                time=time,
                cost=None if bill is None else bill.total,
                reason=job.error_code,
                sweep_id=sweep_id,
                creation_time=job.creation_time,
                end_time=job.end_time,
                currency="" if bill is None else bill.currency,
                consumed=() if bill is None else tuple(bill.consumed.items()),
                begin_time=job.begin_time,
            )
        )

    def count(self, counter: str) -> None:
        """Increments a count that is not of an event."""
        with self._lock:
            self._counts[counter] += 1

    def recent(self) -> tuple[Sequence[SessionEvent], Sequence[JobEvent]]:
        """The latest events of sessions and those of jobs, in order."""
        with self._lock:
            return tuple(self._session_events), tuple(self._job_events)

    def stats(self) -> dict[str, float]:
        """All counts, and the reported costs: `cost`, `cost_USD`, `consumed_ehqc`."""
        with self._lock:
            stats: dict[str, float] = {name: self._counts[name] for name in _COUNTERS}
            # Amounts in several currencies have no sum.
            stats["cost"] = sum(self._costs.values()) if len(self._costs) < 2 else math.nan
            stats |= {f"cost_{unit}": cost for unit, cost in self._costs.items()}
            return stats | {f"consumed_{name}": used for name, used in self._consumed.items()}


def _summary(jobs: int, time: float, begun: Sequence[tuple[float, dict[str, float]]]) -> str:
    """The jobs of sweeps and, if these have ended, how long they took and what they cost."""
    text = f": {counted(jobs, 'job')}"
    if begun:
        text += f" in {time - min(started for started, _ in begun):.1f} s"
    total: dict[str, float] = defaultdict(float)
    for _, costs in begun:
        for unit, cost in costs.items():
            total[unit] += cost
    return text + "".join(f", {cost:g} {unit}" for unit, cost in total.items() if cost)


def _notify(callback: Callable[[AnyEvent], None], event: AnyEvent) -> None:
    """Calls a subscriber; what it raises, except for Ctrl-C, is logged and not propagated.

    That includes SystemExit and CancelledError: on the background loop they would end the loop, or
    look as if the pool's own task had been cancelled.
    """
    parent = os.getpid() if background.loop.is_current else None
    try:
        callback(event)
    except BaseException as error:
        # Signals strike on the main thread alone, and interrupt the call that waits there.
        is_on_main = threading.current_thread() is threading.main_thread()
        if isinstance(error, KeyboardInterrupt) and is_on_main:
            raise
        logger.exception("A subscriber of the pool's events failed.")
    if parent not in (None, os.getpid()):
        # The child of a fork would go on with the parent's jobs, over the parent's connections.
        process.end()
