"""Runs programs on state vectors: exact probabilities, or samples with the noise of a Cirq model.

Parts that share no qubit and no bit are simulated separately. Shots with the same history share one
state vector, which is split only where they randomly diverge: at a measurement, a reset or an
error. The last measurement of a qubit also removes it from the state vector, so that measuring many
qubits takes no more memory than simulating them. `cirq.Simulator` runs programs with noise or
mid-circuit measurements shot by shot, which takes a hundred times as long. Gates and channels are
still those of Cirq.
"""

from __future__ import annotations

import copy
import functools
import operator
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cirq
import networkx as nx
import numpy as np
from numpy.typing import NDArray

from cirq_azure_sessions.noise import is_silent
from cirq_azure_sessions.workspaces.local.program import Budget, Condition, Statement, invalid_input

__all__ = ["Engine"]

# 64 MB for one state vector, and as much again as workspace.
MAX_QUBITS = 22

# Above this many qubits, samples use single precision: several state vectors may be pending at
# once, and the job has to stay within its memory limit.
_MAX_PRECISE = 18

# Up to this many amplitudes, and qubits of a gate, applying its matrix is faster than Cirq's
# alternatives.
_SMALL = 1 << 10
_SMALL_GATE = 2

# Amplitudes held in one batch, 16 MB, unless two state vectors need more.
_BATCH_SIZE = 1 << 20

# Costs in units of the budget: the overhead of a call to Cirq, a bit of a condition, for each
# amplitude a choice between operators, and for each row a choice between outcomes.
_OVERHEAD = 2_000
_CHOICE = 2
_ROW = 15
_COMPARISON = 50

# Bytes per bit in a result as a list and as text, and per outcome in a histogram.
_BIT_SIZE = 12
_OUTCOME_SIZE = 256

# Smaller probabilities are rounding errors, and are dropped.
_NEGLIGIBLE = 1e-12

_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Engine:
    """The simulation of one job's program.

    Attributes:
        noise: The noise of the target.
        rng: The only source of randomness.
        budget: The work and memory that the job may still use.
    """

    noise: cirq.NoiseModel
    rng: np.random.Generator
    budget: Budget

    def sample(
        self, statements: Iterable[Statement], keys: Sequence[str], shots: int
    ) -> NDArray[np.uint8]:
        """Samples a program.

        Returns:
            The bits at the end of each shot: one row per shot, one column per key.

        Raises:
            ProgramError: If that takes more memory or work than one job may use.
        """
        self.budget.hold(_BIT_SIZE * shots * len(keys))
        bits = np.zeros((shots, len(keys)), dtype=np.uint8)
        columns = {key: column for column, key in enumerate(keys)}
        for component in _components(_with_noise(statements, self.noise)):
            first = _Batch(component, shots, self)
            if not first.keys:
                # It measures nothing. There may be a hundred thousand such parts.
                continue
            finished = []
            waiting = [(first, 0)]
            while waiting:
                batch, position = waiting.pop()
                while position < len(component):
                    batch.run(component[position])
                    position += 1
                    # The part that continues has at most half of the shots, so few parts are ever
                    # pending.
                    if batch.is_full:
                        waiting.append((batch.take_half(), position))
                finished.append(batch.bits())
            found = self.rng.permutation(np.concatenate(finished))
            bits[:, [columns[key] for key in batch.keys]] = found
        return bits

    def probabilities(self, operations: Sequence[cirq.Operation]) -> dict[int, float]:
        """The exact outcome probabilities of measuring all qubits after some gates, without noise.

        Returns:
            The nonzero probabilities by outcome, in ascending order of outcomes, rounded to twelve
            digits; `LineQubit(q)` is bit q of the outcome.
        """
        outcomes, weights = np.zeros(1, dtype=np.int64), np.ones(1)
        for component in _components([Statement([operation]) for operation in operations]):
            batch = _Batch(component, 1, self)
            for statement in component:
                batch.run(statement)
            more, their_weights = batch.outcomes()
            self.budget.hold(_OUTCOME_SIZE * (len(outcomes) * len(more) - len(outcomes)))
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


