"""The gates that OpenQASM 2 programs find in their includes.

`qelib1.inc` as Qiskit has it today, and `hqslib1.inc` of Quantinuum's machines, as pytket writes
it. Gates are given by their matrices, not by their definitions in the files, except where a
decomposition is the definition; and by the gates of Cirq that they are in a circuit.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import cirq
import numpy as np
from cirq.circuits.qasm_output import QasmUGate

from cirq_azure_sessions.emulator.programs import gates
from cirq_azure_sessions.emulator.programs.gates import Matrix
from cirq_azure_sessions.emulator.programs.instructions import Gate

__all__ = ["BUILT_IN", "LIBRARIES", "LibraryGate"]


@dataclass(frozen=True, slots=True)
class LibraryGate:
    """A gate known by its matrix.

    Attributes:
        num_params: How many angles `matrix` takes.
        num_qubits: Controls included; they come first.
        num_controls: How many of the qubits are controls.
        cirq_gate: Cirq's gate on the qubits that are no controls, of as many angles; without one
            it is made of the matrix.
    """

    num_params: int
    num_qubits: int
    matrix: Callable[..., Matrix]
    num_controls: int = 0
    cirq_gate: Callable[..., cirq.Gate] | None = None

    # What applying it counts for when a program's size and work are limited.
    size = 1
    work = 1
    depth = 0

    def instruction(self, params: Sequence[float], qubits: Sequence[int]) -> Gate:
        """The gate on these qubits, as the emulator runs it."""
        controls, targets = qubits[: self.num_controls], qubits[self.num_controls :]
        return Gate(self.matrix(*params), tuple(targets), tuple(controls))

    def in_cirq(self, params: Sequence[float]) -> cirq.Gate:
        """The gate in Cirq, on all of its qubits."""
        if self.cirq_gate is None:
            gate: cirq.Gate = cirq.MatrixGate(self.matrix(*params))
        else:
            gate = self.cirq_gate(*params)
        return gate.controlled(self.num_controls) if self.num_controls else gate


def _fixed(
    matrix: Matrix, num_controls: int = 0, cirq_gate: cirq.Gate | None = None
) -> LibraryGate:
    num_qubits = num_controls + len(matrix).bit_length() - 1
    in_cirq = None if cirq_gate is None else lambda: cirq_gate
    return LibraryGate(0, num_qubits, lambda: matrix, num_controls, in_cirq)


def _turning(
    num_params: int,
    matrix: Callable[..., Matrix],
    num_qubits: int = 1,
    num_controls: int = 0,
    cirq_gate: Callable[..., cirq.Gate] | None = None,
) -> LibraryGate:
    return LibraryGate(num_params, num_qubits + num_controls, matrix, num_controls, cirq_gate)


def _u2(phi: float, lambda_: float) -> Matrix:
    return gates.u(math.pi / 2, phi, lambda_)


def _cu(theta: float, phi: float, lambda_: float, gamma: float) -> Matrix:
    """Qiskit's CU: a controlled U with a phase of its own."""
    return cmath.exp(1j * gamma) * gates.u(theta, phi, lambda_)


def _u1q(theta: float, phi: float) -> Matrix:
    """Quantinuum's one-qubit gate, a rotation about cos(phi) X + sin(phi) Y."""
    return gates.u(theta, phi - math.pi / 2, math.pi / 2 - phi)


def _rxxyyzz(alpha: float, beta: float, gamma: float) -> Matrix:
    """exp(-i/2 (alpha XX + beta YY + gamma ZZ)); the three commute."""
    return (
        gates.pauli_rotation("XX", alpha)
        @ gates.pauli_rotation("YY", beta)
        @ gates.pauli_rotation("ZZ", gamma)
    )


def _relative_toffoli(num_controls: int, factor: complex) -> Matrix:
    """The Toffoli gates right up to phases that qelib1 has: Y where all controls are 1.

    Where only the last of them is 0 it is Z, and both have a factor. From multiplying out the
    definitions in the file, which are Margolus' (https://arxiv.org/abs/1508.03273).
    """
    matrix = np.eye(2 << num_controls, dtype=np.complex128)
    matrix[-4:-2, -4:-2] = factor * gates.Z
    matrix[-2:, -2:] = factor * gates.Y
    return matrix


_RX, _RY, _RZ, _RXX, _RYY, _RZZ = (
    partial(gates.pauli_rotation, paulis) for paulis in ("X", "Y", "Z", "XX", "YY", "ZZ")
)


def _cirq_u(theta: float, phi: float, lambda_: float) -> cirq.Gate:
    return QasmUGate(theta / math.pi, phi / math.pi, lambda_ / math.pi)


def _cirq_u2(phi: float, lambda_: float) -> cirq.Gate:
    return _cirq_u(math.pi / 2, phi, lambda_)


