"""A program's text with holes for the numbers of a sweep point.

A gate such as `cirq.rx(theta)` keeps its form at every point but for a number, so its text is cut
in two once and the number is put between. At a few round values (a quarter of a half turn and its
multiples) a format may write another gate, or none; and a parametrised gate may not be one that
can be brought into the target's gates without knowing its numbers. Such an operation is resolved,
compiled and written at the point. Either way the text is the one that the resolved circuit has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import cirq
import numpy as np
import sympy

from cirq_azure_sessions.errors import UnsupportedProgram
from cirq_azure_sessions.formats.compile import ROTATIONS, Compiler
from cirq_azure_sessions.formats.expressions import Floats, evaluate, values_at
from cirq_azure_sessions.formats.program import Step, shown

__all__ = ["Dialect", "Template"]

# An exponent that no gate is special at.
_PROBE = 0.1234567890123

# Within this of a multiple of a quarter, an exponent is left to the format to write. It is far
# wider than the tolerance with which formats round, and far narrower than a step of a sweep.
_ROUND = 1e-6


class Dialect(Protocol):
    """How a format writes single operations."""

    def write(self, step: Step) -> str:
        """The text of a step without open parameters, in gates that the format takes."""

    def angle(self, half_turns: float) -> str:
        """A rotation's angle, as `write` writes it."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of a template's parametrised steps, at all points of a sweep.

    Attributes:
        parameters: What the gates are given, in an array with a row a point.
        exponents: The exponents of the rotations that the gates are made of, likewise.
    """

    parameters: Floats
    exponents: Floats


@dataclass(frozen=True, slots=True)
class _Hole:
    """A rotation whose exponent the point decides.

    Attributes:
        probe: The rotation with some exponent.
        column: Where its own stands in `Numbers.exponents`.
        parts: Its text, cut where the angle stands.
    """

    probe: Step
    column: int
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _OpenStep:
    """A parametrised step, after some that are not.

    Attributes:
        before: The texts of the steps before it.
        step: The step, as the circuit has it.
        columns: Where what its gate is given stands in `Numbers.parameters`.
        holes: The rotations that it is made of; None if that depends on the numbers.
    """

    before: tuple[str, ...]
    step: Step
    columns: tuple[int, ...] = ()
    holes: tuple[_Hole, ...] | None = None


class Template:
    """A program compiled once for all points of a sweep.

    Args:
        steps: The flat circuit.
        dialect: How to write it.
        compiler: How to bring it into gates that the dialect writes.

    Raises:
        UnsupportedProgram: If a step without parameters cannot be compiled.
    """

    def __init__(self, steps: Sequence[Step], dialect: Dialect, compiler: Compiler) -> None:
        self._dialect = dialect
        self._compiler = compiler
        # For each column of `Numbers.parameters` an expression, and what becomes of its value in
        # the gate; for each of `Numbers.exponents` an expression of some of those columns.
        self._parameters: dict[tuple[sympy.Basic, _Keeping], int] = {}
        self._exponents: list[tuple[sympy.Basic, dict[sympy.Basic, int]]] = []
        self._open: list[_OpenStep] = []
        texts: list[str] = []
        for step in steps:
            if cirq.is_parameterized(step.gate):
                self._open.append(self._opened(tuple(texts), step))
                texts = []
            else:
                texts += self._written(step)
        self._after = tuple(texts)

    @property
    def is_filled_by_numbers(self) -> bool:
        """Whether a point needs nothing but its numbers, save at round values."""
        return all(step.holes is not None for step in self._open)

    def numbers(self, resolvers: Sequence[cirq.ParamResolver]) -> Numbers:
        """The numbers of the parametrised steps at every point.

        Raises:
            UnsupportedProgram: If one has no value, or none that is a finite real number.
        """
        values = values_at([expression for expression, _ in self._parameters], resolvers)
        columns = [kept(column) for (_, kept), column in zip(self._parameters, values, strict=True)]
        exponents = [
            evaluate(expression, {symbol: columns[k] for symbol, k in names.items()})
            for expression, names in self._exponents
        ]
        return Numbers(_table(columns, len(resolvers)), _table(exponents, len(resolvers)))

    def fill(self, numbers: Numbers, point: int, resolver: cirq.ParamResolver) -> list[str]:
        """The texts of all operations at a point, in order; some may be empty.

        Args:
            numbers: What `numbers` gave for the sweep.
            point: The point's index in it.
            resolver: The point.

        Raises:
            UnsupportedProgram: If an operation cannot be compiled with the point's values.
        """
        is_round = _is_round(numbers.parameters[point])
        exponents = numbers.exponents[point]
        filled = self._filled(exponents.tolist(), _is_round(exponents))
        texts: list[str] = []
        for step in self._open:
            texts += step.before
            if step.holes is None or any(is_round[column] for column in step.columns):
                texts += self._late(step.step, resolver)
            else:
                texts += [filled(hole) for hole in step.holes]
        texts += self._after
        return texts

    def _opened(self, before: tuple[str, ...], step: Step) -> _OpenStep:
        """Takes a parametrised step apart into rotations, if that can be done in advance."""
        # Each number of the gate becomes one symbol, so that its parts are simple expressions,
        # worked out in the same order with symbols as with numbers.
        gate, meanings = cirq.flatten(step.gate)
        rotations = self._compiler.rotations(replace(step, gate=gate))
        if rotations is None or _has_a_number_in_two_roles(gate):
            return _OpenStep(before, step)
        names = {
            symbol: self._parameters.setdefault(
                (expression, _keeping(gate, symbol)), len(self._parameters)
            )
            for expression, symbol in meanings.items()
        }
        holes = tuple(self._hole(rotation, names) for rotation in rotations)
        return _OpenStep(before, step, tuple(names.values()), holes)

    def _hole(self, rotation: Step, names: dict[sympy.Basic, int]) -> _Hole:
        gate = rotation.gate
        assert isinstance(gate, cirq.EigenGate)
        kind = next(kind for kind in ROTATIONS if isinstance(gate, kind))
        self._exponents.append((sympy.sympify(gate.exponent), names))
        probe = replace(rotation, gate=kind(exponent=_PROBE))
        parts = self._dialect.write(probe).split(self._dialect.angle(_PROBE))
        return _Hole(probe, len(self._exponents) - 1, tuple(parts))

    def _filled(self, exponents: list[float], is_round: list[bool]) -> Callable[[_Hole], str]:
        def filled(hole: _Hole) -> str:
            exponent = exponents[hole.column]
            if is_round[hole.column]:
                # Each of ROTATIONS takes an exponent, which the type cirq.Gate does not tell.
                gate = type(hole.probe.gate)(exponent=exponent)  # type: ignore[call-arg]
                return "".join(self._written(replace(hole.probe, gate=gate)))
            return self._dialect.angle(exponent).join(hole.parts)

        return filled

    def _late(self, step: Step, resolver: cirq.ParamResolver) -> Iterator[str]:
        try:
            gate = cirq.resolve_parameters(step.gate, resolver)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise UnsupportedProgram(
                f"{shown(step.source)} takes no such parameters; give it finite real numbers."
            ) from error
        return self._written(replace(step, gate=gate))

    def _written(self, step: Step) -> Iterator[str]:
        return (self._dialect.write(simple) for simple in self._compiler.compile(step))


_Keeping = Callable[[Floats], Floats]


def _keeping(gate: cirq.Gate, symbol: sympy.Basic) -> _Keeping:
    """What a gate's constructor makes of a value that is resolved into it."""
    if isinstance(gate, cirq.Rx | cirq.Ry | cirq.Rz):
        return _as_angle
    if isinstance(gate, cirq.PhasedXPowGate) and symbol == gate.phase_exponent:
        return _as_phase
    return _as_it_is


def _as_it_is(exponents: Floats) -> Floats:
    return exponents


def _as_angle(exponents: Floats) -> Floats:
    # An exponent becomes an angle and again an exponent, with another last digit.
    return exponents * np.pi / np.pi


def _as_phase(exponents: Floats) -> Floats:
    # As cirq.canonicalize_half_turns.
    turns = exponents % 2
    return np.where(turns > 1, turns - 2, turns)


def _has_a_number_in_two_roles(gate: cirq.Gate) -> bool:
    return isinstance(gate, cirq.PhasedXPowGate) and gate.phase_exponent == gate.exponent


def _table(columns: Sequence[Floats | float], points: int) -> Floats:
    table = np.empty((points, len(columns)))
    for k, column in enumerate(columns):
        table[:, k] = column
    return table


def _is_round(exponents: Floats) -> list[bool]:
    quarters = 4 * exponents
    is_round: list[bool] = (np.abs(quarters - np.rint(quarters)) < 4 * _ROUND).tolist()
    return is_round
