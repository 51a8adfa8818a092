"""A circuit as providers see it: a flat list of steps on numbered qubits and bits.

Names of qubits and measurement keys become numbers here, so that no name can end up in a program's
text; the job's layout keeps the meaning of the numbers.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import cirq
import numpy as np

from cirq_azure_sessions.errors import UnsupportedProgram
from cirq_azure_sessions.formats.conditions import Condition, chain, signed_cases
from cirq_azure_sessions.formats.gate_numbers import with_plain_numbers
from cirq_azure_sessions.formats.layout import Measurement
from cirq_azure_sessions.formats.unitary import are_equivalent, unitary_of

__all__ = [
    "Condition",
    "Program",
    "Step",
    "check_num_qubits",
    "decomposed",
    "flatten",
    "shown",
    "unrolled",
]

# A condition that only Cirq can evaluate is evaluated for every value of its bits, and written as a
# list of those that fulfil it. If most values of more than a few bits do, the gate is applied
# first, and undone for the others: k bits are zero in one way, and nonzero in 2**k - 1.
_MAX_CONDITION_BITS = 10
_MAX_LISTED_BITS = 3

# Only of simulators, whose size is a property of their software; that of hardware changes, and the
# service reports it. `n_qubits` of the SDK's Qiskit backends (azure-quantum 3.13).
_MAX_QUBITS = {"ionq.simulator": 29}

_MEASURE = cirq.MeasurementGate(1, key="m")
_RESET = cirq.ResetChannel()


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of a program.

    Attributes:
        gate: The gate; a measurement's is `cirq.MeasurementGate(1)` and a reset's
            `cirq.ResetChannel()`.
        qubits: The numbers of the qubits it acts on.
        bit: The number of the bit that a measurement writes; None for any other step.
        condition: When the step is applied; None for always.
        source: The operation of the circuit that it comes from, for messages.
        block: The point of a pack that it belongs to; 0 outside packs.
    """

    gate: cirq.Gate
    qubits: tuple[int, ...]
    bit: int | None = None
    condition: Condition | None = None
    source: cirq.Operation | None = field(default=None, compare=False)
    block: int = 0

    @property
    def is_reset(self) -> bool:
        return self.gate is _RESET


@dataclass(frozen=True, slots=True)
class Program:
    """A flat circuit.

    Attributes:
        steps: The operations, in a valid order.
        measurements: The measurements of the circuit and their bits, in the circuit's order.
        num_qubits: The number of qubits, including idle ones. They are numbered in cirq's sorted
            order; a helper qubit for conditions is the last.
        num_bits: The number of measured bits, including those that only conditions read.
        samples_at_end: Whether `cirq.Simulator` samples this circuit once at its end, instead of
            running it once per repetition. The two differ in dtype and in the order of inversions
            and confusion maps.
    """

    steps: tuple[Step, ...]
    measurements: tuple[Measurement, ...]
    num_qubits: int
    num_bits: int
    samples_at_end: bool

    @property
    def measures_at_end(self) -> bool:
        """Whether nothing but further measurements happens to a measured qubit."""
        measured: set[int] = set()
        for step in self.steps:
            if step.bit is not None:
                measured.update(step.qubits)
            elif step.is_reset or not measured.isdisjoint(step.qubits):
                return False
        return True


def shown(operation: object) -> str:
    """The operation for messages: on one line, with large matrices shortened."""
    text = " ".join(repr(operation).split())
    return text if len(text) <= 200 else f"{text[:140]} ... {text[-50:]}"


