"""Handling of exit, SIGTERM and fork for open resources."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import weakref
from types import FrameType
from typing import Any

__all__ = [
    "close_in_workers",
    "end",
    "exit_on",
    "hold",
    "let_go",
    "register",
    "start_thread",
]

# Objects to call after a fork, by their addresses, which later objects reuse. Not a WeakSet: Python
# prints and forgets a KeyboardInterrupt that strikes in its callbacks.
_registered: dict[int, weakref.ref[Any]] = {}
# Strong references: open resources must be closed, even if nothing else refers to their owners.
_held: set[Any] = set()
# Held while closing them.
_closing = threading.Lock()
# Whether this process, as a worker of `multiprocessing`, closes them when it ends.
_closes_as_worker = False
# Whether workers do so on SIGTERM as well, and whether this one is prepared.
_closes_on_sigterm_in_workers = False
_is_prepared = False


def register(owner: Any) -> None:
    """Has `owner._after_fork()` called in forked children."""
    _registered[id(owner)] = weakref.ref(owner)


def start_thread(thread: threading.Thread) -> None:
    """Starts a thread; an interrupt meanwhile stays a `KeyboardInterrupt`.

    If it comes in the lock with which Python waits for the thread, Python raises an error about
    that lock instead.
    """
    try:
        thread.start()
    except RuntimeError as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from None
        raise


def hold(owner: Any) -> None:
    """Has `owner._close_at_exit()` called at interpreter exit, unless `let_go` is called before."""
    global _closes_as_worker
    _held.add(owner)
    # Workers of multiprocessing end by `os._exit`, which skips atexit but not its own finalizers.
    if not _closes_as_worker and _is_worker():
        from multiprocessing.util import Finalize

        _closes_as_worker = True
        Finalize(None, _close_held, exitpriority=0)


def let_go(owner: Any) -> None:
    """Unregisters `owner`, which has no open resources."""
    _held.discard(owner)


def exit_on(*names: str) -> None:
    """Turns signals, such as SIGTERM, into an ordinary exit, so that sessions are closed.

    Handlers installed by the program are kept; only the main thread can install one. Signals that
    the system lacks are ignored.
    """

    def exit_now(number: int, frame: FrameType | None) -> None:
        # A second signal must not interrupt the closing of sessions during exit.
        if not _closing.locked():
            raise SystemExit(128 + number)

    for name in names:
        number = getattr(signal, name, None)
        if number is not None and _may_handle(number):
            signal.signal(number, exit_now)


def close_in_workers() -> None:
    """Lets SIGTERM, which ends `multiprocessing` workers, close open resources first.

    This applies to this process, if it is a worker, and to those forked from it from now on.
    """
    global _closes_on_sigterm_in_workers
    _closes_on_sigterm_in_workers = True
    if _is_worker() and sys.platform != "win32" and _may_handle(signal.SIGTERM):
        _close_on_sigterm()


def _close_on_sigterm() -> None:
    """Closes on a thread, then ends the process as the signal would have.

    An exception in the main thread, as for an ordinary exit, may be lost: a worker that waits for
    work may miss the signal, or receive it in a destructor, and its pool would wait forever.
    """
    global _is_prepared
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    former = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    if former != -1:
        # Another handler is installed in this process.
        signal.set_wakeup_fd(former)
        os.close(reader)
        os.close(writer)
        return
    _is_prepared = True
    signal.signal(signal.SIGTERM, lambda number, frame: None)

    def wait() -> None:
        while signal.SIGTERM not in os.read(reader, 1):
            pass
        end(128 + signal.SIGTERM)

    threading.Thread(target=wait, name="cirq-azure-sessions-sigterm", daemon=True).start()


def _may_handle(number: int) -> bool:
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and signal.getsignal(number) is signal.SIG_DFL


def _is_worker() -> bool:
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def end(status: int = 0) -> None:
    """Ends the process on any thread, where Python's own exit ends only that thread."""
    try:
        _close_held()
    finally:
        os._exit(status)


@atexit.register
def _close_held() -> None:
    with _closing:
        # Closing one may write to another: a pool's last records go into a journal.
        while _held:
            _held.pop()._close_at_exit()


def _after_fork() -> None:
    global _closing, _closes_as_worker, _is_prepared
    _closing = threading.Lock()
    _closes_as_worker = False
    _held.clear()
    if _is_prepared:
        # The waiting thread exists only in the parent.
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _block_sigterm(False)
        _is_prepared = False
    for ref in list(_registered.values()):
        if (owner := ref()) is not None:
            owner._after_fork()
    util = sys.modules.get("multiprocessing.util")
    if _closes_on_sigterm_in_workers and util is not None:
        # Whether the child is a worker is known only when multiprocessing runs its own hooks.
        util.register_after_fork(close_in_workers, lambda close: close())


if hasattr(os, "register_at_fork"):

    def _block_sigterm(is_blocked: bool) -> None:
        """Blocks SIGTERM until the child is ready, whose inherited handler is the parent's."""
        how = signal.SIG_BLOCK if is_blocked else signal.SIG_UNBLOCK
        if _is_prepared:
            signal.pthread_sigmask(how, {signal.SIGTERM})

    os.register_at_fork(
        before=lambda: _block_sigterm(True),
        after_in_parent=lambda: _block_sigterm(False),
        after_in_child=_after_fork,
    )
