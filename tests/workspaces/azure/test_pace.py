"""Requests to a host that asks for fewer: one pause for all, then a pace that the host can take."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Container, Iterable

import cirq
import pytest
import sympy
from azure.core.credentials import AzureKeyCredential
from azure_suite import job_request, sdk_workspace_at, tell

from cirq_azure_sessions import AzureSessionSampler, JobError, ServiceError, SessionPool, SweepError
from cirq_azure_sessions.clock import Clock, ManualClock, SystemClock
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.emulator.faults import Fault
from cirq_azure_sessions.model import SessionRequest
from cirq_azure_sessions.workspaces.azure import AzureWorkspace
from cirq_azure_sessions.workspaces.azure.pace import Pace

TURN = cirq.Circuit(
    cirq.rx(sympy.Symbol("angle"))(cirq.LineQubit(0)), cirq.measure(cirq.LineQubit(0), key="m")
)


class RateLimit:
    """A host that takes a number of requests in each period of a clock, and refuses all others."""

    def __init__(self, clock: Clock, number: int, *, period: float = 1.0) -> None:
        self._clock = clock
        self._number = number
        self._length = period
        self._period = -1.0
        self._taken = 0
        self.good = 0
        self.refused = 0

    def takes_one_more(self) -> bool:
        period = self._clock.monotonic() // self._length
        if period != self._period:
            self._period, self._taken = period, 0
        is_taken = self._taken < self._number
        self._taken += is_taken
        self.good += is_taken
        self.refused += not is_taken
        return is_taken


class TokenBucket:
    """A host that takes a number of requests a second, and saves up those of one second."""

    def __init__(self, clock: Clock, number: int) -> None:
        self._clock = clock
        self._number = number
        self._saved = float(number)
        self._counted_at = 0.0

    def takes_one_more(self) -> bool:
        now = self._clock.monotonic()
        more = self._number * (now - self._counted_at)
        self._saved, self._counted_at = min(self._saved + more, self._number), now
        is_taken = self._saved >= 1
        self._saved -= is_taken
        return is_taken


async def ask(pace: Pace, rate: RateLimit | TokenBucket, retry_after: float | None) -> None:
    """Sends one request until it is taken."""
    while True:
        turn = await pace.turn()
        await asyncio.sleep(0)
        if rate.takes_one_more():
            pace.answered()
            return
        pace.refused(retry_after, turn)


@pytest.mark.parametrize("number", [5, 20, 120])
@pytest.mark.parametrize("retry_after", [1.0, None])
def test_many_clients_are_throttled_once_and_then_keep_the_pace_of_the_host(
    clock: ManualClock, number: int, retry_after: float | None
) -> None:
    rate, pace = RateLimit(clock, number), Pace(clock)

    async def story() -> None:
        await asyncio.gather(*(ask(pace, rate, retry_after) for _ in range(100)))
        assert rate.refused < 105
        for _ in range(30 * number // 100):
            await asyncio.gather(*(ask(pace, rate, retry_after) for _ in range(100)))

    asyncio.run(story())
    assert rate.good == 100 + 30 * number // 100 * 100
    assert rate.refused < 110
    # The host is asked for most of what it can give.
    assert rate.good > 0.8 * number * clock.monotonic()


@pytest.mark.parametrize("number", [80, 100, 110, 120, 130, 150])
def test_without_retry_after_the_pace_settles_at_what_the_host_took(
    clock: ManualClock, number: int
) -> None:
    bucket, pace = TokenBucket(clock, number), Pace(clock)

    async def story() -> None:
        for _ in range(8):
            await asyncio.gather(*(ask(pace, bucket, None) for _ in range(100)))
        before = clock.monotonic()
        await asyncio.gather(*(ask(pace, bucket, None) for _ in range(100)))
        assert 0.99 * number < 100 / (clock.monotonic() - before) < 1.01 * number

    asyncio.run(story())


def test_the_pace_is_unlimited_again_once_the_host_accepts_everything(clock: ManualClock) -> None:
    busy, free, pace = RateLimit(clock, 5), RateLimit(clock, 10**9), Pace(clock)

    async def story() -> float:
        await asyncio.gather(*(ask(pace, busy, 1.0) for _ in range(20)))
        await asyncio.gather(*(ask(pace, free, 1.0) for _ in range(5000)))
        before = clock.monotonic()
        await asyncio.gather(*(ask(pace, free, 1.0) for _ in range(5000)))
        return clock.monotonic() - before

    assert asyncio.run(story()) == 0.0


def test_a_host_that_took_few_requests_is_asked_for_more_after_some_minutes(
    clock: ManualClock,
) -> None:
    free, pace = RateLimit(clock, 10**9), Pace(clock)

    async def story() -> None:
        await ask(pace, free, 1.0)
        pace.refused(1.0, await pace.turn())
        # Requests that need not queue, such as polls, do not show what the host takes.
        for _ in range(310):
            await ask(pace, free, 1.0)
            clock.advance(1.0)
        before = clock.monotonic()
        await asyncio.gather(*(ask(pace, free, 1.0) for _ in range(100)))
        assert clock.monotonic() == before

    asyncio.run(story())


def test_an_answer_after_the_pause_does_not_make_the_pace_unlimited(clock: ManualClock) -> None:
    rate, pace = RateLimit(clock, 20), Pace(clock)

    async def story() -> None:
        await pace.turn()
        # The refused request is given up, and the other one is answered late.
        pace.refused(1.0, await pace.turn())
        clock.advance(1.5)
        pace.answered()
        await asyncio.gather(*(ask(pace, rate, 1.0) for _ in range(200)))

    asyncio.run(story())
    assert rate.refused < 20


def test_single_refusal_slows_requests_only_briefly(
    clock: ManualClock,
) -> None:
    free, pace = RateLimit(clock, 10**9), Pace(clock)

    async def story() -> None:
        pace.refused(1.0, await pace.turn())
        await asyncio.gather(*(ask(pace, free, 1.0) for _ in range(400)))

    asyncio.run(story())
    assert clock.monotonic() < 8.0


def test_requests_sent_before_a_pause_and_refused_after_it_cause_no_other(
    clock: ManualClock,
) -> None:
    pace = Pace(clock)

    async def story() -> None:
        for turn in [await pace.turn() for _ in range(10)]:
            clock.advance(1.0)
            pace.refused(None, turn)
        clock.advance(1.0)
        assert await pace.turn() == 11.0

    asyncio.run(story())


def test_repeatedly_throttled_client_retries_less_and_less_often(
    clock: ManualClock,
) -> None:
    # With a thousand others that the host has sent away for a second, it would be refused for ever.
    pace, returns = Pace(clock), list[float]()

    async def story() -> None:
        for _ in range(7):
            returns.append(await pace.turn())
            pace.refused(1.0, returns[-1])

    asyncio.run(story())
    pauses = [after - before for before, after in itertools.pairwise(returns)]
    # This clock's random numbers are the largest.
    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def _order(urgent: Container[int] = (), cancelled: Iterable[int] = ()) -> list[int]:
    """The order of five requests that wait for the end of a pause."""
    clock = ManualClock(auto_advance=False)
    pace, order = Pace(clock), list[int]()

    async def wait(number: int) -> None:
        await pace.turn(is_urgent=number in urgent)
        order.append(number)

    async def story() -> None:
        pace.refused(1.0, await pace.turn())
        waiting = [asyncio.ensure_future(wait(number)) for number in range(5)]
        await asyncio.sleep(0)
        for number in cancelled:
            waiting[number].cancel()
        while not all(task.done() for task in waiting):
            await asyncio.sleep(0)
            clock.advance(0.01)

    asyncio.run(story())
    return order


def test_requests_go_first_come_first_served() -> None:
    assert _order() == [0, 1, 2, 3, 4]


def test_urgent_requests_go_before_all_but_the_next() -> None:
    assert _order(urgent=[2, 4]) == [0, 2, 4, 1, 3]


@pytest.mark.parametrize("urgent", [[], [1], [0, 1, 4]])
def test_a_cancelled_request_holds_up_no_other(urgent: list[int]) -> None:
    others = [number for number in _order(urgent) if number != 1]
    assert _order(urgent, cancelled=[1]) == others


def test_submissions_of_jobs_and_their_sessions_are_urgent(
    server: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = list[bool]()

    async def turn(pace: Pace, *, is_urgent: bool) -> float:
        turns.append(is_urgent)
        return 0.0

    async def story(workspace: AzureWorkspace) -> None:
        session = await workspace.open_session(
            SessionRequest(str(uuid.uuid4()), "ionq.simulator", "name")
        )
        request = job_request(session.id)
        job = await workspace.submit_job(request, await workspace.store_input(request))
        await workspace.list_session_jobs(session.id)
        await workspace.get_job(job.id)

    monkeypatch.setattr(Pace, "turn", turn)
    tell(story, server.workspace())
    # Each upload takes two requests.
    assert turns == [True, False, False, True, False, False]


@pytest.mark.parametrize(("status", "retry_after"), [(429, 0.2), (503, 0.2), (429, None)], ids=str)
def test_a_sweep_on_a_slow_host_gets_more_answers_than_refusals(
    status: int, retry_after: float | None
) -> None:
    # Requests take time, so this clock is a real one. Five requests are taken in each 0.2 s.
    clock = SystemClock()
    rate = RateLimit(clock, 5, period=0.2)

    def take(name: str, verb: str, path: str) -> Fault | None:
        if rate.takes_one_more():
            return None
        return Fault(route="*", status=status, retry_after=retry_after)

    with EmulatorServer() as server, SessionPool(server.workspace()) as pool:
        server.faults.take_request = take  # type: ignore[method-assign]
        sampler = AzureSessionSampler("ionq.simulator", pool=pool)
        results = sampler.run_sweep(TURN, cirq.Linspace("angle", 0.1, 3.0, 20), repetitions=10)
    assert len(results) == 20
    assert rate.refused < rate.good


def test_a_pause_outlives_the_connections(server: EmulatorServer, clock: ManualClock) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        server.faults.add("providerStatus", status=429, retry_after=30, times=1)
        refused = asyncio.ensure_future(workspace.list_targets())
        while not server.requests["providerStatus"]:
            await asyncio.sleep(0.001)
        await workspace.aclose()
        await refused
        assert clock.monotonic() >= 30

    tell(story, server.workspace(), clock=clock)


def test_a_request_that_waited_for_minutes_is_not_given_up_when_it_is_refused(
    server: EmulatorServer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def turn(pace: Pace, *, is_urgent: bool) -> float:
        # Behind the requests of many other jobs.
        await clock.sleep(400.0)
        return clock.monotonic()

    monkeypatch.setattr(Pace, "turn", turn)
    server.faults.add("providerStatus", status=429, retry_after=1)
    assert tell(lambda workspace: workspace.list_targets(), server.workspace(), clock=clock)


def test_a_refused_submission_pauses_the_others_only_as_the_service_says(
    server: EmulatorServer, clock: ManualClock
) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        request = job_request()
        stored = await workspace.store_input(request)
        for retry_after, waited in ((None, 0.0), (7.0, 7.0)):
            server.faults.add("submit", status=429, retry_after=retry_after)
            with pytest.raises(ServiceError):
                await workspace.submit_job(request, stored)
            await workspace.list_targets()
            assert clock.monotonic() == waited

    tell(story, server.workspace(), clock=clock)


def test_a_submission_refused_while_all_requests_are_is_sent_again() -> None:
    clock, service_clock = ManualClock(auto_advance=False), ManualClock(auto_advance=False)

    async def story(workspace: AzureWorkspace) -> None:
        request = job_request()
        stored = await workspace.store_input(request)
        # Its answer comes after that to the list.
        server.faults.add("submit", status=429, delay=1.0)
        server.faults.add("providerStatus", status=429, retry_after=7)
        submission = asyncio.ensure_future(workspace.submit_job(request, stored))
        while not server.requests["submit"]:
            await asyncio.sleep(0.001)
        listing = asyncio.ensure_future(workspace.list_targets())
        while not clock._sleepers:
            await asyncio.sleep(0.001)
        service_clock.advance(1.0)
        while not (submission.done() and listing.done()):
            await asyncio.sleep(0.001)
            clock.advance(0.1)
        assert (await submission).id == request.id
        assert clock.monotonic() >= 7.0

    with EmulatorServer(clock=service_clock) as server:
        tell(story, server.workspace(), clock=clock)


# An identity that is refused


def test_a_key_that_is_refused_for_ten_minutes_costs_no_result(
    server: EmulatorServer, clock: ManualClock
) -> None:
    server.faults.add("*", trigger="poll", status=401, duration=600)
    with SessionPool(server.workspace(), clock=clock) as pool:
        sampler = AzureSessionSampler("ionq.simulator", pool=pool)
        results = sampler.run_sweep(TURN, cirq.Linspace("angle", 0.1, 3.0, 8), repetitions=10)
    assert len(results) == 8
    assert clock.monotonic() >= 600
    # A submission may have been refused too, and was sent again.
    assert len(server.workspace().list_jobs()) == 8


def test_a_key_that_is_refused_for_longer_ends_the_call(
    server: EmulatorServer, clock: ManualClock
) -> None:
    server.faults.add("*", trigger="poll", status=401, times=None)
    with SessionPool(server.workspace(), clock=clock) as pool:
        sampler = AzureSessionSampler("ionq.simulator", pool=pool)
        with pytest.raises(SweepError, match="HTTP 401") as failure:
            sampler.run_sweep(TURN, [{"angle": 1.0}], repetitions=10)
        assert 900 <= clock.monotonic() < 2000
        server.faults.clear()
        # The error keeps the job's id.
        (error,) = failure.value.failures.values()
        assert isinstance(error, JobError)
        assert pool.get_job(error.job_id).result()


def test_a_key_that_was_never_accepted_is_refused_at_once(
    server: EmulatorServer, clock: ManualClock
) -> None:
    wrong = sdk_workspace_at(server.endpoint, AzureKeyCredential("wrong"))
    with pytest.raises(ServiceError, match="check the key") as failure:
        tell(lambda workspace: workspace.list_targets(), wrong, clock=clock)
    assert failure.value.status_code == 401
    assert clock.monotonic() == 0.0
