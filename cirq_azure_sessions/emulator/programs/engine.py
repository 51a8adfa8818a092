"""Runs programs on state vectors: exact probabilities, or samples with the noise of a Cirq model.

Parts that share no qubit and no bit are simulated separately. Shots with the same history share one
state vector, which is split only where they randomly diverge: at a mid-circuit measurement, a reset
or an error. `cirq.Simulator` runs such programs shot by shot, which takes a hundred times as long.
Gates, channels and measurements are still those of Cirq.
"""

from __future__ import annotations

import copy
import functools
import operator
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import cirq
import networkx as nx
import numpy as np
from numpy.typing import NDArray

from cirq_azure_sessions.emulator.programs.limits import Budget, invalid_input
from cirq_azure_sessions.emulator.programs.program import Condition, Statement
from cirq_azure_sessions.noise import is_silent

__all__ = ["probabilities", "sample"]

# 64 MB for one state vector, and as much again as workspace.
MAX_QUBITS = 22

# Above this many qubits, samples use single precision: several state vectors may be pending at
# once, and the job has to stay within its memory limit.
_MAX_PRECISE = 18

# Up to this many amplitudes applying the matrix of a gate is faster than Cirq's alternatives.
_SMALL = 1 << 10

# Amplitudes held in one batch, 16 MB, unless two state vectors need more.
_BATCH_SIZE = 1 << 20

# Costs in units of the budget: the overhead of a call to Cirq, a bit of a condition, and, for each
# amplitude, a choice between operators.
_OVERHEAD = 2_000
_CHOICE = 2
_COMPARISON = 50

# Bytes per bit in a result as a list and as text, and per outcome in a histogram.
_BIT_SIZE = 12
_OUTCOME_SIZE = 256

# Smaller probabilities are rounding errors, and are dropped.
_NEGLIGIBLE = 1e-12

_PROJECTORS = (np.diag([1.0, 0.0]), np.diag([0.0, 1.0]))

_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def sample(
    statements: Iterable[Statement],
    keys: Sequence[str],
    shots: int,
    noise: cirq.NoiseModel,
    rng: np.random.Generator,
    budget: Budget,
) -> NDArray[np.uint8]:
    """Samples a program.

    Returns:
        The bits at the end of each shot: one row per shot, one column per key.

    Raises:
        ProgramError: If that takes more memory or work than one job may use.
    """
    budget.hold(_BIT_SIZE * shots * len(keys))
    bits = np.zeros((shots, len(keys)), dtype=np.uint8)
    columns = {key: column for column, key in enumerate(keys)}
    for component in _components(_with_noise(statements, noise)):
        body, measured = _defer_measurements(component)
        finished = []
        waiting = [(_Batch(_qubits_of(component), _keys_of(component), shots, rng, budget), 0)]
        while waiting:
            batch, position = waiting.pop()
            while position < len(body):
                batch.run(body[position])
                position += 1
                # The part that continues has at most half of the shots, so few parts are ever
                # pending.
                if batch.is_full:
                    waiting.append((batch.take_half(), position))
            finished.append(batch.finish(measured))
        found = rng.permutation(np.concatenate(finished))
        for column, key in enumerate(_keys_of(component)):
            bits[:, columns[key]] = found[:, column]
    return bits


def probabilities(operations: Sequence[cirq.Operation], budget: Budget) -> dict[int, float]:
    """The exact outcome probabilities of measuring all qubits after some gates.

    Returns:
        The nonzero probabilities by outcome, in ascending order of outcomes, rounded to twelve
        digits; `LineQubit(q)` is bit q of the outcome.
    """
    outcomes, weights = np.zeros(1, dtype=np.int64), np.ones(1)
    for component in _components([Statement([operation]) for operation in operations]):
        batch = _Batch(_qubits_of(component), [], 1, np.random.default_rng(0), budget)
        for statement in component:
            batch.run(statement)
        more, their_weights = batch.outcomes()
        budget.hold(_OUTCOME_SIZE * (len(outcomes) * len(more) - len(outcomes)))
        outcomes = (outcomes[:, None] | more).ravel()
        weights = (weights[:, None] * their_weights).ravel()
        outcomes, weights = outcomes[weights > _NEGLIGIBLE], weights[weights > _NEGLIGIBLE]
    order = np.argsort(outcomes)
    pairs = zip(outcomes[order].tolist(), weights[order].tolist(), strict=True)
    return {outcome: float(f"{weight:.12g}") for outcome, weight in pairs}


