"""State vector simulation of programs: exact probabilities, or samples with noise.

Runs of a program ("shots") that have gone alike so far share one state vector. It is split in two
only where chance treats them differently: at a measurement amid the program, a reset, or an error.
So a program without any of these costs one state vector however many shots it is sampled with.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import cirq
import numpy as np
from numpy.typing import NDArray

from cirq_azure_sessions.emulator.programs.failure import invalid_input, took_too_long
from cirq_azure_sessions.emulator.programs.gates import PAULIS, Matrix, X
from cirq_azure_sessions.emulator.programs.instructions import Instruction
from cirq_azure_sessions.emulator.programs.noise import NOISELESS, NoiseModel

__all__ = ["MAX_QUBITS", "Trajectories", "probabilities", "sample"]

# 64 MB for one state vector.
MAX_QUBITS = 22

# Amplitudes held in one batch of trajectories, 16 MB, unless two state vectors need more.
_BATCH_SIZE = 1 << 20

# Amplitudes changed in one job, some ten seconds' work; and what calling numpy costs besides, in
# the same unit.
_MAX_WORK = 1_000_000_000
_OVERHEAD = 1_000

# Results are cut off here: smaller probabilities are rounding errors.
_NEGLIGIBLE = 1e-12

_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class _Work:
    """A job's allowance of work."""

    def __init__(self) -> None:
        self._left = _MAX_WORK

    def spend(self, amplitudes: int) -> None:
        self._left -= amplitudes + _OVERHEAD
        if self._left < 0:
            raise took_too_long()


