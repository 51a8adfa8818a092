"""Several calls at once on one sampler or pool, calls after a failure, and what calls refuse."""

from __future__ import annotations

import gc
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from fractions import Fraction
from typing import Any

import cirq
import duet
import numpy as np
import pytest
import sympy
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
    LocalWorkspace,
    ManualClock,
    Rates,
    SessionPool,
    SweepCostLimit,
    SweepError,
    estimate_cost,
)
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.workspaces.local import JobPace


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


def test_a_call_after_two_overlapping_batches_is_a_call_of_its_own(
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
def test_two_calls_at_once_on_one_sampler_both_finish(call: str, other: str) -> None:
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
def test_a_stream_is_checked_when_it_is_asked_for(
    program: Any, repetitions: Any, error: type[Exception]
) -> None:
    sampler = AzureSessionSampler(LOCAL)
    with pytest.raises(error):
        sampler.stream_sweep(program, None, repetitions)


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
def test_a_call_that_has_no_place_for_a_gap_raises_an_error_that_names_the_job(
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
def test_a_call_that_has_a_place_for_a_gap_leaves_one(
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
def test_numbers_are_taken_in_every_spelling(name: str, number: Any) -> None:
    with SessionPool(Counted(), **({"max_idle": number} if name == "max_idle" else {})) as pool:
        options = {} if name == "max_idle" else {name: number}
        options["rates"] = Rates(per_job=number if name == "rates" else 1.0)
        sampler = AzureSessionSampler(CHARGED, pool=pool, **options)
        assert sampler.run(FLIP, repetitions=10).repetitions == 10


@pytest.mark.parametrize("number", WHOLE_NUMBERS, ids=lambda number: type(number).__name__)
def test_whole_numbers_are_taken_in_every_spelling(number: Any) -> None:
    with SessionPool(Counted()) as pool:
        sampler = AzureSessionSampler(REMOTE, pool=pool, max_concurrent_jobs=number)
        assert sampler.run(FLIP, repetitions=number).repetitions == 5


@pytest.mark.parametrize(
    "option",
    [
        {"timeout": "5"},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"timeout": True},
        {"max_concurrent_jobs": 0},
        {"max_concurrent_jobs": 1.5},
        {"max_concurrent_jobs": True},
        {"max_cost": -1},
        {"max_cost": float("nan")},
        {"max_cost": "5"},
    ],
    ids=str,
)
def test_what_is_no_number_of_that_kind_is_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        AzureSessionSampler(CHARGED, workspace=Counted(), **option)
