"""Conditions on many measured bits: as long as the bits, whatever their values."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import cirq
import numpy as np
import pytest
import sympy
from formats_lab import QIR, QUANTINUUM, payload, run, simulate

from cirq_azure_sessions.errors import UnsupportedProgram
from cirq_azure_sessions.formats.conditions import Condition, chain, signed_cases
from cirq_azure_sessions.formats.layout import Measurement

WIDTH = 13
DATA = cirq.LineQubit.range(WIDTH)
OUT = cirq.q(WIDTH)
INVERTED = tuple(k % 3 == 0 for k in range(WIDTH))
ALL = (1 << WIDTH) - 1


def _circuit(value: int, *conditions: object, gate: cirq.Gate = cirq.X) -> cirq.Circuit:
    """A key of many bits that reads as `value`, and a gate under the conditions."""
    digits = cirq.big_endian_int_to_bits(value, bit_count=WIDTH)
    read = {symbol for each in conditions for symbol in getattr(each, "free_symbols", [each])}
    return cirq.Circuit(
        [cirq.X(q) for q, d, i in zip(DATA, digits, INVERTED, strict=True) if d != i],
        cirq.measure(*DATA, key="m", invert_mask=INVERTED),
        [cirq.measure(q, key=f"b{k}") for k, q in enumerate(DATA) if "b0" in map(str, read)],
        gate(OUT).with_classical_controls(*conditions),
        cirq.measure(OUT, key="out"),
    )


def _mask(target: int, mask: int | None, is_equal: bool) -> cirq.BitMaskKeyCondition:
    return cirq.BitMaskKeyCondition("m", target_value=target, bitmask=mask, equal_target=is_equal)


M = sympy.Symbol("m")
CONDITIONS: dict[str, Sequence[object]] = {
    "key": ["m"],
    "equal": [_mask(5, None, True)],
    "unequal": [_mask(5, None, False)],
    "masked": [_mask(4, 0b110, True)],
    "masked, unequal": [_mask(4, 0b110, False)],
    "never": [_mask(1, 0b110, True)],
    "always": [_mask(1, 0b110, False)],
    "several": ["m", _mask(4, 0b110, True), _mask(ALL, None, False)],
    "many keys": [f"b{k}" for k in range(WIDTH)],
}
RANGE = (-1, 0, 1, 5, 15, 16)
COMPARISONS: dict[str, Sequence[object]] = {
    "less": [M < 5],
    "greater": [M >= 5],
    "between": [sympy.Lt(1, M), M <= 4, "m"],
    "with what no key is": [M > -1, M < ALL + 2, sympy.Ne(M, 1)],
}
FORMULAS: dict[str, Sequence[object]] = {
    "parity": [sympy.Eq(M % 2, 1)],
    "quotient": [sympy.Eq(sympy.floor(M / 4) % 2, 1)],
    "sum": [M + sympy.Symbol("b0") > 4],
    "either": [sympy.Or(sympy.Eq(M, 4), sympy.Eq(sympy.Symbol("b0"), 1))],
    "not both": [sympy.Not(sympy.And(M > 3, sympy.Eq(sympy.Symbol("b0"), 0)))],
    "digit": [sympy.Eq(sympy.IndexedBase("m")[WIDTH - 3], 1)],
    "exclusive": [sympy.Xor(*sympy.symbols(f"b:{WIDTH}"))],
}
# qdk takes a second for a program with many branches.
CASES = [
    *((name, QUANTINUUM) for name in CONDITIONS | COMPARISONS | FORMULAS),
    *((name, QIR) for name in (*CONDITIONS, "parity")),
]


@pytest.mark.parametrize(("name", "target"), CASES)
def test_condition_on_many_bits_is_cirqs(name: str, target: str) -> None:
    conditions = (CONDITIONS | COMPARISONS | FORMULAS)[name]
    all_measured_ones = cirq.big_endian_bits_to_int([not i for i in INVERTED])
    # Compiled by qdk, each value takes seconds.
    for value in (0, 5) if target == QIR else (0, 4, 5, 1, ALL, all_measured_ones):
        circuit = _circuit(value, *conditions)
        measured = run(target, circuit).measurements["out"]
        np.testing.assert_array_equal(measured, simulate(circuit).measurements["out"])


def test_program_grows_with_the_bits_and_not_with_their_values() -> None:
    assert payload(QUANTINUUM, _circuit(0, "m")).count("if(c0==") == 1


A_KEY, ANOTHER, BIT = [cirq.MeasurementKey(name) for name in ("m", "k", "b")]
RECORDS = {
    A_KEY: [Measurement("m", (0, 1, 2, 3), inverted=(1,))],
    ANOTHER: [Measurement("k", (4, 5, 6))],
    BIT: [Measurement("b", (7,))],
}
K, B = sympy.symbols("k b")
DIGITS = sympy.IndexedBase("m")
ALLOWED = [
    *(sympy.FiniteSet(2, 3, 11), sympy.Interval(3, 9), sympy.Interval.Lopen(3, 9)),
    *(sympy.Range(1, 14, 4), sympy.Union(sympy.FiniteSet(1), sympy.Interval(7, sympy.oo))),
]
SUMS_OF_CASES: list[Sequence[Any]] = [
    *(
        [compare(M, bound)]
        for compare in (sympy.Lt, sympy.Le, sympy.Gt, sympy.Ge)
        for bound in RANGE
    ),
    *([compare(M, bound)] for compare in (sympy.Eq, sympy.Ne) for bound in RANGE),
    *([M + K > 3], [M < K], [sympy.Eq(M, K)], [M <= 2 * K - 1], [M - K], [M * K >= 6], [M / 2 > 1]),
    *([sympy.Eq(M % 4, 1)], [sympy.Eq((M + 1) % 4, 2)], [sympy.Ne(M % 3, 1)], [sympy.Eq(M % 8, K)]),
    *([M > 2.5], [sympy.Eq(M / 2, 1.5)], [sympy.Or(sympy.Eq(M, 0.5), M + K < 3.25)]),
    *([sympy.Or(M > 3, K < 2)], [sympy.And(M > 3, sympy.Not(K < 2))], [sympy.Xor(M > 3, K > 3)]),
    *([sympy.Max(M, 2 * K, 5) > 9], [abs(M - K) < 2], [sympy.Min(M, K) <= 1], [M**2 > K + 3]),
    *([sympy.ITE(M > K, M < 6, K > 2)], [sympy.Piecewise((M, M > K), (2 * K, True)) > 4]),
    *([sympy.Eq((M + K) % 3, M % 2)], [sympy.Xor(M > K, sympy.Eq(K % 5, 1))], [M % 3 * K > 2]),
    *([sympy.Eq(sympy.floor(M / 4) % 2, 1)], [sympy.floor((M - K) / 2) < K], [sympy.floor(M / 3)]),
    *([sympy.Eq(sympy.ceiling(M / 4), K)], [sympy.ceiling((K - M) / 3) * 2 > M - 9]),
    *([sympy.Equivalent(M > 3, K > 3)], [sympy.Implies(M > K, B > 0)]),
    *([sympy.Contains(M, allowed)] for allowed in ALLOWED),
    [sympy.Not(sympy.Contains(K, sympy.FiniteSet(1, 6))), M > 2],
    *([sympy.Xor(B, DIGITS[0], DIGITS[1])], [sympy.Not(sympy.Xor(B, DIGITS[0]))]),
    *([cirq.KeyCondition(A_KEY), cirq.KeyCondition(ANOTHER), B], [M > 2, K < 5, sympy.Eq(B, 0)]),
    *(
        [_mask(target, mask, is_equal)]
        for target in (9, 3)
        for mask in (11, None)
        for is_equal in (0, 1)
    ),
]


VALUES = [*itertools.product((0, 1), repeat=8)]


def _controls(conditions: Sequence[Any]) -> list[cirq.Condition]:
    return [
        cirq.SympyCondition(each) if isinstance(each, sympy.Basic) else each for each in conditions
    ]


@functools.cache
def _fulfilling(number: int) -> list[bool]:
    """Whether Cirq takes a sum of cases for fulfilled, for each of the values."""
    controls = _controls(SUMS_OF_CASES[number])
    fulfilled = []
    for value in VALUES:
        store = cirq.ClassicalDataDictionaryStore()
        for key, (record,) in RECORDS.items():
            digits = [value[bit] ^ (k in record.inverted) for k, bit in enumerate(record.bits)]
            store.record_measurement(key, digits, cirq.LineQubit.range(len(digits)))
        fulfilled.append(all(control.resolve(store) for control in controls))
    return fulfilled


def _holds(condition: Condition | None, bits: Sequence[int]) -> bool:
    return condition is None or tuple(bits[bit] for bit in condition.bits) in condition.values


@pytest.mark.parametrize("number", range(len(SUMS_OF_CASES)), ids=lambda n: str(SUMS_OF_CASES[n]))
def test_cases_sum_to_the_condition(number: int) -> None:
    controls = _controls(SUMS_OF_CASES[number])
    for has_inverse, is_own_inverse in ((False, False), (True, False), (True, True)):
        terms = signed_cases(
            controls, RECORDS, has_inverse=has_inverse, is_own_inverse=is_own_inverse
        )
        assert has_inverse or all(is_done for is_done, _ in terms)
        for value, fulfilled in zip(VALUES, _fulfilling(number), strict=True):
            times = sum(
                1 if is_done else -1 for is_done, condition in terms if _holds(condition, value)
            )
            assert (times % 2 if is_own_inverse else times) == fulfilled


@pytest.mark.parametrize("number", range(len(SUMS_OF_CASES)), ids=lambda n: str(SUMS_OF_CASES[n]))
def test_last_bit_of_a_chain_is_the_condition(number: int) -> None:
    links = chain(_controls(SUMS_OF_CASES[number]), RECORDS, first=8)
    for value, fulfilled in zip(VALUES, _fulfilling(number), strict=True):
        bits = [*value]
        for link in links:
            bits.append(_holds(link, bits))
        assert bits[-1] == fulfilled


@pytest.mark.parametrize(
    ("controls", "count"),
    [([M > K, K > M], 0), ([sympy.Or(M > K, M < K + 1)], 1)],
    ids=["never", "always"],
)
def test_chain_with_a_constant_result_is_not_sent(controls: Sequence[Any], count: int) -> None:
    circuit = cirq.Circuit(
        cirq.measure(*DATA[:11], key="m"),
        cirq.measure(*DATA[:11], key="k"),
        cirq.X(OUT).with_classical_controls(*controls),
        cirq.measure(OUT, key="out"),
    )
    program = payload(QUANTINUUM, circuit)
    assert program.count("x q[11];") == count
    assert ") x q[11];" not in program


def test_parity_takes_one_statement_per_bit() -> None:
    circuit = _circuit(0, *FORMULAS["exclusive"])
    assert payload(QUANTINUUM, circuit).count(f") x q[{WIDTH}];") == WIDTH


def test_list_of_allowed_values_takes_one_statement_per_value() -> None:
    allowed = range(7, ALL, 41)
    for listed in (
        sympy.Or(*(sympy.Eq(M, value) for value in allowed)),
        sympy.Contains(M, sympy.FiniteSet(*allowed)),
    ):
        circuit = _circuit(0, listed)
        assert payload(QUANTINUUM, circuit).count(f") x q[{WIDTH}];") == len(allowed)


@pytest.mark.filterwarnings("ignore::sympy.utilities.exceptions.SymPyDeprecationWarning")
def test_a_condition_that_cirq_cannot_decide_is_refused() -> None:
    circuit = cirq.Circuit(
        cirq.measure(*DATA[:2], key="m"),
        cirq.X(OUT).with_classical_controls(sympy.Eq(M + DIGITS[0], 1)),
        cirq.measure(OUT, key="out"),
    )
    with pytest.raises(UnsupportedProgram, match=r"cannot decide .*m\[0\]"):
        payload(QUANTINUUM, circuit)


def test_a_key_of_few_bits_lists_the_exception() -> None:
    circuit = cirq.Circuit(
        cirq.measure(*DATA[:8], key="m"),
        cirq.X(OUT).with_classical_controls("m"),
        cirq.measure(OUT, key="out"),
    )
    assert payload(QUANTINUUM, circuit).count("if(c0==") == 1
    assert payload(QUANTINUUM, circuit, compile=False).count("if(c0==") == 255


@pytest.mark.parametrize("gate", [cirq.ResetChannel(), cirq.X])
def test_gates_without_an_inverse_are_applied_case_by_case(gate: cirq.Gate) -> None:
    circuit = _circuit(5, "m", gate=gate)
    circuit.insert(0, cirq.X(OUT))
    text = payload(QUANTINUUM, circuit, compile=gate != cirq.X)
    assert text.count("if(") >= WIDTH
    measured = run(QUANTINUUM, circuit, compile=gate != cirq.X).measurements["out"]
    assert measured.tolist() == [[0]]


def _two_keys(value: int, other: int, formula: sympy.Basic, width: int) -> cirq.Circuit:
    """Keys `m` and `k` that read as the two values, measured from the same qubits."""
    qubits, out = cirq.LineQubit.range(width), cirq.q(width)

    def prepared(number: int, mask: tuple[bool, ...]) -> cirq.OP_TREE:
        digits = cirq.big_endian_int_to_bits(number, bit_count=width)
        wanted = itertools.zip_longest(qubits, digits, mask, fillvalue=False)
        return [cirq.X(qubit) for qubit, digit, invert in wanted if digit != invert]

    return cirq.Circuit(
        prepared(value, (True, False, True)),
        cirq.measure(*qubits, key="m", invert_mask=(True, False, True)),
        cirq.reset_each(*qubits),
        prepared(other, ()),
        cirq.measure(*qubits, key="k"),
        cirq.X(out).with_classical_controls(formula),
        cirq.measure(out, key="out"),
    )


PAIRS = [(4, 5), (5, 4), (33, 33)]


@pytest.mark.parametrize(("target", "width"), [(QUANTINUUM, 10), (QIR, 6)])
def test_keys_of_many_bits_are_compared_with_each_other(target: str, width: int) -> None:
    for pair in PAIRS:
        circuit = _two_keys(*pair, M > K, width)
        measured = run(target, circuit).measurements["out"]
        np.testing.assert_array_equal(measured, simulate(circuit).measurements["out"])


def test_a_comparison_of_keys_grows_with_their_bits() -> None:
    short, long = (payload(QUANTINUUM, _two_keys(0, 0, M > K, width)) for width in (12, 24))
    assert len(long) < 2.2 * len(short)


@pytest.mark.parametrize(
    "formula",
    [sympy.Eq(M % 301, 1), sympy.sin(M) > 0.5, sympy.Eq(M**9, 16), sympy.Q.prime(M)],
    ids=["remainder", "function", "power", "predicate"],
)
def test_a_formula_that_falls_into_many_cases_is_refused(formula: sympy.Basic) -> None:
    with pytest.raises(UnsupportedProgram, match="at most 10 bits, or compare"):
        payload(QUANTINUUM, _circuit(0, formula))


def test_nothing_is_added_to_a_program_that_is_not_compiled() -> None:
    with pytest.raises(UnsupportedProgram, match="at most 10 bits, or compare"):
        payload(QUANTINUUM, _two_keys(0, 0, M > K, width=12), compile=False)
