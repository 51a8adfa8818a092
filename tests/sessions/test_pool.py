"""Every rule by which the pool opens, keeps, replaces and closes sessions, as storyboards."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import cirq
import pytest
from children import NEEDS_FORK
from circuits import BELL
from contents import jobs, sessions
from services import HANG_TIMEOUT, REMOTE, ROTATION, angles, in_background

from cirq_azure_sessions import (
    AzureSessionSampler,
    JobCancelled,
    JobFailed,
    JobTimeout,
    LocalWorkspace,
    ManualClock,
    PoolClosed,
    ServiceError,
    SessionNotAvailable,
    SessionPool,
    UnsupportedTarget,
)
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.model import Job, JobRequest, Session, SessionRequest
from cirq_azure_sessions.watch.events import AnyEvent
from cirq_azure_sessions.workspaces.filters import ANY, ItemFilter
from cirq_azure_sessions.workspaces.local import JobPace

TARGET = "local.simulator"


@pytest.fixture
def pool(local_pool: SessionPool) -> SessionPool:
    return local_pool


def _run(pool: SessionPool, target: str = TARGET) -> cirq.Result:
    return AzureSessionSampler(target, pool=pool).run(BELL, repetitions=10)


def _opened(workspace: LocalWorkspace) -> int:
    return len(sessions(workspace))


def _statuses(workspace: LocalWorkspace) -> list[str]:
    return [session.status.value for session in sessions(workspace)]


# Opening and reusing


def test_pool_opens_nothing_until_used(pool: SessionPool, workspace: LocalWorkspace) -> None:
    assert repr(pool) == "<SessionPool: no session>"
    assert _opened(workspace) == 0


def test_the_first_use_opens_a_session_and_the_next_reuse_it(
    pool: SessionPool, workspace: LocalWorkspace
) -> None:
    first = pool.session(TARGET)
    assert repr(pool) == "<SessionPool: local.simulator OPEN>"
    assert pool.session(TARGET) is first
    _run(pool)
    _run(pool)
    assert _opened(workspace) == 1
    assert pool.get_stats()["sessions_opened"] == 1
    assert pool.get_stats()["sessions_reused"] == 3


def test_a_first_run_is_no_reuse(pool: SessionPool) -> None:
    _run(pool)
    assert pool.get_stats()["sessions_reused"] == 0


def test_each_target_has_a_session_of_its_own(pool: SessionPool, workspace: LocalWorkspace) -> None:
    _run(pool, "local.simulator")
    _run(pool, "local.density-matrix")
    _run(pool, "local.simulator")
    assert repr(pool) == "<SessionPool: local.simulator OPEN, local.density-matrix OPEN>"
    assert [session.target for session in pool.sessions()] == [
        "local.simulator",
        "local.density-matrix",
    ]
    assert _opened(workspace) == 2


def test_a_session_shows_what_the_service_reported(pool: SessionPool) -> None:
    session = pool.session(TARGET)
    assert session.target == TARGET
    assert session.name == f"session-{session.id}"
    assert session.status == "Waiting"
    assert session.job_failure_policy == "Continue"
    assert session.azure_session is None
    assert pool.sessions() == [session]


def test_threads_that_start_at_once_open_one_session(
    pool: SessionPool, workspace: LocalWorkspace
) -> None:
    barrier = threading.Barrier(32)
    ids = []

    def use() -> None:
        barrier.wait()
        ids.append(pool.session(TARGET).id)

    threads = [threading.Thread(target=use) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 1
    assert len(ids) == 32
    assert _opened(workspace) == 1


def test_a_session_used_within_max_idle_takes_no_request(clock: ManualClock) -> None:
    workspace = _Counting(clock)
    with SessionPool(workspace, clock=clock, max_idle=540.0) as pool:
        pool.session(TARGET)
        for _ in range(20):
            clock.advance(500)
            workspace.touch(pool.session(TARGET).id)
        assert workspace.requests == ["open"]


# Rest and timeouts


def test_past_max_idle_an_open_session_is_checked_and_kept(
    pool: SessionPool, workspace: LocalWorkspace, clock: ManualClock
) -> None:
    first = pool.session(TARGET)
    clock.advance(541)
    assert pool.session(TARGET) is first
    assert pool.get_stats()["sessions_checked"] == 1
    assert _opened(workspace) == 1


def test_a_timed_out_session_is_replaced_by_one_more(
    pool: SessionPool, workspace: LocalWorkspace, clock: ManualClock
) -> None:
    _run(pool)
    clock.advance(601)
    _run(pool)
    _run(pool)
    assert _statuses(workspace) == ["TimedOut", "Executing"]
    assert repr(pool) == "<SessionPool: local.simulator OPEN>"
    assert pool.get_stats()["sessions_timed_out"] == 1
    assert pool.get_stats()["sessions_reopened"] == 1


def test_a_session_that_is_refused_while_it_is_checked_times_out_once(clock: ManualClock) -> None:
    class Crossing(LocalWorkspace):
        """The first job is submitted while the session is checked, and refused meanwhile."""

        is_held, is_checked, is_asked_again = threading.Event(), asyncio.Event(), asyncio.Event()

        async def submit_job(self, request: JobRequest, stored: Any = None) -> Job:
            if not self.is_held.is_set():
                self.is_held.set()
                await self.is_checked.wait()
            return await super().submit_job(request, stored)

        async def get_session(self, session_id: str) -> Session:
            if self.is_checked.is_set():
                self.is_asked_again.set()
            else:
                self.is_checked.set()
                await self.is_asked_again.wait()
            return await super().get_session(session_id)

    workspace = Crossing(clock=clock)
    with SessionPool(workspace, clock=clock) as pool:
        first = in_background(_run, pool)
        assert workspace.is_held.wait(HANG_TIMEOUT)
        clock.advance(601)
        _run(pool)
        first.result(HANG_TIMEOUT)
        assert _statuses(workspace) == ["TimedOut", "Executing"]
        assert pool.get_stats()["sessions_timed_out"] == 1


def test_a_refused_submission_reopens_silently(
    workspace: LocalWorkspace, clock: ManualClock
) -> None:
    # The pool's own clock stands still: it believes that the session is fresh.
    with SessionPool(workspace, clock=ManualClock()) as pool:
        _run(pool)
        clock.advance(601)
        _run(pool)
        assert _statuses(workspace) == ["TimedOut", "Executing"]
        assert pool.get_stats()["sessions_timed_out"] == 1


def test_many_refusals_make_one_new_session(workspace: LocalWorkspace, clock: ManualClock) -> None:
    with SessionPool(workspace, clock=ManualClock()) as pool:
        _run(pool)
        clock.advance(601)
        barrier = threading.Barrier(32)

        def run() -> None:
            barrier.wait()
            _run(pool)

        threads = [threading.Thread(target=run) for _ in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert _statuses(workspace) == ["TimedOut", "Executing"]
        assert pool.get_stats()["jobs_succeeded"] == 33


def test_a_session_closed_by_another_client_is_replaced(
    pool: SessionPool, workspace: LocalWorkspace
) -> None:
    asyncio.run(workspace.close_session(pool.session(TARGET).id))
    _run(pool)
    assert _statuses(workspace) == ["Succeeded", "Executing"]
    assert pool.get_stats()["sessions_lost"] == 1


def test_a_session_that_the_service_forgot_is_replaced(clock: ManualClock) -> None:
    workspace = _Counting(clock)
    with SessionPool(workspace, clock=clock) as pool:
        pool.session(TARGET)
        clock.advance(541)
        workspace.forgotten = True
        pool.session(TARGET)
        assert workspace.requests == ["open", "get", "open"]


# Failure policies


def test_under_continue_a_failed_job_leaves_its_session_open(
    clock: ManualClock,
) -> None:
    workspace = LocalWorkspace({"local.broken": _Broken()}, clock=clock)
    with SessionPool(workspace, clock=clock) as pool:
        sampler = AzureSessionSampler("local.broken", pool=pool, on_error="return")
        assert sampler.run_sweep(BELL, None, 10) == [None]
        assert _statuses(workspace) == ["Failure(s)"]
        sampler.run_sweep(BELL, None, 10)
        assert _opened(workspace) == 1
        assert repr(pool) == "<SessionPool: local.broken OPEN>"
        assert pool.get_stats()["jobs_failed"] == 2


def test_under_abort_the_call_after_a_failure_opens_a_fresh_session(
    clock: ManualClock,
) -> None:
    broken = _Broken()
    workspace = LocalWorkspace({"local.broken": broken}, clock=clock)
    with SessionPool(workspace, clock=clock, job_failure_policy="Abort") as pool:
        sampler = AzureSessionSampler("local.broken", pool=pool)
        with pytest.raises(JobFailed, match="The ion got away"):
            sampler.run(BELL, repetitions=10)
        assert _statuses(workspace) == ["Failed"]
        broken.mended = True
        assert sampler.run(BELL, repetitions=10).repetitions == 10
        assert _statuses(workspace) == ["Failed", "Executing"]


# Adopting


def test_a_named_pool_joins_the_latest_open_session_of_its_name(
    workspace: LocalWorkspace, clock: ManualClock
) -> None:
    with SessionPool(workspace, name="vqe", clock=clock) as first:
        session = first.session(TARGET)
        assert session.name == "vqe"
        with SessionPool(workspace, name="vqe", clock=clock) as second:
            assert second.session(TARGET).id == session.id
            assert repr(second) == "<SessionPool 'vqe': local.simulator OPEN adopted>"
            assert second.get_stats()["sessions_adopted"] == 1
        # The second leaves the session to the pool that opened it.
        assert _statuses(workspace) == ["Waiting"]
        _run(first)
    assert _statuses(workspace) == ["Succeeded"]


def test_no_session_is_adopted_by_a_prefix_or_without_a_name(
    workspace: LocalWorkspace, clock: ManualClock
) -> None:
    with SessionPool(workspace, name="vqe-2", clock=clock) as other:
        other.session(TARGET)
        for name in ("vqe", None):
            with SessionPool(workspace, name=name, clock=clock) as pool:
                pool.session(TARGET)
                assert pool.get_stats()["sessions_adopted"] == 0


def test_a_session_that_has_ended_is_not_adopted(
    workspace: LocalWorkspace, clock: ManualClock
) -> None:
    with SessionPool(workspace, name="vqe", clock=clock) as first:
        first.session(TARGET)
        clock.advance(601)
        with SessionPool(workspace, name="vqe", clock=clock) as second:
            second.session(TARGET)
            assert second.get_stats()["sessions_adopted"] == 0
    assert _statuses(workspace) == ["TimedOut", "Succeeded"]


class Interleaved(LocalWorkspace):
    """A workspace in which somebody acts once, when a request is answered or before it is."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock=clock)
        self.when = ""
        self.act: Callable[[], None] | None = None

    async def _reach(self, moment: str) -> None:
        if moment == self.when and self.act is not None:
            act, self.act = self.act, None
            await asyncio.to_thread(act)

    async def get_session(self, session_id: str) -> Session:
        session = await super().get_session(session_id)
        await self._reach("after it was found open")
        return session

    async def submit_job(self, request: JobRequest, stored: Any = None) -> Job:
        await self._reach("before its first job")
        return await super().submit_job(request, stored)


