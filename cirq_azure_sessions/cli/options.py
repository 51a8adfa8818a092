"""Shared parts of commands: options, output, confirmation and errors."""

from __future__ import annotations

import codecs
import errno
import functools
import io
import json
import logging
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import urlsplit

import click

from cirq_azure_sessions.cli.numbers import Number, WholeNumber
from cirq_azure_sessions.errors import (
    AzureSessionsError,
    ServiceError,
    UnsupportedProgram,
    UnsupportedTarget,
)
from cirq_azure_sessions.redaction import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cirq_azure_sessions.model import Session
    from cirq_azure_sessions.sessions.handles import JobHandle, SessionHandle
    from cirq_azure_sessions.sessions.pool import SessionPool
    from cirq_azure_sessions.workspaces.base import WorkspacePort

__all__ = [
    "AS_JSON",
    "DEFAULT_SHOTS",
    "YES",
    "Command",
    "Group",
    "WorkspaceOptions",
    "check_all_done",
    "confirm",
    "confirm_cost",
    "find_id",
    "for_each",
    "is_free",
    "is_interactive",
    "limited",
    "show",
    "show_details",
    "show_items",
    "show_json",
    "takes_filters",
    "takes_pool_name",
    "takes_workspace",
    "wrapped",
]

_EMULATOR_KEY = "CIRQ_AZURE_SESSIONS_EMULATOR_KEY"

# The exit code after Ctrl-C, as shells use it.
_INTERRUPTED = 130

# The ids of the service are UUIDs.
_ID_LENGTH = 36
# Of a command that samples a circuit.
DEFAULT_SHOTS = 1000
# Shorter prefixes are refused: an unset shell variable must not match the only session.
_MIN_PREFIX = 6

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
YES = click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")


# Commands


class _HelpFormatter(click.HelpFormatter):
    """Help as wide as the terminal, in which long examples are continued as a shell does it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # click takes no less than 50.
        self.width = min(self.width, shutil.get_terminal_size().columns - 2)

    def write_text(self, text: str) -> None:
        # Examples, in paragraphs that click does not wrap, are indented.
        lines = text.split("\n")
        lines = [self._example(each) if each.startswith("  ") else each for each in lines]
        super().write_text("\n".join(lines))

    def write_dl(self, rows: Iterable[tuple[str, str]], *args: Any, **kwargs: Any) -> None:
        # A long name stands on a line of its own, so that its description has room.
        super().write_dl(rows, min(30, self.width - 28))

    def _example(self, line: str) -> str:
        end = " \\" if line.endswith(" \\") else ""
        command = line.removesuffix(end)
        filled = textwrap.fill(
            command,
            self.width - self.current_indent - 4,
            subsequent_indent=f"{command[: -len(command.lstrip())]}    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        return filled.replace("\n", " \\\n") + end


class _Context(click.Context):
    formatter_class = _HelpFormatter


class _Text(click.types.StringParamType):
    """Text in UTF-8, even where the locale is another one, such as C in batch jobs."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text: str = super().convert(value, param, ctx)
        if not text.strip() and isinstance(param, click.Option):
            # From an unset shell variable: the default may name another workspace, or everything.
            self.fail("The value is empty: set it, or leave out the option.", param, ctx)
        try:
            # Python keeps bytes that the locale does not decode as surrogates.
            return text.encode(errors="surrogateescape").decode()
        except UnicodeDecodeError:
            self.fail("The text is not valid UTF-8.", param, ctx)
        except UnicodeEncodeError:
            # Half of a surrogate pair, as a circuit may have in the name of a symbol.
            return text


class Command(click.Command):
    """A command whose errors are one sentence on stderr, without a traceback."""

    context_class = _Context

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for param in self.params:
            # Paths stay as the file system has them.
            if param.type is click.STRING:
                param.type = _Text()

    def invoke(self, ctx: click.Context) -> Any:
        from cirq_azure_sessions.process import exit_on

        # A terminal that is closed sends SIGHUP.
        exit_on("SIGTERM", "SIGHUP")
        try:
            return super().invoke(ctx)
        except (UnsupportedProgram, UnsupportedTarget) as error:
            raise click.UsageError(printable(str(error)), ctx) from error
        except AzureSessionsError as error:
            raise click.ClickException(printable(str(error))) from error
        except ValueError as error:
            # The library refuses values that click cannot check.
            raise click.UsageError(printable(str(error)), ctx) from error
        except OSError as error:
            # The reader of the output, such as `head`, has closed it: click exits silently.
            if error.errno == errno.EPIPE:
                raise
            what = error.filename or "The output"
            reason = f"{what} cannot be used ({error.strerror}): choose another file."
            words = " ".join([reason, *getattr(error, "__notes__", [])])
            raise click.ClickException(printable(words)) from error
        except KeyboardInterrupt as error:
            _show_interruption(error)
            raise click.exceptions.Exit(_INTERRUPTED) from None
        except SystemExit as error:
            _show_interruption(error)
            raise


