"""A progress bar for the points of a call."""

from __future__ import annotations

import importlib
import math
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from tqdm import tqdm
from tqdm.std import TqdmDefaultWriteLock  # type: ignore[attr-defined]  # typeshed lacks it

from cirq_azure_sessions.model import Job, JobStatus
from cirq_azure_sessions.redaction import printable

__all__ = ["SweepProgress"]

_SHORT_ID = 8
# Seconds that a bar waits for the others in the program to be drawn.
_DRAWING_TIMEOUT = 1.0
_QUEUED = (JobStatus.QUEUED, JobStatus.WAITING)
# Templates for tqdm.
_BAR = "|{bar}|"
_TIMES = "{elapsed}<{remaining}"


class SweepProgress:
    """A progress bar on stderr, or below a notebook's cell, for the points of a call.

    The line shows the target, the session of the latest job, how many points have finished and
    failed, how many jobs are queued and running, the elapsed time and the time left. At the end it
    reads `50 done`. A call that ends with an error removes its bar. Thread-safe.

    Args:
        target: The target's id, which labels the bar.
    """

    def __init__(self, target: str) -> None:
        # A call must not fail because of a character that the stream cannot encode.
        encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        self._target = target.encode(encoding, "backslashreplace").decode(encoding)
        # State: the bar, once there are points; the numbers of points in total, done and failed;
        # whether each job in flight is queued or running; the session of the latest; and whether
        # the bar cannot be drawn any more.
        self._bar: _Bar | None = None
        self._expected = self._done = self._failed = 0
        self._states: dict[str, str] = {}
        self._session_id = ""
        self._is_broken = False
        # Guards all of the above, and drawing: nothing may be drawn once the bar is closed.
        self._lock = threading.Lock()

    def add_points(self, count: int) -> None:
        """Adds points that will be run."""
        with self._lock:
            self._expected += count
            self._try(self._begin)
            self._draw(self._done + self._failed)

    def _begin(self) -> None:
        if self._bar is None:
            self._bar = (_NotebookBar if _in_notebook() else _Bar)(self._target, self._expected)
        else:
            self._bar.reset(self._expected)

    def job_seen(self, job: Job) -> None:
        """Shows the state of a job in flight, as the service last described it."""
        with self._lock:
            if job.id not in self._states:
                self._session_id = job.session_id or ""
            self._states[job.id] = "queued" if job.status in _QUEUED else "running"
            self._draw()

    def job_finished(self, job_id: str, *, done: int, failed: int) -> None:
        """Counts the points that finished or failed with a job."""
        with self._lock:
            self._states.pop(job_id, None)
            self._done += done
            self._failed += failed
            self._draw(done + failed)

    def _draw(self, more: int = 0) -> None:
        """Draws the bar, advanced by `more` points. Needs the lock."""
        if (bar := self._bar) is not None:
            # Counted before the line is written, which is as long as the time left is.
            bar.n += more
            self._try(lambda: self._show(bar))

    def _show(self, bar: _Bar) -> None:
        bar.bar_format = self._line(bar)
        bar.update(0)

    def _try(self, draw: Callable[[], object]) -> None:
        """Draws, if that is possible: no result is lost because a terminal was closed.

        tqdm leaves its lock locked when another bar of the program fails or is interrupted while it
        is drawn, and so does a fork.
        """
        if self._is_broken or not _Bar._lock.acquire(timeout=_DRAWING_TIMEOUT):
            self._is_broken = True
            return
        try:
            draw()
        except Exception:
            self._is_broken = True
        finally:
            _Bar._lock.release()

    def _line(self, bar: _Bar) -> str:
        """The template of the line; in a narrow terminal, of its most important parts."""
        counts = Counter(self._states.values())
        jobs = ", ".join(f"{counts[each]} {each}" for each in ("queued", "running") if counts[each])
        failed = f"{self._failed} failed" if self._failed else ""
        words = "; ".join(filter(None, [failed, f"jobs: {jobs}" if jobs else ""]))
        short = "; ".join(filter(None, [failed, jobs]))
        points = f"{self._done + self._failed}/{self._expected}"
        target, session = _literal(self._target), _literal(self._session_id[:_SHORT_ID])
        return bar.first_that_fits(
            (target, session, points, _BAR, words, _TIMES),
            (target, points, _BAR, words, _TIMES),
            (target, points, _BAR, short, "{elapsed}"),
            (target, points, short, "{elapsed}"),
            (points, short, "{elapsed}"),
        )

    def _last_line(self, bar: _Bar) -> str:
        """The template of the line that stays."""
        # Points that neither finished nor failed, as after a timeout, have no result either.
        failed = self._expected - self._done
        words = f"{self._done} done{f', {failed} failed' if failed else ''} in {{elapsed}}"
        target, session = _literal(self._target), _literal(self._session_id[:_SHORT_ID])
        return bar.first_that_fits(
            (target, session, _BAR, words), (target, _BAR, words), (target, words)
        )

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
        with self._lock:
            self._try(lambda: self._end(is_left=exc_type is None))

    def _end(self, *, is_left: bool) -> None:
        if self._bar is not None:
            self._bar.bar_format = self._last_line(self._bar)
            last = str(self._bar)
            self._bar.close()
            if is_left:
                self._bar.leave_line(last)