@pytest.mark.parametrize("when", ["after it was found open", "before its first job"])
def test_pool_whose_adopted_session_is_closed_by_its_opener_opens_one(
    clock: ManualClock, when: str
) -> None:
    workspace = Interleaved(clock)
    opener = SessionPool(workspace, name="vqe", clock=clock)
    opener.session(TARGET)
    events: list[str] = []
    with SessionPool(workspace, name="vqe", clock=clock) as pool:
        pool.subscribe(lambda event: events.append(f"{event.subject} {event.kind}"))
        workspace.when, workspace.act = when, opener.close
        _run(pool)
    assert events == [
        "sweep started",
        "session adopted",
        "session lost",
        "session opened",
        "job submitted",
        "job succeeded",
        "sweep finished",
        "session closed",
    ]
    assert _statuses(workspace) == ["Succeeded", "Succeeded"]


# Closing


def test_leaving_the_block_closes_every_session(
    workspace: LocalWorkspace, clock: ManualClock
) -> None:
    with SessionPool(workspace, clock=clock) as pool:
        _run(pool, "local.simulator")
        _run(pool, "local.clifford")
    assert _statuses(workspace) == ["Succeeded", "Succeeded"]
    assert repr(pool) == "<SessionPool closed: no session>"
    assert pool.sessions() == []
    assert pool.get_stats()["sessions_closed"] == 2


