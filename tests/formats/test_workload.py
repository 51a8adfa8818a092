"""What a payload asks of a machine, counted gate by gate and held against the emulator's bills."""

from __future__ import annotations

from typing import Any

import cirq
import formats_lab as lab
import numpy as np
import pytest
import sympy
from emulated import run_program
from hypothesis import given, settings
from hypothesis import strategies as st

from cirq_azure_sessions.emulator.billing import estimate_cost
from cirq_azure_sessions.formats import format_for
from cirq_azure_sessions.formats.translation import Workload

A, B, C = cirq.LineQubit.range(3)
BELL = cirq.Circuit(cirq.H(A), cirq.CNOT(A, B), cirq.measure(A, B, key="m"))
QUANTINUUM_HARDWARE = "quantinuum.qpu.h2-1"


def workload(target: str, circuit: cirq.AbstractCircuit, **options: Any) -> Workload:
    return format_for(target).workload(lab.job(target, circuit, **options))


def consumed(target: str, circuit: cirq.AbstractCircuit, repetitions: int) -> dict[str, float]:
    """What the emulator, which counts with code of its own, writes into the bill."""
    job = lab.job(target, circuit, repetitions=repetitions)
    input_format = format_for(target).input_format
    output = run_program(
        target=target,
        provider=target.partition(".")[0],
        input_format=input_format,
        output_format=format_for(target).output_format,
        payload=job.payload,
        input_params=job.input_params,
        rng=np.random.default_rng(1),
    )
    cost = estimate_cost(target, input_format, job.input_params, output.census)
    assert cost is not None
    return {event["dimensionId"]: event["amountConsumed"] for event in cost.events}


def test_ionq_counts_gates_by_their_qubits() -> None:
    assert workload(lab.IONQ, BELL, repetitions=500) == Workload(500, 1, 1, 4)


def test_quantinuum_counts_two_rotations_for_each_two_qubit_gate() -> None:
    assert workload(lab.QUANTINUUM, BELL, repetitions=500) == Workload(500, 3, 1, 4)


def test_quantinuum_counts_the_native_gates_of_larger_ones() -> None:
    circuit = cirq.Circuit(cirq.SWAP(A, B), cirq.CCX(A, B, C), cirq.measure(A, B, C, key="m"))
    assert workload(lab.QUANTINUUM, circuit).two_qubit_gates == 3 + 6


def test_quantinuum_counts_resets_and_mid_circuit_measurements() -> None:
    circuit = cirq.Circuit(cirq.X(A), cirq.measure(A, key="m"), cirq.R(A), cirq.measure(A, key="n"))
    assert workload(lab.QUANTINUUM, circuit).spam == 1 + 3


def test_conditional_gates_count_as_applied() -> None:
    conditional = cirq.X(B).with_classical_controls("m")
    circuit = cirq.Circuit(cirq.measure(A, key="m"), conditional, cirq.measure(B, key="n"))
    assert workload(lab.QUANTINUUM, circuit).one_qubit_gates == 1


def test_qir_counts_calls() -> None:
    assert workload(lab.QIR, BELL, repetitions=500) == Workload(500, 1, 1, 4)


def test_a_local_job_counts_the_shots_of_all_points() -> None:
    theta = sympy.Symbol("theta")
    circuit = cirq.Circuit(cirq.rx(theta)(A), cirq.measure(A, key="m"))
    points = [{"theta": 0.1}, {"theta": 0.2}]
    job = lab.translation("local.simulator", circuit, points, repetitions=50).job(0)
    assert format_for("local.simulator").workload(job) == Workload(100, 1, 0, 2)


def test_shots_are_the_repetitions_of_the_job() -> None:
    assert workload(lab.IONQ, BELL, repetitions=5).shots == 5


GATES = [cirq.H, cirq.X, cirq.T, cirq.rx(0.3), cirq.CNOT, cirq.CZ, cirq.ZZ**0.3, cirq.XX**0.2]
STEPS = [*GATES, cirq.ResetChannel()]


@st.composite
def circuits(draw: st.DrawFn, gates: list[Any]) -> cirq.Circuit:
    circuit = cirq.Circuit()
    for gate in draw(st.lists(st.sampled_from(gates), max_size=8)):
        qubits = draw(st.permutations([A, B, C]))
        circuit.append(gate.on(*qubits[: cirq.num_qubits(gate)]))
    return circuit + cirq.measure(A, B, C, key="m")


@given(circuit=circuits(GATES), repetitions=st.integers(1, 10_000))
@settings(max_examples=25, deadline=None)
def test_ionqs_payloads_are_counted_as_the_emulator_bills_them(
    circuit: cirq.Circuit, repetitions: int
) -> None:
    work = workload(lab.IONQ_HARDWARE, circuit, repetitions=repetitions)
    assert consumed(lab.IONQ_HARDWARE, circuit, repetitions) == {
        "gs1q": repetitions * work.one_qubit_gates,
        "gs2q": repetitions * work.two_qubit_gates,
    }


@given(circuit=circuits(STEPS), repetitions=st.integers(1, 10_000))
@settings(max_examples=25, deadline=None)
def test_quantinuums_payloads_are_counted_as_the_emulator_bills_them(
    circuit: cirq.Circuit, repetitions: int
) -> None:
    work = workload(QUANTINUUM_HARDWARE, circuit, repetitions=repetitions)
    a_shot = work.one_qubit_gates + 10 * work.two_qubit_gates + 5 * work.spam
    billed = consumed(QUANTINUUM_HARDWARE, circuit, repetitions)["hqc"]
    assert billed == pytest.approx(5 + repetitions * a_shot / 5000, abs=0.006)
