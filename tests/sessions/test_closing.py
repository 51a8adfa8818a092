"""Closing a pool: from callbacks, during another close, at exit beside one, and after a fork."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cirq
import duet
import pytest
from children import NEEDS_FORK
from services import (
    FLIP,
    HANG_TIMEOUT,
    LOCAL,
    drive,
    in_background,
    is_closed,
    jobs_in,
    open_sessions,
    settle,
    wait_until,
)

from cirq_azure_sessions import (
    AzureSessionSampler,
    JobCancelled,
    LocalWorkspace,
    ManualClock,
    PoolClosed,
    ServiceError,
    SessionNotAvailable,
    SessionPool,
    background,
    process,
)
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.model import Job, JobRequest, Session
from cirq_azure_sessions.workspaces.local import JobPace

# Seconds within which a process of its own starts, works and exits.
_EXIT_TIMEOUT = 60.0

# Whoever is refused leaves nothing behind.
pytestmark = pytest.mark.filterwarnings("error:coroutine .* was never awaited:RuntimeWarning")


class _Failing(cirq.Sampler):
    def run_sweep(self, program: Any, params: Any, repetitions: int = 1) -> Any:
        raise KeyError("a mistake of its own")


def _subscribe(pool: SessionPool, callback: Callable[[Any], None]) -> None:
    pool.subscribe(callback)
    # An earlier version has a door of its own for events of sweeps.
    if hasattr(pool, "subscribe_sweeps"):
        pool.subscribe_sweeps(callback)


# From callbacks


def _succeed(pool: SessionPool) -> None:
    AzureSessionSampler(LOCAL, pool=pool).run(FLIP)


def _fail(pool: SessionPool) -> None:
    AzureSessionSampler("local.failing", pool=pool).run(FLIP)


def _outlive(pool: SessionPool) -> None:
    _succeed(pool)
    pool._clock.advance(700.0)  # type: ignore[attr-defined]  # beyond the service's timeout
    _succeed(pool)


@pytest.mark.parametrize("cancel", [False, True])
@pytest.mark.parametrize(
    ("counter", "use"),
    [
        ("sessions_opened", _succeed),
        ("jobs_submitted", _succeed),
        ("jobs_succeeded", _succeed),
        ("sessions_closed", _succeed),
        ("sweeps_started", _succeed),
        ("sweeps_finished", _succeed),
        ("jobs_failed", _fail),
        ("sweeps_failed", _fail),
        ("sessions_timed_out", _outlive),
    ],
)
def test_a_pool_can_be_closed_from_a_callback(
    counter: str, use: Callable[[SessionPool], None], cancel: bool
) -> None:
    clock = ManualClock()
    workspace = LocalWorkspace({"local.failing": _Failing()}, clock=clock)
    pool = SessionPool(workspace, clock=clock)
    heard = threading.Event()

    def close(event: Any) -> None:
        if event.counter == counter:
            heard.set()
            pool.close(cancel=cancel)

    _subscribe(pool, close)
    call = in_background(use, pool)
    call.exception(HANG_TIMEOUT)
    in_background(pool.close).result(HANG_TIMEOUT)
    assert heard.is_set()
    assert open_sessions(workspace) == []
    with pytest.raises(PoolClosed):
        pool.session(LOCAL)


def test_a_pool_that_is_closed_from_a_callback_waits_for_its_jobs() -> None:
    clock = ManualClock(auto_advance=False)
    workspace = LocalWorkspace(clock=clock, pace=lambda request: JobPace(run=100.0))
    pool = SessionPool(workspace, clock=clock)
    pool.subscribe(lambda event: pool.close() if event.counter == "jobs_submitted" else None)
    call = in_background(AzureSessionSampler(LOCAL, pool=pool).run, FLIP)
    drive(clock, call)
    assert call.result().repetitions == 1
    drive(clock, in_background(pool.close))
    assert open_sessions(workspace) == []


# From samplers, whose jobs end only when they return


class _Calling(cirq.Sampler):
    """A sampler that calls a function before it runs."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function

    def run_sweep(self, program: Any, params: Any, repetitions: int = 1) -> Any:
        self._function()
        return cirq.Simulator().run_sweep(program, params, repetitions)


def _leave(pool: SessionPool) -> None:
    with pool:
        pass


async def _leave_async(pool: SessionPool) -> None:
    async with pool:
        pass


CLOSES: dict[str, Callable[[SessionPool], object]] = {
    "close": SessionPool.close,
    "with": _leave,
    "async with": lambda pool: asyncio.run(_leave_async(pool)),
}


