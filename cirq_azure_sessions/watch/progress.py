"""A progress bar for the jobs of a call."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from types import TracebackType

from tqdm.auto import tqdm

from cirq_azure_sessions.model import Job, JobStatus
from cirq_azure_sessions.redaction import printable

__all__ = ["SweepProgress"]

_SHORT_ID = 8
_QUEUED = (JobStatus.QUEUED, JobStatus.WAITING)
_STATES = ("queued", "running", "failed")
# Templates of tqdm's, and the shortest text that it puts into them.
_TIME_LEFT = "<{remaining}"
_TIME_TAKEN = "in {elapsed}"
_MIN_TEXTS = {"bar": "███", "remaining": "00:00", "elapsed": "00:00"}


class SweepProgress:
    """A progress bar on stderr, or a widget in a notebook, for the jobs of a call.

    The line shows the target, the session of the latest job, how many jobs are finished, how many
    were submitted, are queued, run and have failed, and after `<` the time left. A call that ends
    with an error removes its bar. Thread-safe.

    Args:
        target: The target's id, which labels the bar.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        # State: the bar, once there are jobs; how many there are, and how many have finished;
        # whether each job in flight is queued or running; how many are in each state; and the
        # session of the latest.
        self._bar: _Bar | None = None
        self._expected = 0
        self._finished = 0
        self._states: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        self._session_id = ""
        # Guards all of the above, and drawing: nothing may be drawn once the bar is closed.
        self._lock = threading.Lock()

    def add_jobs(self, count: int) -> None:
        """Adds jobs that are going to be run."""
        with self._lock:
            self._expected += count
            if self._bar is None:
                self._bar = _Bar(self._target, count)
            else:
                self._bar.reset(self._expected)
            self._draw(self._finished)

    def job_seen(self, job: Job) -> None:
        """Shows the state of a job in flight, as the service last described it."""
        state = "queued" if job.status in _QUEUED else "running"
        with self._lock:
            before = self._states.get(job.id)
            if before is None:
                self._counts["submitted"] += 1
                self._session_id = job.session_id or ""
            else:
                self._counts[before] -= 1
            self._counts[state] += 1
            self._states[job.id] = state
            self._draw()

    def job_finished(self, job_id: str, *, failed: bool) -> None:
        """Counts a job as finished, whether it was submitted or not."""
        with self._lock:
            before = self._states.pop(job_id, None)
            if before is not None:
                self._counts[before] -= 1
            self._counts["failed"] += failed
            self._finished += 1
            self._draw(1)

    def _draw(self, more: int = 0) -> None:
        """Draws the bar, advanced by `more` jobs. Needs the lock."""
        if self._bar is not None:
            self._bar.bar_format = self._line(self._bar.columns, _TIME_LEFT)
            # A result must not be lost because the terminal has gone away.
            with suppress(OSError, ValueError):
                self._bar.update(more)

    def _line(self, columns: int | None, time: str) -> str:
        """The template of the line, with as many words as fit into the terminal."""
        counts = self._counts
        submitted = [f"{counts['submitted']} submitted"] if counts["submitted"] else []
        states = [f"{counts[state]} {state}" for state in _STATES if counts[state]]
        target = _literal(self._target)
        named = f"{target} {_literal(self._session_id[:_SHORT_ID])}".rstrip()
        # The number submitted is the sum of the others, and the first to be left out.
        for name, words in ((named, submitted + states), (named, states), (target, states)):
            texts = [f"{name} {self._finished}/{self._expected}", "|{bar}|", ", ".join(words), time]
            line = " ".join(filter(None, texts))
            if columns is None or len(line.format(**_MIN_TEXTS)) <= columns:
                break
        return line

    def __str__(self) -> str:
        with self._lock:
            return "" if self._bar is None else str(self._bar)

    def __enter__(self) -> SweepProgress:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock, suppress(OSError, ValueError):
            if self._bar is not None:
                self._bar.bar_format = self._line(self._bar.columns, _TIME_TAKEN)
                last = str(self._bar)
                self._bar.close()
                if exc_type is None:
                    # Leaving the bar itself would confuse the bars of other threads below it.
                    self._bar.write(last, file=self._bar.fp)


def _literal(text: str) -> str:
    """Text that stands in a template as it is."""
    return printable(text).replace("{", "{{").replace("}", "}}")


class _Bar(tqdm):  # type: ignore[type-arg]  # it iterates over nothing
    """tqdm's bar, set up for jobs."""

    # Without the thread that tqdm starts for bars that miss changes: this one misses none.
    monitor_interval = 0

    def __init__(self, target: str, jobs: int) -> None:
        # Jobs finish in bursts, so the mean rate estimates the time left better than the latest.
        super().__init__(
            desc=printable(target),
            total=jobs,
            bar_format=f"{{desc}} {{n_fmt}}/{{total_fmt}} |{{bar}}| {_TIME_LEFT}",
            leave=False,
            dynamic_ncols=True,
            miniters=0,
            smoothing=0,
        )

    @property
    def columns(self) -> int | None:
        """The width of the terminal at the last drawing; None in a notebook or a file."""
        return self.ncols if isinstance(self.ncols, int) else None
