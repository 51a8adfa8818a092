"""OpenTelemetry spans and metrics for a pool, made from its events.

Needs the extra `telemetry`; programs that do not import this module have no overhead. The program
configures where spans and metrics go, with OpenTelemetry's SDK.

Spans, timed by the pool's clock:

    sweep TARGET      one call of a sampler, under the span that is current at the call
    job TARGET        one job from its submission to its end, under its sweep, linked to its session
    session TARGET    one session that the pool opened, under the span that was current when
                      `instrument` was called; an adopted one is traced by its opener

Metrics, each by target, and the durations by outcome:

    azure_quantum.client.active_sessions     open sessions
    azure_quantum.client.active_jobs         jobs in flight
    azure_quantum.client.active_sweeps       calls of samplers in progress
    azure_quantum.client.session.duration    seconds from beginning to end
    azure_quantum.client.job.duration
    azure_quantum.client.sweep.duration
    azure_quantum.client.job.cost            what the service reported for jobs, also by currency

Names and units follow OpenTelemetry's conventions for clients (`http.client.active_requests`,
`db.client.operation.duration`, `error.type`); it has none for quantum computing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from cirq_azure_sessions.watch.events import AnyEvent

try:
    from opentelemetry import context, metrics, trace
    from opentelemetry.context import Context
    from opentelemetry.metrics import Meter, MeterProvider
    from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer, TracerProvider
except ImportError as error:
    raise ImportError(
        "Telemetry needs OpenTelemetry: run pip install '.[telemetry]' in your checkout."
    ) from error

__all__ = ["instrument"]

# Attributes of spans, by the fields of events.
_ATTRIBUTES = {
    "target": "azure_quantum.target",
    "session_id": "azure_quantum.session.id",
    "job_id": "azure_quantum.job.id",
    "sweep_id": "azure_quantum.sweep.id",
    "jobs": "azure_quantum.sweep.jobs",
    "cost": "azure_quantum.job.cost",
    "currency": "azure_quantum.job.currency",
}
_OUTCOME = "azure_quantum.outcome"

# Kinds of events that begin a span.
_BEGINNINGS = {"opened", "submitted", "started"}
# Outcomes that are errors; a session's timeout is normal, and it is replaced.
_ERRORS = {"failed", "lost", "interrupted"}

# Bucket boundaries: from a local target's milliseconds to a day in a queue.
_SECONDS = (0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 21600, 86400)


class EventSource(Protocol):
    """A `SessionPool` or an `EventLog`."""

    def subscribe(self, callback: Callable[[AnyEvent], None], /) -> Callable[[], None]: ...


def instrument(
    pool: EventSource,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> Callable[[], None]:
    """Records a pool's sessions, jobs and sweeps as spans and metrics.

    Args:
        pool: The pool, before its first session.
        tracer_provider: Where spans go; by default OpenTelemetry's global provider.
        meter_provider: Where metrics go; by default OpenTelemetry's global provider.

    Returns:
        A function that stops the recording and ends open spans.
    """
    recorder = _Recorder(
        trace.get_tracer("cirq_azure_sessions", tracer_provider=tracer_provider),
        metrics.get_meter("cirq_azure_sessions", meter_provider=meter_provider),
        context.get_current(),
    )
    unsubscribe = pool.subscribe(recorder.record)

    def stop() -> None:
        unsubscribe()
        recorder.end_all()

    return stop


@dataclass(frozen=True, slots=True)
class _Running:
    """A session, job or sweep in progress: the event that began it, and its span."""

    begun: AnyEvent
    span: Span


class _Recorder:
    """Turns events into spans and metrics. Thread-safe.

    Args:
        tracer: Makes the spans.
        meter: Makes the metrics.
        parent: The context for the spans of sessions.
    """

    def __init__(self, tracer: Tracer, meter: Meter, parent: Context) -> None:
        self._tracer = tracer
        self._parent = parent
        self._active = {
            subject: meter.create_up_down_counter(
                f"azure_quantum.client.active_{subject}s",
                unit=f"{{{subject}}}",
                description=f"Number of {subject}s in progress.",
            )
            for subject in ("session", "job", "sweep")
        }
        self._durations = {
            subject: meter.create_histogram(
                f"azure_quantum.client.{subject}.duration",
                unit="s",
                description=f"Duration of {subject}s.",
                explicit_bucket_boundaries_advisory=_SECONDS,
            )
            for subject in self._active
        }
        self._cost = meter.create_counter(
            "azure_quantum.client.job.cost",
            unit="{currency_unit}",
            description="What the service reported for jobs.",
        )
        # State: sessions, jobs and sweeps in progress, by id, and the ids of each sweep's jobs.
        self._running: dict[str, _Running] = {}
        self._jobs: dict[str, set[str]] = {}
        # Guards both; sweeps start on any thread.
        self._lock = threading.Lock()

    def record(self, event: AnyEvent) -> None:
        """Records one event."""
        if event.kind in _BEGINNINGS:
            self._begin(event)
            return
        running, left = self._take(event)
        for job in left:
            self._end(job, event.time, "left")
        # Anything begun before the recording, or in another process, has no span here.
        if running is not None:
            running.span.set_attributes(_attributes(event))
            self._end(running, event.time, event.kind, event.reason)
        if event.cost is not None:
            names = {"target": event.target, "currency": event.currency}
            self._cost.add(event.cost, {_ATTRIBUTES[name]: value for name, value in names.items()})

    def end_all(self) -> None:
        """Ends all spans; their durations are unknown and are not recorded."""
        with self._lock:
            left = list(self._running.values())
            self._running.clear()
            self._jobs.clear()
        for running in left:
            running.span.end()
            self._count(running.begun, -1)

    def _begin(self, event: AnyEvent) -> None:
        session, sweep = self._parents(event)
        span = self._tracer.start_span(
            f"{event.subject} {event.target}",
            context=self._context_of(event, sweep),
            kind=SpanKind.INTERNAL if event.subject == "sweep" else SpanKind.CLIENT,
            attributes=_attributes(event),
            links=[Link(session.span.get_span_context())] if session is not None else [],
            start_time=_nanoseconds(event.time),
        )
        with self._lock:
            self._running[event.id] = _Running(event, span)
            if event.subject == "sweep":
                self._jobs[event.id] = set()
            elif event.subject == "job" and event.sweep_id in self._jobs:
                self._jobs[event.sweep_id].add(event.id)
        self._count(event, 1)

    def _parents(self, event: AnyEvent) -> tuple[_Running | None, _Running | None]:
        """The session and the sweep of a job."""
        if event.subject != "job":
            return None, None
        with self._lock:
            running = self._running
            return running.get(event.session_id or ""), running.get(event.sweep_id or "")

    def _context_of(self, event: AnyEvent, sweep: _Running | None) -> Context:
        if event.subject == "sweep":
            # The event is reported in the context of the call, so the current span is the parent.
            return context.get_current()
        return self._parent if sweep is None else trace.set_span_in_context(sweep.span)

    def _take(self, event: AnyEvent) -> tuple[_Running | None, list[_Running]]:
        """The span that this event ends, and the jobs that its sweep leaves running."""
        with self._lock:
            running = self._running.pop(event.id, None)
            if event.subject == "sweep":
                left = self._jobs.pop(event.id, set()) & self._running.keys()
                return running, [self._running.pop(job_id) for job_id in left]
            if event.subject == "job" and event.sweep_id in self._jobs:
                self._jobs[event.sweep_id].discard(event.id)
            return running, []

    def _count(self, begun: AnyEvent, change: int) -> None:
        self._active[begun.subject].add(change, {_ATTRIBUTES["target"]: begun.target})

    def _end(self, running: _Running, time: float, outcome: str, reason: str = "") -> None:
        subject, target = running.begun.subject, running.begun.target
        attributes = {_ATTRIBUTES["target"]: target, _OUTCOME: outcome}
        if outcome in _ERRORS:
            attributes["error.type"] = reason or outcome
            running.span.set_status(Status(StatusCode.ERROR))
        running.span.set_attributes(attributes)
        running.span.end(_nanoseconds(time))
        self._count(running.begun, -1)
        # The system clock may have been set back.
        self._durations[subject].record(max(time - running.begun.time, 0.0), attributes)


def _attributes(event: AnyEvent) -> dict[str, Any]:
    fields = asdict(event)
    return {
        attribute: fields[name]
        for name, attribute in _ATTRIBUTES.items()
        if fields.get(name) not in (None, "")
    }


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
