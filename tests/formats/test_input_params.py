"""Provider options that contradict a call are refused, whatever the provider and the way in."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cirq
import pytest
from command_line import BELL, call_on
from formats_lab import IONQ, IONQ_HARDWARE, QIR, QUANTINUUM, job

from cirq_azure_sessions import AzureSessionSampler, SessionPool, costs
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.formats import format_for

TARGETS = [
    *(IONQ, IONQ_HARDWARE, QUANTINUUM, "quantinuum.qpu.h2-1", QIR, "rigetti.qpu.ankaa-3"),
    *("qci.machine1", "msft.sim.ac1000.physical", "sparse-sim-ionq", "newcomer.qpu"),
    *("local.simulator", "local.like:ionq.qpu.aria-1", "local.mine"),
]
CIRCUIT = cirq.Circuit(cirq.X(cirq.LineQubit(0)), cirq.measure(cirq.LineQubit(0), key="m"))

# As Azure's providers, their SDKs and their frameworks spell them, and in odd case.
REPETITIONS = [
    *("shots", "Shots", "SHOTS", " shots ", "n-shots", "nShots", "nbShots", "num_shots"),
    *("numShots", "number_of_shots", "shotCount", "shot_count", "shotsCount", "shots_per_circuit"),
    *("count", "Count", "num_count", "repetitions", "numRepetitions", "repetition_count"),
    *("reps", "samples", "num_samples", "sampleCount", "numTrials", "trials"),
    *("runs", "num_runs", "n_runs", "RunCount", "executions", "number_of_executions"),
    *("counts", "repeats", "num_repeats", "nb_run", "num_sample"),
]
# What the package fills in on targets that take QIR, with the argument or option to use instead.
OWN = {
    **dict.fromkeys(
        ("entryPoint", "entry_point", "ENTRYPOINT", "arguments", "Arguments", "items", "Items"),
        "the argument `program`",
    ),
    **dict.fromkeys(
        ("targetProfile", "TargetProfile", "target-profile", "targetCapability"),
        "'target_profile'",
    ),
}
# Options that leave the call alone.
OTHERS: dict[str, Any] = {
    "noise": {"model": "ideal", "seed": 3},
    "error-mitigation": {"debias": False},
    "error-params": {"p1": 0.1},
    "target_profile": "Base",
    "sampler_seed": 1,
    "skipQuilc": True,
    "discount": 1,
    "account": "mine",
    "snapshot": True,
    "run": "first",
    "sample": {"shots": 5},
}

# Every call that takes options, without anything to send in them.
Call = Callable[[str, dict[str, Any], SessionPool], Any]
CALLS: dict[str, Call] = {
    "sampler": lambda target, params, pool: AzureSessionSampler(
        target, pool=pool, input_params=params
    ),
    "estimate": lambda target, params, pool: costs.estimate_cost(
        target, CIRCUIT, None, 30, input_params=params
    ),
    "job": lambda target, params, pool: job(target, CIRCUIT, repetitions=30, input_params=params),
}


@pytest.mark.parametrize("target", TARGETS)
def test_repetitions_come_only_from_the_call(target: str) -> None:
    for name, value in itertools.product(REPETITIONS, (5, 30, 50, "30", None)):
        with pytest.raises(ValueError, match=f"input_params must not hold '{name}'.*`repetitions`"):
            format_for(target).check_input_params({"noise": {}, name: value})


@pytest.mark.parametrize("call", CALLS)
def test_every_entry_point_refuses_options_that_contradict_the_call(
    call: str, pool: SessionPool
) -> None:
    for target in (IONQ, IONQ_HARDWARE, QUANTINUUM, QIR, "local.simulator"):
        for name in ("shots", "count", "runs"):
            with pytest.raises(ValueError, match=f"must not hold '{name}'.*`repetitions`"):
                CALLS[call](target, {name: 5}, pool)
    for name, advice in OWN.items():
        with pytest.raises(ValueError, match=f"must not hold '{name}'.*{advice}"):
            CALLS[call](QIR, {name: "Base"}, pool)


def test_refused_requests_were_not_sent(server: EmulatorServer, pool: SessionPool) -> None:
    for target in (IONQ, IONQ_HARDWARE, QUANTINUUM, QIR):
        for params in ({"count": 5}, {"nShots": 5}):
            with pytest.raises(ValueError, match="input_params"):
                AzureSessionSampler(target, pool=pool, input_params=params).run_batch([CIRCUIT])
    assert server.requests.total == 0


def test_the_command_line_takes_one_number_of_shots(server: EmulatorServer, tmp_path: Path) -> None:
    path = tmp_path / "bell.qasm"
    path.write_text(BELL)
    words = ["jobs", "submit", path, "--target", QUANTINUUM, "--yes"]
    for name in ("count", "shots", "nShots"):
        refused = call_on(server, *words, "--shots", 30, "--param", f"{name}=5")
        assert f"--shots and --param {name} both give" in refused.stderr
        assert refused.exit_code == 2
    assert server.requests.total == 0
    # In a program of the user's own, an option alone is the user's to give.
    assert call_on(server, *words, "--param", "count=5").exit_code == 0


@pytest.mark.parametrize("profile", [None, "", 5, "base", "Unrestricted", ["Base"]])
def test_unknown_profile_is_refused(profile: Any) -> None:
    with pytest.raises(ValueError, match="target_profile must be 'Base', 'Adaptive_RI' or"):
        job(QIR, CIRCUIT, input_params={"target_profile": profile})


@pytest.mark.parametrize("target", TARGETS)
def test_reserved_job_parameters_are_refused_as_options(target: str) -> None:
    format_ = format_for(target)
    open_to_the_caller = {"target_profile"}
    for name in job(target, CIRCUIT).input_params.keys() - open_to_the_caller:
        with pytest.raises(ValueError, match=name):
            format_.check_input_params({name: None})


@pytest.mark.parametrize("target", TARGETS)
def test_other_options_are_passed_on(target: str) -> None:
    sent = job(target, CIRCUIT, repetitions=30, input_params=OTHERS)
    assert sent.input_params.items() >= {"shots": 30, **OTHERS}.items()
