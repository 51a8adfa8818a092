"""Output files of commands, which never overwrite input files or files of other programs."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

__all__ = ["FilePath", "check_not_printed_to", "check_replaceable", "replacing"]


class FilePath(click.Path):
    """A file path; an empty one, as from an unset shell variable, is refused."""

    def __init__(self, *, exists: bool = False, allow_dash: bool = False) -> None:
        super().__init__(exists=exists, dir_okay=False, allow_dash=allow_dash, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("The path is empty.", param, ctx)
        path: Path = super().convert(value, param, ctx)  # type: ignore[assignment]  # as asked for
        check_not_printed_to(path)
        return path


def check_not_printed_to(path: Path) -> None:
    """Refuses a file to which the shell redirects the command's output, as with `>> FILE`.

    Raises:
        click.UsageError: If stdout is this file.
        click.exceptions.Exit: If stderr is this file, so that no message can be printed.
    """
    if _is_stream(2, path):
        raise click.exceptions.Exit(2)
    if _is_stream(1, path):
        raise click.UsageError(
            f"The output of this command would be written into {path}: redirect it to another file."
        )


def _is_stream(number: int, path: Path) -> bool:
    # The file or the stream may not exist.
    with suppress(OSError):
        return path.is_file() and os.path.samestat(os.fstat(number), path.stat())
    return False


def check_replaceable(output: Path, is_own: Callable[[Path], bool], kind: str) -> None:
    """Refuses a file that the command did not write; the arguments are those of `replacing`.

    Raises:
        click.UsageError: If there is such a file.
        OSError: If it cannot be read, or no file can be created there.
    """
    if output.exists() and not output.is_file():
        return
    real = Path(os.path.realpath(output))
    problem = 0
    if real.is_symlink():
        # A loop of links, one of which would be replaced.
        problem = errno.ELOOP
    elif not real.parent.is_dir():
        problem = errno.ENOENT
    elif not os.access(real.parent, os.W_OK):
        problem = errno.EACCES
    if problem:
        raise OSError(problem, os.strerror(problem), str(output))
    if output.is_file() and output.stat().st_size and not is_own(output):
        raise click.UsageError(
            f"{output} already exists and is not this command's {kind}: choose another file "
            "for --output, or remove it."
        )


@contextmanager
def replacing(output: Path, is_own: Callable[[Path], bool], kind: str) -> Iterator[Path]:
    """A new file to write, which replaces `output` when the block succeeds.

    Args:
        output: The file to replace; a pipe or a terminal is written to directly.
        is_own: Whether the command may have written an existing file.
        kind: What it writes, for messages.

    Raises:
        click.UsageError: If the command did not write the existing file.
        click.ClickException: If the file cannot be written.
    """
    # A symbolic link stays a link.
    real = Path(os.path.realpath(output))
    try:
        check_replaceable(output, is_own, kind)
        if output.exists() and not output.is_file():
            yield output
            return
        # The name is unused: the file is created, or the command ends with an error.
        part = real.with_name(f".{secrets.token_hex(16)}{real.suffix}")
        part.touch(exist_ok=False)
        try:
            if real.exists():
                part.chmod(stat.S_IMODE(real.stat().st_mode))
            yield part
            part.replace(real)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise click.ClickException(
            f"{output} cannot be written ({error.strerror}): choose another --output."
        ) from error
