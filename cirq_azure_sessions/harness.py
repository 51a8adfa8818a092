"""Adapters that run the circuits of a benchmark harness in one batch.

Most harnesses call `sampler.run` in a loop, and wait for each result before the next call. The
adapters pass all of their circuits to `run_batch` at once. Two of them work with any harness, and
three with well-known ones, which need not be installed to import this module.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

import cirq
import numpy as np

from cirq_azure_sessions import background, process
from cirq_azure_sessions.clock import Clock, SystemClock
from cirq_azure_sessions.errors import SweepError, UnsupportedProgram
from cirq_azure_sessions.executor import DaemonExecutor
from cirq_azure_sessions.formats.checks import as_resolvers
from cirq_azure_sessions.options import AMOUNT, checked
from cirq_azure_sessions.results.sweep_results import error_of_point

if TYPE_CHECKING:
    from mitiq import MeasurementResult

__all__ = ["BatchingSampler", "PrefetchedSampler", "batch_qedc", "mitiq_executor", "run_experiment"]

# The program, parameters and repetitions of a call of `run_sweep`.
_Arguments = tuple[cirq.AbstractCircuit, cirq.Sweepable, int]

# The maximum number of batches in flight; a thread waits for each.
_MAX_BATCHES = 64

_CIRCUITS = (
    "a list of circuits",
    lambda value: (
        isinstance(value, Sequence)
        and all(isinstance(each, cirq.AbstractCircuit) for each in value)
    ),
)
_REPETITIONS = "an integer", lambda value: isinstance(value, Integral)


class BatchingSampler(cirq.Sampler):
    """A sampler that combines simultaneous calls into one `run_batch`.

    Threads, asyncio and duet may share it: a call that is made while another is waiting joins its
    batch. Each caller gets the results of its own circuit, or its error. If a caller is
    interrupted, the batch continues for the others.

    Args:
        sampler: The sampler whose `run_batch` is called.
        window: Seconds that the first call of a batch waits for others.
        clock: The clock for this wait.

    Raises:
        ValueError: If `window` is negative.
    """

    @checked(window=AMOUNT)
    def __init__(
        self, sampler: cirq.Sampler, *, window: float = 0.01, clock: Clock | None = None
    ) -> None:
        self._sampler = sampler
        self._window = window
        self._clock: Clock = clock or SystemClock()
        self._workers = DaemonExecutor(_MAX_BATCHES, name="batching-sampler")
        self._after_fork()
        process.register(self)

    def _after_fork(self) -> None:
        # State: the calls that wait for the next batch, and the batches in flight. Accessed only on
        # the background loop.
        self._waiting: list[tuple[_Arguments, asyncio.Future[Sequence[cirq.Result]]]] = []
        self._batches: set[asyncio.Task[None]] = set()

    def run_sweep(
        self, program: cirq.AbstractCircuit, params: cirq.Sweepable, repetitions: int = 1
    ) -> Sequence[cirq.Result]:
        """The sampler's `run_sweep`, combined with simultaneous calls."""
        return background.loop.run(self._join, (program, params, repetitions))

    async def run_sweep_async(
        self, program: cirq.AbstractCircuit, params: cirq.Sweepable, repetitions: int = 1
    ) -> Sequence[cirq.Result]:
        """`run_sweep` for asyncio and duet."""
        return await background.loop.start(self._join, (program, params, repetitions))

    def run(
        self,
        program: cirq.AbstractCircuit,
        param_resolver: cirq.ParamResolverOrSimilarType = None,
        repetitions: int = 1,
    ) -> cirq.Result:
        """The sampler's `run`, combined with simultaneous calls; raises the point's own error."""
        [resolver, *_] = as_resolvers("param_resolver", param_resolver, min_points=1)
        with error_of_point():
            return self.run_sweep(program, resolver, repetitions)[0]

    async def run_async(
        self,
        program: cirq.AbstractCircuit,
        param_resolver: cirq.ParamResolverOrSimilarType = None,
        repetitions: int = 1,
    ) -> cirq.Result:
        """`run` for asyncio and duet."""
        [resolver, *_] = as_resolvers("param_resolver", param_resolver, min_points=1)
        with error_of_point():
            return (await self.run_sweep_async(program, resolver, repetitions))[0]

    def run_batch(
        self,
        programs: Sequence[cirq.AbstractCircuit],
        params_list: Sequence[cirq.Sweepable] | None = None,
        repetitions: int | Sequence[int] = 1,
    ) -> Sequence[Sequence[cirq.Result]]:
        """The sampler's own `run_batch`, which is a batch already."""
        return self._sampler.run_batch(programs, params_list, repetitions)

    async def run_batch_async(
        self,
        programs: Sequence[cirq.AbstractCircuit],
        params_list: Sequence[cirq.Sweepable] | None = None,
        repetitions: int | Sequence[int] = 1,
    ) -> Sequence[Sequence[cirq.Result]]:
        """`run_batch` for asyncio and duet."""
        return await self._sampler.run_batch_async(programs, params_list, repetitions)

    def __repr__(self) -> str:
        return (
            f"<BatchingSampler of {self._sampler!r}: {len(self._waiting)} calls waiting, "
            f"{len(self._batches)} batches in flight>"
        )

    # On the background loop

    async def _join(self, arguments: _Arguments) -> Sequence[cirq.Result]:
        results: asyncio.Future[Sequence[cirq.Result]] = asyncio.get_running_loop().create_future()
        self._waiting.append((arguments, results))
        if len(self._waiting) == 1:
            batch = asyncio.ensure_future(self._run_next_batch())
            self._batches.add(batch)
            batch.add_done_callback(self._batches.discard)
        return await results

    async def _run_next_batch(self) -> None:
        await self._clock.sleep(self._window)
        # Nobody would want to pay for calls that were interrupted in the meantime.
        calls = [(arguments, results) for arguments, results in self._waiting if not results.done()]
        self._waiting = []
        work = self._workers.submit(_outcomes, self._sampler, [arguments for arguments, _ in calls])
        outcomes = await asyncio.wrap_future(work)
        for (_, results), outcome in zip(calls, outcomes, strict=True):
            if results.done():
                continue
            if isinstance(outcome, BaseException):
                results.set_exception(outcome)
            else:
                results.set_result(outcome)


