"""OpenQASM 2 as a circuit: held to the public files, to matrices, and to a reader that shares no
line with it, the emulator's."""

from __future__ import annotations

import json
import math
from collections import Counter

import cirq
import numpy as np
import pytest
from shared import SHARED

from cirq_azure_sessions.cli.openqasm import read_openqasm
from cirq_azure_sessions.emulator.programs import openqasm as emulated
from cirq_azure_sessions.emulator.programs.noise import NOISELESS

CIRCUITS = SHARED / "circuits"
# Both measure a register q that they never declare.
NOT_PROGRAMS = ("vqe_uccsd_n6.qasm", "vqe_uccsd_n8.qasm")
HEADER = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[3];\ncreg c[3];\n'

public_files = pytest.mark.skipif(not CIRCUITS.is_dir(), reason="needs the public circuits")


def read(body: str) -> cirq.Circuit:
    return read_openqasm(HEADER + body)


def unitary_of(body: str) -> np.ndarray:
    """The unitary of a program on all three qubits, used or not."""
    qubits = [cirq.NamedQubit(f"q_{i}") for i in range(3)]
    return read(body).unitary(qubit_order=qubits, qubits_that_should_be_present=qubits)


def assert_same(body: str, other: str) -> None:
    cirq.testing.assert_allclose_up_to_global_phase(unitary_of(body), unitary_of(other), atol=1e-7)


def measured(body: str) -> dict[str, list[list[int]]]:
    """Every record of one run of a program without chance."""
    records = cirq.Simulator().run(read(body)).records
    return {key: record[0].tolist() for key, record in records.items()}


# Public files


def files() -> list[str]:
    return sorted(path.name for path in CIRCUITS.glob("*.qasm")) if CIRCUITS.is_dir() else []


def last_values(circuit: cirq.Circuit, shots: int) -> Counter[str]:
    """The last value of each bit, bits sorted by name."""
    records = cirq.Simulator(seed=1).run(circuit, repetitions=shots).records
    columns = [records[key][:, -1, 0] for key in sorted(records)]
    return Counter("".join(map(str, row)) for row in np.stack(columns, axis=1))


def emulated_values(text: str, keys: list[str], shots: int) -> Counter[str]:
    answer = emulated.run(
        "quantinuum.sim.h2-1e",
        text.encode(),
        {"shots": shots},
        NOISELESS,
        np.random.default_rng(2),
    )
    # A register's string has its highest bit first.
    registers = {name: [shot[::-1] for shot in s] for name, s in json.loads(answer).items()}
    places = [key.rsplit("_", 1) for key in keys]
    return Counter(
        "".join(registers[name][shot][int(bit)] for name, bit in places) for shot in range(shots)
    )


@public_files
@pytest.mark.parametrize("name", [name for name in files() if name not in NOT_PROGRAMS])
def test_public_files_give_what_another_reader_gives(name: str) -> None:
    """The false-alarm rate is below 1e-8 a file: McDiarmid's inequality for the total variation
    distance of two samples, over a bound of its expectation."""
    text = (CIRCUITS / name).read_text()
    circuit = read_openqasm(text)
    # What is measured on the way, Cirq runs shot by shot.
    shots = 2000 if circuit.are_all_measurements_terminal() else 200
    ours = last_values(circuit, shots)
    theirs = emulated_values(text, sorted(circuit.all_measurement_key_names()), shots)
    outcomes = ours | theirs
    distance = sum(abs(ours[outcome] - theirs[outcome]) for outcome in outcomes) / shots / 2
    common = np.array([ours[outcome] + theirs[outcome] for outcome in outcomes]) / shots / 2
    expected = np.sqrt(2 * common * (1 - common) / shots).sum() / 2
    assert distance < expected + math.sqrt(math.log(1e8) / shots)


@public_files
@pytest.mark.parametrize("name", NOT_PROGRAMS)
def test_a_register_that_is_not_declared_is_named_with_its_line(name: str) -> None:
    text = (CIRCUITS / name).read_text()
    line = text[: text.index("measure")].count("\n") + 1
    with pytest.raises(ValueError, match=f'Undefined quantum register "q" at line {line}'):
        read_openqasm(text)


# What Cirq's importer refuses or gets wrong


@pytest.mark.parametrize(
    ("gate", "expected"),
    [
        ("cu1(0.3)", cirq.CZ ** (0.3 / math.pi)),
        ("cu3(0.3, 1.1, -0.7)", (0.3, 1.1, -0.7, 0)),
        ("cu3(7.5, 1.1, -0.7)", (7.5, 1.1, -0.7, 0)),
        ("cu(0.3, 1.1, -0.7, 0.4)", (0.3, 1.1, -0.7, 0.4)),
    ],
)
def test_controlled_gates_have_the_phases_of_the_library(gate: str, expected: object) -> None:
    if isinstance(expected, tuple):
        a, b, d, phase = expected
        cos, sin = math.cos(a / 2), math.sin(a / 2)
        expected = np.eye(4, dtype=complex)
        expected[2:, 2:] = np.exp(1j * phase) * np.array(
            [[cos, -np.exp(1j * d) * sin], [np.exp(1j * b) * sin, np.exp(1j * (b + d)) * cos]]
        )
    else:
        expected = cirq.unitary(expected)
    cirq.testing.assert_allclose_up_to_global_phase(
        unitary_of(f"{gate} q[0], q[1];"), np.kron(expected, np.eye(2)), atol=1e-7
    )


