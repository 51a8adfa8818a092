"""Commands of the command line, and an emulated workspace for those that look at one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cirq_azure_sessions.cli import main
from cirq_azure_sessions.emulator import EmulatorServer

__all__ = ["BELL", "NEEDS_FULL_DISK", "Scene", "call_on", "connection"]

# Whatever is written to /dev/full finds no space left.
NEEDS_FULL_DISK = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="The system has no /dev/full"
)

BELL = """
OPENQASM 2.0;
include "qelib1.inc";
qreg q[2];
creg c[2];
h q[0];
cx q[0], q[1];
measure q -> c;
"""


def connection(server: EmulatorServer) -> list[str]:
    """The options that name the server."""
    return ["--emulator", server.endpoint, "--emulator-key", server.key]


def call_on(server: EmulatorServer, *arguments: object, answer: str | None = None) -> Result:
    """Calls a command on the server's workspace; `answer` is what the user types."""
    words = [*map(str, arguments), *connection(server)]
    return CliRunner().invoke(main, words, input=answer)


@dataclass(frozen=True)
class Scene:
    """A workspace with a closed session of two jobs, and an open one in which a job failed."""

    server: EmulatorServer
    closed: str
    open: str
    done: str
    failed: str

    def call(self, *arguments: str, answer: str | None = None) -> Result:
        return call_on(self.server, *arguments, answer=answer)

    def read(self, *arguments: str) -> Any:
        shown = self.call(*arguments, "--json")
        assert shown.exit_code == 0, shown.stderr
        return json.loads(shown.stdout)
