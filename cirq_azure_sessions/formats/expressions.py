"""Expressions of sweep parameters as numbers, for all points at once.

`cirq.ParamResolver.value_of` takes some ten microseconds an expression and point. Sums, products
and powers are worked out here on arrays instead, by the same operations in the same order, so that
the last digit is the same too; everything else is left to cirq.
"""

from __future__ import annotations

import functools
import math
import numbers
import operator
from collections.abc import Mapping, Sequence

import cirq
import numpy as np
import numpy.typing as npt
import sympy

from cirq_azure_sessions.errors import UnsupportedProgram

__all__ = ["Floats", "evaluate", "values_at"]

Floats = npt.NDArray[np.float64]


def values_at(
    expressions: Sequence[sympy.Basic], resolvers: Sequence[cirq.ParamResolver]
) -> list[Floats]:
    """For each expression its values at all points.

    Raises:
        UnsupportedProgram: If an expression has no value at a point, or none that is a finite real
            number.
    """
    symbols = {symbol for expression in expressions for symbol in expression.free_symbols}
    columns = {symbol: _values_of_symbol(symbol, resolvers) for symbol in symbols}
    return [_values(expression, columns, resolvers) for expression in expressions]


def evaluate(expression: sympy.Basic, columns: Mapping[sympy.Basic, Floats]) -> Floats | float:
    """The expression's values, given those of its symbols.

    Raises:
        LookupError: If it holds something other than sums, products and powers of real numbers.
    """
    if expression in columns:
        return columns[expression]
    if not expression.free_symbols:
        return _constant(expression)
    parts = [evaluate(part, columns) for part in expression.args]
    # These three as in cirq.ParamResolver.value_of.
    if isinstance(expression, sympy.Add):
        return functools.reduce(operator.add, parts)
    if isinstance(expression, sympy.Mul):
        return functools.reduce(operator.mul, parts)
    if isinstance(expression, sympy.Pow):
        base, exponent = parts
        return np.float_power(base, exponent)
    raise LookupError(f"{type(expression).__name__} is left to cirq")


def _constant(expression: sympy.Basic) -> float:
    value = cirq.ParamResolver().value_of(expression)
    if not isinstance(value, numbers.Real):
        raise LookupError(f"{expression} is left to cirq")
    return float(value)


def _values(
    expression: sympy.Basic,
    columns: Mapping[sympy.Basic, Floats],
    resolvers: Sequence[cirq.ParamResolver],
) -> Floats:
    try:
        with np.errstate(all="ignore"):
            values = np.asarray(evaluate(expression, columns), dtype=np.float64)
    except LookupError:
        return _point_by_point(expression, resolvers)
    if not np.all(np.isfinite(values)):
        raise UnsupportedProgram(
            f"{expression} is not finite at every point of the sweep; leave those points out."
        )
    return values


def _values_of_symbol(symbol: sympy.Symbol, resolvers: Sequence[cirq.ParamResolver]) -> Floats:
    # Nearly always the values are plain numbers under the symbol's name.
    values = [resolver.param_dict.get(symbol.name) for resolver in resolvers]
    if set(map(type, values)) == {float}:
        column = np.array(values, dtype=np.float64)
        if np.all(np.isfinite(column)):
            return column
    return _point_by_point(symbol, resolvers)


def _point_by_point(expression: sympy.Basic, resolvers: Sequence[cirq.ParamResolver]) -> Floats:
    return np.array([_number(resolver, expression) for resolver in resolvers], dtype=np.float64)


def _number(resolver: cirq.ParamResolver, expression: sympy.Basic) -> float:
    try:
        number = float(resolver.value_of(expression))
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UnsupportedProgram(
            f"The parameter {expression} has no value that is a real number; give it one."
        ) from error
    if not math.isfinite(number):
        raise UnsupportedProgram(f"The parameter {expression} is {number}; give it a finite value.")
    return number
