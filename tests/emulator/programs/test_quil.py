"""Quil on the emulator: gates, memory, substitutions, and the recorded failure."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from typing import Any

import cirq
import numpy as np
import pytest
from emulated import run_program
from hypothesis import given, settings
from hypothesis import strategies as st

from cirq_azure_sessions.emulator.programs import quil
from cirq_azure_sessions.workspaces.local import ProgramError
from cirq_azure_sessions.workspaces.local.program import Budget


def run(text: str, params: Mapping[str, Any] | None = None) -> dict[str, list[list[int]]]:
    output = run_program(
        target="rigetti.sim.qvm",
        provider="rigetti",
        input_format="rigetti.quil.v1",
        output_format="rigetti.quil-results.v1",
        payload=text.encode(),
        input_params=params or {},
        rng=np.random.default_rng(1),
    )
    registers: dict[str, list[list[int]]] = json.loads(output.content)
    return registers


def test_bell_state_gives_one_row_per_shot() -> None:
    text = "DECLARE ro BIT[2]\nH 0\nCNOT 0 1\nMEASURE 0 ro[0]\nMEASURE 1 ro[1]\n"
    rows = run(text, {"count": 100})["ro"]
    assert len(rows) == 100
    assert {tuple(row) for row in rows} == {(0, 0), (1, 1)}


def test_program_runs_once_by_default_and_element_0_comes_first() -> None:
    text = "DECLARE a BIT[2]; DECLARE b BIT; X 5 # five\nMEASURE 5 a[1]; MEASURE 3 b"
    assert run(text) == {"a": [[0, 1]], "b": [[0]]}


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        ("PHASE(0.3) 0", cirq.ZPowGate(exponent=0.3 / math.pi)),
        ("RX(pi/3) 0", cirq.rx(math.pi / 3)),
        ("DAGGER S 0", cirq.S**-1),
        ("DAGGER DAGGER T 0", cirq.T),
        ("CONTROLLED RY(0.3) 0 1", cirq.ControlledGate(cirq.ry(0.3))),
        ("CONTROLLED DAGGER CONTROLLED T 0 1 2", cirq.ControlledGate(cirq.T**-1, 2)),
        ("CPHASE(0.3) 0 1", cirq.CZPowGate(exponent=0.3 / math.pi)),
        ("CCNOT 0 1 2", cirq.CCX),
        ("ISWAP 0 1", cirq.ISWAP),
        ("XY(0.3) 0 1", cirq.ISWAP ** (0.3 / math.pi)),
        ("CSWAP 0 1 2", cirq.CSWAP),
    ],
)
def test_gate_matches_cirqs(call: str, wanted: cirq.Gate) -> None:
    program = quil._Program({}, Budget())
    program.read(call)
    line = cirq.LineQubit.range(wanted.num_qubits())
    made = cirq.Circuit(program.operations)
    actual = made.unitary(qubit_order=line, qubits_that_should_be_present=line)
    assert cirq.allclose_up_to_global_phase(actual, cirq.unitary(wanted), atol=1e-7)


PARAMETRIC = """
DECLARE ro BIT[2]
DECLARE theta REAL[2]
DECLARE beta REAL
RX(theta[0]) 0
RX(theta[1] + 2*beta) 1
MEASURE 0 ro[0]
MEASURE 1 ro[1]
"""


def test_a_program_runs_with_each_set_of_substitutions_in_turn() -> None:
    values = {"theta": [[0.0, math.pi], [math.pi, 0.0]], "beta": [[0.0], [math.pi]]}
    rows = run(PARAMETRIC, {"shots": 2, "substitutions": values})["ro"]
    assert rows == [[0, 1], [0, 1], [1, 0], [1, 0]]


def test_memory_without_a_value_is_zero() -> None:
    assert run(PARAMETRIC) == {"ro": [[0, 0]]}


def test_unknown_qvm_instruction_fails_as_recorded() -> None:
    text = "a\n\nDECLARE ro BIT[2]\n\nH 0\nCNOT 0 1\n\nMEASURE 0 ro[0]\nMEASURE 1 ro[1]\n"
    with pytest.raises(ProgramError) as caught:
        run(text)
    assert caught.value.code == "InvalidInputData"
    assert caught.value.message == (
        "QVM reported a problem running your program: error when calling QVM: failed to perform "
        "multishot: Encountered the invalid instruction\n\n    a\n\nwhich could not be executed "
        "because the operator a is not known"
    )


@pytest.mark.parametrize(
    "text",
    [
        "CNOT 0 0",
        "CNOT 0",
        "RX 0",
        "RX(pi/0) 0",
        "RX(theta) 0",
        "MEASURE 0 ro[0]",
        "DECLARE ro BIT[1]; MEASURE 0 ro[1]",
        "DECLARE ro BIT[1000000]",
        "DECLARE ro QUBIT",
        "H 0 extra",
        "H $",
        "DEFGATE A:\n    1, 0\n    0, 1",
        "JUMP @a",
        "; ".join(f"CNOT 0 {qubit}" for qubit in range(1, 30)),
    ],
)
def test_a_bad_program_fails_as_invalid_input(text: str) -> None:
    with pytest.raises(ProgramError) as caught:
        run(text)
    assert caught.value.code == "InvalidInputData"


@pytest.mark.parametrize(
    "values",
    [[], {"theta": 1}, {"theta": [[1.0]], "beta": []}, {"theta": [["x"]]}, {"theta": [1]}],
    ids=str,
)
def test_invalid_substitutions_fail_as_invalid_input(values: Any) -> None:
    with pytest.raises(ProgramError, match="substitutions"):
        run(PARAMETRIC, {"substitutions": values or "none"})


WORDS = st.sampled_from(
    [
        *("H", "CNOT", "RX", "(", ")", "0", "1", "pi", "/", "[", "]", "\n", ";", "DAGGER"),
        *("DECLARE", "ro", "BIT", "REAL", "theta", "MEASURE", "RESET", "HALT", "PRAGMA", "#"),
    ]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(WORDS, max_size=15).map(" ".join) | st.text(max_size=20))
def test_any_payload_runs_or_fails_with_a_program_error(text: str) -> None:
    with contextlib.suppress(ProgramError):
        run(text)


def test_rows_of_many_registers_count_towards_the_budget() -> None:
    registers = "".join(f"DECLARE r{number} BIT[1]\n" for number in range(100))
    with pytest.raises(ProgramError, match="more memory than one job may"):
        run(registers, {"shots": 200_000})
