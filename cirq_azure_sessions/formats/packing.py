"""Packing: several points side by side on separate qubits of one job.

A pack is one program, in which each point has its own qubits and bits. It is compiled and written
like any other program. Its layout contains, for each point, the layout that the point would have in
a job of its own.
"""

from __future__ import annotations

import fnmatch
import functools
import itertools
import logging
import operator
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import cirq

from cirq_azure_sessions.errors import UnsupportedProgram
from cirq_azure_sessions.formats.layout import MAX_CHUNKS, Measurement, PackLayout, write_layout
from cirq_azure_sessions.formats.program import Program, Step, flatten
from cirq_azure_sessions.formats.translation import (
    Circuit,
    Format,
    JobInput,
    Pack,
    Part,
    Translation,
    TranslationOptions,
    split_repetitions,
)
from cirq_azure_sessions.options import shown
from cirq_azure_sessions.spelling import counted

__all__ = ["PackedTranslation", "as_pack", "translate_pack"]

logger = logging.getLogger(__name__)

# The number of qubits of machines, from Azure's pages on the providers
# (learn.microsoft.com/azure/quantum/provider-ionq and provider-quantinuum) as of `_READ`.
# Quantinuum's emulators of H2 have 56 for stabilizer circuits and 32 for others. The first row that
# matches applies.
_READ = "November 2026"
_NUM_QUBITS = {
    "ionq.qpu.aria-*": 25,
    "ionq.qpu.forte-*": 36,
    "quantinuum.*.h1-*": 20,
    "quantinuum.sim.h2-*e": 32,
    "quantinuum.*.h2-*": 56,
    "quantinuum.*.helios-*": 98,
}


# A point, numbered across all circuits, and a part of its repetitions.
Key = tuple[int, Part]


@dataclass(frozen=True, slots=True)
class _Point:
    """A point of a sweep, or of one of the circuits of a batch.

    Attributes:
        program: Its circuit, flattened.
        resolver: The values of its unresolved parameters.
        dialect: The property that all circuits of a job must share.
        sweep: The jobs of its sweep if each point had its own job.
        number: Its index in that sweep.
    """

    program: Program
    resolver: cirq.ParamResolver
    dialect: str
    sweep: Translation
    number: int


@dataclass(frozen=True, slots=True)
class PackedTranslation(Translation):
    """A sweep, or circuits of a batch, whose points share jobs.

    Attributes:
        pack: Makes the job for some points and one part of their repetitions.
        alone: Makes the job that a point would have on its own, for one part of its repetitions.
        spread: Makes new jobs for the parts that each point lacks.
        repetitions: The number of repetitions of each point.
        target: The target's id.
    """

    pack: Callable[[Sequence[int], Part], JobInput]
    alone: Callable[[int, Part], JobInput]
    spread: Callable[[Sequence[tuple[Part, ...]]], PackedTranslation]
    repetitions: Sequence[int]
    target: str

    is_packed: ClassVar[bool] = True

    def resumed(
        self,
        earlier: Sequence[tuple[Sequence[Key], Any]],
        missing: Sequence[tuple[Part, ...]],
        places: Sequence[tuple[str, int]],
    ) -> PackedTranslation:
        """The jobs of earlier runs, then new ones for everything that is missing.

        Args:
            earlier: For each job, its points and parts, and its entry in the journal.
            missing: The parts that each point lacks.
            places: The place of each point in the journal.
        """
        rest = self.spread(missing)
        jobs = [(tuple(point for point, _ in keys), keys[0][1]) for keys, _ in earlier]
        entries = {job: entry for job, (_, entry) in zip(jobs, earlier, strict=True)}

        def make(points: Sequence[int], part: Part) -> JobInput:
            entry = entries.get((tuple(points), part))
            own = tuple((*places[point], part[0]) for point in points)
            return replace(self.pack(points, part), places=own, entry=entry)

        # The remaining repetitions of a point are priced job by job.
        each = 1 if earlier else rest.jobs_each
        same = rest.pack, rest.alone, rest.spread, rest.repetitions, rest.target
        return PackedTranslation([*jobs, *rest._jobs], each, make, *same)

    def alone_jobs(self) -> Iterator[tuple[Key, JobInput]]:
        """The jobs if each point had its own job, by point and part."""
        for points, part in self._jobs:
            for point in points:
                yield (point, part), self.alone(point, part)


