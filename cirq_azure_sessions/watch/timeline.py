"""Timelines of sessions and their jobs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cirq_azure_sessions.model import Job, JobStatus, Session, SessionStatus
from cirq_azure_sessions.watch.events import JobEvent, SessionEvent
from cirq_azure_sessions.watch.timeline_bars import JobMark, SessionBar, dates_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["JobMark", "SessionBar", "Timeline"]

# How a session ended, by `SessionEvent.kind`.
_ENDINGS = {
    SessionStatus.SUCCEEDED: "closed",
    SessionStatus.FAILED: "failed",
    SessionStatus.TIMED_OUT: "timed out",
}
_ENDED_BY_SERVICE = ("timed out", "failed", "lost")
_OUTCOMES = {JobStatus.FAILED: "failed", JobStatus.CANCELLED: "cancelled"}


@dataclass(frozen=True)
class Timeline:
    """Sessions and their jobs over time.

    Attributes:
        sessions: The sessions, grouped by target, in the order of their opening.
    """

    sessions: Sequence[SessionBar]

    @property
    def dates(self) -> str:
        """The day, or the first and the last day, in UTC: `2026-01-01 to 2026-01-02`."""
        return dates_of(self.sessions)

    @classmethod
    def of_service(cls, listed: Iterable[tuple[Session, Sequence[Job]]], *, now: float) -> Timeline:
        """The timeline of sessions and jobs that a workspace lists.

        A session follows the one before it on its target if the service ended that one.

        Args:
            listed: Each session, with its jobs.
            now: The time of the picture, in seconds since the Unix epoch.
        """
        bars = [_bar_of(session, jobs, now) for session, jobs in listed]
        return cls(_linked(bars))

    @classmethod
    def of_events(
        cls,
        session_events: Iterable[SessionEvent],
        job_events: Iterable[JobEvent] = (),
        *,
        now: float,
    ) -> Timeline:
        """The timeline of a pool's events; jobs of sessions without an event are left out.

        Args:
            session_events: The events of sessions, in order.
            job_events: The events of jobs, in order.
            now: The time of the picture, in seconds since the Unix epoch.
        """
        bars: dict[str, SessionBar] = {}
        for event in session_events:
            if event.is_start_of_session:
                begin = _first_known(event.creation_time, event.time)
                bars[event.id] = SessionBar(event.id, event.target, begin, now, "open")
            elif event.id in bars:
                end = _first_known(event.end_time, event.time)
                ending = event.kind.replace("_", " ")
                bars[event.id] = replace(bars[event.id], end=end, ending=ending)
        marks: dict[str, dict[str, JobMark]] = {session_id: {} for session_id in bars}
        for job in job_events:
            if job.session_id in marks:
                marks[job.session_id][job.id] = _mark_of_event(job)
        return cls(_linked(_with_jobs(bar, marks[id_].values()) for id_, bar in bars.items()))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draws one row per session, with its jobs from submission to end; times are in UTC.

        Args:
            ax: The axes to draw on; by default those of a new figure.

        Returns:
            The axes of the plot.
        """
        from cirq_azure_sessions.watch.timeline_figure import plot_timeline

        return plot_timeline(self.sessions, ax)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a picture to a PNG, SVG or PDF file.

        Args:
            path: The file; its extension decides the format.

        Raises:
            ValueError: If the file has another extension, or there is no session to draw.
            OSError: If the file cannot be written.
        """
        from cirq_azure_sessions.watch.timeline_figure import save_timeline

        if not self.sessions:
            raise ValueError(
                "There are no sessions to draw: run something first, or widen the filters."
            )
        save_timeline(self.sessions, path)


def _first_known(*times: float | None) -> float:
    return next(time for time in times if time is not None)


def _mark_of_event(event: JobEvent) -> JobMark:
    submitted = _first_known(event.creation_time, event.time)
    if event.kind == "submitted":
        return JobMark(event.id, "unfinished", submitted, submitted, event.begin_time)
    end = _first_known(event.end_time, event.time)
    return JobMark(event.id, event.kind, end, event.creation_time, event.begin_time)


def _mark_of_job(job: Job, begin: float) -> JobMark:
    outcome = _OUTCOMES.get(job.status, "succeeded") if job.is_final else "unfinished"
    times = (job.end_time if job.is_final else None, job.creation_time, begin)
    return JobMark(job.id, outcome, _first_known(*times), job.creation_time, job.begin_time)


def _bar_of(session: Session, jobs: Sequence[Job], now: float) -> SessionBar:
    begin = _first_known(session.creation_time, *(job.creation_time for job in jobs), now)
    end = now if session.is_open else _first_known(session.end_time, now)
    ending = _ENDINGS.get(session.status, "open")
    bar = SessionBar(session.id, session.target, begin, end, ending)
    return _with_jobs(bar, (_mark_of_job(job, begin) for job in jobs))


def _with_jobs(bar: SessionBar, marks: Iterable[JobMark]) -> SessionBar:
    """The bar with its jobs, long enough for all of them."""
    jobs = sorted(marks, key=lambda mark: mark.time)
    last = jobs[-1].time if jobs else bar.begin
    return replace(bar, jobs=jobs, end=max(bar.end, bar.begin, last))


def _linked(bars: Iterable[SessionBar]) -> Sequence[SessionBar]:
    """The bars in order; one that replaces another has that one's index."""
    by_time = sorted(bars, key=lambda bar: bar.begin)
    targets = list(dict.fromkeys(bar.target for bar in by_time))
    ordered = sorted(by_time, key=lambda bar: targets.index(bar.target))
    latest: dict[str, int] = {}
    linked = []
    for index, bar in enumerate(ordered):
        before = latest.get(bar.target)
        is_replacement = before is not None and ordered[before].ending in _ENDED_BY_SERVICE
        linked.append(replace(bar, follows=before if is_replacement else None))
        latest[bar.target] = index
    return linked
