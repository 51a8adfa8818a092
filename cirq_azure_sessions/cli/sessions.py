"""The commands `sessions ...`, for all sessions of a workspace."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cirq_azure_sessions.cli.files import FilePath, replacing
from cirq_azure_sessions.cli.journal import opened
from cirq_azure_sessions.cli.numbers import Number
from cirq_azure_sessions.cli.options import (
    AS_JSON,
    YES,
    Group,
    WorkspaceOptions,
    check_all_done,
    confirm,
    find_id,
    for_each,
    show_details,
    show_items,
    show_json,
    takes_filters,
    takes_pool_name,
    takes_workspace,
    wrapped,
)
from cirq_azure_sessions.errors import AzureSessionsError
from cirq_azure_sessions.redaction import printable

if TYPE_CHECKING:
    from cirq_azure_sessions.clock import Clock
    from cirq_azure_sessions.journal import Journal
    from cirq_azure_sessions.journal.rows import JournalSession
    from cirq_azure_sessions.sessions.handles import SessionHandle
    from cirq_azure_sessions.sessions.pool import SessionPool

__all__ = ["sessions", "watch"]

_PICTURES = (".png", ".svg", ".pdf")
# The number of sessions whose jobs are listed at the same time.
_MAX_LISTINGS = 8

_SESSION = click.argument("session_id", metavar="ID")
_INTERVAL = click.option(
    "--interval",
    metavar="SECONDS",
    type=Number(0.1),
    default=5.0,
    show_default=True,
    help="The polling interval.",
)


@click.group(cls=Group)
def sessions() -> None:
    """Open, list, watch, wait for and close sessions.

    The first six or more characters of a session's ID are enough.
    """


@sessions.command("list")
@takes_filters
@AS_JSON
@takes_workspace
def list_sessions(workspace: WorkspaceOptions, filters: Mapping[str, Any], as_json: bool) -> None:
    """List sessions of the workspace, newest first.

    \b
      cirq-azure-sessions sessions list --status open
      cirq-azure-sessions sessions list --target ionq --hours 24 --json
    """
    with workspace.pool() as pool:
        found = pool.list_sessions(**filters)
    show_items(found, as_json, "sessions", filters)


@sessions.command("show")
@_SESSION
@AS_JSON
@takes_workspace
def show_session(workspace: WorkspaceOptions, session_id: str, as_json: bool) -> None:
    """Show a session, and how many of its jobs are in each status."""
    with workspace.pool() as pool:
        session = _find(pool, session_id)
        show_details(_values(session, _count_jobs(session)), as_json)


@sessions.command("open")
@click.option("--target", "-t", metavar="TARGET", required=True, help="The target of its jobs.")
@takes_pool_name("--name")
@click.option(
    "--policy",
    type=click.Choice(["Continue", "Abort"], case_sensitive=False),
    default="Continue",
    show_default=True,
    help="What a failed job does to the session.",
)
@AS_JSON
@takes_workspace
def open_session(
    workspace: WorkspaceOptions, target: str, session_name: str, policy: str, as_json: bool
) -> None:
    """Open a session, and print its id.

    An open session with this name is reused. It takes the jobs of `jobs submit` and of every pool
    with that name, until it is closed or idle for ten minutes.

    \b
      cirq-azure-sessions sessions open --target ionq.simulator --name calibration
    """
    if target.startswith("local."):
        raise click.UsageError(
            f"A session on {target} ends with its process: name a target of the workspace."
        )
    with workspace.lasting_pool(session_name, job_failure_policy=policy) as (pool, _):
        session = pool.session(target)
        if session.job_failure_policy != policy:
            click.echo(f"It is already open, with policy {session.job_failure_policy}.", err=True)
    if as_json:
        show_details(_values(session, {}), as_json)
    else:
        click.echo(session.id)


@sessions.command("watch")
@_SESSION
@_INTERVAL
@AS_JSON
@takes_workspace
def watch_session(
    workspace: WorkspaceOptions, session_id: str, interval: float, as_json: bool
) -> None:
    """Print each change of a session until it has ended.

    A line shows the session's status and the number of jobs in each status; `3 Succeeded (+1)`
    means one more than in the previous line.

    The exit code is 1 if it failed or timed out. Ctrl-C ends the command, not the session.

    \b
      cirq-azure-sessions sessions watch 1f3c29 --interval 30
    """
    from cirq_azure_sessions.cli.tables import changes_in_words
    from cirq_azure_sessions.clock import SystemClock

    with workspace.pool() as pool:
        session = _find(pool, session_id)
        before: Mapping[str, int] | None = None
        for jobs in watch(session, interval, SystemClock()):
            words = changes_in_words(jobs, jobs if before is None else before)
            line = f"{session.status}: {words or 'no jobs'}"
            click.echo(json.dumps(_values(session, jobs)) if as_json else printable(line))
            before = jobs
    _exit_as(session)


@sessions.command("wait")
@_SESSION
@_INTERVAL
@AS_JSON
@takes_workspace
def wait_for_session(
    workspace: WorkspaceOptions, session_id: str, interval: float, as_json: bool
) -> None:
    """Wait until a session has ended, and show it.

    The exit code is 1 if it failed or timed out.

    \b
      cirq-azure-sessions sessions wait 1f3c29 && echo all done
    """
    from cirq_azure_sessions.clock import SystemClock

    with workspace.pool() as pool:
        session = _find(pool, session_id)
        for _ in watch(session, interval, SystemClock()):
            pass
    show_items([session], as_json, "sessions")
    _exit_as(session)


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
    type=FilePath(),
    callback=_check_picture,
    help="The picture: a .png, .svg or .pdf file.",
)
@takes_filters
@AS_JSON
@takes_workspace
def draw_timeline(
    workspace: WorkspaceOptions, output: Path, filters: Mapping[str, Any], as_json: bool
) -> None:
    """Draw sessions and their jobs over time, in UTC.

    \b
      cirq-azure-sessions sessions timeline -o today.png --hours 24
    """
    from cirq_azure_sessions.clock import SystemClock
    from cirq_azure_sessions.watch.timeline import Timeline
    from cirq_azure_sessions.watch.timeline_figure import is_timeline

    with workspace.pool() as pool, ThreadPoolExecutor(_MAX_LISTINGS) as executor:
        found = pool.list_sessions(**filters)
        jobs = list(executor.map(lambda session: session.jobs(), found))
    listed = [
        (each._item, [job._item for job in own]) for each, own in zip(found, jobs, strict=True)
    ]
    timeline = Timeline.of_service(listed, now=SystemClock().time())
    try:
        with replacing(output, is_timeline, "timeline") as path:
            timeline.save(path)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    drawn = {"output": str(output), "sessions": len(found), "jobs": sum(map(len, jobs))}
    if as_json:
        show_json(drawn)
    else:
        click.echo("{output}: sessions {sessions}, jobs {jobs:,}".format(**drawn))


@sessions.command("close")
@click.argument("session_ids", metavar="[ID]...", nargs=-1)
@click.option(
    "--orphans", is_flag=True, help="Close the sessions that dead runs of a --journal left open."
)
@click.option("--journal", metavar="PATH", type=FilePath(), help="The journal of those runs.")
@click.option("--name", metavar="NAME", help="Close all open sessions with this name.")
@YES
@AS_JSON
@takes_workspace
def close_sessions(
    workspace: WorkspaceOptions,
    session_ids: Sequence[str],
    orphans: bool,
    journal: Path | None,
    name: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Close sessions to new jobs; jobs already submitted still run.

    Other programs may be using these sessions, so you are asked first, unless you pass --yes.
    The orphans of your journal are your own, and are closed without asking.

    \b
      cirq-azure-sessions sessions close 1f3c29 8a21d0
      cirq-azure-sessions sessions close --orphans --journal run.journal
      cirq-azure-sessions sessions close --name calibration --yes
    """
    if [bool(session_ids), orphans, name is not None].count(True) != 1:
        raise click.UsageError("Name the sessions: give ID..., --orphans or --name.")
    if orphans != (journal is not None):
        raise click.UsageError("--orphans and --journal PATH belong together: give both.")
    if journal is not None:
        _close_orphans(workspace, journal, as_json)
        return
    failures: dict[str, AzureSessionsError] = {}
    with workspace.pool() as pool:
        if name is None:
            found = list(dict.fromkeys(_find(pool, each) for each in session_ids))
        else:
            listed = pool.list_sessions(name=name, limit=None)
            found = [each for each in listed if each.name == name and each.is_open]
        for session in found:
            if not session.is_open:
                note = f"Session {session.id} has already ended: {session.status}."
                click.echo(wrapped(note, sys.stderr), err=True)
        still_open = {session.id: session for session in found if session.is_open}
        confirm("close", list(still_open.values()), yes=yes)
        for_each(still_open, lambda session_id: still_open[session_id].close(), failures)
    show_items(found, as_json, "open sessions", {"exact_name": name})
    check_all_done(failures, "closed")


