"""How often each outcome was measured."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import cirq
import numpy as np

__all__ = ["Histogram", "count_outcomes"]


@dataclass(frozen=True)
class Histogram:
    """The outcomes of one point of a sweep.

    Attributes:
        keys: The measurement keys, sorted with their numbers as numbers: an outcome shows them in
            this order.
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
    keys = sorted(result.records, key=_natural)
    written = [_write(result.records[key]) for key in keys]
    counts = Counter(" ".join(parts) for parts in zip(*written, strict=True))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return Histogram(tuple(keys), dict(ordered), result.repetitions)


def _natural(key: str) -> list[str | int]:
    """Sorts `c_10` after `c_9`: texts and numbers by turns."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", key)]


def _write(record: np.ndarray) -> list[str]:
    """One text a repetition of a record of shape (repetitions, times measured, qubits)."""
    return [
        ",".join("".join(str(digit) for digit in measured) for measured in repetition)
        for repetition in record
    ]
