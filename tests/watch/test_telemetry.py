"""Spans and metrics, as OpenTelemetry's in-memory exporters receive them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import cirq
import pytest
import sympy
from opentelemetry.trace import SpanKind, StatusCode
from telemetry_backend import Backend, attributes

from cirq_azure_sessions import (
    AzureSessionSampler,
    JobFailed,
    JobTimeout,
    ManualClock,
    SessionPool,
)
from cirq_azure_sessions.emulator import EmulatorServer

TARGET = "quantinuum.sim.h2-1e"
QUBIT = cirq.LineQubit(0)
CIRCUIT = cirq.Circuit(cirq.rx(sympy.Symbol("theta"))(QUBIT), cirq.measure(QUBIT, key="m"))
SWEEP = cirq.Linspace("theta", 0, 3, 3)


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer(clock=ManualClock()) as server:
        yield server


@pytest.fixture
def pool(server: EmulatorServer, backend: Backend) -> Iterator[SessionPool]:
    with SessionPool(server.workspace(), clock=server.clock) as pool:
        backend.instrument(pool)
        yield pool


def test_a_sweep_has_a_span_with_its_jobs_under_it(pool: SessionPool, backend: Backend) -> None:
    tracer = backend.tracers.get_tracer("experiment")
    with tracer.start_as_current_span("experiment"):
        results = AzureSessionSampler(TARGET, pool=pool).run_sweep(CIRCUIT, SWEEP, 10)
    (experiment,), (sweep,), jobs = map(backend.spans, ("experiment", "sweep", "job"))
    assert sweep.name == f"sweep {TARGET}"
    assert sweep.parent.span_id == experiment.context.span_id
    assert attributes(sweep)["azure_quantum.sweep.jobs"] == 3
    assert attributes(sweep)["azure_quantum.outcome"] == "finished"
    assert {job.parent.span_id for job in jobs} == {sweep.context.span_id}
    assert {attributes(job)["azure_quantum.job.id"] for job in jobs} == {
        result.job_id for result in results
    }
    assert {attributes(job)["azure_quantum.outcome"] for job in jobs} == {"succeeded"}
    assert {job.kind for job in jobs} == {SpanKind.CLIENT}
    assert all(sweep.start_time <= job.start_time <= job.end_time for job in jobs)


def test_a_session_has_a_span_that_its_jobs_are_linked_to(
    server: EmulatorServer, backend: Backend
) -> None:
    tracer = backend.tracers.get_tracer("experiment")
    with (
        tracer.start_as_current_span("experiment"),
        SessionPool(server.workspace(), clock=server.clock) as pool,
    ):
        backend.instrument(pool)
        sampler = AzureSessionSampler(TARGET, pool=pool)
        sampler.run(CIRCUIT, {"theta": 0})
        opened = pool.session(TARGET).id
        server.clock.advance(601)
        sampler.run(CIRCUIT, {"theta": 0})
    timed_out, closed = backend.spans("session")
    assert attributes(timed_out)["azure_quantum.session.id"] == opened
    assert attributes(timed_out)["azure_quantum.outcome"] == "timed_out"
    assert timed_out.status.status_code is StatusCode.UNSET
    assert timed_out.end_time - timed_out.start_time >= 601e9
    assert attributes(closed)["azure_quantum.outcome"] == "closed"
    (experiment,) = backend.spans("experiment")
    assert closed.parent.span_id == experiment.context.span_id
    first, second = backend.spans("job")
    assert [link.context.span_id for link in first.links] == [timed_out.context.span_id]
    assert [link.context.span_id for link in second.links] == [closed.context.span_id]


def test_simultaneous_calls_have_separate_job_spans(pool: SessionPool, backend: Backend) -> None:
    sampler = AzureSessionSampler(TARGET, pool=pool)
    sampler.run_batch([CIRCUIT, CIRCUIT], [SWEEP, {"theta": 1}], 10)
    jobs_of = {
        sweep.context.span_id: attributes(sweep)["azure_quantum.sweep.jobs"]
        for sweep in backend.spans("sweep")
    }
    parents = [job.parent.span_id for job in backend.spans("job")]
    assert sorted(jobs_of.values()) == [1, 3]
    assert {span_id: parents.count(span_id) for span_id in jobs_of} == jobs_of


def test_a_failure_is_an_error_of_its_spans(
    pool: SessionPool, server: EmulatorServer, backend: Backend
) -> None:
    server.faults.fail_job(code="InvalidInputData")
    with pytest.raises(JobFailed):
        AzureSessionSampler(TARGET, pool=pool).run(CIRCUIT, {"theta": 0})
    (sweep,), (job,) = backend.spans("sweep"), backend.spans("job")
    assert {sweep.status.status_code, job.status.status_code} == {StatusCode.ERROR}
    assert attributes(job)["error.type"] == "InvalidInputData"
    assert attributes(sweep)["error.type"] == "JobFailed"
    (duration,) = backend.metrics()["job.duration"]
    assert duration.attributes["error.type"] == "InvalidInputData"


def test_jobs_without_waiters_end_with_their_sweep(backend: Backend) -> None:
    clock = ManualClock(auto_advance=False)
    with (
        EmulatorServer(clock=clock, job_time=1e6) as slow,
        SessionPool(slow.workspace(), clock=clock) as pool,
    ):
        backend.instrument(pool)
        pool.subscribe(lambda event: clock.advance(61) if event.kind == "submitted" else None)
        with pytest.raises(JobTimeout):
            AzureSessionSampler(TARGET, pool=pool, timeout=60).run(CIRCUIT, {"theta": 0})
    (sweep,), (job,) = backend.spans("sweep"), backend.spans("job")
    assert attributes(job)["azure_quantum.outcome"] == "left"
    assert attributes(sweep)["error.type"] == "JobTimeout"
    assert job.end_time == sweep.end_time


def test_metrics_count_running_jobs_and_durations(pool: SessionPool, backend: Backend) -> None:
    sampler = AzureSessionSampler(TARGET, pool=pool)
    sampler.run_sweep(CIRCUIT, SWEEP, 10)
    metrics = backend.metrics()
    assert [point.value for point in metrics["active_sessions"]] == [1]
    assert [point.value for point in metrics["active_jobs"]] == [0]
    (durations,) = metrics["job.duration"]
    assert durations.count == 3
    assert durations.attributes == {
        "azure_quantum.target": TARGET,
        "azure_quantum.outcome": "succeeded",
    }
    pool.close()
    (sessions,) = backend.metrics()["active_sessions"]
    assert sessions.value == 0


def test_adopted_session_is_traced_by_its_opener(server: EmulatorServer, backend: Backend) -> None:
    with SessionPool(server.workspace(), name="shared") as opener:
        opener.session(TARGET)
        with SessionPool(server.workspace(), name="shared") as second:
            backend.instrument(second)
            AzureSessionSampler(TARGET, pool=second).run(CIRCUIT, {"theta": 0})
            assert second.get_stats()["sessions_adopted"] == 1
    assert backend.spans("session") == []
    (job,) = backend.spans("job")
    assert job.links == ()


def test_the_end_of_the_recording_ends_open_spans(pool: SessionPool, backend: Backend) -> None:
    other = Backend()
    end = other.instrument(pool)
    pool.session(TARGET)
    assert other.spans("session") == []
    end()
    assert len(other.spans("session")) == 1
    AzureSessionSampler(TARGET, pool=pool).run(CIRCUIT, {"theta": 0})
    assert other.spans("sweep") == []


def test_uninstrument_decrements_active_counters(
    pool: SessionPool,
) -> None:
    other = Backend()
    end = other.instrument(pool)
    pool.session(TARGET)
    assert [point.value for point in other.metrics()["active_sessions"]] == [1]
    end()
    metrics = other.metrics()
    assert [point.value for point in metrics["active_sessions"]] == [0]
    assert "session.duration" not in metrics, "nobody knows how long it is going to be"


def test_no_secret_is_in_an_attribute(
    pool: SessionPool, server: EmulatorServer, backend: Backend
) -> None:
    AzureSessionSampler(TARGET, pool=pool).run(CIRCUIT, {"theta": 0})
    pool.close()
    told = str([span.to_json() for span in backend.exporter.get_finished_spans()])
    assert server.key not in told
    assert "sig=" not in told
    assert "OPENQASM" not in told


def test_telemetry_is_imported_only_on_request() -> None:
    code = (
        "import sys, cirq\n"
        "from cirq_azure_sessions import AzureSessionSampler\n"
        "with AzureSessionSampler('local.simulator') as sampler:\n"
        "    sampler.run(cirq.Circuit(cirq.measure(cirq.q(0))))\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
        "sys.modules['opentelemetry'] = None\n"
        "try:\n"
        "    from cirq_azure_sessions.watch import telemetry\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == (
        "Telemetry needs OpenTelemetry: run pip install '.[telemetry]' in your checkout.\n"
    ), done.stderr
