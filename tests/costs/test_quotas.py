"""Quotas: a call that cannot fit is refused, with as few requests as that takes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from circuits import ROTATION, angles
from services import CHARGED, FLIP, HANG_TIMEOUT, Counted, in_background

from cirq_azure_sessions import (
    AzureSessionSampler,
    LocalWorkspace,
    ManualClock,
    QuotaExceeded,
    ServiceError,
    SessionPool,
)
from cirq_azure_sessions.costs.budget import QuotaGuard
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.model import Quota

SWEEP = angles(10)
POINT = {"theta": 0.1}
# 5 + 1000 (1 + 5 * 2) / 5000 credits
EMULATOR, POINT_CREDITS = "quantinuum.sim.h2-1e", 7.2


@contextmanager
def emulated(
    target: str = EMULATOR, **quotas: float
) -> Iterator[tuple[EmulatorServer, AzureSessionSampler]]:
    with EmulatorServer(quotas=quotas) as server, SessionPool(server.workspace()) as pool:
        yield server, AzureSessionSampler(target, pool=pool)


class Service(LocalWorkspace):
    """A workspace with the quotas that a test gives, or none that can be read."""

    def __init__(self, quotas: Sequence[Quota] | None) -> None:
        super().__init__(backends={"ionq.qpu.aria-1": lambda request: b'{"histogram": {"1": 1}}'})
        self._quotas = quotas

    async def list_quotas(self) -> Sequence[Quota]:
        if self._quotas is None:
            raise ServiceError("Reading quotas is not allowed.", status_code=403)
        return self._quotas


def run(quotas: Sequence[Quota] | None, repetitions: int = 100) -> int:
    with AzureSessionSampler("ionq.qpu.aria-1", workspace=Service(quotas)) as sampler:
        return len(sampler.run_sweep(ROTATION, SWEEP, repetitions))


def quota(dimension: str, **changes: Any) -> Quota:
    fields = {"scope": "Workspace", "provider": "ionq", "utilization": 0.0, "holds": 0.0}
    return Quota(dimension, **{**fields, "limit": 999.0, "period": "Monthly", **changes})


def test_a_sweep_over_quota_is_refused_before_anything_else_is_sent() -> None:
    with emulated(ehqc=10 * POINT_CREDITS - 0.1) as (server, sampler):
        with pytest.raises(QuotaExceeded, match=r"about 72 ehqc .* has 71\.9 of 71\.9 left"):
            sampler.run_sweep(ROTATION, SWEEP, 1000)
        assert server.requests.total == server.requests["quotas"] == 1


def test_a_stream_over_quota_is_refused() -> None:
    with emulated(ehqc=10) as (server, sampler):
        with pytest.raises(QuotaExceeded):
            next(sampler.stream_sweep(ROTATION, SWEEP, 1000))
        assert server.requests.total == 1


def test_a_sweep_that_just_fits_runs() -> None:
    with emulated(ehqc=10 * POINT_CREDITS) as (_, sampler):
        assert len(sampler.run_sweep(ROTATION, SWEEP, 1000)) == 10


def test_quotas_are_read_again_only_where_the_known_room_is_too_small() -> None:
    with emulated(ehqc=3.5 * POINT_CREDITS) as (server, sampler):
        for _ in range(3):
            sampler.run(ROTATION, POINT, 1000)
        assert server.requests["quotas"] == 1
        with pytest.raises(QuotaExceeded, match=r"has 3\.6 of 25\.2 left"):
            sampler.run(ROTATION, POINT, 1000)
        assert server.requests["quotas"] == 2


@pytest.mark.parametrize(
    "target", ["ionq.simulator", "quantinuum.sim.h2-1sc", "rigetti.sim.qvm", "rigetti.qpu.ankaa-3"]
)
def test_no_quota_is_read_for_free_or_unpriced_jobs(target: str) -> None:
    with emulated(target, ehqc=0.1) as (server, sampler):
        sampler.run(ROTATION, POINT, 10)
        assert server.requests["quotas"] == 0


def test_a_workspace_without_quotas_is_asked_once() -> None:
    with emulated() as (server, sampler):
        for _ in range(3):
            sampler.run(ROTATION, POINT, 10)
        assert server.requests["quotas"] == 1


def test_quotas_that_cannot_be_read_refuse_nothing() -> None:
    assert run(None) == 10


def test_the_quota_with_the_least_room_is_named() -> None:
    ample, scarce = quota("gs1q"), quota("gs1q", scope="Subscription", utilization=500.0)
    with pytest.raises(QuotaExceeded, match="the subscription's quota has 499 of 999 left"):
        run([ample, scarce])


def test_holds_count_as_used() -> None:
    with pytest.raises(QuotaExceeded, match="has 989 of 999 left"):
        run([quota("gs1q", holds=10.0)])


@pytest.mark.parametrize(
    "other",
    [
        quota("gs1q", provider="quantinuum", limit=0.0),
        quota("qgs", limit=0.0),
        quota("concurrent_jobs", limit=0.0, period=None),
    ],
    ids=["another provider's", "in another unit", "on concurrency"],
)
def test_quotas_on_other_things_refuse_nothing(other: Quota) -> None:
    assert run([other]) == 10


def test_with_a_journal_no_quota_is_read(tmp_path: Path) -> None:
    with (
        EmulatorServer(quotas={"ehqc": 1.0}) as server,
        SessionPool(server.workspace(), journal=tmp_path / "journal") as pool,
    ):
        AzureSessionSampler(EMULATOR, pool=pool).run(ROTATION, POINT, 1000)
        assert server.requests["quotas"] == 0


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


def test_concurrent_calls_never_exceed_a_quota_together() -> None:
    workspace = _Charging(3.5 * _one_gate(), _one_gate())
    with SessionPool(workspace) as pool:
        sampler = AzureSessionSampler(CHARGED, pool=pool)
        calls = [in_background(sampler.run, FLIP, repetitions=SHOTS) for _ in range(10)]
        errors = [call.exception(HANG_TIMEOUT) for call in calls]
    assert sum(error is None for error in errors) == len(workspace.submitted) == 3
    assert {type(error) for error in errors if error} == {QuotaExceeded}


ONE_GATE = {"gs1q": 1.0}


def test_quotas_that_could_not_be_read_for_a_fault_are_read_later() -> None:
    clock, workspace = ManualClock(), Service([quota("gs1q", limit=0.5)])
    guard = QuotaGuard("ionq.qpu.aria-1", clock)
    answers = [ServiceError("Busy.", status_code=503), ServiceError("Busy.", status_code=503)]

    async def call() -> None:
        async with guard.room_for(workspace, [lambda: ONE_GATE]):
            pass

    async def fail() -> Sequence[Quota]:
        raise answers.pop()

    workspace.list_quotas = fail  # type: ignore[method-assign]
    asyncio.run(call())
    # One fault is not met by every call that comes at once.
    asyncio.run(call())
    assert len(answers) == 1
    assert not guard.is_idle
    del workspace.list_quotas  # type: ignore[method-assign]
    clock.advance(60)
    with pytest.raises(QuotaExceeded):
        asyncio.run(call())


def test_a_call_that_ends_while_quotas_are_read_still_counts() -> None:
    clock, workspace = ManualClock(), Service([quota("gs1q", limit=2.5)])
    guard = QuotaGuard("ionq.qpu.aria-1", clock)

    async def story() -> None:
        other = guard.room_for(workspace, [lambda: ONE_GATE])
        await other.__aenter__()
        clock.advance(60)

        async def read() -> Sequence[Quota]:
            quotas = await Service.list_quotas(workspace)
            await other.__aexit__(None, None, None)
            return quotas

        workspace.list_quotas = read  # type: ignore[method-assign]
        with pytest.raises(QuotaExceeded, match=r"has 1\.5 of 2\.5 left"):
            await guard.room_for(workspace, [lambda: {"gs1q": 2.0}]).__aenter__()

    asyncio.run(story())
