"""A run's lock tells that it is alive, for exactly as long as it is."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from children import NEEDS_FORK

from cirq_azure_sessions.journal.lock import RunLock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run-1"


def test_a_lock_is_held_until_it_is_released_and_leaves_no_file(path: Path):
    assert not RunLock.is_held(path)
    lock = RunLock.take(path)
    assert RunLock.is_held(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lock.release()
    assert not RunLock.is_held(path)
    assert not path.exists()


def test_a_held_lock_cannot_be_taken(path: Path):
    lock = RunLock.take(path)
    with pytest.raises(BlockingIOError):
        RunLock.take(path)
    lock.release()
    RunLock.take(path).release()


def test_lock_of_a_killed_process_is_free_at_once_and_its_file_is_removed(path: Path):
    script = (
        "import os, signal, sys; from pathlib import Path;"
        "from cirq_azure_sessions.journal.lock import RunLock;"
        "lock = RunLock.take(Path(sys.argv[1])); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=False, timeout=60)
    assert path.exists()
    assert not RunLock.is_held(path)
    assert not path.exists()


@NEEDS_FORK
def test_a_forked_child_that_disowns_the_lock_neither_keeps_nor_frees_it(path: Path):
    lock = RunLock.take(path)
    ours, theirs = socket.socketpair()
    if not (child := os.fork()):
        lock.abandon()
        theirs.send(b"disowned")
        theirs.recv(1)
        os._exit(0)
    assert ours.recv(8) == b"disowned"
    assert RunLock.is_held(path)
    lock.release()
    assert not RunLock.is_held(path)
    ours.send(b"x")
    os.waitpid(child, 0)
    ours.close()
    theirs.close()
