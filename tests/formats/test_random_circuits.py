"""Random circuits with symbols, measurements in between, conditions and resets, against Cirq.

Classical ones have one outcome, which has to be Cirq's. Of the others the distributions are
compared, which fails for equal ones once in 10**7 runs.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import cirq
import pytest
import sympy
from formats_lab import (
    QIR,
    QUANTINUUM,
    assert_same_distribution,
    assert_same_form,
    decode,
    emulate,
    translation,
)

from cirq_azure_sessions import AzureSessionSampler
from cirq_azure_sessions.results.azure_result import AzureResult

QUBITS = cirq.LineQubit.range(4)
T, U = sympy.symbols("t u")
# The parameters of these are integers.
CLASSICAL = [cirq.X, cirq.Y, cirq.X**T, cirq.Y**U, cirq.X ** (2 * T + U), cirq.Z**T]
CLASSICAL += [cirq.CNOT, cirq.CNOT**T, cirq.SWAP, cirq.SWAP**U, cirq.ISWAP ** (T + U), cirq.CCX]
CLASSICAL += [cirq.CCX**U, cirq.CSWAP, cirq.ControlledGate(cirq.X**T)]
QUANTUM = [cirq.H, cirq.rx(T), cirq.ry(3 * U), cirq.H**T, cirq.XX**U, cirq.CZ**T]
QUANTUM += [
    cirq.FSimGate(T, U),
    cirq.PhasedXZGate(x_exponent=T, z_exponent=U, axis_phase_exponent=T),
]
CLASSICAL_POINTS = [{"t": t, "u": u} for t in (0, 1) for u in (0, 1)]
QUANTUM_POINTS = [{"t": 0.31, "u": 1.27}]


def random_circuit(draw: random.Random, gates: Sequence[cirq.Gate], length: int) -> cirq.Circuit:
    """A circuit whose keys are measured before anything depends on them, and possibly again."""
    circuit = cirq.Circuit(cirq.X(qubit) for qubit in draw.sample(QUBITS, 2))
    keys: dict[str, int] = {}
    for _ in range(length):
        kind = draw.choice(["gate", "gate", "gate", "measure", "reset", "loop"])
        gate = draw.choice(gates)
        operation = gate.on(*draw.sample(QUBITS, cirq.num_qubits(gate)))
        if kind == "measure":
            key = draw.choice(["a", "b", "c"])
            size = keys.setdefault(key, draw.randint(1, 3))
            mask = [draw.random() < 0.3 for _ in range(size)]
            circuit.append(cirq.measure(*draw.sample(QUBITS, size), key=key, invert_mask=mask))
            continue
        if kind == "reset":
            operation = cirq.reset(draw.choice(QUBITS))
        if kind == "loop":
            operation = cirq.CircuitOperation(cirq.FrozenCircuit(operation), repetitions=2)
        if keys and draw.random() < 0.5:
            chosen = draw.sample(sorted(keys), draw.randint(1, min(2, len(keys))))
            operation = operation.with_classical_controls(
                *(random_condition(draw, key, keys[key]) for key in chosen)
            )
        circuit.append(operation)
    return circuit + cirq.measure(*QUBITS, key="end")


def random_condition(
    draw: random.Random, key: str, size: int
) -> str | cirq.Condition | sympy.Basic:
    symbol, value = sympy.Symbol(key), draw.randrange(1 << size)
    return draw.choice(
        [
            key,
            cirq.BitMaskKeyCondition(key, target_value=value, equal_target=draw.random() < 0.5),
            cirq.BitMaskKeyCondition(key, bitmask=1 << size - 1, target_value=0, equal_target=True),
            sympy.Eq(symbol, value),
            symbol <= value,
            sympy.Or(sympy.Eq(symbol, value), sympy.Ne(sympy.IndexedBase(key)[0], 0)),
        ]
    )


def results(
    target: str, circuit: cirq.Circuit, points: Sequence[dict[str, float]], repetitions: int
) -> Sequence[cirq.Result]:
    if target.startswith("local."):
        return AzureSessionSampler(target, seed=1).run_sweep(circuit, points, repetitions)
    sweep = translation(target, circuit, points, repetitions)

    def result(index: int) -> AzureResult:
        job = sweep.job(index)
        return decode(target, job, emulate(target, job))

    return [*map(result, range(len(points)))]


TARGETS = [QIR, QUANTINUUM, "local.simulator", "local.density-matrix"]


# The last seed repeats a condition on many bits for many statements.
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("seed", [*range(4), 2020])
def test_a_classical_circuit_has_cirqs_outcome(seed: int, target: str) -> None:
    circuit = random_circuit(random.Random(seed), CLASSICAL, 14)
    expected = cirq.Simulator().run_sweep(circuit, CLASSICAL_POINTS)
    for ours, theirs in zip(results(target, circuit, CLASSICAL_POINTS, 1), expected, strict=True):
        assert ours == theirs


@pytest.mark.parametrize("target", [QIR, QUANTINUUM, "local.density-matrix"])
@pytest.mark.parametrize("seed", range(4))
def test_a_circuit_has_cirqs_distribution(seed: int, target: str) -> None:
    circuit = random_circuit(random.Random(100 + seed), [*CLASSICAL, *QUANTUM], 10)
    expected = cirq.Simulator(seed=1).run_sweep(circuit, QUANTUM_POINTS, 300)
    for ours, theirs in zip(results(target, circuit, QUANTUM_POINTS, 300), expected, strict=True):
        if not target.startswith("local."):
            assert_same_form(ours, theirs)
        assert_same_distribution(ours, theirs)
