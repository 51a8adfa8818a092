"""Storage for the programs and results of the emulated workspace.

`LocalStorage` is the emulator's own account. `azure_storage.AzureStorage` has the same methods for
a real account or Azurite. `open_storage` chooses between them. Programs are read and results
written on worker threads. URIs with a SAS are secrets: keep them out of logs and messages.

The addresses of `LocalStorage`, at `http://127.0.0.1:PORT`:

    container   /CONTAINER
    blob        /storage/CONTAINER/BLOB     and, as clients derive it, /CONTAINER/BLOB

The SDK needs both forms of a blob's address: `Job.container_name` takes the first segment of
`containerUri`, while `BlobClient.from_blob_url` takes the first segment of any URL at `127.0.0.1`
or `localhost` for an account name.

Over HTTP it serves what the SDK's uploads, downloads and attachments use: Put Blob, Get Blob, Get
Blob Properties, Create Container, Get Container Properties, and List Blobs in one page. These are
based on recorded traffic of the service and, for ranges, metadata and listings, on Azure's "Blob
Storage REST API". Every request needs a SAS; shared keys are not supported. All else, such as the
blocks of which azure-storage-blob makes a blob of more than 64 MiB, is refused: Azurite has it.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union
from urllib.parse import quote, unquote
from xml.etree import ElementTree

from aiohttp import web

from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.emulator.blob_store import MAX_BLOB_BYTES, BlobProperties, BlobStore
from cirq_azure_sessions.emulator.sas import Lifetimes, SasSigner
from cirq_azure_sessions.emulator.storage_error import StorageError, error_response

if TYPE_CHECKING:
    from cirq_azure_sessions.emulator.azure_storage import AzureStorage

__all__ = ["LocalStorage", "Storage", "locate", "open_storage"]

Storage: TypeAlias = Union["LocalStorage", "AzureStorage"]

# The first path segment of addresses that name the account; no container can have this name.
_ACCOUNT = "storage"

# Container names are 3 to 63 letters, digits and hyphens (Azure's "Naming containers"). The first
# segments of the emulator's other routes are excluded, so that an unknown route there is not
# answered with a storage error.
_CONTAINER = r"{container:(?!(?:subscriptions|emulator)(?:/|$))[a-z0-9][a-z0-9-]{1,61}[a-z0-9]}"
_BLOB = "{blob:.+}"

_BLOB_TYPE = "BlockBlob"
# What narrows a listing, or adds to it.
_LISTING_OPTIONS = {"prefix", "delimiter", "marker", "maxresults", "include"}


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
        path = f"{_ACCOUNT}/{container}/{quote(blob)}" if blob else container
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
        return locate(uri, f"{self.endpoint()}/{_ACCOUNT}") or locate(uri, self.endpoint())

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

    async def drop(self, container: str) -> None:
        """Deletes the container and its blobs. Harmless if there is none."""
        self._store.delete_container(container)

    def close(self) -> None:
        """Closes the file."""
        self._store.close()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Adds the routes. Add those of the workspace first: these take what is left."""
        for root in (f"/{_ACCOUNT}/{_CONTAINER}", f"/{_CONTAINER}"):
            router.add_route("*", f"{root}/{_BLOB}", self._serve)
            router.add_route("*", root, self._serve)

    async def _serve(self, request: web.Request) -> web.Response:
        request_id = str(uuid.uuid4())
        container, blob = request.match_info["container"], request.match_info.get("blob", "")
        try:
            _check_characters(request, blob)
            response = await self._response(request, container, blob)
        except StorageError as error:
            response = self._refuse(error, request_id)
        except web.HTTPRequestEntityTooLarge:
            response = self._refuse(StorageError("RequestBodyTooLarge"), request_id)
        response.headers["x-ms-request-id"] = request_id
        if "x-ms-client-request-id" in request.headers:
            response.headers["x-ms-client-request-id"] = request.headers["x-ms-client-request-id"]
        return response

    def _refuse(self, error: StorageError, request_id: str) -> web.Response:
        time = datetime.fromtimestamp(self._clock.time(), UTC).isoformat(timespec="microseconds")
        ids = f"RequestId:{request_id}\nTime:{time.replace('+00:00', '0Z')}"
        return error_response(error.status, error.code, f"{error.message}\n{ids}", error.detail)

    async def _response(self, request: web.Request, container: str, blob: str) -> web.Response:
        """Serves an operation on a blob, or on its container if the name is empty."""
        store, query = self._store, request.query
        allow = partial(self._signer.check, query, container)
        match bool(blob), request.method, query.get("restype", ""), query.get("comp", ""):
            case True, "PUT", "", "":
                # Read first: of two uploads at once, only one may find that there is no such blob.
                content = await request.read()
                found = store.find(container, blob)
                # `c` suffices to create a blob, not to replace it.
                allow(blob, permissions="w" if found else "wc")
                if found and request.headers.get("If-None-Match") == "*":
                    raise StorageError("BlobAlreadyExists")
                _check_conditions(request, found)
                if request.headers.get("x-ms-blob-type") != _BLOB_TYPE:
                    raise StorageError("UnsupportedHeader")
                written = store.put(container, blob, content, _stored_headers(request.headers))
                return web.Response(status=201, headers=_version_headers(written))
            case True, "GET", "", "":
                allow(blob, permissions="r")
                return self._get_blob(request, container, blob)
            case True, "HEAD", "", "":
                allow(blob, permissions="r")
                properties = store.properties(container, blob)
                _check_conditions(request, properties)
                size = {"Content-Length": str(properties.size)}
                return web.Response(headers=_blob_headers(properties, query) | size)
            case False, "PUT", "container", "":
                allow(permissions="wc", account_only=True)
                created = store.create_container(container)
                if created is None:
                    raise StorageError("ContainerAlreadyExists")
                return web.Response(status=201, headers=_version_headers(created))
            case False, "GET" | "HEAD", "container", "":
                allow(permissions="r", account_only=True)
                return web.Response(headers=_version_headers(store.properties(container)))
            case False, "GET", "container", "list" if not query.keys() & _LISTING_OPTIONS:
                allow(permissions="l")
                listing = _listing(container, store.list_blobs(container))
                return web.Response(text=listing, content_type="application/xml")
            case _, "GET" | "HEAD" | "PUT", _, _:
                raise StorageError("UnsupportedQueryParameter")
        raise StorageError("UnsupportedHttpVerb")

    def _get_blob(self, request: web.Request, container: str, blob: str) -> web.Response:
        part = _range(request.headers)
        requested = range(MAX_BLOB_BYTES) if part is None else part
        found, content = self._store.read(container, blob, requested.start, len(requested))
        _check_conditions(request, found)
        headers = _blob_headers(found, request.query)
        if part is None:
            return web.Response(body=content, headers=headers)
        if not content:
            raise StorageError("InvalidRange")
        last = part.start + len(content) - 1
        headers["Content-Range"] = f"bytes {part.start}-{last}/{found.size}"
        return web.Response(status=206, body=content, headers=headers)


