"""The pictures of docs/concepts/performance.md: wall against points and against latency.

The SDK's curves have steps: it polls once a second, so whether a job has finished at the first poll
makes a difference of a second per point.
"""

from __future__ import annotations

import statistics
from functools import partial
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.measurements import JOB_TIME, LATENCY, floor, seconds, timed_sweep
from benchmarks.peers import service_run_loop, target_submit_loop
from benchmarks.programs import rabi, sweep
from benchmarks.service import Service

__all__ = ["draw"]

_OURS, _FLOOR = "cirq-azure-sessions", "five round trips and the job"
_PEERS = {
    "AzureQuantumService.run": service_run_loop,
    "target.submit in a session": target_submit_loop,
}


def draw(folder: Path) -> list[Path]:
    """Measures and draws both pictures; returns where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _picture(folder / "wall_by_points.png", "points of the sweep", *_by_points()),
        _picture(folder / "wall_by_latency.png", "latency of a request (ms)", *_by_latency()),
    ]


Curves = dict[str, list[tuple[float, float]]]


def _by_points() -> tuple[Curves, str]:
    curves: Curves = {name: [] for name in (_OURS, *_PEERS, _FLOOR)}
    with Service(latency=LATENCY, job_time=JOB_TIME) as service:
        timed_sweep(service, 2)
        for points in (1, 3, 10, 30, 100, 300, 1000):
            curves[_OURS].append((points, _timed(service, points)))
            curves[_FLOOR].append((points, floor(LATENCY, JOB_TIME)))
            if points <= 30:
                _measure_peers(curves, service, points, points)
    return curves, f"{1e3 * LATENCY:g} ms a request, {JOB_TIME:g} s a job"


def _by_latency() -> tuple[Curves, str]:
    curves: Curves = {name: [] for name in (_OURS, *_PEERS, _FLOOR)}
    points = 10
    for latency in (0.005, 0.02, 0.05, 0.1, 0.2):
        with Service(latency=latency, job_time=JOB_TIME) as service:
            timed_sweep(service, 2)
            x = 1e3 * latency
            curves[_OURS].append((x, _timed(service, points)))
            curves[_FLOOR].append((x, floor(latency, JOB_TIME)))
            _measure_peers(curves, service, x, points)
    return curves, f"{points} points, {JOB_TIME:g} s a job"


def _timed(service: Service, points: int) -> float:
    return statistics.median(timed_sweep(service, points) for _ in range(3))


def _measure_peers(curves: Curves, service: Service, x: float, points: int) -> None:
    for name, loop in _PEERS.items():
        work = partial(loop, service.workspace(), rabi(), sweep(points))
        curves[name].append((x, seconds(work)))


def _picture(path: Path, axis: str, curves: Curves, title: str) -> Path:
    figure, axes = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
    for name, curve in curves.items():
        style = {"color": "0.5", "linestyle": ":"} if name == _FLOOR else {"marker": "o"}
        axes.plot(*zip(*curve, strict=True), label=name, **style)
    axes.set(xscale="log", yscale="log", xlabel=axis, ylabel="seconds of a sweep", title=title)
    axes.set_xticks([x for x, _ in curves[_OURS]])
    for each in (axes.xaxis, axes.yaxis):
        each.set_major_formatter("{x:g}")
        each.set_minor_formatter("")
    axes.grid(visible=True, alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path