class Group(click.Group):
    """A group of `Command`s."""

    command_class = Command
    context_class = _Context

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the command line; characters that the encoding lacks are shown in ASCII."""
        for name in ("stdin", "stdout", "stderr"):
            # Python has None where the shell has closed a stream.
            if getattr(sys, name) is None:
                mode = "r" if name == "stdin" else "w"
                # It stays open until the process exits.
                setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors=_IN_ASCII)
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            # Help is printed before any command is invoked.
            reason = f"Error: The output cannot be used ({error.strerror})."
            with suppress(OSError):
                click.echo(wrapped(reason, sys.stderr), err=True)
            raise SystemExit(1) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            begin = "Error: "  # which is click's
            text = wrapped(begin + error.format_message(), sys.stderr).removeprefix(begin)
            error.format_message = lambda: text  # type: ignore[method-assign]  # click has no hook
            raise


# Subgroups are of this type too.
Group.group_class = Group


def _show_interruption(error: BaseException) -> None:
    """Prints the notes on the error, which name the jobs that an interruption left."""
    notes = getattr(error, "__notes__", [])
    while not notes and error.__context__ is not None:
        # A second signal struck while the first was handled, whose error has the notes.
        error = error.__context__
        notes = getattr(error, "__notes__", [])
    # The terminal may have been closed.
    with suppress(OSError):
        for line in ("\nInterrupted.", *map(printable, notes)):
            click.echo(wrapped(line, sys.stderr), err=True)


def find_id(given: str, kind: str, list_items: Callable[..., Sequence[Any]]) -> str:
    """The id of the session or job with this id or id prefix.

    Args:
        given: What the user typed.
        kind: `session` or `job`, for messages.
        list_items: Lists all sessions or jobs; called with `limit=None`, only for prefixes.
    """
    if len(given) >= _ID_LENGTH:
        return given
    if len(given) < _MIN_PREFIX:
        raise click.UsageError(
            f"{given!r} is too short for a {kind} id: give "
            f"at least its first {_MIN_PREFIX} characters."
        )
    found = [item.id for item in list_items(limit=None) if item.id.startswith(given)]
    if not found:
        raise click.ClickException(
            f"This workspace has no {kind} {given}: `{kind}s list` lists them."
        )
    if len(found) > 1 and given not in found:
        raise click.UsageError(
            f"The ids of {len(found)} {kind}s begin with {given!r}: give more characters."
        )
    return given if given in found else found[0]


def confirm(verb: str, items: Sequence[SessionHandle | JobHandle], *, yes: bool) -> None:
    """Asks before ending sessions or jobs that other programs may be using.

    Raises:
        click.UsageError: If stdin is not interactive and `--yes` is not given.
        click.Abort: If the answer is no.
    """
    if yes or not items:
        return
    if not is_interactive():
        raise click.UsageError(
            "Other programs may be using these: add --yes "
            f"to {verb} {' '.join(item.id for item in items)}."
        )
    for item in items:
        words = (item.id, item.target, item.name, item.status)
        click.echo(printable("  ".join(map(str, words))), err=True)
    click.confirm(f"Do you want to {verb} {_these(len(items))}?", abort=True, err=True)


def for_each(
    ids: Iterable[str], act: Callable[[str], object], failures: dict[str, AzureSessionsError]
) -> None:
    """Calls `act` with each id; an error with one, which is collected, spares no other one."""
    ids = list(ids)
    for number, each in enumerate(ids):
        try:
            act(each)
        except AzureSessionsError as error:
            failures[each] = error
            if getattr(error, "status_code", 0) in (None, 401, 403):
                # The service does not answer, or to nobody without these rights.
                failures.update(dict.fromkeys(ids[number:], error))
                return


def check_all_done(failures: Mapping[str, AzureSessionsError], done: str) -> None:
    """Raises an error that names the sessions or jobs that were not, for example, `closed`."""
    for first in failures.values():
        raise click.ClickException(
            printable(f"Not {done}: {' '.join(failures)}. The first reason: {first}")
        ) from first


def is_free(target: str) -> bool:
    """Whether jobs on a target are known to be free."""
    from cirq_azure_sessions.costs import known_rates

    rates = known_rates(target)
    return rates is not None and rates.is_free


def confirm_cost(target: str, *, yes: bool) -> None:
    """Asks before submitting a job that may cost money; raises what `confirm` does."""
    if yes or is_free(target):
        return
    if not is_interactive():
        raise click.UsageError(f"A job on {target} may cost money: add --yes to submit it.")
    click.confirm(f"A job on {target} may cost money. Submit it?", abort=True, err=True)


def _these(count: int) -> str:
    return "it" if count == 1 else f"these {count}"


def is_interactive() -> bool:
    """Whether a user at a terminal can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


