"""Timelines: what they show of sessions and jobs, and the files that they become."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot as plt

from cirq_azure_sessions.model import Job, JobStatus, Session, SessionStatus
from cirq_azure_sessions.watch.events import JobEvent, SessionEvent
from cirq_azure_sessions.watch.timeline import JobMark, SessionBar, Timeline

NEW_YEAR = 1_767_225_600.0


@pytest.fixture(autouse=True)
def no_display() -> Iterator[None]:
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture
def timeline() -> Timeline:
    """A session that timed out, the one that replaced it, and one with a failed job."""
    sessions = [
        ("opened", "s-1", "ionq.simulator", 0),
        ("opened", "s-3", "quantinuum.sim.h2-1e", 10),
        ("timed_out", "s-1", "ionq.simulator", 600),
        ("opened", "s-2", "ionq.simulator", 700),
        ("closed", "s-2", "ionq.simulator", 800),
        ("closed", "s-3", "quantinuum.sim.h2-1e", 800),
    ]
    jobs = [
        ("submitted", "j-1", "s-1", 1),
        ("succeeded", "j-1", "s-1", 2),
        ("submitted", "j-2", "s-2", 701),
        ("succeeded", "j-2", "s-2", 702),
        ("submitted", "j-3", "s-3", 11),
        ("failed", "j-3", "s-3", 12),
        ("submitted", "j-4", "s-3", 13),
        ("submitted", "j-5", "another pool's", 14),
    ]
    return Timeline.of_events(
        [SessionEvent(kind, name, target, NEW_YEAR + t) for kind, name, target, t in sessions],
        [JobEvent(kind, name, at, "t", NEW_YEAR + t) for kind, name, at, t in jobs],
        now=NEW_YEAR + 900,
    )


def session(number: int, status: SessionStatus, begin: float, end: float | None = None) -> Session:
    return Session(f"session-{number}", "t", "n", status, creation_time=begin, end_time=end)


def job(number: int, status: JobStatus, begin: float, end: float | None = None) -> Job:
    return Job(str(number), "t", "n", status, creation_time=begin, end_time=end)


# The timeline of events


def test_sessions_are_listed_target_by_target_with_how_they_ended(timeline: Timeline) -> None:
    assert [(bar.target, bar.summary) for bar in timeline.sessions] == [
        ("ionq.simulator", "timed out, 1 job"),
        ("ionq.simulator", "closed, 1 job"),
        ("quantinuum.sim.h2-1e", "closed, 2 jobs, 1 failed, 1 unfinished"),
    ]


def test_a_session_that_replaces_another_follows_it(timeline: Timeline) -> None:
    assert [bar.follows for bar in timeline.sessions] == [None, 0, None]


def test_times_of_the_service_come_before_those_of_the_pool() -> None:
    opened = SessionEvent("opened", "s", "t", 105.0, creation_time=100.0)
    timed_out = SessionEvent("timed_out", "s", "t", 900.0, end_time=700.0)
    job = JobEvent("succeeded", "j", "s", "t", 120.0, end_time=110.0)
    (bar,) = Timeline.of_events([opened, timed_out], [job], now=1000.0).sessions
    assert (bar.begin, bar.jobs[0].time, bar.end) == (100.0, 110.0, 700.0)


def test_an_open_session_ends_at_the_time_of_the_picture() -> None:
    (bar,) = Timeline.of_events([SessionEvent("opened", "s", "t", 1.0)], now=9.0).sessions
    assert (bar.end, bar.summary) == (9.0, "open, 0 jobs")


# The timeline of a workspace


def test_listed_sessions_and_jobs_become_bars_and_ticks() -> None:
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


def test_a_session_after_a_closed_one_is_not_a_replacement() -> None:
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


def test_rows_are_labelled_with_target_and_short_id_and_times_with_utc(timeline: Timeline) -> None:
    ax = timeline.plot()
    bars = timeline.sessions
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        f"{bar.target}  {bar.session_id[:8]}" for bar in bars
    ]
    assert ax.get_xlabel() == "2026-01-01 (UTC)"
    assert {text.get_text() for text in ax.texts} >= {bar.summary for bar in bars}


def test_the_legend_explains_only_drawn_marks(timeline: Timeline) -> None:
    legend = timeline.plot().get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "unfinished",
        "succeeded",
        "failed",
        "waiting (faint)",
        "session timed out",
        "reopened",
    ]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("length", [3, 40, 220, 900, 5_000, 50_000, 340_000, 3_000_000])
def test_the_axis_has_round_times_whatever_its_length(length: float) -> None:
    bar = SessionBar("id", "ionq.simulator", NEW_YEAR, NEW_YEAR + length, "closed")
    assert len(Timeline([bar]).plot().get_xticks()) >= 3


def test_instantaneous_session_has_an_axis_in_seconds() -> None:
    bar = SessionBar("id", "ionq.simulator", NEW_YEAR, NEW_YEAR, "closed")
    first, last = Timeline([bar]).plot().get_xlim()
    assert (last - first) * 86_400 < 2


def test_a_thousand_jobs_are_a_thousand_bars() -> None:
    marks = [
        JobMark(str(number), "succeeded", NEW_YEAR + number, NEW_YEAR) for number in range(1000)
    ]
    marks[500] = JobMark("500", "failed", NEW_YEAR + 500, NEW_YEAR)
    bar = SessionBar("id", "ionq.simulator", NEW_YEAR, NEW_YEAR + 1000, "closed", jobs=marks)
    drawn = [each for each in Timeline([bar]).plot().collections if len(each.get_paths())]
    # Of each outcome those that wait and those that run, and a tick where something went wrong.
    assert [len(each.get_paths()) for each in drawn] == [999, 999, 1, 1, 1]
    assert drawn[-1].get_linewidth()[0] > 3 * drawn[1].get_linewidth()[0]


@pytest.mark.parametrize(
    ("mark", "phases"),
    [
        (JobMark("a", "succeeded", 9.0, 1.0, 4.0), (1.0, 4.0, 9.0)),
        (JobMark("a", "succeeded", 9.0, 1.0), (1.0, 1.0, 9.0)),
        (JobMark("a", "cancelled", 9.0, 1.0), (1.0, 9.0, 9.0)),
        (JobMark("a", "unfinished", 1.0, 1.0, 4.0), (1.0, 4.0, 20.0)),
        (JobMark("a", "unfinished", 1.0, 1.0), (1.0, 20.0, 20.0)),
        (JobMark("a", "failed", 9.0), (9.0, 9.0, 9.0)),
    ],
)
def test_a_job_waits_runs_and_ends(mark: JobMark, phases: tuple[float, ...]) -> None:
    assert mark.phases(now=20.0) == phases


def test_a_short_axis_shows_minutes_and_seconds() -> None:
    bar = SessionBar("id", "ionq.simulator", NEW_YEAR + 3630, NEW_YEAR + 3670, "closed")
    ax = Timeline([bar]).plot()
    ax.figure.draw_without_rendering()
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels[1:-1] == ["01:00:40", "01:00:50", "01:01:00"]


@pytest.mark.parametrize(
    ("suffix", "beginning"),
    [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")],
)
def test_the_file_extension_decides_the_format(
    suffix: str, beginning: bytes, timeline: Timeline, tmp_path: Path
) -> None:
    path = tmp_path / f"timeline.{suffix}"
    timeline.save(path)
    assert path.read_bytes().startswith(beginning)


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_same_timeline_gives_the_same_file(
    suffix: str, timeline: Timeline, tmp_path: Path
) -> None:
    first, second = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    timeline.save(first)
    timeline.save(second)
    assert first.read_bytes() == second.read_bytes()


def test_svg_text_stays_text(timeline: Timeline, tmp_path: Path) -> None:
    timeline.save(tmp_path / "timeline.svg")
    assert "timed out, 1 job" in (tmp_path / "timeline.svg").read_text()


def test_another_kind_of_file_is_refused(timeline: Timeline, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"not as timeline\.gif"):
        timeline.save(tmp_path / "timeline.gif")


@pytest.mark.filterwarnings("error")
def test_a_timeline_without_sessions_plots_empty_axes() -> None:
    assert not Timeline([]).plot().patches


def test_a_timeline_is_drawn_on_axes_of_its_own_or_on_given_ones(timeline: Timeline) -> None:
    _, ax = plt.subplots()
    assert timeline.plot(ax) is ax
    assert timeline.plot() is not ax


def test_without_a_session_there_is_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no sessions to draw"):
        Timeline([]).save(tmp_path / "timeline.png")
