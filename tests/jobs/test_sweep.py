"""One call's results, failures and stream; and what is left of a call that is interrupted."""

from __future__ import annotations

import asyncio
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
from children import PROCESSES, Address
from circuits import FLIP, ROTATION, SWITCH, angles
from contents import jobs

from cirq_azure_sessions import (
    AzureSessionSampler,
    AzureWorkspace,
    JobTimeout,
    LocalWorkspace,
    ManualClock,
    PoolClosed,
    PoolTimeout,
    ServiceError,
    SessionPool,
    SweepTimeout,
)
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.model import Job, JobRequest, Session
from cirq_azure_sessions.watch.events import AnyEvent
from cirq_azure_sessions.workspaces.local import JobPace

TARGET = "ionq.simulator"
POINTS = angles(6)
IN_FLIGHT = 3


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
    sampler.run_sweep(ROTATION, POINTS, 10)


def _stream(sampler: AzureSessionSampler) -> None:
    list(sampler.stream_sweep(ROTATION, POINTS, 10))


def _batch(sampler: AzureSessionSampler) -> None:
    sampler.run_batch([ROTATION, ROTATION], [POINTS, POINTS], 10)


Call = Callable[[AzureSessionSampler], None]


@dataclass(frozen=True)
class Ending:
    """How a child ended.

    Attributes:
        kind: The name of the exception.
        notes: Its notes.
        threads: How many threads of the package were left.
    """

    kind: str
    notes: list[str]
    threads: int


def _child(pipe: Any, call: Call, address: Address, options: dict[str, Any]) -> None:
    try:
        with SessionPool(address.workspace(), close_on_sigterm=True) as pool:
            pool.subscribe(lambda event: pipe.send(event.counter))
            call(AzureSessionSampler(TARGET, pool=pool, max_concurrent_jobs=IN_FLIGHT, **options))
    except BaseException as error:
        threads = [thread for thread in threading.enumerate() if "cirq" in thread.name]
        pipe.send(Ending(type(error).__name__, getattr(error, "__notes__", []), len(threads)))


def _interrupt(
    server: EmulatorServer, call: Call, number: int, *, submissions: int, **options: Any
) -> Ending:
    """Runs a call in a process of its own and sends it a signal once it waits for its jobs."""
    child, pipe = _start(server, call, options)
    while submissions:
        assert pipe.poll(60)
        submissions -= pipe.recv() == "jobs_submitted"
    os.kill(child.pid, number)
    return _end(child, pipe)


def _run(server: EmulatorServer, call: Call) -> Ending:
    return _end(*_start(server, call, {}))


def _start(server: EmulatorServer, call: Call, options: dict[str, Any]) -> tuple[Any, Any]:
    ours, theirs = PROCESSES.Pipe()
    child = PROCESSES.Process(target=_child, args=(theirs, call, Address.of(server), options))
    child.start()
    theirs.close()
    return child, ours


def _end(child: Any, pipe: Any) -> Ending:
    message = None
    while not isinstance(message, Ending):
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
def test_running_jobs_are_left_and_named_in_a_note(
    server: EmulatorServer, call: str, number: signal.Signals
) -> None:
    what, submissions = CALLS[call]
    ending = _interrupt(server, what, number, submissions=submissions)
    assert ending.kind == ("KeyboardInterrupt" if number == signal.SIGINT else "SystemExit")
    listed, sessions = _listed(server)
    assert len(listed) == submissions
    (note,) = ending.notes
    assert all(job.id in note for job in listed)
    assert "get_result(job_id)" in note
    assert sorted(job.status for job in listed if not job.is_final) == ["Executing"] * IN_FLIGHT
    assert [session.id for session in sessions if _takes_jobs(server, session)] == []
    # The background loop alone.
    assert ending.threads <= 1


@pytest.mark.parametrize("call", CALLS)
def test_running_jobs_are_cancelled_where_asked(server: EmulatorServer, call: str) -> None:
    what, submissions = CALLS[call]
    ending = _interrupt(server, what, signal.SIGINT, submissions=submissions, on_interrupt="cancel")
    assert "Cancellation was requested for these jobs" in ending.notes[0]
    listed, sessions = _listed(server)
    statuses = [job.status for job in listed]
    assert statuses.count("Cancelled") == IN_FLIGHT
    assert len(statuses) == submissions
    assert [session for session in sessions if session.is_open] == []


def test_a_rerun_with_the_journal_continues_where_it_stopped(
    server: EmulatorServer, tmp_path: Path
) -> None:
    journal = tmp_path / "journal.db"
    ending = _interrupt(server, _sweep, signal.SIGINT, submissions=4, journal=journal)
    (note,) = ending.notes
    assert f"with the journal {journal}" in note
    submitted, _ = _listed(server)
    counts = re.search(r"(\d+) possibly still running, (\d+) with results fetched", note)
    assert counts is not None
    assert sum(map(int, counts.groups())) == len(submitted)
    assert not any(job.id in note for job in submitted), "the journal has the ids"
    server.faults.add("submit", status=400, times=None)
    server.clock.advance(86400.0)
    with AzureSessionSampler(
        TARGET, workspace=server.workspace(), journal=journal, on_error="return"
    ) as sampler:
        results = sampler.run_sweep(ROTATION, POINTS, 10)
    assert {result.job_id for result in results if result} == {job.id for job in submitted}


def test_the_ids_in_the_note_fetch_the_results(server: EmulatorServer) -> None:
    ending = _interrupt(server, _sweep, signal.SIGINT, submissions=4)
    server.clock.advance(86400.0)
    listed, _ = _listed(server)
    with AzureSessionSampler(TARGET, workspace=server.workspace()) as sampler:
        for job in listed:
            assert job.id in ending.notes[0]
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


