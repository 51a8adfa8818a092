"""Reads a circuit from a file or a text: Cirq's JSON, or OpenQASM 2.

OpenQASM is read by the emulator's reader, which shares no code with the writer in `formats`: a
mistake made in both would cancel out.
"""

from __future__ import annotations

import codecs
import gzip
import io
import os
import re
import zlib
from pathlib import Path

import cirq

from cirq_azure_sessions.emulator.programs import openqasm
from cirq_azure_sessions.emulator.programs.failure import ProgramError
from cirq_azure_sessions.emulator.programs.openqasm_circuit import to_circuit

__all__ = ["decode_text", "is_openqasm", "parse_circuit", "read_circuit", "read_text"]

_UNREADABLE = (
    "This is neither Cirq JSON nor OpenQASM 2: write the file with cirq.to_json(circuit, path), or "
    "begin it with 'OPENQASM 2.0;'."
)

# What a text in one of these begins with. UTF-32 first, whose mark begins as that of UTF-16 does.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}

_GZIP = b"\x1f\x8b"

# A few kilobytes of gzip may hold gigabytes.
_MAX_SIZE = 256 << 20

_VERSION = re.compile(r"\s*(?://[^\n]*\s*)*OPENQASM\s*\d")


def read_circuit(path_or_text: str | os.PathLike[str]) -> cirq.Circuit:
    """A circuit from Cirq JSON (gzipped or not) or OpenQASM 2, as the command line reads it.

    In OpenQASM the qubit `q[0]` becomes `cirq.NamedQubit("q_0")` and the bit `c[2]` the measurement
    key `c_2`; a bit that is measured several times has one record for each time.

    Args:
        path_or_text: A file, whose content decides what it is and not its name, or the text itself.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If there is no circuit in it; the message says where and why.
    """
    return parse_circuit(read_text(path_or_text))


def read_text(path_or_text: str | os.PathLike[str]) -> str:
    """The text of a file in any encoding that tells itself, or the text that is given."""
    if isinstance(path_or_text, str) and _is_text(path_or_text):
        return _plain(path_or_text)
    return decode_text(Path(path_or_text).read_bytes())


def decode_text(content: bytes) -> str:
    """The text that a file holds, packed or not.

    Raises:
        ValueError: If it holds no text; the message says why.
    """
    return _plain(_decode(_unpack(content)))


def _plain(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def is_openqasm(text: str) -> bool:
    """Whether a text is meant to be OpenQASM."""
    return _VERSION.match(text) is not None


def parse_circuit(text: str) -> cirq.Circuit:
    """The circuit that a text describes, in Cirq's JSON or in OpenQASM 2.

    Raises:
        ValueError: If it is no circuit; the message says where and why.
    """
    if text.lstrip().startswith(("{", "[")):
        return _from_json(text)
    if is_openqasm(text):
        return _from_openqasm(text)
    raise ValueError(_UNREADABLE)


def _is_text(path_or_text: str) -> bool:
    if "\n" in path_or_text or "\r" in path_or_text:
        return True
    if not path_or_text.strip():
        return True
    looks_like_text = path_or_text.lstrip("\ufeff \t").startswith(("{", "[")) or is_openqasm(
        path_or_text.removeprefix("\ufeff")
    )
    # A file may be named like one, `[1].json`.
    return looks_like_text and not os.path.exists(path_or_text)


def _unpack(content: bytes) -> bytes:
    if not content.startswith(_GZIP):
        return content
    try:
        with gzip.open(io.BytesIO(content)) as file:
            unpacked = file.read(_MAX_SIZE + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"The gzip file is damaged: {_in_one_line(error)}.") from error
    if len(unpacked) > _MAX_SIZE:
        raise ValueError(f"The gzip file holds more than {_MAX_SIZE >> 20} MB.")
    return unpacked


def _decode(content: bytes) -> str:
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), None)
    if encoding is None:
        # UTF-16 without a mark has every second byte zero where it is ASCII.
        zeros = (content[:1] == b"\0", content[1:2] == b"\0")
        encoding = {(True, False): "utf-16-be", (False, True): "utf-16-le"}.get(zeros, "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise ValueError(
                f"The file begins like {encoding.upper()} and then is not: save it as UTF-8."
            ) from error
        # All of OpenQASM is ASCII but its comments, and these are passed over.
        text = content.decode("latin-1")
        if is_openqasm(text.replace("\r", "\n")):
            return text
        if text.lstrip().startswith(("{", "[")):
            raise ValueError(
                f"Cirq's JSON is UTF-8, and byte {error.start} of this file is not: save it as "
                "UTF-8."
            ) from error
        raise ValueError(_UNREADABLE) from error


def _from_json(text: str) -> cirq.Circuit:
    try:
        value = cirq.read_json(json_text=text)
    except Exception as error:
        # The classes that the JSON names may raise anything on fields that do not fit them.
        raise ValueError(f"Cirq cannot read this JSON: {_in_one_line(error)}") from error
    if not isinstance(value, cirq.AbstractCircuit):
        raise ValueError(
            f"This JSON holds a {type(value).__name__}, not a circuit: write the circuit alone, "
            "with cirq.to_json(circuit, path)."
        )
    return value.unfreeze()


def _from_openqasm(text: str) -> cirq.Circuit:
    try:
        return to_circuit(openqasm.read(text))
    except ProgramError as error:
        raise ValueError(f"This OpenQASM cannot be read. {error.message}") from error


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