def _outcomes(
    sampler: cirq.Sampler, calls: Sequence[_Arguments]
) -> Sequence[Sequence[cirq.Result] | BaseException]:
    """Runs calls as one batch; the results or the error of each."""
    try:
        return sampler.run_batch(*map(list, zip(*calls, strict=True))) if calls else []
    except SweepError as error:
        batch: Sequence[Any] = error.results
        return [error.failures.get(index, results) for index, results in enumerate(batch)]
    except (TypeError, UnsupportedProgram, ValueError) as error:
        # One of the calls was refused before anything was sent: run the others without it.
        if len(calls) == 1:
            return [error]
        half = len(calls) // 2
        return [*_outcomes(sampler, calls[:half]), *_outcomes(sampler, calls[half:])]
    except BaseException as error:
        return [error] * len(calls)


class PrefetchedSampler(cirq.Sampler):
    """A sampler that runs a list of circuits in one batch, for a harness that runs them in a loop.

    Each result is returned once, so that samples stay independent. If the harness runs a circuit
    that is not in the list, or more often than it occurs there, the circuit is run then.

    Args:
        sampler: The sampler that runs the circuits, as soon as this object is created.
        circuits: The circuits that the harness will run, in any order.
        repetitions: The repetitions of every circuit, or a list with those of each.

    Raises:
        SweepError: If circuits failed, as in `run_batch`.
    """

    @checked(circuits=_CIRCUITS)
    def __init__(
        self,
        sampler: cirq.Sampler,
        circuits: Sequence[cirq.AbstractCircuit],
        repetitions: int | Sequence[int],
    ) -> None:
        self._sampler = sampler
        # State: the results that have not been returned yet.
        self._results: dict[Any, list[Sequence[cirq.Result]]] = defaultdict(list)
        counts: Any = repetitions
        if isinstance(repetitions, Integral):
            counts = [repetitions] * len(circuits)
        batch = sampler.run_batch(circuits, repetitions=counts)
        # Results are popped from the end.
        for circuit, count, results in reversed(list(zip(circuits, counts, batch, strict=True))):
            self._results[circuit.freeze(), count].append(results)

    def run_sweep(
        self, program: cirq.AbstractCircuit, params: cirq.Sweepable, repetitions: int = 1
    ) -> Sequence[cirq.Result]:
        """The prefetched results, or those of the sampler's `run_sweep` if there are none."""
        is_bare = as_resolvers("params", params) == [cirq.ParamResolver()]
        # The sampler refuses invalid circuits and numbers.
        is_prefetched = (
            is_bare
            and isinstance(program, cirq.AbstractCircuit)
            and isinstance(repetitions, Integral)
        )
        ready = self._results.get((program.freeze(), repetitions)) if is_prefetched else None
        return ready.pop() if ready else self._sampler.run_sweep(program, params, repetitions)


