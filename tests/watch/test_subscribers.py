"""What a subscriber of a pool's events may do: it works or is refused at once, and harms nobody."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable

import pytest
from children import NEEDS_FORK
from services import HANG_TIMEOUT, LOCAL, ROTATION, angles, in_background

from cirq_azure_sessions import (
    AzureSessionSampler,
    AzureSessionsError,
    LocalWorkspace,
    SessionPool,
)
from cirq_azure_sessions.watch.events import AnyEvent

EVENTS = (
    "session opened",
    "session closed",
    "job submitted",
    "job succeeded",
    "sweep started",
    "sweep finished",
)


def throw(error: BaseException) -> None:
    raise error


Act = Callable[[SessionPool, AzureSessionSampler], object]
ACTIONS: dict[str, Act] = {
    "session": lambda pool, sampler: pool.session(LOCAL),
    "run": lambda pool, sampler: sampler.run_sweep(ROTATION, angles(2)),
    "run in asyncio": lambda pool, sampler: sampler.run_async(ROTATION, {"angle": 1}).send(None),
    "stream": lambda pool, sampler: list(sampler.stream_sweep(ROTATION, angles(2))),
    "list": lambda pool, sampler: pool.list_jobs(),
    "get_result": lambda pool, sampler: sampler.get_result("none"),
    "attach": lambda pool, sampler: pool.attach(pool.sessions()[0]),
    "refresh": lambda pool, sampler: pool.sessions()[0].refresh(),
    "close the session": lambda pool, sampler: pool.sessions()[0].close(),
    "wait for the session": lambda pool, sampler: pool.sessions()[0].wait(0.01),
    "close_orphans": lambda pool, sampler: pool.close_orphans(),
    "close": lambda pool, sampler: pool.close(),
    "close and cancel": lambda pool, sampler: pool.close(cancel=True),
    "leave the block": lambda pool, sampler: pool.__exit__(KeyboardInterrupt),
    "close the sampler": lambda pool, sampler: sampler.close(),
    "subscribe": lambda pool, sampler: pool.subscribe(print)(),
    "look": lambda pool, sampler: (pool.get_stats(), repr(pool), pool._repr_html_()),
    "sys.exit": lambda pool, sampler: sys.exit(3),
    **{
        error.__name__: lambda pool, sampler, error=error: throw(error())  # type: ignore[misc]
        for error in (
            *(ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration),
            *(asyncio.CancelledError, StopAsyncIteration, BaseException, RecursionError),
        )
    },
}


@pytest.mark.parametrize("act", ACTIONS.values(), ids=ACTIONS)
@pytest.mark.parametrize("when", EVENTS)
def test_subscriber_may_do_anything_without_losing_a_result(when: str, act: Act) -> None:
    workspace = LocalWorkspace()
    pool = SessionPool(workspace)
    sampler = AzureSessionSampler(LOCAL, pool=pool)
    raised: list[BaseException | None] = []

    def callback(event: AnyEvent) -> None:
        if f"{event.subject} {event.kind}" == when and not raised:
            raised.append(None)
            try:
                act(pool, sampler)
            except BaseException as error:
                raised[0] = error
                raise

    pool.subscribe(callback)
    calling = in_background(sampler.run_sweep, ROTATION, angles(2))
    error = calling.exception(HANG_TIMEOUT)
    # One that closes the pool, or cancels its jobs, ends the call; nothing else does.
    assert error is None or (isinstance(error, AzureSessionsError) and pool._table.is_closed)
    in_background(pool.close).result(HANG_TIMEOUT)
    assert raised, "there was no such event"
    if isinstance(raised[0], RuntimeError) and not isinstance(raised[0], RecursionError):
        assert "make it on another thread, not in an event callback" in str(raised[0])
    with SessionPool(workspace) as looking:
        for session in looking.list_sessions():
            # A job may still run in one that takes no more; an open one would not end by itself.
            session.wait(HANG_TIMEOUT)
    after = AzureSessionSampler(LOCAL)
    assert in_background(after.run_sweep, ROTATION, angles(2)).result(HANG_TIMEOUT)


@NEEDS_FORK
@pytest.mark.parametrize("act", [lambda: None, sys.exit], ids=["return", "sys.exit"])
def test_child_of_a_fork_in_a_callback_ends_with_the_callback(act: Callable[[], object]) -> None:
    children: list[int] = []

    def callback(event: AnyEvent) -> None:
        if event.subject == "job" and not children:
            children.append(os.fork())
            if not children[0]:
                act()

    with SessionPool(LocalWorkspace()) as pool:
        pool.subscribe(callback)
        sampler = AzureSessionSampler(LOCAL, pool=pool)
        try:
            # Else it would run the parent's jobs as well, and read the answers to the parent.
            assert in_background(sampler.run_sweep, ROTATION, angles(2)).result(HANG_TIMEOUT)
            assert in_background(os.waitpid, children[0], 0).result(HANG_TIMEOUT)[1] == 0
        except TimeoutError:
            os.kill(children[0], signal.SIGKILL)
            raise
