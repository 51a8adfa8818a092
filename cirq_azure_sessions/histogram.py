"""How often each outcome was measured."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import cirq
import numpy as np

__all__ = ["Histogram", "count_outcomes"]


@dataclass(frozen=True)
class Histogram:
    """The outcomes of one point of a sweep.

    Attributes:
        keys: The measurement keys, in the order in which an outcome shows them.
        counts: The repetitions of each outcome, the most frequent first. An outcome is written
            key by key, with blanks between keys; a key's bits are in the order of its qubits, and
            a key that was measured several times has the bits of each time, joined by commas.
        repetitions: The sum of the counts.
    """

    keys: tuple[str, ...]
    counts: dict[str, int]
    repetitions: int

    def fraction(self, outcome: str) -> float:
        """The part of the repetitions that gave this outcome; 0 where it never occurred."""
        return self.counts.get(outcome, 0) / max(self.repetitions, 1)


def count_outcomes(result: cirq.Result) -> Histogram:
    """The histogram of all keys of a result together."""
    written = [_write(record) for record in result.records.values()]
    counts = Counter(" ".join(parts) for parts in zip(*written, strict=True))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return Histogram(tuple(result.records), dict(ordered), result.repetitions)


def _write(record: np.ndarray) -> list[str]:
    """One text a repetition of a record of shape (repetitions, times measured, qubits)."""
    return [
        ",".join("".join(str(digit) for digit in measured) for measured in repetition)
        for repetition in record
    ]
