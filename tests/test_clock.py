"""Clocks, and what waits on one: timeouts and retries."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirq_azure_sessions.clock import (
    Clock,
    ManualClock,
    StoppableClock,
    SystemClock,
    backoff,
    retry,
    retry_for,
    timeout,
)
from cirq_azure_sessions.emulator.shifted_clock import ShiftedClock
from cirq_azure_sessions.errors import ServiceError


async def next_turns() -> None:
    """Lets everything that can run at once run."""
    for _ in range(10):
        await asyncio.sleep(0)


class TestSystemClock:
    def test_time_is_the_time_of_day(self) -> None:
        before, clock_time, after = time.time(), SystemClock().time(), time.time()
        assert before <= clock_time <= after

    def test_monotonic_time_never_goes_back(self) -> None:
        clock = SystemClock()
        ages = [clock.monotonic() for _ in range(100)]
        assert ages == sorted(ages)

    def test_sleep_takes_at_least_as_long_as_asked(self) -> None:
        clock = SystemClock()
        before = clock.monotonic()
        asyncio.run(clock.sleep(0.001))
        assert clock.monotonic() >= before + 0.001


class TestManualClock:
    def test_time_stands_still_until_it_is_advanced(self) -> None:
        clock = ManualClock(start=1000.0)
        assert (clock.time(), clock.monotonic()) == (1000.0, 0.0)
        clock.advance(600)
        assert (clock.time(), clock.monotonic()) == (1600.0, 600.0)
        assert repr(clock) == "ManualClock(elapsed=600 s)"

    def test_advancing_backwards_is_refused(self) -> None:
        with pytest.raises(ValueError, match="0 or more, not -"):
            ManualClock().advance(-1)

    def test_a_sleeper_advances_the_clock(self) -> None:
        clock = ManualClock()

        async def poll_three_times() -> None:
            for _ in range(3):
                await clock.sleep(10)

        asyncio.run(poll_three_times())
        assert clock.monotonic() == 30

    def test_sleeping_for_zero_or_less_returns_at_once(self) -> None:
        clock = ManualClock(auto_advance=False)

        async def sleep() -> None:
            await asyncio.gather(clock.sleep(0), clock.sleep(-1))

        asyncio.run(sleep())
        assert clock.monotonic() == 0

    def test_without_auto_advance_sleepers_wake_at_their_deadlines(self) -> None:
        clock = ManualClock(auto_advance=False)
        woken: list[float] = []

        async def sleep(seconds: float) -> None:
            await clock.sleep(seconds)
            woken.append(seconds)

        async def story() -> None:
            sleepers = asyncio.gather(*(sleep(seconds) for seconds in (30, 10, 20)))
            await next_turns()
            assert woken == []
            clock.advance(15)
            await next_turns()
            assert woken == [10]
            clock.advance(15)
            await sleepers
            assert woken == [10, 20, 30]

        asyncio.run(story())

    def test_one_thread_wakes_the_sleepers_of_another(self) -> None:
        clock = ManualClock(auto_advance=False)
        asleep = threading.Event()

        async def sleep() -> float:
            waiting = asyncio.ensure_future(clock.sleep(60))
            await next_turns()
            asleep.set()
            await waiting
            return clock.monotonic()

        def advance() -> None:
            asleep.wait()
            clock.advance(60)

        mover = threading.Thread(target=advance)
        mover.start()
        assert asyncio.run(sleep()) == 60
        mover.join()

    def test_a_cancelled_sleeper_is_not_woken(self) -> None:
        clock = ManualClock(auto_advance=False)

        async def story() -> None:
            sleeper = asyncio.ensure_future(clock.sleep(10))
            await next_turns()
            sleeper.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sleeper
            clock.advance(20)
            await next_turns()

        asyncio.run(story())
        assert clock.monotonic() == 20

    @given(st.lists(st.floats(0, 1e6), max_size=20))
    def test_time_and_monotonic_time_advance_together(self, steps: list[float]) -> None:
        clock = ManualClock(start=0.0)
        for step in steps:
            before = clock.monotonic()
            clock.advance(step)
            assert clock.monotonic() >= before
            assert clock.time() == clock.monotonic()


class TestShiftedClock:
    def test_time_is_ahead_by_the_seconds_advanced(self) -> None:
        clock = ShiftedClock()
        before = SystemClock().monotonic()
        clock.advance(600)
        assert clock.monotonic() >= before + 600
        assert clock.time() >= time.time() + 599
        assert repr(clock) == "ShiftedClock(shift=600 s)"

    def test_advancing_backwards_is_refused(self) -> None:
        with pytest.raises(ValueError, match="0 or more, not -"):
            ShiftedClock().advance(-1)

    def test_advancing_wakes_sleepers_past_their_deadline(self) -> None:
        clock = ShiftedClock()

        async def story() -> None:
            soon = asyncio.ensure_future(clock.sleep(100))
            later = asyncio.ensure_future(clock.sleep(10_000))
            await next_turns()
            clock.advance(200)
            await soon
            assert not later.done()
            later.cancel()

        asyncio.run(story())


@pytest.mark.parametrize("kind", [ManualClock, ShiftedClock])
def test_a_clock_is_not_advanced_past_its_last_year(kind: type[ManualClock | ShiftedClock]) -> None:
    clock = kind()
    for seconds in (1e308, 1e12):
        with pytest.raises(ValueError, match="end with the year 9899"):
            clock.advance(seconds)
    clock.advance(200e9)
    with pytest.raises(ValueError, match="by fewer seconds"):
        clock.advance(200e9)
    assert clock.monotonic() >= 200e9


@pytest.mark.parametrize("seconds", [1e12, 1e308])
def test_a_deadline_past_the_last_year_sets_no_limit(seconds: float) -> None:
    clock = ManualClock()

    async def work() -> str:
        await clock.sleep(600)
        return "done"

    assert asyncio.run(timeout(clock, seconds, work())) == "done"
    assert clock.monotonic() == 600


@pytest.mark.parametrize("clock", [SystemClock(), ShiftedClock(), ManualClock()], ids=repr)
class TestTimeout:
    @pytest.mark.parametrize("seconds", [None, math.inf])
    def test_no_limit_returns_what_the_work_returns(
        self, clock: Clock, seconds: float | None
    ) -> None:
        async def work() -> str:
            await asyncio.sleep(0)
            return "done"

        assert asyncio.run(timeout(clock, seconds, work())) == "done"

    def test_an_error_of_the_work_is_raised(self, clock: Clock) -> None:
        async def work() -> None:
            raise LookupError("not there")

        with pytest.raises(LookupError, match="not there"):
            asyncio.run(timeout(clock, 3600, work()))

    def test_work_is_cancelled_and_cleans_up_at_the_deadline(self, clock: Clock) -> None:
        cleaned_up = []

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                cleaned_up.append(True)

        with pytest.raises(TimeoutError):
            asyncio.run(timeout(clock, 0.001, work()))
        assert cleaned_up == [True]


def test_finished_work_leaves_no_sleeper_behind() -> None:
    clock = ManualClock(auto_advance=False)

    async def work() -> str:
        return "done"

    async def story() -> None:
        assert await timeout(clock, 10, work()) == "done"
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(story())
    assert clock.monotonic() == 0


def test_cancelling_a_timeout_cancels_its_work() -> None:
    clock, cleaned_up = ManualClock(auto_advance=False), []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned_up.append(True)

    async def story() -> None:
        bounded = asyncio.ensure_future(timeout(clock, 10, work()))
        await next_turns()
        bounded.cancel()
        with pytest.raises(asyncio.CancelledError):
            await bounded

    asyncio.run(story())
    assert cleaned_up == [True]


class TestStoppableClock:
    class Stopped(Exception):
        pass

    def test_until_it_is_stopped_it_is_the_other_clock(self) -> None:
        async def story() -> None:
            stopped = asyncio.Event()
            clock = StoppableClock(other, lambda: stopped, self.Stopped)
            await clock.sleep(60)
            await clock.sleep(0)
            assert (clock.time(), clock.monotonic()) == (other.time(), 60.0)
            assert len(asyncio.all_tasks()) == 1

        other = ManualClock()
        asyncio.run(story())

    @pytest.mark.parametrize("when", ["before", "meanwhile"])
    def test_sleepers_get_the_error_once_it_is_stopped(self, when: str) -> None:
        async def story() -> None:
            stopped = asyncio.Event()
            clock = StoppableClock(ManualClock(auto_advance=False), lambda: stopped, self.Stopped)
            if when == "before":
                stopped.set()
            sleepers = [asyncio.ensure_future(clock.sleep(60)) for _ in range(3)]
            await next_turns()
            stopped.set()
            outcomes = await asyncio.gather(*sleepers, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [self.Stopped] * 3
            await next_turns()
            assert len(asyncio.all_tasks()) == 1

        asyncio.run(story())


# Retries


class _Flaky:
    """A service that answers from a given time on."""

    def __init__(self, clock: ManualClock, until: float, **error: object) -> None:
        self._clock = clock
        self._until = until
        self._error = error
        self.calls: list[float] = []

    async def call(self) -> str:
        self.calls.append(self._clock.monotonic())
        if self._clock.monotonic() < self._until:
            raise ServiceError("The answer was lost.", **self._error)
        return "an answer"


def _retry(clock: ManualClock, flaky: _Flaky, seconds: float | Callable[[], float]) -> str:
    return asyncio.run(retry(clock, flaky.call, retry_for(seconds)))


def test_a_transient_error_is_retried_until_a_call_succeeds(clock: ManualClock) -> None:
    assert _retry(clock, _Flaky(clock, until=300.0), 600.0) == "an answer"


def test_the_last_error_is_raised_when_the_retry_time_is_up(clock: ManualClock) -> None:
    with pytest.raises(ServiceError, match="lost"):
        _retry(clock, _Flaky(clock, until=1200.0), 600.0)
    assert 600 <= clock.monotonic() < 600 + 60


def test_with_no_retry_time_the_first_error_is_raised(clock: ManualClock) -> None:
    flaky = _Flaky(clock, until=1.0)
    with pytest.raises(ServiceError, match="lost"):
        _retry(clock, flaky, 0.0)
    assert flaky.calls == [0.0]


def test_retry_time_that_has_grown_since_the_first_attempt_counts(clock: ManualClock) -> None:
    flaky = _Flaky(clock, until=1.0)
    assert _retry(clock, flaky, lambda: 10.0 if flaky.calls else 0.0) == "an answer"


def test_permanent_error_is_not_retried(clock: ManualClock) -> None:
    flaky = _Flaky(clock, until=1.0, status_code=400)
    with pytest.raises(ServiceError):
        _retry(clock, flaky, 600.0)
    assert flaky.calls == [0.0]


def test_unknown_error_is_not_retried(clock: ManualClock) -> None:
    async def call() -> None:
        calls.append(True)
        raise TypeError("our own mistake")

    calls: list[bool] = []
    with pytest.raises(TypeError):
        asyncio.run(retry(clock, call, retry_for(600.0)))
    assert calls == [True]


def test_retries_wait_as_long_as_the_service_says(clock: ManualClock) -> None:
    flaky = _Flaky(clock, until=14.0, status_code=429, retry_after=7.0)
    _retry(clock, flaky, 600.0)
    assert flaky.calls == [0.0, 7.0, 14.0]


@pytest.mark.parametrize("pauses", [1e3, 3e7, 1e300])
def test_no_pause_goes_beyond_the_retry_time(clock: ManualClock, pauses: float) -> None:
    flaky = _Flaky(clock, until=1e9, status_code=503, retry_after=pauses)
    with pytest.raises(ServiceError):
        _retry(clock, flaky, 600.0)
    assert flaky.calls == [0.0, 600.0]


def test_backoff_doubles_up_to_its_maximum() -> None:
    assert [backoff(attempt) for attempt in (1, 2, 3, 9, 10, 10_000)] == [
        pytest.approx(pause) for pause in (0.2, 0.4, 0.8, 51.2, 60.0, 60.0)
    ]
