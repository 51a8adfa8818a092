"""Programs in any language and their attachments, handled by the SDK's own objects."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from azure.core.exceptions import AzureError
from azure.quantum import Job as AzureJob
from azure.quantum import Workspace
from azure.storage.blob import BlobProperties

from cirq_azure_sessions.encodings import (
    in_utf8,
    is_blank,
    openqasm_version,
    plain_text,
    without_comments,
)
from cirq_azure_sessions.errors import ServiceError, UnsupportedProgram, UnsupportedTarget
from cirq_azure_sessions.spelling import did_you_mean
from cirq_azure_sessions.workspaces.azure.documents import without_secrets

__all__ = ["find_target", "list_attachments", "prepare", "submit"]

_QIR = "qir.v1"
_BITCODE = b"BC\xc0\xde"
# The default name of compilers for the entry point of bitcode.
_ENTRY_POINT = "ENTRYPOINT__main"

# No target has as many qubits. qdk takes a second for them, and hours for a hundred times as many.
_MAX_QUBITS = 10_000
_REGISTER = re.compile(r"\bqubit\s*\[\s*(\w+)\s*\]|\bqreg\s+\w+\s*\[\s*(\w+)\s*\]")
# A constant that may be the size of a register.
_CONSTANT = re.compile(r"\bconst\s+u?int(?:\s*\[[^]]*\])?\s+(\w+)\s*=\s*(\w+)\s*;")

# Where an error is, in what qdk reports.
_PLACE = re.compile(r"^ *,-\[(?P<file>.*):(?P<line>\d+):(?P<column>\d+)\]", re.MULTILINE)


def find_target(workspace: Workspace, name: str) -> Any:
    """The SDK's target with this id.

    Raises:
        UnsupportedTarget: If the workspace has none.
        ServiceError: If the service does not answer.
    """
    try:
        found = workspace.get_targets(name)
        # The SDK returns an empty list for an unknown target.
        if isinstance(found, list):
            hint = did_you_mean(name, [each.name for each in workspace.get_targets()])
            raise UnsupportedTarget(
                f"This workspace has no target {name!r}: `cirq-azure-sessions targets` "
                f"lists its targets.{hint}"
            )
    except AzureError as error:
        raise _translated(error) from None
    return found


def prepare(
    target: Any,
    path: Path,
    content: bytes,
    *,
    translate: Callable[[str], Mapping[str, Any]],
    entry: str = "Main()",
    input_format: str | None = None,
) -> Mapping[str, Any]:
    """The arguments of the target's `submit` for the program in a file.

    Q# and OpenQASM 3 are compiled to QIR; other text is sent in UTF-8 with the line ends of Unix.
    Everything else, and all that has an `input_format`, is sent as it is.

    Args:
        target: The SDK's target.
        path: The file's name. Q# ends in `.qs`; any other language is recognized by the content.
        content: The content of the file.
        translate: Makes these arguments of OpenQASM 2, if the target takes another language.
        entry: The Q# expression to run.
        input_format: The service's name for the program's format.

    Raises:
        UnsupportedProgram: If the target cannot take the program, or the file is empty or damaged.
    """
    if input_format is None:
        try:
            content = in_utf8(content)
        except ValueError as error:
            raise UnsupportedProgram(f"{path.name}: {error}") from error
    # OpenQASM is ASCII except for comments, which may have any encoding.
    text = plain_text(content.decode(errors="replace"))
    if is_blank(text):
        raise UnsupportedProgram(
            f"{path.name} is empty, or holds only comments: give a file that holds a program."
        )
    if input_format == _QIR or (input_format is None and content.startswith(_BITCODE)):
        return {
            "input_data": content,
            "input_data_format": _QIR,
            "output_data_format": "microsoft.quantum-results.v2",
            "content_type": _QIR,
            "input_params": {
                "entryPoint": _ENTRY_POINT,
                "arguments": [],
                "target_profile": target.target_profile,
            },
        }
    if input_format is not None:
        return {"input_data": content, "input_data_format": input_format}
    version = openqasm_version(text)
    is_openqasm = version is not None
    if path.suffix.lower() != ".qs" and not is_openqasm:
        if text.startswith("{") and '"cirq_type"' in text:
            raise UnsupportedProgram(
                f"{path.name} holds a circuit of Cirq: sample it with `cirq-azure-sessions run`."
            )
        return {"input_data": content if "\N{REPLACEMENT CHARACTER}" in text else text.encode()}
    bare = without_comments(text) if is_openqasm else ""
    if is_openqasm and not re.search(r"\bmeasure\b", bare):
        raise UnsupportedProgram(
            f"{path.name} has no `measure` statement, and would have no result: add one."
        )
    if "pulser" in target.input_data_format:
        raise UnsupportedProgram(
            f"{target.name} takes pulse sequences ({target.input_data_format}) and no "
            f"{'OpenQASM' if is_openqasm else 'Q#'}: send {path.name} to another target."
        )
    if version == "2":
        takes_it = "openqasm" in target.input_data_format
        return {"input_data": text.encode()} if takes_it else translate(text)
    if (needed := _num_qubits(bare)) > _MAX_QUBITS:
        raise UnsupportedProgram(
            f"{path.name} declares {needed} qubits, more than any target has: declare fewer."
        )
    return {"input_data": _compile(path, text, None if is_openqasm else entry, target)}


def _num_qubits(bare: str) -> int:
    """The number of qubits in the registers of an OpenQASM 3 program without comments.

    Registers whose size is a formula are not counted.
    """
    sizes: dict[str, str] = {}
    for name, value in _CONSTANT.findall(bare):
        sizes[name] = sizes.get(value, value)
    total = 0
    for found in _REGISTER.findall(bare):
        size = sizes.get("".join(found), "".join(found))
        with contextlib.suppress(ValueError):
            # Beside decimal numbers there are 0x..., 0o... and 0b...
            total += int(size, 0 if size[1:2].isalpha() else 10)
    return total


def _compile(path: Path, text: str, entry: str | None, target: Any) -> Any:
    """The QIR of an OpenQASM 3 program, or of a Q# expression and its source."""
    try:
        from qdk import openqasm, qsharp
    except ImportError as error:
        raise UnsupportedProgram(
            f"{'OpenQASM 3' if entry is None else 'Q#'} is compiled by qdk: run pip "
            "install '.[qir]' in your checkout."
        ) from error
    try:
        qsharp.init(target_profile=qsharp.TargetProfile.from_str(target.target_profile))
        if entry is None:
            return openqasm.compile(text)
        qsharp.eval(text)
        return qsharp.compile(entry)
    except (qsharp.QSharpError, openqasm.QasmError) as error:
        raise UnsupportedProgram(
            f"qdk cannot compile {path.name} for {target.name}. {_first_error(str(error), entry)}"
        ) from None


