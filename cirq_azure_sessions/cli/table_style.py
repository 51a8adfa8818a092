"""The style that all tables of the command line share."""

from __future__ import annotations

from typing import Any

from rich.table import Table

__all__ = ["new_table"]


def new_table(**options: Any) -> Table:
    """An empty table; the options are those of `rich.table.Table`."""
    return Table(box=None, pad_edge=False, header_style="bold", **options)
