"""Sweeps: a circuit is compiled once, and every point's payload is that of the resolved circuit."""

from __future__ import annotations

import json
import math

import cirq
import numpy as np
import pytest
import sympy
from formats_lab import (
    IONQ,
    IONQ_HARDWARE,
    QIR,
    QUANTINUUM,
    REMOTE,
    assert_exactly,
    decode,
    emulate,
    exact_distribution,
    payload,
    translation,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from cirq_azure_sessions.costs.pricing import Pricing
from cirq_azure_sessions.errors import UnsupportedProgram
from cirq_azure_sessions.formats import format_for
from cirq_azure_sessions.jobs.sweep import SweepRun
from cirq_azure_sessions.results.sweep_results import SweepResults

A, B, C = cirq.LineQubit.range(3)
T, U, V = sympy.symbols("t u v")

# Values at which formats write other gates, or none, and neighbours of such values.
ROUND = [0.0, 0.25, 0.5, 1.0, -1.0, 2.0, math.pi, -math.pi / 2, 1e-9, 0.5 + 1e-9, 1 - 1e-7]
values = st.sampled_from(ROUND) | st.floats(-7, 7) | st.integers(-3, 3)
points = st.fixed_dictionaries({"t": values, "u": values, "v": values})


@st.composite
def expressions(draw: st.DrawFn) -> sympy.Expr | float:
    """What people write into gates: a symbol, with factors, in sums, now and then a function."""
    kind = draw(st.integers(0, 9))
    a, b = draw(st.sampled_from([T, U, V])), draw(st.sampled_from([T, U, V]))
    factor = draw(st.sampled_from([2, -1, 0.5, 0.1, 1 / 3, sympy.pi, 1 / sympy.pi, math.pi]))
    if kind <= 3:
        return a
    if kind <= 5:
        return factor * a
    if kind == 6:
        return factor * a + b - 0.3
    if kind == 7:
        return a * b / 2 + T
    if kind == 8:
        return sympy.cos(a) + a**2
    return draw(st.floats(-2, 2))


@st.composite
def parametrised_gates(draw: st.DrawFn) -> cirq.Gate:
    e, f = draw(expressions()), draw(expressions())
    return draw(
        st.sampled_from(
            [
                cirq.rx(e),
                cirq.ry(e),
                cirq.rz(f),
                cirq.X**e,
                cirq.Y**e,
                cirq.Z**f,
                cirq.H**e,
                cirq.PhasedXPowGate(phase_exponent=e, exponent=f),
                cirq.PhasedXZGate(x_exponent=e, z_exponent=f, axis_phase_exponent=e),
                cirq.CZ**e,
                cirq.CNOT**f,
                cirq.cphase(e),
                cirq.ZZ**e,
                cirq.XX**f,
                cirq.YY**e,
                cirq.ms(f),
                cirq.ISWAP**e,
                cirq.FSimGate(e, f),
                cirq.ControlledGate(cirq.rz(e)),
                cirq.SWAP,
                cirq.CZ,
            ]
        )
    )


@st.composite
def ansatzes(draw: st.DrawFn) -> cirq.Circuit:
    circuit = cirq.Circuit()
    for gate in draw(st.lists(parametrised_gates(), min_size=1, max_size=6)):
        qubits = draw(st.permutations([A, B, C]))
        circuit.append(gate.on(*qubits[: cirq.num_qubits(gate)]))
    circuit.append(cirq.measure(C, A, B, key="m"))
    return circuit


@pytest.mark.parametrize("target", [IONQ, QUANTINUUM])
@settings(max_examples=24, derandomize=True, deadline=None)
@given(circuit=ansatzes(), sweep=st.lists(points, min_size=1, max_size=2))
def test_a_points_payload_is_that_of_the_resolved_circuit(
    target: str, circuit: cirq.Circuit, sweep: list[dict[str, float]]
) -> None:
    jobs = translation(target, circuit, sweep)
    for index, point in enumerate(sweep):
        resolved = cirq.resolve_parameters(circuit, point)
        assert jobs.job(index).payload.decode() == payload(target, resolved)


@pytest.mark.parametrize(
    ("gate", "value"),
    [
        # Cirq brings the phase of this gate into the range from -1 to 1 when it is resolved.
        (cirq.PhasedXPowGate(phase_exponent=sympy.pi * T, exponent=0.1 * T), 0.5),
        (cirq.PhasedXPowGate(phase_exponent=T, exponent=T), 1.7),
        # An angle of Rx becomes an exponent and an angle again.
        (cirq.rx(T), 0.1),
        # Three terms can be added in two orders.
        (cirq.PhasedXZGate(x_exponent=T, z_exponent=0.1 * T, axis_phase_exponent=U + 0.3), 0.7),
        # Whole exponents have names of their own.
        (cirq.CZ**T, 1),
        (cirq.CNOT**T, 1 + 1e-9),
        (cirq.Z**T, -0.25),
        (cirq.ZZ**T, 0),
    ],
    ids=str,
)
@pytest.mark.parametrize("target", REMOTE)
def test_special_values_have_the_payload_of_the_resolved_circuit(
    target: str, gate: cirq.Gate, value: float
) -> None:
    qubits = [A, B][: cirq.num_qubits(gate)]
    circuit = cirq.Circuit(cirq.H.on_each(A, B), gate.on(*qubits), cirq.measure(A, B, key="m"))
    point = {"t": value, "u": 0.123}
    resolved = cirq.resolve_parameters(circuit, point)
    assert translation(target, circuit, [point]).job(0).payload.decode() == payload(
        target, resolved
    )


@settings(max_examples=5, derandomize=True, deadline=None)
@given(circuit=ansatzes(), point=points)
def test_a_points_qir_is_that_of_the_resolved_circuit(
    circuit: cirq.Circuit, point: dict[str, float]
) -> None:
    resolved = cirq.resolve_parameters(circuit, point)
    assert translation(QIR, circuit, [point]).job(0).payload.decode() == payload(QIR, resolved)


@settings(max_examples=20, derandomize=True, deadline=None)
@given(circuit=ansatzes(), point=points)
def test_a_points_result_has_cirqs_probabilities(
    circuit: cirq.Circuit, point: dict[str, float]
) -> None:
    job = translation(IONQ, circuit, [point]).job(0)
    result = decode(IONQ, job, emulate(IONQ, job))
    assert_exactly(result, exact_distribution(cirq.resolve_parameters(circuit, point)))
    assert result.params == cirq.ParamResolver(point)


def test_classically_controlled_rotations_are_filled_in_too() -> None:
    rotation = cirq.YY(B, C) ** T
    circuit = cirq.Circuit(
        cirq.H(A),
        cirq.measure(A, key="m"),
        cirq.measure(B, key="n"),
        rotation.with_classical_controls(sympy.Eq(sympy.Symbol("m"), sympy.Symbol("n"))),
        cirq.measure(B, C, key="bc"),
    )
    for target in (QUANTINUUM, QIR):
        jobs = translation(target, circuit, [{"t": 0.3}, {"t": 0.7}])
        for index, t in enumerate((0.3, 0.7)):
            resolved = cirq.resolve_parameters(circuit, {"t": t})
            assert jobs.job(index).payload.decode() == payload(target, resolved)


def test_a_parameter_may_decide_how_often_a_loop_runs() -> None:
    loop = cirq.CircuitOperation(
        cirq.FrozenCircuit(cirq.X(A) ** 0.5),
        repetitions=sympy.Symbol("n"),
        use_repetition_ids=False,
    )
    circuit = cirq.Circuit(loop, cirq.measure(A, key="m"))
    jobs = translation(IONQ, circuit, [{"n": n} for n in range(4)])
    assert [jobs.job(k).payload.decode().count('"v"') for k in range(4)] == [0, 1, 2, 3]


def test_parameters_inside_subcircuits_may_be_renamed() -> None:
    inner = cirq.FrozenCircuit(cirq.rx(T)(A))
    circuit = cirq.Circuit(
        cirq.CircuitOperation(inner, param_resolver={"t": U}), cirq.measure(A, key="m")
    )
    job = translation(IONQ, circuit, [{"u": 0.25}]).job(0)
    assert '"rotation": 0.25' in job.payload.decode()


def test_a_value_may_be_an_expression_of_other_values() -> None:
    circuit = cirq.Circuit(cirq.rx(T)(A), cirq.measure(A, key="m"))
    sweep = translation(IONQ, circuit, [{"t": 2 * U, "u": 0.2}])
    assert json.loads(sweep.job(0).payload)["circuit"][0]["rotation"] == pytest.approx(0.4)


@pytest.mark.parametrize("target", REMOTE)
@pytest.mark.parametrize(
    ("formula", "value", "same"),
    [
        (sympy.sin(T), 0.5 + 0j, math.sin(0.5)),
        (sympy.Abs(T), 0.3 + 0.4j, 0.5),
        (1 / T, math.inf, 0),
    ],
)
def test_a_formula_may_make_a_real_number_of_one_that_is_not(
    formula: sympy.Expr, value: complex, same: float, target: str
) -> None:
    def program(exponent: sympy.Expr | float, **params: complex) -> str:
        circuit = cirq.Circuit(cirq.X(A) ** exponent, cirq.measure(A, key="m"))
        text: str = translation(target, circuit, [params]).job(0).payload.decode()  # type: ignore[list-item]
        return text

    assert program(formula, t=value) == program(same)


@pytest.mark.parametrize("t", [sympy.I * T, sympy.sqrt(-1 - T**2), T + 1j])
def test_expressions_that_are_not_real_are_refused(t: sympy.Expr) -> None:
    circuit = cirq.Circuit(cirq.X(A) ** t, cirq.measure(A, key="m"))
    with pytest.raises(UnsupportedProgram):
        translation(IONQ, circuit, [{"t": 0.1}])


@pytest.mark.parametrize("value", [math.nan, math.inf, 1j, sympy.Symbol("open")])
@pytest.mark.parametrize("target", REMOTE)
def test_values_that_are_not_finite_real_numbers_are_refused(target: str, value: object) -> None:
    circuit = cirq.Circuit(cirq.rx(T)(A), cirq.measure(A, key="m"))
    with pytest.raises(UnsupportedProgram):
        translation(target, circuit, [{"t": 0.1}, {"t": value}])  # type: ignore[dict-item]


def test_missing_parameters_are_named() -> None:
    circuit = cirq.Circuit(cirq.rx(T + U)(A), cirq.measure(A, key="m"))
    with pytest.raises(UnsupportedProgram, match=r"u.* has no value"):
        translation(IONQ, circuit, [{"t": 0.1}])
    late = cirq.Circuit((cirq.ISWAP**U)(A, B), cirq.measure(A, key="m"))
    with pytest.raises(UnsupportedProgram, match="parameter without a value"):
        translation(IONQ, late, [{"t": 0.1}])


def test_expression_without_a_finite_value_at_a_point_is_refused() -> None:
    circuit = cirq.Circuit(cirq.rx(1 / T)(A), cirq.measure(A, key="m"))
    with pytest.raises(UnsupportedProgram, match="not finite at every point"):
        translation(IONQ, circuit, [{"t": 0.0}])


def test_a_point_that_measures_nothing_is_refused() -> None:
    loop = cirq.CircuitOperation(
        cirq.FrozenCircuit(cirq.measure(A, key="m")),
        repetitions=sympy.Symbol("n"),
        use_repetition_ids=False,
    )
    with pytest.raises(UnsupportedProgram, match="measures nothing"):
        translation(QUANTINUUM, cirq.Circuit(loop), [{"n": 1}, {"n": 0}])


def test_a_gate_that_hides_its_parameter_is_refused() -> None:
    # This gate of cirq's says that it has no parameters, and that it is unitary.
    gate = cirq.BooleanHamiltonianGate(["a", "b"], ["a ^ b"], T)
    circuit = cirq.Circuit(gate(A, B), cirq.measure(A, B, key="m"))
    for target in REMOTE:
        with pytest.raises(UnsupportedProgram, match="give every parameter a number"):
            translation(target, circuit, [{"t": 0.1}])


class Rounded(cirq.Gate):
    """Says that it is unitary, and is not quite."""

    def _num_qubits_(self) -> int:
        return 2

    def _unitary_(self) -> np.ndarray:
        return 1.001 * cirq.unitary(cirq.ISWAP)


def test_a_matrix_that_is_not_unitary_is_refused() -> None:
    circuit = cirq.Circuit(Rounded()(A, B), cirq.measure(A, B, key="m"))
    for target in REMOTE:
        with pytest.raises(UnsupportedProgram, match="cirq finds no decomposition"):
            translation(target, circuit)


def test_a_bad_point_is_found_before_any_job_is_made() -> None:
    loop = cirq.CircuitOperation(
        cirq.FrozenCircuit(cirq.X(A)), repetitions=sympy.Symbol("n"), use_repetition_ids=False
    )
    circuit = cirq.Circuit(loop, cirq.measure(A, key="m"))
    with pytest.raises(TypeError, match="integer"):
        translation(IONQ, circuit, [{"n": 1}, {"n": 1.5}])


# Jobs


def test_jobs_are_the_same_at_each_call() -> None:
    circuit = cirq.Circuit((cirq.ISWAP**T)(A, B), cirq.rx(U)(A), cirq.measure(A, key="m"))
    sweep = translation(IONQ, circuit, [{"t": k / 7, "u": k / 3} for k in range(5)])
    assert [sweep.job(k) for k in range(5)] == [sweep.job(k) for k in range(5)]
    assert [sweep.job(k).points for k in range(5)] == [range(k, k + 1) for k in range(5)]
    with pytest.raises(IndexError):
        sweep.job(5)


@pytest.mark.parametrize("target", REMOTE)
def test_metadata_are_ascii_strings_within_bounds(target: str) -> None:
    keys = ["é", "a\nb", "x" * 2000]
    circuit = cirq.Circuit(cirq.measure(q, key=k) for q, k in zip([A, B, C], keys, strict=True))
    metadata = translation(target, circuit, [{"t": 0.5}], repetitions=7).job(0).metadata
    assert all(type(value) is str and value.isascii() for value in metadata.values())
    assert max(map(len, metadata.values())) <= 250


def test_repetitions_beyond_a_machines_limit_are_split() -> None:
    circuit = cirq.Circuit(cirq.H(A), cirq.rz(T)(A), cirq.measure(A, key="m"))
    sweep = translation(IONQ_HARDWARE, circuit, [{"t": 0.1}, {"t": 0.2}], repetitions=25_000)
    assert len(sweep) == 6
    jobs = [sweep.job(k) for k in range(6)]
    assert [job.points[0] for job in jobs] == [0, 0, 0, 1, 1, 1]
    assert [job.input_params["shots"] for job in jobs] == [10_000, 10_000, 5_000] * 2
    assert jobs[0].payload == jobs[1].payload == jobs[2].payload
    output = b'{"histogram": {"0": 0.5, "1": 0.5}}'
    columns = [decode(IONQ_HARDWARE, job, output).measurements["m"] for job in jobs]
    assert [len(column) for column in columns] == [10_000, 10_000, 5_000] * 2
    # Each part is shuffled on its own.
    assert not np.array_equal(columns[0], columns[1])


def test_points_of_a_job_are_known_without_making_its_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    circuit = cirq.Circuit(cirq.rx(T)(A), cirq.measure(A, key="m"))
    jobs = translation(IONQ_HARDWARE, circuit, [{"t": 0.1}, {"t": 0.2}], repetitions=25_000)
    points = [jobs.job(index).points for index in range(6)]
    format_ = format_for(IONQ_HARDWARE)

    def refuse(self: object, index: int) -> None:
        pytest.fail(f"job {index} was made")

    monkeypatch.setattr(type(jobs), "job", refuse)
    assert [jobs.points(index) for index in range(6)] == points
    SweepRun(
        IONQ_HARDWARE,
        jobs,
        SweepResults([None] * 2),
        format_=format_,
        pricing=Pricing(IONQ_HARDWARE, format_),
        is_seeded=True,
        make_request=lambda job_input, number: pytest.fail("a request was made"),
        circuits={0: range(2)},
    )


def test_the_jobs_of_a_point_share_one_program() -> None:
    circuit = cirq.Circuit(cirq.rx(T)(A), cirq.measure(A, key="m"))
    jobs = translation(IONQ_HARDWARE, circuit, [{"t": 0.1}, {"t": 0.2}], repetitions=25_000)
    assert jobs.job(0).payload is jobs.job(1).payload
    assert jobs.job(2).payload != jobs.job(3).payload


@pytest.mark.parametrize("target", ["ionq.simulator", "quantinuum.sim.h2-1e", "newcomer.qpu"])
def test_targets_without_a_known_limit_are_not_split(target: str) -> None:
    circuit = cirq.Circuit(cirq.H(A), cirq.measure(A, key="m"))
    assert len(translation(target, circuit, repetitions=1_000_000)) == 1
