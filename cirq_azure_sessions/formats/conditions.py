"""Conditions on many measured bits, as the sum of a few cases.

Every value of k bits would make a program of 2**k statements. Instead, the bits that a condition
reads are given values one at a time, the most significant first, until the values that the others
may have no longer matter: `m < 5` on thirteen bits is decided in three cases.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import cirq
import sympy

from cirq_azure_sessions.formats.layout import Measurement

__all__ = ["Case", "signed_cases"]

# Values of some bits by their numbers, as the machine measured them; those of all others are free.
Case = Mapping[int, int]
# A key, or a part of one, as the bits it is written in, the most significant first: their numbers,
# and whether they are inverted.
_Words = dict[sympy.Basic, Sequence[tuple[int, bool]]]
_Terms = list[tuple[bool, Case]]
# What is true or false, or an operator and the trees it joins, or a relation and the number that it
# compares with zero.
_Tree = bool | tuple[str, Any]

_OPERATORS = ("&", "|", "^")

# Every case becomes a statement, and every branch of the search for them takes time.
_MAX_CASES = 512
_MAX_BRANCHES = 16_384

# OpenQASM compares whole registers, so that each set of bits is measured into one of its own.
_MAX_REGISTERS = 64

# Floating-point numbers are taken as they are up to this denominator.
_MAX_EXACT = 1 << 20


def signed_cases(
    controls: Sequence[cirq.Condition],
    records: Mapping[cirq.MeasurementKey, Sequence[Measurement]],
    *,
    has_inverse: bool,
    is_own_inverse: bool,
) -> _Terms:
    """When to do a gate that is under controls, and when to undo it.

    Doing it in every case that is marked True and undoing it in every case that is marked False
    amounts to doing it once where all controls are fulfilled, and not at all elsewhere.

    Args:
        controls: The controls.
        records: What each key has measured by then.
        has_inverse: Whether the gate can be undone.
        is_own_inverse: Whether doing it twice undoes it.

    Raises:
        LookupError: If that takes too many cases.
    """
    words: _Words = {}
    formulas = [_formula(control, records, words) for control in controls]

    def terms(formula: sympy.Basic) -> _Terms:
        if isinstance(formula, sympy.And):
            return product(formula.args)
        if is_own_inverse and isinstance(formula, sympy.Xor):
            return [term for part in formula.args for term in terms(part)]
        if is_own_inverse and isinstance(formula, sympy.Not):
            return [(True, {}), *terms(formula.args[0])]
        fulfilling, others = _split(formula, words)
        if has_inverse and len(others) + 1 < len(fulfilling):
            return [(True, {}), *((False, case) for case in others)]
        return [(True, case) for case in fulfilling]

    def product(factors: Sequence[sympy.Basic]) -> _Terms:
        found: _Terms = [(True, {})]
        for factor in factors:
            pairs = itertools.product(found, terms(factor))
            both = (
                (is_done == also_done, {**case, **other})
                for (is_done, case), (also_done, other) in pairs
                if all(case.get(bit, digit) == digit for bit, digit in other.items())
            )
            found = [*itertools.islice(both, _MAX_CASES + 1)]
            if len(found) > _MAX_CASES:
                raise LookupError("too many cases")
        return found

    found = product(formulas)
    if len({frozenset(case) for _, case in found}) > _MAX_REGISTERS:
        raise LookupError("too many registers")
    return found


def _formula(
    control: cirq.Condition,
    records: Mapping[cirq.MeasurementKey, Sequence[Measurement]],
    words: _Words,
) -> sympy.Basic:
    """The control as a formula over words, which are added to `words`."""

    def digits(key: cirq.MeasurementKey, index: int = -1) -> Sequence[tuple[int, bool]]:
        measured = records[key][index]
        return [(bit, k in measured.inverted) for k, bit in enumerate(measured.bits)]

    word = sympy.Dummy()
    if isinstance(control, cirq.KeyCondition):
        words[word] = digits(control.key, control.index)
        return sympy.Ne(word, 0)
    if isinstance(control, cirq.BitMaskKeyCondition):
        every = digits(control.key, control.index)
        mask = (1 << len(every)) - 1
        if control.bitmask is not None:
            mask &= control.bitmask
        kept = [k for k in range(len(every)) if mask >> len(every) - 1 - k & 1]
        words[word] = [every[k] for k in kept]
        target = cirq.big_endian_bits_to_int(
            control.target_value >> len(every) - 1 - k & 1 for k in kept
        )
        is_never_equal = control.target_value & ~mask
        equal = sympy.false if is_never_equal else sympy.Eq(word, target)
        return equal if control.equal_target else sympy.Not(equal)
    if not isinstance(control, cirq.SympyCondition):
        raise LookupError(f"{type(control).__name__} is of another kind")
    formula = control.expr
    for indexed in formula.atoms(sympy.Indexed):
        key = cirq.MeasurementKey.parse_serialized(indexed.base.name)
        digit = sympy.Dummy()
        words[digit] = [digits(key)[int(indexed.indices[0])]]
        formula = formula.xreplace({indexed: digit})
    for symbol in formula.free_symbols - words.keys():
        words[symbol] = digits(cirq.MeasurementKey.parse_serialized(symbol.name))

    def low_bits(number: sympy.Basic, modulus: sympy.Basic) -> sympy.Basic:
        """What is left of a key when it is divided by a power of two: its last bits."""
        size = int(modulus) if isinstance(modulus, sympy.Integer) and modulus > 0 else 0
        if number not in words or size.bit_count() != 1:
            return sympy.Mod(number, modulus, evaluate=False)
        count = size.bit_length() - 1
        low = sympy.Dummy()
        words[low] = words[number][-count:] if count else ()
        return low

    return formula.replace(sympy.Mod, low_bits)


def _split(formula: sympy.Basic, words: _Words) -> tuple[list[Case], list[Case]]:
    """The cases that fulfil a formula and those that do not; always exactly one holds."""
    fulfilling: list[Case] = []
    others: list[Case] = []
    open_cases: list[tuple[Case, _Tree]] = [({}, _tree(formula))]
    while open_cases:
        case, tree = open_cases.pop()
        tree = _pruned(tree, words, case)
        if isinstance(tree, bool):
            (fulfilling if tree else others).append(case)
        else:
            bit = _most_significant(tree, words, case)
            open_cases += [({**case, bit: 1}, tree), ({**case, bit: 0}, tree)]
        if min(len(fulfilling), len(others)) > _MAX_CASES:
            raise LookupError("too many cases")
        if len(fulfilling) + len(others) > _MAX_BRANCHES:
            raise LookupError("too many cases")
    return fulfilling, others


def _tree(formula: sympy.Basic) -> _Tree:
    if formula in (sympy.true, sympy.false):
        return bool(formula)
    if isinstance(formula, sympy.Not):
        return "^", [True, _tree(formula.args[0])]
    for kind, operator in ((sympy.And, "&"), (sympy.Or, "|"), (sympy.Xor, "^")):
        if isinstance(formula, kind):
            return operator, [_tree(part) for part in formula.args]
    if isinstance(formula, sympy.Rel):
        return formula.rel_op, formula.lhs - formula.rhs
    return "!=", formula


def _pruned(tree: _Tree, words: _Words, case: Case) -> _Tree:
    """What the bits of the case leave open of a formula; a bool if nothing."""
    if isinstance(tree, bool):
        return tree
    relation, number = tree
    if relation in _OPERATORS:
        parts = []
        for part in number:
            pruned = _pruned(part, words, case)
            if relation != "^" and pruned == (relation == "|"):
                return pruned
            parts.append(pruned)
        open_parts = [part for part in parts if not isinstance(part, bool)]
        is_odd = parts.count(True) % 2 == 1
        if not open_parts:
            return is_odd if relation == "^" else relation == "&"
        return relation, [*open_parts, *([True] if relation == "^" and is_odd else [])]
    low, high = _range(number, words, case)
    if relation in ("==", "!="):
        if low < high and low <= 0 <= high:
            return tree
        return (low == high == 0) == (relation == "==")
    if relation in (">", ">="):
        low, high = -high, -low
    if relation in ("<", ">"):
        return True if high < 0 else False if low >= 0 else tree
    return True if high <= 0 else False if low > 0 else tree


def _range(number: sympy.Basic, words: _Words, case: Case) -> tuple[Fraction, Fraction]:
    """Bounds of a number's values, which are equal once all bits have values.

    Raises:
        LookupError: If it is not made of keys and fractions by sums, products and remainders.
    """
    if number in words:
        digits = [(case.get(bit), is_inverted) for bit, is_inverted in words[number]]
        lowest, highest = (
            cirq.big_endian_bits_to_int(
                unknown if digit is None else digit ^ is_inverted for digit, is_inverted in digits
            )
            for unknown in (0, 1)
        )
        return Fraction(lowest), Fraction(highest)
    if isinstance(number, sympy.Rational | sympy.Float):
        exact = sympy.Rational(number)
        value = Fraction(int(exact.p), int(exact.q))
        # Cirq rounds what it computes with others.
        if isinstance(number, sympy.Rational) or value.denominator <= _MAX_EXACT:
            return value, value
    parts = [_range(part, words, case) for part in number.args]
    if isinstance(number, sympy.Add):
        lows, highs = zip(*parts, strict=True)
        return sum(lows, Fraction()), sum(highs, Fraction())
    if isinstance(number, sympy.Mul):
        low = high = Fraction(1)
        for part in parts:
            corners = [one * other for one in (low, high) for other in part]
            low, high = min(corners), max(corners)
        return low, high
    if isinstance(number, sympy.Mod):
        (low, high), (modulus, _) = parts
        if isinstance(number.args[1], sympy.Rational) and modulus > 0:
            if math.floor(low / modulus) == math.floor(high / modulus):
                return low % modulus, high % modulus
            return Fraction(), modulus
    raise LookupError(f"{type(number).__name__} is of another kind")


def _most_significant(tree: tuple[str, Any], words: _Words, case: Case) -> int:
    """The open bit that weighs most in the first part that is open."""
    relation, number = tree
    while relation in _OPERATORS:
        relation, number = number[0]
    _, bit = max(
        (len(words[word]) - k, -bit)
        for word in number.free_symbols
        for k, (bit, _) in enumerate(words.get(word, ()))
        if bit not in case
    )
    return -bit
