"""The jobs of a sweep, priced by a target's rates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cirq

from cirq_azure_sessions.costs.estimate import CostEstimate, JobCost
from cirq_azure_sessions.costs.rates import Rates, known_rates
from cirq_azure_sessions.formats import format_for
from cirq_azure_sessions.formats.packing import as_pack
from cirq_azure_sessions.formats.translation import (
    Format,
    JobInput,
    Translation,
    TranslationOptions,
    translate_calls,
)
from cirq_azure_sessions.options import STRING, checked

__all__ = ["Pricing", "estimate_cost"]


class Pricing:
    """Prices jobs by a target's rates.

    Args:
        target: The target's id.
        job_format: The format of its jobs, which counts their workload.
        rates: The caller's rates; None for the published ones.
        input_params: The provider options of the jobs.

    Attributes:
        rates: The rates, if they are known.
        is_charging: Whether jobs have a known cost that is not zero.
    """

    def __init__(
        self,
        target: str,
        job_format: Format,
        rates: Rates | None = None,
        input_params: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(rates, Rates | None):
            raise ValueError(f"rates must be Rates or None, not a {type(rates).__name__}.")
        self.target = target
        self.rates: Rates | None = rates if rates is not None else known_rates(target, input_params)
        self.is_charging = (
            self.rates is not None and self.rates.is_complete and not self.rates.is_free
        )
        self._format = job_format

    def of_job(self, job: JobInput) -> JobCost:
        """The cost of one job."""
        work = self._format.workload(job)
        if self.rates is None or not self.rates.is_complete:
            return JobCost(job.points, work, None)
        return JobCost(job.points, work, self.rates.amount(work), self.rates.is_minimum(work))

    def amount(self, job: JobInput) -> float:
        """The cost of one job as a number; 0 if the job is free or its cost is unknown."""
        if self.rates is None or not self.is_charging:
            return 0.0
        return self.rates.amount(self._format.workload(job))

    def estimate_call(
        self,
        program: cirq.AbstractCircuit,
        params: cirq.Sweepable,
        repetitions: int,
        options: TranslationOptions,
    ) -> CostEstimate:
        """The cost of a sampler's call."""
        call = [program], [params], [repetitions]
        [(translation, *_)] = translate_calls(self._format, *call, options)
        return self.estimate(translation)

    def estimate(self, translation: Translation | None) -> CostEstimate:
        """The cost of all jobs of a sweep; None stands for a sweep without jobs."""
        jobs = tuple(map(self.of_job, _jobs(translation)))
        alone: tuple[JobCost, ...] = ()
        if translation is not None and translation.is_packed:
            packed: Any = translation
            alone = tuple(self.of_job(job) for _, job in packed.alone_jobs())
        return CostEstimate(self.target, self.rates, jobs, alone)

    def usage(self, translation: Translation | None) -> Mapping[str, float]:
        """The consumption of a sweep's jobs, by the `dimensionId` of bills and quotas."""
        if self.rates is None:
            return {}
        return self.rates.usage([self._format.workload(job) for job in _jobs(translation)])


@checked(target=STRING)
def estimate_cost(
    target: str,
    program: cirq.AbstractCircuit,
    params: cirq.Sweepable = None,
    repetitions: int = 1,
    *,
    rates: Rates | None = None,
    compile: bool = True,
    input_params: Mapping[str, Any] | None = None,
    pack: int | str | Sequence[Sequence[int]] | None = None,
) -> CostEstimate:
    """Estimates the cost of a sweep. Sends nothing, and needs no workspace.

    Args:
        target: The target's id.
        program: The circuit; the gates of the compiled circuit are counted.
        params: The sweep; None for a circuit without parameters.
        repetitions: Shots for each point.
        rates: The rates to use instead of the published ones.
        compile: Whether to compile to the target's gates.
        input_params: Provider options; IonQ's error mitigation affects the price.
        pack: How points share jobs, as for `AzureSessionSampler`. The estimate then also has the
            price without packing.

    Raises:
        UnsupportedTarget: If the target takes no circuits.
        UnsupportedProgram: If a point cannot be run on it.
        ValueError: If `pack` is invalid, or points cannot share jobs on the target.
    """
    job_format = format_for(target)
    pricing = Pricing(target, job_format, rates, input_params)
    options = TranslationOptions(
        target,
        compile=compile,
        input_params=input_params or {},
        pack=as_pack(pack, job_format, target),
    )
    return pricing.estimate_call(program, params, repetitions, options)


def _jobs(translation: Translation | None) -> Iterator[JobInput]:
    if translation is not None:
        for index in range(len(translation)):
            yield translation.job(index)
