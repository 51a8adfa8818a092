"""The command `emulate`."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from click.testing import CliRunner, Result
from command_line import BELL

from cirq_azure_sessions.cli import main
from cirq_azure_sessions.cli.circuit_file import read_circuit
from cirq_azure_sessions.emulator import EmulatorServer


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def bell(tmp_path: Path) -> Path:
    path = tmp_path / "bell.qasm"
    path.write_text(BELL)
    return path


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorServer]:
    with EmulatorServer() as server:
        yield server


def test_emulate_prints_code_that_connects_and_stops_at_ctrl_c(bell: Path) -> None:
    command = [sys.executable, "-m", "cirq_azure_sessions", "emulate"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = "".join(iter(process.stdout.readline, "Stop it with Ctrl-C.\n"))
        code = [line for line in printed.splitlines() if line.startswith("    ")]
        python = [line for line in code if "--" not in line]
        names: dict[str, Any] = {}
        exec(textwrap.dedent("\n".join(python)), names)
        with names["sampler"] as sampler:
            result = sampler.run(read_circuit(bell), repetitions=10)
        assert result.repetitions == 10
        shell, curl = (shlex.split(line) for line in code if "--" in line)
        assert call(*(bell if word == "CIRCUIT" else word for word in shell[1:])).exit_code == 0
        _, _, header, _, body, address = curl
        headers = dict([header.split(": ")])
        before = requests.get(address, headers=headers, timeout=9).json()["time"]
        after = requests.post(address, data=body, headers=headers, timeout=9).json()["time"]
        assert after - before >= 600
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "The emulator has stopped.\n"
    assert process.returncode == 0


def test_a_port_that_is_taken_is_named(emulator: EmulatorServer) -> None:
    port = urlsplit(emulator.endpoint).port
    shown = call("emulate", "--port", port)
    assert shown.exit_code == 1
    assert shown.stderr.startswith(f"Error: 127.0.0.1:{port} cannot be had: choose another --port")


def test_every_emulator_makes_up_a_key_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = []

    class Interrupted:
        def wait(self) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr("cirq_azure_sessions.cli.emulate.Event", Interrupted)
    for options in ((), (), ("--key", "mine")):
        shown = call("emulate", *options)
        assert shown.exit_code == 0
        keys += re.findall(r"--emulator-key (\S+)", shown.stdout)
    assert len(set(keys)) == 3
    assert keys[2] == "mine"


def test_the_emulator_is_made_as_the_options_say(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: dict[str, Any] = {}

    def make(**options: Any) -> EmulatorServer:
        made.update(options)
        raise OSError

    monkeypatch.setattr("cirq_azure_sessions.emulator.EmulatorServer", make)
    options = "--realistic --slots 2 --quota ehqc=10 --quota gs2q=5e3 --max-stored-jobs 9"
    assert call("emulate", "--store", tmp_path, *options.split()).exit_code == 1
    assert (made["realistic"], made["slots"], made["max_stored_jobs"]) == (True, 2, 9)
    assert made["quotas"] == {"ehqc": 10.0, "gs2q": 5000.0}
    assert made["store"] == str(tmp_path)


@pytest.mark.parametrize("quota", ["ehqc", "ehqc=much", "gold=1"])
def test_a_quota_that_is_none_is_a_wrong_command(quota: str) -> None:
    assert call("emulate", "--quota", quota).exit_code == 2
