"""Gates as OpenQASM statements that are valid in versions 2 and 3 and all dialects.

Qubits are called `q[0]`, `q[1]`, ...: names chosen by the user never appear in a program.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cirq

from cirq_azure_sessions.formats.compile import ROTATIONS, Compiler, without_many_turns

__all__ = ["COMPILER", "angle", "gate_operations", "gate_statements"]

# Gates that have a name, by exponent modulo 2. All of these have period 2, up to an unobservable
# global phase.
_NAMES: dict[type[cirq.EigenGate], dict[float, str]] = {
    cirq.XPowGate: {1.0: "x"},
    cirq.YPowGate: {1.0: "y"},
    cirq.ZPowGate: {1.0: "z", 0.5: "s", 1.5: "sdg", 0.25: "t", 1.75: "tdg"},
    cirq.HPowGate: {1.0: "h"},
    cirq.CXPowGate: {1.0: "cx"},
    cirq.CZPowGate: {1.0: "cz"},
    cirq.SwapPowGate: {1.0: "swap"},
    cirq.CCXPowGate: {1.0: "ccx"},
}

_TOLERANCE = 1e-8


def angle(half_turns: float) -> str:
    """The angle in radians, to 16 places and without an exponent, which OpenQASM 2 lacks."""
    return f"{without_many_turns(half_turns) * math.pi:.16f}"


def takes(gate: cirq.Gate) -> bool:
    """Whether `gate_statements` can write the gate, once its parameters are resolved."""
    return isinstance(gate, ROTATIONS) or _name(gate) is not None


def gate_operations(gate: cirq.Gate, qubits: Sequence[cirq.Qid]) -> Sequence[cirq.Operation]:
    """The gate, with resolved parameters, as operations of one statement each."""
    parts = next((parts for kind, parts in _PARTS.items() if isinstance(gate, kind)), None)
    if parts is None:
        return [gate.on(*qubits)]
    assert isinstance(gate, cirq.EigenGate)
    return parts(gate.exponent, *qubits)


def gate_statements(gate: cirq.Gate, qubits: Sequence[int]) -> list[str]:
    """The gate, without open parameters, as statements with their semicolons."""
    operations = gate_operations(gate, [cirq.NamedQubit(f"q[{qubit}]") for qubit in qubits])
    # A gate of several statements always has the same form, even for special angles.
    is_part = len(operations) > 1
    return [_statement(operation, is_part) for operation in operations]


def _statement(operation: cirq.Operation, is_part: bool) -> str:
    gate = operation.gate
    names = ",".join(map(str, operation.qubits))
    rotation = next((name for kind, name in _ROTATIONS.items() if isinstance(gate, kind)), None)
    name = _name(gate)
    if name is not None and not (is_part and rotation):
        return f"{name} {names};"
    assert isinstance(gate, cirq.EigenGate)
    return f"{rotation}({angle(gate.exponent)}) {names};"


def _name(gate: cirq.Gate | None) -> str | None:
    if not isinstance(gate, cirq.EigenGate) or cirq.is_parameterized(gate):
        return None
    names = next((names for kind, names in _NAMES.items() if isinstance(gate, kind)), {})
    turn = gate.exponent % 2
    return next((name for turns, name in names.items() if abs(turn - turns) < _TOLERANCE), None)


_ROTATIONS: dict[type[cirq.EigenGate], str] = {
    cirq.XPowGate: "rx",
    cirq.YPowGate: "ry",
    cirq.ZPowGate: "rz",
}


def _zz(half_turns: float, a: cirq.Qid, b: cirq.Qid) -> list[cirq.Operation]:
    return [cirq.CNOT(a, b), cirq.Z(b) ** half_turns, cirq.CNOT(a, b)]


def _xx(half_turns: float, a: cirq.Qid, b: cirq.Qid) -> list[cirq.Operation]:
    turns = [cirq.H(a), cirq.H(b)]
    return [*turns, *_zz(half_turns, a, b), *turns]


def _yy(half_turns: float, a: cirq.Qid, b: cirq.Qid) -> list[cirq.Operation]:
    # A quarter turn about X maps Z to Y or -Y; on both qubits, the sign cancels.
    there = [cirq.X(a) ** 0.5, cirq.X(b) ** 0.5]
    back = [cirq.X(a) ** -0.5, cirq.X(b) ** -0.5]
    return [*there, *_zz(half_turns, a, b), *back]


_PARTS: dict[type[cirq.EigenGate], Callable[..., list[cirq.Operation]]] = {
    cirq.XXPowGate: _xx,
    cirq.YYPowGate: _yy,
    cirq.ZZPowGate: _zz,
}

# Other gates are compiled to these, with `cirq.CZ` as the two-qubit gate.
COMPILER = Compiler(
    takes,
    cirq.CZTargetGateset(additional_gates=[*ROTATIONS, cirq.H, cirq.CNOT, cirq.SWAP]),
)