class _Batch:
    """The shots of one component, with one row for each group of shots that have the same history.

    Not thread-safe.

    Attributes:
        keys: The bits of the component, in the order of the columns of `bits()`.
    """

    def __init__(self, component: Sequence[Statement], shots: int, engine: Engine) -> None:
        # The statement that uses a qubit last.
        self._last = {
            qubit: statement
            for statement in component
            for operation in statement.operations
            for qubit in operation.qubits
        }
        self.keys = sorted(
            {key for each in component for operation in each.operations for key in _keys(operation)}
        )
        qubits = sorted(self._last)
        if len(qubits) > MAX_QUBITS:
            raise invalid_input(
                f"The emulator simulates up to {MAX_QUBITS} qubits that depend on each other, and "
                f"the program has {len(qubits)}."
            )
        self._column = {key: column for column, key in enumerate(self.keys)}
        self._rng = engine.rng
        self._budget = engine.budget
        # State: the axis of each qubit that is left, and for each row (axis 0) the state vector
        # (one axis per qubit), the classical bits, and the number of shots.
        self._axis = {qubit: axis for axis, qubit in enumerate(qubits, start=1)}
        is_large = shots > 1 and len(qubits) > _MAX_PRECISE
        dtype = np.complex64 if is_large else np.complex128
        self._states = np.zeros((1, *[2] * len(qubits)), dtype=dtype)
        self._states.flat[0] = 1
        self._bits = np.zeros((1, len(self.keys)), dtype=np.uint8)
        self._shots = np.array([shots])

    def run(self, statement: Statement) -> None:
        """Runs a statement in all rows, or in those where its condition holds."""
        if statement.condition is None:
            for operation in statement.operations:
                self._apply(operation, is_last=self._last[operation.qubits[0]] is statement)
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

    def _apply(self, operation: cirq.Operation, *, is_last: bool = False) -> None:
        gate = operation.gate
        axes = [self._axis[qubit] for qubit in operation.qubits]
        # Wide gates take longer to prepare, and matrices to apply.
        self._spend()
        self._budget.spend(_OVERHEAD * len(axes))
        if isinstance(gate, cirq.MatrixGate):
            self._budget.spend((self._states.size + 8 * _OVERHEAD) * (len(axes) - 1))
        if isinstance(gate, cirq.MeasurementGate):
            self._measure(gate, operation.qubits[0], is_last)
            return
        if isinstance(gate, cirq.ResetChannel):
            self._put_back(axes[0], np.zeros_like(self._remove(axes[0])))
            return
        mixture = _mixture(gate)
        if mixture is not None and (len(mixture[0]) > 1 or self._states.size <= _SMALL):
            self._mix(*mixture, axes)
            return
        arguments = cirq.ApplyUnitaryArgs(self._states, np.empty_like(self._states), axes)
        states = cirq.apply_unitary(operation, arguments, default=None)
        if states is not None:
            self._states = states
            return
        operators = _tensors(cirq.kraus(operation))
        self._budget.spend(_CHOICE * len(operators) * self._states.size)
        made = [cirq.targeted_left_multiply(each, self._states, axes) for each in operators]
        self._choose(np.stack(made, axis=1))

    def _mix(self, weights: Sequence[float], operators: Sequence[Any], axes: Sequence[int]) -> None:
        """Applies one of several unitaries, chosen by weight; None is the identity."""
        if len(weights) == 1:
            if operators[0] is not None:
                self._states[:] = cirq.targeted_left_multiply(operators[0], self._states, axes)
            return
        event = self._split(self._rng.multinomial(self._shots, weights))
        for number in np.unique(event):
            if operators[number] is not None:
                rows = event == number
                self._states[rows] = cirq.targeted_left_multiply(
                    operators[number], self._states[rows], axes
                )

    def _choose(self, branches: NDArray[Any]) -> NDArray[np.uint8]:
        """Continues each shot in one of several branches (axis 1), chosen by their weights.

        Returns:
            The branch of each new row.
        """
        self._budget.spend(14 * _OVERHEAD + _ROW * len(branches))
        weights = (np.abs(branches) ** 2).reshape(*branches.shape[:2], -1)
        totals = weights.sum(axis=2, dtype=np.float64)
        self._shots, rows, event = _part(
            self._rng.multinomial(self._shots, totals / totals.sum(axis=1, keepdims=True))
        )
        self._states, self._bits = branches[rows, event], self._bits[rows]
        self._states /= np.sqrt(totals[rows, event]).reshape(-1, *[1] * (self._states.ndim - 1))
        return event

    def _remove(self, axis: int) -> NDArray[np.uint8]:
        """Measures a qubit and takes it out of the state vectors; returns its value in each row."""
        return self._choose(np.moveaxis(self._states, axis, 1))

    def _put_back(self, axis: int, values: NDArray[np.uint8]) -> None:
        """Adds a qubit with this value in each row."""
        states = np.zeros((len(values), 2, *self._states.shape[1:]), dtype=self._states.dtype)
        states[np.arange(len(values)), values] = self._states
        self._states = np.moveaxis(states, 1, axis)

    def _measure(self, gate: cirq.MeasurementGate, qubit: cirq.Qid, is_last: bool) -> None:
        """Measures a qubit into a bit; readout errors affect only the bit."""
        bit, gone = self._column[gate.key], self._axis[qubit]
        outcome = self._remove(gone)
        if is_last:
            left = {other: axis for other, axis in self._axis.items() if other != qubit}
            self._axis = {other: axis - (axis > gone) for other, axis in left.items()}
        else:
            self._put_back(gone, outcome)
        self._bits[:, bit] = outcome
        confusion = gate.confusion_map.get((0,))
        if confusion is not None:
            wrong = self._rng.binomial(self._shots, confusion[outcome, 1 - outcome])
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

    def bits(self) -> NDArray[np.uint8]:
        """The bits, one row per shot."""
        return np.repeat(self._bits, self._shots, axis=0)

    def outcomes(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The outcomes of the only row, where `LineQubit(q)` is bit q, and their weights."""
        weights = np.abs(self._states.ravel()) ** 2
        weights /= weights.sum()
        (outcomes,) = np.nonzero(weights > _NEGLIGIBLE)
        numbers = np.zeros(len(outcomes), dtype=np.int64)
        for qubit, axis in self._axis.items():
            assert isinstance(qubit, cirq.LineQubit)
            numbers |= (outcomes >> (len(self._axis) - axis) & 1) << qubit.x
        return numbers, weights[outcomes]


def _part(counts: NDArray[np.int64]) -> tuple[Any, Any, NDArray[np.uint8]]:
    """The shots, the old row and the event of each new row: one for each pair with shots."""
    rows, events = np.nonzero(counts)
    return counts[rows, events], rows, events.astype(np.uint8)


@functools.lru_cache(maxsize=1024)
def _mixture(gate: cirq.Gate) -> tuple[Sequence[float], Sequence[Any]] | None:
    """The weights of a mixture of unitaries on few qubits, and their tensors.

    A unitary gate is a mixture of one. None stands for the identity.
    """
    pairs = None if cirq.num_qubits(gate) > _SMALL_GATE else cirq.mixture(gate, default=None)
    if pairs is None:
        return None
    weights, unitaries = zip(*pairs, strict=True)
    if len(unitaries) == 1:
        return weights, _tensors(unitaries)
    changes = [not cirq.allclose_up_to_global_phase(u, np.eye(len(u))) for u in unitaries]
    tensors = zip(_tensors(unitaries), changes, strict=True)
    return weights, [tensor if changes else None for tensor, changes in tensors]


def _tensors(matrices: Iterable[NDArray[Any]]) -> list[NDArray[Any]]:
    return [each.reshape([2] * (2 * (each.size.bit_length() // 2))) for each in matrices]
