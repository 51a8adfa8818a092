"""Timelines: what they show of sessions and jobs, and the files that they become."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import cirq
import pytest
import sympy
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot as plt

from cirq_azure_sessions import (
    AzureSessionSampler,
    LocalWorkspace,
    ManualClock,
    SessionPool,
    SweepError,
)
from cirq_azure_sessions.cli import main
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.model import Job, JobStatus, Session, SessionStatus
from cirq_azure_sessions.monitor import Monitor, Wanted
from cirq_azure_sessions.watch.timeline import JobMark, SessionBar, Timeline

QUBIT = cirq.LineQubit(0)
CIRCUIT = cirq.Circuit(cirq.rx(sympy.Symbol("a"))(QUBIT), cirq.measure(QUBIT, key="m"))
SWEEP = cirq.Linspace("a", 0, 1, 3)
NEW_YEAR = 1_767_225_600.0


@pytest.fixture(autouse=True)
def no_display() -> Iterator[None]:
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def pool() -> SessionPool:
    """A closed pool: a session that timed out, the one that took its place, and a failed job."""
    clock = ManualClock()
    with EmulatorServer(clock=clock) as server:
        with SessionPool(server.workspace(), clock=clock) as pool:
            sampler = AzureSessionSampler("ionq.simulator", pool=pool)
            sampler.run_sweep(CIRCUIT, SWEEP)
            clock.advance(700)
            sampler.run_sweep(CIRCUIT, SWEEP)
            server.faults.fail_job(code="InvalidInputData")
            with pytest.raises(SweepError):
                AzureSessionSampler("quantinuum.sim.h2-1e", pool=pool).run_sweep(CIRCUIT, SWEEP)
        return pool


def session(number: int, status: SessionStatus, begin: float, end: float | None = None) -> Session:
    return Session(f"session-{number}", "t", "n", status, creation_time=begin, end_time=end)


def job(number: int, status: JobStatus, begin: float, end: float | None = None) -> Job:
    return Job(str(number), "t", "n", status, creation_time=begin, end_time=end)


# What a pool remembers


def test_a_pool_shows_its_sessions_target_by_target_and_how_they_ended(pool: SessionPool) -> None:
    assert [(bar.target, bar.summary) for bar in pool.timeline().sessions] == [
        ("ionq.simulator", "timed out, 3 jobs"),
        ("ionq.simulator", "closed, 3 jobs"),
        ("quantinuum.sim.h2-1e", "closed, 3 jobs, 1 failed"),
    ]


def test_a_session_that_took_the_place_of_another_points_to_it(pool: SessionPool) -> None:
    assert [bar.follows for bar in pool.timeline().sessions] == [None, 0, None]


def test_a_timed_out_session_ends_when_the_service_ended_it_not_when_that_was_noticed(
    pool: SessionPool,
) -> None:
    first, second, _ = pool.timeline().sessions
    assert first.end - first.jobs[-1].time == pytest.approx(600, abs=5)
    assert second.begin - first.end > 90


def test_jobs_that_are_not_over_are_unfinished() -> None:
    seen: list[str] = []
    with SessionPool(LocalWorkspace()) as pool:
        pool.subscribe(lambda event: seen.append(pool.timeline().sessions[0].summary))
        AzureSessionSampler("local.simulator", pool=pool).run(CIRCUIT, {"a": 1})
    assert seen == ["open, 0 jobs", "open, 1 job, 1 unfinished", "open, 1 job", "closed, 1 job"]


def test_a_pool_remembers_the_latest_jobs_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cirq_azure_sessions.watch.event_log._JOB_EVENTS", 4)
    with SessionPool(LocalWorkspace()) as pool:
        sampler = AzureSessionSampler("local.simulator", pool=pool)
        ids = [sampler.run(CIRCUIT, {"a": 1}).job_id for _ in range(3)]
        (bar,) = pool.timeline().sessions
    assert [mark.job_id for mark in bar.jobs] == ids[1:]


# What a workspace lists


def test_sessions_of_a_workspace_are_shown_whoever_opened_them(pool: SessionPool) -> None:
    clock = ManualClock()
    workspace = LocalWorkspace(clock=clock)
    with SessionPool(workspace, clock=clock) as first:
        AzureSessionSampler("local.simulator", pool=first).run(CIRCUIT, {"a": 1})
        with Monitor(workspace, clock=clock) as monitor:
            (bar,) = monitor.timeline(Wanted()).sessions
    assert bar.summary == "open, 1 job"
    assert bar.jobs[0].outcome == "succeeded"


def test_what_the_service_lists_becomes_bars_and_ticks() -> None:
    jobs = [
        job(1, JobStatus.SUCCEEDED, 10, 12),
        job(2, JobStatus.FAILED, 11, 15),
        job(3, JobStatus.CANCELLED, 11, 14),
        job(4, JobStatus.EXECUTING, 16),
    ]
    listed = [
        (session(2, SessionStatus.FAILURES, 30), jobs),
        (session(1, SessionStatus.TIMED_OUT, 1, 20), []),
    ]
    first, second = Timeline.of_service(listed, now=40).sessions
    assert (first.begin, first.end, first.ending, first.follows) == (1, 20, "timed out", None)
    assert (second.begin, second.end, second.ending, second.follows) == (30, 40, "open", 0)
    assert [(mark.job_id, mark.outcome, mark.time) for mark in second.jobs] == [
        ("1", "succeeded", 12),
        ("3", "cancelled", 14),
        ("2", "failed", 15),
        ("4", "unfinished", 16),
    ]
    assert second.summary == "open, 4 jobs, 1 failed, 1 cancelled, 1 unfinished"


def test_a_session_after_one_that_was_closed_took_nobodys_place() -> None:
    listed = [
        (session(1, SessionStatus.SUCCEEDED, 1, 2), []),
        (session(2, SessionStatus.WAITING, 3), []),
    ]
    assert [bar.follows for bar in Timeline.of_service(listed, now=4).sessions] == [None, None]


times = st.floats(0, 2e9)
statuses = st.sampled_from(list(JobStatus))
jobs_strategy = st.builds(job, st.integers(), statuses, times, st.none() | times)
sessions_strategy = st.builds(
    session, st.integers(), st.sampled_from(list(SessionStatus)), times, st.none() | times
)


@given(
    st.lists(st.tuples(sessions_strategy, st.lists(jobs_strategy, max_size=5)), max_size=5), times
)
def test_no_bar_ends_before_it_begins_or_before_its_last_job(
    listed: list[tuple[Session, list[Job]]], now: float
) -> None:
    timeline = Timeline.of_service(listed, now=now)
    assert len(timeline.sessions) == len(listed)
    for bar in timeline.sessions:
        assert bar.end >= bar.begin
        assert all(mark.time <= bar.end for mark in bar.jobs)


# The picture


def test_a_pool_draws_on_axes_of_its_own_or_on_given_ones(pool: SessionPool) -> None:
    _, ax = plt.subplots()
    assert pool.plot_timeline(ax) is ax
    assert pool.plot_timeline() is not ax


def test_rows_are_labelled_with_target_and_short_id_and_times_with_utc(pool: SessionPool) -> None:
    ax = pool.plot_timeline()
    bars = pool.timeline().sessions
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        f"{bar.target}  {bar.session_id[:8]}" for bar in bars
    ]
    assert ax.get_xlabel() == "2026-01-01 (UTC)"
    assert {text.get_text() for text in ax.texts} >= {bar.summary for bar in bars}


def test_the_legend_explains_only_what_there_is(pool: SessionPool) -> None:
    legend = pool.plot_timeline().get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "succeeded",
        "failed",
        "session timed out",
        "reopened",
    ]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("length", [3, 40, 220, 900, 5_000, 50_000, 340_000, 3_000_000])
def test_the_axis_has_round_times_whatever_its_length(length: float) -> None:
    bar = SessionBar("id", "ionq.simulator", NEW_YEAR, NEW_YEAR + length, "closed")
    assert len(Timeline([bar]).plot().get_xticks()) >= 3


def test_a_session_of_one_instant_has_an_axis_of_seconds() -> None:
    bar = SessionBar("id", "ionq.simulator", NEW_YEAR, NEW_YEAR, "closed")
    first, last = Timeline([bar]).plot().get_xlim()
    assert (last - first) * 86_400 < 2


@pytest.mark.filterwarnings("error")
def test_a_pool_that_had_no_session_draws_empty_axes() -> None:
    with SessionPool(LocalWorkspace()) as pool:
        assert not pool.plot_timeline().patches


def test_a_thousand_jobs_are_a_thousand_ticks() -> None:
    marks = [JobMark(str(number), "succeeded", NEW_YEAR + number) for number in range(1000)]
    marks[500] = JobMark("500", "failed", NEW_YEAR + 500)
    bar = SessionBar("id", "ionq.simulator", NEW_YEAR, NEW_YEAR + 1000, "closed", jobs=marks)
    succeeded, failed = (
        collection
        for collection in Timeline([bar]).plot().collections
        if len(collection.get_paths())
    )
    assert [len(each.get_paths()) for each in (succeeded, failed)] == [999, 1]
    # What went wrong is thicker than the crowd, and drawn over it.
    assert failed.get_linewidth()[0] > 3 * succeeded.get_linewidth()[0]


@pytest.mark.parametrize(
    ("suffix", "beginning"),
    [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF"), ("html", b"<!doctype html>")],
)
def test_the_name_of_the_file_says_what_is_written(
    suffix: str, beginning: bytes, pool: SessionPool, tmp_path: Path
) -> None:
    path = tmp_path / f"timeline.{suffix}"
    pool.timeline().save(path)
    assert path.read_bytes().startswith(beginning)


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_same_timeline_gives_the_same_file(
    suffix: str, pool: SessionPool, tmp_path: Path
) -> None:
    first, second = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    pool.timeline().save(first)
    pool.timeline().save(second)
    assert first.read_bytes() == second.read_bytes()


def test_letters_of_an_svg_are_letters(pool: SessionPool, tmp_path: Path) -> None:
    pool.timeline().save(tmp_path / "timeline.svg")
    assert "timed out, 3 jobs" in (tmp_path / "timeline.svg").read_text()


def test_a_page_needs_no_network_and_has_whole_ids(pool: SessionPool, tmp_path: Path) -> None:
    path = tmp_path / "timeline.html"
    pool.timeline().save(path)
    page = path.read_text(encoding="utf-8")
    assert re.findall(r"<(?:script|link|img)[^>]*\s(?:src|href)=", page) == []
    for bar in pool.timeline().sessions:
        assert bar.session_id in page
        assert all(mark.job_id in page for mark in bar.jobs)


def test_another_kind_of_file_is_refused(pool: SessionPool, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"not as timeline\.gif"):
        pool.timeline().save(tmp_path / "timeline.gif")


def test_without_a_session_there_is_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no session to draw"):
        Timeline([]).save(tmp_path / "timeline.png")


# The command


def draw(server: EmulatorServer, *arguments: str) -> tuple[int, str]:
    options = ["--emulator", server.endpoint, "--emulator-key", "emulator"]
    shown = CliRunner().invoke(main, ["sessions", "timeline", *arguments, *options])
    return shown.exit_code, shown.output


@pytest.fixture(scope="module")
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer(key="emulator") as server:
        for target in ("ionq.simulator", "quantinuum.sim.h2-1e"):
            with SessionPool(server.workspace()) as pool:
                AzureSessionSampler(target, pool=pool).run_sweep(CIRCUIT, SWEEP)
        yield server


def test_the_command_draws_the_sessions_of_a_workspace(
    server: EmulatorServer, tmp_path: Path
) -> None:
    path = tmp_path / "timeline.svg"
    assert draw(server, "-o", str(path)) == (0, f"{path}: sessions 2, jobs 6\n")
    assert "quantinuum.sim.h2-1e" in path.read_text()


def test_the_command_chooses_sessions_as_the_list_does(
    server: EmulatorServer, tmp_path: Path
) -> None:
    path = tmp_path / "timeline.svg"
    assert draw(server, "-o", str(path), "--target", "ionq.*")[0] == 0
    assert "quantinuum.sim.h2-1e" not in path.read_text()


def test_the_command_takes_known_endings_only(server: EmulatorServer) -> None:
    code, told = draw(server, "-o", "timeline.gif")
    assert code == 2
    assert "timeline.gif must end in one of .png, .svg, .pdf, .html." in told


def test_without_a_session_the_command_fails(server: EmulatorServer, tmp_path: Path) -> None:
    code, told = draw(server, "-o", str(tmp_path / "timeline.png"), "--name", "nobody")
    assert (code, told.count("\n")) == (1, 1)
    assert told.startswith("Error: There is no session to draw")


def test_a_missing_extra_says_which_to_install(
    server: EmulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.delitem(sys.modules, "cirq_azure_sessions.watch.timeline_page", raising=False)
    assert draw(server, "-o", str(tmp_path / "timeline.html")) == (
        1,
        "Error: A page of HTML is drawn by plotly: pip install 'cirq-azure-sessions[plots]'.\n",
    )