def flatten(circuit: cirq.AbstractCircuit, target: str, *, compile: bool = True) -> Program:
    """The circuit as a flat list of steps.

    Subcircuits are unrolled, Pauli measurements become basis changes and measurements, and every
    condition becomes one on measured bits. Parameters may stay unresolved, unless they determine
    the shape of the circuit.

    Args:
        circuit: The circuit.
        target: The target's id.
        compile: Whether a conditional gate may be replaced by equivalent ones.

    Raises:
        UnsupportedProgram: If the circuit has features that no provider's format supports: qudits,
            noise, loops without a fixed end, no measurement; or more qubits than the target.
    """
    if not circuit.has_measurements():
        raise UnsupportedProgram("Circuit has no measurements to sample; add cirq.measure.")
    numbers = {qubit: number for number, qubit in enumerate(sorted(circuit.all_qubits()))}
    for qid in numbers:
        if qid.dimension != 2:
            raise UnsupportedProgram(
                f"{target} has only qubits, and {qid!r} has {qid.dimension} levels; "
                "encode it in qubits or run on local.simulator."
            )
    check_num_qubits(len(numbers), target, _MAX_QUBITS.get(target))
    steps: list[Step] = []
    measurements: list[Measurement] = []
    records: dict[cirq.MeasurementKey, list[Measurement]] = {}
    touched: set[int] = set()
    # A helper qubit evaluates long conditions, a bit at a time.
    scratch = (len(numbers),)
    num_bits = 0
    for whole in circuit.all_operations():
        for operation in unrolled(whole, target):
            gate = operation.without_classical_controls().untagged.gate
            qubits = tuple(numbers[qubit] for qubit in operation.qubits)
            if isinstance(gate, cirq.MeasurementGate):
                bits = range(num_bits, num_bits + len(qubits))
                num_bits += len(qubits)
                for qubit, bit in zip(qubits, bits, strict=True):
                    steps.append(Step(_MEASURE, (qubit,), bit=bit, source=operation))
                try:
                    measurements.append(Measurement.of_gate(gate, bits))
                except ValueError as error:
                    raise UnsupportedProgram(
                        f"The confusion map of {shown(operation)} is {error}; its rows are "
                        "probabilities."
                    ) from error
                records.setdefault(gate.mkey, []).append(measurements[-1])
            elif isinstance(gate, cirq.ResetChannel) and qubits[0] not in touched:
                pass  # the qubit is in |0> as it is
            elif gate is not None and qubits:  # one on no qubits is a global phase
                exponent = gate.exponent if isinstance(gate, cirq.EigenGate) else 0
                if not cirq.is_parameterized(exponent) and not math.isfinite(exponent):
                    raise UnsupportedProgram(
                        f"{shown(operation)} has the exponent {exponent}; give it a finite number."
                    )
                gate = _RESET if isinstance(gate, cirq.ResetChannel) else gate
                parts: _Parts = [(gate, None)]
                if operation.classical_controls:
                    links, parts = _conditional(gate, operation, records, num_bits, target, compile)
                    for link in links:
                        steps += [
                            Step(_RESET, scratch, source=operation),
                            Step(cirq.X, scratch, condition=link, source=operation),
                            Step(_MEASURE, scratch, bit=num_bits, source=operation),
                        ]
                        num_bits += 1
                        touched.update(scratch)
                for done, condition in parts:
                    steps.append(Step(done, qubits, condition=condition, source=operation))
            touched.update(qubits)
    for key, instances in records.items():
        if len({len(instance.bits) for instance in instances}) > 1:
            raise UnsupportedProgram(
                f"Key {str(key)!r} measures different numbers of qubits at different times; "
                "use a separate key for each."
            )
    if not measurements:
        raise UnsupportedProgram(
            "Circuit measures nothing: its measurements are in subcircuits with no repetitions; "
            "repeat them, or leave this point out."
        )
    num_qubits = len(numbers) + touched.issuperset(scratch)
    return Program(
        tuple(steps), tuple(measurements), num_qubits, num_bits, _samples_at_end(circuit)
    )


def check_num_qubits(num_qubits: int, target: str, limit: int | None) -> None:
    """Refuses a program with more qubits than the target has, if that is known."""
    if limit is not None and num_qubits > limit:
        raise UnsupportedProgram(
            f"{target} has at most {limit} qubits and the circuit needs "
            f"{num_qubits}: use fewer qubits, or run on a larger target."
        )


