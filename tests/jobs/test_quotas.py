"""Quotas are read before a sweep that cannot fit, with as few requests as that takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cirq
import pytest
import sympy

from cirq_azure_sessions import (
    AzureSessionSampler,
    LocalWorkspace,
    QuotaExceeded,
    ServiceError,
    SessionPool,
)
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.model import Quota

A = cirq.LineQubit(0)
THETA = sympy.Symbol("theta")
CIRCUIT = cirq.Circuit(cirq.rx(THETA)(A), cirq.measure(A, key="m"))
SWEEP = cirq.Linspace("theta", 0.1, 3, 10)
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
        return len(sampler.run_sweep(CIRCUIT, SWEEP, repetitions))


def quota(dimension: str, **changes: Any) -> Quota:
    fields = {"scope": "Workspace", "provider": "ionq", "utilization": 0.0, "holds": 0.0}
    return Quota(dimension, **{**fields, "limit": 999.0, "period": "Monthly", **changes})


def test_a_sweep_that_cannot_fit_is_refused_before_anything_else_is_sent() -> None:
    with emulated(ehqc=10 * POINT_CREDITS - 0.1) as (server, sampler):
        with pytest.raises(QuotaExceeded, match=r"about 72 ehqc .* has 71\.9 of 71\.9 left"):
            sampler.run_sweep(CIRCUIT, SWEEP, 1000)
        assert server.requests.total == server.requests["quotas"] == 1


def test_a_stream_is_refused_as_a_sweep_is() -> None:
    with emulated(ehqc=10) as (server, sampler):
        with pytest.raises(QuotaExceeded):
            next(sampler.stream_sweep(CIRCUIT, SWEEP, 1000))
        assert server.requests.total == 1


def test_a_sweep_that_just_fits_is_run() -> None:
    with emulated(ehqc=10 * POINT_CREDITS) as (_, sampler):
        assert len(sampler.run_sweep(CIRCUIT, SWEEP, 1000)) == 10


def test_quotas_are_read_once_and_again_where_what_is_known_would_not_do() -> None:
    with emulated(ehqc=3.5 * POINT_CREDITS) as (server, sampler):
        for _ in range(3):
            sampler.run(CIRCUIT, POINT, 1000)
        assert server.requests["quotas"] == 1
        with pytest.raises(QuotaExceeded, match=r"has 3\.6 of 25\.2 left"):
            sampler.run(CIRCUIT, POINT, 1000)
        assert server.requests["quotas"] == 2


@pytest.mark.parametrize(
    "target", ["ionq.simulator", "quantinuum.sim.h2-1sc", "rigetti.sim.qvm", "rigetti.qpu.ankaa-3"]
)
def test_where_jobs_are_free_or_of_unknown_cost_no_quota_is_read(target: str) -> None:
    with emulated(target, ehqc=0.1) as (server, sampler):
        sampler.run(CIRCUIT, POINT, 10)
        assert server.requests["quotas"] == 0


def test_a_workspace_without_quotas_is_asked_once() -> None:
    with emulated() as (server, sampler):
        for _ in range(3):
            sampler.run(CIRCUIT, POINT, 10)
        assert server.requests["quotas"] == 1


def test_where_quotas_cannot_be_read_the_sweep_goes_on() -> None:
    assert run(None) == 10


def test_the_quota_with_least_room_is_named() -> None:
    ample, scarce = quota("gs1q"), quota("gs1q", scope="Subscription", utilization=500.0)
    with pytest.raises(QuotaExceeded, match="the subscription's quota has 499 of 999 left"):
        run([ample, scarce])


def test_what_is_held_for_others_is_not_left() -> None:
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
def test_quotas_that_are_not_on_what_a_sweep_consumes_do_not_count(other: Quota) -> None:
    assert run([other]) == 10


def test_with_a_journal_a_sweep_goes_as_far_as_the_quota_does(tmp_path: Path) -> None:
    with (
        EmulatorServer(quotas={"ehqc": 1.0}) as server,
        SessionPool(server.workspace(), journal=tmp_path / "journal") as pool,
    ):
        AzureSessionSampler(EMULATOR, pool=pool).run(CIRCUIT, POINT, 1000)
        assert server.requests["quotas"] == 0
