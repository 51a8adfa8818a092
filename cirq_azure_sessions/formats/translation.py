"""What a format makes of a program: values that know no session, no clock and no socket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import cirq

    from cirq_azure_sessions.results.azure_result import AzureResult

__all__ = ["Format", "JobInput", "Translation", "TranslationOptions", "Workload"]


@dataclass(frozen=True, slots=True)
class TranslationOptions:
    """What the caller wants of a translation, beside the program.

    Attributes:
        target: The target's id, such as `ionq.simulator`.
        compile: Whether to compile to the gates that the target takes; if not, a circuit that is
            not in them already is refused.
        seed: Where the client draws samples, the entropy they come from: a tuple of non-negative
            integers that is this call's alone. Point `i` of the sweep draws from
            `numpy.random.SeedSequence(entropy=seed, spawn_key=(i,))`, whatever order results
            arrive in. None draws fresh entropy once, so that a point is still reproducible.
        input_params: Provider options to pass on in Azure's `inputParams`, over the format's own.
        random_state: For local targets: the generator that the simulator draws from, or None.
    """

    target: str
    compile: bool = True
    seed: tuple[int, ...] | None = None
    input_params: Mapping[str, Any] = field(default_factory=dict)
    random_state: Any = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class JobInput:
    """One job of a translated sweep: what to send, and what is needed to read the answer.

    Attributes:
        points: The indices, in the sweep, of the points that this job covers. A point whose
            repetitions exceed the target's limit stands in several jobs; their results are joined
            in the order of the jobs.
        payload: The program: bytes for a provider's format, an object for a local target.
        input_params: Azure's `inputParams`.
        metadata: The layout as strings, from which `Format.read_layout` makes `layout` again.
        layout: What `Format.decode` needs to read the job's result.
    """

    points: range
    payload: Any = field(repr=False)
    input_params: Mapping[str, Any] = field(repr=False)
    metadata: Mapping[str, str] = field(repr=False)
    layout: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Workload:
    """What one job asks of a machine, in the quantities that providers bill.

    Attributes:
        shots: How often the program is run.
        one_qubit_gates: The gates on one qubit, of one run. What depends on a measured result
            counts as done.
        two_qubit_gates: The gates on two qubits, likewise.
        spam: The state preparations and measurements of one run: Quantinuum's word.
    """

    shots: int
    one_qubit_gates: int = 0
    two_qubit_gates: int = 0
    spam: int = 0


class Translation(Protocol):
    """A whole sweep, checked: making any one of its jobs can no longer fail.

    A parametrised circuit is compiled once; `job` only fills numbers in, so that a sweep of ten
    thousand points need not be held in memory.
    """

    def __len__(self) -> int:
        """The number of jobs."""

    def points(self, index: int) -> range:
        """The points that the job with this index covers; its program is not made for that."""

    def job(self, index: int) -> JobInput:
        """The job with this index, the same at each call."""


class Format(Protocol):
    """A provider's way of writing programs and results. Pure and stateless.

    Attributes:
        input_format: Azure's `inputDataFormat`.
        output_format: Azure's `outputDataFormat`.
    """

    input_format: str
    output_format: str

    def translate(
        self,
        program: cirq.AbstractCircuit,
        resolvers: Sequence[cirq.ParamResolver],
        repetitions: int,
        options: TranslationOptions,
    ) -> Translation:
        """Translates a sweep: at least one point, at least one repetition.

        Raises:
            UnsupportedProgram: If any point cannot be run as it stands; the message names the
                operation and what to do.
        """

    def decode(self, payload: Any, layout: Any) -> Sequence[AzureResult]:
        """The results of one job, one for each of its points, in their order.

        Raises:
            ResultFormatError: If the payload is not what the layout promises.
        """

    def workload(self, job: JobInput) -> Workload:
        """What a job of this format asks of the machine, counted in its payload."""

    def read_layout(self, metadata: Mapping[str, str]) -> Any:
        """The layout of a job of this package, from the metadata that came back with it.

        Raises:
            ResultFormatError: If the job was not submitted by this package, or by a later version.
        """
