"""The command `cirq-azure-sessions`, and the only room that prints.

Cirq, Azure's SDK and the rest are imported by the command that needs them, so that `--help` answers
at once. Exit codes: 0 for success, 1 for a failure at work, 2 for a wrong command.
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
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
    import cirq
    from rich.console import RenderableType

__all__ = ["main"]

# An emulator listens on loopback alone and holds no secrets: its key need not be one.
_KEY = "emulator"


class _Commands(click.Group):
    """Commands whose errors are one sentence on stderr, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (UnsupportedProgram, UnsupportedTarget) as error:
            raise click.UsageError(str(error)) from error
        except AzureSessionsError as error:
            raise click.ClickException(str(error)) from error


@dataclass(frozen=True)
class _Range:
    """The values of one parameter: evenly spaced, both ends included."""

    name: str
    start: float
    stop: float
    count: int


def _parse_sweeps(
    ctx: click.Context, param: click.Parameter, texts: Sequence[str]
) -> Sequence[_Range]:
    return [_parse_sweep(text) for text in texts]


def _parse_sweep(text: str) -> _Range:
    name, _, values = text.partition("=")
    try:
        start, stop, count = values.split(":")
        sweep = _Range(name.strip(), float(start), float(stop), int(count))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not of the form theta=0:6.28:50.") from None
    if not sweep.name or sweep.count < 1:
        raise click.BadParameter(f"{text!r} needs a parameter's name and at least one point.")
    return sweep


@dataclass(frozen=True)
class _WorkspaceOptions:
    """How the command line names a workspace; with nothing given, the SDK's environment does."""

    resource_id: str | None
    location: str | None
    connection_string: str | None
    emulator: str | None
    emulator_key: str

    def connect(self) -> Any:
        """The SDK's workspace."""
        from cirq_azure_sessions.azure_workspace import connect

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


