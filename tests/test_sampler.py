"""The whole `cirq.Sampler` interface: every answer compared with cirq's own, and calls at once."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import cirq
import duet
import numpy as np
import pytest
import sympy
from contents import jobs
from services import (
    CHARGED,
    FLIP,
    HANG_TIMEOUT,
    LOCAL,
    QUBIT,
    REMOTE,
    ROTATION,
    Counted,
    InterruptedByTest,
    angles,
    drive,
    in_background,
    settle,
    wait_until,
)

from cirq_azure_sessions import (
    AzureSessionSampler,
    CostLimitReached,
    JobFailed,
    JobTimeout,
    LocalWorkspace,
    ManualClock,
    PoolTimeout,
    Rates,
    SessionPool,
    SweepCostLimit,
    SweepError,
    SweepTimeout,
    UnsupportedProgram,
    UnsupportedTarget,
    estimate_cost,
)
from cirq_azure_sessions.background import loop
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.model import Job
from cirq_azure_sessions.workspaces.local import JobPace

A, B = cirq.LineQubit.range(2)
THETA = sympy.Symbol("theta")
RABI = cirq.Circuit(cirq.rx(THETA)(A), cirq.CNOT(A, B), cirq.measure(A, B, key="m"))
SWEEP = cirq.Linspace("theta", 0, 6.28, 9)


@pytest.fixture
def sampler() -> Iterator[AzureSessionSampler]:
    with AzureSessionSampler("local.simulator", seed=7) as sampler:
        yield sampler


# The same answer


@pytest.mark.parametrize("target", ["local.simulator", "local.density-matrix", "local.qsim"])
def test_a_seed_gives_the_same_samples_with_and_without_an_executor(target: str) -> None:
    if target == "local.qsim":
        pytest.importorskip("qsimcirq")

    def calls(executor: Executor | None) -> list[object]:
        with AzureSessionSampler(target, seed=7, executor=executor) as sampler:
            return [
                (sampler.run_sweep(RABI, SWEEP, 100), sampler.run(RABI, {"theta": 1.0}, 50))
                for _ in range(3)
            ]

    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(3) as three:
        outcomes = [calls(executor) for executor in (None, one, three)]
    assert outcomes[0] == outcomes[1] == outcomes[2]
    # Each call draws anew.
    assert outcomes[0][0] != outcomes[0][1]


def test_results_carry_their_job_and_are_cirq_results_otherwise(
    sampler: AzureSessionSampler,
) -> None:
    result = sampler.run(RABI, {"theta": 1.0}, 50)
    plain = cirq.ResultDict(params=result.params, records=result.records)
    assert result.job_id
    assert result.session_id == sampler.pool.sessions()[0].id
    assert result.target == "local.simulator"
    assert (result == plain, str(result) == str(plain), repr(result) == repr(plain)) == (True,) * 3
    assert cirq.read_json(json_text=cirq.to_json(result)) == plain


def test_a_whole_sweep_is_one_job(sampler: AzureSessionSampler) -> None:
    sampler.run_sweep(RABI, SWEEP, 10)
    assert sampler.pool.get_stats()["jobs_submitted"] == 1


@pytest.mark.parametrize("params", [[], {}, {"theta": 1.0}, SWEEP, [SWEEP, {"theta": 2.0}]])
def test_zero_repetitions_and_empty_sweeps_send_nothing(
    sampler: AzureSessionSampler, params: cirq.Sweepable
) -> None:
    repetitions = 10 if params == [] else 0
    expected = cirq.Simulator().run_sweep(RABI, params, repetitions)
    got = sampler.run_sweep(RABI, params, repetitions)
    assert [result.params for result in got] == [result.params for result in expected]
    for mine, cirqs in zip(got, expected, strict=True):
        assert mine.records["m"].shape == cirqs.records["m"].shape
    assert sampler.pool.get_stats()["jobs_submitted"] == 0


def test_every_kind_of_sweepable_is_accepted(sampler: AzureSessionSampler) -> None:
    sweepables = [
        {"theta": [0.0, 1.0]},
        [{"theta": 0.0}, {"theta": 1.0}],
        cirq.Points("theta", [0, 1]),
    ]
    for sweepable in sweepables:
        assert [r.params["theta"] for r in sampler.run_sweep(RABI, sweepable, 5)] == [0.0, 1.0]


# cirq's interface


@pytest.mark.parametrize("params", [[{"theta": 0.5}], [{"theta": 0.5}, {"theta": 0.6}], SWEEP])
def test_a_run_takes_the_first_point_of_a_sweepable_as_cirqs_does(
    sampler: AzureSessionSampler, params: Any
) -> None:
    assert sampler.run(RABI, params).params == cirq.Simulator().run(RABI, params).params


def test_run_batch_gives_one_list_of_results_per_program(sampler: AzureSessionSampler) -> None:
    other = cirq.Circuit(cirq.X(A), cirq.measure(A, key="x"))
    batch = sampler.run_batch([RABI, other], [SWEEP, None], repetitions=[10, 20])
    assert [len(results) for results in batch] == [9, 1]
    assert [results[0].repetitions for results in batch] == [10, 20]


def test_results_are_freed_with_the_last_reference_to_them(sampler: AzureSessionSampler) -> None:
    """Without the garbage collector, which with cirq's objects in memory takes 0.1 s a time."""
    gc.disable()
    try:
        results = [
            sampler.run_sweep(RABI, SWEEP, repetitions=2),
            *sampler.run_batch([RABI, RABI], [SWEEP, SWEEP], repetitions=2),
        ]
        references = [weakref.ref(result) for each in results for result in each]
        del results
        # The loop lets go of a call after its caller has been woken.
        loop.run(asyncio.sleep, 0)
        assert [reference() for reference in references] == [None] * 27
    finally:
        gc.enable()