def test_a_closed_pool_refuses_every_use_but_closing(pool: SessionPool) -> None:
    pool.session(TARGET)
    pool.close()
    pool.close()
    for use in (lambda: pool.session(TARGET), lambda: _run(pool), pool.__enter__):
        with pytest.raises(PoolClosed, match="open a new SessionPool"):
            use()


def test_a_pool_has_no_thread_of_its_own(pool: SessionPool) -> None:
    def loops() -> list[str]:
        names = [thread.name for thread in threading.enumerate()]
        return [name for name in names if name.startswith("cirq-azure-sessions")]

    _run(pool)
    with SessionPool() as other:
        _run(other)
        assert loops() == ["cirq-azure-sessions"]


def test_a_session_that_cannot_be_closed_keeps_no_other_open(clock: ManualClock) -> None:
    workspace = _Counting(clock)
    pool = SessionPool(workspace, clock=clock)
    pool.session("local.simulator")
    pool.session("local.clifford")
    workspace.stuck = pool.sessions()[0].id
    with pytest.raises(SessionNotAvailable, match="did not close"):
        pool.close()
    assert sorted(_statuses(workspace)) == ["Succeeded", "Waiting"]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_session_that_is_not_closed_at_the_end_of_a_block_is_a_warning(
    clock: ManualClock, caplog: pytest.LogCaptureFixture, is_async: bool
) -> None:
    workspace = _Counting(clock)

    def use(pool: SessionPool) -> cirq.Result:
        workspace.stuck = pool.session(TARGET).id
        return _run(pool)

    async def block() -> cirq.Result:
        async with SessionPool(workspace, clock=clock) as pool:
            return await asyncio.to_thread(use, pool)

    if is_async:
        result = asyncio.run(block())
    else:
        with SessionPool(workspace, clock=clock) as pool:
            result = use(pool)
    assert result.repetitions == 10
    assert f"did not close {workspace.stuck}" in caplog.text