def _first_error(report: str, entry: str | None) -> str:
    """The first of the errors that qdk has drawn under each other, in one line; the others follow
    from it."""
    report = re.sub(r"^Qdk\..*", "", report, flags=re.MULTILINE)
    _, *errors = re.split(r"^ *x ", report, flags=re.MULTILINE)
    message, *hints = re.split(r"^ *help: ", errors[0] if errors else report, flags=re.MULTILINE)
    if place := _PLACE.search(message):
        message = message[: place.start()]
    # A cause stands behind an arrow, and the rest of a long line behind a bar.
    message = re.sub(r"\n *\|", " ", re.sub(r"\n *`->", ":", message))
    if place:
        where = f"{entry}: c" if place["file"] == "<entry>" else f"Line {place['line']}, c"
        message = f"{where}olumn {place['column']}: {message}"
    sentences = (" ".join(each.split()) for each in (message, *hints))
    return " ".join(f"{s[:1].upper()}{s[1:]}{'' if s[-1:] in '.?' else '.'}" for s in sentences)


def submit(target: Any, program: Mapping[str, Any], **options: Any) -> str:
    """Submits a prepared program with the SDK's options; returns the id of the job.

    Raises:
        ServiceError: If the service does not accept it.
    """
    given = {name: value for name, value in options.items() if value is not None}
    params = {**program.get("input_params", {}), **given.pop("input_params", {})}
    try:
        job = target.submit(**{**program, **given, "input_params": params})
    except AzureError as error:
        raise _translated(error) from None
    job_id: str = job.id
    return job_id


def list_attachments(job: AzureJob) -> Sequence[BlobProperties]:
    """The blobs in a job's container, including its program and its output.

    Raises:
        ServiceError: If the service or its storage does not list them.
    """
    try:
        return list(job.list_attachments())
    except AzureError as error:
        raise _translated(error) from None


def _translated(error: AzureError) -> ServiceError:
    return ServiceError(
        without_secrets(error.message), status_code=getattr(error, "status_code", None)
    )