def test_custom_gates_keep_their_angles() -> None:
    assert_same(
        "gate twist(a, b) x, y { u3(a, b / 2, -a * b) x; cx x, y; rz(sin(a)) y; }\n"
        "gate both(a) x, y { twist(a, a ^ 2) y, x; twist(-a, 1) x, y; }\n"
        "both(0.3 + 0.1) q[0], q[2];",
        "u3(0.4, 0.08, -0.064) q[2]; cx q[2], q[0]; rz(sin(0.4)) q[0];"
        "u3(-0.4, 0.5, 0.4) q[0]; cx q[0], q[2]; rz(sin(-0.4)) q[2];",
    )


def test_a_qubit_may_have_the_name_of_a_gate() -> None:
    assert_same("gate flip t, x { t t; x x; } flip q[0], q[1];", "t q[0]; x q[1];")


def test_a_program_may_define_a_gate_of_the_library_anew() -> None:
    assert_same("gate cu1(a) x, y { cx x, y; } cu1(1) q[0], q[1];", "cx q[0], q[1];")


def test_custom_gates_on_registers_are_applied_to_each_qubit() -> None:
    assert_same("gate flip a { x a; } flip q;", "x q[0]; x q[1]; x q[2];")


def test_barriers_opaque_gates_and_comments_are_passed_over() -> None:
    assert_same(
        "opaque magic(a) x, y; // x q[0];\nbarrier q; x q[1]; barrier q[0],\n q[1];"
        "gate pair a, b { x a; barrier a, b; x b; } pair q[0], q[2];",
        "x q[0]; x q[1]; x q[2];",
    )


def test_a_register_may_be_declared_again_as_it_was() -> None:
    assert_same("qreg q[3]; x q[1]; creg c[3];", "x q[1];")


@pytest.mark.parametrize("again", ["qreg q[4];", "creg q[3];", "qreg c[3];"])
def test_a_register_may_not_be_declared_again_otherwise(again: str) -> None:
    with pytest.raises(ValueError, match=r"already defined at line 5"):
        read(again)


def test_windows_line_ends_are_read() -> None:
    assert read_openqasm(HEADER.replace("\n", "\r\n") + "x q[0];\r\n") == read("x q[0];")


# Conditions


def test_a_conditional_gate_on_a_register_is_applied_to_each_qubit() -> None:
    records = measured("x q[0]; measure q[0] -> c[0]; if (c == 1) x q; measure q -> c;")
    assert records == {"c_0": [[1], [0]], "c_1": [[1]], "c_2": [[1]]}


def test_a_conditional_custom_gate_is_conditional_in_all_its_parts() -> None:
    gate = "gate flips a, b { x a; x b; } measure q[0] -> c[0]; "
    assert measured(gate + "if (c == 1) flips q[1], q[2]; measure q[2] -> c[2];")["c_2"] == [[0]]
    assert measured(gate + "if (c == 0) flips q[1], q[2]; measure q[2] -> c[2];")["c_2"] == [[1]]


def test_bits_that_nothing_has_measured_are_zero() -> None:
    assert measured("if (c == 0) x q[0]; measure q[0] -> c[0];") == {"c_0": [[1]]}
    assert measured("if (c == 1) x q[0]; measure q[0] -> c[0];") == {"c_0": [[0]]}


def test_a_number_too_large_for_its_register_is_never_met() -> None:
    assert measured("if (c == 8) x q[0]; measure q[0] -> c[0];") == {"c_0": [[0]]}


def test_a_condition_sees_the_latest_value() -> None:
    records = measured(
        "x q[0]; measure q[0] -> c[0]; x q[0]; measure q[0] -> c[0];"
        "if (c == 1) x q[1]; measure q[1] -> c[1];"
    )
    assert records == {"c_0": [[1], [0]], "c_1": [[0]]}


# Refusals


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("nosuch q[0];", 'Unknown gate "nosuch" at line 5'),
        ("\n\nx q[7];", "Out of bounds .* at line 7"),
        ("gate flip a { x a; } flip q[0], q[1];", "does not fit the definition of 'flip a;'"),
        ("gate own a { own a; } own q[0];", 'Unknown gate "own"'),
        ("rx(1 / 0) q[0];", "division by zero"),
        ("x q[0]", "Unexpected end of file"),
        ("if (c == 1) measure q -> c;", "Syntax error: 'measure'"),
    ],
)
def test_what_is_no_program_is_refused_with_the_reason(body: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read(body)