def _takes_workspace(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that name a workspace; the command gets them as `workspace`."""

    @click.option("--resource-id", metavar="ID", help="The workspace, as the portal shows it.")
    @click.option("--location", metavar="REGION", help="Its region, such as eastus.")
    @click.option("--connection-string", metavar="TEXT", help="Or its connection string.")
    @click.option("--emulator", metavar="URL", help="Or an emulator (cirq-azure-sessions emulate).")
    @click.option("--emulator-key", metavar="KEY", default=_KEY, help="The emulator's key.")
    @functools.wraps(command)
    def with_workspace(
        *args: Any,
        resource_id: str | None,
        location: str | None,
        connection_string: str | None,
        emulator: str | None,
        emulator_key: str,
        **options: Any,
    ) -> None:
        workspace = _WorkspaceOptions(
            resource_id, location, connection_string, emulator, emulator_key
        )
        command(*args, workspace=workspace, **options)

    return with_workspace


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cirq-azure-sessions")
def main() -> None:
    """Run Cirq circuits on Azure Quantum, in sessions that are kept, reused and reopened."""


@main.command()
@click.argument("circuit", type=click.Path(exists=True, dir_okay=False))
@click.option("--target", default="local.simulator", show_default=True, help="Where to run it.")
@click.option(
    "--repetitions",
    "-r",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    help="How often to sample each point.",
)
@click.option(
    "--sweep",
    "sweeps",
    multiple=True,
    metavar="NAME=START:STOP:COUNT",
    callback=_parse_sweeps,
    help="Values of a parameter. Repeat it for further parameters: all combinations are sampled.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Draw the same samples every time.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every outcome.")
@_takes_workspace
def run(
    workspace: _WorkspaceOptions,
    circuit: str,
    target: str,
    repetitions: int,
    sweeps: Sequence[_Range],
    seed: int | None,
    as_json: bool,
) -> None:
    """Sample the circuit in the file CIRCUIT, which holds Cirq's JSON or OpenQASM 2."""
    from cirq_azure_sessions import AzureSessionSampler
    from cirq_azure_sessions.histogram import count_outcomes
    from cirq_azure_sessions.tables import histogram_table, results_as_json, sweep_table

    program = _read(circuit)
    params = _product(program, sweeps)
    connected = None if target.startswith("local.") else workspace.connect()
    with AzureSessionSampler(target, workspace=connected, seed=seed) as sampler:
        results = sampler.run_sweep(program, params, repetitions)
    if as_json:
        click.echo(json.dumps(results_as_json(target, results), indent=2))
    elif sweeps:
        _show(sweep_table(results))
    else:
        _show(histogram_table(count_outcomes(results[0])))


_EMULATOR_IS_UP = """\
An emulated Azure Quantum workspace listens at {endpoint}.
It runs every job for real, on this machine, and bills nothing.

With the SDK:

    from azure.core.credentials import AzureKeyCredential
    from azure.quantum import Workspace
    workspace = Workspace(
        resource_id="{resource_id}",
        location="eastus",
        credential=AzureKeyCredential("{key}"),
        _quantum_endpoint="{endpoint}",
    )

With the sampler:

    from cirq_azure_sessions import AzureSessionSampler
    sampler = AzureSessionSampler("ionq.simulator", workspace=workspace)

From a shell:

    cirq-azure-sessions run CIRCUIT --target ionq.simulator --emulator {endpoint}{key_option}

Stop it with Ctrl-C.
"""


@main.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: a free one.")
@click.option("--key", default=_KEY, show_default=True, help="What clients sign in with.")
@click.option("--latency", type=click.FloatRange(min=0), default=0.0, help="Seconds a request.")
@click.option("--seed", type=click.IntRange(min=0), help="Make the results of jobs repeat.")
def emulate(port: int, key: str, latency: float, seed: int | None) -> None:
    """Serve an emulated Azure Quantum workspace until Ctrl-C."""
    from cirq_azure_sessions.emulator import EmulatorServer

    try:
        emulator = EmulatorServer(port=port, key=key, latency=latency, seed=seed)
    except OSError as error:
        raise click.ClickException(f"Port {port} cannot be had: choose another --port.") from error
    with emulator as server:
        words = {
            "endpoint": server.endpoint,
            "resource_id": server.resource_id,
            "key": key,
            "key_option": "" if key == _KEY else f" --emulator-key {key}",
        }
        click.echo(_EMULATOR_IS_UP.format(**words), nl=False)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
    click.echo("The emulator has stopped.")


_DEMO_INTRODUCTION = """\
QAOA for the largest cut of a ring of {nodes} nodes: one sweep, on three targets.
The last two are served by an emulator on this machine, through Azure's own SDK.

    sampler = AzureSessionSampler(target, pool=pool)
    sampler.run_sweep(circuit, cirq.Linspace("gamma", 0, pi / 2, {points}), {repetitions})

The mean number of cut edges:
"""
_DEMO_BEST = "\nWhere theory puts the largest mean:\n"
_DEMO_SESSIONS = """
Half way through the last sweep the emulator's clock was put on by ten minutes,
so its session timed out. The pool opened another, and the sweep went on:
"""
_DEMO_AGREEMENT = """
How far the answers are apart, averaged over the sweep, and how far {repetitions} samples
of equal targets would be: mean cuts in edges, distributions by total variation.
"""


@main.command()
def demo() -> None:
    """Run one sweep on three targets, without an account or a second terminal."""
    from itertools import combinations

    from cirq_azure_sessions import tables
    from cirq_azure_sessions.demo import NODES, POINTS, REPETITIONS, compare, lifelines, run_demo

    click.echo(_DEMO_INTRODUCTION.format(nodes=NODES, points=POINTS, repetitions=REPETITIONS))
    outcome = run_demo()
    _show(tables.demo_table(outcome))
    click.echo(_DEMO_BEST)
    _show(tables.best_cut_table(outcome))
    click.echo(_DEMO_SESSIONS)
    _show(tables.lifeline_table(lifelines(outcome.events)))
    click.echo("\npool.get_stats():\n")
    _show(tables.stats_table(outcome.stats))
    click.echo(_DEMO_AGREEMENT.format(repetitions=outcome.repetitions))
    _show(tables.agreement_table([compare(*pair) for pair in combinations(outcome.curves, 2)]))


def _read(path: str) -> cirq.Circuit:
    from cirq_azure_sessions.circuit_file import read_circuit

    try:
        return read_circuit(path)
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{path}: {error}", param_hint="CIRCUIT") from error


def _product(program: cirq.Circuit, sweeps: Sequence[_Range]) -> cirq.Sweep:
    """All combinations of the given values, checked against the circuit's parameters."""
    import cirq

    known = cirq.parameter_names(program)
    given = [sweep.name for sweep in sweeps]
    if missing := sorted(known - set(given)):
        flags = " ".join(f"--sweep {name}=START:STOP:COUNT" for name in missing)
        raise click.UsageError(f"The circuit has parameters without a value: add {flags}.")
    if unknown := sorted(set(given) - known):
        raise click.UsageError(
            f"The circuit has no parameter {', '.join(unknown)}; "
            f"it has {', '.join(sorted(known)) or 'none'}: correct or leave out that --sweep."
        )
    if len(set(given)) < len(given):
        raise click.UsageError("A parameter is swept twice: give each one --sweep.")
    factors = [cirq.Linspace(each.name, each.start, each.stop, each.count) for each in sweeps]
    return cirq.Product(*factors) if factors else cirq.UnitSweep


def _show(*renderables: RenderableType) -> None:
    from rich.console import Console

    Console().print(*renderables)
