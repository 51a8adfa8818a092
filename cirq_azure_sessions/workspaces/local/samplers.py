"""The samplers behind `local.*` targets.

The payload of their jobs is a `LocalProgram`: a whole sweep, which runs in one call of a sampler's
`run_sweep`, or, with an executor, is split by points.
"""

from __future__ import annotations

import functools
import importlib
import math
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Executor, Future
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from cirq_azure_sessions import upstream
from cirq_azure_sessions.errors import UnsupportedProgram
from cirq_azure_sessions.executor import DaemonExecutor
from cirq_azure_sessions.installation import BUILT_IN_TARGETS
from cirq_azure_sessions.model import JobRequest, LocalProgram
from cirq_azure_sessions.workspaces.local.callers import (
    JobThreads,
    calling_jobs,
    run_for,
    with_callers,
)

if TYPE_CHECKING:
    import cirq

__all__ = [
    "LIKE",
    "Machine",
    "SamplerFactory",
    "local_machines",
]

# Starts a job of some target; the future returns its output.
Machine = Callable[[JobRequest], "Future[Any]"]
# Makes a sampler that draws from `seed`, a `numpy.random.RandomState`. It is called with that
# keyword, so that a simulator class can be used.
SamplerFactory = Callable[..., "cirq.Sampler"]

# The prefix of targets that sample with the published noise of another target.
LIKE = "local.like:"
# Samplers that take no seed and seed themselves; their sweeps are not split.
_UNSEEDED = {"local.stim"}

# Chunks of a sweep per worker, or more if a chunk would exceed the maximum number of points. With
# two, a worker returns its first chunk while the second is queued; each further round costs about
# 10 ms on a Dask cluster.
_CHUNKS_PER_WORKER = 2
_MAX_POINTS_PER_CHUNK = 64
# The assumed number of workers of an executor that does not report it.
_MANY_WORKERS = 16
# How many jobs may be on an executor at once; a thread waits for each.
_MAX_JOBS_AT_EXECUTOR = 128


def local_machines(
    samplers: Mapping[str, cirq.Sampler | SamplerFactory], executor: Executor | None
) -> dict[str, Machine]:
    """The machines of the built-in targets and of the given samplers, by target.

    A sampler instance runs its sweeps unsplit in this process, even with an executor: it has its
    own random generator, and copies of it in several processes would draw the same samples.
    """
    machines = {target: _in_order(partial(_run_unseeded, target)) for target in _UNSEEDED}
    factories: dict[str, SamplerFactory] = {
        target: partial(_make_built_in, target) for target in BUILT_IN_TARGETS.keys() - _UNSEEDED
    }
    factories[LIKE] = _make_noisy
    for target, sampler in samplers.items():
        if callable(sampler):
            factories[target] = sampler
        else:
            factories.pop(target, None)
            machines[target] = _in_order(partial(_run_whole, sampler))
    for target, make in factories.items():
        if executor is None:
            machines[target] = _in_order(partial(_run_program, make))
        else:
            machines[target] = _split(make, executor)
    return machines


def _make_built_in(target: str, **seed: Any) -> cirq.Sampler:
    _, module, name = BUILT_IN_TARGETS[target]
    return cast("cirq.Sampler", getattr(importlib.import_module(module), name)(**seed))


def _make_noisy(**seed: Any) -> cirq.Sampler:
    from cirq_azure_sessions.workspaces.local.noisy import NoisySimulator

    return NoisySimulator(**seed)


def _in_order(run: Callable[[LocalProgram], list[cirq.Result]]) -> Machine:
    """A machine that runs one job at a time, in order of submission.

    Samplers need not be thread-safe, so none is called from two threads at once.
    """
    worker = DaemonExecutor(name="local-sampler")

    def start(request: JobRequest) -> Future[Any]:
        return worker.submit(run_for, with_callers(request), run, request.payload)

    return start


def _run_program(make: SamplerFactory, program: LocalProgram) -> list[cirq.Result]:
    """Runs a sweep with new samplers: with a seed, one for each point."""
    import numpy as np

    if program.seed is not None:
        return _run_points(_Shared(make, program, program.seed), program.params, 0)
    # Not NumPy's global generator, which draws the same numbers in every forked child.
    return _run_whole(make(seed=np.random.RandomState()), program)


