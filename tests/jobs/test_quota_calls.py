"""Quotas with several calls at once: read once, and never passed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from services import CHARGED, FLIP, HANG_TIMEOUT, Counted, in_background

from cirq_azure_sessions import AzureSessionSampler, QuotaExceeded, SessionPool
from cirq_azure_sessions.model import Quota

# What one circuit consumes.
SHOTS = 1000


def _quota(limit: float) -> Quota:
    return Quota("gs1q", "Workspace", "ionq", utilization=0.0, holds=0.0, limit=limit)


def _one_gate() -> float:
    """What one circuit consumes of the quota, from a sweep that is refused."""
    workspace = Counted()
    workspace.quotas = [_quota(0.5)]
    with (
        SessionPool(workspace) as pool,
        pytest.raises(QuotaExceeded) as refused,
    ):
        AzureSessionSampler(CHARGED, pool=pool).run(FLIP, repetitions=SHOTS)
    words = str(refused.value).split()
    return float(words[words.index("about") + 1])


def test_a_batch_reads_quotas_once() -> None:
    workspace = Counted()
    workspace.quotas = [_quota(1e9)]
    with SessionPool(workspace) as pool:
        sampler = AzureSessionSampler(CHARGED, pool=pool, max_concurrent_jobs=5)
        assert len(sampler.run_batch([FLIP] * 100, None, SHOTS)) == 100
    assert workspace.quotas_read == 1


def test_calls_on_several_threads_read_quotas_once() -> None:
    workspace = Counted()
    workspace.quotas = [_quota(1e9)]
    with SessionPool(workspace) as pool:
        sampler = AzureSessionSampler(CHARGED, pool=pool)
        calls = [in_background(sampler.run, FLIP, repetitions=SHOTS) for _ in range(10)]
        assert [call.result(HANG_TIMEOUT).repetitions for call in calls] == [SHOTS] * 10
    assert workspace.quotas_read == 1


def test_a_batch_that_does_not_fit_is_refused_before_anything_is_submitted() -> None:
    workspace = Counted()
    workspace.quotas = [_quota(9.5 * _one_gate())]
    with SessionPool(workspace) as pool:
        sampler = AzureSessionSampler(CHARGED, pool=pool, max_concurrent_jobs=5)
        with pytest.raises(QuotaExceeded):
            sampler.run_batch([FLIP] * 10, None, SHOTS)
    assert workspace.submitted == []


def test_a_batch_that_just_fits_is_run() -> None:
    workspace = Counted()
    workspace.quotas = [_quota(10 * _one_gate())]
    with SessionPool(workspace) as pool:
        sampler = AzureSessionSampler(CHARGED, pool=pool, max_concurrent_jobs=5)
        assert len(sampler.run_batch([FLIP] * 10, None, SHOTS)) == 10


def test_a_sweep_and_a_batch_of_the_same_circuits_are_refused_alike() -> None:
    workspace = Counted()
    workspace.quotas = [_quota(9.5 * _one_gate())]
    with SessionPool(workspace) as pool:
        sampler = AzureSessionSampler(CHARGED, pool=pool)
        with pytest.raises(QuotaExceeded):
            sampler.run_sweep(FLIP, [{}] * 10, SHOTS)
        with pytest.raises(QuotaExceeded):
            sampler.run_batch([FLIP], [[{}] * 10], SHOTS)
    assert workspace.submitted == []


class _Charging(Counted):
    """A workspace whose quota is used up by what is submitted."""

    def __init__(self, limit: float, charge: float) -> None:
        super().__init__()
        self._limit, self._charge = limit, charge

    async def list_quotas(self) -> Sequence[Quota]:
        await super().list_quotas()
        return [replace(_quota(self._limit), utilization=len(self.submitted) * self._charge)]


def test_calls_at_once_never_pass_a_quota_together() -> None:
    workspace = _Charging(3.5 * _one_gate(), _one_gate())
    with SessionPool(workspace) as pool:
        sampler = AzureSessionSampler(CHARGED, pool=pool)
        calls = [in_background(sampler.run, FLIP, repetitions=SHOTS) for _ in range(10)]
        errors = [call.exception(HANG_TIMEOUT) for call in calls]
    assert sum(error is None for error in errors) == len(workspace.submitted) == 3
    assert {type(error) for error in errors if error} == {QuotaExceeded}