def as_pack(pack: Any, job_format: Format, target: str) -> Pack | None:
    """The number of points per job, or their qubits; None for one point per job.

    Raises:
        ValueError: If `pack` is not a number of points, `"auto"` or a list of qubits, or if points
            cannot share jobs on the target.
    """
    if pack is None:
        return None
    checked: Pack
    if isinstance(pack, str) and pack == "auto":
        checked = pack
    else:
        try:
            if isinstance(pack, bool):
                raise TypeError
            checked = operator.index(pack)
            is_right = checked > 0
        except TypeError:
            checked = _placement(pack)
            numbers = [*itertools.chain.from_iterable(checked)]
            is_right = len(set(numbers)) == len(numbers) and min(numbers, default=-1) >= 0
        if not is_right or checked == ():
            raise ValueError(
                'pack must be a number of points per job, "auto", or a list of the qubits for '
                f"each point of a job, not {shown(pack)}."
            )
    if checked == 1:
        return None
    job_format.check_pack(checked, target)
    if checked == "auto" and _capacity(target) is None:
        raise ValueError(
            f"The number of qubits of {target} is not known: give a number of points as pack=."
        )
    return checked


def _placement(pack: Any) -> tuple[tuple[int, ...], ...]:
    """The qubits of each point of a job; empty if `pack` does not list qubits."""
    try:
        placement = tuple(tuple(operator.index(qubit) for qubit in qubits) for qubits in pack)
    except TypeError:
        return ()
    return placement if all(placement) else ()


def _capacity(target: str) -> int | None:
    """The target's published number of qubits."""
    found = (size for each, size in _NUM_QUBITS.items() if fnmatch.fnmatchcase(target, each))
    return next(found, None)


def translate_pack(
    job_format: Format,
    circuits: Sequence[Circuit],
    options: TranslationOptions,
) -> PackedTranslation:
    """Translates circuits and their sweeps, with several points per job.

    The points of a job have the same number of repetitions. Points are numbered across all
    circuits. Adjacent points of a sweep are in different jobs, so that a failed job does not leave
    a gap of several adjacent points.

    Raises:
        UnsupportedProgram: If any point cannot be run, or a job's points do not fit the target.
    """
    alone = replace(options, pack=None)
    points: list[_Point] = []
    shots: list[int] = []
    for circuit, resolvers, count, seed in circuits:
        # Checks everything, and warns about omitted waits.
        sweep = job_format.translate(circuit, resolvers, count, replace(alone, seed=seed))
        shots += [count] * len(resolvers)
        flat = _flattened(job_format, circuit, resolvers, alone)
        points += [_Point(*each, sweep, number) for number, each in enumerate(flat)]
    packer = _Packer(job_format, points, shots, options)
    translation = packer.spread([split_repetitions(options.target, count) for count in shots])
    shared = [shots[first] for (first, *others), _ in translation._jobs if others]
    caution = job_format.pack_caution(max(shared, default=0), options)
    if caution:
        # A warning is shown once per place in a program; the log has every call.
        logger.warning(caution)
        warnings.warn(caution, stacklevel=2)
    return translation


