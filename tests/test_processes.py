"""One sampler in many processes: what pickles carry, and what workers share and close."""

from __future__ import annotations

import asyncio
import multiprocessing
import operator
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cirq
import pytest
from children import NEEDS_FORK
from services import FLIP, HANG_TIMEOUT, LOCAL, REMOTE, ROTATION, angles, in_background

from cirq_azure_sessions import (
    AzureSessionSampler,
    AzureWorkspace,
    Journal,
    LocalWorkspace,
    ManualClock,
    SessionPool,
    SweepError,
    SystemClock,
)
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.model import Session
from cirq_azure_sessions.workspaces.filters import ItemFilter

COINS = cirq.Circuit(cirq.H(cirq.LineQubit(0)), cirq.measure(cirq.LineQubit(0), key="m"))

METHODS = [
    pytest.param(method, marks=pytest.mark.skipif(method not in available, reason="not here"))
    for available in [multiprocessing.get_all_start_methods()]
    for method in ("fork", "spawn", "forkserver")
]
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")


@pytest.fixture
def clock() -> SystemClock:
    """The machine's own time, which other processes have too."""
    return SystemClock()


def copy_of(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


# Pickles


def test_copy_of_a_pool_has_its_options_and_no_session(server: EmulatorServer) -> None:
    with SessionPool(server.workspace(), name="vqe", job_failure_policy="Abort") as pool:
        opened = pool.session(REMOTE)
        copy = copy_of(pool)
        assert copy is not pool
        assert copy.sessions() == []
        # The name is one of the options.
        with copy:
            assert copy.session(REMOTE).id == opened.id
    assert (server.requests["open"], server.requests["close"]) == (1, 1)


def test_two_hundred_pickles_of_a_sampler_share_one_pool(server: EmulatorServer) -> None:
    with SessionPool(server.workspace()) as pool:
        sampler = AzureSessionSampler(REMOTE, pool=pool)
        task = pickle.dumps(sampler.run)
        start = threading.Barrier(8)

        def run(number: int) -> str:
            if number < 8:
                start.wait()
            session_id: str = pickle.loads(task)(FLIP).session_id
            return session_id

        with ThreadPoolExecutor(8) as threads:
            assert len(set(threads.map(run, range(200)))) == 1
        copy_of(pool).close()
    assert (server.requests["open"], server.requests["close"]) == (1, 1)


def test_copies_of_a_sampler_with_a_pool_of_its_own_share_one(server: EmulatorServer) -> None:
    with AzureSessionSampler(REMOTE, workspace=server.workspace()) as sampler:
        first, second = copy_of(sampler), copy_of(sampler)
        assert first.pool is second.pool is not sampler.pool
        # Closing one leaves the pool to the others.
        with first:
            opened = first.run(FLIP).session_id
        assert second.run(FLIP).session_id == opened
        first.pool.close()
        third = copy_of(sampler)
        assert third.run(FLIP).session_id != opened
        third.pool.close()


def test_a_closed_copy_is_replaced_by_the_next() -> None:
    with SessionPool() as pool:
        copy_of(pool).close()
        with copy_of(pool) as copy:
            assert copy.session(LOCAL).target == LOCAL


def test_copies_of_a_sampler_draw_the_same_samples() -> None:
    sampler = AzureSessionSampler(LOCAL, seed=7)
    copies = [copy_of(sampler) for _ in range(2)]
    results = [each.run(COINS, repetitions=100) for each in (*copies, sampler)]
    assert results[0] == results[1] == results[2]


def test_executor_is_not_pickled_and_changes_no_sample() -> None:
    with ThreadPoolExecutor(2) as executor:
        with SessionPool(LocalWorkspace(executor=executor), executor=executor) as pool:
            sampler = AzureSessionSampler(LOCAL, pool=pool, seed=7)
            here = sampler.run_sweep(ROTATION, angles(9), 50)
        copy = copy_of(AzureSessionSampler(LOCAL, executor=executor, seed=7))
    assert copy.run_sweep(ROTATION, angles(9), 50) == here


def test_a_sampler_with_a_cost_limit_is_not_copied(server: EmulatorServer) -> None:
    """Each copy could spend as much."""
    with SessionPool(server.workspace()) as pool:
        sampler = AzureSessionSampler("ionq.qpu.aria-1", pool=pool, max_cost=10.0)
        with pytest.raises(TypeError, match="max_cost cannot be pickled"):
            pickle.dumps(sampler)


def test_a_journal_is_the_same_file_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with SessionPool(journal="run.journal") as pool, Journal("run.journal") as journal:
        pickled = pickle.dumps((pool, journal))
        monkeypatch.chdir("elsewhere")
        copied_pool, copied_journal = pickle.loads(pickled)
        with copied_journal, copied_pool:
            assert copied_journal.path == copied_pool._journal.path == journal.path


def test_an_unpickled_manual_clock_starts_at_the_time_of_the_original() -> None:
    clock = ManualClock(1000.0, auto_advance=False)
    clock.advance(600)
    copy = copy_of(clock)
    copy.advance(5)
    assert (clock.time(), copy.time()) == (1600.0, 1605.0)


def test_a_workspace_is_one_copy_for_all_that_have_it(server: EmulatorServer) -> None:
    for workspace in (LocalWorkspace(), AzureWorkspace(server.workspace())):
        pools = [SessionPool(workspace) for _ in range(2)]
        first, second = map(copy_of, pools)
        assert first is not second
        assert first._given is second._given is not workspace
        assert first._given.identity == workspace.identity


def test_a_pickle_holds_no_secret_that_the_sdk_does_not_put_in_its_own(
    server: EmulatorServer,
) -> None:
    workspace = server.workspace()
    with SessionPool(workspace) as pool:
        sampler = AzureSessionSampler(REMOTE, pool=pool)
        sampler.run(FLIP)
        pickled = pickle.dumps(sampler)
    assert b"sig=" not in pickled
    assert pickled.count(server.key.encode()) == pickle.dumps(workspace).count(server.key.encode())


# Workers


Calls = list[tuple[Callable[[cirq.Circuit], Any], cirq.Circuit]]


def check_workers(server: EmulatorServer, run_in_workers: Callable[[Calls], Any]) -> None:
    """Has two workers sample with and without a name; they have ended when that returns."""
    azure = server.workspace()
    with SessionPool(azure, name="shared") as shared, SessionPool(azure) as nameless:
        samplers = [AzureSessionSampler(REMOTE, pool=pool) for pool in (shared, nameless)]
        results = list(run_in_workers([(each.run, FLIP) for each in samplers] * 6))
        assert [result.histogram(key="m") for result in results] == [{1: 1}] * 12
        assert len({result.session_id for result in results[::2]}) == 1
        assert 1 <= len({result.session_id for result in results[1::2]}) <= 2
        # The parent has nothing open: the workers had, and have closed it.
        assert [*shared.sessions(), *nameless.sessions()] == []
    assert server.requests["open"] == server.requests["close"] <= 4


@posix_only
@pytest.mark.parametrize("method", METHODS)
def test_workers_of_multiprocessing_share_a_session_and_close_it(
    server: EmulatorServer, method: str
) -> None:
    def run(calls: Calls) -> Any:
        # Leaving the block ends the workers by SIGTERM.
        with multiprocessing.get_context(method).Pool(2) as workers:
            return workers.starmap(operator.call, calls, chunksize=1)

    check_workers(server, run)


def test_workers_of_an_executor_share_a_session_and_close_it(server: EmulatorServer) -> None:
    def run(calls: Calls) -> Any:
        with ProcessPoolExecutor(2) as executor:
            return list(executor.map(operator.call, *zip(*calls, strict=True)))

    check_workers(server, run)


def test_workers_of_joblib_share_a_session_and_close_it(server: EmulatorServer) -> None:
    joblib = pytest.importorskip("joblib")
    from joblib.externals.loky import get_reusable_executor

    def run(calls: Calls) -> Any:
        try:
            return joblib.Parallel(n_jobs=2)(
                joblib.delayed(function)(circuit) for function, circuit in calls
            )
        finally:
            get_reusable_executor().shutdown(wait=True)

    check_workers(server, run)


@NEEDS_FORK
@pytest.mark.parametrize("times", [1, 2])
def test_sigterm_closes_the_sessions_of_a_worker_that_hangs(
    server: EmulatorServer, times: int
) -> None:
    with SessionPool(server.workspace()) as pool:

        def work() -> None:
            pool.session(REMOTE)
            hangs.set()
            # The main thread may be in code that handles no signal for long.
            threading.Event().wait(4 * HANG_TIMEOUT)

        processes = multiprocessing.get_context("fork")
        hangs = processes.Event()
        child = processes.Process(target=work)
        child.start()
        assert hangs.wait(HANG_TIMEOUT)
        for _ in range(times):
            os.kill(child.pid or 0, signal.SIGTERM)
        child.join(HANG_TIMEOUT)
        assert child.exitcode == 128 + signal.SIGTERM
    assert (server.requests["open"], server.requests["close"]) == (1, 1)


@NEEDS_FORK
def test_the_child_of_a_worker_is_ended_by_sigterm_and_leaves_the_worker(
    server: EmulatorServer,
) -> None:
    with SessionPool(server.workspace()) as pool:

        def work() -> None:
            pool.session(REMOTE)
            ready, begun = os.pipe()
            child = os.fork()
            if not child:
                os.write(begun, b"!")
                threading.Event().wait(HANG_TIMEOUT)
                os._exit(1)
            # Before that it may have the worker's way to take the signal.
            os.read(ready, 1)
            os.kill(child, signal.SIGTERM)
            assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM
            assert AzureSessionSampler(REMOTE, pool=pool).run(FLIP).repetitions == 1

        worker = multiprocessing.get_context("fork").Process(target=work)
        worker.start()
        worker.join(HANG_TIMEOUT)
        assert worker.exitcode == 0
    assert (server.requests["open"], server.requests["close"]) == (1, 1)


@posix_only
def test_local_sweep_whose_worker_is_killed_fails_with_a_message() -> None:
    with ProcessPoolExecutor(2) as executor:
        spread = AzureSessionSampler(LOCAL, executor=executor)
        victim = executor.submit(os.getpid).result()
        call = in_background(spread.run_sweep, ROTATION, angles(400), 100)
        os.kill(victim, signal.SIGKILL)
        error = call.exception(4 * HANG_TIMEOUT)
    assert isinstance(error, SweepError)
    assert "terminated abruptly" in str(error)


# Pools of one name that open at the same instant


class Simultaneous(LocalWorkspace):
    """A workspace in which several pools look for a session before any has opened one."""

    def __init__(self, pools: int) -> None:
        super().__init__()
        self.listed = 0
        self.opened: list[str] = []
        self._pools = pools
        self._all_have_looked = asyncio.Event()
        self.breaks_after_opening = False

    async def list_sessions(self, where: Any = ItemFilter()) -> Any:  # type: ignore[override] # noqa: B008
        found = [session async for session in super().list_sessions(where)]
        self.listed += 1
        if self.listed == self._pools:
            self._all_have_looked.set()
        await self._all_have_looked.wait()
        for session in found:
            yield session

    async def open_session(self, request: Any) -> Session:
        self.opened.append(request.id)
        return await super().open_session(request)


@pytest.mark.parametrize("count", [2, 5])
def test_pools_of_a_name_that_open_at_once_share_the_first_session(count: int) -> None:
    workspace = Simultaneous(count)
    pools = [SessionPool(workspace, name="shared") for _ in range(count)]
    calls = [in_background(pool.session, LOCAL) for pool in pools]
    ids = {call.result(HANG_TIMEOUT).id for call in calls}
    assert ids == {workspace.opened[0]}
    assert len(workspace.opened) == count
    # The others are closed, and empty. One look more is what it costs.
    assert workspace.listed == 2 * count
    assert sum(session.is_open for session in workspace.sessions()) == 1
    for pool in pools:
        pool.close()
    assert not any(session.is_open for session in workspace.sessions())
    assert len(workspace.jobs()) == 0


@pytest.mark.parametrize("count", [2, 3])
def test_pools_of_a_name_that_open_and_close_at_once_lose_no_job(count: int) -> None:
    workspace = Simultaneous(count)

    def run() -> int:
        with SessionPool(workspace, name="shared") as pool:
            sampler = AzureSessionSampler(LOCAL, pool=pool)
            return sum(sampler.run(FLIP).histogram(key="m")[1] for _ in range(3))

    calls = [in_background(run) for _ in range(count)]
    assert [call.result(HANG_TIMEOUT) for call in calls] == [3] * count
    assert len(workspace.jobs()) == 3 * count
    assert not any(session.is_open for session in workspace.sessions())


def test_a_pool_without_a_name_looks_for_no_session() -> None:
    workspace = Simultaneous(1)
    with SessionPool(workspace) as pool:
        pool.session(LOCAL)
    assert workspace.listed == 0
