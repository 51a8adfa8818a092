"""The command `cirq-azure-sessions`: running circuits, the emulator, and the demonstration.

Cirq, Azure's SDK and the rest are imported by the command that needs them, so that `--help` answers
at once. Exit codes: 0 for success, 1 for a failure at work, 2 for a wrong command.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from cirq_azure_sessions.cli.cost import cost
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
from cirq_azure_sessions.cli.program_options import ProgramOptions, takes_program
from cirq_azure_sessions.errors import SweepError

if TYPE_CHECKING:
    import cirq

__all__ = ["main"]


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


for _command in (targets, sessions, jobs, quotas, journal, emulate, cost):
    main.add_command(_command)


@main.command()
@takes_program
@click.option(
    "--seed", metavar="N", type=click.IntRange(min=0), help="Draw the same samples every time."
)
@click.option(
    "--max-cost",
    metavar="AMOUNT",
    type=click.FloatRange(min=0),
    help="Submit nothing beyond this: dollars on IonQ, credits on Quantinuum. See `cost`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every outcome.")
@takes_workspace
def run(
    workspace: WorkspaceOptions,
    program: ProgramOptions,
    seed: int | None,
    max_cost: float | None,
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
    from cirq_azure_sessions.results.histogram import count_outcomes

    circuit, sweep = program.read()
    target = program.target
    connected = None if target.startswith("local.") else workspace.connect()
    try:
        sampler = AzureSessionSampler(
            target,
            workspace=connected,
            seed=seed,
            max_cost=max_cost,
            progress=sys.stderr.isatty(),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    results: Sequence[cirq.Result | None]
    failures: dict[int, Exception] = {}
    with sampler:
        try:
            results = sampler.run_sweep(circuit, sweep, program.repetitions)
        except SweepError as error:
            results, failures = error.results, error.failures
    came_home = [result for result in results if result is not None]
    if as_json:
        show_json(results_as_json(target, came_home))
    elif program.ranges and came_home:
        show(sweep_table(came_home))
    elif came_home:
        show(histogram_table(count_outcomes(came_home[0])))
    if failures:
        count = f"{len(failures)} of {len(results)} points failed: " if program.ranges else ""
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
