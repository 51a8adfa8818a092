"""HTML tables for notebooks.

They have no scripts, style sheets or colours, so that they suit light and dark pages.
"""

from __future__ import annotations

import html
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from cirq_azure_sessions.model import Job, Session
from cirq_azure_sessions.redaction import printable
from cirq_azure_sessions.spelling import counted

__all__ = ["Bar", "Listing", "Stats", "job_card", "moment", "pool_card", "session_card", "table"]

T = TypeVar("T", bound=Any)

# A table shows at most this many items; the list has them all.
_MAX_ROWS = 100
_BAR = "height:0.7em;min-width:1px;background:currentColor;opacity:0.45"


@dataclass(frozen=True, slots=True)
class Bar:
    """A cell with a bar whose length is a fraction from 0 to 1."""

    fraction: float


def table(
    caption: str, header: Sequence[str], rows: Iterable[Iterable[object]], *, below: str = ""
) -> str:
    """Builds a table; all strings are escaped.

    Args:
        caption: The line above, in bold.
        header: The names of the columns; empty for a table without a head.
        rows: The cells. Numbers are aligned right, and None is an empty cell.
        below: The line below, in small letters.
    """
    head = "".join(f'<th style="text-align:left">{_escape(name)}</th>' for name in header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return (
        f"<div><strong>{_escape(caption)}</strong>"
        f"<table>{f'<thead><tr>{head}</tr></thead>' if head else ''}<tbody>{body}</tbody></table>"
        f"{f'<small>{_escape(below)}</small>' if below else ''}</div>"
    )


def moment(time: float | None) -> str | None:
    """Formats a time, in seconds since the Unix epoch, in UTC."""
    if time is None:
        return None
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def session_card(session: Session) -> str:
    """A session as a table of its fields."""
    rows = {
        "id": session.id,
        "name": session.name,
        "status": session.status.value,
        "if a job fails": session.job_failure_policy.value,
        "opened": moment(session.creation_time),
        "ended": moment(session.end_time),
        "cost": session.cost and f"{session.cost.total:g} {session.cost.currency}",
    }
    return table(f"Session on {session.target}", [], [row for row in rows.items() if row[1]])


def job_card(job: Job) -> str:
    """A job as a table of its fields."""
    rows = {
        "id": job.id,
        "name": job.name,
        "status": job.status.value,
        "session": job.session_id,
        "submitted": moment(job.creation_time),
        "began": moment(job.begin_time),
        "ended": moment(job.end_time),
        "error": ": ".join(filter(None, (job.error_code, job.error_message))) or None,
        "cost": job.cost and f"{job.cost.total:g} {job.cost.currency}",
    }
    return table(f"Job on {job.target}", [], [row for row in rows.items() if row[1]])


class Listing(list[T]):
    """Sessions or jobs of a workspace: a list that notebooks show as a table."""

    def _repr_html_(self) -> str:
        noun = "job" if self and isinstance(self[0]._item, Job) else "session"
        hidden = len(self) - _MAX_ROWS
        return table(
            counted(len(self), noun) if self else "None found",
            ["id", "target", "name", "status", "created"] if self else [],
            (
                (item.id, item.target, item.name, item.status.value, moment(item.creation_time))
                for item in self[:_MAX_ROWS]
            ),
            below=f"and {hidden} more" if hidden > 0 else "",
        )


class Stats(dict[str, float]):
    """Statistics of a pool: a dict that notebooks show as a table, without what is zero."""

    def _repr_html_(self) -> str:
        rows = [(name.replace("_", " "), value) for name, value in self.items() if value]
        return table("Statistics" if rows else "Nothing has happened yet", [], rows)


def pool_card(
    name: str | None,
    generations: Iterable[Iterable[object]],
    stats: Mapping[str, float],
    *,
    is_closed: bool,
) -> str:
    """A pool as a table of its sessions, with its statistics below."""
    counts = [
        f"{counter.replace('_', ' ')}: {count:g}"
        for counter, count in stats.items()
        if count and counter != "cost"
    ]
    return table(
        " ".join(filter(None, ["SessionPool", name, "closed" if is_closed else None])),
        ["target", "session", "status", "state", "jobs running"],
        generations,
        below=", ".join(counts),
    )


def _escape(text: str) -> str:
    """A string escaped for HTML, with control characters made visible."""
    return html.escape(printable(text))


def _cell(value: object) -> str:
    if isinstance(value, Bar):
        width = 8 * min(max(value.fraction, 0.0), 1.0)
        return f'<td style="min-width:8em"><div style="width:{width:.2f}em;{_BAR}"></div></td>'
    if isinstance(value, numbers.Real):
        return f'<td style="text-align:right">{float(value):.6g}</td>'
    text = "" if value is None else _escape(str(value))
    return f'<td style="text-align:left">{text}</td>'
