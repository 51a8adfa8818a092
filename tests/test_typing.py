"""Types, as the programs of users meet them: under mypy's strictest rules and under pyright."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import cirq_azure_sessions

USER = Path(__file__).with_name("support") / "typed_use.py"
MYPY = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary"]
PYRIGHT = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"]


def mypy(path: Path) -> list[str]:
    """What mypy has to say of a file, without any configuration of this project."""
    cache = Path(__file__).parents[1] / ".mypy_cache" / "user"
    command = [*MYPY, f"--cache-dir={cache}", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=path.parent)
    return (done.stdout + done.stderr).splitlines()


@pytest.fixture(scope="module")
def surprises(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that imports every public name, and one that is misspelt."""
    names = ", ".join(cirq_azure_sessions.__all__)
    path = tmp_path_factory.mktemp("user") / "surprises.py"
    path.write_text(
        f"from cirq_azure_sessions import {names}\n"
        "from cirq_azure_sessions import SesionPool\n"
        "from cirq_azure_sessions.emulator import EmulatorSever\n"
        f"print({names})\n"
    )
    return path


def test_mypy_finds_nothing_in_a_program_that_uses_the_package() -> None:
    assert mypy(USER) == []


def test_mypy_knows_every_public_name_and_no_misspelt_one(surprises: Path) -> None:
    unknown = [line.split(":")[1] for line in mypy(surprises) if "attr-defined" in line]
    assert unknown == ["2", "3"]


def test_pyright_finds_the_same_errors_as_mypy(surprises: Path) -> None:
    try:
        done = subprocess.run(
            [*PYRIGHT, str(USER), str(surprises)], capture_output=True, text=True, timeout=100
        )
        found = json.loads(done.stdout)["generalDiagnostics"]
    except (json.JSONDecodeError, subprocess.TimeoutExpired):
        pytest.skip("pyright, which is fetched from npm when it is first run, cannot be had here")
    problems = [(Path(each["file"]), each["range"]["start"]["line"] + 1) for each in found]
    assert problems == [(surprises, 2), (surprises, 3)]
