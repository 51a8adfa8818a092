"""The sampler behind `local.like:TARGET`: Cirq's simulators, for circuits that include noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cirq

__all__ = ["NoisySimulator"]

# A density matrix of this many qubits takes 8 MB, and one evolution serves all repetitions.
_MAX_DENSE_QUBITS = 10


class NoisySimulator(cirq.Sampler):
    """Simulates one density matrix for all repetitions where it can, else a state vector for each.

    Args:
        seed: The seed, or the random number generator.
    """

    def __init__(self, seed: Any = None) -> None:
        self._dense = cirq.DensityMatrixSimulator(seed=seed)
        self._one_by_one = cirq.Simulator(seed=seed)

    def run_sweep(
        self, program: cirq.AbstractCircuit, params: cirq.Sweepable, repetitions: int = 1
    ) -> Sequence[cirq.Result]:
        """Cirq's `run_sweep`."""
        is_dense = (
            cirq.num_qubits(program) <= _MAX_DENSE_QUBITS
            and program.are_all_measurements_terminal()
        )
        sampler = self._dense if is_dense else self._one_by_one
        return sampler.run_sweep(program, params, repetitions)
