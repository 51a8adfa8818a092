"""What jobs cost: published rates, estimates before anything is sent, and the watch over a cap."""

from cirq_azure_sessions.costs.estimate import CostEstimate, JobCost, estimate_cost
from cirq_azure_sessions.costs.prices import known_rates
from cirq_azure_sessions.costs.rates import Rates

__all__ = ["CostEstimate", "JobCost", "Rates", "estimate_cost", "known_rates"]
