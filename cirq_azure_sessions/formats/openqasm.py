"""Gates in OpenQASM, in the words that versions 2 and 3 and all their dialects share.

Qubits are called `q[0]`, `q[1]`, ...: no name of the user's is ever written into a program.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cirq

from cirq_azure_sessions.formats.compile import Compiler

__all__ = ["COMPILER", "angle", "gate_statements"]

# Gates with a name of their own, by exponent modulo 2. All of these have period 2, up to a global
# phase that nothing can see.
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
    return f"{half_turns * math.pi:.16f}"


def takes(gate: cirq.Gate) -> bool:
    """Whether `gate_statements` can write the gate, once its parameters are resolved."""
    if isinstance(gate, tuple(_ROTATIONS)):
        return True
    return _name(gate) is not None


def gate_statements(gate: cirq.Gate, qubits: Sequence[int]) -> list[str]:
    """The gate, without open parameters, as statements with their semicolons."""
    names = [f"q[{qubit}]" for qubit in qubits]
    name = _name(gate)
    if name is not None:
        return [f"{name} {','.join(names)};"]
    assert isinstance(gate, cirq.EigenGate)
    write = next(write for kind, write in _ROTATIONS.items() if isinstance(gate, kind))
    return write(angle(gate.exponent), *names)


def _name(gate: cirq.Gate) -> str | None:
    if not isinstance(gate, cirq.EigenGate) or cirq.is_parameterized(gate):
        return None
    names = next((names for kind, names in _NAMES.items() if isinstance(gate, kind)), {})
    turn = gate.exponent % 2
    return next((name for turns, name in names.items() if abs(turn - turns) < _TOLERANCE), None)


def _single(name: str) -> Callable[..., list[str]]:
    return lambda theta, a: [f"{name}({theta}) {a};"]


def _zz(theta: str, a: str, b: str) -> list[str]:
    return [f"cx {a},{b};", f"rz({theta}) {b};", f"cx {a},{b};"]


def _xx(theta: str, a: str, b: str) -> list[str]:
    turns = [f"h {a};", f"h {b};"]
    return [*turns, *_zz(theta, a, b), *turns]


def _yy(theta: str, a: str, b: str) -> list[str]:
    # A quarter turn about X takes Z to Y or -Y; on both qubits, the sign cancels.
    there = [f"rx({angle(0.5)}) {a};", f"rx({angle(0.5)}) {b};"]
    back = [f"rx({angle(-0.5)}) {a};", f"rx({angle(-0.5)}) {b};"]
    return [*there, *_zz(theta, a, b), *back]


_ROTATIONS: dict[type[cirq.EigenGate], Callable[..., list[str]]] = {
    cirq.XPowGate: _single("rx"),
    cirq.YPowGate: _single("ry"),
    cirq.ZPowGate: _single("rz"),
    cirq.XXPowGate: _xx,
    cirq.YYPowGate: _yy,
    cirq.ZZPowGate: _zz,
}

# Other gates are compiled to those written here, with `cirq.CZ` between qubits.
COMPILER = Compiler(
    takes,
    cirq.CZTargetGateset(additional_gates=[*_ROTATIONS, cirq.H, cirq.CNOT, cirq.SWAP]),
)
