"""A misspelled target: what was meant, where that is known, and nothing refused that may exist."""

from __future__ import annotations

import cirq
import pytest

from cirq_azure_sessions import AzureSessionSampler, SessionPool, errors
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.formats import format_for
from cirq_azure_sessions.spelling import did_you_mean

CIRCUIT = cirq.Circuit(cirq.measure(cirq.q(0), key="m"))


@pytest.mark.parametrize(
    ("misspelled", "meant"),
    [
        ("ionq.simulater", "ionq.simulator"),
        ("ionq-simulator", "ionq.simulator"),
        ("Quantinuum.sim.h2-1e", "quantinuum.sim.h2-1e"),
        ("rigetti.qmv", "rigetti.sim.qvm"),
    ],
)
def test_a_misspelled_target_gets_a_suggestion(misspelled: str, meant: str) -> None:
    with pytest.raises(errors.UnsupportedTarget, match=f"Did you mean '{meant}'"):
        format_for(misspelled)


@pytest.mark.parametrize(
    "misspelled",
    [
        "inoq.simulator",
        "pascal.sim.emu-tn",
        "quantinum.sim.h2-1e",
        "ionq.qpu.aria_1",
        "local.simulater",
    ],
)
def test_a_target_that_may_exist_is_looked_up_before_it_is_refused(misspelled: str) -> None:
    with (
        EmulatorServer() as server,
        SessionPool(server.workspace()) as pool,
        pytest.raises(errors.AzureSessionsError, match="Did you mean"),
    ):
        AzureSessionSampler(misspelled, pool=pool).run(CIRCUIT)


@pytest.mark.parametrize("target", ["pasqal.qpu.fresnel", "Pasqal.sim.emu-tn"])
def test_a_provider_without_circuits_is_refused(target: str) -> None:
    with pytest.raises(errors.UnsupportedTarget, match="pulse sequences"):
        format_for(target)


def test_nothing_is_suggested_that_is_not_similar() -> None:
    assert did_you_mean("qci.machine1", ["ionq.simulator", "local.simulator"]) == ""
