"""Simulated weeks of short sweeps on a service that misbehaves at random, from a seed: nothing
grows, no job runs twice, and what fails is named.

`CIRQ_AZURE_SESSIONS_SOAK=50000 pytest tests/test_soak.py` runs 50,000 sweeps.
"""

from __future__ import annotations

import gc
import json
import os
import random
import threading
import tracemalloc
from asyncio import Task
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import cirq
import pytest
from circuits import TWO_SWITCHES
from contents import sessions

from cirq_azure_sessions import (
    AzureSessionSampler,
    JobCancelled,
    JobFailed,
    ManualClock,
    ResultFormatError,
    ServiceError,
    SessionNotAvailable,
    SessionPool,
    SweepError,
)
from cirq_azure_sessions.background import Portal
from cirq_azure_sessions.emulator.workspace import EmulatedWorkspace
from cirq_azure_sessions.jobs.job import JobRun
from cirq_azure_sessions.jobs.sweep import SweepRun
from cirq_azure_sessions.model import Job, JobRequest, Session, SessionRequest, SessionStatus
from cirq_azure_sessions.sessions.handles import SessionHandle
from cirq_azure_sessions.sessions.lifecycle import SessionLifecycle
from cirq_azure_sessions.sessions.table import Generation, SessionTable
from cirq_azure_sessions.sessions.watcher import JobWatcher
from cirq_azure_sessions.workspaces.local import ProgramError

TARGET = "ionq.simulator"
SWEEPS = int(os.environ.get("CIRQ_AZURE_SESSIONS_SOAK", "300"))
# What may befall a single point, and a whole call.
OF_A_POINT = (JobFailed, JobCancelled, ResultFormatError, ServiceError)
OF_A_CALL = (SweepError, SessionNotAvailable)


class Moody(EmulatedWorkspace):
    """A service that loses requests and answers, refuses, garbles, and ends sessions and jobs.

    Args:
        clock: The time of pool and service.
        draw: What decides on its moods.
        chance: How likely each request meets a fault.

    Attributes:
        accepted: How often the service took each job.
        faults: How often each fault was met.
    """

    def __init__(self, clock: ManualClock, draw: random.Random, chance: float) -> None:
        super().__init__(backends={TARGET: self._run}, clock=clock)
        self._schedule.max_history, self._schedule.max_outputs = 100, 20
        self._draw = draw
        self._chance = chance
        self.accepted: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()

    def _run(self, request: JobRequest) -> bytes:
        """A machine for X gates only."""
        mood = self._mood("fails", "garbles")
        if mood == "fails":
            raise ProgramError("QubitLost", "It got away.")
        if mood == "garbles":
            return b'{"histogram": {"0": 0.5, "x": NaN}}'
        circuit = json.loads(request.payload)["circuit"]
        flipped = {gate.get("target", *gate.get("targets", [])) for gate in circuit}
        return json.dumps({"histogram": {sum(2**qubit for qubit in flipped): 1.0}}).encode()

    def _mood(self, *faults: str) -> str:
        if self._draw.random() > self._chance:
            return ""
        fault = self._draw.choice(faults)
        self.faults[fault] += 1
        return fault

    def _before(self) -> None:
        mood = self._mood("loses the request", "throttles", "breaks")
        if mood == "loses the request":
            raise ServiceError("The connection was lost.")
        if mood == "throttles":
            raise ServiceError("Too many requests.", status_code=429, retry_after=2.0)
        if mood == "breaks":
            raise ServiceError("The service is unavailable.", status_code=503)

    def _after(self) -> None:
        if self._mood("loses the answer"):
            raise ServiceError("The connection was lost.")

    async def open_session(self, request: SessionRequest) -> Session:
        self._before()
        session = await super().open_session(request)
        self._after()
        return session

    async def get_session(self, session_id: str) -> Session:
        self._before()
        return await super().get_session(session_id)

    async def close_session(self, session_id: str) -> Session:
        return await super().close_session(session_id)

    async def store_input(self, request: JobRequest) -> Any:
        self._before()
        return await super().store_input(request)

    async def submit_job(self, request: JobRequest, stored: Any = None) -> Job:
        self._before()
        assert request.session_id is not None
        if self._mood("ends the session"):
            end = self._draw.choice([SessionStatus.TIMED_OUT, SessionStatus.FAILED])
            await self.break_off_session(request.session_id, end)
        job = await super().submit_job(request, stored)
        self.accepted[job.id] += 1
        if self._mood("cancels"):
            await super().cancel_job(job.id)
        self._after()
        return job

    async def get_job(self, job_id: str, *, wait: float = 0.0) -> Job:
        self._before()
        return await super().get_job(job_id, wait=wait)

    async def list_session_jobs(self, session_id: str, **page: Any) -> Sequence[Job]:
        self._before()
        return await super().list_session_jobs(session_id, **page)

    async def fetch_output(self, job: Job, stored: Any = None) -> Any:
        self._before()
        return await super().fetch_output(job, stored)


