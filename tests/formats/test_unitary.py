"""A program does what its circuit does: for every gate of Cirq, whatever Cirq's compilers believe.

The truth is `cirq.Simulator`. Programs are read back by the emulator's reader and by the command
line's, which know nothing of `formats`.
"""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Iterator
from typing import Any

import cirq
import numpy as np
import numpy.typing as npt
import pytest
import sympy
from formats_lab import IONQ, QUANTINUUM, payload
from hypothesis import given, settings
from hypothesis import strategies as st

from cirq_azure_sessions import read_circuit
from cirq_azure_sessions.emulator.programs import ionq
from cirq_azure_sessions.errors import UnsupportedProgram
from cirq_azure_sessions.formats import compile as compile_module
from cirq_azure_sessions.workspaces.local.program import Budget

TARGETS = (IONQ, QUANTINUUM)
LINE = cirq.LineQubit.range(8)


def assert_equivalent(operation: cirq.Operation, target: str) -> None:
    """The program of an operation takes a random state where `cirq.Simulator` takes it."""
    qubits = sorted(operation.qubits)
    text = payload(target, cirq.Circuit(operation, cirq.measure(*qubits, key="m")))
    line = cirq.LineQubit.range(len(qubits))
    if target == IONQ:
        program = cirq.Circuit(ionq.read(text.encode(), len(line), Budget())[1])
    else:
        program = cirq.Circuit(
            operation.with_qubits(*(line[int(str(q).partition("_")[2])] for q in operation.qubits))
            for operation in read_circuit(text).all_operations()
            if not cirq.is_measurement(operation)
        )
    ours, wanted = _simulated(program, line), _simulated(cirq.Circuit(operation), qubits)
    assert abs(np.vdot(ours, wanted)) == pytest.approx(1, abs=1e-9)


def _simulated(circuit: cirq.Circuit, qubits: list[Any]) -> npt.NDArray[np.complex128]:
    state = cirq.testing.random_superposition(2 ** len(qubits), random_state=1)
    simulator = cirq.Simulator(dtype=np.complex128)
    final = simulator.simulate(circuit, qubit_order=qubits, initial_state=state)
    return np.asarray(final.final_state_vector)


# Every gate of Cirq


@functools.cache
def shipped() -> dict[str, cirq.Operation]:
    """The unitary operations on qubits among the examples of each class that Cirq itself ships."""
    return {f"{name}-{k}": op for name, k, op in _examples() if _is_unitary_on_qubits(op)}


def _examples() -> Iterator[tuple[str, int, cirq.Operation]]:
    folder = importlib.resources.files("cirq.protocols.json_test_data")
    for file in sorted(folder.iterdir(), key=lambda each: each.name):
        name = file.name.removesuffix(".repr")
        if file.name == name or not hasattr(cirq, name):
            continue
        try:
            value = eval(file.read_text(), {"cirq": cirq, "np": np, "sympy": sympy})
        except NameError:  # an example of something else, in the terms of another package
            continue
        for k, each in enumerate(value if isinstance(value, list | tuple) else [value]):
            if isinstance(each, cirq.Gate):
                each = each.on(*cirq.LineQid.for_gate(each))
            if isinstance(each, cirq.Operation):
                yield name, k, each


def _is_unitary_on_qubits(operation: cirq.Operation) -> bool:
    if cirq.is_parameterized(operation) or not operation.qubits:
        return False
    return cirq.has_unitary(operation) and all(q.dimension == 2 for q in operation.qubits)


def test_cirqs_examples_hold_gates_of_nearly_every_class() -> None:
    kinds = {type(operation.gate) for operation in shipped().values()}
    assert len(kinds) > 30
    assert {cirq.UniformSuperpositionGate, cirq.QubitPermutationGate, cirq.FSimGate} <= kinds


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", shipped())
def test_every_gate_of_cirq_keeps_its_unitary(name: str, target: str) -> None:
    assert_equivalent(shipped()[name], target)


