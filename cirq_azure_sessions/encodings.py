"""Decoding of files: gzipped or not, with or without a byte order mark."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib

__all__ = ["in_utf8", "plain_text"]

# Byte order marks by encoding. UTF-32 first, whose mark begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}

_GZIP = b"\x1f\x8b"

# A few kilobytes of gzip may expand to gigabytes.
_MAX_SIZE = 256 << 20


def in_utf8(content: bytes) -> bytes:
    """A file's content in UTF-8 without a byte order mark; unchanged if the encoding is unknown.

    Raises:
        ValueError: If the content is damaged; the message says how.
    """
    content = _unpack(content)
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), None)
    if encoding is None:
        # In UTF-16 without a mark, every second byte of ASCII text is zero.
        zeros = (content[:1] == b"\0", content[1:2] == b"\0")
        encoding = {(True, False): "utf-16-be", (False, True): "utf-16-le"}.get(zeros)
    if encoding is None:
        return content
    try:
        return content.decode(encoding).encode()
    except UnicodeError as error:
        raise ValueError(
            f"The file begins like {encoding.upper()} but is not valid: save it as UTF-8."
        ) from error


def plain_text(text: str) -> str:
    """Text without a byte order mark, and with Unix line endings."""
    # Old DOS editors end a file with Ctrl-Z.
    plain = text.removeprefix("\ufeff").removesuffix("\x1a")
    return plain.replace("\r\n", "\n").replace("\r", "\n")


def _unpack(content: bytes) -> bytes:
    if not content.startswith(_GZIP):
        return content
    try:
        with gzip.open(io.BytesIO(content)) as file:
            unpacked = file.read(_MAX_SIZE + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"The gzip file is damaged: {error}.") from error
    if len(unpacked) > _MAX_SIZE:
        raise ValueError(f"The gzip file holds more than {_MAX_SIZE >> 20} MB.")
    return unpacked
