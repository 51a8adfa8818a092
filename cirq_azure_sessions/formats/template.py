"""Program templates, with holes for the numbers of a sweep point.

A gate such as `cirq.rx(theta)` has the same form at every point except for a number, so its text is
split once and the number is inserted. At special values (multiples of an eighth of a turn) a format
may write another gate, or none; and some parametrised gates cannot be compiled to the target's
gates without their values. Such an operation is resolved, compiled and written at each point.
Either way the text is that of the resolved circuit.
"""

from __future__ import annotations

import abc
import functools
import itertools
import operator
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import cirq
import numpy as np
import sympy

from cirq_azure_sessions.errors import UnsupportedProgram
from cirq_azure_sessions.formats.compile import ROTATIONS, Compiler
from cirq_azure_sessions.formats.expressions import Floats, evaluate, values_at
from cirq_azure_sessions.formats.gate_numbers import with_plain_numbers
from cirq_azure_sessions.formats.layout import Layout
from cirq_azure_sessions.formats.program import Program, Step, shown
from cirq_azure_sessions.formats.translation import JobInput, TranslationOptions

__all__ = ["Template"]

# A generic exponent, at which no gate is special.
_PROBE = 0.1234567890123

# An exponent this close to a multiple of a quarter is written by the format. This is far more than
# the rounding tolerance of formats, and far less than a step of a sweep.
_ROUND = 1e-6

# The bound of cirq.drop_negligible_operations.
_NEGLIGIBLE = 1e-8


@dataclass(frozen=True, slots=True)
class _Hole:
    """A rotation whose exponent depends on the point.

    Attributes:
        probe: The rotation with a generic exponent.
        column: The index of its exponent among those of a point.
        parts: Its text, split at the angle.
    """

    probe: Step
    column: int
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _OpenStep:
    """A parametrised step, and the unparametrised ones before it.

    Attributes:
        before: The texts of the steps before it.
        step: The step, as in the circuit.
        columns: The indices of its gate's parameters among those of a point.
        holes: The rotations that it consists of; None if they depend on the values.
    """

    before: tuple[str, ...]
    step: Step
    columns: tuple[int, ...] = ()
    holes: tuple[_Hole, ...] | None = None


