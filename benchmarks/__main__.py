"""`python -m benchmarks`: measures, prints a table, and fails if a ratio or a count is missed."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.emulator import emulator_with_many_jobs
from benchmarks.figure import Figure
from benchmarks.harnesses import harnesses
from benchmarks.measurements import MEASUREMENTS, Effort

_RESULTS = Path(__file__).parent / "results"
_WIDTH = 140


@click.command()
@click.option("--quick", is_flag=True, help="Less work, in a minute or two; no pictures.")
@click.option("--only", help="Only the measurements whose name holds this text.")
@click.option("--plots/--no-plots", default=None, help="Draw the pictures of the documentation.")
@click.option(
    "--output", type=click.Path(path_type=Path), default=_RESULTS, help="Where files are written."
)
def main(quick: bool, only: str | None, plots: bool | None, output: Path) -> None:
    """Measure this package beside the plain SDK, against an emulator in a process of its own."""
    # In a log nothing is cut off.
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    machine = _machine()
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()))
    figures: list[Figure] = []
    for measure in (*MEASUREMENTS, harnesses, emulator_with_many_jobs):
        if only and only not in measure.__name__:
            continue
        with console.status(measure.__name__.replace("_", " ")):
            figures += measure(Effort(quick))
    console.print(_table(figures))
    output.mkdir(parents=True, exist_ok=True)
    report = {"machine": machine, "quick": quick, "figures": [each.as_json() for each in figures]}
    (output / "benchmarks.json").write_text(json.dumps(report, indent=2) + "\n")
    if plots or (plots is None and not quick and not only):
        from benchmarks.plots import draw

        console.print("Drawn:", *map(str, draw(output)))
    missed = [each.name for each in figures if each.decides and not each.is_met]
    if missed:
        console.print("Missed:", "; ".join(missed))
        sys.exit(1)


def _machine() -> dict[str, Any]:
    return {
        "cpus": os.cpu_count(),
        # Well above zero, others were at work, and what is said of seconds is worth little.
        "load at the start": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "azure-quantum": version("azure-quantum"),
        "cirq": version("cirq-core"),
        "cirq-azure-sessions": version("cirq-azure-sessions"),
    }


def _table(figures: list[Figure]) -> Table:
    table = Table("figure", "value", "bound", "", "detail", box=SIMPLE)
    for each in figures:
        value = f"{each.value:.3g} {each.unit}"
        table.add_row(each.name, value, each.bound, each.verdict, each.detail)
    return table


if __name__ == "__main__":
    main()