@pytest.mark.parametrize("runs_in", ["a thread", "an executor", "a sampler of another target"])
@pytest.mark.parametrize("close", CLOSES.values(), ids=CLOSES)
def test_a_pool_that_a_sampler_closes_while_it_runs_waits_for_its_job(
    close: Callable[[SessionPool], object], runs_in: str
) -> None:
    with ThreadPoolExecutor(1) as executor:
        closing = _Calling(lambda: close(pool))
        given = (lambda seed: closing) if runs_in == "an executor" else closing
        outer = _Calling(lambda: AzureSessionSampler("local.closing", pool=pool).run(FLIP))
        workspace = LocalWorkspace(
            {"local.closing": given, "local.outer": outer}, executor=executor
        )
        pool = SessionPool(workspace)
        target = "local.outer" if runs_in == "a sampler of another target" else "local.closing"
        sampler = AzureSessionSampler(target, pool=pool)
        assert in_background(sampler.run, FLIP).result(HANG_TIMEOUT).repetitions == 1
        in_background(pool.close).result(HANG_TIMEOUT)
    assert open_sessions(workspace) == []


def test_a_pool_that_a_sampler_closes_with_cancel_cancels_its_job() -> None:
    workspace = LocalWorkspace({"local.closing": _Calling(lambda: pool.close(cancel=True))})
    pool = SessionPool(workspace)
    call = in_background(AzureSessionSampler("local.closing", pool=pool).run, FLIP)
    assert isinstance(call.exception(HANG_TIMEOUT), JobCancelled)
    in_background(pool.close).result(HANG_TIMEOUT)
    assert open_sessions(workspace) == []


def test_a_pool_can_be_closed_from_a_backend() -> None:
    def run(request: JobRequest) -> object:
        pool.close()
        raise ValueError("no result")

    workspace = LocalWorkspace(backends={"ionq.simulator": run})
    pool = SessionPool(workspace)
    call = in_background(AzureSessionSampler("ionq.simulator", pool=pool).run, FLIP)
    assert "no result" in str(call.exception(HANG_TIMEOUT))
    in_background(pool.close).result(HANG_TIMEOUT)
    assert open_sessions(workspace) == []


def test_a_sampler_that_closes_another_pool_waits_until_it_is_closed() -> None:
    other = SessionPool(workspace := LocalWorkspace())

    def use() -> None:
        AzureSessionSampler(LOCAL, pool=other).run(FLIP)
        other.close()
        assert open_sessions(workspace) == []

    pool = SessionPool(LocalWorkspace({"local.calling": _Calling(use)}))
    call = in_background(AzureSessionSampler("local.calling", pool=pool).run, FLIP)
    assert call.result(HANG_TIMEOUT).repetitions == 1


# During another close


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(auto_advance=False)


@pytest.fixture
def workspace(clock: ManualClock) -> LocalWorkspace:
    return LocalWorkspace(clock=clock, pace=lambda request: JobPace(run=8 * 3600.0))


@pytest.fixture
def pool(workspace: LocalWorkspace, clock: ManualClock) -> Iterator[SessionPool]:
    pool = SessionPool(workspace, clock=clock)
    yield pool
    drive(clock, in_background(pool.close, cancel=True))


def _start(pool: SessionPool) -> Any:
    call = in_background(AzureSessionSampler(LOCAL, pool=pool).run, FLIP)
    wait_until(lambda: pool.get_stats()["jobs_running"] == 1)
    return call


def test_closing_with_cancel_ends_a_close_that_waits_for_jobs(
    pool: SessionPool, workspace: LocalWorkspace
) -> None:
    call = _start(pool)
    patient = in_background(pool.close)
    wait_until(lambda: is_closed(pool))
    in_background(pool.close, cancel=True).result(HANG_TIMEOUT)
    patient.result(HANG_TIMEOUT)
    assert call.exception(HANG_TIMEOUT) is not None
    assert [job.status for job in jobs_in(workspace)] == ["Cancelled"]
    assert open_sessions(workspace) == []


def test_a_second_close_waits_for_the_first(pool: SessionPool, clock: ManualClock) -> None:
    call = _start(pool)
    closes = [in_background(pool.close) for _ in range(5)]
    wait_until(lambda: is_closed(pool))
    assert not any(close.done() for close in closes)
    drive(clock, call, *closes)
    assert [close.exception() for close in closes] == [None] * 5
    assert call.result().repetitions == 1


def test_closing_with_cancel_from_a_callback_ends_a_close_that_waits_for_jobs(
    pool: SessionPool,
) -> None:
    call = _start(pool)
    patient = in_background(pool.close)
    wait_until(lambda: is_closed(pool))
    pool.subscribe(lambda event: pool.close(cancel=True))
    in_background(pool.close, cancel=True).result(HANG_TIMEOUT)
    patient.result(HANG_TIMEOUT)
    assert call.exception(HANG_TIMEOUT) is not None


