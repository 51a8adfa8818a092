"""QIR programs (`qir.v1`), text or bitcode, into Azure's generic results.

Most targets run them with `qdk`. IonQ's run them on IonQ's own simulator, or machine, which answers
with a histogram of all qubits; the service makes the shots from that, and so do we.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from cirq_azure_sessions.emulator.programs import ionq
from cirq_azure_sessions.emulator.programs.failure import invalid_input, untranslatable
from cirq_azure_sessions.emulator.programs.instructions import Gate
from cirq_azure_sessions.emulator.programs.noise import NoiseModel, quantinuum_noise
from cirq_azure_sessions.emulator.programs.openqasm import is_syntax_checker
from cirq_azure_sessions.emulator.programs.parameters import read_shots
from cirq_azure_sessions.emulator.programs.qasm_gates import LIBRARIES, LibraryGate
from cirq_azure_sessions.emulator.programs.qir_process import QirProcesses

__all__ = ["run"]

# The SDK makes batches of up to so many items.
_MAX_ITEMS = 1_000

# How deep arrays and tuples may be nested.
_MAX_DEPTH = 50

_PROCESSES = QirProcesses()


def run(
    target: str,
    provider: str,
    payload: bytes,
    params: Mapping[str, Any],
    output_format: str,
    noise: NoiseModel,
    rng: np.random.Generator,
) -> bytes:
    """Runs a program, or each of the `items` of a batch, into the bytes of the result.

    Args:
        output_format: `microsoft.quantum-results.v2` has one entry an item; the others hold the
            result of one program only.
    """
    if output_format not in _DOCUMENTS:
        raise untranslatable(provider)
    shots = read_shots(params, provider)
    results = []
    for entry_point in _entry_points(params):
        if provider == "ionq":
            values = _run_on_ionq(target, payload, entry_point, params, shots, noise, rng)
        else:
            values = _run_with_qdk(target, payload, entry_point, params, shots, noise, rng)
        results.append(values)
    if len(results) > 1 and output_format != "microsoft.quantum-results.v2":
        raise untranslatable(provider)
    return json.dumps(_DOCUMENTS[output_format](results), separators=(",", ":")).encode()


def _entry_points(params: Mapping[str, Any]) -> list[str | None]:
    """The entry points to run: that of each item, or one for all. None means the only one."""
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
        # QIR of today's compilers has its arguments compiled in, and qdk takes none.
        if item.get("arguments", params.get("arguments")):
            raise invalid_input("The emulator runs entry points without arguments only.")
        entry_points.append(entry_point)
    return entry_points


def _run_with_qdk(
    target: str,
    payload: bytes,
    entry_point: str | None,
    params: Mapping[str, Any],
    shots: int,
    noise: NoiseModel,
    rng: np.random.Generator,
) -> list[Any]:
    if target.startswith("quantinuum."):
        noise = quantinuum_noise(params, noise)
    values: list[Any] = _PROCESSES.ask(
        "run",
        payload,
        entry_point,
        shots=shots,
        seed=int(rng.integers(1 << 32)),
        noise=None if noise.is_silent else asdict(noise),
    )
    if is_syntax_checker(target):
        return [_map_leaves(lambda leaf: type(leaf)(0), value) for value in values]
    return values


def _run_on_ionq(
    target: str,
    payload: bytes,
    entry_point: str | None,
    params: Mapping[str, Any],
    shots: int,
    noise: NoiseModel,
    rng: np.random.Generator,
) -> list[Any]:
    """The shots that follow from IonQ's histogram, outcome after outcome.

    A recorded job of 500 shots whose qubits had four outcomes of probability 1/4 has exactly 125
    shots of each, in the order of the histogram.
    """
    calls = _PROCESSES.ask("read", payload, entry_point)
    program = _BaseProgram(calls, ionq.machine_size(target))
    shares = ionq.histogram(program.gates, program.num_qubits, target, params, noise, rng)
    counts = _apportion(shots, list(shares.values()))
    return [
        program.value(outcome)
        for outcome, count in zip(shares, counts, strict=True)
        for _ in range(count)
    ]


def _apportion(shots: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers in proportion to the shares, the largest remainders rounded up."""
    exact = np.array(shares) * shots / sum(shares)
    counts = np.floor(exact).astype(np.int64)
    up = np.argsort(counts - exact, kind="stable")[: shots - int(counts.sum())]
    counts[up] += 1
    whole: list[int] = counts.tolist()
    return whole


_QELIB1 = LIBRARIES["qelib1.inc"] | {"ryy": LIBRARIES["hqslib1.inc"]["ryy"]}

# The operations of QIR that are gates, by what their names have after `__quantum__qis__`.
_SAME_NAMES = ("h", "x", "y", "z", "s", "t", "sx", "rx", "ry", "rz", "cx", "cy", "cz")
_GATES = {
    f"{name}__body": _QELIB1[name] for name in (*_SAME_NAMES, "rxx", "ryy", "rzz", "ccx", "swap")
} | {
    "cnot__body": _QELIB1["cx"],
    "s__adj": _QELIB1["sdg"],
    "t__adj": _QELIB1["tdg"],
}

# Far more than any target has.
_MAX_INDEX = 10_000


