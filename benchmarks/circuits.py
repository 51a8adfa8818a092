"""How many circuits of a folder run on each target, and agree with Cirq's simulator.

    python -m benchmarks.circuits FOLDER [--output OUTCOMES.json]

Each OpenQASM file is sampled on the emulated targets by `AzureSessionSampler`, and in the same run
by the SDK's own `AzureQuantumService.run`. An answer agrees if it has the measurement keys of
`cirq.Simulator`, and if a chi-square test, which rejects one in a million correct
answers, does not tell their samples apart. Runs beside different versions of Cirq that write to the
same file share one table.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cirq
import click
import numpy as np
from azure.quantum.cirq import AzureQuantumService
from rich.console import Console
from rich.table import Table
from scipy.stats import chi2_contingency

from cirq_azure_sessions import AzureSessionSampler, SessionPool, read_circuit
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.emulator.programs import NOISELESS

REPETITIONS = 2000
FALSE_ALARMS = 1e-6
TARGETS = ("ionq.simulator", "quantinuum.sim.h2-1e", "rigetti.sim.qvm")

Run = Callable[[cirq.Circuit], cirq.Result]


def agree(one: cirq.Result, other: cirq.Result) -> bool:
    """Whether two results have the same keys, shapes and, as far as samples tell, distribution."""
    shapes = [{key: array.shape for key, array in r.records.items()} for r in (one, other)]
    if shapes[0] != shapes[1]:
        return False
    counts = [_outcomes(one), _outcomes(other)]
    table = np.array([[count[key] for key in counts[0] | counts[1]] for count in counts])
    rare = table.sum(axis=0) < 10
    table = np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])
    table = table[:, table.sum(axis=0) > 0]
    return table.shape[1] < 2 or chi2_contingency(table).pvalue > FALSE_ALARMS


def _outcomes(result: cirq.Result) -> Counter[bytes]:
    """How often each joint outcome of all keys came."""
    rows = [np.reshape(result.records[key], (REPETITIONS, -1)) for key in sorted(result.records)]
    return Counter(row.tobytes() for row in np.hstack(rows).astype(np.uint8))


def outcome(run: Run, circuit: cirq.Circuit, truth: cirq.Result) -> str:
    """`agrees`, `differs`, or `refused` with the kind of error."""
    silenced = io.StringIO()
    try:
        with contextlib.redirect_stdout(silenced), contextlib.redirect_stderr(silenced):
            result = run(circuit)
    # Whatever the SDK raises is its answer.
    except Exception as error:
        return f"refused: {type(error).__name__}"
    return "agrees" if agree(result, truth) else "differs"


def compare(folder: Path) -> dict[str, dict[str, dict[str, str]]]:
    """The outcome of each file, by target, for this package and for the SDK."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    truths = {}
    for file in sorted(folder.glob("*.qasm")):
        # A file that is no OpenQASM is no circuit, on any target.
        with contextlib.suppress(ValueError):
            truths[file.stem] = _truth(file)
    # The emulated machines' noise is not the translation's doing.
    with (
        EmulatorServer(seed=1, noise=NOISELESS) as server,
        SessionPool(server.workspace()) as pool,
    ):
        service = AzureQuantumService(server.workspace())
        for target in TARGETS:
            sampler = AzureSessionSampler(target, pool=pool, seed=1)

            def ours(circuit: cirq.Circuit, sampler: AzureSessionSampler = sampler) -> cirq.Result:
                return sampler.run(circuit, repetitions=REPETITIONS)

            def sdk(circuit: cirq.Circuit, target: str = target) -> cirq.Result:
                return service.run(_on_line(circuit), REPETITIONS, target=target)

            for run, name in ((ours, "cirq-azure-sessions"), (sdk, "AzureQuantumService.run")):
                rows = found.setdefault(target, {}).setdefault(name, {})
                for stem, (circuit, truth) in truths.items():
                    rows[stem] = outcome(run, circuit, truth)
    return found


def _on_line(circuit: cirq.Circuit) -> cirq.Circuit:
    """The same circuit on line qubits, the only ones that the SDK's translation takes."""
    qubits = sorted(circuit.all_qubits())
    return circuit.transform_qubits(
        dict(zip(qubits, cirq.LineQubit.range(len(qubits)), strict=True))
    )


def _truth(file: Path) -> tuple[cirq.Circuit, cirq.Result]:
    circuit = read_circuit(file)
    if not circuit.has_measurements():
        circuit += cirq.measure(*sorted(circuit.all_qubits()), key="all")
    return circuit, cirq.Simulator(seed=1).run(circuit, repetitions=REPETITIONS)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Keep every outcome in this JSON file, beside those of other versions of Cirq.",
)
def main(folder: Path, output: Path | None) -> None:
    """Compare targets and the SDK on the OpenQASM files of FOLDER."""
    logging.disable(logging.ERROR)
    found = compare(folder)
    by_version = {cirq.__version__: found}
    if output is not None:
        earlier = json.loads(output.read_text()) if output.exists() else {}
        by_version = dict(sorted({**earlier, **by_version}.items()))
        output.write_text(json.dumps(by_version, indent=2) + "\n")
    table = Table("target", "", "Cirq", "circuits", "agree", "differ", "refused")
    for target, ways in found.items():
        for way in ways:
            for version, outcomes in by_version.items():
                rows = outcomes[target][way]
                kinds = Counter(row.split(":")[0] for row in rows.values())
                numbers = [len(rows), kinds["agrees"], kinds["differs"], kinds["refused"]]
                table.add_row(target, way, version, *map(str, numbers))
    console = Console()
    console.print(table)
    circuits = next(iter(next(iter(found.values())).values()))
    unread = sorted({file.stem for file in folder.glob("*.qasm")} - set(circuits))
    if unread:
        console.print("No valid OpenQASM:", ", ".join(unread))
    for target, ways in found.items():
        odd = {k: v for k, v in ways["cirq-azure-sessions"].items() if v != "agrees"}
        if odd:
            console.print(f"{target}:", ", ".join(f"{k} {v}" for k, v in odd.items()))


if __name__ == "__main__":
    main()