# When the caller no longer waits


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals of Unix")
def test_an_interrupted_close_closes_the_sessions_and_waits_for_no_job(
    pool: SessionPool, workspace: LocalWorkspace
) -> None:
    call = _start(pool)
    main = threading.get_ident()

    def interrupt() -> None:
        wait_until(lambda: sys._current_frames()[main].f_code is background.Call.wait.__code__)
        signal.pthread_kill(main, signal.SIGINT)

    in_background(interrupt)
    with pytest.raises(KeyboardInterrupt):
        pool.close()
    assert open_sessions(workspace) == []
    assert isinstance(call.exception(HANG_TIMEOUT), PoolClosed)
    assert [job.is_final for job in jobs_in(workspace)] == [False]


async def _cancelled_by_asyncio(pool: SessionPool) -> None:
    async with asyncio.timeout(None) as limit, pool:
        # The block ends now, and the wait for its jobs is cancelled at once.
        limit.reschedule(asyncio.get_running_loop().time())


async def _cancelled_by_duet(pool: SessionPool) -> None:
    async with duet.timeout_scope(0.0), pool:
        pass


@pytest.mark.parametrize(
    ("run", "close"),
    [(asyncio.run, _cancelled_by_asyncio), (duet.run, _cancelled_by_duet)],
    ids=["asyncio", "duet"],
)
def test_a_cancelled_close_closes_the_sessions_and_waits_for_no_job(
    run: Callable[..., None],
    close: Callable[..., Any],
    pool: SessionPool,
    workspace: LocalWorkspace,
) -> None:
    call = _start(pool)
    arguments = [close(pool)] if run is asyncio.run else [close, pool]
    with pytest.raises(TimeoutError):
        in_background(run, *arguments).result(HANG_TIMEOUT)
    assert open_sessions(workspace) == []
    assert isinstance(call.exception(HANG_TIMEOUT), PoolClosed)


class _Refusing(LocalWorkspace):
    """A workspace that closes no session."""

    async def close_session(self, session_id: str) -> Session:
        raise ServiceError("Not now.", status_code=503)


def test_an_error_in_the_block_comes_before_that_of_closing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool = SessionPool(_Refusing())
    pool.session(LOCAL)
    with pytest.raises(KeyError), pool:
        raise KeyError
    assert "The service did not close" in caplog.text
    with pytest.raises(SessionNotAvailable, match="did not close"):
        pool.close()


def test_closing_during_a_call_that_opens_a_session_leaves_none_open() -> None:
    for _ in range(30):
        workspace = LocalWorkspace()
        pool = SessionPool(workspace)
        barrier = threading.Barrier(3)

        def race(act: Callable[[], Any], barrier: threading.Barrier = barrier) -> None:
            barrier.wait(HANG_TIMEOUT)
            act()

        calls = [
            in_background(race, pool.close),
            in_background(race, lambda pool=pool: pool.session(LOCAL)),
            in_background(race, pool.close_orphans),
        ]
        errors = [call.exception(HANG_TIMEOUT) for call in calls]
        assert {type(error) for error in errors} <= {type(None), PoolClosed}
        assert open_sessions(workspace) == []
        assert len([thread for thread in threading.enumerate() if "cirq" in thread.name]) <= 1


# Against a service that does not cooperate


class _Full(LocalWorkspace):
    """A workspace that answers 429 to every submission, forever."""

    def __init__(self, retry_after: float | None, **options: Any) -> None:
        super().__init__(**options)
        self.has_refused = threading.Event()
        self._retry_after = retry_after

    async def submit_job(self, request: JobRequest, stored: Any = None) -> Job:
        self.has_refused.set()
        raise ServiceError("Too many.", status_code=429, retry_after=self._retry_after)


@pytest.mark.parametrize("retry_after", [None, 3600.0])
def test_closing_with_cancel_ends_calls_whose_jobs_the_service_refuses(
    clock: ManualClock, retry_after: float | None
) -> None:
    workspace = _Full(retry_after, clock=clock)
    pool = SessionPool(workspace, clock=clock)
    call = in_background(AzureSessionSampler(LOCAL, pool=pool).run, FLIP)
    assert workspace.has_refused.wait(HANG_TIMEOUT)
    settle(pool)
    in_background(pool.close, cancel=True).result(HANG_TIMEOUT)
    assert isinstance(call.exception(HANG_TIMEOUT), PoolClosed)
    assert jobs_in(workspace) == []
    assert open_sessions(workspace) == []


