"""The demonstration: one QAOA sweep on three targets, without an account.

The circuit looks for the largest cut of a ring, at depth one. Its mean cut is known in closed form,
so every target can be held to the theory as well as to the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cirq
import numpy as np
import sympy

from cirq_azure_sessions.clock import ShiftedClock
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.model import AnyEvent, JobEvent, SessionEvent
from cirq_azure_sessions.sampler import AzureSessionSampler
from cirq_azure_sessions.sessions.pool import SessionPool

__all__ = [
    "NODES",
    "POINTS",
    "REPETITIONS",
    "TARGETS",
    "Agreement",
    "Curve",
    "Demo",
    "Lifeline",
    "compare",
    "lifelines",
    "qaoa_ring",
    "run_demo",
]

TARGETS = ("local.simulator", "ionq.simulator", "quantinuum.sim.h2-1e")

NODES = 6
POINTS = 12
REPETITIONS = 500

# The mixing angle at which a ring's mean cut varies most with the other angle.
_BETA = np.pi / 8

# The service ends a session after 600 s without use.
_PAUSE = 601.0


@dataclass(frozen=True)
class Curve:
    """What one target answered.

    Attributes:
        target: The target's id.
        results: One result a point of the sweep, in order.
    """

    target: str
    results: Sequence[cirq.Result]

    @property
    def provider(self) -> str:
        """The first part of the target's id."""
        return self.target.split(".")[0]

    @property
    def mean_cuts(self) -> np.ndarray:
        """The mean number of cut edges at each point."""
        return np.array([_cuts(result).mean() for result in self.results])

    @property
    def standard_errors(self) -> np.ndarray:
        """The standard error of each mean."""
        return np.array(
            [_cuts(result).std() / np.sqrt(result.repetitions) for result in self.results]
        )


@dataclass(frozen=True)
class Agreement:
    """How far two targets are from each other, averaged over the sweep.

    Attributes:
        first, second: The targets' curves.
        cut_difference: The mean absolute difference of their mean cuts, in edges.
        expected_cut_difference: What sampling alone makes of it if the targets are equal.
        distance: The mean total variation distance of their outcomes, from 0 to 1.
        expected_distance: What sampling alone makes of it if the targets are equal.
    """

    first: Curve
    second: Curve
    cut_difference: float
    expected_cut_difference: float
    distance: float
    expected_distance: float


@dataclass(frozen=True)
class Lifeline:
    """What the pool told about one session.

    Attributes:
        kinds: What happened to it, in order, in the words of `SessionEvent.kind`; but `reopened`
            where it took the place of another.
        jobs: How many of its jobs brought a result.
    """

    session_id: str
    target: str
    kinds: tuple[str, ...]
    jobs: int


@dataclass(frozen=True)
class Demo:
    """All that the demonstration found out.

    Attributes:
        gammas: The swept angle, in radians.
        theory: The exact mean cut at each angle.
        curves: One for each of `TARGETS`.
        events: The events of the pool, in order.
        stats: The pool's statistics after it was closed.
    """

    nodes: int
    repetitions: int
    gammas: np.ndarray
    theory: np.ndarray
    curves: Sequence[Curve]
    events: Sequence[AnyEvent]
    stats: dict[str, float]


def run_demo(*, nodes: int = NODES, points: int = POINTS, repetitions: int = REPETITIONS) -> Demo:
    """Samples the sweep on every target, in one pool, with the SDK between it and the emulator.

    Half way through the sweep of the last target the emulator's clock is put on by more than the
    service's ten minutes, so that the session of the first half is over when the second begins.
    """
    circuit = qaoa_ring(nodes)
    gammas = np.linspace(0, np.pi / 2, points)
    halves = [cirq.Points("gamma", half.tolist()) for half in np.array_split(gammas, 2)]
    curves = []
    events: list[AnyEvent] = []
    clock = ShiftedClock()
    with EmulatorServer(clock=clock) as server, SessionPool(server.workspace()) as pool:
        pool.subscribe(events.append)
        for target in TARGETS:
            sampler = AzureSessionSampler(target, pool=pool)
            results = list(sampler.run_sweep(circuit, halves[0], repetitions))
            if target == TARGETS[-1]:
                clock.advance(_PAUSE)
            results += sampler.run_sweep(circuit, halves[1], repetitions)
            curves.append(Curve(target, results))
    return Demo(
        nodes, repetitions, gammas, _theory(nodes, gammas), curves, events, pool.get_stats()
    )


