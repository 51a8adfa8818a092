"""A damaged journal is read or refused in one sentence: no other error comes out of it."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from cirq_azure_sessions import Journal, JournalError
from cirq_azure_sessions.cli.journal_tables import contents, export_lines, journal_tables
from cirq_azure_sessions.model import Cost, Job, JobRequest, JobStatus, SessionRequest

# What no column of any type may hold, or not every one.
VALUES = (
    *(None, -1, 2**63 - 1, 1e308, "x", "", b"\xff\0", "null", "[]", '{"shots": "many"}'),
    *('{"shots": 1e400}', '{"total": 1, "currency": "USD", "events": [1]}', "[" * 20_000),
)
TABLES = ("runs", "jobs", "places", "outputs", "parts", "sessions")


def ask(fingerprint: str, job_id: str) -> JobRequest:
    shots = {"shots": 500}
    metadata = {"layout": "q0"}
    return JobRequest(
        *(job_id, "ionq.simulator", "job", b"PROGRAM", "ionq.circuit.v1"),
        output_format="ionq.quantum-results.v1",
        input_params=shots,
        metadata=metadata,
        fingerprint=fingerprint,
        places=((fingerprint, 0, 0),),
    )


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal with a finished job, one that was accepted, and an open session."""
    path = tmp_path_factory.mktemp("sound") / "sound.journal"

    async def fill(journal: Journal) -> None:
        await journal._opening(SessionRequest("session", "ionq.simulator", "name"), "home")
        done = await journal._claim(ask("done", "1"))
        cost = Cost(1.5, "USD", ({"dimensionId": "gs1q"},))
        job = Job("1", "ionq.simulator", "job", JobStatus.SUCCEEDED, begin_time=2.0, cost=cost)
        await journal._finished(done, job, b'{"histogram": {"0": 1.0}}')
        journal._accepted(await journal._claim(ask("waits", "2")), job)

    with Journal(path) as journal:
        asyncio.run(fill(journal))
    return path


def read_all(path: Path) -> None:
    """Everything that commands and a next run do with a journal."""
    with Journal(path) as journal:
        for use in (
            *(lambda: list(journal_tables(contents(journal, 20))),),
            *(lambda: contents(journal, 20).as_values(), lambda: list(export_lines(journal))),
            *(lambda: list(journal.export()), lambda: journal.forget("2")),
            lambda: asyncio.run(journal._inherit_sessions("home")),
            lambda: asyncio.run(journal._claim(ask("done", "3"))),
            lambda: asyncio.run(journal._claim(ask("waits", "4"))),
        ):
            with suppress(JournalError):
                use()


def test_a_value_of_any_type_in_any_column_is_read_or_refused(sound: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(sound)) as file:
        columns = [
            (table, column)
            for table in TABLES
            for _, column, *_ in file.execute(f"PRAGMA table_info({table})")
        ]
    cells = [(*column, value) for column in columns for value in VALUES]
    count = len(cells) if os.environ.get("ODD_JOURNALS") == "all" else 12
    path = tmp_path / "damaged.journal"
    for table, column, value in random.Random(1).sample(cells, count):
        shutil.copy(sound, path)
        with closing(sqlite3.connect(path)) as file, suppress(sqlite3.IntegrityError), file:
            # SQLite lets text be of any bytes.
            cell = "CAST(? AS TEXT)" if isinstance(value, bytes) else "?"
            file.execute(f"UPDATE {table} SET {column} = {cell}", (value,))
        with suppress(JournalError):
            read_all(path)


def cut(data: bytes, luck: random.Random) -> bytes:
    return data[: luck.randrange(len(data))]


def flip(data: bytes, luck: random.Random) -> bytes:
    damaged = bytearray(data)
    # Most of it is free: the schema and the header are on the first page.
    for _ in range(luck.choice((1, 3, 30))):
        damaged[luck.randrange(luck.choice((100, 4096, len(data))))] = luck.randrange(256)
    return bytes(damaged)


def mix_pages(data: bytes, luck: random.Random) -> bytes:
    pages = [data[at : at + 4096] for at in range(0, len(data), 4096)]
    pages[luck.randrange(1, len(pages))] = luck.choice((*pages, bytes(4096)))
    return b"".join(pages)


def convert_lines(data: bytes, luck: random.Random) -> bytes:
    return data.replace(b"\n", b"\r\n")


@pytest.mark.parametrize("damage", [cut, flip, mix_pages, convert_lines])
def test_a_file_with_damaged_bytes_is_read_or_refused(
    damage: Callable[[bytes, random.Random], bytes], sound: Path, tmp_path: Path
) -> None:
    path = tmp_path / "damaged.journal"
    data = sound.read_bytes()
    luck = random.Random(0)
    for _ in range(1 if damage is convert_lines else 8):
        path.write_bytes(damage(data, luck))
        with suppress(JournalError):
            read_all(path)
        for beside in tmp_path.glob("damaged.journal-*"):
            beside.unlink()


def test_journal_with_exchanged_pages_takes_no_request(sound: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(sound)) as file:
        roots = dict(file.execute("SELECT name, rootpage FROM sqlite_master"))
    data = sound.read_bytes()
    pages = [data[at : at + 4096] for at in range(0, len(data), 4096)]
    # Each is in order; only their places are wrong.
    one, other = roots["places_free"] - 1, roots["parts_of_job"] - 1
    pages[one], pages[other] = pages[other], pages[one]
    path = tmp_path / "damaged.journal"
    path.write_bytes(b"".join(pages))
    with Journal(path) as journal, pytest.raises(JournalError, match="it is damaged"):
        asyncio.run(journal._claim(ask("done", "3")))


@pytest.mark.parametrize("damage", ["job = 99", "block = 'x'", "part = -1"])
def test_request_whose_record_is_damaged_is_not_submitted_again(
    damage: str, sound: Path, tmp_path: Path
) -> None:
    path = shutil.copy(sound, tmp_path / "damaged.journal")
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(f"UPDATE parts SET {damage} WHERE fingerprint = 'waits'")
    with Journal(path) as journal, pytest.raises(JournalError, match="it is damaged"):
        asyncio.run(journal._claim(ask("waits", "3")))


@pytest.mark.parametrize(
    "replace",
    [
        Path.unlink,
        lambda path: path.rename(f"{path}.old"),
        lambda path: swap(path, Path.mkdir),
        lambda path: swap(path, Path.touch),
        lambda path: swap(path, os.mkfifo),
    ],
    ids=["removed", "renamed", "a folder", "an empty file", "a pipe"],
)
def test_nothing_is_submitted_once_the_journal_is_removed_or_replaced(
    replace: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / "run.journal"
    with Journal(path) as journal:
        asyncio.run(journal._claim(ask("first", "1")))
        replace(path)
        with pytest.raises(JournalError, match="removed or replaced"):
            asyncio.run(journal._claim(ask("second", "2")))
        with pytest.raises(JournalError, match="removed or replaced"):
            journal.latest(1)


def swap(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)
