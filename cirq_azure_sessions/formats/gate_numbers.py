"""The numbers of gates and operations: checked as Cirq does, and converted to Python's own."""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Iterator
from numbers import Complex, Number, Real
from typing import Any, TypeVar

import cirq
import numpy as np
import sympy

from cirq_azure_sessions.errors import UnsupportedProgram
from cirq_azure_sessions.options import shown

__all__ = ["MAX_NUMBER", "NotFinite", "check_numbers", "is_finite", "with_plain_numbers"]

_Part = TypeVar("_Part", bound=cirq.Gate | cirq.Operation)

# Larger exponents have no finite angle.
MAX_NUMBER = sys.float_info.max / np.pi

# Attributes of Cirq's classes: those that are always numbers, of which others may be names or
# shapes; those that may be complex; and those that are none of the gate's own.
_ALWAYS_NUMBERS = re.compile("exponent|shift|angle|theta|phi|rads")
_MAYBE_COMPLEX = "coefficient"
_OTHERS = ("__doc__", "_method_cache")


class NotFinite(UnsupportedProgram, ZeroDivisionError, OverflowError):
    """A number is not finite: Cirq fails on it with any of these types, depending on the gate."""


def check_numbers(value: cirq.Gate | cirq.Operation) -> None:
    """Refuses a gate or an operation with numbers that are not finite and real.

    Those with open symbols are not looked at.

    Raises:
        TypeError: If a number has a type that Cirq does not accept.
        UnsupportedProgram: If a number is not finite and real.
    """
    if isinstance(value, cirq.CircuitOperation):
        inner = cirq.resolve_parameters(value.circuit, value.param_resolver)
        for operation in inner.all_operations():
            check_numbers(operation.without_classical_controls().untagged)
        count = value.repetitions
        if not cirq.is_parameterized(count) and abs(count) > sys.maxsize:
            raise NotFinite(f"A subcircuit has {shown(count)} repetitions: give it fewer.")
        return
    for name, held in _attributes(value):
        for part in held if type(held) in (list, tuple) else (held,):
            if type(part) in (float, int) and -MAX_NUMBER < part < MAX_NUMBER:
                continue
            # A global shift is the one number that Cirq does not resolve.
            if isinstance(part, sympy.Basic) and _is_open(part) and "shift" not in name:
                continue
            if isinstance(part, cirq.Gate | cirq.Operation):
                check_numbers(part)
                continue
            number = _plain(name, part)
            if isinstance(number, sympy.Basic) and not _is_open(number):
                number = cirq.ParamResolver().value_of(number)
            if isinstance(number, sympy.Basic) and "shift" not in name:
                continue
            if not isinstance(number, Complex):
                if not isinstance(number, Number) and not _ALWAYS_NUMBERS.search(name):
                    continue
                raise TypeError(
                    f"{shown(value)} has the number {shown(part)}: {type(part).__name__} is not a "
                    "type of number that Cirq accepts."
                )
            if not is_finite(number) or (number.imag and _MAYBE_COMPLEX not in name):
                refused = UnsupportedProgram if is_finite(number) else NotFinite
                raise refused(
                    f"{shown(value)} has the number {shown(part)}: give it a finite real one."
                )


def with_plain_numbers(value: _Part) -> _Part:
    """A gate or operation whose own numbers are Python's instead of numpy's, and real.

    Cirq computes with numbers as they come, and those of numpy may have half a double's digits, or
    no sign to change.
    """
    plain: dict[str, object] = {}
    for name, held in _attributes(value):
        if type(held) in (float, int, str, tuple) or isinstance(held, sympy.Basic):
            continue
        is_part = isinstance(held, cirq.Gate | cirq.Operation)
        part = with_plain_numbers(held) if is_part else _plain(name, held)
        if part is not held:
            plain[name] = part
    if not plain:
        return value
    copied = copy.copy(value)
    vars(copied).update(plain)
    return copied


def is_finite(number: Complex) -> bool:
    """Whether a number is finite, and its angle is when it counts half turns."""
    try:
        return abs(complex(number)) < MAX_NUMBER
    except OverflowError:
        return False


def _is_open(formula: sympy.Basic) -> bool:
    """Whether it has free symbols; sympy makes a set of them for each of its parts."""
    if formula.is_Add or formula.is_Mul or formula.is_Pow:
        return any(map(_is_open, formula.args))
    return formula.is_Symbol or (not formula.is_Number and bool(formula.free_symbols))


def _attributes(value: cirq.Gate | cirq.Operation) -> Iterator[tuple[str, Any]]:
    """The attributes that may be numbers, or gates that have some."""
    held = getattr(value, "__dict__", {})
    # What the numbers of other packages' gates mean, only they know.
    is_cirqs = type(value).__module__.startswith("cirq")
    names = held if is_cirqs else ("_exponent", "_global_shift")
    if is_cirqs or isinstance(value, cirq.EigenGate):
        # In a list, since Cirq keeps the text and hash of a gate in it too.
        for name in [*names]:
            if name in held and not name.startswith(_OTHERS):
                yield name, held[name]


def _plain(name: str, part: Any) -> Any:
    """The value of an attribute, as Python's own number if it is one of another kind.

    A complex number without an imaginary part is real.
    """
    number = part.item() if isinstance(part, np.generic | np.ndarray) and not part.ndim else part
    if isinstance(number, Real) and not isinstance(number, int | float | sympy.Basic):
        number = float(number)
    is_complex = isinstance(number, complex | np.clongdouble) and _MAYBE_COMPLEX not in name
    return float(number.real) if is_complex and not number.imag else number
