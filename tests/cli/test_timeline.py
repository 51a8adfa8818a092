"""The command `sessions timeline`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cirq
import pytest
import sympy
from click.testing import CliRunner

from cirq_azure_sessions import AzureSessionSampler, SessionPool
from cirq_azure_sessions.cli import main
from cirq_azure_sessions.emulator import EmulatorServer

QUBIT = cirq.LineQubit(0)
CIRCUIT = cirq.Circuit(cirq.rx(sympy.Symbol("a"))(QUBIT), cirq.measure(QUBIT, key="m"))
SWEEP = cirq.Linspace("a", 0, 1, 3)


def draw(server: EmulatorServer, *arguments: str) -> tuple[int, str]:
    options = ["--emulator", server.endpoint, "--emulator-key", "emulator"]
    shown = CliRunner().invoke(main, ["sessions", "timeline", *arguments, *options])
    return shown.exit_code, shown.output


@pytest.fixture(scope="module")
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer(key="emulator") as server:
        for target in ("ionq.simulator", "quantinuum.sim.h2-1e"):
            with SessionPool(server.workspace()) as pool:
                AzureSessionSampler(target, pool=pool).run_sweep(CIRCUIT, SWEEP)
        yield server


def test_the_command_draws_the_sessions_of_a_workspace(
    server: EmulatorServer, tmp_path: Path
) -> None:
    path = tmp_path / "timeline.svg"
    assert draw(server, "-o", str(path)) == (0, f"{path}: sessions 2, jobs 6\n")
    assert "quantinuum.sim.h2-1e" in path.read_text()


def test_the_command_chooses_sessions_as_the_list_does(
    server: EmulatorServer, tmp_path: Path
) -> None:
    path = tmp_path / "timeline.svg"
    assert draw(server, "-o", str(path), "--target", "ionq.*")[0] == 0
    assert "quantinuum.sim.h2-1e" not in path.read_text()


def test_the_command_takes_known_endings_only(server: EmulatorServer) -> None:
    code, told = draw(server, "-o", "timeline.gif")
    assert code == 2
    assert "timeline.gif must end in one of .png, .svg, .pdf." in told


def test_without_a_session_the_command_fails(server: EmulatorServer, tmp_path: Path) -> None:
    code, told = draw(server, "-o", str(tmp_path / "timeline.png"), "--name", "nobody")
    assert (code, told.count("\n")) == (1, 1)
    assert told.startswith("Error: There are no sessions to draw")


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_the_command_replaces_its_own_pictures_only(
    server: EmulatorServer, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"picture.{ending}"
    for _ in range(2):
        assert draw(server, "-o", str(path))[0] == 0
    path.write_text("mine")
    code, told = draw(server, "-o", str(path))
    assert (code, "is not this command's timeline" in told, path.read_text()) == (2, True, "mine")
    assert [*tmp_path.iterdir()] == [path]
