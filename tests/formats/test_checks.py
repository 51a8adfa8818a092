"""Circuits, sweeps and repetitions that are refused before anything is translated."""

from __future__ import annotations

import decimal
import fractions
import math
from typing import Any

import cirq
import numpy as np
import pytest
import sympy
from formats_lab import REMOTE, decode, emulate, translation

from cirq_azure_sessions.errors import UnsupportedProgram
from cirq_azure_sessions.formats.checks import as_seeds, check_call

A, B = cirq.LineQubit.range(2)
T = sympy.Symbol("t")

GATES = {
    "X**t": cirq.X(A) ** T,
    "rx(t)": cirq.rx(T)(A),
    "X**(2*t)": cirq.X(A) ** (2 * T),
    "phase": cirq.PhasedXPowGate(phase_exponent=T)(A),
    "CZ**t": cirq.CZ(A, B) ** T,
}

NUMBERS = [
    *(kind(1) for kind in (int, float, bool, fractions.Fraction, sympy.Integer, sympy.Float)),
    *(kind(1) for kind in (np.int8, np.int16, np.int32, np.int64)),
    *(kind(1) for kind in (np.uint8, np.uint16, np.uint32, np.uint64)),
    *(kind(0.5) for kind in (np.float16, np.float32, np.float64, np.longdouble)),
    *(sympy.pi, sympy.Rational(1, 3), sympy.E, sympy.sqrt(2), -0.0, 5e-324, 1e300, 2**63),
]

NOT_REAL = [
    *(kind(0.3 + 0.5j) for kind in (complex, np.complex64, np.complex128, np.clongdouble)),
    *(kind(0.3) for kind in (complex, np.complex64, np.complex128)),
    *(sympy.I, sympy.Float(0.3) + sympy.I, sympy.zoo, sympy.nan, sympy.oo),
    *(math.nan, math.inf, -math.inf, np.float32("nan"), np.float64("inf")),
    *(-sympy.oo, sympy.pi * sympy.I, complex("nan"), 1 + 0j),
    *("a", "0.3", np.array(0.3), np.array(1), np.bool_(True)),
]

NO_NUMBERS = [None, decimal.Decimal("0.3")]


def circuit(gate: cirq.Operation) -> cirq.Circuit:
    return cirq.Circuit(gate, cirq.measure(A, key="m"))


def check(gate: cirq.Operation, value: Any) -> None:
    check_call(circuit(gate), [cirq.ParamResolver({"t": value})], 10)


@pytest.mark.parametrize("gate", GATES.values(), ids=GATES)
@pytest.mark.parametrize("value", NUMBERS, ids=lambda value: f"{type(value).__name__}-{value}")
def test_every_real_number_that_cirq_runs_is_taken(gate: cirq.Operation, value: Any) -> None:
    check(gate, value)
    cirq.Simulator().run(circuit(gate), {"t": value})


@pytest.mark.parametrize("gate", GATES.values(), ids=GATES)
@pytest.mark.parametrize("value", NOT_REAL, ids=lambda value: f"{type(value).__name__}-{value}")
def test_values_not_finite_and_real_are_refused_as_in_cirq(
    gate: cirq.Operation, value: Any
) -> None:
    with pytest.raises(UnsupportedProgram, match="Point 0 of the sweep"):
        check(gate, value)
    # Cirq divides by zero on the way to some infinities.
    with pytest.raises((ValueError, ZeroDivisionError)):
        cirq.Simulator().run(circuit(gate), {"t": value})


@pytest.mark.parametrize(
    "gate",
    [cirq.FSimGate(T, 0.1), cirq.FSimGate(0.1, T), cirq.PhasedFSimGate(0.1, zeta=T)],
    ids=["theta", "phi", "zeta"],
)
@pytest.mark.parametrize("value", [0.3 + 0.5j, np.complex64(1), sympy.I, sympy.zoo, sympy.nan])
def test_gate_whose_complex_number_raises_type_error_is_refused_with_it(
    gate: cirq.Gate, value: Any
) -> None:
    with pytest.raises(TypeError, match=r"Point 0 of the sweep .*: give it"):
        check(gate(A, B), value)
    with pytest.raises(TypeError):
        cirq.Simulator().run(circuit(gate(A, B)), {"t": value})


