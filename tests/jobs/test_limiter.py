"""How the number of jobs in flight follows the service's refusals."""

import asyncio

import pytest

from cirq_azure_sessions.limiter import AdaptiveLimit


async def _take(limit: AdaptiveLimit, places: int) -> None:
    for _ in range(places):
        await limit.acquire()


def test_begins_at_its_maximum():
    async def story():
        limit = AdaptiveLimit(3)
        await _take(limit, 3)
        assert repr(limit) == "AdaptiveLimit(3 of 3 taken, 0 waiting)"

    asyncio.run(story())


def test_the_fourth_of_three_waits_until_a_place_is_given_back():
    async def story():
        limit = AdaptiveLimit(3)
        await _take(limit, 3)
        waiting = asyncio.ensure_future(limit.acquire())
        await asyncio.sleep(0)
        assert repr(limit) == "AdaptiveLimit(3 of 3 taken, 1 waiting)"
        limit.release()
        await waiting
        assert repr(limit) == "AdaptiveLimit(3 of 3 taken, 0 waiting)"

    asyncio.run(story())


def test_a_refusal_keeps_no_more_places_than_jobs_were_accepted():
    async def story():
        limit = AdaptiveLimit(10)
        await _take(limit, 10)
        for _ in range(7):
            limit.refuse()
        assert repr(limit) == "AdaptiveLimit(3 of 3 taken, 0 waiting)"

    asyncio.run(story())


def test_there_is_always_one_place():
    async def story():
        limit = AdaptiveLimit(2)
        await _take(limit, 2)
        limit.refuse()
        limit.refuse()
        assert limit.limit == 1

    asyncio.run(story())


def test_a_full_round_of_accepted_jobs_adds_a_place_up_to_the_maximum():
    async def story():
        limit = AdaptiveLimit(3)
        await _take(limit, 2)
        limit.refuse()
        grown = []
        for _ in range(7):
            limit.accept()
            grown.append(limit.limit)
        assert grown == [2, 2, 3, 3, 3, 3, 3]

    asyncio.run(story())


def test_a_refused_job_goes_before_those_that_never_tried():
    async def story():
        limit = AdaptiveLimit(1)
        await limit.acquire()
        order = []

        async def take(name: str, first: bool) -> None:
            await limit.acquire(first=first)
            order.append(name)
            limit.release()

        late = asyncio.ensure_future(take("late", first=False))
        await asyncio.sleep(0)
        refused = asyncio.ensure_future(take("refused", first=True))
        await asyncio.sleep(0)
        limit.release()
        await asyncio.gather(late, refused)
        assert order == ["refused", "late"]

    asyncio.run(story())


@pytest.mark.parametrize("handed_over", [False, True])
def test_whoever_gives_up_waiting_leaves_no_place_behind(handed_over: bool):
    async def story():
        limit = AdaptiveLimit(1)
        await limit.acquire()
        waiting = asyncio.ensure_future(limit.acquire())
        await asyncio.sleep(0)
        if handed_over:
            limit.release()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        if not handed_over:
            limit.release()
        assert repr(limit) == "AdaptiveLimit(0 of 1 taken, 0 waiting)"

    asyncio.run(story())
