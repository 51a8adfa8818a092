"""Files of circuits: their content decides what they are."""

from __future__ import annotations

from pathlib import Path

import cirq
import pytest
import sympy

from cirq_azure_sessions.cli.circuit_file import parse_circuit, read_circuit

BELL = """
// A comment before the version.
OPENQASM 2.0;
include "qelib1.inc";
qreg q[2];
creg c[2];
h q[0];
cx q[0], q[1];
measure q -> c;
"""


def circuit() -> cirq.Circuit:
    a, b = cirq.LineQubit.range(2)
    return cirq.Circuit(cirq.X(a) ** sympy.Symbol("t"), cirq.CNOT(a, b), cirq.measure(a, b))


def test_cirqs_json_is_read(tmp_path: Path) -> None:
    cirq.to_json(circuit(), tmp_path / "circuit.json")
    assert read_circuit(tmp_path / "circuit.json") == circuit()


def test_a_frozen_circuit_is_a_circuit() -> None:
    assert parse_circuit(cirq.to_json(circuit().freeze())) == circuit()


def test_openqasm_is_read_whatever_the_file_is_called(tmp_path: Path) -> None:
    (tmp_path / "bell.txt").write_text(BELL)
    bell = read_circuit(tmp_path / "bell.txt")
    assert bell.all_measurement_key_names() == {"c_0", "c_1"}
    assert cirq.Simulator().run(bell, repetitions=50).multi_measurement_histogram(
        keys=["c_0", "c_1"]
    ).keys() <= {(0, 0), (1, 1)}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "neither Cirq JSON nor OpenQASM 2"),
        ("Remember the milk.", "neither Cirq JSON nor OpenQASM 2"),
        ("{", "Cirq cannot read this JSON"),
        ('{"shopping": "milk"}', "holds a dict, not a circuit"),
        ('{"cirq_type": "NoSuchType"}', "Cirq cannot read this JSON: Could not resolve"),
        ('{"cirq_type": "Circuit"}', "Cirq cannot read this JSON"),
        (cirq.to_json(cirq.LineQubit(1)), "holds a LineQubit, not a circuit"),
        ("OPENQASM 2.0; qreg q[1]; milk q;", 'This OpenQASM cannot be read: Unknown gate "milk"'),
    ],
)
def test_what_is_no_circuit_is_refused_with_what_to_do(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        parse_circuit(text)
    assert "\n" not in str(refused.value)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "circuit.bin").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ValueError, match="neither Cirq JSON nor OpenQASM 2"):
        read_circuit(tmp_path / "circuit.bin")


def test_a_missing_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_circuit(tmp_path / "nowhere.json")
