"""A journal under `kill -9` at random instants: one process and two, and reruns in every order.

A long run, with 200 kills in each scene:

    CIRQ_AZURE_SESSIONS_KILLS=200 pytest tests/journal/test_kills.py --timeout 0 -s
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any

import cirq
import pytest
import sympy
from children import PROCESSES, Address

from cirq_azure_sessions import AzureSessionSampler, Journal, SessionPool
from cirq_azure_sessions.emulator.server import EmulatorServer

KILLS = int(os.environ.get("CIRQ_AZURE_SESSIONS_KILLS", "2"))
# Of one journal; then a new one is begun.
MAX_KILLS = 8

QUBIT = cirq.LineQubit(0)
CIRCUIT = cirq.Circuit(cirq.rx(sympy.Symbol("theta"))(QUBIT), cirq.measure(QUBIT, key="m"))
POINTS = 5
# Programs that share circuits: a sweep, and a loop of equal calls.
TURNS = (2, 4)
TARGET = "quantinuum.sim.h2-1e"

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of Unix")


def _program(address: Address, path: Path, turns: int, times: int, pipe: Any) -> None:
    """Sends the ids of its jobs in the order of its requests."""
    pipe.send("begun")
    with SessionPool(address.workspace(), journal=path) as pool:
        sampler = AzureSessionSampler(TARGET, pool=pool, max_concurrent_jobs=3)
        results = [*sampler.run_sweep(CIRCUIT, cirq.Linspace("theta", 0, 3, POINTS), 100 * times)]
        results += [sampler.run(CIRCUIT, {"theta": 1.0}, 50 * times) for _ in range(turns)]
    pipe.send([job_id for result in results for job_id in result.job_ids])


def _shots(turns: int, times: int) -> int:
    return (100 * POINTS + 50 * turns) * times


class _Run:
    """A program in a process of its own."""

    def __init__(self, server: EmulatorServer, path: Path, turns: int, times: int) -> None:
        self.times = times
        self._pipe, theirs = PROCESSES.Pipe()
        arguments = (Address.of(server), path, turns, times, theirs)
        self._child = PROCESSES.Process(target=_program, args=arguments)
        self._child.start()
        theirs.close()
        assert self._pipe.poll(60)
        assert self._pipe.recv() == "begun"

    def kill(self, delay: float) -> bool:
        """Ends it after a delay if it is still at work; returns whether it was."""
        is_at_work = not self._pipe.poll(delay)
        if is_at_work:
            self._child.kill()
        self._child.join()
        return is_at_work

    def finish(self) -> list[str]:
        assert self._pipe.poll(60), "the program ends by itself"
        job_ids: list[str] = self._pipe.recv()
        self._child.join(60)
        assert self._child.exitcode == 0
        return job_ids


@pytest.fixture
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer(latency=0.01) as server:
        yield server


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("times", [(1,), (1, 2)], ids=["same", "topped-up"])
def test_nothing_is_lost_or_paid_twice_however_often_programs_are_killed(
    server: EmulatorServer, tmp_path: Path, processes: int, times: Sequence[int]
):
    """Programs have any of these multiples of their repetitions, and at last the largest."""
    draw = random.Random(processes)
    done: Counter[str] = Counter()
    for turn in itertools.count():
        if done["kills"] >= KILLS:
            break
        path = tmp_path / f"{turn}.journal"
        before = server.requests["submit"]
        _kill_and_finish(server, path, TURNS[:processes], times, draw, done)
        done["journals"] += 1
        done["jobs"] += server.requests["submit"] - before
    sys.stderr.write(f"\n{processes} processes, {times}: {dict(done)}\n")


def _kill_and_finish(
    server: EmulatorServer,
    path: Path,
    programs: Sequence[int],
    times: Sequence[int],
    draw: random.Random,
    done: Counter[str],
) -> None:
    """Has programs killed until a journal has had its share, and lets them finish; counts all."""
    known = _jobs_of(server).keys()
    runs = [_Run(server, path, turns, draw.choice(times)) for turns in programs]
    for _ in range(min(MAX_KILLS, KILLS - done["kills"])):
        # Some delays are long enough to finish, and a program that has is begun once more.
        delay = draw.expovariate(3.0)
        index = draw.randrange(len(runs))
        done["kills"] += runs[index].kill(delay)
        runs[index] = _Run(server, path, programs[index], draw.choice(times))
    for index, run in enumerate(runs):
        if run.times < times[-1]:
            done["kills"] += run.kill(0.0)
            runs[index] = _Run(server, path, programs[index], times[-1])
    # What one of two left with fewer repetitions may be left where the other's has enough.
    is_all_used = len(times) == 1 or len(programs) == 1
    most = sum(_shots(turns, times[-1]) for turns in programs)
    _check(server, path, known, [run.finish() for run in runs], most, is_all_used)
    paid = _jobs_of(server).keys() - known
    # Once more, one after the other, in every order: nothing is paid, and every job is used.
    for order in itertools.permutations(programs):
        again = [_Run(server, path, turns, times[-1]).finish() for turns in order]
        _check(server, path, known, again, most, is_all_used)
        assert _jobs_of(server).keys() - known == paid
        used = {job_id for jobs in again for job_id in jobs}
        assert used == paid if is_all_used else used <= paid
        done["reruns"] += len(order)


def _check(
    server: EmulatorServer,
    path: Path,
    known: Set[str],
    runs: Sequence[Sequence[str]],
    most: int,
    is_all_used: bool,
) -> None:
    """No two requests of a run share a job, the journal has every job, and nothing is left open."""
    assert [len({*jobs}) for jobs in runs] == [len(jobs) for jobs in runs]
    paid = {job_id: shots for job_id, shots in _jobs_of(server).items() if job_id not in known}
    assert sum(paid.values()) <= most
    with Journal(path) as journal:
        states = {entry.job_id: entry.state for entry in journal.entries()}
        assert states.keys() >= paid.keys()
        finished = {job_id for job_id, state in states.items() if state == "finished"}
        assert finished == paid.keys() if is_all_used else finished <= paid.keys()
        assert journal.summary()["sessions_open"] == 0
    sessions = server.workspace().list_sessions()
    assert {session.details.status for session in sessions} <= {"Succeeded"}


def _jobs_of(server: EmulatorServer) -> dict[str, int]:
    """The repetitions of the service's jobs, by their ids."""
    jobs = server.workspace().list_jobs()
    return {job.id: int(job.details.input_params["shots"]) for job in jobs}


