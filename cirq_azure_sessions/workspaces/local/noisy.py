"""The sampler behind `local.like:TARGET`, for circuits that include noise."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cirq
import numpy as np

from cirq_azure_sessions.noise import NOISELESS
from cirq_azure_sessions.workspaces.local.engine import MAX_QUBITS, Engine
from cirq_azure_sessions.workspaces.local.program import Budget, Condition, Statement

__all__ = ["NoisySimulator"]

# A density matrix of this many qubits takes 0.5 MB, and one evolution serves all repetitions.
_MAX_DENSE_QUBITS = 8


class NoisySimulator(cirq.Sampler):
    """Simulates one density matrix for all repetitions of a small circuit.

    In larger circuits, and in those with measurements midway, repetitions share a state vector
    until an error or a measurement parts them. What the engine cannot run, such as a condition on
    two keys, Cirq simulates repetition by repetition.

    Args:
        seed: The seed, or the random number generator.
    """

    def __init__(self, seed: Any = None) -> None:
        self._random = cirq.value.parse_random_state(seed)

    def run_sweep(
        self, program: cirq.AbstractCircuit, params: cirq.Sweepable, repetitions: int = 1
    ) -> Sequence[cirq.Result]:
        """Cirq's `run_sweep`."""
        return [self._run(program, each, repetitions) for each in cirq.to_resolvers(params)]

    def _run(
        self, program: cirq.AbstractCircuit, resolver: cirq.ParamResolver, repetitions: int
    ) -> cirq.Result:
        size = cirq.num_qubits(program)
        if size <= _MAX_DENSE_QUBITS and program.are_all_measurements_terminal():
            dense = cirq.DensityMatrixSimulator(seed=self._random)
            return dense.run(program, resolver, repetitions)
        circuit = cirq.resolve_parameters(program, resolver)
        if size > MAX_QUBITS or not _is_plain(circuit):
            return cirq.Simulator(seed=self._random).run(program, resolver, repetitions)
        bits = {
            cirq.measurement_key_name(operation): _bits(operation)
            for operation in circuit.all_operations()
            if cirq.is_measurement(operation)
        }
        rng = np.random.default_rng(self._random.randint(2**31, size=4))
        engine = Engine(NOISELESS, rng, Budget(math.inf, math.inf))
        names = [name for key in bits.values() for name in key]
        found = engine.sample(_statements(circuit, bits), names, repetitions)
        ends = np.cumsum([len(key) for key in bits.values()])
        columns = np.split(found, ends[:-1], axis=1)
        records = {key: part[:, None, :] for key, part in zip(bits, columns, strict=True)}
        return cirq.ResultDict(params=resolver, records=records)


def _is_plain(circuit: cirq.AbstractCircuit) -> bool:
    """Whether a circuit consists of what `_statements` can say."""
    keys: set[str] = set()
    for operation in circuit.all_operations():
        gate = operation.without_classical_controls().gate
        if isinstance(gate, cirq.MeasurementGate):
            if gate.key in keys or any(gate.invert_mask) or gate.confusion_map:
                return False
            keys.add(gate.key)
        elif gate is None or cirq.is_measurement(gate) or not operation.qubits:
            return False
        conditions = operation.classical_controls
        if len(conditions) > 1 or not all(
            isinstance(each, cirq.KeyCondition) and each.index == -1 and str(each.key) in keys
            for each in conditions
        ):
            return False
    return True


def _statements(
    circuit: cirq.AbstractCircuit, bits: Mapping[str, Sequence[str]]
) -> Iterator[Statement]:
    for operation in circuit.all_operations():
        plain = operation.without_classical_controls().untagged
        if cirq.is_measurement(plain):
            pairs = zip(plain.qubits, _bits(plain), strict=True)
            yield Statement([cirq.measure(qubit, key=bit) for qubit, bit in pairs])
            continue
        condition = next(iter(operation.classical_controls), None)
        if condition is None:
            yield Statement([plain])
        else:
            (key,) = condition.keys
            yield Statement([plain], Condition(bits[str(key)], "!=", 0))


def _bits(measurement: cirq.Operation) -> list[str]:
    """A name for the bit of each measured qubit."""
    key = cirq.measurement_key_name(measurement)
    return [f"{key} {place}" for place in range(len(measurement.qubits))]
