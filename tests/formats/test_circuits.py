"""Public circuits, there and back on every provider."""

from __future__ import annotations

from pathlib import Path

import cirq
import pytest
from formats_lab import (
    IONQ,
    REMOTE,
    assert_exactly,
    assert_same_distribution,
    assert_same_form,
    exact_distribution,
    needs_shared,
    run,
    shared_circuits,
    simulate,
)

from cirq_azure_sessions.cli.circuit_file import read_circuit
from cirq_azure_sessions.errors import UnsupportedProgram

# Files that are no OpenQASM: they measure a register that they do not declare.
UNREADABLE = {"vqe_uccsd_n6", "vqe_uccsd_n8"}

# Circuits that measure, reset or branch in between, which IonQ's machines cannot.
IN_BETWEEN = {"bb84_n8", "inverseqft_n4", "ipea_n2"}

# Emulated, seven measurements moved to the end make this one very slow.
OPTIONS = {"bb84_n8": {"input_params": {"target_profile": "Adaptive_RI"}}}


@needs_shared
@pytest.mark.parametrize("target", REMOTE)
@pytest.mark.parametrize(
    "path",
    [path for path in shared_circuits() if path.stem not in UNREADABLE],
    ids=lambda path: path.stem,
)
def test_public_circuit_has_cirqs_distribution(path: Path, target: str) -> None:
    circuit = read_circuit(path)
    if target == IONQ and path.stem in IN_BETWEEN:
        with pytest.raises(UnsupportedProgram, match="measures only at the end"):
            run(target, circuit)
        return
    result = run(target, circuit, repetitions=60, **OPTIONS.get(path.stem, {}))
    expected = simulate(circuit, repetitions=60)
    assert_same_form(result, expected)
    if target == IONQ:
        assert_exactly(result, exact_distribution(circuit))
    else:
        assert_same_distribution(result, expected)


def test_circuits_of_cirqs_own_experiments() -> None:
    qubits = cirq.LineQubit.range(2)
    circuits = [
        cirq.experiments.random_quantum_circuit_generation.random_rotations_between_grid_interaction_layers_circuit(
            cirq.GridQubit.square(2), depth=4, seed=1
        ),
        cirq.testing.random_circuit(qubits, 8, 1.0, random_state=3),
    ]
    for circuit in circuits:
        measured = circuit + cirq.Circuit(cirq.measure(*sorted(circuit.all_qubits()), key="m"))
        assert_exactly(run(IONQ, measured), exact_distribution(measured))