def _literal(text: str) -> str:
    """Text escaped for a template."""
    return printable(text).replace("{", "{{").replace("}", "}}")


def _in_notebook() -> bool:
    """Whether this is a notebook's kernel; IPython in a terminal shows bars like any program."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


class _Bar(tqdm):  # type: ignore[type-arg]  # it iterates over nothing
    """tqdm's bar, set up for points."""

    # Without tqdm's monitor thread for bars that miss updates: this one misses none.
    monitor_interval = 0
    # Shared with all bars of the program, and held while this one is drawn. tqdm's other lock, that
    # of several processes, stays locked when one of them is killed.
    _lock = TqdmDefaultWriteLock.th_lock

    def __init__(self, target: str, points: int, **options: Any) -> None:
        # Points finish in bursts, so the mean rate estimates the time left better than the latest.
        super().__init__(
            desc=printable(target),
            total=points,
            bar_format=f"{{desc}} {{n_fmt}}/{{total_fmt}} {_BAR} {_TIMES}",
            leave=False,
            dynamic_ncols=True,
            miniters=0,
            smoothing=0,
            **options,
        )

    def refresh(self, nolock: bool = False, lock_args: Any = None) -> None:
        """Draws the bar. tqdm would lock once more, and not unlock if that fails."""
        super().refresh(nolock=True)

    def __del__(self) -> None:
        # tqdm would close the bar, and wait for the lock, on any thread.
        pass

    @property
    def format_dict(self) -> dict[str, Any]:
        """tqdm's values for a template; None as the width in a notebook or a file."""
        values = dict(super().format_dict)
        # tqdm takes a terminal that does not know its width for one of -1 columns.
        values["ncols"] = max(0, values["ncols"] or 0) or None
        return values

    def first_that_fits(self, *candidates: Sequence[str]) -> str:
        """The first template, of texts separated by spaces, that fits the terminal, or the last."""
        values = self.format_dict
        columns = values["ncols"] or math.inf
        values["ncols"] = None
        for texts in candidates:
            template = " ".join(filter(None, texts))
            values["bar_format"] = template.replace(_BAR, "|███|")
            if len(self.format_meter(**values)) <= columns:
                break
        return template

    def leave_line(self, line: str) -> None:
        """Replaces the bar by a plain line; a finished bar would disturb those of other threads."""
        self.write(line, file=self.fp)


class _NotebookBar(_Bar):
    """A bar below a notebook's cell: text that is updated in place.

    Unlike a widget, it is still there when the notebook is reopened.
    """

    def __init__(self, target: str, points: int) -> None:
        show = importlib.import_module("IPython.display").display
        self._handle = show({"text/plain": ""}, raw=True, display_id=True)
        # tqdm prints nothing then.
        super().__init__(target, points, gui=True)
        self.display()

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Shows the bar, or a text in its place."""
        self.leave_line(str(self) if msg is None else msg)

    def leave_line(self, line: str) -> None:
        self._handle.update({"text/plain": line}, raw=True)

    def close(self) -> None:
        super().close()
        self.leave_line("")
