"""The results of a sweep against its parameter."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import cirq
import numpy as np

from cirq_azure_sessions.results import palette
from cirq_azure_sessions.results.histogram import Histogram, count_outcomes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_sweep"]

# One line an outcome, told apart by its mark too; the last is for all outcomes beyond these.
_STYLES: Sequence[dict[str, Any]] = [
    *({"color": c, "marker": m} for c, m in zip(palette.CYCLE, "osD^vPX", strict=True)),
    {"color": palette.QUIET, "linestyle": "--"},
]
_FEW_LINES = 4


def plot_sweep(
    results: Sequence[cirq.Result | None],
    ax: Axes | None = None,
    *,
    symbol: str | None = None,
    value: Callable[[cirq.Result], Any] | None = None,
    **plot_kwargs: Any,
) -> Axes:
    """Plots the results of a sweep against the parameter that was swept.

    By default one line an outcome: the fraction p of the n repetitions that gave it, with its
    standard error, sqrt(p (1 - p) / n). The rarest are summed up.

    Args:
        results: What `run_sweep` of any sampler returned, or the `results` of a `SweepError`;
            None, a point that failed, is left out.
        ax: Where to plot; by default in a new figure.
        symbol: The parameter; by default the one that varies.
        value: Plot this instead: a function of a result that returns a number, or one number a
            repetition, of which the mean and its standard error are shown. That of a Pauli Z, for
            example, is `lambda result: 1 - 2 * result.measurements["m"][:, 0].astype(int)`.
        **plot_kwargs: Passed on to `ax.errorbar`.

    Returns:
        The axes that were plotted on.

    Raises:
        ValueError: If there is no result, or not exactly one parameter varies.
    """
    from matplotlib import pyplot as plt

    came_home = [result for result in results if result is not None]
    symbol = _check_symbol(came_home, symbol)
    came_home.sort(key=lambda result: _number(result, symbol))
    xs = [_number(result, symbol) for result in came_home]
    if ax is None:
        _, ax = plt.subplots(layout="constrained")
    if value is None:
        _plot_outcomes(came_home, xs, ax, plot_kwargs)
    else:
        ys, errors = zip(*(_mean_and_error(value(result)) for result in came_home), strict=True)
        _plot_line(ax, xs, ys, errors, _STYLES[0] | plot_kwargs)
    ax.set_xlabel(symbol)
    ax.grid(color=palette.PALE, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["right", "top"]].set_visible(False)
    return ax


def _number(result: cirq.Result, symbol: str) -> float:
    return complex(result.params.value_of(symbol)).real


def _check_symbol(results: Sequence[cirq.Result], symbol: str | None) -> str:
    """The parameter to plot against; the points must differ in it."""
    if not results:
        raise ValueError("There is no result to plot: none was given, or all points failed.")
    settings = defaultdict(set)
    for result in results:
        for name, setting in result.params.param_dict.items():
            settings[str(name)].add(setting)
    varying = [name for name in settings if len(settings[name]) > 1] or list(settings)
    names = ", ".join(varying) or "no parameter"
    if symbol is None and len(varying) != 1:
        raise ValueError(f"The results vary in {names}: say with symbol= what to plot against.")
    symbol = symbol or varying[0]
    if symbol not in settings:
        raise ValueError(f"The results have no parameter {symbol}; they vary in {names}.")
    if len({result.params for result in results}) > len(settings[symbol]):
        raise ValueError(
            f"At one {symbol} there are several results, since they vary in {names}: "
            "plot those of one value of the others at a time."
        )
    return symbol


def _mean_and_error(sampled: Any) -> tuple[float, float]:
    """A number, or the mean of one number a repetition, and its standard error."""
    values = np.asarray(sampled, dtype=float)
    if values.ndim == 0:
        return float(values), 0.0
    return float(values.mean()), float(values.std() / np.sqrt(values.size))


def _plot_outcomes(
    results: Sequence[cirq.Result], xs: Sequence[float], ax: Axes, plot_kwargs: dict[str, Any]
) -> None:
    histograms = [count_outcomes(result) for result in results]
    for (label, fractions), style in zip(_lines(histograms), _STYLES, strict=False):
        errors = [
            np.sqrt(fraction * (1 - fraction) / max(histogram.repetitions, 1))
            for fraction, histogram in zip(fractions, histograms, strict=True)
        ]
        _plot_line(ax, xs, fractions, errors, style | {"label": label} | plot_kwargs)
    ax.set_ylabel("fraction of repetitions")
    legend = ax.legend(title=" ".join(histograms[0].keys), frameon=False)
    if len(ax.containers) > _FEW_LINES:
        # Many lines leave no room for their names between them.
        legend.set_loc("upper left")
        legend.set_bbox_to_anchor((1, 1), ax.transAxes)


def _lines(histograms: Sequence[Histogram]) -> Iterator[tuple[str, list[float]]]:
    """The fractions of each outcome at every point; the rarer outcomes together, as the last."""
    totals: Counter[str] = sum((Counter(each.counts) for each in histograms), Counter())
    shown = sorted(outcome for outcome, _ in totals.most_common(len(palette.CYCLE)))
    for outcome in shown:
        yield outcome, [each.fraction(outcome) for each in histograms]
    if others := len(totals) - len(shown):
        sums = [sum(map(each.fraction, shown)) for each in histograms]
        yield f"{others} more", [max(1 - fraction, 0.0) for fraction in sums]


def _plot_line(
    ax: Axes,
    xs: Sequence[float],
    ys: Sequence[float],
    errors: Sequence[float],
    style: dict[str, Any],
) -> None:
    usual = {"markersize": 4, "linewidth": 1.2, "elinewidth": 0.8}
    ax.errorbar(xs, ys, yerr=errors, **usual | style)
