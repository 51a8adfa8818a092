"""A sweep as jobs: what the formats of all providers do alike."""

from __future__ import annotations

import functools
import secrets
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import cirq

from cirq_azure_sessions.errors import UnsupportedProgram
from cirq_azure_sessions.formats.layout import Layout, write_layout
from cirq_azure_sessions.formats.limits import shares
from cirq_azure_sessions.formats.program import Program, flatten, shown
from cirq_azure_sessions.formats.template import Template
from cirq_azure_sessions.formats.translation import JobInput, Translation, TranslationOptions

__all__ = ["Envelope", "Writer", "translate_sweep"]


@dataclass(frozen=True, slots=True)
class Envelope:
    """What goes with a program.

    Attributes:
        layout: What its result means; the point and its repetitions are left open.
        shots_names: Under which names Azure's `inputParams` carry the repetitions.
        input_params: What else they carry.
        metadata: What else the job's metadata carry.
    """

    layout: Layout
    shots_names: tuple[str, ...]
    input_params: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)

    def params_for(self, repetitions: int) -> dict[str, Any]:
        """Azure's `inputParams` for a job of so many repetitions."""
        return {**self.input_params, **dict.fromkeys(self.shots_names, repetitions)}


class Writer(Protocol):
    """A provider's way of writing one flat circuit."""

    @property
    def template(self) -> Template:
        """The circuit's operations as text, for any point."""

    @property
    def envelope(self) -> Envelope:
        """What goes with the program."""

    def payload(self, operations: Sequence[str]) -> bytes:
        """The whole program, given the texts of its operations."""


MakeWriter = Callable[[Program, TranslationOptions], Writer]

# A point's program, and what goes with it.
_Programs = Callable[[int], tuple[bytes, Envelope]]


class _SweepTranslation:
    """The jobs of a sweep: those of the first point, then those of the second, and so on."""

    def __init__(
        self,
        programs: _Programs,
        resolvers: Sequence[cirq.ParamResolver],
        repetitions: int,
        options: TranslationOptions,
    ) -> None:
        # The jobs of a point, which are asked for one after the other, share its program.
        self._program = functools.lru_cache(maxsize=1)(programs)
        self._resolvers = resolvers
        self._shares = shares(options.target, repetitions)
        self._entropy = options.seed if options.seed is not None else (secrets.randbits(128),)
        self._options = options

    def __len__(self) -> int:
        return len(self._resolvers) * len(self._shares)

    def points(self, index: int) -> range:
        point, _ = self._place(index)
        return range(point, point + 1)

    def _place(self, index: int) -> tuple[int, int]:
        """The point of a job, and which of the point's jobs it is."""
        return divmod(range(len(self))[index], len(self._shares))

    def job(self, index: int) -> JobInput:
        point, part = self._place(index)
        payload, envelope = self._program(point)
        layout = replace(
            envelope.layout,
            params=self._resolvers[point],
            point=point,
            part=part,
            repetitions=self._shares[part],
            entropy=self._entropy,
        )
        return JobInput(
            points=self.points(index),
            payload=payload,
            input_params={**envelope.params_for(layout.repetitions), **self._options.input_params},
            metadata={**envelope.metadata, **write_layout(layout)},
            layout=layout,
        )


def translate_sweep(
    circuit: cirq.AbstractCircuit,
    resolvers: Sequence[cirq.ParamResolver],
    repetitions: int,
    options: TranslationOptions,
    make_writer: MakeWriter,
) -> Translation:
    """Translates a sweep for a provider that takes one circuit a job.

    Args:
        circuit: The program.
        resolvers: Its points, at least one.
        repetitions: At least one.
        options: The caller's wishes.
        make_writer: The provider's way of writing a flat circuit.

    Raises:
        UnsupportedProgram: If any point cannot be run as it stands.
    """
    try:
        writer = make_writer(flatten(circuit, options.target), options)
    except UnsupportedProgram:
        # The parameters may decide the very shape of the circuit: how often a loop runs, say.
        if not cirq.is_parameterized(circuit):
            raise
        programs = _point_by_point(circuit, resolvers, options, make_writer)
    else:
        programs = _by_template(writer, resolvers)
    return _SweepTranslation(programs, resolvers, repetitions, options)


def _by_template(writer: Writer, resolvers: Sequence[cirq.ParamResolver]) -> _Programs:
    template, envelope = writer.template, writer.envelope
    numbers = template.numbers(resolvers)

    def payload(point: int) -> bytes:
        return writer.payload(template.fill(numbers, point, resolvers[point]))

    payload(0)  # what can still go wrong with the program as a whole, goes wrong now
    if template.is_filled_by_numbers:
        return lambda point: (payload(point), envelope)
    stored = [zlib.compress(payload(point), 1) for point in range(len(resolvers))]
    return lambda point: (zlib.decompress(stored[point]), envelope)


def _point_by_point(
    circuit: cirq.AbstractCircuit,
    resolvers: Sequence[cirq.ParamResolver],
    options: TranslationOptions,
    make_writer: MakeWriter,
) -> _Programs:
    stored: list[tuple[bytes, Envelope]] = []
    for resolver in resolvers:
        writer = make_writer(flatten(_resolved(circuit, resolver), options.target), options)
        payload, envelope = _by_template(writer, [cirq.ParamResolver()])(0)
        # Most points share all but their program.
        if stored and envelope == stored[-1][1]:
            envelope = stored[-1][1]
        stored.append((zlib.compress(payload, 1), envelope))
    return lambda point: (zlib.decompress(stored[point][0]), stored[point][1])


def _resolved(circuit: cirq.AbstractCircuit, resolver: cirq.ParamResolver) -> cirq.AbstractCircuit:
    try:
        return cirq.resolve_parameters(circuit, resolver)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise UnsupportedProgram(
            f"The circuit does not take {shown(resolver)}; give it finite real numbers."
        ) from error
