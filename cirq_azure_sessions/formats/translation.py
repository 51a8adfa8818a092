"""Translation of a sweep into a provider's jobs; the common part of all formats.

Values and pure functions, independent of sessions, clocks and sockets.
"""

from __future__ import annotations

import abc
import contextlib
import fnmatch
import functools
import itertools
import json
import logging
import operator
import secrets
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import cirq

from cirq_azure_sessions.errors import DroppedOperationWarning, UnsupportedProgram
from cirq_azure_sessions.formats.checks import as_resolvers, check_call
from cirq_azure_sessions.formats.layout import MAX_CHUNKS, read_layout, write_layout
from cirq_azure_sessions.formats.program import check_num_qubits, flatten, shown
from cirq_azure_sessions.model import JobRequest, TargetStatus
from cirq_azure_sessions.results.azure_result import AzureResult
from cirq_azure_sessions.spelling import counted, is_repetitions, letters

if TYPE_CHECKING:
    from cirq_azure_sessions.formats.template import Template

__all__ = [
    "Circuit",
    "Format",
    "JobInput",
    "Pack",
    "Part",
    "Translation",
    "TranslationOptions",
    "Workload",
    "note_dropped_waits",
    "split_repetitions",
    "translate_calls",
]

logger = logging.getLogger(__name__)

# The maximum repetitions of one job. Without a known limit jobs are not split: the service refuses
# a job that is too large, while splitting one without need costs more. The numbers are `max_shots`
# of the SDK's Qiskit backends (azure.quantum.qiskit.backends of azure-quantum 3.13), which have
# none for IonQ's simulator and Quantinuum's emulators.
_MAX_JOB_REPETITIONS = {"ionq.qpu*": 10_000, "quantinuum.qpu.*": 10_000, "rigetti.*": 10_000}

# Targets on which waits have no effect, in addition to those that return exact probabilities.
_WITHOUT_TIME = ("quantinuum.sim.*sc", "rigetti.sim.*")

# Targets on which points may share a job without a choice of qubits: ions, which are all
# equivalent, and simulators. On other machines qubits differ in their neighbours and couplers.
_PACKABLE = ("ionq.*", "quantinuum.*", "*.sim.*", "*.simulator*", "echo-*", "sparse-sim-*")

# A circuit with its sweep, its repetitions, and the seed of samples that the client draws.
Circuit = tuple[cirq.AbstractCircuit, Sequence[cirq.ParamResolver], int, tuple[int, ...] | None]

# Some of a point's repetitions: a number that tells them apart, and how many they are.
Part = tuple[int, int]

# The number of points per job, or "auto", or the qubits of each point of a job.
Pack = int | str | tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class TranslationOptions:
    """The options of a translation.

    Attributes:
        target: The target's id, such as `ionq.simulator`.
        compile: Whether to compile to the target's gates; if not, circuits with other gates are
            refused.
        seed: If the client draws samples or runs the program, the entropy for that: a tuple of
            non-negative integers that is unique to this call. Point `i` of the sweep draws from
            `numpy.random.SeedSequence(entropy=seed, spawn_key=(i,))`, in whatever order results
            arrive. None draws fresh entropy once, so that a point is still reproducible.
        input_params: Provider options for Azure's `inputParams`, which override the format's.
        pack: How several points share a job, as returned by `packing.as_pack`; None if they do not.
    """

    target: str
    compile: bool = True
    seed: tuple[int, ...] | None = None
    input_params: Mapping[str, Any] = field(default_factory=dict)
    pack: Pack | None = None


@dataclass(frozen=True, slots=True)
class JobInput:
    """One job of a translated sweep: its payload, and the information to read its result.

    Attributes:
        points: The indices, in the sweep, of the points that this job covers. A point whose
            repetitions exceed the target's limit is in several jobs; their results are joined in
            the order of the jobs.
        payload: The program: bytes for a provider's format, an object for a local target.
        input_params: Azure's `inputParams`.
        metadata: The layout as strings, from which `Format.read_layout` makes `layout` again.
        layout: The layout for `Format.decode` to read the job's result.
        has_waits: Whether the circuit has waits, which no format here writes.
        places: As for `JobRequest`.
        entry: The journal entry of the job, if an earlier run has submitted it.
    """

    points: Sequence[int]
    payload: Any = field(repr=False)
    input_params: Mapping[str, Any] = field(repr=False)
    metadata: Mapping[str, str] = field(repr=False)
    layout: Any = field(repr=False)
    has_waits: bool = False
    places: tuple[tuple[str, int, int], ...] = ()
    entry: Any = None


