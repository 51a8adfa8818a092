"""The storage account for jobs' inputs and outputs, and its signatures (SAS).

Either the account is linked to the workspace and the service signs, or the user gives the account's
connection string and this module signs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from operator import attrgetter
from typing import Protocol
from urllib.parse import unquote, urlsplit

from azure.storage.blob import (
    AccountSasPermissions,
    BlobClient,
    BlobServiceClient,
    ContainerSasPermissions,
    ResourceTypes,
    generate_account_sas,
    generate_container_sas,
)
from yarl import URL

from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.workspaces.azure.documents import BLOB_URL, read_time
from cirq_azure_sessions.workspaces.azure.http import HttpClient

__all__ = ["LinkedStorage", "OwnStorage", "SignedUrl", "Storage", "create_container"]

# Seconds. A signature with less time left is renewed before use, as in the SDK.
_MIN_TIME_LEFT = 300.0
# The lifetimes of the SDK's signatures, and of one that only creates a container.
_LIFETIME = 14 * 24 * 3600.0
_BRIEF_LIFETIME = 3600.0

# The identity of an account's address; the service writes default ports inconsistently.
_origin = attrgetter("scheme", "host", "port")

_EXPIRY = re.compile(r"(?:^|&)se=([^&]+)")


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """The address of a container or blob, and its signature (SAS).

    Attributes:
        url: The address, without the signature.
        sas: The signature, as the query of a URL.
        renewal: When to renew the signature, before it expires, in seconds since the Unix epoch; 0
            if its expiry is unknown.
    """

    url: str
    sas: str = field(repr=False)
    renewal: float = 0.0

    @classmethod
    def parse(cls, text: str) -> SignedUrl:
        """Reads a URL with a SAS. `ValueError` if it is not the address of a blob or container."""
        if not BLOB_URL.fullmatch(text):
            raise ValueError("not the address of a blob or container")
        url, _, sas = text.partition("?")
        expiry = _EXPIRY.search(sas)
        time = read_time(unquote(expiry[1])) if expiry else None
        return cls(url, sas, 0.0 if time is None else time - _MIN_TIME_LEFT)

    def sign(self, url: str) -> str:
        """The signed address of this container, or of a blob in it. A secret."""
        return f"{url}?{self.sas}"

    def holds(self, blob_url: str) -> bool:
        """Whether a blob is in this container; the signature is never sent elsewhere."""
        name = urlsplit(self.url).path.rpartition("/")[2]
        is_inside = name in urlsplit(blob_url).path.split("/")[:-1]
        return is_inside and _origin(URL(self.url)) == _origin(URL(blob_url))


class Storage(Protocol):
    """A workspace's access to its storage account."""

    async def open_container(self, name: str) -> SignedUrl:
        """The container with this name, signed for reading and writing."""

    async def sign_blob(self, url: str) -> str:
        """The blob's address, signed for reading. A secret.

        Raises:
            ServiceError: If the blob is in another account, which must not see a signature.
        """


class LinkedStorage:
    """The account linked to the workspace. The service creates containers and signs."""

    def __init__(self, client: HttpClient) -> None:
        # Requests a signature from the service.
        self._sign = partial(
            client.ask,
            "POST",
            ("storage", "sasUri"),
            lambda document: SignedUrl.parse(document["sasUri"]),
        )

    async def open_container(self, name: str) -> SignedUrl:
        return await self._sign(body={"containerName": name})

    async def sign_blob(self, url: str) -> str:
        blob = BlobClient.from_blob_url(url)
        body = {"containerName": blob.container_name, "blobName": blob.blob_name}
        signed = await self._sign(body=body)
        # A blob with the same name in the linked account would belong to another job.
        if _origin(URL(signed.url)) != _origin(URL(url)):
            raise _elsewhere(url)
        return signed.sign(signed.url)


class OwnStorage:
    """The user's own account, with its key.

    The SDK's `azure.quantum.storage.get_container_uri` does the same, but blocks, and logs the
    signature.

    Args:
        client: Sends the requests.
        connection_string: The account's connection string.
        clock: The clock for the expiry of signatures.

    Raises:
        ValueError: If the connection string has no account key.
    """

    def __init__(self, client: HttpClient, connection_string: str, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        with BlobServiceClient.from_connection_string(connection_string) as account:
            self._url = account.url.rstrip("/")
            self._account = str(account.account_name)
            self._key = str(getattr(account.credential, "account_key", ""))
        if not self._key:
            raise ValueError(
                "The workspace's storage connection string has no AccountKey: "
                "copy it again from the storage account's access keys."
            )

    async def open_container(self, name: str) -> SignedUrl:
        # Only a signature for the whole account can create containers; it is sent only to the
        # account.
        sas = generate_account_sas(
            self._account,
            self._key,
            ResourceTypes(container=True),
            AccountSasPermissions(create=True),
            self._after(_BRIEF_LIFETIME),
        )
        await create_container(self._client, f"{self._url}/{name}?{sas}")
        return self._sign_container(name)

    async def sign_blob(self, url: str) -> str:
        if _origin(URL(url)) != _origin(URL(self._url)):
            raise _elsewhere(url)
        return self._sign_container(BlobClient.from_blob_url(url).container_name).sign(url)

    def _sign_container(self, name: str) -> SignedUrl:
        sas = generate_container_sas(
            self._account,
            name,
            account_key=self._key,
            permission=ContainerSasPermissions(read=True, add=True, create=True, write=True),
            expiry=self._after(_LIFETIME),
        )
        return SignedUrl.parse(f"{self._url}/{name}?{sas}")

    def _after(self, seconds: float) -> datetime:
        return datetime.fromtimestamp(self._clock.time() + seconds, UTC)


def _elsewhere(url: str) -> ServiceError:
    return ServiceError(
        f"The blob is in the storage account {urlsplit(url).hostname}, which is not this "
        "workspace's: give the workspace that account's connection string as storage=.",
        status_code=403,
    )


async def create_container(client: HttpClient, signed_url: str) -> None:
    """Creates the container at a URL with a SAS, unless it exists."""
    try:
        await client.store("PUT", f"{signed_url}&restype=container")
    except ServiceError as error:
        if error.code != "ContainerAlreadyExists":
            raise
