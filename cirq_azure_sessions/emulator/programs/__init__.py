"""Runs the programs of jobs and returns the bytes of their results.

Everything here is a pure function of the job, the noise and the random number generator. Programs
are parsed by separate code, not that of `formats`: a mistake on both sides would cancel out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import cirq
import numpy as np

from cirq_azure_sessions.emulator.programs import ionq, qir, quantinuum, quil
from cirq_azure_sessions.emulator.programs.program import Output, untranslatable
from cirq_azure_sessions.noise import NOISELESS, MachineNoise, target_noise
from cirq_azure_sessions.workspaces.local.engine import Engine
from cirq_azure_sessions.workspaces.local.program import Budget, invalid_input

__all__ = ["NOISELESS", "MachineNoise", "run"]

_Language: TypeAlias = Callable[[Engine, str, bytes, Mapping[str, Any]], Output]

# Each provider's own input format, its output format, and the function that runs it.
_LANGUAGES: dict[str, tuple[str, str, _Language]] = {
    "ionq.circuit.v1": ("ionq", "ionq.quantum-results.v1", ionq.run),
    "honeywell.openqasm.v1": ("quantinuum", "honeywell.quantum-results.v1", quantinuum.run),
    "rigetti.quil.v1": ("rigetti", "rigetti.quil-results.v1", quil.run),
}

# Azure's test provider: its targets echo a job's input, or run it without noise.
_TEST_PROVIDER = "microsoft.test.firstparty"

_QIR_PROVIDERS = ("ionq", "quantinuum", "rigetti", "qci", "atom-boulder", _TEST_PROVIDER)

_MAX_PAYLOAD = 4 << 20


def run(
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
    """Runs a job's program.

    Args:
        target, provider: Their ids, such as `ionq.simulator` and `ionq`.
        input_format, output_format, input_params: As in Azure's document of the job.
        payload: The program as uploaded.
        rng: The only source of randomness: the same arguments give the same result.
        noise: The noise of the target, `NOISELESS` for none; by default that of its hardware, from
            the table in `cirq_azure_sessions.noise`. The job's noise parameters override it.

    Returns:
        The content of the job's output blob, and the gate counts to bill.

    Raises:
        ProgramError: If the program cannot be read or run, or its result cannot be converted to the
            output format; with the code recorded from the service.
    """
    target, provider = target.lower(), provider.lower()
    if len(payload) > _MAX_PAYLOAD:
        raise invalid_input(f"The input is larger than {_MAX_PAYLOAD} bytes.")
    if target == "echo-output":
        return Output(payload)
    engine = Engine(target_noise(target) if noise is None else noise, rng, Budget())
    if input_format == "qir.v1" and provider in _QIR_PROVIDERS:
        return qir.run(engine, target, provider, payload, input_params, output_format)
    owner, own_output_format, language = _LANGUAGES.get(input_format, ("", "", None))
    if language is None or provider not in (owner, _TEST_PROVIDER):
        raise invalid_input(f"The target {target} does not take input of this format.")
    output = language(engine, target, payload, input_params)
    # The service runs a program before it checks the output format.
    if output_format != own_output_format:
        raise untranslatable(provider)
    return output
