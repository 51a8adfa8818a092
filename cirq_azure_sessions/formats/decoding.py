"""Reading what a service returned: strictly, and within bounds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cirq_azure_sessions.errors import ResultFormatError

__all__ = ["bits_of_integers", "fractions", "read_json", "whole_counts"]

# How far from one the probabilities of a histogram may sum: services round them.
_SUM_TOLERANCE = 1e-3


def read_json(payload: Any) -> Any:
    """The JSON document in `payload`.

    Raises:
        ResultFormatError: If it is not JSON, names an object's member twice, holds NaN or
            infinities, or is nested too deeply to be a result.
    """
    try:
        return json.loads(payload, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, TypeError, RecursionError):
        pass
    # Raised out here, it does not drag along the reader's error, which holds the whole document.
    raise ResultFormatError(
        "The result is not a JSON document; fetch the job's output from the workspace to see "
        "what the service returned."
    )


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member named twice")
    return members


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def bits_of_integers(integers: Sequence[int], num_bits: int) -> npt.NDArray[np.uint8]:
    """The binary digits of each integer, the least significant first.

    Returns:
        An array of shape (integers, `num_bits`); any number of bits is fine.
    """
    if num_bits <= 64:
        rows = np.array(integers, dtype="<u8").view(np.uint8).reshape(-1, 8)
    else:
        width = -(-num_bits // 8)
        data = b"".join(integer.to_bytes(width, "little") for integer in integers)
        rows = np.frombuffer(data, dtype=np.uint8).reshape(-1, width)
    return np.unpackbits(rows, axis=1, bitorder="little")[:, :num_bits]


def fractions(values: Sequence[Any]) -> npt.NDArray[np.float64]:
    """A histogram's values as probabilities that sum to one.

    Raises:
        ResultFormatError: If one is no probability, or their sum is not within 0.001 of one.
    """
    try:
        probabilities = np.array(values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        probabilities = np.array([np.nan])
    are_numbers = set(map(type, values)) <= {int, float}
    if not are_numbers or not np.all((probabilities >= 0) & (probabilities < np.inf)):
        raise ResultFormatError(
            "The histogram holds values that are no probabilities; "
            "fetch the job's output to see it."
        )
    total = float(probabilities.sum())
    if not abs(total - 1) <= _SUM_TOLERANCE:
        raise ResultFormatError(
            f"The histogram's probabilities sum to {total:.6g} instead of 1; "
            "fetch the job's output to see it."
        )
    return probabilities / total


def whole_counts(probabilities: npt.NDArray[np.float64], shots: int) -> npt.NDArray[np.int64]:
    """The counts behind fractions of `shots`: whole numbers whose sum is `shots`.

    Fractions that fall between are rounded by largest remainder.
    """
    shares = probabilities * shots
    counts = np.floor(shares).astype(np.int64)
    by_remainder = np.argsort(counts - shares, kind="stable")
    counts[by_remainder[: shots - int(counts.sum())]] += 1
    return counts
