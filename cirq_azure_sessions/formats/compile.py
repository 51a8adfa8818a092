"""Compiles any gate to a provider's gates, one operation at a time, with cirq's compilers.

Each operation is compiled independently of its neighbours. So a parametrised circuit is compiled
once for its sweep, and every point has exactly the program of its resolved circuit.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import cirq

from cirq_azure_sessions.errors import UnsupportedProgram
from cirq_azure_sessions.formats.program import Step, decomposed, shown
from cirq_azure_sessions.formats.unitary import are_equivalent, unitary_of

__all__ = ["ROTATIONS", "Compiler", "without_many_turns"]

# Gates with one parameter, which every provider writes as an angle.
ROTATIONS = (
    cirq.XPowGate,
    cirq.YPowGate,
    cirq.ZPowGate,
    cirq.XXPowGate,
    cirq.YYPowGate,
    cirq.ZZPowGate,
)

# For larger angles, the rounding of pi causes errors of 1e-10 and more.
_MAX_HALF_TURNS = 2**18

# Gates whose decomposition has the same form for all parameters, and is as short as any. Each is
# verified once, at generic parameters; verifying every gate would take longer than the translation.
_DECOMPOSABLE: dict[type[cirq.Gate], cirq.Gate] = {
    cirq.HPowGate: cirq.H**0.3217,
    cirq.PhasedXPowGate: cirq.PhasedXPowGate(exponent=0.3217, phase_exponent=-0.7431),
    cirq.PhasedXZGate: cirq.PhasedXZGate(
        x_exponent=0.3217, z_exponent=-0.7431, axis_phase_exponent=1.1593
    ),
    cirq.CXPowGate: cirq.CX**0.3217,
    cirq.CZPowGate: cirq.CZ**0.3217,
}

# Gates that are fully determined by type, exponent and global shift, and so can be cached;
# subclasses may have more attributes.
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

# The number of compiled gates to cache.
_MAX_REMEMBERED = 1_000

# Cirq's gatesets accept any gate that equals one of these, but serializers dispatch on the type.
_LOOKALIKES = (cirq.H, cirq.CNOT, cirq.CZ, cirq.SWAP, cirq.CCX)

# Cirq's compilers gain nothing from larger operations over their parts, and take ten times as long.
_MAX_COMPILED_QUBITS = 3


class Compiler:
    """The compiler to one language's gates.

    Args:
        takes: Whether the language has the gate, once its parameters are resolved.
        gateset: The gateset to which cirq compiles all other gates.
    """

    def __init__(
        self, takes: Callable[[cirq.Gate], bool], gateset: cirq.CompilationTargetGateset
    ) -> None:
        self.takes = takes
        self._gateset = gateset
        self._remembered: dict[object, Sequence[cirq.Operation]] = {}

    def parts(self, step: Step, target: str) -> Iterator[Step]:
        """An unsupported gate, with resolved parameters, as simpler gates.

        Raises:
            UnsupportedProgram: If the gate cannot be compiled.
        """
        gate = step.gate
        if _is_decomposable(gate):
            return (_part(step, operation) for operation in _decomposed(_on_a_line(gate)))
        # Equal gates of different types may differ in the last digit, and a program must not depend
        # on earlier ones.
        key = None
        if type(gate) in _OF_ONE_NUMBER and isinstance(gate, cirq.EigenGate):
            key = type(gate), type(gate.exponent), gate.exponent, gate.global_shift
        operations = self._remembered.get(key)
        if operations is None:
            operations = self._simplified(step, target)
            if key is not None:
                if len(self._remembered) >= _MAX_REMEMBERED:
                    self._remembered.clear()
                self._remembered[key] = operations
        return (_part(step, operation) for operation in operations)

    def rotations(self, step: Step, *, decompose: bool) -> Sequence[Step] | None:
        """The rotations that a gate becomes for all but special values of its parameters.

        None if their form depends on the values, or they appear only after decomposition.
        """
        if isinstance(step.gate, ROTATIONS) and self.takes(step.gate):
            return [step]
        if not decompose or not _is_decomposable(step.gate):
            return None
        rotations: list[Step] = []
        for part in _decomposed(_on_a_line(step.gate)):
            those = self.rotations(_part(step, part), decompose=True)
            if those is None:
                return None
            rotations += those
        return rotations

    def _simplified(self, step: Step, target: str) -> Sequence[cirq.Operation]:
        """Simpler gates that are verified to be equivalent to the gate."""
        operation = _on_a_line(step.gate)
        if not cirq.has_unitary(step.gate):
            raise UnsupportedProgram(
                f"{target} cannot run {shown(step.source)}, which is not unitary or has a "
                "parameter without a value; give every parameter a number."
            )
        for operations in self._ways(operation, target):
            if operations is not None and are_equivalent(operations, operation):
                return operations
        raise UnsupportedProgram(
            f"{target} cannot run {shown(step.source)}: cirq finds no decomposition that is "
            "equivalent; write it in gates on one, two or three qubits, and give every parameter "
            "a number."
        )

    def _ways(
        self, operation: cirq.Operation, target: str
    ) -> Iterator[Sequence[cirq.Operation] | None]:
        """The possible simplifications of an operation, best first; None for a dead end."""
        if len(operation.qubits) > _MAX_COMPILED_QUBITS:
            yield decomposed(operation, target)
        else:
            yield self._compiled(operation)
        matrix = unitary_of(operation)
        if matrix is not None:
            yield self._compiled(cirq.quantum_shannon_decomposition([*operation.qubits], matrix))

    def _compiled(self, operations: cirq.OP_TREE) -> Sequence[cirq.Operation] | None:
        """cirq's compilation, if the language has its gates or they can be decomposed, by type."""
        try:
            circuit = cirq.optimize_for_target_gateset(
                cirq.Circuit(operations), gateset=self._gateset, ignore_failures=False
            )
        except (ValueError, TypeError):
            return None
        compiled = []
        for operation in circuit.all_operations():
            gate = operation.gate
            if not operation.qubits:  # a global phase
                continue
            if gate is not None and not self.takes(gate) and not _is_decomposable(gate):
                gate = next((like for like in _LOOKALIKES if self._is_like(gate, like)), None)
            if gate is None:
                return None
            compiled.append(gate.on(*operation.qubits))
        return compiled

    def _is_like(self, gate: cirq.Gate, lookalike: cirq.Gate) -> bool:
        return self.takes(lookalike) and cirq.equal_up_to_global_phase(gate, lookalike)


