"""More repetitions than earlier runs paid for: only the missing ones are submitted."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cirq
import pytest
import sympy
from formats_lab import assert_same_distribution
from hypothesis import given, settings
from hypothesis import strategies as st

from cirq_azure_sessions import AzureSessionSampler, Journal, SessionPool
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.emulator.programs import NOISELESS

ARIA = "ionq.qpu.aria-1"
PLAIN = {"error-mitigation": {"debias": False}}
A, B = cirq.LineQubit.range(2)
BELL = cirq.Circuit(cirq.H(A), cirq.CNOT(A, B), cirq.measure(A, B, key="m"))
ROTATION = cirq.Circuit(cirq.rx(sympy.Symbol("t"))(A), cirq.measure(A, key="m"))
SWEEP = cirq.Points("t", [0.0, 0.7, 1.4, 2.1, 2.8])


@pytest.fixture
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer(noise=NOISELESS, seed=1) as server:
        yield server


class Runs:
    """Runs of programs, one after the other, with one journal; how many jobs each submitted."""

    def __init__(self, server: EmulatorServer, path: Path, target: str = ARIA) -> None:
        self.server, self.path, self.target = server, path, target
        self.submitted: list[int] = []

    def __call__(self, *repetitions: int, circuit: Any = BELL, params: Any = None, **options: Any):
        if self.target == ARIA:
            options["input_params"] = PLAIN
        self.server.requests.clear()
        with SessionPool(self.server.workspace(), journal=self.path) as pool:
            sampler = AzureSessionSampler(self.target, pool=pool, **options)
            try:
                return [sampler.run_sweep(circuit, params, count) for count in repetitions]
            finally:
                self.submitted.append(self.server.requests["submit"])


@pytest.fixture
def run(server: EmulatorServer, tmp_path: Path) -> Runs:
    return Runs(server, tmp_path / "journal")


def ids(results: Sequence[Sequence[Any]]) -> list[tuple[str, ...]]:
    return [result.job_ids for [result] in results]


def test_twice_the_repetitions_pay_for_as_many_as_are_missing(run: Runs) -> None:
    [[before]] = run(1000)
    [[after]] = run(2000)
    [[again]] = run(2000)
    assert run.submitted == [1, 1, 0]
    assert after == again
    assert after.job_ids == again.job_ids
    assert after.job_id == before.job_id
    assert (after.measurements["m"][:1000] == before.measurements["m"]).all()
    [job] = [each for each in Journal(run.path).entries() if each.job_id == after.job_ids[1]]
    assert job.input_params["shots"] == 1000
    # A chi-square test; it fails on a right answer once in 10**7 runs, as do those below.
    assert_same_distribution(after, cirq.Simulator(seed=1).run(BELL, repetitions=2000))


def test_a_run_that_asks_for_more_of_its_own_circuit_makes_another_job(run: Runs) -> None:
    first = run(100, 200)
    assert run(100, 200) == first
    assert run.submitted == [2, 0]
    assert [len(each) for each in ids(first)] == [1, 1]


def test_a_job_of_the_same_repetitions_comes_before_smaller_ones(run: Runs) -> None:
    smaller, equal = ids(run(100, 200))
    assert ids(run(200)) == [equal]
    [joined] = ids(run(300))
    assert sorted(joined) == sorted(smaller + equal)
    assert run.submitted == [2, 0, 0]


def test_a_larger_job_answers_no_smaller_request(run: Runs) -> None:
    run(200)
    [[result]] = run(100)
    assert (run.submitted, result.repetitions) == ([1, 1], 100)


def test_what_is_missing_is_split_as_the_target_asks(run: Runs) -> None:
    run(5_000)
    [[result]] = run(25_000)
    shots = {each.job_id: each.input_params["shots"] for each in Journal(run.path).entries()}
    assert [shots[each] for each in result.job_ids] == [5_000, 10_000, 10_000]
    assert result.repetitions == 25_000


@pytest.mark.parametrize(("first", "second"), [(None, None), (None, 2), (2, None), (2, 2)])
def test_sweeps_are_topped_up_however_their_points_are_packed(
    run: Runs, first: int | None, second: int | None
) -> None:
    run(300, circuit=ROTATION, params=SWEEP[:3], pack=first)
    [results] = run(500, circuit=ROTATION, params=SWEEP, pack=second)
    # Three points lack 200 repetitions, two all of them.
    assert run.submitted[1] == {None: 5, 2: 3}[second]
    expected = cirq.Simulator(seed=1).run_sweep(ROTATION, SWEEP, 500)
    for result, other in zip(results, expected, strict=True):
        assert result.params == other.params
        assert_same_distribution(result, other)
    for pack in (None, 2, 3):
        assert run(500, circuit=ROTATION, params=SWEEP, pack=pack) == [results]
    assert run.submitted[2:] == [0, 0, 0]


def test_circuits_of_a_batch_are_topped_up(server: EmulatorServer, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    sizes = []
    for repetitions in ([50, 70], [90, 70], [90, 70]):
        server.requests.clear()
        with SessionPool(server.workspace(), journal=path) as pool:
            sampler = AzureSessionSampler("quantinuum.sim.h2-1e", pool=pool)
            batch = sampler.run_batch([BELL, BELL[:1] + BELL[2:]], repetitions=repetitions)
        sizes.append([result.repetitions for [result] in batch] + [server.requests["submit"]])
    assert sizes == [[50, 70, 2], [90, 70, 1], [90, 70, 0]]


def test_exact_answers_are_drawn_from_again_and_paid_once(
    server: EmulatorServer, tmp_path: Path
) -> None:
    run = Runs(server, tmp_path / "journal", "ionq.simulator")
    results = [run(count)[0][0] for count in (1000, 2000, 300)]
    assert [result.repetitions for result in results] == [1000, 2000, 300]
    assert len({result.job_ids for result in results}) == 1
    assert run.submitted == [1, 0, 0]
    assert_same_distribution(results[1], cirq.Simulator(seed=1).run(BELL, repetitions=2000))


@pytest.mark.parametrize("is_accepted", [True, False])
def test_a_job_that_adds_repetitions_is_paid_once_though_its_run_never_saw_it(
    run: Runs, is_accepted: bool
) -> None:
    run(100)

    async def submit_the_rest() -> None:
        await sweep.reuse(journal, workspace, AsyncExitStack())
        _, job = sweep.jobs()
        await journal._claim(job.request)
        if is_accepted:
            stored = await workspace.store_input(job.request)
            await workspace.submit_job(replace(job.request, session_id=session_id), stored)

    # As if the run had been killed before or after that request.
    with Journal(run.path) as journal, SessionPool(run.server.workspace()) as pool:
        sampler = AzureSessionSampler(ARIA, pool=pool, journal=journal, input_params=PLAIN)
        session_id, workspace = pool.session(ARIA).id, sampler._workspace
        [sweep] = sampler._translate([BELL], [None], 250)
        pool._portal.run(submit_the_rest)
    [[result]] = run(250)
    entries = {each.job_id: each.input_params["shots"] for each in Journal(run.path).entries()}
    assert [entries[each] for each in result.job_ids] == [100, 150]
    assert len(entries) == 2
    assert run.submitted == [1, 0 if is_accepted else 1]


def test_confusion_is_drawn_anew_for_repetitions_that_are_added(run: Runs) -> None:
    coin = cirq.Circuit(
        cirq.X(A), cirq.measure(A, key="m", confusion_map={(0,): [[0.5, 0.5], [0.5, 0.5]]})
    )
    for count in (200, 400, 600):
        [[result]] = run(count, circuit=coin, seed=5)
    assert run(600, circuit=coin, seed=5) == [[result]]
    parts = {result.measurements["m"][first : first + 200].tobytes() for first in (0, 200, 400)}
    assert len(parts) == 3


@settings(max_examples=4, deadline=None)
@given(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=3), min_size=2, max_size=4))
def test_every_job_answers_once_a_run_and_a_rerun_pays_for_nothing(programs: Any) -> None:
    with EmulatorServer(noise=NOISELESS) as server, TemporaryDirectory() as folder:
        run = Runs(server, Path(folder) / "journal")
        for program in programs:
            results = run(*program)
            assert [result.repetitions for [result] in results] == program
            assert max(Counter(itertools.chain(*ids(results))).values()) == 1
            assert [result.repetitions for [result] in run(*program)] == program
            assert run.submitted[-1] == 0