def _run_unseeded(target: str, program: LocalProgram) -> list[cirq.Result]:
    """Runs a sweep with a built-in sampler that takes no seed."""
    if program.seed is not None:
        raise UnsupportedProgram(f"{target!r} does not accept a seed: leave it out.")
    return _run_whole(_make_built_in(target), program)


def _run_whole(sampler: cirq.Sampler, program: LocalProgram) -> list[cirq.Result]:
    return _sample(sampler, program, program.params, *_measured_keys(program.circuit))


def _measured_keys(circuit: cirq.AbstractCircuit) -> tuple[Mapping[str, int], Set[str]]:
    """The keys that results must have, with the dimensions of their outcomes, and all keys."""
    import cirq

    # Asking Cirq takes longer than all else, and most gates are unitary ones of Cirq's own.
    operations = [
        op
        for op in circuit.all_operations()
        if type(op) is not cirq.GateOperation
        or not isinstance(op.gate, cirq.EigenGate)
        or not _is_cirqs(op.gate)
    ]
    # The key of a channel or of a conditional measurement is optional.
    gates = cirq.MeasurementGate | cirq.PauliMeasurementGate
    needed = {
        key: max(cirq.qid_shape(op))
        for op in operations
        if isinstance(op.gate, gates)
        for key in cirq.measurement_key_names(op)
    }
    # Gates of the user's own may measure in their parts without saying so.
    own = [op for op in operations if op.gate is not None and not _is_cirqs(op.gate)]
    parts = cirq.decompose(own, keep=cirq.has_unitary, on_stuck_raise=None)
    return needed, set().union(*map(cirq.measurement_key_names, [*operations, *parts]))


def _is_cirqs(gate: cirq.Gate) -> bool:
    return type(gate).__module__.startswith("cirq.")


def _sample(
    sampler: cirq.Sampler,
    program: LocalProgram,
    params: Sequence[cirq.ParamResolver],
    needed: Mapping[str, int],
    keys: Set[str],
) -> list[cirq.Result]:
    """The results of a program at some points, checked to have all `needed` keys.

    Raises:
        TypeError, ValueError: If the sampler returns something else.
    """
    import cirq

    name, repetitions = type(sampler).__name__, program.repetitions
    # A copy, since the caller's circuit is not this sampler's to change.
    results = sampler.run_sweep(program.circuit[:], list(params), repetitions)
    if not isinstance(results, Iterable):
        raise TypeError(f"{name}.run_sweep returned {type(results).__name__}, not a list.")
    # Some samplers return a generator, which may have no end.
    results = list(islice(results, len(params) + 1))
    for result in results:
        if not isinstance(result, cirq.Result):
            raise TypeError(
                f"{name}.run_sweep returned a list with {type(result).__name__}, not cirq.Result."
            )
        try:
            records = result.records
        except Exception as error:
            raise TypeError(
                f"{name}.run_sweep returned a result without records: {error}"
            ) from error
        if not needed.keys() <= set(records) <= keys:
            raise ValueError(
                f"{name}.run_sweep returned the keys {sorted(records)} for a circuit that measures "
                f"{sorted(keys)}."
            )
        for key, record in records.items():
            kind = getattr(record, "dtype", None)
            shape: tuple[int, ...] = getattr(record, "shape", ())
            if getattr(kind, "kind", "") not in ("b", "i", "u") or len(shape) != 3:
                raise TypeError(
                    f"{name}.run_sweep returned an array of {kind} in {len(shape)} dimensions for "
                    f"the key {key!r}, not of integers in three."
                )
            if shape[0] != repetitions:
                raise ValueError(
                    f"{name}.run_sweep returned {shape[0]} repetitions of the key {key!r}, not "
                    f"{repetitions}."
                )
            dimension = needed.get(key, math.inf)
            if record.size and not 0 <= record.min() <= record.max() < dimension:
                raise ValueError(
                    f"{name}.run_sweep returned outcomes from {record.min()} to {record.max()} of "
                    f"the key {key!r}, whose qubits have {dimension} states."
                )
    if len(results) != len(params):
        more = "at least " if len(results) > len(params) else ""
        raise ValueError(
            f"{name}.run_sweep must return one result per point, {len(params)}, not "
            f"{more}{len(results)}."
        )
    # Some samplers resolve the circuit themselves and return results without parameters.
    pairs = zip(results, params, strict=True)
    other = next((result.params for result, asked in pairs if result.params != asked), None)
    if other is not None and other in params:
        raise ValueError(f"{name}.run_sweep returned results in the wrong order.")
    return results


