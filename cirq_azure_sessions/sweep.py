"""A translated sweep on its way: which job covers which points, and what has come home."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cirq_azure_sessions.costs.pricing import Pricing
from cirq_azure_sessions.errors import (
    AzureSessionsError,
    CostLimitReached,
    PoolTimeout,
    SweepCostLimit,
    SweepError,
    SweepTimeout,
    not_over,
)
from cirq_azure_sessions.formats.translation import Format, JobInput, Translation
from cirq_azure_sessions.job_batch import Delivery, JobBatch
from cirq_azure_sessions.job_record import JobRecord
from cirq_azure_sessions.model import JobRequest
from cirq_azure_sessions.results.azure_result import AzureResult

__all__ = ["JobLabels", "Sweep"]


@dataclass(frozen=True, slots=True)
class JobLabels:
    """What the jobs of a sampler have in common on the service.

    Attributes:
        target: Where they run.
        name: Their name; a sweep's jobs have their number added.
        tags: Their tags.
        priority: Their priority.
        workspace: The identity of the workspace, in which a journal knows them again; None if they
            are not journalled.
    """

    target: str
    name: str
    tags: tuple[str, ...] = ()
    priority: str | None = None
    workspace: str | None = None


class Sweep:
    """One call's points, jobs, results and failures.

    Args:
        points: The number of points.
        translation: The jobs that cover them.
        format: What wrote the translation, and reads the results.
        labels: What to call the jobs.
        pricing: What they cost.

    Attributes:
        failures: The error of each point that failed.
    """

    def __init__(
        self,
        points: int,
        translation: Translation,
        format: Format,
        labels: JobLabels,
        pricing: Pricing,
    ) -> None:
        self._points = points
        self._translation = translation
        self._format = format
        self._labels = labels
        self._pricing = pricing
        # State: the jobs handed out and not yet taken back; of points that stand in several jobs,
        # the results that have come; how many jobs each such point stands in.
        self._out: dict[int, JobInput] = {}
        self._parts: dict[int, dict[int, AzureResult]] = defaultdict(dict)
        self._jobs_of_point = _count_jobs(translation, points)
        self.failures: dict[int, Exception] = {}

    def __len__(self) -> int:
        return self._points

    def batch(self) -> JobBatch:
        """The jobs, to be run."""
        # With a journal a sweep goes as far as a quota does, and the next run goes on from there.
        is_metered = self._pricing.is_charging and self._labels.workspace is None
        usage = (lambda: self._pricing.estimate(self._translation).usage) if is_metered else None
        return JobBatch(self._requests(), len(self._translation), usage=usage)

    def _requests(self) -> Iterator[JobRequest]:
        """The jobs, each made when it is asked for."""
        many = len(self._translation) > 1
        for index in range(len(self._translation)):
            job = self._out[index] = self._translation.job(index)
            request = JobRequest(
                id=str(uuid.uuid4()),
                target=self._labels.target,
                name=f"{self._labels.name}-{index}" if many else self._labels.name,
                payload=job.payload,
                input_format=self._format.input_format,
                output_format=self._format.output_format,
                input_params=job.input_params,
                metadata=job.metadata,
                tags=self._labels.tags,
                priority=self._labels.priority,
                estimated_cost=self._pricing.amount(job),
                estimated_rest=self._pricing.rest(self._translation, index),
            )
            if self._labels.workspace is not None:
                fingerprint = _fingerprint(request, self._labels.workspace)
                request = replace(request, fingerprint=fingerprint)
            yield request

    def take(self, delivery: Delivery) -> Iterator[tuple[int, AzureResult]]:
        """Reads what a job brought; yields the points that are complete with it."""
        job_input = self._out.pop(delivery.index)
        error = delivery.error
        if error is None:
            try:
                results = self._read(delivery.record, job_input.layout)
            except AzureSessionsError as decoding_error:
                delivery.record.failed(decoding_error)
                error = decoding_error
        if error is not None:
            self.failures.update(dict.fromkeys(job_input.points, error))
            return
        for point, result in zip(job_input.points, results, strict=True):
            yield from self._complete(point, delivery.index, result)

    def _read(self, record: JobRecord, layout: Any) -> Sequence[AzureResult]:
        """The results of a job: if an earlier run submitted it, as that run would have had them."""
        assert record.job is not None, "a job with an output was accepted"
        if record.earlier_metadata is not None:
            layout = layout.with_draws_of(self._format.read_layout(record.earlier_metadata))
        results = self._format.decode(record.output, layout)
        return [result.with_job(record.job) for result in results]

    def time_out(self, done: Sequence[object], running: dict[int, str], timeout: float) -> None:
        """Notes a failure for every point that is not done, because the call's time ran out."""
        for index, job_id in running.items():
            error = not_over(job_id, timeout)
            for point in self._translation.points(index):
                self.failures.setdefault(point, error)
        for point, result in enumerate(done):
            if result is None and point not in self.failures:
                self.failures[point] = PoolTimeout(
                    f"The point was not submitted within {timeout:g} s: give more time, "
                    "or run the missing points again."
                )

    @property
    def is_over_budget(self) -> bool:
        """Whether points were not submitted because `max_cost` has no room for them."""
        return any(isinstance(error, CostLimitReached) for error in self.failures.values())

    def error(self, results: Sequence[AzureResult | None], *, timed_out: bool) -> SweepError:
        """The error that tells which points failed and carries the results of the others."""
        first = min(self.failures)
        kind = SweepCostLimit if self.is_over_budget else SweepError
        kind = SweepTimeout if timed_out else kind
        error = kind(
            f"{len(self.failures)} of {self._points} points failed, the first at index {first}: "
            f"{self.failures[first]} All other results are in .results.",
            failures=self.failures,
            results=results,
        )
        error.__cause__ = self.failures[first]
        return error

    def _complete(
        self, point: int, index: int, result: AzureResult
    ) -> Iterator[tuple[int, AzureResult]]:
        """Joins a point's results once all of its jobs are home, in the order of the jobs."""
        parts = self._parts[point]
        parts[index] = result
        if len(parts) == self._jobs_of_point.get(point, 1):
            del self._parts[point]
            yield point, AzureResult.join([parts[number] for number in sorted(parts)])


def _fingerprint(request: JobRequest, workspace: str) -> str:
    """A hash of what the job asks for, the same in every run.

    What its result means, its layout, follows from that. Its name, tags and priority do not matter
    to the result.
    """
    asked = [
        workspace,
        request.target,
        request.input_format,
        request.output_format,
        dict(request.input_params),
    ]
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode())
    digest.update(b"\0" + request.payload)
    return digest.hexdigest()


def _count_jobs(translation: Translation, points: int) -> dict[int, int]:
    """How many jobs each point stands in, where any stands in more than one."""
    if len(translation) <= points:
        return {}
    counts: dict[int, int] = defaultdict(int)
    for index in range(len(translation)):
        for point in translation.points(index):
            counts[point] += 1
    return counts
