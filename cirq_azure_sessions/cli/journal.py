"""The commands that look into a journal, for which no workspace is needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cirq_azure_sessions.cli.options import AS_JSON, Commands, limited, show, show_json

if TYPE_CHECKING:
    from cirq_azure_sessions.journal import Journal

__all__ = ["journal", "opened"]

_PATH = click.argument("path", metavar="PATH", type=click.Path(path_type=Path))


@contextmanager
def opened(path: Path) -> Iterator[Journal]:
    """The journal in an existing file."""
    from cirq_azure_sessions.journal import Journal

    if not path.exists():
        raise click.ClickException(
            f"There is no file {path}: give the path that a pool or sampler had as its journal."
        )
    with Journal(path) as journal:
        yield journal


@click.group(cls=Commands)
def journal() -> None:
    """Show and export what runs wrote down in their journal."""


@journal.command("show")
@_PATH
@limited("At most so many runs, and jobs.")
@AS_JSON
def show_journal(path: Path, limit: int, as_json: bool) -> None:
    """Show the latest runs and jobs of a journal.

    And the sessions that may be open. The service is not asked: jobs and sessions stand as they
    were last written down.

    \b
      cirq-azure-sessions journal show run.journal
      cirq-azure-sessions journal show run.journal --json --limit 1000
    """
    from cirq_azure_sessions.cli.journal_tables import contents, journal_tables

    with opened(path) as journal:
        seen = contents(journal, limit)
    if as_json:
        show_json(seen.as_values())
    else:
        show(*journal_tables(seen))


@journal.command("export")
@_PATH
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this file, not to the terminal.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one list, not a line for each job.")
def export_journal(path: Path, output: Path | None, as_json: bool) -> None:
    """Print the jobs of a journal with their results.

    Each is one line of JSON. It holds the job_id, target, session_id, state, status, cost and times
    of the job; the code and message of an error; the output as the provider wrote it; and what it
    means: the measurement keys, and for each of its points the params, the repetitions and the
    counts of the outcomes. An outcome shows the bits of the keys in their order, with blanks
    between.

    \b
      cirq-azure-sessions journal export run.journal -o results.jsonl
      cirq-azure-sessions journal export run.journal --json > results.json
    """
    from cirq_azure_sessions.cli.journal_tables import export_lines

    with opened(path) as journal:
        lines = export_lines(journal)
        _write(_as_list(lines) if as_json else lines, output, journal.path)


def _as_list(lines: Iterable[str]) -> Iterator[str]:
    """One JSON list of what stands in the lines."""
    before = "["
    for line in lines:
        yield f"{before}{line}"
        before = ","
    yield "]" if before == "," else "[]"


def _write(lines: Iterable[str], output: Path | None, journal: Path) -> None:
    """Prints lines, or writes a file that is there when it is whole."""
    if output is None:
        for line in lines:
            click.echo(line)
        return
    if output.exists() and output.samefile(journal):
        raise click.UsageError("The journal would be lost: choose another file for --output.")
    part = output.with_name(f"{output.name}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
        part.replace(output)
    except OSError as error:
        raise click.ClickException(
            f"{output} cannot be written ({error.strerror}): choose another --output."
        ) from error
    finally:
        part.unlink(missing_ok=True)
