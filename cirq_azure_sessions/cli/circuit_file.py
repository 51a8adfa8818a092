"""Reads circuits from a file or string in Cirq's JSON or OpenQASM 2.

OpenQASM is read by `openqasm`, which shares no code with the writer in `formats`: a mistake in both
would cancel out.
"""

from __future__ import annotations

import os

import cirq

from cirq_azure_sessions.encodings import (
    in_utf8,
    is_blank,
    openqasm_version,
    plain_text,
    read_whole,
)
from cirq_azure_sessions.openqasm import reader
from cirq_azure_sessions.openqasm.circuit import to_circuit
from cirq_azure_sessions.options import PATH, check_option
from cirq_azure_sessions.workspaces.local.program import ProgramError

__all__ = [
    "decode_text",
    "parse_circuit",
    "parse_program",
    "read_circuit",
    "read_text",
]

_UNREADABLE = (
    "This is neither Cirq JSON nor OpenQASM 2: write the file with cirq.to_json(circuit, path), or "
    "begin it with 'OPENQASM 2.0;'."
)

_OPENQASM_3 = (
    "This is OpenQASM 3, which Cirq does not read: submit it to a target that takes QIR with "
    "`cirq-azure-sessions jobs submit FILE --target TARGET`, or write it in OpenQASM 2."
)

_EMPTY = (
    "This file is empty, or holds only comments: write a circuit with cirq.to_json(circuit, path), "
    "or in OpenQASM 2."
)

_PATH_OR_TEXT = (
    "the path of a file, or a text",
    lambda value: isinstance(value, str) or PATH[1](value),
)


def read_circuit(path_or_text: str | os.PathLike[str]) -> cirq.Circuit:
    """A circuit from Cirq JSON (gzipped or not) or OpenQASM 2, as the command line reads it.

    In OpenQASM the qubit `q[0]` becomes `cirq.NamedQubit("q_0")` and the bit `c[2]` the measurement
    key `c_2`; a bit that is measured several times has one record per measurement.

    Args:
        path_or_text: A file, whose format is detected by content, or the circuit as a string.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not a circuit; the message says where and why.
    """
    check_option("path_or_text", path_or_text, kind=_PATH_OR_TEXT)
    return parse_circuit(read_text(path_or_text))


def read_text(path_or_text: str | os.PathLike[str]) -> str:
    """The text of a file in any detectable encoding, or the given text."""
    if isinstance(path_or_text, str) and _is_text(path_or_text):
        return plain_text(path_or_text)
    with open(path_or_text, "rb") as file:
        return decode_text(read_whole(file))


def decode_text(content: bytes) -> str:
    """The text of a file, gzipped or not.

    Raises:
        ValueError: If it is not text; the message says why.
    """
    return plain_text(_decode(in_utf8(content)))


def _is_openqasm(text: str) -> bool:
    """Whether a text looks like OpenQASM."""
    return openqasm_version(text) is not None


def parse_circuit(text: str) -> cirq.Circuit:
    """The circuit in a text of Cirq's JSON or OpenQASM 2.

    Raises:
        ValueError: If it is not a circuit; the message says where and why.
    """
    if text.lstrip().startswith(("{", "[")):
        return _from_json(text)
    if (version := openqasm_version(text)) is not None:
        if version == "3":
            raise ValueError(_OPENQASM_3)
        return _from_openqasm(text)
    raise ValueError(_EMPTY if is_blank(text) else _UNREADABLE)


def parse_program(text: str) -> cirq.Circuit:
    """The circuit in a text, to be sampled.

    Raises:
        ValueError: If it is not a circuit, or measures nothing in OpenQASM.
    """
    circuit = parse_circuit(text)
    if _is_openqasm(text) and not circuit.has_measurements():
        raise ValueError("The program has no `measure` statement that can be reached.")
    return circuit


def _is_text(path_or_text: str) -> bool:
    # No file's name has a null character.
    if any(character in path_or_text for character in "\n\r\0"):
        return True
    if not path_or_text.strip():
        return True
    looks_like_text = path_or_text.lstrip("\ufeff \t").startswith(("{", "[")) or _is_openqasm(
        path_or_text.removeprefix("\ufeff")
    )
    # A file name such as `[1].json` may look like JSON.
    return looks_like_text and not os.path.exists(path_or_text)


def _decode(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        # OpenQASM is ASCII except for comments, which are skipped.
        text = content.decode("latin-1")
        if _is_openqasm(text.replace("\r", "\n")):
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
        # The classes named in the JSON may raise anything on invalid fields.
        raise ValueError(f"Cirq cannot read this JSON: {_in_one_line(error)}") from error
    if not isinstance(value, cirq.AbstractCircuit):
        raise ValueError(
            f"This JSON holds a {type(value).__name__}, not a circuit: write the circuit alone, "
            "with cirq.to_json(circuit, path)."
        )
    return value.unfreeze()


def _from_openqasm(text: str) -> cirq.Circuit:
    try:
        return to_circuit(reader.read(text))
    except ProgramError as error:
        raise ValueError(f"This OpenQASM cannot be read. {error.message}") from error


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
