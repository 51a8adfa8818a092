"""Several waiters of one job: none of them ends another's wait."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from services import (
    FLIP,
    LOCAL,
    REMOTE,
    ROTATION,
    Interruptible,
    angles,
    drive,
    in_background,
    one,
    settle,
    wait_until,
)

from cirq_azure_sessions import (
    AzureSessionSampler,
    JobTimeout,
    LocalWorkspace,
    ManualClock,
    SessionPool,
)
from cirq_azure_sessions.workspaces.local import JobPace

RUN = 1000.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(auto_advance=False)


@pytest.fixture
def pool(clock: ManualClock) -> Iterator[SessionPool]:
    workspace = LocalWorkspace(
        clock=clock, pace=lambda request: JobPace(run=RUN), backends={REMOTE: one}
    )
    pool = SessionPool(workspace, clock=clock)
    yield pool
    drive(clock, in_background(pool.close, cancel=True))


@pytest.fixture
def sampler(pool: SessionPool) -> AzureSessionSampler:
    return AzureSessionSampler(REMOTE, pool=pool)


def _start_sweep(sampler: AzureSessionSampler, points: int = 1) -> Future[Any]:
    """A sweep that waits for its jobs."""
    sweep = in_background(sampler.run_sweep, ROTATION, angles(points), 3)
    wait_until(lambda: sampler.pool.get_stats()["jobs_running"] == points)
    settle(sampler.pool)
    return sweep


@pytest.mark.parametrize("points", [1, 5])
def test_waiting_for_a_job_with_a_timeout_does_not_stop_the_sweep(
    pool: SessionPool, clock: ManualClock, sampler: AzureSessionSampler, points: int
) -> None:
    sweep = _start_sweep(sampler, points)
    job = pool.list_jobs()[-1]
    look = in_background(job.wait, timeout=5.0)
    drive(clock, look)
    assert isinstance(look.exception(), JobTimeout)
    assert not sweep.done()
    drive(clock, sweep)
    assert len(sweep.result()) == points


def test_getting_a_result_with_a_timeout_does_not_stop_the_sweep(
    pool: SessionPool, clock: ManualClock, sampler: AzureSessionSampler
) -> None:
    sweep = _start_sweep(sampler)
    (job,) = pool.list_jobs()
    hasty = AzureSessionSampler(REMOTE, pool=pool, timeout=5.0)
    look = in_background(hasty.get_result, job.id)
    drive(clock, look)
    assert isinstance(look.exception(), JobTimeout)
    drive(clock, sweep)
    assert len(sweep.result()) == 1


def test_a_sweep_that_times_out_does_not_stop_whoever_waits_for_its_job(
    pool: SessionPool, clock: ManualClock
) -> None:
    hasty = AzureSessionSampler(REMOTE, pool=pool, timeout=5.0)
    sweep = _start_sweep(hasty)
    (job,) = pool.list_jobs()
    result = in_background(job.result)
    settle(pool)
    drive(clock, sweep)
    assert sweep.exception() is not None
    drive(clock, result)
    assert result.result().repetitions == 3


def test_a_sweep_that_is_interrupted_does_not_stop_whoever_waits_for_its_job(
    pool: SessionPool, clock: ManualClock, sampler: AzureSessionSampler
) -> None:
    sweep = Interruptible(lambda: sampler.run_async(FLIP, repetitions=3))
    wait_until(lambda: pool.get_stats()["jobs_running"] == 1)
    (job,) = pool.list_jobs()
    waiting = in_background(job.wait)
    settle(pool)
    sweep.interrupt()
    drive(clock, waiting)
    assert waiting.result().is_final


def test_a_stream_that_is_closed_does_not_stop_whoever_waits_for_its_jobs(
    clock: ManualClock,
) -> None:
    paces = iter([JobPace()])
    workspace = LocalWorkspace(
        clock=clock,
        pace=lambda request: next(paces, JobPace(run=RUN)),
        backends={REMOTE: one},
    )
    pool = SessionPool(workspace, clock=clock)
    stream = AzureSessionSampler(REMOTE, pool=pool).stream_sweep(ROTATION, angles(3), 3)
    drive(clock, in_background(next, stream))
    jobs = [job for job in pool.list_jobs() if not job.is_final]
    waiting = [in_background(job.wait) for job in jobs]
    settle(pool)
    drive(clock, in_background(stream.close))
    drive(clock, *waiting)
    assert len(waiting) == 2
    assert all(call.result().is_final for call in waiting)
    drive(clock, in_background(pool.close))


def test_two_handles_with_different_timeouts_wait_for_one_job(
    pool: SessionPool, clock: ManualClock, sampler: AzureSessionSampler
) -> None:
    sweep = _start_sweep(sampler)
    (job,) = pool.list_jobs()
    waits = [in_background(pool.get_job(job.id).wait, timeout) for timeout in (5.0, 50.0, None)]
    settle(pool)
    drive(clock, *waits, sweep)
    errors = [type(wait.exception()) for wait in waits]
    assert errors == [JobTimeout, JobTimeout, type(None)]
    assert len(sweep.result()) == 1


def test_ctrl_c_in_one_thread_does_not_stop_the_wait_of_another(
    pool: SessionPool, clock: ManualClock
) -> None:
    sampler = AzureSessionSampler(LOCAL, pool=pool)
    sweep = _start_sweep(sampler)
    (job,) = pool.list_jobs()

    def strike() -> None:
        settle(pool)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    in_background(strike)
    with pytest.raises(KeyboardInterrupt):
        job.wait()
    drive(clock, sweep)
    assert len(sweep.result()) == 1


def test_a_wait_that_is_the_last_one_to_be_left_stops_the_polling(
    pool: SessionPool, clock: ManualClock, sampler: AzureSessionSampler
) -> None:
    sweep = Interruptible(lambda: sampler.run_async(FLIP))
    wait_until(lambda: pool.get_stats()["jobs_running"] == 1)
    sweep.interrupt()
    settle(pool)
    again = in_background(pool.list_jobs()[0].wait)
    drive(clock, again)
    assert again.result().is_final
