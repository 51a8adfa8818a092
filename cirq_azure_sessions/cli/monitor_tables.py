"""What is seen of a workspace: as tables for a terminal of 80 columns, and as values for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from cirq_azure_sessions.cli.table_style import new_table
from cirq_azure_sessions.model import Cost, Job, Quota, Session, TargetStatus
from cirq_azure_sessions.monitor import SessionView

__all__ = [
    "as_values",
    "detail_table",
    "item_table",
    "quota_table",
    "target_table",
    "view_as_line",
    "view_as_values",
]

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))
# Fields that hold times, beside those whose names say so.
_MOMENTS = ("written", "changed", "started", "ended", "opened", "closed")


def as_values(item: object) -> dict[str, Any]:
    """A session, job, target or quota as JSON's values; times are in UTC.

    What its `repr` leaves out, such as addresses and payloads, is not for JSON either.
    """
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


def view_as_values(view: SessionView) -> dict[str, Any]:
    """A session and the number of its jobs in each status."""
    return {**as_values(view.session), "jobs": dict(view.jobs)}


def view_as_line(view: SessionView) -> str:
    """A session's status and jobs in one line."""
    jobs = ", ".join(f"{count} {status}" for status, count in sorted(view.jobs.items()))
    return f"{view.session.status}: {jobs or 'no jobs'}"


def item_table(items: Sequence[Session | Job], now: float) -> Table:
    """One row a session or job: its id, target, status and age."""
    table = new_table()
    table.add_column("id", no_wrap=True)
    for header in ("target", "status"):
        table.add_column(header, overflow="fold")
    table.add_column("age", justify="right", no_wrap=True)
    for item in items:
        age = "" if item.creation_time is None else _duration(now - item.creation_time)
        table.add_row(item.id, item.target, item.status, age)
    return table


def detail_table(values: Mapping[str, Any]) -> Table:
    """One row a field that has a value."""
    table = new_table(show_header=False)
    for name, value in values.items():
        if shown := _in_words(value):
            table.add_row(name.replace("_", " "), shown)
    return table


def _in_words(value: Any) -> str:
    """A value of JSON as a person reads it; nothing for what is not there."""
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(value)
    if not isinstance(value, Mapping):
        return str(value)
    if "currency" in value:
        return f"{value['total']:g} {value['currency']}"
    return ", ".join(f"{count} {word}" for word, count in value.items())


def target_table(targets: Sequence[TargetStatus]) -> Table:
    """One row a target: whether it takes jobs, and how long they queue."""
    table = new_table()
    for header in ("target", "availability"):
        table.add_column(header)
    table.add_column("queue", justify="right")
    for target in targets:
        table.add_row(target.id, target.availability, _duration(target.average_queue_time))
    return table


def quota_table(quotas: Sequence[Quota]) -> Table:
    """One row a quota: what of it is used, held by running jobs, and allowed."""
    table = new_table()
    for header in ("provider", "dimension", "scope", "period"):
        table.add_column(header, overflow="fold")
    for header in ("used", "held", "limit"):
        table.add_column(header, justify="right")
    for quota in quotas:
        amounts = (quota.utilization, quota.holds, quota.limit)
        table.add_row(
            quota.provider,
            quota.dimension,
            quota.scope,
            quota.period or "",
            *(f"{amount:g}" for amount in amounts),
        )
    return table


def _duration(seconds: float) -> str:
    """Seconds in the largest unit that they fill: `3 s`, `12 min`, `5 h`, `2 d`."""
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
