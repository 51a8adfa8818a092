"""A journal under `kill -9` at random instants: one process and two, and reruns in every order.

A long run, of so many kills in each scene:

    CIRQ_AZURE_SESSIONS_KILLS=200 pytest tests/journal/test_kills.py --timeout 0 -s
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
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
# Programs that share circuits: a sweep, and a loop of so many equal calls.
TURNS = (2, 4)

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of Unix")


def _program(address: Address, path: Path, turns: int, pipe: Any) -> None:
    """Sends the ids of its jobs in the order of its requests."""
    pipe.send("begun")
    with SessionPool(address.workspace(), journal=path) as pool:
        sampler = AzureSessionSampler("ionq.simulator", pool=pool, max_concurrent_jobs=3)
        results = [*sampler.run_sweep(CIRCUIT, cirq.Linspace("theta", 0, 3, POINTS), 100)]
        results += [sampler.run(CIRCUIT, {"theta": 1.0}, 50) for _ in range(turns)]
    pipe.send([result.job_id for result in results])


class _Run:
    """A program in a process of its own."""

    def __init__(self, server: EmulatorServer, path: Path, turns: int) -> None:
        self._pipe, theirs = PROCESSES.Pipe()
        arguments = (Address.of(server), path, turns, theirs)
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
def test_nothing_is_lost_or_paid_twice_however_often_programs_are_killed(
    server: EmulatorServer, tmp_path: Path, processes: int
):
    draw = random.Random(processes)
    done: Counter[str] = Counter()
    for turn in itertools.count():
        if done["kills"] >= KILLS:
            break
        path = tmp_path / f"{turn}.journal"
        before = server.requests["submit"]
        _kill_and_finish(server, path, TURNS[:processes], draw, done)
        done["journals"] += 1
        done["jobs"] += server.requests["submit"] - before
    sys.stderr.write(f"\n{processes} processes: {dict(done)}\n")


def _kill_and_finish(
    server: EmulatorServer,
    path: Path,
    programs: Sequence[int],
    draw: random.Random,
    done: Counter[str],
) -> None:
    """Has programs killed until a journal has had its share, and lets them finish; counts all."""
    known = _jobs_of(server)
    runs = [_Run(server, path, turns) for turns in programs]
    for _ in range(min(MAX_KILLS, KILLS - done["kills"])):
        # Some delays are long enough to finish, and a program that has is begun once more.
        delay = draw.expovariate(3.0)
        index = draw.randrange(len(runs))
        done["kills"] += runs[index].kill(delay)
        runs[index] = _Run(server, path, programs[index])
    _check(server, path, known, [run.finish() for run in runs])
    paid = _jobs_of(server) - known
    # Once more, one after the other, in every order: nothing is paid, and every job is used.
    for order in itertools.permutations(programs):
        again = [_Run(server, path, turns).finish() for turns in order]
        _check(server, path, known, again)
        assert _jobs_of(server) - known == paid
        assert {job_id for jobs in again for job_id in jobs} == paid
        done["reruns"] += len(order)


def _check(
    server: EmulatorServer, path: Path, known: set[str], runs: Sequence[Sequence[str]]
) -> None:
    """Every request has a job of its own, every job is in the journal, and nothing is left open."""
    assert [len({*jobs}) for jobs in runs] == [len(jobs) for jobs in runs]
    paid = _jobs_of(server) - known
    assert len(paid) <= sum(map(len, runs))
    with Journal(path) as journal:
        assert {entry.job_id for entry in journal.entries() if entry.is_finished} == paid
        assert len([*journal.entries()]) == len(paid)
        assert journal.summary()["sessions_open"] == 0
    sessions = server.workspace().list_sessions()
    assert {session.details.status for session in sessions} <= {"Succeeded"}


def _jobs_of(server: EmulatorServer) -> set[str]:
    return {job.id for job in server.workspace().list_jobs()}
