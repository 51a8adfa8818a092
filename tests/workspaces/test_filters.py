"""Filters for listing sessions and jobs: targets, providers and words for a status."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from cirq_azure_sessions.model import Job, JobStatus
from cirq_azure_sessions.workspaces.filters import ItemFilter

TARGETS = ("ionq.simulator", "ionq.qpu.aria-1", "rigetti.sim.qvm", "echo-ionq")


def matching(target: str | None = None, status: str | None = None) -> set[tuple[str, str]]:
    async def jobs() -> AsyncIterator[Job]:
        for each in TARGETS:
            for word in JobStatus:
                yield Job("1", each, "", word)

    where = ItemFilter.of(0.0, target, status, None, None, None)

    async def apply() -> set[tuple[str, str]]:
        return {(job.target, job.status.value) async for job in where.apply(jobs())}

    return asyncio.run(apply())


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("ionq", {"ionq.simulator", "ionq.qpu.aria-1"}),
        ("ionq.simulator", {"ionq.simulator"}),
        ("ionq.qpu", set()),
        ("*.sim*", {"ionq.simulator", "rigetti.sim.qvm"}),
        ("echo-ionq", {"echo-ionq"}),
    ],
)
def test_a_target_is_an_id_a_provider_or_a_pattern(given: str, found: set[str]) -> None:
    assert {target for target, _ in matching(target=given)} == found


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("queued", {"Queued", "Waiting"}),
        ("Running", {"Executing", "Finishing"}),
        ("done", {"Succeeded", "Completed"}),
        ("finished", {"Succeeded", "Completed", "Failed", "Cancelled"}),
        ("failed", {"Failed"}),
        ("executing", {"Executing"}),
    ],
)
def test_status_is_a_service_word_or_an_everyday_one(given: str, found: set[str]) -> None:
    assert {status for _, status in matching(status=given)} == found


@pytest.mark.parametrize("given", ["", "ready"])
def test_an_unknown_status_is_refused_with_those_there_are(given: str) -> None:
    with pytest.raises(ValueError, match=r"use one of queued, running, done, .* Executing"):
        ItemFilter.of(0.0, None, given, None, None, None)