@checked(
    experiment=("a QCVVExperiment", lambda value: hasattr(value, "run_with_simulator")),
    repetitions=_REPETITIONS,
)
def run_experiment(experiment: Any, sampler: cirq.Sampler, repetitions: int = 10_000) -> Any:
    """Runs an experiment of supermarq's `qcvv`, such as `IRB`, in one batch.

    Args:
        experiment: The `QCVVExperiment`.
        sampler: The sampler for its circuits.
        repetitions: The repetitions of each circuit.

    Returns:
        The return value of its `run_with_simulator`.

    Raises:
        SweepError: If circuits failed.
    """
    circuits = [sample.circuit for sample in experiment.samples]
    prefetched = PrefetchedSampler(sampler, circuits, repetitions)
    return experiment.run_with_simulator(prefetched, repetitions)


@checked(execute=("the module execute", lambda value: hasattr(value, "execute_circuits")))
def batch_qedc(execute: Any) -> None:
    """Makes the Cirq benchmarks of QED-C run the circuits of each step in one batch.

    Args:
        execute: Their module `execute`. It is changed, for any sampler that is passed as
            `provider_backend`.
    """
    execute_one_by_one = execute.execute_circuits

    def execute_circuits() -> None:
        sampler, submitted = execute.backend, execute.batched_circuits
        # With noise, the module transforms the circuits.
        if execute.noise is None:
            circuits, shots = (
                [each["qc"] for each in submitted],
                [each["shots"] for each in submitted],
            )
            execute.backend = PrefetchedSampler(sampler, circuits, shots)
        try:
            execute_one_by_one()
        finally:
            execute.backend = sampler

    execute.execute_circuits = execute_circuits


@checked(repetitions=_REPETITIONS)
def mitiq_executor(
    sampler: cirq.Sampler, repetitions: int
) -> Callable[[Sequence[cirq.Circuit]], list[MeasurementResult]]:
    """A batched executor for mitiq: all circuits of a technique in one `run_batch`.

    Args:
        sampler: The sampler for the circuits.
        repetitions: The repetitions of each circuit.

    Returns:
        A function for `mitiq.Executor`, and for every function of mitiq that takes an executor. It
        returns bits, so these functions need an observable.
    """
    from mitiq import MeasurementResult

    def execute(circuits: Sequence[cirq.Circuit]) -> list[MeasurementResult]:
        batch = sampler.run_batch(circuits, repetitions=repetitions)
        return [_bits(circuit, result) for circuit, (result,) in zip(circuits, batch, strict=True)]

    def _bits(circuit: cirq.Circuit, result: cirq.Result) -> MeasurementResult:
        # mitiq numbers the qubits of a circuit in sorted order.
        index = {qubit: number for number, qubit in enumerate(sorted(circuit.all_qubits()))}
        measured = [op for op in circuit.all_operations() if cirq.is_measurement(op)]
        bits = [result.measurements[cirq.measurement_key_name(op)] for op in measured]
        return MeasurementResult(
            np.hstack(bits).tolist(), tuple(index[qubit] for op in measured for qubit in op.qubits)
        )

    # mitiq reads this annotation to see whether an executor takes many circuits; it cannot be a
    # string.
    execute.__annotations__["return"] = list[MeasurementResult]
    return execute
