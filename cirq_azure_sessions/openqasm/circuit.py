"""OpenQASM 2 programs as Cirq circuits whose moments keep the program's order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import cirq
import sympy

from cirq_azure_sessions.openqasm.reader import Program
from cirq_azure_sessions.workspaces.local.program import Condition, Statement, invalid_input

__all__ = ["to_circuit"]

# Longer formulas are slow in SymPy, in every shot.
_MAX_INEQUALITY = 64

_RELATIONS = {"!=": sympy.Ne, "<": sympy.Lt, "<=": sympy.Le, ">": sympy.Gt, ">=": sympy.Ge}


def to_circuit(program: Program) -> cirq.Circuit:
    """The circuit of a program.

    A bit that is measured several times has one record for each time. Cirq has no conditional
    measurements, so they measure a helper qubit, which repeats the bit's earlier value if the
    condition does not hold.
    """
    return cirq.Circuit(_moments(_Writer(program).operations()))


def _moments(operations: Iterable[cirq.Operation]) -> Iterator[cirq.Moment]:
    """Moments, with each operation in the first one after those that share a qubit or key with it.

    Cirq's own placement, up to version 1.6, may move a measurement before a condition on the
    earlier value of its key.
    """
    moments: list[list[cirq.Operation]] = []
    # The number of moments used, for each qubit and key.
    taken: dict[cirq.Qid | cirq.MeasurementKey, int] = {}
    for operation in operations:
        shared: tuple[cirq.Qid | cirq.MeasurementKey, ...] = (
            *operation.qubits,
            *cirq.measurement_key_objs(operation),
            *cirq.control_keys(operation),
        )
        index = max(taken.get(each, 0) for each in shared)
        taken.update(dict.fromkeys(shared, index + 1))
        if index == len(moments):
            moments.append([])
        moments[index].append(operation)
    return map(cirq.Moment, moments)


class _Writer:
    """Writes the operations of one program."""

    def __init__(self, program: Program) -> None:
        self._program = program
        # State: the bits that were measured, and the helpers of conditional measurements.
        self._measured: set[str] = set()
        self._helpers: set[cirq.Qid] = set()
        self._bit_conditions: dict[tuple[str, int], cirq.Condition] = {}

    def operations(self) -> Iterator[cirq.Operation]:
        for statement in self._program.statements:
            yield from self._write(statement)

    def _write(self, statement: Statement) -> Iterator[cirq.Operation]:
        conditions: Sequence[cirq.Condition] | None = []
        if statement.condition is not None:
            conditions = self._conditions(statement.condition)
        if conditions is None:
            return
        measurements: list[cirq.Operation] = []
        for operation in statement.operations:
            if not isinstance(operation.gate, cirq.MeasurementGate):
                yield operation.with_classical_controls(*conditions)
            elif conditions:
                yield from self._prepare(operation, conditions)
                key = operation.gate.key
                measurements.append(cirq.measure(_helper(key), key=key))
            else:
                measurements.append(operation)
        # Written last, because they may change what their own condition reads.
        yield from measurements
        self._measured |= {cirq.measurement_key_name(each) for each in measurements}

    def _prepare(
        self, operation: cirq.Operation, conditions: Sequence[cirq.Condition]
    ) -> Iterator[cirq.Operation]:
        """Sets a helper to the bit's new value: the qubit's, or the old one if they do not hold."""
        key = cirq.measurement_key_name(operation)
        helper = _helper(key)
        if helper in self._helpers:
            yield cirq.reset(helper)
        self._helpers.add(helper)
        if key in self._measured:
            yield cirq.X(helper).with_classical_controls(key)
            yield cirq.reset(helper).with_classical_controls(*conditions)
        yield cirq.CNOT(operation.qubits[0], helper).with_classical_controls(*conditions)

    def _conditions(self, condition: Condition) -> Sequence[cirq.Condition] | None:
        """The conditions that must hold, possibly none, or None if they cannot hold.

        Bits that were never measured are zero.
        """
        size = len(condition.keys)
        places = [i for i, bit in enumerate(condition.keys) if bit in self._measured]
        if condition.comparison != "==":
            return self._inequality(condition, places)
        if condition.value >> size or condition.value & ~sum(1 << place for place in places):
            return None
        return [
            self._bit_is(condition.keys[place], condition.value >> place & 1) for place in places
        ]

    def _bit_is(self, bit: str, value: int) -> cirq.Condition:
        """Cached, because programs may have thousands of conditions on a bit."""
        if (bit, value) not in self._bit_conditions:
            self._bit_conditions[bit, value] = cirq.BitMaskKeyCondition(
                bit, target_value=value, equal_target=True
            )
        return self._bit_conditions[bit, value]

    def _inequality(
        self, condition: Condition, places: Sequence[int]
    ) -> Sequence[cirq.Condition] | None:
        if len(places) > _MAX_INEQUALITY:
            raise invalid_input(
                f"A condition other than == may have at most {_MAX_INEQUALITY} bits."
            )
        terms = [sympy.Symbol(condition.keys[i]) * (1 << i) for i in places]
        number = sympy.Add(*terms)
        holds = _RELATIONS[condition.comparison](number, condition.value)
        if holds in (sympy.true, sympy.false):
            return [] if holds == sympy.true else None
        return [cirq.SympyCondition(holds)]


def _helper(key: str) -> cirq.Qid:
    # Names of registers have no spaces, so this one is unique.
    return cirq.NamedQubit(f"if {key}")
