"""What all commands share: how they name a workspace, print, and report errors."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from cirq_azure_sessions.errors import (
    AzureSessionsError,
    ServiceError,
    UnsupportedProgram,
    UnsupportedTarget,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = [
    "AS_JSON",
    "Commands",
    "WorkspaceOptions",
    "limited",
    "show",
    "show_json",
    "takes_workspace",
]

_EMULATOR_KEY = "CIRQ_AZURE_SESSIONS_EMULATOR_KEY"

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Commands(click.Group):
    """Commands whose errors are one sentence on stderr, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (UnsupportedProgram, UnsupportedTarget) as error:
            raise click.UsageError(str(error)) from error
        except AzureSessionsError as error:
            raise click.ClickException(str(error)) from error


def show(*renderables: RenderableType) -> None:
    """Prints tables as wide as the terminal; what stands in them is shown as it is."""
    from rich.console import Console

    Console(highlight=False, markup=False, emoji=False).print(*renderables)


def show_json(value: Any) -> None:
    """Prints a value for other programs to read."""
    click.echo(json.dumps(value, indent=2))


def limited(help: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds the option that says how many to show at most; the command gets it as `limit`."""
    return click.option(
        "--limit",
        metavar="N",
        type=click.IntRange(min=1),
        default=20,
        show_default=True,
        help=help,
    )


@dataclass(frozen=True)
class WorkspaceOptions:
    """How the command line names a workspace; with nothing given, the SDK's environment does."""

    resource_id: str | None
    location: str | None
    connection_string: str | None
    emulator: str | None
    emulator_key: str | None

    def connect(self) -> Any:
        """The SDK's workspace."""
        from cirq_azure_sessions.workspaces.azure import connect

        # Without a login the SDK warns at length, and the error below says it in one sentence.
        logging.getLogger("azure").addHandler(logging.NullHandler())
        try:
            return connect(
                self.resource_id,
                location=self.location,
                connection_string=self.connection_string,
                endpoint=_with_scheme(self.emulator),
                key=self.emulator_key,
            )
        except ServiceError:
            raise
        except AzureSessionsError as error:
            raise click.UsageError(
                f"{error} See --resource-id, --connection-string and --emulator in --help."
            ) from error


def _with_scheme(url: str | None) -> str | None:
    """The address of an emulator in full: people type it as they do in a browser."""
    return url if url is None or "://" in url else f"http://{url}"


def takes_workspace(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that name a workspace; the command gets them as `workspace`."""

    @click.option("--resource-id", metavar="ID", help="The workspace, as the portal shows it.")
    @click.option("--location", metavar="REGION", help="Its region, such as eastus.")
    @click.option("--connection-string", metavar="TEXT", help="Or its connection string.")
    @click.option("--emulator", metavar="URL", help="Or an emulator (cirq-azure-sessions emulate).")
    @click.option(
        "--emulator-key",
        metavar="KEY",
        envvar=_EMULATOR_KEY,
        show_envvar=True,
        help="The emulator's key, as it printed it.",
    )
    @functools.wraps(command)
    def with_workspace(
        *args: Any,
        resource_id: str | None,
        location: str | None,
        connection_string: str | None,
        emulator: str | None,
        emulator_key: str | None,
        **options: Any,
    ) -> None:
        workspace = WorkspaceOptions(
            resource_id, location, connection_string, emulator, emulator_key
        )
        command(*args, workspace=workspace, **options)

    return with_workspace