@pytest.mark.parametrize("kind", [cirq.X, cirq.ZZ], ids=str)
@pytest.mark.parametrize("target", REMOTE)
def test_exponent_of_many_turns_is_sent_modulo_one_turn(target: str, kind: cirq.EigenGate) -> None:
    """A float holds the exponent exactly, but not its angle, which would be off by a radian."""
    turns = 2.0**49 + 0.75
    qubits = cirq.LineQubit.range(cirq.num_qubits(kind))
    frame = [] if kind == cirq.X else cirq.H(A)
    for gate in (kind**T, kind**turns):
        program = cirq.Circuit(frame, kind(*qubits) ** 0.25, gate(*qubits), frame)
        program += cirq.measure(A, key="m")
        sent = translation(target, program, [{"t": turns}], 50).job(0)
        result = decode(target, sent, emulate(target, sent))
        assert result.measurements["m"].all()


@pytest.mark.parametrize("value", [1e308, -1e308])
def test_an_exponent_without_a_finite_angle_is_refused_as_in_cirq(value: float) -> None:
    for kind in (UnsupportedProgram, ZeroDivisionError):
        with pytest.raises(kind, match="give it a finite real number"):
            check(GATES["X**t"], value)
    with pytest.raises(ZeroDivisionError):
        cirq.Simulator().run(circuit(GATES["X**t"]), {"t": value})


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_value_that_is_not_a_number_raises_type_error_as_in_cirq(value: Any) -> None:
    with pytest.raises(TypeError):
        check(GATES["X**t"], value)
    with pytest.raises(TypeError):
        cirq.Simulator().run(circuit(GATES["X**t"]), {"t": value})


@pytest.mark.parametrize(
    ("formula", "value"), [(1 / T, 0), (sympy.sqrt(T - 1), 0.5), (sympy.log(T), -1), (T**-1, 0.0)]
)
def test_a_formula_without_a_finite_real_value_is_refused(formula: Any, value: float) -> None:
    with pytest.raises(UnsupportedProgram, match="value"):
        check(cirq.X(A) ** formula, value)


def test_a_formula_may_make_a_real_number_of_one_that_is_not() -> None:
    check(cirq.X(A) ** (1 / T), math.inf)


def test_a_symbol_that_the_circuit_does_not_use_may_be_anything() -> None:
    resolver = cirq.ParamResolver({"t": 0.3, "other": 0.3 + 1j})
    check_call(circuit(GATES["X**t"]), [resolver], 1)


def test_the_point_and_its_missing_symbols_are_named() -> None:
    resolvers = [cirq.ParamResolver({"t": 1}), cirq.ParamResolver({"s": 1})]
    with pytest.raises(UnsupportedProgram, match="Point 1 of the sweep leaves t without a value"):
        check_call(circuit(GATES["X**t"]), resolvers, 1)


def test_a_symbol_in_a_subcircuit_needs_a_value() -> None:
    inner = cirq.CircuitOperation(cirq.FrozenCircuit(cirq.X(A) ** T))
    check(inner, 0.5)
    with pytest.raises(UnsupportedProgram):
        check_call(circuit(inner), [cirq.ParamResolver({})], 1)


DIFFERENT_SIZES = {
    "more qubits": [cirq.measure(A, key="m"), cirq.measure(A, B, key="m")],
    "a channel": [
        cirq.measure(A, key="m"),
        cirq.KrausChannel(cirq.kraus(cirq.amplitude_damp(0.1)), key="m")(B),
    ],
    "a Pauli product": [cirq.measure(A, B, key="m"), cirq.PauliMeasurementGate([cirq.Z], "m")(A)],
    "in a subcircuit": [
        cirq.measure(A, key="m"),
        cirq.CircuitOperation(cirq.FrozenCircuit(cirq.measure(A, B, key="m"))),
    ],
}


@pytest.mark.parametrize("operations", DIFFERENT_SIZES.values(), ids=DIFFERENT_SIZES)
def test_a_key_measured_in_two_sizes_is_refused_as_cirq_refuses_it(
    operations: list[cirq.Operation],
) -> None:
    with pytest.raises(ValueError, match="measurement key m"):
        check_call(cirq.Circuit(operations), [cirq.ParamResolver({})], 1)
    with pytest.raises(ValueError):  # noqa: PT011
        cirq.Simulator().run(cirq.Circuit(operations), repetitions=2)


def test_a_key_may_be_measured_again_in_its_size() -> None:
    loop = cirq.CircuitOperation(
        cirq.FrozenCircuit(cirq.measure(B, A, key="m")), repetitions=3, use_repetition_ids=False
    )
    program = cirq.Circuit(cirq.measure(A, B, key="m"), loop)
    check_call(program, [cirq.ParamResolver({})], 1)
    cirq.Simulator().run(program)