class Template(abc.ABC):
    """A program in a provider's language, compiled once for all points of a sweep.

    Each language is a subclass, which writes single operations and whole programs.

    Args:
        program: The flat circuit.
        options: The caller's options.

    Attributes:
        has_bit_per_qubit: Whether the result has a bit for each qubit, in the order of the qubits.
        compiler: The compiler to the language's gates.
        program: The flat circuit.
        dialect: The property that all circuits of one program must share, such as a gateset.
        draft: A job of any point, without its program; its layout has no point.

    Raises:
        UnsupportedProgram: If a step without parameters cannot be compiled.
    """

    has_bit_per_qubit: ClassVar[bool] = False
    compiler: Compiler
    dialect: str = ""

    def __init__(self, program: Program, options: TranslationOptions) -> None:
        self.program = program
        layout = Layout(
            target=options.target,
            repetitions=0,
            measurements=program.measurements,
            num_bits=program.num_bits,
            samples_at_end=program.samples_at_end,
        )
        metadata = {"qubits": str(program.num_qubits), "bits": str(program.num_bits)}
        # Steps after the last measurement change no result. A program without measurements measures
        # all qubits at its end.
        measured = [k for k, step in enumerate(program.steps) if step.bit is not None]
        until = max(measured, default=None)
        has_waits = any(_waits(step.gate) for step in program.steps[:until])
        self.draft = JobInput(range(0), b"", {}, metadata, layout, has_waits)
        self._target = options.target
        self._compile = options.compile
        # For each parameter of a job, in the order of blocks, the block whose point has its value,
        # its expression, and the gate's conversion of the value; for each exponent an expression of
        # some of these parameters.
        self._parameters: dict[tuple[int, sympy.Basic, _Keeping], int] = {}
        self._exponents: list[tuple[sympy.Basic, dict[sympy.Basic, int]]] = []
        self._open: list[_OpenStep] = []
        texts: list[str] = []
        for step in program.steps:
            if cirq.is_parameterized(step.gate):
                self._open.append(self._opened(tuple(texts), step))
                texts = []
            else:
                texts += self._written(step)
        self._after = tuple(texts)

    @abc.abstractmethod
    def write(self, step: Step) -> str:
        """The text of a step without unresolved parameters, in gates that the language has."""

    def operations(self, gate: cirq.Gate, qubits: Sequence[cirq.Qid]) -> Sequence[cirq.Operation]:
        """The operations in the text of a gate that the language has, one per statement."""
        return [gate.on(*qubits)]

    @abc.abstractmethod
    def angle(self, half_turns: float) -> str:
        """A rotation's angle, as `write` writes it."""

    @abc.abstractmethod
    def payload(self, operations: Sequence[str]) -> bytes:
        """The whole program, given the texts of its operations."""

    def fill(self, jobs: Sequence[Sequence[cirq.ParamResolver]]) -> Callable[[int], JobInput]:
        """The draft with the program of each job, by the job's index.

        Args:
            jobs: The parameters of each job: of the one point of a sweep, or of each of a pack.

        Raises:
            UnsupportedProgram: If a parameter has no finite real value at a point, or an operation
                cannot be compiled with it.
        """
        if not self._open:
            payload = self.payload([text for text in self._after if text])
            draft = replace(self.draft, payload=payload)
            return lambda job: draft
        columns: list[Floats] = []
        for block, group in itertools.groupby(self._parameters, operator.itemgetter(0)):
            _, expressions, keepings = zip(*group, strict=True)
            values = values_at(expressions, [resolvers[block] for resolvers in jobs])
            columns += [kept(column) for kept, column in zip(keepings, values, strict=True)]
        parameters = _table(columns, len(jobs))
        exponents = _table(
            [
                evaluate(expression, {symbol: columns[k] for symbol, k in names.items()})
                for expression, names in self._exponents
            ],
            len(jobs),
        )

        # Jobs that share the repetitions of a point are requested consecutively, and share its
        # program.
        @functools.lru_cache(maxsize=1)
        def filled(job: int) -> JobInput:
            is_special = _is_round(parameters[job])
            is_round = _is_round(exponents[job])
            turns = exponents[job].tolist()
            texts: list[str] = []
            for step in self._open:
                texts += step.before
                if step.holes is None or any(is_special[column] for column in step.columns):
                    texts += self._resolved(step.step, jobs[job][step.step.block])
                    continue
                for hole in step.holes:
                    turn = turns[hole.column]
                    if is_round[hole.column]:
                        # Rotations have an exponent, which the type cirq.Gate does not declare.
                        gate = type(hole.probe.gate)(exponent=turn)  # type: ignore[call-arg]
                        texts += self._written(replace(hole.probe, gate=gate))
                    else:
                        texts.append(self.angle(turn).join(hole.parts))
            texts += self._after
            return replace(self.draft, payload=self.payload([text for text in texts if text]))

        filled(0)  # what can still go wrong with the program as a whole, goes wrong now
        if all(step.holes is not None for step in self._open):
            return filled
        # Compiling at a point may fail, so all jobs are filled now.
        stored = [zlib.compress(filled(job).payload, 1) for job in range(len(jobs))]
        return functools.lru_cache(maxsize=1)(
            lambda job: replace(self.draft, payload=zlib.decompress(stored[job]))
        )

    def taken(self, step: Step) -> Iterator[Step]:
        """A step without unresolved parameters, as steps that the language can write."""
        gate = step.gate
        if step.bit is not None or step.is_reset:
            yield step
        elif self.compiler.takes(gate):
            if not self._compile or cirq.trace_distance_bound(gate) > _NEGLIGIBLE:
                yield step
        elif not self._compile:
            raise UnsupportedProgram(
                f"{self._target} does not accept {shown(step.source)} unchanged; use "
                "compile=True, or write the circuit in the target's own gates."
            )
        else:
            for part in self.compiler.parts(step, self._target):
                yield from self.taken(part)

    def _written(self, step: Step) -> Iterator[str]:
        """The texts of a step without unresolved parameters."""
        return map(self.write, self.taken(step))

    def _resolved(self, step: Step, resolver: cirq.ParamResolver) -> Iterator[str]:
        """The texts of a parametrised step at a point."""
        try:
            gate = cirq.resolve_parameters(step.gate, resolver)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise UnsupportedProgram(
                f"{shown(step.source)} does not accept these parameters; use finite real numbers."
            ) from error
        return self._written(replace(step, gate=with_plain_numbers(gate)))

    def _opened(self, before: tuple[str, ...], step: Step) -> _OpenStep:
        """Decomposes a parametrised step into rotations, if that is possible in advance."""
        # Each number of the gate becomes one symbol, so that its parts are simple expressions,
        # computed in the same order with symbols as with numbers.
        gate, meanings = cirq.flatten(step.gate)
        rotations = self.compiler.rotations(replace(step, gate=gate), decompose=self._compile)
        # A number with two roles needs two columns.
        is_ambiguous = (
            isinstance(gate, cirq.PhasedXPowGate) and gate.phase_exponent == gate.exponent
        )
        if rotations is None or is_ambiguous:
            return _OpenStep(before, step)
        names = {
            symbol: self._parameters.setdefault(
                (step.block, expression, _keeping(gate, symbol)), len(self._parameters)
            )
            for expression, symbol in meanings.items()
        }
        holes = []
        for rotation in rotations:
            assert isinstance(rotation.gate, cirq.EigenGate)
            kind = next(kind for kind in ROTATIONS if isinstance(rotation.gate, kind))
            probe = replace(rotation, gate=kind(exponent=_PROBE))
            parts = self.write(probe).split(self.angle(_PROBE))
            holes.append(_Hole(probe, len(self._exponents), tuple(parts)))
            self._exponents.append((sympy.sympify(rotation.gate.exponent), names))
        return _OpenStep(before, step, tuple(names.values()), tuple(holes))