def lifelines(events: Sequence[AnyEvent]) -> Sequence[Lifeline]:
    """Sorts what the pool told by session, in the order in which they were opened."""
    by_session: dict[str, list[SessionEvent | JobEvent]] = {}
    for event in events:
        if event.subject != "sweep" and event.session_id is not None:
            by_session.setdefault(event.session_id, []).append(event)
    lines: list[Lifeline] = []
    for session_id, told in by_session.items():
        target = told[0].target
        kinds = [event.kind for event in told if event.counter.startswith("sessions_")]
        if any(line.target == target for line in lines):
            kinds[0] = "reopened"
        jobs = sum(event.counter == "jobs_succeeded" for event in told)
        lines.append(Lifeline(session_id, target, tuple(kinds), jobs))
    return lines


def qaoa_ring(nodes: int) -> cirq.Circuit:
    """QAOA of depth one for the largest cut of a ring; the symbol `gamma` is the cost angle.

    The bits of the key `cut` say on which side of the cut each node is.
    """
    qubits = cirq.LineQubit.range(nodes)
    # exp(-i gamma C), where C counts the cut edges: (1 - ZZ) / 2 each.
    phase = cirq.ZZPowGate(exponent=-sympy.Symbol("gamma") / np.pi)
    return cirq.Circuit(
        cirq.H.on_each(*qubits),
        (phase(a, b) for a, b in zip(qubits, qubits[1:] + qubits[:1], strict=True)),
        cirq.rx(2 * _BETA).on_each(*qubits),
        cirq.measure(*qubits, key="cut"),
    )


def _theory(nodes: int, gammas: np.ndarray) -> np.ndarray:
    """The mean cut of a ring of more than three nodes (Wang et al., Phys. Rev. A 97, 022304)."""
    return np.asarray(nodes * (0.5 + 0.25 * np.sin(4 * _BETA) * np.sin(2 * gammas)))


def _cuts(result: cirq.Result) -> np.ndarray:
    """The number of cut edges in each repetition."""
    sides = result.measurements["cut"]
    return np.asarray(np.count_nonzero(sides != np.roll(sides, 1, axis=1), axis=1))


def compare(first: Curve, second: Curve) -> Agreement:
    """How far two targets agree, and how far two equal ones would."""
    # The mean of |x| is sqrt(2 / pi) standard deviations for a normal x of mean zero.
    of_normal = np.sqrt(2 / np.pi)
    spread = np.hypot(first.standard_errors, second.standard_errors)
    distances, expected = zip(
        *(_distance(a, b) for a, b in zip(first.results, second.results, strict=True)), strict=True
    )
    return Agreement(
        first,
        second,
        float(np.abs(first.mean_cuts - second.mean_cuts).mean()),
        float(of_normal * spread.mean()),
        float(np.mean(distances)),
        float(np.mean(expected)),
    )


def _distance(first: cirq.Result, second: cirq.Result) -> tuple[float, float]:
    """The total variation distance of two samples, and its expectation if their source is one."""
    p, q = _frequencies(first), _frequencies(second)
    n, m = first.repetitions, second.repetitions
    common = (n * p + m * q) / (n + m)
    deviations = np.sqrt(common * (1 - common) * (1 / n + 1 / m))
    return np.abs(p - q).sum() / 2, np.sqrt(2 / np.pi) * deviations.sum() / 2


def _frequencies(result: cirq.Result) -> np.ndarray:
    sides = result.measurements["cut"]
    counts = result.histogram(key="cut")
    outcomes = range(2 ** sides.shape[1])
    return np.array([counts[outcome] / len(sides) for outcome in outcomes])
