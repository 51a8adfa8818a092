"""Every request of a sweep's path times everything that can go wrong with it, at the first, a
middle and the last point.

For each of these: the results are right, or the error is the named one; the service ran each job
once; no session is left open; and the recovery took seconds of the clock that pool and service
share, not of ours.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import cirq
import pytest
from circuits import TWO_SWITCHES

from cirq_azure_sessions import (
    AzureSessionSampler,
    AzureWorkspace,
    JobCancelled,
    JobError,
    JobFailed,
    ManualClock,
    ResultFormatError,
    ResultNotAvailable,
    ServiceError,
    SessionNotAvailable,
    SessionPool,
    SweepError,
    background,
)
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.model import Job, JobRequest, Session, SessionRequest

TARGET = "ionq.simulator"
# Each point has one possible outcome, and no two the same.
POINTS = cirq.Points("a", [0, 0, 1, 1]) + cirq.Points("b", [0, 1, 0, 1])
OUTCOMES = [[0, 0], [0, 1], [1, 0], [1, 1]]
REPETITIONS = 5

# When in a sweep a request is disturbed. A session is opened and closed once.
FIRST, MIDDLE, LAST = 0, 2, 3
PLACES = {
    "open": [FIRST],
    "sasUri": [FIRST, MIDDLE, LAST],
    "upload": [FIRST, MIDDLE, LAST],
    "submit": [FIRST, MIDDLE, LAST],
    "poll": [FIRST, MIDDLE, LAST],
    "download": [FIRST, MIDDLE, LAST],
    "close": [FIRST],
}
CASES = [(route, place) for route, places in PLACES.items() for place in places]


class Path(AzureWorkspace):
    """The way to the service, on which something happens just before one of its requests.

    Args:
        route: The emulator's name of that request.
        place: How many such requests come first.
        happen: What happens.
    """

    def __init__(
        self,
        server: EmulatorServer,
        route: str,
        place: int,
        happen: Callable[[], None],
        **options: Any,
    ) -> None:
        super().__init__(server.workspace(), **options)
        self._route = route
        self._place = place
        self._happen = happen
        self.passed = 0

    def _pass(self, *routes: str) -> None:
        if self._route in routes:
            if self.passed == self._place:
                self._happen()
            self.passed += 1

    async def open_session(self, request: SessionRequest) -> Session:
        self._pass("open")
        return await super().open_session(request)

    async def store_input(self, request: JobRequest) -> Any:
        self._pass("sasUri", "upload")
        return await super().store_input(request)

    async def submit_job(self, request: JobRequest, stored: Any) -> Job:
        self._pass("submit")
        return await super().submit_job(request, stored)

    async def get_job(self, job_id: str, *, wait: float = 0.0) -> Job:
        self._pass("poll")
        return await super().get_job(job_id, wait=wait)

    async def list_session_jobs(self, session_id: str, **page: Any) -> Sequence[Job]:
        self._pass("poll")
        return await super().list_session_jobs(session_id, **page)

    async def fetch_output(self, job: Job, stored: Any = None) -> bytes:
        self._pass("download")
        return await super().fetch_output(job, stored)

    async def close_session(self, session_id: str) -> Session:
        self._pass("close")
        return await super().close_session(session_id)


@dataclass
class Story:
    """What became of one disturbed sweep.

    Attributes:
        results: The outcome of each point, None where it failed.
        failures: The error of each point that failed.
        jobs: The jobs that the service accepted.
        open_sessions: The sessions that are open afterwards.
        pending: The faults that were ordered and did not happen.
        seconds: How long it took, on the clock.
    """

    results: list[list[int] | None]
    failures: dict[int, Exception] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    open_sessions: list[Session] = field(default_factory=list)
    pending: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


_names = (f"story-{number}" for number in itertools.count())


def play(
    server: EmulatorServer,
    route: str,
    place: int,
    happen: Callable[[], None],
    *,
    clock: ManualClock | None = None,
    then: Callable[[], None] = lambda: None,
    **options: Any,
) -> Story:
    """Runs a sweep in which something happens on the way, and asks the service how it went."""
    clock = clock or server.clock
    workspace = Path(server, route, place, happen, clock=clock, **options)
    began = clock.monotonic()
    name = next(_names)
    with SessionPool(workspace, clock=clock) as pool:
        sampler = AzureSessionSampler(TARGET, pool=pool, job_name=name, max_concurrent_jobs=1)
        try:
            story = Story(_outcomes(sampler.run_sweep(TWO_SWITCHES, POINTS, REPETITIONS)))
        except SweepError as error:
            story = Story(_outcomes(error.results), error.failures)
    background.loop.run(workspace.aclose)
    assert workspace.passed > place, "there was such a request"
    then()
    story.seconds = clock.monotonic() - began
    story.pending = server.faults.pending()
    server.faults.clear()
    jobs, sessions = asyncio.run(_newest(server))
    story.jobs = [job for job in jobs if job.name.startswith(f"{name}-")]
    story.open_sessions = [session for session in sessions if session.is_open]
    return story


def _outcomes(results: Sequence[cirq.Result | None]) -> list[list[int] | None]:
    outcomes: list[list[int] | None] = []
    for result in results:
        if result is None:
            outcomes.append(None)
            continue
        rows = result.measurements["m"].tolist()
        assert rows == [rows[0]] * REPETITIONS
        outcomes.append(rows[0])
    return outcomes


async def _newest(server: EmulatorServer) -> tuple[list[Job], list[Session]]:
    """More jobs and sessions than any one story makes, newest first."""
    workspace = AzureWorkspace(server.workspace())
    try:
        return await _first(20, workspace.list_jobs()), await _first(20, workspace.list_sessions())
    finally:
        await workspace.aclose()


async def _first(count: int, items: Any) -> list[Any]:
    return [item async for _, item in _counted(count, items)]


async def _counted(count: int, items: Any) -> Any:
    number = 0
    async for item in items:
        yield number, item
        number += 1
        if number == count:
            return


def check(story: Story, *, jobs: int = len(OUTCOMES), seconds: float = 30.0) -> None:
    """What holds whatever happened."""
    for point, (outcome, right) in enumerate(zip(story.results, OUTCOMES, strict=True)):
        assert outcome == right or (outcome is None and point in story.failures)
    assert len(story.jobs) == jobs
    assert len({job.name for job in story.jobs}) == jobs
    assert story.open_sessions == []
    assert story.seconds < seconds


@pytest.fixture(scope="module")
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer(clock=ManualClock()) as server:
        yield server


@pytest.fixture(autouse=True)
def _no_fault_is_left(server: EmulatorServer) -> Iterator[None]:
    yield
    server.faults.clear()


# What happens to one request, after which all is well

REQUEST_FAULTS: dict[str, Callable[[EmulatorServer, str], None]] = {
    "429": lambda server, route: server.faults.add(route, status=429),
    "429 with Retry-After": lambda server, route: server.faults.add(
        route, status=429, retry_after=3
    ),
    "500": lambda server, route: server.faults.add(route, status=500),
    "500 after it took effect": lambda server, route: server.faults.add(
        route, status=500, after=True
    ),
    "503": lambda server, route: server.faults.add(route, status=503),
    "reset": lambda server, route: server.faults.reset(route),
    "reset after it took effect": lambda server, route: server.faults.reset(route, after=True),
    "garbage": lambda server, route: server.faults.garble(route),
    "garbage after it took effect": lambda server, route: server.faults.garble(route, after=True),
}


@pytest.mark.parametrize("fault", REQUEST_FAULTS)
@pytest.mark.parametrize(("route", "place"), CASES)
def test_sweep_survives_one_fault_in_any_request(
    server: EmulatorServer, route: str, place: int, fault: str
) -> None:
    story = play(server, route, place, lambda: REQUEST_FAULTS[fault](server, route))
    check(story)
    assert story.pending == []
    if route == "download" and fault.startswith("garbage"):
        (error,) = story.failures.values()
        assert isinstance(error, ResultFormatError)
    else:
        assert story.failures == {}


@pytest.mark.parametrize(("route", "place"), CASES)
def test_missing_response_is_ambiguous(late_server: EmulatorServer, route: str, place: int) -> None:
    """The request is given up, and takes effect when all is over."""
    story = play(
        late_server,
        route,
        place,
        lambda: late_server.faults.add(route, delay=3600),
        clock=ManualClock(),
        then=lambda: late_server.clock.advance(3600),
        read_timeout=0.3,
    )
    check(story)
    assert story.failures == {}


@pytest.fixture(scope="module")
def late_server() -> Iterator[EmulatorServer]:
    """A server whose delays last until its clock is moved."""
    with EmulatorServer(clock=ManualClock(auto_advance=False)) as server:
        yield server


# What happens to jobs, sessions, signatures and clocks


@pytest.mark.parametrize(("route", "place"), CASES)
def test_a_job_fails(server: EmulatorServer, route: str, place: int) -> None:
    story = play(server, route, place, lambda: server.faults.fail_job("QubitLost", "It got away."))
    check(story)
    assert len(story.failures) + len(story.pending) == 1
    for point, error in story.failures.items():
        assert isinstance(error, JobFailed)
        assert error.code == "QubitLost"
        assert error.job_id in {job.id for job in story.jobs if job.name.endswith(f"-{point}")}


@pytest.mark.parametrize(("route", "place"), CASES)
def test_a_job_is_cancelled_by_the_service(server: EmulatorServer, route: str, place: int) -> None:
    story = play(server, route, place, server.faults.cancel_job)
    check(story)
    assert len(story.failures) + len(story.pending) == 1
    assert all(isinstance(error, JobCancelled) for error in story.failures.values())


@pytest.mark.parametrize("end", ["TimedOut", "Failed"])
@pytest.mark.parametrize(("route", "place"), CASES)
def test_the_session_ends(server: EmulatorServer, route: str, place: int, end: str) -> None:
    faults = server.faults
    happen = faults.time_out_session if end == "TimedOut" else faults.fail_session
    story = play(server, route, place, happen)
    check(story)
    # The service cancels what still runs in a session that it breaks off.
    assert all(isinstance(error, JobCancelled) for error in story.failures.values())
    assert len(story.failures) <= 1


@pytest.mark.parametrize(("route", "place"), CASES)
def test_a_signature_expires(server: EmulatorServer, route: str, place: int) -> None:
    story = play(server, route, place, lambda: server.faults.expire_sas("*"))
    check(story)
    assert story.failures == {}


@pytest.mark.parametrize(("route", "place"), CASES)
def test_the_clocks_move_an_hour(server: EmulatorServer, route: str, place: int) -> None:
    story = play(server, route, place, lambda: server.clock.advance(3600))
    check(story, seconds=3800.0)
    assert story.failures == {}


# What does not get better while the sweep runs


@pytest.mark.parametrize("fault", ["503", "reset", "reset after it took effect"])
def test_call_fails_if_the_service_opens_no_session(server: EmulatorServer, fault: str) -> None:
    with SessionPool(server.workspace(), clock=server.clock) as pool:
        LASTING[fault](server, "open")
        sampler = AzureSessionSampler(TARGET, pool=pool, job_name=(name := next(_names)))
        with pytest.raises(SessionNotAvailable, match="No session could be opened"):
            sampler.run_sweep(TWO_SWITCHES, POINTS, REPETITIONS)
        server.faults.clear()
    jobs, sessions = asyncio.run(_newest(server))
    assert [job for job in jobs if job.name.startswith(name)] == []
    assert [session for session in sessions if session.is_open] == []


LASTING: dict[str, Callable[[EmulatorServer, str], None]] = {
    "503": lambda server, route: server.faults.add(route, status=503, times=None),
    "reset": lambda server, route: server.faults.reset(route, times=None),
    "reset after it took effect": lambda server, route: server.faults.reset(
        route, after=True, times=None
    ),
}


@pytest.mark.parametrize("route", ["sasUri", "upload", "submit"])
@pytest.mark.parametrize("fault", ["503", "reset"])
def test_call_fails_if_the_service_accepts_no_job(
    server: EmulatorServer, route: str, fault: str
) -> None:
    story = play(server, route, FIRST, lambda: LASTING[fault](server, route))
    check(story, jobs=0, seconds=60)
    assert [type(error) for error in story.failures.values()] == [ServiceError] * 4


@pytest.mark.parametrize(
    ("route", "place"),
    [(route, place) for route, place in CASES if place != FIRST or route in ("poll", "download")],
)
def test_a_sweep_survives_minutes_without_a_network(
    server: EmulatorServer, route: str, place: int
) -> None:
    """The first jobs are at the service: what is left waits until the network is back."""
    story = play(server, route, place, lambda: server.faults.reset("*", times=50))
    check(story, seconds=600)
    assert story.failures == {}


@pytest.mark.parametrize("place", [MIDDLE, LAST])
@pytest.mark.parametrize("fault", ["429", *LASTING])
def test_a_sweep_survives_minutes_without_new_sessions(
    server: EmulatorServer, fault: str, place: int
) -> None:
    """The session ends, and for minutes none can be opened: what is left waits until one can."""
    orders = {
        "429": lambda: server.faults.add("open", status=429, times=20),
        "503": lambda: server.faults.add("open", status=503, times=20),
        "reset": lambda: server.faults.reset("open", times=20),
        "reset after it took effect": lambda: server.faults.reset("open", after=True, times=20),
    }

    def happen() -> None:
        server.faults.time_out_session()
        orders[fault]()

    story = play(server, "submit", place, happen)
    check(story, seconds=600)
    assert story.failures == {}
    assert story.pending == []


# Polls go on for a day of the clock, and take as many requests whatever the fault.
@pytest.mark.parametrize(
    ("route", "fault"), [("poll", "503"), *(("download", fault) for fault in LASTING)]
)
def test_an_accepted_job_can_be_fetched_later(
    server: EmulatorServer, route: str, fault: str
) -> None:
    story = play(server, route, MIDDLE, lambda: LASTING[fault](server, route))
    # Of each of two jobs: it is polled for a day, and its result is fetched for two hours.
    check(story, seconds=2 * 3600 * (25 if route == "poll" else 3))
    assert story.failures
    ids = {job.id for job in story.jobs}
    with AzureSessionSampler(TARGET, workspace=server.workspace()) as sampler:
        for point, error in story.failures.items():
            assert isinstance(error, ResultNotAvailable)
            assert error.job_id in ids
            assert f"get_result('{error.job_id}')" in str(error)
            assert _outcomes([sampler.get_result(error.job_id)]) == [OUTCOMES[point]]


def test_a_session_that_cannot_be_checked_is_closed(
    server: EmulatorServer,
) -> None:
    with SessionPool(server.workspace(), clock=server.clock, max_idle=10.0) as pool:
        session = pool.session(TARGET)
        server.clock.advance(11)
        server.faults.reset("session", times=None)
        with pytest.raises(SessionNotAvailable):
            pool.session(TARGET)
        server.faults.clear()
        assert pool.session(TARGET) is session
        server.clock.advance(11)
        server.faults.reset("session", times=None)
        with pytest.raises(SessionNotAvailable):
            pool.session(TARGET)
    server.faults.clear()
    _, sessions = asyncio.run(_newest(server))
    assert [session for session in sessions if session.is_open] == []


# What the service has lost, of one point: it has an error of its own, and the sweep goes on

LOST: dict[str, tuple[str, Callable[[EmulatorServer], None], type[Exception], str]] = {
    "a result that is missing": (
        "download",
        lambda server: server.faults.add("download", status=404),
        ResultNotAvailable,
        "its result is missing",
    ),
    "a result that is cut off": (
        "download",
        lambda server: server.faults.garble("download", '{"histogram": {"0": 0.5'),
        ResultFormatError,
        "JSON",
    ),
}


@pytest.mark.parametrize("place", [FIRST, MIDDLE, LAST])
@pytest.mark.parametrize("lost", LOST)
def test_a_lost_result_or_job_is_named(server: EmulatorServer, lost: str, place: int) -> None:
    route, happen, kind, words = LOST[lost]
    story = play(server, route, place, lambda: happen(server))
    check(story)
    assert story.pending == []
    (error,) = story.failures.values()
    assert type(error) is kind
    assert words in str(error)


@pytest.mark.parametrize("place", [FIRST, MIDDLE, LAST])
def test_job_briefly_unknown_to_the_service_is_waited_for(
    server: EmulatorServer, place: int
) -> None:
    story = play(server, "poll", place, lambda: server.faults.add("job", status=404))
    check(story)
    assert story.pending == []
    assert story.failures == {}


def test_job_unknown_to_the_service_for_minutes_is_named(server: EmulatorServer) -> None:
    story = play(server, "poll", LAST, lambda: server.faults.add("job", status=404, times=None))
    check(story, seconds=400)
    ((point, error),) = story.failures.items()
    assert point == LAST
    assert type(error) is JobError
    assert "no longer shows it" in str(error)


@pytest.mark.parametrize("place", [FIRST, MIDDLE, LAST])
def test_results_refused_with_every_signature_are_named(server: EmulatorServer, place: int) -> None:
    # From here on for every result: two are fetched at a time, and each asks twice.
    story = play(
        server, "download", place, lambda: server.faults.add("download", status=403, times=None)
    )
    check(story)
    assert story.failures
    for error in story.failures.values():
        assert type(error) is ResultNotAvailable
        assert "HTTP 403" in str(error)


def test_session_unknown_to_the_service_is_replaced(server: EmulatorServer) -> None:
    with SessionPool(server.workspace(), clock=server.clock, max_idle=10.0) as pool:
        first = pool.session(TARGET)
        server.clock.advance(11)
        server.faults.add("session", status=404)
        assert pool.session(TARGET).id != first.id
        assert pool.get_stats()["sessions_lost"] == 1
    # The service lied: it times out there, as nobody here knows of it.
    server.clock.advance(3600)
