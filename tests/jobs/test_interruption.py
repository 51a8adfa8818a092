"""Ctrl-C, SIGTERM and cancellation: nothing more is submitted, what runs is left or cancelled, no
session stays open, and the exception says how to come back."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cirq
import duet
import pytest
import sympy
from cirq_azure_sessions.interruption import how_to_come_back

from cirq_azure_sessions import (
    AzureSessionSampler,
    AzureWorkspace,
    LocalWorkspace,
    ManualClock,
    SessionPool,
)
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.model import Event, Job, JobRequest, Session
from cirq_azure_sessions.workspaces.local import JobPace

TARGET = "ionq.simulator"
QUBIT = cirq.LineQubit(0)
CIRCUIT = cirq.Circuit(cirq.rx(sympy.Symbol("angle"))(QUBIT), cirq.measure(QUBIT, key="m"))
POINTS = cirq.Linspace("angle", 0.0, 3.0, 6)
IN_FLIGHT = 3

# Children are forked from a process that has imported everything and holds nothing open.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(
    ["azure.quantum", "cirq_azure_sessions.emulator", "cirq_azure_sessions.sampler", "pytest"]
)


@pytest.fixture
def server() -> Iterator[EmulatorServer]:
    """The first job is over at once, all others run for a day."""
    first = iter([JobPace()])

    def pace(request: JobRequest) -> JobPace:
        return next(first, JobPace(run=86400.0))

    with EmulatorServer(job_time=pace, session_timeout=7 * 86400.0) as server:
        yield server


# What is interrupted


def _sweep(sampler: AzureSessionSampler) -> None:
    sampler.run_sweep(CIRCUIT, POINTS, 10)


def _stream(sampler: AzureSessionSampler) -> None:
    list(sampler.stream_sweep(CIRCUIT, POINTS, 10))


def _batch(sampler: AzureSessionSampler) -> None:
    sampler.run_batch([CIRCUIT, CIRCUIT], [POINTS, POINTS], 10)


Call = Callable[[AzureSessionSampler], None]


@dataclass(frozen=True)
class Told:
    """What a child has to say of its end.

    Attributes:
        kind: The name of the exception.
        notes: Its notes.
        threads: How many threads of the package were left.
    """

    kind: str
    notes: list[str]
    threads: int


def _child(pipe: Any, call: Call, connect: tuple[str, str, str], options: dict[str, Any]) -> None:
    from azure.core.credentials import AzureKeyCredential
    from azure.quantum import Workspace

    endpoint, resource_id, key = connect
    workspace = Workspace(
        resource_id=resource_id,
        location="eastus",
        credential=AzureKeyCredential(key),
        _quantum_endpoint=endpoint,
    )
    try:
        with SessionPool(workspace) as pool:
            pool.subscribe(lambda event: pipe.send(event.counter))
            call(AzureSessionSampler(TARGET, pool=pool, max_concurrent_jobs=IN_FLIGHT, **options))
    except BaseException as error:
        threads = [thread for thread in threading.enumerate() if "cirq" in thread.name]
        pipe.send(Told(type(error).__name__, getattr(error, "__notes__", []), len(threads)))


def _interrupt(
    server: EmulatorServer, call: Call, number: int, *, submissions: int, **options: Any
) -> Told:
    """Runs a call in a process of its own and sends it a signal once it waits for its jobs."""
    child, pipe = _start(server, call, options)
    while submissions:
        assert pipe.poll(60)
        submissions -= pipe.recv() == "jobs_submitted"
    os.kill(child.pid, number)
    return _end(child, pipe)


def _run(server: EmulatorServer, call: Call) -> Told:
    return _end(*_start(server, call, {}))


def _start(server: EmulatorServer, call: Call, options: dict[str, Any]) -> tuple[Any, Any]:
    connect = (server.endpoint, server.resource_id, server.key)
    ours, theirs = _processes.Pipe()
    child = _processes.Process(target=_child, args=(theirs, call, connect, options))
    child.start()
    theirs.close()
    return child, ours


def _end(child: Any, pipe: Any) -> Told:
    message = None
    while not isinstance(message, Told):
        assert pipe.poll(60), "the child ends when it is told to"
        message = pipe.recv()
    child.join()
    return message


def _listed(server: EmulatorServer) -> tuple[list[Job], list[Session]]:
    async def collect() -> tuple[list[Job], list[Session]]:
        workspace = AzureWorkspace(server.workspace())
        try:
            jobs = [job async for job in workspace.list_jobs()]
            return jobs, [session async for session in workspace.list_sessions()]
        finally:
            await workspace.aclose()

    return asyncio.run(collect())


def _takes_jobs(server: EmulatorServer, session: Session) -> bool:
    """Whether the session has not been closed; one whose jobs still run shows no sign of it."""
    return server._workspace._session(session.id).takes_jobs


CALLS = {"sweep": (_sweep, 4), "stream": (_stream, 4), "batch": (_batch, 4)}


@pytest.mark.parametrize(
    ("call", "number"),
    [
        ("sweep", signal.SIGINT),
        ("sweep", signal.SIGTERM),
        ("stream", signal.SIGINT),
        ("batch", signal.SIGINT),
    ],
)
def test_jobs_that_run_are_left_and_named(
    server: EmulatorServer, call: str, number: signal.Signals
) -> None:
    what, submissions = CALLS[call]
    told = _interrupt(server, what, number, submissions=submissions)
    assert told.kind == ("KeyboardInterrupt" if number == signal.SIGINT else "SystemExit")
    jobs, sessions = _listed(server)
    assert len(jobs) == submissions
    (note,) = told.notes
    assert all(job.id in note for job in jobs)
    assert "get_result(job_id)" in note
    assert sorted(job.status for job in jobs if not job.is_final) == ["Executing"] * IN_FLIGHT
    assert [session.id for session in sessions if _takes_jobs(server, session)] == []
    assert told.threads == 0


@pytest.mark.parametrize("call", CALLS)
def test_jobs_that_run_are_cancelled_for_those_who_ask(server: EmulatorServer, call: str) -> None:
    what, submissions = CALLS[call]
    told = _interrupt(server, what, signal.SIGINT, submissions=submissions, on_interrupt="cancel")
    assert "was asked to be cancelled" in told.notes[0]
    jobs, sessions = _listed(server)
    statuses = [job.status for job in jobs]
    assert statuses.count("Cancelled") == IN_FLIGHT
    assert len(statuses) == submissions
    assert [session for session in sessions if session.is_open] == []


def test_the_same_program_with_the_journal_goes_on_where_it_stopped(
    server: EmulatorServer, tmp_path: Path
) -> None:
    journal = tmp_path / "journal.db"
    told = _interrupt(server, _sweep, signal.SIGINT, submissions=4, journal=journal)
    (note,) = told.notes
    assert f"with the journal {journal}" in note
    submitted, _ = _listed(server)
    counts = re.search(r"(\d+) possibly still running, (\d+) with their results", note)
    assert counts is not None
    assert sum(map(int, counts.groups())) == len(submitted)
    assert not any(job.id in note for job in submitted), "the journal has the ids"
    server.faults.add("submit", status=400, times=None)
    server.clock.advance(86400.0)
    with AzureSessionSampler(
        TARGET, workspace=server.workspace(), journal=journal, on_error="return"
    ) as sampler:
        results = sampler.run_sweep(CIRCUIT, POINTS, 10)
    assert {result.job_id for result in results if result} == {job.id for job in submitted}


def test_a_result_is_had_by_the_id_in_the_note(server: EmulatorServer) -> None:
    told = _interrupt(server, _sweep, signal.SIGINT, submissions=4)
    server.clock.advance(86400.0)
    jobs, _ = _listed(server)
    with AzureSessionSampler(TARGET, workspace=server.workspace()) as sampler:
        for job in jobs:
            assert job.id in told.notes[0]
            assert sampler.get_result(job.id).repetitions == 10


# Closing that is interrupted


def _leave_running(sampler: AzureSessionSampler) -> None:
    """Leaves the pool while jobs run, for which it waits until a signal comes."""
    started = threading.Event()
    sampler.pool.subscribe(lambda event: started.set() if "jobs" in event.counter else None)
    threading.Thread(target=_sweep, args=(sampler,), daemon=True).start()
    started.wait(60)
    threading.Thread(target=_interrupt_the_end, args=(sampler.pool,), daemon=True).start()


def _interrupt_the_end(pool: SessionPool) -> None:
    while "closed" not in repr(pool):
        threading.Event().wait(0.01)
    os.kill(os.getpid(), signal.SIGINT)


def test_a_pool_that_is_told_not_to_wait_closes_its_sessions(server: EmulatorServer) -> None:
    told = _run(server, _leave_running)
    assert told.kind == "KeyboardInterrupt"
    _, sessions = _listed(server)
    assert [session.id for session in sessions if _takes_jobs(server, session)] == []


# Cancellation


def _slow_workspace(clock: ManualClock) -> LocalWorkspace:
    return LocalWorkspace(clock=clock, pace=lambda request: JobPace(run=1e6))


class _EnoughError(Exception):
    pass


@pytest.mark.parametrize("on_interrupt", ["leave", "cancel"])
def test_the_asynchronous_form_is_cancelled_by_its_scope(on_interrupt: str) -> None:
    clock = ManualClock(auto_advance=False)
    workspace = _slow_workspace(clock)
    with SessionPool(workspace, clock=clock) as pool:
        sampler = AzureSessionSampler("local.simulator", pool=pool, on_interrupt=on_interrupt)
        submitted = duet.AwaitableFuture[None]()

        def note(event: Event) -> None:
            if event.counter == "jobs_submitted":
                submitted.try_set_result(None)

        pool.subscribe(note)

        async def story() -> None:
            async with duet.new_scope() as scope:
                scope.spawn(sampler.run_async, CIRCUIT, {"angle": 1.0}, 10)
                await submitted
                raise _EnoughError

        with pytest.raises(_EnoughError):
            duet.run(story)
        (job,) = workspace.jobs()
        assert job.is_final == (on_interrupt == "cancel")
        pool.close(cancel=True)


def test_leaving_a_stream_cancels_for_those_who_ask() -> None:
    with SessionPool() as pool:
        sampler = AzureSessionSampler("local.simulator", pool=pool, on_interrupt="cancel")
        stream = sampler.stream_sweep(CIRCUIT, POINTS, 10)
        assert next(stream)[0] == 0
        stream.close()
        assert pool.get_stats()["jobs_running"] == 0


def test_only_these_two_fates_are_known() -> None:
    with pytest.raises(ValueError, match="'leave' or 'cancel', not 'pause'"):
        AzureSessionSampler("local.simulator", on_interrupt="pause")


def test_where_nothing_was_submitted_there_is_nothing_to_come_back_to() -> None:
    assert how_to_come_back(TARGET, [], [], cancelled=False, journal=None) == ""