def open_storage(
    store: str | Path | None, endpoint: Callable[[], str], clock: Clock, lifetimes: Lifetimes
) -> Storage:
    """The storage that a user names: None for memory, a directory, or a connection string."""
    if isinstance(store, str) and re.search("AccountName=|UseDevelopmentStorage=", store, re.I):
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


def _check_characters(request: web.Request, blob: str) -> None:
    """Refuses characters that cannot be written to a header or to XML."""
    if not blob.isprintable():
        raise StorageError("InvalidUri")
    if not all(value.isascii() for value in request.headers.values()):
        raise StorageError("InvalidHeaderValue")


def _check_conditions(request: web.Request, found: BlobProperties | None) -> None:
    """Checks a request's conditions on the version of the blob.

    The SDK downloads a blob in parts on condition that all are of the same version.
    """
    headers, etag = request.headers, found and found.etag
    if headers.get("If-Match", etag) not in (etag, found and "*"):
        raise StorageError("ConditionNotMet")
    if found and headers.get("If-None-Match") == etag:
        # A browser then shows the copy that it has.
        raise StorageError("ConditionNotMet", status=412 if request.method == "PUT" else 304)
    # A condition on the time counts only without one on the version (RFC 9110, 13.1).
    for version, time in (("Match", "Unmodified"), ("None-Match", "Modified")):
        if f"If-{time}-Since" in headers and f"If-{version}" not in headers:
            raise StorageError("UnsupportedHeader")


def _version_headers(found: BlobProperties) -> dict[str, str]:
    return {"ETag": found.etag, "Last-Modified": formatdate(found.modified, usegmt=True)}


def _blob_headers(blob: BlobProperties, query: Mapping[str, str]) -> dict[str, str]:
    # The file name for saving the blob is part of the SAS, and covered by its signature.
    saving = {"Content-Disposition": query["rscd"]} if "rscd" in query else {}
    return {"x-ms-blob-type": _BLOB_TYPE} | _version_headers(blob) | saving | dict(blob.headers)


def _stored_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of an upload that downloads of the blob repeat."""
    kind = headers.get("x-ms-blob-content-type") or headers.get("Content-Type")
    stored = {"Content-Type": kind or "application/octet-stream"}
    if encoding := headers.get("x-ms-blob-content-encoding"):
        stored["Content-Encoding"] = encoding
    return stored | {
        name: value for name, value in headers.items() if name.lower().startswith("x-ms-meta-")
    }


def _range(headers: Mapping[str, str]) -> range | None:
    """The requested bytes, or None for the whole blob; `x-ms-range` overrides `Range`."""
    text = headers.get("x-ms-range") or headers.get("Range")
    if text is None:
        return None
    match = re.fullmatch(r"bytes=(\d{1,18})-(\d{1,18})?", text)
    if match is None:
        raise StorageError("InvalidHeaderValue")
    start = int(match[1])
    return range(start, int(match[2]) + 1 if match[2] else start + MAX_BLOB_BYTES)


def _listing(container: str, blobs: Iterable[BlobProperties]) -> str:
    """The XML of List Blobs, limited to the elements that azure-storage-blob reads."""
    root = ElementTree.Element("EnumerationResults", {"ContainerName": container})
    parent = ElementTree.SubElement(root, "Blobs")
    for blob in blobs:
        element = ElementTree.SubElement(parent, "Blob")
        ElementTree.SubElement(element, "Name").text = blob.name
        properties = ElementTree.SubElement(element, "Properties")
        for name, text in {
            "Last-Modified": formatdate(blob.modified, usegmt=True),
            "Etag": blob.etag.strip('"'),
            "Content-Length": str(blob.size),
            "Content-Type": blob.headers["Content-Type"],
            "Content-Encoding": blob.headers.get("Content-Encoding", ""),
            "BlobType": _BLOB_TYPE,
        }.items():
            ElementTree.SubElement(properties, name).text = text
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)
