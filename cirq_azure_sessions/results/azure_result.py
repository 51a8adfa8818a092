"""A `cirq.ResultDict` that also carries its job, session, cost and times."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cirq
import numpy as np

from cirq_azure_sessions.errors import ResultFormatError
from cirq_azure_sessions.options import WHOLE, check_option
from cirq_azure_sessions.results.histogram import count_integers, count_outcomes, fill, is_digits
from cirq_azure_sessions.results.html import Bar, table
from cirq_azure_sessions.spelling import counted

if TYPE_CHECKING:
    from cirq_azure_sessions import model

__all__ = ["AzureResult"]

# A table shows at most this many outcomes; the result has them all.
_MAX_ROWS = 16
# Cirq's own default, which has no public name.
_BIG_ENDIAN: Callable[[Any], Any] = (
    inspect.signature(cirq.Result.multi_measurement_histogram).parameters["fold_func"].default
)


class AzureResult(cirq.ResultDict):
    """The result of one sweep point, with what the service reported about its job.

    Compares, prints and round-trips through `cirq.to_json` like any `cirq.ResultDict`: two results
    with the same parameters and records are equal, even from different jobs. Pickles and copies
    keep everything except `azure_job`.

    Attributes:
        job_id: The job that returned the result; None if no job did. If several did, because the
            repetitions were split, the first.
        job_ids: All jobs that returned it, in the order of their repetitions.
        session_id: The session of the job, or None.
        target: The target's id; empty if no job ran.
        cost: The cost of the jobs as reported by the service, or None if it does not report one.
        creation_time: When the job was submitted, in seconds since the Unix epoch, or None.
        begin_time: When it began to run, likewise.
        end_time: When it ended, likewise.
        probabilities: The exact distribution that a simulator returned, or None. Its keys are the
            measured bits of all keys, in the order of `records`, as one big-endian integer;
            inversions are applied, confusion maps are not.
        raw_shots: The shots as the service returned them, if they contain more than `records`;
            otherwise None.
        dropped: The parts of the circuit that were not sent to the machine, such as `("waits",)`.
        lost_shots: How many repetitions are missing from `records`: the machine lost a qubit, an
            error stands in their place, or the service returned fewer. `repetitions` is lower than
            requested by this number.
    """

    def __init__(
        self,
        *,
        params: cirq.ParamResolver | None = None,
        measurements: Mapping[str, np.ndarray] | None = None,
        records: Mapping[str, np.ndarray] | None = None,
        target: str = "",
        probabilities: Mapping[int, float] | None = None,
        raw_shots: Sequence[Any] | None = None,
        lost_shots: int = 0,
    ) -> None:
        super().__init__(params=params, measurements=measurements, records=records)
        self.target = target
        self.probabilities = probabilities
        self.raw_shots = raw_shots
        self.lost_shots = lost_shots
        self.job_ids: tuple[str, ...] = ()
        self.session_id: str | None = None
        self.cost: model.Cost | None = None
        self.creation_time: float | None = None
        self.begin_time: float | None = None
        self.end_time: float | None = None
        self.dropped: tuple[str, ...] = ()
        self._azure_job: Any = None

    @property
    def job_id(self) -> str | None:
        return self.job_ids[0] if self.job_ids else None

    @property
    def azure_job(self) -> Any:
        """The SDK's own `azure.quantum.Job` of `job_id`.

        None for a local target, for a result read from a journal, and for a copy or a pickle: in
        these cases use `pool.get_job(job_id)`.
        """
        return self._azure_job

    @classmethod
    def from_result(cls, result: cirq.Result, *, target: str = "") -> AzureResult:
        """Wraps a result of any sampler; the arrays are shared, not copied."""
        if not isinstance(result, cirq.Result):
            raise TypeError(f"result must be a cirq.Result, not a {type(result).__name__}.")
        return cls(params=result.params, records=result.records, target=target)

    def _set_job(self, job: model.Job) -> None:
        """Sets the job that the result came from."""
        self.job_ids = (job.id,)
        self.session_id = job.session_id
        self.target = job.target
        self.cost = job.cost
        self.creation_time = job.creation_time
        self.begin_time = job.begin_time
        self.end_time = job.end_time
        self.dropped = tuple(filter(None, job.metadata.get("dropped", "").split(",")))
        self._azure_job = job.handle

    @classmethod
    def join(cls, parts: Sequence[AzureResult], repetitions: int | None = None) -> AzureResult:
        """Joins the results of a point whose repetitions were split over several jobs.

        Args:
            parts: The results of the jobs, at least one, in the order of the jobs.
            repetitions: How many to keep, the first ones; None for all.

        Raises:
            ResultFormatError: If the parts do not belong to one point of one circuit.
        """
        if (
            not isinstance(parts, Sequence)
            or not parts
            or not all(isinstance(part, AzureResult) for part in parts)
        ):
            raise ValueError("parts must be a list of at least one AzureResult.")
        check_option("repetitions", repetitions, or_none=True, kind=WHOLE)
        first = parts[0]
        found = sum(part.repetitions for part in parts)
        if len(parts) == 1 and (repetitions is None or found <= repetitions):
            return first
        shapes = [{key: array.shape[1:] for key, array in p.records.items()} for p in parts]
        if any(shape != shapes[0] for shape in shapes) or any(
            part.params != first.params for part in parts
        ):
            raise ResultFormatError(
                "The jobs of one point returned different keys or parameters; "
                "fetch their results one by one."
            )
        joined = cls(
            params=first.params,
            records={
                key: np.concatenate([part.records[key] for part in parts])[:repetitions]
                for key in first.records
            },
            target=first.target,
            probabilities=first.probabilities,
            raw_shots=_joined_shots(parts, repetitions),
            # Of more than are kept, none that is missing was lost.
            lost_shots=sum(part.lost_shots for part in parts)
            if repetitions is None
            else max(0, repetitions - found),
        )
        joined.session_id = first.session_id
        joined.dropped = first.dropped
        joined.creation_time = first.creation_time
        joined.begin_time = first.begin_time
        joined.job_ids = tuple(job_id for part in parts for job_id in part.job_ids)
        joined.cost = _total_cost([part.cost for part in parts])
        joined.end_time = parts[-1].end_time
        joined._azure_job = first.azure_job
        return joined

    # Cirq's two histograms call a function for each repetition: five seconds for a million of them.

    def histogram(
        self, *, key: Any, fold_func: Callable[[Any], Any] = cirq.big_endian_bits_to_int
    ) -> Counter[Any]:
        """Counts the outcomes of one key, as `cirq.Result.histogram` does."""
        if fold_func is not cirq.big_endian_bits_to_int:
            return super().histogram(key=key, fold_func=fold_func)
        name = _key_name(key)
        if not self.repetitions:
            return super().histogram(key=name)
        outcomes, counts = count_integers([self.measurements[name]])
        return Counter({outcome: n for (outcome,), n in zip(outcomes, counts, strict=True)})

    def multi_measurement_histogram(
        self, *, keys: Iterable[Any], fold_func: Callable[[Any], Any] = _BIG_ENDIAN
    ) -> Counter[Any]:
        """Counts the outcomes of several keys together, as the method of `cirq.Result` does."""
        names = [_key_name(key) for key in keys]
        if fold_func is not _BIG_ENDIAN or not names or not self.repetitions:
            return super().multi_measurement_histogram(keys=names, fold_func=fold_func)
        outcomes, counts = count_integers([self.measurements[name] for name in names])
        return Counter(dict(zip(outcomes, counts, strict=True)))

    # Its two texts, too, where it writes digit by digit: half a minute.

    def __str__(self) -> str:
        if not self._has_digits():
            return super().__str__()
        lines = []
        for key in sorted(self.records):
            for measured in np.moveaxis(self.records[key], 1, 0):
                characters = (measured + ord("0")).astype(np.uint8).T
                lines.append(f"{key}={', '.join(row.tobytes().decode() for row in characters)}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        if not self._has_digits():
            return super().__repr__()
        arrays = []
        for key, record in self.records.items():
            _, times, qubits = record.shape
            row = f"[{', '.join(['0'] * qubits)}]"
            digits = fill(f"[{', '.join([row] * times)}], ", record.reshape(len(record), -1))
            arrays.append(f"{key!r}: np.array([{digits[:-2]}], dtype=np.{record.dtype!r})")
        return f"cirq.ResultDict(params={self.params!r}, records={{{', '.join(arrays)}}})"

    def _has_digits(self) -> bool:
        """Whether there are records, and each entry is an integer of one digit."""
        records = self.records.values()
        return all(each.size and each.dtype.kind in "iu" and is_digits(each) for each in records)

    def __getstate__(self) -> dict[str, Any]:
        # The SDK's job holds a connection to its workspace.
        return {**self.__dict__, "_azure_job": None}

    def _repr_html_(self) -> str:
        histogram = count_outcomes(self, limit=_MAX_ROWS)
        point = ", ".join(f"{name}={value}" for name, value in self.params.param_dict.items())
        lost = f"{self.lost_shots} lost" if self.lost_shots else ""
        caption = (self.target, point, counted(histogram.repetitions, "repetition"), lost)
        return table(
            ", ".join(part for part in caption if part),
            [" ".join(histogram.keys), "count", "fraction", ""],
            [
                (outcome, count, histogram.fraction(outcome), Bar(histogram.fraction(outcome)))
                for outcome, count in histogram.counts.items()
            ],
            below=f"and {counted(histogram.hidden, 'more outcome')}" if histogram.hidden else "",
        )

    @classmethod
    def _json_namespace_(cls) -> str:
        return ""


# Cirq writes the `__name__` of the class into JSON and refuses a `cirq_type` in `_json_dict_`. With
# this name any program with Cirq can read the file, even without this package; pickles and reprs of
# the class use `__qualname__`.
AzureResult.__name__ = cirq.ResultDict.__name__


def _key_name(key: Any) -> str:
    return key if isinstance(key, str) else ",".join(map(str, key))


def _joined_shots(parts: Sequence[AzureResult], count: int | None) -> Sequence[Any] | None:
    if all(part.raw_shots is None for part in parts):
        return None
    return [shot for part in parts for shot in part.raw_shots or ()][:count]


def _total_cost(costs: Sequence[model.Cost | None]) -> model.Cost | None:
    known = [cost for cost in costs if cost is not None]
    if not known:
        return None
    return type(known[0])(
        total=sum(cost.total for cost in known),
        currency=known[0].currency,
        events=tuple(event for cost in known for event in cost.events),
    )
