"""What the command line tells about costs, before anything is sent and while it is."""

from __future__ import annotations

import json
from pathlib import Path

import cirq
import pytest
import sympy
from click.testing import CliRunner, Result

from cirq_azure_sessions.cli import main
from cirq_azure_sessions.emulator import EmulatorServer

A, B = cirq.LineQubit.range(2)
THETA = sympy.Symbol("theta")
RABI = cirq.Circuit(cirq.rx(THETA)(A), cirq.CNOT(A, B), cirq.measure(A, B, key="m"))


@pytest.fixture
def circuit(tmp_path: Path) -> str:
    path = tmp_path / "rabi.json"
    cirq.to_json(RABI, path)
    return str(path)


def invoke(*words: str) -> Result:
    return CliRunner().invoke(main, words, env={"COLUMNS": "80"})


def test_sweep_cost_is_a_table_and_a_sentence(circuit: str) -> None:
    shown = invoke(
        "cost", circuit, "--sweep", "theta=0:3:20", "--target", "quantinuum.sim.h2-1e", "-r", "500"
    )
    assert shown.exit_code == 0
    # At theta = 0 the rotation is left out.
    table, sentence = shown.stdout.split("\n\n")
    assert table.splitlines() == [
        "jobs  shots  1q gates  2q gates  spam  each    EHQC",
        "  19    500         3         1     4  8.30  157.70",
        "   1    500         2         1     4  8.20    8.20",
    ]
    # The end depends on the date.
    assert " ".join(sentence.split()).startswith(
        "165.90 EHQC for 20 jobs on quantinuum.sim.h2-1e, according to "
        "https://learn.microsoft.com/azure/quantum/pricing (2025-09-17"
    )


def test_as_json_it_has_every_point_and_the_rates(circuit: str) -> None:
    shown = invoke(
        "cost", circuit, "--sweep", "theta=1:3:3", "--target", "ionq.qpu.aria-1", "--json"
    )
    values = json.loads(shown.stdout)
    assert (values["amount"], values["unit"], values["jobs"]) == (292.5, "USD", 3)
    assert values["points"] == [97.5] * 3
    assert values["minimum_applied"]
    assert values["rates"]["date"] == "2025-09-17"


def test_own_rates_replace_the_published_ones(circuit: str) -> None:
    words = ("cost", circuit, "--sweep", "theta=1:3:3", "--target")
    unknown = invoke(*words, "rigetti.qpu.ankaa-3")
    assert unknown.exit_code == 2
    assert "--rate seconds_per_shot=" in unknown.stderr
    known = invoke(*words, "rigetti.qpu.ankaa-3", "--rate", "seconds_per_shot=0.0002", "--json")
    assert json.loads(known.stdout)["amount"] == pytest.approx(3 * 20 * 0.02)
    euros = invoke(*words, "qci.machine1", "--rate", "unit=EUR", "--rate", "per_job=2")
    assert "6.00 EUR for 3 jobs" in euros.stdout


@pytest.mark.parametrize(
    "rate", ["per_job", "per_job=much", "per_job=-1", "per_night=3", "source=me"]
)
def test_invalid_rates_are_usage_errors(circuit: str, rate: str) -> None:
    shown = invoke("cost", circuit, "--sweep", "theta=1:3:3", "--rate", rate)
    assert shown.exit_code == 2
    assert "rate" in shown.stderr.splitlines()[-1]


def test_a_run_with_a_cap_shows_finished_points_and_fails(circuit: str) -> None:
    with EmulatorServer(key="emulator") as server:
        workspace = ("--emulator", server.endpoint, "--emulator-key", "emulator")
        words = ("run", circuit, *workspace, "--target", "ionq.qpu.aria-1", "--max-cost", "300")
        shown = invoke(*words, "--sweep", "theta=1:3:5", "--json")
        assert server.requests["submit"] == 3
    assert shown.exit_code == 1
    assert len(json.loads(shown.stdout)["points"]) == 3
    assert "292.50 of max_cost=300 USD are spent" in shown.stderr


def test_cap_without_known_costs_is_a_usage_error(circuit: str) -> None:
    with EmulatorServer(key="emulator") as server:
        workspace = ("--emulator", server.endpoint, "--emulator-key", "emulator")
        words = ("run", circuit, *workspace, "--target", "rigetti.qpu.ankaa-3", "--max-cost", "300")
        shown = invoke(*words, "--sweep", "theta=1:3:5")
    assert shown.exit_code == 2
    assert "max_cost needs known costs" in shown.stderr
