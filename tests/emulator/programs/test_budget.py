"""Programs that want too much: finished or refused, whatever language they are written in."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from children import PROCESSES
from emulated import run_program

from cirq_azure_sessions.emulator import program_runner
from cirq_azure_sessions.workspaces.local import ProgramError
from cirq_azure_sessions.workspaces.local.program import Budget

# The part of a job's work that a program may use here; ODD_PROGRAMS=all makes it the whole.
SHARE = 1.0 if os.environ.get("ODD_PROGRAMS") == "all" else 0.2

HEADER = 'OPENQASM 2.0; include "qelib1.inc"; '
WIDE = HEADER + "qreg q[4096]; creg c[4096]; measure q -> c; "
CHAIN = [{"gate": "cnot", "control": qubit, "target": qubit + 1} for qubit in range(21)]
FORMATS = {
    "quantinuum.sim.h2-1e": ("honeywell.openqasm.v1", "honeywell.quantum-results.v1"),
    "rigetti.sim.qvm": ("rigetti.quil.v1", "rigetti.quil-results.v1"),
    "ionq.qpu.aria-1": ("ionq.circuit.v1", "ionq.quantum-results.v1"),
    "ionq.simulator": ("ionq.circuit.v1", "ionq.quantum-results.v1"),
}


def gates(*gates: Any, qubits: int = 22) -> str:
    return json.dumps({"qubits": qubits, "circuit": gates})


# Target, payload and shots; a payload is made where it is run.
ATTACKS: dict[str, tuple[str, Callable[[], str], int]] = {
    "conditions on every bit": (
        "quantinuum.sim.h2-1e",
        lambda: WIDE + "if(c==1) x q[0]; " * 50_000,
        10,
    ),
    "definitions that double": (
        "quantinuum.sim.h2-1e",
        lambda: (
            HEADER
            + "gate g0 a { x a; } "
            + "".join(f"gate g{n} a {{ g{n - 1} a; g{n - 1} a; }} " for n in range(1, 60))
            + "qreg q[1]; g59 q[0];"
        ),
        10,
    ),
    "parameters of a definition without end": (
        "quantinuum.sim.h2-1e",
        lambda: (
            f"{HEADER}gate g({','.join(f'a{n}' for n in range(100_000))}) q {{{'x q;' * 600_000}}}"
        ),
        1,
    ),
    "formulas in definitions": (
        "quantinuum.sim.h2-1e",
        lambda: (
            f"{HEADER}gate g(t) a {{ rx({'+'.join(['t'] * 100_000)}) a; }} "
            f"qreg q[1];{'g(1) q;' * 60}"
        ),
        10,
    ),
    "measurements whose histories differ": (
        "quantinuum.sim.h2-1e",
        lambda: f"{HEADER}qreg q[1]; creg c[1];{'h q[0];measure q[0]->c[0];' * 19_000}",
        100_000,
    ),
    "huge registers": (
        "rigetti.sim.qvm",
        lambda: "DECLARE ro BIT[4096]\nMEASURE 0 ro[4095]",
        200_000,
    ),
    "registers without end": (
        "rigetti.sim.qvm",
        lambda: "".join(f"DECLARE r{number} REAL[4096]\n" for number in range(3_000)),
        1,
    ),
    "resets of every qubit": (
        "rigetti.sim.qvm",
        lambda: "".join(f"X {qubit}\n" for qubit in range(1_000)) + "RESET\n" * 60_000,
        1,
    ),
    "names in a formula": (
        "rigetti.sim.qvm",
        lambda: f"DECLARE a REAL\nRX({'+'.join(['a'] * 1_500_000)}) 0",
        1,
    ),
    "matrices of controlled gates": (
        "rigetti.sim.qvm",
        lambda: "".join(
            f"{'CONTROLLED ' * 9}RX({angle}) {' '.join(map(str, range(10)))}\n"
            for angle in range(30_000)
        ),
        1,
    ),
    "many outcomes": (
        "ionq.simulator",
        lambda: gates({"gate": "h", "targets": [*range(22)]}),
        100,
    ),
    "much noise": ("ionq.qpu.aria-1", lambda: gates(*CHAIN * 24), 1_000),
    "native gates without end": (
        "ionq.qpu.aria-1",
        lambda: json.dumps(
            {
                "gateset": "native",
                "qubits": 2,
                "circuit": [
                    {"gate": "ms", "phases": [number / 1e5, 0], "targets": [0, 1]}
                    for number in range(60_000)
                ],
            }
        ),
        1,
    ),
    "terms without end": (
        "ionq.simulator",
        lambda: gates(
            {
                "gate": "pauliexp",
                "targets": [0, 1],
                "terms": ["XX"] * 20_000,
                "coefficients": [0.1] * 20_000,
                "time": 1,
            }
        ),
        1,
    ),
}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts memory in kilobytes")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ATTACKS)
def test_no_program_exceeds_the_limits_of_one_job(name: str) -> None:
    """In a process of its own, whose peak of memory is the program's and the package's."""
    ours, theirs = PROCESSES.Pipe(duplex=False)
    child = PROCESSES.Process(target=attack, args=(theirs, name))
    child.start()
    theirs.close()
    try:
        outcome, kilobytes = ours.recv()
    except EOFError:
        child.join()
        pytest.fail(f"the process ended with {child.exitcode}")
    child.join()
    assert outcome in ("finished", "ProviderTimeout", "InvalidInputData")
    assert kilobytes < 1_000_000


def attack(pipe: Any, name: str) -> None:
    import resource

    # Ten seconds for a whole job on a machine with nothing else to do, and some for the imports.
    limit = int(40 * SHARE) + 5
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    budget = Budget()
    budget.spend_seconds(budget.seconds * (1 - SHARE))
    # Only in this process, which ends with the program.
    program_runner.Budget = lambda: budget  # type: ignore[misc, assignment]
    target, payload, shots = ATTACKS[name]
    input_format, output_format = FORMATS[target]
    try:
        run_program(
            target=target,
            provider=target.partition(".")[0],
            input_format=input_format,
            output_format=output_format,
            payload=payload().encode(),
            input_params={"shots": shots},
            rng=np.random.default_rng(1),
        )
        outcome = "finished"
    except ProgramError as error:
        outcome = error.code
    pipe.send((outcome, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
