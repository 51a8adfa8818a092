"""Conditions on measured bits, as a few cases or as a chain of short conditions.

Enumerating the values of k bits would take 2**k statements. Instead, the bits that a condition
reads are fixed one at a time, the most significant first, until the others no longer matter:
`m < 5` on thirteen bits is decided in three cases.

With two keys, `m < k` would take thousands of cases. But after the first bits of both, only three
states are possible: less, greater, or equal so far. A chain finds out which, a few bits at a time.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cirq
import sympy
from sympy.logic.boolalg import BooleanFunction

from cirq_azure_sessions.formats.layout import Measurement

__all__ = ["Case", "Condition", "chain", "signed_cases"]

# The values of some bits by number, as the machine measured them; all other bits are free.
Case = Mapping[int, int]
_Terms = list[tuple[bool, Case]]
# A key, or part of one, as its bits, the most significant first: their numbers, and whether they
# are inverted.
_Words = dict[sympy.Basic, Sequence[tuple[int, bool]]]
# A number as a sum of products, each with its coefficient. Their factors are bits, and remainders:
# a sum and the number that divides it.
_Sum = frozenset[tuple[frozenset[Any], Fraction]]
# True or False, an operator with the trees it joins, or a relation with the sum that it compares
# with zero. Equal trees hold for the same values of the open bits.
_Tree = bool | tuple[str, Any]

_OPERATORS = ("&", "|", "^")
# Functions that choose between numbers.
_CHOICES = (sympy.Max, sympy.Min, sympy.Abs)

# Every case becomes a statement, and every branch of the search for them takes time.
_MAX_CASES = 512
_MAX_BRANCHES = 4_096

# OpenQASM compares whole registers, so each set of bits is measured into its own register.
_MAX_REGISTERS = 64

# How many trees a chain may distinguish, and how many bits its conditions read; one more if the
# chain cannot continue otherwise.
_MAX_STATES = 32
_MAX_CHAINED_BITS = 4

_MAX_PRODUCTS = 1_024
_MAX_POWER = 8

# Floating-point numbers are read as fractions with denominators up to this one.
_MAX_EXACT = 1 << 20


@dataclass(frozen=True, slots=True)
class Condition:
    """The condition of a classically controlled step: `bits` have one of `values`.

    Attributes:
        bits: Numbers of measured bits, as the machine measured them: before any inversion.
        values: The values of those bits, as tuples of 0 and 1 in the order of `bits`.
    """

    bits: tuple[int, ...]
    values: tuple[tuple[int, ...], ...]

    def without_idle_bits(self) -> Condition:
        """The condition without bits that make no difference, such as earlier records of a key."""
        for k in range(len(self.bits)):
            fulfilling = set(self.values)
            if all((*v[:k], 1 - v[k], *v[k + 1 :]) in fulfilling for v in fulfilling):
                bits = self.bits[:k] + self.bits[k + 1 :]
                values = tuple(sorted({value[:k] + value[k + 1 :] for value in fulfilling}))
                return Condition(bits, values).without_idle_bits()
        return self


def signed_cases(
    controls: Sequence[cirq.Condition],
    records: Mapping[cirq.MeasurementKey, Sequence[Measurement]],
    *,
    has_inverse: bool,
    is_own_inverse: bool,
) -> Sequence[tuple[bool, Condition | None]]:
    """When to apply a controlled gate, and when to undo it; None for always.

    Applying it under each condition marked True and undoing it under each marked False has the
    effect of applying it once if all controls hold, and not at all otherwise.

    Args:
        controls: The controls.
        records: What each key has measured by then.
        has_inverse: Whether the gate can be undone.
        is_own_inverse: Whether applying it twice undoes it.

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
    # Cases of the same bits share a condition, except repeated ones.
    times: Counter[tuple[bool, frozenset[tuple[int, int]]]] = Counter()
    values: defaultdict[tuple[bool, tuple[int, ...], int], list[tuple[int, ...]]]
    values = defaultdict(list)
    for is_done, case in found:
        bits = tuple(sorted(case))
        same = is_done, frozenset(case.items())
        values[is_done, bits, times[same]].append(tuple(case[bit] for bit in bits))
        times[same] += 1
    return [
        (is_done, Condition(bits, tuple(listed)) if bits else None)
        for (is_done, bits, _), listed in values.items()
    ]


