"""Sweep parameters: their values at all points at once, and expressions as JSON.

`cirq.ParamResolver.value_of` takes about ten microseconds per expression and point. Sums, products
and powers are computed on arrays here, with the same operations in the same order, so that even the
last digit agrees; cirq evaluates everything else.

A point is stored with its job as JSON. Numbers are read back as integers, floats or complex
numbers, and sums, products, powers and sympy's functions of symbols and numbers as equal
expressions. Any other expression is written as its value: another process gets the same point,
without the expression.
"""

from __future__ import annotations

import cmath
import contextlib
import functools
import json
import math
import numbers
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cirq
import numpy as np
import numpy.typing as npt
import sympy
from sympy.core.function import Application
from sympy.functions.elementary.piecewise import ExprCondPair

from cirq_azure_sessions.errors import UnsupportedProgram

__all__ = [
    "Floats",
    "evaluate",
    "plain_columns",
    "value_from_json",
    "value_to_json",
    "values_at",
]

Floats = npt.NDArray[np.float64]

# Longer strings are not labels, and do not fit into a job's metadata.
_MAX_LABEL = 200

_CONSTANTS = {
    str(constant): constant
    for constant in (
        *(sympy.pi, sympy.E, sympy.I, sympy.GoldenRatio, sympy.EulerGamma, sympy.Catalan),
        *(sympy.true, sympy.false),
    )
}
_OPERATIONS = {
    "Add": sympy.Add,
    "Mul": sympy.Mul,
    "Pow": sympy.Pow,
    # A case of a sympy.Piecewise.
    "ExprCondPair": lambda value, condition, evaluate: ExprCondPair(value, condition),
    # Functions, comparisons and connectives.
    **{
        name: kind
        for name, kind in vars(sympy).items()
        if isinstance(kind, type)
        and issubclass(kind, Application | sympy.Rel)
        and kind is not sympy.Function
    },
}
_NAMES = {value: name for name, value in (*_CONSTANTS.items(), *_OPERATIONS.items())} | {
    ExprCondPair: "ExprCondPair"
}


def values_at(
    expressions: Sequence[sympy.Basic], resolvers: Sequence[cirq.ParamResolver]
) -> list[Floats]:
    """The values of each expression at all points.

    Raises:
        UnsupportedProgram: If an expression has no value at a point, or none that is a finite real
            number.
    """
    symbols = {symbol for expression in expressions for symbol in expression.free_symbols}
    columns = plain_columns(symbols, resolvers)
    for symbol in symbols - columns.keys():
        # A formula may turn a complex number into a real one.
        with contextlib.suppress(UnsupportedProgram):
            columns[symbol] = _point_by_point(symbol, resolvers)
    return [_values(expression, columns, resolvers) for expression in expressions]


def plain_columns(
    symbols: Iterable[sympy.Symbol], resolvers: Sequence[cirq.ParamResolver]
) -> dict[sympy.Basic, Floats]:
    """The values of the symbols with a finite `float` at every point, which is nearly all."""
    columns: dict[sympy.Basic, Floats] = {}
    for symbol in symbols:
        values = [resolver.param_dict.get(symbol.name) for resolver in resolvers]
        if set(map(type, values)) == {float}:
            column = np.array(values, dtype=np.float64)
            if np.all(np.isfinite(column)):
                columns[symbol] = column
    return columns


def evaluate(expression: sympy.Basic, columns: Mapping[sympy.Basic, Floats]) -> Floats | float:
    """The expression's values, given those of its symbols.

    Raises:
        LookupError: If it holds anything but sums, products and powers of real numbers.
    """
    if expression in columns:
        return columns[expression]
    if not expression.free_symbols:
        return _constant(expression)
    if isinstance(expression, sympy.Symbol):
        raise LookupError(f"{expression} is left to cirq")
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


# Most circuits have few constants, such as 1/pi, and sympy takes long to evaluate them.
@functools.lru_cache
def _constant(expression: sympy.Basic) -> float:
    """The value of an expression without symbols; raises as `evaluate` does."""
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


def value_to_json(params: cirq.ParamResolver, key: Any) -> list[Any]:
    """The parts of a parameter's value: of a number, one list that is an expression or a label.

    Empty for any other value, since no gate can depend on it.
    """
    try:
        parts = _parts(params, key)
        # This refuses integers of more digits than Python reads.
        json.dumps(parts)
    except Exception:
        # cirq and sympy fail with errors of any kind. No gate uses the parameter, since those of
        # gates have been evaluated, and a call must not end for it after its first jobs are paid.
        return []
    return parts


def _parts(params: cirq.ParamResolver, key: Any) -> list[Any]:
    value = params.param_dict[key]
    if value is None:
        return [["None"]]
    if isinstance(value, str) and len(value) <= _MAX_LABEL:
        return [["Text", str(value)]]
    if isinstance(value, sympy.Basic):
        # A function of another version may not be what its name and arguments say.
        with contextlib.suppress(KeyError, ValueError, TypeError, RecursionError):
            parts = _expression_to_json(value)
            if _expression_from_json(parts) == value:
                return [parts]
    number = params.value_of(key)
    if isinstance(number, numbers.Integral):
        return [int(number)]
    if not isinstance(number, numbers.Complex) or not cmath.isfinite(complex(number)):
        return []
    if isinstance(number, numbers.Real):
        return [float(number)]
    return [float(number.real), float(number.imag)]


def value_from_json(first: Any, *imaginary: Any) -> Any:
    """Reads a value from the parts that `value_to_json` wrote.

    Raises:
        ValueError, TypeError, KeyError: If they are not the parts of a value.
    """
    if isinstance(first, list) and not imaginary:
        match first:
            case ["None"]:
                return None
            case ["Text", str(text)]:
                return text
        return _expression_from_json(first)
    return complex(_real(first), *map(_real, imaginary)) if imaginary else _real(first)


def _expression_to_json(expression: sympy.Basic) -> list[Any]:
    """The expression as nested lists.

    Raises:
        KeyError: If it holds a function or operator that has no name here.
    """
    if isinstance(expression, sympy.Symbol) and expression == sympy.Symbol(expression.name):
        return ["Symbol", expression.name]
    if isinstance(expression, sympy.Rational):
        return ["Rational", int(expression.p), int(expression.q)]
    if isinstance(expression, sympy.Float) and expression == sympy.Float(float(expression)):
        return ["Float", float(expression)]
    if expression in _NAMES:
        return [_NAMES[expression]]
    return [_NAMES[expression.func], *map(_expression_to_json, expression.args)]


def _expression_from_json(parts: Sequence[Any]) -> sympy.Basic:
    kind, *args = parts
    if kind == "Symbol":
        (name,) = args
        if type(name) is not str:
            raise TypeError("not a string")
        return sympy.Symbol(name)
    if kind == "Rational":
        numerator, denominator = args
        if type(numerator) is not int or type(denominator) is not int:
            raise TypeError("not integers")
        return sympy.Rational(numerator, denominator)
    if kind == "Float":
        return sympy.Float(_real(*args))
    if not args:
        return _CONSTANTS[kind]
    # Nothing is evaluated: the parts are in sympy's order already, and what someone else wrote
    # could take forever.
    return _OPERATIONS[kind](*map(_expression_from_json, args), evaluate=False)


def _real(value: Any) -> float:
    if type(value) not in (int, float) or not abs(value) < math.inf:
        raise ValueError("not a number")
    number: float = value
    return number
