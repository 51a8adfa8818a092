"""Operations without a gate: whatever has a unitary runs, on every target."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import cirq
import mpmath
import numpy as np
import numpy.typing as npt
import pytest
import sympy
from formats_lab import (
    IONQ,
    QIR,
    QUANTINUUM,
    REMOTE,
    assert_cirqs_answer,
    assert_exactly,
    exact_distribution,
    run,
    translation,
)

from cirq_azure_sessions.errors import UnsupportedProgram

A, B, C = QUBITS = cirq.LineQubit.range(3)


class Bare(cirq.Operation):
    """An operation without a gate, which Cirq knows by its qubits alone."""

    def __init__(self, *qubits: cirq.Qid, seed: int = 1) -> None:
        self._qubits = qubits
        self._seed = seed

    @property
    def qubits(self) -> tuple[cirq.Qid, ...]:
        return self._qubits

    def with_qubits(self, *qubits: cirq.Qid) -> Bare:
        return type(self)(*qubits, seed=self._seed)

    def _matrix(self) -> npt.NDArray[np.complex128]:
        return cirq.testing.random_unitary(2 ** len(self._qubits), random_state=self._seed)


class WithMatrix(Bare):
    def _unitary_(self) -> npt.NDArray[np.complex128]:
        return self._matrix()


class WithEffect(Bare):
    """It knows what it does to a state, and not its matrix."""

    def _has_unitary_(self) -> bool:
        return True

    def _apply_unitary_(self, args: cirq.ApplyUnitaryArgs) -> Any:
        return cirq.apply_unitary(cirq.MatrixGate(self._matrix()), args)


class Turn(Bare):
    """A rotation with a parameter, which is all there is to resolve."""

    def __init__(self, *qubits: cirq.Qid, angle: Any = 0.0) -> None:
        super().__init__(*qubits)
        self._angle = angle

    def with_qubits(self, *qubits: cirq.Qid) -> Turn:
        return Turn(*qubits, angle=self._angle)

    def _is_parameterized_(self) -> bool:
        return cirq.is_parameterized(self._angle)

    def _resolve_parameters_(self, resolver: cirq.ParamResolver, recursive: bool) -> Turn:
        angle = cirq.resolve_parameters(self._angle, resolver, recursive)
        return Turn(*self._qubits, angle=angle)

    def _unitary_(self) -> Any:
        return NotImplemented if self._is_parameterized_() else cirq.unitary(cirq.rx(self._angle))


OPERATIONS = {
    "one qubit": WithMatrix(B),
    "three qubits": WithMatrix(C, A, B),
    "known by its effect": WithEffect(B, A),
    "tagged": WithMatrix(A).with_tags("tag"),
    "controlled": WithMatrix(A).controlled_by(B),
    "controlled by zero": WithMatrix(A).controlled_by(B, control_values=[0]),
    "in a subcircuit": cirq.CircuitOperation(cirq.FrozenCircuit(WithMatrix(A)), repetitions=2),
    "a Pauli": cirq.Y(B),
    "a string of Paulis": -cirq.X(A) * cirq.Y(C),
    "a string of no Paulis": cirq.PauliString(),
    "a matrix on no qubits": cirq.MatrixGate(np.array([[1j]]), qid_shape=()).on(),
    "a phasor": cirq.PauliStringPhasor(cirq.X(A) * cirq.Z(B), exponent_neg=0.3),
    "a global phase": cirq.global_phase_operation(1j).controlled_by(A),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_operation_with_a_unitary_runs(operation: cirq.Operation) -> None:
    circuit = cirq.Circuit(
        [cirq.ry(0.3 + k)(qubit) for k, qubit in enumerate(QUBITS)],
        operation,
        [cirq.rx(0.5)(qubit) for qubit in QUBITS],
        cirq.measure(*QUBITS, key="m"),
    )
    assert_exactly(run(IONQ, circuit), exact_distribution(circuit))
    for target in (QUANTINUUM, QIR):
        assert_cirqs_answer(target, circuit, 2_000)


def test_every_class_of_operation_that_cirq_has_is_among_these() -> None:
    public = {
        kind
        for kind in vars(cirq).values()
        if inspect.isclass(kind)
        and issubclass(kind, cirq.Operation)
        and not inspect.isabstract(kind)
    }
    # Conditions have tests of their own, beside the one below.
    assert public == public & {*map(type, OPERATIONS.values()), cirq.ClassicallyControlledOperation}


@pytest.mark.parametrize("target", [QUANTINUUM, QIR])
def test_operation_without_a_gate_may_depend_on_a_measurement(target: str) -> None:
    circuit = cirq.Circuit(
        cirq.H(B),
        cirq.measure(B, key="b"),
        WithMatrix(A).with_classical_controls("b"),
        cirq.measure(A, key="a"),
    )
    assert_cirqs_answer(target, circuit, 2_000)


@pytest.mark.parametrize("target", REMOTE)
def test_operation_without_a_gate_may_have_a_parameter(target: str) -> None:
    def measured(operation: cirq.Operation) -> cirq.Circuit:
        return cirq.Circuit(operation, cirq.measure(A, key="m"))

    angles = [0.2, 0.7]
    sweep = translation(
        target, measured(Turn(A, angle=sympy.Symbol("t"))), [{"t": t} for t in angles]
    )
    for index, angle in enumerate(angles):
        plain = translation(target, measured(Turn(A, angle=angle)))
        assert sweep.job(index).payload == plain.job(0).payload


@pytest.mark.parametrize("target", REMOTE)
def test_operation_without_a_unitary_is_refused(target: str) -> None:
    with pytest.raises(UnsupportedProgram, match="unitary gates"):
        translation(target, cirq.Circuit(Bare(A), cirq.measure(A, key="m")))


@pytest.mark.parametrize(
    "make",
    [
        lambda value: cirq.PhasedISwapPowGate(exponent=value, phase_exponent=0.2)(A, B),
        lambda value: cirq.ISwapPowGate(exponent=value, global_shift=value)(A, B),
        lambda value: cirq.ControlledGate(cirq.XPowGate(exponent=value))(A, B),
        lambda value: cirq.PhasedXZGate(x_exponent=1, z_exponent=0.2, axis_phase_exponent=value)(A),
        lambda value: cirq.PauliStringPhasor(cirq.X(A) * cirq.Y(B), exponent_neg=value),
        lambda value: cirq.CircuitOperation(cirq.FrozenCircuit(cirq.SWAP(A, B) ** value)),
    ],
    ids=["phased iswap", "iswap", "controlled", "phased xz", "phasor", "subcircuit"],
)
@pytest.mark.parametrize(
    "value",
    [
        *(np.float16(0.3), np.float32(0.3), np.longdouble(0.5), np.uint8(1), np.array(0.3)),
        *(Fraction(1, 3), mpmath.mpf("0.3")),
    ],
    ids=repr,
)
def test_a_number_of_a_gate_is_its_value_whatever_its_type(
    make: Callable[[Any], cirq.Operation], value: Any
) -> None:
    def program(operation: cirq.Operation, **params: Any) -> bytes:
        circuit = cirq.Circuit(cirq.H(A), operation, cirq.H(A), cirq.measure(A, B, key="m"))
        sent: bytes = translation(QUANTINUUM, circuit, [params]).job(0).payload
        return sent

    expected = program(make(float(value)))
    assert program(make(value)) == expected
    # Cirq takes no array as a parameter, and no symbol as a global shift.
    open_operation = make(sympy.Symbol("t"))
    is_shifted = cirq.is_parameterized(getattr(open_operation.gate, "global_shift", 0))
    if not isinstance(value, np.ndarray) and not is_shifted:
        assert program(open_operation, t=value) == expected
