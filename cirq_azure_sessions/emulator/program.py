"""What a job carries through the workspace: where its program lies and where its result goes."""

from __future__ import annotations

from dataclasses import dataclass, field

from cirq_azure_sessions.emulator.faults import Fault

__all__ = ["StoredProgram", "result_blob"]


@dataclass(frozen=True, slots=True)
class StoredProgram:
    """The payload of an emulated job.

    The program itself stays in the storage until the job runs, and so does the result after it: a
    finished job costs the workspace no more than its description.

    Attributes:
        provider: The provider's id, in lower case as the service gives it back.
        container: The name of the job's container; None if its address is not of our storage.
        blob: The name of the program's blob; None if its address is not in the container.
        container_uri, input_uri: The addresses, bare, as the client gave them.
        fault: What becomes of the job instead, if that was asked for.
    """

    provider: str
    container: str | None
    blob: str | None
    container_uri: str = field(repr=False)
    input_uri: str = field(repr=False)
    fault: Fault | None = None

    @property
    def is_to_be_cancelled(self) -> bool:
        """Whether the service is to cancel the job."""
        return self.fault is not None and self.fault.job == "cancel"


def result_blob(output_format: str) -> str:
    """The blob with a result in this format: what a provider gives stays raw."""
    is_translated = output_format.startswith("microsoft.quantum-results.")
    return "outputData" if is_translated else "rawOutputData"
