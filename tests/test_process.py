"""What exit does to what a process has open."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from cirq_azure_sessions import process
from cirq_azure_sessions.background import EventLoopThread
from cirq_azure_sessions.executor import DaemonExecutor


class _Owner:
    closed = 0

    def _close_at_exit(self) -> None:
        self.closed += 1


def test_only_held_resources_are_closed_at_exit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "_held", set[Any]())
    held, let_go = _Owner(), _Owner()
    process.hold(held)
    process.hold(let_go)
    process.let_go(let_go)
    process._close_held()
    assert (held.closed, let_go.closed) == (1, 0)


@pytest.fixture
def interrupted_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python makes of Ctrl-C while it waits, under a lock, for the next thread to start."""
    start = threading.Thread.start

    def start_and_interrupt(thread: threading.Thread) -> None:
        start(thread)
        monkeypatch.undo()
        try:
            raise KeyboardInterrupt
        finally:
            threading.Lock().release()

    monkeypatch.setattr(threading.Thread, "start", start_and_interrupt)


@pytest.mark.usefixtures("interrupted_start")
def test_ctrl_c_at_the_start_of_the_background_loop_is_an_interrupt() -> None:
    loop = EventLoopThread("test-loop")
    with pytest.raises(KeyboardInterrupt):
        loop.run(asyncio.sleep, 0)
    assert loop.run(asyncio.sleep, 0, "done") == "done"
    loop.stop()


@pytest.mark.usefixtures("interrupted_start")
def test_ctrl_c_at_the_start_of_a_worker_is_an_interrupt_and_its_work_runs_once() -> None:
    executor, done = DaemonExecutor(), list[int]()
    with pytest.raises(KeyboardInterrupt):
        executor.submit(done.append, 1)
    executor.submit(done.append, 2).result()
    assert done == [1, 2]
