"""The sessions and jobs of a timeline, as plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cirq_azure_sessions.spelling import counted

__all__ = ["JobMark", "SessionBar", "dates_of"]

_SHORT_ID = 8


@dataclass(frozen=True, slots=True)
class JobMark:
    """One job of a session.

    Attributes:
        outcome: `succeeded`, `failed`, `cancelled` or `unfinished`.
        time: When it ended or, if it is unfinished, when it was submitted; in seconds since the
            Unix epoch.
        submitted: When it was submitted, likewise; None if that is not known.
        began: When it began to run, likewise; None if it has not, or that is not known.
    """

    job_id: str
    outcome: str
    time: float
    submitted: float | None = None
    began: float | None = None

    def phases(self, now: float) -> tuple[float, float, float]:
        """When it was queued, began to run, and ended; an unfinished job ends at `now`."""
        end = now if self.outcome == "unfinished" else self.time
        begin = end if self.submitted is None else min(self.submitted, end)
        # A job that succeeded has run, even if its begin is unknown.
        run = self.began or (begin if self.outcome == "succeeded" else end)
        return begin, min(max(run, begin), end), end


@dataclass(frozen=True, slots=True)
class SessionBar:
    """One session, from its opening to its end.

    Attributes:
        begin: When it was opened, in seconds since the Unix epoch.
        end: When it ended, likewise; the time of the picture if it is still open.
        ending: `open`, `closed`, `timed out`, `failed` or `lost`.
        follows: The index of the session that it replaces because the service had ended that one,
            or None.
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
        """The first characters of the id."""
        return self.session_id[:_SHORT_ID]

    @property
    def label(self) -> str:
        """The target and the short id."""
        return f"{self.target}  {self.short_id}"

    @property
    def summary(self) -> str:
        """How it ended, and its jobs by outcome: `timed out, 12 jobs, 1 failed`."""
        counts = Counter(job.outcome for job in self.jobs)
        others = [
            f"{counts[outcome]:,} {outcome}"
            for outcome in ("failed", "cancelled", "unfinished")
            if counts[outcome]
        ]
        return ", ".join([self.ending, counted(len(self.jobs), "job"), *others])


def dates_of(bars: Sequence[SessionBar]) -> str:
    """The day, or the first and the last day, in UTC: `2026-01-01 to 2026-01-02`."""
    times = [time for bar in bars for time in (bar.begin, bar.end)]
    days = [datetime.fromtimestamp(time, UTC).date() for time in times]
    return " to ".join(sorted({str(min(days)), str(max(days))})) if days else ""
