"""The parameters that every job may carry, read with suspicion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cirq_azure_sessions.emulator.programs.failure import invalid_input

__all__ = ["check_result_size", "read_shots"]

# Twenty times what the SDK allows for hardware targets, and little enough to hold in memory.
MAX_SHOTS = 200_000

# Bits of all shots together.
_MAX_RESULT = 50_000_000

# Where a job does not say: IonQ documents 500. One is recorded on Quantinuum's targets, in OpenQASM
# and in QIR, and on the test provider's in QIR, and documented by Rigetti.
_DEFAULT_SHOTS = {"ionq": 500}


def read_shots(params: Mapping[str, Any], provider: str) -> int:
    """How often to run the program: `shots`, or else `count`, or else the provider's default."""
    value = params.get("shots")
    if value is None:
        value = params.get("count")
    if value is None:
        value = _DEFAULT_SHOTS.get(provider, 1)
    if type(value) is not int or not 1 <= value <= MAX_SHOTS:
        raise invalid_input(f"The number of shots has to be an integer from 1 to {MAX_SHOTS}.")
    return value


def check_result_size(shots: int, num_bits: int) -> None:
    """Refuses a job whose shots have more bits together than a result should hold."""
    if shots * num_bits > _MAX_RESULT:
        raise invalid_input(f"The result would have more than {_MAX_RESULT} bits.")
