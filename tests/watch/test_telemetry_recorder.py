"""Spans and metrics made from events alone, without a pool."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
from opentelemetry.trace import StatusCode
from telemetry_backend import Backend, attributes

from cirq_azure_sessions.watch.event_log import EventLog
from cirq_azure_sessions.watch.events import JobEvent, SessionEvent, SweepEvent

TARGET = "quantinuum.sim.h2-1e"
OPENED = SessionEvent("opened", "s-1", TARGET, time=0.0)


def sweep(number: int, kind: str = "started", time: float = 1.0) -> SweepEvent:
    return SweepEvent(kind, f"w-{number}", TARGET, time=time, jobs=1)


def job(number: int, kind: str = "submitted", time: float = 2.0, *, of: int = 0) -> JobEvent:
    return JobEvent(kind, f"j-{number}", "s-1", TARGET, time=time, sweep_id=f"w-{of}")


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def log(backend: Backend) -> EventLog:
    log = EventLog()
    backend.instrument(log)
    return log


def test_a_job_is_under_its_sweep_and_linked_to_its_session(
    log: EventLog, backend: Backend
) -> None:
    for event in (OPENED, sweep(0), sweep(1), job(0, of=1), job(0, "succeeded", of=1)):
        log.report(event)
    for event in (sweep(0, "finished"), sweep(1, "finished"), replace(OPENED, kind="closed")):
        log.report(event)
    (session,), (first, second), (done,) = map(backend.spans, ("session", "sweep", "job"))
    assert done.parent.span_id == second.context.span_id != first.context.span_id
    assert [link.context.span_id for link in done.links] == [session.context.span_id]


def test_a_sweep_is_under_the_span_that_is_current_where_it_starts(
    log: EventLog, backend: Backend
) -> None:
    with backend.tracers.get_tracer("experiment").start_as_current_span("experiment"):
        log.report(sweep(0))
    log.report(sweep(0, "finished"))
    (experiment,), (span,) = map(backend.spans, ("experiment", "sweep"))
    assert span.parent.span_id == experiment.context.span_id


def test_jobs_in_flight_are_left_when_their_sweep_ends(log: EventLog, backend: Backend) -> None:
    for event in (sweep(0), sweep(1), job(0), job(1), job(2, of=1), job(0, "succeeded")):
        log.report(event)
    log.report(sweep(0, "interrupted", time=9.0))
    outcomes = {
        attributes(span)["azure_quantum.job.id"]: attributes(span)["azure_quantum.outcome"]
        for span in backend.spans("job")
    }
    assert outcomes == {"j-0": "succeeded", "j-1": "left"}
    (active,) = backend.metrics()["active_jobs"]
    assert active.value == 1
    # The end of a job that was left has no span any more.
    log.report(job(1, "succeeded"))
    assert len(backend.spans("job")) == 2


def test_a_job_that_two_sweeps_wait_for_ends_once(log: EventLog, backend: Backend) -> None:
    for event in (sweep(0), sweep(1), job(0), job(0, of=1), job(0, "succeeded", of=1)):
        log.report(event)
    log.report(sweep(0, "finished"))
    log.report(sweep(1, "finished"))
    assert len(backend.spans("sweep")) == 2


def test_a_failure_is_an_error(log: EventLog, backend: Backend) -> None:
    log.report(job(0))
    log.report(replace(job(0, "failed"), reason="InvalidInputData"))
    (span,) = backend.spans("job")
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == "InvalidInputData"


def test_costs_of_jobs_are_added_up(log: EventLog, backend: Backend) -> None:
    for number, cost in enumerate((1.5, 0.25, None)):
        log.report(replace(job(number, "succeeded"), cost=cost, currency="EUR"))
    (total,) = backend.metrics()["job.cost"]
    assert total.value == 1.75
    assert total.attributes == {
        "azure_quantum.target": TARGET,
        "azure_quantum.job.currency": "EUR",
    }


def test_the_end_of_a_sweep_takes_no_longer_next_to_many_others(log: EventLog) -> None:
    """Calls of functions are counted: a look at every span in progress would add to them."""

    def calls_of_one_sweep() -> int:
        calls = 0

        def count(*_: object) -> None:
            nonlocal calls
            calls += 1

        log.report(sweep(0))
        log.report(job(0))
        sys.setprofile(count)
        try:
            log.report(sweep(0, "finished"))
        finally:
            sys.setprofile(None)
        return calls

    calls_of_one_sweep()  # what is made at the first call
    alone = calls_of_one_sweep()
    for number in range(1, 500):
        log.report(sweep(number))
        log.report(job(number, of=number))
    assert calls_of_one_sweep() < alone + 50


def test_stopping_ends_open_spans_and_lowers_the_active_counts(backend: Backend) -> None:
    log = EventLog()
    stop = backend.instrument(log)
    log.report(OPENED)
    assert [point.value for point in backend.metrics()["active_sessions"]] == [1]
    stop()
    log.report(sweep(0))
    log.report(sweep(0, "finished"))
    assert len(backend.spans("session")) == 1
    assert backend.spans("sweep") == []
    metrics = backend.metrics()
    assert [point.value for point in metrics["active_sessions"]] == [0]
    assert "session.duration" not in metrics, "it is not known how long it was going to be"
