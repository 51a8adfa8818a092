"""What makes two requests the same to a journal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cirq_azure_sessions.journal import fingerprint
from cirq_azure_sessions.model import JobRequest

HOME = "/subscriptions/1/resourcegroups/2/providers/microsoft.quantum/workspaces/home"
REQUEST = JobRequest(
    id="1",
    target="ionq.simulator",
    name="job",
    payload=b"PROGRAM",
    input_format="ionq.circuit.v1",
    output_format="ionq.quantum-results.v1",
    input_params={"shots": 500, "noise": {"model": "aria-1"}},
)


def test_a_fingerprint_is_the_same_in_every_run_and_version() -> None:
    """Another one would pay again for every job of the journals that there are."""
    known = "b2807908efcadd554910b7c3e195f7055c480adc900265a004af3eca312f73c1"
    assert fingerprint(REQUEST, HOME) == known
    turned = {"noise": {"model": "aria-1"}, "shots": 500}
    assert fingerprint(replace(REQUEST, input_params=turned), HOME) == known


@pytest.mark.parametrize(
    "change",
    [{"id": "2"}, {"name": "other"}, {"tags": ("a",)}, {"priority": "High"}, {"session_id": "3"}],
)
def test_fingerprint_ignores_what_does_not_change_the_result(
    change: dict[str, Any],
) -> None:
    assert fingerprint(replace(REQUEST, **change), HOME) == fingerprint(REQUEST, HOME)


@pytest.mark.parametrize(
    "change",
    [
        {"target": "ionq.qpu"},
        {"payload": b"PROGRAN"},
        {"input_params": {"shots": 501}},
        {"input_format": "qir.v1"},
        {"output_format": "microsoft.quantum-results.v2"},
    ],
)
def test_fingerprint_depends_on_what_changes_the_result(change: dict[str, Any]) -> None:
    assert fingerprint(replace(REQUEST, **change), HOME) != fingerprint(REQUEST, HOME)


def test_each_workspace_has_its_own_jobs() -> None:
    assert fingerprint(REQUEST, HOME) != fingerprint(REQUEST, "another")
