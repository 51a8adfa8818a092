"""What is left when all is over: no thread, no file descriptor, no session, no job run twice."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import cirq
import pytest
from children import NEEDS_FORK
from circuits import SWITCH
from services import HANG_TIMEOUT, wait_until

from cirq_azure_sessions import (
    AzureSessionSampler,
    LocalWorkspace,
    PoolClosed,
    SessionPool,
    SweepError,
)
from cirq_azure_sessions.emulator import EmulatorServer

TARGET = "ionq.simulator"
POINTS = cirq.Points("flip", [0, 1])

needs_proc = pytest.mark.skipif(
    not os.path.isdir("/proc/self/fd"), reason="this system does not list open files"
)


@pytest.fixture
def clock() -> None:
    """The machine's own time, which does not run ahead of a hundred threads."""


def _sweep(pool: SessionPool) -> list[int]:
    results = AzureSessionSampler(TARGET, pool=pool).run_sweep(SWITCH, POINTS, 3)
    return [int(result.measurements["m"].sum()) for result in results]


def _open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def test_many_threads_share_one_session(
    server: EmulatorServer,
) -> None:
    outcomes: list[list[int]] = []
    barrier = threading.Barrier(128)
    with SessionPool(server.workspace()) as pool:

        def work() -> None:
            barrier.wait()
            outcomes.append(_sweep(pool))

        threads = [threading.Thread(target=work) for _ in range(128)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stats = pool.get_stats()
    assert outcomes == [[0, 3]] * 128
    assert (stats["sessions_opened"], stats["jobs_succeeded"]) == (1, 256)
    assert (server.requests["open"], server.requests["close"]) == (1, 1)
    assert server.requests["submit"] == 256


def test_many_threads_replace_a_lost_session_once(
    server: EmulatorServer,
) -> None:
    failures: Counter[str] = Counter()
    barrier = threading.Barrier(128)
    with SessionPool(server.workspace()) as pool:
        _sweep(pool)
        server.clock.advance(601)

        def work() -> None:
            barrier.wait()
            try:
                assert _sweep(pool) == [0, 3]
            except Exception as error:
                failures[repr(error)] += 1

        threads = [threading.Thread(target=work) for _ in range(128)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == {}
        assert pool.get_stats()["sessions_opened"] == 2


@needs_proc
@pytest.mark.parametrize("ending", ["in peace", "with an error", "with faults"])
def test_a_closed_pool_leaves_no_thread_and_no_open_file(
    server: EmulatorServer, ending: str
) -> None:
    def use() -> None:
        with SessionPool(server.workspace()) as pool:
            if ending == "with faults":
                server.faults.reset("*", times=2)
            _sweep(pool)
            if ending == "with an error":
                raise KeyError

    # Other tests of this process may have left pools that nobody closed.
    others = set(threading.enumerate())

    def use_once() -> tuple[int, set[str]]:
        with suppress(KeyError):
            use()
        ours = set(threading.enumerate()) - others
        return _open_files(), {thread.name for thread in ours}

    use_once()
    files, threads = use_once()
    for _ in range(5):
        _, now_threads = use_once()
    # Both sides of a connection may be closed a moment after the pool is.
    wait_until(lambda: _open_files() <= files + 2)
    assert now_threads == threads
    # The background loop alone.
    assert len([name for name in now_threads if "cirq" in name]) <= 1


@needs_proc
def test_a_long_lived_pool_does_not_accumulate_open_files(server: EmulatorServer) -> None:
    with SessionPool(server.workspace()) as pool:
        _sweep(pool)
        files, threads = _open_files(), threading.active_count()
        for _ in range(20):
            _sweep(pool)
        assert _open_files() <= files + 4
        assert threading.active_count() <= threads


@pytest.mark.parametrize("end", ["close", "read"])
def test_a_stream_left_open_does_not_reopen_a_closed_pool(
    server: EmulatorServer, caplog: pytest.LogCaptureFixture, end: str
) -> None:
    pool = SessionPool(server.workspace())
    stream = AzureSessionSampler(TARGET, pool=pool).stream_sweep(SWITCH, POINTS, 3)
    next(stream)
    pool.close(cancel=True)
    requests = server.requests.total
    with suppress(SweepError, PoolClosed):
        stream.close() if end == "close" else list(stream)
    assert server.requests.total == requests
    assert caplog.text == ""


class _Stuck(cirq.Sampler):
    """A machine that does not end its first circuit in the process it was made in."""

    def __init__(self) -> None:
        self.is_at_work, self.may_end = threading.Event(), threading.Event()

    def run_sweep(
        self, program: cirq.AbstractCircuit, params: cirq.Sweepable, repetitions: int = 1
    ) -> Sequence[cirq.Result]:
        self.is_at_work.set()
        self.may_end.wait(60)
        return cirq.Simulator().run_sweep(program, params, repetitions)


@NEEDS_FORK
def test_the_child_of_a_fork_has_every_slot() -> None:
    machine = _Stuck()
    workspace = LocalWorkspace({"local.stuck": machine})
    with SessionPool(workspace) as pool:
        sampler = AzureSessionSampler("local.stuck", pool=pool, max_concurrent_jobs=1)
        parent = threading.Thread(target=sampler.run_sweep, args=(SWITCH, POINTS))
        parent.start()
        assert machine.is_at_work.wait(60)
        child = os.fork()
        if not child:
            # Whatever happens here must not reach pytest in the child.
            try:
                signal.alarm(30)
                machine.may_end.set()
                results = sampler.run_sweep(SWITCH, POINTS, 3)
                os._exit(int(sum(result.measurements["m"].sum() for result in results)))
            finally:
                os._exit(99)
        _, status = os.waitpid(child, 0)
        machine.may_end.set()
        parent.join(60)
    assert os.waitstatus_to_exitcode(status) == 3


def _in_child(work: Callable[[], bool]) -> bool:
    """Whether the child of a fork does it, and within half a minute."""
    child = os.fork()
    if not child:
        # Whatever happens here must not reach pytest in the child.
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(30)
            os._exit(0 if work() else 1)
        finally:
            os._exit(99)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


@NEEDS_FORK
def test_the_child_of_a_fork_can_use_a_workspace_that_was_locked_meanwhile() -> None:
    workspace = LocalWorkspace()

    def use() -> bool:
        with SessionPool(workspace) as pool:
            result = AzureSessionSampler("local.simulator", pool=pool).run(SWITCH, {"flip": 1})
        return bool(result.measurements["m"].item() == 1)

    with workspace._live._lock:
        assert _in_child(use)
    assert use()


_SHUTDOWN = """
import sys
import cirq
from cirq_azure_sessions import AzureSessionSampler, Journal, LocalWorkspace, SessionPool

circuit = cirq.Circuit(cirq.measure(cirq.LineQubit(0), key="m"))

class Finalizer:
    def __init__(self, *calls):
        self.calls = calls

    def __del__(self):
        for call in self.calls:
            call()

class LastingWorkspace(LocalWorkspace):
    identity = "lasting"

pool, unused, journal = SessionPool(LastingWorkspace()), SessionPool(), Journal(sys.argv[1])
sampler = AzureSessionSampler("local.simulator", pool=pool)
stream = sampler.stream_sweep(circuit, [{}] * 30, 10)
next(stream)
first = Finalizer(pool.close, unused.close, journal.close)
own = AzureSessionSampler("local.simulator")
last = Finalizer(lambda: own.run(circuit))
"""


def test_finalizers_that_run_while_python_shuts_down_end_at_once(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", _SHUTDOWN, str(tmp_path / "journal")],
        capture_output=True,
        text=True,
        timeout=HANG_TIMEOUT,
        check=True,
    )
    (printed,) = [line for line in child.stderr.splitlines() if "Error" in line]
    assert printed.startswith("RuntimeError: Python is shutting down: ")


@NEEDS_FORK
@pytest.mark.parametrize("read", ["next", "close"])
def test_a_stream_in_the_child_of_a_fork_ends_at_once(read: str) -> None:
    workspace = LocalWorkspace(backends={TARGET: lambda request: b'{"histogram": {"1": 1}}'})
    with SessionPool(workspace) as pool:
        sampler = AzureSessionSampler(TARGET, pool=pool, max_concurrent_jobs=1)
        stream = sampler.stream_sweep(SWITCH, cirq.Points("flip", [1] * 20), 3)
        next(stream)

        def end() -> bool:
            if read == "next":
                with pytest.raises(RuntimeError, match="started before a fork"):
                    next(stream)
            else:
                stream.close()  # type: ignore[attr-defined]
            return list(stream) == [] and sampler.run(SWITCH, {"flip": 1}).repetitions == 1

        assert _in_child(end)
        assert len(list(stream)) == 19


@NEEDS_FORK
def test_an_asynchronous_stream_in_the_child_of_a_fork_ends_at_once() -> None:
    workspace = LocalWorkspace(backends={TARGET: lambda request: b'{"histogram": {"1": 1}}'})
    with SessionPool(workspace) as pool:
        sampler = AzureSessionSampler(TARGET, pool=pool, max_concurrent_jobs=1)
        stream = sampler.stream_sweep_async(SWITCH, cirq.Points("flip", [1] * 20), 3)

        async def read_one() -> int:
            index, _ = await anext(stream)
            return index

        def end() -> bool:
            with pytest.raises(RuntimeError, match="started before a fork"):
                asyncio.new_event_loop().run_until_complete(read_one())
            return True

        # Not `asyncio.run`, which closes every stream that it leaves.
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(read_one()) == 0
        assert _in_child(end)
        assert loop.run_until_complete(read_one()) == 1
        loop.run_until_complete(stream.aclose())  # type: ignore[attr-defined]
        loop.close()


def test_a_pool_without_a_journal_has_no_orphans(pool: SessionPool) -> None:
    pool.session(TARGET)
    assert pool.close_orphans() == []
