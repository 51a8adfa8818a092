"""The timeline of a pool."""

from __future__ import annotations

from collections.abc import Iterator

import cirq
import pytest
import sympy
from matplotlib import pyplot as plt

from cirq_azure_sessions import (
    AzureSessionSampler,
    LocalWorkspace,
    ManualClock,
    SessionPool,
    SweepError,
)
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.watch.events import AnyEvent

QUBIT = cirq.LineQubit(0)
CIRCUIT = cirq.Circuit(cirq.rx(sympy.Symbol("a"))(QUBIT), cirq.measure(QUBIT, key="m"))
SWEEP = cirq.Linspace("a", 0, 1, 3)


@pytest.fixture(autouse=True)
def no_display() -> Iterator[None]:
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def pool() -> SessionPool:
    """A closed pool: a session that timed out, the one that took its place, and a failed job."""
    clock = ManualClock()
    with EmulatorServer(clock=clock) as server:
        with SessionPool(server.workspace(), clock=clock) as pool:
            sampler = AzureSessionSampler("ionq.simulator", pool=pool)
            sampler.run_sweep(CIRCUIT, SWEEP)
            clock.advance(700)
            sampler.run_sweep(CIRCUIT, SWEEP)
            server.faults.fail_job(code="InvalidInputData")
            with pytest.raises(SweepError):
                AzureSessionSampler("quantinuum.sim.h2-1e", pool=pool).run_sweep(CIRCUIT, SWEEP)
        return pool


def test_a_pool_shows_its_sessions_target_by_target_and_how_they_ended(pool: SessionPool) -> None:
    assert [(bar.target, bar.summary) for bar in pool._timeline().sessions] == [
        ("ionq.simulator", "timed out, 3 jobs"),
        ("ionq.simulator", "closed, 3 jobs"),
        ("quantinuum.sim.h2-1e", "closed, 3 jobs, 1 failed"),
    ]


def test_a_session_that_replaced_another_points_to_it(pool: SessionPool) -> None:
    assert [bar.follows for bar in pool._timeline().sessions] == [None, 0, None]


def test_a_timed_out_session_ends_when_the_service_ended_it_not_when_that_was_noticed(
    pool: SessionPool,
) -> None:
    first, second, _ = pool._timeline().sessions
    assert first.end - first.jobs[-1].time == pytest.approx(600, abs=5)
    assert second.begin - first.end > 90


def test_jobs_without_a_final_status_are_unfinished() -> None:
    seen: list[str] = []
    with SessionPool(LocalWorkspace()) as pool:

        def look(event: AnyEvent) -> None:
            if event.subject != "sweep":
                seen.append(pool._timeline().sessions[0].summary)

        pool.subscribe(look)
        AzureSessionSampler("local.simulator", pool=pool).run(CIRCUIT, {"a": 1})
    assert seen == ["open, 0 jobs", "open, 1 job, 1 unfinished", "open, 1 job", "closed, 1 job"]


def test_a_pool_remembers_the_latest_jobs_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cirq_azure_sessions.watch.event_log._MAX_JOB_EVENTS", 4)
    with SessionPool(LocalWorkspace()) as pool:
        sampler = AzureSessionSampler("local.simulator", pool=pool)
        ids = [sampler.run(CIRCUIT, {"a": 1}).job_id for _ in range(3)]
        (bar,) = pool._timeline().sessions
    assert [mark.job_id for mark in bar.jobs] == ids[1:]


def test_a_pool_draws_on_axes_of_its_own_or_on_given_ones(pool: SessionPool) -> None:
    _, ax = plt.subplots()
    assert pool.plot_timeline(ax) is ax
    assert pool.plot_timeline() is not ax


@pytest.mark.filterwarnings("error")
def test_a_pool_that_had_no_session_draws_empty_axes() -> None:
    with SessionPool(LocalWorkspace()) as pool:
        assert not pool.plot_timeline().patches
