"""OpenQASM 2 on the emulator: the language, the bit orders, and how bad programs fail.

Gates are held against Cirq's, and the public circuits against Cirq's reading of them.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cirq
import numpy as np
import pytest
from emulated import run_program
from hypothesis import given, settings
from hypothesis import strategies as st
from shared import SHARED

from cirq_azure_sessions.emulator.programs import NOISELESS
from cirq_azure_sessions.openqasm import reader
from cirq_azure_sessions.openqasm.circuit import to_circuit
from cirq_azure_sessions.workspaces.local import ProgramError
from cirq_azure_sessions.workspaces.local.engine import Engine
from cirq_azure_sessions.workspaces.local.program import Budget

CIRCUITS = SHARED / "circuits"
EMULATOR, CHECKER = "quantinuum.sim.h2-1e", "quantinuum.sim.h2-1sc"

HEADER = 'OPENQASM 2.0; include "qelib1.inc"; '
HQS_HEADER = 'OPENQASM 2.0; include "hqslib1.inc"; '


def run(
    program: str,
    *,
    shots: int = 20,
    target: str = EMULATOR,
    params: Mapping[str, Any] | None = None,
    seed: int = 1,
    **options: Any,
) -> dict[str, list[str]]:
    """Runs a program, without noise unless told otherwise."""
    output = run_program(
        target=target,
        provider="quantinuum",
        input_format="honeywell.openqasm.v1",
        output_format="honeywell.quantum-results.v1",
        payload=program.encode(),
        input_params={"count": shots} if params is None else params,
        rng=np.random.default_rng(seed),
        **{"noise": NOISELESS, **options},
    )
    registers: dict[str, list[str]] = json.loads(output.content)
    return registers


def outcomes(program: str, **options: Any) -> set[tuple[str, ...]]:
    """The different outcomes of a program, each with one string a register."""
    return set(zip(*run(HEADER + program, **options).values(), strict=True))


def unitary(program: str, qubits: int) -> np.ndarray[Any, Any]:
    """What the emulator makes of a program of gates, its first qubit the most significant bit."""
    declared = re.findall(r"qreg (\w+)\[(\d+)\]", program)
    line = [cirq.NamedQubit(f"{name}_{i}") for name, n in declared for i in range(int(n))]
    assert len(line) == qubits
    made = cirq.Circuit(step.operations for step in reader.read(program).statements)
    return made.unitary(qubit_order=line, qubits_that_should_be_present=line)


def assert_gate(call: str, wanted: cirq.Gate, header: str = HEADER) -> None:
    """Checks a gate on all of its qubits, up to a global phase: emulated, and as Cirq's."""
    size = wanted.num_qubits()
    operands = ",".join(f"q[{index}]" for index in range(size))
    program = f"{header} qreg q[{size}]; {call} {operands};"
    actual = unitary(program, size)
    assert cirq.allclose_up_to_global_phase(actual, cirq.unitary(wanted), atol=1e-7)
    line = cirq.NamedQubit.range(size, prefix="q_")
    in_cirq = to_circuit(reader.read(program)).unitary(line)
    assert cirq.allclose_up_to_global_phase(in_cirq, cirq.unitary(wanted), atol=1e-7)


def u(theta: float, phi: float, lambda_: float) -> cirq.Gate:
    """The specification's U, in Cirq's gates: Rz(phi) Ry(theta) Rz(lambda), with a phase."""
    matrix = (
        cirq.unitary(cirq.rz(phi)) @ cirq.unitary(cirq.ry(theta)) @ cirq.unitary(cirq.rz(lambda_))
    )
    return cirq.MatrixGate(np.exp(0.5j * (phi + lambda_)) * matrix)


def phase(angle: float) -> cirq.Gate:
    return cirq.ZPowGate(exponent=angle / math.pi)


