"""From any gate to the gates that a provider takes, one operation at a time, by cirq's compilers.

Compiling looks at one operation and never at its neighbours. So a parametrised circuit is compiled
once for its sweep, and gives at every point exactly what the resolved circuit gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import cirq

from cirq_azure_sessions.errors import UnsupportedProgram
from cirq_azure_sessions.formats.program import Step, shown

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

# Beyond this the decomposition of a matrix takes minutes, and tens of thousands of gates.
_MAX_MATRIX_QUBITS = 7

# Cirq's gatesets let a gate pass that equals one of these, whatever its type; a serializer goes by
# the type.
_LOOKALIKES = (cirq.H, cirq.CNOT, cirq.CZ, cirq.SWAP, cirq.CCX)


class Compiler:
    """Rewrites steps in the gates of a target.

    Args:
        target: The target's id, for messages.
        takes: Whether the target's format can write a gate as it is.
        gateset: What cirq compiles all other gates to; None compiles nothing, and such gates are
            refused.
    """

    def __init__(
        self,
        target: str,
        takes: Callable[[cirq.Gate], bool],
        gateset: cirq.CompilationTargetGateset | None,
    ) -> None:
        self._target = target
        self._takes = takes
        self._gateset = gateset
        self._compiled: dict[object, Sequence[cirq.Operation]] = {}

    def compile(self, step: Step) -> Iterator[Step]:
        """The step in gates that the target takes. Its parameters must be resolved.

        Raises:
            UnsupportedProgram: If the gate cannot be brought into that form.
        """
        if step.is_measurement or step.is_reset:
            yield step
        elif self._gateset is None:
            self._check(step)
            yield step
        elif self._takes(step.gate):
            if not _is_negligible(step.gate):
                yield step
        elif _is_decomposable(step.gate):
            for part in _decomposed(step):
                yield from self.compile(part)
        else:
            for operation in self._rewritten(step):
                yield from self.compile(_part(step, operation))

    def rotations(self, step: Step) -> Sequence[Step] | None:
        """The rotations that `compile` gives for all but round values of the gate's parameters.

        None if they depend on the values in some other way.
        """
        if isinstance(step.gate, ROTATIONS) and self._takes(step.gate):
            return [step]
        if self._gateset is None or not _is_decomposable(step.gate):
            return None
        parts = [self.rotations(part) for part in _decomposed(step)]
        if any(part is None for part in parts):
            return None
        return [rotation for part in parts for rotation in part or ()]

    def _check(self, step: Step) -> None:
        if not self._takes(step.gate):
            raise UnsupportedProgram(
                f"{self._target} does not take {shown(step.source)} as it is; leave compile=True, "
                "or write the circuit in the target's own gates."
            )

    def _rewritten(self, step: Step) -> Sequence[cirq.Operation]:
        # Equal gates of other types may differ in the last digit, and a program must not depend on
        # what was compiled before.
        gate = step.gate
        if type(gate) not in _OF_ONE_NUMBER:
            return self._optimized(step)
        assert isinstance(gate, cirq.EigenGate)
        key = type(gate), gate.exponent, gate.global_shift
        if key not in self._compiled:
            self._compiled[key] = self._optimized(step)
        return self._compiled[key]

    def _optimized(self, step: Step) -> Sequence[cirq.Operation]:
        qubits: list[cirq.Qid] = [*cirq.LineQubit.range(len(step.qubits))]
        if not cirq.has_unitary(step.gate):
            raise UnsupportedProgram(
                f"{self._target} cannot run {shown(step.source)}, which is not unitary or has a "
                "parameter without a value; give every parameter a number."
            )
        try:
            circuit = self._optimize(step.gate.on(*qubits))
        except (ValueError, TypeError):
            circuit = self._optimize(self._decomposed_matrix(step, qubits))
        return [self._by_type(op, step) for op in circuit.all_operations() if op.qubits]

    def _decomposed_matrix(self, step: Step, qubits: list[cirq.Qid]) -> cirq.OP_TREE:
        """What cirq's gatesets cannot do themselves: bare matrices on four qubits or more."""
        matrix = None
        if len(qubits) <= _MAX_MATRIX_QUBITS:
            # Some gates say that they are unitary while a parameter of theirs is open.
            matrix = cirq.unitary(step.gate, None)
        if matrix is None or not cirq.is_unitary(matrix):
            raise UnsupportedProgram(
                f"{self._target} cannot run {shown(step.source)}: cirq finds no decomposition; "
                "write it in gates on one, two or three qubits, and give every parameter a number."
            )
        return cirq.quantum_shannon_decomposition(qubits, matrix)

    def _optimize(self, operations: cirq.OP_TREE) -> cirq.AbstractCircuit:
        return cirq.optimize_for_target_gateset(
            cirq.Circuit(operations), gateset=self._gateset, ignore_failures=False
        )

    def _by_type(self, operation: cirq.Operation, step: Step) -> cirq.Operation:
        """The operation with a gate that the serializer knows by its type."""
        gate = operation.gate
        if gate is not None and (self._takes(gate) or _is_decomposable(gate)):
            return operation.untagged
        for plain in _LOOKALIKES:
            if self._takes(plain) and cirq.equal_up_to_global_phase(gate, plain):
                return plain.on(*operation.qubits)
        raise UnsupportedProgram(
            f"{self._target} cannot run {shown(step.source)}: cirq compiles it to "
            f"{shown(operation)}, which the target does not take; write it in simpler gates."
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
    qubits = tuple(step.qubits[_number(qubit)] for qubit in operation.qubits)
    return replace(step, gate=operation.gate, qubits=qubits)


def _is_negligible(gate: cirq.Gate) -> bool:
    # The bound of cirq.drop_negligible_operations.
    return cirq.trace_distance_bound(gate) <= 1e-8


def _number(qubit: cirq.Qid) -> int:
    assert isinstance(qubit, cirq.LineQubit)
    return qubit.x
