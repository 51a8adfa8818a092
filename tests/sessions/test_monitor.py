"""A workspace seen from outside: what is listed, in which order, and what a watcher is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import cirq
import pytest

from cirq_azure_sessions import AzureSessionSampler, LocalWorkspace, ManualClock, SessionPool
from cirq_azure_sessions.errors import AzureSessionsError, ServiceError
from cirq_azure_sessions.monitor import Monitor, Wanted

QUBIT = cirq.LineQubit(0)
CIRCUIT = cirq.Circuit(cirq.X(QUBIT), cirq.measure(QUBIT, key="m"))
TARGETS = ("local.simulator", "local.density-matrix")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def workspace(clock: ManualClock) -> LocalWorkspace:
    return LocalWorkspace(clock=clock)


@pytest.fixture
def pool(workspace: LocalWorkspace, clock: ManualClock) -> Iterator[SessionPool]:
    with SessionPool(workspace, name="night run", clock=clock) as pool:
        yield pool


@pytest.fixture
def monitor(workspace: LocalWorkspace, clock: ManualClock) -> Iterator[Monitor]:
    with Monitor(workspace, clock=clock) as monitor:
        yield monitor


def run_jobs(pool: SessionPool, clock: ManualClock) -> None:
    """Two jobs on one target, then a minute later one on another."""
    first, second = (AzureSessionSampler(target, pool=pool) for target in TARGETS)
    first.run(CIRCUIT)
    first.run(CIRCUIT)
    clock.advance(60)
    second.run(CIRCUIT)


def test_sessions_and_jobs_are_listed_newest_first(
    pool: SessionPool, monitor: Monitor, clock: ManualClock
) -> None:
    run_jobs(pool, clock)
    assert [session.target for session in monitor.sessions(Wanted())] == [*reversed(TARGETS)]
    assert [job.target for job in monitor.jobs(Wanted())] == [TARGETS[1], TARGETS[0], TARGETS[0]]


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (Wanted(), 3),
        (Wanted(limit=2), 2),
        (Wanted(target="local.simulator"), 2),
        (Wanted(target="local.*"), 3),
        (Wanted(target="ionq.*"), 0),
        (Wanted(status="succeeded"), 3),
        (Wanted(status="Failed"), 0),
        (Wanted(max_age=30), 1),
        (Wanted(max_age=90), 3),
        (Wanted(target="local.simulator", max_age=30), 0),
    ],
)
def test_jobs_are_chosen_by_target_status_age_and_number(
    wanted: Wanted, count: int, pool: SessionPool, monitor: Monitor, clock: ManualClock
) -> None:
    run_jobs(pool, clock)
    assert len(monitor.jobs(wanted)) == count


def test_a_status_is_a_word_of_the_service() -> None:
    with pytest.raises(ValueError, match="There is no status 'done'"):
        Wanted(status="done")


def test_sessions_are_chosen_by_the_beginning_of_their_name(
    pool: SessionPool, monitor: Monitor
) -> None:
    pool.session("local.simulator")
    assert len(monitor.sessions(Wanted(name="night"))) == 1
    assert monitor.sessions(Wanted(name="day")) == []


def test_jobs_of_one_session_are_listed_alone(
    pool: SessionPool, monitor: Monitor, clock: ManualClock
) -> None:
    run_jobs(pool, clock)
    session_id = pool.session(TARGETS[0]).id
    assert {job.session_id for job in monitor.jobs(Wanted(), session_id=session_id)} == {session_id}
    assert monitor.session(session_id).jobs == Counter({"Succeeded": 2})


def test_a_session_that_is_closed_from_outside_is_over(pool: SessionPool, monitor: Monitor) -> None:
    session_id = pool.session("local.simulator").id
    assert monitor.session(session_id).session.is_open
    assert not monitor.close_session(session_id).is_open
    assert not monitor.session(session_id).session.is_open


def test_a_job_is_shown_cancelled_and_read(pool: SessionPool, monitor: Monitor) -> None:
    result = AzureSessionSampler("local.simulator", pool=pool).run(CIRCUIT)
    job = monitor.job(result.job_id)
    assert job.id == result.job_id
    # It is over, so cancelling it changes nothing.
    assert monitor.cancel_job(job.id).status == "Succeeded"
    assert len(monitor.output(job)) == 1


def test_a_watcher_is_told_of_changes_alone_until_the_session_is_over(
    pool: SessionPool, monitor: Monitor, clock: ManualClock
) -> None:
    session = pool.session("local.simulator")
    story = []
    for view in monitor.watch(session.id, interval=5):
        story.append((str(view.session.status), dict(view.jobs)))
        if len(story) == 1:
            AzureSessionSampler("local.simulator", pool=pool).run(CIRCUIT)
    assert story == [
        ("Waiting", {}),
        ("Executing", {"Succeeded": 1}),
        ("TimedOut", {"Succeeded": 1}),
    ]
    assert clock.monotonic() >= 600


def test_the_beginning_of_an_id_will_do(
    pool: SessionPool, monitor: Monitor, clock: ManualClock
) -> None:
    run_jobs(pool, clock)
    newest, *_ = monitor.jobs(Wanted())
    assert monitor.job(newest.id[:8]) == newest
    assert newest.session_id is not None
    assert monitor.session(newest.session_id[:8]).session.id == newest.session_id
    assert monitor.jobs(Wanted(), session_id=newest.session_id[:8]) == [newest]


def test_the_beginning_of_no_id_or_of_many_is_refused(
    pool: SessionPool, monitor: Monitor, clock: ManualClock
) -> None:
    run_jobs(pool, clock)
    with pytest.raises(AzureSessionsError, match="no job zzz: `jobs list`"):
        monitor.cancel_job("zzz")
    with pytest.raises(AzureSessionsError, match="ids of 2 sessions begin with '': give more"):
        monitor.close_session("")


def test_what_is_not_there_is_an_error_of_the_service(monitor: Monitor) -> None:
    with pytest.raises(ServiceError) as missing:
        monitor.session("00000000-0000-0000-0000-000000000000")
    assert missing.value.is_missing


def test_the_targets_of_the_workspace_are_listed(monitor: Monitor) -> None:
    assert "local.simulator" in {target.id for target in monitor.targets()}
    assert monitor.quotas() == []
