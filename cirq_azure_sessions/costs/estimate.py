"""What a sweep is going to cost, as values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cirq_azure_sessions.costs.rates import Rates
from cirq_azure_sessions.formats.translation import Workload

__all__ = ["CostEstimate", "JobCost", "how_to_know"]


@dataclass(frozen=True, slots=True)
class JobCost:
    """What one job is going to cost.

    Attributes:
        points: The sweep points that it covers.
        workload: What it asks of the machine.
        amount: What that costs, in the unit of the rates; None if the rates do not tell.
        is_minimum: Whether that is the least that a job costs.
    """

    points: range
    workload: Workload
    amount: float | None
    is_minimum: bool = False


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """What a sweep is going to cost: an estimate, in which nothing is optimized away.

    Attributes:
        target: The target's id.
        rates: What it is computed from, with their source and date; None if none are known.
        jobs: What each job costs, in the order of submission.
    """

    target: str
    rates: Rates | None
    jobs: tuple[JobCost, ...]

    @property
    def amount(self) -> float | None:
        """What all jobs cost, in `unit`; None if that is not known, and `str()` tells why."""
        amounts = [job.amount for job in self.jobs if job.amount is not None]
        is_known = self.rates is not None and len(amounts) == len(self.jobs)
        return round(sum(amounts), 9) if is_known else None

    @property
    def unit(self) -> str:
        """What amounts are in, such as `USD` or `HQC`; empty without rates."""
        return "" if self.rates is None else self.rates.unit

    @property
    def is_free(self) -> bool:
        """Whether the target runs jobs for nothing."""
        return self.rates is not None and self.rates.is_free

    @property
    def minimum_applied(self) -> bool:
        """Whether any job costs more than what it does, because it costs the minimum."""
        return any(job.is_minimum for job in self.jobs)

    @property
    def points(self) -> Mapping[int, float]:
        """What each sweep point costs, where that is known; points of one job share its cost."""
        shares: dict[int, float] = defaultdict(float)
        for job in self.jobs:
            if job.amount is not None:
                for point in job.points:
                    shares[point] += job.amount / len(job.points)
        return dict(shares)

    @property
    def usage(self) -> Mapping[str, float]:
        """What the jobs consume, by the `dimensionId` under which the service bills it."""
        return {} if self.rates is None else usage_of(self.rates, self.jobs)

    def __repr__(self) -> str:
        return (
            f"CostEstimate(target={self.target!r}, amount={self.amount}, unit={self.unit!r}, "
            f"jobs={len(self.jobs)})"
        )

    def __str__(self) -> str:
        what = f"{len(self.jobs)} job{'s' if len(self.jobs) != 1 else ''} on {self.target}"
        if self.amount is None:
            return f"The cost of {what} is not known: {how_to_know(self.target, self.rates)}"
        assert self.rates is not None, "there is no amount without rates"
        if self.is_free:
            return f"0 {self.unit} for {what}: free of charge, says {_said(self.rates)}."
        at_least = sum(job.is_minimum for job in self.jobs)
        least = f", {at_least} at the minimum of {self.rates.minimum:g}" if at_least else ""
        return f"{self.amount:,.2f} {self.unit} for {what}{least}, by {_said(self.rates)}."


def usage_of(rates: Rates, jobs: Sequence[JobCost]) -> Mapping[str, float]:
    """What jobs consume, in the dimensions of the service's bills and quotas (recorded)."""
    works = [job.workload for job in jobs]
    if rates.is_in_credits:
        return {rates.unit.lower(): round(sum(rates.amount(work) for work in works), 9)}
    if rates.per_centisecond:
        return {"qpu_time_centiseconds": sum(rates.centiseconds(work) for work in works)}
    return {
        "gs1q": sum(work.shots * work.one_qubit_gates for work in works),
        "gs2q": sum(work.shots * work.two_qubit_gates for work in works),
    }


def how_to_know(target: str, rates: Rates | None) -> str:
    """Which rates to give where those at hand do not tell what a job costs."""
    if rates is None:
        return f"no rates are published for {target}; give rates=Rates(unit=..., per_job=..., ...)."
    return (
        f"{target} bills {rates.per_centisecond:g} {rates.unit} for 10 ms on the machine, and "
        f"nobody publishes how long a shot takes; give rates=dataclasses.replace("
        f"known_rates({target!r}), seconds_per_shot=...)."
    )


def _said(rates: Rates) -> str:
    return f"{rates.source} of {rates.date}" if rates.date else rates.source
