"""Programs run as those of emulated jobs are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cirq
import numpy as np

from cirq_azure_sessions.emulator import program_runner
from cirq_azure_sessions.emulator.program_runner import StoredProgram
from cirq_azure_sessions.emulator.programs.program import Output
from cirq_azure_sessions.model import JobRequest


def run_program(
    *,
    target: str,
    provider: str,
    input_format: str,
    output_format: str,
    payload: bytes,
    input_params: Mapping[str, Any],
    rng: np.random.Generator,
    noise: cirq.NoiseModel | None = None,
) -> Output:
    """Runs a program as that of a job with these fields."""
    stored = StoredProgram(provider.lower(), "container", "inputData", "", "")
    request = JobRequest(
        "id", target, "name", stored, input_format, output_format, input_params=input_params
    )
    return program_runner.run(request, payload, rng, noise)
