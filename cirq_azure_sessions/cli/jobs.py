"""The commands `jobs ...`, for all jobs of a workspace."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cirq_azure_sessions.cli.files import FilePath
from cirq_azure_sessions.cli.journal import opened
from cirq_azure_sessions.cli.numbers import Number, WholeNumber
from cirq_azure_sessions.cli.options import (
    AS_JSON,
    DEFAULT_SHOTS,
    YES,
    Group,
    WorkspaceOptions,
    check_all_done,
    confirm,
    confirm_cost,
    find_id,
    for_each,
    show,
    show_details,
    show_items,
    show_json,
    takes_filters,
    takes_pool_name,
    takes_workspace,
    wrapped,
)
from cirq_azure_sessions.encodings import read_whole
from cirq_azure_sessions.errors import AzureSessionsError, JobError, JobTimeout

if TYPE_CHECKING:
    from cirq_azure_sessions.sessions.handles import JobHandle
    from cirq_azure_sessions.sessions.pool import SessionPool

__all__ = ["jobs"]

_JOB = click.argument("job_id", metavar="ID")


@click.group(cls=Group)
def jobs() -> None:
    """Submit, list, tag, cancel and delete jobs, and fetch results.

    The first six or more characters of a job's ID are enough.
    """


def _read_params(
    ctx: click.Context, param: click.Parameter, given: Sequence[str]
) -> Mapping[str, Any]:
    """Parameters from `name=value`, where a value that is valid JSON is read as JSON."""
    params: dict[str, Any] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{each!r} is not of the form name=value.")
        try:
            params[name] = json.loads(value)
        except ValueError:
            params[name] = value
    return params


@jobs.command("submit")
@click.argument("file", type=FilePath(allow_dash=True))
@click.option("--target", "-t", metavar="TARGET", required=True, help="The target to run on.")
@click.option(
    "--shots",
    metavar="N",
    type=WholeNumber(1),
    help="The number of shots; by default the provider's, or "
    f"{DEFAULT_SHOTS} for translated OpenQASM 2.",
)
@click.option(
    "--entry", metavar="CALL", default="Main()", show_default=True, help="The Q# expression to run."
)
@click.option("--input-format", metavar="FORMAT", help="The input format, if it is not recognized.")
@click.option("--output-format", metavar="FORMAT", help="The output format.")
@click.option(
    "--param",
    "params",
    metavar="K=V",
    multiple=True,
    callback=_read_params,
    help="A parameter for the provider; may be repeated.",
)
@click.option("--name", metavar="NAME", help="The job's name; by default the file's.")
@takes_pool_name("--session-name")
@YES
@AS_JSON
@takes_workspace
def submit_job(
    workspace: WorkspaceOptions,
    file: Path,
    target: str,
    shots: int | None,
    entry: str,
    input_format: str | None,
    output_format: str | None,
    params: Mapping[str, Any],
    name: str | None,
    session_name: str,
    yes: bool,
    as_json: bool,
) -> None:
    """Submit a program, and print the job's id.

    It runs in a session that stays open for the next job.

    A .qs file is Q#. OpenQASM 2 and 3 and QIR bitcode are recognized by content; anything else is
    sent unchanged, in the target's own format: Quil on Rigetti, JSON on IonQ. - is standard input.

    OpenQASM 2 is translated as by `run`, except on Quantinuum, which takes it unchanged.

    \b
      cirq-azure-sessions jobs submit bell.quil --target rigetti.sim.qvm
      cirq-azure-sessions jobs submit bits.qs --entry 'Bits(2)' \\
          --target ionq.simulator
    """
    from cirq_azure_sessions.workspaces.azure import programs

    if shots is not None and (given := _repetitions_in(params)):
        raise click.UsageError(
            f"--shots and --param {given} both give the number of shots: leave out --param."
        )
    with workspace.lasting_pool(session_name) as (pool, connected):
        host = pool.host(programs.find_target(connected, target))
        try:
            with click.open_file(str(file), "rb") as opened_file:
                content = read_whole(opened_file)
        except OSError as error:
            raise click.UsageError(f"{file} cannot be read: {error.strerror}.") from error
        program = programs.prepare(
            host,
            file,
            content,
            translate=lambda text: _translated(file, text, target, shots, params),
            entry=entry,
            input_format=input_format,
        )
        confirm_cost(target, yes=yes)
        job_id = programs.submit(
            host,
            program,
            # Bytes that the locale does not decode are surrogates, as in text options.
            name=name or file.name.encode(errors="surrogateescape").decode(errors="replace"),
            shots=shots,
            input_params=params,
            output_data_format=output_format,
        )
        job = pool.get_job(job_id) if as_json else None
    try:
        if job is None:
            click.echo(job_id)
        else:
            show_items([job], as_json, "jobs")
    except OSError as error:
        # The id is printed nowhere else, and the job costs what it costs.
        raise click.ClickException(
            f"Job {job_id} was submitted, but the output cannot be used ({error.strerror})."
        ) from error


def _repetitions_in(params: Mapping[str, Any]) -> str | None:
    """The first parameter that gives the number of shots, if any."""
    from cirq_azure_sessions.spelling import is_repetitions

    return next(filter(is_repetitions, params), None)


def _translated(
    file: Path, text: str, target: str, shots: int | None, params: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The arguments that submit a program in OpenQASM 2, read and translated as `run` does it."""
    from cirq_azure_sessions.cli.circuit_file import parse_program
    from cirq_azure_sessions.formats import format_for
    from cirq_azure_sessions.formats.translation import TranslationOptions, translate_calls

    if given := _repetitions_in(params):
        raise click.UsageError(f"--param {given} gives the number of shots: write --shots.")
    try:
        circuit = parse_program(text)
    except ValueError as error:
        raise click.BadParameter(f"{file}: {error}", param_hint="'FILE'") from error
    format_ = format_for(target)
    options = TranslationOptions(target, input_params=params)
    # The layout of a translated program must hold the number.
    shots = shots or DEFAULT_SHOTS
    ((translation, _, _),) = translate_calls(format_, [circuit], None, shots, options)
    assert translation is not None
    if len(translation) > 1:
        most = translation.job(0).layout.repetitions
        raise click.UsageError(
            f"A job on {target} has at most {most} shots: give fewer as --shots, or use "
            "`cirq-azure-sessions run`."
        )
    job = translation.job(0)
    return {
        "input_data": job.payload,
        "input_data_format": format_.input_format,
        "output_data_format": format_.output_format,
        # The SDK itself adds the shots.
        "shots": job.layout.repetitions,
        "input_params": {
            name: value
            for name, value in job.input_params.items()
            if name not in format_.shots_names
        },
        "metadata": job.metadata,
    }


