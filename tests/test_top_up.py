"""More repetitions than earlier runs have: only the missing ones are submitted."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
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

from cirq_azure_sessions import (
    AzureSessionSampler,
    Journal,
    Rates,
    ServiceError,
    SessionPool,
    SweepCostLimit,
    SweepError,
)
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.emulator.programs import NOISELESS
from cirq_azure_sessions.journal import file as file_module
from cirq_azure_sessions.model import JobRequest

ARIA = "ionq.qpu.aria-1"
H2 = "quantinuum.sim.h2-1e"
PLAIN = {"error-mitigation": {"debias": False}}
A, B = cirq.LineQubit.range(2)
BELL = cirq.Circuit(cirq.H(A), cirq.CNOT(A, B), cirq.measure(A, B, key="m"))
ROTATION = cirq.Circuit(cirq.rx(sympy.Symbol("t"))(A), cirq.measure(A, key="m"))
SWEEP = cirq.Points("t", [0.0, 0.7, 1.4, 2.1, 2.8])
# Eight coins: rows of two samples hardly ever agree.
COINS = cirq.Circuit(cirq.H.on_each(*cirq.LineQubit.range(8)))
COINS += cirq.measure(*cirq.LineQubit.range(8), key="m")


@pytest.fixture(scope="module")
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer(noise=NOISELESS, seed=1) as server:
        yield server


class Runs:
    """Runs of programs, one after the other, with one journal."""

    def __init__(self, server: EmulatorServer, path: Path, target: str = ARIA) -> None:
        self.server, self.path, self.target = server, path, target
        # How many jobs and repetitions each run submitted.
        self.jobs: list[int] = []
        self.shots: list[int] = []

    def __call__(self, *repetitions: int, circuit: Any = COINS, params: Any = None, **options: Any):
        with self.pool() as pool:
            sampler = self.sampler(pool, **options)
            return [sampler.run_sweep(circuit, params, count) for count in repetitions]

    def pool(self) -> SessionPool:
        return SessionPool(self.server.workspace(), journal=self.path)

    def sampler(self, pool: SessionPool, **options: Any) -> AzureSessionSampler:
        if self.target == ARIA:
            options["input_params"] = PLAIN
        return AzureSessionSampler(self.target, pool=pool, **options)

    def paid(self) -> tuple[int, int]:
        """The jobs and repetitions that were submitted since this was last asked."""
        # A job that is only intended is in the journal before it is refused or submitted.
        entries = [each for each in Journal(self.path).entries() if each.state != "intended"]
        jobs, shots = len(entries), sum(entry.repetitions for entry in entries)
        self.jobs.append(jobs)
        self.shots.append(shots)
        before = (self.jobs[-2], self.shots[-2]) if len(self.jobs) > 1 else (0, 0)
        return jobs - before[0], shots - before[1]


@pytest.fixture
def run(server: EmulatorServer, tmp_path: Path) -> Runs:
    return Runs(server, tmp_path / "journal")


def rows(result: cirq.Result) -> list[bytes]:
    return [row.tobytes() for row in result.measurements["m"]]


def test_twice_the_repetitions_pay_for_the_missing_half(run: Runs) -> None:
    [[before]] = run(1000)
    assert run.paid() == (1, 1000)
    [[after]] = run(2000)
    assert run.paid() == (1, 1000)
    [[again]] = run(2000)
    assert run.paid() == (0, 0)
    assert rows(after)[:1000] == rows(before)
    assert (after, after.job_ids) == (again, again.job_ids)
    assert after.job_id == before.job_id
    # A chi-square test; it fails on a right answer once in 10**7 runs, as do those below.
    assert_same_distribution(after, cirq.Simulator(seed=1).run(COINS, repetitions=2000))


def test_fewer_repetitions_are_the_first_of_those_that_there_are(run: Runs) -> None:
    [[whole]] = run(100)
    [[joined]] = run(150)
    run.paid()
    for count in (30, 100, 130):
        [[result]] = run(count)
        assert rows(result) == rows(joined)[:count]
        assert result.lost_shots == 0
    assert rows(joined)[:100] == rows(whole)
    assert run.paid() == (0, 0)


def test_a_run_that_asks_twice_has_samples_of_their_own(run: Runs) -> None:
    run(20)
    [four], [three] = run(40, 30)
    assert not {*four.job_ids} & {*three.job_ids}
    assert run.paid() == (3, 70)
    assert run(40, 30) == [[four], [three]]
    [cut], [topped] = run(30, 40)
    assert (rows(cut), rows(topped)[:30]) == (rows(four)[:30], rows(three))
    assert run.paid() == (1, 10)


def test_what_is_missing_is_split_as_the_target_asks(run: Runs) -> None:
    run(5_000)
    [[result]] = run(25_000)
    shots = {each.job_id: each.repetitions for each in Journal(run.path).entries()}
    assert [shots[each] for each in result.job_ids] == [5_000, 10_000, 10_000]
    assert result.repetitions == 25_000
    [[cut]] = run(12_000)
    assert rows(cut) == rows(result)[:12_000]
    assert run.paid() == (3, 25_000)


@pytest.mark.parametrize(("first", "second"), [(None, 2), (2, None)])
def test_sweeps_are_topped_up_however_their_points_are_packed(
    run: Runs, first: int | None, second: int | None
) -> None:
    run(300, circuit=ROTATION, params=SWEEP[:3], pack=first)
    run.paid()
    [results] = run(500, circuit=ROTATION, params=SWEEP, pack=second)
    # Three points lack 200 repetitions, two all of them.
    assert run.paid()[0] == {None: 5, 2: 3}[second]
    expected = cirq.Simulator(seed=1).run_sweep(ROTATION, SWEEP, 500)
    for result, other in zip(results, expected, strict=True):
        assert result.params == other.params
        assert_same_distribution(result, other)
    for pack in (None, 3):
        assert run(500, circuit=ROTATION, params=SWEEP, pack=pack) == [results]
    assert run.paid() == (0, 0)


def test_batches_and_streams_are_topped_up(run: Runs) -> None:
    run.target = H2
    circuits = [COINS, COINS[:-1] + cirq.measure(A, B, key="m")]
    paid = []
    for repetitions in ([50, 70], [90, 70], [90, 70]):
        with run.pool() as pool:
            batch = run.sampler(pool).run_batch(circuits, repetitions=repetitions)
        assert [result.repetitions for [result] in batch] == repetitions
        paid.append(run.paid())
    assert paid == [(2, 120), (1, 40), (0, 0)]
    with run.pool() as pool:
        [(_, result)] = run.sampler(pool).stream_sweep(COINS, None, 100)
        assert rows(result)[:90] == rows(batch[0][0])
        # Each of its jobs has a result of its own.
        parts = [pool.get_job(each).result() for each in result.job_ids]
    assert [part.repetitions for part in parts] == [50, 40, 10]


def test_a_batch_asks_in_the_order_of_its_circuits(run: Runs) -> None:
    paid, batches = [], []
    for _ in range(2):
        with run.pool() as pool:
            batches.append(run.sampler(pool).run_batch([COINS] * 3, repetitions=[40, 30, 40]))
        paid.append(run.paid())
    assert paid == [(3, 110), (0, 0)]
    assert batches[0] == batches[1]


def test_exact_answers_are_drawn_from_again(run: Runs) -> None:
    run.target = "ionq.simulator"
    results = [run(count)[0][0] for count in (1000, 2000, 300)]
    assert [result.repetitions for result in results] == [1000, 2000, 300]
    assert run.paid() == (1, 1000)
    assert rows(results[1])[:1000] == rows(results[0])
    assert_same_distribution(results[1], cirq.Simulator(seed=1).run(COINS, repetitions=2000))


def test_confusion_is_drawn_anew_for_repetitions_that_are_added(run: Runs) -> None:
    half = {(0,): [[0.5, 0.5], [0.5, 0.5]]}
    coin = cirq.Circuit(cirq.X(A), cirq.measure(A, key="m", confusion_map=half))
    for count in (200, 400, 600):
        [[result]] = run(count, circuit=coin, seed=5)
    assert run(600, circuit=coin, seed=5) == [[result]]
    thirds = [rows(result)[first : first + 200] for first in (0, 200, 400)]
    assert all(one != other for one, other in itertools.combinations(thirds, 2))


def test_the_cap_counts_paid_jobs_and_the_estimate_of_missing_ones(run: Runs) -> None:
    rates = Rates(per_shot=1.0)
    [[before]] = run(1000)
    assert before.cost is not None
    run.paid()
    cap = before.cost.total + 1000.0
    with run.pool() as pool:
        with pytest.raises(SweepCostLimit):
            run.sampler(pool, rates=rates, max_cost=cap - 1).run_sweep(COINS, None, 2000)
        assert run.paid() == (0, 0)
        run.sampler(pool, rates=rates, max_cost=cap).run(COINS, repetitions=2000)
        assert run.paid() == (1, 1000)


def test_a_failed_call_leaves_unstarted_jobs_to_the_next(run: Runs) -> None:
    run(10)
    run.paid()
    with run.pool() as pool:
        rates = Rates(per_job=1.0)
        capped = run.sampler(pool, rates=rates, max_cost=0.5, max_concurrent_jobs=1)
        with pytest.raises(SweepCostLimit):
            capped.run_sweep(ROTATION, SWEEP, 20)
        run.sampler(pool).run_sweep(ROTATION, SWEEP, 20)
    assert run.paid() == (5, 100)
    run(20, circuit=ROTATION, params=SWEEP)
    assert run.paid() == (0, 0)


@pytest.mark.parametrize("repetitions", [100, 250])
def test_a_call_that_cannot_ask_for_its_jobs_leaves_them_to_the_next(
    run: Runs, repetitions: int
) -> None:
    run.server.faults.add("download", status=404)
    with pytest.raises(SweepError):
        run(100)
    run.paid()
    with run.pool() as pool:
        sampler = run.sampler(pool)
        run.server.faults.add("job", status=403)
        with pytest.raises(ServiceError):
            sampler.run(COINS, repetitions=repetitions)
        assert sampler.run(COINS, repetitions=repetitions).repetitions == repetitions
    assert run.paid()[1] == repetitions - 100


def test_a_place_is_given_back_once_and_by_the_call_that_holds_it(run: Runs) -> None:
    run(100, circuit=ROTATION, params=SWEEP[0])
    submitted, hangs = [], threading.Event()

    def note(event: Any) -> None:
        if event.counter == "jobs_submitted":
            submitted.append(event.job_id)
            if len(submitted) == 2:
                hangs.set()

    with run.pool() as pool, ThreadPoolExecutor(1) as thread:
        # The rest of the first point fails; the second point hangs, and the call with it.
        run.server.faults.fail_job()
        run.server.faults.hang_job()
        pool.subscribe(note)
        slow = run.sampler(pool, max_concurrent_jobs=1)
        call = thread.submit(slow.run_sweep, ROTATION, SWEEP[:2], 200)
        assert hangs.wait(60)
        sampler = run.sampler(pool)
        meanwhile = sampler.run(ROTATION, SWEEP[0], repetitions=200)
        pool.get_job(submitted[1]).cancel()
        with pytest.raises(SweepError):
            call.result(60)
        after = sampler.run(ROTATION, SWEEP[0], repetitions=200)
    assert not {*meanwhile.job_ids} & {*after.job_ids}
    # The call that failed has left its place to the next one, as it was.
    [before, *_] = Journal(run.path).entries()
    assert before.job_id == after.job_id


def test_a_point_that_failed_leaves_its_place_also_where_a_gap_is_returned(run: Runs) -> None:
    run.server.faults.fail_job()
    with run.pool() as pool:
        sampler = run.sampler(pool, on_error="return", max_concurrent_jobs=1)
        gap, _ = sampler.run_sweep(ROTATION, SWEEP[:2], 10)
        assert gap is None
        sampler.run(ROTATION, SWEEP[0], repetitions=10)
    assert run.paid() == (3, 30)
    run(10, circuit=ROTATION, params=SWEEP[:2])
    assert run.paid() == (0, 0)


@pytest.mark.parametrize("is_accepted", [True, False])
def test_a_part_is_paid_once_though_its_run_was_killed(run: Runs, is_accepted: bool) -> None:
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
        [sweep] = sampler._translate([COINS], [None], 250)
        pool._portal.run(submit_the_rest)
    run.server.requests.clear()
    [[result]] = run(250)
    shots = {each.job_id: each.repetitions for each in Journal(run.path).entries()}
    assert [shots[each] for each in result.job_ids] == [100, 150]
    assert len(shots) == 2
    assert run.server.requests["submit"] == (0 if is_accepted else 1)


def test_what_a_journal_of_an_earlier_version_has_is_found(run: Runs) -> None:
    with run.pool() as pool:
        sampler = run.sampler(pool)
        before = [sampler.run_sweep(COINS, None, count) for count in (25_000, 100, 25_000)]
    earlier = run.path.with_name("earlier")
    with sqlite3.connect(earlier) as file:
        for statement in itertools.chain(*file_module._VERSIONS[:5]):
            file.execute(statement)
        file.execute(f"PRAGMA application_id = {file_module._APPLICATION_ID}")
        file.execute("PRAGMA user_version = 5")
        file.execute("ATTACH ? AS later", (str(run.path),))
        for table in ("runs", "jobs", "outputs"):
            file.execute(f"INSERT INTO {table} SELECT * FROM later.{table}")
        file.execute(
            "INSERT INTO places (fingerprint, occurrence, job) SELECT fingerprint, "
            "row_number() OVER (PARTITION BY fingerprint ORDER BY number), number FROM jobs"
        )
    file.close()
    run.path = earlier
    run.paid()
    # They were not of one circuit then, and each size is in an order of its own.
    assert run(25_000, 25_000, 100) == [before[0], before[2], before[1]]
    assert run(25_010)[0][0].job_ids[:3] == before[0][0].job_ids
    assert run.paid() == (1, 10)


PROGRAM = st.lists(st.integers(1, 4), min_size=1, max_size=3)
PROGRAMS = st.lists(PROGRAM, min_size=1, max_size=4)
TOGETHER = st.lists(PROGRAM, min_size=2, max_size=3)


@settings(max_examples=3, deadline=None)
@given(PROGRAMS, st.sampled_from([None, 2]))
def test_a_rerun_pays_nothing_and_a_place_at_most_its_maximum(
    server: EmulatorServer, programs: list[list[int]], pack: int | None
) -> None:
    with TemporaryDirectory() as folder:
        run = Runs(server, Path(folder) / "journal")
        for program in programs:
            results = run(*program, pack=pack)
            run.paid()
            assert [result.repetitions for [result] in results] == program
            ids = [each for [result] in results for each in result.job_ids]
            assert len({*ids}) == len(ids), "no two points of a run share samples"
            assert run(*program) == results
            assert run.paid() == (0, 0)
        each_place = itertools.zip_longest(*programs, fillvalue=0)
        assert run.shots[-1] == sum(map(max, each_place))


@settings(max_examples=4, deadline=None)
@given(TOGETHER, st.data())
def test_programs_that_ran_together_pay_nothing_in_any_order(
    programs: list[list[int]], data: st.DataObject
) -> None:
    paid = 0

    def ask(journal: Journal, repetitions: int) -> None:
        nonlocal paid
        [(nth, jobs)] = asyncio.run(journal._take([("coins", [], repetitions)]))
        if (missing := repetitions - sum(job.repetitions for job in jobs)) > 0:
            paid += missing
            asyncio.run(journal._claim(request(missing, ("coins", nth, len(jobs)))))

    def request(repetitions: int, place: tuple[str, int, int]) -> JobRequest:
        shots = {"shots": repetitions}
        common = JobRequest(str(uuid.uuid4()), ARIA, "job", b"", "f", "f", input_params=shots)
        return replace(common, fingerprint=str(place), places=(place,))

    def together() -> None:
        with ExitStack() as stack:
            journals = [stack.enter_context(Journal(path)) for _ in programs]
            for turn in itertools.zip_longest(*programs):
                for journal, repetitions in zip(journals, turn, strict=True):
                    if repetitions:
                        ask(journal, repetitions)

    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal"
        together()
        assert paid == sum(map(sum, programs))
        for program in data.draw(st.permutations(programs)):
            with Journal(path) as journal:
                for repetitions in program:
                    ask(journal, repetitions)
        together()
        assert paid == sum(map(sum, programs))
