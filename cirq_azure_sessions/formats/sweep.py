"""A sweep as jobs: what the formats of all providers do alike."""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import cirq

from cirq_azure_sessions.errors import UnsupportedProgram
from cirq_azure_sessions.formats.layout import Layout, write_layout
from cirq_azure_sessions.formats.limits import shares
from cirq_azure_sessions.formats.program import Program, flatten
from cirq_azure_sessions.formats.template import Template
from cirq_azure_sessions.formats.translation import JobInput, Translation, TranslationOptions

__all__ = ["Writer", "translate_sweep"]


class Writer(Protocol):
    """A provider's way of writing one flat circuit.

    Attributes:
        template: The circuit's operations as text, for any point.
        layout: What the result means; the point is left open.
        metadata: What else a job should carry.
    """

    @property
    def template(self) -> Template: ...

    @property
    def layout(self) -> Layout: ...

    @property
    def metadata(self) -> Mapping[str, str]: ...

    def input_params(self, repetitions: int) -> Mapping[str, Any]:
        """Azure's `inputParams` for a job of so many repetitions."""

    def payload(self, operations: Sequence[str]) -> bytes:
        """The whole program, given the texts of its operations."""


MakeWriter = Callable[[Program, TranslationOptions], Writer]


class _Stored(NamedTuple):
    """A point translated in advance."""

    writer: Writer
    payload: bytes  # compressed


class _SweepTranslation:
    """The jobs of a sweep: those of the first point, then those of the second, and so on."""

    def __init__(
        self,
        payloads: _Payloads,
        resolvers: Sequence[cirq.ParamResolver],
        repetitions: int,
        options: TranslationOptions,
    ) -> None:
        self._payloads = payloads
        self._resolvers = resolvers
        self._shares = shares(options.target, repetitions)
        self._entropy = options.seed if options.seed is not None else (secrets.randbits(128),)
        self._options = options

    def __len__(self) -> int:
        return len(self._resolvers) * len(self._shares)

    def job(self, index: int) -> JobInput:
        point, part = divmod(range(len(self))[index], len(self._shares))
        writer, payload = self._payloads(point)
        layout = replace(
            writer.layout,
            params=self._resolvers[point],
            point=point,
            part=part,
            repetitions=self._shares[part],
            entropy=self._entropy,
        )
        return JobInput(
            points=range(point, point + 1),
            payload=payload,
            input_params={**writer.input_params(layout.repetitions), **self._options.input_params},
            metadata={**writer.metadata, **write_layout(layout)},
            layout=layout,
        )


_Payloads = Callable[[int], tuple[Writer, bytes]]


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
        payloads = _point_by_point(circuit, resolvers, options, make_writer)
    else:
        payloads = _by_template(writer, resolvers)
    return _SweepTranslation(payloads, resolvers, repetitions, options)


def _by_template(writer: Writer, resolvers: Sequence[cirq.ParamResolver]) -> _Payloads:
    template = writer.template
    numbers = template.numbers(resolvers)

    def payload(point: int) -> bytes:
        return writer.payload(template.fill(numbers, point, resolvers[point]))

    payload(0)  # what can still go wrong with the program as a whole, goes wrong now
    if template.is_filled_by_numbers:
        return lambda point: (writer, payload(point))
    stored = [zlib.compress(payload(point), 1) for point in range(len(resolvers))]
    return lambda point: (writer, zlib.decompress(stored[point]))


def _point_by_point(
    circuit: cirq.AbstractCircuit,
    resolvers: Sequence[cirq.ParamResolver],
    options: TranslationOptions,
    make_writer: MakeWriter,
) -> _Payloads:
    stored = [_stored(_resolved(circuit, r), options, make_writer) for r in resolvers]
    return lambda point: (stored[point].writer, zlib.decompress(stored[point].payload))


def _resolved(circuit: cirq.AbstractCircuit, resolver: cirq.ParamResolver) -> cirq.AbstractCircuit:
    try:
        return cirq.resolve_parameters(circuit, resolver)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise UnsupportedProgram(
            f"The circuit takes no such parameters as {resolver!r}; give it finite real numbers."
        ) from error


def _stored(
    circuit: cirq.AbstractCircuit, options: TranslationOptions, make_writer: MakeWriter
) -> _Stored:
    writer = make_writer(flatten(circuit, options.target), options)
    empty = cirq.ParamResolver()
    texts = writer.template.fill(writer.template.numbers([empty]), 0, empty)
    return _Stored(writer, zlib.compress(writer.payload(texts), 1))
