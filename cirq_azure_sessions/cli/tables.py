"""Tables for a terminal of 80 columns, and the same data as JSON values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.bar import Bar
from rich.console import Group
from rich.table import Table

from cirq_azure_sessions.model import Cost, Quota, Session, TargetStatus
from cirq_azure_sessions.redaction import printable

if TYPE_CHECKING:
    import cirq

    from cirq_azure_sessions.results.histogram import Histogram
    from cirq_azure_sessions.sessions.handles import JobHandle, SessionHandle

__all__ = [
    "as_values",
    "changes_in_words",
    "detail_table",
    "histogram_table",
    "in_words",
    "item_table",
    "new_table",
    "quota_table",
    "results_as_json",
    "results_table",
    "sweep_table",
    "target_table",
]

# The maximum number of outcomes in a table; JSON has them all.
_ROWS = 24
_COLUMNS = 6
# Key names up to this total length are shown above the outcomes.
_TITLE = 40

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))
# Fields that hold times, in addition to those named `*_time`.
_MOMENTS = ("written", "changed", "started", "ended", "opened", "closed")


class _Table(Table):
    """A table that shows control characters as escapes."""

    def add_column(self, header: Any = "", *args: Any, **options: Any) -> None:
        super().add_column(printable(header), *args, **options)

    def add_row(self, *cells: Any, **options: Any) -> None:
        shown = (printable(cell) if isinstance(cell, str) else cell for cell in cells)
        super().add_row(*shown, **options)


def new_table(**options: Any) -> Table:
    """An empty table; the options are those of `rich.table.Table`."""
    return _Table(box=None, pad_edge=False, header_style="bold", **options)


# Results


def histogram_table(histogram: Histogram) -> Group:
    """One row per outcome, most frequent first: its count, its fraction and a bar."""
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
    return Group(table) if is_short else Group(table, f"An outcome shows {printable(title)}.")


def _align(outcome: str, keys: Sequence[str]) -> str:
    """Aligns the bits of each key with its name in the title."""
    return " ".join(
        bits.ljust(len(key)) for bits, key in zip(outcome.split(" "), keys, strict=True)
    )


def sweep_table(results: Sequence[cirq.Result]) -> Group:
    """One row per point: its parameters, and the fractions of the most frequent outcomes."""
    from cirq_azure_sessions.results.histogram import count_outcomes

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
    legend = f"Fractions of the outcomes of {printable(' '.join(histograms[0].keys))}"
    return Group(table, legend + (f"; {hidden} more are rarer." if hidden else "."))


def results_table(results: Sequence[cirq.Result], *, is_sweep: bool) -> Group:
    """The table of a sweep's results, or of the one result of a circuit without parameters."""
    from cirq_azure_sessions.results.histogram import count_outcomes

    return sweep_table(results) if is_sweep else histogram_table(count_outcomes(results[0]))


def results_as_json(target: str, results: Sequence[cirq.Result]) -> dict[str, Any]:
    """The results of a sweep as JSON values: every outcome of every point."""
    from cirq_azure_sessions.results.histogram import count_outcomes

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


# Sessions, jobs, targets and quotas


def as_values(item: object) -> dict[str, Any]:
    """A session, job, target, quota or journal row as JSON values; times are in UTC.

    Fields that its `repr` omits, such as addresses and payloads, are omitted here too.
    """
    # A handle is shown as last described by the service.
    item = getattr(item, "_item", item)
    return {
        field.name: _as_value(field.name, getattr(item, field.name))
        for field in fields(item)  # type: ignore[arg-type]  # all of these are dataclasses
        if field.repr
    }


def _as_value(name: str, value: Any) -> Any:
    if isinstance(value, Cost):
        return {"total": value.total, "currency": value.currency}
    is_moment = name in _MOMENTS or (name.endswith("_time") and not name.endswith("queue_time"))
    if is_moment and value is not None:
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")
    return list(value) if isinstance(value, tuple) else value


def item_table(items: Sequence[SessionHandle | Session | JobHandle], now: float) -> Table:
    """One row per session or job: its id, target, status and age."""
    table = new_table()
    # On a narrow terminal the widest column, the id, is wrapped first, so that words stay whole.
    for header in ("id", "target"):
        table.add_column(header, overflow="fold")
    table.add_column("status", no_wrap=True)
    table.add_column("age", justify="right", no_wrap=True)
    for item in items:
        age = "" if item.creation_time is None else _duration(now - item.creation_time)
        table.add_row(item.id, item.target, item.status, age)
    return table


def detail_table(values: Mapping[str, Any]) -> Table:
    """One row per field that has a value."""
    table = new_table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in values.items():
        if shown := in_words(value):
            table.add_row(name.replace("_", " "), shown)
    return table


def in_words(value: Any) -> str:
    """A JSON value in words; empty for null."""
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(value)
    if not isinstance(value, Mapping):
        return str(value)
    if "currency" in value:
        return f"{value['total']:g} {value['currency']}"
    return ", ".join(f"{count} {word}" for word, count in value.items())


def changes_in_words(counts: Mapping[str, int], before: Mapping[str, int]) -> str:
    """Counts and their changes: `2 Executing (-1), 3 Succeeded (+1)`."""
    changes = {word: counts.get(word, 0) - before.get(word, 0) for word in {**before, **counts}}
    return ", ".join(
        f"{counts.get(word, 0)} {word}" + (f" ({change:+})" if change else "")
        for word, change in sorted(changes.items())
    )


def target_table(targets: Sequence[TargetStatus]) -> Table:
    """One row per target: its availability and queue time."""
    table = new_table()
    table.add_column("target", overflow="fold")
    table.add_column("availability", no_wrap=True)
    table.add_column("queue", justify="right", no_wrap=True)
    for target in targets:
        table.add_row(target.id, target.availability, _duration(target.average_queue_time))
    return table


def quota_table(quotas: Sequence[Quota]) -> Table:
    """One row per quota: the amounts used, held by running jobs, and allowed."""
    table = new_table()
    # Both can be wrapped, so that a narrow terminal shows some of each.
    for header in ("provider and dimension", "scope"):
        table.add_column(header, overflow="fold")
    for header in ("used", "held", "limit"):
        table.add_column(header, justify="right", no_wrap=True)
    for quota in quotas:
        amounts = (quota.utilization, quota.holds, quota.limit)
        table.add_row(
            f"{quota.provider} {quota.dimension}",
            " ".join(filter(None, (quota.scope, quota.period))),
            *(f"{amount:g}" for amount in amounts),
        )
    return table


def _duration(seconds: float) -> str:
    """A duration in its largest whole unit: `3 s`, `12 min`, `5 h`, `2 d`."""
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
