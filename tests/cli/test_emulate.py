"""The command `emulate`."""

from __future__ import annotations

import os
import re
import runpy
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
from azure.quantum._workspace_connection_params import WorkspaceConnectionParams
from click.testing import CliRunner, Result
from command_line import BELL

import cirq_azure_sessions.emulator
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
        exports, powershell = code[:3], code[3:6]
        assert [line.split()[0] for line in exports] == ["export"] * 3
        assert all(line.startswith("    $env:") for line in powershell)
        code = code[6:]
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
    assert shown.stderr.startswith(
        f"Error: Cannot listen on 127.0.0.1:{port}: choose another --port"
    )


def test_a_store_that_is_no_directory_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Remember the milk.")
    shown = call("emulate", "--store", path)
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert shown.stderr.startswith(f"Error: {path} cannot be used (")


def test_every_emulator_generates_its_own_key(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_invalid_quota_is_a_usage_error(quota: str) -> None:
    assert call("emulate", "--quota", quota).exit_code == 2


AN_ID = "/subscriptions/00000000-0000-0000-0000-00000000000a/resourceGroups/g/providers/"
# As it stands in Azure's pages: with a connection string, with the variables alone, and with an id
# of a workspace and nothing to sign in with.
SDK_PROGRAM = f"""
import os
from azure.quantum import Workspace
from azure.quantum.target import IonQ
circuit = {{"qubits": 1, "circuit": [{{"gate": "x", "target": 0}}]}}
for workspace in (
    Workspace.from_connection_string(os.environ["AZURE_QUANTUM_CONNECTION_STRING"]),
    Workspace(),
    Workspace(resource_id="{AN_ID}Microsoft.Quantum/Workspaces/mine", location="westus"),
):
    target = IonQ(workspace=workspace, name="ionq.simulator")
    print(target.submit(circuit, name="flip", shots=10).get_results())
raise SystemExit(7)
"""


def test_a_program_of_the_sdk_runs_under_it_unmodified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program.py"
    program.write_text(SDK_PROGRAM)
    command = ["-m", "cirq_azure_sessions", "emulate", "--", sys.executable, str(program)]
    # An organization's proxy reaches no emulator on this machine.
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:8080")
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.stdout.count("{'histogram': {'1': 1.0}}") == 3, done.stderr
    assert done.returncode == 7


@pytest.mark.parametrize("hosts", ["corp.invalid", "*"])
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_hosts_that_need_no_proxy_still_need_none(
    name: str, hosts: str, emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, hosts)
    program = (
        "from urllib.request import proxy_bypass_environment as needs_none\n"
        "print(needs_none('corp.invalid'), needs_none('127.0.0.1'))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | emulator.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch("(1|True) (1|True)", ran.stdout.strip())


def test_emulator_that_the_program_starts_itself_is_not_redirected(
    emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    preload = Path(cirq_azure_sessions.emulator.__file__).parent / "preload" / "sitecustomize.py"
    redirect = runpy.run_path(str(preload))["_redirect"]
    for name, value in emulator.environment.items():
        monkeypatch.setenv(name, value)

    class Parameters(WorkspaceConnectionParams):
        """The SDK's own, which stay as they are."""

    redirect(Parameters)
    own = Parameters(quantum_endpoint="http://127.0.0.1:2")
    own.default_from_env_vars()
    assert own.quantum_endpoint == "http://127.0.0.1:2"
    azure = Parameters(quantum_endpoint="https://eastus.quantum.azure.com/")
    azure.default_from_env_vars()
    assert (azure.quantum_endpoint, azure.api_key) == (emulator.endpoint, emulator.key)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGTERM")
def test_sigterm_ends_the_program_too() -> None:
    script = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
    command = ["-m", "cirq_azure_sessions", "emulate", "--", sys.executable, "-c", script]
    with subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as emulate:
        assert emulate.stdout is not None
        program = int(emulate.stdout.readline())
        emulate.terminate()
        emulate.wait()
        with pytest.raises(ProcessLookupError):
            os.kill(program, signal.SIGKILL)
    assert emulate.returncode == 128 + signal.SIGTERM


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_program_that_a_signal_ended_has_the_exit_code_of_shells() -> None:
    script = "import os; os.kill(os.getpid(), 9)"
    assert call("emulate", "--", sys.executable, "-c", script).exit_code == 128 + 9


def test_a_command_that_does_not_exist_is_named() -> None:
    shown = call("emulate", "--", "no-such-program")
    assert shown.exit_code == 1
    assert "no-such-program cannot be run: No such file or directory." in shown.stderr


def test_realistic_emulator_announces_itself() -> None:
    shown = call("emulate", "--realistic", "--", sys.executable, "-c", "pass")
    assert shown.exit_code == 0
    assert "Jobs take as long as recorded ones" in shown.stderr
