"""Reads a circuit from a file: Cirq's JSON, or OpenQASM 2."""

from __future__ import annotations

from pathlib import Path

import cirq

from cirq_azure_sessions.cli.openqasm import read_openqasm

__all__ = ["parse_circuit", "read_circuit"]

_UNREADABLE = (
    "This is neither Cirq JSON nor OpenQASM 2: write the file with cirq.to_json(circuit, path), or "
    "begin it with 'OPENQASM 2.0;'."
)


def read_circuit(path: str | Path) -> cirq.Circuit:
    """The circuit in a file.

    Args:
        path: A file of Cirq's JSON or of OpenQASM 2; its content decides which, not its name.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it holds no circuit; the message says where and why.
    """
    try:
        return parse_circuit(Path(path).read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise ValueError(_UNREADABLE) from None


def parse_circuit(text: str) -> cirq.Circuit:
    """The circuit that a text describes, in Cirq's JSON or in OpenQASM 2.

    Raises:
        ValueError: If it is no circuit; the message says where and why.
    """
    if text.lstrip().startswith(("{", "[")):
        return _from_json(text)
    if "OPENQASM" in text:
        return _from_openqasm(text)
    raise ValueError(_UNREADABLE)


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
        return read_openqasm(text)
    except ValueError as error:
        raise ValueError(f"This OpenQASM cannot be read: {_in_one_line(error)}.") from error


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
