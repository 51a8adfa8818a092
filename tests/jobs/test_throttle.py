"""Slots for jobs in flight and the gate for requests: alone, and in calls of samplers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack
from functools import partial, wraps
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
    num_waiting,
    one,
    settle,
    wait_until,
)

from cirq_azure_sessions import (
    AzureSessionSampler,
    LocalWorkspace,
    ManualClock,
    PoolTimeout,
    ServiceError,
    SessionPool,
)
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.jobs.throttle import Gate, Slot, Throttle
from cirq_azure_sessions.model import JobRequest
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
    assert isinstance(refused.exception(HANG_TIMEOUT), PoolTimeout)
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
        assert server.requests.connections <= 10


class _CountedAhead(Counted):
    """Counts the inputs stored ahead of their submission."""

    most_ahead = 0

    async def store_input(self, request: JobRequest) -> Any:
        self.most_ahead = max(self.most_ahead, self.stored + 1 - len(self.submitted))
        return await super().store_input(request)


@pytest.mark.parametrize("call", [_sweep, _stream, _batch, _threads, _batches])
def test_no_more_inputs_are_stored_ahead_than_jobs_may_be_in_flight(call: Any) -> None:
    clock = ManualClock()
    workspace = _CountedAhead(pace=lambda request: JobPace(run=10.0), clock=clock)
    with SessionPool(workspace, clock=clock) as pool:
        sampler = AzureSessionSampler(REMOTE, pool=pool, max_concurrent_jobs=5)
        assert call(sampler) == 40
    assert workspace.stored == 40
    assert workspace.most_ahead <= 5


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
            await slot.take()
            self.order.append(name)
            await self._finish[name].wait()

    async def _again(self, name: str, error: ServiceError) -> None:
        await self.slots[name].refused(error)
        self.order.append(f"{name} again")

    def __repr__(self) -> str:
        slots, inputs = self.throttle.slots, self.throttle.inputs
        number = num_waiting(inputs) + num_waiting(slots)
        return f"{slots.inside} of {slots.limit} running, {number} waiting"


# Slots


@on_a_loop
async def test_a_job_waits_until_another_gives_its_slot_back() -> None:
    crew = Crew(3)
    await crew.start("a", "b", "c", "d")
    assert repr(crew) == "3 of 3 running, 1 waiting"
    await crew.finish("b")
    assert repr(crew) == "3 of 3 running, 0 waiting"
    assert crew.order == ["a", "b", "c", "d"]


@on_a_loop
async def test_a_refusal_leaves_as_many_slots_as_there_are_other_jobs() -> None:
    crew = Crew(10)
    await crew.start(*"abcdefghij")
    for name in "abcdefg":
        await crew.refuse(name, _busy())
    assert repr(crew) == "3 of 3 running, 7 waiting"


@on_a_loop
async def test_there_is_always_one_slot() -> None:
    crew = Crew(2)
    await crew.start("a", "b")
    await crew.refuse("a", _busy())
    await crew.refuse("b", _busy())
    assert repr(crew) == "1 of 1 running, 1 waiting"


@on_a_loop
async def test_a_full_round_of_accepted_jobs_adds_a_slot_up_to_the_maximum() -> None:
    """Four rounds right after a refusal."""
    crew = Crew(5)
    await crew.start("a", "b", "c")
    await crew.refuse("c", _busy())
    limits = []
    for _ in range(4 * 2 + 3 + 4 + 5):
        limits.append(crew.throttle.slots.limit)
        crew.slots["a"].accepted()
    assert limits == [2] * 4 * 2 + [3] * 3 + [4] * 4 + [5] * 5


@on_a_loop
async def test_inputs_are_stored_ahead_for_as_many_jobs_as_there_are_slots() -> None:
    crew = Crew(10)
    await crew.start("a", "b", "c")
    await crew.refuse("c", _busy())
    # Two of two slots are taken, and c holds the place of an input.
    crew.slots["a"].accepted()
    crew.slots["b"].accepted()
    await crew.start("d", "e", "f")
    assert crew.slots.keys() == {"a", "b", "c", "d"}
    crew.slots["d"].accepted()
    await _turns()
    assert crew.slots.keys() == {"a", "b", "c", "d", "e"}


@on_a_loop
async def test_refused_job_is_retried_before_new_jobs() -> None:
    crew = Crew(2)
    await crew.start("a", "b", "new")
    await crew.refuse("b", _busy())
    await crew.finish("a")
    assert crew.order == ["a", "b", "b again"]
    assert repr(crew) == "1 of 1 running, 1 waiting"


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
    assert repr(crew) == "1 of 1 running, 1 waiting"
    crew.clock.advance(4.9)
    await _turns()
    assert crew.order == ["a"]
    crew.clock.advance(0.2)
    await _turns()
    assert crew.order == ["a", "a again"]


@on_a_loop
async def test_a_requested_pause_applies_to_every_job() -> None:
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
    assert repr(crew) == "1 of 1 running, 0 waiting"
    crew.clock.advance(1e6)
    await _turns()
    assert crew.order == ["a", "b"]


@on_a_loop
async def test_an_interrupted_waiter_leaves_the_queue() -> None:
    crew = Crew(1)
    await crew.start("a", "b", "c")
    await crew.interrupt(crew.tasks["b"])
    assert repr(crew) == "1 of 1 running, 1 waiting"
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
    assert repr(crew) == "1 of 1 running, 0 waiting"


@on_a_loop
async def test_every_job_outcome_releases_its_slot() -> None:
    crew = Crew(2)
    await crew.start("a", "b", "c", "d")
    refusal = await crew.refuse("a", _busy(retry_after=3.0))
    await crew.finish("b")
    await crew.interrupt(refusal, *crew.tasks.values())
    assert repr(crew) == "0 of 1 running, 0 waiting"


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
        assert num_waiting(gate) == 4
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
    assert (most, gate.inside, num_waiting(gate)) == (limit, 0, 0)
