"""What a timeline shows of sessions and their jobs: pure values."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cirq_azure_sessions.model import Job, JobEvent, JobStatus, Session, SessionEvent, SessionStatus

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["JobMark", "SessionBar", "Timeline"]

_SHORT_ID = 8

# How a session ended, in the words of `SessionEvent.kind`.
_ENDINGS = {
    SessionStatus.SUCCEEDED: "closed",
    SessionStatus.FAILED: "failed",
    SessionStatus.TIMED_OUT: "timed out",
}
_ENDED_BY_SERVICE = ("timed out", "failed", "lost")
_OUTCOMES = {JobStatus.FAILED: "failed", JobStatus.CANCELLED: "cancelled"}


@dataclass(frozen=True, slots=True)
class JobMark:
    """One job of a session.

    Attributes:
        outcome: `succeeded`, `failed`, `cancelled` or `unfinished`.
        time: When it ended, or of one that is not over when it was submitted; in seconds since the
            Unix epoch.
    """

    job_id: str
    outcome: str
    time: float


@dataclass(frozen=True, slots=True)
class SessionBar:
    """One session, from its opening to its end.

    Attributes:
        begin: When it was opened, in seconds since the Unix epoch.
        end: When it ended, likewise; of a session that is open, the time of the picture.
        ending: `open`, `closed`, `timed out`, `failed` or `lost`.
        follows: The index of the session that it took the place of, because the service had ended
            that one; None if there is none such.
        jobs: Its jobs, in order of time.
    """

    session_id: str
    target: str
    begin: float
    end: float
    ending: str
    follows: int | None = None
    jobs: Sequence[JobMark] = field(default=(), repr=False)

    @property
    def short_id(self) -> str:
        """So much of the id as tells it from others."""
        return self.session_id[:_SHORT_ID]

    @property
    def label(self) -> str:
        """The target, and the session in short."""
        return f"{self.target}  {self.short_id}"

    @property
    def summary(self) -> str:
        """How it ended, and what became of its jobs: `timed out, 12 jobs, 1 failed`."""
        counts = Counter(job.outcome for job in self.jobs)
        jobs = f"{len(self.jobs):,} job{'' if len(self.jobs) == 1 else 's'}"
        others = [
            f"{counts[outcome]:,} {outcome}"
            for outcome in ("failed", "cancelled", "unfinished")
            if counts[outcome]
        ]
        return ", ".join([self.ending, jobs, *others])


@dataclass(frozen=True)
class Timeline:
    """Sessions and their jobs over time.

    Attributes:
        sessions: Target by target, each target's in the order of their opening.
    """

    sessions: Sequence[SessionBar]

    @property
    def dates(self) -> str:
        """The day, or the first and the last day, in UTC: `2026-01-01 to 2026-01-02`."""
        times = [time for bar in self.sessions for time in (bar.begin, bar.end)]
        days = [datetime.fromtimestamp(time, UTC).date() for time in times]
        return " to ".join(sorted({str(min(days)), str(max(days))})) if days else ""

    @classmethod
    def of_service(cls, listed: Iterable[tuple[Session, Sequence[Job]]], *, now: float) -> Timeline:
        """The sessions and jobs as a workspace lists them.

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
        """The sessions that a pool told of, and their jobs; jobs of other sessions are left out.

        Args:
            session_events: What the pool told of sessions, in order.
            job_events: What it told of jobs, in order.
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
        for told in job_events:
            if told.session_id in marks:
                marks[told.session_id][told.id] = _mark_of_event(told)
        return cls(_linked(_with_jobs(bar, marks[id_].values()) for id_, bar in bars.items()))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draws one row a session, and a tick where each of its jobs ended; times are in UTC.

        Args:
            ax: Where to draw; by default in a new figure.

        Returns:
            The axes that were drawn on.
        """
        from cirq_azure_sessions.watch.timeline_figure import plot_timeline

        return plot_timeline(self, ax)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a picture to a file: PNG, SVG or PDF, or an interactive page of HTML.

        Args:
            path: The file; how its name ends says what is written.

        Raises:
            ValueError: If the name ends in anything else, or there is no session to draw.
            ImportError: For HTML, if plotly is not installed.
            OSError: If the file cannot be written.
        """
        from cirq_azure_sessions.watch.timeline_figure import save_timeline

        if not self.sessions:
            raise ValueError("There is no session to draw: run something first, or list others.")
        if Path(path).suffix.lower() == ".html":
            from cirq_azure_sessions.watch.timeline_page import save_page

            save_page(self, path)
        else:
            save_timeline(self, path)


def _first_known(*times: float | None) -> float:
    return next(time for time in times if time is not None)


def _mark_of_event(event: JobEvent) -> JobMark:
    if event.kind == "submitted":
        return JobMark(event.id, "unfinished", _first_known(event.creation_time, event.time))
    return JobMark(event.id, event.kind, _first_known(event.end_time, event.time))


def _mark_of_job(job: Job, begin: float) -> JobMark:
    if not job.is_final:
        return JobMark(job.id, "unfinished", _first_known(job.creation_time, begin))
    outcome = _OUTCOMES.get(job.status, "succeeded")
    return JobMark(job.id, outcome, _first_known(job.end_time, job.creation_time, begin))


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
    """The bars in order, each that took the place of another with that one's index."""
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
