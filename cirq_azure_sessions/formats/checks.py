"""Checks of a sampler's options and of its calls, before anything is translated."""

from __future__ import annotations

import itertools
import math
import operator
import sys
from collections.abc import Iterator, Sequence
from numbers import Complex, Integral, Number, Real
from typing import Any

import cirq
import numpy as np
import sympy

from cirq_azure_sessions.errors import UnsupportedProgram
from cirq_azure_sessions.formats.expressions import evaluate, plain_columns
from cirq_azure_sessions.formats.layout import MAX_REPETITIONS
from cirq_azure_sessions.formats.open_gates import PACKAGE, with_open_gates
from cirq_azure_sessions.options import shown
from cirq_azure_sessions.spelling import counted

__all__ = ["as_resolvers", "as_seeds", "check_call"]

# Larger exponents have no finite angle.
_MAX_NUMBER = sys.float_info.max / math.pi


class _NotFinite(UnsupportedProgram, ZeroDivisionError, OverflowError):
    """A number is not finite: Cirq fails on it with any of these types, depending on the gate."""


def as_resolvers(name: str, params: Any, *, min_points: int = 0) -> list[cirq.ParamResolver]:
    """The points of the sweep that an argument of this name is.

    Raises:
        TypeError, ValueError: If it is none.
    """
    try:
        sweeps = cirq.to_sweeps(params)
    except (RecursionError, TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(
            f"{name} must be a cirq.Sweep, a mapping of symbols to numbers, or a list of such, "
            f"not {shown(params)}."
        ) from error
    resolvers = [resolver for sweep in sweeps for resolver in sweep]
    if len(resolvers) < min_points:
        raise ValueError(
            f"{name} has {counted(len(resolvers), 'point')}: give at least {min_points}."
        )
    return resolvers


def check_call(
    program: Any, resolvers: Sequence[cirq.ParamResolver], repetitions: Any
) -> tuple[cirq.AbstractCircuit, int]:
    """Refuses what no target could run, with the types of error that Cirq has for it.

    Returns:
        The circuit, and the repetitions as a plain integer.

    Raises:
        ValueError: If the repetitions are not a number of 0 or more.
        TypeError: If the repetitions, the program or a parameter have a wrong type.
        UnsupportedProgram: If the circuit measures nothing or a key in two sizes, has symbols
            without a value, or has or is given numbers that are not finite and real.
    """
    if not isinstance(program, cirq.AbstractCircuit):
        raise TypeError(f"program must be a cirq.Circuit, not {type(program).__name__}.")
    try:
        # numpy's integers and others are taken, floats and bools are not.
        if isinstance(repetitions, bool):
            raise TypeError
        count = operator.index(repetitions)
    except TypeError:
        raise TypeError(f"repetitions must be an integer, not {shown(repetitions)}.") from None
    if count < 0:
        raise ValueError(f"repetitions must be 0 or more, not {count}.")
    if count > MAX_REPETITIONS:
        raise ValueError(f"repetitions must be at most {MAX_REPETITIONS}: run more than once.")
    if not program.has_measurements():
        raise UnsupportedProgram(
            "Circuit has no measurements to sample: add cirq.measure(...) to it."
        )
    if not count:
        return program, 0
    # A key that is measured again in another size: its records would have no shape.
    sizes: dict[cirq.MeasurementKey, int | None] = {}
    for operation in _measurements(program):
        # A channel's records are others, and have no size.
        gate, size = operation.gate, None
        if isinstance(gate, cirq.MeasurementGate):
            size = len(operation.qubits)
        elif isinstance(gate, cirq.PauliMeasurementGate):
            size = 1
        for key in cirq.measurement_key_objs(operation):
            if sizes.setdefault(key, size) != size:
                raise UnsupportedProgram(
                    f"The measurement key {key} is used for measurements of different sizes: "
                    "use a separate key for each size."
                )
    parts: dict[int, cirq.Gate | cirq.Operation] = {}
    for operation in program.all_operations():
        if type(operation) is not cirq.GateOperation:
            operation = operation.without_classical_controls().untagged
        part = operation if operation.gate is None else operation.gate
        parts[id(part)] = part
    has_open_gates = False
    # What only Cirq can tell, and at each point.
    open_parts: list[cirq.Gate | cirq.Operation] = []
    for part in parts.values():
        if type(part) is cirq.MeasurementGate:
            continue
        _check_numbers(part)
        # Gates of cirq_ionq hold symbols without telling Cirq; subcircuits may have some of them.
        if isinstance(part, cirq.CircuitOperation):
            has_open_gates = True
            if cirq.is_parameterized(part.repetitions):
                open_parts.append(part)
        elif isinstance(part, cirq.GlobalPhaseGate):
            open_parts.append(part)
        elif type(part).__module__.startswith(PACKAGE):
            has_open_gates = True
    if has_open_gates:
        program = with_open_gates(program)
    formulas = _unproven(_formulas(program), resolvers) if cirq.is_parameterized(program) else []
    for index, resolver in enumerate(resolvers):
        try:
            for formula in formulas:
                _check_value(formula, resolver, index)
        except UnsupportedProgram as error:
            # Some gates, such as cirq.FSimGate, refuse a number that is not real by its type, and
            # a global phase is a complex one.
            try:
                resolved = cirq.resolve_parameters(program, resolver)
                if cirq.is_parameterized(resolved):
                    raise
                for operation in resolved.all_operations():
                    _check_numbers(operation.without_classical_controls().untagged)
            except TypeError as reason:
                raise TypeError(str(error)) from reason
            except (ArithmeticError, ValueError, LookupError, RecursionError):
                raise error from None
        for part in open_parts:
            try:
                cirq.resolve_parameters(part, resolver)
            except ValueError as error:
                raise UnsupportedProgram(
                    f"Point {index} of the sweep does not fit {shown(part)}: {error}"
                ) from error
    return program, count


def _measurements(circuit: cirq.AbstractCircuit) -> Iterator[cirq.Operation]:
    """The measurements of a circuit, those of subcircuits included."""
    for operation in circuit.all_operations():
        if not cirq.is_measurement(operation):
            continue
        plain = operation.untagged
        if not isinstance(plain, cirq.CircuitOperation):
            yield operation
        elif isinstance(plain.repetitions, int) and plain.repeat_until is None:
            yield from _measurements(plain.mapped_circuit())


def _check_numbers(value: cirq.Gate | cirq.Operation) -> None:
    """Refuses a gate or an operation with numbers that are not finite and real.

    Those with open symbols are not looked at.
    """
    if isinstance(value, cirq.CircuitOperation):
        inner = cirq.resolve_parameters(value.circuit, value.param_resolver)
        for operation in inner.all_operations():
            _check_numbers(operation.without_classical_controls().untagged)
        count = value.repetitions
        if not cirq.is_parameterized(count) and abs(count) > sys.maxsize:
            raise _NotFinite(f"A subcircuit has {shown(count)} repetitions: give it fewer.")
        return
    if type(value).__module__.startswith("cirq"):
        numbers = getattr(value, "__dict__", {})
    elif isinstance(value, cirq.EigenGate):
        numbers = {"exponent": value.exponent, "global_shift": value.global_shift}
    else:  # what the numbers of other gates mean, only they know
        return
    for name, held in numbers.items():
        if name.startswith(("__doc__", "_method_cache")):
            continue
        for part in held if type(held) in (list, tuple) else (held,):
            if type(part) in (float, int) and -_MAX_NUMBER < part < _MAX_NUMBER:
                continue
            if isinstance(part, cirq.Gate | cirq.Operation):
                _check_numbers(part)
                continue
            if isinstance(part, np.ndarray) and part.ndim == 0:
                part = part.item()
            elif isinstance(part, sympy.Basic) and not part.free_symbols:
                part = cirq.ParamResolver().value_of(part)
            if isinstance(part, sympy.Basic | np.bool_):
                continue
            if not isinstance(part, Complex):
                if not isinstance(part, Number) and "exponent" not in name:
                    continue  # it is none of the gate's numbers
                raise TypeError(
                    f"{shown(value)} has the number {shown(part)}: {type(part).__name__} is not a "
                    "type of number that Cirq accepts."
                )
            words = f"{shown(value)} has the number {shown(part)}: give it a finite real one."
            if not _is_finite(part):
                raise _NotFinite(words)
            if part.imag and "coefficient" not in name:
                raise UnsupportedProgram(words)


def _is_finite(number: Complex) -> bool:
    """Whether a number is finite, and its angle is when it counts half turns."""
    try:
        return abs(complex(number)) < _MAX_NUMBER
    except OverflowError:
        return False


class _Recorder(cirq.ParamResolver):
    """Records each formula that it evaluates, by its text."""

    def __init__(self, param_dict: Any) -> None:
        # Cirq initializes a resolver again whenever it is passed on.
        if not hasattr(self, "formulas"):
            super().__init__(param_dict)
            self.formulas: dict[str, Any] = {}

    def value_of(self, value: Any, recursive: bool = True) -> Any:
        if isinstance(value, str | sympy.Basic):
            self.formulas.setdefault(str(value), value)
            # Whatever takes a number takes this one, the repetitions of a subcircuit included.
            return 1
        return value


def _formulas(program: cirq.AbstractCircuit) -> list[Any]:
    """Every symbol and formula of the circuit's gates, once each."""
    names = cirq.parameter_names(program)
    # Cirq asks a resolver that holds nothing for nothing.
    recorder = _Recorder({"": 1})
    # Most operations share a gate with others, and have no parameters beside its own.
    for value in {
        op.gate if type(op) is cirq.GateOperation else op
        for op in program.all_operations()
        if cirq.is_parameterized(op)
    }:
        cirq.resolve_parameters(value, recorder)
    seen = {
        str(symbol)
        for formula in recorder.formulas.values()
        for symbol in getattr(formula, "free_symbols", [formula])
    }
    # What hides in subcircuits needs a value too.
    return [*recorder.formulas.values(), *map(sympy.Symbol, sorted(names - seen))]


def _unproven(formulas: Sequence[Any], resolvers: Sequence[cirq.ParamResolver]) -> list[Any]:
    """The formulas without those that are seen to be finite, worked out for all points at once."""
    plain = [sympy.Symbol(f) if isinstance(f, str) else f for f in formulas]
    columns = plain_columns({symbol for f in plain for symbol in f.free_symbols}, resolvers)

    def is_finite(formula: sympy.Basic) -> bool:
        try:
            if not formula.free_symbols and not all(resolvers):
                return False
            with np.errstate(all="ignore"):
                return bool(np.all(np.isfinite(np.multiply(evaluate(formula, columns), math.pi))))
        except (ArithmeticError, LookupError, ValueError):
            return False

    return [formula for formula in plain if not is_finite(formula)]


def _check_value(formula: Any, resolver: cirq.ParamResolver, index: int) -> None:
    try:
        with np.errstate(all="ignore"):
            # Cirq works out nothing for a resolver without values.
            value = resolver.value_of(formula) if resolver else formula
    except (ArithmeticError, ValueError) as error:
        raise UnsupportedProgram(
            f"Point {index} of the sweep gives {formula} no value: {error}."
        ) from error
    if isinstance(value, str | sympy.Basic):
        missing = sorted(map(str, getattr(value, "free_symbols", [value])))
        if not missing:
            raise UnsupportedProgram(
                f"Cirq works out {formula} in no circuit without parameters: write float(...)."
            )
        raise UnsupportedProgram(
            f"Point {index} of the sweep leaves {', '.join(missing) or formula} without a value: "
            "give every symbol of the circuit a value in the parameters."
        )
    words = f"Point {index} of the sweep gives {formula} the value {value}: "
    if isinstance(value, Real):
        if _is_finite(value):
            return
        raise _NotFinite(words + "give it a finite real number.")
    if isinstance(value, Complex):
        raise UnsupportedProgram(words + "give it a finite real number.")
    raise TypeError(words + f"{type(value).__name__} is not a type of number that Cirq accepts.")


def as_seeds(seed: Any) -> Iterator[tuple[int, ...] | None]:
    """What each call of a sampler with this seed draws from, as `TranslationOptions.seed`."""
    if seed is None:
        return itertools.repeat(None)
    # Cirq takes no integers but Python's own.
    seed = int(seed) if isinstance(seed, Integral) else seed
    random_state = cirq.value.parse_random_state(seed)
    # Calls may come from many threads at once, which a generator function would refuse.
    draws: Iterator[int] = iter(lambda: int(random_state.randint(2**31)), None)
    if isinstance(seed, int):
        draws = itertools.repeat(seed)
    return zip(draws, itertools.count(), strict=False)
