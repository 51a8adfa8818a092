"""The background loop, the doors into it, and what exit and fork do to it."""

from __future__ import annotations

import asyncio
import errno
import inspect
import itertools
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from types import FrameType

import pytest
from services import HANG_TIMEOUT, in_background

from cirq_azure_sessions import PoolClosed, background
from cirq_azure_sessions.background import Call, EventLoopThread, Portal


@pytest.fixture
def loop() -> Iterator[EventLoopThread]:
    thread = EventLoopThread("test-loop")
    yield thread
    thread.stop()


async def _answer() -> int:
    return 42


def _threads(name: str = "test-loop") -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


class _Forever:
    """A coroutine that waits until it is cancelled, and then cleans up."""

    def __init__(self) -> None:
        self.has_begun = threading.Event()
        self.has_cleaned_up = False

    async def wait(self) -> None:
        try:
            self.has_begun.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.has_cleaned_up = True


class TestEventLoopThread:
    def test_no_thread_runs_until_it_is_needed(self, loop: EventLoopThread) -> None:
        assert _threads() == []
        assert loop.run(_answer) == 42
        assert len(_threads()) == 1

    def test_a_call_without_descriptors_is_refused_and_works_later(
        self, loop: EventLoopThread, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail() -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr("cirq_azure_sessions.background._EventLoop", fail)
        call = in_background(loop.run, _answer)
        assert str(call.exception(HANG_TIMEOUT)).startswith("No event loop can run")
        monkeypatch.undo()
        assert loop.run(_answer) == 42

    def test_threads_that_share_a_running_loop_are_refused(
        self, loop: EventLoopThread, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # gevent makes them so.
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
        call = in_background(loop.run, _answer)
        assert str(call.exception(HANG_TIMEOUT)).startswith("No event loop can run")
        monkeypatch.undo()
        assert loop.run(_answer) == 42

    def test_a_stopped_loop_has_no_thread_and_can_be_used_again(
        self, loop: EventLoopThread
    ) -> None:
        loop.run(_answer)
        loop.stop()
        loop.stop()
        assert _threads() == []
        assert loop.run(_answer) == 42

    def test_an_error_reaches_the_caller(self, loop: EventLoopThread) -> None:
        async def fail() -> None:
            raise KeyError("theta")

        with pytest.raises(KeyError, match="theta"):
            loop.run(fail)

    @pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
    def test_an_error_that_ends_a_program_reaches_the_caller_and_the_loop_continues(
        self, loop: EventLoopThread, error: type[BaseException]
    ) -> None:
        async def fail() -> None:
            raise error("of a workspace's own")

        forever = _Forever()
        call = loop.start(forever.wait)
        with pytest.raises(error, match="of a workspace's own"):
            loop.run(fail)
        assert loop.run(_answer) == 42
        assert not call.is_done
        call.cancel()

    def test_stopping_cancels_calls_in_flight(self, loop: EventLoopThread) -> None:
        forever = _Forever()
        call = loop.start(forever.wait)
        forever.has_begun.wait()
        loop.stop()
        assert call.wait(10)
        with pytest.raises(CancelledError):
            call.result()
        assert forever.has_cleaned_up

    def test_waiting_for_the_loop_on_the_loop_is_refused(self, loop: EventLoopThread) -> None:
        async def wait_for_itself() -> None:
            loop.run(_answer)

        with pytest.raises(RuntimeError, match="on another thread, not in an event callback"):
            loop.run(wait_for_itself)

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_a_signal_while_the_thread_starts_leaves_nothing_half_done(
        self, loop: EventLoopThread, monkeypatch: pytest.MonkeyPatch, when: str
    ) -> None:
        start = threading.Thread.start

        def start_with_signal(thread: threading.Thread) -> None:
            if when == "after":
                start(thread)
            raise KeyboardInterrupt

        monkeypatch.setattr(threading.Thread, "start", start_with_signal)
        with pytest.raises(KeyboardInterrupt):
            loop.start(_answer)
        monkeypatch.undo()
        for thread in _threads():
            thread.join(10)
        assert _threads() == []
        assert loop.run(_answer) == 42


class _Signal:
    """Strikes this thread at one step of what it does, counted in the interpreter's own steps."""

    def __init__(self, step: int) -> None:
        self.steps_left = step

    def __call__(self, frame: FrameType, event: str, arg: object) -> _Signal:
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.steps_left -= 1
            if self.steps_left == 0:
                raise KeyboardInterrupt
        return self


class TestCall:
    def test_cancelling_waits_for_the_cleanup(self, loop: EventLoopThread) -> None:
        forever = _Forever()
        call = loop.start(forever.wait)
        forever.has_begun.wait()
        call.cancel()
        assert forever.has_cleaned_up

    @pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
    def test_a_call_cancelled_before_its_first_step_leaves_no_coroutine_behind(
        self, loop: EventLoopThread
    ) -> None:
        async def work() -> int:
            return await inner

        async def begin_and_cancel() -> Call[int]:
            # Both are in the loop's queue before it takes its next step.
            call = loop.start(work)
            call._ask_to_cancel()
            return call

        inner = _answer()
        call = loop.run(begin_and_cancel)
        assert call.wait(10)
        # Whoever is given a coroutine has begun it: it is not collected as one never awaited.
        assert inspect.getcoroutinestate(inner) == inspect.CORO_CLOSED

    def test_waiting_for_a_call_of_a_loop_that_has_stopped_returns(
        self, loop: EventLoopThread
    ) -> None:
        call, serving = loop.start(_Forever().wait), loop._serving
        # As after a fork, which has neither the loop nor its thread.
        loop._after_fork()
        assert not in_background(call.wait).result(HANG_TIMEOUT)
        assert loop.run(_answer) == 42
        loop.stop()
        loop._serving = serving

    def test_a_wait_that_times_out_leaves_the_coroutine_running(
        self, loop: EventLoopThread
    ) -> None:
        forever = _Forever()
        call = loop.start(forever.wait)
        assert not call.wait(timeout=0)
        assert not call.is_done

    def test_every_waiter_is_woken(self, loop: EventLoopThread) -> None:
        release = asyncio.Event()

        async def work() -> int:
            await release.wait()
            return 42

        async def wake() -> None:
            release.set()

        call = loop.start(work)
        results: list[int] = []
        waiters = [threading.Thread(target=lambda: results.append(call.result())) for _ in range(8)]
        for waiter in waiters:
            waiter.start()
        loop.run(wake)
        for waiter in waiters:
            waiter.join(10)
        assert results == [42] * 8

    @pytest.mark.parametrize("door", ["cancel", "result"])
    def test_a_signal_at_any_instruction_does_not_hold_up_the_loop(
        self, loop: EventLoopThread, door: str
    ) -> None:
        for step in itertools.count(1):
            call = loop.start(_Forever().wait if door == "cancel" else _answer)
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
            assert loop.run(_answer) == 42
            if signal.steps_left > 0:
                break
        assert step > 10


class TestPortal:
    def test_all_portals_share_one_thread(self) -> None:
        async def thread() -> threading.Thread:
            return threading.current_thread()

        assert Portal().run(thread) is Portal().run(thread)

    def test_closing_ends_calls_in_flight_with_pool_closed(self) -> None:
        portal, forever = Portal(), _Forever()
        call = background.loop.start(portal.admit, set(), forever.wait)
        forever.has_begun.wait()
        background.loop.run(portal.close)
        with pytest.raises(PoolClosed, match="session pool is closed"):
            call.result()
        assert forever.has_cleaned_up

    def test_a_closed_portal_refuses_calls(self) -> None:
        portal = Portal()
        background.loop.run(portal.close)
        with pytest.raises(PoolClosed, match="session pool is closed"):
            portal.run(_answer)

    def test_closing_leaves_the_calls_of_other_portals_alone(self) -> None:
        portal, other, forever = Portal(), Portal(), _Forever()
        call = background.loop.start(other.admit, set(), forever.wait)
        forever.has_begun.wait()
        background.loop.run(portal.close)
        assert not call.is_done
        call.cancel()

    def test_closing_from_within_does_not_wait_for_itself(self) -> None:
        portal = Portal()
        portal.run(portal.close)

    def test_a_call_on_the_loop_itself_is_refused(self) -> None:
        portal = Portal()

        async def wait_for_itself() -> None:
            portal.run(_answer)

        with pytest.raises(RuntimeError, match="on another thread"):
            portal.run(wait_for_itself)

    def test_a_spawned_task_outlives_the_call_that_needed_it(self) -> None:
        portal, has_run = Portal(), threading.Event()

        async def work() -> None:
            await asyncio.sleep(0)
            has_run.set()

        async def need() -> None:
            portal.spawn(work())

        portal.run(need)
        assert has_run.wait(timeout=10)

    def test_a_spawned_task_ends_when_the_portal_is_closed(self) -> None:
        portal, forever = Portal(), _Forever()

        async def need() -> None:
            portal.spawn(forever.wait())

        portal.run(need)
        background.loop.run(portal.close)
        assert forever.has_cleaned_up