def _days(request: JobRequest) -> JobPace:
    return JobPace(run=1e6)


def test_closing_with_cancel_cancels_jobs_without_waiters(clock: ManualClock) -> None:
    workspace = LocalWorkspace(clock=clock, pace=_days)
    with SessionPool(workspace, clock=clock) as pool:
        with pytest.raises(JobTimeout):
            AzureSessionSampler(TARGET, pool=pool, timeout=5.0).run(BELL)
        pool.close(cancel=True)
    assert [job.status for job in jobs(workspace)] == ["Cancelled"]
    assert _statuses(workspace) == ["Succeeded"]


def test_closing_with_cancel_leaves_the_jobs_in_an_adopted_session(
    clock: ManualClock,
) -> None:
    workspace = LocalWorkspace(clock=clock, pace=_days)
    with SessionPool(workspace, clock=clock, name="vqe") as first:
        with pytest.raises(JobTimeout):
            AzureSessionSampler(TARGET, pool=first, timeout=5.0).run(BELL)
        with SessionPool(workspace, clock=clock, name="vqe") as second:
            assert second.session(TARGET).id == first.session(TARGET).id
            second.close(cancel=True)
        assert [job.is_final for job in jobs(workspace)] == [False]
        first.close(cancel=True)
    assert [job.status for job in jobs(workspace)] == ["Cancelled"]


def test_closing_with_cancel_cancels_a_job_that_is_being_submitted() -> None:
    clock = ManualClock(auto_advance=False)
    workspace = _SlowToTake(clock=clock, pace=_days)
    failures = []

    def call(sampler: AzureSessionSampler) -> None:
        with pytest.raises(JobCancelled) as caught:
            sampler.run(BELL)
        failures.append(caught.value)

    with SessionPool(workspace, clock=clock) as pool:
        thread = threading.Thread(target=call, args=(AzureSessionSampler(TARGET, pool=pool),))
        thread.start()
        assert workspace.is_taking.wait(60)
        pool.close(cancel=True)
        thread.join(60)
    assert [type(failure) for failure in failures] == [JobCancelled]
    assert [job.status for job in jobs(workspace)] == ["Cancelled"]


# What goes wrong


def test_a_tiny_max_idle_still_hands_out_a_session() -> None:
    with SessionPool(max_idle=1e-12) as pool:
        assert pool.session(TARGET).target == TARGET


