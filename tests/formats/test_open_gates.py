"""Symbols in gates that hold them without letting Cirq know: IonQ's native ones."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import cirq
import cirq_ionq
import numpy as np
import pytest
import sympy
from formats_lab import IONQ, REMOTE, payload, translation

from cirq_azure_sessions import AzureSessionSampler
from cirq_azure_sessions.errors import UnsupportedProgram
from cirq_azure_sessions.formats.checks import check_call

A, B = cirq.LineQubit.range(2)
T, S = sympy.symbols("t s")
VALUE = 0.1875


def _native(t: Any) -> list[cirq.Operation]:
    return [
        cirq_ionq.GPI2Gate(phi=t).on(A),
        cirq_ionq.GPIGate(phi=2 * t).on(B),
        cirq_ionq.MSGate(phi0=t, phi1=t / 2).on(A, B),
        cirq_ionq.ZZGate(theta=t).on(B, A),
    ]


def _circuit(*operations: cirq.OP_TREE) -> cirq.Circuit:
    return cirq.Circuit(operations, cirq.measure(A, B, key="m"))


def _checked(circuit: cirq.Circuit, **values: Any) -> cirq.AbstractCircuit:
    checked, _ = check_call(circuit, [cirq.ParamResolver(values)], 1)
    return checked


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize("value", [VALUE, np.float32(VALUE), Fraction(3, 16)], ids=repr)
def test_native_gates_take_symbols(value: Any, compile: bool) -> None:
    circuit = _checked(_circuit(_native(T)), t=value)
    sent = translation(IONQ, circuit, [{"t": value}], compile=compile).job(0).payload
    assert sent == payload(IONQ, _circuit(_native(VALUE)), compile=compile).encode()


@pytest.mark.parametrize("target", REMOTE)
@pytest.mark.parametrize(
    "wrap",
    [
        lambda operations: operations,
        lambda operations: [operation.with_tags("tag") for operation in operations],
        lambda operations: cirq.CircuitOperation(cirq.FrozenCircuit(operations)),
    ],
    ids=["plain", "tagged", "subcircuit"],
)
def test_symbols_are_found_wherever_the_gate_stands(wrap: Any, target: str) -> None:
    circuit = _checked(_circuit(wrap(_native(T))), t=VALUE)
    sent = translation(target, circuit, [{"t": VALUE}]).job(0).payload
    assert sent == payload(target, _circuit(wrap(_native(VALUE)))).encode()


def test_a_subcircuit_renames_the_symbols_of_native_gates() -> None:
    inner = cirq.CircuitOperation(cirq.FrozenCircuit(_native(T)), param_resolver={T: S})
    circuit = _checked(_circuit(inner), s=VALUE, t=0.5)
    sent = translation(IONQ, circuit, [{"s": VALUE, "t": 0.5}]).job(0).payload
    assert sent == payload(IONQ, _circuit(_native(VALUE))).encode()


def test_a_symbol_without_a_value_is_refused() -> None:
    with pytest.raises(UnsupportedProgram, match="leaves t without a value"):
        _checked(_circuit(_native(T)), s=1.0)


@pytest.mark.parametrize(
    "value",
    [VALUE, np.float32(VALUE), np.float64(VALUE), Fraction(3, 16), sympy.Rational(3, 16)],
    ids=repr,
)
def test_native_gates_take_numbers_of_every_type(value: Any) -> None:
    circuit = _checked(_circuit(cirq_ionq.GPIGate(phi=value).on(A)))
    assert payload(IONQ, circuit) == payload(IONQ, _circuit(cirq_ionq.GPIGate(phi=VALUE).on(A)))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1j], ids=repr)
def test_native_gates_refuse_values_not_finite_and_real(value: Any) -> None:
    with pytest.raises(UnsupportedProgram, match="finite and real"):
        payload(IONQ, _circuit(cirq_ionq.GPIGate(phi=value).on(A)))


@pytest.mark.parametrize("target", REMOTE)
@pytest.mark.parametrize("exponent", [float("nan"), float("inf")])
def test_an_exponent_that_is_not_finite_is_refused(exponent: float, target: str) -> None:
    with pytest.raises(UnsupportedProgram, match="finite"):
        payload(target, _circuit(cirq.X(A) ** exponent))


def test_native_gates_with_symbols_run_on_local_targets() -> None:
    sampler = AzureSessionSampler("local.simulator", seed=1)
    circuit = _circuit(cirq_ionq.GPIGate(phi=T).on(A))
    assert sampler.run(circuit, {"t": VALUE}, repetitions=2).measurements["m"].tolist() == [
        [1, 0],
        [1, 0],
    ]
