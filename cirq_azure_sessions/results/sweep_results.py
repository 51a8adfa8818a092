"""The results of a sweep: a list that notebooks show as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import cirq

from cirq_azure_sessions.results.azure_result import AzureResult
from cirq_azure_sessions.results.histogram import count_outcomes
from cirq_azure_sessions.results.html import Bar, table
from cirq_azure_sessions.results.plot import plot_sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SweepResults"]

# A table shows this many points; the list has them all.
_ROWS = 50


class SweepResults(list[AzureResult | None]):
    """One result a point, in the order of the sweep; None where a point failed.

    It is a list in every way: it equals, pickles, slices and sorts as one.
    """

    def plot(
        self,
        ax: Axes | None = None,
        *,
        symbol: str | None = None,
        value: Callable[[cirq.Result], Any] | None = None,
        **plot_kwargs: Any,
    ) -> Axes:
        """Plots the points against the parameter that was swept, as `plot_sweep` does."""
        return plot_sweep(self, ax, symbol=symbol, value=value, **plot_kwargs)

    def _repr_html_(self) -> str:
        names = list(dict.fromkeys(name for point in self if point for name in _params(point)))
        keys = next((" ".join(count_outcomes(point).keys) for point in self if point), "")
        hidden = len(self) - _ROWS
        return table(
            f"Results of {len(self)} points",
            ["point", *names, "repetitions", f"most frequent {keys}".strip(), "fraction", ""],
            (self._row(index, names) for index in range(min(len(self), _ROWS))),
            below=f"and {hidden} more points" if hidden > 0 else "",
        )

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
        histogram = count_outcomes(result)
        yield histogram.repetitions
        outcome = next(iter(histogram.counts), "")
        yield outcome
        yield histogram.fraction(outcome)
        yield Bar(histogram.fraction(outcome))


def _params(result: AzureResult) -> dict[str, object]:
    """The values of the point's parameters by their names."""
    return {str(name): value for name, value in result.params.param_dict.items()}
