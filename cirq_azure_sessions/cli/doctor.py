"""The command `doctor`: checks of an installation, this machine and a workspace."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from cirq_azure_sessions.cli.options import (
    AS_JSON,
    YES,
    Command,
    WorkspaceOptions,
    is_free,
    is_interactive,
    show_json,
    takes_workspace,
    wrapped,
)
from cirq_azure_sessions.errors import AzureSessionsError
from cirq_azure_sessions.installation import (
    Finding,
    check_environment,
    check_versions,
    known_secrets,
    unexpected,
)
from cirq_azure_sessions.redaction import printable

if TYPE_CHECKING:
    from cirq_azure_sessions.model import TargetStatus

__all__ = ["doctor"]

_MARKS = {"ok": "ok", "warning": "warn", "failed": "FAIL", "skipped": "-"}

_REPETITIONS = 100
# Seconds that a busy, free simulator may take.
_LIVE_TIMEOUT = 900.0
_FIRST_CHOICE = "ionq.simulator"


@click.command(cls=Command)
@click.option("--live", is_flag=True, help="Open and close a session, and run one free job.")
@click.option("--target", metavar="TARGET", help="The target of the job that --live runs.")
@YES
@AS_JSON
@takes_workspace
def doctor(
    workspace: WorkspaceOptions, live: bool, target: str | None, yes: bool, as_json: bool
) -> None:
    """Check the installation, this machine and a workspace.

    It prints one line for each check, and what to do if something is wrong. The output contains no
    secrets and can be pasted into a bug report. The exit code is 1 if a check failed.

    \b
      cirq-azure-sessions doctor
      cirq-azure-sessions doctor --live
    """
    if target is not None and not live:
        raise click.UsageError("--target needs --live.")
    given = [workspace.connection_string, workspace.emulator_key]
    secrets = known_secrets(given, addresses=[workspace.emulator])
    shown = []
    for finding in _findings(workspace, target if live else None, live=live, yes=yes):
        text = finding.text
        for secret in secrets:
            text = text.replace(secret, "...")
        # One line each, even if the text has several.
        shown.append({**asdict(finding), "text": printable(" ".join(text.split()))})
        if not as_json:
            line = "{0:<5} {check:<23} {text}".format(_MARKS[finding.status], **shown[-1])
            click.echo(wrapped(line, sys.stdout, indent=30))
    failed = sum(each["status"] == "failed" for each in shown)
    if as_json:
        show_json({"ok": not failed, "checks": shown})
    else:
        checks = "check" if failed == 1 else "checks"
        click.echo(f"\n{failed} {checks} failed." if failed else "\nAll checks passed.")
    if failed:
        raise click.exceptions.Exit(1)


def _findings(
    options: WorkspaceOptions, target: str | None, *, live: bool, yes: bool
) -> Iterator[Finding]:
    """The findings of all checks, yielded as they arrive."""
    yield from check_versions()
    yield check_environment()
    try:
        from cirq_azure_sessions import background
        from cirq_azure_sessions.clock import SystemClock
        from cirq_azure_sessions.workspaces.azure import AzureWorkspace, diagnostics
    except Exception as error:
        # A package is missing, or its version lacks something.
        yield Finding("imports", f"{type(error).__name__}, {error}: install it again", "failed")
        return
    clock = SystemClock()
    yield from diagnostics.check_private_names()
    workspace = None
    try:
        workspace = options.connect()
        yield from diagnostics.check_workspace(workspace)
    except click.UsageError as error:
        yield Finding("workspace", error.message, "failed")
    except Exception as error:
        yield unexpected("workspace", error)
    yield from diagnostics.check_network(workspace)
    try:
        yield from background.loop.run(diagnostics.check_sign_in, workspace)
    except Exception as error:
        yield unexpected("credential", error)
    try:
        yield from background.loop.run(diagnostics.check_connection, workspace, clock)
    except Exception as error:
        yield unexpected("round trip", error)
    if workspace is None:
        for check in ("service", *(["live job"] if live else [])):
            yield Finding(check, "not checked: no workspace is given", "skipped")
        return
    port = None
    try:
        port = AzureWorkspace(workspace, clock=clock)
        service = background.loop.run(diagnostics.check_service, port, clock)
        yield service
        if live and service.status == "ok":
            target = target or _free_target(background.loop.run(port.list_targets))
            yield from _live(workspace, target, yes=yes)
        elif live:
            yield Finding("live job", "not run: the service check failed", "skipped")
    except click.Abort:
        # Ctrl-C at the prompt.
        raise
    except Exception as error:
        yield unexpected("live job" if port else "service", error)
    finally:
        if port is not None:
            background.loop.run(port.aclose)


def _free_target(targets: Sequence[TargetStatus]) -> str:
    """A target of the workspace whose jobs are free."""
    # The test provider's targets, which have no dot in their names, run no circuits.
    open_ids = [each.id for each in targets if each.availability == "Available"]
    free = [target for target in open_ids if "." in target and is_free(target)]
    if not free:
        raise AzureSessionsError(
            "No free simulator is available in this workspace: name one with --target."
        )
    return _FIRST_CHOICE if _FIRST_CHOICE in free else free[0]


def _live(workspace: Any, target: str, *, yes: bool) -> Iterator[Finding]:
    """Opens a session, runs a job in it and closes it; asks first if the job may cost money."""
    import cirq

    from cirq_azure_sessions.clock import SystemClock
    from cirq_azure_sessions.sampler import AzureSessionSampler
    from cirq_azure_sessions.sessions.pool import SessionPool

    if not yes and not is_free(target):
        question = f"A job of {_REPETITIONS} shots on {target} may cost money. Run it?"
        if not is_interactive():
            text = f"not run: it may cost money; add --yes to run it on {target}"
            yield Finding("live job", text, "failed")
            return
        if not click.confirm(question, err=True):
            yield Finding("live job", f"not run on {target}: you declined", "skipped")
            return
    clock = SystemClock()
    qubit = cirq.LineQubit(0)
    circuit = cirq.Circuit(cirq.X(qubit), cirq.measure(qubit, key="m"))
    try:
        with SessionPool(workspace) as pool:
            # A target that does not accept circuits is refused before a session is opened.
            sampler = AzureSessionSampler(
                target, pool=pool, timeout=_LIVE_TIMEOUT, job_name="cirq-azure-sessions-doctor"
            )
            session = pool.session(target)
            yield Finding("live session", f"{session.id} opened on {target}")
            began = clock.monotonic()
            try:
                result: Any = sampler.run(circuit, repetitions=_REPETITIONS)
                seconds = clock.monotonic() - began
                yield _judge(target, result, f"{result.job_id} ran in {seconds:.1f} s")
            except Exception as error:
                yield unexpected("live job", error)
        status = str(session.status)
        is_over = status not in ("Waiting", "Executing")
        yield Finding("live session", f"closed, {status}", "ok" if is_over else "failed")
    except Exception as error:
        yield unexpected("live session", error)


def _judge(target: str, result: Any, text: str) -> Finding:
    """The finding on a job that flipped a qubit."""
    right = result.histogram(key="m")[1]
    # Hardware has errors, but fewer than this; syntax checkers measure nothing.
    if target.removesuffix("-preview").endswith("sc") or 2 * right > result.repetitions:
        return Finding("live job", text)
    text += f", and {right} of {result.repetitions} shots are correct: please report this"
    return Finding("live job", text, "failed")
