"""The results of a sweep: a list that notebooks show as a table."""

from __future__ import annotations

import logging
import numbers
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

import cirq
import sympy

from cirq_azure_sessions.errors import SweepError
from cirq_azure_sessions.redaction import printable
from cirq_azure_sessions.results.azure_result import AzureResult
from cirq_azure_sessions.results.histogram import count_outcomes, sorted_keys
from cirq_azure_sessions.results.html import Bar, table
from cirq_azure_sessions.results.plot import plot_sweep
from cirq_azure_sessions.spelling import counted

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["SweepResults", "by_circuit", "error_of_point", "warn_of_lost_shots"]

logger = logging.getLogger(__name__)

# A table shows at most this many points; the list has them all.
_MAX_ROWS = 50
# A repr shows at most this many parameters; each point has them all.
_MAX_PARAMS = 4

# The maximum number of characters of a parameter's value in a repr.
_MAX_VALUE = 30


class SweepResults(list[AzureResult | None]):
    """One result per point, in the order of the sweep; None where a point failed.

    It compares, pickles and sorts like any list; its slices, copies and sums are `SweepResults`
    too.
    """

    def plot(
        self,
        ax: Axes | None = None,
        *,
        symbol: str | sympy.Symbol | None = None,
        value: Callable[[cirq.Result], Any] | None = None,
        **plot_kwargs: Any,
    ) -> Axes:
        """Plots the results against the swept parameters, as `plot_sweep` does."""
        return plot_sweep(self, ax, symbol=symbol, value=value, **plot_kwargs)

    def to_dataframe(self) -> pd.DataFrame:
        """A data frame with one row per point, including failed ones.

        Returns:
            A frame whose index is the point, and whose columns are the parameters by name, then
            `job_id`, `session_id`, `target`, `repetitions` and `lost_shots`, then one column per
            outcome with its count. Outcomes are written as in `plot`, key by key with spaces
            between keys. Values that a failed point lacks are missing (NaN or None).
        """
        import pandas as pd

        index = pd.RangeIndex(len(self), name="point")
        names = self._param_names()
        facts = ("job_id", "session_id", "target", "repetitions", "lost_shots")
        params = [_params(point) if point else {} for point in self]
        known = [{name: getattr(point, name, None) for name in facts} for point in self]
        counts = [count_outcomes(point).counts if point else {} for point in self]
        outcomes = sorted({outcome for each in counts for outcome in each})
        rows = [
            [each.get(outcome, 0) for outcome in outcomes] if point else [None] * len(outcomes)
            for each, point in zip(counts, self, strict=True)
        ]
        return pd.concat(
            [
                pd.DataFrame(params, index=index, columns=names),
                pd.DataFrame(known, index=index, columns=facts),
                pd.DataFrame(rows, index=index, columns=outcomes),
            ],
            axis=1,
        )

    def copy(self) -> SweepResults:
        return type(self)(self)

    @overload
    def __getitem__(self, index: SupportsIndex) -> AzureResult | None: ...

    @overload
    def __getitem__(self, index: slice) -> SweepResults: ...

    def __getitem__(self, index: SupportsIndex | slice) -> AzureResult | SweepResults | None:
        if isinstance(index, slice):
            return type(self)(super().__getitem__(index))
        return super().__getitem__(index)

    def __add__(self, other: Iterable[Any]) -> SweepResults:  # type: ignore[override]
        if not isinstance(other, list):
            return NotImplemented
        return type(self)([*self, *other])

    def __radd__(self, other: Iterable[Any]) -> SweepResults:
        if not isinstance(other, list):
            return NotImplemented
        return type(self)([*other, *self])

    def __mul__(self, times: SupportsIndex) -> SweepResults:
        return type(self)(super().__mul__(times))

    __rmul__ = __mul__

    def __repr__(self) -> str:
        """One line, since the reprs of all points would fill many screens."""
        home = [point for point in self if point is not None]
        words = [counted(len(self), "point")]
        words += _ranges(home, self._param_names())
        if repetitions := {point.repetitions for point in home}:
            least, most = min(repetitions), max(repetitions)
            range_of = "" if least == most else f"{least:,} to "
            words.append(range_of + counted(most, "repetition"))
        if failed := len(self) - len(home):
            words.append(f"{failed} failed")
        return f"<SweepResults: {', '.join(words)}>"

    def _repr_html_(self) -> str:
        names = self._param_names()
        keys = next((" ".join(sorted_keys(point)) for point in self if point), "")
        hidden = len(self) - _MAX_ROWS
        return table(
            f"Results of {counted(len(self), 'point')}",
            ["point", *names, "repetitions", f"most frequent {keys}".strip(), "fraction", ""],
            (self._row(index, names) for index in range(min(len(self), _MAX_ROWS))),
            below=f"and {counted(hidden, 'more point')}" if hidden > 0 else "",
        )

    def _param_names(self) -> list[str]:
        """The names of the parameters of all points."""
        return list(dict.fromkeys(name for point in self if point for name in _params(point)))

    def _row(self, index: int, names: list[str]) -> Iterator[object]:
        """The cells of one point."""
        result = self[index]
        yield index
        if result is None:
            yield from [None] * len(names)
            yield from [None, "failed", None, None]
            return
        params = _params(result)
        yield from (params.get(name) for name in names)
        histogram = count_outcomes(result, limit=1)
        yield histogram.repetitions
        outcome = next(iter(histogram.counts), "")
        yield outcome
        yield histogram.fraction(outcome)
        yield Bar(histogram.fraction(outcome))


def by_circuit(parts: Iterable[tuple[SweepResults, Mapping[int, range]]]) -> list[Any]:
    """The results of a batch, one list per circuit in their order.

    Args:
        parts: The results of one or several circuits, with the range of each circuit by its index.
    """
    found = {
        index: results[points.start : points.stop]
        for results, circuits in parts
        for index, points in circuits.items()
    }
    return [found[index] for index in sorted(found)]


def _params(result: AzureResult) -> dict[str, Any]:
    """The values of the point's parameters by their names."""
    return {str(name): value for name, value in result.params.param_dict.items()}


def _ranges(points: list[AzureResult], names: list[str]) -> Iterator[str]:
    """The first and the last value of each parameter."""
    for name in names[:_MAX_PARAMS]:
        settings = [_params(point).get(name) for point in points]
        # A sweep may return to its first value.
        is_constant = all(setting == settings[0] for setting in settings)
        ends = settings[:1] if is_constant else [settings[0], settings[-1]]
        yield printable(f"{name}={'..'.join(map(_short, ends))}")
    if (hidden := len(names) - _MAX_PARAMS) > 0:
        yield counted(hidden, "more parameter")


def _short(value: Any) -> str:
    # SymPy's numbers are real numbers too, but do not support formats.
    text = f"{float(value):.6g}" if isinstance(value, numbers.Real) else str(value)
    return text if len(text) <= _MAX_VALUE else f"{text[: _MAX_VALUE - 3]}..."


def warn_of_lost_shots(target: str, lost: int) -> None:
    """Warns, once per call, that results have fewer repetitions than requested."""
    logger.warning(
        "%d repetitions on %s were lost; lost_shots of each result is the number that it lacks.",
        lost,
        target,
    )


@contextmanager
def error_of_point() -> Iterator[None]:
    """Raises the error of a sweep's only point instead of the sweep's."""
    try:
        yield
    except SweepError as error:
        raise error.failures[0] from error.failures[0].__cause__
