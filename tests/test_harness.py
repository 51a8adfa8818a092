"""Benchmark harnesses in one batch: on the emulator, whose requests are counted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import cirq
import duet
import numpy as np
import pytest
from services import (
    FLIP,
    HANG_TIMEOUT,
    QUBIT,
    REMOTE,
    ROTATION,
    in_background,
    wait_until,
)

from cirq_azure_sessions import (
    AzureSessionSampler,
    JobFailed,
    ManualClock,
    SessionPool,
    SweepError,
    UnsupportedProgram,
    background,
)
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.harness import (
    BatchingSampler,
    PrefetchedSampler,
    batch_qedc,
    mitiq_executor,
    run_experiment,
)


class Recording(cirq.Sampler):
    """Another sampler, with the sizes of the batches that it is given."""

    def __init__(self, sampler: cirq.Sampler) -> None:
        self._sampler = sampler
        self.sizes: list[int] = []

    def run_sweep(self, program: Any, params: Any, repetitions: int = 1) -> Sequence[cirq.Result]:
        self.sizes.append(1)
        return self._sampler.run_sweep(program, params, repetitions)

    def run_batch(
        self, programs: Any, params_list: Any = None, repetitions: Any = 1
    ) -> Sequence[Sequence[cirq.Result]]:
        self.sizes.append(len(programs))
        return self._sampler.run_batch(programs, params_list, repetitions)


@pytest.fixture
def recording(pool: SessionPool) -> Recording:
    return Recording(AzureSessionSampler(REMOTE, pool=pool, seed=1))


@pytest.fixture
def window() -> ManualClock:
    """The clock on which a batch waits for further calls: until it is advanced."""
    return ManualClock(auto_advance=False)


@pytest.fixture
def batching(recording: Recording, window: ManualClock) -> BatchingSampler:
    return BatchingSampler(recording, window=1.0, clock=window)


def depart(batching: BatchingSampler, window: ManualClock, calls: int) -> None:
    """Ends the window once so many calls wait in it."""
    wait_until(lambda: f"{calls} calls waiting" in repr(batching))
    # The batch, which the first call started before this, is asleep when this returns.
    background.loop.run(asyncio.sleep, 0)
    window.advance(1.0)


# Calls at the same time


def test_calls_of_threads_are_one_batch(
    batching: BatchingSampler, window: ManualClock, recording: Recording
) -> None:
    calls = [
        in_background(batching.run, ROTATION, {"angle": 0.5}, 7),
        in_background(batching.run, FLIP, None, 5),
        in_background(batching.run_sweep, ROTATION, [{"angle": 0.0}, {"angle": 1.0}], 3),
    ]
    depart(batching, window, 3)
    turned, flipped, sweep = (call.result(HANG_TIMEOUT) for call in calls)
    assert turned.params == cirq.ParamResolver({"angle": 0.5})
    assert turned.repetitions == 7
    assert flipped.measurements["m"].tolist() == [[1]] * 5
    assert [result.params.value_of("angle") for result in sweep] == [0.0, 1.0]
    assert recording.sizes == [3]


def test_calls_of_asyncio_and_duet_join_one_batch(
    batching: BatchingSampler, window: ManualClock, recording: Recording
) -> None:
    async def two_workers() -> list[cirq.Result]:
        return await asyncio.gather(*(batching.run_async(FLIP, None, n) for n in (1, 2)))

    async def alone() -> cirq.Result:
        return await batching.run_async(FLIP, None, 3)

    calls = in_background(asyncio.run, two_workers()), in_background(duet.run, alone)
    depart(batching, window, 3)
    one, two = calls[0].result(HANG_TIMEOUT)
    three = calls[1].result(HANG_TIMEOUT)
    assert [each.repetitions for each in (one, two, three)] == [1, 2, 3]
    assert recording.sizes == [3]


def test_batches_do_not_wait_for_each_other(window: ManualClock) -> None:
    meeting = threading.Barrier(2, timeout=HANG_TIMEOUT)

    class Meeting(cirq.Simulator):
        """Ends a batch when there is another in flight."""

        def run_batch(self, *arguments: Any) -> Sequence[Sequence[cirq.Result]]:
            meeting.wait()
            return super().run_batch(*arguments)

    batching = BatchingSampler(Meeting(), window=1.0, clock=window)
    first = in_background(batching.run, FLIP)
    depart(batching, window, 1)
    wait_until(lambda: "0 calls waiting" in repr(batching))
    second = in_background(batching.run, FLIP)
    depart(batching, window, 1)
    assert first.result(HANG_TIMEOUT) == second.result(HANG_TIMEOUT)


def test_only_the_caller_of_a_failed_job_gets_its_error(
    batching: BatchingSampler, window: ManualClock, server: EmulatorServer
) -> None:
    calls = [in_background(batching.run, FLIP, None, n) for n in (1, 2, 3)]
    server.faults.fail_job(code="InvalidInputData")
    depart(batching, window, 3)
    errors = [call.exception(HANG_TIMEOUT) for call in calls]
    (failed,) = filter(None, errors)
    assert isinstance(failed, JobFailed)
    assert failed.code == "InvalidInputData"


def test_only_the_caller_of_a_refused_circuit_gets_its_error(
    batching: BatchingSampler, window: ManualClock, server: EmulatorServer
) -> None:
    noisy = cirq.Circuit(cirq.depolarize(0.1)(QUBIT), cirq.measure(QUBIT, key="m"))
    good = [in_background(batching.run, FLIP) for _ in range(4)]
    refused = in_background(batching.run, noisy)
    depart(batching, window, 5)
    assert isinstance(refused.exception(HANG_TIMEOUT), UnsupportedProgram)
    assert [call.result(HANG_TIMEOUT).measurements["m"].tolist() for call in good] == [[[1]]] * 4
    assert server.requests["submit"] == 4


def test_interrupted_caller_leaves_the_others_their_results(
    batching: BatchingSampler, window: ManualClock, recording: Recording
) -> None:
    async def give_up() -> None:
        call = asyncio.ensure_future(batching.run_async(FLIP))
        while "2 calls waiting" not in repr(batching):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait({call})

    kept = in_background(batching.run, FLIP)
    in_background(asyncio.run, give_up()).result(HANG_TIMEOUT)
    window.advance(1.0)
    assert kept.result(HANG_TIMEOUT).measurements["m"].tolist() == [[1]]
    assert recording.sizes == [1]


def test_negative_window_is_refused(recording: Recording) -> None:
    with pytest.raises(ValueError, match="seconds, 0 or more"):
        BatchingSampler(recording, window=-1.0)


# Harnesses that call in a loop


def test_prefetched_results_are_returned_once_and_in_order(
    recording: Recording, server: EmulatorServer
) -> None:
    idle = cirq.Circuit(cirq.measure(QUBIT, key="m"))
    sampler = PrefetchedSampler(recording, [FLIP, idle, FLIP], [4, 5, 4])
    assert recording.sizes == [3]
    server.requests.clear()
    assert sampler.run(FLIP, repetitions=4).repetitions == 4
    assert sampler.run(FLIP, repetitions=4).repetitions == 4
    assert sampler.run(idle, repetitions=5).measurements["m"].tolist() == [[0]] * 5
    assert server.requests.total == 0
    # What is asked for once more, with other repetitions or with parameters runs then.
    sampler.run(FLIP, repetitions=4)
    sampler.run(idle, repetitions=6)
    sampler.run(ROTATION, {"angle": 0.5}, repetitions=4)
    assert server.requests["submit"] == 3
    assert recording.sizes == [3, 1, 1, 1]


def test_prefetched_repetitions_may_be_an_integer_of_numpy(recording: Recording) -> None:
    sampler = PrefetchedSampler(recording, [FLIP, FLIP], np.int64(4))
    assert sampler.run(FLIP, repetitions=4).repetitions == 4
    assert recording.sizes == [2]


def test_failed_circuit_ends_the_prefetch(recording: Recording, server: EmulatorServer) -> None:
    server.faults.fail_job(code="InvalidInputData")
    with pytest.raises(SweepError):
        PrefetchedSampler(recording, [FLIP, FLIP], 4)


@pytest.fixture
def execute() -> Any:
    """The loop of QED-C's module `execute`, under its names."""
    module = SimpleNamespace(backend=None, noise=None, batched_circuits=[], results=[])

    def execute_circuits() -> None:
        for each in module.batched_circuits:
            module.results.append(module.backend.run(each["qc"], repetitions=each["shots"]))
        module.batched_circuits.clear()

    module.execute_circuits = execute_circuits
    return module


