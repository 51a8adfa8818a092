"""An Azure or Azurite account as the storage of the emulated workspace.

Clients of the emulator then store their programs where `Workspace(storage=connection_string)`
would. azure-storage-blob does the sending, retrying and signing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import (
    BlobClient,
    BlobServiceClient,
    ContentSettings,
    generate_account_sas,
    generate_blob_sas,
    generate_container_sas,
)

from cirq_azure_sessions.clock import SystemClock
from cirq_azure_sessions.emulator.sas import CLOCK_SKEW, Lifetimes
from cirq_azure_sessions.emulator.storage import locate
from cirq_azure_sessions.emulator.storage_error import StorageError

__all__ = ["AzureStorage"]


class AzureStorage:
    """A storage account, with the methods of `LocalStorage`.

    The account enforces the expiry in a SAS, so one that is to expire early is signed with an early
    expiry.
    """

    def __init__(self, connection_string: str, lifetimes: Lifetimes) -> None:
        self._service = BlobServiceClient.from_connection_string(connection_string)
        self._lifetimes = lifetimes

    def uri(self, container: str, blob: str = "") -> str:
        if blob:
            return self._blob(container, blob).url
        return self._service.get_container_client(container).url

    def sas_uri(
        self,
        container: str,
        blob: str = "",
        permissions: str | None = None,
        filename: str | None = None,
    ) -> str:
        lifetime = self._lifetimes(f"{container}/{blob}" if blob else container)
        # The account uses real time, and not the emulated one.
        now = datetime.fromtimestamp(SystemClock().time(), UTC)
        signing: dict[str, Any] = {
            "account_name": self._service.account_name,
            "account_key": self._service.credential.account_key,
            "permission": permissions or "rwlac",
            "start": now - timedelta(seconds=CLOCK_SKEW),
            "expiry": now + timedelta(seconds=min(lifetime.announced, lifetime.actual)),
            "content_disposition": filename and f"attachment; filename={filename}",
        }
        if permissions is None:
            sas = generate_account_sas(resource_types="co", **signing)
        elif blob:
            sas = generate_blob_sas(container_name=container, blob_name=blob, **signing)
        else:
            sas = generate_container_sas(container_name=container, **signing)
        return f"{self.uri(container, blob)}?{sas}"

    def locate(self, uri: str) -> tuple[str, str] | None:
        return locate(uri, self._service.primary_endpoint.rstrip("/"))

    async def create_container(self, container: str) -> None:
        with suppress(ResourceExistsError):
            await asyncio.to_thread(self._service.create_container, container)

    def read(self, container: str, blob: str) -> bytes:
        try:
            return self._blob(container, blob).download_blob().readall()
        except ResourceNotFoundError as error:
            is_there = self._service.get_container_client(container).exists()
            raise StorageError("BlobNotFound" if is_there else "ContainerNotFound") from error

    def write(
        self,
        container: str,
        blob: str,
        content: bytes,
        content_type: str = "application/octet-stream",
    ) -> None:
        settings = ContentSettings(content_type=content_type)
        self._blob(container, blob).upload_blob(content, overwrite=True, content_settings=settings)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Adds no routes: the account is a server itself."""

    async def drop(self, container: str) -> None:
        with suppress(ResourceNotFoundError):
            await asyncio.to_thread(self._service.delete_container, container)

    def close(self) -> None:
        self._service.close()

    def _blob(self, container: str, blob: str) -> BlobClient:
        return self._service.get_blob_client(container, blob)
