"""Arithmetic in program texts: the parameters of gates, read once and evaluated when needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

from cirq_azure_sessions.emulator.programs.tokens import Tokens

__all__ = ["Expression", "evaluate", "read_expression"]

# What an expression is worth, once its names have values. May raise ArithmeticError or ValueError.
Expression: TypeAlias = Callable[[Mapping[str, float]], float]

# How a name is read that is no function and not pi: it may have more to it, such as an index.
ReadName: TypeAlias = Callable[[Tokens, str], Expression]

_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "exp": math.exp,
    "ln": math.log,
    "sqrt": math.sqrt,
}

_MAX_DEPTH = 50


def evaluate(expression: Expression, values: Mapping[str, float]) -> float:
    """The value of an expression.

    Raises:
        ValueError: If it has none, or not a finite one.
    """
    try:
        value = expression(values)
    except (ArithmeticError, ValueError) as error:
        raise ValueError("a parameter cannot be computed.") from error
    if not math.isfinite(value):
        raise ValueError("a parameter is not finite.")
    return value


def read_expression(tokens: Tokens, read_name: ReadName, depth: int = 0) -> Expression:
    """Reads a sum: `^` binds closer than a sign before it, and that closer than `*` and `/`."""
    if depth > _MAX_DEPTH:
        raise tokens.fail("an expression is nested too deeply.")
    # A list, not a tree: a long sum must not become a deep recursion.
    terms = [_read_product(tokens, read_name, depth)]
    while sign := tokens.accept("+", "-"):
        term = _read_product(tokens, read_name, depth)
        terms.append(term if sign == "+" else _negative(term))
    return terms[0] if len(terms) == 1 else lambda values: sum(term(values) for term in terms)


def _read_product(tokens: Tokens, read_name: ReadName, depth: int) -> Expression:
    first = _read_signed(tokens, read_name, depth)
    others: list[tuple[str, Expression]] = []
    while sign := tokens.accept("*", "/"):
        others.append((sign, _read_signed(tokens, read_name, depth)))
    return _product(first, others) if others else first


def _product(first: Expression, others: list[tuple[str, Expression]]) -> Expression:
    def product(values: Mapping[str, float]) -> float:
        result = first(values)
        for sign, factor in others:
            result = result * factor(values) if sign == "*" else result / factor(values)
        return result

    return product


def _read_signed(tokens: Tokens, read_name: ReadName, depth: int) -> Expression:
    negative = False
    while sign := tokens.accept("+", "-"):
        negative ^= sign == "-"
    power = _read_power(tokens, read_name, depth)
    return _negative(power) if negative else power


def _read_power(tokens: Tokens, read_name: ReadName, depth: int) -> Expression:
    base = _read_operand(tokens, read_name, depth)
    if not tokens.accept("^"):
        return base
    if depth > _MAX_DEPTH:
        raise tokens.fail("an expression is nested too deeply.")
    # The exponent may have a sign, and further powers: 2^-3^2 is 2^(-(3^2)).
    exponent = _read_signed(tokens, read_name, depth + 1)
    # Floats, unlike integers, overflow before they fill the memory.
    return lambda values: math.pow(base(values), exponent(values))


def _read_operand(tokens: Tokens, read_name: ReadName, depth: int) -> Expression:
    if tokens.accept("("):
        inner = read_expression(tokens, read_name, depth + 1)
        tokens.expect(")")
        return inner
    name = tokens.accept_name()
    if not name:
        number = tokens.number()
        return lambda values: number
    if name == "pi":
        return lambda values: math.pi
    if name not in _FUNCTIONS:
        return read_name(tokens, name)
    function = _FUNCTIONS[name]
    tokens.expect("(")
    argument = read_expression(tokens, read_name, depth + 1)
    tokens.expect(")")
    return lambda values: function(argument(values))


def _negative(expression: Expression) -> Expression:
    return lambda values: -expression(values)
