"""Draws the pictures of the documentation, on an emulated workspace: `python docs/make_images.py`.

It takes seconds, because time moves only where the clock is advanced or slept on.
"""

from __future__ import annotations

from pathlib import Path

import cirq
import sympy
from matplotlib.figure import Figure

from cirq_azure_sessions import AzureSessionSampler, ManualClock, SessionPool, plot_sweep
from cirq_azure_sessions.emulator import EmulatorServer

IMAGES = Path(__file__).parent / "images"

QUBIT = cirq.LineQubit(0)
ROTATION = cirq.Circuit(cirq.rx(sympy.Symbol("theta"))(QUBIT), cirq.measure(QUBIT, key="m"))


def draw_sweep(path: Path) -> None:
    """The sweep of the page on sweeps."""
    with EmulatorServer() as server, SessionPool(server.workspace()) as pool:
        sampler = AzureSessionSampler("ionq.simulator", pool=pool, seed=1)
        sweep = cirq.Linspace("theta", 0, 6.28, 50)
        results = sampler.run_sweep(ROTATION, sweep, repetitions=500)
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    plot_sweep(results, figure.add_subplot())
    figure.savefig(path, dpi=110)


def draw_timeline(path: Path) -> None:
    """An hour of two targets: a break that outlasts a session, and a job that fails."""
    clock = ManualClock()
    with (
        EmulatorServer(clock=clock, realistic=True, seed=1) as server,
        SessionPool(server.workspace(), clock=clock) as pool,
    ):
        ionq = AzureSessionSampler("ionq.simulator", pool=pool, seed=1)
        quantinuum = AzureSessionSampler(
            "quantinuum.sim.h2-1e", pool=pool, on_error="return", max_concurrent_jobs=4
        )
        sweep = cirq.Linspace("theta", 0, 3.14, 8)
        for minutes in (1, 1, 2, 1, 3, 16, 1, 2, 1, 1):
            ionq.run_sweep(ROTATION, sweep, repetitions=100)
            if minutes == 2:
                server.faults.fail_job(code="InvalidInputData")
                quantinuum.run_sweep(ROTATION, sweep, repetitions=100)
            clock.advance(60 * minutes)
    pool.plot_timeline().figure.savefig(path, dpi=150)


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    draw_sweep(IMAGES / "sweep.png")
    draw_timeline(IMAGES / "timeline.png")
