"""The commands `journal ...`, which need no workspace."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cirq_azure_sessions.cli.files import FilePath, check_not_printed_to, replacing
from cirq_azure_sessions.cli.options import AS_JSON, Group, limited, show, show_json

if TYPE_CHECKING:
    from cirq_azure_sessions.journal import Journal

__all__ = ["journal", "opened"]

# Every export with at least one job begins with this.
_FIRST_JOB = b'{"number": 1, "job_id": '
_ADVICE = "give the path that a pool or sampler used as its journal"
_PATH = click.argument("path", metavar="PATH", type=click.Path(path_type=Path))


@contextmanager
def opened(path: Path) -> Iterator[Journal]:
    """The journal in an existing file."""
    from cirq_azure_sessions.journal import Journal

    if not path.exists():
        raise click.ClickException(f"{path} does not exist: {_ADVICE}.")
    # The library turns an empty file into a journal; a command that only reads must not.
    if path.is_file() and not path.stat().st_size:
        raise click.ClickException(f"The file {path} is empty: {_ADVICE}.")
    check_not_printed_to(path)
    with Journal(path) as journal:
        yield journal


@click.group(cls=Group)
def journal() -> None:
    """Show, export and correct the journal of earlier runs."""


@journal.command("show")
@_PATH
@limited("Maximum number of runs and of jobs.")
@AS_JSON
def show_journal(path: Path, limit: int, as_json: bool) -> None:
    """Show the latest runs and jobs of a journal.

    Sessions that may be open are shown too. Jobs and sessions are shown as last recorded; no
    request is sent.

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
    type=FilePath(),
    help="Write to this file instead of the terminal.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON list instead of a line for each job."
)
def export_journal(path: Path, output: Path | None, as_json: bool) -> None:
    """Print the jobs of a journal with their results.

    Each job is one line of JSON. It has the job_id, target, session_id, state, status, cost and
    times of the job; the code and message of an error; the output as the provider wrote it; and the
    decoded output: the measurement keys, and for each point the params, the repetitions and the
    counts of the outcomes. Each outcome lists the bits of the keys in order, separated by spaces.

    \b
      cirq-azure-sessions journal export run.journal -o results.jsonl
      cirq-azure-sessions journal export run.journal --json > results.json
    """
    from cirq_azure_sessions.cli.journal_tables import export_lines

    with opened(path) as journal:
        lines = export_lines(journal)
        _write(_as_list(lines) if as_json else lines, output, journal.path)


@journal.command("forget")
@_PATH
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
@AS_JSON
def forget_jobs(path: Path, job_ids: tuple[str, ...], as_json: bool) -> None:
    """Forget jobs that the service accepted and then lost.

    A run that finds such a job in its journal waits for it. Once it is forgotten, the next run
    submits a new job in its place. If the first one turns up after all, both are charged.

    \b
      cirq-azure-sessions journal forget run.journal \\
          6a1d9d54-1a08-4a1c-9c3d-0f3c3ba0f6a7
    """
    with opened(path) as journal:
        for job_id in job_ids:
            journal.forget(job_id)
            if not as_json:
                click.echo(f"The next run submits job {job_id} again.")
    if as_json:
        show_json([{"job_id": job_id} for job_id in job_ids])


def _as_list(lines: Iterable[str]) -> Iterator[str]:
    """The lines as one JSON list."""
    before = "["
    for line in lines:
        yield f"{before}{line}"
        before = ","
    yield "]" if before == "," else "[]"


def _write(lines: Iterable[str], output: Path | None, journal: Path) -> None:
    """Prints lines, or writes them to a file, which is replaced only when all are written."""
    if output is None:
        for line in lines:
            click.echo(line)
        return
    real = Path(os.path.realpath(output))
    if real == journal or str(real).startswith(f"{journal}-"):
        raise click.UsageError(
            "This would overwrite the journal: choose another file for --output."
        )
    with replacing(output, _is_export, "export") as path, path.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def _is_export(path: Path) -> bool:
    """Whether a file begins like an export of this command."""
    with path.open("rb") as file:
        begin = file.read(100)
    return begin == b"[]\n" or begin.removeprefix(b"[").startswith(_FIRST_JOB)
