"""Targets as functions from programs to results: the built-in ones, the given, and split sweeps."""

from __future__ import annotations

import functools
import importlib.util
import json
import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import cirq
import numpy as np
import pytest
import sympy
from children import NEEDS_FORK
from services import FLIP, HANG_TIMEOUT, in_background

from cirq_azure_sessions import (
    AzureSessionSampler,
    LocalWorkspace,
    Rates,
    SessionPool,
    SweepError,
)
from cirq_azure_sessions.errors import JobFailed, UnsupportedProgram, UnsupportedTarget
from cirq_azure_sessions.installation import BUILT_IN_TARGETS, check_installed
from cirq_azure_sessions.model import JobRequest, LocalProgram
from cirq_azure_sessions.workspaces.local import samplers as local_samplers
from cirq_azure_sessions.workspaces.local.samplers import (
    local_machines,
)

Q0, Q1 = cirq.LineQubit.range(2)
BELL = cirq.Circuit(cirq.H(Q0), cirq.CNOT(Q0, Q1), cirq.measure(Q0, Q1, key="m"))
ROTATION = cirq.Circuit(cirq.X(Q0) ** sympy.Symbol("t"), cirq.measure(Q0, key="m"))
POINTS = tuple(cirq.ParamResolver({"t": t}) for t in np.linspace(0, 1, 150))
POINT = (cirq.ParamResolver(),)


def request(program: LocalProgram | Any = None, target: str = "local.simulator") -> JobRequest:
    program = program or LocalProgram(BELL, POINT, 20)
    return JobRequest("j", target, "n", program, "cirq.sweep.v1", "cirq.results.v1")


def run(
    target: str,
    program: LocalProgram,
    samplers: Mapping[str, Any] | None = None,
    executor: Executor | None = None,
) -> list[cirq.Result]:
    results: list[cirq.Result] = local_machines(samplers or {}, executor)[target](
        request(program, target)
    ).result()
    return results


def installed(target: str) -> bool:
    return importlib.util.find_spec(BUILT_IN_TARGETS[target][1]) is not None


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    with ProcessPoolExecutor(2) as executor:
        yield executor


