"""The package runs on Windows and macOS too: no call of it exists on one system only.

These tests run on any system. They take away what others lack, and look at every call.
"""

from __future__ import annotations

import ast
import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import cirq_azure_sessions
from cirq_azure_sessions import background

PACKAGE = Path(cirq_azure_sessions.__file__).parent

# Modules and names that some systems lack.
MODULES = {"crypt", "fcntl", "grp", "msvcrt", "nis", "posix", "pty", "pwd", "resource", "syslog"}
MODULES |= {"termios", "tty", "winreg", "_winapi", "readline"}
NAMES = {
    "os": {"fork", "forkpty", "getpgid", "getuid", "kill", "killpg", "mkfifo", "register_at_fork"}
    | {"setsid", "sched_getaffinity", "wait", "O_CLOEXEC", "O_NOFOLLOW", "startfile", "fchmod"},
    "signal": {"SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "pthread_kill"}
    | {"pthread_sigmask", "setitimer", "sigwait", "CTRL_C_EVENT"},
    "socket": {"AF_UNIX", "SO_REUSEPORT", "socketpair", "recv_fds", "send_fds"},
    "select": {"epoll", "kqueue", "poll"},
    "time": {"tzset", "clock_gettime", "pthread_getcpuclockid"},
    "asyncio": {"open_unix_connection", "start_unix_server", "create_unix_server"},
}


def guarded(tree: ast.Module) -> set[ast.AST]:
    """What stands under `if hasattr(...)`, or under a `try` for imports that may fail."""
    found: set[ast.AST] = set()
    for node in ast.walk(tree):
        is_guard = (isinstance(node, ast.If) and "hasattr(" in ast.unparse(node.test)) or (
            isinstance(node, ast.Try)
            and any("ImportError" in ast.unparse(each) for each in node.handlers)
        )
        if is_guard:
            found |= set(ast.walk(node))
    return found


def nodes() -> Iterator[tuple[str, ast.AST]]:
    """Every unguarded node of the package, with where it stands."""
    for file in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        safe = guarded(tree)
        for node in ast.walk(tree):
            if node not in safe:
                line = getattr(node, "lineno", 0)
                yield f"{file.relative_to(PACKAGE).as_posix()}:{line}", node


def is_of_one_system(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return not MODULES.isdisjoint(alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        names = NAMES.get(node.module or "", set())
        return node.module in MODULES or not names.isdisjoint(each.name for each in node.names)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.attr in NAMES.get(node.value.id, set())
    if isinstance(node, ast.Attribute):
        return node.attr == "add_signal_handler"
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.startswith(("/dev/", "/proc/", "/tmp/"))
    return False


def opens_text_without_encoding(node: ast.AST) -> bool:
    # `os.open` and `gzip.open` are for bytes, and a formatter of click's writes to no file.
    others = ("os.open", "gzip.open", "super().write_text")
    if not isinstance(node, ast.Call) or ast.unparse(node.func) in others:
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
    is_method = isinstance(node.func, ast.Attribute)
    modes = [ast.unparse(argument) for argument in node.args[0 if is_method else 1 :]]
    is_text = (name == "open" and not any("b" in mode for mode in modes)) or (
        is_method and name in ("read_text", "write_text")
    )
    return is_text and all(keyword.arg != "encoding" for keyword in node.keywords)


def test_no_call_exists_on_one_system_only() -> None:
    assert [where for where, node in nodes() if is_of_one_system(node)] == []


def test_text_files_are_opened_with_their_encoding() -> None:
    assert [where for where, node in nodes() if opens_text_without_encoding(node)] == []


# What the core does with all that taken away. Other packages are imported before: they look at
# the system when they are imported.
STRIPPED = """
import asyncio, asyncio.base_events, duet, logging.handlers, multiprocessing.util, os, signal
import socket, sys, urllib.request
import aiohttp, aiohttp.web, azure.identity, azure.quantum, azure.quantum.storage, click, cirq
import azure.core.pipeline.policies, azure.storage.blob, cirq_ionq, numpy, rich.console, sqlite3

system, directory = sys.argv[1:]
sys.platform = system
for name in ("fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "readline", "msvcrt"):
    sys.modules[name] = None
for module, names in {
    os: ("fork", "forkpty", "register_at_fork", "getuid", "kill", "killpg", "fchmod", "O_CLOEXEC"),
    signal: ("SIGKILL", "SIGALRM", "SIGHUP", "SIGUSR1", "SIGCHLD", "pthread_kill", "SIGTERM"),
    socket: ("SO_REUSEPORT", "recv_fds", "send_fds"),
}.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
os.chmod = lambda *arguments, **options: None

from cirq_azure_sessions import AzureSessionSampler, Journal, ManualClock, SessionPool
from cirq_azure_sessions.emulator import EmulatorServer

qubit = cirq.LineQubit(0)
flip = cirq.Circuit(cirq.X(qubit), cirq.measure(qubit, key="m"))
local = AzureSessionSampler("local.simulator", seed=1).run(flip, repetitions=5)
assert local.measurements["m"].sum() == 5
clock = ManualClock()
path = os.path.join(directory, "run.journal")
with EmulatorServer(clock=clock, key="k") as server:

    def run(name):
        with SessionPool(server.workspace(), clock=clock, journal=path, name=name) as pool:
            sampler = AzureSessionSampler("ionq.simulator", pool=pool)
            return sampler.run(flip, repetitions=5), pool.get_stats()["jobs_submitted"]

    # The second run reads the journal, beside one that is alive.
    first, submitted = run("mine")
    assert (first.measurements["m"].sum(), submitted) == (5, 1)
    with Journal(path) as alive:
        assert [one.ended is None for one in alive.runs()] == [False]
        assert run(None) == (first, 0)
print("ran on", sys.platform)
"""


@pytest.mark.parametrize("system", ["win32", "darwin", "linux"])
def test_the_core_runs_without_calls_that_other_systems_lack(system: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STRIPPED, system, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"ran on {system}\n"


SPAWNED = """
import multiprocessing, sys
import cirq
from cirq_azure_sessions import AzureSessionSampler, SessionPool, LocalWorkspace

qubit = cirq.LineQubit(0)
FLIP = cirq.Circuit(cirq.X(qubit), cirq.measure(qubit, key="m"))

def run(number):
    with SessionPool(LocalWorkspace()) as pool:
        return AzureSessionSampler("local.simulator", pool=pool).run(FLIP, repetitions=number)

if __name__ == "__main__":
    # The parent's loop and sessions are in use when the children start.
    assert run(3).repetitions == 3
    with multiprocessing.get_context("spawn").Pool(2) as processes:
        print([result.repetitions for result in processes.map(run, [1, 2])])
"""


def test_processes_that_are_spawned_have_samplers_of_their_own(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(SPAWNED, encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.stdout == "[1, 2]\n", done.stderr


def test_no_thread_waits_for_long_where_ctrl_c_cannot_interrupt_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timeouts: list[float] = []

    class Lock:
        """A lock that notes how long it is waited for."""

        def __init__(self) -> None:
            self._lock = make_lock()
            self.release = self._lock.release

        def acquire(self, timeout: float | None = None) -> bool:
            if timeout is None:
                return self._lock.acquire()
            timeouts.append(timeout)
            return self._lock.acquire(timeout=timeout)

    async def work() -> int:
        return 7

    make_lock = threading.Lock
    loop = background.EventLoopThread("test-loop")
    call = loop.start(work)
    monkeypatch.setattr(background.threading, "Lock", Lock)
    try:
        assert call.result() == 7
        call = loop.start(asyncio.sleep, 3600.0)
        assert not call.wait(0.01)
    finally:
        monkeypatch.undo()
        loop.stop()
    assert timeouts
    assert max(timeouts) <= 1.0