@dataclass(frozen=True, slots=True)
class Workload:
    """The workload of one job, in the quantities that providers bill.

    Attributes:
        shots: The number of runs of the program.
        one_qubit_gates: The one-qubit gates of one run. Conditional gates count as applied.
        two_qubit_gates: The two-qubit gates, likewise.
        spam: The state preparations and measurements of one run, in Quantinuum's term.
    """

    shots: int
    one_qubit_gates: int = 0
    two_qubit_gates: int = 0
    spam: int = 0


@dataclass(frozen=True, slots=True)
class Translation:
    """A translated and checked sweep: making its jobs cannot fail.

    A parametrised circuit is compiled once; `job` only inserts numbers, so that a sweep of ten
    thousand points need not be held in memory.
    """

    _jobs: Sequence[tuple[Sequence[int], Part]]  # the points of each job, and the index of its part
    jobs_each: int  # how many parts the repetitions of a point are split into
    _make_job: Callable[[Sequence[int], Part], JobInput]

    is_packed: ClassVar[bool] = False

    def __len__(self) -> int:
        """The number of jobs."""
        return len(self._jobs)

    def points(self, index: int) -> Sequence[int]:
        """The points that the job with this index covers, without making its program."""
        return self._jobs[index][0]

    def job(self, index: int) -> JobInput:
        """The job with this index, the same at each call."""
        return self._make_job(*self._jobs[index])