def test_interrupting_a_close_that_drains_closes_the_sessions(server: EmulatorServer) -> None:
    ending = _run(server, _leave_running)
    assert ending.kind == "KeyboardInterrupt"
    _, sessions = _listed(server)
    assert [session.id for session in sessions if _takes_jobs(server, session)] == []


# Cancellation


def _slow_workspace(clock: ManualClock) -> LocalWorkspace:
    return LocalWorkspace(clock=clock, pace=lambda request: JobPace(run=1e6))


class _EnoughError(Exception):
    pass


@pytest.mark.parametrize("on_interrupt", ["leave", "cancel"])
def test_a_cancelled_duet_scope_leaves_or_cancels_the_jobs(on_interrupt: str) -> None:
    clock = ManualClock(auto_advance=False)
    workspace = _slow_workspace(clock)
    with SessionPool(workspace, clock=clock) as pool:
        sampler = AzureSessionSampler("local.simulator", pool=pool, on_interrupt=on_interrupt)
        submitted = duet.AwaitableFuture[None]()

        def note(event: AnyEvent) -> None:
            if event.counter == "jobs_submitted":
                submitted.try_set_result(None)

        pool.subscribe(note)

        async def story() -> None:
            async with duet.new_scope() as scope:
                scope.spawn(sampler.run_async, ROTATION, {"theta": 1.0}, 10)
                await submitted
                raise _EnoughError

        with pytest.raises(_EnoughError):
            duet.run(story)
        (job,) = jobs(workspace)
        assert job.is_final == (on_interrupt == "cancel")
        pool.close(cancel=True)


def test_closing_a_stream_leaves_no_job_running() -> None:
    with SessionPool() as pool:
        sampler = AzureSessionSampler("local.simulator", pool=pool, on_interrupt="cancel")
        stream = sampler.stream_sweep(ROTATION, POINTS, 10)
        assert next(stream)[0] == 0
        stream.close()
        assert pool.get_stats()["jobs_running"] == 0


# Timeouts


class _Held(LocalWorkspace):
    """A workspace in which an input is stored forever."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(backends={TARGET: lambda request: b""}, clock=clock)
        self.is_held = threading.Event()

    async def store_input(self, request: JobRequest) -> Any:
        self.is_held.set()
        await asyncio.Event().wait()


class _Refusing(_Held):
    """A workspace that asks to be left alone for a day."""

    async def store_input(self, request: JobRequest) -> Any:
        return None

    async def submit_job(self, request: JobRequest, stored: Any) -> Job:
        self.is_held.set()
        raise ServiceError("Too many jobs.", status_code=429, retry_after=86400.0)


@pytest.mark.parametrize("kind", [_Held, _Refusing])
def test_job_that_the_service_never_accepted_is_not_reported_as_running(kind: type[_Held]) -> None:
    """Its input is being stored, or it has been refused."""
    clock = ManualClock(auto_advance=False)
    workspace, failures = kind(clock), dict[int, Exception]()

    def call(sampler: AzureSessionSampler) -> None:
        with pytest.raises(SweepTimeout) as caught:
            sampler.run_sweep(ROTATION, POINTS, 10)
        failures.update(caught.value.failures)

    with SessionPool(workspace, clock=clock) as pool:
        sampler = AzureSessionSampler(TARGET, pool=pool, max_concurrent_jobs=1, timeout=60)
        thread = threading.Thread(target=call, args=(sampler,))
        thread.start()
        assert workspace.is_held.wait(60)
        pool._portal.run(_turns)
        clock.advance(61)
        thread.join(60)
    assert jobs(workspace) == []
    assert {type(failure) for failure in failures.values()} == {PoolTimeout}
    assert len(failures) == len(POINTS)


async def _turns() -> None:
    """Lets everything that can run at once run."""
    for _ in range(50):
        await asyncio.sleep(0)


# Streams


def test_a_result_that_waits_for_the_reader_at_the_timeout_is_named() -> None:
    clock = ManualClock(auto_advance=False)
    with SessionPool(LocalWorkspace(clock=clock), clock=clock) as pool:
        # The one job of all points has finished, and there is room for one result.
        sampler = AzureSessionSampler(
            "local.simulator", pool=pool, max_concurrent_jobs=1, timeout=60
        )
        stream = sampler.stream_sweep(SWITCH, cirq.Points("flip", [0, 1, 0, 1]), 2)
        read = [next(stream)[0]]
        pool._portal.run(_turns)
        clock.advance(61)
        pool._portal.run(_turns)
        with pytest.raises(SweepTimeout) as caught:
            read.extend(point for point, _ in stream)
        assert sorted([*read, *caught.value.failures]) == [0, 1, 2, 3]
        assert 2 in caught.value.failures
        for error in caught.value.failures.values():
            assert isinstance(error, JobTimeout)
            assert len(pool.get_job(error.job_id).results()) == 4


def test_a_stream_of_a_pool_closed_before_its_first_point_raises_pool_closed() -> None:
    with SessionPool() as pool:
        stream = AzureSessionSampler("local.simulator", pool=pool).stream_sweep(FLIP, None, 2)
    with pytest.raises(PoolClosed):
        next(stream)


def test_a_stream_yields_results_fetched_before_the_pool_was_closed() -> None:
    with SessionPool() as pool:
        sampler = AzureSessionSampler("local.simulator", pool=pool, max_concurrent_jobs=1)
        stream = sampler.stream_sweep(SWITCH, cirq.Points("flip", [0, 1, 0, 1]), 2)
        read = [next(stream)[0]]
    read.extend(point for point, _ in stream)
    assert read == [0, 1, 2, 3]
