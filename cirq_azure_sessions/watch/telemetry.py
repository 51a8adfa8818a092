"""Spans and metrics of OpenTelemetry for a pool, made from the events that it tells.

Needs the extra `telemetry`; who does not import this module pays nothing for it. What becomes of
spans and metrics is for the program to set up, with OpenTelemetry's SDK.

Spans, timed by the pool's clock:

    sweep TARGET      one call of a sampler, under the span that is current where it is made
    job TARGET        one job from its submission to its end, under its sweep, linked to its session
    session TARGET    one session that the pool opened, until it is over, under the span that was
                      current when `instrument` was called; an adopted one is its opener's to trace

Metrics, each by target, and the durations by outcome:

    azure_quantum.client.active_sessions     sessions, jobs and calls of samplers that have begun
    azure_quantum.client.active_jobs         and are not over
    azure_quantum.client.active_sweeps
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
from dataclasses import dataclass
from typing import Any

from cirq_azure_sessions.model import AnyEvent
from cirq_azure_sessions.session_pool import SessionPool

try:
    from opentelemetry import context, metrics, trace
    from opentelemetry.context import Context
    from opentelemetry.metrics import Meter, MeterProvider
    from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer, TracerProvider
except ImportError as error:
    raise ImportError(
        "Telemetry needs OpenTelemetry: pip install 'cirq-azure-sessions[telemetry]'."
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

# Ends that somebody should look at; a session that timed out is replaced as a matter of course.
_ERRORS = {"failed", "lost", "interrupted"}

# From a local target's milliseconds to a queue of a day.
_SECONDS = (0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 21600, 86400)


def instrument(
    pool: SessionPool,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> Callable[[], None]:
    """Records what happens to a pool's sessions, jobs and sweeps as spans and metrics.

    Args:
        pool: The pool, before its first session.
        tracer_provider: Where spans go; by default OpenTelemetry's global provider.
        meter_provider: Where metrics go; by default OpenTelemetry's global provider.

    Returns:
        A function that ends the recording, and the spans that are still open.
    """
    recorder = _Recorder(
        trace.get_tracer("cirq_azure_sessions", tracer_provider=tracer_provider),
        metrics.get_meter("cirq_azure_sessions", meter_provider=meter_provider),
        context.get_current(),
    )
    endings = (
        pool.subscribe(recorder.record),
        pool.subscribe_sweeps(recorder.record),
        recorder.end_all,
    )

    def end() -> None:
        for ending in endings:
            ending()

    return end


@dataclass(frozen=True, slots=True)
class _Running:
    """A session, job or sweep that is not over: how it began, and its span."""

    begun: AnyEvent
    span: Span


class _Recorder:
    """Makes spans and metrics of events. Thread-safe.

    Args:
        tracer: Makes the spans.
        meter: Makes the metrics.
        parent: What the spans of sessions are under.
    """

    def __init__(self, tracer: Tracer, meter: Meter, parent: Context) -> None:
        self._tracer = tracer
        self._parent = parent
        self._active = {
            subject: meter.create_up_down_counter(
                f"azure_quantum.client.active_{subject}s",
                unit=f"{{{subject}}}",
                description=f"Number of {subject}s that have begun and are not over.",
            )
            for subject in ("session", "job", "sweep")
        }
        self._durations = {
            subject: meter.create_histogram(
                f"azure_quantum.client.{subject}.duration",
                unit="s",
                description=f"Duration of {subject}s, from beginning to end.",
                explicit_bucket_boundaries_advisory=_SECONDS,
            )
            for subject in self._active
        }
        self._cost = meter.create_counter(
            "azure_quantum.client.job.cost",
            unit="{currency_unit}",
            description="What the service reported for jobs.",
        )
        # State: what is not over, by its id.
        self._running: dict[str, _Running] = {}
        # Guards it; events of sweeps come on any thread.
        self._lock = threading.Lock()

    def record(self, event: AnyEvent) -> None:
        """Takes note of an event."""
        if event.is_beginning:
            self._begin(event)
            return
        with self._lock:
            running = self._running.pop(event.id, None)
            left = self._take_out_jobs_of(event.id) if event.subject == "sweep" else []
        for job in left:
            self._end(job, event.time, "left")
        # What began in another process, or before the recording, is not recorded here.
        if running is not None:
            running.span.set_attributes(_attributes(event))
            self._end(running, event.time, event.kind, event.reason)
        fields = event.fields()
        if (cost := fields.get("cost")) is not None:
            names = ("target", "currency")
            self._cost.add(cost, {_ATTRIBUTES[name]: fields[name] for name in names})

    def end_all(self) -> None:
        """Ends the spans of what is not over, which is not counted as active from here on."""
        with self._lock:
            left = list(self._running.values())
            self._running.clear()
        for running in left:
            running.span.end()
            self._count(running.begun, -1)

    def _begin(self, event: AnyEvent) -> None:
        with self._lock:
            session = self._running.get(event.fields().get("session_id") or "")
        span = self._tracer.start_span(
            f"{event.subject} {event.target}",
            context=self._context_of(event),
            kind=SpanKind.INTERNAL if event.subject == "sweep" else SpanKind.CLIENT,
            attributes=_attributes(event),
            links=[Link(session.span.get_span_context())] if session is not None else [],
            start_time=_nanoseconds(event.time),
        )
        with self._lock:
            self._running[event.id] = _Running(event, span)
        self._count(event, 1)

    def _count(self, begun: AnyEvent, change: int) -> None:
        self._active[begun.subject].add(change, {_ATTRIBUTES["target"]: begun.target})

    def _context_of(self, event: AnyEvent) -> Context:
        """What the span of something that begins is under."""
        if event.subject == "sweep":
            return context.get_current()
        with self._lock:
            sweep = self._running.get(event.fields().get("sweep_id") or "")
        return self._parent if sweep is None else trace.set_span_in_context(sweep.span)

    def _take_out_jobs_of(self, sweep_id: str) -> list[_Running]:
        """The jobs that nobody waits for any more; they run on at the service. Needs the lock."""
        running = self._running.items()
        ids = [key for key, one in running if one.begun.fields().get("sweep_id") == sweep_id]
        return [self._running.pop(job_id) for job_id in ids]

    def _end(self, running: _Running, time: float, outcome: str, reason: str = "") -> None:
        subject, target = running.begun.subject, running.begun.target
        attributes = {_ATTRIBUTES["target"]: target, _OUTCOME: outcome}
        if outcome in _ERRORS:
            attributes["error.type"] = reason or outcome
            running.span.set_status(Status(StatusCode.ERROR))
        running.span.set_attributes(attributes)
        running.span.end(_nanoseconds(time))
        self._count(running.begun, -1)
        # The time of day may be set back meanwhile.
        self._durations[subject].record(max(time - running.begun.time, 0.0), attributes)


def _attributes(event: AnyEvent) -> dict[str, Any]:
    fields = event.fields()
    return {
        attribute: fields[name]
        for name, attribute in _ATTRIBUTES.items()
        if fields.get(name) not in (None, "")
    }


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