def _waits(gate: cirq.Gate | None) -> bool:
    """Whether a gate only waits, or contains a wait."""
    if isinstance(gate, cirq.WaitGate):
        return bool(gate.duration)
    if inner := getattr(gate, "sub_gate", None):
        return _waits(inner)
    if gate is None or type(gate).__module__.startswith("cirq"):
        return False
    parts = cirq.decompose_once(gate.on(*cirq.LineQid.for_gate(gate)), default=())
    return any(_waits(part.gate) for part in parts)


_Keeping = Callable[[Floats], Floats]


def _keeping(gate: cirq.Gate, symbol: sympy.Basic) -> _Keeping:
    """The value that a gate's constructor makes of a resolved parameter."""
    if isinstance(gate, cirq.Rx | cirq.Ry | cirq.Rz):
        return _as_angle
    if isinstance(gate, cirq.PhasedXPowGate) and symbol == gate.phase_exponent:
        return _as_phase
    return _as_it_is


def _as_it_is(exponents: Floats) -> Floats:
    return exponents


def _as_angle(exponents: Floats) -> Floats:
    # An exponent becomes an angle and an exponent again, with a different last digit.
    return exponents * np.pi / np.pi


def _as_phase(exponents: Floats) -> Floats:
    # As cirq.canonicalize_half_turns.
    turns = exponents % 2
    return np.where(turns > 1, turns - 2, turns)


def _table(columns: Sequence[Floats | float], points: int) -> Floats:
    """The columns side by side, with one row per point."""
    table = np.empty((points, len(columns)))
    for k, column in enumerate(columns):
        table[:, k] = column
    return table


def _is_round(exponents: Floats) -> list[bool]:
    quarters = 4 * exponents
    is_round: list[bool] = (np.abs(quarters - np.rint(quarters)) < 4 * _ROUND).tolist()
    return is_round
