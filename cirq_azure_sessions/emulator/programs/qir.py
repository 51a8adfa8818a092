"""Runs QIR programs (`qir.v1`), in text or bitcode; results have Azure's generic formats.

Programs that are plain circuits, as every program of the base profile is, run like those of other
languages, since qdk simulates each shot separately. qdk runs all others. Recorded values are Python
objects: a result is 0 or 1, an array a list, and a tuple a tuple.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import cirq
import numpy as np

from cirq_azure_sessions.emulator import qir_worker
from cirq_azure_sessions.emulator.programs import ionq
from cirq_azure_sessions.emulator.programs.program import (
    Output,
    read_shots,
    take_census,
    untranslatable,
)
from cirq_azure_sessions.emulator.programs.qir_pool import QirPool
from cirq_azure_sessions.emulator.programs.quantinuum import is_syntax_checker, read_noise
from cirq_azure_sessions.noise import MachineNoise, is_silent
from cirq_azure_sessions.openqasm.gates import COMMON, LIBRARIES
from cirq_azure_sessions.workspaces.local.engine import Engine
from cirq_azure_sessions.workspaces.local.program import Budget, Statement, invalid_input

__all__ = ["run"]

# The SDK's limit on the items of a batch.
_MAX_ITEMS = 1_000

# The cost of a call, and of one that records per shot, in units of the budget.
_CALL = 3_000
_RECORD = 20

# Bytes per shot of a recorded result, and per distinct value of an array or tuple.
_RESULT_SIZE = 10
_ARRAY_SIZE = 200

# Maximum nesting depth of arrays and tuples.
_MAX_DEPTH = 50

_PREFIX = "__quantum__qis__"
_LIBRARY = LIBRARIES["hqslib1.inc"]
_GATES = {
    **{
        f"{name}__body": _LIBRARY[name]
        for name in (*COMMON, "sx", "cx", "cy", "rxx", "ryy", "rzz", "ccx")
    },
    "cnot__body": _LIBRARY["cx"],
    "s__adj": _LIBRARY["sdg"],
    "t__adj": _LIBRARY["tdg"],
}
_MEASUREMENTS = ("m__body", "mz__body", "mresetz__body")
_WITHOUT_EFFECT = ("__quantum__rt__initialize", "__quantum__rt__read_result")

_POOL = QirPool()


def run(
    engine: Engine,
    target: str,
    provider: str,
    payload: bytes,
    params: Mapping[str, Any],
    output_format: str,
) -> Output:
    """Runs a program, or each of the `items` of a batch: only V2 results can hold several."""
    if output_format not in _DOCUMENTS:
        raise untranslatable(provider)
    entry_points = _entry_points(params)
    if len(entry_points) > 1 and output_format != "microsoft.quantum-results.v2":
        raise untranslatable(provider)
    shots = read_shots(params, provider)
    if provider == "quantinuum":
        engine = replace(engine, noise=read_noise(params, engine.noise))
    noise, rng, budget = engine.noise, engine.rng, engine.budget
    loss = noise.loss if isinstance(noise, MachineNoise) else 0.0
    results, operations = [], []
    for entry_point in entry_points:
        module = _POOL.run(budget, qir_worker.read, payload, entry_point)
        program = _Program(module, budget, shots)
        operations += program.operations + program.measurements
        if provider == "ionq":
            values = _run_on_ionq(engine, target, program, params, shots)
        elif not program.obstacles:
            values = _run_circuit(engine, program, shots)
        else:
            rates = None if is_silent(noise) else _rates(noise)
            seed = int(rng.integers(1 << 32))
            values = _POOL.run(budget, qir_worker.run, payload, entry_point, shots, seed, rates)
        if loss:
            # "-" marks a lost qubit in place of a result, as in the SDK's tests.
            values = [
                _map(lambda bit: "-" if rng.random() < loss else bit, value) for value in values
            ]
        if is_syntax_checker(target):
            values = [_map(lambda leaf: type(leaf)(0), value) for value in values]
        results.append(values)
    document = json.dumps(_DOCUMENTS[output_format](results), separators=(",", ":"))
    return Output(document.encode(), take_census(operations))


def _entry_points(params: Mapping[str, Any]) -> list[str | None]:
    """The entry points to run: that of each item, or a single one. None means the only one."""
    items = params.get("items", [{}])
    if not isinstance(items, list) or not 1 <= len(items) <= _MAX_ITEMS:
        raise invalid_input(f"items has to be a list of 1 to {_MAX_ITEMS} objects.")
    entry_points = []
    for item in items:
        if not isinstance(item, Mapping):
            raise invalid_input("An item has to be an object.")
        entry_point = item.get("entryPoint", params.get("entryPoint"))
        if not isinstance(entry_point, str | None):
            raise invalid_input("entryPoint has to be a name.")
        # Current compilers compile arguments into the QIR, and qdk accepts none.
        if item.get("arguments", params.get("arguments")):
            raise invalid_input("The emulator runs entry points without arguments only.")
        entry_points.append(entry_point)
    return entry_points


def _rates(noise: cirq.NoiseModel) -> qir_worker.Rates:
    if not isinstance(noise, MachineNoise):
        raise invalid_input("QIR with branches runs with a MachineNoise only, or with none.")
    return noise.one_qubit, noise.two_qubit, noise.readout


def _run_circuit(engine: Engine, program: _Program, shots: int) -> list[Any]:
    measured = sorted({each.qubits[0] for each in program.measurements})
    keys = [f"{qubit}" for qubit in measured]
    statements = [Statement([*program.operations, *program.measurements])]
    rows = engine.sample(statements, keys, shots)
    # There are few distinct rows, so each is converted only once.
    values: dict[bytes, Any] = {}
    for row in rows:
        if row.tobytes() not in values:
            values[row.tobytes()] = program.value(dict(zip(measured, row.tolist(), strict=True)))
    return [values[row.tobytes()] for row in rows]


def _run_on_ionq(
    engine: Engine, target: str, program: _Program, params: Mapping[str, Any], shots: int
) -> list[Any]:
    """The shots reconstructed from IonQ's histogram of all qubits, ordered by outcome.

    The service rounds the count of each outcome: a recorded job of 500 shots whose qubits had four
    outcomes of probability 1/4 has 125 shots of each, in the order of the histogram, and one of
    1,000 shots with 32 equal outcomes has 31 of each, 992 in all.
    """
    if program.obstacles:
        raise invalid_input(f"The target does not run {program.obstacles[0]}.")
    # Compilers number qubits from 0, and declare none that they do not use.
    num_qubits = program.num_qubits
    if num_qubits > ionq.machine_size(target):
        raise invalid_input(f"The target has {ionq.machine_size(target)} qubits.")
    shares = ionq.histogram(engine, program.operations, num_qubits, target, params)
    exact = np.array(list(shares.values())) * shots
    counts = np.rint(exact).astype(np.int64)
    if not counts.any():
        # Nothing is recorded of shares that are all too small to count: the largest have one each.
        counts[np.argsort(-exact, kind="stable")[:shots]] = 1
    values = (
        program.value({q: outcome >> q.x & 1 for q in cirq.LineQubit.range(num_qubits)})
        for outcome in shares
    )
    return [
        value for value, count in zip(values, counts.tolist(), strict=True) for _ in range(count)
    ]


class _Program:
    """A program, as a circuit if it is one: gates, then measurements, then the recorded values.

    Args:
        program: The result of `qir_worker.read`.
        budget: That of the job, from which the recorded values of its shots are taken.

    Attributes:
        num_qubits: How many the program declares.
        obstacles: Why the program is not a circuit, such as a branch. If there are any, the other
            attributes serve only to count.
        operations: The gates.
        measurements: The measurements, each with its qubit as the key.
    """

    def __init__(self, program: Mapping[str, Any], budget: Budget, shots: int) -> None:
        self.num_qubits: int = program["qubits"]
        self._num_results: int = program["results"]
        self.obstacles = [] if program["is_list"] else ["branches"]
        self.operations: list[cirq.Operation] = []
        self.measurements: list[cirq.Operation] = []
        self._measured: set[cirq.LineQubit] = set()
        self._qubit_of: dict[int, cirq.LineQubit] = {}
        records: list[tuple[str, Any]] = []
        budget.spend(_CALL * len(program["calls"]))
        for name, *args in program["calls"]:
            if name.startswith(_PREFIX):
                self._add(name.removeprefix(_PREFIX), args)
            elif name.endswith("_record_output"):
                kind = name.removeprefix("__quantum__rt__").removesuffix("_record_output")
                records.append((kind, args[0]))
            elif name not in _WITHOUT_EFFECT:
                self.obstacles.append(f"calls of {name[:30]}")
        # The recorded value, with the measured qubit in place of each result.
        self._template: Any = ()
        if records and not self.obstacles:
            self._template = self._read_record(iter(records))
        num_results = sum(kind == "result" for kind, _ in records)
        budget.spend(_RECORD * shots * len(records))
        budget.hold(_RESULT_SIZE * shots * max(self._num_results, num_results))
        # Shots with equal bits share one value.
        different = shots if self.obstacles else min(shots, 2 ** len(self._measured))
        budget.hold(_ARRAY_SIZE * different * (len(records) - num_results))

    def value(self, bits: Mapping[Any, int]) -> Any:
        """The value that the program records when the measured qubits have these bits."""
        return _map(bits.__getitem__, self._template)

    def _add(self, name: str, args: Sequence[Any]) -> None:
        if name in _MEASUREMENTS:
            qubit = self._qubit(args[0])
            self._measured.add(qubit)
            self.measurements.append(cirq.measure(qubit, key=str(qubit)))
            self._qubit_of[_index(args[1], self._num_results)] = qubit
        elif name in _GATES:
            self._add_gate(name, args)
        elif name != "barrier__body":
            self.obstacles.append(f"the operation {name[:30]}")

    def _add_gate(self, name: str, args: Sequence[Any]) -> None:
        kind = _GATES[name]
        params = args[: kind.num_params]
        qubits = [self._qubit(arg) for arg in args[kind.num_params :]]
        if not all(isinstance(param, float) and math.isfinite(param) for param in params):
            raise invalid_input("The parameters of a gate have to be finite numbers.")
        if len(qubits) != kind.num_qubits or len(set(qubits)) < len(qubits):
            raise invalid_input("A gate needs the right number of qubits, all different.")
        if not set(qubits).isdisjoint(self._measured):
            self.obstacles.append("gates on qubits that were measured")
        self.operations.append(kind.make(*params).on(*qubits))

    def _qubit(self, number: Any) -> cirq.LineQubit:
        return cirq.LineQubit(_index(number, self.num_qubits))

    def _read_record(self, records: Iterator[tuple[str, Any]], depth: int = 0) -> Any:
        kind, number = next(records, ("nothing", None))
        if kind == "result" and number in self._qubit_of:
            return self._qubit_of[number]
        if kind not in ("array", "tuple"):
            self.obstacles.append(f"the record of {kind[:30]}")
            return None
        if depth > _MAX_DEPTH:
            raise invalid_input("The program records arrays that are nested too deeply.")
        size = _index(number, self._num_results + 1)
        items = [self._read_record(records, depth + 1) for _ in range(size)]
        return items if kind == "array" else tuple(items)


def _index(value: Any, size: int) -> int:
    if type(value) is not int or not 0 <= value < size:
        raise invalid_input("The program has a qubit, a result or an array that is out of range.")
    return value


def _map(function: Callable[[Any], Any], value: Any) -> Any:
    """A value of the same shape, with the function applied to everything but arrays and tuples."""
    if isinstance(value, list | tuple):
        return type(value)(_map(function, item) for item in value)
    return function(value)


def _as_json(value: Any) -> Any:
    """A value as the service writes it: a tuple is `{"Item1": ...}`."""
    if isinstance(value, tuple):
        return {f"Item{place}": _as_json(item) for place, item in enumerate(value, start=1)}
    return [*map(_as_json, value)] if isinstance(value, list) else value


def _results_v1(results: Sequence[Sequence[Any]]) -> Any:
    """A flat list of displays and shares, as the SDK reads it; none is recorded."""
    (values,) = results
    counts = sorted(Counter(map(str, values)).items())
    return {"Histogram": [each for text, count in counts for each in (text, count / len(values))]}


def _results_v2(results: Sequence[Sequence[Any]]) -> Any:
    return {"DataFormat": "microsoft.quantum-results.v2", "Results": [*map(_result_v2, results)]}


def _result_v2(values: Sequence[Any]) -> Any:
    displays = [*map(str, values)]
    # There are few distinct values, so each is converted only once.
    distinct = dict(zip(displays, values, strict=True))
    outcomes = {display: _as_json(value) for display, value in distinct.items()}
    return {
        "Histogram": [
            {"Outcome": outcomes[display], "Display": display, "Count": count}
            for display, count in sorted(Counter(displays).items())
        ],
        "Shots": [outcomes[display] for display in displays],
    }


def _registers(results: Sequence[Sequence[Any]]) -> Any:
    """Quantinuum's own format, with all recorded values in one register, the last bit first.

    There are recorded jobs that request it, but not their results.
    """
    (values,) = results
    return {"c": ["".join(map(str, reversed(_leaves(value)))) for value in values]}


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in _leaves(item)]
    return [int(value) if value in (0, 1) else value]


# Writes the values of all shots of each program, by `outputDataFormat`. Only the second supports
# more than one program.
_DOCUMENTS: dict[str, Callable[[Sequence[Sequence[Any]]], Any]] = {
    "microsoft.quantum-results.v1": _results_v1,
    "microsoft.quantum-results.v2": _results_v2,
    "honeywell.qir.v1": _registers,
}