def _with_noise(statements: Iterable[Statement], noise: cirq.NoiseModel) -> Iterator[Statement]:
    for statement in statements:
        operations = [*statement.operations]
        if not is_silent(noise):
            operations = [*cirq.flatten_to_ops(map(noise.noisy_operation, operations))]
        if statement.condition is None:
            # Independent parts need not be simulated together.
            yield from (Statement([operation]) for operation in operations)
        elif operations:
            yield Statement(operations, statement.condition)


def _components(statements: Iterable[Statement]) -> Iterable[list[Statement]]:
    """Groups of statements that share no qubit and no bit with each other."""
    statements = [*statements]
    groups = nx.utils.UnionFind()
    # Thousands of conditions may read the same register, so join it only once.
    registers = {id(s.condition.keys): s.condition.keys for s in statements if s.condition}
    for register in registers.values():
        groups.union(*register)
    for statement in statements:
        groups.union(*_wires(statement))
    components: dict[Hashable, list[Statement]] = defaultdict(list)
    for statement in statements:
        components[groups[_wires(statement)[0]]].append(statement)
    return components.values()


def _wires(statement: Statement) -> list[Hashable]:
    """The qubits of a statement, its keys, and the first key of its condition."""
    wires: list[Hashable] = []
    for operation in statement.operations:
        wires += [*operation.qubits, *_keys(operation)]
    return wires if statement.condition is None else [*wires, statement.condition.keys[0]]


def _keys(operation: cirq.Operation) -> list[str]:
    gate = operation.gate
    return [gate.key] if isinstance(gate, cirq.MeasurementGate) else []


def _operations(component: Iterable[Statement]) -> Iterator[cirq.Operation]:
    return (operation for statement in component for operation in statement.operations)


def _qubits_of(component: Iterable[Statement]) -> list[cirq.Qid]:
    return sorted({qubit for each in _operations(component) for qubit in each.qubits})


def _keys_of(component: Iterable[Statement]) -> list[str]:
    return sorted({key for each in _operations(component) for key in _keys(each)})


def _defer_measurements(
    component: Iterable[Statement],
) -> tuple[list[Statement], dict[str, cirq.Operation]]:
    """Splits off the terminal measurements, whose qubit and bit are not used again.

    Returns:
        The program without them, and the measurement of each of their bits.
    """
    body: list[Statement] = []
    measured: dict[str, cirq.Operation] = {}
    busy: set[Hashable] = set()
    for statement in reversed([*component]):
        wires = _wires(statement)
        operation = statement.operations[0]
        if _keys(operation) and statement.condition is None and busy.isdisjoint(wires):
            # Of several measurements into one bit the last counts; this loop meets it first.
            measured.setdefault(_keys(operation)[0], operation)
        else:
            body.append(statement)
            busy.update(wires, statement.condition.keys if statement.condition else ())
    return body[::-1], measured


