"""A lock that lasts as long as the process that holds it.

A process id does not tell a live run from a dead one: ids are given out again, and a process that
is killed cannot cross itself out. A lock on an open file is the kernel's to release, at once and
however the process ends: by exit, by `kill -9` or with the machine.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import BinaryIO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["RunLock"]


class RunLock:
    """A file that its run keeps locked. The file is removed with the lock.

    Locks taken through two openings of one file exclude each other even within one process, so
    that two runs of one process are told apart as well (`flock(2)`; the older `fcntl` locks belong
    to the process as a whole and would not do).
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file

    @classmethod
    def take(cls, path: Path) -> RunLock:
        """Makes the file, readable by its owner only, and locks it.

        Raises:
            OSError: If the file cannot be made, or somebody holds it.
        """
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
        try:
            _lock(file)
        except OSError:
            file.close()
            raise
        return cls(path, file)

    @staticmethod
    def is_held(path: Path) -> bool:
        """Whether some run is alive that holds this lock. What a dead run left is removed.

        Two that ask at the same time take each other for the run: the caller sees to it that they
        ask in turn.
        """
        try:
            file = path.open("r+b")
        except FileNotFoundError:
            return False
        try:
            _lock(file)
        except BlockingIOError:
            file.close()
            return True
        RunLock(path, file).release()
        return False

    def release(self) -> None:
        """Unlocks the file and removes it."""
        self._file.close()
        # On Windows a file that somebody is just looking at cannot be removed; the next one will.
        with contextlib.suppress(OSError):
            self._path.unlink()

    def abandon(self) -> None:
        """Lets go of the copy that the child of a fork has; the parent keeps its lock."""
        self._file.close()


def _lock(file: BinaryIO) -> None:
    """Locks without waiting; `BlockingIOError` if somebody else has the lock."""
    if sys.platform == "win32":
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(*error.args) from error
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