@pytest.mark.parametrize(("params", "repetitions"), [([None], 10), (None, [10, 20, 30])])
def test_batch_of_unequal_lists_is_refused_as_cirq_does(
    sampler: AzureSessionSampler, params: list[None] | None, repetitions: int | list[int]
) -> None:
    for each in (sampler, cirq.Simulator()):
        with pytest.raises(ValueError, match=r"for each of 2 programs, not|must match"):
            each.run_batch([RABI, RABI], params, repetitions)


def test_the_async_forms_give_the_same_results(sampler: AzureSessionSampler) -> None:
    import duet

    same = AzureSessionSampler("local.simulator", seed=7)
    assert duet.run(sampler.run_async, RABI, {"theta": 1.0}, 20) == same.run(
        RABI, {"theta": 1.0}, 20
    )
    assert duet.run(sampler.run_sweep_async, RABI, SWEEP, 20) == same.run_sweep(RABI, SWEEP, 20)


def test_sample_gives_a_data_frame(sampler: AzureSessionSampler) -> None:
    frame = sampler.sample(RABI, repetitions=5, params=SWEEP)
    assert list(frame.columns) == ["theta", "m"]
    assert len(frame) == 45


@pytest.mark.parametrize("params", [SWEEP, [{"theta": 0.0}, {"theta": 1.0}]], ids=repr)
def test_sample_runs_all_points_at_once(sampler: AzureSessionSampler, params: Any) -> None:
    events: list[Any] = []
    sampler.pool.subscribe(events.append)
    sampler.sample(RABI, repetitions=2, params=params)
    assert sum(each.subject == "sweep" and each.kind == "started" for each in events) == 1


def test_sample_refuses_points_of_different_parameters_as_cirq_does(
    sampler: AzureSessionSampler,
) -> None:
    with pytest.raises(ValueError, match="Inconsistent sweep parameters"):
        sampler.sample(RABI, repetitions=2, params=[{"theta": 0.0}, {"theta": 0.0, "x": 1.0}])


def test_sample_expectation_values_measures_observables(sampler: AzureSessionSampler) -> None:
    state = cirq.Circuit(cirq.H(A), cirq.CNOT(A, B))
    ((zz, xx),) = sampler.sample_expectation_values(
        state, [cirq.Z(A) * cirq.Z(B), cirq.X(A) * cirq.X(B)], num_samples=100
    )
    assert (zz, xx) == (1.0, 1.0)


def test_run_works_inside_a_running_event_loop(sampler: AzureSessionSampler) -> None:
    async def notebook_cell() -> cirq.Result:
        return sampler.run(RABI, {"theta": 1.0}, 10)

    assert asyncio.run(notebook_cell()).repetitions == 10


def test_cirqs_own_experiments_run_on_it(sampler: AzureSessionSampler) -> None:
    data = cirq.experiments.t1_decay(
        sampler,
        qubit=A,
        num_points=3,
        max_delay=cirq.Duration(nanos=100),
        repetitions=20,
    )
    assert list(data.data["true_count"]) == [20, 20, 20]


# Streams and results fetched later


def test_a_stream_yields_each_point_with_its_index(sampler: AzureSessionSampler) -> None:
    streamed = dict(sampler.stream_sweep(RABI, SWEEP, 30))
    same = AzureSessionSampler("local.simulator", seed=7)
    assert [streamed[point] for point in range(9)] == same.run_sweep(RABI, SWEEP, 30)


def test_closing_a_stream_early_leaves_the_sampler_usable(sampler: AzureSessionSampler) -> None:
    stream = sampler.stream_sweep(RABI, SWEEP, 30)
    next(stream)
    stream.close()
    assert sampler.run(RABI, {"theta": 1.0}).repetitions == 1


def test_a_result_is_fetched_by_the_id_of_its_job(sampler: AzureSessionSampler) -> None:
    result = sampler.run(RABI, {"theta": 1.0}, 20)
    assert sampler.get_result(result.job_id) == result


# Wrong input: one sentence, before any request


def _nothing_was_sent(sampler: AzureSessionSampler) -> bool:
    return repr(sampler.pool) == "<SessionPool: no session>"


def test_a_circuit_without_measurements_is_refused(sampler: AzureSessionSampler) -> None:
    with pytest.raises(UnsupportedProgram, match=r"no measurements to sample: add cirq\.measure"):
        sampler.run(cirq.Circuit(cirq.X(A)))
    assert _nothing_was_sent(sampler)


