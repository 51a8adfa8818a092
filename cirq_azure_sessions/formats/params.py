"""A sweep point as JSON, as it travels with its job.

Numbers come back as integers, floats or complex numbers, and sums, products and powers of symbols
and numbers as equal expressions. Any other expression is written as the number that it stands for:
another process gets the same point in other words. A value that stands for no number, which no gate
of the circuit can then depend on, is left out.
"""

from __future__ import annotations

import cmath
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import cirq
import sympy

__all__ = ["params_from_json", "params_to_json"]

_CONSTANTS = {"pi": sympy.pi, "I": sympy.I}
_OPERATIONS = {"Add": sympy.Add, "Mul": sympy.Mul, "Pow": sympy.Pow}
_NAMES = {value: name for name, value in (*_CONSTANTS.items(), *_OPERATIONS.items())}


def params_to_json(params: cirq.ParamResolver) -> tuple[dict[str, Any], list[list[Any]]]:
    """The parameters: plain numbers by their names, then each of the others as a list.

    Such a list tells whether its key is a symbol, the key's name, and either the parts of the
    number or one list that is an expression.
    """
    plain: dict[str, Any] = {}
    others: list[list[Any]] = []
    for key, value in params.param_dict.items():
        if type(key) is str and type(value) in (float, int) and math.isfinite(value):
            plain[key] = value
        elif parts := _parts(params, key, value):
            others.append([int(not isinstance(key, str)), str(key), *parts])
    return plain, others


def params_from_json(
    plain: Mapping[str, Any], others: Sequence[Sequence[Any]]
) -> cirq.ParamResolver:
    """The parameters that `params_to_json` wrote.

    Raises:
        ValueError, TypeError, KeyError: If they are none.
    """
    values: dict[Any, Any] = {key: _number(value) for key, value in plain.items()}
    for is_symbol, name, *parts in others:
        key = sympy.Symbol(_string(name)) if is_symbol else _string(name)
        values[key] = _value(*parts)
    return cirq.ParamResolver(values)


def _parts(params: cirq.ParamResolver, key: Any, value: Any) -> list[Any] | None:
    """A value as it is written, or None."""
    if isinstance(value, sympy.Basic):
        try:
            return [_expression_to_json(value)]
        except KeyError:
            pass
    number = params.value_of(key)
    if not isinstance(number, numbers.Complex) or not cmath.isfinite(complex(number)):
        return None
    if isinstance(number, numbers.Integral):
        return [int(number)]
    if isinstance(number, numbers.Real):
        return [float(number)]
    return [float(number.real), float(number.imag)]


def _value(first: Any, *imaginary: Any) -> Any:
    if isinstance(first, list) and not imaginary:
        return _expression_from_json(first)
    return complex(_number(first), *map(_number, imaginary)) if imaginary else _number(first)


def _expression_to_json(expression: sympy.Basic) -> list[Any]:
    """The expression as nested lists.

    Raises:
        KeyError: If it holds something other than sums, products and powers.
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
        return sympy.Symbol(_string(*args))
    if kind == "Rational":
        numerator, denominator = map(_integer, args)
        return sympy.Rational(numerator, denominator)
    if kind == "Float":
        return sympy.Float(_number(*args))
    if not args:
        return _CONSTANTS[kind]
    # Nothing is worked out: the parts are in sympy's own order already, and what a stranger wrote
    # could take for ever.
    return _OPERATIONS[kind](*map(_expression_from_json, args), evaluate=False)


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError("not a number")
    number: float = value
    return number


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise ValueError("not an integer")
    return value


def _string(value: Any) -> str:
    if type(value) is not str:
        raise TypeError("not a string")
    return value
