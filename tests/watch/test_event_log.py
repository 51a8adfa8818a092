"""Events: who is told of them, and what the log says."""

from __future__ import annotations

import logging

import cirq
import pytest

from cirq_azure_sessions import (
    AzureSessionSampler,
    LocalWorkspace,
    ManualClock,
    SessionPool,
    SweepError,
    SweepEvent,
)
from cirq_azure_sessions.model import JobEvent, SessionEvent

TARGET = "local.simulator"
CIRCUIT = cirq.Circuit(cirq.measure(cirq.LineQubit(0), key="m"))
PACKAGE = "cirq_azure_sessions"


class _Broken(cirq.Sampler):
    def run_sweep(self, program, params, repetitions=1):
        raise RuntimeError("The ion got away.")


@pytest.fixture
def workspace() -> LocalWorkspace:
    return LocalWorkspace({"local.broken": _Broken()}, clock=ManualClock())


def test_a_call_is_told_where_it_begins_and_where_it_ends(workspace: LocalWorkspace):
    told: list[SweepEvent] = []
    with SessionPool(workspace) as pool:
        end = pool.subscribe_sweeps(told.append)
        AzureSessionSampler(TARGET, pool=pool).run(CIRCUIT)
        with pytest.raises(SweepError):
            AzureSessionSampler("local.broken", pool=pool).run(CIRCUIT)
        stream = AzureSessionSampler(TARGET, pool=pool).stream_sweep(CIRCUIT, None, 10)
        next(stream)
        stream.close()
        end()
        AzureSessionSampler(TARGET, pool=pool).run(CIRCUIT)
    assert [(event.target, event.kind, event.jobs, event.reason) for event in told] == [
        (TARGET, "started", 1, ""),
        (TARGET, "finished", 1, ""),
        ("local.broken", "started", 1, ""),
        ("local.broken", "failed", 1, "SweepError"),
        (TARGET, "started", 1, ""),
        (TARGET, "interrupted", 1, "GeneratorExit"),
    ]


def test_a_job_names_its_sweep(workspace: LocalWorkspace):
    jobs: list[JobEvent] = []
    sweeps: list[SweepEvent] = []
    with SessionPool(workspace) as pool:
        pool.subscribe(lambda event: jobs.append(event) if event.subject == "job" else None)
        pool.subscribe_sweeps(sweeps.append)
        AzureSessionSampler(TARGET, pool=pool).run(CIRCUIT)
    assert {job.sweep_id for job in jobs} == {sweep.sweep_id for sweep in sweeps}
    assert len({sweep.sweep_id for sweep in sweeps}) == 1


def test_sessions_are_logged_for_people_and_jobs_for_those_who_look_closer(
    workspace: LocalWorkspace, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG, PACKAGE)
    with SessionPool(workspace) as pool:
        AzureSessionSampler(TARGET, pool=pool).run(CIRCUIT)
        with pytest.raises(SweepError):
            AzureSessionSampler("local.broken", pool=pool).run(CIRCUIT)
        (session, _) = pool.sessions()
    informed = [each.message for each in caplog.records if each.levelno == logging.INFO]
    assert f"{TARGET}: session {session.id} opened" in informed
    assert f"{TARGET}: session {session.id} closed" in informed
    assert any(line.startswith("local.broken: job ") and "failed" in line for line in informed)
    assert not any(line.startswith(f"{TARGET}: job ") for line in informed)
    assert any(each.message.startswith(f"{TARGET}: job ") for each in caplog.records)


def test_nothing_is_logged_that_would_appear_unasked(
    workspace: LocalWorkspace, caplog: pytest.LogCaptureFixture
):
    """Without any configuration Python prints warnings, and only those."""
    clock = ManualClock()
    caplog.set_level(logging.DEBUG)
    with SessionPool(LocalWorkspace(clock=clock), clock=clock) as pool:
        sampler = AzureSessionSampler(TARGET, pool=pool)
        sampler.run(CIRCUIT)
        clock.advance(601)
        sampler.run(CIRCUIT)
        assert pool.get_stats()["sessions_timed_out"] == 1
    ours = [record for record in caplog.records if record.name.startswith(PACKAGE)]
    assert ours
    assert max(record.levelno for record in ours) < logging.WARNING


def test_a_record_has_the_fields_of_its_event(
    workspace: LocalWorkspace, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, PACKAGE)
    with SessionPool(workspace) as pool:
        session = pool.session(TARGET)
    opened = caplog.records[0]
    assert opened.name.startswith(PACKAGE)
    assert (
        vars(opened).items()
        >= {
            "kind": "opened",
            "session_id": session.id,
            "target": TARGET,
            "cost": None,
            "reason": "",
        }.items()
    )


def test_an_event_reads_as_a_line_and_as_fields():
    event = SessionEvent("timed_out", "1f3c", "ionq.simulator", time=5.0, reason="TimedOut")
    assert str(event) == "ionq.simulator: session 1f3c timed out (TimedOut)"
    assert (
        event.fields().items()
        >= {
            "kind": "timed_out",
            "session_id": "1f3c",
            "target": "ionq.simulator",
            "time": 5.0,
            "reason": "TimedOut",
        }.items()
    )
