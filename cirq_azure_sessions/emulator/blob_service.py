"""The HTTP routes of the emulator's own storage account, as azure-storage-blob calls them.

They are the operations that the SDK's uploads, downloads and attachments use: Put Blob, Get Blob,
Get Blob Properties, Create Container, Get Container Properties, and List Blobs in one page. They
are based on recorded traffic of the service and, for ranges, metadata and listings, on Azure's
"Blob Storage REST API". Every request needs a SAS; shared keys are not supported. All else, such as
the blocks of which azure-storage-blob makes a blob of more than 64 MiB, is refused: Azurite has it.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from functools import partial
from xml.etree import ElementTree

from aiohttp import web

from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.emulator.blob_store import MAX_BLOB_BYTES, BlobProperties, BlobStore
from cirq_azure_sessions.emulator.sas import SasSigner
from cirq_azure_sessions.emulator.storage_error import StorageError

__all__ = ["ACCOUNT", "BlobService"]

# The first path segment of addresses that name the account; no container can have this name.
ACCOUNT = "storage"

# Container names are 3 to 63 letters, digits and hyphens (Azure's "Naming containers"). The first
# segments of the emulator's other routes are excluded, so that an unknown route there is not
# answered with a storage error.
_CONTAINER = r"{container:(?!(?:subscriptions|emulator)(?:/|$))[a-z0-9][a-z0-9-]{1,61}[a-z0-9]}"
_BLOB = "{blob:.+}"

_BLOB_TYPE = "BlockBlob"
# What narrows a listing, or adds to it.
_LISTING_OPTIONS = {"prefix", "delimiter", "marker", "maxresults", "include"}


class BlobService:
    """Serves containers and blobs over HTTP, to requests whose SAS the signer accepts."""

    def __init__(self, store: BlobStore, signer: SasSigner, clock: Clock) -> None:
        self._store = store
        self._signer = signer
        self._clock = clock

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Adds the routes. Add those of the workspace first: these take what is left."""
        for root in (f"/{ACCOUNT}/{_CONTAINER}", f"/{_CONTAINER}"):
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
        return error.response(request_id, time.replace("+00:00", "0Z"))

    def _check_write(self, request: web.Request, container: str, blob: str) -> None:
        """Checks write permission on this blob; `c` suffices to create one, not to replace it."""
        found = self._store.find(container, blob)
        self._signer.check(request.query, container, blob, permissions="w" if found else "wc")
        if found and request.headers.get("If-None-Match") == "*":
            raise StorageError("BlobAlreadyExists")

    async def _response(self, request: web.Request, container: str, blob: str) -> web.Response:
        """Serves an operation on a blob, or on its container if the name is empty."""
        store, query = self._store, request.query
        allow = partial(self._signer.check, query, container)
        match bool(blob), request.method, query.get("restype", ""), query.get("comp", ""):
            case True, "PUT", "", "":
                self._check_write(request, container, blob)
                if request.headers.get("x-ms-blob-type") != _BLOB_TYPE:
                    raise StorageError("UnsupportedHeader")
                content, headers = await request.read(), _stored_headers(request.headers)
                written = store.put(container, blob, content, headers)
                return web.Response(status=201, headers=_version_headers(written))
            case True, "GET", "", "":
                allow(blob, permissions="r")
                return self._get_blob(request, container, blob)
            case True, "HEAD", "", "":
                allow(blob, permissions="r")
                found = store.properties(container, blob)
                size = {"Content-Length": str(found.size)}
                return web.Response(headers=_blob_headers(found, query) | size)
            case False, "PUT", "container", "":
                allow(permissions="wc", account_only=True)
                if not store.create_container(container):
                    raise StorageError("ContainerAlreadyExists")
                return web.Response(status=201)
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
        wanted = range(MAX_BLOB_BYTES) if part is None else part
        found, content = self._store.read(container, blob, wanted.start, len(wanted))
        # The SDK downloads a blob in parts on condition that all are of the same version.
        if request.headers.get("If-Match", found.etag) != found.etag:
            raise StorageError("ConditionNotMet")
        headers = _blob_headers(found, request.query)
        if part is None:
            return web.Response(body=content, headers=headers)
        if not content:
            raise StorageError("InvalidRange")
        last = part.start + len(content) - 1
        headers["Content-Range"] = f"bytes {part.start}-{last}/{found.size}"
        return web.Response(status=206, body=content, headers=headers)


def _check_characters(request: web.Request, blob: str) -> None:
    """Refuses characters that cannot be written to a header or to XML."""
    if not blob.isprintable():
        raise StorageError("InvalidUri")
    if not all(value.isascii() for value in request.headers.values()):
        raise StorageError("InvalidHeaderValue")


def _version_headers(found: BlobProperties) -> dict[str, str]:
    return {"ETag": found.etag, "Last-Modified": _http_date(found.modified)}


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
            "Last-Modified": _http_date(blob.modified),
            "Etag": blob.etag.strip('"'),
            "Content-Length": str(blob.size),
            "Content-Type": blob.headers["Content-Type"],
            "Content-Encoding": blob.headers.get("Content-Encoding", ""),
            "BlobType": _BLOB_TYPE,
        }.items():
            ElementTree.SubElement(properties, name).text = text
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def _http_date(time: float) -> str:
    return formatdate(time, usegmt=True)
