"""The sampler of `local.like:TARGET`: each way of sampling has Cirq's distribution."""

from __future__ import annotations

import cirq
import pytest
import sympy
from formats_lab import assert_same_distribution

from cirq_azure_sessions.workspaces.local import noisy
from cirq_azure_sessions.workspaces.local.noisy import NoisySimulator

A, B, C = cirq.LineQubit.range(3)
T = sympy.Symbol("t")
REPETITIONS = 800
GATES = [cirq.H(A), cirq.CX(A, B), cirq.ry(0.4 * T)(C), cirq.CX(C, A), cirq.H(A)]
ERRORS = [cirq.depolarize(0.2)(A), cirq.depolarize(0.1, 2)(B, C), cirq.bit_flip(0.1)(B)]

CIRCUITS = {
    "measurements at the end": [GATES, ERRORS, cirq.measure(A, C, key="m"), cirq.measure(B)],
    "a measurement midway": [
        cirq.measure(A, B, key="a"),
        *(GATES, ERRORS, cirq.measure(C, key="b"), cirq.reset(C), cirq.measure(C, A, key="c")),
    ],
    "feedback": [
        *(GATES, ERRORS, cirq.measure(A, B, key="a")),
        cirq.X(C).with_classical_controls("a"),
        cirq.CX(C, A).with_classical_controls("a").with_tags("tagged"),
        cirq.measure(A, C, key="m"),
    ],
    "an inverted measurement": [
        *(GATES, ERRORS, cirq.measure(A, key="a", invert_mask=(True,))),
        cirq.X(B).with_classical_controls("a"),
        cirq.measure(B, C, key="m"),
    ],
    "a key measured twice": [GATES, cirq.measure(A, key="a"), ERRORS, cirq.measure(B, key="a")],
    "a condition on two keys": [
        *(GATES, ERRORS, cirq.measure(A, key="a"), cirq.measure(B, key="b")),
        cirq.X(C).with_classical_controls(sympy.Symbol("a") > sympy.Symbol("b")),
        cirq.measure(C, key="m"),
    ],
    "a global phase": [
        *(GATES, ERRORS, cirq.measure(A, key="a"), cirq.global_phase_operation(1j)),
        *(cirq.X(A), cirq.measure(A, key="m")),
    ],
}


@pytest.mark.parametrize(
    ("name", "max_dense_qubits"),
    [*((name, 0) for name in CIRCUITS), ("measurements at the end", 8)],
)
def test_samples_have_the_form_and_distribution_of_cirqs(
    name: str, max_dense_qubits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails on equal distributions once in 10**7 runs; seeds are fixed."""
    circuit, resolver = cirq.Circuit(CIRCUITS[name]), cirq.ParamResolver({"t": 2.0})
    monkeypatch.setattr(noisy, "_MAX_DENSE_QUBITS", max_dense_qubits)
    found = NoisySimulator(seed=1).run(circuit, resolver, REPETITIONS)
    # Each repetition of a state vector draws every error; a density matrix takes no global phase.
    has_phase = any(isinstance(op.gate, cirq.GlobalPhaseGate) for op in circuit.all_operations())
    simulator = cirq.Simulator if has_phase else cirq.DensityMatrixSimulator
    expected = simulator(seed=2).run(circuit, resolver, REPETITIONS)
    assert {key: each.shape for key, each in found.records.items()} == {
        key: each.shape for key, each in expected.records.items()
    }
    assert found.params == resolver
    assert_same_distribution(found, expected)


@pytest.mark.parametrize("name", ["measurements at the end", "a measurement midway", "feedback"])
def test_repetitions_share_what_they_have_in_common(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noisy, "_MAX_DENSE_QUBITS", 0)
    # Cirq's own would take a state vector for each repetition.
    monkeypatch.delattr(cirq, "Simulator")
    found = NoisySimulator(seed=1).run(cirq.Circuit(CIRCUITS[name]), {"t": 2.0}, 100_000)
    assert found.repetitions == 100_000


def test_a_seed_repeats_the_samples_of_a_circuit_with_feedback() -> None:
    circuit = cirq.Circuit(CIRCUITS["feedback"])
    points = cirq.Points("t", [0.5, 0.5])
    first, again = (NoisySimulator(seed=1).run_sweep(circuit, points, 50) for _ in range(2))
    assert list(first) == list(again)
    assert first[0] != first[1]


def test_more_qubits_than_the_engine_takes_are_left_to_cirq(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(noisy, "_MAX_DENSE_QUBITS", 0)
    monkeypatch.setattr(noisy, "MAX_QUBITS", 2)
    circuit = cirq.Circuit(cirq.X(A), cirq.CX(A, B), cirq.CX(B, C), cirq.measure(A, B, C, key="m"))
    assert (
        NoisySimulator().run(circuit, repetitions=2).measurements["m"].tolist() == [[1, 1, 1]] * 2
    )
