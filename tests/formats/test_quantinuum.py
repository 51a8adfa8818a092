"""Quantinuum's OpenQASM 2 and registers of strings."""

from __future__ import annotations

import json
import re

import cirq
import numpy as np
import pytest
import sympy
from cirq.contrib.qasm_import import circuit_from_qasm
from formats_lab import (
    QUANTINUUM,
    assert_cirqs_answer,
    assert_same_distribution,
    assert_same_form,
    job,
    measured_at_end,
    measured_in_between,
    outcomes,
    payload,
    run,
    simulate,
)
from hypothesis import given, settings

from cirq_azure_sessions.errors import ResultFormatError, UnsupportedProgram
from cirq_azure_sessions.formats import format_for

A, B, C = cirq.LineQubit.range(3)


# Payloads


def test_every_measured_bit_has_a_register_of_its_own() -> None:
    circuit = cirq.Circuit(
        cirq.H(A), cirq.CNOT(A, B), cirq.rz(0.25)(B), cirq.measure(B, A, key="two words")
    )
    sent = job(QUANTINUUM, circuit, repetitions=500)
    assert sent.payload.decode() == (
        "OPENQASM 2.0;\n"
        'include "qelib1.inc";\n'
        "qreg q[2];\n"
        "creg m0[1];\n"
        "creg m1[1];\n"
        "h q[0];\n"
        "cx q[0],q[1];\n"
        "rz(0.2500000000000000) q[1];\n"
        "measure q[1] -> m0[0];\n"
        "measure q[0] -> m1[0];\n"
    )
    # The recorded service took `count`, the SDK of today sends `shots`.
    assert sent.input_params == {"count": 500, "shots": 500}


def test_single_bit_conditions_compare_that_bit() -> None:
    circuit = cirq.Circuit(
        cirq.measure(A, key="a"),
        cirq.measure(B, key="b", invert_mask=(True,)),
        cirq.X(C).with_classical_controls("a"),
        cirq.Z(C).with_classical_controls("b"),
        cirq.measure(C, key="c"),
    )
    lines = payload(QUANTINUUM, circuit).splitlines()
    assert "if(m0==1) x q[2];" in lines
    assert "if(m1==0) z q[2];" in lines


def test_conditions_on_several_bits_have_a_register_to_compare() -> None:
    circuit = cirq.Circuit(
        cirq.X(A),
        cirq.measure(A, B, key="ab"),
        cirq.X(C).with_classical_controls(sympy.Eq(sympy.Symbol("ab"), 2)),
        cirq.measure(C, key="c"),
    )
    text = payload(QUANTINUUM, circuit)
    assert "creg c0[2];" in text
    # The register's bit 0 is A, the most significant digit of the key.
    assert "measure q[0] -> c0[0];" in text
    assert "if(c0==1) x q[2];" in text
    assert run(QUANTINUUM, circuit).measurements["c"].tolist() == [[1]]


def test_a_measured_ion_is_prepared_again_before_it_is_used() -> None:
    circuit = cirq.Circuit(cirq.measure(A, key="m"), cirq.H(A), cirq.measure(A, key="n"))
    assert payload(QUANTINUUM, circuit).splitlines()[5:] == [
        "measure q[0] -> m0[0];",
        "reset q[0];",
        "if(m0==1) x q[0];",
        "h q[0];",
        "measure q[0] -> m1[0];",
    ]
    with_reset = cirq.Circuit(
        cirq.H(A), cirq.measure(A, key="m"), cirq.reset(A), cirq.measure(A, key="n")
    )
    assert payload(QUANTINUUM, with_reset).count("reset") == 1


def test_numbers_have_no_exponents_which_openqasm_2_may_not_read() -> None:
    circuit = cirq.Circuit(cirq.rx(1e-7)(A), cirq.rx(-1e5)(A), cirq.measure(A))
    text = payload(QUANTINUUM, circuit)
    assert "rx(0.0000001000000000) q[0];" in text
    assert "rx(-100000.0000000000000000) q[0];" in text


@pytest.mark.parametrize("name", ["q\n; x q[0];\nq", "q\r; x q[0];", 'q"; //', "q\u2028x q[0];"])
def test_names_are_never_written_into_a_program(name: str) -> None:
    qubit = cirq.NamedQubit(name)
    circuit = cirq.Circuit(
        cirq.measure(qubit, key=name), cirq.CircuitOperation(cirq.FrozenCircuit(cirq.Z(qubit)))
    )
    assert payload(QUANTINUUM, circuit) == payload(
        QUANTINUUM, cirq.Circuit(cirq.measure(A, key="m"), cirq.Z(A))
    )
    result = run(QUANTINUUM, circuit, repetitions=3)
    assert result.measurements[name].tolist() == [[0]] * 3