@jobs.command("wait")
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
@click.option("--timeout", metavar="SECONDS", type=Number(0), help="Maximum time to wait.")
@AS_JSON
@takes_workspace
def wait_for_jobs(
    workspace: WorkspaceOptions, job_ids: Sequence[str], timeout: float | None, as_json: bool
) -> None:
    """Wait until jobs have finished, and show them.

    The exit code is 1 if any job did not succeed. Ctrl-C ends the command, not the jobs.

    \b
      cirq-azure-sessions jobs wait 9ab2f1 04c7aa && echo all done
    """
    from cirq_azure_sessions.clock import SystemClock

    clock = SystemClock()
    began = clock.monotonic()
    with workspace.pool() as pool:
        found = list(dict.fromkeys(_find(pool, each) for each in job_ids))
        for job in found:
            left = None if timeout is None else max(0.0, timeout - (clock.monotonic() - began))
            try:
                job.wait(left)
            except JobTimeout:
                raise click.ClickException(
                    f"Job {job.id} has not finished within {timeout:g} s: see its status with "
                    "`jobs show`, or run `jobs wait` again."
                ) from None
    show_items(found, as_json, "jobs")
    if any(job.status != "Succeeded" for job in found):
        raise click.exceptions.Exit(1)


@jobs.command("list")
@takes_filters
@click.option("--session", "session_id", metavar="ID", help="Only jobs of this session.")
@AS_JSON
@takes_workspace
def list_jobs(
    workspace: WorkspaceOptions,
    filters: Mapping[str, Any],
    session_id: str | None,
    as_json: bool,
) -> None:
    """List jobs of the workspace, newest first.

    \b
      cirq-azure-sessions jobs list --session 1f3c29 --status Failed
    """
    with workspace.pool() as pool:
        found: Sequence[JobHandle]
        if session_id is None:
            found = pool.list_jobs(**filters)
        else:
            found = _list_jobs_of(pool, session_id, **filters)
    show_items(found, as_json, "jobs", {**filters, "session": session_id})


