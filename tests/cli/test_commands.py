"""The command line as a whole."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from command_line import NEEDS_FULL_DISK, connection
from terminals import terminal

from cirq_azure_sessions import Journal
from cirq_azure_sessions.cli import main
from cirq_azure_sessions.emulator import EmulatorServer


def options_with_values(
    group: click.Group = main, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """Every command with each of its options that takes a value."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from options_with_values(command, (*path, name))
        for option in command.params:
            if isinstance(option, click.Option) and not (option.is_flag or option.is_eager):
                yield *path, name, max(option.opts, key=len)


@pytest.mark.parametrize("words", list(options_with_values()), ids=" ".join)
def test_empty_value_of_an_unset_shell_variable_is_refused(words: tuple[str, ...]) -> None:
    refused = CliRunner().invoke(main, [*words, ""])
    assert refused.exit_code == 2, refused.output
    assert words[-1].strip("-") in refused.stderr.partition("Error:")[2]


def test_help_answers_without_importing_cirq() -> None:
    code = (
        "import sys; from cirq_azure_sessions.cli import main\n"
        "main(['run', '--help'], standalone_mode=False)\n"
        "assert not {'cirq', 'numpy', 'rich', 'azure.quantum'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--sweep NAME=VALUES" in done.stdout


def test_commands_that_need_no_circuit_do_not_import_cirq(tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    with Journal(path), EmulatorServer() as server:
        lines = "sessions list|jobs list|targets|quotas|sessions close --name nobody --yes"
        commands = [
            ["journal", "show", str(path)],
            *([*line.split(), *connection(server)] for line in lines.split("|")),
        ]
        code = (
            "import sys; from cirq_azure_sessions.cli import main\n"
            f"for words in {commands!r}:\n"
            "    main(words, standalone_mode=False)\n"
            "    assert not {'cirq', 'numpy', 'matplotlib'} & set(sys.modules), words\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_package_is_a_command_too() -> None:
    command = [sys.executable, "-m", "cirq_azure_sessions", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("cirq-azure-sessions, version ")


@NEEDS_FULL_DISK
def test_help_that_cannot_be_written_is_one_sentence() -> None:
    command = [sys.executable, "-m", "cirq_azure_sessions", "run", "--help"]
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "Error: The output cannot be used (No space left on device).\n"


def test_an_error_is_wrapped_on_a_terminal_and_one_line_for_programs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["sessions", "list", "--status", "ready"]
    (sentence,) = CliRunner().invoke(main, words).stderr.splitlines()[-1:]
    assert sentence.startswith("Error: Unknown status 'ready': use one of ")
    with terminal(40) as written:
        monkeypatch.setenv("COLUMNS", "40")
        with pytest.raises(SystemExit):
            main(words)
    lines = "".join(written).replace("\r", "").partition("Error:")[2].splitlines()
    assert max(map(len, lines)) <= 40
    assert " ".join(f"Error:{' '.join(lines)}".split()) == sentence


def test_a_missing_login_is_reported_in_one_line() -> None:
    """In a process of its own, since here pytest takes what the SDK would log to stderr."""
    workspace = (
        "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/group"
        "/providers/Microsoft.Quantum/Workspaces/mine"
    )
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("AZURE_")
    }
    command = [sys.executable, "-m", "cirq_azure_sessions", "targets"]
    done = subprocess.run(
        [*command, "--resource-id", workspace, "--location", "eastus"],
        # The one credential that needs neither network nor program to find that it has nothing.
        env=environment | {"AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    (sentence,) = done.stderr.splitlines()
    assert "run `az login`" in sentence