def without_many_turns(half_turns: float) -> float:
    """A rotation's exponent, reduced to one period if its angle would be inexact."""
    return math.fmod(half_turns, 4) if abs(half_turns) > _MAX_HALF_TURNS else half_turns


def _is_decomposable(gate: cirq.Gate) -> bool:
    # Gatesets differ in what counts as a whole CZ, but each has only one.
    is_whole_cz = isinstance(gate, cirq.CZPowGate) and gate.exponent % 2 == 1
    kind = next((kind for kind in _DECOMPOSABLE if isinstance(gate, kind)), None)
    return kind is not None and not is_whole_cz and _is_decomposed_right(kind)


@functools.cache
def _is_decomposed_right(kind: type[cirq.Gate]) -> bool:
    operation = _on_a_line(_DECOMPOSABLE[kind])
    return are_equivalent(_decomposed(operation), operation)


def _decomposed(operation: cirq.Operation) -> Sequence[cirq.Operation]:
    """One decomposition step of a gate, whose parameters may be unresolved."""
    gate = operation.gate
    if isinstance(gate, cirq.CZPowGate):
        # diag(1, 1, 1, w**2) is diag(1, w, w, w**2) times diag(1, 1/w, 1/w, 1): ZZ instead of a
        # matrix's two CNOTs, and no matrix.
        a, b = operation.qubits
        half = gate.exponent / 2
        return [cirq.Z(a) ** half, cirq.Z(b) ** half, cirq.ZZ(a, b) ** -half]
    return [part for part in cirq.decompose_once(operation) if part.qubits]


def _on_a_line(gate: cirq.Gate) -> cirq.Operation:
    return gate.on(*cirq.LineQubit.range(cirq.num_qubits(gate)))


def _part(step: Step, operation: cirq.Operation) -> Step:
    """An operation on the first line qubits, as a part of the step."""
    assert operation.gate is not None
    own: list[cirq.Qid] = [*cirq.LineQubit.range(len(step.qubits))]
    qubits = tuple(step.qubits[own.index(qubit)] for qubit in operation.qubits)
    return replace(step, gate=operation.gate, qubits=qubits)
