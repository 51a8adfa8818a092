"""The gates of Qiskit's current `qelib1.inc` and Quantinuum's `hqslib1.inc` as Cirq gates.

The latter is as pytket writes it. Phases matter, as any gate may be controlled.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from dataclasses import dataclass

import cirq
import numpy as np
from cirq.circuits.qasm_output import QasmUGate
from numpy.typing import NDArray

__all__ = ["BUILT_IN", "COMMON", "LIBRARIES", "LibraryGate"]


@dataclass(frozen=True, slots=True)
class LibraryGate:
    """A gate that a program can name.

    Attributes:
        num_params: How many angles `make` takes.
        make: Makes the gate with these angles, including its controls, which come first.
    """

    num_params: int
    num_qubits: int
    make: Callable[..., cirq.Gate]


def _fixed(gate: cirq.Gate, num_controls: int = 0) -> LibraryGate:
    gate = gate.controlled(num_controls) if num_controls else gate
    return LibraryGate(0, gate.num_qubits(), lambda: gate)


def _turning(num_params: int, make: Callable[..., cirq.Gate], num_controls: int = 0) -> LibraryGate:
    num_qubits = make(*[0.0] * num_params).num_qubits() + num_controls
    if not num_controls:
        return LibraryGate(num_params, num_qubits, make)
    return LibraryGate(
        num_params, num_qubits, lambda *angles: make(*angles).controlled(num_controls)
    )


def _u(theta: float, phi: float, lambda_: float) -> cirq.Gate:
    return QasmUGate(theta / math.pi, phi / math.pi, lambda_ / math.pi)


def _u_with_phase(theta: float, phi: float, lambda_: float, gamma: float = 0.0) -> cirq.Gate:
    """U with a real upper left element, times exp(i gamma); the phase of Cirq's differs."""
    cos, sin = math.cos(theta / 2), math.sin(theta / 2)
    matrix = np.array(
        [
            [cos, -cmath.exp(1j * lambda_) * sin],
            [cmath.exp(1j * phi) * sin, cmath.exp(1j * (phi + lambda_)) * cos],
        ]
    )
    return cirq.MatrixGate(cmath.exp(1j * gamma) * matrix)


def _phase(angle: float) -> cirq.Gate:
    return cirq.ZPowGate(exponent=angle / math.pi)


def _u1q(theta: float, phi: float) -> cirq.Gate:
    """Quantinuum's one-qubit gate, a rotation about cos(phi) X + sin(phi) Y."""
    return cirq.PhasedXPowGate(
        exponent=theta / math.pi, phase_exponent=phi / math.pi, global_shift=-0.5
    )


def _ising(kind: Callable[..., cirq.Gate]) -> Callable[[float], cirq.Gate]:
    """exp(-i angle/2 P) for a product P of two Paulis."""
    return lambda angle: kind(exponent=angle / math.pi, global_shift=-0.5)


_RXX, _RYY, _RZZ = map(_ising, (cirq.XXPowGate, cirq.YYPowGate, cirq.ZZPowGate))


def _rxxyyzz(alpha: float, beta: float, gamma: float) -> cirq.Gate:
    """exp(-i/2 (alpha XX + beta YY + gamma ZZ)); the three commute."""
    factors = (_RXX(alpha), _RYY(beta), _RZZ(gamma))
    return cirq.MatrixGate(np.linalg.multi_dot([*map(cirq.unitary, factors)]))


def _relative_toffoli(num_controls: int, factor: complex) -> cirq.Gate:
    """The relative-phase Toffoli gates of qelib1: Y if all controls are 1.

    If only the last control is 0 they apply Z; both have a phase factor. Derived from the
    definitions in the file, which are due to Margolus (https://arxiv.org/abs/1508.03273).
    """
    matrix: NDArray[np.complex128] = np.eye(2 << num_controls, dtype=np.complex128)
    matrix[-4:-2, -4:-2] = factor * cirq.unitary(cirq.Z)
    matrix[-2:, -2:] = factor * cirq.unitary(cirq.Y)
    return cirq.MatrixGate(matrix)


_U, _PHASE, _CX = _turning(3, _u), _turning(1, _phase), _fixed(cirq.X, 1)
_CPHASE = _turning(1, _phase, 1)

# The two built-in gates.
BUILT_IN = {"U": _U, "CX": _CX}

_QELIB1 = {
    "u3": _U,
    "u2": _turning(2, lambda phi, lambda_: _u(math.pi / 2, phi, lambda_)),
    "u1": _PHASE,
    "u0": _turning(1, lambda gamma: cirq.I),
    "u": _U,
    "p": _PHASE,
    "id": _fixed(cirq.I),
    "x": _fixed(cirq.X),
    "y": _fixed(cirq.Y),
    "z": _fixed(cirq.Z),
    "h": _fixed(cirq.H),
    "s": _fixed(cirq.S),
    "sdg": _fixed(cirq.S**-1),
    "t": _fixed(cirq.T),
    "tdg": _fixed(cirq.T**-1),
    "sx": _fixed(cirq.X**0.5),
    "sxdg": _fixed(cirq.X**-0.5),
    "rx": _turning(1, cirq.rx),
    "ry": _turning(1, cirq.ry),
    "rz": _turning(1, cirq.rz),
    "cx": _CX,
    "cy": _fixed(cirq.Y, 1),
    "cz": _fixed(cirq.Z, 1),
    "ch": _fixed(cirq.H, 1),
    # pytket's files have these two.
    "cs": _fixed(cirq.S, 1),
    "csdg": _fixed(cirq.S**-1, 1),
    "csx": _fixed(cirq.X**0.5, 1),
    "crx": _turning(1, cirq.rx, 1),
    "cry": _turning(1, cirq.ry, 1),
    "crz": _turning(1, cirq.rz, 1),
    "cu1": _CPHASE,
    "cp": _CPHASE,
    "cu3": _turning(3, _u_with_phase, 1),
    "cu": _turning(4, _u_with_phase, 1),
    "swap": _fixed(cirq.SWAP),
    "cswap": _fixed(cirq.SWAP, 1),
    "rxx": _turning(1, _RXX),
    "rzz": _turning(1, _RZZ),
    "ccx": _fixed(cirq.X, 2),
    "c3x": _fixed(cirq.X, 3),
    "c4x": _fixed(cirq.X, 4),
    "c3sqrtx": _fixed(cirq.X**0.5, 3),
    "rccx": _fixed(_relative_toffoli(2, 1)),
    "rc3x": _fixed(_relative_toffoli(3, 1j)),
}

# Quantinuum's native gates, then the standard ones.
_HQSLIB1 = _QELIB1 | {
    "U1q": _turning(2, _u1q),
    "Rz": _turning(1, cirq.rz),
    "ZZ": _fixed(cirq.ZZPowGate(exponent=0.5, global_shift=-0.5)),
    "RZZ": _turning(1, _RZZ),
    "Rxxyyzz": _turning(3, _rxxyyzz),
    "ryy": _turning(1, _RYY),
}

LIBRARIES = {"qelib1.inc": _QELIB1, "hqslib1.inc": _HQSLIB1}

# The gates that Quil and QIR call by the same names.
COMMON = ("x", "y", "z", "h", "s", "t", "rx", "ry", "rz", "cz", "swap")
