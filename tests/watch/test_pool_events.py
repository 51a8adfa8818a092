"""The events that a pool and its samplers report, and what is logged of them."""

from __future__ import annotations

import logging
from asyncio import CancelledError
from contextvars import ContextVar

import cirq
import pytest

from cirq_azure_sessions import (
    AzureSessionSampler,
    JobFailed,
    LocalWorkspace,
    ManualClock,
    SessionPool,
    SweepError,
)
from cirq_azure_sessions.watch.events import AnyEvent

TARGET = "local.simulator"
CIRCUIT = cirq.Circuit(cirq.measure(cirq.LineQubit(0), key="m"))
PACKAGE = "cirq_azure_sessions"


class _Broken(cirq.Sampler):
    def run_sweep(self, program, params, repetitions=1):
        raise RuntimeError("The ion got away.")


class _Picky(cirq.Sampler):
    def run_sweep(self, program, params, repetitions=1):
        if repetitions == 13:
            raise RuntimeError("Not so many.")
        return cirq.Simulator().run_sweep(program, params, repetitions)


@pytest.fixture
def workspace() -> LocalWorkspace:
    return LocalWorkspace({"local.broken": _Broken()}, clock=ManualClock())


def sweeps_among(events: list[AnyEvent]) -> list[tuple[object, ...]]:
    return [
        (event.target, event.kind, event.jobs, event.reason)
        for event in events
        if event.subject == "sweep"
    ]


def test_a_call_reports_where_it_begins_and_where_it_ends(workspace: LocalWorkspace) -> None:
    events: list[AnyEvent] = []
    with SessionPool(workspace) as pool:
        unsubscribe = pool.subscribe(events.append)
        AzureSessionSampler(TARGET, pool=pool).run(CIRCUIT)
        with pytest.raises(JobFailed):
            AzureSessionSampler("local.broken", pool=pool).run(CIRCUIT)
        stream = AzureSessionSampler(TARGET, pool=pool).stream_sweep(CIRCUIT, None, 10)
        next(stream)
        stream.close()
        unsubscribe()
        AzureSessionSampler(TARGET, pool=pool).run(CIRCUIT)
    assert sweeps_among(events) == [
        (TARGET, "started", 1, ""),
        (TARGET, "finished", 1, ""),
        ("local.broken", "started", 1, ""),
        ("local.broken", "failed", 1, "JobFailed"),
        (TARGET, "started", 1, ""),
        (TARGET, "interrupted", 1, "GeneratorExit"),
    ]


def test_a_failed_batch_reports_for_each_circuit_how_it_ended() -> None:
    events: list[AnyEvent] = []
    with SessionPool(LocalWorkspace({"local.picky": _Picky()})) as pool:
        pool.subscribe(events.append)
        with pytest.raises(SweepError):
            AzureSessionSampler("local.picky", pool=pool).run_batch([CIRCUIT] * 3, None, [1, 13, 2])
    assert sweeps_among(events)[3:] == [
        ("local.picky", "finished", 1, ""),
        ("local.picky", "failed", 1, "JobFailed"),
        ("local.picky", "finished", 1, ""),
    ]


def test_a_call_reports_its_start_in_its_own_context(workspace: LocalWorkspace) -> None:
    experiment: ContextVar[str] = ContextVar("experiment", default="nobody's")
    seen: list[str] = []

    def look(event: AnyEvent) -> None:
        if event.kind == "started":
            seen.append(experiment.get())

    with SessionPool(workspace) as pool:
        pool.subscribe(look)
        experiment.set("mine")
        AzureSessionSampler(TARGET, pool=pool).run(CIRCUIT)
    assert seen == ["mine"]


def test_a_job_carries_the_id_of_its_sweep(workspace: LocalWorkspace) -> None:
    events: list[AnyEvent] = []
    with SessionPool(workspace) as pool:
        pool.subscribe(events.append)
        AzureSessionSampler(TARGET, pool=pool).run(CIRCUIT)
    jobs = {event.sweep_id for event in events if event.subject == "job"}
    assert jobs == {event.sweep_id for event in events if event.subject == "sweep"}
    assert len(jobs) == 1


def test_sweep_that_ctrl_c_interrupts_in_a_subscriber_ends(workspace: LocalWorkspace) -> None:
    def interrupt(event: AnyEvent) -> None:
        if event.kind == "started":
            raise KeyboardInterrupt

    events: list[AnyEvent] = []
    with SessionPool(workspace) as pool:
        pool.subscribe(events.append)
        pool.subscribe(interrupt)
        with pytest.raises(KeyboardInterrupt):
            AzureSessionSampler(TARGET, pool=pool).run(CIRCUIT)
    assert sweeps_among(events) == [
        (TARGET, "started", 1, ""),
        (TARGET, "interrupted", 1, "KeyboardInterrupt"),
    ]


@pytest.mark.parametrize("error", [ValueError, SystemExit, CancelledError])
def test_callback_that_raises_loses_no_result(
    error: type[BaseException], workspace: LocalWorkspace
) -> None:
    def fail(event: AnyEvent) -> None:
        raise error("a bug of the subscriber")

    with SessionPool(workspace) as pool:
        pool.subscribe(fail)
        assert AzureSessionSampler(TARGET, pool=pool).run(CIRCUIT, repetitions=7).repetitions == 7


def test_sessions_and_failed_jobs_are_logged_as_info(
    workspace: LocalWorkspace, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, PACKAGE)
    with SessionPool(workspace) as pool:
        AzureSessionSampler(TARGET, pool=pool).run(CIRCUIT)
        with pytest.raises(JobFailed):
            AzureSessionSampler("local.broken", pool=pool).run(CIRCUIT)
        (session, _) = pool.sessions()
    informed = [each.message for each in caplog.records if each.levelno == logging.INFO]
    assert f"{TARGET}: session {session.id} opened" in informed
    assert f"{TARGET}: session {session.id} closed" in informed
    assert any(line.startswith("local.broken: job ") and "failed" in line for line in informed)
    assert not any(line.startswith(f"{TARGET}: job ") for line in informed)
    assert any(each.message.startswith(f"{TARGET}: job ") for each in caplog.records)


def test_a_timeout_is_logged_below_warning(
    workspace: LocalWorkspace, caplog: pytest.LogCaptureFixture
) -> None:
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