@settings(max_examples=20, derandomize=True, deadline=None)
@given(measured_in_between())
def test_programs_contain_no_names_of_the_user(circuit: cirq.Circuit) -> None:
    words = set(re.findall(r"[^\W\d_]+", payload(QUANTINUUM, circuit)))
    ours = {"OPENQASM", "include", "qelib", "inc", "qreg", "creg", "q", "m", "c", "measure", "if"}
    gates = {"reset", "rx", "ry", "rz", "x", "y", "z", "h", "s", "sdg", "t", "tdg"}
    assert words <= ours | gates | {"cx", "cz", "ccx", "swap"}


def test_without_compiling_a_foreign_gate_is_refused() -> None:
    circuit = cirq.Circuit(cirq.ISWAP(A, B), cirq.measure(A, B))
    with pytest.raises(UnsupportedProgram, match=r"ISWAP.*use compile=True"):
        payload(QUANTINUUM, circuit, compile=False)


def test_cirq_itself_reads_the_program() -> None:
    circuit = cirq.testing.random_circuit(4, 10, 0.8, random_state=2)
    circuit.append(cirq.measure(*sorted(circuit.all_qubits()), key="m"))
    read = circuit_from_qasm(payload(QUANTINUUM, circuit))
    cirq.testing.assert_allclose_up_to_global_phase(
        cirq.unitary(cirq.drop_terminal_measurements(read)),
        cirq.unitary(cirq.drop_terminal_measurements(circuit)),
        atol=1e-6,
    )


# What is refused


def test_condition_on_a_confused_key_is_refused() -> None:
    measurement = cirq.measure(A, key="m", confusion_map={(0,): np.array([[0.9, 0.1], [0.2, 0.8]])})
    circuit = cirq.Circuit(
        measurement, cirq.X(B).with_classical_controls("m"), cirq.measure(B, key="n")
    )
    with pytest.raises(UnsupportedProgram, match="confusion map the client applies only"):
        payload(QUANTINUUM, circuit)


def test_loop_without_a_fixed_end_is_refused() -> None:
    loop = cirq.CircuitOperation(
        cirq.FrozenCircuit(cirq.H(A), cirq.measure(A, key="m")),
        use_repetition_ids=False,
        repeat_until=cirq.KeyCondition(cirq.MeasurementKey("m")),
    )
    with pytest.raises(UnsupportedProgram, match=r"repeat a subcircuit until m; .*local.simulator"):
        payload(QUANTINUUM, cirq.Circuit(loop))


def test_key_of_changing_width_is_refused() -> None:
    circuit = cirq.Circuit(cirq.measure(A, key="m"), cirq.measure(A, B, key="m"))
    with pytest.raises(UnsupportedProgram, match="different numbers of qubits"):
        payload(QUANTINUUM, circuit)


# Circuits


def test_default_keys_of_all_kinds_of_qubits() -> None:
    qubits = [cirq.LineQubit(7), cirq.GridQubit(1, 2), cirq.NamedQubit("a b")]
    circuit = cirq.Circuit(cirq.X(qubits[1]), (cirq.measure(q) for q in qubits))
    result = run(QUANTINUUM, circuit)
    assert {key: int(array[0, 0]) for key, array in result.measurements.items()} == {
        "q(7)": 0,
        "q(1, 2)": 1,
        "a b": 0,
    }
    assert_same_form(result, simulate(circuit))


def test_keys_equal_after_renaming_stay_apart() -> None:
    circuit = cirq.Circuit(
        cirq.X(A), cirq.measure(A, key="a b"), cirq.measure(B, key="a_b"), cirq.measure(C, key="m0")
    )
    result = run(QUANTINUUM, circuit)
    assert {key: int(array[0, 0]) for key, array in result.measurements.items()} == {
        "a b": 1,
        "a_b": 0,
        "m0": 0,
    }


def test_bits_of_a_key_keep_their_order() -> None:
    circuit = cirq.Circuit(cirq.X(A), cirq.I(C), cirq.measure(A, B, C, key="abc"))
    assert run(QUANTINUUM, circuit).measurements["abc"].tolist() == [[1, 0, 0]]
    backwards = cirq.Circuit(cirq.X(A), cirq.I(C), cirq.measure(C, B, A, key="cba"))
    assert run(QUANTINUUM, backwards).measurements["cba"].tolist() == [[0, 0, 1]]


