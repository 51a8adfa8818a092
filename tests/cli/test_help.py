"""The help teaches: it fits a terminal, and every command in it is one that can be typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cirq_azure_sessions.cli import main


def commands(group: click.Group, *names: str) -> Iterator[tuple[str, ...]]:
    """The words of every command, groups among them."""
    yield names
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *names, name)
        else:
            yield (*names, name)


COMMANDS = list(commands(main))


def help_of(words: tuple[str, ...]) -> str:
    shown = CliRunner().invoke(main, [*words, "--help"], env={"COLUMNS": "80"})
    assert shown.exit_code == 0
    return shown.stdout


def examples(help_text: str) -> list[list[str]]:
    """The commands that a help text shows, as the shell would split them."""
    text = help_text.replace("\\\n", " ").replace("$(", "(")
    lines = re.findall(r"^ {4}cirq-azure-sessions (.*)$", text, re.MULTILINE)
    return [shlex.split(re.split(" && | > ", line)[0]) for line in lines]


def test_every_command_that_prints_data_prints_json() -> None:
    without = {words for words in COMMANDS if "--json" not in help_of(words)}
    # Groups, and what shows or serves something until it is stopped.
    assert without == {(), ("sessions",), ("jobs",), ("journal",), ("demo",), ("emulate",)}


EXAMPLES = [example for words in COMMANDS for example in examples(help_of(words))]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_fits_a_terminal_of_80_columns_and_explains_every_option(
    words: tuple[str, ...],
) -> None:
    lines = help_of(words).splitlines()
    assert max(map(len, lines)) <= 80
    # What a command does is told whole in the list of commands.
    assert [line for line in lines if re.search(r"^  \w.* .*[^\d]\.\.\.$", line)] == []
    options = lines[lines.index("Options:") + 1 :]
    alone = [
        option
        for option, following in zip(options, [*options[1:], ""], strict=True)
        if re.fullmatch(r"  -\S+( \S+)*", option) and not following.startswith("     ")
    ]
    assert alone == []


@pytest.mark.parametrize("example", EXAMPLES, ids=" ".join)
def test_commands_in_the_help_are_valid(
    example: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("bell.qasm", "rotation.json"):
        Path(name).touch()
    words = list(example)
    command: click.Command = main
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    command.make_context("example", words)


def test_the_help_has_examples() -> None:
    assert {"run", "emulate", "sessions", "jobs"} <= {example[0] for example in EXAMPLES}