QELIB1: dict[str, cirq.Gate] = {
    "U(0.1,0.2,0.3)": u(0.1, 0.2, 0.3),
    "CX": cirq.CNOT,
    "u3(0.1,0.2,0.3)": u(0.1, 0.2, 0.3),
    "u(0.1,0.2,0.3)": u(0.1, 0.2, 0.3),
    "u2(0.2,0.3)": u(math.pi / 2, 0.2, 0.3),
    "u1(0.3)": phase(0.3),
    "u0(1)": cirq.I,
    "p(0.3)": phase(0.3),
    "id": cirq.I,
    "x": cirq.X,
    "y": cirq.Y,
    "z": cirq.Z,
    "h": cirq.H,
    "s": cirq.S,
    "sdg": cirq.S**-1,
    "t": cirq.T,
    "tdg": cirq.T**-1,
    "sx": cirq.X**0.5,
    "sxdg": cirq.X**-0.5,
    "rx(0.3)": cirq.rx(0.3),
    "ry(0.3)": cirq.ry(0.3),
    "rz(0.3)": cirq.rz(0.3),
    "cx": cirq.CNOT,
    "cy": cirq.ControlledGate(cirq.Y),
    "cz": cirq.CZ,
    "ch": cirq.ControlledGate(cirq.H),
    "cs": cirq.ControlledGate(cirq.S),
    "csdg": cirq.ControlledGate(cirq.S**-1),
    "csx": cirq.ControlledGate(cirq.X**0.5),
    "crx(0.3)": cirq.ControlledGate(cirq.rx(0.3)),
    "cry(0.3)": cirq.ControlledGate(cirq.ry(0.3)),
    "crz(0.3)": cirq.ControlledGate(cirq.rz(0.3)),
    "cu1(0.3)": cirq.ControlledGate(phase(0.3)),
    "cp(0.3)": cirq.ControlledGate(phase(0.3)),
    "cu3(0.1,0.2,0.3)": cirq.ControlledGate(u(0.1, 0.2, 0.3)),
    "cu(0.1,0.2,0.3,0.4)": cirq.ControlledGate(
        cirq.MatrixGate(np.exp(0.4j) * cirq.unitary(u(0.1, 0.2, 0.3)))
    ),
    "swap": cirq.SWAP,
    "cswap": cirq.CSWAP,
    "rxx(0.3)": cirq.XXPowGate(exponent=0.3 / math.pi),
    "rzz(0.3)": cirq.ZZPowGate(exponent=0.3 / math.pi),
    "ccx": cirq.CCX,
    "c3x": cirq.ControlledGate(cirq.X, 3),
    "c4x": cirq.ControlledGate(cirq.X, 4),
    "c3sqrtx": cirq.ControlledGate(cirq.X**0.5, 3),
}

HQSLIB1: dict[str, cirq.Gate] = {
    "U1q(0.3,0.2)": cirq.PhasedXPowGate(exponent=0.3 / math.pi, phase_exponent=0.2 / math.pi),
    "Rz(0.3)": cirq.rz(0.3),
    "rz(0.3)": cirq.rz(0.3),
    "ZZ": cirq.ZZPowGate(exponent=0.5),
    "ZZ()": cirq.ZZPowGate(exponent=0.5),
    "RZZ(0.3)": cirq.ZZPowGate(exponent=0.3 / math.pi),
    "Rxxyyzz(0.1,0.2,0.3)": cirq.MatrixGate(
        cirq.unitary(cirq.XXPowGate(exponent=0.1 / math.pi))
        @ cirq.unitary(cirq.YYPowGate(exponent=0.2 / math.pi))
        @ cirq.unitary(cirq.ZZPowGate(exponent=0.3 / math.pi))
    ),
}


@pytest.mark.parametrize(("call", "wanted"), QELIB1.items(), ids=QELIB1)
def test_qelib1_gate_matches_cirqs(call: str, wanted: cirq.Gate) -> None:
    assert_gate(call, wanted)


@pytest.mark.parametrize(("call", "wanted"), HQSLIB1.items(), ids=HQSLIB1)
def test_hqslib1_gate_matches_quantinuums_definition(call: str, wanted: cirq.Gate) -> None:
    assert_gate(call, wanted, HQS_HEADER)


@pytest.mark.parametrize(
    ("call", "definition"),
    [
        (
            "rccx a,b,c",
            "u2(0,pi) c; u1(pi/4) c; cx b,c; u1(-pi/4) c; cx a,c; u1(pi/4) c; cx b,c;"
            "u1(-pi/4) c; u2(0,pi) c;",
        ),
        (
            "rc3x a,b,c,d",
            "u2(0,pi) d; u1(pi/4) d; cx c,d; u1(-pi/4) d; u2(0,pi) d; cx a,d; u1(pi/4) d;"
            "cx b,d; u1(-pi/4) d; cx a,d; u1(pi/4) d; cx b,d; u1(-pi/4) d; u2(0,pi) d;"
            "u1(pi/4) d; cx c,d; u1(-pi/4) d; u2(0,pi) d;",
        ),
    ],
    ids=["rccx", "rc3x"],
)
def test_simplified_toffoli_gate_matches_its_definition(call: str, definition: str) -> None:
    operands = call.split()[1]
    size = operands.count(",") + 1
    registers = "".join(f"qreg {name}[1];" for name in operands.split(","))
    actual = unitary(HEADER + registers + call + ";", size)
    wanted = unitary(HEADER + registers + definition, size)
    assert cirq.allclose_up_to_global_phase(actual, wanted, atol=1e-7)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1+2*3", 7),
        ("-2^2", -4),
        ("2^-1", 0.5),
        ("2^3^2/2^8", 2),
        ("(1+2)*3", 9),
        ("8/4/2", 1),
        ("1-2-3", -4),
        ("--1", 1),
        ("3*-2", -6),
        ("pi/2", math.pi / 2),
        ("sin(pi/6)+cos(0)", 1.5),
        ("tan(0.5)", math.tan(0.5)),
        ("exp(ln(2.5))", 2.5),
        ("sqrt(2)*sqrt(2)", 2),
        ("1e-3+.5+2.", 2.501),
    ],
)
def test_a_parameter_may_be_any_expression_of_the_language(expression: str, value: float) -> None:
    assert_gate(f"rz({expression})", cirq.rz(value))


