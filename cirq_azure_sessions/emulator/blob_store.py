"""Containers, blobs and uncommitted blocks, in memory or in a file.

A thin layer over SQLite: the same statements serve both, a lookup among 20,000 containers is as
fast as among ten, and blobs on disk are still there at the next start.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.emulator.storage_error import StorageError

__all__ = ["MAX_BLOB_BYTES", "BlobProperties", "BlobStore"]

# A container is a row without a blob's name.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    container TEXT NOT NULL, name TEXT NOT NULL, headers TEXT NOT NULL, etag TEXT NOT NULL,
    modified REAL NOT NULL, content BLOB NOT NULL, PRIMARY KEY (container, name));
CREATE TABLE IF NOT EXISTS blocks (
    container TEXT NOT NULL, blob TEXT NOT NULL, id TEXT NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (container, blob, id));
CREATE TRIGGER IF NOT EXISTS written BEFORE INSERT ON items BEGIN
    DELETE FROM blocks WHERE container = NEW.container AND blob = NEW.name; END;
CREATE TRIGGER IF NOT EXISTS dropped AFTER DELETE ON items WHEN OLD.name = '' BEGIN
    DELETE FROM blocks WHERE container = OLD.container; END;
"""

# Enough for programs and results; Azure accepts far larger blobs.
MAX_BLOB_BYTES = 256 * 1024 * 1024
# Everything in memory together, with blocks that nobody commits; Azure's accounts have no limit.
_MAX_MEMORY_BYTES = 2 * 1024**3

_PROPERTIES = "name, headers, etag, modified, length(content)"


@dataclass(frozen=True, slots=True)
class BlobProperties:
    """The properties of a blob or a container, without its content.

    Attributes:
        name: The blob's name; empty for a container.
        headers: The headers of a response with this blob, such as its type and metadata.
        modified: When it was written, in seconds since the epoch.
        size: Bytes.
    """

    name: str
    headers: Mapping[str, str] = field(repr=False)
    etag: str
    modified: float
    size: int


