"""Writes share transactions, keep their order, and fail alone unless the file fails."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from services import HANG_TIMEOUT, in_background

from cirq_azure_sessions.journal.file import GroupCommit


class Ledger:
    """A database in memory that counts its transactions, and can keep one waiting."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.connection.execute("CREATE TABLE lines (line)")
        self.transactions = 0
        self.has_come = threading.Event()
        self.may_begin = threading.Event()
        self.may_begin.set()
        self.failures: list[Exception] = []
        self.commits = GroupCommit(self.transaction, self.failures.append)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        self.has_come.set()
        self.may_begin.wait()
        self.transactions += 1
        with self.connection:
            self.connection.execute("BEGIN")
            yield self.connection

    def lines(self) -> list[int]:
        return [line for (line,) in self.connection.execute("SELECT line FROM lines")]


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    ledger = Ledger()
    yield ledger
    ledger.connection.close()


def line(number: int):
    def work(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO lines VALUES (?)", (number,))
        return number

    return work


def fail(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO lines VALUES (?)", (object(),))


def test_writes_that_come_while_one_is_committed_share_the_next_transaction(ledger: Ledger):
    async def write() -> list[int]:
        ledger.may_begin.clear()
        writes = [ledger.commits.write(line(number)) for number in range(100)]
        ledger.may_begin.set()
        return await asyncio.gather(*writes)

    assert asyncio.run(write()) == ledger.lines() == list(range(100))
    assert ledger.transactions <= 2


def test_posted_and_awaited_writes_keep_their_order(ledger: Ledger):
    async def write() -> None:
        for number in range(0, 20, 2):
            ledger.commits.post(line(number))
            await ledger.commits.write(line(number + 1))

    asyncio.run(write())
    assert ledger.lines() == list(range(20))


def test_a_finalizer_may_post_while_its_thread_posts(ledger: Ledger):
    def collect_garbage_meanwhile() -> None:
        with ledger.commits._lock:
            ledger.commits.post(line(7))

    in_background(collect_garbage_meanwhile).result(HANG_TIMEOUT)
    ledger.commits.then(lambda: None)
    assert ledger.lines() == [7]


def test_write_that_raises_is_undone_and_fails_alone(ledger: Ledger):
    def write_and_raise(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO lines VALUES (-1)")
        raise AttributeError("of its own")

    async def write() -> list[BaseException | int | None]:
        ledger.may_begin.clear()
        ledger.commits.post(line(0))
        ledger.has_come.wait()
        writes = [ledger.commits.write(work) for work in (line(1), write_and_raise, fail, line(2))]
        ledger.may_begin.set()
        return await asyncio.gather(*writes, return_exceptions=True)

    first, own, sql, last = asyncio.run(write())
    assert (first, last) == (1, 2)
    assert isinstance(own, AttributeError)
    assert isinstance(sql, sqlite3.ProgrammingError)
    ledger.commits.then(lambda: None)
    assert ledger.failures == [own, sql]
    assert ledger.lines() == [0, 1, 2]


def fill(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA max_page_count = 1")
    connection.execute("INSERT INTO lines VALUES (zeroblob(100000))")


def miss_table(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO nowhere VALUES (1)")


@pytest.mark.parametrize("hit", [fill, miss_table])
def test_error_of_the_file_fails_every_write_and_is_reported_once(
    ledger: Ledger, hit: Callable[[sqlite3.Connection], None]
):
    async def write() -> list[BaseException | int | None]:
        ledger.may_begin.clear()
        ledger.commits.post(line(0))
        ledger.has_come.wait()
        writes = [ledger.commits.write(work) for work in (line(1), hit, line(2))]
        ledger.may_begin.set()
        return await asyncio.gather(*writes, return_exceptions=True)

    (failure,) = {*asyncio.run(write())}
    assert isinstance(failure, sqlite3.OperationalError)
    ledger.commits.then(lambda: None)
    assert ledger.failures == [failure]
    assert ledger.lines() == [0]


def test_process_waits_at_exit_only_while_writes_wait(ledger: Ledger):
    seen: list[bool] = []
    ledger.commits = GroupCommit(ledger.transaction, ledger.failures.append, seen.append)
    ledger.may_begin.clear()
    ledger.commits.post(line(1))
    assert seen == [True]
    ledger.may_begin.set()
    ledger.commits.then(lambda: None)
    assert seen == [True, False]


def test_write_after_a_failed_write_succeeds(ledger: Ledger):
    ledger.commits.post(fail)
    ledger.commits.then(lambda: None)
    assert asyncio.run(_write_one(ledger, 7)) == 7
    assert ledger.lines() == [7]


def test_a_write_is_committed_even_if_its_loop_is_closed(ledger: Ledger):
    async def leave() -> None:
        ledger.may_begin.clear()
        ledger.commits.write(line(1))

    asyncio.run(leave())
    ledger.may_begin.set()
    ledger.commits.then(lambda: None)
    assert ledger.lines() == [1]


def test_a_followup_runs_after_all_earlier_writes(ledger: Ledger):
    seen: list[list[int]] = []
    for number in range(10):
        ledger.commits.post(line(number))
    ledger.commits.then(lambda: seen.append(ledger.lines()))
    assert seen == [list(range(10))]


async def _write_one(ledger: Ledger, number: int) -> int:
    return await ledger.commits.write(line(number))
