"""The daemon workers."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import Future
from typing import Any

import pytest
from services import HANG_TIMEOUT, in_background

from cirq_azure_sessions.executor import DaemonExecutor


def _threads(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


class TestDaemonExecutor:
    def test_a_future_has_what_the_function_returned(self) -> None:
        assert DaemonExecutor().submit(divmod, 7, 2).result() == (3, 1)

    def test_a_failure_reaches_its_future_and_the_next_function_runs(self) -> None:
        executor = DaemonExecutor()
        failure, success = executor.submit(divmod, 7, 0), executor.submit(divmod, 7, 2)
        assert isinstance(failure.exception(), ZeroDivisionError)
        assert success.result() == (3, 1)

    def test_one_thread_runs_functions_in_order(self) -> None:
        executor, done = DaemonExecutor(), list[int]()
        for future in [executor.submit(done.append, number) for number in range(100)]:
            future.result()
        assert done == list(range(100))

    def test_as_many_functions_run_at_once_as_there_are_threads(self) -> None:
        executor, together = DaemonExecutor(3), threading.Barrier(3)
        futures = [executor.submit(together.wait, 10) for _ in range(3)]
        assert sorted(future.result() for future in futures) == [0, 1, 2]

    def test_no_more_functions_run_at_once_than_there_are_threads(self) -> None:
        executor, lock, running, most = DaemonExecutor(2), threading.Lock(), 0, 0

        def work() -> None:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            with lock:
                running -= 1

        for future in [executor.submit(work) for _ in range(50)]:
            future.result()
        assert most <= 2

    def test_a_queued_function_can_be_cancelled(self) -> None:
        executor, hold, done = DaemonExecutor(), threading.Event(), list[str]()
        first = executor.submit(hold.wait)
        second = executor.submit(done.append, "second")
        third = executor.submit(done.append, "third")
        assert second.cancel()
        hold.set()
        first.result()
        third.result()
        assert done == ["third"]

    def test_a_callers_own_future_gets_the_outcome(self) -> None:
        future: Future[Any] = Future()
        assert DaemonExecutor().submit(divmod, 7, 2, future=future) is future
        assert future.result() == (3, 1)

    def test_an_idle_executor_has_no_thread(self) -> None:
        executor = DaemonExecutor(4, name="idle-executor")
        for future in [executor.submit(int) for _ in range(20)]:
            future.result()
        for thread in _threads("idle-executor"):
            thread.join(10)
        assert _threads("idle-executor") == []
        assert executor.submit(int).result() == 0

    def test_a_finalizer_may_submit_while_its_thread_submits(self) -> None:
        executor = DaemonExecutor()

        def collect_garbage_meanwhile() -> Future[int]:
            with executor._lock:
                return executor.submit(int, "7")

        assert in_background(collect_garbage_meanwhile).result(HANG_TIMEOUT).result() == 7

    def test_work_is_taken_from_many_threads(self) -> None:
        executor, start = DaemonExecutor(2), threading.Barrier(8)
        totals: list[int] = []

        def submit_many() -> None:
            start.wait()
            totals.append(sum(executor.submit(int, "1").result() for _ in range(50)))

        threads = [threading.Thread(target=submit_many) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert totals == [50] * 8

    def test_a_running_function_does_not_keep_the_interpreter_from_exiting(self) -> None:
        program = (
            "import threading\n"
            "from cirq_azure_sessions.executor import DaemonExecutor\n"
            "begun = threading.Event()\n"
            "DaemonExecutor().submit(lambda: (begun.set(), threading.Event().wait()))\n"
            "begun.wait()\n"
        )
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)

    def test_the_caller_runs_the_work_if_no_thread_can_be_started(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """At interpreter exit Python 3.12 starts none, and there is a journal to be written."""

        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        executor, done = DaemonExecutor(), list[int]()
        monkeypatch.setattr(threading.Thread, "start", refuse)
        executor.submit(lambda: executor.submit(done.append, 2) and done.append(1))
        assert done == [1, 2]
        monkeypatch.undo()
        assert executor.submit(threading.current_thread).result() is not threading.current_thread()