def _stream(address: Address, path: Path, repetitions: int, pipe: Any) -> None:
    """Sends the ids of each point's jobs, and waits for a word to go on."""
    with SessionPool(address.workspace(), journal=path) as pool:
        sampler = AzureSessionSampler(TARGET, pool=pool, max_concurrent_jobs=1)
        for point, result in sampler.stream_sweep(
            CIRCUIT, cirq.Linspace("theta", 0, 3, 2), repetitions
        ):
            pipe.send((point, result.job_ids))
            pipe.recv()


class _Stream:
    """A stream of two points in a process of its own."""

    def __init__(self, server: EmulatorServer, path: Path, repetitions: int) -> None:
        self._pipe, theirs = PROCESSES.Pipe()
        arguments = (Address.of(server), path, repetitions, theirs)
        self._child = PROCESSES.Process(target=_stream, args=arguments)
        self._child.start()
        theirs.close()

    def next(self) -> tuple[int, tuple[str, ...]]:
        assert self._pipe.poll(60), "a point is finished"
        found: tuple[int, tuple[str, ...]] = self._pipe.recv()
        return found

    def finish(self) -> dict[int, tuple[str, ...]]:
        found = {}
        for _ in range(2):
            point, found[point] = self.next()
            self._pipe.send("go on")
        self._child.join(60)
        return found

    def kill(self) -> None:
        self._child.kill()
        self._child.join()


def test_two_processes_top_up_one_journal_and_one_is_killed_in_between(
    server: EmulatorServer, tmp_path: Path
):
    path = tmp_path / "journal"
    before = _Stream(server, path, 100).finish()
    killed = _Stream(server, path, 200)
    killed.next()
    # That one is alive and has the places of the first, so this one has its own.
    others = _Stream(server, path, 300).finish()
    killed.kill()
    again = _Stream(server, path, 200).finish()
    for point in (0, 1):
        assert again[point][0] == before[point][0]
        assert (len(again[point]), len(others[point])) == (2, 1)
    paid = _jobs_of(server)
    assert sorted(paid.values()) == [100, 100, 100, 100, 300, 300]
    for order in itertools.permutations([(200, again), (300, others)]):
        for repetitions, jobs in order:
            assert _Stream(server, path, repetitions).finish() == jobs
    assert _jobs_of(server) == paid