def _cirq_phase(angle: float) -> cirq.Gate:
    return cirq.ZPowGate(exponent=angle / math.pi)


def _cirq_u1q(theta: float, phi: float) -> cirq.Gate:
    return cirq.PhasedXPowGate(exponent=theta / math.pi, phase_exponent=phi / math.pi)


def _cirq_ising(kind: Callable[..., cirq.Gate], angle: float) -> cirq.Gate:
    return kind(exponent=angle / math.pi, global_shift=-0.5)


_U = _turning(3, gates.u, cirq_gate=_cirq_u)
_PHASE = _turning(1, gates.phase, cirq_gate=_cirq_phase)
_CPHASE = _turning(1, gates.phase, 1, 1, _cirq_phase)
_CX = _fixed(gates.X, 1, cirq.X)
_RYY_GATE, _RZZ_GATE = (
    _turning(1, matrix, 2, cirq_gate=partial(_cirq_ising, kind))
    for matrix, kind in ((_RYY, cirq.YYPowGate), (_RZZ, cirq.ZZPowGate))
)

# The two gates of the language itself.
BUILT_IN = {"U": _U, "CX": _CX}

_QELIB1 = {
    "u3": _U,
    "u2": _turning(2, _u2, cirq_gate=_cirq_u2),
    "u1": _PHASE,
    "u0": _turning(1, lambda gamma: gates.PAULIS["I"], cirq_gate=lambda gamma: cirq.I),
    "u": _U,
    "p": _PHASE,
    "id": _fixed(gates.PAULIS["I"], 0, cirq.I),
    "x": _fixed(gates.X, 0, cirq.X),
    "y": _fixed(gates.Y, 0, cirq.Y),
    "z": _fixed(gates.Z, 0, cirq.Z),
    "h": _fixed(gates.H, 0, cirq.H),
    "s": _fixed(gates.S, 0, cirq.S),
    "sdg": _fixed(gates.inverse(gates.S), 0, cirq.S**-1),
    "t": _fixed(gates.T, 0, cirq.T),
    "tdg": _fixed(gates.inverse(gates.T), 0, cirq.T**-1),
    "sx": _fixed(gates.V, 0, cirq.X**0.5),
    "sxdg": _fixed(gates.inverse(gates.V), 0, cirq.X**-0.5),
    "rx": _turning(1, _RX, cirq_gate=cirq.rx),
    "ry": _turning(1, _RY, cirq_gate=cirq.ry),
    "rz": _turning(1, _RZ, cirq_gate=cirq.rz),
    "cx": _CX,
    "cy": _fixed(gates.Y, 1, cirq.Y),
    "cz": _fixed(gates.Z, 1, cirq.Z),
    "ch": _fixed(gates.H, 1, cirq.H),
    "csx": _fixed(gates.V, 1, cirq.X**0.5),
    "crx": _turning(1, _RX, 1, 1, cirq.rx),
    "cry": _turning(1, _RY, 1, 1, cirq.ry),
    "crz": _turning(1, _RZ, 1, 1, cirq.rz),
    "cu1": _CPHASE,
    "cp": _CPHASE,
    # Their phase counts here, and Cirq's U has another.
    "cu3": _turning(3, gates.u, 1, 1),
    "cu": _turning(4, _cu, 1, 1),
    "swap": _fixed(gates.SWAP, 0, cirq.SWAP),
    "cswap": _fixed(gates.SWAP, 1, cirq.SWAP),
    "rxx": _turning(1, _RXX, 2, cirq_gate=partial(_cirq_ising, cirq.XXPowGate)),
    "rzz": _RZZ_GATE,
    "ccx": _fixed(gates.X, 2, cirq.X),
    "c3x": _fixed(gates.X, 3, cirq.X),
    "c4x": _fixed(gates.X, 4, cirq.X),
    "c3sqrtx": _fixed(gates.V, 3, cirq.X**0.5),
    "rccx": _fixed(_relative_toffoli(2, 1)),
    "rc3x": _fixed(_relative_toffoli(3, 1j)),
}

# Quantinuum's native gates, and under it the standard ones.
_HQSLIB1 = _QELIB1 | {
    "U1q": _turning(2, _u1q, cirq_gate=_cirq_u1q),
    "Rz": _turning(1, _RZ, cirq_gate=cirq.rz),
    "ZZ": _fixed(gates.pauli_rotation("ZZ", math.pi / 2), 0, cirq.ZZ**0.5),
    "RZZ": _RZZ_GATE,
    "Rxxyyzz": _turning(3, _rxxyyzz, 2),
    "ryy": _RYY_GATE,
}

LIBRARIES = {"qelib1.inc": _QELIB1, "hqslib1.inc": _HQSLIB1}
