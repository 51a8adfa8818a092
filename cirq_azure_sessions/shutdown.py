"""What ends a process, and what must be closed before: exit, SIGTERM and fork.

Pools register here, and are held while they have sessions. At interpreter exit, normal or by
exception, those are closed; SIGTERM is turned into such an exit unless the program handles it
itself; the child of a fork owns nothing.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
import weakref
from types import FrameType
from typing import Protocol

__all__ = ["hold", "let_go", "register"]


class Forkable(Protocol):
    """What can be registered."""

    def disown(self) -> None:
        """Forgets everything, without a word to anyone: it belongs to the parent process."""


class Closeable(Protocol):
    """What can be held."""

    def close_at_exit(self) -> None:
        """Closes what is open, without waiting for work that may take hours."""


_known: weakref.WeakSet[Forkable] = weakref.WeakSet()
# Also those that nobody else refers to any more: what they have open is open all the same.
_open: set[Closeable] = set()


def register(forkable: Forkable) -> None:
    """Sees to it that `forkable` is told of a fork, and that SIGTERM ends the process by exit."""
    _known.add(forkable)
    _exit_on_sigterm()


def hold(closeable: Closeable) -> None:
    """Sees to it that `closeable`, which has something open now, is closed at the end."""
    _open.add(closeable)


def let_go(closeable: Closeable) -> None:
    """Says that `closeable` has nothing open any more."""
    _open.discard(closeable)


def _exit_on_sigterm() -> None:
    # Only the main thread may set a handler, and a program's own handler stays.
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _exit)


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


@atexit.register
def _close_all() -> None:
    for closeable in list(_open):
        closeable.close_at_exit()


def _disown_all() -> None:
    _open.clear()
    for forkable in list(_known):
        forkable.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
