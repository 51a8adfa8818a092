"""Costs of jobs: rates, estimates before a run, and limits during a run.

rates        rates of providers, including the published ones
estimate     estimated costs of jobs and sweeps, as values
pricing      the cost of a sweep's jobs at given rates
budget       the spending cap of a sampler, and the quotas of its workspace
"""

from cirq_azure_sessions.costs.estimate import CostEstimate, JobCost, TimeEstimate
from cirq_azure_sessions.costs.pricing import estimate_cost
from cirq_azure_sessions.costs.rates import Rates, known_rates
from cirq_azure_sessions.formats.translation import Workload

__all__ = [
    "CostEstimate",
    "JobCost",
    "Rates",
    "TimeEstimate",
    "Workload",
    "estimate_cost",
    "known_rates",
]
