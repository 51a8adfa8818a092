"""The command `demo`: one QAOA sweep on three targets, without an account.

The circuit searches for the largest cut of a ring, at depth one. Its mean cut is known in closed
form, so every target can be compared with theory as well as with the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import cirq
import click
import numpy as np
import sympy
from rich.table import Table
from rich.text import Text

from cirq_azure_sessions.cli.options import show
from cirq_azure_sessions.cli.tables import new_table
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.emulator.shifted_clock import ShiftedClock
from cirq_azure_sessions.results.histogram import count_outcomes
from cirq_azure_sessions.sampler import AzureSessionSampler
from cirq_azure_sessions.sessions.pool import SessionPool
from cirq_azure_sessions.watch.events import AnyEvent, JobEvent, SessionEvent

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
    "show_demo",
    "stats_table",
]

TARGETS = ("local.simulator", "ionq.simulator", "quantinuum.sim.h2-1e")

NODES = 6
POINTS = 12
REPETITIONS = 500

# The mixing angle at which a ring's mean cut is most sensitive to the other angle.
_BETA = np.pi / 8

# The service ends a session after 600 s of inactivity.
_PAUSE = 601.0


@dataclass(frozen=True)
class Curve:
    """The results of one target.

    Attributes:
        target: The target's id.
        results: One result per point of the sweep, in order.
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
    """The difference between two targets, averaged over the sweep.

    Attributes:
        first, second: The targets' curves.
        cut_difference: The mean absolute difference of their mean cuts, in edges.
        expected_cut_difference: Its expectation for equal targets, from sampling noise alone.
        distance: The mean total variation distance of their outcomes, from 0 to 1.
        expected_distance: Its expectation for equal targets, from sampling noise alone.
    """

    first: Curve
    second: Curve
    cut_difference: float
    expected_cut_difference: float
    distance: float
    expected_distance: float


@dataclass(frozen=True)
class Lifeline:
    """The pool's events of one session.

    Attributes:
        kinds: Its events, in order, as in `SessionEvent.kind`; but `reopened` if it replaced
            another.
        jobs: How many of its jobs have a result.
    """

    session_id: str
    target: str
    kinds: tuple[str, ...]
    jobs: int


@dataclass(frozen=True)
class Demo:
    """The results of the demonstration.

    Attributes:
        gammas: The swept angle, in radians.
        theory: The exact mean cut at each angle.
        curves: One curve for each of `TARGETS`.
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
    """Samples the sweep on every target in one pool, with the SDK between pool and emulator.

    Halfway through the sweep of the last target the emulator's clock is advanced by more than
    the service's ten minutes, so that the first half's session has ended when the second begins.
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
    """Groups the pool's events by session, in the order of opening."""
    by_session: dict[str, list[SessionEvent | JobEvent]] = {}
    for event in events:
        if event.subject != "sweep" and event.session_id is not None:
            by_session.setdefault(event.session_id, []).append(event)
    lines: list[Lifeline] = []
    for session_id, own in by_session.items():
        target = own[0].target
        kinds = [event.kind for event in own if event.counter.startswith("sessions_")]
        if any(line.target == target for line in lines):
            kinds[0] = "reopened"
        jobs = sum(event.counter == "jobs_succeeded" for event in own)
        lines.append(Lifeline(session_id, target, tuple(kinds), jobs))
    return lines


def qaoa_ring(nodes: int) -> cirq.Circuit:
    """QAOA of depth one for the largest cut of a ring; the symbol `gamma` is the cost angle.

    Each bit of the key `cut` is the side of the cut that a node is on.
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
    """The difference between two targets, and its expectation for equal targets."""
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
    """The total variation distance of two samples, and its expectation for a common source."""
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


# Output

_INTRODUCTION = """\
QAOA for the largest cut of a ring of {nodes} nodes: one sweep, on three targets.
The last two are served by an emulator on this machine, through Azure's own SDK.

    sampler = AzureSessionSampler(target, pool=pool)
    sampler.run_sweep(circuit, cirq.Linspace("gamma", 0, pi / 2, {points}), {repetitions})