class Trajectories:
    """The shots of one program, where each group that went alike so far has one row.

    It belongs to one thread.

    Attributes:
        bits: The classical bits of each row.
    """

    def __init__(
        self,
        qubits: Sequence[int],
        num_bits: int,
        shots: int,
        noise: NoiseModel,
        rng: np.random.Generator,
    ) -> None:
        if len(qubits) > MAX_QUBITS:
            raise invalid_input(
                f"The emulator simulates up to {MAX_QUBITS} qubits, and the program works on "
                f"{len(qubits)}."
            )
        self._axis = {qubit: axis for axis, qubit in enumerate(qubits, start=1)}
        self._noise = noise
        self._rng = rng
        self._work = _Work()
        # State: of each row the state vector, axis 0 being the row and one axis a qubit; the
        # classical bits; and how many shots it stands for.
        self._states = np.zeros((1, *[2] * len(qubits)), dtype=np.complex128)
        self._states.flat[0] = 1
        self.bits = np.zeros((1, num_bits), dtype=np.uint8)
        self._shots = np.array([shots])

    def apply(
        self,
        matrix: Matrix,
        targets: Sequence[int],
        controls: Sequence[int] = (),
        rows: NDArray[np.bool_] | None = None,
    ) -> None:
        """Applies a matrix, in all rows or in some."""
        self._count_work()
        axes = [self._axis[qubit] for qubit in targets]
        tensor = matrix.reshape((2,) * (2 * len(axes)))
        if rows is not None:
            self._states[rows] = cirq.targeted_left_multiply(tensor, self._states[rows], axes)
        elif controls:
            # A slice keeps its axis, so that the axes of the targets keep their numbers.
            index = self._index(dict.fromkeys(controls, 1))
            self._states[index] = cirq.targeted_left_multiply(tensor, self._states[index], axes)
        else:
            self._states = cirq.targeted_left_multiply(tensor, self._states, axes)

    def depolarize(self, qubits: Sequence[int], gate_size: int) -> None:
        """Lets errors hit one or two qubits, as often as after a gate on so many."""
        errors = self._rng.binomial(self._shots, self._noise.gate_error(gate_size))
        if not errors.any():
            return
        kinds = 4 ** len(qubits)
        which = self._rng.multinomial(errors, [1 / (kinds - 1)] * (kinds - 1))
        error = self._split(np.column_stack([self._shots - errors, which]))
        # The digits of an error to base 4 are its Paulis.
        for place, qubit in enumerate(qubits):
            digit = error >> (2 * place) & 3
            for value, pauli in enumerate("IXYZ"):
                if value and (rows := digit == value).any():
                    self.apply(PAULIS[pauli], [qubit], rows=rows)

    def measure(self, qubit: int, bit: int) -> None:
        """Measures a qubit into a bit; the readout may err, the state does not."""
        outcome = self._collapse(qubit)
        self.bits[:, bit] = outcome
        zero, one = self._noise.readout
        if zero or one:
            wrong = self._rng.binomial(self._shots, np.where(outcome, one, zero))
            flip = self._split(np.column_stack([self._shots - wrong, wrong]))
            self.bits[:, bit] ^= flip

    def reset(self, qubit: int) -> None:
        """Puts a qubit into |0>."""
        outcome = self._collapse(qubit)
        self.apply(X, [qubit], rows=outcome == 1)

    def _collapse(self, qubit: int) -> NDArray[np.uint8]:
        """Measures a qubit, and gives the outcome of each row."""
        self._count_work()
        weights = np.abs(np.moveaxis(self._states, self._axis[qubit], 1)) ** 2
        zero, one = weights.reshape(len(weights), 2, -1).sum(axis=2).T
        ones = self._rng.binomial(self._shots, one / (zero + one))
        outcome = self._split(np.column_stack([self._shots - ones, ones]))
        for value in (0, 1):
            rows = (outcome == value, *self._index({qubit: 1 - value})[1:])
            self._states[rows] = 0
        norm = np.sqrt((np.abs(self._states) ** 2).reshape(len(outcome), -1).sum(axis=1))
        self._states /= norm.reshape((-1,) + (1,) * len(self._axis))
        return outcome

    def _split(self, shots: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Splits each row by what happened to its shots.

        Args:
            shots: The number of shots of each row (first axis) for each event (second axis).

        Returns:
            The event of each row there is now.
        """
        rows, events = np.nonzero(shots)
        # Every row has shots, so as many as before are the same ones.
        if len(rows) > len(self._shots):
            self._states, self.bits = self._states[rows], self.bits[rows]
            self._count_work()
        self._shots = shots[rows, events]
        return events.astype(np.uint8)

    def _index(self, fixed: Mapping[int, int]) -> tuple[slice, ...]:
        """The part of the states, in all rows, where some qubits have some value."""
        index = [slice(None)] * self._states.ndim
        for qubit, value in fixed.items():
            index[self._axis[qubit]] = slice(value, value + 1)
        return tuple(index)

    def compare(self, register: Sequence[int], comparison: str, value: int, bit: int) -> None:
        """Compares bits, the first least significant, with a number, and notes the answer."""
        self._count_work()
        width = len(register)
        if value >> width:
            order = np.full(len(self.bits), -1)
        else:
            # Bit by bit, because a register may be wider than any integer of numpy's.
            digits = np.array([int(digit) for digit in f"{value:0{width}b}"], dtype=np.int8)
            differences = self.bits[:, list(reversed(register))].view(np.int8) - digits
            first = np.argmax(differences != 0, axis=1)
            order = differences[np.arange(len(differences)), first]
        self.bits[:, bit] = _COMPARISONS[comparison](order, 0)

    def run_where(self, bit: int, step: Instruction) -> None:
        """Takes a step in those rows only where a bit is 1."""
        self._count_work()
        rows = self.bits[:, bit] == 1
        if not rows.any():
            return
        others = self._take(~rows)
        step.run(self)
        if not others._shots.size:
            return
        self._states = np.concatenate([self._states, others._states])
        self.bits = np.concatenate([self.bits, others.bits])
        self._shots = np.concatenate([self._shots, others._shots])

    def _count_work(self) -> None:
        # Many bits of many rows take their time too, two of them as much as an amplitude.
        self._work.spend(self._states.size + self.bits.size // 2)

    @property
    def is_full(self) -> bool:
        """Whether the batch has become so large that part of it should wait."""
        return len(self._shots) > 1 and self._states.size > _BATCH_SIZE

    def take_half(self) -> Trajectories:
        """Takes out half of the rows, those that stand for most shots."""
        rows = np.zeros(len(self._shots), dtype=np.bool_)
        rows[np.argsort(self._shots)[len(rows) // 2 :]] = True
        return self._take(rows)

    def _take(self, rows: NDArray[np.bool_]) -> Trajectories:
        taken = copy.copy(self)
        taken._states, self._states = self._states[rows], self._states[~rows]
        taken.bits, self.bits = self.bits[rows], self.bits[~rows]
        taken._shots, self._shots = self._shots[rows], self._shots[~rows]
        return taken

    def finish(self, measured: Mapping[int, int]) -> NDArray[np.uint8]:
        """Measures qubits at the end of the program.

        Args:
            measured: The qubit that each bit is read from. A qubit that nothing acted on is 0.

        Returns:
            The bits of every shot, one row a shot, those that went alike side by side.
        """
        rows, outcomes = np.nonzero(counts := self._rng.multinomial(self._shots, self._weights()))
        bits = self.bits[rows]
        for bit, qubit in measured.items():
            bits[:, bit] = _bit_of(outcomes, qubit, self._axis)
        bits = np.repeat(bits, counts[rows, outcomes], axis=0)
        columns = list(measured)
        zero, one = self._noise.readout
        flip = np.where(bits[:, columns], one, zero)
        if flip.any():
            bits[:, columns] ^= self._rng.random(flip.shape) < flip
        return bits

    def _weights(self) -> NDArray[np.float64]:
        """The probability of each basis state, in each row."""
        weights: NDArray[np.float64] = np.abs(self._states.reshape(len(self._shots), -1)) ** 2
        weights /= weights.sum(axis=1, keepdims=True)
        return weights

    def probabilities(self) -> Iterator[tuple[int, float]]:
        """The outcomes, qubit q being bit q, and their probabilities, where there is one row."""
        (weights,) = self._weights()
        (outcomes,) = np.nonzero(weights > _NEGLIGIBLE)
        numbers = np.zeros(len(outcomes), dtype=np.int64)
        for qubit in self._axis:
            numbers |= _bit_of(outcomes, qubit, self._axis) << qubit
        order = np.argsort(numbers)
        return zip(numbers[order].tolist(), weights[outcomes][order].tolist(), strict=True)


def _bit_of(
    outcomes: NDArray[np.int64], qubit: int, axes: Mapping[int, int]
) -> NDArray[np.int64] | int:
    """The value of a qubit in basis states, given as indices of a state vector."""
    return outcomes >> (len(axes) - axes[qubit]) & 1 if qubit in axes else 0


def probabilities(instructions: Sequence[Instruction]) -> dict[int, float]:
    """The exact probabilities of what measuring all qubits gives after some gates.

    Returns:
        The probability of each outcome that has one, outcomes ascending; qubit q is bit q of the
        outcome. Twelve digits are kept.
    """
    trajectories = Trajectories(_qubits(instructions), 0, 1, NOISELESS, np.random.default_rng(0))
    for step in instructions:
        step.run(trajectories)
    return {outcome: float(f"{weight:.12g}") for outcome, weight in trajectories.probabilities()}


def sample(
    instructions: Sequence[Instruction],
    num_bits: int,
    shots: int,
    noise: NoiseModel,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Runs a program so many times.

    Returns:
        The bits at the end of each run: one row a shot, one column a bit. Bits never written are 0.

    Raises:
        ProgramError: If that takes more memory or work than one job is given.
    """
    body, measured = _defer_measurements(instructions)
    if not noise.is_silent:
        body = [part for step in body for part in (step, *step.errors)]
    start = Trajectories(_qubits(body), num_bits, shots, noise, rng)
    waiting = [(start, 0)]
    finished = []
    while waiting:
        trajectories, position = waiting.pop()
        while position < len(body):
            body[position].run(trajectories)
            position += 1
            # What goes on has at most half of the shots, so little ever waits.
            if trajectories.is_full:
                waiting.append((trajectories.take_half(), position))
        finished.append(trajectories.finish(measured))
    return rng.permutation(np.concatenate(finished))


def _qubits(instructions: Sequence[Instruction]) -> list[int]:
    return sorted({qubit for step in instructions for qubit in step.qubits})


def _defer_measurements(
    instructions: Sequence[Instruction],
) -> tuple[list[Instruction], dict[int, int]]:
    """Splits off the measurements after which nothing else happens to their qubit and bit.

    Returns:
        The program without them, and the qubit that each of their bits is to be read from.
    """
    body: list[Instruction] = []
    measured: dict[int, int] = {}
    busy_qubits: set[int] = set()
    busy_bits: set[int] = set()
    for step in reversed(instructions):
        if (
            step.is_measurement
            and busy_qubits.isdisjoint(step.qubits)
            and busy_bits.isdisjoint(step.bits)
        ):
            # Of several measurements into one bit the last counts, which is met first here.
            (qubit,), (bit,) = step.qubits, step.bits
            measured.setdefault(bit, qubit)
        else:
            body.append(step)
            busy_qubits.update(step.qubits)
            busy_bits.update(step.bits)
    return body[::-1], measured