class _Mistaken(LocalWorkspace):
    """A workspace whose first `close_session` has a mistake; what it holds outlives the process."""

    identity = "mistaken"  # type: ignore[assignment]
    has_erred = False
    is_let_go = False

    async def close_session(self, session_id: str) -> Session:
        if not self.has_erred:
            self.has_erred = True
            raise TypeError("This is no session.")
        return await super().close_session(session_id)

    async def aclose(self) -> None:
        self.is_let_go = True


def test_a_session_that_cannot_be_closed_keeps_no_other_open() -> None:
    workspace = _Mistaken()
    pool = SessionPool(workspace)
    first, *_ = [pool.session(LOCAL), pool.session("local.clifford")]
    with pytest.raises(TypeError, match="no session"):
        pool.close()
    assert open_sessions(workspace) == [first.id]
    assert workspace.is_let_go
    assert pool not in process._held


# At the end of a process


_AT_EXIT = """
import sys, threading
from azure.core.credentials import AzureKeyCredential
from azure.quantum import Workspace
from cirq_azure_sessions import AzureSessionSampler, PoolClosed, SessionPool
import cirq

endpoint, resource_id, key, how = sys.argv[1:]
pool = SessionPool(Workspace(resource_id=resource_id, location="eastus",
    credential=AzureKeyCredential(key), _quantum_endpoint=endpoint))
sampler = AzureSessionSampler("ionq.simulator", pool=pool)
submitted = threading.Event()
pool.subscribe(lambda event: submitted.set() if event.counter == "jobs_submitted" else None)
circuit = cirq.Circuit(cirq.measure(cirq.LineQubit(0), key="m"))
threading.Thread(target=sampler.run, args=(circuit,), daemon=True).start()
assert submitted.wait(30)
if how == "draining":
    threading.Thread(target=pool.close, daemon=True).start()
    while True:
        try:
            pool.session("ionq.simulator")
        except PoolClosed:
            break
"""


def _run_until_exit(server: EmulatorServer, script: str, *arguments: str) -> str:
    child = subprocess.run(
        [sys.executable, "-c", script, server.endpoint, server.resource_id, server.key, *arguments],
        capture_output=True,
        text=True,
        timeout=_EXIT_TIMEOUT,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    return child.stdout


@pytest.mark.parametrize("how", ["running", "draining"])
def test_sessions_are_closed_at_exit(how: str) -> None:
    with EmulatorServer(job_time=86400.0, session_timeout=1e9) as server:
        _run_until_exit(server, _AT_EXIT, how)
        assert (server.requests["open"], server.requests["close"]) == (1, 1)


_FORKED = """
import multiprocessing, os, sys
from azure.core.credentials import AzureKeyCredential
from azure.quantum import Workspace
from cirq_azure_sessions import AzureSessionSampler, SessionPool
import cirq

endpoint, resource_id, key, how = sys.argv[1:]
pool = SessionPool(Workspace(resource_id=resource_id, location="eastus",
    credential=AzureKeyCredential(key), _quantum_endpoint=endpoint))
sampler = AzureSessionSampler("ionq.simulator", pool=pool)
circuit = cirq.Circuit(cirq.measure(cirq.LineQubit(0), key="m"))
sampler.run(circuit)

def work():
    sampler.run(circuit)

if how == "multiprocessing":
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(40)
    assert child.exitcode == 0, child.exitcode
else:
    child = os.fork()
    if not child:
        work()
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


@NEEDS_FORK
@pytest.mark.parametrize("how", ["multiprocessing", "os.fork"])
def test_the_child_of_a_fork_closes_its_own_sessions_when_it_ends(how: str) -> None:
    with EmulatorServer() as server:
        _run_until_exit(server, _FORKED, how)
        assert (server.requests["open"], server.requests["close"]) == (2, 2)
        assert server.requests["submit"] == 2


_SIGTERM = """
import os, signal, sys
import cirq
from cirq_azure_sessions import AzureSessionSampler, Journal, LocalWorkspace, SessionPool

circuit = cirq.Circuit(cirq.measure(cirq.LineQubit(0), key="m"))
with Journal(sys.argv[1]) as journal, SessionPool(LocalWorkspace(), journal=journal) as pool:
    AzureSessionSampler("local.simulator", pool=pool).run(circuit)
    AzureSessionSampler("local.simulator").run(circuit)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "nobody asked for a handler"
    os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_sigterm_is_handled_only_on_request(tmp_path: Any) -> None:
    child = subprocess.run(
        [sys.executable, "-c", _SIGTERM, str(tmp_path / "journal")],
        capture_output=True,
        timeout=_EXIT_TIMEOUT,
        check=False,
    )
    assert child.returncode == -15, child.stderr
