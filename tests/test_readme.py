"""The README's promises: its code runs, and prints what it shows."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from pages import ROOT, Page, call, emulated_azure

from cirq_azure_sessions.cli import main

README = Page.read(ROOT / "README.md")
REHEARSAL = Page.read(ROOT / "docs" / "how-to" / "rehearsal.md")


def test_code_prints_the_documented_output(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with emulated_azure(monkeypatch):
        for block in README.in_language("python"):
            # A reader may paste any of them alone into a fresh interpreter.
            README.run_python(block, {})


def test_commands_print_the_documented_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bell,) = (block.text for block in README.in_language("sh") if "bell.qasm" in block.text)
    subprocess.run(["bash", "-c", bell], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    for block in README.in_language("console"):
        printed = ""
        for command in re.findall(r"^\$ (.*)$", block.text, re.MULTILINE):
            printed += f"$ {command}\n{call(command).output}"
        assert [line.rstrip() for line in printed.splitlines()] == block.text.splitlines()


def test_demonstration_prints_the_documented_output() -> None:
    """Except for what differs each time: samples, the ids of sessions, and how many jobs find out
    that a session has timed out before it is reopened."""
    shown = next(block.text for block in REHEARSAL.blocks if "QAOA" in block.text)
    printed = CliRunner().invoke(main, ["demo"], catch_exceptions=False).stdout
    assert [_without_chance(line) for line in shown.splitlines()] == [
        _without_chance(line) for line in printed.splitlines()
    ]


def _without_chance(line: str) -> str:
    # A row of the first table keeps its angle and its theory.
    if row := re.match(r"\d\.\d{3} +\d\.\d{2}", line):
        return row[0]
    return re.sub(r"\b[0-9a-f]{8}\b|\d+ of 500|[01]{6}|\d\.\d{3}|\d+ reused", "*", line).rstrip()


def test_first_two_shell_blocks_run_demonstration_and_tests() -> None:
    demonstration, tests, *_ = (block.text for block in README.in_language("sh"))
    assert demonstration.rstrip().endswith("cirq-azure-sessions demo")
    assert tests.rstrip().endswith("-m pytest -n auto")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.findall(r"\.\[(\w+)\]", demonstration + tests)
    assert len(extras) == 2
    assert set(extras) <= set(project["optional-dependencies"])


def test_ci_runs_the_test_command_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    extraction = re.search(r"test_command=\$\((awk .*)\)", script)
    assert extraction is not None
    extracted = subprocess.run(
        ["bash", "-c", extraction[1]], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert extracted.stdout == README.in_language("sh")[1].text
