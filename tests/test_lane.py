"""Work in order on threads that come and go."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import Future

import pytest

from cirq_azure_sessions.background import DaemonExecutor


def test_brings_what_a_function_returns() -> None:
    assert DaemonExecutor().submit(divmod, 7, 2).result() == (3, 1)


def test_brings_what_a_function_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        DaemonExecutor().submit(divmod, 7, 0).result()


def test_goes_on_after_a_failure() -> None:
    lane = DaemonExecutor()
    failure, success = lane.submit(divmod, 7, 0), lane.submit(divmod, 7, 2)
    assert isinstance(failure.exception(), ZeroDivisionError)
    assert success.result() == (3, 1)


def test_with_one_thread_keeps_the_order() -> None:
    lane, done = DaemonExecutor(), list[int]()
    futures = [lane.submit(done.append, number) for number in range(100)]
    for future in futures:
        future.result()
    assert done == list(range(100))


def test_runs_as_many_functions_at_once_as_it_has_threads() -> None:
    lane, together = DaemonExecutor(3), threading.Barrier(3)
    futures = [lane.submit(together.wait, 10) for _ in range(3)]
    assert sorted(future.result() for future in futures) == [0, 1, 2]


def test_never_runs_more_functions_at_once_than_it_has_threads() -> None:
    lane, lock, at_work, most = DaemonExecutor(2), threading.Lock(), 0, 0

    def work() -> None:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        with lock:
            at_work -= 1

    for future in [lane.submit(work) for _ in range(50)]:
        future.result()
    assert most <= 2


def test_does_not_run_what_was_cancelled_in_time() -> None:
    lane, hold, done = DaemonExecutor(), threading.Event(), list[str]()
    first = lane.submit(hold.wait)
    second = lane.submit(done.append, "second")
    third = lane.submit(done.append, "third")
    assert second.cancel()
    hold.set()
    first.result()
    third.result()
    assert done == ["third"]


def test_cancels_the_parts_that_a_running_function_waits_for() -> None:
    part: Future[int] = Future()
    has_begun = threading.Event()

    def wait_for_part() -> int:
        has_begun.set()
        return part.result()

    work = DaemonExecutor().submit(wait_for_part, parts=[part])
    has_begun.wait()
    assert not work.cancel()
    assert part.cancelled()
    assert work.exception() is not None


def test_keeps_no_thread_when_there_is_nothing_to_do() -> None:
    lane = DaemonExecutor(4, name="idle-lane")
    for future in [lane.submit(int) for _ in range(20)]:
        future.result()
    for thread in threading.enumerate():
        if thread.name == "idle-lane":
            thread.join(10)
    assert "idle-lane" not in {thread.name for thread in threading.enumerate()}
    assert lane.submit(int).result() == 0


def test_takes_work_from_many_threads() -> None:
    lane, start = DaemonExecutor(2), threading.Barrier(8)
    totals: list[int] = []

    def submit_many() -> None:
        start.wait()
        totals.append(sum(lane.submit(int, "1").result() for _ in range(50)))

    threads = [threading.Thread(target=submit_many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert totals == [50] * 8


def test_does_not_keep_the_interpreter_from_exiting() -> None:
    program = (
        "import threading\n"
        "from cirq_azure_sessions.background import DaemonExecutor\n"
        "begun = threading.Event()\n"
        "DaemonExecutor().submit(lambda: (begun.set(), threading.Event().wait()))\n"
        "begun.wait()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_where_there_are_no_threads_to_be_had_the_caller_does_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At interpreter exit Python 3.12 starts none, and there is a journal to be written."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    lane, done = DaemonExecutor(), list[int]()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    lane.submit(lambda: lane.submit(done.append, 2) and done.append(1))
    assert done == [1, 2]
    monkeypatch.undo()
    assert lane.submit(threading.current_thread).result() is not threading.current_thread()
