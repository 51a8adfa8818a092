"""Results of points and sweeps, their histograms, tables and plots."""

from cirq_azure_sessions.results.azure_result import AzureResult
from cirq_azure_sessions.results.plot import plot_sweep
from cirq_azure_sessions.results.sweep_results import SweepResults

__all__ = ["AzureResult", "SweepResults", "plot_sweep"]
