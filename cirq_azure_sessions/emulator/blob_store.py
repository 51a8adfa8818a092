"""Containers and blobs, in memory or in a file.

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
"""

# Enough for programs and results; Azure accepts far larger blobs.
MAX_BLOB_BYTES = 256 * 1024 * 1024
# Everything in memory together; Azure's accounts have no limit.
_MAX_MEMORY_BYTES = 2 * 1024**3

_PROPERTIES = "name, headers, etag, modified, length(content)"


@dataclass(frozen=True, slots=True)
class BlobProperties:
    """The properties of a blob or a container, without its content."""

    # Empty for a container.
    name: str
    # Those of a response with this blob, such as its type and metadata.
    headers: Mapping[str, str] = field(repr=False)
    etag: str
    # In seconds since the epoch.
    modified: float
    size: int


class BlobStore:
    """Containers and blobs, in a directory, which is created if missing, or in memory.

    What memory or the disk has no room for is refused with `RequestBodyTooLarge`.
    """

    def __init__(self, clock: Clock, directory: Path | None = None) -> None:
        self._clock = clock
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
            self._database.execute(f"PRAGMA max_page_count = {_MAX_MEMORY_BYTES // page_bytes}")
        self._database.execute(_SCHEMA)

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

    def list_blobs(self, container: str) -> Sequence[BlobProperties]:
        """All blobs of a container, in order of name. `StorageError` if it is missing."""
        statement = f"SELECT {_PROPERTIES} FROM items WHERE container = ? ORDER BY name"
        rows = self._rows(statement, (container,))
        if not rows:
            raise StorageError("ContainerNotFound")
        # The first is the container itself.
        return [_to_properties(*row) for row in rows[1:]]

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
        """Writes or replaces a blob. `StorageError` if the container is missing."""
        written = BlobProperties(blob, headers or {}, _new_etag(), self._clock.time(), len(content))
        row = (container, blob, json.dumps({**written.headers}), written.etag, written.modified)
        statement = (
            "INSERT OR REPLACE INTO items SELECT ?, ?, ?, ?, ?, ? "
            f"WHERE EXISTS (SELECT * FROM items {_WHERE_NAMED})"
        )
        if not self._write(statement, (*row, content, container, "")):
            raise StorageError("ContainerNotFound")
        return written

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


_WHERE_NAMED = "WHERE container = ? AND name = ?"


def _new_etag() -> str:
    return f'"0x{secrets.token_hex(7).upper()}"'


def _to_properties(name: str, headers: str, *rest: Any) -> BlobProperties:
    return BlobProperties(name, json.loads(headers), *rest)