def _list_jobs_of(
    pool: SessionPool, session_id: str, *, target: str | None, **filters: Any
) -> Sequence[JobHandle]:
    from cirq_azure_sessions.workspaces.filters import target_pattern

    session = pool.get_session(find_id(session_id, "session", pool.list_sessions))
    # All jobs of a session are on the session's target.
    if target is not None and not fnmatchcase(session.target, target_pattern(target)):
        return []
    return session.jobs(**filters)


@jobs.command("show")
@_JOB
@AS_JSON
@takes_workspace
def show_job(workspace: WorkspaceOptions, job_id: str, as_json: bool) -> None:
    """Show a job's times, cost and error."""
    from cirq_azure_sessions.cli.tables import as_values

    with workspace.pool() as pool:
        show_details(as_values(_find(pool, job_id)), as_json)


@jobs.command("cancel")
@click.argument("job_ids", metavar="[ID]...", nargs=-1)
@click.option(
    "--journal",
    metavar="PATH",
    type=FilePath(),
    help="Cancel all unfinished jobs of this journal.",
)
@YES
@AS_JSON
@takes_workspace
def cancel_jobs(
    workspace: WorkspaceOptions,
    job_ids: Sequence[str],
    journal: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Ask the service to cancel jobs.

    Jobs given by id may belong to somebody else, so you are asked first, unless you pass --yes.
    Jobs in your journal are your own, and are cancelled without asking.

    \b
      cirq-azure-sessions jobs cancel 9ab2f1 04c7aa --yes
      cirq-azure-sessions jobs cancel --journal run.journal
    """
    if bool(job_ids) == (journal is not None):
        raise click.UsageError("Name the jobs: give ID... or --journal.")
    failures: dict[str, AzureSessionsError] = {}
    with workspace.pool() as pool:
        if journal is None:
            found = list(dict.fromkeys(_find(pool, each) for each in job_ids))
        else:
            found = _unfinished_jobs(pool, journal, failures)
        for job in found:
            if job.is_final:
                note = f"Job {job.id} has already finished: {job.status}."
                click.echo(wrapped(note, sys.stderr), err=True)
        unfinished = {job.id: job for job in found if not job.is_final}
        if journal is None:
            confirm("cancel", list(unfinished.values()), yes=yes)
        for_each(unfinished, lambda job_id: unfinished[job_id].cancel(), failures)
    show_items(found, as_json, "unfinished jobs")
    check_all_done(failures, "cancelled")


@jobs.command("delete")
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
@YES
@AS_JSON
@takes_workspace
def delete_jobs(
    workspace: WorkspaceOptions, job_ids: Sequence[str], yes: bool, as_json: bool
) -> None:
    """Delete jobs and their results permanently.

    Running jobs are cancelled before they are deleted. You are asked first, unless you pass --yes.

    \b
      cirq-azure-sessions jobs delete 9ab2f1 04c7aa --yes
    """
    failures: dict[str, AzureSessionsError] = {}
    with workspace.pool() as pool:
        found = {job.id: job for job in (_find(pool, each) for each in job_ids)}
        confirm("delete", list(found.values()), yes=yes)

        def delete(job_id: str) -> None:
            found[job_id].delete()
            if not as_json:
                click.echo(job_id)

        for_each(found, delete, failures)
    if as_json:
        deleted = [job for job in found.values() if job.id not in failures]
        show_items(deleted, as_json, "jobs")
    check_all_done(failures, "deleted")


@jobs.command("tag")
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="A tag; may be repeated.")
@click.option("--replace", is_flag=True, help="Remove all other tags.")
@YES
@AS_JSON
@takes_workspace
def tag_jobs(
    workspace: WorkspaceOptions,
    job_ids: Sequence[str],
    tags: Sequence[str],
    replace: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Add tags to jobs.

    Other users may search for tags, so you are asked first, unless you pass --yes.

    \b
      cirq-azure-sessions jobs tag 9ab2f1 04c7aa --tag paper --yes
    """
    if not (tags or replace):
        raise click.UsageError("Give at least one --tag TAG.")
    failures: dict[str, AzureSessionsError] = {}
    with workspace.pool() as pool:
        found = {job.id: job for job in (_find(pool, each) for each in job_ids)}
        confirm("tag", list(found.values()), yes=yes)

        def tag(job_id: str) -> None:
            job = found[job_id]
            job.update(tags=list(dict.fromkeys([*([] if replace else job.tags), *tags])))

        for_each(found, tag, failures)
    show_items([job for job in found.values() if job.id not in failures], as_json, "jobs")
    check_all_done(failures, "tagged")


def _unfinished_jobs(
    pool: SessionPool, path: Path, failures: dict[str, AzureSessionsError]
) -> list[JobHandle]:
    """The journal's unfinished jobs in this workspace; errors of others are collected."""
    found: list[JobHandle] = []

    def find(job_id: str) -> None:
        # It may not have been submitted, or only in another workspace.
        with suppress(JobError):
            found.append(pool.get_job(job_id))

    with opened(path) as journal:
        for_each([e.job_id for e in journal.entries() if e.status is None], find, failures)
    return [job for job in found if not job.is_final]


@jobs.command("result")
@_JOB
@click.option(
    "--raw", is_flag=True, help="Print the provider's output, whichever client submitted the job."
)
@AS_JSON
@takes_workspace
def show_result(workspace: WorkspaceOptions, job_id: str, raw: bool, as_json: bool) -> None:
    """Print the result of a job, once it has finished.

    For a job that this package submitted, the counts of the outcomes are printed. For any other
    job, the SDK's result is printed. With --raw, the provider's output is printed.

    \b
      cirq-azure-sessions jobs result 9ab2f1
      cirq-azure-sessions jobs result 9ab2f1 --raw > output.json
    """
    from cirq_azure_sessions.cli.tables import results_as_json, results_table
    from cirq_azure_sessions.results.azure_result import AzureResult

    if raw:
        click.echo(_fetch_output(workspace, job_id))
        return
    with workspace.pool() as pool:
        job = _find(pool, job_id)
        results = job.results()
    if isinstance(results[0], bytes):
        click.echo(results[0])
    elif not isinstance(results[0], AzureResult):
        show_json(results[0])
    elif as_json:
        show_json(results_as_json(job.target, results))
    else:
        show(results_table(results, is_sweep=len(results) > 1))


def _fetch_output(workspace: WorkspaceOptions, job_id: str) -> Any:
    """The output of a job as the provider wrote it."""
    from cirq_azure_sessions import background
    from cirq_azure_sessions.errors import check_succeeded
    from cirq_azure_sessions.sessions.pool import SessionPool

    with workspace.port() as port, SessionPool(port) as pool:
        job = _find(pool, job_id).wait()._item
        check_succeeded(job)
        return background.loop.run(port.fetch_output, job)


def _find(pool: SessionPool, given: str) -> JobHandle:
    """The job with this id or id prefix."""
    return pool.get_job(find_id(given, "job", pool.list_jobs))
