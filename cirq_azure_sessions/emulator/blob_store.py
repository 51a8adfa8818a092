"""Containers, blobs and uncommitted blocks, in memory or in a file.

A thin layer over SQLite: the same statements serve both, a lookup among 20,000 containers is as
fast as among ten, and blobs on disk are still there at the next start.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.emulator.storage_error import StorageError

__all__ = [
    "MAX_BLOB_BYTES",
    "BlobProperties",
    "BlobStore",
    "ContainerProperties",
]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS containers (
    name TEXT PRIMARY KEY, etag TEXT NOT NULL, modified REAL NOT NULL);
CREATE TABLE IF NOT EXISTS blobs (
    container TEXT NOT NULL REFERENCES containers ON DELETE CASCADE, name TEXT NOT NULL,
    content_type TEXT NOT NULL, content_encoding TEXT NOT NULL, metadata TEXT NOT NULL,
    etag TEXT NOT NULL, modified REAL NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (container, name));
CREATE TABLE IF NOT EXISTS blocks (
    container TEXT NOT NULL REFERENCES containers ON DELETE CASCADE, blob TEXT NOT NULL,
    id TEXT NOT NULL, content BLOB NOT NULL, PRIMARY KEY (container, blob, id));
"""

# Enough for programs and results; Azure accepts far larger blobs.
MAX_BLOB_BYTES = 256 * 1024 * 1024
# Everything in memory together, with blocks that nobody commits; Azure's accounts are endless.
_MAX_MEMORY_BYTES = 2 * 1024**3

_PROPERTIES = "name, content_type, content_encoding, metadata, etag, modified, length(content)"


@dataclass(frozen=True, slots=True)
class ContainerProperties:
    """The properties of a container; times are seconds since the epoch."""

    name: str
    etag: str
    modified: float


@dataclass(frozen=True, slots=True)
class BlobProperties:
    """The properties of a blob, without its content.

    Attributes:
        modified: When it was written, in seconds since the epoch.
        size: Bytes.
    """

    name: str
    content_type: str
    content_encoding: str
    metadata: Mapping[str, str] = field(repr=False)
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
        path = ":memory:" if directory is None else directory / "blobs.db"
        # State: everything is in the database.
        self._database = sqlite3.connect(path, check_same_thread=False)
        # Guards the database, which the server's thread and the user's share.
        self._lock = threading.Lock()
        self._database.execute("PRAGMA foreign_keys = ON")
        # A machine crash may lose the most recent blobs; a process crash does not.
        self._database.execute("PRAGMA synchronous = OFF")
        if directory is None:
            [(page_bytes,)] = self._database.execute("PRAGMA page_size")
            self._database.execute(f"PRAGMA max_page_count = {max_memory_bytes // page_bytes}")
        self._database.executescript(_SCHEMA)

    def create_container(self, name: str) -> bool:
        """Creates a container; False if it exists."""
        return bool(
            self._write(
                "INSERT OR IGNORE INTO containers VALUES (?, ?, ?)",
                (name, _new_etag(), self._clock.time()),
            )
        )

    def container(self, name: str) -> ContainerProperties:
        """The container. `StorageError` with `ContainerNotFound` if there is none."""
        rows = self._rows("SELECT name, etag, modified FROM containers WHERE name = ?", (name,))
        if not rows:
            raise StorageError("ContainerNotFound")
        return ContainerProperties(*rows[0])

    def delete_container(self, name: str) -> None:
        """Deletes a container with its blobs. Harmless if there is none."""
        self._write("DELETE FROM containers WHERE name = ?", (name,))

    def exists(self, container: str, blob: str) -> bool:
        """Whether the blob exists."""
        return bool(self._rows(f"SELECT 1 FROM blobs {_WHERE_BLOB}", (container, blob)))

    def properties(self, container: str, blob: str) -> BlobProperties:
        """The blob's properties. `StorageError` if the blob or its container is missing."""
        rows = self._rows(f"SELECT {_PROPERTIES} FROM blobs {_WHERE_BLOB}", (container, blob))
        if not rows:
            self.container(container)
            raise StorageError("BlobNotFound")
        return _to_properties(rows[0])

    def list_blobs(
        self, container: str, *, prefix: str = "", after: str = "", limit: int = 5000
    ) -> Sequence[BlobProperties]:
        """Up to `limit` blobs whose names start with `prefix`, in order of name, after `after`."""
        self.container(container)
        rows = self._rows(
            f"SELECT {_PROPERTIES} FROM blobs WHERE container = ? AND name > ? "
            "AND substr(name, 1, ?) = ? ORDER BY name LIMIT ?",
            (container, after, len(prefix), prefix, limit),
        )
        return [_to_properties(row) for row in rows]

    def read(self, container: str, blob: str, start: int = 0, length: int | None = None) -> bytes:
        """The blob's content, or `length` bytes of it from `start` on."""
        size = self.properties(container, blob).size
        rows = self._rows(
            f"SELECT substr(content, ?, ?) FROM blobs {_WHERE_BLOB}",
            (start + 1, size if length is None else length, container, blob),
        )
        # SQLite's substr gives NULL for no bytes at all.
        return bytes(rows[0][0] or b"") if rows else b""

    def put(
        self,
        container: str,
        blob: str,
        content: bytes,
        *,
        content_type: str = "application/octet-stream",
        content_encoding: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> BlobProperties:
        """Writes a whole blob, replacing any earlier one."""
        self.container(container)
        described = (content_type, content_encoding, json.dumps(dict(metadata or {})))
        row = (container, blob, *described, _new_etag(), self._clock.time(), content)
        with self._transaction():
            self._database.execute(
                "DELETE FROM blocks WHERE container = ? AND blob = ?", (container, blob)
            )
            self._database.execute(
                f"INSERT OR REPLACE INTO blobs VALUES ({', '.join('?' * len(row))})", row
            )
        return self.properties(container, blob)

    def stage_block(self, container: str, blob: str, block_id: str, content: bytes) -> None:
        """Stages a block until it is committed, or discarded by another upload of the blob."""
        self.container(container)
        self._write(
            "INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?)",
            (container, blob, block_id, content),
        )

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

    def _rows(self, statement: str, values: Sequence[Any]) -> list[Any]:
        with self._lock:
            return self._database.execute(statement, values).fetchall()

    def _write(self, statement: str, values: Sequence[Any]) -> int:
        """Runs a statement and returns how many rows it changed."""
        with self._transaction():
            return self._database.execute(statement, values).rowcount

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Holds the lock, and commits. `StorageError` if there is no room."""
        try:
            with self._lock, self._database:
                yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
            raise StorageError("RequestBodyTooLarge") from None

    def __repr__(self) -> str:
        return f"BlobStore({str(self._directory or 'in memory')!r})"


_WHERE_BLOB = "WHERE container = ? AND name = ?"


def _new_etag() -> str:
    return f'"0x{secrets.token_hex(7).upper()}"'


def _to_properties(row: tuple[Any, ...]) -> BlobProperties:
    name, content_type, content_encoding, metadata, *rest = row
    return BlobProperties(name, content_type, content_encoding, json.loads(metadata), *rest)
