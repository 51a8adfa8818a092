"""Attaching sessions that were opened elsewhere."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cirq
import pytest
from circuits import FLIP
from services import one

from cirq_azure_sessions import (
    AzureSessionSampler,
    LocalWorkspace,
    ManualClock,
    PoolClosed,
    SessionNotAvailable,
    SessionPool,
    UnsupportedTarget,
)
from cirq_azure_sessions.emulator import EmulatorServer

TARGET = "ionq.simulator"


@pytest.fixture
def theirs(server: EmulatorServer) -> Any:
    """A session that the SDK opened."""
    return server.workspace().get_targets(TARGET).open_session(name="by hand")


def run(pool: SessionPool, target: str = TARGET) -> cirq.Result:
    return AzureSessionSampler(target, pool=pool).run(FLIP, repetitions=10)


@pytest.mark.parametrize(
    "named",
    [
        lambda session, pool: session,
        lambda session, pool: session.id,
        lambda session, pool: pool.get_session(session.id),
    ],
    ids=["the SDK's", "its id", "ours"],
)
def test_jobs_go_in_the_attached_session_which_stays_open(
    named: Callable[[Any, SessionPool], Any],
    theirs: Any,
    server: EmulatorServer,
    clock: ManualClock,
) -> None:
    with SessionPool(server.workspace(), clock=clock) as pool:
        session = pool.attach(named(theirs, pool))
        assert (session.id, session.name, session.target) == (theirs.id, "by hand", TARGET)
        assert repr(pool) == "<SessionPool: ionq.simulator OPEN adopted>"
        assert pool.session(TARGET) is session
        assert run(pool).session_id == theirs.id
        stats = pool.get_stats()
        assert (stats["sessions_opened"], stats["sessions_adopted"]) == (0, 1)
    theirs.refresh()
    assert not theirs.is_in_terminal_state()


def test_an_attached_session_that_times_out_is_replaced(
    pool: SessionPool, theirs: Any, clock: ManualClock
) -> None:
    pool.attach(theirs)
    run(pool)
    clock.advance(601)
    assert run(pool).session_id != theirs.id
    stats = pool.get_stats()
    assert (stats["sessions_timed_out"], stats["sessions_reopened"]) == (1, 1)


def test_the_former_session_is_closed_with_the_pool(
    server: EmulatorServer, theirs: Any, clock: ManualClock
) -> None:
    with SessionPool(server.workspace(), clock=clock) as pool:
        former = pool.session(TARGET)
        pool.attach(theirs)
        assert run(pool).session_id == theirs.id
        assert former.refresh().is_open
    assert former.status == "Succeeded"


def test_attaching_twice_is_no_error(pool: SessionPool, theirs: Any) -> None:
    assert pool.attach(theirs) is pool.attach(theirs.id)
    assert len(pool.sessions()) == 1
    assert pool.get_stats()["sessions_adopted"] == 1


def test_attaching_the_pools_own_session_changes_nothing(
    workspace: LocalWorkspace, clock: ManualClock
) -> None:
    with SessionPool(workspace, clock=clock) as pool:
        session = pool.session("local.simulator")
        assert pool.attach(session) is session
        assert repr(pool) == "<SessionPool: local.simulator OPEN>"
    assert session.status == "Succeeded"


def test_an_attached_session_can_be_closed_by_hand(pool: SessionPool, theirs: Any) -> None:
    pool.attach(theirs).close()
    assert pool.sessions() == []
    theirs.refresh()
    assert theirs.is_in_terminal_state()


def test_an_attached_orphan_is_closed_with_the_pool(
    server: EmulatorServer, clock: ManualClock, tmp_path: Path
) -> None:
    journal = tmp_path / "run.journal"
    dead = SessionPool(server.workspace(), journal=journal, clock=clock)
    left = dead.session(TARGET).id
    # Its process is killed: nothing is closed, and the lock of its run is free.
    assert dead._journal is not None
    dead._journal.close()
    with SessionPool(server.workspace(), journal=journal, clock=clock) as pool:
        session = pool.attach(left)
        assert run(pool).session_id == left
    assert session.status == "Succeeded"
    dead.close()


# What cannot be attached


def test_a_session_that_has_ended_is_refused(pool: SessionPool, theirs: Any) -> None:
    theirs.close()
    with pytest.raises(SessionNotAvailable, match=r"has ended \(Succeeded\): attach one"):
        pool.attach(theirs)
    assert pool.sessions() == []


def test_a_session_of_another_workspace_is_refused(pool: SessionPool) -> None:
    with EmulatorServer() as other:
        stranger = other.workspace().get_targets(TARGET).open_session()
        with pytest.raises(SessionNotAvailable, match=f"no session {stranger.id}"):
            pool.attach(stranger)


def test_a_session_on_a_target_without_jobs_is_refused(clock: ManualClock) -> None:
    workspace = _Shy(clock=clock)
    with SessionPool(workspace, clock=clock) as pool:
        session = pool.session(TARGET)
        workspace.is_shy = True
        with pytest.raises(UnsupportedTarget, match=r"ionq\.simulator"):
            pool.attach(session.id)


@pytest.mark.parametrize("nothing", [None, 3, object()])
def test_anything_but_a_session_or_an_id_is_refused(nothing: object, pool: SessionPool) -> None:
    with pytest.raises(TypeError, match="a session or a session id"):
        pool.attach(nothing)


def test_a_closed_pool_attaches_nothing(pool: SessionPool, theirs: Any) -> None:
    pool.close()
    with pytest.raises(PoolClosed):
        pool.attach(theirs)


class _Shy(LocalWorkspace):
    """A workspace that lists a session, and does not take jobs for its target any more."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(backends={TARGET: lambda request: b""}, clock=clock)
        self.is_shy = False

    def takes(self, target: str) -> bool:
        return not self.is_shy and super().takes(target)


class ClosingLate(LocalWorkspace):
    """Outlives the process, and has its pool closed between two steps of a call."""

    identity = "a workspace on the service"
    pool: SessionPool | None = None

    def takes(self, target: str) -> bool:
        if self.pool is not None:
            self.pool.close()
        return super().takes(target)


def test_pool_closed_while_a_session_is_attached_is_not_kept_until_exit(
    clock: ManualClock,
) -> None:
    workspace = ClosingLate(backends={TARGET: one}, clock=clock)
    with SessionPool(workspace, clock=clock) as theirs:
        session = theirs.session(TARGET)
        workspace.pool = pool = SessionPool(workspace, clock=clock)
        with pytest.raises(PoolClosed):
            pool.attach(session)
        workspace.pool, dropped = None, weakref.ref(pool)
        del pool
        gc.collect()
        assert dropped() is None
