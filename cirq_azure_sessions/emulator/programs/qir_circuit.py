"""QIR programs that are circuits: gates, then measurements, then what is recorded of them.

A compiler writes every base profile program so. Such a program is sampled from one state vector
like those of other languages, where qdk would simulate each shot anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cirq_azure_sessions.emulator.programs.failure import invalid_input
from cirq_azure_sessions.emulator.programs.instructions import Gate
from cirq_azure_sessions.emulator.programs.qasm_gates import LIBRARIES, LibraryGate
from cirq_azure_sessions.emulator.programs.qir_results import as_tuple, map_leaves

__all__ = ["QirCircuit"]

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

_MEASUREMENTS = ("m__body", "mz__body", "mresetz__body")

_WITHOUT_EFFECT = ("__quantum__rt__initialize", "__quantum__rt__read_result")

# How deep arrays and tuples may be nested.
_MAX_DEPTH = 50


class QirCircuit:
    """A program, if it is a circuit.

    Args:
        program: The program, as `qir_worker` reads it.

    Attributes:
        num_results: How many results the program says it needs.
        obstacle: What in it no circuit has, such as a branch, or None. The attributes that follow
            count only if there is nothing.
        gates: The gates.
        measured: The qubits measured, in the order of their first measurement.
    """

    def __init__(self, program: Mapping[str, Any]) -> None:
        self._num_qubits: int = program["qubits"]
        self.num_results: int = program["results"]
        self.obstacle: str | None = None
        self.gates: list[Gate] = []
        self.measured: list[int] = []
        self._qubit_of: dict[int, int] = {}
        records: list[tuple[str, Any]] = []
        if program["calls"] is None:
            self.obstacle = "branches"
            return
        for name, *args in program["calls"]:
            if name.startswith("__quantum__qis__"):
                self._add(name.removeprefix("__quantum__qis__"), args)
            elif name.endswith("_record_output"):
                kind = name.removeprefix("__quantum__rt__").removesuffix("_record_output")
                records.append((kind, args[0]))
            elif name not in _WITHOUT_EFFECT:
                self.obstacle = f"calls of {name[:30]}"
        # What is recorded, with the number of the qubit in place of each result.
        self._template: Any = {}
        if records and self.obstacle is None:
            self._template = self._read_record(iter(records))

    def value(self, bits: Mapping[int, int]) -> Any:
        """What the program records when the qubits measured are read as these bits."""
        return map_leaves(bits.__getitem__, self._template)

    def _add(self, name: str, args: Sequence[Any]) -> None:
        if name in _MEASUREMENTS:
            qubit = _index(args[0], self._num_qubits)
            if qubit not in self.measured:
                self.measured.append(qubit)
            self._qubit_of[_index(args[1], self.num_results)] = qubit
        elif name in _GATES:
            self._add_gate(_GATES[name], args)
        elif name != "barrier__body":
            self.obstacle = f"the operation {name[:30]}"

    def _add_gate(self, gate: LibraryGate, args: Sequence[Any]) -> None:
        params = list(args[: gate.num_params])
        qubits = [_index(arg, self._num_qubits) for arg in args[gate.num_params :]]
        if not all(isinstance(param, float) and math.isfinite(param) for param in params):
            raise invalid_input("The parameters of a gate have to be finite numbers.")
        if len(qubits) != gate.num_qubits or len(set(qubits)) < len(qubits):
            raise invalid_input("A gate needs the right number of qubits, all different.")
        if not set(qubits).isdisjoint(self.measured):
            self.obstacle = "gates on qubits that were measured"
        self.gates.append(gate.instruction(params, qubits))

    def _read_record(self, records: Iterator[tuple[str, Any]], depth: int = 0) -> Any:
        kind, number = next(records, ("nothing", None))
        if kind == "result" and number in self._qubit_of:
            return self._qubit_of[number]
        if kind not in ("array", "tuple"):
            self.obstacle = f"the record of {kind[:30]}"
            return None
        if depth > _MAX_DEPTH:
            raise invalid_input("The program records arrays that are nested too deeply.")
        size = _index(number, self.num_results + 1)
        items = [self._read_record(records, depth + 1) for _ in range(size)]
        return items if kind == "array" else as_tuple(items)


def _index(value: Any, size: int) -> int:
    if type(value) is not int or not 0 <= value < size:
        raise invalid_input("The program has a qubit, a result or an array that is out of range.")
    return value
