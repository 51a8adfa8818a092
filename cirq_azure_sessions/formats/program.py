"""A circuit as the providers see it: a flat list of steps on numbered qubits and numbered bits.

Names of qubits and measurement keys end here. What goes on is numbers, so that no name can end up
in a program's text; what the numbers mean stays with the job in its layout.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import cirq
import numpy as np

from cirq_azure_sessions.errors import UnsupportedProgram
from cirq_azure_sessions.formats.layout import Measurement
from cirq_azure_sessions.formats.limits import max_qubits

__all__ = ["Condition", "Program", "Step", "flatten", "shown"]

# A condition on k measured bits is written out as the list of the bit values that fulfil it,
# which is at most 2**k long.
_MAX_CONDITION_BITS = 10


@dataclass(frozen=True, slots=True)
class Condition:
    """When a classically controlled step is done: when `bits` have one of `values`.

    Attributes:
        bits: Numbers of measured bits, as the machine measured them: before any inversion.
        values: The values of those bits, as tuples of 0 and 1 in the order of `bits`.
    """

    bits: tuple[int, ...]
    values: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of a program.

    Attributes:
        gate: The gate; a measurement's is `cirq.MeasurementGate(1)` and a reset's
            `cirq.ResetChannel()`.
        qubits: The numbers of the qubits it acts on.
        bit: The number of the bit that a measurement writes; None for every other step.
        condition: When the step is done; None for always.
        source: The operation of the circuit that it comes from, for messages.
    """

    gate: cirq.Gate
    qubits: tuple[int, ...]
    bit: int | None = None
    condition: Condition | None = None
    source: cirq.Operation | None = field(default=None, compare=False)

    @property
    def is_measurement(self) -> bool:
        return self.bit is not None

    @property
    def is_reset(self) -> bool:
        return isinstance(self.gate, cirq.ResetChannel)

    @property
    def operation(self) -> cirq.Operation:
        """The gate on `cirq.LineQubit`s of the step's numbers."""
        return self.gate.on(*map(cirq.LineQubit, self.qubits))


@dataclass(frozen=True, slots=True)
class Program:
    """A flat circuit.

    Attributes:
        steps: The operations, in an order in which they may be done.
        measurements: What each measurement of the circuit writes where, in the circuit's order.
        num_qubits: How many qubits there are, idle ones included. They are numbered as cirq sorts
            them.
        samples_at_end: Whether `cirq.Simulator` samples this circuit once at its end, instead of
            running it once a repetition. The two differ in their dtype and in the order in which
            they invert and confuse.
    """

    steps: tuple[Step, ...]
    measurements: tuple[Measurement, ...]
    num_qubits: int
    samples_at_end: bool

    @property
    def measures_at_end(self) -> bool:
        """Whether nothing but further measurements happens to a measured qubit."""
        measured: set[int] = set()
        for step in self.steps:
            if step.is_measurement:
                measured.update(step.qubits)
            elif step.is_reset or not measured.isdisjoint(step.qubits):
                return False
        return True

    @property
    def num_bits(self) -> int:
        return sum(len(measurement.bits) for measurement in self.measurements)


def shown(operation: object) -> str:
    """The operation as a message shows it: on one line, and not all of a large matrix."""
    text = " ".join(repr(operation).split())
    return text if len(text) <= 200 else f"{text[:140]} ... {text[-50:]}"


def flatten(circuit: cirq.AbstractCircuit, target: str) -> Program:
    """The circuit as a flat list of steps.

    Subcircuits are unrolled, Pauli measurements become basis changes and measurements, and every
    condition becomes one on measured bits. Parameters may stay open, except in what decides the
    shape of the circuit.

    Raises:
        UnsupportedProgram: If the circuit holds what no provider's format can say: qudits, noise,
            loops without a fixed end, no measurement at all; or more qubits than the target.
    """
    qubits = sorted(circuit.all_qubits())
    if not circuit.has_measurements():
        raise UnsupportedProgram("Circuit has no measurements to sample; add cirq.measure.")
    for qubit in qubits:
        if qubit.dimension != 2:
            raise UnsupportedProgram(
                f"{target} has qubits only, and {qubit!r} has {qubit.dimension} levels; "
                "encode it in qubits or run on local.simulator."
            )
    most = max_qubits(target)
    if most is not None and len(qubits) > most:
        raise UnsupportedProgram(
            f"{target} has at most {most} qubits and the circuit {len(qubits)}: "
            "take qubits out of it, or run on a target with more."
        )
    builder = _Builder(target, {qubit: number for number, qubit in enumerate(qubits)})
    for operation in circuit.all_operations():
        for simple in _unrolled(operation, target):
            builder.add(simple)
    builder.check_shapes()
    if not builder.measurements:
        raise UnsupportedProgram(
            "Circuit measures nothing: its measurements are in subcircuits with no repetitions; "
            "repeat them, or leave this point out."
        )
    return Program(
        steps=tuple(builder.steps),
        measurements=tuple(builder.measurements),
        num_qubits=len(qubits),
        samples_at_end=_samples_at_end(circuit),
    )


