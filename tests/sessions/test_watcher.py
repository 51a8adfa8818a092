"""One poller a session: many jobs, few requests, delays that follow the jobs."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from services import (
    FLIP,
    HANG_TIMEOUT,
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
    JobError,
    JobTimeout,
    LocalWorkspace,
    ManualClock,
    ServiceError,
    SessionPool,
)
from cirq_azure_sessions.background import EventLoopThread
from cirq_azure_sessions.model import Job, JobStatus
from cirq_azure_sessions.sessions.watcher import JobWatcher
from cirq_azure_sessions.workspaces.base import JOBS_PER_PAGE
from cirq_azure_sessions.workspaces.local import JobPace
from cirq_azure_sessions.workspaces.polling import next_poll

T = TypeVar("T")


class _Session:
    """A workspace of one session, whose jobs end at given times; counts requests."""

    announces_ends = False

    def __init__(self, clock: ManualClock, ends: dict[str, float]) -> None:
        self._clock = clock
        self._ends = ends
        self.creations: dict[str, float] = {}
        self.lists = 0
        self.gets = 0
        self.largest_page = 0
        self.latency = 0.0
        self.asked: list[float] = []
        self.broken = 0
        self.errors: list[BaseException] = []
        self.keeps_jobs = False
        self.cancelled: list[str] = []

    def job(self, name: str) -> Job:
        has_ended = self._clock.monotonic() >= self._ends[name]
        status = JobStatus.SUCCEEDED if has_ended else JobStatus.WAITING
        end = self._ends[name] if has_ended else None
        return Job(
            name,
            "ionq.simulator",
            name,
            status,
            session_id="s",
            creation_time=self.creations.get(name, 0.0),
            end_time=end,
        )

    async def list_session_jobs(
        self,
        session_id: str,
        *,
        skip: int = 0,
        top: int = JOBS_PER_PAGE,
        wait: float = 0.0,
        until: Collection[str] = (),
    ) -> Sequence[Job]:
        await self._clock.sleep(wait)
        self.lists += 1
        self.largest_page = max(self.largest_page, top)
        if self.errors:
            raise self.errors.pop(0)
        if self.broken:
            self.broken -= 1
            raise ServiceError("The service is unavailable.", status_code=503)
        newest_first = list(reversed(self._ends))
        return [self.job(name) for name in newest_first[skip : skip + top]]

    async def get_job(self, job_id: str, *, wait: float = 0.0) -> Job:
        await self._clock.sleep(wait)
        self.gets += 1
        self.asked.append(self._clock.monotonic())
        await self._clock.sleep(self.latency)
        if self.errors:
            raise self.errors.pop(0)
        if job_id not in self._ends:
            raise ServiceError("There is no such job.", status_code=404)
        return self.job(job_id)

    async def cancel_job(self, job_id: str) -> Job:
        self.cancelled.append(job_id)
        if self.keeps_jobs:
            raise ServiceError("The job cannot be cancelled.", status_code=409)
        self._ends[job_id] = self._clock.monotonic()
        return self.job(job_id)


def _waiting(name: str) -> Job:
    return Job(name, "t", name, JobStatus.WAITING, session_id="s")


async def _settle() -> None:
    """Lets everything that can run at once run."""
    for _ in range(30):
        await asyncio.sleep(0)


def _watch(session: _Session, clock: ManualClock, names: Sequence[str]) -> list[Job]:
    watcher = JobWatcher(clock)

    async def story() -> list[Job]:
        finished = await asyncio.gather(*(watcher.wait(_waiting(name), session) for name in names))
        await _settle()
        # No poller outlives those who wait.
        assert len(asyncio.all_tasks()) == 1
        return finished

    return asyncio.run(story())


# How many requests


def test_a_hundred_jobs_take_one_list_request(clock: ManualClock) -> None:
    session = _Session(clock, {f"j{i}": 0.0 for i in range(100)})
    finished = _watch(session, clock, list(session._ends))
    assert [job.id for job in finished] == list(session._ends)
    assert (session.lists, session.gets) == (1, 0)


def test_a_single_job_is_requested_by_its_id(clock: ManualClock) -> None:
    session = _Session(clock, {f"j{i}": 0.0 for i in range(100)})
    _watch(session, clock, ["j50"])
    assert (session.lists, session.gets) == (0, 1)


def test_three_hundred_jobs_take_three_list_requests(clock: ManualClock) -> None:
    session = _Session(clock, {f"j{i}": 0.0 for i in range(300)})
    _watch(session, clock, list(session._ends))
    assert (session.lists, session.gets) == (3, 0)


def test_a_few_old_jobs_are_looked_up_one_by_one(clock: ManualClock) -> None:
    session = _Session(clock, {f"j{i}": 0.0 for i in range(300)})
    _watch(session, clock, ["j0", "j1"])
    assert (session.lists, session.gets) == (1, 2)


def test_a_page_has_room_for_twice_the_jobs_that_are_waited_for(clock: ManualClock) -> None:
    session = _Session(clock, {f"j{i}": 0.0 for i in range(300)})
    _watch(session, clock, [f"j{i}" for i in range(292, 300)])
    assert (session.lists, session.gets, session.largest_page) == (1, 0, 16)


def test_polls_are_rare_where_ends_are_announced() -> None:
    gets = []
    for announces_ends in (False, True):
        clock = ManualClock()
        session = _Session(clock, {"job": 10.0})
        session.announces_ends = announces_ends
        _watch(session, clock, ["job"])
        gets.append(session.gets)
    assert gets[1] < gets[0] / 2


def test_two_waiters_of_one_job_take_one_request(clock: ManualClock) -> None:
    session = _Session(clock, {"job": 0.0})
    assert [job.id for job in _watch(session, clock, ["job", "job"])] == ["job", "job"]
    assert session.gets == 1


def test_a_finished_job_takes_no_request(clock: ManualClock) -> None:
    session = _Session(clock, {"job": 0.0})
    job = session.job("job")
    assert asyncio.run(JobWatcher(clock).wait(job, session)) is job
    assert (session.lists, session.gets) == (0, 0)


def test_the_gate_is_held_during_requests_and_not_between_them(clock: ManualClock) -> None:
    session, held = _Session(clock, {"job": 10.0}), list[float]()

    @asynccontextmanager
    async def gate() -> AsyncIterator[None]:
        entered, gets = clock.monotonic(), session.gets
        yield
        assert session.gets == gets + 1
        held.append(clock.monotonic() - entered)

    class Gate:
        def __init__(self) -> None:
            self._inside: list[object] = []

        async def __aenter__(self) -> None:
            context = gate()
            self._inside.append(context)
            await context.__aenter__()

        async def __aexit__(self, *exc_info: object) -> None:
            await self._inside.pop().__aexit__(*exc_info)

    asyncio.run(JobWatcher(clock).wait(_waiting("job"), session, gate=Gate()))
    assert len(held) == session.gets
    assert set(held) == {0.0}


# When


def test_eight_jobs_of_equal_length_take_one_poll_per_round(clock: ManualClock) -> None:
    session, watcher = _Session(clock, {}), JobWatcher(clock)

    async def story(rounds: int) -> float:
        for number in range(rounds):
            begin, lists = clock.monotonic(), session.lists
            names = [f"{number}-{slot}" for slot in range(8)]
            session.creations |= dict.fromkeys(names, begin)
            session._ends |= dict.fromkeys(names, begin + 10.0)
            await asyncio.gather(*(watcher.wait(_waiting(name), session) for name in names))
        assert session.lists == lists + 1
        return clock.monotonic() - begin

    assert asyncio.run(story(rounds=5)) == pytest.approx(10.0)


@pytest.mark.parametrize(("duration", "most_requests"), [(0.2, 6), (60, 40), (7200, 300)])
def test_quick_jobs_are_polled_quickly_and_long_queues_slowly(
    clock: ManualClock, duration: float, most_requests: int
) -> None:
    session = _Session(clock, {"job": duration})
    _watch(session, clock, ["job"])
    assert session.gets <= most_requests
    assert clock.monotonic() <= max(1.3 * duration, duration + 0.1)
    assert clock.monotonic() - duration <= 30.0


def test_a_slow_answer_delays_the_next_poll_only_where_that_is_due_before_it(
    clock: ManualClock,
) -> None:
    session = _Session(clock, {"job": 60.0})
    session.latency = 2.0
    _watch(session, clock, ["job"])
    # An overdue job is asked for again after a quarter of the time that it was overdue when it was
    # asked for, not when the answer came.
    gaps = [after - before for before, after in pairwise(session.asked)]
    quarters = [0.25 * (asked - 0.05) for asked in session.asked[:-1]]
    assert gaps == pytest.approx([max(quarter, 2.0) for quarter in quarters])
    assert max(quarters) > 10


def test_an_observer_sees_its_job_every_few_seconds(clock: ManualClock) -> None:
    session = _Session(clock, {"observed": 600.0, "other": 600.0})
    watcher, seen = JobWatcher(clock), list[tuple[float, str]]()

    async def story() -> list[Job]:
        return await asyncio.gather(
            watcher.wait(
                session.job("observed"),
                session,
                observer=lambda job: seen.append((clock.monotonic(), job.id)),
            ),
            watcher.wait(session.job("other"), session),
        )

    assert all(job.is_final for job in asyncio.run(story()))
    times = [time for time, _ in seen]
    assert {name for _, name in seen} == {"observed"}
    assert max(after - before for before, after in pairwise(times)) == pytest.approx(5.0)
    assert 594 < times[-1] < 600


def test_a_new_job_cuts_a_long_delay_short() -> None:
    clock = ManualClock(auto_advance=False)
    session = _Session(clock, {"slow": 1e6, "quick": 100.2})
    watcher = JobWatcher(clock)

    async def story() -> None:
        slow = asyncio.ensure_future(watcher.wait(_waiting("slow"), session))
        await _settle()
        clock.advance(100)
        await _settle()
        # Without a new job, nothing would be asked for 25 s.
        requests = session.gets + session.lists
        quick = asyncio.ensure_future(watcher.wait(_waiting("quick"), session))
        await _settle()
        for _ in range(20):
            clock.advance(1.0)
            await _settle()
        assert quick.done()
        assert session.gets + session.lists > requests
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)

    asyncio.run(story())


def test_a_job_is_polled_for_when_it_ends_though_its_submission_took_long(
    clock: ManualClock,
) -> None:
    session, watcher = _Session(clock, {"first": 10.0}), JobWatcher(clock)

    async def story() -> None:
        await watcher.wait(_waiting("first"), session)
        # The service accepted it three seconds ago; only now is its answer here.
        since = clock.monotonic() - 3.0
        session.creations["second"], session._ends["second"] = since, since + 10.0
        requests = session.gets
        await watcher.wait(_waiting("second"), session, since=since)
        assert clock.monotonic() == pytest.approx(since + 10.0, rel=0.1)
        assert session.gets == requests + 1

    asyncio.run(story())


def test_fast_job_after_slow_ones_is_polled_in_time(clock: ManualClock) -> None:
    session, watcher = _Session(clock, {"slow": 100.0, "quick": 0.0}), JobWatcher(clock)

    async def story() -> float:
        for name in ("slow", "quick", "quick again"):
            session._ends.setdefault(name, clock.monotonic())
            await watcher.wait(_waiting(name), session)
        started = clock.monotonic()
        session._ends["last"] = started
        await watcher.wait(_waiting("last"), session)
        return clock.monotonic() - started

    assert asyncio.run(story()) < 1.0


# What goes wrong


def test_a_waiter_that_is_cancelled_leaves_the_others_waiting() -> None:
    clock = ManualClock(auto_advance=False)
    session, watcher = _Session(clock, {"job": 1.0}), JobWatcher(clock)

    async def story() -> Job:
        first, second = (
            asyncio.ensure_future(watcher.wait(_waiting("job"), session)) for _ in range(2)
        )
        await _settle()
        first.cancel()
        for _ in range(20):
            await _settle()
            clock.advance(1.0)
        return await second

    assert asyncio.run(story()).is_final


def test_job_unknown_to_the_service_for_minutes_is_missing(clock: ManualClock) -> None:
    with pytest.raises(JobError, match="no longer shows it") as caught:
        _watch(_Session(clock, {}), clock, ["lost"])
    assert (caught.value.job_id, caught.value.status) == ("lost", "Missing")
    assert 300 <= clock.monotonic() <= 400


def test_a_job_unknown_to_a_workspace_in_memory_is_missing_immediately(clock: ManualClock) -> None:
    session = _Session(clock, {})
    session.announces_ends = True
    with pytest.raises(JobError, match="no longer shows it"):
        _watch(session, clock, ["lost"])
    assert session.gets == 1


def test_a_job_that_shows_after_a_while_is_waited_for(clock: ManualClock) -> None:
    session = _Session(clock, {})

    async def show() -> None:
        await clock.sleep(200)
        session._ends["late"] = clock.monotonic()

    async def story() -> Job:
        job, _ = await asyncio.gather(JobWatcher(clock).wait(_waiting("late"), session), show())
        return job

    assert asyncio.run(story()).is_final


def test_unreachable_service_fails_every_waiter(clock: ManualClock) -> None:
    session, watcher = _Session(clock, {"one": 0.0, "two": 0.0}), JobWatcher(clock)
    session.broken = 10**6

    async def story() -> list[BaseException | Job]:
        waits = (watcher.wait(_waiting(name), session) for name in ("one", "two"))
        return await asyncio.gather(*waits, return_exceptions=True)

    assert [type(outcome) for outcome in asyncio.run(story())] == [ServiceError] * 2
    assert clock.monotonic() == pytest.approx(86_400, rel=0.01)


def test_hour_long_outage_loses_no_job(clock: ManualClock) -> None:
    session = _Session(clock, {"one": 0.0, "two": 0.0})
    session.broken = 80
    assert [job.status for job in _watch(session, clock, ["one", "two"])] == ["Succeeded"] * 2
    assert clock.monotonic() >= 3600


@pytest.mark.parametrize("error", [asyncio.CancelledError, SystemExit, TypeError])
@pytest.mark.parametrize("names", [["one"], ["one", "two"]], ids=["get_job", "list_session_jobs"])
def test_any_polling_error_reaches_every_waiter_and_polling_continues(
    clock: ManualClock, names: list[str], error: type[BaseException]
) -> None:
    session, watcher = _Session(clock, dict.fromkeys(names, 0.0)), JobWatcher(clock)
    session.errors = [error("the verb's own")]
    loop = EventLoopThread("test-loop")

    async def outcome(name: str) -> BaseException | None:
        try:
            await watcher.wait(_waiting(name), session)
        except BaseException as error:
            return error
        return None

    async def story() -> list[BaseException | None]:
        return await asyncio.gather(*map(outcome, names * 2))

    assert [type(each) for each in _bounded(loop, story)] == [error] * 2 * len(names)
    assert _bounded(loop, story) == [None] * 2 * len(names)
    loop.stop()


def _bounded(loop: EventLoopThread, story: Callable[[], Coroutine[Any, Any, T]]) -> T:
    call = loop.start(story)
    assert call.wait(HANG_TIMEOUT)
    return call.result()


# Several waiters of one job: none of them ends another's wait


@pytest.fixture
def still_clock() -> ManualClock:
    return ManualClock(auto_advance=False)


@pytest.fixture
def pool(still_clock: ManualClock) -> Iterator[SessionPool]:
    workspace = LocalWorkspace(
        clock=still_clock, pace=lambda request: JobPace(run=1000.0), backends={REMOTE: one}
    )
    pool = SessionPool(workspace, clock=still_clock)
    yield pool
    drive(still_clock, in_background(pool.close, cancel=True))


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
    pool: SessionPool, still_clock: ManualClock, sampler: AzureSessionSampler, points: int
) -> None:
    sweep = _start_sweep(sampler, points)
    job = pool.list_jobs()[-1]
    look = in_background(job.wait, timeout=5.0)
    drive(still_clock, look)
    assert isinstance(look.exception(), JobTimeout)
    assert not sweep.done()
    drive(still_clock, sweep)
    assert len(sweep.result()) == points


def test_getting_a_result_with_a_timeout_does_not_stop_the_sweep(
    pool: SessionPool, still_clock: ManualClock, sampler: AzureSessionSampler
) -> None:
    sweep = _start_sweep(sampler)
    (job,) = pool.list_jobs()
    hasty = AzureSessionSampler(REMOTE, pool=pool, timeout=5.0)
    look = in_background(hasty.get_result, job.id)
    drive(still_clock, look)
    assert isinstance(look.exception(), JobTimeout)
    drive(still_clock, sweep)
    assert len(sweep.result()) == 1


def test_a_sweep_that_times_out_does_not_stop_other_waits_for_its_job(
    pool: SessionPool, still_clock: ManualClock
) -> None:
    hasty = AzureSessionSampler(REMOTE, pool=pool, timeout=5.0)
    sweep = _start_sweep(hasty)
    (job,) = pool.list_jobs()
    result = in_background(job.result)
    settle(pool)
    drive(still_clock, sweep)
    assert sweep.exception() is not None
    drive(still_clock, result)
    assert result.result().repetitions == 3


def test_a_sweep_that_is_interrupted_does_not_stop_other_waits_for_its_job(
    pool: SessionPool, still_clock: ManualClock, sampler: AzureSessionSampler
) -> None:
    sweep = Interruptible(lambda: sampler.run_async(FLIP, repetitions=3))
    wait_until(lambda: pool.get_stats()["jobs_running"] == 1)
    (job,) = pool.list_jobs()
    waiting = in_background(job.wait)
    settle(pool)
    sweep.interrupt()
    drive(still_clock, waiting)
    assert waiting.result().is_final


def test_a_stream_that_is_closed_does_not_stop_other_waits_for_its_jobs(
    still_clock: ManualClock,
) -> None:
    paces = iter([JobPace()])
    workspace = LocalWorkspace(
        clock=still_clock,
        pace=lambda request: next(paces, JobPace(run=1000.0)),
        backends={REMOTE: one},
    )
    pool = SessionPool(workspace, clock=still_clock)
    stream = AzureSessionSampler(REMOTE, pool=pool).stream_sweep(ROTATION, angles(3), 3)
    drive(still_clock, in_background(next, stream))
    jobs = [job for job in pool.list_jobs() if not job.is_final]
    waiting = [in_background(job.wait) for job in jobs]
    settle(pool)
    drive(still_clock, in_background(stream.close))
    drive(still_clock, *waiting)
    assert len(waiting) == 2
    assert all(call.result().is_final for call in waiting)
    drive(still_clock, in_background(pool.close))


def test_two_handles_with_different_timeouts_wait_for_one_job(
    pool: SessionPool, still_clock: ManualClock, sampler: AzureSessionSampler
) -> None:
    sweep = _start_sweep(sampler)
    (job,) = pool.list_jobs()
    waits = [in_background(pool.get_job(job.id).wait, timeout) for timeout in (5.0, 50.0, None)]
    settle(pool)
    drive(still_clock, *waits, sweep)
    errors = [type(wait.exception()) for wait in waits]
    assert errors == [JobTimeout, JobTimeout, type(None)]
    assert len(sweep.result()) == 1


def test_ctrl_c_in_one_thread_does_not_stop_the_wait_of_another(
    pool: SessionPool, still_clock: ManualClock
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
    drive(still_clock, sweep)
    assert len(sweep.result()) == 1


def test_a_wait_that_is_the_last_one_to_be_left_stops_the_polling(
    pool: SessionPool, still_clock: ManualClock, sampler: AzureSessionSampler
) -> None:
    sweep = Interruptible(lambda: sampler.run_async(FLIP))
    wait_until(lambda: pool.get_stats()["jobs_running"] == 1)
    sweep.interrupt()
    settle(pool)
    again = in_background(pool.list_jobs()[0].wait)
    drive(still_clock, again)
    assert again.result().is_final


# Cancelling


def test_cancelling_all_cancels_jobs_waited_for_now_and_later() -> None:
    clock = ManualClock(auto_advance=False)
    session, watcher = _Session(clock, {"now": 1e6, "later": 1e6}), JobWatcher(clock)

    async def story() -> None:
        now = asyncio.ensure_future(watcher.wait(_waiting("now"), session))
        await _settle()
        await watcher.cancel_all()
        later = await watcher.wait(_waiting("later"), session)
        assert later.is_final
        for _ in range(20):
            await _settle()
            clock.advance(30)
        assert (await now).is_final

    asyncio.run(story())
    assert session.cancelled == ["now", "later"]


def test_a_job_that_cannot_be_cancelled_is_waited_for(clock: ManualClock) -> None:
    session, watcher = _Session(clock, {"job": 100.0}), JobWatcher(clock)
    session.keeps_jobs = True

    async def story() -> Job:
        await watcher.cancel_all()
        return await watcher.wait(_waiting("job"), session)

    assert asyncio.run(story()).status == "Succeeded"
    assert session.cancelled == ["job"]


# The next poll


@given(
    durations=st.lists(st.floats(0, 1e5), max_size=40),
    ages=st.lists(st.floats(0, 1e5), min_size=1, max_size=40),
    since_last_poll=st.floats(0, 30),
)
def test_polls_are_between_0_05_and_30_seconds_apart(
    durations: list[float], ages: list[float], since_last_poll: float
) -> None:
    now, last_poll = 1e6, 1e6 - since_last_poll
    poll = next_poll(durations, [now - age for age in ages], last_poll)
    assert 0.05 - 1e-6 <= poll - last_poll <= 30.0 + 1e-6


def test_the_first_poll_is_when_jobs_are_expected_to_end() -> None:
    assert next_poll([10.0, 10.0], [100.0], last_poll=100.0) == pytest.approx(110.0)


def test_jobs_that_end_at_about_the_same_time_take_one_poll() -> None:
    durations = [10.0, 10.0]
    assert next_poll(durations, [0.0, 0.3, 0.9, 5.0], last_poll=1.0) == pytest.approx(10.9)


def test_durations_that_are_alike_count_as_the_longest_of_them() -> None:
    assert next_poll([10.0, 9.8, 10.2], [0.0], last_poll=0.0) == pytest.approx(10.2)


def test_shortest_duration_counts_if_durations_differ() -> None:
    assert next_poll([10.0, 20.0, 300.0], [0.0], last_poll=0.0) == pytest.approx(10.0)


def test_a_poll_is_for_a_quarter_of_the_jobs() -> None:
    ends_each_second = [float(second) for second in range(1, 9)]
    poll = next_poll([8.0], ends_each_second, last_poll=8.5)
    assert poll == pytest.approx(10.0)


def test_overdue_jobs_are_polled_for_at_growing_intervals() -> None:
    durations = [10.0]
    assert next_poll(durations, [0.0], last_poll=10.5) == pytest.approx(11.5)
    assert next_poll(durations, [0.0], last_poll=50.0) == pytest.approx(60.0)
    assert next_poll(durations, [0.0], last_poll=5000.0) == pytest.approx(5030.0)


def test_one_straggler_does_not_hasten_polls_for_the_others() -> None:
    durations = [10.0]
    others = [100.0] * 7
    assert next_poll(durations, [80.0, *others], last_poll=100.0) == pytest.approx(110.0)


def test_with_no_known_duration_polls_follow_the_age_of_the_jobs() -> None:
    assert next_poll([], [0.0], last_poll=0.0) == pytest.approx(0.05)
    assert next_poll([], [0.0], last_poll=20.05) == pytest.approx(25.05)