def test_symbols_without_a_value_are_named(sampler: AzureSessionSampler) -> None:
    with pytest.raises(UnsupportedProgram, match="leaves theta without a value"):
        sampler.run_sweep(RABI, [{"theta": 1.0}, {"phi": 1.0}], 10)
    assert _nothing_was_sent(sampler)


def test_symbols_may_resolve_through_other_symbols(sampler: AzureSessionSampler) -> None:
    resolver = cirq.ParamResolver({"theta": sympy.Symbol("x") * 2, "x": 0.5})
    assert sampler.run(RABI, resolver, 10).repetitions == 10


def test_a_seed_may_be_a_numpy_integer() -> None:
    first, second = (
        AzureSessionSampler("local.simulator", seed=seed).run(RABI, {"theta": 1.0}, 90)
        for seed in (7, np.int64(7))
    )
    assert first == second


def test_negative_repetitions_are_refused(sampler: AzureSessionSampler) -> None:
    with pytest.raises(ValueError, match="repetitions must be 0 or more, not -1"):
        sampler.run(RABI, {"theta": 1.0}, -1)
    assert _nothing_was_sent(sampler)


def test_repetitions_are_an_integer_of_any_type(sampler: AzureSessionSampler) -> None:
    assert sampler.run(RABI, {"theta": 1.0}, np.int64(5)).repetitions == 5
    for wrong in (10.0, "10", None, True):
        with pytest.raises(TypeError, match="repetitions must be an integer"):
            sampler.run(RABI, {"theta": 1.0}, wrong)
    with pytest.raises(ValueError, match="run more than once"):
        sampler.run(RABI, {"theta": 1.0}, 10**9)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan")])
def test_values_that_are_not_finite_are_refused(sampler: AzureSessionSampler, value: float) -> None:
    with pytest.raises(UnsupportedProgram, match=r"gives theta\S* the value"):
        sampler.run(RABI, {"theta": value})
    assert _nothing_was_sent(sampler)


def test_anything_but_a_circuit_is_refused(sampler: AzureSessionSampler) -> None:
    with pytest.raises(TypeError, match=r"program must be a cirq\.Circuit, not str"):
        sampler.run("H q0")
    assert _nothing_was_sent(sampler)


@pytest.mark.parametrize(
    "target", ["ionq.simulator", "local.nonsense", "nonsense", "ionq.nonsense", "", None, 5]
)
def test_a_target_of_no_workspace_is_refused(target: str) -> None:
    with pytest.raises(UnsupportedTarget, match="target"):
        AzureSessionSampler(target)


def test_a_target_that_the_service_does_not_have_is_refused() -> None:
    with (
        EmulatorServer() as server,
        AzureSessionSampler("ionq.qpu.nothing", workspace=server.workspace()) as sampler,
        pytest.raises(UnsupportedTarget, match=r"no target 'ionq\.qpu\.nothing'.*targets"),
    ):
        sampler.run_sweep(RABI, SWEEP, repetitions=10)


def test_options_that_contradict_each_other_are_refused() -> None:
    with SessionPool() as pool, pytest.raises(ValueError, match="belong to the pool"):
        AzureSessionSampler("local.simulator", pool=pool, workspace=LocalWorkspace())


def test_a_workspace_as_pool_is_refused() -> None:
    with pytest.raises(TypeError, match="pass a workspace as workspace="):
        AzureSessionSampler("local.simulator", pool=LocalWorkspace())


