"""A program's text with holes for the numbers of a sweep point.

A gate such as `cirq.rx(theta)` keeps its form at every point but for one number, so its text is
cut in two once and the number put between. At a few round values (a quarter turn and its
multiples) a format may write another gate, or none; and a parametrised gate may not be one that
the target takes. Such an operation is resolved, compiled and written at the point.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cirq
import numpy as np
import numpy.typing as npt

from cirq_azure_sessions.errors import UnsupportedProgram
from cirq_azure_sessions.formats.compile import Compiler
from cirq_azure_sessions.formats.program import Step

__all__ = ["Dialect", "Template"]

# Gates of one number, which every provider writes as an angle in radians.
_ROTATIONS = (
    cirq.XPowGate,
    cirq.YPowGate,
    cirq.ZPowGate,
    cirq.XXPowGate,
    cirq.YYPowGate,
    cirq.ZZPowGate,
)

# An exponent that no gate is special at.
_PROBE = 0.1234567890123

# Within this of a multiple of a quarter turn, an exponent is left to the format to write. It is
# far wider than the tolerance with which formats round, and far narrower than a step of a sweep.
_ROUND = 1e-6


class Dialect(Protocol):
    """How a format writes single operations."""

    def takes(self, gate: cirq.Gate) -> bool:
        """Whether `write` can write the gate, open parameters or not."""

    def write(self, step: Step) -> str:
        """The text of a step without open parameters, in gates that the dialect takes."""

    def angle(self, half_turns: float) -> str:
        """A rotation's angle, as `write` writes it."""


@dataclass(frozen=True, slots=True)
class _Hole:
    """A rotation whose exponent the point decides."""

    step: Step
    exponent: int  # the index of its expression
    parts: tuple[str, ...]  # the text, cut where the angle stands

    @property
    def is_measured_in_radians(self) -> bool:
        # cirq.Rx, Ry and Rz keep an angle; a resolved exponent passes through it, and comes out
        # with another last digit.
        return isinstance(self.step.gate, cirq.Rx | cirq.Ry | cirq.Rz)


class Template:
    """A program compiled once for all points of a sweep.

    Args:
        steps: The flat circuit.
        dialect: How to write it.
        compiler: How to bring it into gates that the dialect takes.

    Raises:
        UnsupportedProgram: If a step without parameters cannot be compiled.
    """

    def __init__(self, steps: Sequence[Step], dialect: Dialect, compiler: Compiler) -> None:
        self._dialect = dialect
        self._compiler = compiler
        self._expressions: dict[object, int] = {}
        self._pieces: list[str | _Hole | Step] = []
        for step in steps:
            self._pieces.extend(self._pieces_of(step))

    @property
    def is_filled_by_numbers(self) -> bool:
        """Whether a point needs nothing but its numbers."""
        return not any(isinstance(piece, Step) for piece in self._pieces)

    def numbers(self, resolver: cirq.ParamResolver) -> npt.NDArray[np.float64]:
        """The exponents of the template's rotations at a point.

        Raises:
            UnsupportedProgram: If one has no value, or none that is a finite number.
        """
        return np.array([_number(resolver, e) for e in self._expressions], dtype=np.float64)

    def fill(self, numbers: Sequence[float], resolver: cirq.ParamResolver) -> list[str]:
        """The texts of all operations at a point, in order.

        Raises:
            UnsupportedProgram: If an operation cannot be compiled with the point's values.
        """
        texts: list[str] = []
        for piece in self._pieces:
            if isinstance(piece, str):
                texts.append(piece)
            elif isinstance(piece, Step):
                texts.extend(self._late(piece, resolver))
            else:
                texts.extend(self._filled(piece, numbers[piece.exponent], resolver))
        return texts

    def _pieces_of(self, step: Step) -> list[str | _Hole | Step]:
        if not cirq.is_parameterized(step.gate):
            return [*self._texts(step)]
        gate = step.gate
        if not (isinstance(gate, _ROTATIONS) and self._dialect.takes(gate)):
            return [step]
        kind = next(kind for kind in _ROTATIONS if isinstance(gate, kind))
        probe = Step(kind(exponent=_PROBE), step.qubits, condition=step.condition)
        parts = self._dialect.write(probe).split(self._dialect.angle(_PROBE))
        index = self._expressions.setdefault(gate.exponent, len(self._expressions))
        return [_Hole(step, index, tuple(parts))]

    def _texts(self, step: Step) -> list[str]:
        return [self._dialect.write(simple) for simple in self._compiler.compile(step)]

    def _late(self, step: Step, resolver: cirq.ParamResolver) -> list[str]:
        try:
            gate = cirq.resolve_parameters(step.gate, resolver)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise UnsupportedProgram(
                f"{step.source!r} takes no such parameters; give it finite real numbers."
            ) from error
        return self._texts(Step(gate, step.qubits, condition=step.condition, source=step.source))

    def _filled(self, hole: _Hole, exponent: float, resolver: cirq.ParamResolver) -> list[str]:
        quarters = 4 * exponent
        if abs(quarters - round(quarters)) < 4 * _ROUND:
            return self._late(hole.step, resolver)
        if hole.is_measured_in_radians:
            exponent = exponent * math.pi / math.pi
        return [self._dialect.angle(exponent).join(hole.parts)]


def _number(resolver: cirq.ParamResolver, expression: object) -> float:
    value = resolver.value_of(expression)
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise UnsupportedProgram(
            f"The parameter {expression} has no value that is a real number; give it one."
        ) from error
    if not math.isfinite(number):
        raise UnsupportedProgram(f"The parameter {expression} is {number}; give it a finite value.")
    return number