def _close_orphans(workspace: WorkspaceOptions, path: Path, as_json: bool) -> None:
    """Closes the sessions that a journal's dead runs left open; raises if any stay open."""
    from cirq_azure_sessions import background
    from cirq_azure_sessions.sessions.pool import SessionPool

    with opened(path) as journal, workspace.port() as port:
        alive = {run.id for run in journal.runs() if run.ended is None}
        orphans = [one for one in _open_sessions(journal) if one.run not in alive]
        # Closing the pool tries again.
        with SessionPool(port, journal=journal) as pool:
            pool.close_orphans()
        left = {one.id for one in _open_sessions(journal)}
        closed = [one.id for one in orphans if one.id not in left]
        found = [background.loop.run(port.get_session, session_id) for session_id in closed]
        left_here = [one.id for one in orphans if one.id in left and one.workspace == port.identity]
        elsewhere = [one.workspace for one in orphans if one.workspace != port.identity]
    show_items(found, as_json, "orphans")
    if left_here:
        raise click.ClickException(
            f"The service did not close {', '.join(left_here)}: try again later."
        )
    if elsewhere:
        raise click.ClickException(
            f"Other workspaces have orphans too: name each with --resource-id, as {elsewhere[0]}."
        )


def _open_sessions(journal: Journal) -> list[JournalSession]:
    return [one for one in journal.sessions() if one.closed is None]


