"""Checks of a sampler's options and of its calls, before anything is translated."""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from numbers import Complex, Integral, Real
from typing import Any

import cirq
import numpy as np
import sympy

from cirq_azure_sessions.errors import UnsupportedProgram
from cirq_azure_sessions.formats.expressions import evaluate, plain_columns
from cirq_azure_sessions.formats.gate_numbers import NotFinite, check_numbers, is_finite
from cirq_azure_sessions.formats.layout import MAX_REPETITIONS
from cirq_azure_sessions.formats.open_gates import PACKAGE, with_open_gates
from cirq_azure_sessions.options import shown
from cirq_azure_sessions.spelling import counted

__all__ = ["as_resolvers", "as_seeds", "as_sweeps", "check_call"]


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
            f"{name} must be a cirq.Sweep, a mapping of symbols to numbers, or a list of these, "
            f"not {shown(params)}."
        ) from error
    resolvers = [resolver for sweep in sweeps for resolver in sweep]
    if len(resolvers) < min_points:
        raise ValueError(
            f"{name} has {counted(len(resolvers), 'point')}: give at least {min_points}."
        )
    return resolvers


def as_sweeps(name: str, params: Any) -> cirq.Sweepable:
    """The same points as one sweep if they have the same keys, since Cirq runs several in turn.

    Raises:
        TypeError, ValueError: If it is none.
    """
    points = as_resolvers(name, params)
    keys = {frozenset(map(str, point.param_dict)) for point in points}
    return cirq.ListSweep(points) if len(keys) == 1 else points


