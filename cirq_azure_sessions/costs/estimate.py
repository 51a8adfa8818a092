"""Cost estimates of jobs and sweeps."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from cirq_azure_sessions.costs.rates import Rates
from cirq_azure_sessions.formats.translation import Workload
from cirq_azure_sessions.options import checked
from cirq_azure_sessions.results.html import table
from cirq_azure_sessions.spelling import counted

__all__ = ["CostEstimate", "JobCost", "TimeEstimate", "how_to_know"]

# The maximum number of jobs in a table, and of points per job; the estimate has them all.
_MAX_ROWS = 50
_MAX_POINTS = 4


@dataclass(frozen=True, slots=True)
class JobCost:
    """The estimated cost of one job.

    Attributes:
        points: The points of the sweep that it covers.
        workload: The billed quantities of its program.
        amount: Its cost, in the unit of the rates; None if unknown.
        is_minimum: Whether this is the minimum price of a job.
    """

    points: Sequence[int]
    workload: Workload
    amount: float | None
    is_minimum: bool = False


@dataclass(frozen=True, slots=True)
class TimeEstimate:
    """The queue time of jobs; their run time is not known in advance.

    Attributes:
        target: The target's id.
        num_jobs: The number of jobs.
        max_concurrent_jobs: How many of them may be in the target's queue at a time.
        queue_time: The average seconds in the target's queue, as reported by the service.
    """

    target: str
    num_jobs: int
    max_concurrent_jobs: int
    queue_time: float

    @property
    def at_least(self) -> float:
        """Seconds if all jobs pass through the queue together."""
        return self.queue_time if self.num_jobs else 0.0

    @property
    def at_most(self) -> float:
        """Seconds if each round of jobs enters the queue when the previous one has finished."""
        return self.queue_time * math.ceil(self.num_jobs / self.max_concurrent_jobs)

    def __str__(self) -> str:
        least, most = (timedelta(seconds=round(each)) for each in (self.at_least, self.at_most))
        ends = f"{least}" if least == most else f"{least} to {most}"
        jobs = counted(self.num_jobs, "job")
        return (
            f"{ends} in the queue for {jobs} on {self.target}, "
            f"{self.max_concurrent_jobs} at a time, with the service's average of "
            f"{self.queue_time:g} s."
        )


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """The estimated cost of a sweep, assuming that the service optimizes no gates away.

    Attributes:
        target: The target's id.
        rates: The rates, with their source and date; None if none are known.
        jobs: The cost of each job, in the order of submission.
        jobs_unpacked: If points share jobs, the cost of each job if they did not.
    """

    target: str
    rates: Rates | None
    jobs: tuple[JobCost, ...]
    jobs_unpacked: tuple[JobCost, ...] = ()

    @property
    def amount(self) -> float | None:
        """The cost of all jobs, in `unit`; None if unknown, and `str(estimate)` says why."""
        return None if self.rates is None else _total(self.jobs)

    @property
    def amount_unpacked(self) -> float | None:
        """The cost if each point had its own jobs; None if points share no jobs."""
        has_both = self.rates is not None and self.jobs_unpacked
        return _total(self.jobs_unpacked) if has_both else None

    @property
    def unit(self) -> str:
        """The unit of amounts, such as `USD` or `HQC`; empty without rates."""
        return "" if self.rates is None else self.rates.unit

    @property
    def is_free(self) -> bool:
        """Whether jobs on the target cost nothing."""
        return self.rates is not None and self.rates.is_free

    @property
    def minimum_applied(self) -> bool:
        """Whether the minimum of the rates applies to any job."""
        return any(job.is_minimum for job in self.jobs)

    @property
    def points(self) -> Mapping[int, float]:
        """The cost of each point, if known; the points of a job share its cost equally."""
        shares: dict[int, float] = defaultdict(float)
        for job in self.jobs:
            if job.amount is not None:
                for point in job.points:
                    shares[point] += job.amount / len(job.points)
        return dict(shares)

    @property
    def usage(self) -> Mapping[str, float]:
        """The jobs' consumption, by the `dimensionId` of the service's bills."""
        return {} if self.rates is None else self.rates.usage([job.workload for job in self.jobs])

    @checked()
    def time(self, queue_time: float, max_concurrent_jobs: int = 100) -> TimeEstimate:
        """The jobs' time in the queue, if the average is `queue_time` seconds."""
        return TimeEstimate(self.target, len(self.jobs), max_concurrent_jobs, queue_time)

    def __repr__(self) -> str:
        return (
            f"CostEstimate(target={self.target!r}, amount={self.amount}, unit={self.unit!r}, "
            f"jobs={len(self.jobs)})"
        )

    def __str__(self) -> str:
        what = f"{counted(len(self.jobs), 'job')} on {self.target}"
        if self.amount is None:
            return f"The cost of {what} is not known: {how_to_know(self.target, self.rates)}"
        assert self.rates is not None, "there is no amount without rates"
        if self.is_free:
            provenance = self.rates._provenance()
            source = f", according to {provenance}" if provenance else ""
            return f"0 {self.unit} for {what}: the target is free{source}."
        at_least = sum(job.is_minimum for job in self.jobs)
        least = f", {at_least} at the minimum of {self.rates.minimum:g}" if at_least else ""
        instead = ""
        if self.amount_unpacked is not None:
            jobs = counted(len(self.jobs_unpacked), "job")
            instead = f" instead of {self.amount_unpacked:,.2f} for {jobs}"
        total = f"{self.amount:,.2f} {self.unit} for {what}{least}{instead}"
        return f"{total}, according to {self.rates._provenance()}."

    def _repr_html_(self) -> str:
        rows = [
            (
                ", ".join(map(str, job.points[:_MAX_POINTS]))
                + (", ..." if len(job.points) > _MAX_POINTS else ""),
                job.workload.shots,
                job.workload.one_qubit_gates,
                job.workload.two_qubit_gates,
                job.amount,
            )
            for job in self.jobs[:_MAX_ROWS]
        ]
        hidden = len(self.jobs) - _MAX_ROWS
        return table(
            str(self),
            ["points", "shots", "1q gates", "2q gates", self.unit],
            rows,
            below=f"and {counted(hidden, 'more job')}" if hidden > 0 else "",
        )


def _total(jobs: Sequence[JobCost]) -> float | None:
    amounts = [job.amount for job in jobs if job.amount is not None]
    return round(sum(amounts), 9) if len(amounts) == len(jobs) else None


def how_to_know(target: str, rates: Rates | None) -> str:
    """The rates to pass if a job's cost is unknown, as advice for a message."""
    if rates is None:
        return f"no rates are published for {target}; pass rates=Rates(unit=..., per_job=..., ...)."
    return (
        f"{target} bills {rates.per_centisecond:g} {rates.unit} for 10 ms on the machine, but "
        f"how long a shot takes is not published; pass rates=dataclasses.replace("
        f"known_rates({target!r}), seconds_per_shot=...)."
    )
