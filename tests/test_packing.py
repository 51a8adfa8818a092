"""Sweeps whose points share jobs: results, bills, failures and reruns, on the emulated service."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import cirq
import numpy as np
import pytest
import sympy
from formats_lab import assert_same_distribution, assert_same_form

from cirq_azure_sessions import (
    AzureSessionSampler,
    JobFailed,
    Journal,
    ResultFormatError,
    SessionPool,
    SweepCostLimit,
    SweepError,
    UnsupportedProgram,
    estimate_cost,
)
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.emulator.programs import NOISELESS

ARIA = "ionq.qpu.aria-1"
H2 = "quantinuum.sim.h2-1e"
QVM = "rigetti.sim.qvm"
PLAIN = {"error-mitigation": {"debias": False}}
MINIMUM = 12.4166

A, B = cirq.LineQubit.range(2)
T = sympy.Symbol("t")
ROTATION = cirq.Circuit(cirq.rx(T)(A), cirq.CNOT(A, B), cirq.measure(A, B, key="m"))
POINTS = 10
SWEEP = cirq.Points("t", [k / 4 for k in range(POINTS)])


@pytest.fixture
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer(noise=NOISELESS, seed=1) as server:
        yield server


@pytest.fixture
def pool(server: EmulatorServer) -> Iterator[SessionPool]:
    with SessionPool(server.workspace()) as pool:
        yield pool


def sampler(pool: SessionPool, pack: Any = 4, target: str = ARIA, **options: Any) -> Any:
    options.setdefault("input_params", PLAIN if target == ARIA else None)
    return AzureSessionSampler(target, pool=pool, pack=pack, **options)


def assert_right(results: Any, sweep: cirq.Sweep = SWEEP, repetitions: int = 400) -> None:
    """A chi-square test a point; each fails on a right answer once in 10**7 runs."""
    expected = cirq.Simulator(seed=1).run_sweep(ROTATION, sweep, repetitions)
    for result, other in zip(results, expected, strict=True):
        assert_same_form(result, other)
        assert_same_distribution(result, other)


@pytest.mark.parametrize("target", [ARIA, "ionq.qpu.forte-1", H2, QVM])
def test_a_packed_sweep_gives_the_same_results_in_fewer_jobs(
    server: EmulatorServer, pool: SessionPool, target: str
) -> None:
    results = sampler(pool, target=target, input_params=None).run_sweep(ROTATION, SWEEP, 400)
    assert_right(results)
    assert server.requests["submit"] == 3
    assert len({result.job_id for result in results}) == 3


def test_the_service_bills_a_minimum_per_job(pool: SessionPool) -> None:
    sampler(pool).run_sweep(ROTATION, SWEEP, 400)
    assert pool.get_stats()["cost"] == pytest.approx(3 * MINIMUM)


def test_circuits_of_a_batch_share_jobs(server: EmulatorServer, pool: SessionPool) -> None:
    flips = [cirq.Circuit(cirq.X(A) ** (k % 2), cirq.measure(A, key=f"k{k}")) for k in range(9)]
    repetitions = [10] * 8 + [20]
    results = sampler(pool).run_batch(flips, None, repetitions)
    assert server.requests["submit"] == 3
    for k, [result] in enumerate(results):
        assert list(result.measurements) == [f"k{k}"]
        assert result.measurements[f"k{k}"].tolist() == [[k % 2]] * repetitions[k]


def test_a_batch_of_sweeps_keeps_each_circuits_results_together(pool: SessionPool) -> None:
    other = cirq.Circuit(cirq.X(A), cirq.measure(A, key="x"))
    results = sampler(pool).run_batch([ROTATION, other, ROTATION], [SWEEP, None, SWEEP], 400)
    assert [len(result) for result in results] == [POINTS, 1, POINTS]
    assert_right(results[0])
    assert_right(results[2])
    assert results[1][0].measurements["x"].all()


def test_zero_repetitions_and_empty_sweeps_of_a_batch_send_nothing(
    server: EmulatorServer, pool: SessionPool
) -> None:
    nothing, empty, some = sampler(pool).run_batch(
        [ROTATION] * 3, [SWEEP, cirq.Points("t", []), cirq.Points("t", [0.1])], [0, 5, 5]
    )
    assert [result.repetitions for result in nothing] == [0] * POINTS
    assert (len(empty), len(some)) == (0, 1)
    assert server.requests["submit"] == 1


def test_expectation_values_are_estimated_in_packs(
    server: EmulatorServer, pool: SessionPool
) -> None:
    """Each value is off by more than its six standard deviations once in 10**8 runs."""
    circuit = cirq.Circuit(cirq.rx(T)(A))
    values = sampler(pool).sample_expectation_values(
        circuit, [cirq.Z(A), cirq.Y(A)], num_samples=400, params=SWEEP
    )
    for k, (z, y) in enumerate(values):
        assert abs(z - np.cos(k / 4)) < 0.3
        assert abs(y + np.sin(k / 4)) < 0.3
    assert server.requests["submit"] < 2 * POINTS


def test_a_stream_yields_each_point_once(pool: SessionPool) -> None:
    found = dict(sampler(pool).stream_sweep(ROTATION, SWEEP, 400))
    assert_right([found[k] for k in range(POINTS)])


def test_repetitions_beyond_the_limit_of_a_job_are_joined(
    server: EmulatorServer, pool: SessionPool
) -> None:
    sweep = cirq.Points("t", [0.5, 1.5])
    results = sampler(pool, 2).run_sweep(ROTATION, sweep, 12_000)
    assert [result.repetitions for result in results] == [12_000] * 2
    assert server.requests["submit"] == 2
    assert_right(results, sweep, 12_000)


def test_two_concurrent_packed_calls_both_finish(pool: SessionPool) -> None:
    both = sampler(pool)
    found: dict[int, Any] = {}

    def run(number: int) -> None:
        found[number] = both.run_sweep(ROTATION, SWEEP, 400)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for results in found.values():
        assert_right(results)


def test_a_jobs_results_are_read_by_its_id(pool: SessionPool) -> None:
    made = sampler(pool)
    results = made.run_sweep(ROTATION, SWEEP, 50)
    read = pool.get_job(results[0].job_id).results()
    assert read == [results[0], results[3], results[6], results[9]]
    with pytest.raises(ResultFormatError, match="4 points"):
        made.get_result(results[0].job_id)


# Failures


@pytest.mark.parametrize("on_error", ["raise", "return"])
def test_a_failed_job_fails_its_points_and_no_neighbours(
    server: EmulatorServer, pool: SessionPool, on_error: str
) -> None:
    server.faults.fail_job()
    made = sampler(pool, on_error=on_error, max_concurrent_jobs=1)
    if on_error == "raise":
        with pytest.raises(SweepError) as caught:
            made.run_sweep(ROTATION, SWEEP, 400)
        assert all(isinstance(each, JobFailed) for each in caught.value.failures.values())
        results: Any = caught.value.results
    else:
        results = made.run_sweep(ROTATION, SWEEP, 400)
    assert [k for k, result in enumerate(results) if result is None] == [0, 3, 6, 9]


def test_a_failed_job_of_a_batch_is_reported_by_circuit(
    server: EmulatorServer, pool: SessionPool
) -> None:
    server.faults.fail_job()
    flips = [cirq.Circuit(cirq.X(A), cirq.measure(A, key=f"k{k}")) for k in range(3)]
    with pytest.raises(SweepError) as caught:
        sampler(pool, 2, max_concurrent_jobs=1).run_batch(flips, None, 10)
    assert sorted(caught.value.failures) == [0, 2]
    assert [[each is None for each in one] for one in caught.value.results] == [
        [True],
        [False],
        [True],
    ]


def test_a_cap_on_costs_counts_jobs(server: EmulatorServer, pool: SessionPool) -> None:
    with pytest.raises(SweepCostLimit) as caught:
        sampler(pool, max_cost=2.5 * MINIMUM).run_sweep(ROTATION, SWEEP, 400)
    assert server.requests["submit"] == 2
    assert sum(result is not None for result in caught.value.results) == 7


def test_circuits_too_large_for_the_machine_are_refused_before_any_request(
    server: EmulatorServer, pool: SessionPool
) -> None:
    with pytest.raises(UnsupportedProgram, match="needs 40 qubits"):
        sampler(pool, 20).run_sweep(ROTATION, cirq.Linspace("t", 0, 1, 20), 10)
    assert server.requests.total == 0


# Prices


def test_an_estimate_has_both_prices() -> None:
    estimate = estimate_cost(ARIA, ROTATION, SWEEP, 400, input_params=PLAIN, pack=4)
    assert estimate.amount == pytest.approx(3 * MINIMUM)
    assert estimate.amount_unpacked == pytest.approx(POINTS * MINIMUM)
    assert sum(estimate.points.values()) == pytest.approx(3 * MINIMUM)
    assert "instead of 124.17 for 10 jobs" in str(estimate)
    assert estimate_cost(ARIA, ROTATION, SWEEP, 400).amount_unpacked is None


def test_the_estimate_equals_the_bill(pool: SessionPool) -> None:
    made = sampler(pool, "auto")
    made.run_sweep(ROTATION, SWEEP, 5_000)
    estimate = made.estimate_cost(ROTATION, SWEEP, 5_000)
    assert pool.get_stats()["cost"] == pytest.approx(estimate.amount)


# Reruns with a journal


@pytest.mark.parametrize("second", [4, 3, None, "auto", [[5, 6], [1, 0]]])
@pytest.mark.parametrize("first", [4, None])
def test_a_rerun_with_another_pack_submits_nothing_again(
    server: EmulatorServer, pool: SessionPool, tmp_path: Path, first: Any, second: Any
) -> None:
    path = tmp_path / "journal"
    with Journal(path) as journal:
        before = sampler(pool, first, journal=journal).run_sweep(ROTATION, SWEEP, 400)
    server.requests.clear()
    with Journal(path) as journal:
        after = sampler(pool, second, journal=journal).run_sweep(ROTATION, SWEEP, 400)
        assert after == before
        assert [r.job_id for r in after] == [r.job_id for r in before]
    assert server.requests["submit"] == 0


@pytest.mark.parametrize("second", [4, 3, None])
def test_only_unpaid_points_are_submitted(
    server: EmulatorServer,
    pool: SessionPool,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    second: Any,
) -> None:
    path = tmp_path / "journal"
    server.faults.fail_job()
    with Journal(path) as journal, pytest.raises(SweepError):
        sampler(pool, 4, journal=journal, max_concurrent_jobs=1).run_sweep(ROTATION, SWEEP, 400)
    server.requests.clear()
    caplog.set_level("INFO")
    with Journal(path) as journal:
        results = sampler(pool, second, journal=journal).run_sweep(ROTATION, SWEEP, 400)
    assert_right(results)
    # Four points were in the job that failed.
    assert server.requests["submit"] == {4: 1, 3: 2, None: 4}[second]
    assert "has 6 of 10 points in 2 jobs of earlier runs" in caplog.text


def test_a_longer_sweep_packs_only_its_new_points(
    server: EmulatorServer, pool: SessionPool, tmp_path: Path
) -> None:
    longer = cirq.Points("t", [k / 4 for k in range(POINTS + 4)])
    path = tmp_path / "journal"
    with Journal(path) as journal:
        sampler(pool, 4, journal=journal).run_sweep(ROTATION, SWEEP, 400)
    server.requests.clear()
    with Journal(path) as journal:
        results = sampler(pool, 4, journal=journal).run_sweep(ROTATION, longer, 400)
    assert server.requests["submit"] == 1
    assert_right(results, longer)


def test_equal_points_of_a_sweep_have_results_of_their_own(
    server: EmulatorServer, pool: SessionPool, tmp_path: Path
) -> None:
    same = cirq.Points("t", [1.0] * 6)
    path = tmp_path / "journal"
    with Journal(path) as journal:
        before = sampler(pool, 3, journal=journal).run_sweep(ROTATION, same, 100)
    server.requests.clear()
    with Journal(path) as journal:
        after = sampler(pool, 2, journal=journal).run_sweep(ROTATION, same, 100)
    assert server.requests["submit"] == 0
    assert sorted(str(r) for r in after) == sorted(str(r) for r in before)
    assert len({str(result) for result in after}) > 1


def test_cancelled_jobs_of_an_earlier_run_are_packed_again(
    server: EmulatorServer, pool: SessionPool, tmp_path: Path
) -> None:
    path = tmp_path / "journal"
    with Journal(path) as journal:
        made = sampler(pool, None, journal=journal, max_concurrent_jobs=20)
        before = made.run_sweep(ROTATION, SWEEP, 100)
    with Journal(path) as journal:
        # As if the run had been killed and its jobs cancelled.
        entries = [each for each in journal.entries() if each.job_id != before[0].job_id]

        def cancel(file: Any) -> None:
            for entry in entries:
                journal._jobs.update(file, entry, state="cancelled")

        journal._commits.post(cancel)
    server.requests.clear()
    with Journal(path) as journal:
        results = sampler(pool, 3, journal=journal).run_sweep(ROTATION, SWEEP, 100)
    assert server.requests["submit"] == 3
    assert results[0] == before[0]


def test_a_job_that_never_arrived_is_submitted_again_under_its_id(
    server: EmulatorServer, pool: SessionPool, tmp_path: Path
) -> None:
    path = tmp_path / "journal"
    with Journal(path) as journal:
        made = sampler(pool, 4, journal=journal)
        [sweep] = made._translate([ROTATION], [SWEEP], 100)
        # As if the run had been killed before its first request.
        asyncio.run(sweep.reuse(journal, pool._router.for_target(made.target), AsyncExitStack()))
        request = next(sweep.jobs()).request
        asyncio.run(journal._claim(request))
    with Journal(path) as journal:
        same = sampler(pool, 4, journal=journal).run_sweep(ROTATION, SWEEP, 100)
    assert server.requests["submit"] == 3
    assert [k for k, r in enumerate(same) if r.job_id == request.id] == [0, 3, 6, 9]


@pytest.mark.parametrize(
    ("pack", "change"), [(None, {"seed": 7}), (None, {"pack": 2}), (2, {"pack": None})]
)
def test_programs_that_shared_a_journal_get_every_job_once_in_every_order_of_reruns(
    server: EmulatorServer,
    pool: SessionPool,
    tmp_path: Path,
    pack: int | None,
    change: dict[str, Any],
) -> None:
    path = tmp_path / "journal"
    programs = [cirq.Points("t", [k / 4 for k in range(count)]) for count in (1, 2, 3)]

    def run(journal: Journal, points: cirq.Sweep) -> list[str]:
        made = sampler(pool, journal=journal, **options)
        return [result.job_id for result in made.run_sweep(ROTATION, points, 50)]

    def run_together() -> list[str]:
        with Journal(path) as a, Journal(path) as b, Journal(path) as c:
            return sorted(itertools.chain(*map(run, (a, b, c), programs)))

    def run_in_turn(order: Sequence[cirq.Sweep]) -> list[str]:
        jobs: list[str] = []
        for points in order:
            with Journal(path) as journal:
                jobs += run(journal, points)
        return sorted(jobs)

    options: dict[str, Any] = {"pack": pack}
    shared = run_together()
    submitted = server.requests["submit"]
    options |= change
    for order in (programs, programs[::-1], [programs[1], programs[0], programs[2]]):
        assert run_in_turn(order) == shared
    assert run_together() == shared
    assert server.requests["submit"] == submitted