The mean number of cut edges:
"""
_BEST = "\nWhere theory predicts the largest mean:\n"
_SESSIONS = """
Halfway through the last sweep the emulator's clock was advanced by ten minutes,
so its session timed out. The pool opened another, and the sweep went on:
"""
_AGREEMENT = """
How far apart the answers are, averaged over the sweep, and how far {repetitions} samples
of equal targets would be: mean cuts in edges, distributions by total variation.
"""


def show_demo() -> None:
    """Runs the demonstration and prints its description and results."""
    click.echo(_INTRODUCTION.format(nodes=NODES, points=POINTS, repetitions=REPETITIONS))
    outcome = run_demo()
    show(_sweep_table(outcome))
    click.echo(_BEST)
    show(_best_cut_table(outcome))
    click.echo(_SESSIONS)
    show(_lifeline_table(lifelines(outcome.events)))
    click.echo("\npool.get_stats():\n")
    show(stats_table(outcome.stats))
    click.echo(_AGREEMENT.format(repetitions=outcome.repetitions))
    show(_agreement_table([compare(*pair) for pair in combinations(outcome.curves, 2)]))


def _sweep_table(demo: Demo) -> Table:
    """One row per point: the mean cut in theory and on each target, as numbers and as a plot."""
    providers = [curve.provider for curve in demo.curves]
    table = new_table()
    for header in ("gamma", "theory", *providers):
        table.add_column(header, justify="right")
    marks = ", ".join(f"{name[0]} {name}" for name in providers)
    table.add_column(f"| theory, {marks}")
    rows = np.column_stack([demo.theory, *(curve.mean_cuts for curve in demo.curves)])
    low, high = rows.min(), rows.max()
    for gamma, row in zip(demo.gammas, rows, strict=True):
        line = _plot((row - low) / (high - low), "|" + "".join(name[0] for name in providers))
        table.add_row(f"{gamma:.3f}", *(f"{cut:.2f}" for cut in row), line)
    return table


def _plot(positions: Iterable[float], marks: str, width: int = 34) -> Text:
    """A line of text with marks at positions from 0 to 1; later marks hide earlier ones."""
    line = [" "] * width
    for position, mark in zip(positions, marks, strict=True):
        line[round(position * (width - 1))] = mark
    return Text("".join(line))


def _best_cut_table(demo: Demo) -> Table:
    """One row per target: its most frequent outcome where theory predicts the largest mean cut."""
    table = new_table()
    for header in ("target", "most frequent outcome", "cut edges"):
        table.add_column(header)
    best = int(demo.theory.argmax())
    for curve in demo.curves:
        outcome, count = next(iter(count_outcomes(curve.results[best]).counts.items()))
        ring = zip(outcome, outcome[1:] + outcome[:1], strict=True)
        cut = sum(a != b for a, b in ring)
        table.add_row(
            curve.target, f"{outcome}, {count} of {demo.repetitions}", f"{cut} of {demo.nodes}"
        )
    return table


def _lifeline_table(lifelines: Sequence[Lifeline]) -> Table:
    """One row per session: its history, and how many of its jobs returned a result."""
    table = new_table()
    for header in ("target", "session", "history"):
        table.add_column(header)
    table.add_column("jobs", justify="right")
    for line in lifelines:
        words = ", ".join(kind.replace("_", " ") for kind in line.kinds)
        table.add_row(line.target, line.session_id[:8], words, str(line.jobs))
    return table


def _agreement_table(agreements: Sequence[Agreement]) -> Table:
    """One row per pair of targets: their difference, and that expected from sampling noise."""
    table = new_table()
    table.add_column("targets")
    for header in ("mean cuts", "by chance", "distributions", "by chance "):
        table.add_column(header, justify="right")
    for pair in agreements:
        table.add_row(
            f"{pair.first.provider}, {pair.second.provider}",
            f"{pair.cut_difference:.3f}",
            f"{pair.expected_cut_difference:.3f}",
            f"{pair.distance:.3f}",
            f"{pair.expected_distance:.3f}",
        )
    return table


def stats_table(stats: Mapping[str, float]) -> Table:
    """The pool's nonzero statistics: sessions in one row, jobs in another."""
    table = new_table(show_header=False)
    for noun in ("sessions", "jobs"):
        counts = {
            name.removeprefix(f"{noun}_").replace("_", " "): count
            for name, count in stats.items()
            if name.startswith(noun) and count
        }
        table.add_row(noun, ", ".join(f"{count:g} {name}" for name, count in counts.items()))
    return table