def chain(
    controls: Sequence[cirq.Condition],
    records: Mapping[cirq.MeasurementKey, Sequence[Measurement]],
    first: int,
) -> Sequence[Condition]:
    """When to set each of the bits `first`, `first` + 1, ...; the last says if all controls hold,
    and reads no bits if they always or never do.

    Args:
        controls: The controls, which read one bit or more.
        records: What each key has measured by then.
        first: The number of the first of these bits, each of which may depend on those before.

    Raises:
        LookupError: If the chain has to distinguish too many states.
    """
    words: _Words = {}
    trees = [_tree(_formula(control, records, words), words) for control in controls]
    weights = _weights(words)
    unread = sorted(weights, key=lambda bit: (-weights[bit], bit))
    states: Sequence[_Tree] = [_joined("&", trees)]
    # The bits that encode the state, the least significant first.
    held = range(0)
    conditions: list[Condition] = []
    while unread:
        count = max(1, _MAX_CHAINED_BITS - len(held))
        read, unread = unread[:count], unread[count:]
        following = {
            (*_digits(number, held), *digits): _given(tree, dict(zip(read, digits, strict=True)))
            for number, tree in enumerate(states)
            for digits in itertools.product((0, 1), repeat=len(read))
        }
        states = [*dict.fromkeys(following.values())] if unread else [False, True]
        if len(states) > _MAX_STATES:
            raise LookupError("too many states")
        numbers = {tree: number for number, tree in enumerate(states)}
        start, bits = first + len(conditions), (*held, *read)
        held = range(start, start + (len(states) - 1).bit_length())
        for k in range(len(held)):
            values = (value for value, tree in following.items() if numbers[tree] >> k & 1)
            conditions.append(Condition(bits, tuple(values)).without_idle_bits())
    return conditions


def _digits(number: int, bits: Sequence[int]) -> tuple[int, ...]:
    return tuple(number >> k & 1 for k in range(len(bits)))


def _weights(words: _Words) -> dict[int, int]:
    """The significance of each bit: its position in the longest word that contains it."""
    weights: dict[int, int] = {}
    for word in words.values():
        for k, (bit, _) in enumerate(word):
            weights[bit] = max(weights.get(bit, 0), len(word) - k)
    return weights


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
    for indexed in sorted(formula.atoms(sympy.Indexed), key=str):
        key = cirq.MeasurementKey.parse_serialized(indexed.base.name)
        digit = sympy.Dummy(integer=True, nonnegative=True)
        words[digit] = [digits(key)[int(indexed.indices[0])]]
        formula = formula.xreplace({indexed: digit})
    for symbol in sorted(formula.free_symbols - words.keys(), key=str):
        number = sympy.Dummy(integer=True, nonnegative=True)
        words[number] = digits(cirq.MeasurementKey.parse_serialized(symbol.name))
        formula = formula.xreplace({symbol: number})
    return formula


def _split(formula: sympy.Basic, words: _Words) -> tuple[list[Case], list[Case]]:
    """The cases in which a formula holds, and those in which it does not; exactly one applies."""
    weights = _weights(words)
    fulfilling: list[Case] = []
    others: list[Case] = []
    open_cases: list[tuple[Case, _Tree]] = [({}, _tree(formula, words))]
    while open_cases:
        case, tree = open_cases.pop()
        if isinstance(tree, bool):
            (fulfilling if tree else others).append(case)
        else:
            bit = max(_open_bits(tree), key=lambda bit: (weights[bit], -bit))
            open_cases += [({**case, bit: digit}, _given(tree, {bit: digit})) for digit in (1, 0)]
        if min(len(fulfilling), len(others)) > _MAX_CASES:
            raise LookupError("too many cases")
        if len(fulfilling) + len(others) > _MAX_BRANCHES:
            raise LookupError("too many cases")
    return fulfilling, others