def _flattened(
    job_format: Format,
    circuit: cirq.AbstractCircuit,
    resolvers: Sequence[cirq.ParamResolver],
    options: TranslationOptions,
) -> Iterator[tuple[Program, cirq.ParamResolver, str]]:
    """For each point, the flattened circuit, the values of its parameters, and its dialect."""
    try:
        flat = flatten(circuit, options.target, compile=options.compile)
        dialect = job_format.template(flat, options).dialect
    except UnsupportedProgram:
        # The parameters decide the circuit's shape.
        for resolver in resolvers:
            resolved = cirq.resolve_parameters(circuit, resolver)
            flat = flatten(resolved, options.target, compile=options.compile)
            yield flat, cirq.ParamResolver(), job_format.template(flat, options).dialect
    else:
        yield from ((flat, resolver, dialect) for resolver in resolvers)


class _Packer:
    """Spreads points over jobs, and makes the jobs."""

    def __init__(
        self,
        job_format: Format,
        points: Sequence[_Point],
        repetitions: Sequence[int],
        options: TranslationOptions,
    ) -> None:
        self._format = job_format
        self._points = points
        self._repetitions = repetitions
        self._options = options
        # State: for each requested pack, by its points, its compiled program and the bits of each
        # point in the result.
        self._drafts: dict[
            tuple[int, ...], tuple[Callable[[], JobInput], Sequence[Sequence[int]]]
        ] = {}

    def spread(self, missing: Sequence[tuple[Part, ...]]) -> PackedTranslation:
        """See `PackedTranslation`."""
        # Points share jobs if they lack the same parts and have the same dialect.
        alike: dict[tuple[tuple[Part, ...], str], list[int]] = defaultdict(list)
        for index, (point, parts) in enumerate(zip(self._points, missing, strict=True)):
            if parts:
                alike[parts, point.dialect].append(index)
        jobs: list[tuple[Sequence[int], Part]] = []
        for (parts, _), points in alike.items():
            packs = self._spread(points)
            self._prepare(packs)
            jobs += [(pack, part) for pack in packs for part in parts]
        if jobs and len(write_layout(self.pack(*jobs[0]).layout)) > MAX_CHUNKS:
            raise UnsupportedProgram(
                "The measurements of a job's points do not fit into its metadata: use fewer "
                "points per job or shorter measurement keys."
            )
        sizes = {len(parts) for parts, _ in alike}
        each = sizes.pop() if len(sizes) == 1 else 1
        own = self.pack, self.alone, self.spread, self._repetitions, self._options.target
        return PackedTranslation(jobs, each, self.pack, *own)

    def _spread(self, points: Sequence[int]) -> list[tuple[int, ...]]:
        """The points of each job: few jobs, with neighbours in different jobs."""
        wanted, target = self._options.pack, self._options.target
        capacity = _capacity(target)
        sizes = [self._points[point].program.num_qubits for point in points]
        if isinstance(wanted, str):
            assert capacity is not None, "it was checked"
            # The service refuses a circuit that is too large by itself.
            fitting = (
                count
                for count in range(max(1, sum(sizes) // capacity), len(points))
                if all(sum(sizes[first::count]) <= capacity for first in range(count))
            )
            count = next(fitting, len(points))
        else:
            most = wanted if isinstance(wanted, int) else len(wanted or ())
            count = -(-len(points) // most)
        packs = [tuple(points[first::count]) for first in range(count)]
        if isinstance(wanted, tuple):
            placed = (zip(sizes[first::count], wanted, strict=False) for first in range(count))
            if any(size > len(slot) for pack in placed for size, slot in pack):
                raise UnsupportedProgram(
                    f"pack= lists {counted(min(map(len, wanted)), 'qubit')} for a point, but the "
                    f"circuit has {max(sizes)}: list at least as many for each point."
                )
        elif capacity is not None and count < len(points):
            largest = max(sum(sizes[first::count]) for first in range(count))
            if largest > capacity:
                raise UnsupportedProgram(
                    f"pack={wanted} needs {largest} qubits, but {target} has {capacity} (Azure's "
                    f'page, {_READ}): use fewer points per job, or pack="auto"; if the target now '
                    "has more, list the qubits for each point of a job."
                )
        return packs

    def _prepare(self, packs: Sequence[tuple[int, ...]]) -> None:
        """Compiles the programs of jobs; those of the same circuits are compiled once."""
        groups: dict[tuple[int, ...], list[tuple[int, ...]]] = defaultdict(list)
        for pack in packs:
            groups[tuple(id(self._points[point].program) for point in pack)].append(pack)
        for alike in groups.values():
            programs = [self._points[point].program for point in alike[0]]
            places = self._places(programs)
            template = self._format.template(_side_by_side(programs, places), self._options)
            columns: Sequence[Sequence[int]] = places
            if not template.has_bit_per_qubit:
                ends = [*itertools.accumulate(program.num_bits for program in programs)]
                columns = [
                    range(end - program.num_bits, end)
                    for program, end in zip(programs, ends, strict=True)
                ]
            resolvers = [[self._points[point].resolver for point in pack] for pack in alike]
            filled = template.fill(resolvers)
            for number, pack in enumerate(alike):
                self._drafts[pack] = functools.partial(filled, number), columns

    def _places(self, programs: Sequence[Program]) -> list[Sequence[int]]:
        """The numbers of each program's qubits, in its own order."""
        slots = self._options.pack
        # An earlier run may have had more points in a job than there are slots now.
        if isinstance(slots, tuple) and len(programs) <= len(slots):
            pairs = zip(programs, slots, strict=False)
            return [slot[: program.num_qubits] for program, slot in pairs]
        ends = itertools.accumulate(program.num_qubits for program in programs)
        return [
            range(end - program.num_qubits, end)
            for program, end in zip(programs, ends, strict=True)
        ]

    def pack(self, points: Sequence[int], part: Part) -> JobInput:
        """See `PackedTranslation`."""
        points = tuple(points)
        if points not in self._drafts:
            self._prepare([points])
        make, columns = self._drafts[points]
        draft = make()
        alone = [self.alone(point, part) for point in points]
        layout = PackLayout.of([each.layout for each in alone], columns, draft.layout.num_bits)
        dropped = {k: v for each in alone for k, v in each.metadata.items() if k == "dropped"}
        return JobInput(
            points=points,
            payload=draft.payload,
            input_params={
                **alone[0].input_params,
                **draft.input_params,
                **self._options.input_params,
            },
            metadata={**draft.metadata, **dropped, **write_layout(layout)},
            layout=layout,
        )

    def alone(self, point: int, part: Part) -> JobInput:
        """See `PackedTranslation`."""
        own = self._points[point]
        return own.sweep._make_job(range(own.number, own.number + 1), part)


def _side_by_side(programs: Sequence[Program], places: Sequence[Sequence[int]]) -> Program:
    """One program that runs all of these, each on its own qubits."""
    steps: list[Step] = []
    measurements: list[Measurement] = []
    first = 0
    for block, (program, place) in enumerate(zip(programs, places, strict=True)):
        for step in program.steps:
            condition = step.condition
            if condition is not None:
                condition = replace(condition, bits=tuple(first + bit for bit in condition.bits))
            steps.append(
                replace(
                    step,
                    qubits=tuple(place[qubit] for qubit in step.qubits),
                    bit=None if step.bit is None else first + step.bit,
                    condition=condition,
                    block=block,
                )
            )
        measurements += [
            replace(each, bits=tuple(first + bit for bit in each.bits))
            for each in program.measurements
        ]
        first += program.num_bits
    whole = Program(
        tuple(steps),
        tuple(measurements),
        num_qubits=1 + max(map(max, places)),
        num_bits=first,
        samples_at_end=all(program.samples_at_end for program in programs),
    )
    if not whole.measures_at_end or any(step.condition is not None for step in steps):
        return whole
    # Programs that measure at the end still do so in a pack.
    return replace(whole, steps=tuple(sorted(steps, key=lambda step: step.bit is not None)))
