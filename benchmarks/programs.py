"""The circuits that are measured."""

from __future__ import annotations

import itertools

import cirq
import sympy

__all__ = ["THETA", "ansatz", "heavy", "rabi", "sweep"]

THETA = sympy.Symbol("theta")


def rabi() -> cirq.Circuit:
    """Two qubits and one angle: as little work as a point can be."""
    a, b = cirq.LineQubit.range(2)
    return cirq.Circuit(cirq.rx(THETA)(a), cirq.CNOT(a, b), cirq.measure(a, b, key="m"))


def ansatz(qubits: int = 10, gates: int = 100) -> cirq.Circuit:
    """A layered ansatz: rotations by multiples of the angle, and a ladder of entanglers."""
    line = cirq.LineQubit.range(qubits)
    operations: list[cirq.Operation] = []
    for layer in range(gates // (2 * qubits - 1) + 1):
        operations += [cirq.ry((layer + 1) * THETA).on(qubit) for qubit in line]
        operations += [cirq.CNOT(a, b) for a, b in itertools.pairwise(line)]
    return cirq.Circuit(operations[:gates], cirq.measure(*line, key="m"))


def heavy() -> cirq.Circuit:
    """A circuit whose simulation takes some tens of milliseconds a point."""
    return ansatz(qubits=14, gates=270)


def ghz(qubits: int) -> cirq.Circuit:
    """A Clifford circuit: the GHZ state."""
    line = cirq.LineQubit.range(qubits)
    ladder = [cirq.CNOT(a, b) for a, b in itertools.pairwise(line)]
    return cirq.Circuit(cirq.H(line[0]), ladder, cirq.measure(*line, key="m"))


def sweep(points: int) -> cirq.Sweep:
    """Evenly spaced values of the angle."""
    return cirq.Linspace("theta", 0.1, 3.0, points)