FIXED_EXAMPLES = {
    "superposition of 3 of 4": cirq.UniformSuperpositionGate(3, 2),
    "superposition of 5 of 8": cirq.UniformSuperpositionGate(5, 3),
    "superposition of 11 of 16": cirq.UniformSuperpositionGate(11, 4),
    "superposition of 200 of 256": cirq.UniformSuperpositionGate(200, 8),
    "controlled by False": cirq.ControlledGate(cirq.H, control_values=[False]),
    "controlled by True and False": cirq.ControlledGate(cirq.Y, control_values=[True, False]),
    "controlled in several ways": cirq.ControlledGate(
        cirq.rx(0.3), control_values=cirq.SumOfProducts([(0, 1), (1, 0)])
    ),
    "seven controls": cirq.ControlledGate(cirq.ry(0.3), num_controls=7),
    "Fourier transform": cirq.QuantumFourierTransformGate(5),
    "matrix on four qubits": cirq.MatrixGate(cirq.testing.random_unitary(16, random_state=1)),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("gate", FIXED_EXAMPLES.values(), ids=FIXED_EXAMPLES)
def test_composite_gate_keeps_its_unitary(gate: cirq.Gate, target: str) -> None:
    assert_equivalent(gate.on(*LINE[: cirq.num_qubits(gate)]), target)


OF_ONE_NUMBER = [
    kind
    for kind in vars(cirq).values()
    if isinstance(kind, type)
    and issubclass(kind, cirq.EigenGate)
    and kind.__init__ is cirq.EigenGate.__init__
    and kind is not cirq.EigenGate
]
# What is special about a number is special just beside it too, or just not any more.
turns = st.builds(
    float.__add__,
    st.sampled_from([0.0, 0.25, 0.5, 1.0, -1.0, 1.5, 2.0, -0.3]) | st.floats(-4, 4),
    st.sampled_from([0.0, 0.0, 1e-10, -3e-8, 1e-6]),
)


@st.composite
def gates(draw: st.DrawFn) -> cirq.Gate:
    """Gates with any numbers, controlled in any way."""
    numbers = [draw(turns) for _ in range(5)]
    gate: cirq.Gate = draw(
        st.sampled_from(
            [
                *(kind(exponent=numbers[0], global_shift=numbers[1]) for kind in OF_ONE_NUMBER),
                cirq.PhasedXPowGate(exponent=numbers[0], phase_exponent=numbers[1]),
                cirq.PhasedXZGate(
                    x_exponent=numbers[0], z_exponent=numbers[1], axis_phase_exponent=numbers[2]
                ),
                cirq.FSimGate(*numbers[:2]),
                cirq.PhasedFSimGate(*numbers),
                cirq.PhasedISwapPowGate(exponent=numbers[0], phase_exponent=numbers[1]),
                cirq.TwoQubitDiagonalGate(numbers[:4]),
                cirq.MatrixGate(cirq.testing.random_unitary(4, random_state=3)),
            ]
        )
    )
    values = draw(st.lists(st.sampled_from([0, 1, False, True, (0, 1)]), max_size=2))
    return gate.controlled(control_values=values) if values else gate


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=14, derandomize=True, deadline=None)
@given(gate=gates())
def test_any_numbers_and_controls_keep_the_unitary(target: str, gate: cirq.Gate) -> None:
    assert_equivalent(gate.on(*LINE[: cirq.num_qubits(gate)]), target)


# Cirq is wrong


class Contradictory(cirq.Gate):
    """A gate that Cirq's simulators and Cirq's compilers understand in different ways."""

    def __init__(self, num_qubits: int) -> None:
        self._size = num_qubits

    def _num_qubits_(self) -> int:
        return self._size

    def _apply_unitary_(self, args: cirq.ApplyUnitaryArgs) -> Any:
        gate = cirq.ParallelGate(cirq.H, self._size)
        return cirq.apply_unitary(gate, args)

    def _decompose_(self, qubits: tuple[cirq.Qid, ...]) -> Iterator[cirq.Operation]:
        yield from cirq.X.on_each(qubits)


class FurtherQubit(Contradictory):
    """A gate that is taken apart with the help of a qubit which the circuit does not have."""

    def _decompose_(self, qubits: tuple[cirq.Qid, ...]) -> Iterator[cirq.Operation]:
        yield from (cirq.CNOT(qubit, cirq.NamedQubit("further")) for qubit in qubits)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", [Contradictory, FurtherQubit])
@pytest.mark.parametrize("num_qubits", [3, 4])
def test_wrong_decomposition_gives_way_to_synthesis(
    num_qubits: int, kind: type[Contradictory], target: str
) -> None:
    assert_equivalent(kind(num_qubits).on(*LINE[:num_qubits]), target)


@pytest.mark.parametrize("target", TARGETS)
def test_wrong_decomposition_too_large_for_synthesis_is_refused(target: str) -> None:
    circuit = cirq.Circuit(Contradictory(8).on(*LINE), cirq.measure(*LINE, key="m"))
    with pytest.raises(UnsupportedProgram, match="no decomposition that is equivalent"):
        payload(target, circuit)


def test_wrong_decomposition_of_a_simple_gate_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = cirq.PhasedXZGate(x_exponent=0.3, z_exponent=0.2, axis_phase_exponent=0.1)
    monkeypatch.setattr(
        cirq.PhasedXZGate, "_decompose_", lambda self, qubits: [cirq.X(*qubits) ** 0.3]
    )
    uncached = compile_module._is_decomposed_right.__wrapped__
    monkeypatch.setattr(compile_module, "_is_decomposed_right", uncached)
    assert_equivalent(gate.on(LINE[0]), IONQ)
    # The compiler for OpenQASM knows these gates by their decomposition only.
    with pytest.raises(UnsupportedProgram, match="no decomposition that is equivalent"):
        payload(QUANTINUUM, cirq.Circuit(gate.on(LINE[0]), cirq.measure(LINE[0])))
