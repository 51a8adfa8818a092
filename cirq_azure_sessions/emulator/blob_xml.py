"""The XML of the blob service: block lists as clients send them, listings as they read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from email.utils import formatdate
from xml.etree import ElementTree

from cirq_azure_sessions.emulator.blob_store import BlobProperties
from cirq_azure_sessions.emulator.storage_error import StorageError

__all__ = ["http_date", "list_blobs_document", "parse_block_list"]


def parse_block_list(body: bytes) -> list[str]:
    """The ids of the blocks to commit, in order.

    Raises:
        StorageError: With `InvalidXmlDocument` if it is no block list.
    """
    try:
        text = body.decode()
        # A DOCTYPE is the door to entities that expand without bound; a block list has none.
        if "<!" in text:
            raise ValueError
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError):
        raise StorageError("InvalidXmlDocument") from None
    return [(block.text or "").strip() for block in root]


def list_blobs_document(
    service: str,
    container: str,
    blobs: Iterable[BlobProperties],
    *,
    request: Mapping[str, str],
    next_marker: str,
    with_metadata: bool,
) -> str:
    """The XML of List Blobs, in the elements that azure-storage-blob reads."""
    root = ElementTree.Element(
        "EnumerationResults", {"ServiceEndpoint": service, "ContainerName": container}
    )
    _add_text(root, request)
    parent = ElementTree.SubElement(root, "Blobs")
    for blob in blobs:
        element = ElementTree.SubElement(parent, "Blob")
        _add_text(element, {"Name": blob.name})
        _add_text(ElementTree.SubElement(element, "Properties"), _listed_properties(blob))
        if with_metadata:
            _add_text(ElementTree.SubElement(element, "Metadata"), blob.metadata)
    _add_text(root, {"NextMarker": next_marker})
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def _listed_properties(blob: BlobProperties) -> dict[str, str]:
    return {
        "Creation-Time": http_date(blob.created),
        "Last-Modified": http_date(blob.modified),
        "Etag": blob.etag.strip('"'),
        "Content-Length": str(blob.size),
        "Content-Type": blob.content_type,
        "Content-Encoding": blob.content_encoding,
        "BlobType": blob.kind,
        "LeaseStatus": "unlocked",
        "LeaseState": "available",
        "ServerEncrypted": "true",
    }


def _add_text(parent: ElementTree.Element, children: Mapping[str, str]) -> None:
    for name, text in children.items():
        ElementTree.SubElement(parent, name).text = text


def http_date(time: float) -> str:
    """A time in seconds since the epoch as headers and listings write it."""
    return formatdate(time, usegmt=True)
