"""From any gate to the gates that a provider takes, one operation at a time, by cirq's compilers.

Compiling looks at one operation and never at its neighbours. So a parametrised circuit is compiled
once for its sweep, and gives at every point exactly what the resolved circuit gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import cirq

from cirq_azure_sessions.errors import UnsupportedProgram
from cirq_azure_sessions.formats.program import MAX_MATRIX_QUBITS, Step, shown

__all__ = ["ROTATIONS", "Compiler"]

# Gates of one number, which every provider writes as an angle.
ROTATIONS = (
    cirq.XPowGate,
    cirq.YPowGate,
    cirq.ZPowGate,
    cirq.XXPowGate,
    cirq.YYPowGate,
    cirq.ZZPowGate,
)

# Gates whose decomposition is the same whatever their numbers, and no longer than another.
_DECOMPOSABLE = (
    cirq.HPowGate,
    cirq.PhasedXPowGate,
    cirq.PhasedXZGate,
    cirq.CXPowGate,
    cirq.CZPowGate,
)

# Gates that are wholly told by their type, exponent and global shift, and so can be remembered;
# subclasses may be more than that.
_OF_ONE_NUMBER = frozenset(
    {
        cirq.CCXPowGate,
        cirq.CCZPowGate,
        cirq.CXPowGate,
        cirq.CZPowGate,
        cirq.HPowGate,
        cirq.ISwapPowGate,
        cirq.SwapPowGate,
        *ROTATIONS,
    }
)

# How many rewritten gates to remember.
_MAX_REMEMBERED = 1_000

# Cirq's gatesets let a gate pass that equals one of these, whatever its type; a serializer goes by
# the type.
_LOOKALIKES = (cirq.H, cirq.CNOT, cirq.CZ, cirq.SWAP, cirq.CCX)


class Compiler:
    """The way to one language's gates.

    Args:
        takes: Whether the language can write a gate as it is, once its parameters are resolved.
        gateset: What cirq compiles all other gates to.
    """

    def __init__(
        self, takes: Callable[[cirq.Gate], bool], gateset: cirq.CompilationTargetGateset
    ) -> None:
        self.takes = takes
        self._gateset = gateset
        self._rewritten: dict[object, Sequence[cirq.Operation]] = {}

    def parts(self, step: Step, target: str) -> Iterator[Step]:
        """A gate that the language does not take, in simpler gates. Its parameters are resolved.

        Raises:
            UnsupportedProgram: If the gate cannot be brought into that form.
        """
        gate = step.gate
        if _is_decomposable(gate):
            return _decomposed(step)
        # Equal gates of other types may differ in the last digit, and a program must not depend on
        # what was compiled before.
        key = None
        if type(gate) in _OF_ONE_NUMBER and isinstance(gate, cirq.EigenGate):
            key = type(gate), type(gate.exponent), gate.exponent, gate.global_shift
        operations = self._rewritten.get(key)
        if operations is None:
            operations = self._rewrite(step, target)
            if key is not None:
                if len(self._rewritten) >= _MAX_REMEMBERED:
                    self._rewritten.clear()
                self._rewritten[key] = operations
        return (_part(step, operation) for operation in operations)

    def rotations(self, step: Step, *, decompose: bool) -> Sequence[Step] | None:
        """The rotations that a gate becomes for all but round values of its parameters.

        None if they depend on the values in some other way, or it is one only when decomposed.
        """
        if isinstance(step.gate, ROTATIONS) and self.takes(step.gate):
            return [step]
        if not decompose or not _is_decomposable(step.gate):
            return None
        rotations: list[Step] = []
        for part in _decomposed(step):
            those = self.rotations(part, decompose=True)
            if those is None:
                return None
            rotations += those
        return rotations

    def _rewrite(self, step: Step, target: str) -> Sequence[cirq.Operation]:
        """The gate by cirq's compiler, in gates that are taken, or decomposable, by their type."""
        qubits = cirq.LineQubit.range(len(step.qubits))
        if not cirq.has_unitary(step.gate):
            raise UnsupportedProgram(
                f"{target} cannot run {shown(step.source)}, which is not unitary or has a "
                "parameter without a value; give every parameter a number."
            )
        try:
            circuit = self._optimize(step.gate.on(*qubits))
        except (ValueError, TypeError):
            # What cirq's gatesets cannot do themselves: bare matrices on four qubits or more. Some
            # gates say that they are unitary while a parameter of theirs is open.
            is_small = len(qubits) <= MAX_MATRIX_QUBITS
            matrix = cirq.unitary(step.gate, None) if is_small else None
            if matrix is None or not cirq.is_unitary(matrix):
                raise UnsupportedProgram(
                    f"{target} cannot run {shown(step.source)}: cirq finds no decomposition; write "
                    "it in gates on one, two or three qubits, and give every parameter a number."
                ) from None
            circuit = self._optimize(cirq.quantum_shannon_decomposition([*qubits], matrix))
        operations = []
        for operation in circuit.all_operations():
            gate = operation.gate
            if not operation.qubits:  # a global phase
                continue
            if gate is not None and not self.takes(gate) and not _is_decomposable(gate):
                gate = next((like for like in _LOOKALIKES if self._is_like(gate, like)), None)
            if gate is None:
                raise UnsupportedProgram(
                    f"{target} cannot run {shown(step.source)}: cirq compiles it to "
                    f"{shown(operation)}, which the target does not take; write it in simpler "
                    "gates."
                )
            operations.append(gate.on(*operation.qubits))
        return operations

    def _is_like(self, gate: cirq.Gate, lookalike: cirq.Gate) -> bool:
        return self.takes(lookalike) and cirq.equal_up_to_global_phase(gate, lookalike)

    def _optimize(self, operations: cirq.OP_TREE) -> cirq.AbstractCircuit:
        return cirq.optimize_for_target_gateset(
            cirq.Circuit(operations), gateset=self._gateset, ignore_failures=False
        )


def _is_decomposable(gate: cirq.Gate) -> bool:
    # Every gateset has its own idea of a whole CZ; it is never in two ways at once.
    is_whole_cz = isinstance(gate, cirq.CZPowGate) and gate.exponent % 2 == 1
    return isinstance(gate, _DECOMPOSABLE) and not is_whole_cz


def _decomposed(step: Step) -> Iterator[Step]:
    """The step's gate taken apart once."""
    gate = step.gate
    operation = gate.on(*cirq.LineQubit.range(len(step.qubits)))
    if isinstance(gate, cirq.CZPowGate):
        # diag(1, 1, 1, w**2) is diag(1, w, w, w**2) times diag(1, 1/w, 1/w, 1): ZZ instead of a
        # matrix's two CNOTs, and no matrix.
        a, b = operation.qubits
        half = gate.exponent / 2
        parts = [cirq.Z(a) ** half, cirq.Z(b) ** half, cirq.ZZ(a, b) ** -half]
    else:
        parts = cirq.decompose_once(operation)
    return (_part(step, part) for part in parts if part.qubits)


def _part(step: Step, operation: cirq.Operation) -> Step:
    """An operation on numbered qubits of its own, as a part of the step."""
    assert operation.gate is not None
    own: list[cirq.Qid] = [*cirq.LineQubit.range(len(step.qubits))]
    qubits = tuple(step.qubits[own.index(qubit)] for qubit in operation.qubits)
    return replace(step, gate=operation.gate, qubits=qubits)
