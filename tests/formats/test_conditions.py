"""Conditions on many measured bits: as long as the bits, whatever their values."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import cirq
import numpy as np
import pytest
import sympy
from formats_lab import QIR, QUANTINUUM, payload, run, simulate

from cirq_azure_sessions.errors import UnsupportedProgram
from cirq_azure_sessions.formats.layout import Measurement
from cirq_azure_sessions.formats.program import _bound, _cases

WIDTH = 13
DATA = cirq.LineQubit.range(WIDTH)
OUT = cirq.q(WIDTH)
INVERTED = tuple(k % 3 == 0 for k in range(WIDTH))
ALL = (1 << WIDTH) - 1


def _circuit(value: int, *conditions: object, gate: cirq.Gate = cirq.X) -> cirq.Circuit:
    """A key of many bits that reads as `value`, and a gate under the conditions."""
    digits = cirq.big_endian_int_to_bits(value, bit_count=WIDTH)
    return cirq.Circuit(
        [cirq.X(q) for q, d, i in zip(DATA, digits, INVERTED, strict=True) if d != i],
        cirq.measure(*DATA, key="m", invert_mask=INVERTED),
        [cirq.measure(q, key=f"b{k}") for k, q in enumerate(DATA) if "b0" in conditions],
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
COMPARISONS: dict[str, Sequence[object]] = {
    "less": [M < 5],
    "greater": [M >= 5],
    "between": [sympy.Lt(1, M), M <= 4, "m"],
    "with what no key is": [M > -1, M < ALL + 2, sympy.Ne(M, 1)],
}
# qdk takes a second for a program with many branches.
CASES = [
    *((name, QUANTINUUM) for name in CONDITIONS | COMPARISONS),
    *((name, QIR) for name in CONDITIONS),
]


@pytest.mark.parametrize(("name", "target"), CASES)
def test_condition_on_many_bits_is_cirqs(name: str, target: str) -> None:
    conditions = (CONDITIONS | COMPARISONS)[name]
    all_measured_ones = cirq.big_endian_bits_to_int([not i for i in INVERTED])
    for value in (0, 4, 5, 1, ALL, all_measured_ones):
        circuit = _circuit(value, *conditions)
        measured = run(target, circuit).measurements["out"]
        np.testing.assert_array_equal(measured, simulate(circuit).measurements["out"])


def test_program_grows_with_the_bits_and_not_with_their_values() -> None:
    assert payload(QUANTINUUM, _circuit(0, "m")).count("if(c0==") == 1


@pytest.mark.parametrize("bound", [-1, 0, 1, 5, 6, 7, 8, 9])
@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge])
def test_at_most_one_case_of_a_comparison_holds(compare: Any, bound: int) -> None:
    relation, number = _bound(compare(M, bound))
    cases = _cases(relation, number, Measurement("m", (4, 5, 6), inverted=(1,)))
    for value in range(8):
        bits = dict(
            zip((4, 5, 6), cirq.big_endian_int_to_bits(value ^ 0b010, bit_count=3), strict=True)
        )
        holding = [case for case in cases if case.items() <= bits.items()]
        assert len(holding) == compare(value, bound)


def test_a_key_of_few_bits_lists_the_exception() -> None:
    circuit = cirq.Circuit(
        cirq.measure(*DATA[:8], key="m"),
        cirq.X(OUT).with_classical_controls("m"),
        cirq.measure(OUT, key="out"),
    )
    assert payload(QUANTINUUM, circuit).count("if(c0==") == 1
    assert payload(QUANTINUUM, circuit, compile=False).count("if(c0==") == 255


@pytest.mark.parametrize("gate", [cirq.ResetChannel(), cirq.X])
def test_what_cannot_be_undone_is_refused(gate: cirq.Gate) -> None:
    is_gate = gate == cirq.X
    circuit = _circuit(0, "m", gate=gate)
    circuit.insert(0, cirq.X(OUT))
    with pytest.raises(UnsupportedProgram, match="too long a program"):
        payload(QUANTINUUM, circuit, compile=not is_gate)


def test_a_formula_of_many_bits_is_refused() -> None:
    with pytest.raises(UnsupportedProgram, match="at most 10 bits, or compare"):
        payload(QUANTINUUM, _circuit(0, sympy.Eq(M % 2, 1)))
