"""`SweepRun`: one call's points, jobs, results and failures, and what to tell of them."""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote
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
from cirq_azure_sessions.journal.rows import Place
from cirq_azure_sessions.model import JobRequest, SweepEvent
from cirq_azure_sessions.results.azure_result import AzureResult
from cirq_azure_sessions.results.sweep_results import SweepResults
from cirq_azure_sessions.watch.progress import SweepProgress

__all__ = ["SweepRun", "interruption_note"]


class SweepRun:
    """One call of a sampler, or one of the circuits of a batch.

    Lives on the background loop from its first job to its last, before and after that with its
    caller.

    Args:
        target: Where the jobs run.
        translation: The jobs that cover the points; None for a sweep without any.
        points: The number of points.
        format_: What wrote the translation, and reads the results.
        pricing: What jobs cost.
        is_seeded: Whether samples that the client draws follow from a seed.
        make_request: Makes a job's request from its input and its number, None if it is the only
            one.

    Attributes:
        id: Names the call in events.
        num_jobs: The number of its jobs.
        results: One entry per point; None until its result is there, and in a stream throughout.
        failures: The error of each point that failed.
        delivered: The points whose results were delivered.
        jobs_in_flight: The jobs that were begun and have not ended, by their index.
        fetched: The ids of the jobs whose outputs were fetched.
        accepted: How many jobs the service has accepted.
        stopped_by: The error after which nothing more of the call is submitted.
        session_ids: The sessions that took jobs of the call.
        has_timed_out: Whether the call's timeout ran out.
        progress: The bar to draw, if any.
        call: All sweeps of the same call: this one, or those of a batch.
    """

    def __init__(
        self,
        target: str,
        translation: Translation | None,
        points: int,
        format_: Format,
        pricing: Pricing,
        is_seeded: bool,
        make_request: Callable[[JobInput, int | None], JobRequest],
    ) -> None:
        self.id = str(uuid.uuid4())
        self.target = target
        self.num_jobs = 0 if translation is None else len(translation)
        self.results = SweepResults([None] * points)
        self.failures: dict[int, Exception] = {}
        self.delivered: set[int] = set()
        self.jobs_in_flight: dict[int, JobRun] = {}
        self.fetched: list[str] = []
        self.accepted = 0
        self.stopped_by: Exception | None = None
        self.session_ids: set[str] = set()
        self.has_timed_out = False
        self.progress: SweepProgress | None = None
        self.call: Sequence[SweepRun] = (self,)
        self._places: list[Place] = []
        self._translation = translation
        self._format = format_
        self._pricing = pricing
        self._is_charging = pricing.is_charging
        self._is_seeded = is_seeded
        self._make_request = make_request
        # Of points that take several jobs: how many each takes, and the results that have come.
        self._parts: dict[int, dict[int, AzureResult]] = defaultdict(dict)
        self._jobs_of_point: Counter[int] = Counter()
        if translation is not None and self.num_jobs > points:
            for index in range(self.num_jobs):
                self._jobs_of_point.update(translation.points(index))

    # Jobs

    def jobs(self) -> Iterator[JobRun]:
        """The jobs, each made when its turn comes."""
        amounts: list[float] = []
        point_cost = 0.0
        for index in range(self.num_jobs):
            assert self._translation is not None, "there are jobs"
            if self._is_charging and not amounts:
                # The jobs of one point follow each other, and are priced together.
                amounts = self._amounts(index)
                point_cost = sum(amounts)
            job_input = self._translation.job(index)
            request = self._make_request(job_input, index if self.num_jobs > 1 else None)
            job = JobRun(
                self,
                index,
                job_input.points,
                job_input.layout,
                request,
                estimate=amounts.pop() if amounts else 0.0,
                point_cost=point_cost,
            )
            self.jobs_in_flight[index] = job
            yield job

    def usage(self) -> Mapping[str, float]:
        """What the jobs are estimated to consume, by dimension of the workspace's quotas."""
        return self._pricing.usage(self._translation)

    def _amounts(self, first: int) -> list[float]:
        """What each job of a point costs, the last job first."""
        translation = self._translation
        assert translation is not None, "there are jobs"
        points, amounts = translation.points(first), []
        for index in range(first, self.num_jobs):
            if translation.points(index) != points:
                break
            amounts.append(self._pricing.amount(translation.job(index)))
        return amounts[::-1]

    def results_by_point(self) -> Iterator[tuple[int, AzureResult]]:
        """The results that are there, with the indices of their points."""
        for point, result in enumerate(self.results):
            if result is not None:
                yield point, result

    # What becomes of them

    @property
    def is_answered(self) -> bool:
        """Whether the service has accepted a job of the call: once it did, it will again."""
        return any(sweep.accepted for sweep in self.call)

    def has_used(self, session_id: str) -> bool:
        """Whether the session has taken a job of the call."""
        return any(session_id in sweep.session_ids for sweep in self.call)

    def stop(self, error: Exception) -> None:
        """Submits nothing more of the call: its other jobs would meet the same error."""
        for sweep in self.call:
            sweep.stopped_by = sweep.stopped_by or error

    def check_going_on(self, points: Iterable[int], *, is_budgeted: bool = False) -> None:
        """Raises the error that stopped the call, if one did; a point begun under a cap goes on.

        Raises also the error of a point of which another job failed: more would be paid in vain.
        """
        error = self.stopped_by
        if error is not None and not (is_budgeted and isinstance(error, CostLimitReached)):
            raise error
        if self.failures:
            for point in points:
                if (failure := self.failures.get(point)) is not None:
                    raise failure

    def take(self, job: JobRun) -> Iterator[tuple[int, AzureResult]]:
        """Reads what a job brought; yields the points that are complete with it.

        A point counts as delivered when the next is asked for. Until then its job is in flight, so
        that a call that ends meanwhile says how to get at the result.
        """
        results: Sequence[AzureResult] = ()
        if job.error is None:
            try:
                layout = job.layout if job.entry is None else self._journalled_layout(job)
                results = self._format.decode(job.output, layout)
            except Exception as error:
                # Whatever an output is, it fails its own points and no others.
                job.failed(error)
        if job.error is None:
            self.fetched.append(job.id)
            if job.entry is not None:
                self._places.append(job.entry.place)
        else:
            self.failures.update(dict.fromkeys(job.points, job.error))
        if self.progress is not None:
            self.progress.job_finished(job.id, failed=job.error is not None)
        for point, result in zip(job.points, results, strict=job.error is None):
            assert job.job is not None, "a job with an output was accepted"
            result._set_job(job.job)
            if point in self._jobs_of_point:
                parts = self._parts[point]
                parts[job.index] = result
                if len(parts) < self._jobs_of_point[point]:
                    continue
                result = AzureResult.join([parts[number] for number in sorted(parts)])
                del self._parts[point]
            yield point, result
            self.delivered.add(point)
        del self.jobs_in_flight[job.index]

    def _journalled_layout(self, job: JobRun) -> Any:
        """What a job's output means: if an earlier run submitted it, what it meant to that run.

        With another seed than then, the client draws anew from what the service returned.
        """
        assert job.entry is not None, "it is journalled"
        if job.entry.is_new:
            return job.layout
        earlier = self._format.read_layout(job.entry.metadata)
        if self._is_seeded and earlier.entropy[:1] != job.layout.entropy[:1]:
            return job.layout
        return job.layout.with_draws_of(earlier)

    def give_back(self, journal: Journal | None) -> None:
        """The call did not end well: the next same call is offered the same jobs."""
        if journal is not None and self._places:
            journal._give_back(self._places)

    def time_out(self, seconds: float) -> None:
        """Notes a failure for every point that has neither a result nor an error."""
        self.has_timed_out = True
        for job in self.jobs_in_flight.values():
            if job.may_exist:
                for point in set(job.points) - self.delivered:
                    self.failures.setdefault(point, not_finished(job.id, seconds))
        for point in range(len(self.results)):
            if point not in self.delivered:
                self.failures.setdefault(
                    point,
                    PoolTimeout(
                        f"The point was not submitted within {seconds:g} s: allow more time, "
                        "or run the missing points again."
                    ),
                )

    # How it ended

    def error(self, on_error: str) -> Exception | None:
        """What the call raises: the error that stopped it at the start, or a `SweepError`."""
        is_over_budget = any(isinstance(each, CostLimitReached) for each in self.failures.values())
        if not self.failures:
            return None
        is_begun = is_over_budget or any(sweep.accepted or sweep.fetched for sweep in self.call)
        if not is_begun and self.stopped_by is not None:
            return self.stopped_by
        if on_error == "return" and not (is_over_budget or self.has_timed_out):
            return None
        kind = SweepCostLimit if is_over_budget else SweepError
        kind = SweepTimeout if self.has_timed_out else kind
        first = min(self.failures)
        has_results = any(result is not None for result in self.results)
        advice = " All other results are in .results." if has_results else ""
        error = kind(
            f"{len(self.failures)} of {len(self.results)} points failed, the first at index "
            f"{first}: {self.failures[first]}{advice}",
            failures=self.failures,
            results=self.results,
        )
        error.__cause__ = self.failures[first]
        return error

    def event(self, kind: str, time: float, error: BaseException | None = None) -> SweepEvent:
        """The event that tells that the call begins or ends."""
        return SweepEvent(
            kind,
            self.id,
            self.target,
            time=time,
            jobs=self.num_jobs,
            reason=type(error).__name__ if error is not None else "",
        )