def test_circuits_of_a_step_of_qedc_are_one_batch(execute: Any, recording: Recording) -> None:
    batch_qedc(execute)
    execute.backend = recording
    for shots in ([3, 4], [5, 6, 7]):
        execute.batched_circuits += [{"qc": FLIP, "shots": count} for count in shots]
        execute.execute_circuits()
    assert recording.sizes == [2, 3]
    assert [result.repetitions for result in execute.results] == [3, 4, 5, 6, 7]
    assert execute.backend is recording


def test_noisy_circuits_of_qedc_run_as_they_did(execute: Any) -> None:
    local = Recording(cirq.Simulator(seed=1))
    batch_qedc(execute)
    execute.backend, execute.noise = local, cirq.depolarize(0.01)
    execute.batched_circuits += [{"qc": FLIP, "shots": 3}] * 2
    execute.execute_circuits()
    assert local.sizes == [1, 1]


def test_experiment_of_supermarq_is_one_batch(recording: Recording) -> None:
    qcvv = pytest.importorskip("supermarq.qcvv")
    experiment = qcvv.IRB(num_circuits=2, cycle_depths=[1, 3], random_seed=7)
    results = run_experiment(experiment, recording, 200)
    results.analyze(plot_results=False, print_results=False)
    assert recording.sizes == [len(experiment.samples)]
    # Without noise every circuit returns to its beginning.
    assert results.average_interleaved_gate_error == pytest.approx(0.0, abs=1e-9)