def _open_bits(tree: tuple[str, Any]) -> set[int]:
    """The bits that the first part of a tree reads."""
    relation, number = tree
    while relation in _OPERATORS:
        relation, number = number[0]
    return _bits(number)


def _bits(number: _Sum) -> set[int]:
    factors = {factor for product, _ in number for factor in product}
    remainders = {factor for factor in factors if not isinstance(factor, int)}
    return (factors - remainders).union(*(_bits(divided) for divided, _ in remainders))


def _tree(formula: sympy.Basic, words: _Words) -> _Tree:
    if formula in (sympy.true, sympy.false):
        return bool(formula)
    if isinstance(formula, sympy.Not):
        return _joined("^", [_tree(formula.args[0], words), True])
    for kind, operator in ((sympy.And, "&"), (sympy.Or, "|"), (sympy.Xor, "^")):
        if isinstance(formula, kind):
            return _joined(operator, [_tree(part, words) for part in formula.args])
    if isinstance(formula, BooleanFunction):
        return _tree(formula.to_nnf(simplify=False), words)
    if isinstance(formula, sympy.Contains):
        member, numbers = formula.args
        return _tree(numbers.as_relational(member), words)
    if isinstance(formula, sympy.Expr):
        formula = sympy.Ne(formula, 0, evaluate=False)
    if not isinstance(formula, sympy.Rel):
        raise LookupError(f"{type(formula).__name__} is of another kind")
    difference = (formula.lhs - formula.rhs).rewrite(_CHOICES, sympy.Piecewise)
    choice = next(iter(sorted(difference.atoms(sympy.Piecewise), key=sympy.default_sort_key)), None)
    if choice is None:
        return _relation(formula.rel_op, _sum_of(difference, words))
    # The first value whose condition holds; if none does, Cirq cannot decide.
    result: sympy.Basic = sympy.false
    for value, where in reversed(choice.args):
        relation = formula.func(difference.xreplace({choice: value}), 0, evaluate=False)
        result = sympy.Or(sympy.And(where, relation), sympy.And(sympy.Not(where), result))
    return _tree(result, words)


def _joined(operator: str, trees: Sequence[_Tree]) -> _Tree:
    """The trees joined by an operator; a bool if no bit remains open."""
    if operator != "^" and (operator == "|") in trees:
        return operator == "|"
    open_trees = [tree for tree in trees if not isinstance(tree, bool)]
    is_odd = trees.count(True) % 2 == 1
    if not open_trees:
        return is_odd if operator == "^" else operator == "&"
    if operator == "^" and is_odd:
        return operator, (*open_trees, True)
    return open_trees[0] if len(open_trees) == 1 else (operator, tuple(open_trees))


def _relation(relation: str, number: _Sum) -> _Tree:
    """The relation of a sum to zero; a bool if it is the same for all values of the bits."""
    if relation in (">", ">="):
        relation = relation.replace(">", "<")
        number = _times(number, _constant(Fraction(-1)))
    low, high = _range(number)
    if relation in ("==", "!="):
        if low < high and low <= 0 <= high:
            return relation, number
        return (low == high == 0) == (relation == "==")
    if relation == "<":
        return True if high < 0 else False if low >= 0 else (relation, number)
    return True if high <= 0 else False if low > 0 else (relation, number)


def _given(tree: _Tree, case: Case) -> _Tree:
    """The rest of a tree once the bits of the case have their values."""
    if isinstance(tree, bool):
        return tree
    relation, parts = tree
    if relation in _OPERATORS:
        return _joined(relation, [_given(part, case) for part in parts])
    return _relation(relation, _sum_given(parts, case))


def _sum_given(number: _Sum, case: Case) -> _Sum:
    terms: list[tuple[frozenset[Any], Fraction]] = []
    for product, coefficient in number:
        if not all(case.get(factor, 1) for factor in product):
            continue
        open_bits = {factor for factor in product if isinstance(factor, int)} - case.keys()
        term = frozenset({(frozenset(open_bits), coefficient)})
        for factor in product:
            if not isinstance(factor, int):
                term = _times(term, _remainder(_sum_given(factor[0], case), factor[1]))
        terms += term
    return _added(terms)