INDEXED = sympy.IndexedBase("a")
FLIP = cirq.X(B).with_classical_controls
CONDITIONS = {
    "a key": [FLIP("a")],
    "a mask": [FLIP(cirq.BitMaskKeyCondition("a"))],
    "a formula": [FLIP(sympy.Symbol("a") > 0)],
    "a later key": [FLIP("a"), cirq.measure(A, key="a")],
    "a record": [cirq.measure(A, key="a"), FLIP(cirq.KeyCondition(cirq.MeasurementKey("a"), 1))],
    "a bit": [cirq.measure(A, key="a"), FLIP(sympy.Gt(INDEXED[1], 0))],
    "in a subcircuit": [cirq.CircuitOperation(cirq.FrozenCircuit(FLIP("a")))],
    "earlier in a loop": [
        cirq.CircuitOperation(
            cirq.FrozenCircuit(FLIP("a"), cirq.measure(A, key="a")), use_repetition_ids=False
        )
    ],
    "in a loop of t rounds": [
        cirq.CircuitOperation(
            cirq.FrozenCircuit(FLIP("a")), repetitions=T, use_repetition_ids=False
        )
    ],
}


@pytest.mark.parametrize("operations", CONDITIONS.values(), ids=CONDITIONS)
def test_a_condition_on_a_later_measurement_is_refused_as_in_cirq(
    operations: list[cirq.Operation],
) -> None:
    program = cirq.Circuit(operations, cirq.measure(B, key="m"))
    with pytest.raises(UnsupportedProgram, match=r"earlier moment|smaller index"):
        check_call(program, [cirq.ParamResolver({"t": 2})], 1)
    with pytest.raises((ValueError, IndexError)):
        cirq.Simulator().run(program, {"t": 2})


def test_a_condition_reads_what_is_measured_before_it() -> None:
    indexed = cirq.KeyCondition(cirq.MeasurementKey("a"), 0)
    loop = cirq.CircuitOperation(
        cirq.FrozenCircuit(cirq.measure(A, key="a"), FLIP("a"), FLIP(sympy.Gt(INDEXED[0], 0))),
        repetitions=T,
        use_repetition_ids=False,
    )
    channel = cirq.KrausChannel(cirq.kraus(cirq.amplitude_damp(0.1)), key="k")(A)
    flips = FLIP(indexed), channel, FLIP("k"), cirq.measure(B, key="m")
    program = cirq.Circuit(loop, flips)
    check_call(program, [cirq.ParamResolver({"t": 2})], 1)
    cirq.Simulator().run(program, {"t": 2})


def test_a_loop_of_a_constant_of_sympys_is_refused_as_cirq_refuses_it() -> None:
    loop = cirq.CircuitOperation(
        cirq.FrozenCircuit(cirq.X(A)), repetitions=sympy.Integer(2), use_repetition_ids=False
    )
    with pytest.raises(UnsupportedProgram, match=r"write int\(...\)"):
        check_call(circuit(loop), [cirq.ParamResolver({})], 1)
    with pytest.raises(ValueError, match="repetitions"):
        cirq.Simulator().run(circuit(loop))


def test_an_operation_keeps_its_text_while_its_numbers_are_checked() -> None:
    fresh = cirq.CircuitOperation(cirq.FrozenCircuit(cirq.X(A), cirq.Y(B)))
    check_call(circuit(fresh), [cirq.ParamResolver({})], 1)


@pytest.mark.parametrize("repetitions", [1.0, True, "1", None, np.bool_(True)])
def test_repetitions_are_an_integer(repetitions: Any) -> None:
    with pytest.raises(TypeError):
        check_call(circuit(cirq.X(A)), [], repetitions)


def test_zero_repetitions_are_checked_no_further() -> None:
    assert check_call(circuit(GATES["X**t"]), [cirq.ParamResolver({})], 0)[1] == 0


# What samples are drawn from


@pytest.mark.parametrize("kind", [int, np.int64, np.uint8])
def test_integer_seed_gives_each_call_different_entropy(kind: type) -> None:
    seeds = as_seeds(kind(7))
    assert [next(seeds) for _ in range(3)] == [(7, 0), (7, 1), (7, 2)]


def test_a_generator_as_seed_is_drawn_from_once_a_call() -> None:
    same = np.random.RandomState(3)
    seeds = as_seeds(np.random.RandomState(3))
    assert [next(seeds) for _ in range(2)] == [(same.randint(2**31), n) for n in range(2)]


def test_without_a_seed_entropy_is_fresh_at_each_call() -> None:
    seeds = as_seeds(None)
    assert (next(seeds), next(seeds)) == (None, None)