def test_an_unknown_target_is_refused_before_any_request(pool: SessionPool) -> None:
    with pytest.raises(UnsupportedTarget, match=r"local\.nonsense"):
        pool.session("local.nonsense")


def test_without_a_workspace_an_azure_target_is_refused() -> None:
    with SessionPool() as pool, pytest.raises(UnsupportedTarget, match="pass workspace="):
        pool.session("ionq.simulator")


def test_after_a_session_could_not_be_opened_the_next_use_tries_again(
    clock: ManualClock,
) -> None:
    workspace = _Counting(clock)
    workspace.refusing = True
    with SessionPool(workspace, clock=clock) as pool:
        with pytest.raises(SessionNotAvailable, match="No session could be opened"):
            pool.session(TARGET)
        assert repr(pool) == "<SessionPool: no session>"
        workspace.refusing = False
        assert pool.session(TARGET).target == TARGET


@pytest.mark.parametrize(
    "options",
    [
        {"max_idle": 0},
        {"max_idle": -1.0},
        {"max_idle": float("nan")},
        {"max_idle": True},
        {"max_idle": "soon"},
        {"job_failure_policy": "Sometimes"},
        {"name": ""},
        {"name": 5},
    ],
)
def test_option_out_of_range_is_refused_by_name(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(options))} must be"):
        SessionPool(**options)


# Events


def test_subscribers_see_what_happens_to_sweeps_sessions_and_jobs(
    pool: SessionPool, clock: ManualClock
) -> None:
    seen: list[str] = []
    unsubscribe = pool.subscribe(lambda event: seen.append(event.counter))
    _run(pool)
    clock.advance(601)
    _run(pool)
    assert seen == [
        "sweeps_started",
        "sessions_opened",
        "jobs_submitted",
        "jobs_succeeded",
        "sweeps_finished",
        "sweeps_started",
        "sessions_timed_out",
        "sessions_opened",
        "jobs_submitted",
        "jobs_succeeded",
        "sweeps_finished",
    ]
    unsubscribe()
    unsubscribe()
    _run(pool)
    assert len(seen) == 11