def _sum_of(number: sympy.Basic, words: _Words) -> _Sum:
    """A number as a sum of products of bits.

    Raises:
        LookupError: If it holds anything but keys and fractions in sums, products, powers,
            remainders and rounding, or is too long.
    """
    if number in words:
        digits = reversed(words[number])
        return _added(
            term
            for k, (bit, is_inverted) in enumerate(digits)
            for term in (
                (frozenset({bit}), Fraction(-(1 << k) if is_inverted else 1 << k)),
                (frozenset(), Fraction(is_inverted << k)),
            )
        )
    if isinstance(number, sympy.Rational | sympy.Float):
        exact = sympy.Rational(number)
        value = Fraction(int(exact.p), int(exact.q))
        # Cirq rounds results with other numbers.
        if isinstance(number, sympy.Rational) or value.denominator <= _MAX_EXACT:
            return _constant(value)
    if isinstance(number, sympy.Add):
        return _added(itertools.chain.from_iterable(_sum_of(part, words) for part in number.args))
    if isinstance(number, sympy.Mul):
        return functools.reduce(_times, (_sum_of(part, words) for part in number.args))
    if isinstance(number, sympy.Pow) and number.exp in range(1, _MAX_POWER + 1):
        return functools.reduce(_times, [_sum_of(number.base, words)] * int(number.exp))
    if isinstance(number, sympy.Mod):
        divided, modulus = number.args
        if isinstance(modulus, sympy.Rational) and modulus > 0:
            return _remainder(_sum_of(divided, words), Fraction(int(modulus.p), int(modulus.q)))
    if isinstance(number, sympy.floor | sympy.ceiling):
        sign = _constant(Fraction(1 if isinstance(number, sympy.floor) else -1))
        rounded = _times(sign, _sum_of(number.args[0], words))
        fraction = _times(_constant(Fraction(-1)), _remainder(rounded, Fraction(1)))
        return _times(sign, _added([*rounded, *fraction]))
    raise LookupError(f"{type(number).__name__} is of another kind")


def _constant(value: Fraction) -> _Sum:
    return _added([(frozenset(), value)])


def _added(terms: Iterable[tuple[frozenset[Any], Fraction]]) -> _Sum:
    totals: defaultdict[frozenset[Any], Fraction] = defaultdict(Fraction)
    for product, coefficient in terms:
        totals[product] += coefficient
    if len(totals) > _MAX_PRODUCTS:
        raise LookupError("too many products")
    return frozenset((product, total) for product, total in totals.items() if total)


def _times(one: _Sum, other: _Sum) -> _Sum:
    def product(a: frozenset[Any], b: frozenset[Any]) -> frozenset[Any]:
        # A bit equals its square; a remainder does not.
        if not all(isinstance(factor, int) for factor in a & b):
            raise LookupError("a power of a remainder")
        return a | b

    return _added((product(p, q), c * d) for (p, c), (q, d) in itertools.product(one, other))


def _remainder(number: _Sum, modulus: Fraction) -> _Sum:
    """The remainder of a sum after division; the sum itself if it is always smaller."""
    reduced = _added(
        (product, c % modulus if all(isinstance(each, int) for each in product) else c)
        for product, c in number
    )
    low, high = _range(reduced)
    if low >= 0 and high < modulus:
        return reduced
    return frozenset({(frozenset({(reduced, modulus)}), Fraction(1))})


def _range(number: _Sum) -> tuple[Fraction, Fraction]:
    """Bounds of a sum, which are equal once all bits have values."""
    low = high = Fraction()
    for product, coefficient in number:
        extreme = coefficient
        for factor in product:
            if not isinstance(factor, int):
                extreme *= factor[1]
        low += min(extreme, extreme if not product else 0)
        high += max(extreme, extreme if not product else 0)
    return low, high
