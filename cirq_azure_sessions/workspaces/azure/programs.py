"""Programs in any language and their attachments, handled by the SDK's own objects."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from azure.core.exceptions import AzureError
from azure.quantum import Job as AzureJob
from azure.quantum import Workspace
from azure.storage.blob import BlobProperties

from cirq_azure_sessions.encodings import in_utf8, plain_text
from cirq_azure_sessions.errors import ServiceError, UnsupportedProgram, UnsupportedTarget
from cirq_azure_sessions.spelling import did_you_mean
from cirq_azure_sessions.workspaces.azure.documents import without_secrets

__all__ = ["find_target", "list_attachments", "prepare", "submit"]

_QIR = "qir.v1"
_BITCODE = b"BC\xc0\xde"
# The default name of compilers for the entry point of bitcode.
_ENTRY_POINT = "ENTRYPOINT__main"
_OPENQASM = re.compile(r"\s*(?://[^\n]*\s*|/\*.*?\*/\s*)*OPENQASM\s+(\d)", re.DOTALL)


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
    entry: str = "Main()",
    input_format: str | None = None,
) -> dict[str, Any]:
    """The arguments of the target's `submit` for the program in a file.

    Q# is compiled to QIR; so is OpenQASM 3, and OpenQASM 2 for a target that takes another
    language; OpenQASM that is not compiled is sent in UTF-8. Everything else, and anything with an
    `input_format`, is sent unchanged.

    Args:
        target: The SDK's target.
        path: The file's name. Q# ends in `.qs`; any other language is recognized by the content.
        content: The content of the file.
        entry: The Q# expression to run.
        input_format: The service's name for the program's format.

    Raises:
        UnsupportedProgram: If the program cannot be compiled, or the file is empty or damaged.
    """
    if input_format is None:
        try:
            content = in_utf8(content)
        except ValueError as error:
            raise UnsupportedProgram(f"{path.name}: {error}") from error
    if not content.strip():
        raise UnsupportedProgram(f"{path.name} is empty: give a file that holds a program.")
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
    # OpenQASM is ASCII except for comments, which may have any encoding.
    text = plain_text(content.decode(errors="replace"))
    version = _OPENQASM.match(text)
    takes_openqasm = "openqasm" in target.input_data_format
    if path.suffix == ".qs" or (version and (version[1] != "2" or not takes_openqasm)):
        return {"input_data": _compile(text, None if version else entry, target.target_profile)}
    return {"input_data": text.encode() if version else content}


def _compile(text: str, entry: str | None, profile: str) -> Any:
    """The QIR of an OpenQASM program, or of a Q# expression and its source."""
    try:
        from qdk import openqasm, qsharp
    except ImportError as error:
        raise UnsupportedProgram(
            "Q# and OpenQASM 3 are compiled by qdk: run pip install '.[qir]' in your checkout."
        ) from error
    try:
        qsharp.init(target_profile=qsharp.TargetProfile.from_str(profile))
        if entry is None:
            return openqasm.compile(text)
        qsharp.eval(text)
        return qsharp.compile(entry)
    except (qsharp.QSharpError, openqasm.QasmError) as error:
        raise UnsupportedProgram(f"qdk cannot compile the program: {error}") from error


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
