"""One job's program, as the readers of all languages give it, with its limits and its errors.

A program is Cirq operations, and conditions on bits: Cirq has no conditional measurements, so
conditions are kept beside the operations. A classical bit is the key of the measurements into it,
and 0 before the first of them. Errors have the codes recorded from the service.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cirq

from cirq_azure_sessions.workspaces.local import ProgramError

__all__ = [
    "ROW_SIZE",
    "Budget",
    "Census",
    "Condition",
    "Output",
    "ProgramError",
    "Statement",
    "invalid_input",
    "read_shots",
    "take_census",
    "untranslatable",
]

# Twenty times the SDK's limit for hardware targets.
_MAX_SHOTS = 200_000

# Default shots: IonQ documents 500. One shot is recorded for Quantinuum's targets, in OpenQASM and
# QIR, and for the test provider's in QIR, and documented by Rigetti.
_DEFAULT_SHOTS = {"ionq": 500}

# About ten seconds, in units of the time to update one amplitude.
_WORK = 1_000_000_000
_UNITS_PER_SECOND = 100_000_000

# Bytes of overhead for a register's value in one shot, in addition to its bits.
ROW_SIZE = 64

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


@dataclass(frozen=True, slots=True)
class Census:
    """The number of operations of each kind in a program, for its bill."""

    one_qubit: int = 0
    two_qubit: int = 0
    measurements: int = 0
    qubits: int = 0


class Output(NamedTuple):
    """The content of a job's output blob, and the census of its program."""

    content: bytes
    census: Census = Census()


def take_census(operations: Iterable[cirq.Operation]) -> Census:
    """Counts operations; resets count as preparations."""
    one_qubit = two_qubit = measurements = 0
    qubits: set[cirq.Qid] = set()
    for operation in operations:
        qubits.update(operation.qubits)
        if isinstance(operation.gate, cirq.MeasurementGate | cirq.ResetChannel):
            measurements += 1
        elif len(operation.qubits) == 1:
            one_qubit += 1
        else:
            two_qubit += 1
    return Census(one_qubit, two_qubit, measurements, len(qubits))


class Budget:
    """The work and memory that one job may still use, in any language.

    Readers, writers and simulators of programs spend from it before they act.
    """

    def __init__(self, work: int = _WORK, memory: int = _MEMORY) -> None:
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


def untranslatable(provider: str) -> ProgramError:
    """The error for an `outputDataFormat` that the provider's results cannot be converted to."""
    return ProgramError(
        "CannotTranslateOutputData",
        f"The output returned by '{provider}' cannot be translated as specified by "
        "'outputDataFormat'. Please ensure that 'outputDataFormat' is correct.",
    )


def read_shots(params: Mapping[str, Any], provider: str) -> int:
    """The number of shots: `shots`, or else `count`, or else the provider's default."""
    value = params.get("shots")
    if value is None:
        value = params.get("count")
    if value is None:
        value = _DEFAULT_SHOTS.get(provider, 1)
    if type(value) is not int or not 1 <= value <= _MAX_SHOTS:
        raise invalid_input(f"The number of shots has to be an integer from 1 to {_MAX_SHOTS}.")
    return value
