"""Writes the options of the commands to `reference/commands.md`: `python docs/make_commands.py`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from cirq_azure_sessions.cli import main

PAGE = Path(__file__).parent / "reference" / "commands.md"
MARK = "<!-- docs/make_commands.py writes what follows. -->\n"
# Listed once, instead of with every command.
WORKSPACE = ("--resource-id", "--location", "--connection-string", "--emulator", "--emulator-key")


def commands_page() -> str:
    """The page: its introduction as it is, and a section for each command."""
    introduction = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    commands = list(_commands(main, click.Context(main, info_name="cirq-azure-sessions")))
    any_command, context = next((each, at) for each, at in commands if _workspace_options(each))
    sections = [
        "## Options that name the workspace",
        _table(_workspace_options(any_command), context),
        *(_section(command, context) for command, context in commands),
    ]
    return introduction + MARK + "\n" + "\n\n".join(sections) + "\n"


def _commands(
    group: click.Group, at: click.Context
) -> Iterator[tuple[click.Command, click.Context]]:
    for name in group.list_commands(at):
        command = group.get_command(at, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=at)
        if isinstance(command, click.Group):
            yield from _commands(command, context)
        else:
            yield command, context


def _section(command: click.Command, context: click.Context) -> str:
    name = context.command_path.removeprefix("cirq-azure-sessions ")
    usage = " ".join(command.collect_usage_pieces(context))
    parts = [f"## {name}", f"```text\n{context.command_path} {usage}\n```"]
    for paragraph in re.split(r"\n\s*\n", (command.help or "").expandtabs()):
        if paragraph.lstrip().startswith("\b"):
            example = [line.strip("\b") for line in paragraph.splitlines() if line.strip("\b ")]
            indent = min(len(line) - len(line.lstrip()) for line in example)
            parts.append("```text\n" + "\n".join(line[indent:] for line in example) + "\n```")
        else:
            parts.append(_markdown(" ".join(paragraph.split())))
    own = [each for each in _options(command) if each not in _workspace_options(command)]
    if own:
        parts.append(_table(own, context))
    if _workspace_options(command):
        parts.append("And the [options that name the workspace](#options-that-name-the-workspace).")
    return "\n\n".join(parts)


def _options(command: click.Command) -> list[click.Option]:
    return [each for each in command.params if isinstance(each, click.Option) and not each.hidden]


def _workspace_options(command: click.Command) -> list[click.Option]:
    return [each for each in _options(command) if each.opts[0] in WORKSPACE]


def _table(options: list[click.Option], context: click.Context) -> str:
    rows = ["| option | what it does |", "| --- | --- |"]
    for option in options:
        record = option.get_help_record(context)
        assert record is not None
        name = record[0].replace("|", "&#124;")
        rows.append(f'| <code class="option">{name}</code> | {_markdown(record[1])} |')
    return "\n".join(rows)


def _markdown(text: str) -> str:
    """Plain text, with what Markdown would take for itself escaped."""
    return re.sub(r"([*|])", r"\\\1", text).replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(commands_page(), encoding="utf-8")
