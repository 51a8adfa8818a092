"""Tables for notebooks: HTML without scripts, style sheets or colours of its own.

It takes the colours of the page, and so looks right on a light and on a dark one.
"""

from __future__ import annotations

import html
import numbers
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

__all__ = ["Bar", "moment", "table"]

_BAR = "height:0.7em;min-width:1px;background:currentColor;opacity:0.45"


@dataclass(frozen=True, slots=True)
class Bar:
    """A cell that shows a part of the whole, from 0 to 1, as a bar."""

    part: float


def table(
    caption: str, header: Sequence[str], rows: Iterable[Iterable[object]], *, below: str = ""
) -> str:
    """A table with a line above and one below; whatever is in it is escaped.

    Args:
        caption: Stands above, in bold.
        header: The names of the columns; none for a table without a head.
        rows: The cells. Numbers stand on the right, and None is left empty.
        below: What the table does not show.
    """
    head = "".join(f'<th style="text-align:left">{html.escape(name)}</th>' for name in header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return (
        f"<div><strong>{html.escape(caption)}</strong>"
        f"<table>{f'<thead><tr>{head}</tr></thead>' if head else ''}<tbody>{body}</tbody></table>"
        f"{f'<small>{html.escape(below)}</small>' if below else ''}</div>"
    )


def moment(time: float | None) -> str | None:
    """A time of the service, in UTC."""
    if time is None:
        return None
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _cell(value: object) -> str:
    if isinstance(value, Bar):
        width = 8 * min(max(value.part, 0.0), 1.0)
        return f'<td style="min-width:8em"><div style="width:{width:.2f}em;{_BAR}"></div></td>'
    if isinstance(value, numbers.Real):
        return f'<td style="text-align:right">{float(value):.6g}</td>'
    text = "" if value is None else html.escape(str(value))
    return f'<td style="text-align:left">{text}</td>'
