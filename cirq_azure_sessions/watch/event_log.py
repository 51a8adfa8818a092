"""Counts what happens to sessions, jobs and sweeps, logs it, and tells those who subscribed."""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from cirq_azure_sessions.model import Event, JobEvent, SessionEvent, SweepEvent

__all__ = ["EventLog"]

logger = logging.getLogger(__name__)

# So many events are remembered: those of some 500 sessions and 5,000 jobs, in two megabytes or so.
_SESSION_EVENTS = 1_000
_JOB_EVENTS = 10_000

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


E = TypeVar("E", Event, SweepEvent)


class Subscribers(Generic[E]):
    """Who wants to know what happens next. Thread-safe."""

    def __init__(self) -> None:
        # State: whom to call.
        self._callbacks: list[Callable[[E], None]] = []
        # Guards it; never held while anybody is called.
        self._lock = threading.Lock()

    def add(self, callback: Callable[[E], None]) -> Callable[[], None]:
        """Calls `callback` with every event from now on; returns what ends that."""
        with self._lock:
            self._callbacks.append(callback)

        def unsubscribe() -> None:
            with self._lock, suppress(ValueError):
                self._callbacks.remove(callback)

        return unsubscribe

    def tell(self, event: E) -> None:
        """Logs the event and calls everybody; what goes wrong there is logged and no more."""
        if logger.isEnabledFor(event.level):
            logger.log(event.level, "%s", event, extra=event.fields())
        with self._lock:
            callbacks = list(self._callbacks)
        for callback in callbacks:
            try:
                callback(event)
            except Exception:
                logger.exception("A subscriber of the pool's events failed.")


class EventLog:
    """What happened so far, as numbers, and who wants to know what happens next. Thread-safe.

    Attributes:
        subscribers: Are told what happens to sessions and jobs.
        sweep_subscribers: Are told when calls of samplers begin and end.
    """

    def __init__(self) -> None:
        self.subscribers = Subscribers[Event]()
        self.sweep_subscribers = Subscribers[SweepEvent]()
        # State: how often each thing happened; what jobs cost, by currency, and consumed, by
        # dimension; the targets of which a session has ended; and what happened last.
        self._counts: Counter[str] = Counter()
        self._costs: dict[str, float] = defaultdict(float)
        self._consumed: dict[str, float] = defaultdict(float)
        self._ended: set[str] = set()
        self._of_sessions: deque[SessionEvent] = deque(maxlen=_SESSION_EVENTS)
        self._of_jobs: deque[JobEvent] = deque(maxlen=_JOB_EVENTS)
        # Guards all of the above.
        self._lock = threading.Lock()

    def count(self, counter: str) -> None:
        """Counts something that nobody needs to be told."""
        with self._lock:
            self._counts[counter] += 1

    def report(self, event: Event) -> None:
        """Counts an event, logs it and tells the subscribers."""
        with self._lock:
            self._counts[event.counter] += 1
            if event.cost is not None:
                self._costs[event.currency] += event.cost
            for dimension, amount in event.consumed:
                self._consumed[dimension] += amount
            if event.is_end_of_session:
                self._ended.add(event.target)
            elif event.is_start_of_session and event.target in self._ended:
                self._counts["sessions_reopened"] += 1
            if event.subject == "job":
                self._of_jobs.append(event)
            else:
                self._of_sessions.append(event)
        self.subscribers.tell(event)

    def recent(self) -> tuple[Sequence[SessionEvent], Sequence[JobEvent]]:
        """What happened last to sessions and to jobs, in order."""
        with self._lock:
            return tuple(self._of_sessions), tuple(self._of_jobs)

    def stats(self) -> dict[str, float]:
        """Every count, and what the service reported: `cost`, `cost_USD`, `consumed_ehqc`."""
        with self._lock:
            stats: dict[str, float] = {name: self._counts[name] for name in _COUNTERS}
            # Amounts in several currencies have no sum.
            stats["cost"] = sum(self._costs.values()) if len(self._costs) < 2 else math.nan
            stats |= {f"cost_{unit}": cost for unit, cost in self._costs.items()}
            return stats | {f"consumed_{name}": used for name, used in self._consumed.items()}
