"""`SweepRun`: one call's points, jobs, results and failures."""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cirq_azure_sessions.costs.pricing import Pricing
from cirq_azure_sessions.errors import (
    CostLimitReached,
    PoolTimeout,
    SweepCostLimit,
    SweepError,
    SweepTimeout,
    not_finished,
)
from cirq_azure_sessions.formats.translation import Format, JobInput, Translation
from cirq_azure_sessions.jobs.job import JobRun
from cirq_azure_sessions.journal import Journal
from cirq_azure_sessions.journal.reuse import layout_of, reuse_jobs
from cirq_azure_sessions.journal.rows import Place
from cirq_azure_sessions.model import JobRequest
from cirq_azure_sessions.results.azure_result import AzureResult
from cirq_azure_sessions.results.stream import ResultStream
from cirq_azure_sessions.results.sweep_results import SweepResults
from cirq_azure_sessions.watch.events import SweepEvent
from cirq_azure_sessions.watch.progress import SweepProgress

__all__ = ["SweepRun"]


@dataclass(eq=False, repr=False)
class SweepRun:
    """One call of a sampler, or one of the circuits of a batch.

    Lives on the background loop while its jobs run, before and after that with its caller.
    """

    target: str
    # The jobs that cover the points; None for a sweep without any.
    translation: Translation | None
    # The results of the points; None until a job brings them, in a stream for good.
    results: SweepResults
    # The format that wrote the jobs, and reads the results.
    format_: Format
    pricing: Pricing
    # Whether samples that the client draws follow from a seed.
    is_seeded: bool
    # Makes a job's request from its input and its number, None if it is the only one.
    make_request: Callable[[JobInput, int | None], JobRequest]
    # For a batch whose circuits share jobs, the range of points of each circuit, by its index.
    circuits: Mapping[int, range]

    def __post_init__(self) -> None:
        self.id = str(uuid.uuid4())
        self.num_jobs = 0 if self.translation is None else len(self.translation)
        self.progress: SweepProgress | None = None
        # The stream that gets the results instead of `results`.
        self.stream: ResultStream | None = None
        # While jobs run, all sweeps of the same call: this one, or those of a batch. In a cycle of
        # references, results would stay in memory until the garbage collector looks at everything.
        self.call: Sequence[SweepRun] = ()
        # State, of jobs: those that were begun and have not ended, by index; the ids of those whose
        # outputs were fetched; whether any was accepted; their sessions; and the error after which
        # none is submitted.
        self.jobs_in_flight: dict[int, JobRun] = {}
        self.fetched: list[str] = []
        self.is_accepted = False
        self.session_ids: set[str] = set()
        self.stopped_by: Exception | None = None
        # Of points: their places in the journal, which this call holds until it ends; those whose
        # results were delivered; how many repetitions these lack; the errors of those that failed;
        # and whether the call's timeout ran out.
        self.places: dict[int, Place] = {}
        self.delivered: set[int] = set()
        self.lost_shots = 0
        self.failures: dict[int, Exception] = {}
        self.has_timed_out = False
        # Of split points: how many jobs each has, how many repetitions, and the results so far.
        self._num_parts: Counter[int] = Counter()
        self._repetitions: Sequence[int] = ()
        self._jobs_each = 1 if self.translation is None else self.translation.jobs_each
        self._parts: dict[int, dict[tuple[int, int], AzureResult]] = defaultdict(dict)

    # Jobs

    async def reuse(self, journal: Journal, *service: Any) -> None:
        """Reuses jobs of earlier runs for the points they cover, if points share jobs."""
        if (packed := self.translation) is not None and packed.is_packed:
            call = journal, packed, self.make_request, self.places
            self.translation = reused = await reuse_jobs(*call, *service)
            self.num_jobs, self._repetitions = len(reused), reused.repetitions
            self._num_parts.update(p for job in range(self.num_jobs) for p in reused.points(job))

    def jobs(self) -> Iterator[JobRun]:
        """The jobs, made lazily; those of one point are priced together."""
        translation = self.translation
        if translation is None:
            return
        for first in range(0, self.num_jobs, translation.jobs_each):
            indices = range(first, first + translation.jobs_each)
            estimates = [0.0] * translation.jobs_each
            if self.pricing.is_charging:
                estimates = [self.pricing.amount(translation.job(index)) for index in indices]
            cost = sum(estimates)
            for index, estimate in zip(indices, estimates, strict=True):
                made = translation.job(index)
                request = self.make_request(made, index if self.num_jobs > 1 else None)
                job = JobRun(self, index, made.points, made.layout, request, estimate, cost)
                job.entry = made.entry
                self.jobs_in_flight[index] = job
                yield job

    def running(self) -> Sequence[str]:
        """The ids of the jobs that may be running on the service, or whose outputs wait there."""
        jobs = list(self.jobs_in_flight.values())
        return [job.request.id for job in jobs if job.may_exist and not job.is_fetched]

    # Outcomes

    @property
    def is_answered(self) -> bool:
        """Whether the service has accepted any job of the call, so that retries are worthwhile."""
        return any(sweep.is_accepted for sweep in self.call)

    def stop(self, error: Exception) -> None:
        """Stops submitting jobs of the call, since they would meet the same error."""
        for sweep in self.call:
            sweep.stopped_by = sweep.stopped_by or error

    def check_going_on(self, points: Sequence[int], *, is_budgeted: bool) -> None:
        """Raises the error that stopped the call, if any; a point begun under a cap continues.

        Also raises the error of a point if another of its jobs failed, to avoid paying in vain.
        """
        error = self.stopped_by
        if error is not None and not (is_budgeted and isinstance(error, CostLimitReached)):
            raise error
        for point in points if self.failures else ():
            if (failure := self.failures.get(point)) is not None:
                raise failure

    def take(self, job: JobRun) -> Iterator[tuple[int, AzureResult]]:
        """Reads a job's results; yields the points that they complete.

        A point counts as delivered when the next is requested. Until then its job is in flight, so
        that a call that ends in the meantime tells how to get the result.
        """
        results: Sequence[AzureResult] = ()
        done = failed = 0
        if job.error is None:
            try:
                layout = job.layout
                if job.entry is not None:
                    layout = layout_of(job.entry, layout, self.format_, self.is_seeded)
                results = self.format_.decode(job.output, layout)
            except Exception as error:
                # An invalid output fails only its own points.
                job.failed(error)
        if job.error is None:
            self.fetched.append(job.request.id)
        else:
            failed = len({*job.points} - self.failures.keys())
            self.failures.update(dict.fromkeys(job.points, job.error))
        for place, result in enumerate(results):
            point = job.points[place]
            assert job.job is not None, "a job with an output was accepted"
            result._set_job(job.job)
            num_parts = self._num_parts.get(point, self._jobs_each)
            if num_parts > 1 or self._repetitions:
                parts = self._parts[point]
                parts[job.index, place] = result
                if len(parts) < num_parts:
                    continue
                ordered = [each for _, each in sorted(self._parts.pop(point).items())]
                repetitions = self._repetitions[point] if self._repetitions else None
                result = AzureResult.join(ordered, repetitions)
            self.lost_shots += result.lost_shots
            yield point, result
            self.delivered.add(point)
            done += 1
        if self.progress is not None:
            self.progress.job_finished(job.request.id, done=done, failed=failed)
        del self.jobs_in_flight[job.index]

    def give_back(self, journal: Journal | None, kept: Collection[int] = ()) -> None:
        """Offers the jobs of all points but those `kept` to the next equal call, as this one ends.

        Not before: a place that is free has no job in flight for anybody else.
        """
        places = [place for point, place in self.places.items() if point not in kept]
        if journal is not None and places:
            journal._give_back(places)

    def time_out(self, seconds: float) -> None:
        """Records a failure for every point that has neither a result nor an error."""
        self.has_timed_out = True
        begun = [job for job in self.jobs_in_flight.values() if job.may_exist]
        submitted = {point: job.request.id for job in begun for point in job.points}
        for point in sorted({*range(len(self.results))} - self.delivered - self.failures.keys()):
            if point in submitted:
                self.failures[point] = not_finished(submitted[point], seconds)
            else:
                self.failures[point] = PoolTimeout(
                    f"The point was not submitted within {seconds:g} s: raise the "
                    "timeout, or run the missing points again."
                )

    # How it ended

    def errors(self, on_error: str, call: Sequence[SweepRun]) -> Iterator[tuple[int, Exception]]:
        """The error of each circuit: the one that stopped it at the start, or a `SweepError`."""
        is_begun = any(each.is_accepted or each.fetched for each in call)
        for index, points in self.circuits.items() if self.failures else ():
            failures = {p - points.start: e for p, e in self.failures.items() if p in points}
            ends = (*failures.values(), self.stopped_by)
            is_capped = any(isinstance(error, CostLimitReached) for error in ends)
            if failures and self.stopped_by is not None and not (is_capped or is_begun):
                yield index, self.stopped_by
            elif failures and (on_error == "raise" or is_capped or self.has_timed_out):
                results = self.results[points.start : points.stop]
                kind = SweepCostLimit if is_capped else SweepError
                kind = SweepTimeout if self.has_timed_out else kind
                advice = " All other results are in .results." if any(results) else ""
                yield index, kind.of("points", failures, results, advice)

    def event(self, kind: str, time: float, reason: str = "") -> SweepEvent:
        """The event of the call's beginning or end."""
        return SweepEvent(kind, self.id, self.target, time, self.num_jobs, reason)