class _BaseProgram:
    """A base profile program: gates, then measurements, then what is recorded of them."""

    def __init__(self, calls: Iterable[Sequence[Any]], size: int) -> None:
        self.gates: list[Gate] = []
        self._measured: dict[int, int] = {}
        records: list[tuple[str, int]] = []
        for name, *args in calls:
            if name.startswith("__quantum__qis__"):
                self._add(name.removeprefix("__quantum__qis__"), args)
            elif name.endswith("_record_output"):
                kind = name.removeprefix("__quantum__rt__").removesuffix("_record_output")
                records.append((kind, _index(args[0])))
        used = {qubit for gate in self.gates for qubit in gate.qubits} | {*self._measured.values()}
        self.num_qubits = max(used, default=0) + 1
        if self.num_qubits > size:
            raise invalid_input(f"The target has {size} qubits.")
        # What is recorded, with the number of the qubit in place of each result.
        self._template = self._read_template(iter(records)) if records else {}

    def _add(self, name: str, args: Sequence[Any]) -> None:
        if name in ("m__body", "mz__body", "mresetz__body"):
            qubit, result = map(_index, args)
            self._measured[result] = qubit
        elif name in _GATES:
            self._add_gate(_GATES[name], args)
        elif name != "barrier__body":
            raise invalid_input(f"The target has no operation {name[:20]}.")

    def _add_gate(self, gate: LibraryGate, args: Sequence[Any]) -> None:
        params, qubits = list(args[: gate.num_params]), list(map(_index, args[gate.num_params :]))
        if not all(isinstance(param, float) and math.isfinite(param) for param in params):
            raise invalid_input("The parameters of a gate have to be finite numbers.")
        if len(qubits) != gate.num_qubits or len(set(qubits)) < len(qubits):
            raise invalid_input("A gate needs the right number of qubits, all different.")
        if not set(qubits).isdisjoint(self._measured.values()):
            raise invalid_input("The target measures qubits at the end of the program only.")
        self.gates += gate.apply(params, qubits)

    def _read_template(self, records: Iterator[tuple[str, int]], depth: int = 0) -> Any:
        kind, number = next(records, ("nothing", 0))
        if kind == "result" and number in self._measured:
            return self._measured[number]
        if kind not in ("array", "tuple") or depth > _MAX_DEPTH:
            raise invalid_input("The program records something that was not measured.")
        items = [self._read_template(records, depth + 1) for _ in range(number)]
        return items if kind == "array" else _as_tuple(items)

    def value(self, outcome: int) -> Any:
        """What the program records, where qubit q has given bit q of the outcome."""
        return _map_leaves(lambda qubit: outcome >> qubit & 1, self._template)


def _index(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _MAX_INDEX:
        raise invalid_input("The program has a qubit, a result or an array that is out of range.")
    return value


def _as_tuple(items: Iterable[Any]) -> dict[str, Any]:
    """A tuple, as the service writes one."""
    return {f"Item{place}": item for place, item in enumerate(items, start=1)}


def _map_leaves(function: Callable[[Any], Any], value: Any) -> Any:
    """A value of the same form, with the function applied to all that is no array or tuple."""
    if isinstance(value, list):
        return [_map_leaves(function, item) for item in value]
    if isinstance(value, dict):
        return {name: _map_leaves(function, item) for name, item in value.items()}
    return function(value)


def _display(value: Any) -> str:
    """A value as the service displays it: `[0, 1]`, or `(0, 1)` for a tuple."""
    return str(_as_python(value))


def _as_python(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_python(item) for item in value]
    if isinstance(value, dict):
        return tuple(_as_python(item) for item in value.values())
    return value


def _group(values: Sequence[Any]) -> list[tuple[Any, str, int]]:
    """The different values with their displays and counts, sorted by their displays."""
    displays = [_display(value) for value in values]
    counts, samples = Counter(displays), dict(zip(displays, values, strict=True))
    return [(samples[display], display, counts[display]) for display in sorted(counts)]


def _results_v1(results: Sequence[Sequence[Any]]) -> Any:
    """A flat list of displays and shares (the SDK's reading of it; none is recorded)."""
    (values,) = results
    pairs = [(display, count / len(values)) for _, display, count in _group(values)]
    return {"Histogram": list(itertools.chain.from_iterable(pairs))}


def _results_v2(results: Sequence[Sequence[Any]]) -> Any:
    return {
        "DataFormat": "microsoft.quantum-results.v2",
        "Results": [
            {
                "Histogram": [
                    {"Outcome": value, "Display": display, "Count": count}
                    for value, display, count in _group(values)
                ],
                "Shots": values,
            }
            for values in results
        ],
    }


def _registers(results: Sequence[Sequence[Any]]) -> Any:
    """Quantinuum's own form, with all that is recorded in one register, the last bit first.

    Jobs that ask for it are recorded, but not what is in their results.
    """
    (values,) = results
    return {"c": ["".join(map(str, reversed(_leaves(value)))) for value in values]}


def _leaves(value: Any) -> list[Any]:
    found: list[Any] = []
    _map_leaves(lambda leaf: found.append(int(leaf) if leaf in (0, 1) else leaf), value)
    return found


_DOCUMENTS: dict[str, Callable[[Sequence[Sequence[Any]]], Any]] = {
    "microsoft.quantum-results.v1": _results_v1,
    "microsoft.quantum-results.v2": _results_v2,
    "honeywell.qir.v1": _registers,
}
