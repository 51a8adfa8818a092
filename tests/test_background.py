"""The doors into the pool's event loop."""

import asyncio
import itertools
import sys
import threading
from types import FrameType

import pytest

from cirq_azure_sessions.background import EventLoopThread
from cirq_azure_sessions.errors import PoolClosed


@pytest.fixture
def loop():
    thread = EventLoopThread("test-loop")
    yield thread
    thread.stop()


async def _answer() -> int:
    return 42


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "test-loop"]


def test_no_thread_runs_until_it_is_needed(loop: EventLoopThread):
    assert _threads() == []
    assert loop.run(_answer()) == 42
    assert _threads() == ["test-loop"]


def test_stopping_ends_the_thread_and_it_can_be_used_again(loop: EventLoopThread):
    loop.run(_answer())
    loop.stop()
    loop.stop()
    assert _threads() == []
    assert loop.run(_answer()) == 42


def test_an_error_reaches_the_caller(loop: EventLoopThread):
    async def fail() -> None:
        raise KeyError("theta")

    with pytest.raises(KeyError, match="theta"):
        loop.run(fail())


def test_cancelling_a_call_lets_it_clean_up_first(loop: EventLoopThread):
    started, cleaned_up = threading.Event(), []

    async def work() -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned_up.append(True)

    call = loop.start(work())
    started.wait()
    call.cancel()
    assert cleaned_up == [True]


def test_what_still_runs_is_cancelled_when_the_loop_stops(loop: EventLoopThread):
    started = threading.Event()

    async def work() -> None:
        started.set()
        await asyncio.Event().wait()

    call = loop.start(work())
    started.wait()
    loop.stop()
    assert call.wait(10)
    assert call.is_cancelled


def test_who_waits_when_the_loop_stops_learns_that_the_pool_is_closed(loop: EventLoopThread):
    async def work() -> None:
        threading.Thread(target=loop.stop).start()
        await asyncio.Event().wait()

    with pytest.raises(PoolClosed, match="was closed while this call waited"):
        loop.run(work())


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_signal_that_strikes_while_the_thread_is_started_leaves_nothing_half_done(
    loop: EventLoopThread, monkeypatch: pytest.MonkeyPatch, when: str
):
    start = threading.Thread.start

    def start_with_signal(thread: threading.Thread) -> None:
        if when == "after":
            start(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", start_with_signal)
    work = _answer()
    with pytest.raises(KeyboardInterrupt):
        loop.start(work)
    work.close()
    monkeypatch.undo()
    for thread in threading.enumerate():
        if thread.name == "test-loop":
            thread.join(10)
    assert _threads() == []
    assert loop.run(_answer()) == 42


class _Signal:
    """Strikes this thread at one step of what it does, counted in the interpreter's own steps."""

    def __init__(self, step: int) -> None:
        self.steps_left = step

    def __call__(self, frame: FrameType, event: str, arg: object) -> "_Signal":
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.steps_left -= 1
            if self.steps_left == 0:
                raise KeyboardInterrupt
        return self


@pytest.mark.parametrize("door", ["cancel", "result"])
def test_a_signal_that_strikes_anywhere_in_a_call_does_not_hold_up_the_loop(
    loop: EventLoopThread, door: str
):
    async def forever() -> None:
        await asyncio.Event().wait()

    for step in itertools.count(1):
        call = loop.start(forever() if door == "cancel" else _answer())
        signal = _Signal(step)
        before = sys.gettrace()
        sys.settrace(signal)
        try:
            getattr(call, door)()
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        call.cancel()
        assert loop.run(_answer()) == 42
        if signal.steps_left > 0:
            break
    assert step > 10


def test_waiting_for_the_loop_on_the_loop_is_refused(loop: EventLoopThread):
    async def wait_for_itself() -> None:
        loop.run(_answer())

    with pytest.raises(RuntimeError, match="from another thread"):
        loop.run(wait_for_itself())


def test_what_is_spawned_outlives_the_call_that_needed_it(loop: EventLoopThread):
    done = threading.Event()

    async def work() -> None:
        await asyncio.sleep(0)
        done.set()

    async def need() -> None:
        loop.spawn(work())

    loop.run(need())
    assert done.wait(timeout=10)
