"""What programs of all languages have in common: shots, output and the counts to bill."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import cirq

from cirq_azure_sessions.workspaces.local.program import ProgramError, invalid_input

__all__ = ["ROW_SIZE", "Census", "Output", "read_shots", "take_census", "untranslatable"]

# Twenty times the SDK's limit for hardware targets.
_MAX_SHOTS = 200_000

# Default shots: IonQ documents 500. One shot is recorded for Quantinuum's targets, in OpenQASM and
# QIR, and for Rigetti's and the test provider's in QIR; Rigetti documents it for Quil.
_DEFAULT_SHOTS = {"ionq": 500}

# Bytes of overhead for a register's value in one shot, in addition to its bits.
ROW_SIZE = 64


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