class TestTheBuiltInTargets:
    @pytest.mark.parametrize("target", sorted(BUILT_IN_TARGETS))
    def test_sample_a_whole_sweep_in_one_job(self, target: str) -> None:
        if not installed(target):
            pytest.skip(f"{target} needs {BUILT_IN_TARGETS[target][0]}")
        first, second = run(target, LocalProgram(BELL, POINT * 2, 50))

        for result in (first, second):
            assert set(result.histogram(key="m")) <= {0, 3}
            assert result.measurements["m"].shape == (50, 2)

    @pytest.mark.parametrize(
        "target", sorted(BUILT_IN_TARGETS.keys() - {"local.stim", "local.qsim"})
    )
    def test_with_a_seed_give_the_same_samples_at_each_run(self, target: str) -> None:
        # Two runs of 3 x 100 fair coins agree by chance with a probability below 1e-90.
        runs = [
            run(target, LocalProgram(BELL, POINT * 3, 100, seed)) for seed in ((7,), (7,), (8,))
        ]
        assert runs[0] == runs[1] != runs[2]

    def test_with_a_seed_draw_the_same_whatever_ran_before(self) -> None:
        machine = local_machines({}, None)["local.simulator"]
        programs = [LocalProgram(BELL, POINT, 100, (7, call)) for call in range(5)]
        forward = [machine(request(program)).result() for program in programs]
        backward = [machine(request(program)).result() for program in reversed(programs)]
        assert forward == backward[::-1]

    @NEEDS_FORK
    def test_without_a_seed_draw_differently_in_every_child_of_a_fork(self) -> None:
        # Cirq draws from numpy's global generator, whose state the children share. 100 fair coins
        # agree by chance with a probability below 1e-30.
        np.random.rand()
        with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as workers:
            first, second = workers.map(_flip_coins, range(2), chunksize=1)
        assert first != second

    def test_raise_what_the_simulator_raises(self) -> None:
        with pytest.raises(ValueError, match="contains ops whose symbols"):
            run("local.simulator", LocalProgram(ROTATION, POINT, 10))

    @pytest.mark.parametrize("target", ["local.qsim", "local.stim"])
    def test_that_are_not_installed_name_the_package_and_the_extra(
        self, target: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(UnsupportedTarget) as refusal:
            AzureSessionSampler(target)
        assert f"needs {BUILT_IN_TARGETS[target][0]}" in str(refusal.value)
        assert "pip install '.[simulators]'" in str(refusal.value)

    def test_of_cirq_are_always_installed(self) -> None:
        check_installed("local.simulator")

    def test_that_cannot_be_seeded_refuse_a_seed(self) -> None:
        pytest.importorskip("stimcirq")
        with pytest.raises(UnsupportedProgram, match="does not accept a seed"):
            run("local.stim", LocalProgram(BELL, POINT, 10, (7,)))


class TestGivenSamplers:
    def test_run_under_their_name(self) -> None:
        ones = cirq.Circuit(cirq.X(Q0), cirq.measure(Q0, key="m"))
        lossy = cirq.DensityMatrixSimulator(noise=cirq.amplitude_damp(1.0))
        (result,) = run("local.lossy", LocalProgram(ones, POINT, 10), {"local.lossy": lossy})
        assert result.histogram(key="m") == {0: 10}

    def test_are_called_once_for_a_sweep(self) -> None:
        calls: list[int] = []

        class Counting(cirq.Simulator):
            def run_sweep(self, program: Any, params: Any, repetitions: int = 1) -> Any:
                calls.append(len(list(cirq.to_resolvers(params))))
                return super().run_sweep(program, params, repetitions)

        run("local.mine", LocalProgram(ROTATION, POINTS, 1), {"local.mine": Counting()})
        assert calls == [len(POINTS)]

    def test_are_never_called_twice_at_once(self) -> None:
        lock = threading.Lock()

        class Alone(cirq.Simulator):
            def run_sweep(self, program: Any, params: Any, repetitions: int = 1) -> Any:
                assert lock.acquire(blocking=False), "two calls at once"
                try:
                    return super().run_sweep(program, params, repetitions)
                finally:
                    lock.release()

        machine = local_machines({"local.mine": Alone()}, None)["local.mine"]
        for future in [machine(request()) for _ in range(20)]:
            assert len(future.result()) == 1

    def test_do_not_change_the_circuit_of_the_caller(self) -> None:
        class Emptying(cirq.Simulator):
            def run_sweep(self, program: Any, params: Any, repetitions: int = 1) -> Any:
                results = super().run_sweep(program, params, repetitions)
                program.clear_operations_touching(program.all_qubits(), range(len(program)))
                return results

        circuit = FLIP.copy()
        run("local.mine", LocalProgram(circuit, POINT, 1), {"local.mine": Emptying()})
        assert circuit == FLIP

    def test_that_never_stop_giving_results_fail(self) -> None:
        class Endless(cirq.Simulator):
            def run_sweep(self, program: Any, params: Any, repetitions: int = 1) -> Any:
                while True:
                    yield from super().run_sweep(program, params, repetitions)

        endless = {"local.mine": Endless()}
        with pytest.raises(ValueError, match="one result per point, 1, not at least 2"):
            run("local.mine", LocalProgram(FLIP, POINT, 1), endless)

    def test_that_raise_an_error_without_a_text_fail(self) -> None:
        class Speechless(Exception):
            def __str__(self) -> str:
                raise ValueError("no text")

        class Raising(cirq.Simulator):
            def run_sweep(self, program: Any, params: Any, repetitions: int = 1) -> Any:
                raise Speechless

        sampler = AzureSessionSampler(
            "local.mine", workspace=LocalWorkspace({"local.mine": Raising()})
        )
        with pytest.raises(JobFailed, match=r"failed \(Speechless\)\."):
            in_background(sampler.run, FLIP).result(HANG_TIMEOUT)

    def test_may_be_given_as_a_function_of_the_seed(self) -> None:
        noisy = functools.partial(cirq.DensityMatrixSimulator, noise=cirq.depolarize(0.1))
        program = LocalProgram(BELL, POINT, 50, (7,))
        first, second = (run("local.noisy", program, {"local.noisy": noisy}) for _ in range(2))
        assert first == second
        # All but one in 1e9 runs have a pair of bits that a Bell state without noise has not.
        assert set(first[0].histogram(key="m")) - {0, 3}

    def test_may_replace_a_built_in_one(self) -> None:
        zeros = cirq.ZerosSampler()
        (result,) = run(
            "local.simulator", LocalProgram(BELL, POINT, 10), {"local.simulator": zeros}
        )
        assert result.histogram(key="m") == {0: 10}

    def test_that_are_instances_are_not_split(self) -> None:
        """Copies of a sampler in several processes would all draw the same."""
        sampler = cirq.Simulator(seed=7)
        executor = RefusingExecutor()
        results = run(
            "local.mine", LocalProgram(ROTATION, POINTS, 5), {"local.mine": sampler}, executor
        )
        assert results == list(cirq.Simulator(seed=7).run_sweep(ROTATION, list(POINTS), 5))


def _flip_coins(number: int) -> bytes:
    (result,) = run("local.simulator", LocalProgram(BELL, POINT, 100))
    return bytes(result.measurements["m"].tobytes())


class RefusingExecutor(Executor):
    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        raise AssertionError("Nothing was to be sent to the executor.")


class SequentialExecutor(Executor):
    """Runs everything at once, in the caller's thread."""

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class PicklingExecutor(SequentialExecutor):
    """Pickles everything, as executors of processes do."""

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(*pickle.loads(pickle.dumps((function, *args))), **kwargs)


class CountedCircuit(cirq.Circuit):
    """A circuit that counts how often it is pickled, and how often read back."""

    pickled = read = 0

    def __reduce__(self) -> Any:
        CountedCircuit.pickled += 1
        return _read_counted, (list(self.moments),)


def _read_counted(moments: Any) -> CountedCircuit:
    CountedCircuit.read += 1
    return CountedCircuit(moments)


class HoldingExecutor(Executor):
    """Runs nothing."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []
        self.submitted = threading.Semaphore(0)

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.futures.append(future)
        self.submitted.release()
        return future


class TestSplittingASweep:
    def seeded(self) -> LocalProgram:
        return LocalProgram(ROTATION, POINTS, 20, (7,))

    def test_keeps_the_points_in_their_order(self, processes: Executor) -> None:
        results = run("local.simulator", self.seeded(), executor=processes)

        assert [result.params for result in results] == list(POINTS)
        assert results[0].histogram(key="m") == {0: 20}
        assert results[-1].histogram(key="m") == {1: 20}

    def test_gives_the_same_samples_on_any_executor(self, processes: Executor) -> None:
        with ThreadPoolExecutor(3) as threads:
            several = [
                run("local.simulator", self.seeded(), executor=executor)
                for executor in (None, processes, threads, SequentialExecutor())
            ]
        assert several[0] == several[1] == several[2] == several[3]

    @pytest.mark.parametrize("chunks", [1, 7, 1000])
    def test_gives_the_same_samples_however_it_is_cut(
        self, chunks: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expected = run("local.simulator", self.seeded())
        monkeypatch.setattr(local_samplers, "_CHUNKS_PER_WORKER", chunks)
        assert run("local.simulator", self.seeded(), executor=SequentialExecutor()) == expected

    def test_gives_each_point_draws_of_its_own(self) -> None:
        # 20 points of 64 fair coins: two points agree with a probability below 1e-16.
        program = LocalProgram(BELL, POINT * 20, 64, (7,))
        results = run("local.simulator", program, executor=SequentialExecutor())
        assert len({result.measurements["m"].tobytes() for result in results}) == 20

    def test_without_a_seed_draws_afresh(self) -> None:
        # Two runs of 100 fair coins agree with a probability below 1e-30.
        program = LocalProgram(BELL, POINT, 100)
        first, second = (
            run("local.simulator", program, executor=SequentialExecutor()) for _ in range(2)
        )
        assert first != second

    @pytest.mark.parametrize(
        ("points", "workers", "chunks"),
        [(0, 2, 0), (1, 2, 1), (40, 2, 4), (40, 16, 20), (150, 2, 4), (10_000, 2, 157)],
    )
    def test_sends_a_sweep_in_few_chunks_and_none_too_large(
        self, points: int, workers: int, chunks: int
    ) -> None:
        cuts = list(local_samplers._cuts(points, workers))
        assert len(cuts) == chunks
        assert [index for cut in cuts for index in range(points)[cut]] == list(range(points))

    def test_stops_when_a_point_fails(self) -> None:
        program = LocalProgram(ROTATION, (*POINTS[:3], *POINT, *POINTS[3:]), 1)
        with pytest.raises(ValueError, match="contains ops whose symbols"):
            run("local.simulator", program, executor=SequentialExecutor())

    def test_takes_its_chunks_back_when_it_is_cancelled(self) -> None:
        executor = HoldingExecutor()
        work = local_machines({}, executor)["local.simulator"](request(self.seeded()))
        # 32 chunks at the most where nobody says how many workers there are, of five points each.
        for _ in range(30):
            assert executor.submitted.acquire(timeout=10)
        work.cancel()
        assert work.exception() is not None
        assert all(future.cancelled() for future in executor.futures)

    def test_pickles_its_circuit_once_and_reads_it_once_in_a_process(self) -> None:
        circuit = CountedCircuit(ROTATION)
        program = LocalProgram(circuit, POINTS, 5, (7,))
        results = run("local.simulator", program, executor=PicklingExecutor())
        assert results == run("local.simulator", LocalProgram(ROTATION, POINTS, 5, (7,)))
        assert (circuit.pickled, circuit.read) == (1, 1)

    def test_works_for_a_function_of_the_seed(self, processes: Executor) -> None:
        noisy = functools.partial(cirq.DensityMatrixSimulator, noise=cirq.depolarize(0.1))
        samplers = {"local.noisy": noisy}
        here = run("local.noisy", self.seeded(), samplers, SequentialExecutor())
        assert run("local.noisy", self.seeded(), samplers, processes) == here

    def test_does_not_split_what_cannot_be_seeded(self) -> None:
        pytest.importorskip("stimcirq")
        program = LocalProgram(BELL, POINT * 3, 10)
        assert len(run("local.stim", program, executor=RefusingExecutor())) == 3


# Nested calls


class _Nested(cirq.Sampler):
    """A sampler that has another one run its circuits."""

    def __init__(self) -> None:
        self.inner: cirq.Sampler = cirq.Simulator()

    def run_sweep(self, program: Any, params: Any, repetitions: int = 1) -> Any:
        return self.inner.run_sweep(program, params, repetitions)


@pytest.mark.parametrize("depth", [1, 2])
def test_a_nested_call_that_would_wait_for_itself_is_refused(depth: int) -> None:
    machines = [_Nested() for _ in range(depth)]
    targets = [f"local.nested-{number}" for number in range(depth)]
    workspace = LocalWorkspace(dict(zip(targets, machines, strict=True)))
    samplers = [AzureSessionSampler(target, workspace=workspace) for target in targets]
    for number, machine in enumerate(machines):
        machine.inner = samplers[(number + 1) % depth]
    error = in_background(samplers[0].run, BELL).exception(HANG_TIMEOUT)
    while isinstance(error, SweepError) or (error is not None and error.__cause__ is not None):
        error = error.__cause__
    assert isinstance(error, RuntimeError)
    assert f"{targets[-1]!r} would wait for a job on 'local.nested-0'" in str(error)


@pytest.mark.parametrize(
    "limits",
    [{"max_concurrent_jobs": 1}, {"max_cost": 1.5, "rates": Rates(per_job=1.0)}],
    ids=["slot", "budget"],
)
@pytest.mark.parametrize("circuits", [1, 3])
def test_a_nested_call_is_refused_before_it_waits_for_what_its_caller_holds(
    circuits: int, limits: Mapping[str, Any]
) -> None:
    machine = _Nested()
    workspace = LocalWorkspace({"local.nested": machine})
    sampler = AzureSessionSampler("local.nested", workspace=workspace, **limits)
    machine.inner = sampler
    # With several circuits, the next job has stored its input and waits for the first one's slot.
    batch = in_background(sampler.run_batch, [BELL] * circuits)
    with pytest.raises(SweepError, match="would wait for a job on 'local"):
        batch.result(HANG_TIMEOUT)


@pytest.mark.parametrize("shared", [True, False], ids=["one workspace", "two workspaces"])
@pytest.mark.parametrize("slots", [1, 100])
def test_nested_calls_that_would_wait_for_each_other_are_refused(shared: bool, slots: int) -> None:
    both_run, outermost = threading.Barrier(2), iter(range(2))

    class Meeting(_Nested):
        def run_sweep(self, program: Any, params: Any, repetitions: int = 1) -> Any:
            if next(outermost, None) is not None:
                both_run.wait(HANG_TIMEOUT)
            return super().run_sweep(program, params, repetitions)

    machines = {"local.one": Meeting(), "local.other": Meeting()}
    workspaces = dict.fromkeys(machines, LocalWorkspace(machines))
    if not shared:
        workspaces = {target: LocalWorkspace({target: each}) for target, each in machines.items()}
    one, other = (
        AzureSessionSampler(target, workspace=workspace, max_concurrent_jobs=slots)
        for target, workspace in workspaces.items()
    )
    machines["local.one"].inner, machines["local.other"].inner = other, one
    calls = [in_background(each.run, BELL, None, 7) for each in (one, other)]
    errors = [call.exception(HANG_TIMEOUT) for call in calls]
    assert any("would wait for a job on" in str(error) for error in errors)
    # What was refused does not keep later calls from running.
    machines["local.one"].inner = machines["local.other"].inner = cirq.Simulator()
    calls = [in_background(each.run, BELL, None, 7) for each in (one, other)]
    assert [call.result(HANG_TIMEOUT).repetitions for call in calls] == [7, 7]


@pytest.mark.parametrize("wait", ["job", "result", "session", "get_result"])
def test_a_sampler_that_waits_for_its_own_job_is_refused(wait: str) -> None:
    class Impatient(cirq.Sampler):
        def run_sweep(self, program: Any, params: Any, repetitions: int = 1) -> Any:
            (job,) = pool.list_jobs(status="running")
            calls: dict[str, Callable[[], Any]] = {
                "job": job.wait,
                "result": job.result,
                "session": pool.get_session(str(job.session_id)).wait,
                "get_result": lambda: sampler.get_result(job.id),
            }
            return calls[wait]()

    pool = SessionPool(LocalWorkspace({"local.impatient": Impatient()}))
    sampler = AzureSessionSampler("local.impatient", pool=pool)
    with pytest.raises(SweepError, match="would wait for a job on 'local"):
        in_background(sampler.run_sweep, BELL, None).result(HANG_TIMEOUT)


def test_a_sampler_may_wait_for_an_earlier_job_or_session_of_its_target() -> None:
    class Comparing(_Nested):
        def run_sweep(self, program: Any, params: Any, repetitions: int = 1) -> Any:
            for job in pool.list_jobs(status="done"):
                assert job.result(HANG_TIMEOUT).repetitions == repetitions
                pool.get_session(str(job.session_id)).wait(HANG_TIMEOUT)
            return super().run_sweep(program, params, repetitions)

    pool = SessionPool(LocalWorkspace({"local.comparing": Comparing()}))
    sampler = AzureSessionSampler("local.comparing", pool=pool)
    for _ in range(2):
        assert in_background(sampler.run, BELL, None, 7).result(HANG_TIMEOUT).repetitions == 7
        pool.session("local.comparing").close()


def test_a_nested_call_does_not_count_towards_the_limit_that_its_caller_fills() -> None:
    machine = _Nested()
    workspace = LocalWorkspace({"local.nested": machine}, max_jobs=1)
    sampler = AzureSessionSampler("local.nested", workspace=workspace)
    machine.inner = AzureSessionSampler("local.simulator", workspace=workspace)
    assert in_background(sampler.run, BELL, None, 7).result(HANG_TIMEOUT).repetitions == 7


def test_a_nested_call_does_not_need_the_executors_workers_which_wait_for_it() -> None:
    inner: list[cirq.Sampler] = []

    class Nesting(_Nested):
        def __init__(self, seed: Any) -> None:
            self.inner = inner[0]

    with ThreadPoolExecutor(1) as executor:
        workspace = LocalWorkspace({"local.nested": Nesting}, executor=executor)
        inner.append(AzureSessionSampler("local.simulator", workspace=workspace))
        sampler = AzureSessionSampler("local.nested", workspace=workspace)
        assert in_background(sampler.run, BELL, None, 7).result(HANG_TIMEOUT).repetitions == 7


def test_a_nested_call_does_not_need_the_threads_which_wait_for_it() -> None:
    threads = (os.cpu_count() or 1) + 4
    all_run = threading.Barrier(threads)

    def nest(request: JobRequest) -> Any:
        all_run.wait(HANG_TIMEOUT)
        return json.dumps({"histogram": {"0": inner.run(BELL, None, 1).repetitions}}).encode()

    def answer(request: JobRequest) -> Any:
        return json.dumps({"histogram": {"0": 1}}).encode()

    backends = {"ionq.simulator": nest, "ionq.qpu.aria-1": answer}
    pool = SessionPool(LocalWorkspace(backends=backends))
    inner = AzureSessionSampler("ionq.qpu.aria-1", pool=pool)
    outer = AzureSessionSampler("ionq.simulator", pool=pool)
    batch = in_background(outer.run_batch, [BELL] * threads, None, 1)
    assert len(batch.result(HANG_TIMEOUT)) == threads


def test_a_nested_call_of_another_target_or_workspace_runs() -> None:
    machine = _Nested()
    workspace = LocalWorkspace({"local.nested": machine})
    sampler = AzureSessionSampler("local.nested", workspace=workspace)
    machine.inner = AzureSessionSampler("local.simulator", workspace=workspace)
    assert in_background(sampler.run, BELL, None, 7).result(HANG_TIMEOUT).repetitions == 7
    elsewhere = LocalWorkspace({"local.nested": cirq.Simulator()})
    machine.inner = AzureSessionSampler("local.nested", workspace=elsewhere)
    assert in_background(sampler.run, BELL, None, 7).result(HANG_TIMEOUT).repetitions == 7
    # What a call leaves behind concerns no other.
    machine.inner = cirq.Simulator()
    assert in_background(sampler.run, BELL, None, 7).result(HANG_TIMEOUT).repetitions == 7


def of_one(measurements: Any) -> Callable[[Any, int], Any]:
    """What `run_sweep` returns: for every point these measurements, a function of repetitions."""
    return lambda params, repetitions: [
        cirq.ResultDict(params=cirq.ParamResolver(each), measurements=measurements(repetitions))
        for each in params
    ]


WRONG_RESULTS: dict[str, tuple[Callable[[Any, int], Any], str]] = {
    "nothing": (lambda params, repetitions: None, "NoneType, not a list"),
    "a number": (lambda params, repetitions: 5, "int, not a list"),
    "no results": (lambda params, repetitions: [], "one result per point, 3, not 0"),
    "no result each": (lambda params, repetitions: [None] * 3, "list with NoneType"),
    "dictionaries": (lambda params, repetitions: [{"m": 1}] * 3, "list with dict"),
    "fewer repetitions": (of_one(lambda n: {"m": np.ones((n - 1, 1), int)}), "3 repetitions"),
    "more repetitions": (of_one(lambda n: {"m": np.ones((n + 1, 1), int)}), "5 repetitions"),
    "no repetitions": (of_one(lambda n: {"m": np.ones((0, 1), int)}), "0 repetitions"),
    "another key": (of_one(lambda n: {"z": np.ones((n, 1), int)}), "keys .'z'."),
    "no keys": (of_one(lambda n: {}), "keys .. for a circuit that measures .'m'."),
    "one key too many": (
        of_one(lambda n: {"m": np.ones((n, 1), int), "z": np.ones((n, 1), int)}),
        "keys .'m', 'z'.",
    ),
    "another order": (
        lambda params, repetitions: [*cirq.Simulator().run_sweep(FLIP, params, repetitions)][::-1],
        "wrong order",
    ),
    "floats": (of_one(lambda n: {"m": np.full((n, 1), 0.5)}), "array of float64"),
    "states that a qubit has not": (
        of_one(lambda n: {"m": np.full((n, 1), 7)}),
        "outcomes from 7 to 7 of the key 'm', whose qubits have 2 states",
    ),
    "negative numbers": (of_one(lambda n: {"m": np.full((n, 1), -1)}), "from -1 to -1"),
    "words": (of_one(lambda n: {"m": np.full((n, 1), "a")}), "array of <U1"),
    "objects": (of_one(lambda n: {"m": np.full((n, 1), None)}), "array of object"),
    "lists": (of_one(lambda n: {"m": [[1]] * n}), "a result without records"),
    "flat arrays": (of_one(lambda n: {"m": np.ones(n, int)}), "a result without records"),
    "deep arrays": (of_one(lambda n: {"m": np.ones((n, 1, 1), int)}), "4 dimensions"),
}


@pytest.mark.parametrize(("returned", "words"), WRONG_RESULTS.values(), ids=WRONG_RESULTS)
def test_sampler_with_invalid_results_fails_its_points_with_a_message(
    returned: Callable[[Any, int], Any], words: str
) -> None:
    class Wrong(cirq.Sampler):
        def run_sweep(self, program: Any, params: Any, repetitions: int = 1) -> Any:
            return returned(params, repetitions)

    workspace = LocalWorkspace({"local.wrong": Wrong()})
    sampler = AzureSessionSampler("local.wrong", workspace=workspace)
    with pytest.raises(SweepError, match=f"Wrong.run_sweep .*{words}") as failure:
        sampler.run_sweep(FLIP, [{"x": 0}, {"x": 1}, {"x": 2}], 4)
    assert len(failure.value.failures) == 3


def test_a_sampler_that_resolves_the_circuit_itself_need_not_repeat_the_parameters() -> None:
    class Resolving(cirq.Sampler):
        def run_sweep(self, program: Any, params: Any, repetitions: int = 1) -> Any:
            simulator = cirq.Simulator()
            circuits = [cirq.resolve_parameters(program, each) for each in params]
            return [simulator.run(circuit, repetitions=repetitions) for circuit in circuits]

    workspace = LocalWorkspace({"local.resolving": Resolving()})
    sampler = AzureSessionSampler("local.resolving", workspace=workspace)
    results = sampler.run_sweep(ROTATION, [{"t": 0}, {"t": 1}], 4)
    assert [result.measurements["m"].sum() for result in results] == [0, 4]
