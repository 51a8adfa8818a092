"""Session handles: listing, refreshing, waiting, and closing by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cirq
import pytest
from circuits import FLIP

from cirq_azure_sessions import (
    AzureSessionSampler,
    LocalWorkspace,
    ManualClock,
    PoolClosed,
    PoolTimeout,
    SessionHandle,
    SessionNotAvailable,
    SessionPool,
)
from cirq_azure_sessions.emulator import EmulatorServer


@dataclass
class Scene:
    """A workspace with two targets, and the clock by which its sessions age."""

    workspace: object
    clock: ManualClock
    targets: tuple[str, str]

    def pool(self, name: str | None = None) -> SessionPool:
        return SessionPool(self.workspace, name=name, clock=self.clock)

    def run(self, pool: SessionPool, target: str | None = None) -> cirq.Result:
        sampler = AzureSessionSampler(target or self.targets[0], pool=pool)
        return sampler.run(FLIP, repetitions=10)


@pytest.fixture(params=["in memory", "on the emulator"])
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    clock = ManualClock()
    if request.param == "in memory":
        targets = ("local.simulator", "local.density-matrix")
        yield Scene(LocalWorkspace(clock=clock), clock, targets)
    else:
        with EmulatorServer(clock=clock) as server:
            yield Scene(server.workspace(), clock, ("ionq.simulator", "quantinuum.sim.h2-1e"))


@pytest.fixture
def pool(scene: Scene) -> Iterator[SessionPool]:
    with scene.pool("night run") as pool:
        yield pool


# Finding sessions


def test_everybodys_sessions_are_listed_newest_first(pool: SessionPool, scene: Scene) -> None:
    mine = pool.session(scene.targets[0])
    scene.clock.advance(60)
    with scene.pool() as other:
        theirs = other.session(scene.targets[1])
        assert pool.list_sessions() == [theirs, mine]
        assert pool.get_session(theirs.id).name == theirs.name


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({}, 2),
        ({"limit": 1}, 1),
        ({"limit": None}, 2),
        ({"status": "waiting"}, 1),
        ({"status": "Executing"}, 1),
        ({"status": "Failed"}, 0),
        ({"name": "night"}, 1),
        ({"name": "run"}, 0),
        ({"max_age": 30.0}, 1),
        ({"max_age": 90.0}, 2),
        ({"target": "nowhere.*"}, 0),
        ({"target": "*"}, 2),
    ],
)
def test_sessions_are_filtered_by_status_name_age_and_limit(
    filters: dict[str, object], count: int, pool: SessionPool, scene: Scene
) -> None:
    scene.run(pool)
    scene.clock.advance(60)
    with scene.pool() as other:
        other.session(scene.targets[1])
        assert len(pool.list_sessions(**filters)) == count


def test_sessions_are_filtered_by_target(pool: SessionPool, scene: Scene) -> None:
    first, second = map(pool.session, scene.targets)
    provider = scene.targets[0].split(".")[0]
    assert pool.list_sessions(target=scene.targets[0]) == [first]
    assert pool.list_sessions(target=scene.targets[0][:-1]) == []
    assert first in pool.list_sessions(target=f"{provider}.*")
    assert second in pool.list_sessions(target="*.?*")


def test_the_pools_own_sessions_have_one_handle_each(pool: SessionPool, scene: Scene) -> None:
    session = pool.session(scene.targets[0])
    assert pool.get_session(session.id) is session
    assert pool.list_sessions()[0] is session


def test_an_unknown_session_is_an_error_that_names_it(pool: SessionPool) -> None:
    with pytest.raises(SessionNotAvailable, match="no session 00000000"):
        pool.get_session("00000000-0000-0000-0000-000000000000")


def test_local_sessions_are_listed_with_those_of_the_workspace() -> None:
    with EmulatorServer() as server, SessionPool(server.workspace()) as pool:
        remote, local = pool.session("ionq.simulator"), pool.session("local.simulator")
        assert set(pool.list_sessions()) == {remote, local}
        assert pool.get_session(local.id) is local


# Asking again


def test_a_session_shows_what_the_service_reported_last(pool: SessionPool, scene: Scene) -> None:
    session = pool.session(scene.targets[0])
    scene.run(pool)
    assert session.status == "Waiting"
    assert session.refresh() is session
    assert session.status == "Executing"
    assert session.creation_time == pytest.approx(scene.clock.time(), abs=1.0)
    assert session.end_time is None
    scene.clock.advance(601)
    assert session.is_open
    assert not session.refresh().is_open
    assert session.status == "TimedOut"


def test_a_session_lists_its_own_jobs(pool: SessionPool, scene: Scene) -> None:
    scene.run(pool, scene.targets[1])
    first, second = (scene.run(pool).job_id for _ in range(2))
    jobs = pool.session(scene.targets[0]).jobs()
    assert {job.id for job in jobs} == {first, second}
    assert len(pool.session(scene.targets[0]).jobs(limit=1)) == 1
    assert pool.session(scene.targets[0]).jobs(status="failed") == []
    assert len(pool.list_jobs()) == 3
    assert len(pool.list_jobs(target=scene.targets[1])) == 1


# Waiting


def test_waiting_for_a_session_ends_when_it_times_out(pool: SessionPool, scene: Scene) -> None:
    session = pool.session(scene.targets[0])
    scene.run(pool)
    # Nobody closes it, and those who wait put the clock forward.
    assert session.wait().status == "TimedOut"
    assert scene.clock.monotonic() >= 600
    assert session.wait(timeout=0.0) is session


def test_waiting_too_long_raises_a_timeout() -> None:
    clock = ManualClock(auto_advance=False)
    with SessionPool(LocalWorkspace(clock=clock), clock=clock) as pool:
        session = pool.session("local.simulator")
        with pytest.raises(PoolTimeout, match="is open: close it, or wait for more than 0 s"):
            session.wait(timeout=0.0)


def test_closing_the_pool_ends_a_wait() -> None:
    clock = ManualClock(auto_advance=False)
    pool = SessionPool(LocalWorkspace(clock=clock), clock=clock)
    session = pool.session("local.simulator")
    with ThreadPoolExecutor(1) as waiting:
        end = waiting.submit(session.wait)
        pool.close()
        with pytest.raises(PoolClosed):
            end.result()


# Closing by hand


def test_the_next_job_after_closing_by_hand_goes_in_another_session(
    pool: SessionPool, scene: Scene
) -> None:
    session = pool.session(scene.targets[0])
    scene.run(pool)
    assert session.close().status == "Succeeded"
    assert pool.sessions() == []
    another = pool.session(scene.targets[0])
    assert another != session
    assert scene.run(pool).session_id == another.id
    stats = pool.get_stats()
    assert (stats["sessions_opened"], stats["sessions_closed"], stats["sessions_lost"]) == (2, 1, 0)


def test_closing_twice_is_no_error(pool: SessionPool, scene: Scene) -> None:
    session = pool.session(scene.targets[0])
    assert session.close().close().status == "Succeeded"
    assert pool.get_stats()["sessions_closed"] == 1


def test_closing_the_session_of_another_pool_makes_that_pool_open_another(
    pool: SessionPool, scene: Scene
) -> None:
    theirs = pool.session(scene.targets[0])
    scene.run(pool)
    with scene.pool() as other:
        other.get_session(theirs.id).close()
        assert other.get_stats()["sessions_closed"] == 0
    assert scene.run(pool).session_id != theirs.id


@pytest.mark.parametrize(
    "use",
    [
        SessionHandle.refresh,
        SessionHandle.wait,
        SessionHandle.close,
        SessionHandle.jobs,
    ],
)
def test_a_handle_sends_nothing_once_its_pool_is_closed(
    use: Callable[[SessionHandle], object], scene: Scene
) -> None:
    with scene.pool() as pool:
        session = pool.session(scene.targets[0])
    assert session.status == "Succeeded"
    with pytest.raises(PoolClosed):
        use(session)


# Looking at it


def test_a_session_and_a_pool_have_notebook_tables(pool: SessionPool, scene: Scene) -> None:
    session = pool.session(scene.targets[0])
    scene.run(pool)
    for text in (session.id, "night run", f"Session on {scene.targets[0]}", "Waiting", "UTC"):
        assert text in session._repr_html_()
    for text in ("SessionPool night run", session.id, "OPEN", "sessions opened: 1"):
        assert text in pool._repr_html_()
    pool.close()
    assert "SessionPool night run closed" in pool._repr_html_()


def test_notebook_tables_escape_names(scene: Scene) -> None:
    with scene.pool("<b>bold</b>") as pool:
        pages = pool.session(scene.targets[0])._repr_html_() + pool._repr_html_()
    assert "&lt;b&gt;bold" in pages
    assert "<b>" not in pages
