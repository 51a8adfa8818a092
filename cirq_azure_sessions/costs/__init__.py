"""What jobs cost: published rates, estimates before anything is sent, and the watch over a cap.

rates        what a provider asks for a job, as numbers
prices       the published rates: data
pricing      rates put on the jobs of a sweep
estimate     what comes of that, as values
budget       the cap on what a sampler spends
quota_guard  whether what quotas have left does for a sweep
"""

from cirq_azure_sessions.costs.estimate import CostEstimate, JobCost
from cirq_azure_sessions.costs.prices import known_rates
from cirq_azure_sessions.costs.pricing import estimate_cost
from cirq_azure_sessions.costs.rates import Rates

__all__ = ["CostEstimate", "JobCost", "Rates", "estimate_cost", "known_rates"]
