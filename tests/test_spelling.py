"""A misspelled target: what was meant, where that is known, and nothing refused that may exist."""

from __future__ import annotations

from pathlib import Path

import cirq
import pytest
from click.testing import CliRunner
from command_line import BELL, call_on

from cirq_azure_sessions import (
    AzureSessionSampler,
    LocalWorkspace,
    SessionPool,
    UnsupportedTarget,
    costs,
)
from cirq_azure_sessions.cli import main
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.formats import format_for
from cirq_azure_sessions.spelling import did_you_mean

CIRCUIT = cirq.Circuit(cirq.measure(cirq.q(0), key="m"))

# A provider alone, a machine alone, wrong case, a missing part, swapped and lost letters, spaces.
MISSPELLED = {
    "ionq": "ionq.",
    "quantinuum": "quantinuum.",
    "rigetti": "rigetti.",
    "local": "local.simulator",
    "aria-1": "ionq.qpu.aria-1",
    "ionq.aria-1": "ionq.qpu.aria-1",
    "ionq.qpu.aria": "ionq.qpu.aria-1",
    "ionq.qpu.aria1": "ionq.qpu.aria-1",
    "IonQ.simulator": "ionq.simulator",
    "inoq.simulator": "ionq.simulator",
    "ionq-simulator": "ionq.simulator",
    " ionq.simulator\n": "ionq.simulator",
    "h2-1e": "quantinuum.sim.h2-1e",
    "H2-1E": "quantinuum.sim.h2-1e",
    "sim.h2-1e": "quantinuum.sim.h2-1e",
    "quantinuum.sim.h2-le": "quantinuum.sim.h2-1e",
    "quantinum.sim.h2-1e": "quantinuum.sim.h2-1e",
    "qvm": "rigetti.sim.qvm",
    "rigetti.qmv": "rigetti.sim.qvm",
    "Ankaa 3": "rigetti.qpu.ankaa-3",
    "local.simulater": "local.simulator",
    "LOCAL.SIMULATOR": "local.simulator",
    "pascal.sim.emu-tn": "pasqal.sim.emu-tn",
    "qci.simulater": "qci.simulator",
}
WITHOUT_CIRCUITS = {
    "pasqal.qpu.fresnel": "pulse sequences",
    "Pasqal.Sim.Emu-TN": "pulse sequences",
    "pasqal": "pulse sequences",
    "microsoft.estimator": "estimates the resources",
    "microsoft.hpc": "runs chemistry",
    "echo-output": "runs no circuits",
}


def test_a_misspelled_target_gets_a_suggestion(pool: SessionPool) -> None:
    for misspelled, meant in MISSPELLED.items():
        with pytest.raises(UnsupportedTarget, match=f"Did you mean '{meant}"):
            AzureSessionSampler(misspelled, pool=pool).run(CIRCUIT)
        with pytest.raises(UnsupportedTarget, match=f"Did you mean '{meant}"):
            pool.session(misspelled)


@pytest.mark.parametrize("target", ["local.mine (noisy)", "local.\N{PARTY POPPER}", "local.a/b"])
def test_custom_samplers_may_have_any_name(target: str) -> None:
    workspace = LocalWorkspace({target: cirq.Simulator()})
    assert AzureSessionSampler(target, workspace=workspace).run(CIRCUIT).repetitions == 1


def test_custom_samplers_are_suggested() -> None:
    workspace = LocalWorkspace({"local.mine": cirq.Simulator()})
    with pytest.raises(UnsupportedTarget, match=r"Did you mean 'local\.mine'"):
        AzureSessionSampler("local.mien", workspace=workspace)


@pytest.mark.parametrize("target", ["local.like:ionq.qpu.aria1", "local.like:aria-1"])
def test_noise_is_that_of_no_other_target(target: str) -> None:
    with pytest.raises(UnsupportedTarget, match=r"Did you mean 'ionq\.qpu\.aria-1'"):
        AzureSessionSampler(target)
    with SessionPool() as pool, pytest.raises(UnsupportedTarget, match="No noise of ''"):
        pool.session("local.like:")


def test_the_least_busy_of_misspelled_targets_gets_a_suggestion(pool: SessionPool) -> None:
    with pytest.raises(UnsupportedTarget, match=r"Did you mean 'ionq\.simulator'"):
        pool.least_busy("ionq.simulater")


def test_the_command_line_suggests(server: EmulatorServer, tmp_path: Path) -> None:
    path = tmp_path / "bell.qasm"
    path.write_text(BELL)
    for command in (["run", path], ["jobs", "submit", path, "--yes"]):
        refused = call_on(server, *command, "--target", "ionq.qpu.aria1")
        assert "Did you mean 'ionq.qpu.aria-1'" in refused.stderr
        assert refused.exit_code == 2
    assert server.requests["submit"] == 0


@pytest.mark.parametrize(("target", "use"), WITHOUT_CIRCUITS.items())
def test_a_target_without_circuits_is_refused_with_its_use(
    target: str, use: str, server: EmulatorServer, pool: SessionPool, tmp_path: Path
) -> None:
    path = tmp_path / "bell.qasm"
    path.write_text(BELL)
    for call in (
        lambda: format_for(target),
        lambda: AzureSessionSampler(target),
        lambda: AzureSessionSampler(target, pool=pool),
        lambda: costs.estimate_cost(target, CIRCUIT),
    ):
        with pytest.raises(UnsupportedTarget, match=use) as refusal:
            call()
        assert "spelling" not in str(refusal.value)
    for shown in (
        call_on(server, "run", path, "--target", target),
        CliRunner().invoke(main, ["cost", str(path), "--target", target]),
    ):
        assert use in shown.stderr
        assert shown.exit_code == 2
    assert server.requests.total == 0


def test_nothing_is_suggested_that_is_not_similar() -> None:
    names = ["ionq.simulator", "local.simulator"]
    assert did_you_mean("qci.machine1", names) == ""
    assert did_you_mean("", names) == ""
    assert did_you_mean("ionq", []) == ""
