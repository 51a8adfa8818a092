"""What the command line shows: tables for a terminal of 80 columns, and values for JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cirq
import numpy as np
from rich.bar import Bar
from rich.console import Group
from rich.table import Table
from rich.text import Text

from cirq_azure_sessions.cli.table_style import new_table
from cirq_azure_sessions.results.histogram import Histogram, count_outcomes

if TYPE_CHECKING:
    from cirq_azure_sessions.cli.demo import Agreement, Demo, Lifeline

__all__ = [
    "agreement_table",
    "best_cut_table",
    "demo_table",
    "histogram_table",
    "lifeline_table",
    "results_as_json",
    "stats_table",
    "sweep_table",
]

# A table shows this many outcomes at most; JSON has them all.
_ROWS = 24
_COLUMNS = 6
# Names of keys up to this length together stand above the outcomes.
_TITLE = 40


def histogram_table(histogram: Histogram) -> Group:
    """One row an outcome: its count, its fraction and a bar; the most frequent first."""
    title = " ".join(histogram.keys)
    is_short = len(title) <= _TITLE
    table = new_table(expand=True)
    table.add_column(title if is_short else "outcome", overflow="fold")
    table.add_column("count", justify="right")
    table.add_column("fraction", justify="right")
    table.add_column(ratio=1)
    rows = list(histogram.counts.items())
    for outcome, count in rows[:_ROWS]:
        shown = _align(outcome, histogram.keys) if is_short else outcome
        bar = Bar(size=rows[0][1], begin=0, end=count)
        table.add_row(shown, str(count), f"{histogram.fraction(outcome):.4f}", bar)
    if others := [count for _, count in rows[_ROWS:]]:
        fraction = sum(others) / histogram.repetitions
        table.add_row(f"{len(others)} others", str(sum(others)), f"{fraction:.4f}")
    return Group(table) if is_short else Group(table, f"An outcome shows {title}.")


def _align(outcome: str, keys: Sequence[str]) -> str:
    """Puts the bits of each key under its name in the title."""
    return " ".join(
        bits.ljust(len(key)) for bits, key in zip(outcome.split(" "), keys, strict=True)
    )


def sweep_table(results: Sequence[cirq.Result]) -> Group:
    """One row a point: its parameters, and the fractions of the most frequent outcomes."""
    histograms = [count_outcomes(result) for result in results]
    totals: Counter[str] = sum((Counter(histogram.counts) for histogram in histograms), Counter())
    outcomes = sorted(outcome for outcome, _ in totals.most_common(_COLUMNS))
    table = new_table()
    for name in results[0].params.param_dict:
        table.add_column(str(name), justify="right")
    for outcome in outcomes:
        table.add_column(outcome, justify="right", overflow="fold")
    for result, histogram in zip(results, histograms, strict=True):
        values = [f"{value:.6g}" for value in result.params.param_dict.values()]
        table.add_row(*values, *(f"{histogram.fraction(outcome):.4f}" for outcome in outcomes))
    hidden = len(totals) - len(outcomes)
    legend = f"Fractions of the outcomes of {' '.join(histograms[0].keys)}"
    return Group(table, legend + (f"; {hidden} more are rarer." if hidden else "."))


def results_as_json(target: str, results: Sequence[cirq.Result]) -> dict[str, Any]:
    """The results of a sweep as JSON's values: every outcome of every point."""
    histograms = [count_outcomes(result) for result in results]
    return {
        "target": target,
        "keys": list(histograms[0].keys) if histograms else [],
        "points": [
            {
                "params": {
                    str(key): float(value) for key, value in result.params.param_dict.items()
                },
                "repetitions": histogram.repetitions,
                "counts": histogram.counts,
                "job_id": getattr(result, "job_id", None),
                "session_id": getattr(result, "session_id", None),
            }
            for result, histogram in zip(results, histograms, strict=True)
        ],
    }


def demo_table(demo: Demo) -> Table:
    """One row a point: the mean cut of theory and of each target, in figures and as a plot."""
    providers = [curve.provider for curve in demo.curves]
    table = new_table()
    for header in ("gamma", "theory", *providers):
        table.add_column(header, justify="right")
    marks = ", ".join(f"{name[0]} {name}" for name in providers)
    table.add_column(f"| theory, {marks}")
    rows = np.column_stack([demo.theory, *(curve.mean_cuts for curve in demo.curves)])
    low, high = rows.min(), rows.max()
    for gamma, row in zip(demo.gammas, rows, strict=True):
        line = _plot((row - low) / (high - low), "|" + "".join(name[0] for name in providers))
        table.add_row(f"{gamma:.3f}", *(f"{cut:.2f}" for cut in row), line)
    return table


def _plot(positions: Iterable[float], marks: str, width: int = 34) -> Text:
    """A line with a mark at each position from 0 to 1; later marks hide earlier ones."""
    line = [" "] * width
    for position, mark in zip(positions, marks, strict=True):
        line[round(position * (width - 1))] = mark
    return Text("".join(line))


def best_cut_table(demo: Demo) -> Table:
    """One row a target: the outcome it gave most often where theory puts the largest mean cut."""
    table = new_table()
    for header in ("target", "most frequent outcome", "cut edges"):
        table.add_column(header)
    best = int(demo.theory.argmax())
    for curve in demo.curves:
        outcome, count = next(iter(count_outcomes(curve.results[best]).counts.items()))
        ring = zip(outcome, outcome[1:] + outcome[:1], strict=True)
        cut = sum(a != b for a, b in ring)
        table.add_row(
            curve.target, f"{outcome}, {count} of {demo.repetitions}", f"{cut} of {demo.nodes}"
        )
    return table


def lifeline_table(lifelines: Sequence[Lifeline]) -> Table:
    """One row a session: what became of it, and how many of its jobs brought a result."""
    table = new_table()
    for header in ("target", "session", "what became of it"):
        table.add_column(header)
    table.add_column("jobs", justify="right")
    for line in lifelines:
        words = ", ".join(kind.replace("_", " ") for kind in line.kinds)
        table.add_row(line.target, line.session_id[:8], words, str(line.jobs))
    return table


def agreement_table(agreements: Sequence[Agreement]) -> Table:
    """One row a pair of targets: how far apart they are, and how far chance would put them."""
    table = new_table()
    table.add_column("targets")
    for header in ("mean cuts", "by chance", "distributions", "by chance "):
        table.add_column(header, justify="right")
    for pair in agreements:
        table.add_row(
            f"{pair.first.provider}, {pair.second.provider}",
            f"{pair.cut_difference:.3f}",
            f"{pair.expected_cut_difference:.3f}",
            f"{pair.distance:.3f}",
            f"{pair.expected_distance:.3f}",
        )
    return table


def stats_table(stats: Mapping[str, float]) -> Table:
    """The pool's statistics that are not zero: sessions in one row, jobs in another."""
    table = new_table(show_header=False)
    for noun in ("sessions", "jobs"):
        counts = {
            name.removeprefix(f"{noun}_").replace("_", " "): count
            for name, count in stats.items()
            if name.startswith(noun) and count
        }
        table.add_row(noun, ", ".join(f"{count:g} {name}" for name, count in counts.items()))
    return table