def check_call(
    program: Any, resolvers: Sequence[cirq.ParamResolver], repetitions: Any
) -> tuple[cirq.AbstractCircuit, int]:
    """Refuses what no target could run, with the types of error that Cirq has for it.

    Returns:
        The circuit, and the repetitions as a plain integer.

    Raises:
        ValueError: If the repetitions are not a number of 0 or more.
        TypeError: If the repetitions, the program or a parameter have a wrong type.
        UnsupportedProgram: If the circuit measures nothing or a key in two sizes, has conditions on
            what is not measured before, has symbols without a value, or has or is given numbers
            that are not finite and real.
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
    parts: dict[int, cirq.Gate | cirq.Operation] = {}
    for operation in program.all_operations():
        if type(operation) is not cirq.GateOperation:
            operation = operation.without_classical_controls().untagged
        part = operation if operation.gate is None else operation.gate
        parts[id(part)] = part
    for part in parts.values():
        if type(part) is not cirq.MeasurementGate:
            check_numbers(part)
    # Gates of cirq_ionq hold symbols without telling Cirq; subcircuits may have some of them.
    if any(
        isinstance(part, cirq.CircuitOperation) or type(part).__module__.startswith(PACKAGE)
        for part in parts.values()
    ):
        program = with_open_gates(program)
    if cirq.is_parameterized(program):
        _check_points(program, resolvers)
    _check_open_parts(program, [*parts.values()], resolvers)
    return program, count


def _check_points(program: cirq.AbstractCircuit, resolvers: Sequence[cirq.ParamResolver]) -> None:
    """Refuses points at which a symbol or formula has no finite and real value."""
    formulas = _unproven(_formulas(program), resolvers)
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
                    check_numbers(operation.without_classical_controls().untagged)
            except TypeError as reason:
                raise TypeError(str(error)) from reason
            except (ArithmeticError, ValueError, LookupError, RecursionError):
                raise error from None


def _check_open_parts(
    program: cirq.AbstractCircuit,
    parts: Sequence[cirq.Gate | cirq.Operation],
    resolvers: Sequence[cirq.ParamResolver],
) -> None:
    """Refuses values that Cirq cannot resolve subcircuits and phases with, and mismatched keys."""
    loops = [
        part
        for part in parts
        if isinstance(part, cirq.CircuitOperation) and cirq.is_parameterized(part.repetitions)
    ]
    phases = [part for part in parts if isinstance(part, cirq.GlobalPhaseGate)]
    for index, resolver in enumerate(resolvers if loops or phases else ()):
        for part in [*loops, *phases]:
            fixed: Any
            try:
                fixed = cirq.resolve_parameters(part, resolver)
            except ValueError as error:
                raise UnsupportedProgram(
                    f"Point {index} of the sweep does not fit {shown(part)}: {error}"
                ) from error
            if part in loops and cirq.is_parameterized(fixed.repetitions):
                raise UnsupportedProgram(
                    f"Cirq does not evaluate {fixed.repetitions} in a circuit without parameters: "
                    f"write int(...) for the repetitions of {shown(part)}."
                )
        if loops:
            _check_keys(cirq.resolve_parameters(program, resolver))
    if not loops:
        _check_keys(program)


def _check_keys(program: cirq.AbstractCircuit) -> None:
    """Refuses a key that is measured in two sizes, and conditions on what is not measured yet."""
    # The sizes of each key's records so far; None for those of channels, which have no size.
    records: dict[cirq.MeasurementKey, list[int | None]] = {}
    for operation in _with_keys(program):
        for condition in operation.classical_controls:
            _check_condition(condition, operation, records)
        for key in cirq.control_keys(operation) - records.keys():
            raise UnsupportedProgram(
                f"{shown(operation)} depends on key {str(key)!r} before it is measured; "
                "measure it in an earlier moment."
            )
        gate, size = operation.gate, None
        if isinstance(gate, cirq.MeasurementGate | cirq.PauliMeasurementGate):
            size = len(operation.qubits) if isinstance(gate, cirq.MeasurementGate) else 1
        for key in cirq.measurement_key_objs(operation):
            records.setdefault(key, []).append(size)
            if records[key][0] != size:
                raise UnsupportedProgram(
                    f"The measurement key {key} is used for measurements of different sizes: "
                    "use a separate key for each size."
                )


def _check_condition(
    condition: cirq.Condition,
    operation: cirq.Operation,
    records: Mapping[cirq.MeasurementKey, Sequence[int | None]],
) -> None:
    """Refuses a condition on a record, or on a bit of one, that does not exist."""
    index = getattr(condition, "index", -1)
    for key in condition.keys:
        if key in records and not -len(records[key]) <= index < len(records[key]):
            raise UnsupportedProgram(
                f"The condition {shown(condition)} reads a record of key {str(key)!r} that is "
                "not measured before it; use a smaller index."
            )
    for bit in getattr(condition, "expr", sympy.Integer(0)).atoms(sympy.Indexed):
        key = cirq.MeasurementKey.parse_serialized(bit.base.name)
        size = records[key][-1] if key in records else None
        if size is not None and bit.indices[0].is_Integer and not -size <= bit.indices[0] < size:
            raise UnsupportedProgram(
                f"{shown(operation)} depends on {bit}, and key {str(key)!r} measures {size} "
                "qubits; use a smaller index."
            )


def _with_keys(circuit: cirq.AbstractCircuit) -> Iterator[cirq.Operation]:
    """The operations that measure or read keys, in order, those of subcircuits included."""
    for operation in circuit.all_operations():
        # Asking Cirq takes longer than all else, and most gates are of a few of its classes.
        if type(operation) is cirq.GateOperation and (
            _never_measures(type(operation.gate)) or not cirq.is_measurement(operation)
        ):
            continue
        plain = operation.untagged
        if (
            isinstance(plain, cirq.CircuitOperation)
            and cirq.is_measurement(plain)
            and isinstance(plain.repetitions, int | np.integer)
            and plain.repeat_until is None
        ):
            yield from _with_keys(plain.mapped_circuit())
        else:
            yield operation


@functools.cache
def _never_measures(kind: type[cirq.Gate]) -> bool:
    return kind.__module__.startswith("cirq.") and issubclass(kind, cirq.EigenGate)


class _Recorder(cirq.ParamResolver):
    """Records each formula that it evaluates."""

    def __init__(self, param_dict: Any) -> None:
        # Cirq initializes a resolver again whenever it is passed on.
        if not hasattr(self, "formulas"):
            super().__init__(param_dict)
            self.formulas: dict[str | sympy.Basic, None] = {}

    def value_of(self, value: Any, recursive: bool = True) -> Any:
        if isinstance(value, str | sympy.Basic):
            self.formulas[value] = None
            # Whatever takes a number takes this one, the repetitions of a subcircuit included.
            return 1
        return value


def _formulas(program: cirq.AbstractCircuit) -> list[Any]:
    """Every symbol and formula of the circuit's gates, once each."""
    names = cirq.parameter_names(program)
    # Cirq does not ask an empty resolver for anything.
    recorder = _Recorder({"": 1})
    # Most operations share a gate with others, and have no parameters beside its own.
    parts = [op.gate if type(op) is cirq.GateOperation else op for op in program.all_operations()]
    distinct = {id(part): part for part in parts}.values()
    for part in {*filter(cirq.is_parameterized, distinct)}:
        cirq.resolve_parameters(part, recorder)
    seen = {
        str(symbol)
        for formula in recorder.formulas
        for symbol in getattr(formula, "free_symbols", [formula])
    }
    # Symbols in subcircuits need a value too.
    return [*recorder.formulas, *map(sympy.Symbol, sorted(names - seen))]


def _unproven(formulas: Sequence[Any], resolvers: Sequence[cirq.ParamResolver]) -> list[Any]:
    """The formulas that are not plainly finite when evaluated for all points at once."""
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
            # Cirq evaluates nothing for a resolver without values.
            value = resolver.value_of(formula) if resolver else formula
    except (ArithmeticError, ValueError) as error:
        raise UnsupportedProgram(
            f"Point {index} of the sweep gives {formula} no value: {error}."
        ) from error
    if isinstance(value, str | sympy.Basic):
        missing = sorted(map(str, getattr(value, "free_symbols", [value])))
        if not missing:
            raise UnsupportedProgram(
                f"Cirq does not evaluate {formula} in a circuit without parameters: "
                "write float(...)."
            )
        raise UnsupportedProgram(
            f"Point {index} of the sweep leaves {', '.join(missing) or formula} without a value: "
            "give every symbol of the circuit a value in the parameters."
        )
    words = f"Point {index} of the sweep gives {formula} the value {value}: "
    if isinstance(value, Real):
        if is_finite(value):
            return
        raise NotFinite(words + "give it a finite real number.")
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
