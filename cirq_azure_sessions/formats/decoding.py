"""Reading what a service returned: strictly, and within bounds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cirq_azure_sessions.errors import ResultFormatError

__all__ = ["bits_of_integers", "read_json"]


def read_json(payload: Any) -> Any:
    """The JSON document in `payload`.

    Raises:
        ResultFormatError: If it is not JSON, names an object's member twice, holds NaN or
            infinities, or is nested too deeply to be a result.
    """
    try:
        return json.loads(payload, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, TypeError, RecursionError) as error:
        raise ResultFormatError(
            "The result is not a JSON document; fetch the job's output from the workspace to see "
            "what the service returned."
        ) from error


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
    width = max(1, -(-num_bits // 8))
    data = b"".join(integer.to_bytes(width, "little") for integer in integers)
    rows = np.frombuffer(data, dtype=np.uint8).reshape(-1, width)
    return np.unpackbits(rows, axis=1, bitorder="little")[:, :num_bits]
