"""Programs from the readers of all languages: Cirq operations, and conditions on bits.

Cirq has no conditional measurements, so conditions are kept beside the operations. A classical bit
is the key of the measurements into it, and 0 before the first of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cirq

__all__ = ["Census", "Condition", "Output", "Statement", "take_census"]


@dataclass(frozen=True, slots=True)
class Condition:
    """A register compared with a number.

    Attributes:
        keys: The bits of the register, the first least significant.
        comparison: `==`, `!=`, `<`, `<=`, `>` or `>=`.
    """

    keys: Sequence[str]
    comparison: str
    value: int


@dataclass(frozen=True, slots=True)
class Statement:
    """The operations of a statement; their condition is evaluated once, before the first.

    Each measurement or reset is of one qubit.
    """

    operations: Sequence[cirq.Operation]
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class Census:
    """The number of operations of each kind in a program, for its bill."""

    one_qubit: int = 0
    two_qubit: int = 0
    measurements: int = 0
    qubits: int = 0


class Output(NamedTuple):
    """The content of a job's output blob, and the census of its program."""

    content: bytes
    census: Census = Census()


def take_census(operations: Iterable[cirq.Operation]) -> Census:
    """Counts operations; resets count as preparations."""
    one_qubit = two_qubit = measurements = 0
    qubits: set[cirq.Qid] = set()
    for operation in operations:
        qubits.update(operation.qubits)
        if isinstance(operation.gate, cirq.MeasurementGate | cirq.ResetChannel):
            measurements += 1
        elif len(operation.qubits) == 1:
            one_qubit += 1
        else:
            two_qubit += 1
    return Census(one_qubit, two_qubit, measurements, len(qubits))