class _Batch:
    """The shots of one component, with one row for each group of shots that have the same history.

    Not thread-safe.
    """

    def __init__(
        self,
        qubits: Sequence[cirq.Qid],
        keys: Sequence[str],
        shots: int,
        rng: np.random.Generator,
        budget: Budget,
    ) -> None:
        if len(qubits) > MAX_QUBITS:
            raise invalid_input(
                f"The emulator simulates up to {MAX_QUBITS} qubits that depend on each other, and "
                f"the program has {len(qubits)}."
            )
        self._axis = {qubit: axis for axis, qubit in enumerate(qubits, start=1)}
        self._column = {key: column for column, key in enumerate(keys)}
        self._rng = rng
        self._budget = budget
        # State: for each row (axis 0) the state vector (one axis per qubit), the classical bits,
        # and the number of shots.
        is_large = shots > 1 and len(qubits) > _MAX_PRECISE
        dtype = np.complex64 if is_large else np.complex128
        self._states = np.zeros((1, *[2] * len(qubits)), dtype=dtype)
        self._states.flat[0] = 1
        self._bits = np.zeros((1, len(keys)), dtype=np.uint8)
        self._shots = np.array([shots])

    def run(self, statement: Statement) -> None:
        """Runs a statement in all rows, or in those where its condition holds."""
        if statement.condition is None:
            for operation in statement.operations:
                self._apply(operation)
            return
        holds = self._compare(statement.condition)
        if not holds.any():
            return
        others = self._take(~holds)
        for operation in statement.operations:
            self._apply(operation)
        self._states = np.concatenate([self._states, others._states])
        self._bits = np.concatenate([self._bits, others._bits])
        self._shots = np.concatenate([self._shots, others._shots])

    def _compare(self, condition: Condition) -> NDArray[np.bool_]:
        """The rows in which a condition holds."""
        width = len(condition.keys)
        self._budget.spend(_OVERHEAD + width * (_COMPARISON + len(self._bits)))
        order: Any = -1
        if not condition.value >> width:
            # Bit by bit, because a register may be wider than any NumPy integer.
            differences = np.zeros((len(self._bits), width), dtype=np.int8)
            for place, key in enumerate(reversed(condition.keys)):
                if key in self._column:
                    differences[:, place] = self._bits[:, self._column[key]]
            digits = f"{condition.value:0{width}b}".encode()
            differences -= np.frombuffer(digits, np.int8) - np.int8(ord("0"))
            first = np.argmax(differences != 0, axis=1)
            order = differences[np.arange(len(differences)), first]
        return np.broadcast_to(_COMPARISONS[condition.comparison](order, 0), len(self._bits))

    def _apply(self, operation: cirq.Operation) -> None:
        self._spend()
        gate = operation.gate
        axes = [self._axis[qubit] for qubit in operation.qubits]
        if isinstance(gate, cirq.MeasurementGate):
            self._measure(gate, axes)
            return
        if self._states.size <= _SMALL and (tensor := _unitary(gate)) is not None:
            self._states = cirq.targeted_left_multiply(tensor, self._states, axes)
            return
        if (mixture := _mixture(gate)) is not None:
            self._mix(*mixture, axes)
            return
        buffer = np.empty_like(self._states)
        arguments = cirq.ApplyUnitaryArgs(self._states, buffer, axes)
        states = cirq.apply_unitary(operation, arguments, default=None)
        if states is not None:
            self._states = states
        else:
            self._choose(_tensors(cirq.kraus(operation)), axes)

    def _mix(self, weights: Sequence[float], operators: Sequence[Any], axes: Sequence[int]) -> None:
        """Applies one of several unitaries, chosen by weight; None is the identity."""
        event = self._split(self._rng.multinomial(self._shots, weights))
        for number in np.unique(event):
            if operators[number] is not None:
                rows = event == number
                self._states[rows] = cirq.targeted_left_multiply(
                    operators[number], self._states[rows], axes
                )

    def _choose(self, operators: Sequence[Any], axes: Sequence[int]) -> NDArray[np.uint8]:
        """Applies one of several Kraus operators, and returns the index chosen in each row."""
        self._budget.spend(_CHOICE * len(operators) * self._states.size)
        made = np.stack(
            [cirq.targeted_left_multiply(each, self._states, axes) for each in operators], axis=1
        )
        weights = (np.abs(made) ** 2).reshape(*made.shape[:2], -1).sum(axis=2, dtype=np.float64)
        self._shots, rows, event = _part(
            self._rng.multinomial(self._shots, weights / weights.sum(axis=1, keepdims=True))
        )
        norm = np.sqrt(weights[rows, event]).reshape(-1, *[1] * len(self._axis))
        self._states, self._bits = made[rows, event] / norm, self._bits[rows]
        return event

    def _measure(self, gate: cirq.MeasurementGate, axes: Sequence[int]) -> None:
        """Measures a qubit into a bit; readout errors affect only the bit."""
        bit = self._column[gate.key]
        outcome = self._choose(_PROJECTORS, axes)
        self._bits[:, bit] = outcome
        errors = _readout_errors(gate)
        if any(errors):
            wrong = self._rng.binomial(self._shots, np.where(outcome, *errors[::-1]))
            flip = self._split(np.column_stack([self._shots - wrong, wrong]))
            self._bits[:, bit] ^= flip

    def _split(self, shots: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Splits each row by the events of its shots.

        Args:
            shots: The number of shots of each row (first axis) for each event (second axis).

        Returns:
            The event of each new row.
        """
        self._shots, rows, event = _part(shots)
        # Every row has shots, so an unchanged number of rows means that none was split.
        if len(rows) > len(self._states):
            self._states, self._bits = self._states[rows], self._bits[rows]
            self._spend()
        return event

    def _spend(self) -> None:
        # Copying many bits takes time too: two of them as much as an amplitude.
        self._budget.spend(self._states.size + self._bits.size // 2 + _OVERHEAD)

    @property
    def is_full(self) -> bool:
        """Whether the batch is so large that part of it should be deferred."""
        return len(self._shots) > 1 and self._states.size > _BATCH_SIZE

    def take_half(self) -> _Batch:
        """Takes out the half of the rows with the most shots."""
        rows = np.zeros(len(self._shots), dtype=np.bool_)
        rows[np.argsort(self._shots)[len(rows) // 2 :]] = True
        return self._take(rows)

    def _take(self, rows: NDArray[np.bool_]) -> _Batch:
        taken = copy.copy(self)
        taken._states, self._states = self._states[rows], self._states[~rows]
        taken._bits, self._bits = self._bits[rows], self._bits[~rows]
        taken._shots, self._shots = self._shots[rows], self._shots[~rows]
        return taken

    def finish(self, measured: Mapping[str, cirq.Operation]) -> NDArray[np.uint8]:
        """Makes these final measurements, and returns the bits, one row per shot."""
        self._spend()
        rows, outcomes = np.nonzero(counts := self._rng.multinomial(self._shots, self._weights()))
        bits = self._bits[rows]
        for key, operation in measured.items():
            bits[:, self._column[key]] = self._bit_of(outcomes, operation.qubits[0])
        bits = np.repeat(bits, counts[rows, outcomes], axis=0)
        for key, operation in measured.items():
            errors = _readout_errors(operation.gate)
            if any(errors):
                column = bits[:, self._column[key]]
                column ^= self._rng.random(len(column)) < np.where(column, *errors[::-1])
        return bits

    def outcomes(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The outcomes of the only row, where `LineQubit(q)` is bit q, and their weights."""
        (weights,) = self._weights()
        (outcomes,) = np.nonzero(weights > _NEGLIGIBLE)
        numbers = np.zeros(len(outcomes), dtype=np.int64)
        for qubit in self._axis:
            assert isinstance(qubit, cirq.LineQubit)
            numbers |= self._bit_of(outcomes, qubit) << qubit.x
        return numbers, weights[outcomes]

    def _weights(self) -> NDArray[np.float64]:
        """The probability of each basis state, in each row."""
        states = self._states.reshape(len(self._shots), -1)
        # Probabilities have to add up to one more precisely than in single precision.
        weights: NDArray[np.float64] = np.abs(states).astype(np.float64) ** 2
        weights /= weights.sum(axis=1, keepdims=True)
        return weights

    def _bit_of(self, outcomes: NDArray[np.int64], qubit: cirq.Qid) -> NDArray[np.int64]:
        """The value of a qubit in basis states, given as state vector indices."""
        return outcomes >> (len(self._axis) - self._axis[qubit]) & 1


def _part(counts: NDArray[np.int64]) -> tuple[Any, Any, NDArray[np.uint8]]:
    """The shots, the old row and the event of each new row: one for each pair with shots."""
    rows, events = np.nonzero(counts)
    return counts[rows, events], rows, events.astype(np.uint8)


@functools.lru_cache(maxsize=1024)
def _unitary(gate: cirq.Gate | None) -> Any:
    """The tensor of a unitary gate, or None."""
    matrix = cirq.unitary(gate, default=None)
    return None if matrix is None else _tensors([matrix])[0]


@functools.lru_cache(maxsize=1024)
def _mixture(gate: cirq.Gate | None) -> tuple[Sequence[float], Sequence[Any]] | None:
    """The weights of a mixture and its unitaries, with None for the identity."""
    pairs = None if cirq.has_unitary(gate) else cirq.mixture(gate, default=None)
    if pairs is None:
        return None
    weights, unitaries = zip(*pairs, strict=True)
    changes = [not cirq.allclose_up_to_global_phase(u, np.eye(len(u))) for u in unitaries]
    tensors = zip(_tensors(unitaries), changes, strict=True)
    return weights, [tensor if changes else None for tensor, changes in tensors]


def _tensors(matrices: Iterable[NDArray[Any]]) -> list[NDArray[Any]]:
    return [each.reshape([2] * (2 * (each.size.bit_length() // 2))) for each in matrices]


def _readout_errors(gate: Any) -> tuple[float, float]:
    """The probabilities of reading a 0 as 1 and a 1 as 0."""
    confusion = gate.confusion_map.get((0,))
    return (0.0, 0.0) if confusion is None else (confusion[0, 1], confusion[1, 0])