def test_repeated_key_keeps_all_its_records() -> None:
    circuit = cirq.Circuit(
        cirq.X(A), cirq.measure(A, key="m"), cirq.X(A), cirq.measure(A, key="m"), cirq.X(A)
    )
    result = run(QUANTINUUM, circuit, repetitions=2)
    assert result.records["m"].tolist() == [[[1], [0]]] * 2
    assert_same_form(result, simulate(circuit, repetitions=2))


def test_teleportation_has_cirqs_distribution() -> None:
    circuit = cirq.Circuit(
        cirq.ry(1.1)(A),
        cirq.H(B),
        cirq.CNOT(B, C),
        cirq.CNOT(A, B),
        cirq.H(A),
        cirq.measure(A, key="z"),
        cirq.measure(B, key="x"),
        cirq.X(C).with_classical_controls("x"),
        cirq.Z(C).with_classical_controls("z"),
        cirq.measure(C, key="out"),
    )
    result = run(QUANTINUUM, circuit, repetitions=800)
    assert_same_distribution(result, simulate(circuit, repetitions=800))


def _condition_circuit(*conditions: object) -> cirq.Circuit:
    """Every value of three measured bits, then an X under the conditions."""
    return cirq.Circuit(
        cirq.H.on_each(A, B, C),
        cirq.measure(A, B, key="ab", invert_mask=(True,)),
        cirq.measure(C, key="c"),
        cirq.measure(A, B, key="ab"),
        cirq.reset(C),
        cirq.X(C).with_classical_controls(*conditions),
        cirq.measure(C, key="out"),
    )


AB, C_KEY = sympy.symbols("ab c")
AB_BITS = sympy.IndexedBase("ab")


@pytest.mark.parametrize(
    "conditions",
    [
        ["ab"],
        ["c"],
        ["ab", "c"],
        [cirq.KeyCondition(cirq.MeasurementKey("ab"), index=0)],
        [sympy.Eq(AB, 2)],
        [AB > C_KEY],
        [sympy.Xor(AB_BITS[0], AB_BITS[1])],
        [cirq.BitMaskKeyCondition("ab", bitmask=1)],
        [cirq.BitMaskKeyCondition("ab", index=0, bitmask=2, target_value=2, equal_target=True)],
        [sympy.Eq(AB, 9)],
        [AB >= 0],
    ],
    ids=str,
)
def test_every_condition_that_cirq_knows(conditions: list[object]) -> None:
    circuit = _condition_circuit(*conditions)
    result = run(QUANTINUUM, circuit, repetitions=250)
    expected = simulate(circuit, repetitions=250)
    assert_same_distribution(result, expected)
    # On a noiseless machine the last bit is a function of the others: nothing new may turn up.
    assert set(outcomes(result)) == set(outcomes(expected))


def test_subcircuits_keep_their_paths() -> None:
    inner = cirq.FrozenCircuit(
        cirq.H(A), cirq.measure(A, key="m"), cirq.X(B).with_classical_controls("m")
    )
    circuit = cirq.Circuit(
        cirq.CircuitOperation(inner, repetitions=2, use_repetition_ids=True).with_tags("loop"),
        cirq.CircuitOperation(inner, measurement_key_map={"m": "n"}),
        cirq.measure(B, key="b"),
    )
    assert_cirqs_answer(QUANTINUUM, circuit, repetitions=250)


def test_gates_made_of_measurements_are_decomposed() -> None:
    class Parity(cirq.Gate):
        def _num_qubits_(self) -> int:
            return 3

        def _decompose_(self, qubits: tuple[cirq.Qid, ...]) -> cirq.OP_TREE:
            *data, ancilla = qubits
            yield cirq.reset(ancilla)
            yield [cirq.CNOT(q, ancilla) for q in data]
            yield cirq.measure(ancilla, key="parity")

    circuit = cirq.Circuit(cirq.X(A), cirq.X(C), Parity().on(A, B, C), cirq.measure(B, key="b"))
    result = run(QUANTINUUM, circuit, repetitions=2)
    assert result.measurements["parity"].tolist() == [[1], [1]]


def test_states_are_prepared_also_under_a_condition() -> None:
    prepare = cirq.StatePreparationChannel(np.array([0.6, 0, 0.48j, 0.64]))
    circuit = cirq.Circuit(
        prepare(B, A),
        cirq.measure(A, B, key="m"),
        cirq.Moment(prepare(A, C).with_classical_controls("m")),
        cirq.measure(A, B, C, key="n"),
    )
    assert_cirqs_answer(QUANTINUUM, circuit, repetitions=1000)