def _unrolled(operation: cirq.Operation, target: str) -> Iterator[cirq.Operation]:
    """The operation as gates, measurements and resets, each with all of its classical controls."""
    inner = operation.without_classical_controls().untagged
    if inner.gate is not None and _is_basic(inner.gate):
        yield operation
        return
    if isinstance(inner, cirq.CircuitOperation):
        _check_loop(inner, target)
    parts = _prepared(operation) or cirq.decompose_once(operation.untagged, None)
    if parts is None:
        raise UnsupportedProgram(
            f"{target} runs unitary gates, measurements and resets, and {shown(operation)} is "
            "none of them: leave out noise and random channels, give every parameter a number, "
            "or run on local.simulator."
        )
    for part in parts:
        yield from _unrolled(part, target)


def _is_basic(gate: cirq.Gate) -> bool:
    return isinstance(gate, cirq.MeasurementGate | cirq.ResetChannel) or _is_unitary(gate)


def _prepared(operation: cirq.Operation) -> list[cirq.Operation] | None:
    """Resets and a matrix, if the operation prepares a state; cirq does not take that apart."""
    gate = operation.without_classical_controls().untagged.gate
    if not isinstance(gate, cirq.StatePreparationChannel):
        return None
    # Its first column is the state, up to a phase.
    matrix, _ = np.linalg.qr(np.column_stack([gate.state, np.eye(len(gate.state))]))
    parts = [*cirq.reset_each(*operation.qubits), cirq.MatrixGate(matrix).on(*operation.qubits)]
    return [part.with_classical_controls(*operation.classical_controls) for part in parts]


def _check_loop(subcircuit: cirq.CircuitOperation, target: str) -> None:
    if subcircuit.repeat_until is not None:
        raise UnsupportedProgram(
            f"{target} cannot repeat a subcircuit until {subcircuit.repeat_until}; "
            "give it a number of repetitions or run on local.simulator."
        )
    if cirq.is_parameterized(subcircuit.repetitions):
        raise UnsupportedProgram(
            f"How often a subcircuit repeats is still open ({subcircuit.repetitions}); "
            "give its parameter a value."
        )


class _Builder:
    """Numbers bits as measurements come, and knows which bits a key means at any moment."""

    def __init__(self, target: str, numbers: Mapping[cirq.Qid, int]) -> None:
        self.steps: list[Step] = []
        self.measurements: list[Measurement] = []
        self._target = target
        self._numbers = numbers
        self._instances: dict[cirq.MeasurementKey, list[Measurement]] = {}
        self._next_bit = itertools.count()
        self._touched: set[int] = set()

    def add(self, operation: cirq.Operation) -> None:
        gate = operation.without_classical_controls().untagged.gate
        assert gate is not None
        qubits = tuple(self._numbers[qubit] for qubit in operation.qubits)
        if isinstance(gate, cirq.MeasurementGate):
            self._measure(gate, qubits, operation)
        elif isinstance(gate, cirq.ResetChannel):
            # A qubit that nothing has touched is in |0> as it is.
            if qubits[0] in self._touched:
                self._append(gate, qubits, operation)
        elif isinstance(gate, cirq.GlobalPhaseGate):
            pass
        else:
            self._append(gate, qubits, operation)
        self._touched.update(qubits)

    def _append(self, gate: cirq.Gate, qubits: tuple[int, ...], source: cirq.Operation) -> None:
        condition = self._condition(source)
        if condition is None or len(condition.values) == 2 ** len(condition.bits):
            self.steps.append(Step(gate, qubits, source=source))
        elif condition.values:
            self.steps.append(Step(gate, qubits, condition=condition, source=source))

    def _measure(
        self, gate: cirq.MeasurementGate, qubits: tuple[int, ...], source: cirq.Operation
    ) -> None:
        bits = tuple(itertools.islice(self._next_bit, len(qubits)))
        try:
            measurement = Measurement.of_gate(gate, bits)
        except ValueError as error:
            raise UnsupportedProgram(
                f"The confusion map of {shown(source)} is {error}; its rows are probabilities."
            ) from error
        self.measurements.append(measurement)
        self._instances.setdefault(gate.mkey, []).append(measurement)
        single = cirq.MeasurementGate(1, key="m")
        for qubit, bit in zip(qubits, bits, strict=True):
            self.steps.append(Step(single, (qubit,), bit=bit, source=source))

    def _condition(self, operation: cirq.Operation) -> Condition | None:
        controls = operation.classical_controls
        if not controls:
            return None
        measured = {
            key: self._instances_of(key, operation) for control in controls for key in control.keys
        }
        read = sorted({bit for control in controls for bit in _bits_read(control, measured)})
        for instance in itertools.chain.from_iterable(measured.values()):
            if instance.confusion and not set(read).isdisjoint(instance.bits):
                raise UnsupportedProgram(
                    f"{shown(operation)} depends on key {instance.key!r}, whose confusion map only "
                    f"the client applies, after {self._target} has run; leave the map out."
                )
        return _truth_table(controls, measured, read)

    def _instances_of(
        self, key: cirq.MeasurementKey, operation: cirq.Operation
    ) -> Sequence[Measurement]:
        if key not in self._instances:
            raise UnsupportedProgram(
                f"{shown(operation)} depends on key {str(key)!r} before it is measured; "
                "measure it in an earlier moment."
            )
        return tuple(self._instances[key])

    def check_shapes(self) -> None:
        for key, instances in self._instances.items():
            if len({len(instance.bits) for instance in instances}) > 1:
                raise UnsupportedProgram(
                    f"Key {str(key)!r} measures different numbers of qubits at different times; "
                    "give each its own key."
                )


