"""What a program consists of once it is read, whatever language it was written in.

An instruction knows how it changes `Trajectories` (see `simulation`). Qubits and bits are numbers
from zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cirq_azure_sessions.emulator.programs.gates import Matrix

if TYPE_CHECKING:
    from cirq_azure_sessions.emulator.programs.simulation import Trajectories

__all__ = ["Comparison", "Conditional", "Error", "Gate", "Instruction", "Measurement", "Reset"]


class Instruction(Protocol):
    """One step of a program."""

    @property
    def qubits(self) -> tuple[int, ...]:
        """The qubits acted on."""

    @property
    def bits(self) -> tuple[int, ...]:
        """The classical bits read or written."""

    @property
    def is_measurement(self) -> bool:
        """Whether it does nothing but to measure its one qubit into its one bit."""

    @property
    def errors(self) -> Sequence[Instruction]:
        """What follows it on a noisy machine."""

    def run(self, trajectories: Trajectories) -> None:
        """Takes the step, in all trajectories. It splits none of them into more than 16."""


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """A unitary on `targets`, applied where all `controls` are 1."""

    matrix: Matrix
    targets: tuple[int, ...]
    controls: tuple[int, ...] = ()

    bits = ()
    is_measurement = False

    @property
    def qubits(self) -> tuple[int, ...]:
        return self.controls + self.targets

    @property
    def errors(self) -> tuple[Error, ...]:
        size = len(self.qubits)
        groups = [self.qubits] if size <= 2 else [(qubit,) for qubit in self.qubits]
        return tuple(Error(group, size) for group in groups)

    def run(self, trajectories: Trajectories) -> None:
        trajectories.apply(self.matrix, self.targets, self.controls)


@dataclass(frozen=True, slots=True)
class Error:
    """The chance that a random Pauli other than the identity hits one or two qubits.

    Attributes:
        gate_size: How many qubits the gate before it acted on.
    """

    qubits: tuple[int, ...]
    gate_size: int

    bits = ()
    is_measurement = False
    errors = ()

    def run(self, trajectories: Trajectories) -> None:
        trajectories.depolarize(self.qubits, self.gate_size)


@dataclass(frozen=True, slots=True)
class Measurement:
    """A measurement of one qubit in the computational basis, into one bit."""

    qubit: int
    bit: int

    is_measurement = True
    errors = ()

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

    bits = ()
    is_measurement = False
    errors = ()

    @property
    def qubits(self) -> tuple[int, ...]:
        return (self.qubit,)

    def run(self, trajectories: Trajectories) -> None:
        trajectories.reset(self.qubit)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Compares a register with a number, and notes in another bit whether that holds.

    Attributes:
        register: The bits compared, the first least significant.
        comparison: `==`, `!=`, `<`, `<=`, `>` or `>=`.
        bit: Where to note the answer.
    """

    register: Sequence[int]
    comparison: str
    value: int
    bit: int

    qubits = ()
    is_measurement = False
    errors = ()

    @property
    def bits(self) -> tuple[int, ...]:
        return (*self.register, self.bit)

    def run(self, trajectories: Trajectories) -> None:
        trajectories.compare(self.register, self.comparison, self.value, self.bit)


@dataclass(frozen=True, slots=True)
class Conditional:
    """A step that is taken where a bit is 1."""

    bit: int
    step: Instruction

    is_measurement = False

    @property
    def qubits(self) -> tuple[int, ...]:
        return self.step.qubits

    @property
    def bits(self) -> tuple[int, ...]:
        return (self.bit, *self.step.bits)

    @property
    def errors(self) -> tuple[Conditional, ...]:
        return tuple(Conditional(self.bit, error) for error in self.step.errors)

    def run(self, trajectories: Trajectories) -> None:
        trajectories.run_where(self.bit, self.step)
