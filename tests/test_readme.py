"""The README's promises: its code runs, and prints what it shows."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import azure.quantum
import cirq
import pytest
import sympy
from azure.core.credentials import AzureKeyCredential
from click.testing import CliRunner

from cirq_azure_sessions.cli import main
from cirq_azure_sessions.emulator import EmulatorServer

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

BELL = """OPENQASM 2.0;
include "qelib1.inc";
qreg q[2];
creg c[2];
h q[0];
cx q[0], q[1];
barrier q;
measure q -> c;
"""


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int


def blocks(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


BLOCKS = [
    Block(match[1], match[2], README[: match.start(2)].count("\n"))
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
]


def output_of(block: Block) -> str:
    """What the README shows right after a block; nothing if other words follow."""
    following = BLOCKS.index(block) + 1
    is_shown = following < len(BLOCKS) and BLOCKS[following].language == "text"
    return BLOCKS[following].text if is_shown else ""


@pytest.fixture
def on_emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`Workspace(...)`, with the dots of the README, connects to an emulator."""
    # It takes hold of the SDK's class when it is first imported, which must not be the one below.
    importlib.import_module("cirq_azure_sessions.azure_workspace")
    with EmulatorServer(key="emulator") as server:
        monkeypatch.setattr(azure.quantum, "Workspace", emulated_workspace(server))
        yield


def emulated_workspace(server: EmulatorServer) -> type[azure.quantum.Workspace]:
    class Workspace(azure.quantum.Workspace):
        def __init__(self, *args: object, **options: Any) -> None:
            if ... in (*args, *options.values()):
                options = {
                    "resource_id": server.resource_id,
                    "location": "eastus",
                    "credential": AzureKeyCredential(server.key),
                    "_quantum_endpoint": server.endpoint,
                }
            super().__init__(**options)

    return Workspace


@pytest.mark.usefixtures("on_emulator")
def test_the_code_runs_from_top_to_bottom_and_prints_what_is_shown() -> None:
    names: dict[str, object] = {}
    for block in blocks("python"):
        # Empty lines in front make tracebacks show the README's own line numbers.
        code = compile("\n" * block.line + block.text, "README.md", "exec")
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, names)
        assert printed.getvalue() == output_of(block), f"README.md, line {block.line}"


def test_the_commands_print_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bell.qasm").write_text(BELL)
    qubit = cirq.LineQubit(0)
    rotation = cirq.Circuit(cirq.rx(sympy.Symbol("theta"))(qubit), cirq.measure(qubit, key="m"))
    cirq.to_json(rotation, tmp_path / "rotation.json")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for block in blocks("console"):
        printed = ""
        for command in re.findall(r"^\$ cirq-azure-sessions (.*)$", block.text, re.MULTILINE):
            shown = CliRunner().invoke(main, shlex.split(command))
            printed += f"$ cirq-azure-sessions {command}\n{shown.output}"
        assert [line.rstrip() for line in printed.splitlines()] == block.text.splitlines()


def test_the_demonstration_is_shown_as_it_is() -> None:
    """Up to what is drawn anew each time: the samples, and the ids of sessions."""
    shown = next(block.text for block in BLOCKS if "quantinuum" in block.text)
    printed = CliRunner().invoke(main, ["demo"], catch_exceptions=False).stdout
    assert [_without_chance(line) for line in shown.splitlines()] == [
        _without_chance(line) for line in printed.splitlines()
    ]


def _without_chance(line: str) -> str:
    # A row of the first table keeps its angle and its theory.
    if row := re.match(r"\d\.\d{3} +\d\.\d{2}", line):
        return row[0]
    return re.sub(r"\b[0-9a-f]{8}\b|\d+ of 500|[01]{6}|\d\.\d{3}", "*", line).rstrip()


def test_the_first_two_shell_blocks_run_the_demonstration_and_the_tests() -> None:
    demonstration, tests, *_ = (block.text for block in blocks("sh"))
    assert demonstration.rstrip().endswith("cirq-azure-sessions demo")
    assert tests.rstrip().endswith("-m pytest -n auto")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.findall(r"\.\[(\w+)\]", demonstration + tests)
    assert len(extras) == 2
    assert set(extras) <= set(project["optional-dependencies"])


def test_ci_runs_the_readmes_own_test_command() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    extraction = re.search(r"test_command=\$\((awk .*)\)", script)
    assert extraction is not None
    extracted = subprocess.run(
        ["bash", "-c", extraction[1]], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert extracted.stdout == blocks("sh")[1].text