def test_a_defined_gate_takes_parameters_and_qubits_in_its_own_order() -> None:
    program = """
        gate turn(a, b) first, second {
            rx(a/2) second; barrier first, second; cp(-b) second, first;
        }
        gate both(t) x, y, z { turn(t, 2*t) z, x; turn(1, pi) y, x; }
        qreg q[3];
        both(0.3) q[2], q[0], q[1];
    """
    x, y, z = cirq.LineQubit(2), cirq.LineQubit(0), cirq.LineQubit(1)
    wanted = cirq.Circuit(
        cirq.rx(0.15)(x),
        cirq.CZ(x, z) ** (-0.6 / math.pi),
        cirq.rx(0.5)(x),
        cirq.CZ(x, y) ** -1,
    )
    assert cirq.allclose_up_to_global_phase(
        unitary(HEADER + program, 3), wanted.unitary(qubit_order=[y, z, x]), atol=1e-7
    )


def test_a_defined_gate_may_replace_an_included_one_and_be_empty() -> None:
    assert outcomes("gate x a {} qreg q[1]; creg c[1]; x q[0]; measure q -> c;") == {("0",)}


def test_the_highest_bit_of_a_register_comes_first() -> None:
    program = "qreg q[3]; creg c[3]; x q[1]; cx q[1],q[2]; measure q -> c;"
    assert outcomes(program) == {("110",)}


def test_registers_come_in_the_order_of_their_declaration() -> None:
    program = "creg b[1]; qreg q[2]; creg a[2]; x q[0]; measure q -> a; measure q[0] -> b[0];"
    assert list(run(HEADER + program)) == ["b", "a"]
    assert outcomes(program) == {("1", "01")}


def test_bits_that_nothing_is_measured_into_are_zero() -> None:
    assert outcomes("qreg q[2]; creg c[3]; x q; measure q[1] -> c[1];") == {("010",)}


def test_a_gate_is_broadcast_over_registers_and_single_qubits_with_them() -> None:
    program = "qreg a[1]; qreg b[2]; qreg c[2]; creg m[5]; x a; cx a[0],b; x c[1]; cx c,b;"
    measured = "measure a[0] -> m[0]; measure b[0] -> m[1]; measure b[1] -> m[2];"
    rest = "measure c[0] -> m[3]; measure c[1] -> m[4];"
    assert outcomes(program + measured + rest) == {("10011",)}


def test_a_condition_reads_the_whole_register_with_index_0_as_the_lowest_bit() -> None:
    program = """
        qreg q[3]; creg c[2]; creg d[1];
        x q[1]; measure q[1] -> c[1];
        if(c==1) x q[2];
        measure q[2] -> d[0];
        if(c==2) x q[2];
        if(d==1) x q[2];
        measure q[2] -> d[0];
    """
    assert outcomes(program) == {("10", "1")}


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("c==2", True),
        ("c!=2", False),
        ("c<3", True),
        ("c<=2", True),
        ("c>2", False),
        ("c>=2", True),
        ("c[1]==1", True),
        ("c[0]==1", False),
        ("c==99999999999999999999999", False),
    ],
)
def test_a_condition_may_compare_as_quantinuum_allows(condition: str, holds: bool) -> None:
    program = "qreg q[3]; creg c[2]; creg d[1]; x q[1]; measure q[1] -> c[1];"
    ending = f"if({condition}) x q[2]; measure q[2] -> d[0];"
    assert outcomes(program + ending) == {("10", str(int(holds)))}


