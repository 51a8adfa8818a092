"""What jobs cost by a target's rates, from the translation of a sweep."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import cirq

from cirq_azure_sessions.checks import check_call
from cirq_azure_sessions.costs.estimate import CostEstimate, JobCost
from cirq_azure_sessions.costs.prices import known_rates
from cirq_azure_sessions.costs.rates import Rates
from cirq_azure_sessions.formats import format_for
from cirq_azure_sessions.formats.translation import (
    Format,
    JobInput,
    Translation,
    TranslationOptions,
)

__all__ = ["Pricing", "estimate_cost"]


class Pricing:
    """A target's rates, ready to be put on jobs.

    Args:
        target: The target's id.
        format: What its programs are written in.
        rates: The caller's rates, or None for those that are published.
        input_params: The provider options of the jobs.
    """

    def __init__(
        self,
        target: str,
        format: Format,
        rates: Rates | None = None,
        input_params: Mapping[str, Any] | None = None,
    ) -> None:
        self.target = target
        self.rates: Rates | None = rates if rates is not None else known_rates(target, input_params)
        self._format = format

    @property
    def is_charging(self) -> bool:
        """Whether jobs cost something, and it is known what."""
        return self.rates is not None and self.rates.is_complete and not self.rates.is_free

    def of_job(self, job: JobInput) -> JobCost:
        """What one job costs."""
        work = self._format.workload(job)
        if self.rates is None or not self.rates.is_complete:
            return JobCost(job.points, work, None)
        return JobCost(job.points, work, self.rates.amount(work), self.rates.is_minimum(work))

    def amount(self, job: JobInput) -> float:
        """What one job costs, without looking at it where that is nothing or not known."""
        return (self.of_job(job).amount or 0.0) if self.is_charging else 0.0

    def first_point(self, translation: Translation) -> float:
        """What the first point of a sweep costs."""
        if not self.is_charging:
            return 0.0
        return self.amount(translation.job(0)) + self.rest(translation, 0)

    def rest(self, translation: Translation, index: int) -> float:
        """What the jobs cost that follow the one with this index for the same point."""
        points, later = translation.points(index), range(index + 1, len(translation))
        same = itertools.takewhile(lambda k: translation.points(k) == points, later)
        return sum(self.amount(translation.job(k)) for k in same) if self.is_charging else 0.0

    def estimate(self, translation: Translation | None) -> CostEstimate:
        """What all jobs of a sweep cost; None stands for a sweep without any."""
        return CostEstimate(self.target, self.rates, tuple(self._jobs(translation)))

    def _jobs(self, translation: Translation | None) -> Iterator[JobCost]:
        if translation is not None:
            for index in range(len(translation)):
                yield self.of_job(translation.job(index))


def estimate_cost(
    target: str,
    program: cirq.AbstractCircuit,
    repetitions: int = 1,
    params: cirq.Sweepable = None,
    *,
    rates: Rates | None = None,
    compile: bool = True,
    input_params: Mapping[str, Any] | None = None,
) -> CostEstimate:
    """What a sweep is going to cost on a target. Sends nothing, and needs no workspace.

    Args:
        target: The target's id.
        program: The circuit; what is counted is what it is compiled to.
        repetitions: How often to sample each point.
        params: The sweep; None for the circuit as it is.
        rates: The rates to use, instead of those that are published.
        compile: Whether the circuit is compiled to the gates that the target takes.
        input_params: Provider options; IonQ's error mitigation has a price.

    Raises:
        UnsupportedTarget: If the target takes no circuits.
        UnsupportedProgram: If a point cannot be run on it.
    """
    format_ = format_for(target)
    pricing = Pricing(target, format_, rates, input_params)
    resolvers = list(cirq.to_resolvers(params))
    program, repetitions = check_call(program, resolvers, repetitions)
    if not resolvers or not repetitions:
        return pricing.estimate(None)
    options = TranslationOptions(target, compile=compile, input_params=input_params or {})
    return pricing.estimate(format_.translate(program, resolvers, repetitions, options))
