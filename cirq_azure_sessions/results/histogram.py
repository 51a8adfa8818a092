"""Histograms of measurement outcomes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import cirq
import numpy as np

__all__ = ["Histogram", "count_integers", "count_outcomes", "fill", "is_digits", "sorted_keys"]

# Outcomes are counted in an array with an element for each possible one, if that has at most this
# many elements per repetition.
_DENSE = 4


@dataclass(frozen=True)
class Histogram:
    """The outcomes of one point of a sweep.

    Attributes:
        keys: The measurement keys, in the order in which an outcome shows them.
        counts: The repetitions of each outcome, the most frequent first. An outcome is written
            key by key, with spaces between keys; a key's bits are in the order of its qubits, and
            a key that was measured several times has the bits of each time, joined by commas.
        repetitions: The number of repetitions, including those of hidden outcomes.
        hidden: The number of outcomes omitted from `counts` because of a limit.
    """

    keys: tuple[str, ...]
    counts: dict[str, int]
    repetitions: int
    hidden: int = 0

    def fraction(self, outcome: str) -> float:
        """The fraction of repetitions with this outcome; 0 if it never occurred."""
        return self.counts.get(outcome, 0) / max(self.repetitions, 1)


def count_outcomes(result: cirq.Result, limit: int | None = None) -> Histogram:
    """Counts the outcomes of all keys of a result together.

    Args:
        result: The result of one point.
        limit: The maximum number of outcomes to return, the most frequent ones; None for all.
    """
    keys = sorted_keys(result)
    records = [np.asarray(result.records[key]) for key in keys]
    if not keys or not len(records[0]):
        return Histogram(keys, {}, result.repetitions)
    rows, counts = _count_rows(records)
    # A stable sort keeps outcomes with equal counts in the order of their bits.
    order = np.argsort(-counts, kind="stable")[:limit]
    texts = _write(rows[order], [record.shape[1:] for record in records])
    shown = dict(zip(texts, counts[order].tolist(), strict=True))
    return Histogram(keys, shown, result.repetitions, len(counts) - len(shown))


def sorted_keys(result: cirq.Result) -> tuple[str, ...]:
    """The measurement keys, with numbers in them sorted as numbers: `c_9` before `c_10`."""
    return tuple(sorted(result.records, key=_natural))


def _natural(key: str) -> list[str | int]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", key)]


def count_integers(measurements: Sequence[np.ndarray]) -> tuple[list[list[int]], list[int]]:
    """Counts the outcomes of several keys together, each a big-endian integer.

    Args:
        measurements: For each key its measurements, of shape (repetitions, qubits); at least one
            key. As in Cirq, any nonzero value is a 1.

    Returns:
        For each key its part of the outcomes, in the order in which they first occur; and the
        counts of the outcomes.
    """
    bits = [measured != 0 for measured in measurements]
    words, counts, firsts = _count_distinct(_pack(np.hstack(bits)))
    order = np.argsort(firsts)
    chosen = firsts[order]
    # The words of one key are already its integers.
    packed = [words[order]] if len(bits) == 1 else [_pack(each[chosen]) for each in bits]
    return [_integers(each) for each in packed], counts[order].tolist()


def _count_rows(records: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows of digits in ascending order, and their counts."""
    is_binary = all(record.min() >= 0 and record.max() <= 1 for record in records)
    dtype = np.uint8 if is_binary else np.int64
    digits = np.hstack([record.reshape(len(record), -1).astype(dtype) for record in records])
    if not is_binary:
        rows, counts, _ = _count_distinct(digits[:, ::-1])
        return rows[:, ::-1], counts
    words, counts, _ = _count_distinct(_pack(digits))
    octets = words.astype("<u8").view(np.uint8)
    bits = np.unpackbits(octets, axis=1, count=digits.shape[1], bitorder="little")
    return bits[:, ::-1], counts


def _pack(bits: np.ndarray) -> np.ndarray:
    """Rows of bits as big-endian integers, each in words of 64 bits, the lowest word first."""
    packed = np.packbits(bits[:, ::-1], axis=1, bitorder="little")
    padding = -packed.shape[1] % 8 if packed.shape[1] else 8
    return np.pad(packed, ((0, 0), (0, padding))).view("<u8").astype(np.uint64, copy=False)


def _integers(words: np.ndarray) -> list[int]:
    """The integers whose words `_pack` made."""
    if words.shape[1] == 1:
        integers: list[int] = words[:, 0].tolist()
        return integers
    octets, size = words.astype("<u8").tobytes(), 8 * words.shape[1]
    return [
        int.from_bytes(octets[start : start + size], "little")
        for start in range(0, len(octets), size)
    ]


def _count_distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct rows in ascending order, their counts, and their first positions.

    The last column of `rows` is the most significant.
    """
    if rows.shape[1] == 1 and rows.min() >= 0 and rows.max() < _DENSE * len(rows):
        # A million repetitions of few bits take milliseconds: nothing is sorted.
        values = rows[:, 0].astype(np.intp)
        occurrences = np.bincount(values)
        firsts = np.empty_like(occurrences)
        # Of several numbers assigned to one element, the last stays.
        firsts[values[::-1]] = np.arange(len(values))[::-1]
        distinct = np.flatnonzero(occurrences)
        return distinct[:, np.newaxis], occurrences[distinct], firsts[distinct]
    order = np.lexsort(rows.T)
    ordered = rows[order]
    is_new = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))
    starts = np.flatnonzero(is_new)
    return ordered[starts], np.diff(starts, append=len(ordered)), order[starts]


def _write(rows: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> list[str]:
    """Each row as a string; a shape is (times measured, qubits) of one key."""
    template = " ".join(",".join("0" * qubits for _ in range(times)) for times, qubits in shapes)
    if not is_digits(rows):
        # Two-digit qudit levels do not fit a template of fixed width.
        pattern = template.replace("0", "{}")
        return [pattern.format(*row) for row in rows.tolist()]
    text, width = fill(template, rows), len(template)
    return [text[start : start + width] for start in range(0, len(text), width)]


def is_digits(numbers: np.ndarray) -> bool:
    """Whether each of the numbers, of which there are some, is written with one digit."""
    return bool(numbers.min() >= 0 and numbers.max() <= 9)


def fill(template: str, rows: np.ndarray) -> str:
    """The template once for each row of digits, which stand in place of its zeros."""
    line = np.frombuffer(template.encode(), dtype=np.uint8)
    lines = np.tile(line, (len(rows), 1))
    lines[:, line == ord("0")] += rows.astype(np.uint8)
    return lines.tobytes().decode()