def _sweep(sampler: AzureSessionSampler, draw: random.Random) -> tuple[int, Counter[str]]:
    """One call, whose results are checked; returns how many came home, and what was lost."""
    bits = [(draw.randint(0, 1), draw.randint(0, 1)) for _ in range(draw.randint(1, 4))]
    points = cirq.Points("a", [a for a, _ in bits]) + cirq.Points("b", [b for _, b in bits])
    lost: Counter[str] = Counter()
    try:
        results: Sequence[cirq.Result | None] = sampler.run_sweep(TWO_SWITCHES, points, 3)
    except OF_A_CALL as error:
        failures = error.failures if isinstance(error, SweepError) else {}
        assert all(isinstance(failure, OF_A_POINT + OF_A_CALL) for failure in failures.values())
        lost.update(type(failure).__name__ for failure in failures.values())
        results = error.results if isinstance(error, SweepError) else []
    home = 0
    for result, expected in zip(results, bits, strict=False):
        if result is not None:
            home += 1
            assert result.measurements["m"].tolist() == [list(expected)] * 3
    return home, lost


def _sizes(pool: SessionPool) -> dict[str, int]:
    """How much every collection holds that the pool and its parts keep, but for its options."""
    kinds = (JobWatcher, Portal, SessionLifecycle, SessionTable)
    parts = [pool, *(part for part in vars(pool).values() if isinstance(part, kinds))]
    return {
        name: len(value)
        for part in parts
        for name, value in vars(part).items()
        if hasattr(value, "__len__") and not isinstance(value, str) and name != "_options"
    }


def _memory() -> int:
    """Bytes in use."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _our_objects() -> Counter[str]:
    """How many objects there are of the kinds that calls, jobs and sessions are made of."""
    kinds = (Generation, JobRun, JobWatcher, SessionHandle, SweepRun, Task, Future)
    return Counter(type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, kinds))


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


@pytest.mark.timeout(max(120, SWEEPS))
def test_weeks_of_faults_leak_nothing() -> None:
    draw = random.Random(20261122)
    clock = ManualClock()
    service = Moody(clock, draw, chance=0.04)
    others = _our_objects()
    tracemalloc.start()
    try:
        with SessionPool(service, clock=clock) as pool:
            sampler = AzureSessionSampler(TARGET, pool=pool, max_concurrent_jobs=3)
            home, lost = 0, Counter[str]()
            settled: tuple[int, int, int] | None = None
            for number in range(SWEEPS):
                clock.advance(draw.expovariate(1 / 1500))
                came, went = _sweep(sampler, draw)
                home += came
                lost.update(went)
                assert max(_sizes(pool).values()) <= 3, _sizes(pool)
                if number == SWEEPS // 3:
                    settled = (_memory(), threading.active_count(), _open_files())
            assert settled is not None
            memory, threads, files = settled
            # The service in memory remembers sessions, the pool its latest events, and the test
            # jobs: together that is about a kilobyte a sweep.
            assert _memory() < memory + 2000 * SWEEPS
            assert (_our_objects() - others).total() < 20, _our_objects() - others
            assert threading.active_count() <= threads
            assert _open_files() <= files
            stats = pool.get_stats()
    finally:
        tracemalloc.stop()
    # It was a real trial: a few weeks, every kind of fault, and most points came home all the same.
    assert clock.monotonic() > SWEEPS * 1000
    assert len(service.faults) == 8
    assert home > 10 * sum(lost.values())
    # Nobody paid twice, and what was paid for came home or was told of.
    assert set(service.accepted.values()) == {1}
    assert home <= len(service.accepted) <= home + sum(lost.values())
    assert stats["jobs_submitted"] == len(service.accepted)
    assert [session for session in sessions(service) if session.is_open] == []
