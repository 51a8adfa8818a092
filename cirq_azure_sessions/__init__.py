"""Azure Quantum for everything that takes a `cirq.Sampler`.

`AzureSessionSampler` runs circuits on a target, `SessionPool` keeps the sessions that its jobs run
in, and a workspace runs the jobs: an `azure.quantum.Workspace`, or `LocalWorkspace` in memory.
Public names are imported when they are first used, so that importing the package is fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str

    from cirq_azure_sessions.cli.circuit_file import read_circuit
    from cirq_azure_sessions.clock import ManualClock, SystemClock
    from cirq_azure_sessions.costs import (
        CostEstimate,
        Rates,
        TimeEstimate,
        estimate_cost,
        known_rates,
    )
    from cirq_azure_sessions.errors import (
        AzureSessionsError,
        CostLimitReached,
        DroppedOperationWarning,
        JobCancelled,
        JobError,
        JobFailed,
        JobTimeout,
        JournalError,
        PoolClosed,
        PoolTimeout,
        QuotaExceeded,
        ResultFormatError,
        ResultNotAvailable,
        ServiceError,
        SessionNotAvailable,
        SweepCostLimit,
        SweepError,
        SweepTimeout,
        UnsupportedProgram,
        UnsupportedTarget,
    )
    from cirq_azure_sessions.journal import Journal
    from cirq_azure_sessions.model import Cost, JobStatus, SessionStatus
    from cirq_azure_sessions.results.azure_result import AzureResult
    from cirq_azure_sessions.results.plot import plot_sweep
    from cirq_azure_sessions.results.sweep_results import SweepResults
    from cirq_azure_sessions.sampler import AzureSessionSampler
    from cirq_azure_sessions.sessions.handles import JobHandle, SessionHandle
    from cirq_azure_sessions.sessions.handles import JobHandle as PooledJob
    from cirq_azure_sessions.sessions.handles import SessionHandle as PooledSession
    from cirq_azure_sessions.sessions.pool import SessionPool
    from cirq_azure_sessions.watch.events import JobEvent, SessionEvent, SweepEvent
    from cirq_azure_sessions.workspaces.azure import AzureWorkspace
    from cirq_azure_sessions.workspaces.local import LocalWorkspace

__all__ = [
    "AzureResult",
    "AzureSessionSampler",
    "AzureSessionsError",
    "AzureWorkspace",
    "Cost",
    "CostEstimate",
    "CostLimitReached",
    "DroppedOperationWarning",
    "JobCancelled",
    "JobError",
    "JobEvent",
    "JobFailed",
    "JobHandle",
    "JobStatus",
    "JobTimeout",
    "Journal",
    "JournalError",
    "LocalWorkspace",
    "ManualClock",
    "PoolClosed",
    "PoolTimeout",
    "PooledJob",
    "PooledSession",
    "QuotaExceeded",
    "Rates",
    "ResultFormatError",
    "ResultNotAvailable",
    "ServiceError",
    "SessionEvent",
    "SessionHandle",
    "SessionNotAvailable",
    "SessionPool",
    "SessionStatus",
    "SweepCostLimit",
    "SweepError",
    "SweepEvent",
    "SweepResults",
    "SweepTimeout",
    "SystemClock",
    "TimeEstimate",
    "UnsupportedProgram",
    "UnsupportedTarget",
    "estimate_cost",
    "known_rates",
    "plot_sweep",
    "read_circuit",
]

_HOMES = {
    "AzureResult": "results.azure_result",
    "AzureSessionSampler": "sampler",
    "AzureWorkspace": "workspaces.azure",
    "Cost": "model",
    "CostEstimate": "costs",
    "JobEvent": "watch.events",
    "JobHandle": "sessions.handles",
    "JobStatus": "model",
    "Journal": "journal",
    "LocalWorkspace": "workspaces.local",
    "ManualClock": "clock",
    "PooledJob": "sessions.handles",
    "PooledSession": "sessions.handles",
    "Rates": "costs",
    "SessionEvent": "watch.events",
    "SessionHandle": "sessions.handles",
    "SessionPool": "sessions.pool",
    "SessionStatus": "model",
    "SweepEvent": "watch.events",
    "SweepResults": "results.sweep_results",
    "SystemClock": "clock",
    "TimeEstimate": "costs",
    "estimate_cost": "costs",
    "known_rates": "costs",
    "plot_sweep": "results.plot",
    "read_circuit": "cli.circuit_file",
}
# Until 1.0.
_ALIASES = {"PooledJob": "JobHandle", "PooledSession": "SessionHandle"}


# Hidden from type checkers, which would otherwise accept a misspelt name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            from importlib.metadata import version

            return version("cirq-azure-sessions")
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = importlib.import_module(f"{__name__}.{_HOMES.get(name, 'errors')}")
        value = globals()[name] = getattr(home, _ALIASES.get(name, name))
        return value


def __dir__() -> list[str]:
    return __all__
