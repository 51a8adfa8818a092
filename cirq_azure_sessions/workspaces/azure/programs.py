"""Programs in any language and their attachments, handled by the SDK's own objects."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
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
from cirq_azure_sessions.workspaces.azure import qdk_compiler
from cirq_azure_sessions.workspaces.azure.bit_order import misread_place
from cirq_azure_sessions.workspaces.azure.documents import without_secrets

__all__ = ["find_target", "list_attachments", "prepare", "submit"]

_QIR = "qir.v1"
_BITCODE = b"BC\xc0\xde"
# The default name of compilers for the entry point of bitcode.
_ENTRY_POINT = "ENTRYPOINT__main"

# What qdk may take to compile a program: seconds, and bytes of memory. It takes a second for 10,000
# qubits.
_COMPILE_TIMEOUT = 60
_MAX_COMPILE_BYTES = 4 * 2**30

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
        return _in_qir(content, target)
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
    if place := misread_place(bare):
        line, column = place
        raise UnsupportedProgram(
            f"qdk cannot compile {path.name} for {target.name}. Line {line}, column {column}: qdk "
            "would read these bits in reverse order. Use single bits, such as `c[0] == 1`, instead "
            "of a register's number."
        )
    return _in_qir(_compile(path, text, None if is_openqasm else entry, target), target)


def _in_qir(content: bytes, target: Any) -> Mapping[str, Any]:
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


def _compile(path: Path, text: str, entry: str | None, target: Any) -> bytes:
    """The QIR of an OpenQASM 3 program, or of a Q# expression and its source."""
    if importlib.util.find_spec("qdk") is None:
        raise UnsupportedProgram(
            f"{'OpenQASM 3' if entry is None else 'Q#'} is compiled by qdk: run pip "
            "install '.[qir]' in your checkout."
        )
    limits = _COMPILE_TIMEOUT, _MAX_COMPILE_BYTES
    try:
        done = subprocess.run(
            # Without this folder on the path, whose modules have names of the standard library.
            [sys.executable, "-P", qdk_compiler.__file__],
            input=json.dumps([text, entry, target.target_profile, *limits]).encode(),
            capture_output=True,
            timeout=_COMPILE_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        done = None
    if done is not None and done.returncode == 0:
        return done.stdout
    if done is not None and done.returncode == qdk_compiler.NOT_COMPILED:
        reason = _first_error(done.stderr.decode(), entry)
    elif done is not None and done.returncode > 0:
        reason = f"It failed: {done.stderr.decode(errors='replace').splitlines()[-1]}"
    else:
        reason = (
            f"It takes more than {_COMPILE_TIMEOUT} s or {_MAX_COMPILE_BYTES / 2**30:g} GiB: check "
            "that its loops end, and that its registers are no larger than they must be."
        )
    raise UnsupportedProgram(f"qdk cannot compile {path.name} for {target.name}. {reason}")


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
