"""Storage for the programs and results of the emulated workspace.

`LocalStorage` is the emulator's own account, in memory or on disk, served by `blob_service`.
`azure_storage.AzureStorage` has the same methods for a real account or Azurite. `open_storage`
chooses between them. Programs are read and results written on worker threads. URIs with a SAS are
secrets: keep them out of logs and messages.

The addresses of `LocalStorage`, at `http://127.0.0.1:PORT`:

    container   /CONTAINER
    blob        /storage/CONTAINER/BLOB     and, as clients derive it, /CONTAINER/BLOB

The SDK needs both forms of a blob's address: `Job.container_name` takes the first segment of
`containerUri`, while `BlobClient.from_blob_url` takes the first segment of any URL at `127.0.0.1`
or `localhost` for an account name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union
from urllib.parse import quote, unquote

from aiohttp import web

from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.emulator.blob_service import ACCOUNT, BlobService
from cirq_azure_sessions.emulator.blob_store import BlobStore
from cirq_azure_sessions.emulator.sas import Lifetimes, SasSigner

if TYPE_CHECKING:
    from cirq_azure_sessions.emulator.azure_storage import AzureStorage

__all__ = ["LocalStorage", "Storage", "locate", "open_storage"]

Storage: TypeAlias = Union["LocalStorage", "AzureStorage"]


class LocalStorage:
    """The emulator's own storage account, in a directory or in memory.

    `endpoint` returns the address at which clients reach it, such as `http://127.0.0.1:8080`.
    """

    def __init__(
        self,
        endpoint: Callable[[], str],
        clock: Clock,
        lifetimes: Lifetimes,
        directory: Path | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._clock = clock
        self._signer = SasSigner(clock, lifetimes)
        self._store = BlobStore(clock, directory)

    def uri(self, container: str, blob: str = "") -> str:
        """The address of a container or a blob, without a SAS."""
        path = f"{ACCOUNT}/{container}/{quote(blob)}" if blob else container
        return f"{self.endpoint()}/{path}"

    def sas_uri(
        self,
        container: str,
        blob: str = "",
        permissions: str | None = None,
        filename: str | None = None,
    ) -> str:
        """The address with a SAS, as `SasSigner.sign` makes it."""
        sas = self._signer.sign(container, blob, permissions, filename)
        return f"{self.uri(container, blob)}?{sas}"

    def locate(self, uri: str) -> tuple[str, str] | None:
        """The container and the blob of a URI, as `locate` finds them in an account."""
        return locate(uri, f"{self.endpoint()}/{ACCOUNT}") or locate(uri, self.endpoint())

    async def create_container(self, container: str) -> None:
        """Creates the container unless it exists."""
        self._store.create_container(container)

    def read(self, container: str, blob: str) -> bytes:
        """The blob's content. `StorageError` with `BlobNotFound` or `ContainerNotFound`."""
        return self._store.read(container, blob)[1]

    def write(
        self,
        container: str,
        blob: str,
        content: bytes,
        content_type: str = "application/octet-stream",
    ) -> None:
        """Writes or replaces a block blob. `StorageError` with `ContainerNotFound`."""
        self._store.put(container, blob, content, {"Content-Type": content_type})

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Adds the routes that serve the account, last of all."""
        BlobService(self._store, self._signer, self._clock).add_routes(router)

    async def drop(self, container: str) -> None:
        """Deletes the container and its blobs. Harmless if there is none."""
        self._store.delete_container(container)

    def close(self) -> None:
        """Closes the file."""
        self._store.close()

    def __repr__(self) -> str:
        return f"LocalStorage({self._store!r})"


def open_storage(
    store: str | Path | None, endpoint: Callable[[], str], clock: Clock, lifetimes: Lifetimes
) -> Storage:
    """The storage that a user names: None for memory, a directory, or a connection string."""
    if isinstance(store, str) and "AccountName=" in store:
        # azure-storage-blob takes a second to import; the emulator's own account does without.
        from cirq_azure_sessions.emulator.azure_storage import AzureStorage

        return AzureStorage(store, lifetimes)
    return LocalStorage(endpoint, clock, lifetimes, None if store is None else Path(store))


def locate(uri: str, account: str) -> tuple[str, str] | None:
    """The container and the blob (empty for a container) of a URI, or None if it is elsewhere.

    `account` is the address of the account.
    """
    if not uri.startswith(f"{account}/"):
        return None
    path = unquote(uri.removeprefix(account).partition("?")[0])
    container, _, blob = path.lstrip("/").partition("/")
    return (container, blob) if container else None
