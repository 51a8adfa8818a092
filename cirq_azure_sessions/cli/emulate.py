"""The command `emulate`: serves an emulated workspace."""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from threading import Event
from typing import Any

import click

from cirq_azure_sessions.cli.numbers import Number, WholeNumber
from cirq_azure_sessions.cli.options import Command

__all__ = ["emulate"]

_IS_UP = """\
An emulated Azure Quantum workspace is listening at {endpoint}.
Jobs are simulated on this machine, and cost nothing.
{pace}
To run an unmodified program that uses the SDK, set these variables in a shell:

{bash}

or, in PowerShell:

{powershell}

or in one command: `cirq-azure-sessions emulate -- python my_program.py`.

To pass the address to the SDK in Python:

    from azure.core.credentials import AzureKeyCredential
    from azure.quantum import Workspace
    workspace = Workspace(
        resource_id="{resource_id}",
        location="eastus",
        credential=AzureKeyCredential("{key}"),
        _quantum_endpoint="{endpoint}",
    )

To make a sampler on it:

    from cirq_azure_sessions import AzureSessionSampler
    sampler = AzureSessionSampler("ionq.simulator", workspace=workspace)

On the command line:

    cirq-azure-sessions run CIRCUIT --target ionq.simulator \
--emulator {endpoint} --emulator-key {key}

To advance the clock by ten minutes, so that idle sessions time out:

    curl --header "x-ms-quantum-api-key: {key}" \
--data '{{"advance": 600}}' {endpoint}/emulator/clock

Stop it with Ctrl-C.
"""

_REALISTIC = "Jobs take as long as recorded ones: seconds to minutes, and longer on hardware.\n"

_SECONDS = Number(0)
_COUNT = WholeNumber(1)


def _parse_quotas(
    ctx: click.Context, param: click.Parameter, texts: Sequence[str]
) -> Mapping[str, float]:
    quotas = {}
    for text in texts:
        dimension, _, limit = text.partition("=")
        try:
            quotas[dimension] = float(limit)
        except ValueError:
            raise click.BadParameter(f"{text!r} does not have the form ehqc=100.") from None
    return quotas


@click.command(cls=Command)
@click.option(
    "--host",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="The address to listen on; 0.0.0.0 lets other machines in.",
)
@click.option(
    "--port",
    metavar="N",
    type=WholeNumber(0, 65535),
    default=0,
    help="The port; by default a free one.",
)
@click.option("--key", metavar="KEY", help="The access key; by default a new one.")
@click.option(
    "--latency", metavar="SECONDS", type=_SECONDS, default=0.0, help="The delay of every request."
)
@click.option("--realistic", is_flag=True, help="Use the queue and run times recorded on Azure.")
@click.option(
    "--job-time",
    metavar="SECONDS",
    type=_SECONDS,
    default=0.0,
    help="The run time of every job, without --realistic.",
)
@click.option(
    "--slots", metavar="N", type=_COUNT, help="Jobs that a target runs at once; others queue."
)
@click.option(
    "--max-concurrent-jobs", metavar="N", type=_COUNT, help="Maximum number of unfinished jobs."
)
@click.option(
    "--quota",
    "quotas",
    metavar="NAME=LIMIT",
    multiple=True,
    callback=_parse_quotas,
    help="A quota on gs1q, gs2q, hqc, ehqc or qpu_time_centiseconds.",
)
@click.option(
    "--session-timeout",
    metavar="SECONDS",
    type=_SECONDS,
    default=600.0,
    show_default=True,
    help="The idle time after which a session ends.",
)
@click.option("--noiseless", is_flag=True, help="Simulate hardware without noise.")
@click.option(
    "--store",
    metavar="PATH",
    # A directory, or a connection string.
    type=click.UNPROCESSED,
    help="Store programs and results in this directory, or in Azurite by its connection string.",
)
@click.option(
    "--max-stored-jobs",
    metavar="N",
    type=_COUNT,
    help="Keep programs and results of the last N jobs only.",
)
@click.option(
    "--seed",
    metavar="N",
    type=WholeNumber(0),
    help="Seed for reproducible results and times.",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def emulate(
    context: click.Context,
    /,
    command: Sequence[str],
    host: str,
    port: int,
    key: str | None,
    noiseless: bool,
    **options: Any,
) -> None:
    """Serve an emulated workspace until Ctrl-C, or while COMMAND runs.

    It prints how to connect from Python and from a shell. COMMAND, after two hyphens, runs with
    the connection's environment variables set; its exit code is returned.

    \b
      cirq-azure-sessions emulate --port 8080
      cirq-azure-sessions emulate -- python my_program.py
      cirq-azure-sessions emulate --realistic --slots 4 --max-concurrent-jobs 50
      cirq-azure-sessions emulate --quota ehqc=100 --store ~/emulated --seed 1
    """
    from cirq_azure_sessions.emulator import EmulatorServer
    from cirq_azure_sessions.emulator.programs import NOISELESS

    key = key or secrets.token_urlsafe(32)
    noise = NOISELESS if noiseless else None
    try:
        emulator = EmulatorServer(host=host, port=port, key=key, noise=noise, **options)
    except OSError as error:
        if error.filename is not None:
            # The --store.
            raise
        message = f"Cannot listen on {host}:{port}: choose another --port or --host."
        raise click.ClickException(message) from error
    pace = _REALISTIC if options["realistic"] else ""
    with emulator as server:
        if command:
            click.echo(pace, nl=False, err=True)
            context.exit(_run(command, server.environment))
        click.echo(
            _IS_UP.format(
                endpoint=server.endpoint,
                resource_id=server.resource_id,
                key=key,
                pace=pace,
                bash=_lines(server.environment, "export {}={}", shlex.quote),
                powershell=_lines(server.environment, "$env:{} = {}", "'{}'".format),
            ),
            nl=False,
        )
        with suppress(KeyboardInterrupt):
            Event().wait()
    click.echo("The emulator has stopped.")


def _run(command: Sequence[str], variables: Mapping[str, str]) -> int:
    """Runs a command and returns its exit code."""
    try:
        process = subprocess.Popen(command, env={**os.environ, **variables})
    except OSError as error:
        message = f"{command[0]} cannot be run: {error.strerror}."
        raise click.ClickException(message) from error
    try:
        while True:
            # Ctrl-C also reaches the command, which may need time to finish.
            with suppress(KeyboardInterrupt):
                code = process.wait()
                # It was ended by a signal; shells report it like this.
                return code if code >= 0 else 128 - code
    except SystemExit:
        # SIGTERM reaches only this process.
        process.terminate()
        process.wait()
        raise


def _lines(variables: Mapping[str, str], form: str, quote: Callable[[str], str]) -> str:
    return "\n".join(f"    {form.format(name, quote(text))}" for name, text in variables.items())