def _split(make: SamplerFactory, executor: Executor) -> Machine:
    """A machine that splits each sweep into chunks of points for the executor's workers.

    The samples depend neither on the chunks nor on the workers, because each point has its own
    random generator.
    """
    threads = JobThreads(_MAX_JOBS_AT_EXECUTOR, name="local-executor")

    def start(request: JobRequest) -> Future[Any]:
        if calling_jobs():
            # The workers may all be waiting for this one.
            return threads.submit(request, _run_program, make, request.payload)
        work = _SplitWork()
        split = partial(_run_split, make, executor, request.payload, work.chunks)
        return threads.submit(request, split, future=work)

    return start


class _SplitWork(Future[Any]):
    """The future of a sweep in chunks; cancelling it cancels the pending chunks."""

    def __init__(self) -> None:
        super().__init__()
        self.chunks: list[Future[Any]] = []

    def cancel(self) -> bool:
        for chunk in self.chunks:
            chunk.cancel()
        return super().cancel()


def _run_split(
    make: SamplerFactory, executor: Executor, program: LocalProgram, chunks: list[Future[Any]]
) -> list[cirq.Result]:
    import numpy as np

    # Fresh entropy is drawn once for all chunks, which know nothing of each other.
    shared = _Shared(make, program, np.random.SeedSequence(program.seed).entropy)
    workers = upstream.num_workers(executor) or _MANY_WORKERS
    for cut in _cuts(len(program.params), workers):
        chunks.append(executor.submit(_run_points, shared, program.params[cut], cut.start))
    try:
        return [result for chunk in chunks for result in chunk.result()]
    finally:
        # After an error, do not start the remaining chunks.
        for chunk in chunks:
            chunk.cancel()


def _cuts(count: int, workers: int) -> Iterator[slice]:
    size = min(math.ceil(count / (_CHUNKS_PER_WORKER * workers)), _MAX_POINTS_PER_CHUNK) or 1
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


class _Shared:
    """The shared part of a sweep's chunks: pickled once, and loaded once by each worker process."""

    def __init__(self, make: SamplerFactory, program: LocalProgram, entropy: Any) -> None:
        self.make = make
        self.program = replace(program, params=())
        self.entropy = entropy
        # Other processes cannot reach what these jobs keep waiting.
        self.callers = calling_jobs()

    @functools.cached_property
    def _pickled(self) -> bytes:
        return _dumps((self.make, self.program, self.entropy))

    def __reduce__(self) -> tuple[Any, ...]:
        return _read_shared, (self._pickled,)


@functools.lru_cache(maxsize=8)
def _read_shared(pickled: bytes) -> _Shared:
    return _Shared(*pickle.loads(pickled))


def _dumps(value: object) -> bytes:
    """Pickles with cloudpickle if installed (Dask needs it), for definitions in notebooks."""
    try:
        import cloudpickle as pickler
    except ImportError:
        pickler = pickle
    return cast(bytes, pickler.dumps(value))


def _run_points(
    shared: _Shared, params: Sequence[cirq.ParamResolver], first: int
) -> list[cirq.Result]:
    """Runs some points of a sweep, in any process; `first` is the index of the first one.

    Each has its own random generator, seeded with its index and the entropy of the sweep.
    """
    import numpy as np

    program = shared.program
    results: list[cirq.Result] = []
    needed, keys = _measured_keys(program.circuit)
    for index, resolver in enumerate(params, first):
        seeds = np.random.SeedSequence(shared.entropy, spawn_key=(index,))
        sampler = shared.make(seed=np.random.RandomState(np.random.MT19937(seeds)))
        results += run_for(shared.callers, _sample, sampler, program, [resolver], needed, keys)
    return results
