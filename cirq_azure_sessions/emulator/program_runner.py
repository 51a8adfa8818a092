"""Runs the programs of emulated jobs, from the stored program to the stored result."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field

import cirq
import numpy as np

from cirq_azure_sessions.emulator import programs
from cirq_azure_sessions.emulator.billing import Quotas, estimate_cost
from cirq_azure_sessions.emulator.faults import Fault
from cirq_azure_sessions.emulator.storage import Storage
from cirq_azure_sessions.emulator.storage_error import StorageError
from cirq_azure_sessions.model import Cost, JobRequest
from cirq_azure_sessions.workspaces.local import ProgramError

__all__ = ["ProgramRunner", "StoredProgram", "result_blob"]

_JSON_FORMATS = ("ionq.quantum-results.v1", "microsoft.quantum-log.v1", "rigetti.quil-results.v1")


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
    seed: InitVar[int | None]

    def __post_init__(self, seed: int | None) -> None:
        self._entropy = np.random.SeedSequence(seed).entropy

    def __call__(self, request: JobRequest) -> Cost | None:
        """Runs a program, stores its result and returns the cost. `ProgramError` if it fails."""
        program: StoredProgram = request.payload
        if program.fault is not None and program.fault.job == "fail":
            raise ProgramError(program.fault.code, program.fault.message)
        output = programs.run(
            target=request.target,
            provider=program.provider,
            input_format=request.input_format,
            output_format=request.output_format,
            payload=self._read(program),
            input_params=request.input_params,
            rng=self._generator(request),
            noise=self.noise,
        )
        self._write(program, request.output_format, output.content)
        cost = estimate_cost(
            request.target, request.input_format, request.input_params, output.census
        )
        self.quotas.charge(cost)
        return cost

    def _read(self, program: StoredProgram) -> bytes:
        if program.container is None or program.blob is None:
            raise ProgramError("InvalidInputData", "The inputDataUri is not in this storage.")
        try:
            return self.storage.read(program.container, program.blob)
        except StorageError:
            raise ProgramError("InvalidInputData", "There is no blob at inputDataUri.") from None

    def _write(self, program: StoredProgram, output_format: str, output: bytes) -> None:
        is_json = output_format in _JSON_FORMATS
        content_type = "application/json" if is_json else "application/octet-stream"
        blob = result_blob(output_format)
        assert program.container is not None
        self.storage.write(program.container, blob, output, content_type)

    def _generator(self, request: JobRequest) -> np.random.Generator:
        """A random generator for this job, so that its results do not depend on other jobs."""
        key = int.from_bytes(request.id.encode())
        return np.random.default_rng(np.random.SeedSequence(self._entropy, spawn_key=(key,)))