def test_a_condition_on_a_register_of_more_bits_than_a_machine_word() -> None:
    program = "qreg q[2]; creg c[70]; creg d[1]; x q[0]; measure q[0] -> c[69];"
    ending = f"if(c=={1 << 69}) x q[1]; measure q[1] -> d[0];"
    assert {d for _, d in outcomes(program + ending)} == {"1"}


def test_condition_of_a_broadcast_measurement_is_evaluated_once() -> None:
    program = "qreg q[2]; creg c[2]; x q; if(c==0) measure q -> c;"
    assert outcomes(program) == {("11",)}


def test_teleportation_moves_a_state_by_two_measurements() -> None:
    program = """
        qreg q[3]; creg a[1]; creg b[1]; creg out[1];
        u3(0.3,0.2,0.1) q[0];
        h q[1]; cx q[1],q[2]; cx q[0],q[1]; h q[0];
        measure q[0] -> a[0]; measure q[1] -> b[0];
        if(b==1) x q[2];
        if(a==1) z q[2];
        u3(-0.3,-0.1,-0.2) q[2];
        measure q[2] -> out[0];
    """
    found = run(HEADER + program, shots=200)
    assert set(found["out"]) == {"0"}
    assert set(zip(found["a"], found["b"], strict=True)) == {
        (first, second) for first in "01" for second in "01"
    }


def test_a_reset_disentangles_a_qubit_and_leaves_its_partner_random() -> None:
    program = "qreg q[2]; creg c[2]; h q[0]; cx q[0],q[1]; reset q[0]; measure q -> c;"
    assert outcomes(program, shots=100) == {("00",), ("10",)}


def test_a_measured_qubit_continues_from_its_measured_state() -> None:
    program = """
        qreg q[1]; creg a[1]; creg b[1]; creg c[1];
        h q[0]; measure q[0] -> a[0]; measure q[0] -> b[0]; x q[0]; measure q[0] -> c[0];
    """
    assert outcomes(program, shots=100) == {("0", "0", "1"), ("1", "1", "0")}


def test_of_two_measurements_into_one_bit_the_last_counts() -> None:
    program = "qreg q[2]; creg c[1]; x q[0]; measure q[0] -> c[0]; measure q[1] -> c[0];"
    assert outcomes(program) == {("0",)}
    again = "x q[1]; measure q[1] -> c[0]; x q[1]; measure q[0] -> c[0]; measure q[1] -> c[0];"
    assert outcomes("qreg q[2]; creg c[1];" + again) == {("0",)}


def test_a_measurement_kept_by_a_condition_is_not_overwritten_from_before() -> None:
    program = "qreg q[2]; creg c[1]; x q[0]; measure q[1] -> c[0]; if(c==0) measure q[0] -> c[0];"
    assert outcomes(program) == {("1",)}


def test_correlations_between_shots_of_different_registers_are_kept() -> None:
    program = "qreg q[2]; creg a[1]; creg b[1]; h q[0]; cx q[0],q[1]; measure q[0] -> a[0];"
    found = run(HEADER + program + "measure q[1] -> b[0];", shots=200)
    assert found["a"] == found["b"]
    assert set(found["a"]) == {"0", "1"}


def test_shots_are_unordered() -> None:
    found = run(HEADER + "qreg q[1]; creg c[1]; h q[0]; measure q -> c;", shots=200)["c"]
    assert found not in (sorted(found), sorted(found, reverse=True))


@pytest.mark.parametrize(
    ("params", "shots"),
    [({}, 1), ({"count": 7}, 7), ({"shots": 8}, 8), ({"shots": 9, "count": 7}, 9)],
)
def test_the_number_of_shots_has_two_names_and_a_default(
    params: dict[str, int], shots: int
) -> None:
    found = run(HEADER + "qreg q[1]; creg c[1];", params=params)
    assert len(found["c"]) == shots


def test_syntax_checker_returns_zeros() -> None:
    program = HEADER + "qreg q[56]; creg c[2]; x q; h q[0]; measure q[0] -> c[0];"
    assert run(program, target=CHECKER, shots=3) == {"c": ["00", "00", "00"]}
    with pytest.raises(ProgramError):
        run(HEADER + "x q[0];", target=CHECKER)


