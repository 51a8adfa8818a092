"""Plots of a sweep's results against its parameters."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cirq
import numpy as np
import sympy

from cirq_azure_sessions.options import checked, shortened, shown
from cirq_azure_sessions.redaction import drawable
from cirq_azure_sessions.results import palette
from cirq_azure_sessions.results.histogram import Histogram, count_outcomes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_sweep"]

# One style per outcome, with its own marker; the last is for all other outcomes.
_STYLES: Sequence[dict[str, Any]] = [
    *({"color": c, "marker": m} for c, m in zip(palette.CYCLE, "osD^vPX", strict=True)),
    {"color": palette.QUIET, "linestyle": "--"},
]
_MAX_LINES = len(palette.CYCLE)
# With more lines than this the legend is placed next to the axes, for lack of room.
_MAX_LINES_INSIDE = 4
# Longer labels leave no room for the lines; they are shortened in the middle.
_MAX_LABEL = 24


@checked(
    symbol=(
        "a parameter or its name",
        lambda value: isinstance(value, str) or hasattr(value, "free_symbols"),
    ),
    value=("a function of a result", callable),
)
def plot_sweep(
    results: Sequence[cirq.Result | None] | Mapping[str, Sequence[cirq.Result | None]],
    ax: Axes | None = None,
    *,
    symbol: str | sympy.Symbol | None = None,
    value: Callable[[cirq.Result], Any] | None = None,
    **plot_kwargs: Any,
) -> Axes:
    """Plots the results of a sweep against the parameters that were swept.

    If one parameter varies there is one line per outcome: its fraction p of the n repetitions, with
    the standard error sqrt(p (1 - p) / n). The rarest outcomes are combined.

    If two parameters form a grid there is one number per point: `value`, or the fraction of the
    outcome that is the most frequent in the whole sweep. They are drawn as a heat map or, with
    `symbol`, as one line against it for each value of the other, if those are not too many.

    Several sweeps by name, such as one for each of several targets, are compared: there is one line
    per name.

    Args:
        results: The return value of any sampler's `run_sweep`, or the `results` of a `SweepError`;
            None, a failed point, is left out. Or several of these by name.
        ax: The axes to plot on; by default those of a new figure, of which pyplot keeps the last
            ten open.
        symbol: The parameter of the horizontal axis, or its name; by default the one that varies.
        value: The number to plot instead: a function of a result that returns a number, or one
            number per repetition, whose mean and standard error are shown. For a Pauli Z, for
            example, it is `lambda result: 1 - 2 * result.measurements["m"][:, 0].astype(int)`.
        **plot_kwargs: Passed on to `ax.errorbar`, or to `ax.pcolormesh` for a heat map.

    Returns:
        The axes of the plot.

    Raises:
        ValueError: If there is nothing to plot, or more than two parameters vary, or more than one
            in sweeps that are compared.
    """
    from cirq_azure_sessions.results.picture import new_axes

    sweeps = results if isinstance(results, Mapping) else {"": results}
    for sweep in sweeps.values():
        if not isinstance(sweep, Iterable):
            raise TypeError(f"results must be a list of results, not {shown(sweep)}.")
    completed = _check_results([each for sweep in sweeps.values() for each in sweep], value)
    x, y = _choose_axes(completed, None if symbol is None else str(symbol))
    if sweeps is results and (y is not None or len(sweeps) > _MAX_LINES):
        raise ValueError(f"Only sweeps of one parameter are compared, and at most {_MAX_LINES}.")
    if ax is None:
        ax = new_axes()
    if sweeps is results:
        label, numbers = _one_number_a_point(completed, value)
        names = [name for name, sweep in sweeps.items() for each in sweep if each is not None]
        _plot_family(ax, completed, x, names, "", label, numbers, plot_kwargs)
    elif y is not None:
        label, numbers = _one_number_a_point(completed, value)
        settings = [_number(result, y) for result in completed]
        if symbol is None or len(set(settings)) > _MAX_LINES:
            return _plot_heat_map(ax, completed, x, y, label, numbers, plot_kwargs)
        _plot_family(ax, completed, x, settings, y, label, numbers, plot_kwargs)
    elif value is not None:
        _, numbers = _one_number_a_point(completed, value)
        _plot_line(ax, completed, x, numbers, _STYLES[0] | plot_kwargs)
    else:
        _plot_outcomes(ax, completed, x, plot_kwargs)
    ax.set_xlabel(drawable(x))
    ax.grid(color=palette.PALE, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["right", "top"]].set_visible(False)
    return ax


def _check_results(
    results: Sequence[cirq.Result | None], value: Callable[[cirq.Result], Any] | None
) -> list[cirq.Result]:
    """The results of the points that completed."""
    completed = [result for result in results if result is not None]
    if odd := [result for result in completed if not isinstance(result, cirq.Result)]:
        raise TypeError(f"results must be a list of results, not of {type(odd[0]).__name__}.")
    if not results:
        raise ValueError("There are no results to plot: the sweep has no points.")
    if not completed:
        raise ValueError("There are no results to plot: all points failed.")
    if value is None and not any(result.repetitions for result in completed):
        raise ValueError("There is nothing to plot: the results have no repetitions.")
    return completed


def _number(result: cirq.Result, symbol: str) -> float:
    try:
        value = complex(result.params.value_of(symbol))
    except (TypeError, ValueError, OverflowError):
        value = None
    if value is None or value.imag:
        given = result.params.param_dict.get(symbol, "missing")
        raise ValueError(
            f"{symbol} is {given} at one point: plot against a parameter that has numbers."
        )
    return value.real


def _choose_axes(results: Sequence[cirq.Result], symbol: str | None) -> tuple[str, str | None]:
    """The parameter to plot against, and the other one if two form a grid."""
    settings: dict[str, set[Any]] = defaultdict(set)
    for result in results:
        for name, setting in result.params.param_dict.items():
            settings[str(name)].add(setting)
    if not settings:
        raise ValueError("There is nothing to plot against: the results have no parameters.")
    varying = [name for name in settings if len(settings[name]) > 1] or list(settings)
    names = ", ".join(varying)
    if symbol is not None and symbol not in settings:
        raise ValueError(
            f"The results have no parameter {shortened(str(symbol))}; they vary in {names}."
        )
    points = len({result.params for result in results})
    is_grid = len(varying) == 2 and all(points > len(settings[name]) for name in varying)
    if symbol is None and len(varying) > 1 and not is_grid:
        raise ValueError(f"The results vary in {names}: name the one to plot against with symbol=.")
    x = symbol or varying[0]
    if any(x not in map(str, result.params.param_dict) for result in results):
        raise ValueError(f"{x} is missing at one point: plot the points that have it.")
    if points == len(settings[x]):
        return x, None
    others = [name for name in varying if name != x]
    if len(others) != 1:
        raise ValueError(
            f"There are several results for one {x}, since they vary in "
            f"{names}: plot one value of the other parameters at a time."
        )
    return x, others[0]


def _one_number_a_point(
    results: Sequence[cirq.Result], value: Callable[[cirq.Result], Any] | None
) -> tuple[str, list[tuple[float, float]]]:
    """The label of the plotted quantity, and each result's value with its standard error."""
    if value is not None:
        return "", [_mean_and_error(value(result)) for result in results]
    histograms = [count_outcomes(result) for result in results]
    ((outcome, _),) = _totals(histograms).most_common(1)
    (keys,), (digits,) = _shortened([" ".join(histograms[0].keys)]), _shortened([outcome])
    label = f"fraction with {keys} = {digits}"
    return label, [_fraction_and_error(each, outcome) for each in histograms]


