"""Verification that a compiled circuit is equivalent to its source, by simulation.

`cirq.unitary` is not used, because for some operations it differs from the matrix that Cirq's
simulators apply: in Cirq 1.6 and 1.7 it is the identity for a controlled operation with boolean
control values, and Cirq's own compilers rely on it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cirq
import numpy as np
import numpy.typing as npt

__all__ = ["are_equivalent", "unitary_of"]

# On more qubits the decomposition of a matrix takes minutes and tens of thousands of gates.
_MAX_MATRIX_QUBITS = 7

# On more qubits a simulation takes longer than compiling the circuit. Larger operations are
# decomposed without verification, but their parts are verified as soon as they are small enough.
_MAX_PROVED_QUBITS = 12

# Cirq's compilers drop and round up to 1e-8 at each step; mistakes are orders of magnitude larger.
_TOLERANCE = 1e-5

_Amplitudes = npt.NDArray[np.complex128]


def are_equivalent(operations: Sequence[cirq.Operation], source: cirq.Operation) -> bool:
    """Whether the operations have the source's unitary, up to a global phase.

    True without verification for a source on more than 12 qubits.
    """
    qubits = source.qubits
    if not {qubit for operation in operations for qubit in operation.qubits} <= {*qubits}:
        return False  # it needs additional qubits, which the program does not have
    if len(qubits) > _MAX_PROVED_QUBITS:
        return True
    # Two unitaries that map a random state to the same one are almost surely equal.
    ours, wanted = (_simulated(ops, qubits, _state(len(qubits))) for ops in (operations, [source]))
    if ours is None or wanted is None:
        return False
    overlap = np.vdot(ours, wanted)
    phase = overlap / abs(overlap) if overlap else 1.0
    return bool(np.linalg.norm(wanted - phase * ours) < _TOLERANCE)


def unitary_of(operation: cirq.Operation) -> _Amplitudes | None:
    """The unitary of an operation; None if it has none or is too large to be synthesized."""
    count = len(operation.qubits)
    if count > _MAX_MATRIX_QUBITS:
        return None
    identity = np.eye(2**count, dtype=np.complex128).reshape((2,) * 2 * count)
    simulated = _simulated([operation], operation.qubits, identity)
    if simulated is None:
        return None
    matrix = simulated.reshape(2**count, -1)
    return matrix if cirq.is_unitary(matrix) else None


def _simulated(
    operations: Sequence[cirq.Operation], qubits: Sequence[cirq.Qid], state: _Amplitudes
) -> _Amplitudes | None:
    """The state after the operations, with the qubits as its first axes, or None."""
    args = cirq.ApplyUnitaryArgs(state.copy(), np.empty_like(state), range(len(qubits)))
    try:
        return cirq.apply_unitaries(operations, qubits, args, default=None)
    except (TypeError, ValueError):
        # Gates without support for parameters fail in computations with them.
        return None


@functools.cache
def _state(num_qubits: int) -> _Amplitudes:
    """A random state with a fixed seed."""
    real, imaginary = np.random.default_rng(num_qubits).normal(size=(2, *(2,) * num_qubits))
    state = real + 1j * imaginary
    return np.asarray(state / np.linalg.norm(state))
