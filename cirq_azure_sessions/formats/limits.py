"""How many repetitions one job may have, and how many qubits, by target."""

from __future__ import annotations

import fnmatch

__all__ = ["max_qubits", "max_repetitions", "shares"]

# A target without a known limit is not split: a job too large is refused by the service in its own
# words, and a job split without need is paid for twice.
# The numbers are `max_shots` of the SDK's Qiskit backends (azure.quantum.qiskit.backends of
# azure-quantum 3.13), which name none for IonQ's simulator and Quantinuum's emulators.
_LIMITS = (
    ("ionq.qpu*", 10_000),
    ("quantinuum.qpu.*", 10_000),
    ("rigetti.*", 10_000),
)

# Of simulators alone, whose size is that of their software; that of hardware changes, and the
# service tells. `n_qubits` of the same backends.
_MOST_QUBITS = {"ionq.simulator": 29}


def max_qubits(target: str) -> int | None:
    """The most qubits that a circuit for the target may have; None where no limit is known."""
    return _MOST_QUBITS.get(target)


def max_repetitions(target: str) -> int | None:
    """The most repetitions that one job on the target may have; None where no limit is known."""
    for pattern, limit in _LIMITS:
        if fnmatch.fnmatchcase(target, pattern):
            return limit
    return None


def shares(target: str, repetitions: int) -> tuple[int, ...]:
    """The repetitions of a point as jobs of the target take them, the full ones first."""
    limit = max_repetitions(target)
    if limit is None:
        return (repetitions,)
    full, rest = divmod(repetitions, limit)
    return (limit,) * full + ((rest,) if rest else ())
