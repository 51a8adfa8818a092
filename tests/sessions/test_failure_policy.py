"""The Abort policy: the failure is raised once, and the next call opens a new session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from services import FLIP, HANG_TIMEOUT, REMOTE, ROTATION, angles, in_background, one, open_sessions

from cirq_azure_sessions import (
    AzureSessionSampler,
    JobFailed,
    LocalWorkspace,
    SessionPool,
    SweepError,
)
from cirq_azure_sessions.workspaces.local import ProgramError

CALLS: dict[str, Callable[[AzureSessionSampler], Any]] = {
    "sweep": lambda sampler: sampler.run_sweep(ROTATION, angles(4), 2),
    "stream": lambda sampler: list(sampler.stream_sweep(ROTATION, angles(4), 2)),
    "batch": lambda sampler: sampler.run_batch([FLIP] * 4, None, 2),
}


def _failing_once() -> Callable[[Any], bytes]:
    mistakes = [ProgramError("InvalidInputData", "It cannot be run.")]

    def run(request: Any) -> bytes:
        if mistakes:
            raise mistakes.pop()
        return one(request)

    return run


@pytest.mark.parametrize("next_call", CALLS)
@pytest.mark.parametrize("call", CALLS)
def test_the_call_after_a_failure_opens_a_fresh_session(call: str, next_call: str) -> None:
    workspace = LocalWorkspace(backends={REMOTE: _failing_once()})
    with SessionPool(workspace, job_failure_policy="Abort") as pool:
        sampler = AzureSessionSampler(REMOTE, pool=pool, max_concurrent_jobs=1)
        with pytest.raises(SweepError):
            CALLS[call](sampler)
        assert pool.get_stats()["sessions_opened"] == 1, "no session replaces it within the call"
        assert len(CALLS[next_call](sampler)) == 4
        assert pool.get_stats()["sessions_opened"] == 2
    assert open_sessions(workspace) == []


def test_call_of_another_sampler_after_a_failure_opens_a_new_session() -> None:
    workspace = LocalWorkspace(backends={REMOTE: _failing_once()})
    with SessionPool(workspace, job_failure_policy="Abort") as pool:
        with pytest.raises(JobFailed):
            AzureSessionSampler(REMOTE, pool=pool).run(FLIP)
        assert AzureSessionSampler(REMOTE, pool=pool).run(FLIP).repetitions == 1
        assert pool.get_stats()["sessions_opened"] == 2


def test_calls_concurrent_with_a_failure_end_and_leave_no_session_open() -> None:
    workspace = LocalWorkspace(backends={REMOTE: _failing_once()})
    with SessionPool(workspace, job_failure_policy="Abort") as pool:
        sampler = AzureSessionSampler(REMOTE, pool=pool, max_concurrent_jobs=2)
        calls = [in_background(CALLS["sweep"], sampler) for _ in range(3)]
        for each in calls:
            each.exception(HANG_TIMEOUT)
        assert pool.get_stats()["jobs_running"] == 0
        assert len(CALLS["sweep"](sampler)) == 4
    assert open_sessions(workspace) == []
