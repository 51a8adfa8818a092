"""What a program consists of once it is read, whatever language it was written in.

An instruction knows how it changes `Trajectories` (see `simulation`). Qubits and bits are numbers
from zero.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cirq_azure_sessions.emulator.programs.gates import Matrix

if TYPE_CHECKING:
    from cirq_azure_sessions.emulator.programs.simulation import Trajectories

__all__ = ["Condition", "Conditional", "Gate", "Instruction", "Measurement", "Reset"]


class Instruction(Protocol):
    """One step of a program.

    Attributes:
        qubits: The qubits acted on.
        bits: The classical bits read or written.
    """

    @property
    def qubits(self) -> tuple[int, ...]: ...

    @property
    def bits(self) -> tuple[int, ...]: ...

    @property
    def is_measurement(self) -> bool:
        """Whether it does nothing but to measure its one qubit into its one bit."""

    def run(self, trajectories: Trajectories) -> None:
        """Takes the step, in all the trajectories."""


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """A unitary on `targets`, applied where all `controls` are 1."""

    matrix: Matrix
    targets: tuple[int, ...]
    controls: tuple[int, ...] = ()
    bits: tuple[int, ...] = ()
    is_measurement = False

    @property
    def qubits(self) -> tuple[int, ...]:
        return self.controls + self.targets

    def run(self, trajectories: Trajectories) -> None:
        trajectories.apply(self.matrix, self.targets, self.controls)
        trajectories.add_gate_noise(self.qubits)


@dataclass(frozen=True, slots=True)
class Measurement:
    """A measurement of one qubit in the computational basis, into one bit."""

    qubit: int
    bit: int
    is_measurement = True

    @property
    def qubits(self) -> tuple[int, ...]:
        return (self.qubit,)

    @property
    def bits(self) -> tuple[int, ...]:
        return (self.bit,)

    def run(self, trajectories: Trajectories) -> None:
        trajectories.measure(self.qubit, self.bit)


@dataclass(frozen=True, slots=True)
class Reset:
    """Puts one qubit into |0>, whatever it was entangled with."""

    qubit: int
    bits: tuple[int, ...] = ()
    is_measurement = False

    @property
    def qubits(self) -> tuple[int, ...]:
        return (self.qubit,)

    def run(self, trajectories: Trajectories) -> None:
        trajectories.reset(self.qubit)


_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison of bits, read as an integer with the first bit least significant.

    Attributes:
        comparison: `==`, `!=`, `<`, `<=`, `>` or `>=`.
    """

    bits: tuple[int, ...]
    comparison: str
    value: int

    def holds(self, bits: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """For each row of bits, whether the condition holds."""
        # Beyond 62 bits numpy's integers overflow and Python's have to do.
        dtype: Any = np.int64 if len(self.bits) < 63 else object
        weights = np.array([1 << place for place in range(len(self.bits))], dtype=dtype)
        register = bits[:, list(self.bits)].astype(dtype) @ weights
        return np.asarray(_COMPARISONS[self.comparison](register, self.value), dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class Conditional:
    """Instructions that are run where a condition holds. It is looked at once, before them."""

    condition: Condition
    instructions: tuple[Instruction, ...]
    is_measurement = False

    @property
    def qubits(self) -> tuple[int, ...]:
        return tuple(qubit for step in self.instructions for qubit in step.qubits)

    @property
    def bits(self) -> tuple[int, ...]:
        written = (bit for step in self.instructions for bit in step.bits)
        return (*self.condition.bits, *written)

    def run(self, trajectories: Trajectories) -> None:
        trajectories.run_where(self.condition.holds(trajectories.bits), self.instructions)