@pytest.mark.parametrize(
    "option",
    [
        {"timeout": -1},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"timeout": "5"},
        {"timeout": True},
        {"max_concurrent_jobs": 0},
        {"max_concurrent_jobs": 1.5},
        {"max_concurrent_jobs": True},
        {"max_cost": -1},
        {"max_cost": float("nan")},
        {"max_cost": "5"},
        {"on_error": "ignore"},
        {"on_interrupt": "ignore"},
        {"priority": "Urgent"},
        {"tags": "abc"},
        {"tags": [1]},
        {"job_name": 5},
        {"job_name": ""},
        {"seed": "7"},
        {"seed": np.random.default_rng(7)},
        {"input_params": {"x": object()}},
    ],
)
def test_option_out_of_range_is_refused_by_name(option: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        AzureSessionSampler(CHARGED, workspace=Counted(), **option)


# What fails


class _Failing(cirq.Sampler):
    def run_sweep(
        self, program: cirq.AbstractCircuit, params: cirq.Sweepable, repetitions: int = 1
    ) -> Sequence[cirq.Result]:
        raise RuntimeError("The ion got away.")


@pytest.mark.parametrize("on_error", ["raise", "return"])
def test_a_failed_run_is_raised_with_its_job(on_error: str) -> None:
    workspace = LocalWorkspace({"local.failing": _Failing()})
    with (
        AzureSessionSampler("local.failing", workspace=workspace, on_error=on_error) as sampler,
        pytest.raises(JobFailed, match=r"^Job .* failed .*The ion got away") as caught,
    ):
        sampler.run(RABI, {"theta": 1.0}, 10)
    assert caught.value.job_id
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_failed_batch_has_one_list_of_results_and_one_error_per_circuit() -> None:
    workspace = LocalWorkspace({"local.picky": _Picky()})
    with (
        AzureSessionSampler("local.picky", workspace=workspace) as sampler,
        pytest.raises(SweepError, match="1 of 3 circuits failed, the first at index 1") as caught,
    ):
        sampler.run_batch([RABI] * 3, [SWEEP, {"theta": 13.0}, {"theta": 1.0}], 10)
    assert [len(results) for results in caught.value.results] == [9, 1, 1]
    assert caught.value.results[1] == [None]
    assert caught.value.results[2] != [None]
    ((index, error),) = caught.value.failures.items()
    assert index == 1
    assert isinstance(error, SweepError)
    assert caught.value.__cause__ is error


class _Picky(cirq.Sampler):
    def run_sweep(
        self, program: cirq.AbstractCircuit, params: cirq.Sweepable, repetitions: int = 1
    ) -> Sequence[cirq.Result]:
        if any(resolver.value_of("theta") == 13.0 for resolver in cirq.to_resolvers(params)):
            raise RuntimeError("The ion got away.")
        return cirq.Simulator().run_sweep(program, params, repetitions)


def test_on_error_return_leaves_a_gap() -> None:
    workspace = LocalWorkspace({"local.failing": _Failing()})
    with AzureSessionSampler("local.failing", workspace=workspace, on_error="return") as sampler:
        assert sampler.run_sweep(RABI, {"theta": 1.0}, 10) == [None]


def test_a_call_that_runs_out_of_time_raises_sweep_timeout() -> None:
    clock = ManualClock()
    workspace = LocalWorkspace(clock=clock, pace=lambda request: _pace(3600.0))
    with SessionPool(workspace, clock=clock) as pool:
        sampler = AzureSessionSampler("local.simulator", pool=pool, timeout=60.0)
        with pytest.raises(SweepTimeout, match="get_result") as caught:
            sampler.run_sweep(RABI, {"theta": 1.0}, 10)
        assert isinstance(caught.value, PoolTimeout | TimeoutError)
        with pytest.raises(SweepTimeout, match="get_result"):
            list(sampler.stream_sweep(RABI, {"theta": 1.0}, 10))
        pool.close(cancel=True)


def test_a_result_that_takes_too_long_raises_job_timeout() -> None:
    clock = ManualClock()
    workspace = LocalWorkspace(clock=clock, pace=lambda request: _pace(3600.0))
    with SessionPool(workspace, clock=clock) as pool:
        sampler = AzureSessionSampler("local.simulator", pool=pool, timeout=60.0)
        with pytest.raises(JobTimeout):
            sampler.run(RABI, {"theta": 1.0}, 10)
        (job,) = jobs(workspace)
        with pytest.raises(JobTimeout, match="did not finish within 60 s") as caught:
            sampler.get_result(job.id)
        assert caught.value.job_id == job.id
        pool.close(cancel=True)


class _Unreadable(Counted):
    """A workspace that returns garbage for the jobs of one name."""

    async def fetch_output(self, job: Job, stored: Any = None) -> Any:
        output = await super().fetch_output(job, stored)
        return "garbage" if job.name == "job-1" else output


@pytest.fixture
def mistaken(monkeypatch: pytest.MonkeyPatch) -> Iterator[AzureSessionSampler]:
    """A sampler whose decoder does not expect the garbage that it meets."""
    with AzureSessionSampler(REMOTE, workspace=_Unreadable(), job_name="job") as sampler:
        decode = sampler._format.decode

        def decode_mistakenly(output: Any, layout: Any) -> Any:
            return decode(output if output != "garbage" else 1 + output, layout)

        monkeypatch.setattr(type(sampler._format), "decode", staticmethod(decode_mistakenly))
        yield sampler


def _gaps(results: Any) -> list[bool]:
    return [result is None for result in results]


def test_an_output_that_cannot_be_read_fails_its_own_points_only(
    mistaken: AzureSessionSampler,
) -> None:
    with pytest.raises(SweepError) as sweep:
        mistaken.run_sweep(ROTATION, angles(3), 5)
    with pytest.raises(SweepError) as batch:
        mistaken.run_batch([FLIP, ROTATION], [None, angles(3)], 5)
    assert isinstance(sweep.value.failures[1], TypeError)
    assert _gaps(sweep.value.results) == [False, True, False]
    assert batch.value.failures.keys() == {1}
    assert [_gaps(each) for each in batch.value.results] == [[False], [False, True, False]]


def test_an_output_that_cannot_be_read_is_a_gap_where_gaps_are_returned(
    mistaken: AzureSessionSampler,
) -> None:
    mistaken._on_error = "return"
    assert _gaps(mistaken.run_sweep(ROTATION, angles(3), 5)) == [False, True, False]
    streamed = dict(mistaken.stream_sweep(ROTATION, angles(3), 5))
    assert streamed.keys() == {0, 2}


class _Lossy(Counted):
    """A machine that returns 99 of a hundred shots."""

    async def fetch_output(self, job: Job, stored: Any = None) -> Any:
        await super().fetch_output(job, stored)
        return b'{"histogram": {"1": 0.99}}'


def test_lost_shots_are_missing_from_the_results_and_reported_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with AzureSessionSampler(CHARGED, workspace=_Lossy()) as sampler:
        results = sampler.run_sweep(ROTATION, angles(3), 100)
    assert [result.repetitions for result in results] == [99] * 3
    assert [result.lost_shots for result in results] == [1] * 3
    assert "99 repetitions, 1 lost" in results[0]._repr_html_()
    (warning,) = [record.message for record in caplog.records if "lost" in record.message]
    assert warning.startswith(f"3 repetitions on {CHARGED} were lost")


class _SlowToTell(LocalWorkspace):
    """A workspace whose results never arrive, while hours pass."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock=clock)
        self.clock = clock

    async def fetch_output(self, job: Job, stored: object = None) -> object:
        self.clock.advance(3600)
        await asyncio.Event().wait()


def test_a_timeout_during_the_fetch_names_the_job() -> None:
    clock = ManualClock(auto_advance=False)
    with SessionPool(_SlowToTell(clock), clock=clock) as pool:
        jobs = []
        pool.subscribe(lambda event: jobs.append(event) if event.kind == "succeeded" else None)
        with pytest.raises(JobTimeout) as caught:
            AzureSessionSampler("local.simulator", pool=pool, timeout=60).run(RABI, {"theta": 1})
    (succeeded,) = jobs
    assert caught.value.job_id == succeeded.job_id


def _pace(seconds: float) -> JobPace:
    return JobPace(queue=seconds, run=0.0, visible=0.0)


# Whose pool it is


def test_a_sampler_closes_its_own_pool_only() -> None:
    with SessionPool() as pool:
        with AzureSessionSampler("local.simulator", pool=pool) as guest:
            guest.run(RABI, {"theta": 1.0})
        assert repr(pool) == "<SessionPool: local.simulator OPEN>"
    own = AzureSessionSampler("local.simulator")
    own.run(RABI, {"theta": 1.0})
    own.close()
    own.close()
    assert repr(own.pool) == "<SessionPool closed: no session>"


def test_samplers_of_one_pool_share_the_session_of_their_target() -> None:
    with SessionPool() as pool:
        results = [
            AzureSessionSampler("local.simulator", pool=pool).run(RABI, {"theta": 1.0})
            for _ in range(3)
        ]
        assert len({result.session_id for result in results}) == 1


def test_any_cirq_sampler_runs_under_a_local_name() -> None:
    workspace = LocalWorkspace(
        {"local.noisy": cirq.DensityMatrixSimulator(noise=cirq.depolarize(0.1))}
    )
    with AzureSessionSampler("local.noisy", workspace=workspace) as sampler:
        result = sampler.run(RABI, {"theta": np.pi}, 2000)
    # 1 - the chance of both flips staying in place; a fair noise leaves between 1% and 50%.
    assert 0.01 < np.mean(result.measurements["m"] != 1) < 0.5


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(auto_advance=False)


@pytest.fixture
def pool(clock: ManualClock) -> Iterator[SessionPool]:
    def pace(request: Any) -> JobPace:
        return JobPace(run=1000.0 if request.target == "local.clifford" else 10.0)

    pool = SessionPool(LocalWorkspace(clock=clock, pace=pace), clock=clock)
    yield pool
    drive(clock, in_background(pool.close, cancel=True))


class _Steps:
    """Points of a story under duet that a test waits for, and lets go on."""

    def __init__(self) -> None:
        self._futures: dict[str, duet.AwaitableFuture[None]] = {}

    def __getitem__(self, name: str) -> duet.AwaitableFuture[None]:
        return self._futures.setdefault(name, duet.AwaitableFuture())

    def allow(self, name: str) -> None:
        self[name].try_set_result(None)


# Calls under one duet scope share nothing


def test_a_call_that_is_interrupted_leaves_the_batch_of_another_sampler_alone(
    pool: SessionPool, clock: ManualClock
) -> None:
    steps = _Steps()
    quick = AzureSessionSampler(LOCAL, pool=pool, max_concurrent_jobs=1)
    slow = AzureSessionSampler("local.clifford", pool=pool)
    batches: list[Any] = []

    async def run_batch() -> None:
        batches.append(await quick.run_batch_async([FLIP] * 3, None, 2))

    async def run_interrupted() -> None:
        async with duet.new_scope() as scope:
            scope.spawn(slow.run_sweep_async, FLIP, None, 1)
            await steps["interrupt"]
            raise InterruptedByTest

    async def interrupt() -> None:
        with pytest.raises(InterruptedByTest):
            await run_interrupted()

    async def story() -> None:
        async with duet.new_scope() as scope:
            scope.spawn(run_batch)
            scope.spawn(interrupt)

    call = in_background(duet.run, story)
    wait_until(lambda: pool.get_stats()["jobs_submitted"] == 2)
    steps.allow("interrupt")
    settle(pool)
    drive(clock, call)
    call.result()
    assert [[result.repetitions for result in results] for results in batches[0]] == [[2]] * 3


def test_call_after_overlapping_batches_belongs_to_neither(
    pool: SessionPool, clock: ManualClock
) -> None:
    short = AzureSessionSampler(LOCAL, pool=pool)
    long = AzureSessionSampler("local.clifford", pool=pool)
    are_done: Future[None] = Future()

    async def story() -> None:
        async with duet.new_scope() as scope:
            scope.spawn(short.run_batch_async, [FLIP] * 2, None, 1)
            scope.spawn(long.run_batch_async, [FLIP] * 2, None, 1)

    def strike() -> None:
        wait_until(lambda: pool.get_stats()["jobs_submitted"] == 5)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    in_background(drive, clock, are_done)
    duet.run(story)
    are_done.set_result(None)
    in_background(strike)
    with pytest.raises(KeyboardInterrupt) as interrupted:
        long.run(FLIP)
    (last,) = [job.id for job in pool.list_jobs() if not job.is_final]
    assert last in "".join(getattr(interrupted.value, "__notes__", []))


def test_one_failed_circuit_of_a_batch_leaves_the_batch_of_another_sampler_alone(
    clock: ManualClock,
) -> None:
    class Failing(cirq.Sampler):
        def run_sweep(self, program: Any, params: Any, repetitions: int = 1) -> Any:
            raise KeyError("a mistake")

    workspace = LocalWorkspace(
        {"local.failing": Failing()}, clock=clock, pace=lambda request: JobPace(run=10.0)
    )
    with SessionPool(workspace, clock=clock) as pool:
        good = AzureSessionSampler(LOCAL, pool=pool, max_concurrent_jobs=1)
        bad = AzureSessionSampler("local.failing", pool=pool)
        calls = [
            in_background(good.run_batch, [FLIP] * 3, None, 2),
            in_background(bad.run_batch, [FLIP] * 3, None, 2),
        ]
        drive(clock, *calls)
        assert len(calls[0].result()) == 3
        assert isinstance(calls[1].exception(), Exception)


@pytest.mark.parametrize("other", ["sweep", "stream", "batch"])
@pytest.mark.parametrize("call", ["sweep", "stream", "batch"])
def test_two_concurrent_calls_on_one_sampler_both_finish(call: str, other: str) -> None:
    calls: dict[str, Callable[[AzureSessionSampler], Any]] = {
        "sweep": lambda sampler: sampler.run_sweep(ROTATION, angles(4), 2),
        "stream": lambda sampler: list(sampler.stream_sweep(ROTATION, angles(4), 2)),
        "batch": lambda sampler: sampler.run_batch([FLIP] * 4, None, 2),
    }
    workspace = Counted()
    with SessionPool(workspace) as pool:
        sampler = AzureSessionSampler(REMOTE, pool=pool, max_concurrent_jobs=2)
        started = [in_background(calls[name], sampler) for name in (call, other)]
        assert [len(each.result(HANG_TIMEOUT)) for each in started] == [4, 4]
        assert pool.get_stats()["jobs_running"] == 0
    assert len(set(workspace.submitted)) == len(workspace.submitted) == 8
    assert workspace.most_uploads <= 2


# Streams


@pytest.mark.parametrize(
    ("program", "repetitions", "error"),
    [("not a circuit", 1, TypeError), (FLIP, -5, ValueError), (FLIP, 1.5, TypeError)],
)
def test_stream_arguments_are_checked_at_the_call(
    program: Any, repetitions: Any, error: type[Exception]
) -> None:
    sampler = AzureSessionSampler(LOCAL)
    with pytest.raises(error):
        sampler.stream_sweep(program, None, repetitions)


def test_a_stream_that_sends_nothing_yields_and_reports_what_a_sweep_does() -> None:
    with SessionPool(Counted()) as pool:
        sampler = AzureSessionSampler(REMOTE, pool=pool, max_concurrent_jobs=1)
        kinds: list[str] = []
        pool.subscribe(lambda event: kinds.append(event.kind))
        swept = sampler.run_sweep(ROTATION, angles(3), 0)
        streamed = list(sampler.stream_sweep(ROTATION, angles(3), 0))
    assert streamed == list(enumerate(swept))
    assert kinds == ["started", "finished"] * 2


@pytest.mark.parametrize(
    "call",
    [
        lambda sampler: sampler.run(FLIP),
        lambda sampler: sampler.run_batch([FLIP]),
        lambda sampler: list(sampler.stream_sweep(FLIP, None)),
    ],
    ids=["run", "run_batch", "stream_sweep"],
)
def test_call_in_an_event_callback_is_refused_and_reports_nothing(
    call: Callable[[AzureSessionSampler], Any],
) -> None:
    with SessionPool() as pool:
        sampler = AzureSessionSampler(LOCAL, pool=pool)
        events: list[str] = []
        refused: list[str] = []

        def call_again(event: Any) -> None:
            events.append(event.kind)
            if event.kind == "submitted":
                with pytest.raises(RuntimeError, match="not in an event callback"):
                    call(sampler)
                refused.append(event.kind)

        pool.subscribe(call_again)
        sampler.run(FLIP)
    assert refused == ["submitted"]
    assert events == ["started", "opened", "submitted", "succeeded", "finished", "closed"]


def test_a_stream_that_is_dropped_on_the_background_loop_ends_its_sweep(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = Counted(clock=clock, pace=lambda request: JobPace(run=10.0))
    pool = SessionPool(workspace, clock=clock)
    sampler = AzureSessionSampler(REMOTE, pool=pool, max_concurrent_jobs=2)
    stream = sampler.stream_sweep(ROTATION, angles(50), 2)
    drive(clock, in_background(next, stream))
    is_gone = weakref.ref(stream)
    holder = [stream]
    del stream
    pool.subscribe(lambda event: holder.clear())
    other = in_background(AzureSessionSampler(LOCAL, pool=pool).run, FLIP)
    drive(clock, other)
    gc.collect()
    assert is_gone() is None
    drive(clock, in_background(sampler.run, FLIP))
    drive(clock, in_background(pool.close))
    assert len(workspace.submitted) < 20
    assert pool.get_stats()["jobs_running"] == 0
    assert caplog.text == ""


# Costs


def _charged(workspace: LocalWorkspace, points: float) -> AzureSessionSampler:
    """A sampler whose cap has room for so many points."""
    amount = estimate_cost(CHARGED, FLIP, repetitions=1000).amount
    assert amount is not None
    return AzureSessionSampler(
        CHARGED,
        pool=SessionPool(workspace),
        max_cost=points * amount,
        max_concurrent_jobs=2,
    )


def test_every_sweep_past_the_cap_ends_with_the_same_error() -> None:
    workspace = Counted()
    sampler = _charged(workspace, 2.5)
    lengths = []
    for _ in range(3):
        with pytest.raises(SweepCostLimit) as reached:
            sampler.run_sweep(FLIP, [{}] * 4, 1000)
        lengths.append([result is not None for result in reached.value.results])
    assert lengths == [[True, True, False, False], [False] * 4, [False] * 4]
    assert len(workspace.submitted) == 2
    sampler.pool.close()


def test_every_stream_past_the_cap_ends_with_the_same_error() -> None:
    sampler = _charged(Counted(), 2.5)
    for _ in range(2):
        with pytest.raises(SweepCostLimit):
            list(sampler.stream_sweep(FLIP, [{}] * 4, 1000))
    sampler.pool.close()


def test_every_batch_past_the_cap_ends_with_the_same_error() -> None:
    sampler = _charged(Counted(), 2.5)
    for _ in range(2):
        with pytest.raises(CostLimitReached) as reached:
            sampler.run_batch([FLIP] * 4, None, 1000)
        assert isinstance(reached.value, SweepError)
    sampler.pool.close()


# Errors of local samplers


class _MistakenGate(cirq.Gate):
    def _num_qubits_(self) -> int:
        return 1

    def _unitary_(self) -> Any:
        raise KeyError("a mistake of its own")


T = sympy.Symbol("t")


@pytest.mark.parametrize("call", ["run", "run_sweep", "run_batch"])
@pytest.mark.parametrize(
    ("target", "gate", "params", "simulator"),
    [
        ("local.clifford", cirq.T(QUBIT), None, cirq.CliffordSimulator()),
        (LOCAL, cirq.X(QUBIT) ** T, {"t": 1j}, cirq.Simulator()),
        (LOCAL, cirq.X(QUBIT) ** T, {"t": np.array(0.5)}, cirq.Simulator()),
        (LOCAL, _MistakenGate()(QUBIT), None, cirq.Simulator()),
    ],
    ids=["unsupported gate", "complex exponent", "array", "mistaken gate"],
)
def test_an_error_of_a_local_sampler_keeps_its_type_and_its_traceback(
    target: str, gate: cirq.Operation, params: Any, simulator: cirq.Sampler, call: str
) -> None:
    circuit = cirq.Circuit(gate, cirq.measure(QUBIT, key="m"))
    with pytest.raises(Exception) as expected:  # noqa: PT011  # whatever Cirq raises
        simulator.run(circuit, params)
    sampler = AzureSessionSampler(target)
    arguments: Any = ([circuit], [params]) if call == "run_batch" else (circuit, params)
    with pytest.raises(Exception) as raised:  # noqa: PT011
        getattr(sampler, call)(*arguments)
    error: BaseException | None = raised.value
    seen = []
    while error is not None:
        seen.append(error)
        error = error.__cause__ or error.__context__
    (original,) = [each for each in seen if isinstance(each, expected.type)][-1:]
    assert original.__traceback__ is not None


def test_the_error_of_a_failed_point_has_the_local_error_as_its_cause() -> None:
    circuit = cirq.Circuit(_MistakenGate()(QUBIT), cirq.measure(QUBIT, key="m"))
    with pytest.raises(SweepError) as failed:
        AzureSessionSampler(LOCAL).run_sweep(circuit, [{}, {}])
    causes = [error.__cause__ or error for error in failed.value.failures.values()]
    assert [type(cause) for cause in causes] == [KeyError, KeyError]


# Gaps


@pytest.fixture
def failing() -> Iterator[AzureSessionSampler]:
    with EmulatorServer() as server, SessionPool(server.workspace()) as pool:
        server.faults.fail_job(code="InvalidInputData", times=None)
        yield AzureSessionSampler(REMOTE, pool=pool, on_error="return")


def _collect(sampler: cirq.Sampler) -> None:
    terms = cirq.PauliSum.from_pauli_strings([1.0 * cirq.Z(QUBIT)])
    circuit = cirq.Circuit(cirq.X(QUBIT))
    cirq.PauliSumCollector(circuit, terms, samples_per_term=10).collect(sampler)


@pytest.mark.parametrize(
    "call",
    [
        lambda sampler: sampler.run(FLIP),
        lambda sampler: duet.run(sampler.run_async, FLIP),
        lambda sampler: sampler.sample(FLIP, repetitions=3),
        lambda sampler: sampler.sample_expectation_values(
            cirq.Circuit(cirq.X(QUBIT)), [cirq.Z(QUBIT)], num_samples=3
        ),
        _collect,
    ],
    ids=["run", "run_async", "sample", "sample_expectation_values", "PauliSumCollector"],
)
def test_calls_that_cannot_return_a_gap_raise_an_error_that_names_the_job(
    failing: AzureSessionSampler, call: Callable[[cirq.Sampler], Any]
) -> None:
    with pytest.raises((SweepError, JobFailed), match="InvalidInputData") as failed:
        call(failing)
    assert any(job.id in str(failed.value) for job in failing.pool.list_jobs())


@pytest.mark.parametrize(
    ("call", "gaps"),
    [
        (lambda sampler: sampler.run_sweep(FLIP, [{}] * 2), [None, None]),
        (lambda sampler: sampler.run_batch([FLIP] * 2), [[None], [None]]),
        (lambda sampler: list(sampler.stream_sweep(FLIP, [{}] * 2)), []),
        (lambda sampler: duet.run(sampler.run_sweep_async, FLIP, [{}] * 2), [None, None]),
    ],
    ids=["run_sweep", "run_batch", "stream_sweep", "run_sweep_async"],
)
def test_calls_that_can_return_a_gap_return_none(
    failing: AzureSessionSampler, call: Callable[[Any], Any], gaps: Any
) -> None:
    assert [list(each) if isinstance(each, list) else each for each in call(failing)] == gaps


# Arguments


@pytest.mark.parametrize("target", [LOCAL, REMOTE])
@pytest.mark.parametrize("call", ["run", "run_sweep", "stream_sweep"])
def test_a_key_that_is_measured_with_different_sizes_is_refused_as_cirq_does(
    target: str, call: str
) -> None:
    first, second = cirq.LineQubit.range(2)
    circuit = cirq.Circuit(cirq.measure(first, key="m"), cirq.measure(first, second, key="m"))
    with pytest.raises(ValueError, match=r".") as expected:
        cirq.Simulator().run(circuit)
    workspace = Counted()
    sampler = AzureSessionSampler(target, pool=SessionPool(workspace))
    with pytest.raises(ValueError, match=r".") as refused:
        list(getattr(sampler, call)(circuit, None, 2))
    assert isinstance(refused.value, expected.type)
    assert workspace.submitted == []


@pytest.mark.parametrize("target", [LOCAL, REMOTE])
@pytest.mark.parametrize("repetitions", [0, 3])
def test_a_generator_is_a_sweep(target: str, repetitions: int) -> None:
    def points() -> Iterator[cirq.ParamResolver]:
        yield from (cirq.ParamResolver({"angle": angle}) for angle in (0.5, 1.5))

    with SessionPool(Counted()) as pool:
        sampler = AzureSessionSampler(target, pool=pool)
        expected = cirq.Simulator().run_sweep(ROTATION, points(), repetitions)
        results = sampler.run_sweep(ROTATION, points(), repetitions)
        assert [result.params for result in results] == [result.params for result in expected]
        assert [result.repetitions for result in results] == [repetitions] * 2
        assert len(list(sampler.stream_sweep(ROTATION, points(), repetitions))) == 2


NUMBERS = [5, 5.0, np.int64(5), np.float32(5), np.float64(5), Fraction(5), np.uint8(5)]
WHOLE_NUMBERS = [5, np.int64(5), np.int32(5), np.uint8(5)]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: type(number).__name__)
@pytest.mark.parametrize("name", ["timeout", "max_cost", "max_idle", "rates"])
def test_numbers_of_every_type_are_accepted(name: str, number: Any) -> None:
    with SessionPool(Counted(), **({"max_idle": number} if name == "max_idle" else {})) as pool:
        options = {} if name == "max_idle" else {name: number}
        options["rates"] = Rates(per_job=number if name == "rates" else 1.0)
        sampler = AzureSessionSampler(CHARGED, pool=pool, **options)
        assert sampler.run(FLIP, repetitions=10).repetitions == 10


@pytest.mark.parametrize("number", WHOLE_NUMBERS, ids=lambda number: type(number).__name__)
def test_integers_of_every_type_are_accepted(number: Any) -> None:
    with SessionPool(Counted()) as pool:
        sampler = AzureSessionSampler(REMOTE, pool=pool, max_concurrent_jobs=number)
        assert sampler.run(FLIP, repetitions=number).repetitions == 5
        assert len(sampler.run_batch([FLIP] * 2, None, number)) == 2