# Output


# ASCII equivalents of a bar, a rule and an ellipsis for encodings without them, such as Windows
# code pages: a result that was paid for must be shown in any case.
_IN_ASCII = "cirq_azure_sessions.in_ascii"
_ASCII_TWINS = str.maketrans("█▉▊▋▌▐▍▎▏▕━╸╺…", "######    ---.")


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """A codec error handler: ASCII equivalents for drawing characters, escapes for all others."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end].translate(_ASCII_TWINS)
    return lost.encode("ascii", "backslashreplace").decode(), error.end


codecs.register_error(_IN_ASCII, _in_ascii)


def wrapped(text: str, file: TextIO, *, indent: int = 0) -> str:
    """Text wrapped to the terminal's width; on one line if the output is not a terminal."""
    if not file.isatty():
        return text
    width = shutil.get_terminal_size().columns
    # A deep indent would leave a narrow terminal no room for words such as paths.
    indent = indent if width >= 80 else min(indent, 6)
    return "\n".join(
        textwrap.fill(
            line,
            width,
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in text.splitlines()
    )


def show(*renderables: RenderableType) -> None:
    """Prints tables as wide as the terminal, without interpreting markup in them."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    # By default rich ends the process here; click handles a closed output better.
    console.on_broken_pipe = _raise_again  # type: ignore[method-assign]
    console.print(*renderables)


def _raise_again() -> None:
    raise  # rich calls this where it handles the error


def show_json(value: Any) -> None:
    """Prints a value for other programs to read."""
    click.echo(json.dumps(value, indent=2))


def show_items(
    items: Sequence[SessionHandle | Session | JobHandle],
    as_json: bool,
    noun: str,
    filters: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Prints sessions or jobs; if there are none, the filters that were used."""
    from cirq_azure_sessions.cli.tables import as_values, item_table
    from cirq_azure_sessions.clock import SystemClock

    if as_json:
        show_json([as_values(item) for item in items])
    elif items:
        show(item_table(items, SystemClock().time()))
    else:
        found_by = [
            words.format(filters[name] / 3600 if name == "max_age" else filters[name])
            for name, words in _FILTERS_IN_WORDS.items()
            if filters.get(name) is not None
        ]
        click.echo(wrapped(f"{' '.join([f'No {noun}', *found_by])}.", sys.stdout))


def show_details(values: Mapping[str, Any], as_json: bool) -> None:
    """Prints the details of one session or job."""
    from cirq_azure_sessions.cli.tables import detail_table

    if as_json:
        show_json(values)
    else:
        show(detail_table(values))


# Filters

_FILTERS_IN_WORDS = {
    "target": "on {}",
    "session": "in session {}",
    "status": "with status {}",
    "name": "whose names begin with {!r}",
    "exact_name": "named {!r}",
    "max_age": "in the last {:g} h",
}


def limited(help: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds the option for the maximum number to show; the command gets it as `limit`."""
    return click.option(
        "--limit",
        metavar="N",
        type=WholeNumber(1),
        default=20,
        show_default=True,
        help=help,
    )


def takes_filters(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that filter sessions or jobs.

    The command gets them as `filters`, the arguments of `SessionPool.list_sessions`.
    """

    @click.option(
        "--target",
        metavar="TARGET",
        help="Only this target, or targets of this provider; * is a wildcard.",
    )
    @click.option(
        "--status",
        metavar="STATUS",
        help="Only this status: queued, running, done, failed, open, or a status of the service.",
    )
    @click.option("--name", metavar="PREFIX", help="Only names with this prefix.")
    @click.option("--hours", metavar="N", type=Number(0), help="Only the last N hours.")
    @limited("Maximum number of rows, newest first.")
    @functools.wraps(command)
    def with_filters(
        *args: Any,
        target: str | None,
        status: str | None,
        name: str | None,
        hours: float | None,
        limit: int,
        **options: Any,
    ) -> None:
        from cirq_azure_sessions.workspaces.filters import ItemFilter

        filters = {
            "target": target,
            "status": status,
            "name": name,
            "max_age": None if hours is None else hours * 3600,
            "limit": limit,
        }
        try:
            ItemFilter.of(0.0, **filters)  # type: ignore[arg-type]  # they are as above
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        command(*args, filters=filters, **options)

    return with_filters


# Workspaces


@dataclass(frozen=True)
class WorkspaceOptions:
    """The options that name a workspace; by default the SDK's environment variables do."""

    resource_id: str | None
    location: str | None
    connection_string: str | None
    emulator: str | None
    emulator_key: str | None

    def check_emulator(self) -> None:
        """Checks that the emulator runs, if one is named and it is on this machine.

        Raises:
            ServiceError: If nothing listens at its address.
        """
        from cirq_azure_sessions.workspaces.azure import check_listening

        if self.emulator is not None:
            check_listening(self.emulator)

    def connect(self) -> Any:
        """The SDK's workspace."""
        from cirq_azure_sessions.workspaces.azure import connect

        # Without a login the SDK logs long warnings; the error below is one sentence.
        logging.getLogger("azure").addHandler(logging.NullHandler())
        try:
            return connect(
                self.resource_id,
                location=self.location,
                connection_string=self.connection_string,
                endpoint=self.emulator,
                key=self.emulator_key,
            )
        except ServiceError:
            raise
        except AzureSessionsError as error:
            raise click.UsageError(
                f"{error} See --resource-id, --connection-string and --emulator in --help."
            ) from error

    @contextmanager
    def port(self) -> Iterator[WorkspacePort]:
        """The workspace, for commands that need no pool; closed at the end."""
        from cirq_azure_sessions import background
        from cirq_azure_sessions.workspaces.azure import AzureWorkspace

        port = AzureWorkspace(self.connect())
        try:
            yield port
        finally:
            background.loop.run(port.aclose)

    def pool(self) -> SessionPool:
        """A pool on the workspace, to inspect its sessions and jobs."""
        from cirq_azure_sessions.sessions.pool import SessionPool

        return SessionPool(self.connect())

    @contextmanager
    def lasting_pool(self, name: str, **options: Any) -> Iterator[tuple[SessionPool, Any]]:
        """A named pool and the SDK's workspace; its sessions stay open for later commands."""
        from cirq_azure_sessions import background, process
        from cirq_azure_sessions.sessions.pool import SessionPool
        from cirq_azure_sessions.workspaces.azure import AzureWorkspace

        workspace = self.connect()
        port = AzureWorkspace(workspace)
        pool = SessionPool(port, name=name, **options)
        try:
            yield pool, workspace
        finally:
            # Closing it would wait for the job and end the session.
            process.let_go(pool)
            background.loop.run(port.aclose)


def _parse_address(ctx: click.Context, param: click.Parameter, url: str | None) -> str | None:
    """The full address of an emulator; users may leave out the scheme."""
    if url is None:
        return None
    has_scheme = "://" in url
    address = url if has_scheme else f"http://{url}"
    try:
        parts = urlsplit(address)
        is_complete = (parts.port is not None or has_scheme) and bool(parts.hostname)
    except ValueError:
        is_complete = False
    if not is_complete or parts.scheme not in ("http", "https"):
        raise click.BadParameter(
            "give the address that the emulator printed, such as http://127.0.0.1:8080."
        )
    return address


def takes_pool_name(flag: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds the option for the name of a lasting pool; the command gets it as `session_name`."""

    return click.option(
        flag,
        "session_name",
        metavar="NAME",
        default="cirq-azure-sessions",
        show_default=True,
        help="Session name; the latest open session with this name is used, or a new one opened.",
    )


def takes_workspace(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that name a workspace; the command gets them as `workspace`."""

    @click.option("--resource-id", metavar="ID", help="The workspace's id, from the portal.")
    @click.option("--location", metavar="REGION", help="The workspace's region, such as eastus.")
    @click.option(
        "--connection-string",
        metavar="TEXT",
        help="A connection string, instead of --resource-id and --location.",
    )
    @click.option(
        "--emulator",
        metavar="URL",
        callback=_parse_address,
        help="The address of an emulator (cirq-azure-sessions emulate).",
    )
    @click.option(
        "--emulator-key",
        metavar="KEY",
        envvar=_EMULATOR_KEY,
        show_envvar=True,
        help="The key that the emulator printed.",
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
