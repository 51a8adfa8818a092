"""The commands that look at a workspace: its targets, sessions, jobs and quotas."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cirq_azure_sessions.cli.journal import opened
from cirq_azure_sessions.cli.options import (
    AS_JSON,
    Commands,
    WorkspaceOptions,
    limited,
    show,
    show_json,
    takes_workspace,
)

if TYPE_CHECKING:
    from cirq_azure_sessions.model import Job, Session
    from cirq_azure_sessions.monitor import Monitor, SessionView, Wanted

__all__ = ["jobs", "quotas", "sessions", "targets"]

_PICTURES = (".png", ".svg", ".pdf")
_INTERVAL = click.option(
    "--interval",
    metavar="SECONDS",
    type=click.FloatRange(min=0.1),
    default=5.0,
    show_default=True,
    help="How long from one look to the next.",
)


def _monitors(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that name a workspace; the command gets a `Monitor` of it."""

    @takes_workspace
    @functools.wraps(command)
    def with_monitor(*args: Any, workspace: WorkspaceOptions, **options: Any) -> None:
        from cirq_azure_sessions.monitor import Monitor
        from cirq_azure_sessions.workspaces.azure import AzureWorkspace

        with Monitor(AzureWorkspace(workspace.connect())) as monitor:
            command(*args, monitor=monitor, **options)

    return with_monitor


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that choose sessions or jobs; the command gets them as `wanted`."""

    @click.option("--target", metavar="TARGET", help="On this target; ionq.* means any of IonQ's.")
    @click.option("--status", metavar="STATUS", help="In this status, such as Executing.")
    @click.option("--name", metavar="TEXT", help="Whose name begins so.")
    @click.option("--hours", metavar="N", type=click.FloatRange(min=0), help="Not older than this.")
    @limited("At most so many.")
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
        from cirq_azure_sessions.monitor import Wanted

        max_age = None if hours is None else hours * 3600
        try:
            wanted = Wanted(target, status, name, max_age, limit)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        command(*args, wanted=wanted, **options)

    return with_filters


@click.command()
@AS_JSON
@_monitors
def targets(monitor: Monitor, as_json: bool) -> None:
    """List targets, with availability and queue times.

    \b
      cirq-azure-sessions targets
      cirq-azure-sessions targets --emulator http://127.0.0.1:8080 --json
    """
    from cirq_azure_sessions.cli.monitor_tables import as_values, target_table

    listed = monitor.targets()
    if as_json:
        show_json([as_values(target) for target in listed])
    else:
        show(target_table(listed))


@click.command()
@AS_JSON
@_monitors
def quotas(monitor: Monitor, as_json: bool) -> None:
    """List quotas: what of them is used and held."""
    from cirq_azure_sessions.cli.monitor_tables import as_values, quota_table

    listed = monitor.quotas()
    if as_json:
        show_json([as_values(quota) for quota in listed])
    else:
        show(quota_table(listed))


@click.group(cls=Commands)
def sessions() -> None:
    """List, show, watch, wait for and close sessions."""


@sessions.command("list")
@_filters
@AS_JSON
@_monitors
def list_sessions(monitor: Monitor, wanted: Wanted, as_json: bool) -> None:
    """List sessions of the workspace, newest first.

    \b
      cirq-azure-sessions sessions list --status Executing
      cirq-azure-sessions sessions list --target 'ionq.*' --hours 24 --json
    """
    _show_items(monitor.sessions(wanted), monitor.now, as_json)


@sessions.command("show")
@click.argument("session_id", metavar="ID")
@AS_JSON
@_monitors
def show_session(monitor: Monitor, session_id: str, as_json: bool) -> None:
    """Show a session, and how its jobs stand."""
    from cirq_azure_sessions.cli.monitor_tables import view_as_values

    _show_details(view_as_values(monitor.session(session_id)), as_json)


@sessions.command("watch")
@click.argument("session_id", metavar="ID")
@_INTERVAL
@AS_JSON
@_monitors
def watch_session(monitor: Monitor, session_id: str, interval: float, as_json: bool) -> None:
    """Print each change of a session until it is over.

    The exit code is 1 if it failed or timed out. Ctrl-C ends the watching, not the session.

    \b
      cirq-azure-sessions sessions watch 1f3c... --interval 30
    """
    from cirq_azure_sessions.cli.monitor_tables import view_as_line, view_as_values

    for view in monitor.watch(session_id, interval=interval):
        click.echo(json.dumps(view_as_values(view)) if as_json else view_as_line(view))
    _exit_as(view)


@sessions.command("wait")
@click.argument("session_id", metavar="ID")
@_INTERVAL
@_monitors
def wait_for_session(monitor: Monitor, session_id: str, interval: float) -> None:
    """Return when a session is over.

    The exit code is 1 if it failed or timed out.

    \b
      cirq-azure-sessions sessions wait 1f3c... && echo all done
    """
    *_, view = monitor.watch(session_id, interval=interval)
    _exit_as(view)


def _check_picture(ctx: click.Context, param: click.Parameter, path: Path) -> Path:
    if path.suffix.lower() not in _PICTURES:
        raise click.BadParameter(f"{path.name} must end in one of {', '.join(_PICTURES)}.")
    return path


@sessions.command("timeline")
@click.option(
    "--output",
    "-o",
    metavar="PATH",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_check_picture,
    help="The picture: a .png, .svg or .pdf file.",
)
@_filters
@_monitors
def draw_timeline(monitor: Monitor, output: Path, wanted: Wanted) -> None:
    """Draw sessions and their jobs over time, in UTC.

    \b
      cirq-azure-sessions sessions timeline -o today.png --hours 24
    """
    timeline = monitor.timeline(wanted)
    try:
        timeline.save(output)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    jobs = sum(len(bar.jobs) for bar in timeline.sessions)
    click.echo(f"{output}: sessions {len(timeline.sessions)}, jobs {jobs:,}")


@sessions.command("close")
@click.argument("session_ids", metavar="[ID]...", nargs=-1)
@click.option("--orphans", is_flag=True, help="Those that dead runs of a --journal left open.")
@click.option("--journal", metavar="PATH", type=click.Path(path_type=Path), help="Their journal.")
@click.option("--name", metavar="NAME", help="All open ones of this name, whoever uses them.")
@AS_JSON
@_monitors
def close_sessions(
    monitor: Monitor,
    session_ids: Sequence[str],
    orphans: bool,
    journal: Path | None,
    name: str | None,
    as_json: bool,
) -> None:
    """Let sessions take no more jobs; those they have still run.

    \b
      cirq-azure-sessions sessions close 1f3c... 8a21...
      cirq-azure-sessions sessions close --orphans --journal run.journal
      cirq-azure-sessions sessions close --name calibration
    """
    if [bool(session_ids), orphans, name is not None].count(True) != 1:
        raise click.UsageError("Say which sessions: by ID..., --orphans or --name.")
    if orphans != (journal is not None):
        raise click.UsageError("--orphans and --journal PATH belong together: give both.")
    if journal is not None:
        _close_orphans(monitor, journal, as_json)
        return
    ids = session_ids if name is None else monitor.open_sessions(name)
    _show_items([monitor.close_session(each) for each in ids], monitor.now, as_json)


def _close_orphans(monitor: Monitor, path: Path, as_json: bool) -> None:
    """Closes what the dead runs of a journal left open; complains of what is left all the same."""
    with opened(path) as journal:
        closed, left = monitor.close_orphans(journal)
        alive = {run.id for run in journal.runs() if run.ended is None}
        elsewhere = [
            one.workspace
            for one in journal.sessions()
            if one.closed is None and one.run not in alive
        ]
    _show_items(closed, monitor.now, as_json)
    if left:
        raise click.ClickException(f"The service did not close {', '.join(left)}: try again later.")
    if elsewhere:
        raise click.ClickException(
            f"Other workspaces have orphans too: name each with --resource-id, as {elsewhere[0]}."
        )


@click.group(cls=Commands)
def jobs() -> None:
    """List, show and cancel jobs, and fetch their results."""


@jobs.command("list")
@_filters
@click.option("--session", "session_id", metavar="ID", help="Of this session.")
@AS_JSON
@_monitors
def list_jobs(monitor: Monitor, wanted: Wanted, session_id: str | None, as_json: bool) -> None:
    """List jobs of the workspace, newest first.

    \b
      cirq-azure-sessions jobs list --session 1f3c... --status Failed
    """
    _show_items(monitor.jobs(wanted, session_id=session_id), monitor.now, as_json)


@jobs.command("show")
@click.argument("job_id", metavar="ID")
@AS_JSON
@_monitors
def show_job(monitor: Monitor, job_id: str, as_json: bool) -> None:
    """Show a job: its times, its cost, and why it failed if it did."""
    from cirq_azure_sessions.cli.monitor_tables import as_values

    _show_details(as_values(monitor.job(job_id)), as_json)


@jobs.command("cancel")
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
@AS_JSON
@_monitors
def cancel_jobs(monitor: Monitor, job_ids: Sequence[str], as_json: bool) -> None:
    """Ask the service to cancel jobs."""
    _show_items([monitor.cancel_job(each) for each in job_ids], monitor.now, as_json)


@jobs.command("result")
@click.argument("job_id", metavar="ID")
@click.option("--raw", is_flag=True, help="Print what the provider wrote, of any client's job.")
@AS_JSON
@takes_workspace
def show_result(workspace: WorkspaceOptions, job_id: str, raw: bool, as_json: bool) -> None:
    """Print the result of a job, once it is over.

    Of a job that this package submitted the outcomes are counted; --raw takes any client's job.

    \b
      cirq-azure-sessions jobs result 9ab2...
      cirq-azure-sessions jobs result 9ab2... --raw > output.json
    """
    from cirq_azure_sessions import AzureSessionSampler, AzureWorkspace
    from cirq_azure_sessions.cli.tables import histogram_table, results_as_json
    from cirq_azure_sessions.monitor import Monitor
    from cirq_azure_sessions.results.histogram import count_outcomes

    connected = workspace.connect()
    with Monitor(AzureWorkspace(connected)) as monitor:
        job = monitor.job(job_id)
        if raw:
            click.echo(monitor.output(job))
            return
    with AzureSessionSampler(job.target, workspace=connected) as sampler:
        result = sampler.get_result(job.id)
    if as_json:
        show_json(results_as_json(job.target, [result]))
    else:
        show(histogram_table(count_outcomes(result)))


def _show_items(items: Sequence[Session | Job], now: float, as_json: bool) -> None:
    from cirq_azure_sessions.cli.monitor_tables import as_values, item_table

    if as_json:
        show_json([as_values(item) for item in items])
    else:
        show(item_table(items, now))


def _show_details(values: Mapping[str, Any], as_json: bool) -> None:
    from cirq_azure_sessions.cli.monitor_tables import detail_table

    if as_json:
        show_json(values)
    else:
        show(detail_table(values))


def _exit_as(view: SessionView) -> None:
    """Ends the command with the exit code that says how the session ended."""
    if view.session.status != "Succeeded":
        raise click.exceptions.Exit(1)
