"""Azure Quantum for everything that takes a `cirq.Sampler`.

`AzureSessionSampler` runs circuits on a target, `SessionPool` keeps the sessions that its jobs go
in, and a workspace says where jobs go: an `azure.quantum.Workspace`, or `LocalWorkspace` in memory.
Public names are imported when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cirq_azure_sessions.clock import ManualClock, SystemClock
    from cirq_azure_sessions.costs import CostEstimate, Rates, estimate_cost, known_rates
    from cirq_azure_sessions.errors import (
        AzureSessionsError,
        CostLimitReached,
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
    from cirq_azure_sessions.model import JobEvent, SessionEvent, SweepEvent
    from cirq_azure_sessions.pooled.job import PooledJob
    from cirq_azure_sessions.pooled.session import PooledSession
    from cirq_azure_sessions.results.azure_result import AzureResult
    from cirq_azure_sessions.results.plot import plot_sweep
    from cirq_azure_sessions.results.sweep_results import SweepResults
    from cirq_azure_sessions.sampler import AzureSessionSampler
    from cirq_azure_sessions.sessions.pool import SessionPool
    from cirq_azure_sessions.workspaces.azure import AzureWorkspace
    from cirq_azure_sessions.workspaces.local import LocalWorkspace

__all__ = [
    "AzureResult",
    "AzureSessionSampler",
    "AzureSessionsError",
    "AzureWorkspace",
    "CostEstimate",
    "CostLimitReached",
    "JobCancelled",
    "JobError",
    "JobEvent",
    "JobFailed",
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
    "SessionNotAvailable",
    "SessionPool",
    "SweepCostLimit",
    "SweepError",
    "SweepEvent",
    "SweepResults",
    "SweepTimeout",
    "SystemClock",
    "UnsupportedProgram",
    "UnsupportedTarget",
    "estimate_cost",
    "known_rates",
    "plot_sweep",
]

_ROOMS = {
    "AzureResult": "results.azure_result",
    "AzureSessionSampler": "sampler",
    "AzureWorkspace": "workspaces.azure",
    "CostEstimate": "costs",
    "JobEvent": "model",
    "Journal": "journal",
    "LocalWorkspace": "workspaces.local",
    "ManualClock": "clock",
    "PooledJob": "sessions.handles",
    "PooledSession": "sessions.handles",
    "Rates": "costs",
    "SessionEvent": "model",
    "SessionPool": "sessions.pool",
    "SweepEvent": "model",
    "SweepResults": "results.sweep_results",
    "SystemClock": "clock",
    "estimate_cost": "costs",
    "known_rates": "costs",
    "plot_sweep": "results.plot",
}


# Hidden from type checkers, to which a misspelt name would otherwise be one that may exist.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        room = importlib.import_module(f"{__name__}.{_ROOMS.get(name, 'errors')}")
        value = globals()[name] = getattr(room, name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
