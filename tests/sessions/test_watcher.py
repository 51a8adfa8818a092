"""One watcher for each session: many jobs, few requests, delays that follow the jobs."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest

from cirq_azure_sessions.clock import ManualClock
from cirq_azure_sessions.errors import JobError, ServiceError
from cirq_azure_sessions.job_durations import JobDurations
from cirq_azure_sessions.job_watcher import JobWatcher
from cirq_azure_sessions.model import Job, JobStatus
from cirq_azure_sessions.workspaces.base import JOBS_PER_PAGE


class _Session:
    """A session whose jobs end at given times, newest first in its list; counts requests."""

    announces_ends = False

    def __init__(self, clock: ManualClock, ends: dict[str, float]) -> None:
        self._clock = clock
        self._ends = ends
        self.creations: dict[str, float] = {}
        self.lists = 0
        self.gets = 0
        self.largest_page = 0
        self.broken = 0

    def job(self, name: str) -> Job:
        over = self._clock.monotonic() >= self._ends[name]
        status = JobStatus.SUCCEEDED if over else JobStatus.WAITING
        end = self._ends[name] if over else None
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
        self, session_id: str, *, skip: int = 0, top: int = JOBS_PER_PAGE, wait: float = 0.0
    ) -> Sequence[Job]:
        await self._clock.sleep(wait)
        self.lists += 1
        self.largest_page = max(self.largest_page, top)
        if self.broken:
            self.broken -= 1
            raise ServiceError("The service is unavailable.", status_code=503)
        newest_first = list(reversed(self._ends))
        return [self.job(name) for name in newest_first[skip : skip + top]]

    async def get_job(self, job_id: str, *, wait: float = 0.0) -> Job:
        await self._clock.sleep(wait)
        self.gets += 1
        if job_id not in self._ends:
            raise ServiceError("There is no such job.", status_code=404)
        return self.job(job_id)


def _watch(session: _Session, clock: ManualClock, names: Sequence[str]) -> list[Job]:
    watcher = JobWatcher(session, "s", clock, JobDurations())

    async def story() -> list[Job]:
        jobs = [Job(name, "t", name, JobStatus.WAITING, session_id="s") for name in names]
        ended = await asyncio.gather(*(watcher.wait(job) for job in jobs))
        assert watcher.is_idle
        return ended

    return asyncio.run(story())


def test_a_hundred_jobs_are_seen_with_one_list_request():
    clock = ManualClock()
    session = _Session(clock, {f"j{i}": 0.0 for i in range(100)})
    ended = _watch(session, clock, list(session._ends))
    assert [job.id for job in ended] == list(session._ends)
    assert (session.lists, session.gets) == (1, 0)


def test_a_single_job_is_asked_for_by_its_id():
    clock = ManualClock()
    session = _Session(clock, {f"j{i}": 0.0 for i in range(100)})
    _watch(session, clock, ["j50"])
    assert (session.lists, session.gets) == (0, 1)


def test_three_hundred_jobs_are_seen_with_three_list_requests():
    clock = ManualClock()
    session = _Session(clock, {f"j{i}": 0.0 for i in range(300)})
    _watch(session, clock, list(session._ends))
    assert (session.lists, session.gets) == (3, 0)


def test_a_few_old_jobs_are_looked_up_one_by_one():
    clock = ManualClock()
    session = _Session(clock, {f"j{i}": 0.0 for i in range(300)})
    _watch(session, clock, ["j0", "j1"])
    assert (session.lists, session.gets) == (1, 2)


def test_where_ends_are_announced_looks_are_rare():
    gets = []
    for announces_ends in (False, True):
        clock = ManualClock()
        session = _Session(clock, {"job": 10.0})
        session.announces_ends = announces_ends
        _watch(session, clock, ["job"])
        gets.append(session.gets)
    assert gets[1] < gets[0] / 2


def test_a_page_has_room_for_the_jobs_that_are_waited_for_and_as_many_others():
    clock = ManualClock()
    session = _Session(clock, {f"j{i}": 0.0 for i in range(300)})
    _watch(session, clock, [f"j{i}" for i in range(292, 300)])
    assert (session.lists, session.gets, session.largest_page) == (1, 0, 16)


def test_eight_jobs_that_take_equally_long_are_seen_with_one_look_a_round():
    clock = ManualClock()
    session = _Session(clock, {})
    watcher = JobWatcher(session, "s", clock, JobDurations())

    async def story(rounds: int) -> float:
        for number in range(rounds):
            begin, looks = clock.monotonic(), session.lists
            names = [f"{number}-{place}" for place in range(8)]
            session.creations |= dict.fromkeys(names, begin)
            session._ends |= dict.fromkeys(names, begin + 10.0)
            jobs = [Job(name, "t", name, JobStatus.WAITING, session_id="s") for name in names]
            await asyncio.gather(*map(watcher.wait, jobs))
        assert session.lists == looks + 1
        return clock.monotonic() - begin

    assert asyncio.run(story(rounds=5)) == pytest.approx(10.0)


def test_quick_jobs_are_asked_about_quickly_and_long_queues_slowly():
    for duration, most_requests in ((0.2, 6), (60, 40), (7200, 300)):
        clock = ManualClock()
        session = _Session(clock, {"job": duration})
        _watch(session, clock, ["job"])
        assert session.gets <= most_requests
        assert clock.monotonic() <= max(1.3 * duration, duration + 0.1)
        assert clock.monotonic() - duration <= 30.0


def test_who_follows_a_job_sees_it_every_few_seconds_until_its_end():
    clock = ManualClock()
    session = _Session(clock, {"followed": 600.0, "not followed": 600.0})
    watcher = JobWatcher(session, "s", clock, JobDurations())
    looks: list[tuple[float, str]] = []

    async def story() -> list[Job]:
        followed, other = (session.job(name) for name in ("followed", "not followed"))
        return await asyncio.gather(
            watcher.wait(followed, lambda job: looks.append((clock.monotonic(), job.id))),
            watcher.wait(other),
        )

    ended = asyncio.run(story())
    assert all(job.is_final for job in ended)
    times = [time for time, _ in looks]
    assert {name for _, name in looks} == {"followed"}
    assert max(after - before for before, after in pairwise(times)) == pytest.approx(5.0)
    assert 594 < times[-1] < 600


def test_a_job_that_the_service_forgot_is_an_error_of_its_own():
    clock = ManualClock()
    with pytest.raises(JobError, match="does not know job lost"):
        _watch(_Session(clock, {"there": 0.0}), clock, ["lost"])


def test_if_the_service_cannot_be_asked_whoever_waits_is_told():
    clock = ManualClock()
    session = _Session(clock, {"one": 0.0, "two": 0.0})
    session.broken = 10**6
    with pytest.raises(ServiceError, match="unavailable"):
        _watch(session, clock, ["one", "two"])
    assert 600 <= clock.monotonic() <= 700


def test_a_service_that_cannot_be_asked_for_minutes_loses_no_job():
    clock = ManualClock()
    session = _Session(clock, {"one": 0.0, "two": 0.0})
    session.broken = 10
    assert [job.status for job in _watch(session, clock, ["one", "two"])] == ["Succeeded"] * 2
    assert 60 <= clock.monotonic() <= 600


def test_a_new_job_cuts_a_long_wait_short():
    clock = ManualClock(auto_advance=False)
    session = _Session(clock, {"slow": 1e6, "quick": 100.2})
    watcher = JobWatcher(session, "s", clock, JobDurations())

    def waiting(name: str) -> asyncio.Task[Job]:
        job = Job(name, "t", name, JobStatus.WAITING, session_id="s")
        return asyncio.ensure_future(watcher.wait(job))

    async def settle() -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def story() -> None:
        slow = waiting("slow")
        await settle()
        clock.advance(100)
        await settle()
        # Nothing will be asked for 25 s, were there not a new job.
        asked = session.gets + session.lists
        quick = waiting("quick")
        await settle()
        for _ in range(20):
            clock.advance(1.0)
            await settle()
        assert quick.done()
        assert session.gets + session.lists > asked
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)
        assert watcher.is_idle

    asyncio.run(story())


def test_a_quick_job_after_slow_ones_is_not_kept_waiting():
    clock = ManualClock()
    session = _Session(clock, {"slow": 100.0, "quick": 0.0})
    watcher = JobWatcher(session, "s", clock, JobDurations())

    async def story() -> float:
        for name in ("slow", "quick", "quick again"):
            session._ends.setdefault(name, clock.monotonic())
            await watcher.wait(Job(name, "t", name, JobStatus.WAITING, session_id="s"))
        started = clock.monotonic()
        session._ends["last"] = started
        await watcher.wait(Job("last", "t", "last", JobStatus.WAITING, session_id="s"))
        return clock.monotonic() - started

    assert asyncio.run(story()) < 1.0
