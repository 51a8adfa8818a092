"""A network that is away: what is waited for survives it, and a first contact fails soon."""

from __future__ import annotations

from pathlib import Path

import cirq
import pytest
import sympy
from services import drive, in_background

from cirq_azure_sessions import (
    AzureSessionSampler,
    AzureSessionsError,
    ManualClock,
    PoolTimeout,
    SessionPool,
    SweepError,
)
from cirq_azure_sessions.emulator import EmulatorServer

TURN = cirq.Circuit(
    cirq.rx(sympy.Symbol("angle"))(cirq.LineQubit(0)), cirq.measure(cirq.LineQubit(0), key="m")
)
POINTS = cirq.Linspace("angle", 0.1, 3.0, 6)
HOUR = 3600.0


@pytest.mark.parametrize(
    ("route", "after"), [("upload", 4), ("submit", 1), ("job", 0), ("download", 0)]
)
def test_hour_without_a_network_loses_no_point(
    server: EmulatorServer, clock: ManualClock, route: str, after: int
) -> None:
    server.faults.reset("*", trigger=route, skip=after, duration=HOUR)
    with SessionPool(server.workspace(), clock=clock) as pool:
        # A job that is alone is looked up by its id; two may always finish in one page of a list.
        slots = 1 if route == "job" else 2
        sampler = AzureSessionSampler("ionq.simulator", pool=pool, max_concurrent_jobs=slots)
        results = sampler.run_sweep(TURN, POINTS, repetitions=10)
        assert None not in results
        assert clock.monotonic() >= HOUR
        assert len(pool.list_jobs()) == len(results)


def test_first_request_without_a_network_fails_within_seconds(
    server: EmulatorServer, clock: ManualClock
) -> None:
    server.faults.reset("*", times=None)
    with SessionPool(server.workspace(), clock=clock) as pool:
        sampler = AzureSessionSampler("ionq.simulator", pool=pool)
        with pytest.raises(AzureSessionsError, match="check the network"):
            sampler.run(TURN, {"angle": 1}, repetitions=10)
        assert clock.monotonic() < 60
        server.faults.clear()


def test_a_rerun_with_a_journal_and_without_a_network_fails_in_seconds(
    server: EmulatorServer, clock: ManualClock, tmp_path: Path
) -> None:
    journal = tmp_path / "run.journal"
    server.faults.add("download", status=404)
    with SessionPool(server.workspace(), clock=clock, journal=journal) as pool:
        sampler = AzureSessionSampler("ionq.simulator", pool=pool)
        with pytest.raises(AzureSessionsError, match="its result is missing"):
            sampler.run(TURN, {"angle": 1}, repetitions=10)
        (job,) = pool.list_jobs()
    began = clock.monotonic()
    server.faults.reset("*", times=None)
    with SessionPool(server.workspace(), clock=clock, journal=journal) as pool:
        sampler = AzureSessionSampler("ionq.simulator", pool=pool)
        with pytest.raises(
            AzureSessionsError, match=f"not known whether the service has job {job.id}"
        ):
            sampler.run(TURN, {"angle": 1}, repetitions=10)
        assert clock.monotonic() < began + 60


def test_the_timeout_of_a_call_ends_it_also_without_a_network() -> None:
    clock = ManualClock(auto_advance=False)
    with EmulatorServer(clock=clock) as server:
        pool = SessionPool(server.workspace(), clock=clock)
        server.faults.reset("*", trigger="job", times=None)
        sampler = AzureSessionSampler("ionq.simulator", pool=pool, timeout=HOUR)
        call = in_background(sampler.run_sweep, TURN, [{"angle": 1}], repetitions=10)
        drive(clock, call)
        assert isinstance(call.exception(), PoolTimeout)
        assert isinstance(call.exception(), SweepError)
        assert clock.monotonic() >= HOUR
        server.faults.clear()
        drive(clock, in_background(pool.close, cancel=True))
