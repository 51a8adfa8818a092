"""QIR programs and Azure's generic results."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import cirq
import numpy as np
import pytest
import sympy
from formats_lab import (
    QIR,
    assert_cirqs_answer,
    assert_same_distribution,
    decode,
    emulate,
    job,
    measured_at_end,
    measured_in_between,
    outcomes,
    payload,
    run,
    simulate,
    translation,
)
from hypothesis import given, settings

from cirq_azure_sessions.errors import ResultFormatError, UnsupportedProgram
from cirq_azure_sessions.formats import format_for
from cirq_azure_sessions.model import JobRequest, TargetStatus
from cirq_azure_sessions.results.azure_result import AzureResult

A, B, C = cirq.LineQubit.range(3)

ASYMMETRIC = cirq.Circuit(
    cirq.X(A), cirq.I(C), cirq.measure(A, B, key="ab"), cirq.measure(C, key="c")
)


# Payloads


def test_program_of_the_base_profile_is_qir_in_text() -> None:
    circuit = cirq.Circuit(
        cirq.H(A), cirq.CNOT(A, B), cirq.rx(0.25)(B), cirq.measure(B, A, key="two words")
    )
    sent = job(QIR, circuit, repetitions=500)
    body = [line.strip() for line in sent.payload.decode().splitlines() if "__qis__" in line]
    assert body[:6] == [
        "call void @__quantum__qis__h__body(%Qubit* inttoptr (i64 0 to %Qubit*))",
        "call void @__quantum__qis__cx__body(%Qubit* inttoptr (i64 0 to %Qubit*), "
        "%Qubit* inttoptr (i64 1 to %Qubit*))",
        "call void @__quantum__qis__rx__body(double 0.2500000000000000, "
        "%Qubit* inttoptr (i64 1 to %Qubit*))",
        "call void @__quantum__qis__m__body(%Qubit* inttoptr (i64 1 to %Qubit*), "
        "%Result* inttoptr (i64 0 to %Result*))",
        "call void @__quantum__qis__m__body(%Qubit* inttoptr (i64 0 to %Qubit*), "
        "%Result* inttoptr (i64 1 to %Result*))",
        "declare void @__quantum__qis__h__body(%Qubit*)",
    ]
    assert '"qir_profiles"="base_profile"' in sent.payload.decode()
    assert sent.input_params == {
        "entryPoint": "ENTRYPOINT__main",
        "arguments": [],
        "target_profile": "Base",
        "shots": 500,
        "count": 500,
    }


def test_classical_control_needs_the_adaptive_profile() -> None:
    circuit = cirq.Circuit(
        cirq.measure(A, key="m"), cirq.X(B).with_classical_controls("m"), cirq.measure(B, key="n")
    )
    assert job(QIR, circuit).input_params["target_profile"] == "Adaptive_RI"
    with pytest.raises(UnsupportedProgram, match="Base profile has no branches"):
        job(QIR, circuit, input_params={"target_profile": "Base"})


def guarded_size(num_gates: int, condition: sympy.Basic) -> int:
    """The length of a program with that many Toffoli gates under a condition on eight bits."""
    register, others = cirq.LineQubit.range(8), cirq.LineQubit.range(8, 11)
    toffoli = cirq.CCX(*others).with_classical_controls(condition)
    circuit = cirq.Circuit(cirq.measure(*register, key="m"), [toffoli] * num_gates)
    return len(payload(QIR, circuit + cirq.measure(*others, key="end")))


@pytest.mark.parametrize(
    "condition",
    [
        sympy.Symbol("m") >= 75,
        sympy.Eq(sympy.Symbol("m") % 3, 1),
        sympy.Xor(*[sympy.Ne(sympy.IndexedBase("m")[k], 0) for k in range(8)]),
    ],
)
def test_a_condition_is_evaluated_once_for_all_statements(condition: sympy.Basic) -> None:
    once, twice, thrice = (guarded_size(num_gates, condition) for num_gates in (1, 2, 3))
    # Each further gate adds its own statements, of which there are fifteen, and no more branches.
    assert abs((thrice - twice) - (twice - once)) < 500
    assert thrice < 30_000


def test_repeated_conditions_may_share_their_bits_with_others() -> None:
    m, n = sympy.symbols("m n")
    circuit = cirq.Circuit(cirq.X(A), cirq.measure(A, B, key="m"))
    for condition in (m >= 2, sympy.Eq(m, 1), m >= 2):
        circuit.append(cirq.SWAP(A, C).with_classical_controls(condition))
        circuit.append(cirq.X(B).with_classical_controls(sympy.Ne(m, 3)))
    circuit.append(cirq.measure(B, C, key="n"))
    circuit.append(cirq.X(A).with_classical_controls(sympy.Eq(m + n, 3)))
    circuit.append(cirq.measure(A, B, C, key="end"))
    assert run(QIR, circuit) == simulate(circuit)


MACHINE = "newcomer.qpu.one"
CONDITIONAL = cirq.Circuit(
    cirq.measure(A, key="m"), cirq.X(B).with_classical_controls("m"), cirq.measure(B, key="n")
)
REUSED = cirq.Circuit(cirq.measure(A, key="m"), cirq.H(A), cirq.measure(A, key="n"))


def check(
    circuit: cirq.Circuit, target_profile: str, num_qubits: int | None = None, **options: Any
) -> None:
    """What becomes of a circuit on a target that the service describes so."""
    sent = job(MACHINE, circuit, **options)
    request = JobRequest(
        *("id", MACHINE, "name", sent.payload, "qir.v1", "microsoft.quantum-results.v2"),
        input_params=sent.input_params,
        metadata=sent.metadata,
    )
    status = TargetStatus(MACHINE, "newcomer", target_profile=target_profile, num_qubits=num_qubits)
    format_for(MACHINE).check_target(request, status)


@pytest.mark.parametrize("profile", ["Base", "base", "QIR Base", "base_profile"])
def test_programs_beyond_a_targets_profile_are_refused(profile: str) -> None:
    check(ASYMMETRIC, profile)
    with pytest.raises(UnsupportedProgram, match="run it on a target that has them"):
        check(CONDITIONAL, profile)
    with pytest.raises(UnsupportedProgram, match=r'input_params=\{"target_profile": "Base"\}'):
        check(REUSED, profile)
    check(REUSED, profile, input_params={"target_profile": "Base"})


@pytest.mark.parametrize("profile", ["", "Adaptive_RI", "Adaptive_RIF", "Unrestricted", "news"])
def test_any_other_profile_of_a_target_takes_branches(profile: str) -> None:
    for circuit in (ASYMMETRIC, CONDITIONAL, REUSED):
        check(circuit, profile)


def test_qubits_count_as_the_compiled_program_needs_them() -> None:
    check(REUSED, "", num_qubits=1)
    with pytest.raises(UnsupportedProgram, match="at most 1 qubits and the circuit needs 2"):
        check(REUSED, "", num_qubits=1, input_params={"target_profile": "Base"})


def test_branches_are_refused_on_machines_that_are_documented_to_have_none() -> None:
    with pytest.raises(UnsupportedProgram, match="without branches"):
        job("rigetti.qpu.cepheus-1-36q", CONDITIONAL)
    wanted = {"target_profile": "Adaptive_RI"}
    assert job("rigetti.qpu.cepheus-1-36q", CONDITIONAL, input_params=wanted).payload
    assert job(QIR, CONDITIONAL).payload


def test_requested_profile_is_used() -> None:
    sent = job(QIR, ASYMMETRIC, input_params={"target_profile": "Adaptive_RIF"})
    assert '"qir_profiles"="adaptive_profile"' in sent.payload.decode()
    with pytest.raises(UnsupportedProgram, match="Adaptive_XY profile"):
        job(QIR, ASYMMETRIC, input_params={"target_profile": "Adaptive_XY"})


def test_angles_are_exact_and_in_their_places() -> None:
    turns = [0.1, -0.2, 1e-6, 0.1, 123.456]
    circuit = cirq.Circuit(
        *(cirq.rx(t)(q) for t, q in zip(turns, cirq.LineQubit.range(5), strict=True)),
        cirq.measure(*cirq.LineQubit.range(5)),
    )
    found = re.findall(r"double ([-\d.]+)", payload(QIR, circuit))
    assert [float(number) for number in found] == pytest.approx(turns, rel=1e-15, abs=1e-16)


def test_a_sweep_is_compiled_once() -> None:
    circuit = cirq.Circuit(cirq.rx(sympy.Symbol("t"))(A), cirq.measure(A, key="m"))
    sweep = translation(QIR, circuit, [{"t": 0.1 + k / 1000} for k in range(1000)])
    assert "double 1.0990000000000000" in sweep.job(999).payload.decode()


def test_names_are_never_written_into_a_program() -> None:
    name = 'q\n; x q[0]; // "\r\u2028'
    qubit = cirq.NamedQubit(name)
    circuit = cirq.Circuit(cirq.measure(qubit, key=name))
    assert payload(QIR, circuit) == payload(QIR, cirq.Circuit(cirq.measure(A, key="m")))


def test_translating_on_another_thread_leaves_qsharp_to_the_main_thread() -> None:
    script = (
        "import threading, cirq\n"
        "from cirq_azure_sessions.formats import format_for\n"
        "from cirq_azure_sessions.formats.translation import TranslationOptions\n"
        "circuit = cirq.Circuit(cirq.measure(cirq.q(0)))\n"
        "thread = threading.Thread(target=format_for('rigetti.sim.qvm').translate, args=(\n"
        "    circuit, [cirq.ParamResolver()], 1, TranslationOptions('rigetti.sim.qvm')))\n"
        "thread.start(); thread.join()\n"
        "from qdk import qsharp\n"
        "print(qsharp.eval('1 + 1'))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("2\n", "")


def test_without_qdk_the_error_names_the_extra() -> None:
    script = (
        "import sys; sys.modules['qdk'] = None\n"
        "import cirq\n"
        "from cirq_azure_sessions.formats import format_for\n"
        "from cirq_azure_sessions.formats.translation import TranslationOptions\n"
        "circuit = cirq.Circuit(cirq.measure(cirq.q(0)))\n"
        "format_for('rigetti.sim.qvm').translate(\n"
        "    circuit, [cirq.ParamResolver()], 1, TranslationOptions('rigetti.sim.qvm'))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "UnsupportedTarget" in done.stderr
    assert "pip install '.[qir]'" in done.stderr


# Circuits


def test_bits_keep_their_order() -> None:
    result = run(QIR, ASYMMETRIC)
    assert result.measurements["ab"].tolist() == [[1, 0]]
    assert result.measurements["c"].tolist() == [[0]]


def test_repeated_key_keeps_all_its_records() -> None:
    circuit = cirq.Circuit(cirq.X(A), cirq.measure(A, key="m"), cirq.measure(B, key="m"))
    result = run(QIR, circuit, repetitions=2)
    assert result.records["m"].tolist() == [[[1], [0]]] * 2


def test_subcircuits_pauli_measurements_and_confusion_maps() -> None:
    inner = cirq.FrozenCircuit(cirq.H(A), cirq.measure_single_paulistring(cirq.X(A), key="x"))
    confusion = {(0,): np.array([[0.8, 0.2], [0.1, 0.9]])}
    circuit = cirq.Circuit(
        cirq.CircuitOperation(inner, repetitions=2, use_repetition_ids=True),
        cirq.ry(1.0)(B),
        cirq.measure(B, key="b", invert_mask=(True,), confusion_map=confusion),
    )
    assert_cirqs_answer(QIR, circuit, repetitions=500)


def test_condition_on_a_key_of_two_qubits() -> None:
    circuit = cirq.Circuit(
        cirq.H.on_each(A, B),
        cirq.measure(A, B, key="ab", invert_mask=(True,)),
        cirq.rx(np.pi)(C).with_classical_controls("ab"),
        cirq.measure(C, key="c"),
    )
    result = run(QIR, circuit, repetitions=250)
    assert set(outcomes(result)) == set(outcomes(simulate(circuit, repetitions=250)))
    assert_same_distribution(result, simulate(circuit, repetitions=250))


@settings(max_examples=10, derandomize=True, deadline=None)
@given(measured_at_end())
def test_terminal_measurements_have_cirqs_distribution(circuit: cirq.Circuit) -> None:
    assert_cirqs_answer(QIR, circuit, repetitions=250)


@settings(max_examples=10, derandomize=True, deadline=None)
@given(measured_in_between())
def test_mid_circuit_measurements_have_cirqs_distribution(circuit: cirq.Circuit) -> None:
    assert_cirqs_answer(QIR, circuit, repetitions=200)


# Results


def read(document: Any, repetitions: int = 4) -> AzureResult:
    sent = job(QIR, ASYMMETRIC, repetitions=repetitions)
    return decode(QIR, sent, json.dumps(document).encode())


def v2(**members: Any) -> dict[str, Any]:
    return {"DataFormat": "microsoft.quantum-results.v2", "Results": [members]}


@pytest.mark.parametrize(
    "shot",
    [
        [1, 0, 0],
        [[1, 0], 0],
        {"Item1": [1, 0], "Item2": 0},
        {"Item2": 0, "Item1": {"Item1": 1, "Item2": 0}},
        [True, False, False],
        ["One", "Zero", "Zero"],
        ["1", "0", "0"],
        "[1, 0, 0]",
        "([1, 0], 0)",
        "(One, Zero, Zero)",
    ],
    ids=str,
)
def test_shots_come_in_many_shapes(shot: Any) -> None:
    result = read(v2(Shots=[shot] * 4))
    assert result.measurements["ab"].tolist() == [[1, 0]] * 4
    assert result.measurements["c"].tolist() == [[0]] * 4
    assert result.lost_shots == 0
    assert result.raw_shots is None


@pytest.mark.parametrize("mark", ["Loss", "-", None])
def test_lost_qubits_are_counted_and_their_shots_kept(mark: Any) -> None:
    shots = [[1, 0, 0], [1, mark, 0], [1, 0, 1], [mark, mark, mark]]
    result = read(v2(Shots=shots))
    assert result.measurements["c"].tolist() == [[0], [1]]
    assert result.repetitions == 2
    assert result.lost_shots == 2
    assert result.raw_shots == shots


ERROR = {"Error": {"Code": "0x20", "Name": "TestError", "Arg0": "99"}}


@pytest.mark.parametrize("spoiled", [ERROR, [1, ERROR, 0], "Error 0x20: TestError"], ids=str)
def test_a_shot_that_is_an_error_is_lost_and_the_others_are_read(spoiled: Any) -> None:
    shots = [[1, 0, 0], spoiled, [1, 0, 1], spoiled]
    result = read(v2(Shots=shots))
    assert result.measurements["c"].tolist() == [[0], [1]]
    assert result.lost_shots == 2
    assert result.raw_shots == shots


def test_errors_in_a_histogram_are_lost_shots() -> None:
    display = "Error 0x20: TestError"
    histogram = [
        {"Outcome": [1, 0, 0], "Display": "[1, 0, 0]", "Count": 3},
        {"Outcome": ERROR, "Display": display, "Count": 1},
    ]
    for document in (v2(Histogram=histogram), {"Histogram": ["[1, 0, 0]", 0.75, display, 0.25]}):
        result = read(document)
        assert outcomes(result) == {(1, 0, 0): 3}
        assert result.lost_shots == 1


@pytest.mark.parametrize("odd", [[1, 0, 2], [], [1, 0], [1, 0, "x"], {"A": 1}, "?"], ids=str)
def test_one_invalid_shot_loses_no_other(odd: Any) -> None:
    result = read(v2(Shots=[[1, 0, 0], odd, [1, 0, 1]]))
    assert result.measurements["c"].tolist() == [[0], [1]]
    assert result.lost_shots == 2


def test_missing_shots_are_counted() -> None:
    result = read(v2(Shots=[[1, 0, 0]] * 3))
    assert result.repetitions == 3
    assert result.lost_shots == 1


def test_all_shots_lost_keep_the_shape() -> None:
    result = read(v2(Shots=[["-", 0, 0]] * 4))
    assert result.records["ab"].shape == (0, 1, 2)
    assert result.lost_shots == 4


def test_histogram_of_counts_is_kept_as_it_is() -> None:
    histogram = [
        {"Outcome": [1, 0, 0], "Display": "[1, 0, 0]", "Count": 3},
        {"Outcome": [1, 0, 1], "Display": "[1, 0, 1]", "Count": 1},
    ]
    assert outcomes(read(v2(Histogram=histogram))) == {(1, 0, 0): 3, (1, 0, 1): 1}


def test_histogram_of_fractions_is_read_too() -> None:
    document = {"Histogram": ["[1, 0, 0]", 0.75, "[1, 0, 1]", 0.25]}
    assert outcomes(read(document)) == {(1, 0, 0): 3, (1, 0, 1): 1}


BROKEN: list[Any] = [
    None,
    [],
    {},
    {"Results": []},
    {"Results": [{}]},
    {"Results": [{}, {}]},
    {"Results": [None]},
    {"Results": {"Shots": []}},
    v2(Shots=[[1, 0, 0]] * 5),
    v2(Shots=[[1, 0]] * 4),
    v2(Shots=[[1, 0, 0, 0]] * 4),
    v2(Shots=[[1, 0, 2]] * 4),
    v2(Shots=[[1, 0, 300]] * 4),
    v2(Shots=[[1, 0, 10**30]] * 4),
    v2(Shots=[[1, 0, -1]] * 4),
    v2(Shots=[[1, 0, 0.5]] * 4),
    v2(Shots=[[1, 0, "x"]] * 4),
    v2(Shots=[[1, 0, "[0"]] * 4),
    v2(Shots=[{"Item1": 1, "Item3": 0}] * 4),
    v2(Shots=[{"__class__": 1}] * 4),
    v2(Shots=["__import__('os')"] * 4),
    v2(Shots=[1, 0, 0, 1]),
    v2(Histogram=[{"Outcome": [1, 0, 0], "Count": 5}]),
    v2(Histogram=[{"Outcome": [1, 0, 0], "Count": -1}]),
    v2(Histogram=[{"Outcome": [1, 0, 0], "Count": 1.0}]),
    v2(Histogram=[{"Count": 1}]),
    v2(Histogram=[["[1, 0, 0]", 4]]),
    {"Histogram": ["[1, 0, 0]"]},
    {"Histogram": ["[1, 0, 0]", 0.5]},
    {"Histogram": [0.5, 0.5]},
    {"Histogram": {"[1, 0, 0]": 1.0}},
]


@pytest.mark.parametrize("document", BROKEN, ids=lambda document: str(document)[:70])
def test_broken_results_are_refused(document: Any) -> None:
    with pytest.raises(ResultFormatError):
        read(document)


def test_deep_nesting_is_refused_in_little_time() -> None:
    sent = job(QIR, ASYMMETRIC)
    deep = b'{"Results": [{"Shots": [' + b"[" * 900 + b"1" + b"]" * 900 + b"]}]}"
    with pytest.raises(ResultFormatError):
        format_for(QIR).decode(deep, sent.layout)
    with pytest.raises(ResultFormatError):
        format_for(QIR).decode(b"[" * 10**6, sent.layout)


def test_emulator_and_recording_agree_on_the_document() -> None:
    # qsharp_qir_inline_rigetti.json: a tuple of two results.
    sent = job(QIR, cirq.Circuit(cirq.measure(A, key="a"), cirq.measure(B, key="b")))
    recorded = v2(
        Histogram=[{"Outcome": {"Item1": 0, "Item2": 0}, "Display": "(0, 0)", "Count": 1}],
        Shots=[{"Item1": 0, "Item2": 0}],
    )
    assert decode(QIR, sent, json.dumps(recorded).encode()) == decode(QIR, sent, emulate(QIR, sent))
