"""Provider options that would contradict the call are refused, whatever the provider."""

from __future__ import annotations

from typing import Any

import cirq
import pytest
from formats_lab import IONQ, IONQ_HARDWARE, QIR, QUANTINUUM, job

from cirq_azure_sessions.formats import format_for

TARGETS = [IONQ, IONQ_HARDWARE, QUANTINUUM, QIR, "newcomer.qpu", "local.simulator"]
CIRCUIT = cirq.Circuit(cirq.X(cirq.LineQubit(0)), cirq.measure(cirq.LineQubit(0), key="m"))

REPETITIONS = [
    *("shots", "Shots", "n-shots", "nShots", "nbShots", "num_shots", "numShots", "number_of_shots"),
    *("count", "shotCount", "shot_count", "shotsCount", "repetitions", "numRepetitions", "reps"),
    *("samples", "num_samples", "numTrials", "shots_per_circuit"),
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", REPETITIONS)
@pytest.mark.parametrize("value", [5, 30, 50, "30", None])
def test_repetitions_are_said_by_the_call_alone(target: str, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"input_params must not hold '{name}'.*`repetitions`"):
        format_for(target).check_input_params({name: value})
    with pytest.raises(ValueError, match="input_params"):
        job(target, CIRCUIT, repetitions=30, input_params={name: value})


@pytest.mark.parametrize("name", ["entryPoint", "arguments", "items"])
def test_what_qir_runs_is_said_by_the_program_alone(name: str) -> None:
    with pytest.raises(ValueError, match=f"input_params must not hold '{name}'.*`program`"):
        job(QIR, CIRCUIT, input_params={name: []})


@pytest.mark.parametrize("target", TARGETS)
def test_all_that_a_job_carries_beside_options_is_refused_as_an_option(target: str) -> None:
    format_ = format_for(target)
    open_to_the_caller = {"target_profile"}
    for name in job(target, CIRCUIT).input_params.keys() - open_to_the_caller:
        with pytest.raises(ValueError, match=name):
            format_.check_input_params({name: None})


@pytest.mark.parametrize("target", TARGETS)
def test_other_options_are_passed_on(target: str) -> None:
    options = {
        "noise": {"model": "ideal"},
        "error-params": {"p1": 0.1},
        "target_profile": "Base",
        "sampler_seed": 1,
        "skipQuilc": True,
        "discount": 1,
    }
    sent = job(target, CIRCUIT, repetitions=30, input_params=options)
    assert sent.input_params.items() >= {"shots": 30, **options}.items()