def unrolled(operation: cirq.Operation, target: str) -> Iterator[cirq.Operation]:
    """The operation as gates, measurements and resets, each with all of its classical controls."""
    operation = with_plain_numbers(operation)
    inner = operation.without_classical_controls().untagged
    gate = inner.gate
    basic = cirq.MeasurementGate | cirq.ResetChannel
    if gate is not None and (isinstance(gate, basic) or _is_unitary(gate)):
        yield operation
        return
    if isinstance(inner, cirq.CircuitOperation):
        _check_loop(inner, target)
    if isinstance(gate, cirq.StatePreparationChannel):
        # Cirq does not decompose it. The matrix's first column is the state, up to a phase.
        matrix, _ = np.linalg.qr(np.column_stack([gate.state, np.eye(len(gate.state))]))
        prepare = cirq.MatrixGate(matrix).on(*inner.qubits)
        parts = [
            part.with_classical_controls(*operation.classical_controls)
            for part in (*cirq.reset_each(*inner.qubits), prepare)
        ]
    else:
        parts = cirq.decompose_once(operation.untagged, default=None)
        is_whole = not isinstance(inner, cirq.CircuitOperation) and not cirq.is_parameterized(inner)
        if is_whole and _is_unitary(inner):
            # An operation without a gate. Some only define their effect on a state.
            plain = [part.without_classical_controls() for part in parts or ()]
            if parts is None or not are_equivalent(plain, inner):
                unitary = unitary_of(inner)
                parts = None
                if unitary is not None:
                    whole = cirq.MatrixGate(unitary).on(*inner.qubits)
                    parts = [whole.with_classical_controls(*operation.classical_controls)]
    if parts is None:
        raise UnsupportedProgram(
            f"{target} runs unitary gates, measurements and resets, but not "
            f"{shown(operation)}: leave out noise and random channels, give every parameter a "
            "number, or run on local.simulator."
        )
    for part in parts:
        yield from unrolled(part, target)


def decomposed(operation: cirq.Operation, target: str) -> Sequence[cirq.Operation] | None:
    """A unitary operation decomposed once, into gates; None if Cirq cannot decompose it."""
    parts = cirq.decompose_once(operation, default=None)
    if parts is None:
        return None
    return [gate for part in parts for gate in unrolled(part, target) if gate.qubits]


def _check_loop(subcircuit: cirq.CircuitOperation, target: str) -> None:
    if subcircuit.repeat_until is not None:
        raise UnsupportedProgram(
            f"{target} cannot repeat a subcircuit until {subcircuit.repeat_until}; "
            "give it a number of repetitions or run on local.simulator."
        )
    if cirq.is_parameterized(subcircuit.repetitions):
        raise UnsupportedProgram(
            f"The number of repetitions of a subcircuit is unresolved "
            f"({subcircuit.repetitions}); give its parameter a value."
        )


_Records = Mapping[cirq.MeasurementKey, Sequence[Measurement]]
# Gates and their conditions; None for always.
_Parts = Sequence[tuple[cirq.Gate, Condition | None]]


