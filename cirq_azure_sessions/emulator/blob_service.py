"""The HTTP routes of the emulator's own storage account, as azure-storage-blob calls them.

Based on recorded traffic of the service and, for the other operations that the SDK's uploads,
downloads and attachments use (block lists, ranges, metadata, listings), on Azure's "Blob Storage
REST API". Every request needs a SAS; shared keys are not supported. For other verbs use Azurite.
"""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from xml.etree import ElementTree

from aiohttp import web

from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.emulator.blob_store import (
    BlobProperties,
    BlobStore,
    ContainerProperties,
)
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

_DEFAULT_VERSION = "2024-05-04"
_LIST_LIMIT = 5000
_BLOB_TYPE = "BlockBlob"


@dataclass(frozen=True, slots=True)
class _Call:
    """A request and what its URL names."""

    request: web.Request
    container: str
    blob: str = ""

    @property
    def headers(self) -> Mapping[str, str]:
        return self.request.headers

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query

    @property
    def key(self) -> tuple[str, str, str]:
        """The verb and the two query parameters that identify an operation."""
        query = self.request.query
        return self.request.method, query.get("restype", ""), query.get("comp", "")


_Handler = Callable[[_Call], Awaitable[web.Response]]


class BlobService:
    """Serves containers and blobs over HTTP.

    Args:
        store: The blobs to serve.
        signer: Checks the SAS of every request.
        clock: The time in error messages.
    """

    def __init__(self, store: BlobStore, signer: SasSigner, clock: Clock) -> None:
        self._store = store
        self._signer = signer
        self._clock = clock
        self._container_operations: dict[tuple[str, str, str], _Handler] = {
            ("PUT", "container", ""): self._create_container,
            ("GET", "container", ""): self._get_container,
            ("HEAD", "container", ""): self._get_container,
            ("GET", "container", "list"): self._list_blobs,
        }
        self._blob_operations: dict[tuple[str, str, str], _Handler] = {
            ("PUT", "", ""): self._put_blob,
            ("PUT", "", "block"): self._put_block,
            ("PUT", "", "blocklist"): self._put_block_list,
            ("GET", "", ""): self._get_blob,
            ("HEAD", "", ""): self._get_properties,
        }

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Adds the routes. Add those of the workspace first: these take what is left."""
        router.add_route("*", f"/{ACCOUNT}/{_CONTAINER}/{_BLOB}", self._serve_blob)
        router.add_route("*", f"/{ACCOUNT}/{_CONTAINER}", self._serve_container)
        router.add_route("*", f"/{_CONTAINER}/{_BLOB}", self._serve_blob)
        router.add_route("*", f"/{_CONTAINER}", self._serve_container)

    async def _serve_container(self, request: web.Request) -> web.Response:
        call = _Call(request, request.match_info["container"])
        return await self._serve(call, self._container_operations)

    async def _serve_blob(self, request: web.Request) -> web.Response:
        call = _Call(request, request.match_info["container"], request.match_info["blob"])
        return await self._serve(call, self._blob_operations)

    async def _serve(
        self, call: _Call, operations: Mapping[tuple[str, str, str], _Handler]
    ) -> web.Response:
        request_id = str(uuid.uuid4())
        try:
            _check_characters(call)
            response = await _choose(call, operations)(call)
        except StorageError as error:
            response = self._refuse(call, error, request_id)
        except web.HTTPRequestEntityTooLarge:
            response = self._refuse(call, StorageError("RequestBodyTooLarge"), request_id)
        response.headers["x-ms-request-id"] = request_id
        response.headers["x-ms-version"] = call.headers.get("x-ms-version", _DEFAULT_VERSION)
        if "x-ms-client-request-id" in call.headers:
            response.headers["x-ms-client-request-id"] = call.headers["x-ms-client-request-id"]
        return response

    def _refuse(self, call: _Call, error: StorageError, request_id: str) -> web.Response:
        time = datetime.fromtimestamp(self._clock.time(), UTC).isoformat(timespec="microseconds")
        # A HEAD response has no body, so the SDK reads the code from this header.
        text = error.to_xml(request_id, time.replace("+00:00", "0Z"))
        return web.Response(
            status=error.status,
            body=b"" if call.request.method == "HEAD" else text.encode(),
            content_type="application/xml",
            headers={"x-ms-error-code": error.code},
        )

    def _check(self, call: _Call, permissions: str, *, account_only: bool = False) -> None:
        self._signer.check(
            call.query,
            container=call.container,
            blob=call.blob,
            permissions=permissions,
            account_only=account_only,
        )

    def _check_write(self, call: _Call) -> None:
        """Checks write permission on this blob; `c` suffices to create one, not to replace it."""
        is_there = self._store.exists(call.container, call.blob)
        self._check(call, "w" if is_there else "wc")
        if is_there and call.headers.get("If-None-Match") == "*":
            raise StorageError("BlobAlreadyExists")
        if is_there:
            self._check_conditions(call, self._store.properties(call.container, call.blob))

    def _check_conditions(self, call: _Call, blob: BlobProperties) -> None:
        wanted = call.headers.get("If-Match", "*")
        unwanted = call.headers.get("If-None-Match", "")
        if wanted not in ("*", blob.etag) or unwanted == blob.etag:
            raise StorageError("ConditionNotMet")

    async def _create_container(self, call: _Call) -> web.Response:
        self._check(call, "wc", account_only=True)
        if not self._store.create_container(call.container):
            raise StorageError("ContainerAlreadyExists")
        return web.Response(
            status=201, headers=_container_headers(self._store.container(call.container))
        )

    async def _get_container(self, call: _Call) -> web.Response:
        self._check(call, "r", account_only=True)
        properties = self._store.container(call.container)
        return web.Response(headers=_container_headers(properties) | _LEASE_HEADERS)

    async def _list_blobs(self, call: _Call) -> web.Response:
        self._check(call, "l")
        if "delimiter" in call.query:
            raise StorageError("UnsupportedQueryParameter")
        prefix, marker = call.query.get("prefix", ""), call.query.get("marker", "")
        limit = _list_limit(call.query.get("maxresults", str(_LIST_LIMIT)))
        # One extra blob shows whether there is a next page.
        blobs = self._store.list_blobs(call.container, prefix=prefix, after=marker, limit=limit + 1)
        has_more = len(blobs) > limit
        body = _list_blobs_document(
            f"{call.request.url.origin()}/",
            call.container,
            blobs[:limit],
            # The SDK requests the next page with the size named here.
            request={"Prefix": prefix, "Marker": marker, "MaxResults": str(limit)},
            next_marker=blobs[limit - 1].name if has_more else "",
        )
        return web.Response(text=body, content_type="application/xml")

    async def _put_blob(self, call: _Call) -> web.Response:
        self._check_write(call)
        if call.headers.get("x-ms-blob-type") != _BLOB_TYPE:
            raise StorageError("InvalidHeaderValue")
        return self._put(call, await call.request.read())

    async def _put_block(self, call: _Call) -> web.Response:
        self._check(call, "wc")
        block_id = _block_id(call.query.get("blockid", ""))
        content = await call.request.read()
        self._store.stage_block(call.container, call.blob, block_id, content)
        return web.Response(status=201, headers=_WRITTEN_HEADERS)

    async def _put_block_list(self, call: _Call) -> web.Response:
        self._check_write(call)
        block_ids = _parse_block_list(await call.request.read())
        return self._put(call, self._store.staged_blocks(call.container, call.blob, block_ids))

    def _put(self, call: _Call, content: bytes) -> web.Response:
        headers = call.headers
        content_type = headers.get("x-ms-blob-content-type") or headers.get("Content-Type")
        properties = self._store.put(
            call.container,
            call.blob,
            content,
            content_type=content_type or "application/octet-stream",
            content_encoding=headers.get("x-ms-blob-content-encoding", ""),
            metadata=_metadata(headers),
        )
        return web.Response(status=201, headers=_version_headers(properties) | _WRITTEN_HEADERS)

    async def _get_blob(self, call: _Call) -> web.Response:
        self._check(call, "r")
        properties = self._store.properties(call.container, call.blob)
        self._check_conditions(call, properties)
        headers = _blob_headers(properties, call.query)
        wanted = _range(call.headers, properties.size)
        if wanted is None:
            content = self._store.read(call.container, call.blob)
            return web.Response(body=content, headers=headers)
        content = self._store.read(call.container, call.blob, wanted.start, len(wanted))
        headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{properties.size}"
        return web.Response(status=206, body=content, headers=headers)

    async def _get_properties(self, call: _Call) -> web.Response:
        self._check(call, "r")
        properties = self._store.properties(call.container, call.blob)
        self._check_conditions(call, properties)
        headers = _blob_headers(properties, call.query)
        if call.request.method == "HEAD":
            headers["Content-Length"] = str(properties.size)
        return web.Response(headers=headers)


_WRITTEN_HEADERS = {"x-ms-request-server-encrypted": "true"}
_LEASE_HEADERS = {"x-ms-lease-status": "unlocked", "x-ms-lease-state": "available"}


def _check_characters(call: _Call) -> None:
    """Refuses characters that cannot be written to a header or to XML."""
    if not call.blob.isprintable():
        raise StorageError("InvalidUri")
    if not all(value.isprintable() for value in call.query.values()):
        raise StorageError("InvalidQueryParameterValue")
    if not all(value.isascii() for value in call.headers.values()):
        raise StorageError("InvalidHeaderValue")


def _choose(call: _Call, operations: Mapping[tuple[str, str, str], _Handler]) -> _Handler:
    handler = operations.get(call.key)
    if handler is not None:
        return handler
    verbs = {verb for verb, *_ in operations}
    known = call.request.method in verbs
    raise StorageError("InvalidQueryParameterValue" if known else "UnsupportedHttpVerb")


def _container_headers(container: ContainerProperties) -> dict[str, str]:
    return {"ETag": container.etag, "Last-Modified": _http_date(container.modified)}


def _version_headers(blob: BlobProperties) -> dict[str, str]:
    return {"ETag": blob.etag, "Last-Modified": _http_date(blob.modified)}


def _blob_headers(blob: BlobProperties, query: Mapping[str, str]) -> dict[str, str]:
    headers = _version_headers(blob) | _LEASE_HEADERS
    headers |= {
        "Accept-Ranges": "bytes",
        "Content-Type": blob.content_type,
        "x-ms-blob-type": _BLOB_TYPE,
        "x-ms-creation-time": _http_date(blob.modified),
        "x-ms-server-encrypted": "true",
    }
    if blob.content_encoding:
        headers["Content-Encoding"] = blob.content_encoding
    # The file name for saving the blob is part of the SAS, and covered by its signature.
    if "rscd" in query:
        headers["Content-Disposition"] = query["rscd"]
    return headers | {f"x-ms-meta-{name}": value for name, value in blob.metadata.items()}


def _metadata(headers: Mapping[str, str]) -> dict[str, str]:
    prefix = "x-ms-meta-"
    metadata = {
        name[len(prefix) :]: value
        for name, value in headers.items()
        if name.lower().startswith(prefix)
    }
    # Azure requires identifiers, because a listing uses them as the names of XML elements.
    if not all(re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) for name in metadata):
        raise StorageError("InvalidMetadata")
    return metadata


def _range(headers: Mapping[str, str], size: int) -> range | None:
    """The requested bytes, or None for the whole blob; `x-ms-range` overrides `Range`."""
    text = headers.get("x-ms-range") or headers.get("Range")
    if text is None:
        return None
    match = re.fullmatch(r"bytes=(\d{1,18})-(\d{1,18})?", text)
    if match is None:
        raise StorageError("InvalidHeaderValue")
    start, last = int(match[1]), int(match[2] or size)
    if start >= size or last < start:
        raise StorageError("InvalidRange")
    return range(start, min(last + 1, size))


def _list_limit(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,8}", text):
        raise StorageError("InvalidQueryParameterValue")
    return min(int(text), _LIST_LIMIT)


def _block_id(text: str) -> str:
    """The id, checked to be the Base64 form of 1 to 64 bytes, as Azure requires."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise StorageError("InvalidQueryParameterValue") from None
    if not 1 <= len(decoded) <= 64:
        raise StorageError("InvalidQueryParameterValue")
    return text


