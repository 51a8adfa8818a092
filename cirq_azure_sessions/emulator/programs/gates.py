"""The matrices that the programs' gates are made of.

A matrix on several qubits takes the first of them as the most significant bit of its index, as
Cirq does. Global phases matter, because every gate may be controlled.
"""

from __future__ import annotations

import cmath
import functools
import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ISWAP",
    "PAULIS",
    "SWAP",
    "H",
    "Matrix",
    "S",
    "T",
    "V",
    "X",
    "Y",
    "Z",
    "inverse",
    "pauli_product",
    "pauli_rotation",
    "phase",
    "u",
]

Matrix: TypeAlias = NDArray[np.complex128]


def _matrix(*rows: tuple[complex, ...]) -> Matrix:
    matrix = np.array(rows, dtype=np.complex128)
    matrix.setflags(write=False)
    return matrix


IDENTITY = _matrix((1, 0), (0, 1))
X = _matrix((0, 1), (1, 0))
Y = _matrix((0, -1j), (1j, 0))
Z = _matrix((1, 0), (0, -1))
PAULIS = {"I": IDENTITY, "X": X, "Y": Y, "Z": Z}

H = _matrix((math.sqrt(0.5), math.sqrt(0.5)), (math.sqrt(0.5), -math.sqrt(0.5)))
S = _matrix((1, 0), (0, 1j))
T = _matrix((1, 0), (0, cmath.exp(0.25j * math.pi)))
# The square root of X whose own phase makes its controlled form the square root of CX.
V = _matrix((0.5 + 0.5j, 0.5 - 0.5j), (0.5 - 0.5j, 0.5 + 0.5j))
SWAP = _matrix((1, 0, 0, 0), (0, 0, 1, 0), (0, 1, 0, 0), (0, 0, 0, 1))
ISWAP = _matrix((1, 0, 0, 0), (0, 0, 1j, 0), (0, 1j, 0, 0), (0, 0, 0, 1))


def inverse(matrix: Matrix) -> Matrix:
    """The inverse of a unitary."""
    return matrix.conj().T


def phase(angle: float) -> Matrix:
    """diag(1, exp(i angle))."""
    return _matrix((1, 0), (0, cmath.exp(1j * angle)))


def u(theta: float, phi: float, lambda_: float) -> Matrix:
    """The general one-qubit gate, with the phase that makes its upper left element real.

    It is the U of OpenQASM 3, and of OpenQASM 2 up to a global phase.
    """
    cos, sin = math.cos(theta / 2), math.sin(theta / 2)
    return _matrix(
        (cos, -cmath.exp(1j * lambda_) * sin),
        (cmath.exp(1j * phi) * sin, cmath.exp(1j * (phi + lambda_)) * cos),
    )


@functools.lru_cache(maxsize=256)
def pauli_product(paulis: str) -> Matrix:
    """The tensor product of Paulis written like `XIZ`, the first for the first qubit."""
    product = np.eye(1, dtype=np.complex128)
    for pauli in paulis:
        product = np.kron(product, PAULIS[pauli]).astype(np.complex128, copy=False)
    product.setflags(write=False)
    return product


def pauli_rotation(paulis: str, angle: float) -> Matrix:
    """exp(-i angle/2 P) for a product P of Paulis: `Z` gives Rz, `XX` the Ising gate."""
    identity = np.eye(1 << len(paulis), dtype=np.complex128)
    return math.cos(angle / 2) * identity - 1j * math.sin(angle / 2) * pauli_product(paulis)