def watch(session: SessionHandle, interval: float, clock: Clock) -> Iterator[Mapping[str, int]]:
    """Refreshes the session every `interval` seconds until it has ended.

    Yields:
        The number of its jobs in each status, whenever these or the session's status change.
    """
    from cirq_azure_sessions import background

    shown = None
    while True:
        session.refresh()
        jobs = _count_jobs(session)
        if (session.status, jobs) != shown:
            yield jobs
        shown = (session.status, jobs)
        if not session.is_open:
            return
        background.loop.run(clock.sleep, interval)


def _find(pool: SessionPool, given: str) -> SessionHandle:
    """The session with this id or id prefix."""
    return pool.get_session(find_id(given, "session", pool.list_sessions))


def _count_jobs(session: SessionHandle) -> Mapping[str, int]:
    """The number of the session's jobs in each status."""
    return dict(sorted(Counter(str(job.status) for job in session.jobs()).items()))


def _values(session: SessionHandle, jobs: Mapping[str, int]) -> Mapping[str, Any]:
    from cirq_azure_sessions.cli.tables import as_values

    return {**as_values(session), "jobs": jobs}


def _exit_as(session: SessionHandle) -> None:
    """Exits with the code for how the session ended."""
    if session.status != "Succeeded":
        raise click.exceptions.Exit(1)
