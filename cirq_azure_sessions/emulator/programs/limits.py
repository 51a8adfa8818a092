"""Limits of one job, and its errors, with the codes recorded from the service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cirq_azure_sessions.workspaces.local import ProgramError

__all__ = ["ROW_SIZE", "Budget", "ProgramError", "invalid_input", "read_shots", "untranslatable"]

# Twenty times what the SDK allows for hardware targets.
_MAX_SHOTS = 200_000

# Where a job does not say: IonQ documents 500. One is recorded on Quantinuum's targets, in OpenQASM
# and in QIR, and on the test provider's in QIR, and documented by Rigetti.
_DEFAULT_SHOTS = {"ionq": 500}

# In units of what changing one amplitude takes: some ten seconds.
_WORK = 1_000_000_000
_UNITS_PER_SECOND = 100_000_000

# The bytes of a register's value in one shot, beside its bits.
ROW_SIZE = 64

# Bytes, beside what the emulator itself needs: a job stays within 1 GB.
_MEMORY = 512 << 20


class Budget:
    """The work and the memory that one job may still use, in whatever language it is written.

    Readers, writers and simulators of programs ask before they act.
    """

    def __init__(self, work: int = _WORK, memory: int = _MEMORY) -> None:
        self._work = work
        self._memory = memory

    def spend(self, work: int) -> None:
        """Spends work before it is done. `ProgramError` if too little is left."""
        self._work -= work
        if self._work < 0:
            raise ProgramError(
                "ProviderTimeout",
                "The program takes more work than one job may: use fewer gates, qubits or shots.",
            )

    @property
    def seconds(self) -> float:
        """The time that another process may work for the job."""
        return self._work / _UNITS_PER_SECOND

    def spend_seconds(self, seconds: float) -> None:
        """Spends what another process has worked. `ProgramError` if too little was left."""
        self.spend(int(seconds * _UNITS_PER_SECOND))

    def hold(self, size: int) -> None:
        """Reserves bytes until the end. `ProgramError` if too few are left."""
        self._memory -= size
        if self._memory < 0:
            raise invalid_input(
                "The program takes more memory than one job may: use fewer qubits, bits or shots."
            )


def invalid_input(message: str) -> ProgramError:
    """The error of a program, or of its parameters, that cannot be read or run."""
    return ProgramError("InvalidInputData", message)


def untranslatable(provider: str) -> ProgramError:
    """The error of an `outputDataFormat` that the provider's results cannot be brought into."""
    return ProgramError(
        "CannotTranslateOutputData",
        f"The output returned by '{provider}' cannot be translated as specified by "
        "'outputDataFormat'. Please ensure that 'outputDataFormat' is correct.",
    )


def read_shots(params: Mapping[str, Any], provider: str) -> int:
    """How often to run the program: `shots`, or else `count`, or else the provider's default."""
    value = params.get("shots")
    if value is None:
        value = params.get("count")
    if value is None:
        value = _DEFAULT_SHOTS.get(provider, 1)
    if type(value) is not int or not 1 <= value <= _MAX_SHOTS:
        raise invalid_input(f"The number of shots has to be an integer from 1 to {_MAX_SHOTS}.")
    return value
