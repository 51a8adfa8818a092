"""Listing sessions and jobs sends no more requests than the limit needs."""

from __future__ import annotations

from services import REMOTE, ROTATION, angles

from cirq_azure_sessions import AzureSessionSampler, SessionPool
from cirq_azure_sessions.emulator import EmulatorServer


def test_a_limit_of_zero_lists_nothing_and_asks_for_nothing() -> None:
    with EmulatorServer() as server, SessionPool(server.workspace()) as pool:
        AzureSessionSampler(REMOTE, pool=pool).run_sweep(ROTATION, angles(3), 2)
        before = server.requests.snapshot().total
        assert pool.list_jobs(limit=0) == []
        assert pool.list_sessions(limit=0) == []
        assert server.requests.snapshot().total <= before + 2


def test_a_limit_counts_what_matches() -> None:
    with EmulatorServer() as server, SessionPool(server.workspace()) as pool:
        AzureSessionSampler(REMOTE, pool=pool).run_sweep(ROTATION, angles(3), 2)
        pool.session("ionq.qpu.aria-1")
        assert len(pool.list_jobs(limit=2)) == 2
        assert [s.target for s in pool.list_sessions(limit=1, target=REMOTE)] == [REMOTE]
