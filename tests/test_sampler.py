"""The whole `cirq.Sampler` interface, on local targets; every answer compared with cirq's own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import cirq
import numpy as np
import pytest
import sympy
from contents import jobs

from cirq_azure_sessions import (
    AzureSessionSampler,
    JobFailed,
    JobTimeout,
    LocalWorkspace,
    ManualClock,
    PoolTimeout,
    SessionPool,
    SweepError,
    SweepTimeout,
    UnsupportedProgram,
    UnsupportedTarget,
)
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


def test_a_seed_gives_what_cirqs_simulator_gives_call_after_call(
    sampler: AzureSessionSampler,
) -> None:
    simulator = cirq.Simulator(seed=7)
    for _ in range(3):
        assert sampler.run_sweep(RABI, SWEEP, 100) == simulator.run_sweep(RABI, SWEEP, 100)
        assert sampler.run(RABI, {"theta": 1.0}, 50) == simulator.run(RABI, {"theta": 1.0}, 50)


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


def test_run_batch_gives_one_list_of_results_a_program(sampler: AzureSessionSampler) -> None:
    other = cirq.Circuit(cirq.X(A), cirq.measure(A, key="x"))
    batch = sampler.run_batch([RABI, other], [SWEEP, None], repetitions=[10, 20])
    assert [len(results) for results in batch] == [9, 1]
    assert [results[0].repetitions for results in batch] == [10, 20]


def test_the_async_forms_give_the_same_results(sampler: AzureSessionSampler) -> None:
    import duet

    simulator = cirq.Simulator(seed=7)
    assert duet.run(sampler.run_async, RABI, {"theta": 1.0}, 20) == simulator.run(
        RABI, {"theta": 1.0}, 20
    )
    assert duet.run(sampler.run_sweep_async, RABI, SWEEP, 20) == simulator.run_sweep(
        RABI, SWEEP, 20
    )


def test_sample_gives_a_data_frame(sampler: AzureSessionSampler) -> None:
    frame = sampler.sample(RABI, repetitions=5, params=SWEEP)
    assert list(frame.columns) == ["theta", "m"]
    assert len(frame) == 45


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
    assert [streamed[point] for point in range(9)] == cirq.Simulator(seed=7).run_sweep(
        RABI, SWEEP, 30
    )


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
    with AzureSessionSampler("local.simulator", seed=np.int64(7)) as sampler:
        assert sampler.run(RABI, {"theta": 1.0}, 9) == cirq.Simulator(seed=7).run(
            RABI, {"theta": 1.0}, 9
        )


def test_negative_repetitions_are_refused(sampler: AzureSessionSampler) -> None:
    with pytest.raises(ValueError, match="repetitions must be 0 or more, not -1"):
        sampler.run(RABI, {"theta": 1.0}, -1)
    assert _nothing_was_sent(sampler)


def test_repetitions_are_any_integer_and_nothing_else(sampler: AzureSessionSampler) -> None:
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
        {"max_concurrent_jobs": 1.5},
        {"timeout": -1},
        {"timeout": "soon"},
        {"timeout": True},
        {"max_concurrent_jobs": 0},
        {"max_concurrent_jobs": True},
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
def test_an_option_out_of_range_is_refused_by_its_name(option: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        AzureSessionSampler("local.simulator", **option)


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
        pytest.raises(SweepError, match=r"1 of 1 points failed.*The ion got away") as caught,
    ):
        sampler.run(RABI, {"theta": 1.0}, 10)
    assert caught.value.results == [None]
    assert isinstance(caught.value.failures[0], JobFailed)
    assert caught.value.failures[0].job_id


def test_a_failed_batch_has_one_list_of_results_and_one_error_a_circuit() -> None:
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
            sampler.run(RABI, {"theta": 1.0}, 10)
        assert isinstance(caught.value, PoolTimeout | TimeoutError)
        with pytest.raises(SweepTimeout, match="get_result"):
            list(sampler.stream_sweep(RABI, {"theta": 1.0}, 10))
        pool.close(cancel=True)


def test_a_result_that_takes_too_long_raises_job_timeout() -> None:
    clock = ManualClock()
    workspace = LocalWorkspace(clock=clock, pace=lambda request: _pace(3600.0))
    with SessionPool(workspace, clock=clock) as pool:
        sampler = AzureSessionSampler("local.simulator", pool=pool, timeout=60.0)
        with pytest.raises(SweepTimeout):
            sampler.run(RABI, {"theta": 1.0}, 10)
        (job,) = jobs(workspace)
        with pytest.raises(JobTimeout, match="did not finish within 60 s") as caught:
            sampler.get_result(job.id)
        assert caught.value.job_id == job.id
        pool.close(cancel=True)


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
        with pytest.raises(SweepTimeout) as caught:
            AzureSessionSampler("local.simulator", pool=pool, timeout=60).run(RABI, {"theta": 1})
    (succeeded,) = jobs
    assert caught.value.failures[0].job_id == succeeded.job_id


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
