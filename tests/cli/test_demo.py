"""The demonstration's figures: a known curve, known distances, and the story of its sessions."""

from __future__ import annotations

import re

import cirq
import numpy as np
import pytest
from click.testing import CliRunner

from cirq_azure_sessions.cli import main
from cirq_azure_sessions.cli.demo import (
    TARGETS,
    Curve,
    Demo,
    compare,
    lifelines,
    qaoa_ring,
    run_demo,
)
from cirq_azure_sessions.watch.events import JobEvent, SessionEvent


@pytest.fixture(scope="module")
def demo() -> Demo:
    return run_demo(nodes=4, points=6, repetitions=2000)


def test_every_target_follows_the_theory(demo: Demo) -> None:
    """A mean of 2,000 cuts strays by six standard errors once in 5e8; noise takes 0.1 edges."""
    assert [curve.target for curve in demo.curves] == list(TARGETS)
    for curve in demo.curves:
        noise = 0.1 if curve.provider == "quantinuum" else 0.0
        assert np.all(np.abs(curve.mean_cuts - demo.theory) < 6 * curve.standard_errors + noise)


def test_the_session_of_the_last_sweep_times_out_half_way(demo: Demo) -> None:
    assert [(line.target, line.kinds, line.jobs) for line in lifelines(demo.events)] == [
        ("local.simulator", ("opened", "closed"), 2),
        ("ionq.simulator", ("opened", "closed"), 6),
        ("quantinuum.sim.h2-1e", ("opened", "timed_out"), 3),
        ("quantinuum.sim.h2-1e", ("reopened", "closed"), 3),
    ]
    assert demo.stats["sessions_reopened"] == 1
    assert demo.stats["sessions_open"] == 0


def test_the_theory_is_that_of_the_circuit() -> None:
    """For every angle, against the exact state."""
    circuit = qaoa_ring(6)
    program, (measurement,) = circuit[:-1], circuit[-1]
    edges = cirq.PauliSum()
    qubits = sorted(measurement.qubits)
    for a, b in zip(qubits, qubits[1:] + qubits[:1], strict=True):
        edges += 0.5 - 0.5 * cirq.Z(a) * cirq.Z(b)
    for gamma in np.linspace(0, np.pi / 2, 5):
        (cut,) = cirq.Simulator(dtype=np.complex128).simulate_expectation_values(
            program, edges, {"gamma": gamma}
        )
        assert cut.real == pytest.approx(6 * (0.5 + 0.25 * np.sin(2 * gamma)))


def curve(bits: list[list[int]], target: str = "local.simulator") -> Curve:
    return Curve(target, [cirq.ResultDict(measurements={"cut": np.array(bits)})])


def test_equal_samples_have_distance_zero() -> None:
    one = curve([[0, 1], [1, 0]])
    agreement = compare(one, one)
    assert (agreement.cut_difference, agreement.distance) == (0, 0)


def test_samples_without_a_common_outcome_are_at_distance_one() -> None:
    agreement = compare(curve([[0, 0]] * 4), curve([[0, 1]] * 4))
    assert agreement.distance == 1
    assert agreement.cut_difference == 2


def test_the_expected_difference_of_equal_targets_is_right() -> None:
    """The mean of 200 distances strays from its expectation by less than 5 % at this seed."""
    circuit = qaoa_ring(4)
    sampler = cirq.Simulator(seed=5)
    halves = [
        Curve("local.simulator", sampler.run_sweep(circuit, [{"gamma": 0.6}] * 200, 400))
        for _ in range(2)
    ]
    agreement = compare(*halves)
    assert agreement.distance == pytest.approx(agreement.expected_distance, rel=0.05)
    assert agreement.cut_difference == pytest.approx(agreement.expected_cut_difference, rel=0.15)


def test_a_session_that_follows_another_is_a_reopened_one() -> None:
    def told(kind: str, session: str) -> SessionEvent:
        return SessionEvent(kind, session, "t", time=0.0)

    events = [
        told("opened", "a"),
        JobEvent("succeeded", "j", "a", "t", time=0.0),
        told("timed_out", "a"),
        told("opened", "b"),
    ]
    assert [(line.session_id, line.kinds, line.jobs) for line in lifelines(events)] == [
        ("a", ("opened", "timed_out"), 1),
        ("b", ("reopened",), 0),
    ]


def test_the_demonstration_shows_samples_sessions_and_agreement() -> None:
    shown = CliRunner().invoke(main, ["demo"])
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    sessions = [line.split(maxsplit=2) for line in lines if line.endswith((" 6", " 12", " 2"))]
    assert [(target, what) for target, _, what in sessions[-4:]] == [
        ("local.simulator", "opened, closed        2"),
        ("ionq.simulator", "opened, closed       12"),
        ("quantinuum.sim.h2-1e", "opened, timed out     6"),
        ("quantinuum.sim.h2-1e", "reopened, closed      6"),
    ]
    # How many jobs find out that the session has ended, up to six, is a matter of chance.
    found = re.search(r"4 opened, 1 reopened, 1 timed out, 3 closed, (\d+) reused", shown.stdout)
    assert found is not None
    assert 23 <= int(found[1]) <= 28
