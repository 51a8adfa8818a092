"""What targets run, and with which noise."""

from __future__ import annotations

import cirq
import numpy as np
import pytest
from emulated import run_program

from cirq_azure_sessions import noise as rates
from cirq_azure_sessions.workspaces.local import ProgramError


@pytest.mark.parametrize(
    ("target", "is_silent"),
    [
        ("ionq.simulator", True),
        ("ionq.qpu.forte-enterprise-1", False),
        ("quantinuum.sim.h2-1sc", True),
        ("quantinuum.sim.h1-1sc-preview", True),
        ("quantinuum.sim.h1-1e-preview", False),
        ("quantinuum.qpu.h2-2", False),
        ("rigetti.sim.qvm", True),
        ("rigetti.qpu.cepheus-1-36q", False),
        ("echo-quantinuum", True),
    ],
)
def test_hardware_and_its_emulators_are_noisy_and_simulators_are_not(
    target: str, is_silent: bool
) -> None:
    assert rates.is_silent(rates.target_noise(target)) == is_silent


@pytest.mark.parametrize(
    ("target", "published"),
    [("quantinuum.qpu.h2-1", (2.5e-5, 1.57e-3)), ("rigetti.qpu.cepheus-1-36q", (1e-3, 5e-3))],
)
def test_hardware_noise_gives_gates_the_published_infidelities(
    target: str, published: tuple[float, float]
) -> None:
    model = rates.target_noise(target)
    for size, infidelity in enumerate(published, start=1):
        channel = cirq.depolarize((model.one_qubit, model.two_qubit)[size - 1], n_qubits=size)
        dimension = 2**size
        fidelity = (dimension * cirq.entanglement_fidelity(channel) + 1) / (dimension + 1)
        assert 1 - fidelity == pytest.approx(infidelity)


def echo(payload: bytes, **fields: str) -> bytes:
    output = run_program(
        **{
            "target": "echo-output",
            "provider": "Microsoft.Test.FirstParty",
            "input_format": "microsoft.quantum-log.v1",
            "output_format": "microsoft.quantum-log.v1",
            **fields,
        },
        payload=payload,
        input_params={},
        rng=np.random.default_rng(1),
    )
    return output.content


def test_the_echo_target_returns_what_it_is_sent() -> None:
    assert echo(b"{ input: 'data' }") == b"{ input: 'data' }"


@pytest.mark.parametrize(
    "fields",
    [
        {"target": "ionq.simulator", "provider": "ionq", "input_format": "honeywell.openqasm.v1"},
        {"target": "ionq.simulator", "provider": "ionq", "input_format": "nonsense"},
        {"target": "microsoft.estimator", "provider": "microsoft-qc", "input_format": "qir.v1"},
        {"target": "pasqal.sim.emu-tn", "provider": "pasqal", "input_format": "pasqal.pulser.v1"},
    ],
    ids=lambda fields: f"{fields['target']} {fields['input_format']}",
)
def test_a_target_fails_on_input_that_it_does_not_take(fields: dict[str, str]) -> None:
    with pytest.raises(ProgramError, match="does not take") as caught:
        echo(b"", **fields)
    assert caught.value.code == "InvalidInputData"


def test_a_payload_has_a_limit() -> None:
    with pytest.raises(ProgramError, match="larger than"):
        echo(b" " * (5 << 20))
