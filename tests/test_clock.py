"""Time that is given: the machine's, the machine's put forward, and one that stands still."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirq_azure_sessions.clock import Clock, ManualClock, ShiftedClock, SystemClock, within


async def next_turns() -> None:
    """Lets everything that can run at once run."""
    for _ in range(10):
        await asyncio.sleep(0)


class TestSystemClock:
    def test_tells_the_machine_s_time(self) -> None:
        before, clock_time, after = time.time(), SystemClock().time(), time.time()
        assert before <= clock_time <= after

    def test_ages_never_go_back(self) -> None:
        clock = SystemClock()
        ages = [clock.monotonic() for _ in range(100)]
        assert ages == sorted(ages)

    def test_sleeps(self) -> None:
        clock = SystemClock()
        before = clock.monotonic()
        asyncio.run(clock.sleep(0.001))
        assert clock.monotonic() >= before + 0.001


class TestManualClock:
    def test_stands_still_until_it_is_moved(self) -> None:
        clock = ManualClock(start=1000.0)
        assert (clock.time(), clock.monotonic()) == (1000.0, 0.0)
        clock.advance(600)
        assert (clock.time(), clock.monotonic()) == (1600.0, 600.0)
        assert repr(clock) == "ManualClock(elapsed=600 s)"

    def test_does_not_go_back(self) -> None:
        with pytest.raises(ValueError, match="forward only"):
            ManualClock().advance(-1)

    def test_whoever_sleeps_moves_it(self) -> None:
        clock = ManualClock()

        async def poll_three_times() -> None:
            for _ in range(3):
                await clock.sleep(10)

        asyncio.run(poll_three_times())
        assert clock.monotonic() == 30

    def test_sleeping_no_time_or_less_returns_at_once(self) -> None:
        clock = ManualClock(auto_advance=False)

        async def sleep() -> None:
            await asyncio.gather(clock.sleep(0), clock.sleep(-1))

        asyncio.run(sleep())
        assert clock.monotonic() == 0

    def test_without_auto_advance_sleepers_wake_in_the_order_of_their_deadlines(self) -> None:
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

    def test_is_moved_by_one_thread_for_the_sleeper_of_another(self) -> None:
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

    def test_forgets_a_sleeper_that_was_cancelled(self) -> None:
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
    def test_ages_and_dates_move_together(self, steps: list[float]) -> None:
        clock = ManualClock(start=0.0)
        for step in steps:
            before = clock.monotonic()
            clock.advance(step)
            assert clock.monotonic() >= before
            assert clock.time() == clock.monotonic()


class TestShiftedClock:
    def test_runs_ahead_of_the_machine_s_by_what_it_was_put_forward(self) -> None:
        clock = ShiftedClock()
        before = SystemClock().monotonic()
        clock.advance(600)
        assert clock.monotonic() >= before + 600
        assert clock.time() >= time.time() + 599
        assert repr(clock) == "ShiftedClock(shift=600 s)"

    def test_does_not_go_back(self) -> None:
        with pytest.raises(ValueError, match="forward only"):
            ShiftedClock().advance(-1)

    def test_wakes_the_sleepers_whose_time_has_come(self) -> None:
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


@pytest.mark.parametrize("clock", [SystemClock(), ShiftedClock(), ManualClock()], ids=repr)
class TestWithin:
    def test_gives_what_the_work_gives(self, clock: Clock) -> None:
        async def work() -> str:
            return "done"

        assert asyncio.run(within(clock, None, work())) == "done"

    def test_passes_on_what_the_work_raises(self, clock: Clock) -> None:
        async def work() -> None:
            raise LookupError("not there")

        with pytest.raises(LookupError, match="not there"):
            asyncio.run(within(clock, None, work()))

    def test_gives_up_when_time_is_up_and_lets_the_work_clean_up(self, clock: Clock) -> None:
        cleaned_up = []

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cleaned_up.append(True)

        with pytest.raises(TimeoutError):
            asyncio.run(within(clock, 0.001, work()))
        assert cleaned_up == [True]


def test_work_that_is_done_at_once_beats_a_clock_that_moves_by_itself() -> None:
    clock = ManualClock(auto_advance=False)

    async def work() -> str:
        return "done"

    assert asyncio.run(within(clock, 10, work())) == "done"
    assert clock.monotonic() == 0