class Format(abc.ABC):
    """A provider's format for programs and results. Pure and stateless.

    Attributes:
        input_format: Azure's `inputDataFormat`.
        output_format: Azure's `outputDataFormat`.
        template: The language, for a format with one circuit per job.
        shots_names: The names of the repetitions in Azure's `inputParams`.
        own_params: The other entries that only the package may set; in lower case, only letters.
    """

    input_format: ClassVar[str]
    output_format: ClassVar[str]
    template: ClassVar[type[Template]]
    shots_names: ClassVar[tuple[str, ...]] = ("shots",)
    own_params: ClassVar[frozenset[str]] = frozenset()

    def check_input_params(self, input_params: Mapping[str, Any]) -> None:
        """Refuses provider options that would contradict the arguments of a call.

        Raises:
            ValueError: If one is a number of repetitions, or is set by the package.
        """
        for name in input_params:
            if is_repetitions(name):
                raise ValueError(
                    f"input_params must not hold {name!r}: the number of shots is the argument "
                    "`repetitions` of each call."
                )
            if letters(name) in self.own_params:
                raise ValueError(
                    f"input_params must not hold {name!r}: it follows from the argument `program` "
                    "of each call."
                )

    def check_pack(self, pack: Pack, target: str) -> None:
        """Refuses to pack points if that is useless or harmful.

        Raises:
            ValueError: If packing is refused.
        """
        is_packable = any(fnmatch.fnmatchcase(target, each) for each in _PACKABLE)
        if not is_packable and not isinstance(pack, tuple):
            raise ValueError(
                f"On {target}, whether points disturb each other depends on the qubits: pass the "
                "numbers of the qubits for each point of a job, such as pack=[[0, 1], [4, 5]], or "
                "leave out pack=."
            )

    def pack_caution(self, shots: int, options: TranslationOptions) -> str:
        """A warning about provider features meant for jobs of one point; usually empty."""
        return ""

    def check_target(self, request: JobRequest, status: TargetStatus) -> None:
        """Refuses a job that its target cannot run, by the service's description of the target.

        Raises:
            UnsupportedProgram: If the target has too few qubits, or does not support the profile.
        """
        num_qubits = int(request.metadata.get("qubits", 0))
        check_num_qubits(num_qubits, request.target, status.num_qubits)

    def translate(
        self,
        program: cirq.AbstractCircuit,
        resolvers: Sequence[cirq.ParamResolver],
        repetitions: int,
        options: TranslationOptions,
    ) -> Translation:
        """Translates a sweep of at least one point and one repetition.

        A job has one point, unless the options say that several share it. The jobs of the first
        point come first, then those of the second, and so on.

        Raises:
            ValueError: If the provider options contradict the call.
            TypeError: If the repetitions of a subcircuit are not an integer at some point.
            UnsupportedProgram: If any point cannot be run; the message names the operation and what
                to do.
        """
        if options.pack is not None:
            from cirq_azure_sessions.formats.packing import translate_pack

            circuit = program, resolvers, repetitions, options.seed
            return translate_pack(self, [circuit], options)
        self.check_input_params(options.input_params)
        try:
            flat = flatten(program, options.target, compile=options.compile)
            template = self.template(flat, options)
        except UnsupportedProgram:
            # The parameters may determine the shape of the circuit, such as the number of loops.
            if not cirq.is_parameterized(program):
                raise
            draft = self._point_by_point(program, resolvers, options)
        else:
            draft = template.fill([[resolver] for resolver in resolvers])
        first = draft(0)
        has_time = not any(fnmatch.fnmatchcase(options.target, each) for each in _WITHOUT_TIME)
        dropped = {}
        if first.has_waits and has_time and not first.layout.is_exact:
            dropped = note_dropped_waits(options.target)
        parts = split_repetitions(options.target, repetitions)
        entropy = options.seed if options.seed is not None else (secrets.randbits(128),)

        def job(points: Sequence[int], part: Part) -> JobInput:
            (point,) = points
            number, share = part
            common = draft(point)
            layout = replace(
                common.layout,
                params=resolvers[point],
                point=point,
                part=number,
                repetitions=share,
                entropy=entropy,
            )
            shots = dict.fromkeys(self.shots_names, share)
            return JobInput(
                points=points,
                payload=common.payload,
                input_params={**common.input_params, **shots, **options.input_params},
                metadata={**common.metadata, **dropped, **write_layout(layout)},
                layout=layout,
            )

        points = [range(point, point + 1) for point in range(len(resolvers))]
        if len(write_layout(job(points[0], parts[0]).layout)) > MAX_CHUNKS:
            raise UnsupportedProgram(
                "The circuit's measurements do not fit into a job's metadata: use shorter "
                "measurement keys, fewer measured qubits, and no confusion maps."
            )
        return Translation([*itertools.product(points, parts)], len(parts), job)

    def _point_by_point(
        self,
        program: cirq.AbstractCircuit,
        resolvers: Sequence[cirq.ParamResolver],
        options: TranslationOptions,
    ) -> Callable[[int], JobInput]:
        """The draft of each point's jobs, translated as a separate circuit."""
        drafts: list[JobInput] = []
        for resolver in resolvers:
            flat = flatten(resolved(program, resolver), options.target, compile=options.compile)
            template = self.template(flat, options)
            draft = template.fill([[cirq.ParamResolver()]])(0)
            draft = replace(draft, payload=zlib.compress(draft.payload, 1))
            # Most points share everything except their program.
            if drafts and replace(draft, payload=drafts[-1].payload) == drafts[-1]:
                draft = replace(drafts[-1], payload=draft.payload)
            drafts.append(draft)
        return functools.lru_cache(maxsize=1)(
            lambda point: replace(drafts[point], payload=zlib.decompress(drafts[point].payload))
        )

    @abc.abstractmethod
    def decode(self, payload: Any, layout: Any) -> Sequence[AzureResult]:
        """The results of one job, one for each of its points, in their order.

        Raises:
            ResultFormatError: If the payload is not what the layout promises.
        """

    def decode_each(self, answers: Iterable[Any], layout: Any) -> Sequence[AzureResult]:
        """The results of a pack, from the payloads that jobs of one point each would have had."""
        return [
            result
            for answer, block in zip(answers, layout.blocks, strict=True)
            for result in self.decode(json.dumps(answer), block)
        ]

    @abc.abstractmethod
    def workload(self, job: JobInput) -> Workload:
        """The workload of a job of this format, counted in its payload."""

    def read_layout(self, metadata: Mapping[str, str]) -> Any:
        """The layout of a job of this package, from the metadata returned with it.

        Raises:
            ResultFormatError: If the job was not submitted by this package, or by a later version.
        """
        return read_layout(metadata)


def split_repetitions(
    target: str, repetitions: int, numbers: Iterable[int] | None = None
) -> tuple[Part, ...]:
    """Repetitions as parts that each fit a job, with these numbers or else from 0."""
    limits = [
        limit
        for pattern, limit in _MAX_JOB_REPETITIONS.items()
        if fnmatch.fnmatchcase(target, pattern)
    ]
    most = min(limits, default=max(1, repetitions))
    full, rest = divmod(repetitions, most)
    shares = (most,) * full + ((rest,) if rest else ())
    return tuple(zip(itertools.count() if numbers is None else numbers, shares, strict=False))


def resolved(program: cirq.AbstractCircuit, resolver: cirq.ParamResolver) -> cirq.AbstractCircuit:
    """The circuit at a point.

    Raises:
        TypeError: If a subcircuit's repetitions are not an integer there, as in Cirq.
        UnsupportedProgram: If an operation does not accept the values.
    """
    try:
        return cirq.resolve_parameters(program, resolver)
    except (ValueError, ArithmeticError) as error:
        raise UnsupportedProgram(
            f"The circuit does not accept {shown(resolver)}; give it finite real numbers."
        ) from error