def test_groups_of_an_observable_are_one_batch(recording: Recording) -> None:
    mitiq = pytest.importorskip("mitiq")
    # mitiq numbers qubits in their order, whatever their own numbers are.
    a, b, c = cirq.LineQubit(7), cirq.LineQubit(3), cirq.LineQubit(9)
    circuit = cirq.Circuit(cirq.X(c), cirq.H(a), cirq.CNOT(a, b))
    executor = mitiq.Executor(mitiq_executor(recording, 100))
    terms = [mitiq.PauliString(*term) for term in (("ZZI", 4.0), ("XXI", 2.0), ("IIZ", 1.0))]
    (value,) = executor.evaluate(circuit, mitiq.Observable(*terms))
    assert value == pytest.approx(4.0 + 2.0 - 1.0)
    assert recording.sizes == [2]


def test_extrapolation_is_one_batch_and_reduces_the_error(pool: SessionPool) -> None:
    mitiq = pytest.importorskip("mitiq")
    a, b = cirq.LineQubit.range(2)
    circuit = cirq.Circuit([cirq.CNOT(a, b)] * 10, cirq.X(a))
    observable = mitiq.Observable(mitiq.PauliString("ZZ"))
    noise = {"noise": {"model": "aria-1", "seed": 1}}
    sampler = Recording(AzureSessionSampler(REMOTE, pool=pool, seed=1, input_params=noise))
    executor = mitiq_executor(sampler, 10_000)
    raw = mitiq.Executor(executor).evaluate(circuit, observable)[0]
    mitigated = mitiq.zne.execute_with_zne(circuit, executor, observable)
    # Seeds make both the same in every run.
    assert abs(mitigated + 1.0) < abs(raw + 1.0)
    assert sampler.sizes == [1, 3]
