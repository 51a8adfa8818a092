"""The command `cirq-azure-sessions`: running circuits, the emulator, and the demonstration.

Cirq, Azure's SDK and the rest are imported by the command that needs them, so that `--help` answers
at once. Exit codes: 0 for success, 1 for a failure at work, 2 for a wrong command.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from cirq_azure_sessions.cli.emulate import emulate
from cirq_azure_sessions.cli.journal import journal
from cirq_azure_sessions.cli.monitor import jobs, quotas, sessions, targets
from cirq_azure_sessions.cli.options import (
    Commands,
    WorkspaceOptions,
    show,
    show_json,
    takes_workspace,
)
from cirq_azure_sessions.errors import SweepError

if TYPE_CHECKING:
    import cirq

__all__ = ["main"]


_NOT_NEGATIVE = click.IntRange(min=0)


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
    if not (math.isfinite(sweep.start) and math.isfinite(sweep.stop)):
        raise click.BadParameter(f"{text!r} needs finite numbers for START and STOP.")
    return sweep


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cirq-azure-sessions")
def main() -> None:
    """Run Cirq circuits on Azure Quantum, in sessions that are kept, reused and reopened.

    On this machine, without an account:

    \b
      cirq-azure-sessions run bell.qasm
      cirq-azure-sessions demo

    On an emulated workspace, which the first command serves:

    \b
      cirq-azure-sessions emulate --port 8080 --key my-key
      export CIRQ_AZURE_SESSIONS_EMULATOR_KEY=my-key
      cirq-azure-sessions run bell.qasm --target ionq.simulator \\
          --emulator http://127.0.0.1:8080
      cirq-azure-sessions sessions list --emulator http://127.0.0.1:8080

    On Azure, after `az login`:

    \b
      export AZURE_QUANTUM_WORKSPACE_NAME=my-workspace
      cirq-azure-sessions targets
      cirq-azure-sessions run bell.qasm --target ionq.simulator

    The exit code is 0 for success, 1 for a failure at work and 2 for a wrong command.
    """


for _command in (targets, sessions, jobs, quotas, journal, emulate):
    main.add_command(_command)


@main.command()
@click.argument("circuit", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--target",
    metavar="TARGET",
    default="local.simulator",
    show_default=True,
    help="Where to run it.",
)
@click.option(
    "--repetitions",
    "-r",
    metavar="N",
    type=_NOT_NEGATIVE,
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
@click.option("--seed", metavar="N", type=_NOT_NEGATIVE, help="Draw the same samples every time.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every outcome.")
@takes_workspace
def run(
    workspace: WorkspaceOptions,
    circuit: str,
    target: str,
    repetitions: int,
    sweeps: Sequence[_Range],
    seed: int | None,
    as_json: bool,
) -> None:
    """Sample the circuit in a file.

    CIRCUIT is a file of Cirq's JSON, as cirq.to_json writes it, or of OpenQASM 2. A workspace is
    needed for targets that are not local.*; with no option the SDK's environment variables name it.

    \b
      cirq-azure-sessions run bell.qasm --repetitions 500 --seed 1
      cirq-azure-sessions run rotation.json --sweep theta=0:3.14:20 --json
      cirq-azure-sessions run bell.qasm --target ionq.simulator \\
          --connection-string "$(cat connection.txt)"
    """
    from cirq_azure_sessions import AzureSessionSampler
    from cirq_azure_sessions.cli.tables import histogram_table, results_as_json, sweep_table
    from cirq_azure_sessions.display.histogram import count_outcomes

    program = _read(circuit)
    params = _product(program, sweeps)
    connected = None if target.startswith("local.") else workspace.connect()
    progress = sys.stderr.isatty()
    results: Sequence[cirq.Result | None]
    failures: dict[int, Exception] = {}
    with AzureSessionSampler(target, workspace=connected, seed=seed, progress=progress) as sampler:
        try:
            results = sampler.run_sweep(program, params, repetitions)
        except SweepError as error:
            results, failures = error.results, error.failures
    came_home = [result for result in results if result is not None]
    if as_json:
        show_json(results_as_json(target, came_home))
    elif sweeps and came_home:
        show(sweep_table(came_home))
    elif came_home:
        show(histogram_table(count_outcomes(came_home[0])))
    if failures:
        count = f"{len(failures)} of {len(results)} points failed: " if sweeps else ""
        raise click.ClickException(f"{count}{failures[min(failures)]}")


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
    """Run one sweep on three targets; no account is needed."""
    from itertools import combinations

    from cirq_azure_sessions.cli import tables
    from cirq_azure_sessions.cli.demo import (
        NODES,
        POINTS,
        REPETITIONS,
        compare,
        lifelines,
        run_demo,
    )

    click.echo(_DEMO_INTRODUCTION.format(nodes=NODES, points=POINTS, repetitions=REPETITIONS))
    outcome = run_demo()
    show(tables.demo_table(outcome))
    click.echo(_DEMO_BEST)
    show(tables.best_cut_table(outcome))
    click.echo(_DEMO_SESSIONS)
    show(tables.lifeline_table(lifelines(outcome.events)))
    click.echo("\npool.get_stats():\n")
    show(tables.stats_table(outcome.stats))
    click.echo(_DEMO_AGREEMENT.format(repetitions=outcome.repetitions))
    show(tables.agreement_table([compare(*pair) for pair in combinations(outcome.curves, 2)]))


def _read(path: str) -> cirq.Circuit:
    from cirq_azure_sessions.cli.circuit_file import read_circuit

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