_Measured = Mapping[cirq.MeasurementKey, Sequence[Measurement]]


def _bits_read(control: cirq.Condition, measured: _Measured) -> Iterator[int]:
    """The bits that the condition can depend on."""
    # Cirq's conditions read one record of a repeated key: the one with their index, or the last.
    for key in control.keys:
        index = getattr(control, "index", -1)
        try:
            yield from measured[key][index].bits
        except IndexError:
            raise UnsupportedProgram(
                f"The condition {shown(control)} reads a record of key {str(key)!r} that is not "
                "measured by then; use a smaller index."
            ) from None


def _truth_table(
    controls: frozenset[cirq.Condition], measured: _Measured, bits: Sequence[int]
) -> Condition:
    """Asks cirq's own conditions about every value of the bits they read."""
    if len(bits) > _MAX_CONDITION_BITS:
        raise UnsupportedProgram(
            f"A condition on {len(bits)} measured bits is too much for one operation; "
            f"use at most {_MAX_CONDITION_BITS}."
        )
    values = []
    for value in itertools.product((0, 1), repeat=len(bits)):
        record = _record(measured, dict(zip(bits, value, strict=True)))
        if all(control.resolve(record) for control in controls):
            values.append(value)
    return _without_idle_bits(Condition(tuple(bits), tuple(values)))


def _record(measured: _Measured, value: Mapping[int, int]) -> cirq.ClassicalDataStoreReader:
    """Cirq's record of the measurements, had the machine measured `value`."""
    return cirq.ClassicalDataDictionaryStore(
        _records={
            key: [
                tuple(value.get(bit, 0) ^ (k in one.inverted) for k, bit in enumerate(one.bits))
                for one in instances
            ]
            for key, instances in measured.items()
        },
        _measured_qubits={
            key: [tuple(cirq.LineQubit(bit) for bit in one.bits) for one in instances]
            for key, instances in measured.items()
        },
    )


def _without_idle_bits(condition: Condition) -> Condition:
    """Leaves out the bits that do not matter, such as earlier records of a repeated key."""
    for k in range(len(condition.bits)):
        fulfilling = set(condition.values)
        if all((*v[:k], 1 - v[k], *v[k + 1 :]) in fulfilling for v in fulfilling):
            bits = condition.bits[:k] + condition.bits[k + 1 :]
            values = tuple(sorted({value[:k] + value[k + 1 :] for value in fulfilling}))
            return _without_idle_bits(Condition(bits, values))
    return condition


def _samples_at_end(circuit: cirq.AbstractCircuit) -> bool:
    """Whether nothing but plain measurements is left once the leading unitaries are done.

    The rule is that of `cirq.sim.simulator_base.SimulatorBase._run`.
    """
    measured: set[cirq.Qid] = set()
    for operation in circuit.all_operations():
        if isinstance(operation.gate, cirq.MeasurementGate):
            measured.update(operation.qubits)
        elif not measured.isdisjoint(operation.qubits) or not _can_come_first(operation):
            return False
    return True


def _can_come_first(operation: cirq.Operation) -> bool:
    is_plain = not operation.classical_controls and not cirq.is_measurement(operation)
    return is_plain and _is_unitary(operation)


def _is_unitary(value: cirq.Gate | cirq.Operation) -> bool:
    """Whether it is unitary, or will be once its parameters have values."""
    try:
        return cirq.is_parameterized(value) or cirq.has_unitary(value)
    except (TypeError, ValueError):
        # Gates that do not know about parameters compute with them all the same.
        return False
