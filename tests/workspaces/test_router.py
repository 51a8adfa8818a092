"""Routing: which of a pool's workspaces has a target, a session or a job."""

from __future__ import annotations

import asyncio

import pytest

from cirq_azure_sessions import (
    JobError,
    LocalWorkspace,
    ManualClock,
    ServiceError,
    SessionNotAvailable,
    UnsupportedTarget,
)
from cirq_azure_sessions.model import Job, Session, SessionRequest
from cirq_azure_sessions.workspaces.filters import ItemFilter
from cirq_azure_sessions.workspaces.router import WorkspaceRouter

MINE = "ionq.simulator"
IN_MEMORY = "local.simulator"


class _Forgetful(LocalWorkspace):
    """A workspace with one target, which may refuse to say what it knows."""

    is_down = False

    def takes(self, target: str) -> bool:
        return target == MINE

    async def get_session(self, session_id: str) -> Session:
        if self.is_down:
            raise ServiceError("Not now.", status_code=503)
        return await super().get_session(session_id)

    async def get_job(self, job_id: str, *, wait: float = 0.0) -> Job:
        if self.is_down:
            raise ServiceError("Not now.", status_code=503)
        return await super().get_job(job_id, wait=wait)


@pytest.fixture
def mine(clock: ManualClock) -> _Forgetful:
    return _Forgetful(clock=clock, backends={MINE: lambda request: None})


@pytest.fixture
def router(mine: _Forgetful, clock: ManualClock) -> WorkspaceRouter:
    return WorkspaceRouter(mine, None, clock)


def _open(router: WorkspaceRouter, target: str) -> Session:
    request = SessionRequest(id=f"session on {target}", target=target, name=target)
    return asyncio.run(router.for_target(target).open_session(request))


def test_a_target_goes_to_the_users_workspace_before_the_one_in_memory(
    router: WorkspaceRouter, mine: _Forgetful, clock: ManualClock
) -> None:
    assert router.for_target(MINE) is mine
    assert router.for_target(IN_MEMORY) is not mine
    local = LocalWorkspace(clock=clock)
    assert WorkspaceRouter(local, None, clock).for_target(IN_MEMORY) is local


@pytest.mark.parametrize("target", ["ionq.qpu", "local.", "", 5, None])
def test_a_target_that_no_workspace_takes_is_refused(router: WorkspaceRouter, target: str) -> None:
    with pytest.raises(UnsupportedTarget, match="No workspace here has the target"):
        router.for_target(target)


@pytest.mark.parametrize("target", [MINE, 5])
def test_without_a_workspace_the_refusal_says_to_pass_one(target: str, clock: ManualClock) -> None:
    with pytest.raises(UnsupportedTarget, match="is not a local target: pass workspace="):
        WorkspaceRouter(None, None, clock).for_target(target)


@pytest.mark.parametrize("target", [MINE, IN_MEMORY])
def test_a_session_is_found_in_the_workspace_that_has_it(
    router: WorkspaceRouter, target: str
) -> None:
    session = _open(router, target)
    found = asyncio.run(router.get_session(session.id))
    assert found == (session, router.for_target(target))


def test_an_id_that_no_workspace_knows_is_an_error(router: WorkspaceRouter) -> None:
    with pytest.raises(SessionNotAvailable, match="no session 0: check"):
        asyncio.run(router.get_session("0"))
    with pytest.raises(JobError, match="no job 0: check"):
        asyncio.run(router.get_job("0"))


def test_workspace_that_does_not_answer_has_a_distinct_error(
    router: WorkspaceRouter, mine: _Forgetful
) -> None:
    session = _open(router, IN_MEMORY)
    mine.is_down = True
    for get in (router.get_session, router.get_job):
        with pytest.raises(ServiceError, match="Not now"):
            asyncio.run(get("0"))
    assert asyncio.run(router.get_session(session.id))[0] == session


def test_the_newest_of_all_workspaces_are_listed_first(
    router: WorkspaceRouter, clock: ManualClock
) -> None:
    sessions = []
    for target in (MINE, IN_MEMORY):
        sessions.insert(0, _open(router, target))
        clock.advance(1)
    found = asyncio.run(router.list_sessions(ItemFilter()))
    assert [session for session, _ in found] == sessions
    assert asyncio.run(router.list_sessions(ItemFilter(limit=1))) == found[:1]
    assert asyncio.run(router.list_jobs(ItemFilter())) == []
