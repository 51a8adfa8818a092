"""What QIR programs record in their shots, and the documents that the service makes of it.

A recorded value is JSON: a result is 0 or 1, an array a list, and a tuple {"Item1": ...}.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

__all__ = ["DOCUMENTS", "as_tuple", "map_leaves"]


def as_tuple(items: Iterable[Any]) -> dict[str, Any]:
    """A tuple, as the service writes one."""
    return {f"Item{place}": item for place, item in enumerate(items, start=1)}


def map_leaves(function: Callable[[Any], Any], value: Any) -> Any:
    """A value of the same form, with the function applied to all that is no array or tuple."""
    if isinstance(value, list):
        return [map_leaves(function, item) for item in value]
    if isinstance(value, dict):
        return {name: map_leaves(function, item) for name, item in value.items()}
    return function(value)


def _as_python(value: Any) -> Any:
    """A value that Python displays as the service does: `[0, 1]`, or `(0, 1)` for a tuple."""
    if isinstance(value, list):
        return [_as_python(item) for item in value]
    if isinstance(value, dict):
        return tuple(_as_python(item) for item in value.values())
    return value


def _group(values: Sequence[Any]) -> list[tuple[Any, str, int]]:
    """The different values with their displays and counts, sorted by their displays."""
    displays = [str(_as_python(value)) for value in values]
    counts, samples = Counter(displays), dict(zip(displays, values, strict=True))
    return [(samples[display], display, counts[display]) for display in sorted(counts)]


def _results_v1(results: Sequence[Sequence[Any]]) -> Any:
    """A flat list of displays and shares (the SDK's reading of it; none is recorded)."""
    (values,) = results
    pairs = [(display, count / len(values)) for _, display, count in _group(values)]
    return {"Histogram": list(itertools.chain.from_iterable(pairs))}


def _results_v2(results: Sequence[Sequence[Any]]) -> Any:
    return {
        "DataFormat": "microsoft.quantum-results.v2",
        "Results": [
            {
                "Histogram": [
                    {"Outcome": value, "Display": display, "Count": count}
                    for value, display, count in _group(values)
                ],
                "Shots": values,
            }
            for values in results
        ],
    }


def _registers(results: Sequence[Sequence[Any]]) -> Any:
    """Quantinuum's own form, with all that is recorded in one register, the last bit first.

    Jobs that ask for it are recorded, but not what is in their results.
    """
    (values,) = results
    return {"c": ["".join(map(str, reversed(_leaves(value)))) for value in values]}


def _leaves(value: Any) -> list[Any]:
    found: list[Any] = []
    map_leaves(lambda leaf: found.append(int(leaf) if leaf in (0, 1) else leaf), value)
    return found


# How to write the values of all shots of each program, by `outputDataFormat`. Only the second has
# room for more than one program.
DOCUMENTS: dict[str, Callable[[Sequence[Sequence[Any]]], Any]] = {
    "microsoft.quantum-results.v1": _results_v1,
    "microsoft.quantum-results.v2": _results_v2,
    "honeywell.qir.v1": _registers,
}