def interruption_note(sweeps: Sequence[SweepRun], *, cancelled: bool, journal: Path | None) -> str:
    """How to get back to the jobs of an interrupted call; empty if none was submitted.

    With a journal, which has the ids of all jobs, they are counted; without one they are listed.
    """
    target = sweeps[0].target
    running = [
        job.id for sweep in sweeps for job in list(sweep.jobs_in_flight.values()) if job.is_running
    ]
    fetched = [job_id for sweep in sweeps for job_id in sweep.fetched]
    if not running and not fetched:
        return ""
    if journal is not None:
        fate = "asked to be cancelled" if cancelled else "possibly still running"
        return (
            f"Jobs on {target}: {len(running)} {fate}, {len(fetched)} with their results fetched."
            f" Run the program again with the journal {journal} to go on where it stopped;"
            f" `cirq-azure-sessions journal show {quote(str(journal))}` lists the jobs."
        )
    parts = []
    if running:
        if cancelled:
            parts.append(f"Cancellation was requested for these jobs on {target}: ")
        else:
            parts.append(f"These jobs on {target} may still be running: ")
        parts[-1] += f"{', '.join(running)}."
    if fetched:
        parts.append(f"The results of these jobs were fetched: {', '.join(fetched)}.")
    parts.append("get_result(job_id) of a sampler for this target fetches each result.")
    return " ".join(parts)
