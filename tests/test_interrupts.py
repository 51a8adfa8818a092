"""Ctrl-C at random instants, each in the child of a fork.

A few by default; `SIGINTS=1000` in the environment tests a thousand, which takes minutes.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import sys
import tempfile
import threading
import traceback
import warnings
from typing import BinaryIO

import pytest
from children import NEEDS_FORK
from services import HANG_TIMEOUT, LOCAL, ROTATION, angles

from cirq_azure_sessions import (
    AzureSessionSampler,
    LocalWorkspace,
    SessionPool,
    process,
)

COUNT = int(os.environ.get("SIGINTS", "12"))

# An interrupt in a callback of a weak reference, such as an import has, which Python prints and
# forgets.
_SWALLOWED_BY_PYTHON = (
    "Exception ignored in: <function WeakSet",
    "Exception ignored in: <generator object WeakSet",
    "Exception ignored in: <function _get_module_lock",
)

pytestmark = NEEDS_FORK


class LastingWorkspace(LocalWorkspace):
    """A workspace whose sessions are closed at exit, as those of Azure are."""

    identity = "lasting"


def run(workspace: LastingWorkspace) -> None:
    with SessionPool(workspace) as pool:
        AzureSessionSampler(LOCAL, pool=pool, max_concurrent_jobs=4).run_sweep(ROTATION, angles(20))


# A stream that is dropped is not among them: Python itself swallows an interrupt in a destructor.
def stream(workspace: LastingWorkspace) -> None:
    with AzureSessionSampler(LOCAL, workspace=workspace) as sampler:
        for _ in sampler.stream_sweep(ROTATION, angles(20)):
            pass


def batch(workspace: LastingWorkspace) -> None:
    with AzureSessionSampler(LOCAL, workspace=workspace, on_interrupt="cancel") as sampler:
        sampler.run_batch([ROTATION] * 5, [angles(3)] * 5)


def close(workspace: LastingWorkspace) -> None:
    with SessionPool(workspace) as pool:
        pool.session(LOCAL)
        pool.close(cancel=True)


def check_interrupted(call: object, delay: float) -> None:
    """Calls until a SIGINT comes; then nothing is open, and everything works."""
    assert callable(call)
    workspace = LastingWorkspace()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGALRM, lambda *args: signal.raise_signal(signal.SIGINT))
    with contextlib.suppress(KeyboardInterrupt):
        # Again after five seconds: Python itself may swallow one, in a weak reference's callback.
        signal.setitimer(signal.ITIMER_REAL, delay, 5.0)
        while True:
            call(workspace)
    # From here on a hang ends the child, and fails the test.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, HANG_TIMEOUT)
    AzureSessionSampler(LOCAL).run_sweep(ROTATION, angles(2))
    process._close_held()
    with SessionPool(workspace) as pool:
        for session in pool.list_sessions():
            # A job may still run in one that takes no more; an open one would not end by itself.
            session.wait(HANG_TIMEOUT / 2)


def in_child(output: BinaryIO, call: object, delay: float) -> int:
    """The exit status of a child of a fork that is interrupted after `delay` seconds."""
    child = os.fork()
    if not child:
        status = 1
        try:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            # pytest keeps to itself what Python prints, and warnings such as those of coroutines
            # that nobody awaits.
            sys.stdout = sys.stderr = stream = os.fdopen(2, "w", closefd=False)
            sys.unraisablehook = sys.__unraisablehook__
            # Hypothesis times the collector in a callback, which would swallow an interrupt too.
            gc.callbacks.clear()
            threading.excepthook = threading.__excepthook__
            warnings.showwarning = lambda message, *rest: stream.write(f"{message}\n") and None
            warnings.simplefilter("always", RuntimeWarning)
            check_interrupted(call, delay)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return os.waitpid(child, 0)[1]


@pytest.mark.parametrize("call", [run, stream, batch, close])
def test_ctrl_c_at_any_instant_prints_nothing_and_leaves_nothing_open(call: object) -> None:
    chance = random.Random(130)
    for _ in range(COUNT // 4):
        with tempfile.TemporaryFile() as output:
            delay = chance.uniform(0.0005, 0.15)
            status = in_child(output, call, delay)
            output.seek(0)
            printed = output.read().decode()
            assert status == 0, f"after {delay} s: {printed}"
            is_ours = printed and not printed.startswith(_SWALLOWED_BY_PYTHON)
            assert not is_ours, f"after {delay} s: {printed}"
