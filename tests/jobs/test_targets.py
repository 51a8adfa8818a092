"""What the service says of a target decides what is submitted to it, and machines lose qubits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cirq
import pytest
from services import FLIP, REMOTE, ROTATION, Counted, angles

from cirq_azure_sessions import (
    AzureSessionSampler,
    ManualClock,
    ServiceError,
    SessionPool,
    UnsupportedProgram,
)
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.model import TargetStatus

BELL = cirq.Circuit(
    cirq.H(cirq.q(0)), cirq.CNOT(cirq.q(0), cirq.q(1)), cirq.measure(cirq.q(0), cirq.q(1), key="m")
)


class Listing(Counted):
    """A workspace that says how many qubits its targets have, or refuses to.

    Attributes:
        lists_asked: Calls of `list_targets`.
    """

    def __init__(self, num_qubits: int | None) -> None:
        super().__init__()
        self.lists_asked = 0
        self._num_qubits = num_qubits

    async def list_targets(self, *, retries: bool = True) -> Sequence[TargetStatus]:
        self.lists_asked += 1
        if self._num_qubits is None:
            raise ServiceError("The list is not for you.", status_code=403)
        return [
            replace(target, num_qubits=self._num_qubits) for target in await super().list_targets()
        ]


def test_circuit_with_too_many_qubits_is_refused_before_anything_is_submitted() -> None:
    workspace = Listing(num_qubits=1)
    with AzureSessionSampler(REMOTE, workspace=workspace) as sampler:
        with pytest.raises(UnsupportedProgram, match="at most 1 qubits and the circuit needs 2"):
            sampler.run_batch([BELL, FLIP], repetitions=5)
        assert workspace.submitted == []
        assert sampler.run(FLIP, repetitions=5).measurements["m"].all()


def test_the_list_of_targets_is_requested_once_and_optional() -> None:
    for num_qubits in (1, None):
        workspace = Listing(num_qubits)
        with AzureSessionSampler(REMOTE, workspace=workspace) as sampler:
            sampler.run_sweep(ROTATION, angles(5), 2)
            sampler.run(FLIP, repetitions=5)
        assert workspace.lists_asked == 1


def test_samplers_of_a_pool_share_the_list_of_targets_for_ten_minutes() -> None:
    clock, workspace = ManualClock(), Listing(num_qubits=1)
    with SessionPool(workspace, clock=clock) as pool:
        for _ in range(3):
            AzureSessionSampler(REMOTE, pool=pool).run(FLIP)
        assert workspace.lists_asked == 1
        clock.advance(601.0)
        AzureSessionSampler(REMOTE, pool=pool).run(FLIP)
        assert workspace.lists_asked == 2


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 403},
        {"status": 500},
        {"status": 503},
        {"reset": True},
        {"garbage": "<p>Come back later.</p>"},
        {"garbage": '{"value": []}'},
        {"garbage": '{"value": [null, {"id": "ionq", "targets": [{"numQubits": 0}]}]}'},
    ],
    ids=str,
)
def test_a_job_needs_no_list_of_targets_and_waits_for_one_attempt_at_it(
    fault: dict[str, Any],
) -> None:
    with EmulatorServer() as server, SessionPool(server.workspace()) as pool:
        server.faults.add("providerStatus", times=None, **fault)
        AzureSessionSampler(REMOTE, pool=pool).run_sweep(ROTATION, angles(5), 2)
        assert server.requests["providerStatus"] == 1


def test_a_machine_of_neutral_atoms_loses_shots_and_keeps_the_other_results() -> None:
    pytest.importorskip("qdk", reason="targets that take QIR need qdk")
    with EmulatorServer(seed=1) as server, SessionPool(server.workspace()) as pool:
        # Its provider's id is in the service's list alone.
        result = AzureSessionSampler("msft.sim.ac1000.physical", pool=pool).run(
            BELL, repetitions=1000
        )
    assert 0 < result.lost_shots < 100
    assert result.repetitions == 1000 - result.lost_shots
    assert sum(result.histogram(key="m")[outcome] for outcome in (0, 3)) > 900
    assert any("-" in shot for shot in result.raw_shots)
