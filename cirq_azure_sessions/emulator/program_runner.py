"""Runs the programs of emulated jobs, from the stored program to the stored result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import cirq
import numpy as np

from cirq_azure_sessions.emulator.billing import Quotas, estimate_cost
from cirq_azure_sessions.emulator.faults import Fault
from cirq_azure_sessions.emulator.programs import ionq, qir, quantinuum, quil
from cirq_azure_sessions.emulator.programs.program import Output, untranslatable
from cirq_azure_sessions.emulator.storage import Storage
from cirq_azure_sessions.emulator.storage_error import StorageError
from cirq_azure_sessions.model import Cost, JobRequest
from cirq_azure_sessions.noise import target_noise
from cirq_azure_sessions.workspaces.local.engine import Engine
from cirq_azure_sessions.workspaces.local.program import Budget, ProgramError, invalid_input

__all__ = ["ProgramRunner", "StoredProgram", "result_blob", "run"]

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

_JSON_FORMATS = ("ionq.quantum-results.v1", "microsoft.quantum-log.v1", "rigetti.quil-results.v1")

_MAX_PAYLOAD = 4 << 20


@dataclass(frozen=True, slots=True)
class StoredProgram:
    """The payload of an emulated job.

    Programs and results stay in storage, so that the workspace holds only a job's description.

    Attributes:
        provider: The provider's id, in lower case as the service returns it.
        container: The name of the job's container; None if its address is not in our storage.
        blob: The name of the program's blob; None if its address is not in the container.
        container_uri, input_uri: The addresses that the client gave, without a SAS.
        fault: The injected fault that decides what happens to the job, if any.
    """

    provider: str
    container: str | None
    blob: str | None
    container_uri: str = field(repr=False)
    input_uri: str = field(repr=False)
    fault: Fault | None = None


def result_blob(output_format: str) -> str:
    """The name of the result blob; a provider's own format stays raw."""
    is_translated = output_format.startswith("microsoft.quantum-results.")
    return "outputData" if is_translated else "rawOutputData"


@dataclass(eq=False, repr=False, kw_only=True)
class ProgramRunner:
    """The backend of every emulated target; called on worker threads."""

    storage: Storage
    quotas: Quotas
    # The noise of all targets; None gives each its own.
    noise: cirq.NoiseModel | None
    # A seed makes results reproducible; None draws fresh entropy.
    seed: int | None

    def __call__(self, request: JobRequest) -> Cost | None:
        """Runs a program, stores its result and returns the cost. `ProgramError` if it fails."""
        program: StoredProgram = request.payload
        if program.fault is not None and program.fault.job == "fail":
            raise ProgramError(program.fault.code, program.fault.message)
        if program.container is None or program.blob is None:
            raise ProgramError("InvalidInputData", "The inputDataUri is not in this storage.")
        try:
            content = self.storage.read(program.container, program.blob)
        except StorageError:
            raise ProgramError("InvalidInputData", "There is no blob at inputDataUri.") from None
        # Of the job's own, so that its results do not depend on other jobs.
        key = int.from_bytes(request.id.encode())
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(key,)))
        output = run(request, content, rng, self.noise)
        is_json = request.output_format in _JSON_FORMATS
        content_type = "application/json" if is_json else "application/octet-stream"
        blob = result_blob(request.output_format)
        try:
            self.storage.write(program.container, blob, output.content, content_type)
        except StorageError as error:
            message = f"The result cannot be stored. {error.message}"
            raise ProgramError("InternalError", message) from None
        cost = estimate_cost(
            request.target, request.input_format, request.input_params, output.census
        )
        self.quotas.charge(cost)
        return cost


def run(
    request: JobRequest,
    content: bytes,
    rng: np.random.Generator,
    noise: cirq.NoiseModel | None = None,
) -> Output:
    """Runs a job's program, whose uploaded content this is.

    Args:
        rng: The only source of randomness: the same arguments give the same result.
        noise: The noise of the target; by default that of its hardware, from the table in
            `cirq_azure_sessions.noise`. The job's noise parameters override it.

    Raises:
        ProgramError: If the program cannot be read or run, or its result cannot be converted to the
            output format; with the code recorded from the service.
    """
    target, provider = request.target, request.payload.provider
    params, output_format = request.input_params, request.output_format
    if len(content) > _MAX_PAYLOAD:
        raise invalid_input(f"The input is larger than {_MAX_PAYLOAD} bytes.")
    if target == "echo-output":
        return Output(content)
    engine = Engine(target_noise(target) if noise is None else noise, rng, Budget())
    if request.input_format == "qir.v1" and provider in _QIR_PROVIDERS:
        return qir.run(engine, target, provider, content, params, output_format)
    owner, own_format, language = _LANGUAGES.get(request.input_format, ("", "", None))
    if language is None or provider not in (owner, _TEST_PROVIDER):
        raise invalid_input(f"The target {target} does not take input of this format.")
    output = language(engine, target, content, params)
    # The service runs a program before it checks the output format.
    if output_format != own_format:
        raise untranslatable(provider)
    return output
