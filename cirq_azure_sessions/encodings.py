"""Decoding of program files: gzipped or not, with or without a byte order mark."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from typing import IO, cast

__all__ = [
    "in_utf8",
    "is_blank",
    "openqasm_version",
    "plain_text",
    "read_whole",
    "without_comments",
]

# Byte order marks by encoding. UTF-32 comes first: its mark begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}

# Which of a text's first bytes are zero.
_ZEROS = {
    (False, True): "utf-16-le",
    (True, False): "utf-16-be",
    (False, True, True, True): "utf-32-le",
    (True, True, True, False): "utf-32-be",
}

# Old DOS editors end a file with Ctrl-Z, and some pad it with zeros.
_PADDING = "\0\x1a"

# OpenQASM 3 also has multi-line comments.
_COMMENT = r"//[^\n]*|/\*.*?\*/"
_SPACE = rf"(?:\s|{_COMMENT})*+"
_OPENQASM = re.compile(rf"{_SPACE}OPENQASM\b{_SPACE}(\d*)", re.DOTALL)
# Comments in Quil begin with another character.
_BLANK = re.compile(rf"(?:{_SPACE}(?:\#[^\n]*)?)*+", re.DOTALL)

_GZIP = b"\x1f\x8b"

# A few kilobytes of gzip may expand to gigabytes, and a device or a pipe may have no end.
_MAX_SIZE = 256 << 20


def read_whole(file: IO[bytes]) -> bytes:
    """The content of an open program file.

    Raises:
        ValueError: If it is too long.
    """
    content = file.read(_MAX_SIZE + 1)
    if len(content) > _MAX_SIZE:
        raise ValueError(f"The program holds more than {_MAX_SIZE >> 20} MB.")
    return content


def in_utf8(content: bytes) -> bytes:
    """A file's content in UTF-8 without a byte order mark; unchanged if the encoding is unknown.

    Raises:
        ValueError: If the content is damaged; the message says how.
    """
    content = _unpack(content)
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), None)
    if encoding is None:
        # Without a mark, ASCII characters show as zeros in UTF-16 and UTF-32.
        zeros = tuple(byte == 0 for byte in content[:4])
        encoding = _ZEROS.get(zeros) or _ZEROS.get(zeros[:2])
    if encoding is None:
        return content
    # The padding at the end of a file may be a single byte.
    if len(content) % 2 and content[-1:] in _PADDING.encode():
        content = content[:-1]
    try:
        return content.decode(encoding).encode()
    except UnicodeError as error:
        raise ValueError(
            f"The file begins like {encoding.upper()} but is not valid: save it as UTF-8."
        ) from error


def plain_text(text: str) -> str:
    """A text without byte order mark and padding, with Unix line endings."""
    text = text.removeprefix("\ufeff")
    content = text.rstrip(f"{_PADDING} \t\r\n")
    end = text[len(content) :].translate(dict.fromkeys(map(ord, _PADDING)))
    return (content + end).replace("\r\n", "\n").replace("\r", "\n")


def openqasm_version(text: str) -> str | None:
    """The version in an OpenQASM program's first line, possibly empty; None for other texts."""
    match = _OPENQASM.match(text)
    return match and match[1]


def without_comments(text: str) -> str:
    """An OpenQASM program with blanks in place of comments, so that all else keeps its place."""
    return re.sub(_COMMENT, lambda comment: re.sub(".", " ", comment[0]), text, flags=re.DOTALL)


def is_blank(text: str) -> bool:
    """Whether a text in any language holds only blanks and comments."""
    return _BLANK.fullmatch(text) is not None


def _unpack(content: bytes) -> bytes:
    if not content.startswith(_GZIP):
        return content
    try:
        with gzip.open(io.BytesIO(content)) as file:
            return read_whole(cast(IO[bytes], file))
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"The gzip file is damaged: {error}.") from error