def test_an_error_in_a_subscriber_is_logged(
    pool: SessionPool, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[AnyEvent] = []

    def stumble(event: AnyEvent) -> None:
        raise KeyError(event.kind)

    pool.subscribe(stumble)
    pool.subscribe(events.append)
    assert _run(pool).repetitions == 10
    assert [event.kind for event in events] == [
        "started",
        "opened",
        "submitted",
        "succeeded",
        "finished",
    ]
    assert "subscriber" in caplog.text


# The end of the process

_CHILD = textwrap.dedent(
    """
    import asyncio, atexit, os, signal, sys

    # Registered first, hence called last, when the pools are closed.
    @atexit.register
    def show():
        async def statuses():
            return [session.status.value async for session in workspace.list_sessions()]
        print(",".join(asyncio.run(statuses())), flush=True)

    from cirq_azure_sessions import LocalWorkspace, ServiceError, SessionPool

    class Deaf(LocalWorkspace):
        identity = "a workspace that outlives the process"
        is_deaf = False

        async def open_session(self, request):
            session = await super().open_session(request)
            if self.is_deaf:
                for _ in range(9):
                    await asyncio.sleep(0)
                raise ServiceError("The answer was lost.")
            return session

    workspace = Deaf()
    pool = SessionPool(workspace, close_on_sigterm=True)
    pool.session("local.simulator")
    {ending}
    """
)


@pytest.mark.parametrize(
    "ending",
    [
        "pass",
        "sys.exit(3)",
        "raise RuntimeError",
        "raise KeyboardInterrupt",
        "del pool",
        "os.kill(os.getpid(), signal.SIGTERM)",
    ],
)
def test_nothing_stays_open_when_the_interpreter_exits(ending: str) -> None:
    assert _statuses_after(ending) == "Succeeded\n"


def test_a_session_whose_opening_was_not_answered_is_closed_at_exit() -> None:
    ending = "workspace.is_deaf = True; pool.session('local.clifford')"
    assert _statuses_after(ending) == "Succeeded,Succeeded\n"
    # The pool knows of no open session here.
    ending = f"pool.close(); pool = SessionPool(workspace); {ending}"
    assert _statuses_after(ending) == "Succeeded,Succeeded\n"


def _statuses_after(ending: str) -> str:
    """What the sessions of a process are after its end."""
    child = subprocess.run(
        [sys.executable, "-c", _CHILD.format(ending=ending)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return child.stdout or child.stderr


@NEEDS_FORK
def test_the_child_of_a_fork_shares_nothing(pool: SessionPool, workspace: LocalWorkspace) -> None:
    mine = pool.session(TARGET).id
    child = os.fork()
    if not child:
        # Whatever happens here must not reach pytest in the child.
        try:
            fresh = pool.sessions() == [] and pool.session(TARGET).id != mine
            os._exit(0 if fresh else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert pool.session(TARGET).id == mine


class _Counting(LocalWorkspace):
    """A workspace that notes the session requests sent to it, and can misbehave."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock=clock)
        self.requests: list[str] = []
        self.forgotten = False
        self.refusing = False
        self.stuck: str | None = None

    def touch(self, session_id: str) -> None:
        """Stands in for jobs that keep the session from timing out."""

    async def open_session(self, request: SessionRequest) -> Session:
        self.requests.append("open")
        if self.refusing:
            raise ServiceError("The service is unavailable.", status_code=503)
        return await super().open_session(request)

    async def get_session(self, session_id: str) -> Session:
        self.requests.append("get")
        if self.forgotten:
            raise ServiceError("There is no such session.", status_code=404)
        return await super().get_session(session_id)

    async def close_session(self, session_id: str) -> Session:
        if session_id == self.stuck:
            raise ServiceError("The service is unavailable.", status_code=503)
        return await super().close_session(session_id)


class _SlowToTake(LocalWorkspace):
    """A workspace that takes no job before it has been asked which jobs it has."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.is_taking, self.was_asked = threading.Event(), threading.Event()

    async def submit_job(self, request: JobRequest, stored: Any = None) -> Job:
        self.is_taking.set()
        while not self.was_asked.is_set():
            await asyncio.sleep(0.01)
        return await super().submit_job(request, stored)

    def list_jobs(
        self, where: ItemFilter = ANY, *, session_id: str | None = None
    ) -> AsyncIterator[Job]:
        self.was_asked.set()
        return super().list_jobs(where, session_id=session_id)


class _Broken(cirq.Sampler):
    """A sampler that fails until it is mended."""

    mended = False

    def run_sweep(
        self, program: cirq.AbstractCircuit, params: cirq.Sweepable, repetitions: int = 1
    ) -> Sequence[cirq.Result]:
        if not self.mended:
            raise RuntimeError("The ion got away.")
        return cirq.Simulator().run_sweep(program, params, repetitions)


# Listing


def test_a_limit_of_zero_lists_nothing_and_sends_no_request() -> None:
    with EmulatorServer() as server, SessionPool(server.workspace()) as pool:
        AzureSessionSampler(REMOTE, pool=pool).run_sweep(ROTATION, angles(3), 2)
        before = server.requests.total
        assert pool.list_jobs(limit=0) == []
        assert pool.list_sessions(limit=0) == []
        assert server.requests.total <= before + 2


def test_a_limit_counts_only_matches() -> None:
    with EmulatorServer() as server, SessionPool(server.workspace()) as pool:
        AzureSessionSampler(REMOTE, pool=pool).run_sweep(ROTATION, angles(3), 2)
        pool.session("ionq.qpu.aria-1")
        assert len(pool.list_jobs(limit=2)) == 2
        assert [s.target for s in pool.list_sessions(limit=1, target=REMOTE)] == [REMOTE]


def test_least_busy_target_is_available_and_has_the_shortest_queue() -> None:
    with EmulatorServer(realistic=True) as server, SessionPool(server.workspace()) as pool:
        # Their queues are 52, 1 and 14 seconds long, as recorded.
        assert pool.least_busy("quantinuum.sim.h?-?sc") == "quantinuum.sim.h2-1sc"
        server.set_availability("quantinuum.sim.h2-1sc", "Degraded")
        assert pool.least_busy("quantinuum.sim.h?-?sc") == "quantinuum.sim.h2-2sc"
        with pytest.raises(UnsupportedTarget, match="No target 'nobody' is available now"):
            pool.least_busy("nobody")


def test_least_busy_without_a_workspace_is_a_local_target() -> None:
    with SessionPool() as pool:
        assert pool.least_busy("local.sim*") == "local.simulator"
