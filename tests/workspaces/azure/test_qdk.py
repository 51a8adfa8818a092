"""`pip install "qdk[azure,cirq]"`, which Microsoft's pages say, beside this package.

It brings the newest Cirq that qdk allows. The Workspace of `qdk.azure` is the SDK's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import azure.quantum
import cirq
import pytest
import sympy
from azure.core.credentials import AzureKeyCredential

from cirq_azure_sessions import AzureSessionSampler, SessionPool
from cirq_azure_sessions.emulator import EmulatorServer

qdk_azure = pytest.importorskip(
    "qdk.azure", reason="pip install 'qdk[azure,cirq]' brings it", exc_type=ImportError
)

A, B = cirq.LineQubit.range(2)
CIRCUIT = cirq.Circuit(
    cirq.X(A) ** sympy.Symbol("turn"), cirq.CNOT(A, B), cirq.measure(A, B, key="m")
)


@pytest.fixture(scope="module")
def workspace() -> Iterator[Any]:
    with EmulatorServer() as server:
        yield qdk_azure.Workspace(
            resource_id=server.resource_id,
            location="westus",
            credential=AzureKeyCredential(server.key),
            _quantum_endpoint=server.endpoint,
        )


def test_qdks_workspace_is_the_sdks() -> None:
    assert qdk_azure.Workspace is azure.quantum.Workspace


@pytest.mark.parametrize(
    "target", ["ionq.simulator", "quantinuum.sim.h2-1sc", "rigetti.sim.qvm", "local.simulator"]
)
def test_sampler_runs_a_sweep_on_qdks_workspace(workspace: Any, target: str) -> None:
    with SessionPool(workspace) as pool:
        sampler = AzureSessionSampler(target, pool=pool)
        results = sampler.run_sweep(CIRCUIT, cirq.Points("turn", [0, 1]), repetitions=20)
        if not target.startswith("local."):
            assert pool.get_stats()["sessions_opened"] == 1
    assert [len(result.measurements["m"]) for result in results] == [20, 20]


def test_composite_gate_has_its_distribution_on_ionq(workspace: Any) -> None:
    qubits = cirq.LineQubit.range(3)
    circuit = cirq.Circuit(
        cirq.UniformSuperpositionGate(5, 3).on(*qubits), cirq.measure(*qubits, key="m")
    )
    with SessionPool(workspace) as pool:
        result = AzureSessionSampler("ionq.simulator", pool=pool).run(circuit, repetitions=10)
    assert result.probabilities == pytest.approx(dict.fromkeys(range(5), 0.2))
