"""Terminals for tests: what is written to one, and what it shows."""

from __future__ import annotations

import os
import pty
import re
import struct
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from fcntl import ioctl

_END = "\0"


def frames(written: str) -> list[str]:
    """What stood on the line, one picture after the other."""
    return [frame.strip("\n") for frame in written.split("\r") if frame.strip("\n")]


@contextmanager
def terminal(columns: int) -> Iterator[list[str]]:
    """Stderr as a terminal of so many columns; afterwards the list has what was written."""
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    written: list[str] = []

    # A process that multiprocessing starts meanwhile may keep the other end open, so that what is
    # written ends with a character of its own.
    def read() -> None:
        while not (data := os.read(master, 65536).decode()).endswith(_END):
            written.append(data)
        written.append(data.removesuffix(_END))

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(slave, "w") as file, redirect_stderr(file):
        try:
            yield written
        finally:
            file.write(_END)
            file.flush()
            reader.join()
    os.close(master)


def on_screen(written: str) -> list[str]:
    """The lines that a terminal shows in the end, without those that are empty.

    Knows what tqdm writes: the start of the line, the next line, and the line above.
    """
    lines = [""]
    row = 0
    for part in re.split(r"(\r|\n|\x1b\[A)", written):
        if part == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif part == "\x1b[A":
            row -= 1
        elif part not in ("", "\r"):
            # All that tqdm writes begins at the start of a line.
            lines[row] = part + lines[row][len(part) :]
    return [line.rstrip() for line in lines if line.strip()]