def note_dropped_waits(target: str) -> dict[str, str]:
    """Warns that a circuit's waits are omitted; returns the metadata that records this.

    Two dialects have a wait: `sleep` of Quantinuum's hqslib1_dev.inc, and `nop` among IonQ's native
    gates. No recording shows that Azure accepts either, and a refused program measures nothing at
    all.
    """
    # A warning is shown once per place in a program; the log has every call.
    logger.warning("%s: the circuit's waits are left out", target)
    warnings.warn(
        f"{target} is not known to support waits, so cirq.wait is left out and "
        "no time passes there. Pass compile=False to get an error instead, or run on "
        "a local target whose sampler has a noise model.",
        DroppedOperationWarning,
        stacklevel=2,
    )
    return {"dropped": "waits"}


def translate_calls(
    job_format: Format,
    programs: Sequence[Any],
    params_list: Sequence[cirq.Sweepable] | None,
    repetitions: Any,
    options: TranslationOptions,
    seeds: Iterator[tuple[int, ...] | None] | None = None,
    is_split: Callable[[int], bool] | None = None,
) -> Iterator[tuple[Translation | None, Sequence[AzureResult | None], Mapping[int, range]]]:
    """Checks and translates the arguments of a sampler's call: one circuit, or those of a batch.

    Args:
        job_format: The format of the target.
        programs: The circuits.
        params_list: The sweep of each; None if they have none.
        repetitions: How often to sample each point, or those of each.
        options: What else the caller wants.
        seeds: Has the seed of each circuit instead; one that needs no job takes none.
        is_split: With a journal, whether its jobs may have some of these repetitions of a point, or
            other points too. Then each point of the call looks for its own in all of them, in the
            order of the circuits.

    Yields:
        For each circuit, or for all that may share jobs: the jobs, None if none is needed; one
        result per point, None if a job will return it; and by the index of a circuit, its range of
        these points.

    Raises:
        TypeError, ValueError, UnsupportedProgram: As `check_call` and `Format.translate` do.
    """
    if not hasattr(programs, "__len__"):
        raise TypeError(f"programs must be a list of circuits, not a {type(programs).__name__}.")
    each = len(programs)
    params_list = [None] * each if params_list is None else params_list
    with contextlib.suppress(TypeError):
        operator.index(repetitions)
        repetitions = [repetitions] * each
    for name, given in (("params_list", params_list), ("repetitions", repetitions)):
        try:
            found = -1 if isinstance(given, str | bytes) else len(given)
        except TypeError:  # an array without dimensions has no length
            found = -1
        if found < 0:
            also = "an integer or " if name == "repetitions" else ""
            raise TypeError(f"{name} must be {also}a list, not a {type(given).__name__}.")
        if found != each:
            raise ValueError(
                f"{name} must have one entry for each of {counted(each, 'program')}, not {found}."
            )
    called: dict[int, Circuit] = {}
    for index, (program, params, count) in enumerate(
        zip(programs, params_list, repetitions, strict=True)
    ):
        resolvers = as_resolvers("params", params)
        circuit, shots = check_call(program, resolvers, count)
        if not resolvers or not shots:
            # Cirq determines the shapes of results without repetitions.
            empty = cirq.Simulator().run_sweep(circuit, resolvers, shots)
            results = [AzureResult.from_result(result) for result in empty]
            yield None, results, {index: range(len(results))}
            continue
        seed = options.seed if seeds is None else next(seeds)
        called[index] = circuit, resolvers, shots, seed
    is_mixed = is_split is not None and any(
        is_split(shots) or len(split_repetitions(options.target, shots)) > 1
        for _, _, shots, _ in called.values()
    )
    if options.pack is None and not is_mixed:
        for index, (circuit, points, shots, seed) in called.items():
            own = replace(options, seed=seed)
            translation = job_format.translate(circuit, points, shots, own)
            yield translation, [None] * len(points), {index: range(len(points))}
    elif called:
        from cirq_azure_sessions.formats.packing import translate_pack

        packing = replace(options, pack=options.pack or 1)
        packed = translate_pack(job_format, [*called.values()], packing)
        own_points, end = {}, 0
        for index, (_, points, *_) in called.items():
            own_points[index] = range(end, end + len(points))
            end += len(points)
        yield packed, [None] * end, own_points