def test_the_same_random_numbers_give_the_same_result() -> None:
    program = HEADER + "qreg q[1]; creg c[1]; h q[0]; measure q -> c;"
    first, again, other = (run(program, shots=100, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def expect_share(found: Counter[str], outcome: str, probability: float) -> None:
    """Checks a frequency to six standard deviations: a false alarm in 5e8."""
    shots = found.total()
    deviation = math.sqrt(probability * (1 - probability) / shots)
    assert abs(found[outcome] / shots - probability) < 6 * deviation


NOISY = (
    HEADER
    + """
    qreg q[2]; creg c[2];
    h q[0]; cx q[0],q[1]; ry(0.4) q[1]; cx q[1],q[0]; t q[0]; h q[0];
    measure q -> c;
"""
)


def test_noise_is_depolarizing_after_gates_and_a_flip_at_readout() -> None:
    """Cirq's density matrix simulator with the same channels gives the distribution."""
    p1, p2, flips = 0.05, 0.1, (0.02, 0.08)
    params = {"count": 100_000, "error-params": {"p1": p1, "p2": p2, "p_meas": list(flips)}}
    found = Counter(run(NOISY, params=params)["c"])
    a, b = line = cirq.LineQubit.range(2)
    noisy = cirq.Circuit()
    gates = (cirq.H(a), cirq.CNOT(a, b), cirq.ry(0.4)(b), cirq.CNOT(b, a), cirq.T(a), cirq.H(a))
    for gate in gates:
        size = len(gate.qubits)
        noisy.append([gate, cirq.depolarize((p1, p2)[size - 1], n_qubits=size).on(*gate.qubits)])
    final = cirq.DensityMatrixSimulator(dtype=np.complex128).simulate(noisy, qubit_order=line)
    weights = np.diag(final.final_density_matrix).real
    confusion = np.array([[1 - flips[0], flips[1]], [flips[0], 1 - flips[1]]])
    read = np.kron(confusion, confusion) @ weights
    for index, probability in enumerate(read):
        expect_share(found, f"{index:02b}"[::-1], probability)


def test_noise_applies_to_mid_circuit_measurements_and_resets() -> None:
    params = {"count": 100_000, "error-params": {"p1": 0, "p2": 0, "p_meas": [0.1, 0.2]}}
    program = (
        HEADER
        + """
        qreg q[2]; creg c[1]; creg d[1];
        x q[0]; measure q[0] -> c[0]; if(c==1) x q[1]; reset q[0]; measure q[0] -> c[0];
        measure q[1] -> d[0];
    """
    )
    found = run(program, params=params)
    expect_share(Counter(found["c"]), "1", 0.1)
    # The flip was wrongly left out in a fifth of the runs, and then the readout errs again.
    expect_share(Counter(found["d"]), "1", 0.8 * 0.8 + 0.2 * 0.1)


def test_a_toffoli_gate_has_an_error_on_each_of_its_qubits() -> None:
    params = {"count": 100_000, "error-params": {"p2": 0.3, "p_meas": 0}}
    program = HEADER + "qreg q[3]; creg c[3]; ccx q[0],q[1],q[2]; measure q -> c;"
    expect_share(Counter(run(program, params=params)["c"]), "000", (1 - 0.3 * 2 / 3) ** 3)


X_ONLY = HEADER + "qreg q[1]; creg c[1];" + "x q[0];" * 400 + "measure q -> c;"


def test_emulators_have_the_noise_of_their_machines_which_can_be_disabled() -> None:
    for target in (EMULATOR, "quantinuum.qpu.h2-1", "quantinuum.sim.h1-1e-preview"):
        assert set(run(X_ONLY, target=target, shots=5000, noise=None)["c"]) == {"0", "1"}
    silent = {"count": 5000, "error-model": False}
    assert set(run(X_ONLY, params=silent, noise=None)["c"]) == {"0"}
    assert set(run(X_ONLY, shots=5000, noise=NOISELESS)["c"]) == {"0"}


@pytest.mark.parametrize(
    "rates", [{"p1": 2}, {"p2": "much"}, {"p_meas": [0.1]}, [], {"p1": math.nan}]
)
def test_invalid_error_rates_fail(rates: Any) -> None:
    with pytest.raises(ProgramError, match="error"):
        run(X_ONLY, params={"error-params": rates})


def public_circuits() -> list[Any]:
    """The public circuits; none where they are not at hand."""
    return sorted(CIRCUITS.glob("*.qasm")) or [
        pytest.param(None, marks=pytest.mark.skip("../shared/circuits is not here"))
    ]


@pytest.mark.parametrize("path", public_circuits(), ids=lambda path: path and path.stem)
def test_a_public_circuit_has_the_distribution_that_cirqs_reading_gives_it(path: Path) -> None:
    text = path.read_text()
    if path.stem.startswith("vqe_uccsd"):
        # These measure registers that they never declare.
        with pytest.raises(ProgramError, match="there is no such register as q"):
            run(text)
        return
    program = reader.read(text)
    circuit = to_circuit(program)
    conditions = any(step.condition for step in program.statements)
    gates = [each for step in program.statements for each in step.operations]
    if not conditions and circuit.are_all_measurements_terminal():
        check_exactly([gate for gate in gates if not cirq.is_measurement(gate)], circuit, text)
    else:
        check_samples(text, circuit)


def check_exactly(gates: list[cirq.Operation], circuit: cirq.Circuit, text: str) -> None:
    declared = re.findall(r"qreg\s+(\w+)\s*\[(\d+)\]", text)
    line = [cirq.NamedQubit(f"{name}_{i}") for name, size in declared for i in range(int(size))]
    numbers = {qubit: cirq.LineQubit(number) for number, qubit in enumerate(line)}
    gates = [gate.transform_qubits(numbers) for gate in gates]
    unmeasured = cirq.drop_terminal_measurements(circuit)
    state = cirq.Simulator(dtype=np.complex128).simulate(unmeasured, qubit_order=line[::-1])
    wanted = np.abs(state.final_state_vector) ** 2
    found = np.zeros(len(wanted))
    engine = Engine(NOISELESS, np.random.default_rng(1), Budget())
    for outcome, probability in engine.probabilities(gates).items():
        found[outcome] = probability
    assert np.abs(found - wanted).max() < 1e-7


def check_samples(text: str, circuit: cirq.Circuit) -> None:
    """Compares the sampled bits of both, each frequency to within 5.5 standard deviations.

    With some 30 outcomes a circuit that is a false alarm in a million.
    """
    shots = 600
    result = cirq.Simulator(seed=3).run(circuit, repetitions=shots)
    found = run(text, shots=shots)
    mine = Counter(zip(*found.values(), strict=True))
    theirs: Counter[tuple[str, ...]] = Counter()
    for shot in range(shots):
        theirs[
            tuple(cirq_register(result, name, len(bits[0]), shot) for name, bits in found.items())
        ] += 1
    for outcome in mine | theirs:
        deviation = math.sqrt(mine[outcome] + theirs[outcome])
        assert abs(mine[outcome] - theirs[outcome]) < 5.5 * deviation


def cirq_register(result: cirq.Result, name: str, width: int, shot: int) -> str:
    bits = (result.records[f"{name}_{index}"][shot, -1, 0] for index in reversed(range(width)))
    return "".join(map(str, bits))


BAD_PROGRAMS = {
    "empty": "",
    "no header": "qreg q[1];",
    "OpenQASM 3": "OPENQASM 3.0; qubit q;",
    "another include": 'OPENQASM 2.0; include "stdgates.inc";',
    "a path": 'OPENQASM 2.0; include "/etc/passwd";',
    "no include": "OPENQASM 2.0; qreg q[1]; x q[0];",
    "a strange character": HEADER + "qreg q[1]; x q[0] $;",
    "no semicolon": HEADER + "qreg q[1]",
    "no such register": HEADER + "x q[0];",
    "no such gate": HEADER + "qreg q[1]; wiggle q[0];",
    "no such element": HEADER + "qreg q[1]; x q[1];",
    "an empty register": HEADER + "qreg q[0];",
    "a name twice": HEADER + "qreg q[1]; creg q[1];",
    "too few parameters": HEADER + "qreg q[1]; rx q[0];",
    "too many parameters": HEADER + "qreg q[1]; rx(1,2) q[0];",
    "too few qubits": HEADER + "qreg q[2]; cx q[0];",
    "a qubit twice": HEADER + "qreg q[2]; cx q[0],q[0];",
    "a qubit twice in a definition": HEADER + "gate g a { cx a,a; }",
    "a qubit of no one": HEADER + "gate g a { x b; }",
    "a parameter of no one": HEADER + "gate g(t) a { rx(s) a; }",
    "a name twice in a definition": HEADER + "gate g(a) a { }",
    "a gate within itself": HEADER + "gate g a { g a; }",
    "a name for a parameter": HEADER + "qreg q[1]; rx(theta) q[0];",
    "registers of two sizes": HEADER + "qreg a[2]; qreg b[3]; cx a,b;",
    "a measurement of two sizes": HEADER + "qreg a[2]; creg c[3]; measure a -> c;",
    "an opaque gate": HEADER + "opaque magic(t) a; qreg q[1]; magic(1) q[0];",
    "a division by zero": HEADER + "qreg q[1]; rx(1/0) q[0];",
    "a logarithm of zero": HEADER + "qreg q[1]; rx(ln(0)) q[0];",
    "a root of a negative": HEADER + "qreg q[1]; rx(sqrt(-1)) q[0];",
    "an overflow": HEADER + "qreg q[1]; rx(2^99999) q[0];",
    "a tower of powers": HEADER + "qreg q[1]; rx(9^9^9^9) q[0];",
    "an infinite number": HEADER + "qreg q[1]; rx(1e999) q[0];",
    "nested parentheses": HEADER + "qreg q[1]; rx(" + "(" * 5_000 + "1" + ")" * 5_000 + ") q[0];",
    "nested functions": HEADER + "qreg q[1]; rx(" + "sin(" * 5_000 + "1" + ")" * 5_000 + ") q[0];",
    "nested powers": HEADER + "qreg q[1]; rx(" + "1^" * 5_000 + "1) q[0];",
    "a condition on qubits": HEADER + "qreg q[1]; if(q==1) x q[0];",
    "a condition on a condition": HEADER + "qreg q[1]; creg c[1]; if(c==1) if(c==0) x q[0];",
    "a huge broadcast": HEADER + "qreg q[1000000000]; h q;",
    "a huge measurement": HEADER + "qreg q[1000000000]; creg c[1000000000]; measure q -> c;",
    "a huge number": HEADER + "qreg q[" + "9" * 100_000 + "];",
    "a huge index": HEADER + "qreg q[1]; x q[99999999999999999999];",
    "more qubits than can be simulated": HEADER + "qreg a[56]; qreg b[1]; cx b,a;",
}


@pytest.mark.parametrize("program", BAD_PROGRAMS.values(), ids=BAD_PROGRAMS)
def test_a_bad_program_fails_as_invalid_input(program: str) -> None:
    with pytest.raises(ProgramError) as caught:
        run(program)
    assert caught.value.code == "InvalidInputData"


def test_an_error_names_its_line() -> None:
    with pytest.raises(ProgramError, match="Line 3, column 1: there is no gate wiggle"):
        run('OPENQASM 2.0;\ninclude "qelib1.inc"; qreg q[1];\nwiggle q[0];')


def test_exponential_definitions_are_counted_before_expansion() -> None:
    doubling = "gate g0 a {} " + "".join(
        f"gate g{n} a {{ g{n - 1} a; g{n - 1} a; }} " for n in range(1, 60)
    )
    with pytest.raises(ProgramError, match="more work than one job may"):
        run(HEADER + doubling + "qreg q[1]; g59 q[0];")
    # Nothing is wrong with the definitions as such.
    assert reader.read(HEADER + doubling).statements == []


def test_nesting_depth_of_definitions_is_limited() -> None:
    tower = "gate g0 a {} " + "".join(f"gate g{n} a {{ g{n - 1} a; }} " for n in range(1, 5_000))
    with pytest.raises(ProgramError, match="too many definitions"):
        run(HEADER + tower + "qreg q[1]; g4999 q[0];")


def test_long_sum_is_not_nested() -> None:
    assert_gate("rz(" + "1+" * 20_000 + "0.5)", cirq.rz(20_000.5))


def test_an_opaque_gate_may_be_declared() -> None:
    assert outcomes("opaque magic(a,b) c,d; qreg q[1]; creg c[1]; measure q -> c;") == {("0",)}


def test_a_machine_full_of_idle_qubits_is_simulated_without_them() -> None:
    program = "qreg q[56]; creg c[56]; h q[3]; cx q[3],q[55]; measure q -> c;"
    low, high = "0" * 56, f"{1 << 55 | 1 << 3:056b}"
    assert outcomes(program, shots=100) == {(low,), (high,)}


def test_text_that_is_not_utf8_fails() -> None:
    with pytest.raises(ProgramError, match="UTF-8"):
        run_program(
            target=EMULATOR,
            provider="quantinuum",
            input_format="honeywell.openqasm.v1",
            output_format="honeywell.quantum-results.v1",
            payload=b"OPENQASM 2.0;\xff",
            input_params={},
            rng=np.random.default_rng(1),
        )


WORDS = st.sampled_from(
    [
        *("OPENQASM", "2.0", ";", "include", '"qelib1.inc"', "qreg", "creg", "gate", "opaque"),
        *("q", "c", "g", "a", "b", "x", "cx", "rx", "U", "CX", "measure", "reset", "if", "barrier"),
        *("[", "]", "(", ")", "{", "}", ",", "->", "==", "+", "-", "*", "/", "^"),
        *("0", "1", "2", "pi", "sin", "ln", "1e9"),
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(WORDS, max_size=25).map(" ".join) | st.text(max_size=30))
def test_any_payload_runs_or_fails_with_a_program_error(text: str) -> None:
    with contextlib.suppress(ProgramError):
        run(HEADER + "qreg q[2]; creg c[2]; " + text, shots=2)


STEPS = st.sampled_from(
    [
        *(
            "h q[0];",
            "h q[1];",
            "cx q[0],q[2];",
            "cx q[2],q[1];",
            "ry(0.7) q[2];",
            "t q[0];",
            "reset q[1];",
        ),
        *("measure q[0] -> c[0];", "measure q[1] -> c[1];", "measure q[2] -> c[0];"),
        *("if(c==1) x q[1];", "if(c==2) h q[2];", "if(c==0) measure q[1] -> c[1];"),
    ]
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(STEPS, min_size=3, max_size=9))
def test_a_random_program_with_feedback_has_the_distribution_of_its_branches(
    steps: list[str],
) -> None:
    """Each frequency within 6 standard deviations of what following all branches gives."""
    body = "".join(steps)
    exact = follow_branches(body)
    shots = 3_000
    found = Counter(run(HEADER + "qreg q[3]; creg c[2];" + body, shots=shots)["c"])
    assert set(found) <= set(exact)
    for outcome, probability in exact.items():
        deviation = math.sqrt(probability * (1 - probability) / shots)
        # Rounding leaves certain outcomes a little short of certain.
        assert abs(found[outcome] / shots - probability) < 6 * deviation + 1e-6


def follow_branches(body: str) -> dict[str, float]:
    """The exact distribution, from a density matrix for each content of the register."""
    line = cirq.LineQubit.range(3)

    def matrix(op: cirq.Operation) -> np.ndarray[Any, Any]:
        return cirq.Circuit(op).unitary(qubit_order=line, qubits_that_should_be_present=line)

    def projector(qubit: int, bit: int) -> np.ndarray[Any, Any]:
        return matrix_of(np.diag([1 - bit, bit]), qubit)

    def matrix_of(small: np.ndarray[Any, Any], qubit: int) -> np.ndarray[Any, Any]:
        parts = [small if index == qubit else np.eye(2) for index in range(3)]
        return np.kron(np.kron(parts[0], parts[1]), parts[2])

    gates = {
        "h q[0]": matrix(cirq.H(line[0])),
        "h q[1]": matrix(cirq.H(line[1])),
        "h q[2]": matrix(cirq.H(line[2])),
        "x q[1]": matrix(cirq.X(line[1])),
        "t q[0]": matrix(cirq.T(line[0])),
        "ry(0.7) q[2]": matrix(cirq.ry(0.7)(line[2])),
        "cx q[0],q[2]": matrix(cirq.CNOT(line[0], line[2])),
        "cx q[2],q[1]": matrix(cirq.CNOT(line[2], line[1])),
    }
    start = np.zeros((8, 8), dtype=complex)
    start[0, 0] = 1
    branches = {0: start}
    for step in filter(None, body.split(";")):
        after: dict[int, np.ndarray[Any, Any]] = {}
        for register, rho in branches.items():
            action = step
            if step.startswith("if(c=="):
                value, action = step.removeprefix("if(c==").split(") ", 1)
                if register != int(value):
                    after[register] = after.get(register, 0) + rho
                    continue
            if action.startswith("measure"):
                qubit, bit = int(action[10]), int(action[18])
                for result in (0, 1):
                    key = register & ~(1 << bit) | result << bit
                    kraus = projector(qubit, result)
                    after[key] = after.get(key, 0) + kraus @ rho @ kraus
            elif action.startswith("reset"):
                lower = matrix_of(np.array([[0, 1], [0, 0]]), 1)
                zero = projector(1, 0)
                after[register] = after.get(register, 0) + zero @ rho @ zero + lower @ rho @ lower.T
            else:
                unitary_ = gates[action]
                after[register] = after.get(register, 0) + unitary_ @ rho @ unitary_.conj().T
        branches = after
    weights = {f"{register:02b}": min(np.trace(rho).real, 1) for register, rho in branches.items()}
    return {outcome: float(weight) for outcome, weight in weights.items() if weight > 1e-12}


def test_values_of_many_registers_count_towards_the_budget() -> None:
    registers = "".join(f"creg c{number}[1]; " for number in range(100))
    with pytest.raises(ProgramError, match="more memory than one job may"):
        run(f"OPENQASM 2.0; qreg q[1]; {registers}", shots=200_000)


def test_barriers_and_declarations_cost_only_their_tokens() -> None:
    # On all qubits there may be: writing them out would take minutes.
    program = "OPENQASM 2.0; qreg q[900000]; " + "barrier q; " * 1_000
    program += "".join(f"qreg q{number}[1]; " for number in range(20_000))
    assert reader.read(program).statements == []
