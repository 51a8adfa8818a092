"""Code blocks of Markdown, and running them on an emulated workspace."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import azure.quantum
import pytest
from azure.core.credentials import AzureKeyCredential
from click.testing import CliRunner, Result

from cirq_azure_sessions.cli import main
from cirq_azure_sessions.emulator import EmulatorServer

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the number of the line before it."""

    language: str
    text: str
    line: int

    @property
    def next_line(self) -> int:
        """The line before the text of a block that follows with but an empty line between."""
        return self.line + self.text.count("\n") + 3


@dataclass(frozen=True)
class Page:
    """A file of Markdown and its code."""

    path: Path
    blocks: tuple[Block, ...]

    @classmethod
    def read(cls, path: Path) -> Page:
        text = path.read_text(encoding="utf-8")
        found = re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        return cls(path, tuple(Block(m[1], m[2], text[: m.start(2)].count("\n")) for m in found))

    def in_language(self, language: str) -> list[Block]:
        return [block for block in self.blocks if block.language == language]

    def shown_after(self, block: Block) -> str:
        """What the page shows right after a block; nothing if other words follow."""
        shown = (each.text for each in self.in_language("text") if each.line == block.next_line)
        return next(shown, "")

    def run_python(self, block: Block, names: dict[str, object]) -> None:
        """Runs a block with the names of the earlier ones, and compares what it prints."""
        where = self.path.relative_to(ROOT)
        # Empty lines in front make tracebacks show the page's own line numbers.
        code = compile("\n" * block.line + block.text, str(where), "exec")
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, names)
        # Without the dots that the SDK prints while it waits for a job.
        output = re.sub(r"^\.+", "", printed.getvalue(), flags=re.MULTILINE)
        assert output == self.shown_after(block), f"{where}, line {block.line}, prints:\n{output}"


def call(command: str) -> Result:
    """What a command line that begins with `cirq-azure-sessions` does, 80 columns wide."""
    program, *arguments = shlex.split(command)
    assert program == "cirq-azure-sessions"
    return CliRunner().invoke(main, arguments, env={"COLUMNS": "80"})


@contextlib.contextmanager
def emulated_azure(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatorServer]:
    """Connects `Workspace()` to an emulator, and `Workspace(resource_id=..., location=...)` too."""
    # It takes hold of the SDK's class when it is first imported, which must not be the one below.
    importlib.import_module("cirq_azure_sessions.workspaces.azure")
    with EmulatorServer(key="emulator") as server:
        monkeypatch.setattr(azure.quantum, "Workspace", _emulated_workspace(server))
        yield server


def _emulated_workspace(server: EmulatorServer) -> type[azure.quantum.Workspace]:
    original = azure.quantum.Workspace

    class Workspace(original):
        def __init__(self, *args: object, **options: Any) -> None:
            if all(value is ... for value in (*args, *options.values())):
                options = {
                    "resource_id": server.resource_id,
                    "location": "eastus",
                    "credential": AzureKeyCredential(server.key),
                    "_quantum_endpoint": server.endpoint,
                }
            super().__init__(**options)

        def __reduce__(self) -> tuple[Any, ...]:
            # Other processes have the SDK's own class.
            return object.__new__, (original,), vars(self)

    return Workspace
