"""The engine: shots that part, batches that are cut up, components.

What programs compute is tested with the languages that they are written in.
"""

from __future__ import annotations

import itertools
from collections import Counter

import cirq
import numpy as np
import pytest

from cirq_azure_sessions.emulator.programs import NOISELESS, MachineNoise
from cirq_azure_sessions.workspaces.local import ProgramError, engine
from cirq_azure_sessions.workspaces.local.engine import Engine
from cirq_azure_sessions.workspaces.local.program import Budget, Condition, Statement

SHOTS = 20_000
NOISE = MachineNoise(one_qubit=0.05, two_qubit=0.1, readout=(0.02, 0.05))

A, B, C = cirq.LineQubit.range(3)
ONE = Condition(("a",), "==", 1)
KEYS = ("a", "b", "c", "d")

PROGRAM = [
    Statement([cirq.H(A), cirq.CX(A, B), cirq.measure(A, key="a")]),
    Statement([cirq.H(C), cirq.X(B)], ONE),
    Statement([cirq.reset(A), cirq.XX(A, C) ** 0.25]),
    *(Statement([cirq.measure(q, key=key)]) for q, key in ((A, "b"), (B, "c"), (C, "d"))),
]


def draw(
    statements: list[Statement],
    keys: tuple[str, ...],
    shots: int,
    noise: cirq.NoiseModel = NOISELESS,
    *,
    seed: int = 1,
    budget: Budget | None = None,
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return Engine(noise, rng, budget or Budget()).sample(statements, keys, shots)


def test_qubits_that_are_not_measured_take_nothing_for_each_shot() -> None:
    rng = np.random.default_rng(1)
    before = rng.bit_generator.state
    program = [Statement([cirq.X(A), cirq.H(B)])]
    assert Engine(NOISELESS, rng, Budget()).sample(program, ["a"], 100_000).sum() == 0
    assert rng.bit_generator.state == before


def ideal() -> Engine:
    return Engine(NOISELESS, np.random.default_rng(1), Budget())


def frequencies(noise: cirq.NoiseModel, seed: int, budget: Budget | None = None) -> Counter[bytes]:
    bits = draw(PROGRAM, KEYS, SHOTS, noise, seed=seed, budget=budget)
    assert bits.shape == (SHOTS, 4)
    return Counter(row.tobytes() for row in bits)


def assert_alike(one: Counter[bytes], other: Counter[bytes]) -> None:
    """Two samples of as many shots agree to 6 standard deviations; the seeds are fixed."""
    for outcome in one | other:
        difference = one[outcome] - other[outcome]
        assert abs(difference) < 6 * np.sqrt(one[outcome] + other[outcome])


@pytest.mark.parametrize("noise", [NOISELESS, NOISE], ids=["ideal", "noisy"])
def test_cutting_batches_up_does_not_change_the_distribution(
    noise: cirq.NoiseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = frequencies(noise, 1)
    monkeypatch.setattr(engine, "_BATCH_SIZE", 32)
    assert_alike(whole, frequencies(noise, 2))


@pytest.mark.parametrize(
    "noise",
    [
        cirq.NoiseModel.from_noise_model_like(cirq.amplitude_damp(0.2)),
        MachineNoise(one_qubit=0.05, two_qubit=0.1),
    ],
    ids=["damping", "depolarizing"],
)
def test_any_noise_of_cirq_gives_what_its_density_matrix_simulator_gives(
    noise: cirq.NoiseModel,
) -> None:
    """Each frequency within 6 standard deviations."""
    gates = [cirq.H(A), cirq.CX(A, B), cirq.ry(0.4)(B), cirq.CX(B, A), cirq.H(A)]
    measurements = [cirq.measure(A, key="a"), cirq.measure(B, key="b")]
    found = draw([Statement([*gates, *measurements])], ("a", "b"), SHOTS, noise)
    noisy = cirq.Circuit(
        cirq.Moment(each)
        for gate in gates
        for each in cirq.flatten_to_ops(noise.noisy_operation(gate))
    )
    density = cirq.DensityMatrixSimulator().simulate(noisy).final_density_matrix
    for outcome, probability in enumerate(np.diag(density).real):
        share = (found @ [2, 1] == outcome).mean()
        assert abs(share - probability) < 6 * np.sqrt(probability * (1 - probability) / SHOTS)


def test_shots_of_a_deterministic_program_share_one_state_vector() -> None:
    measurements = [cirq.measure(A, key="a"), cirq.measure(B, key="b")]
    program = [Statement([cirq.H(A), cirq.CX(A, B), *measurements])]
    # Two gates, and two measurements that take their qubit out of the state vector: five operands,
    # and a choice of branches for each measurement, in one row and in two.
    budget = Budget(work=4 * (engine._OVERHEAD + 6) + 33 * engine._OVERHEAD + 3 * engine._ROW)
    assert len(draw(program, ("a", "b"), 100_000, budget=budget)) == 100_000


def test_work_is_counted_over_all_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_BATCH_SIZE", 32)
    with pytest.raises(ProgramError) as caught:
        frequencies(NOISE, 1, Budget(work=100_000))
    assert caught.value.code == "ProviderTimeout"


def test_too_many_qubits_are_refused_before_memory_is_taken() -> None:
    qubits = cirq.LineQubit.range(23)
    with pytest.raises(ProgramError, match="up to 22 qubits"):
        ideal().probabilities([cirq.CX(*pair) for pair in itertools.pairwise(qubits)])


def test_independent_parts_are_simulated_separately_with_noise() -> None:
    pairs = [cirq.LineQubit.range(2 * n, 2 * n + 2) for n in range(10)]
    steps = [Statement([cirq.H(a), cirq.CX(a, b)]) for a, b in pairs]
    keys = tuple(str(qubit.x) for pair in pairs for qubit in pair)
    steps += [Statement([cirq.measure(q, key=str(q.x)) for pair in pairs for q in pair])]
    bits = draw(steps, keys, SHOTS, MachineNoise(two_qubit=0.1))
    for first in range(0, 20, 2):
        # An error on both qubits leaves the pair equal in 7 of 15 cases; six standard deviations.
        unequal = (bits[:, first] != bits[:, first + 1]).mean()
        assert abs(unequal - 0.1 * 8 / 15) < 6 * 0.0016
    # And no pair knows of another.
    assert abs((bits[:, 0] == bits[:, 2]).mean() - 0.5) < 6 * 0.0036


def test_condition_joins_the_bits_it_reads_and_the_qubits_it_controls() -> None:
    steps = [
        Statement([cirq.H(A), cirq.measure(A, key="a")]),
        Statement([cirq.X(B)], ONE),
        Statement([cirq.measure(B, key="b")]),
    ]
    bits = draw(steps, ("a", "b"), 200)
    assert (bits[:, 0] == bits[:, 1]).all()
    assert 0 < bits[:, 0].sum() < 200


def test_tiny_probabilities_are_rounding_errors() -> None:
    assert ideal().probabilities([cirq.rx(2 * np.pi / 1000)(A)] * 1000) == {0: 1.0}


def test_the_bits_of_each_shot_belong_together() -> None:
    steps = [cirq.H(A), cirq.measure(A, key="a"), cirq.X(A), cirq.measure(A, key="b")]
    bits = draw([Statement(steps)], ("a", "b"), 1000)
    assert (bits[:, 0] != bits[:, 1]).all()