def _shortened(labels: Sequence[str], length: int = _MAX_LABEL) -> list[str]:
    """The labels, cut as far as they stay distinct."""
    half = length // 2
    cut = [each if len(each) <= length else f"{each[:half]}...{each[-half:]}" for each in labels]
    return cut if len({*cut}) == len({*labels}) else _shortened(labels, 2 * length)


def _mean_and_error(sampled: Any) -> tuple[float, float]:
    """A number, or the mean of one number per repetition, and its standard error."""
    values = np.asarray(sampled, dtype=float)
    if values.ndim == 0:
        return float(values), 0.0
    return float(values.mean()), float(values.std() / np.sqrt(values.size))


def _fraction_and_error(histogram: Histogram, outcome: str) -> tuple[float, float]:
    return _with_error(histogram.fraction(outcome), histogram.repetitions)


def _with_error(fraction: float, repetitions: int) -> tuple[float, float]:
    return fraction, float(np.sqrt(fraction * (1 - fraction) / max(repetitions, 1)))


def _totals(histograms: Sequence[Histogram]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for histogram in histograms:
        totals.update(histogram.counts)
    return totals


def _plot_outcomes(
    ax: Axes, results: Sequence[cirq.Result], x: str, plot_kwargs: dict[str, Any]
) -> None:
    histograms = [count_outcomes(result) for result in results]
    outcomes, lines = zip(*_lines(histograms), strict=True)
    for label, numbers, style in zip(_shortened(outcomes), lines, _STYLES, strict=False):
        _plot_line(ax, results, x, numbers, style | {"label": label} | plot_kwargs)
    ax.set_ylabel("fraction of repetitions")
    _add_legend(ax, *_shortened([" ".join(histograms[0].keys)]))


def _lines(histograms: Sequence[Histogram]) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """The fractions of each outcome at every point; the rarer ones combined, as the last line."""
    totals = _totals(histograms)
    shown = sorted(outcome for outcome, _ in totals.most_common(_MAX_LINES))
    for outcome in shown:
        yield outcome, [_fraction_and_error(each, outcome) for each in histograms]
    if others := len(totals) - len(shown):
        rest = [max(1 - sum(map(each.fraction, shown)), 0.0) for each in histograms]
        yield (
            f"{others} more",
            [_with_error(r, each.repetitions) for r, each in zip(rest, histograms, strict=True)],
        )


def _plot_family(
    ax: Axes,
    results: Sequence[cirq.Result],
    x: str,
    groups: Sequence[str] | Sequence[float],
    title: str,
    label: str,
    numbers: Sequence[tuple[float, float]],
    plot_kwargs: dict[str, Any],
) -> None:
    """One line against x for each group of results; `groups` has the group of each result."""
    settings = dict.fromkeys(groups if isinstance(groups[0], str) else sorted(groups))
    for setting, style in zip(settings, _STYLES, strict=False):
        chosen = [index for index, group in enumerate(groups) if group == setting]
        name = drawable(setting) if isinstance(setting, str) else f"{setting:.6g}"
        style = style | {"label": name} | plot_kwargs
        _plot_line(ax, [results[index] for index in chosen], x, [numbers[i] for i in chosen], style)
    ax.set_ylabel(drawable(label))
    _add_legend(ax, title)


def _plot_heat_map(
    ax: Axes,
    results: Sequence[cirq.Result],
    x: str,
    y: str,
    label: str,
    numbers: Sequence[tuple[float, float]],
    plot_kwargs: dict[str, Any],
) -> Axes:
    """One cell per point; those without a result stay empty."""
    columns, xs = np.unique([_number(result, x) for result in results], return_inverse=True)
    rows, ys = np.unique([_number(result, y) for result in results], return_inverse=True)
    cells = np.full((len(rows), len(columns)), np.nan)
    cells[ys, xs] = [number for number, _ in numbers]
    mesh = ax.pcolormesh(columns, rows, cells, **{"shading": "nearest"} | plot_kwargs)
    ax.figure.colorbar(mesh, ax=ax, label=drawable(label))
    ax.set_xlabel(drawable(x))
    ax.set_ylabel(drawable(y))
    return ax


def _plot_line(
    ax: Axes,
    results: Sequence[cirq.Result],
    x: str,
    numbers: Sequence[tuple[float, float]],
    style: dict[str, Any],
) -> None:
    usual = {"markersize": 4, "linewidth": 1.2, "elinewidth": 0.8}
    points = sorted(
        (_number(result, x), *number) for result, number in zip(results, numbers, strict=True)
    )
    xs, ys, errors = zip(*points, strict=True)
    ax.errorbar(xs, ys, yerr=errors, **usual | style)


def _add_legend(ax: Axes, title: str) -> None:
    legend = ax.legend(title=drawable(title), frameon=False)
    if len(ax.containers) > _MAX_LINES_INSIDE:
        legend.set_loc("upper left")
        legend.set_bbox_to_anchor((1, 1), ax.transAxes)
