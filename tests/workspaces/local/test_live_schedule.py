"""A schedule under its lock: what was decided is acted on, and those who wait are told."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

import pytest

from cirq_azure_sessions.clock import ManualClock
from cirq_azure_sessions.model import JobRequest, JobStatus
from cirq_azure_sessions.workspaces.local.live_schedule import LiveSchedule
from cirq_azure_sessions.workspaces.local.schedule import Schedule
from cirq_azure_sessions.workspaces.local.state import JobPace, JobRecord, Outcome

GOOD = Outcome(JobStatus.SUCCEEDED, "output")


class SilentClock(ManualClock):
    """A clock that wakes nobody."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()


class Stage:
    """A live schedule and its clock, which moves only by hand."""

    def __init__(self, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock(start=1000.0, auto_advance=False)
        self.schedule = Schedule(600.0)
        self.live = LiveSchedule(self.schedule, self.clock)

    def submit(self, job_id: str, queue: float, outcome: Outcome | None = GOOD) -> JobRecord:
        request = JobRequest(job_id, "target", "name", b"", "", "")
        with self.live.deciding() as now:
            job = self.schedule.accept(request, JobPace(queue), None, now, started=0.0)
            job.run = Future()
            if outcome is not None:
                self.schedule.resolve(job, outcome, now, 0.0)
        return job


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def next_turns() -> None:
    """Lets everything that can run at once run."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_deciding_catches_up_with_the_clock(stage: Stage) -> None:
    job = stage.submit("a", queue=10)
    stage.clock.advance(10)
    with stage.live.deciding() as now:
        assert now == 10
        assert job.final is JobStatus.SUCCEEDED


def test_cancelling_a_job_cancels_its_program(stage: Stage) -> None:
    job = stage.submit("a", queue=10, outcome=None)
    run: Future[Any] | None = job.run
    with stage.live.deciding() as now:
        stage.schedule.cancel(job, now)
        assert run is not None
        assert not run.cancelled()
    assert run.cancelled()
    assert job.run is None


def test_an_error_while_deciding_does_not_lose_what_was_decided() -> None:
    stage = Stage(SilentClock())
    job = stage.submit("a", queue=10)

    async def story() -> None:
        ledger = stage.schedule.ledger
        waiting = asyncio.ensure_future(
            stage.live.wait_for_news(ledger, lambda: job.final is not None, lambda: False, 1e9)
        )
        await next_turns()
        stage.clock.advance(20)
        # Only this look, which fails, meets the end of the job.
        with pytest.raises(LookupError), stage.live.deciding():
            raise LookupError
        await waiting

    asyncio.run(asyncio.wait_for(story(), 30))


def test_waiting_ends_with_the_time(stage: Stage) -> None:
    async def story() -> None:
        ledger = stage.schedule.ledger
        waiting = asyncio.ensure_future(
            stage.live.wait_for_news(ledger, lambda: False, lambda: False, 50)
        )
        for _ in range(5):
            await next_turns()
            assert not waiting.done()
            stage.clock.advance(10)
        await waiting
        assert ledger.waiters == set()

    asyncio.run(story())


def test_waiter_on_a_closed_event_loop_does_no_harm(stage: Stage) -> None:
    job = stage.submit("a", queue=10)
    loop = asyncio.new_event_loop()
    stage.schedule.ledger.waiters.add(loop.create_future())
    loop.close()
    stage.clock.advance(10)
    with stage.live.deciding():
        assert job.final is JobStatus.SUCCEEDED


def test_view_shows_records_as_of_each_access(stage: Stage) -> None:
    view = stage.live.view(stage.schedule.ledger.jobs)
    assert len(view) == 0
    stage.submit("a", queue=10)
    stage.submit("b", queue=0)
    assert [(job.id, job.status.value) for job in view] == [("a", "Waiting"), ("b", "Succeeded")]
    stage.clock.advance(10)
    assert view[0].status is JobStatus.SUCCEEDED
    assert [job.id for job in view[-1:]] == ["b"]
    assert view[0].creation_time == 1000.0
    assert view[0].end_time == 1010.0