def test_controlled_subcircuit_is_controlled_gate_by_gate() -> None:
    inner = cirq.CircuitOperation(cirq.FrozenCircuit(cirq.X(B), cirq.X(C)))
    circuit = cirq.Circuit(
        cirq.H(A),
        cirq.measure(A, key="m"),
        inner.with_classical_controls("m"),
        cirq.measure(B, C, key="n"),
    )
    result = run(QUANTINUUM, circuit, repetitions=100)
    assert set(outcomes(result)) == {(0, 0, 0), (1, 1, 1)}


def test_pauli_measurement_in_between() -> None:
    circuit = cirq.Circuit(
        cirq.H(A),
        cirq.CNOT(A, B),
        cirq.PauliMeasurementGate([cirq.X, cirq.X], key="xx").on(A, B),
        cirq.PauliMeasurementGate(cirq.DensePauliString("ZZ", coefficient=-1), key="zz").on(A, B),
        cirq.measure(A, B, key="m"),
    )
    assert_cirqs_answer(QUANTINUUM, circuit, repetitions=250)


@pytest.mark.parametrize("in_between", [False, True])
def test_confusion_map_is_applied_in_the_order_of_cirqs_own_sampling(in_between: bool) -> None:
    confusion = {(0,): np.array([[0.8, 0.2], [0.1, 0.9]]), (1,): np.array([[1, 0], [1, 0]])}
    circuit = cirq.Circuit(
        cirq.ry(0.9)(A),
        cirq.X(B),
        cirq.measure(A, B, key="m", invert_mask=(True, True), confusion_map=confusion),
        cirq.X(A) if in_between else (),
    )
    assert_cirqs_answer(QUANTINUUM, circuit, repetitions=800)


@settings(max_examples=15, derandomize=True, deadline=None)
@given(measured_at_end())
def test_terminal_measurements_have_cirqs_distribution(circuit: cirq.Circuit) -> None:
    assert_cirqs_answer(QUANTINUUM, circuit, repetitions=300)


@settings(max_examples=15, derandomize=True, deadline=None)
@given(measured_in_between())
def test_mid_circuit_measurements_have_cirqs_distribution(circuit: cirq.Circuit) -> None:
    assert_cirqs_answer(QUANTINUUM, circuit, repetitions=150)


# Results that are short, and broken ones


@pytest.mark.parametrize("shots", [0, 1, 2])
def test_shots_that_are_missing_are_lost_and_the_others_are_read(shots: int) -> None:
    sent = job(QUANTINUUM, cirq.Circuit(cirq.measure(A, B, key="m")), repetitions=3)
    output = json.dumps({"m0": ["0", "1"][:shots], "m1": ["1", "1"][:shots]}).encode()
    (result,) = format_for(QUANTINUUM).decode(output, sent.layout)
    assert result.measurements["m"].tolist() == [[0, 1], [1, 1]][:shots]
    assert result.records["m"].shape == (shots, 1, 2)
    assert result.lost_shots == 3 - shots


BROKEN: list[object] = [
    None,
    [],
    {},
    {"m0": ["0", "1"]},
    {"m0": "01", "m1": "01"},
    {"m0": ["0", "1"], "m1": ["0"]},
    {"m0": ["0", "1", "1"], "m1": ["0", "1", "1"]},
    {"m0": ["0", "2"], "m1": ["0", "1"]},
    {"m0": ["01", ""], "m1": ["0", "1"]},
    {"m0": [0, 1], "m1": [0, 1]},
    {"m0": ["0", None], "m1": ["0", "1"]},
    {"m0": [["0"], ["1"]], "m1": ["0", "1"]},
    {"m0": ["0", "1"], "m_1": ["0", "1"]},
]


@pytest.mark.parametrize("document", BROKEN, ids=str)
def test_broken_results_are_refused(document: object) -> None:
    sent = job(QUANTINUUM, cirq.Circuit(cirq.measure(A, B, key="m")), repetitions=2)
    with pytest.raises(ResultFormatError):
        format_for(QUANTINUUM).decode(json.dumps(document).encode(), sent.layout)


def test_additional_registers_are_ignored() -> None:
    sent = job(QUANTINUUM, cirq.Circuit(cirq.measure(A, key="m")), repetitions=2)
    output = json.dumps({"m0": ["0", "1"], "c0": ["00", "11"]}).encode()
    (result,) = format_for(QUANTINUUM).decode(output, sent.layout)
    assert result.measurements["m"].tolist() == [[0], [1]]
