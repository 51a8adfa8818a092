"""What operations do to a state: the proof that a compiled circuit does what its source does.

The truth is what simulating an operation gives, and never `cirq.unitary`: for some operations it
is another matrix than the one that Cirq's simulators apply. A controlled operation whose control
values are booleans is an identity to it, in Cirq 1.6 and 1.7, and Cirq's own compilers believe it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cirq
import numpy as np
import numpy.typing as npt

__all__ = ["are_equivalent", "unitary_of"]

# Beyond this the decomposition of a matrix takes minutes, and tens of thousands of gates.
_MAX_MATRIX_QUBITS = 7

# Beyond this a state takes longer to simulate than the circuit takes to compile. What is larger is
# taken apart without proof, but each of its parts is proved as soon as it is small enough.
_MAX_PROVED_QUBITS = 12

# Cirq's compilers drop and round up to 1e-8 at each step; a mistake is larger by orders.
_TOLERANCE = 1e-5

_Amplitudes = npt.NDArray[np.complex128]


def are_equivalent(operations: Sequence[cirq.Operation], source: cirq.Operation) -> bool:
    """Whether the operations have the source's unitary, up to a global phase.

    True without proof for a source on more than 12 qubits.
    """
    qubits = source.qubits
    if not {qubit for operation in operations for qubit in operation.qubits} <= {*qubits}:
        return False  # it needs further qubits, which the program does not have
    if len(qubits) > _MAX_PROVED_QUBITS:
        return True
    # Two unitaries that take one random state to the same one are the same.
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
    """The state after the operations, its first axes being the qubits; None if there is none."""
    args = cirq.ApplyUnitaryArgs(state.copy(), np.empty_like(state), range(len(qubits)))
    try:
        return cirq.apply_unitaries(operations, qubits, args, default=None)
    except (TypeError, ValueError):
        # Gates that do not know about parameters compute with them all the same.
        return None


@functools.cache
def _state(num_qubits: int) -> _Amplitudes:
    """A random state, always the same."""
    real, imaginary = np.random.default_rng(num_qubits).normal(size=(2, *(2,) * num_qubits))
    state = real + 1j * imaginary
    return np.asarray(state / np.linalg.norm(state))
