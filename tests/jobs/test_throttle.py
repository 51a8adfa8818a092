"""Admission: whoever waits for a slot gets one, uploads have a bound, and so have connections."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any

import pytest
from services import (
    FLIP,
    HANG_TIMEOUT,
    LOCAL,
    REMOTE,
    ROTATION,
    Counted,
    Interruptible,
    Refusing,
    angles,
    drive,
    in_background,
    one,
    settle,
    wait_until,
)

from cirq_azure_sessions import (
    AzureSessionSampler,
    LocalWorkspace,
    ManualClock,
    ServiceError,
    SessionPool,
    SweepTimeout,
)
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.workspaces.local import JobPace


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(auto_advance=False)


@pytest.fixture
def workspace(clock: ManualClock) -> Refusing:
    return Refusing(clock=clock)


@pytest.fixture
def pool(workspace: Refusing, clock: ManualClock) -> Iterator[SessionPool]:
    pool = SessionPool(workspace, clock=clock)
    yield pool
    drive(clock, in_background(pool.close, cancel=True))


def _start_waiting(sampler: AzureSessionSampler) -> Future[Any]:
    """A call that waits for the slot of another."""
    call = in_background(sampler.run, FLIP, repetitions=3)
    settle(sampler.pool)
    return call


# One job is refused with 429, others wait for its slot, and its call ends before it is retried.


def test_waiters_are_admitted_after_a_refused_job_is_interrupted(
    workspace: Refusing, clock: ManualClock, pool: SessionPool
) -> None:
    sampler = AzureSessionSampler(LOCAL, pool=pool, max_concurrent_jobs=1)
    refused = Interruptible(lambda: sampler.run_async(FLIP))
    assert workspace.is_asked.wait(HANG_TIMEOUT)
    waiting = _start_waiting(sampler)
    workspace.refuse()
    settle(pool)
    refused.interrupt()
    drive(clock, waiting, in_background(sampler.run, FLIP))
    assert waiting.result().repetitions == 3


def test_waiters_are_admitted_after_a_refused_job_times_out(
    workspace: Refusing, clock: ManualClock, pool: SessionPool
) -> None:
    sampler = AzureSessionSampler(LOCAL, pool=pool, max_concurrent_jobs=1, timeout=10.0)
    refused = in_background(sampler.run, FLIP)
    assert workspace.is_asked.wait(HANG_TIMEOUT)
    settle(pool)
    clock.advance(8.0)
    waiting = _start_waiting(sampler)
    workspace.refuse()
    settle(pool)
    clock.advance(2.0)
    assert isinstance(refused.exception(HANG_TIMEOUT), SweepTimeout)
    clock.advance(3.5)
    assert waiting.result(HANG_TIMEOUT).repetitions == 3


def test_waiters_are_admitted_after_a_stream_with_a_refused_job_is_closed(
    clock: ManualClock,
) -> None:
    workspace = Refusing(clock=clock, number=1, pace=lambda request: JobPace(run=10.0))
    pool = SessionPool(workspace, clock=clock)
    sampler = AzureSessionSampler(REMOTE, pool=pool, max_concurrent_jobs=1)
    stream = sampler.stream_sweep(ROTATION, angles(2), 5)
    first = in_background(next, stream)
    wait_until(lambda: pool.get_stats()["jobs_running"] == 1)
    waiting = _start_waiting(sampler)
    workspace.refuse()
    drive(clock, first)
    settle(pool)
    drive(clock, in_background(stream.close))
    drive(clock, waiting, in_background(sampler.run, FLIP))
    assert waiting.result().repetitions == 3
    drive(clock, in_background(pool.close))


def test_a_refused_job_of_one_sampler_does_not_stop_another_on_the_same_pool(
    workspace: Refusing, clock: ManualClock, pool: SessionPool
) -> None:
    sampler = AzureSessionSampler(LOCAL, pool=pool, max_concurrent_jobs=1)
    other = AzureSessionSampler("local.clifford", pool=pool, max_concurrent_jobs=1)
    refused = in_background(sampler.run, FLIP)
    assert workspace.is_asked.wait(HANG_TIMEOUT)
    waiting = _start_waiting(other)
    workspace.refuse()
    drive(clock, waiting)
    drive(clock, refused)
    assert refused.result().repetitions == 1


def test_a_job_that_is_refused_without_retry_after_is_retried(clock: ManualClock) -> None:
    workspace = Refusing(clock=clock, retry_after=None)
    pool = SessionPool(workspace, clock=clock)
    sampler = AzureSessionSampler(LOCAL, pool=pool, max_concurrent_jobs=1)
    calls = [in_background(sampler.run, FLIP)]
    assert workspace.is_asked.wait(HANG_TIMEOUT)
    calls += [_start_waiting(sampler), _start_waiting(sampler)]
    workspace.refuse()
    drive(clock, *calls)
    assert [call.result().repetitions for call in calls] == [1, 3, 3]
    drive(clock, in_background(pool.close))


class _Busy(LocalWorkspace):
    """Refuses every other submission."""

    number = 0

    async def submit_job(self, request: Any, stored: Any = None) -> Any:
        self.number += 1
        if self.number % 2:
            raise ServiceError("Too many.", status_code=429)
        return await super().submit_job(request, stored)


def test_calls_of_several_threads_all_finish_on_a_service_that_refuses_every_other_job() -> None:
    clock = ManualClock()
    with SessionPool(_Busy(backends={REMOTE: one}, clock=clock), clock=clock) as pool:
        sampler = AzureSessionSampler(REMOTE, pool=pool, max_concurrent_jobs=3)
        calls = [in_background(sampler.run_sweep, ROTATION, angles(5), 2) for _ in range(4)]
        assert [len(call.result(HANG_TIMEOUT)) for call in calls] == [5] * 4
        assert pool.get_stats()["jobs_running"] == 0


# Uploads


def _sweep(sampler: AzureSessionSampler) -> int:
    return len(sampler.run_sweep(ROTATION, angles(40), 2))


def _stream(sampler: AzureSessionSampler) -> int:
    return len(list(sampler.stream_sweep(ROTATION, angles(40), 2)))


def _batch(sampler: AzureSessionSampler) -> int:
    return len(sampler.run_batch([FLIP] * 40, None, 2))


def _threads(sampler: AzureSessionSampler) -> int:
    calls = [in_background(sampler.run_sweep, ROTATION, angles(10), 2) for _ in range(4)]
    return sum(len(call.result(HANG_TIMEOUT)) for call in calls)


def _batches(sampler: AzureSessionSampler) -> int:
    calls = [in_background(sampler.run_batch, [FLIP] * 10, None, 2) for _ in range(4)]
    return sum(len(call.result(HANG_TIMEOUT)) for call in calls)


@pytest.mark.parametrize("call", [_sweep, _stream, _batch, _threads, _batches])
def test_no_more_inputs_are_stored_at_once_than_jobs_may_be_in_flight(call: Any) -> None:
    workspace = Counted()
    with SessionPool(workspace) as pool:
        sampler = AzureSessionSampler(REMOTE, pool=pool, max_concurrent_jobs=5)
        assert call(sampler) == 40
    assert workspace.stored == 40
    assert workspace.most_uploads <= 5


@pytest.mark.parametrize("call", [_sweep, _batch])
def test_no_more_connections_are_opened_than_jobs_may_be_in_flight(call: Any) -> None:
    with EmulatorServer() as server, SessionPool(server.workspace()) as pool:
        sampler = AzureSessionSampler(REMOTE, pool=pool, max_concurrent_jobs=10)
        assert call(sampler) == 40
        assert server.requests.snapshot().connections <= 10


def test_an_upload_that_is_interrupted_gives_its_slot_back(clock: ManualClock) -> None:
    class Stuck(Counted):
        async def store_input(self, request: Any) -> Any:
            if not self.stored:
                self.stored = 1
                is_stored.set_result(None)
                await clock.sleep(1e9)
            return await super().store_input(request)

    is_stored: Future[None] = Future()
    pool = SessionPool(Stuck(clock=clock), clock=clock)
    sampler = AzureSessionSampler(REMOTE, pool=pool, max_concurrent_jobs=1)
    stuck = Interruptible(partial(sampler.run_async, FLIP))
    is_stored.result(HANG_TIMEOUT)
    waiting = _start_waiting(sampler)
    stuck.interrupt()
    drive(clock, waiting)
    assert waiting.result().repetitions == 3
    drive(clock, in_background(pool.close))
