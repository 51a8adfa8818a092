"""The command that tells what a sweep is going to cost, for which no workspace is needed."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from cirq_azure_sessions.cli.options import show, show_json
from cirq_azure_sessions.cli.program_options import ProgramOptions, takes_program

if TYPE_CHECKING:
    from rich.table import Table

    from cirq_azure_sessions.costs import CostEstimate, Rates

__all__ = ["cost"]

# Kinds of jobs that differ in their gates; a table shows this many at most.
_ROWS = 24


def _parse_rates(
    ctx: click.Context, param: click.Parameter, texts: Sequence[str]
) -> Mapping[str, str]:
    pairs = [text.partition("=") for text in texts]
    if not all(sign for _, sign, _ in pairs):
        raise click.BadParameter("a rate is of the form per_job=1.5.")
    return {name: value for name, _, value in pairs}


@click.command()
@takes_program
@click.option(
    "--rate",
    "rates",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_parse_rates,
    help="A rate of your own, over the published ones: unit, per_job, per_shot, "
    "per_one_qubit_gate, per_two_qubit_gate, per_spam, per_centisecond, seconds_per_shot, minimum.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every point.")
def cost(program: ProgramOptions, rates: Mapping[str, str], as_json: bool) -> None:
    """Tell what the circuit in a file is going to cost. Nothing is sent.

    CIRCUIT is a file as for the command `run`. The estimate counts what the circuit is compiled to,
    with the published rates of the target or with your own.

    \b
      cirq-azure-sessions cost bell.qasm --target ionq.qpu.aria-1
      cirq-azure-sessions cost rotation.json --sweep theta=0:3.14:20 \\
          --target quantinuum.sim.h2-1e --repetitions 500 --json
      cirq-azure-sessions cost bell.qasm --target rigetti.qpu.ankaa-3 \\
          --rate seconds_per_shot=0.0002
    """
    from cirq_azure_sessions.costs import estimate_cost

    circuit, sweep = program.read()
    own = _own_rates(program.target, rates) if rates else None
    estimate = estimate_cost(program.target, circuit, sweep, program.repetitions, rates=own)
    if estimate.amount is None:
        raise click.UsageError(
            f"It is not known what {program.target} charges: give it with --rate, "
            f"such as --rate {'per_job=1' if estimate.rates is None else 'seconds_per_shot=0.001'}."
        )
    if as_json:
        show_json(_as_values(estimate))
    else:
        show(_table(estimate))
        show(f"\n{estimate}")


def _own_rates(target: str, given: Mapping[str, str]) -> Rates:
    """The published rates of the target with the given ones in their places."""
    from cirq_azure_sessions.costs import Rates, known_rates

    known = {rate.name for rate in dataclasses.fields(Rates)} - {"source", "date"}
    if unknown := given.keys() - known:
        raise click.UsageError(f"There is no rate {', '.join(sorted(unknown))}: see --help.")
    try:
        values = {name: text if name == "unit" else float(text) for name, text in given.items()}
        published = known_rates(target) or Rates()
        own: Any = {"source": f"--rate over {published.source}", **values}
        return dataclasses.replace(published, **own)
    except ValueError:
        raise click.UsageError("A --rate is a number of 0 or more, such as per_job=1.5.") from None


def _table(estimate: CostEstimate) -> Table:
    """One row a kind of job: how many there are, what each asks of the machine, and its cost."""
    from cirq_azure_sessions.cli.table_style import new_table

    kinds = Counter((job.workload, job.amount) for job in estimate.jobs)
    table = new_table()
    for header in ("jobs", "shots", "1q gates", "2q gates", "spam", "each", estimate.unit):
        table.add_column(header, justify="right")
    for (work, amount), count in kinds.most_common(_ROWS):
        numbers = (work.shots, work.one_qubit_gates, work.two_qubit_gates, work.spam)
        each = amount or 0.0
        table.add_row(str(count), *map(str, numbers), f"{each:,.2f}", f"{count * each:,.2f}")
    if rest := kinds.most_common()[_ROWS:]:
        total = sum(count * (amount or 0.0) for (_, amount), count in rest)
        count = sum(count for _, count in rest)
        table.add_row(str(count), *["..."] * 5, f"{total:,.2f}")
    return table


def _as_values(estimate: CostEstimate) -> dict[str, Any]:
    """The estimate as JSON's values."""
    return {
        "target": estimate.target,
        "amount": estimate.amount,
        "unit": estimate.unit,
        "jobs": len(estimate.jobs),
        "minimum_applied": estimate.minimum_applied,
        "points": list(estimate.points.values()),
        "usage": dict(estimate.usage),
        "rates": None if estimate.rates is None else dataclasses.asdict(estimate.rates),
    }
