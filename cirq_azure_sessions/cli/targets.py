"""The commands `targets` and `quotas`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from cirq_azure_sessions.cli.options import (
    AS_JSON,
    Command,
    WorkspaceOptions,
    show,
    show_json,
    takes_workspace,
)

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["quotas", "targets"]


@click.command(cls=Command)
@click.option(
    "--sort",
    type=click.Choice(["queue"]),
    help="By queue time, unavailable targets last.",
)
@AS_JSON
@takes_workspace
def targets(workspace: WorkspaceOptions, sort: str | None, as_json: bool) -> None:
    """List targets, with availability and queue times.

    \b
      cirq-azure-sessions targets
      cirq-azure-sessions targets --sort queue
      cirq-azure-sessions targets --emulator http://127.0.0.1:8080 --json
    """
    from cirq_azure_sessions import background
    from cirq_azure_sessions.cli.tables import target_table

    with workspace.port() as port:
        listed = background.loop.run(port.list_targets)
    if sort == "queue":
        listed = sorted(
            listed, key=lambda each: (each.availability != "Available", each.average_queue_time)
        )
    _show(listed, target_table, "targets", as_json)


@click.command(cls=Command)
@AS_JSON
@takes_workspace
def quotas(workspace: WorkspaceOptions, as_json: bool) -> None:
    """List quotas: amounts used, held by running jobs, and allowed."""
    from cirq_azure_sessions import background
    from cirq_azure_sessions.cli.tables import quota_table

    with workspace.port() as port:
        listed = background.loop.run(port.list_quotas)
    _show(listed, quota_table, "quotas", as_json)


def _show(
    listed: Sequence[Any], table_of: Callable[[Sequence[Any]], Table], noun: str, as_json: bool
) -> None:
    from cirq_azure_sessions.cli.tables import as_values

    if as_json:
        show_json([as_values(each) for each in listed])
    elif listed:
        show(table_of(listed))
    else:
        click.echo(f"This workspace has no {noun}.")
