"""OpenQASM 2 as a circuit: in the program's order, and with the library's phases."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Iterator

import cirq
import numpy as np
import pytest
from shared import SHARED

from cirq_azure_sessions.emulator.programs import NOISELESS
from cirq_azure_sessions.openqasm import reader
from cirq_azure_sessions.openqasm.circuit import to_circuit
from cirq_azure_sessions.workspaces.local import ProgramError
from cirq_azure_sessions.workspaces.local.engine import Engine
from cirq_azure_sessions.workspaces.local.program import Budget

CIRCUITS = SHARED / "circuits"
# Both measure a register q that they never declare.
NOT_PROGRAMS = ("vqe_uccsd_n6.qasm", "vqe_uccsd_n8.qasm")
HEADER = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[3];\ncreg c[3];\n'

public_files = pytest.mark.skipif(not CIRCUITS.is_dir(), reason="needs the public circuits")


def read_openqasm(text: str) -> cirq.Circuit:
    return to_circuit(reader.read(text))


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
    program = reader.read(text)
    names = [key for bits in program.bits.values() for key in bits]
    rng = np.random.default_rng(2)
    bits = Engine(NOISELESS, rng, Budget()).sample(program.statements, names, shots)
    columns = bits[:, [names.index(key) for key in keys]]
    return Counter("".join(map(str, row)) for row in columns)


@public_files
@pytest.mark.parametrize("name", [name for name in files() if name not in NOT_PROGRAMS])
def test_public_files_give_the_results_of_the_emulator(name: str) -> None:
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
    with pytest.raises(ProgramError, match=f"Line {line}, column 9: .* no such register as q"):
        read_openqasm(text)


# Gates


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


def test_inverse_functions_are_read_as_other_readers_do() -> None:
    assert_same(
        "rx(asin(0.5)) q[0]; ry(acos(0.25)) q[0]; rz(2 * atan(-3)) q[0];",
        f"rx({math.asin(0.5)}) q[0]; ry({math.acos(0.25)}) q[0]; rz({2 * math.atan(-3)}) q[0];",
    )


def test_a_parameter_may_have_the_name_of_an_inverse_function() -> None:
    assert_same("gate turn(atan) x { rx(atan + atan(1)) x; } turn(1) q[0];", "rx(1 + pi / 4) q[0];")


def test_a_qubit_may_have_the_name_of_a_gate() -> None:
    assert_same("gate flip t, x { t t; x x; } flip q[0], q[1];", "t q[0]; x q[1];")


def test_a_program_may_redefine_a_library_gate() -> None:
    assert_same("gate cu1(a) x, y { cx x, y; } cu1(1) q[0], q[1];", "cx q[0], q[1];")


def test_custom_gates_on_registers_are_applied_to_each_qubit() -> None:
    assert_same("gate flip a { x a; } flip q;", "x q[0]; x q[1]; x q[2];")


def test_barriers_opaque_gates_and_comments_are_skipped() -> None:
    assert_same(
        "opaque magic(a) x, y; // x q[0];\nbarrier q; x q[1]; barrier q[0],\n q[1];"
        "gate pair a, b { x a; barrier a, b; x b; } pair q[0], q[2];",
        "x q[0]; x q[1]; x q[2];",
    )


def test_register_may_be_redeclared_unchanged() -> None:
    assert_same("qreg q[3]; x q[1]; creg c[3];", "x q[1];")


@pytest.mark.parametrize("again", ["qreg q[4];", "creg q[3];", "qreg c[3];"])
def test_register_may_not_be_redeclared_with_changes(again: str) -> None:
    with pytest.raises(ProgramError, match=r"Line 5, column 6: . is declared already"):
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
        ("nosuch q[0];", "Line 5, column 1: there is no gate nosuch."),
        ("\n\nx q[7];", "Line 7, column 6: the register q has no element 7."),
        (
            "gate flip a { x a; }\n  flip q[0], q[1];",
            "Line 6, column 3: the gate takes 1 qubit, not 2.",
        ),
        ("rz q[0];", "Line 5, column 1: the gate takes 1 parameter, not 0."),
        ("gate g a { x b; }", "Line 5, column 12: the definition has no qubit b."),
        ("h c[0];", "Line 5, column 3: c is a register of bits, not of qubits."),
        (
            "gate g(pi) a { rz(pi) a; }",
            "Line 5, column 7: pi is a word of the language; use another name.",
        ),
        ("qreg if[2];", "Line 5, column 6: if is a word of the language; use another name."),
        ("gate own a { own a; }", "Line 5, column 14: there is no gate own."),
        ("x q[0]", "Line 5, column 7: there should be ',' or ';' instead of the end."),
        ("if (c == 1) if (c == 1) x q;", "Line 5, column 13: there is no gate if."),
        ("x q[0]; é", "Line 5, column 9: unexpected character 'é'."),
        ("rx(ln(0)) q[0];", "Line 5, column 1: a parameter cannot be computed."),
        ("x q;\n  u3(0, 1/0, 0) q[0];", "Line 6, column 3: a parameter cannot be computed."),
        (
            "gate g(t) a { rx(1/t) a; }\ng(0) q[0];",
            "Line 6, column 1: a parameter cannot be computed.",
        ),
        ("rx(exp(9)^exp(9)) q[0];", "Line 5, column 1: a parameter cannot be computed."),
        ("cx q[0],q[0];", "Line 5, column 1: a gate has to have different qubits."),
    ],
)
def test_an_error_has_its_location_and_reason(body: str, reason: str) -> None:
    with pytest.raises(ProgramError) as refused:
        read(body)
    assert refused.value.message == reason


# The program's order


def test_a_bit_is_read_before_it_is_measured_again() -> None:
    records = measured(
        "x q[0]; x q[0]; x q[0]; x q[0]; x q[1]; measure q[1] -> c[0];"
        "if (c == 1) x q[0]; if (c == 1) x q[1]; measure q[1] -> c[0]; measure q[0] -> c[1];"
    )
    assert records == {"c_0": [[1], [0]], "c_1": [[1]]}


def test_operations_that_share_nothing_share_a_moment() -> None:
    assert len(read("x q; measure q -> c; if (c == 7) x q[0];")) == 3


WIRES = 5
WIDTHS = {"a": 1, "b": 2, "wide": 3, "all": WIRES}
PLACES = [(name, index) for name, width in WIDTHS.items() for index in range(width)]


LIBRARY_AND_GATES = """
include "qelib1.inc";
// größer: -> { } ; ist nur Text
opaque magic(a,b) x,y;
gate turn(t) x { rx(3*t/-3+2*t) x; }
gate one(t,u) x,y,z { barrier x,y; cx x,y; turn(t*cos(0)) z; }
gate both(t) x,y,z { one(t-pi,sqrt(2)) z,y,x; one(pi/2^1+t/4,-t) x,y,z; ccx x,y,z; }
"""


def classical_program(draw: random.Random) -> list[str]:
    """Statements of a random program without chance, some under conditions."""
    statements = []
    for _ in range(40):
        name, index = draw.choice(PLACES)
        wires = [f"q[{wire}]" for wire in draw.sample(range(WIRES), 3)]
        statement = draw.choice(
            [
                f"x {wires[0]}",
                f"cx {wires[0]},{wires[1]}",
                f"ccx {wires[0]},{wires[1]},{wires[2]}",
                f"measure {wires[0]} -> {name}[{index}]",
                f"measure {wires[0]} -> {name}[{index}]",
                f"reset {wires[0]}",
                f"both(2*pi) {','.join(wires)}",
                draw.choice(["x q", "cx other[0],q", f"cx {wires[0]},other", "reset other"]),
                draw.choice([f"barrier {wires[0]},other", "measure q -> all"]),
            ]
        )
        if draw.random() < 0.5:
            register = draw.choice(list(WIDTHS))
            comparison = "==" if draw.random() < 0.9 else draw.choice(["!=", "<", "<=", ">", ">="])
            value = draw.randrange((1 << WIDTHS[register]) + 1)
            statement = f"if({register}{comparison}{value}) {statement}"
        statements.append(statement)
    return statements + [f"measure q[{wire}] -> out[{wire}]" for wire in range(WIRES)]


def interpret(statements: list[str]) -> list[int]:
    """What the program measures at its end, one statement after the other."""
    # The register `other` is the last wire.
    wires = [0] * (WIRES + 1)
    bits = dict.fromkeys([*PLACES, *(("out", wire) for wire in range(WIRES))], 0)
    registers = {"q": range(WIRES), "other": range(WIRES, WIRES + 1)}
    for statement in statements:
        if condition := re.match(r"if\((\w+)(\W+)(\d+)\) ", statement):
            name, comparison, value = condition.groups()
            number = sum(bits[name, index] << index for index in range(WIDTHS[name]))
            if not eval(f"{number}{comparison}{value}"):
                continue
            statement = statement[condition.end() :]
        operands = [
            registers[name][int(index or 0) :][: 1 if index else None]
            for name, index in re.findall(r"\b(q|other)(?:\[(\d)\])?", statement)
        ]
        count = max(map(len, operands))
        for place in range(count):
            own = [operand[place % len(operand)] for operand in operands]
            if statement.startswith("measure"):
                name, index = re.findall(r"-> (\w+)(?:\[(\d)\])?", statement)[0]
                bits[name, int(index or place)] = wires[own[0]]
            elif statement.startswith("reset"):
                wires[own[0]] = 0
            elif statement.startswith("both"):
                x, y, z = (wires[wire] for wire in own)
                y ^= z ^ (x ^ 1)
                wires[own[0]], wires[own[1]], wires[own[2]] = x ^ 1, y, z ^ 1 ^ ((x ^ 1) & y)
            elif not statement.startswith("barrier"):
                wires[own[-1]] ^= all(wires[control] for control in own[:-1])
    return [bits["out", wire] for wire in range(WIRES)]


def declarations() -> Iterator[str]:
    yield f"OPENQASM 2.0; {LIBRARY_AND_GATES} qreg q[{WIRES}]"
    yield f"qreg other[1]; creg out[{WIRES}]"
    yield from (f"creg {name}[{width}]" for name, width in WIDTHS.items())


@pytest.mark.parametrize("seed", range(120))
def test_random_classical_program_matches_an_interpreter(seed: int) -> None:
    statements = classical_program(random.Random(seed))
    circuit = read_openqasm("".join(f"{line};\n" for line in [*declarations(), *statements]))
    records = cirq.Simulator().run(circuit).records
    assert [int(records[f"out_{wire}"][0, -1, 0]) for wire in range(WIRES)] == interpret(statements)


# Conditional measurements


def test_skipped_conditional_measurement_keeps_the_old_bit() -> None:
    ready = "x q[0]; measure q[0] -> c[0]; x q[0];"
    assert measured(ready + "if (c == 1) measure q[0] -> c[0];")["c_0"] == [[1], [0]]
    assert measured(ready + "if (c == 2) measure q[0] -> c[0];") == {"c_0": [[1]]}
    assert measured(ready + "if (c == 0) measure q[0] -> c[0];")["c_0"] == [[1], [1]]


def test_a_conditional_measurement_of_a_register_is_decided_once() -> None:
    records = measured("x q; measure q[0] -> c[0]; if (c == 1) measure q -> c;")
    assert [records[key][-1] for key in ("c_0", "c_1", "c_2")] == [[1], [1], [1]]


def test_a_conditional_measurement_collapses_its_qubit() -> None:
    circuit = read(
        "x q[0]; measure q[0] -> c[0]; h q[1]; if (c == 1) measure q[1] -> c[1];"
        "measure q[1] -> c[2];"
    )
    records = cirq.Simulator(seed=1).run(circuit, repetitions=50).records
    assert (records["c_1"] == records["c_2"]).all()
    assert 0 < records["c_1"].sum() < 50


def test_a_conditional_reset_is_a_reset() -> None:
    ready = "x q[0]; x q[1]; measure q[0] -> c[0];"
    assert measured(ready + "if (c == 1) reset q[1]; measure q[1] -> c[1];")["c_1"] == [[0]]
    assert measured(ready + "if (c == 0) reset q[1]; measure q[1] -> c[1];")["c_1"] == [[1]]


# Work and memory


def test_conditions_on_many_bits_have_a_budget() -> None:
    wide = 'OPENQASM 2.0; include "qelib1.inc"; qreg q[4096]; creg c[4096]; measure q -> c;'
    with pytest.raises(ProgramError, match="more work than one job may"):
        reader.read(wide + "if(c==1) x q[0];" * 50_000)


def test_a_condition_compares_all_bits_of_the_widest_register() -> None:
    wide = 'OPENQASM 2.0; include "qelib1.inc"; qreg q[4096]; creg c[4096]; measure q[0] -> c[0];'
    circuit = read_openqasm(wide + f"if(c=={(1 << 4096) - 1}) x q[0]; if(c==0) x q[1];")
    assert len([*circuit.all_operations()]) == 2


def test_formulas_in_definitions_have_a_budget() -> None:
    long = "gate g(t) a { rx(" + "+".join(["t"] * 10_000) + ") a; }"
    with pytest.raises(ProgramError, match="more work than one job may"):
        read(long + "g(1) q;" * 1_000)


@pytest.mark.parametrize("size", ["1" + "0" * 30, "9" * 1_000])
def test_a_register_larger_than_any_machine_is_refused(size: str) -> None:
    with pytest.raises(ProgramError, match="more than"):
        reader.read(f"OPENQASM 2.0; qreg q[{size}];")


def test_a_definition_of_many_qubits_is_read_once() -> None:
    qubits = ",".join(f"a{i}" for i in range(20_000))
    reader.read(HEADER + f"gate g {qubits} {{ {'x a7;' * 20_000} }}")