def _conditional(
    gate: cirq.Gate,
    operation: cirq.Operation,
    records: _Records,
    num_bits: int,
    target: str,
    compile: bool,
) -> tuple[Sequence[Condition], _Parts]:
    """The steps that implement a gate with classical controls.

    Args:
        gate: The gate.
        operation: The operation, with its controls.
        records: The measurements so far.
        num_bits: The number of bits measured so far.
        target: The target's id, for messages.
        compile: Whether it may be applied and undone, or further bits may be measured.

    Returns:
        The conditions of bits to measure first, numbered from `num_bits`; and the gates, which may
        depend on them.
    """
    controls = sorted(operation.classical_controls, key=str)
    read: set[int] = set()
    for control in controls:
        for key in control.keys:
            # Of a repeated key, a condition reads the record with its index, or the last.
            instance = records[key][getattr(control, "index", -1)]
            if instance.confusion:
                raise UnsupportedProgram(
                    f"{shown(operation)} depends on key {instance.key!r}, whose confusion map the "
                    f"client applies only after {target} has run; leave the map out."
                )
            read.update(instance.bits)
    bits = sorted(read)
    inverse = cirq.inverse(gate, None) if compile and gate is not _RESET else None
    if len(bits) > _MAX_CONDITION_BITS:
        cases = links = None
        with contextlib.suppress(LookupError):
            cases = signed_cases(
                controls,
                records,
                has_inverse=inverse is not None,
                is_own_inverse=inverse == gate,
            )
        # If the language compares whole registers, every bit of a set is measured again. A chain
        # needs that once per bit, and half as much for its intermediate values.
        sets = {case.bits for _, case in cases or () if case is not None and len(case.bits) > 1}
        if compile and (cases is None or sum(map(len, sets)) > 2 * len(bits)):
            with contextlib.suppress(LookupError):
                links = chain(controls, records, num_bits)
        if links is not None:
            if not links[-1].bits:  # it holds always, or never
                return [], [(gate, None)] if links[-1].values else []
            return links, [(gate, Condition((num_bits + len(links) - 1,), ((1,),)))]
        if cases is None:
            raise UnsupportedProgram(
                f"{shown(operation)} depends on {len(bits)} measured bits in a way that makes "
                f"the program for {target} too long; use at most {_MAX_CONDITION_BITS} bits, or "
                "compare whole keys with numbers or with each other."
            )
        return [], [(gate if is_done or inverse is None else inverse, c) for is_done, c in cases]
    measured = {key: records[key] for control in controls for key in control.keys}
    lists: tuple[list[tuple[int, ...]], list[tuple[int, ...]]] = ([], [])
    for value in itertools.product((0, 1), repeat=len(bits)):
        store = _store(measured, dict(zip(bits, value, strict=True)))
        try:
            lists[all(control.resolve(store) for control in controls)].append(value)
        except (TypeError, ValueError, AttributeError) as error:
            raise UnsupportedProgram(
                f"Cirq cannot decide {' and '.join(map(str, controls))} for all values of the "
                "keys; read each key either as a number or by its bits."
            ) from error
    unfulfilling, fulfilling = (
        Condition(tuple(bits), tuple(values)).without_idle_bits() for values in lists
    )
    if not fulfilling.values:
        return [], []
    if not fulfilling.bits:
        return [], [(gate, None)]
    is_long = len(fulfilling.values) > len(unfulfilling.values) + 1
    if is_long and len(fulfilling.bits) > _MAX_LISTED_BITS and inverse is not None:
        return [], [(gate, None), (inverse, unfulfilling)]
    return [], [(gate, fulfilling)]


def _store(measured: _Records, value: Mapping[int, int]) -> cirq.ClassicalDataStoreReader:
    """Cirq's record of the measurements, had the machine measured `value`."""
    store = cirq.ClassicalDataDictionaryStore()
    for key, instances in measured.items():
        for one in instances:
            digits = [value.get(bit, 0) ^ (k in one.inverted) for k, bit in enumerate(one.bits)]
            store.record_measurement(key, digits, cirq.LineQubit.range(len(digits)))
    return store


def _samples_at_end(circuit: cirq.AbstractCircuit) -> bool:
    """Whether only plain measurements follow the leading unitaries.

    The rule is that of `cirq.sim.simulator_base.SimulatorBase._run`.
    """
    measured: set[cirq.Qid] = set()
    for operation in circuit.all_operations():
        if isinstance(operation.gate, cirq.MeasurementGate):
            measured.update(operation.qubits)
        elif (
            not measured.isdisjoint(operation.qubits)
            or operation.classical_controls
            or cirq.is_measurement(operation)
            or not _is_unitary(operation)
        ):
            return False
    return True


def _is_unitary(value: cirq.Gate | cirq.Operation) -> bool:
    """Whether the operation is unitary, or will be once its parameters are resolved."""
    try:
        return cirq.is_parameterized(value) or cirq.has_unitary(value)
    except (TypeError, ValueError):
        # Gates without support for parameters fail in computations with them.
        return False
