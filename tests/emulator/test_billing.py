"""What jobs cost. That the recorded jobs cost what they cost is held by the conformance test."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cirq_azure_sessions.emulator.billing import estimate_cost

BELL = json.dumps(
    {
        "qubits": 2,
        "circuit": [{"gate": "h", "target": 0}, {"gate": "cnot", "control": 0, "target": 1}],
    }
).encode()
BELL_QASM = b"""
OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; creg c[2];
h q[0]; cx q[0],q[1]; measure q -> c;
"""
BELL_QIR = b"""
  call void @__quantum__qis__h__body(%Qubit* inttoptr (i64 0 to %Qubit*))
  call void @__quantum__qis__cx__body(%Qubit* null, %Qubit* inttoptr (i64 1 to %Qubit*))
  call void @__quantum__qis__mz__body(%Qubit* null, %Result* null)
  call void @__quantum__qis__mz__body(%Qubit* inttoptr (i64 1 to %Qubit*), %Result* null)
"""


def amounts(target: str, input_format: str, payload: bytes, **params: Any) -> dict[str, float]:
    cost = estimate_cost(target, input_format, payload, params)
    assert cost is not None
    return {event["dimensionId"]: event["amountConsumed"] for event in cost.events}


def test_the_test_provider_bills_nothing() -> None:
    assert estimate_cost("echo-quantinuum", "qir.v1", BELL_QIR, {}) is None


def test_simulators_of_ionq_and_rigetti_are_free() -> None:
    assert amounts("ionq.simulator", "ionq.circuit.v1", BELL) == {"gs1q": 0.0, "gs2q": 0.0}
    assert amounts("rigetti.sim.qvm", "qir.v1", BELL_QIR) == {"qpu_time_centiseconds": 0.0}


def test_ionq_hardware_bills_gate_shots_and_a_minimum() -> None:
    target = "ionq.qpu.aria-1"
    few = estimate_cost(target, "ionq.circuit.v1", BELL, {"shots": 100})
    many = estimate_cost(target, "ionq.circuit.v1", BELL, {"shots": 200_000})
    assert few is not None
    assert many is not None
    assert few.total == 97.50
    assert many.total == pytest.approx(200_000 * (0.000220 + 0.000975))


def test_ionq_without_error_mitigation_has_a_lower_minimum() -> None:
    off = {"error-mitigation": {"debias": False}}
    for target, least in [("ionq.qpu.aria-1", 12.4166), ("ionq.qpu.forte-1", 25.7899)]:
        cost = estimate_cost(target, "ionq.circuit.v1", BELL, {"shots": 100, **off})
        assert cost is not None
        assert cost.total == least


def test_a_reset_counts_as_a_preparation() -> None:
    program = BELL_QASM.replace(b"h q[0];", b"reset q[0]; h q[0];")
    more = amounts("quantinuum.qpu.h2-1", "honeywell.openqasm.v1", program, count=1000)
    less = amounts("quantinuum.qpu.h2-1", "honeywell.openqasm.v1", BELL_QASM, count=1000)
    assert more["hqc"] - less["hqc"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("input_format", "program"),
    [("honeywell.openqasm.v1", BELL_QASM), ("qir.v1", BELL_QIR)],
)
def test_quantinuum_credits_are_the_same_in_every_language(
    input_format: str, program: bytes
) -> None:
    assert amounts("quantinuum.sim.h2-1e", input_format, program, shots=500) == {"ehqc": 8.3}
    assert amounts("quantinuum.qpu.h2-1", input_format, program, count=500) == {"hqc": 8.3}


def test_checking_syntax_is_free() -> None:
    assert amounts("quantinuum.sim.h2-1sc", "qir.v1", BELL_QIR) == {"ehqc": 0.0}
