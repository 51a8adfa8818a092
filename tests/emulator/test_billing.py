"""What jobs cost. That the recorded jobs cost what they cost is held by the conformance test."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np
import pyqir
import pytest
from emulated import run_program

from cirq_azure_sessions.emulator.billing import estimate_cost
from cirq_azure_sessions.model import Cost

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


def qir(qubits: int, results: int, *calls: tuple[Any, ...]) -> bytes:
    """A QIR program of operations, each with the numbers of its qubits and of its result."""
    lines = []
    for name, *numbers in calls:
        kinds = ["Qubit", "Result"] if name.startswith("m") else ["Qubit"] * len(numbers)
        arguments = [
            f"%{kind}* inttoptr (i64 {number} to %{kind}*)"
            for kind, number in zip(kinds, numbers, strict=True)
        ]
        lines.append(f"  call void @__quantum__qis__{name}__body({', '.join(arguments)})")
    return "\n".join(
        [
            "%Result = type opaque",
            "%Qubit = type opaque",
            "define void @main() #0 {",
            *lines,
            "  call void @__quantum__rt__array_record_output(i64 1, i8* null)",
            "  call void @__quantum__rt__result_record_output(%Result* null, i8* null)",
            "  ret void",
            "}",
            "declare void @__quantum__qis__h__body(%Qubit*)",
            "declare void @__quantum__qis__cx__body(%Qubit*, %Qubit*)",
            "declare void @__quantum__qis__m__body(%Qubit*, %Result*)",
            "declare void @__quantum__qis__mz__body(%Qubit*, %Result*)",
            "declare void @__quantum__rt__array_record_output(i64, i8*)",
            "declare void @__quantum__rt__result_record_output(%Result*, i8*)",
            'attributes #0 = { "entry_point" "qir_profiles"="base_profile" '
            f'"required_num_qubits"="{qubits}" "required_num_results"="{results}" }}',
        ]
    ).encode()


BELL_QIR = qir(2, 1, ("h", 0), ("cx", 0, 1), ("mz", 0, 0), ("mz", 1, 0))
# The program of a recorded job: GHZ on three qubits, and a fourth that is not measured.
GHZ_QIR = qir(
    4, 3, ("h", 0), ("cx", 0, 1), ("cx", 1, 2), ("h", 3), ("m", 0, 0), ("m", 1, 1), ("m", 2, 2)
)
RESULTS = {
    "ionq.circuit.v1": "ionq.quantum-results.v1",
    "honeywell.openqasm.v1": "honeywell.quantum-results.v1",
    "qir.v1": "microsoft.quantum-results.v2",
}


def bill(target: str, input_format: str, payload: bytes, params: Any) -> Cost | None:
    """What a program costs that is run with these parameters."""
    output = run_program(
        target=target,
        provider="microsoft.test.firstparty" if "echo" in target else target.split(".")[0],
        input_format=input_format,
        output_format=RESULTS[input_format],
        payload=payload,
        input_params=params,
        rng=np.random.default_rng(1),
    )
    return estimate_cost(target, input_format, params, output.census)


def amounts(target: str, input_format: str, payload: bytes, **params: Any) -> dict[str, float]:
    cost = bill(target, input_format, payload, params)
    assert cost is not None
    return {event["dimensionId"]: event["amountConsumed"] for event in cost.events}


def test_the_test_provider_bills_nothing() -> None:
    assert bill("echo-quantinuum", "qir.v1", BELL_QIR, {}) is None


def test_simulators_of_ionq_and_rigetti_are_free() -> None:
    assert amounts("ionq.simulator", "ionq.circuit.v1", BELL) == {"gs1q": 0.0, "gs2q": 0.0}
    assert amounts("rigetti.sim.qvm", "qir.v1", BELL_QIR) == {"qpu_time_centiseconds": 0.0}


def test_ionq_hardware_bills_gate_shots_and_a_minimum() -> None:
    target = "ionq.qpu.aria-1"
    few = bill(target, "ionq.circuit.v1", BELL, {"shots": 100})
    many = bill(target, "ionq.circuit.v1", BELL, {"shots": 200_000})
    assert few is not None
    assert many is not None
    assert few.total == 97.50
    assert many.total == pytest.approx(200_000 * (0.000220 + 0.000975))


def test_ionq_without_error_mitigation_has_a_lower_minimum() -> None:
    off = {"error-mitigation": {"debias": False}}
    for target, least in [("ionq.qpu.aria-1", 12.4166), ("ionq.qpu.forte-1", 25.7899)]:
        cost = bill(target, "ionq.circuit.v1", BELL, {"shots": 100, **off})
        assert cost is not None
        assert cost.total == least


def test_a_reset_counts_as_a_preparation() -> None:
    program = BELL_QASM.replace(b"h q[0];", b"reset q[0]; h q[0];")
    more = amounts("quantinuum.qpu.h2-1", "honeywell.openqasm.v1", program, count=1000)
    less = amounts("quantinuum.qpu.h2-1", "honeywell.openqasm.v1", BELL_QASM, count=1000)
    assert more["hqc"] - less["hqc"] == pytest.approx(1.0)


def test_quantinuum_bills_the_recorded_credits_of_openqasm() -> None:
    openqasm = partial(amounts, input_format="honeywell.openqasm.v1", payload=BELL_QASM)
    assert openqasm("quantinuum.sim.h2-1e", shots=500) == {"ehqc": 8.3}
    assert openqasm("quantinuum.qpu.h2-1", count=500) == {"hqc": 8.3}
    # Three digits that the service does not show: 5.0066.
    assert openqasm("quantinuum.sim.h2-1e", shots=1) == {"ehqc": 5.01}


@pytest.mark.parametrize(
    "program",
    [GHZ_QIR, pyqir.Module.from_ir(pyqir.Context(), GHZ_QIR.decode()).bitcode],
    ids=["text", "bitcode"],
)
def test_quantinuum_bills_two_qubit_gates_of_qir_twice(program: bytes) -> None:
    assert amounts("quantinuum.sim.h2-1e", "qir.v1", program, shots=500) == {"ehqc": 13.5}
    assert amounts("quantinuum.sim.h2-1e", "qir.v1", program, shots=100) == {"ehqc": 6.7}


def test_checking_syntax_is_free_and_counted_with_the_machines() -> None:
    assert amounts("quantinuum.sim.h2-1sc", "qir.v1", BELL_QIR) == {"hqc": 0.0}
