"""`local.like:TARGET`: the target's gates with its published noise, as on the emulated machine."""

from __future__ import annotations

import asyncio

import cirq
import pytest
import sympy
from formats_lab import assert_same_distribution, decode, emulate, job, translation

from cirq_azure_sessions import AzureSessionSampler
from cirq_azure_sessions.errors import UnsupportedProgram, UnsupportedTarget
from cirq_azure_sessions.noise import published_noise, published_targets
from cirq_azure_sessions.workspaces.local import LocalWorkspace

H2, ARIA, CEPHEUS = "quantinuum.sim.h2-1e", "ionq.qpu.aria-1", "rigetti.qpu.cepheus-1-36q"
A, B, C = cirq.LineQubit.range(3)
SHOTS = 10_000

# Each block undoes itself: without noise, every shot reads 0. IonQ takes ZZ and XX as one gate, and
# OpenQASM as two of CNOT.
BLOCK = [cirq.ZZ(A, B) ** 0.3, cirq.XX(B, C) ** 0.2, cirq.ISWAP(A, C), cirq.YY(A, B) ** 0.1]
ECHO = cirq.Circuit([BLOCK, cirq.inverse(BLOCK)] * 3, cirq.measure(A, B, C, key="m"))
# A qubit goes on after its measurement, and a gate depends on what was read.
FEEDBACK = cirq.Circuit(
    cirq.X(A),
    [(cirq.measure(A, key=f"a{k}"), cirq.X(B).with_classical_controls(f"a{k}")) for k in range(8)],
    cirq.measure(A, B, key="m"),
)


def on_the_emulated_machine(target: str, circuit: cirq.Circuit, repetitions: int) -> cirq.Result:
    sent = job(target, circuit, repetitions=repetitions)
    return decode(target, sent, emulate(target, sent, noise=None))


@pytest.mark.parametrize(
    ("target", "circuit"), [(H2, ECHO), (ARIA, ECHO), (CEPHEUS, ECHO), (H2, FEEDBACK)]
)
def test_samples_are_those_of_the_emulated_machine(target: str, circuit: cirq.Circuit) -> None:
    """Fails on equal distributions once in 10**7 runs."""
    repetitions = SHOTS if circuit is ECHO else SHOTS // 40
    expected = on_the_emulated_machine(target, circuit, repetitions)
    found = AzureSessionSampler(f"local.like:{target}", seed=1).run(
        circuit, repetitions=repetitions
    )
    assert_same_distribution(found, expected)
    assert len(found.histogram(key="m")) > 1


@pytest.mark.parametrize("target", published_targets())
def test_published_noise_has_symmetric_readout_and_no_losses(target: str) -> None:
    noise = published_noise(target)
    assert noise.one_qubit > 0
    assert noise.two_qubit > 0
    assert noise.readout[0] == noise.readout[1] > 0
    assert noise.loss == 0


def test_each_point_of_a_sweep_is_compiled_as_its_own_circuit_is() -> None:
    """A rotation by nothing is no gate on the machine, and brings no error."""
    t = sympy.Symbol("t")
    circuit = cirq.Circuit(cirq.ZZ(A, B) ** t, cirq.measure(A, B, key="m"))
    sweep = translation(f"local.like:{H2}", circuit, [{"t": 0.0}, {"t": 0.3}])
    depolarized = [
        sum(isinstance(op.gate, cirq.DepolarizingChannel) for op in circuit.all_operations())
        for circuit in (sweep.job(index).payload.circuit for index in range(len(sweep)))
    ]
    assert depolarized == [0, 3]


def test_a_seed_repeats_a_sweep_and_its_points_differ() -> None:
    circuit = cirq.Circuit(cirq.H(A), cirq.X(A) ** sympy.Symbol("t"), cirq.measure(A, key="m"))
    points = cirq.Points("t", [0.25, 0.25])
    first, again = (
        AzureSessionSampler(f"local.like:{H2}", seed=1).run_sweep(circuit, points, 100)
        for _ in range(2)
    )
    assert list(first) == list(again)
    assert first[0] != first[1]
    assert [result.params for result in first] == list(cirq.to_resolvers(points))


def test_circuits_that_the_target_refuses_are_refused_locally() -> None:
    with pytest.raises(UnsupportedProgram, match="measures only at the end"):
        AzureSessionSampler(f"local.like:{ARIA}").run(FEEDBACK)


@pytest.mark.parametrize(
    ("target", "advice"),
    [
        ("quantinum.sim.h2-1e", "Did you mean 'quantinuum.sim.h2-1e'"),
        ("ionq.simulator", "takes ionq.qpu.aria-1, "),
        ("quantinuum.sim.h2-1sc", "is published"),
        ("qci.machine1", "is published"),
        ("msft.sim.atoms.physical", "is published"),
    ],
)
def test_a_target_without_published_noise_is_refused_with_those_that_have_it(
    target: str, advice: str
) -> None:
    with pytest.raises(UnsupportedTarget, match=advice):
        AzureSessionSampler(f"local.like:{target}")


def test_targets_with_published_noise_are_listed() -> None:
    listed = {target.id for target in asyncio.run(LocalWorkspace().list_targets())}
    assert {f"local.like:{target}" for target in published_targets()} <= listed
    assert "local.simulator" in listed
    assert "local.like:" not in listed
