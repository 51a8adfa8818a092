"""Counts what happens to sessions and jobs, and tells those who subscribed."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from cirq_azure_sessions.events import Event

__all__ = ["EventLog"]

logger = logging.getLogger(__name__)

_COUNTERS = (
    "sessions_opened",
    "sessions_adopted",
    "sessions_reused",
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
    """What happened so far, as numbers, and who wants to know what happens next. Thread-safe."""

    def __init__(self) -> None:
        # State: how often each thing happened; the sum of what jobs cost; the targets of which a
        # session has ended; and the subscribers.
        self._counts: Counter[str] = Counter()
        self._cost = 0.0
        self._ended: set[str] = set()
        self._subscribers: list[Callable[[Event], None]] = []
        # Guards all of the above; never held while a subscriber is called.
        self._lock = threading.Lock()

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Calls `callback` with every event from now on; returns what ends that."""
        with self._lock:
            self._subscribers.append(callback)

        def unsubscribe() -> None:
            with self._lock, suppress(ValueError):
                self._subscribers.remove(callback)

        return unsubscribe

    def count(self, counter: str) -> None:
        """Counts something that nobody needs to be told."""
        with self._lock:
            self._counts[counter] += 1

    def report(self, event: Event) -> None:
        """Counts an event, logs it and tells the subscribers."""
        with self._lock:
            self._counts[event.counter] += 1
            self._cost += event.cost or 0.0
            if event.is_end_of_session:
                self._ended.add(event.target)
            elif event.is_start_of_session and event.target in self._ended:
                self._counts["sessions_reopened"] += 1
            subscribers = list(self._subscribers)
        logger.log(event.level, "%s", event)
        for subscriber in subscribers:
            try:
                subscriber(event)
            except Exception:
                logger.exception("A subscriber of the pool's events failed.")

    def stats(self) -> dict[str, float]:
        """Every count, and `cost`: the sum that the service reported."""
        with self._lock:
            counts: dict[str, float] = {name: self._counts[name] for name in _COUNTERS}
            return counts | {"cost": self._cost}
