"""The simulator under the emulated programs: shots that part, and batches that are cut up.

What programs compute is tested with the languages that they are written in.
"""

from __future__ import annotations

from collections import Counter

import cirq
import numpy as np
import pytest

from cirq_azure_sessions.emulator import programs
from cirq_azure_sessions.emulator.programs import NOISELESS, NoiseModel, gates, simulation
from cirq_azure_sessions.emulator.programs.instructions import (
    Comparison,
    Conditional,
    Gate,
    Instruction,
    Measurement,
    Reset,
)
from cirq_azure_sessions.emulator.programs.simulation import probabilities, sample
from cirq_azure_sessions.workspaces.local import ProgramError

SHOTS = 20_000
NOISE = NoiseModel(one_qubit=0.05, two_qubit=0.1, readout=(0.02, 0.05))

PROGRAM: list[Instruction] = [
    Gate(gates.H, (0,)),
    Gate(gates.X, (1,), (0,)),
    Measurement(0, 0),
    Comparison((0,), "==", 1, bit=4),
    Conditional(4, Gate(gates.H, (2,))),
    Conditional(4, Gate(gates.X, (1,))),
    Reset(0),
    Gate(gates.pauli_rotation("XX", 0.8), (0, 2)),
    Measurement(0, 1),
    Measurement(1, 2),
    Measurement(2, 3),
]


def frequencies(noise: NoiseModel, seed: int) -> Counter[bytes]:
    bits = sample(PROGRAM, 5, SHOTS, noise, np.random.default_rng(seed))
    assert bits.shape == (SHOTS, 5)
    return Counter(row.tobytes() for row in bits)


@pytest.mark.parametrize("noise", [NOISELESS, NOISE], ids=["ideal", "noisy"])
def test_cutting_batches_up_does_not_change_the_distribution(
    noise: NoiseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two samples agree to 6 standard deviations; the seeds are fixed."""
    whole = frequencies(noise, 1)
    monkeypatch.setattr(simulation, "_BATCH_SIZE", 32)
    cut = frequencies(noise, 2)
    for outcome in whole | cut:
        difference = whole[outcome] - cut[outcome]
        assert abs(difference) < 6 * np.sqrt(whole[outcome] + cut[outcome])


def test_shots_without_chance_amid_the_program_cost_one_state_vector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program: list[Instruction] = [Gate(gates.H, (0,)), Gate(gates.X, (1,), (0,))]
    program += [Measurement(qubit, qubit) for qubit in range(2)]
    monkeypatch.setattr(simulation, "_MAX_WORK", 2 * (simulation._OVERHEAD + 8))
    assert len(sample(program, 2, 100_000, NOISELESS, np.random.default_rng(1))) == 100_000


def test_work_is_counted_over_all_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "_MAX_WORK", 100_000)
    monkeypatch.setattr(simulation, "_BATCH_SIZE", 32)
    with pytest.raises(ProgramError) as caught:
        frequencies(NOISE, 1)
    assert caught.value.code == "ProviderTimeout"


def test_too_many_qubits_are_refused_before_memory_is_taken() -> None:
    with pytest.raises(ProgramError, match="up to 22 qubits"):
        probabilities([Gate(gates.H, (qubit,)) for qubit in range(23)])


def test_tiny_probabilities_are_rounding_errors() -> None:
    many = [Gate(gates.pauli_rotation("X", 2 * np.pi / 1000), (0,))] * 1000
    assert probabilities(many) == {0: 1.0}


def test_the_bits_of_each_shot_belong_together() -> None:
    program: list[Instruction] = [Gate(gates.H, (0,)), Measurement(0, 0), Gate(gates.X, (0,))]
    bits = sample([*program, Measurement(0, 1)], 2, 1000, NOISELESS, np.random.default_rng(1))
    assert (bits[:, 0] != bits[:, 1]).all()


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
    assert programs.noise.target_noise(target).is_silent == is_silent


@pytest.mark.parametrize(
    ("target", "published"),
    [("quantinuum.qpu.h2-1", (2.5e-5, 1.57e-3)), ("rigetti.qpu.cepheus-1-36q", (1e-3, 5e-3))],
)
def test_the_noise_of_hardware_leaves_gates_with_the_published_infidelities(
    target: str, published: tuple[float, float]
) -> None:
    model = programs.noise.target_noise(target)
    for size, infidelity in enumerate(published, start=1):
        channel = cirq.depolarize(model.gate_error(size), n_qubits=size)
        dimension = 2**size
        fidelity = (dimension * cirq.entanglement_fidelity(channel) + 1) / (dimension + 1)
        assert 1 - fidelity == pytest.approx(infidelity)


def echo(payload: bytes, **fields: str) -> bytes:
    return programs.run(
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