class BlobStore:
    """Containers and blobs.

    Args:
        clock: The source of modification times.
        directory: Where to keep the blobs; created if missing. None keeps them in memory.
        max_memory_bytes: How much memory they may take; more is refused with `RequestBodyTooLarge`,
            as is what a full disk has no room for.
    """

    def __init__(
        self,
        clock: Clock,
        directory: Path | None = None,
        *,
        max_memory_bytes: int = _MAX_MEMORY_BYTES,
    ) -> None:
        self._clock = clock
        self._directory = directory
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
        path = ":memory:" if directory is None else directory / "storage.db"
        # State: everything is in the database. Each operation is one statement: a statement gives
        # up Python's own lock, which another busy thread may then keep for 5 ms.
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # Guards the database, which the server's thread and the user's share.
        self._lock = threading.Lock()
        # A machine crash may lose the most recent blobs; a process crash does not.
        self._database.execute("PRAGMA synchronous = OFF")
        if directory is None:
            [(page_bytes,)] = self._database.execute("PRAGMA page_size")
            self._database.execute(f"PRAGMA max_page_count = {max_memory_bytes // page_bytes}")
        self._database.executescript(_SCHEMA)

    def create_container(self, name: str) -> BlobProperties | None:
        """Creates a container, and returns its properties; None if it exists."""
        created = BlobProperties("", {}, _new_etag(), self._clock.time(), 0)
        row = (name, "", "{}", created.etag, created.modified, b"")
        is_new = self._write("INSERT OR IGNORE INTO items VALUES (?, ?, ?, ?, ?, ?)", row)
        return created if is_new else None

    def delete_container(self, name: str) -> None:
        """Deletes a container with its blobs. Harmless if there is none."""
        self._write("DELETE FROM items WHERE container = ?", (name,))

    def find(self, container: str, blob: str = "") -> BlobProperties | None:
        """The properties of a blob or a container, or None if it is missing."""
        rows = self._rows(f"SELECT {_PROPERTIES} FROM items {_WHERE_NAMED}", (container, blob))
        return _to_properties(*rows[0]) if rows else None

    def properties(self, container: str, blob: str = "") -> BlobProperties:
        """The properties of a blob or a container. `StorageError` if it is missing."""
        return self.find(container, blob) or self._miss(container, blob)

    def list_blobs(
        self, container: str, *, prefix: str = "", after: str = "", limit: int = 5000
    ) -> Sequence[BlobProperties]:
        """Up to `limit` blobs whose names start with `prefix`, in order of name, after `after`."""
        self.properties(container)
        rows = self._rows(
            f"SELECT {_PROPERTIES} FROM items WHERE container = ? AND name > ? "
            "AND substr(name, 1, ?) = ? ORDER BY name LIMIT ?",
            (container, after, len(prefix), prefix, limit),
        )
        return [_to_properties(*row) for row in rows]

    def read(
        self, container: str, blob: str, start: int = 0, length: int = MAX_BLOB_BYTES
    ) -> tuple[BlobProperties, bytes]:
        """A blob's properties and its content, or `length` bytes of it from `start` on."""
        # SQLite's substr drops all but 32 bits of its numbers.
        first, count = min(start, MAX_BLOB_BYTES) + 1, min(length, MAX_BLOB_BYTES)
        rows = self._rows(
            f"SELECT substr(content, ?, ?), {_PROPERTIES} FROM items {_WHERE_NAMED}",
            (first, count, container, blob),
        )
        if not rows:
            self._miss(container, blob)
        [(content, *properties)] = rows
        # It gives NULL for no bytes at all.
        return _to_properties(*properties), content or b""

    def put(
        self, container: str, blob: str, content: bytes, headers: Mapping[str, str] | None = None
    ) -> BlobProperties:
        """Writes a whole blob, replacing any earlier one."""
        written = BlobProperties(blob, headers or {}, _new_etag(), self._clock.time(), len(content))
        row = (container, blob, json.dumps({**written.headers}), written.etag, written.modified)
        self._write_in(container, "items", (*row, content))
        return written

    def stage_block(self, container: str, blob: str, block_id: str, content: bytes) -> None:
        """Stages a block until it is committed, or discarded by another upload of the blob."""
        self._write_in(container, "blocks", (container, blob, block_id, content))

    def staged_blocks(self, container: str, blob: str, block_ids: Sequence[str]) -> bytes:
        """The staged blocks with these ids, joined in this order; at most a request body's size."""
        rows = self._rows(
            "SELECT id, content FROM blocks WHERE container = ? AND blob = ?", (container, blob)
        )
        staged: dict[str, bytes] = dict(rows)
        try:
            blocks = [staged[block_id] for block_id in block_ids]
        except KeyError:
            raise StorageError("InvalidBlockList") from None
        # A list may repeat a block any number of times.
        if sum(map(len, blocks)) > MAX_BLOB_BYTES:
            raise StorageError("RequestBodyTooLarge")
        return b"".join(blocks)

    def close(self) -> None:
        """Closes the file; data in memory is lost."""
        with self._lock:
            self._database.close()

    def _miss(self, container: str, blob: str) -> NoReturn:
        is_there = blob and self.find(container)
        raise StorageError("BlobNotFound" if is_there else "ContainerNotFound")

    def _rows(self, statement: str, values: Sequence[Any]) -> list[Any]:
        with self._lock:
            return self._database.execute(statement, values).fetchall()

    def _write(self, statement: str, values: Sequence[Any]) -> bool:
        """Whether the statement changed anything. `StorageError` if there is no room."""
        try:
            with self._lock:
                return self._database.execute(statement, values).rowcount > 0
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
            raise StorageError("RequestBodyTooLarge") from None

    def _write_in(self, container: str, table: str, row: Sequence[Any]) -> None:
        """Inserts or replaces a row of a container. `StorageError` if there is no such one."""
        statement = (
            f"INSERT OR REPLACE INTO {table} SELECT {', '.join('?' * len(row))} "
            f"WHERE EXISTS (SELECT * FROM items {_WHERE_NAMED})"
        )
        if not self._write(statement, (*row, container, "")):
            raise StorageError("ContainerNotFound")

    def __repr__(self) -> str:
        return f"BlobStore({str(self._directory or 'in memory')!r})"


_WHERE_NAMED = "WHERE container = ? AND name = ?"


def _new_etag() -> str:
    return f'"0x{secrets.token_hex(7).upper()}"'


def _to_properties(name: str, headers: str, *rest: Any) -> BlobProperties:
    return BlobProperties(name, json.loads(headers), *rest)
