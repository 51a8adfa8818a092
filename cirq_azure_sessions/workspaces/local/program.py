"""Programs for the engine, the budget of a job, and errors with the service's codes.

A program is Cirq operations, and conditions on bits: Cirq has no conditional measurements, so
conditions are kept beside the operations. A classical bit is the key of the measurements into it,
and 0 before the first of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cirq

from cirq_azure_sessions.workspaces.local.state import ProgramError

__all__ = ["Budget", "Condition", "ProgramError", "Statement", "invalid_input"]

# About ten seconds, in units of the time to update one amplitude.
_WORK = 1_000_000_000
_UNITS_PER_SECOND = 100_000_000

# Bytes, in addition to the emulator's own needs, so that a job stays within 1 GB.
_MEMORY = 512 << 20


@dataclass(frozen=True, slots=True)
class Condition:
    """A register compared with a number.

    Attributes:
        keys: The bits of the register, the first least significant.
        comparison: `==`, `!=`, `<`, `<=`, `>` or `>=`.
    """

    keys: Sequence[str]
    comparison: str
    value: int


@dataclass(frozen=True, slots=True)
class Statement:
    """The operations of a statement; their condition is evaluated once, before the first.

    Each measurement or reset is of one qubit.
    """

    operations: Sequence[cirq.Operation]
    condition: Condition | None = None


class Budget:
    """The work and memory that one job may still use, in any language.

    Readers, writers and simulators of programs spend from it before they act.
    """

    def __init__(self, work: float = _WORK, memory: float = _MEMORY) -> None:
        self._work = work
        self._memory = memory

    def spend(self, work: int) -> None:
        """Spends work, before doing it. `ProgramError` if too little is left."""
        self._work -= work
        if self._work < 0:
            raise ProgramError(
                "ProviderTimeout",
                "The program takes more work than one job may: use fewer gates, qubits or shots.",
            )

    @property
    def seconds(self) -> float:
        """The seconds that another process may work on the job."""
        return self._work / _UNITS_PER_SECOND

    def spend_seconds(self, seconds: float) -> None:
        """Spends the seconds that another process has used. `ProgramError` if too few were left."""
        self.spend(int(seconds * _UNITS_PER_SECOND))

    def hold(self, size: int) -> None:
        """Reserves bytes until the job ends. `ProgramError` if too few are left."""
        self._memory -= size
        if self._memory < 0:
            raise invalid_input(
                "The program takes more memory than one job may: use fewer qubits, bits or shots."
            )


def invalid_input(message: str) -> ProgramError:
    """The error for a program, or its parameters, that cannot be read or run."""
    return ProgramError("InvalidInputData", message)
