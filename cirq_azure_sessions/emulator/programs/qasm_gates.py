"""The gates that OpenQASM 2 programs find in their includes.

`qelib1.inc` as Qiskit has it today, and `hqslib1.inc` of Quantinuum's machines, as pytket writes
it. Gates are given by their matrices, not by their definitions in the files, except where a
decomposition is the definition.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

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
    """

    num_params: int
    num_qubits: int
    matrix: Callable[..., Matrix]
    num_controls: int = 0

    # What applying it counts for when a program's size is limited.
    size = 1
    depth = 0

    def apply(self, params: list[float], qubits: list[int]) -> list[Gate]:
        """The gate on these qubits."""
        controls, targets = qubits[: self.num_controls], qubits[self.num_controls :]
        return [Gate(self.matrix(*params), tuple(targets), tuple(controls))]


def _fixed(matrix: Matrix, num_controls: int = 0) -> LibraryGate:
    num_targets = len(matrix).bit_length() - 1
    return LibraryGate(0, num_controls + num_targets, lambda: matrix, num_controls)


def _turning(
    num_params: int, matrix: Callable[..., Matrix], num_qubits: int = 1, num_controls: int = 0
) -> LibraryGate:
    return LibraryGate(num_params, num_qubits + num_controls, matrix, num_controls)


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

# The two gates of the language itself.
BUILT_IN = {"U": _turning(3, gates.u), "CX": _fixed(gates.X, 1)}

_QELIB1 = {
    "u3": _turning(3, gates.u),
    "u2": _turning(2, _u2),
    "u1": _turning(1, gates.phase),
    "u0": _turning(1, lambda gamma: gates.PAULIS["I"]),
    "u": _turning(3, gates.u),
    "p": _turning(1, gates.phase),
    "id": _fixed(gates.PAULIS["I"]),
    "x": _fixed(gates.X),
    "y": _fixed(gates.Y),
    "z": _fixed(gates.Z),
    "h": _fixed(gates.H),
    "s": _fixed(gates.S),
    "sdg": _fixed(gates.inverse(gates.S)),
    "t": _fixed(gates.T),
    "tdg": _fixed(gates.inverse(gates.T)),
    "sx": _fixed(gates.V),
    "sxdg": _fixed(gates.inverse(gates.V)),
    "rx": _turning(1, _RX),
    "ry": _turning(1, _RY),
    "rz": _turning(1, _RZ),
    "cx": _fixed(gates.X, 1),
    "cy": _fixed(gates.Y, 1),
    "cz": _fixed(gates.Z, 1),
    "ch": _fixed(gates.H, 1),
    "csx": _fixed(gates.V, 1),
    "crx": _turning(1, _RX, 1, 1),
    "cry": _turning(1, _RY, 1, 1),
    "crz": _turning(1, _RZ, 1, 1),
    "cu1": _turning(1, gates.phase, 1, 1),
    "cp": _turning(1, gates.phase, 1, 1),
    "cu3": _turning(3, gates.u, 1, 1),
    "cu": _turning(4, _cu, 1, 1),
    "swap": _fixed(gates.SWAP),
    "cswap": _fixed(gates.SWAP, 1),
    "rxx": _turning(1, _RXX, 2),
    "rzz": _turning(1, _RZZ, 2),
    "ccx": _fixed(gates.X, 2),
    "c3x": _fixed(gates.X, 3),
    "c4x": _fixed(gates.X, 4),
    "c3sqrtx": _fixed(gates.V, 3),
    "rccx": _fixed(_relative_toffoli(2, 1)),
    "rc3x": _fixed(_relative_toffoli(3, 1j)),
}

# Quantinuum's native gates, and under it the standard ones.
_HQSLIB1 = _QELIB1 | {
    "U1q": _turning(2, _u1q),
    "Rz": _turning(1, _RZ),
    "ZZ": _fixed(gates.pauli_rotation("ZZ", math.pi / 2)),
    "RZZ": _turning(1, _RZZ, 2),
    "Rxxyyzz": _turning(3, _rxxyyzz, 2),
    "ryy": _turning(1, _RYY, 2),
}

LIBRARIES = {"qelib1.inc": _QELIB1, "hqslib1.inc": _HQSLIB1}