def _parse_block_list(body: bytes) -> list[str]:
    """The ids of the blocks to commit, in order.

    Raises:
        StorageError: With `InvalidXmlDocument` if it is not a block list.
    """
    try:
        text = body.decode()
        # A DOCTYPE allows entities that expand without bound; a block list has none.
        if "<!" in text:
            raise ValueError
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError):
        raise StorageError("InvalidXmlDocument") from None
    return [(block.text or "").strip() for block in root]


def _list_blobs_document(
    service: str,
    container: str,
    blobs: Iterable[BlobProperties],
    *,
    request: Mapping[str, str],
    next_marker: str,
) -> str:
    """The XML of List Blobs, limited to the elements that azure-storage-blob reads."""
    root = ElementTree.Element(
        "EnumerationResults", {"ServiceEndpoint": service, "ContainerName": container}
    )
    _add_text(root, request)
    parent = ElementTree.SubElement(root, "Blobs")
    for blob in blobs:
        element = ElementTree.SubElement(parent, "Blob")
        _add_text(element, {"Name": blob.name})
        _add_text(ElementTree.SubElement(element, "Properties"), _listed_properties(blob))
        _add_text(ElementTree.SubElement(element, "Metadata"), blob.metadata)
    _add_text(root, {"NextMarker": next_marker})
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def _listed_properties(blob: BlobProperties) -> dict[str, str]:
    return {
        "Creation-Time": _http_date(blob.modified),
        "Last-Modified": _http_date(blob.modified),
        "Etag": blob.etag.strip('"'),
        "Content-Length": str(blob.size),
        "Content-Type": blob.content_type,
        "Content-Encoding": blob.content_encoding,
        "BlobType": _BLOB_TYPE,
        "LeaseStatus": "unlocked",
        "LeaseState": "available",
        "ServerEncrypted": "true",
    }


def _add_text(parent: ElementTree.Element, children: Mapping[str, str]) -> None:
    for name, text in children.items():
        ElementTree.SubElement(parent, name).text = text


def _http_date(time: float) -> str:
    """A time in seconds since the epoch as headers and listings write it."""
    return formatdate(time, usegmt=True)
