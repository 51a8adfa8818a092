"""Slots for jobs in flight and the gate for requests, as storyboards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import wraps
from typing import Any

import pytest

from cirq_azure_sessions import ManualClock, ServiceError
from cirq_azure_sessions.jobs.throttle import Gate, Slot, Throttle


def on_a_loop(story: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that is a coroutine."""

    @wraps(story)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(story(*args, **kwargs))

    return run


async def _turns() -> None:
    """Lets everything that can run at once run."""
    for _ in range(10):
        await asyncio.sleep(0)


def _busy(retry_after: float | None = None) -> ServiceError:
    return ServiceError("Too many jobs.", status_code=429, retry_after=retry_after)


class Crew:
    """Jobs that take slots of a throttle and hold them until they are told to finish."""

    def __init__(self, maximum: int) -> None:
        self.clock = ManualClock(auto_advance=False)
        self.throttle = Throttle(maximum, self.clock)
        self.order: list[str] = []
        self.slots: dict[str, Slot] = {}
        self._finish: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self, *names: str) -> None:
        for name in names:
            self._finish[name] = asyncio.Event()
            self.tasks[name] = asyncio.ensure_future(self._run(name))
        await _turns()

    async def refuse(self, name: str, error: ServiceError) -> asyncio.Task[None]:
        again = asyncio.ensure_future(self._again(name, error))
        await _turns()
        return again

    async def finish(self, name: str) -> None:
        self._finish[name].set()
        await _turns()

    async def interrupt(self, *tasks: asyncio.Task[None]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _turns()

    async def _run(self, name: str) -> None:
        async with Slot(self.throttle) as slot:
            self.slots[name] = slot
            self.order.append(name)
            await self._finish[name].wait()

    async def _again(self, name: str, error: ServiceError) -> None:
        await self.slots[name].refused(error)
        self.order.append(f"{name} again")

    def __repr__(self) -> str:
        return repr(self.throttle)


# Slots


@on_a_loop
async def test_a_job_waits_until_another_gives_its_slot_back() -> None:
    crew = Crew(3)
    await crew.start("a", "b", "c", "d")
    assert repr(crew) == "Throttle(3 of 3 running, 1 waiting)"
    await crew.finish("b")
    assert repr(crew) == "Throttle(3 of 3 running, 0 waiting)"
    assert crew.order == ["a", "b", "c", "d"]


@on_a_loop
async def test_a_refusal_leaves_as_many_slots_as_there_are_other_jobs() -> None:
    crew = Crew(10)
    await crew.start(*"abcdefghij")
    for name in "abcdefg":
        await crew.refuse(name, _busy())
    assert repr(crew) == "Throttle(3 of 3 running, 7 waiting)"


@on_a_loop
async def test_there_is_always_one_slot() -> None:
    crew = Crew(2)
    await crew.start("a", "b")
    await crew.refuse("a", _busy())
    await crew.refuse("b", _busy())
    assert repr(crew) == "Throttle(1 of 1 running, 1 waiting)"


@on_a_loop
async def test_a_full_round_of_accepted_jobs_adds_a_slot_up_to_the_maximum() -> None:
    crew = Crew(3)
    await crew.start("a", "b", "c")
    await crew.refuse("c", _busy())
    limits = []
    for _ in range(7):
        crew.slots["a"].accepted()
        limits.append(crew.throttle.slots.limit)
    assert limits == [2, 3, 3, 3, 3, 3, 3]


@on_a_loop
async def test_a_refused_job_goes_before_jobs_that_never_tried() -> None:
    crew = Crew(2)
    await crew.start("a", "b", "new")
    await crew.refuse("b", _busy())
    await crew.finish("a")
    assert crew.order == ["a", "b", "b again"]
    assert repr(crew) == "Throttle(1 of 1 running, 1 waiting)"


# Pauses


@on_a_loop
async def test_with_other_jobs_in_flight_a_refused_job_waits_for_their_end_alone() -> None:
    crew = Crew(2)
    await crew.start("a", "b")
    await crew.refuse("b", _busy())
    await crew.finish("a")
    assert crew.order[-1] == "b again"
    assert crew.clock.monotonic() == 0


@on_a_loop
async def test_the_only_job_keeps_its_slot_while_it_pauses() -> None:
    crew = Crew(1)
    await crew.start("a", "b")
    await crew.refuse("a", _busy(retry_after=5.0))
    assert repr(crew) == "Throttle(1 of 1 running, 1 waiting)"
    crew.clock.advance(4.9)
    await _turns()
    assert crew.order == ["a"]
    crew.clock.advance(0.2)
    await _turns()
    assert crew.order == ["a", "a again"]


@on_a_loop
async def test_a_pause_that_the_service_asks_for_holds_for_every_job() -> None:
    crew = Crew(3)
    await crew.start("a", "b")
    await crew.refuse("b", _busy(retry_after=5.0))
    await crew.finish("a")
    await crew.start("new")
    assert crew.order == ["a", "b"]
    crew.clock.advance(5.1)
    await _turns()
    assert crew.order == ["a", "b", "b again"]


@on_a_loop
async def test_a_job_that_is_refused_again_backs_off() -> None:
    crew = Crew(1)
    await crew.start("a")
    for pause in (0.2, 0.4, 0.8):
        again = await crew.refuse("a", _busy())
        crew.clock.advance(0.9 * pause)
        await _turns()
        assert not again.done()
        crew.clock.advance(0.2 * pause)
        await _turns()
        assert again.done()


# Interruption


@on_a_loop
async def test_a_job_interrupted_in_its_pause_admits_the_next() -> None:
    crew = Crew(1)
    await crew.start("a", "b")
    again = await crew.refuse("a", _busy(retry_after=1e6))
    await crew.interrupt(again, crew.tasks["a"])
    assert repr(crew) == "Throttle(1 of 1 running, 0 waiting)"
    crew.clock.advance(1e6)
    await _turns()
    assert crew.order == ["a", "b"]


@on_a_loop
async def test_an_interrupted_waiter_leaves_the_queue() -> None:
    crew = Crew(1)
    await crew.start("a", "b", "c")
    await crew.interrupt(crew.tasks["b"])
    assert repr(crew) == "Throttle(1 of 1 running, 1 waiting)"
    await crew.finish("a")
    assert crew.order == ["a", "c"]


@on_a_loop
async def test_a_waiter_interrupted_as_it_is_admitted_passes_its_slot_on() -> None:
    crew = Crew(1)
    await crew.start("a", "b", "c")
    # In this order within one step of the loop: b is admitted, and interrupted.
    await crew.slots["a"].__aexit__()
    await crew.interrupt(crew.tasks["b"])
    assert crew.order == ["a", "c"]
    assert repr(crew) == "Throttle(1 of 1 running, 0 waiting)"


@on_a_loop
async def test_however_jobs_end_no_slot_stays_taken() -> None:
    crew = Crew(2)
    await crew.start("a", "b", "c", "d")
    refusal = await crew.refuse("a", _busy(retry_after=3.0))
    await crew.finish("b")
    await crew.interrupt(refusal, *crew.tasks.values())
    assert repr(crew) == "Throttle(0 of 1 running, 0 waiting)"


# The gate


@on_a_loop
async def test_urgent_requests_go_before_others() -> None:
    gate, order = Gate(1), list[str]()

    async def other(name: str) -> None:
        await gate.enter(is_urgent=False)
        order.append(name)
        gate.leave()

    async def urgent(name: str) -> None:
        async with gate:
            order.append(name)

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(gate)
        requests = [
            asyncio.ensure_future(each)
            for each in (other("upload 1"), other("upload 2"), urgent("submit"), urgent("poll"))
        ]
        await _turns()
        assert gate.waiting == 4
    await asyncio.gather(*requests)
    assert order == ["submit", "poll", "upload 1", "upload 2"]


@pytest.mark.parametrize("limit", [1, 3])
@on_a_loop
async def test_no_more_requests_are_inside_than_the_limit(limit: int) -> None:
    gate, most = Gate(limit), 0

    async def request() -> None:
        nonlocal most
        async with gate:
            most = max(most, gate.inside)
            await asyncio.sleep(0)

    await asyncio.gather(*(request() for _ in range(20)))
    assert (most, gate.inside, gate.waiting) == (limit, 0, 0)
