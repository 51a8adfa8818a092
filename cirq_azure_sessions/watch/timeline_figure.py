"""Timelines drawn with matplotlib."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.lines import Line2D

from cirq_azure_sessions.options import checked
from cirq_azure_sessions.redaction import drawable
from cirq_azure_sessions.results import palette
from cirq_azure_sessions.results.picture import is_picture, new_axes, save_picture
from cirq_azure_sessions.watch.timeline_bars import JobMark, SessionBar, dates_of

__all__ = ["is_timeline", "plot_timeline", "save_timeline"]

# In inches: the height of a row, and the space above and below all rows.
_ROW = 0.34
_MARGINS = 1.1
_WIDTH = 10.0
# In rows: half the height of a bar, of its ticks, and of a tick that protrudes from it.
_BAR = 0.3
_TALL = 0.42
# In seconds: the minimum length of a bar, without which the axis would have no scale.
_MIN_LENGTH = 1.0
# In points: the width of a tick, and the minimum width of a job.
_TICK, _MIN_WIDTH = 1.6, 0.3
# The opacity of a queued job.
_FAINT = 0.3

# The symbols of sessions that the service ended; an hourglass stands for a timeout.
_SIGNS: Mapping[str, Any] = {
    "timed out": [(-0.7, -1), (0.7, -1), (-0.7, 1), (0.7, 1), (-0.7, -1)],
    "failed": "X",
    "lost": "X",
}
_MAKER = "cirq-azure-sessions timeline"


@checked()
def plot_timeline(bars: Sequence[SessionBar], ax: Axes | None = None) -> Axes:
    """Draws one row per session, with its jobs from submission to end; times are in UTC.

    A job is faint while it is queued, and a tick marks one that failed.

    Args:
        bars: The sessions, one row each.
        ax: The axes to draw on; by default those of a new figure, of which pyplot keeps the last
            ten open.

    Returns:
        The axes of the plot.
    """
    if ax is None:
        ax = new_axes(figsize=_size(bars))
    _draw_bars(bars, ax)
    _draw_jobs(bars, ax)
    _draw_ends(bars, ax)
    _label(bars, ax)
    return ax


def save_timeline(bars: Sequence[SessionBar], path: str | os.PathLike[str]) -> None:
    """Writes the figure to a PNG, SVG or PDF file, without a display.

    Raises:
        ValueError: If the file has another extension.
        OSError: If the file cannot be written.
    """
    save_picture(path, _MAKER, partial(plot_timeline, bars), _size(bars))


def is_timeline(path: Path) -> bool:
    """Whether a file was written by `save_timeline`."""
    return is_picture(path, _MAKER)


def _size(bars: Sequence[SessionBar]) -> tuple[float, float]:
    return _WIDTH, _MARGINS + _ROW * max(len(bars), 1)


def _date(time: float) -> float:
    """A time as a number on matplotlib's axes."""
    return float(date2num(datetime.fromtimestamp(time, UTC)))


def _draw_bars(bars: Sequence[SessionBar], ax: Axes) -> None:
    for row, bar in enumerate(bars):
        begin, end = _date(bar.begin), _date(max(bar.end, bar.begin + _MIN_LENGTH))
        ax.barh(row, end - begin, left=begin, height=2 * _BAR, color=palette.PALE)
        if bar.follows is not None:
            before = bars[bar.follows]
            ax.annotate(
                "",
                xy=(begin, row - _BAR),
                xytext=(_date(before.end), bar.follows + _BAR),
                arrowprops={"arrowstyle": "->", "color": palette.QUIET, "shrinkA": 0, "shrinkB": 0},
            )


def _draw_jobs(bars: Sequence[SessionBar], ax: Axes) -> None:
    """One collection per outcome and phase, so that thousands of jobs are as fast as one."""
    boxes: dict[tuple[str, float], list[Any]] = defaultdict(list)
    ticks: dict[str, list[Any]] = defaultdict(list)
    for row, bar in enumerate(bars):
        lanes = list(_lanes(bar))
        height = 2 * _BAR / max([1, *(lane + 1 for lane, _, _ in lanes)])
        for lane, job, (submitted, began, ended) in lanes:
            low = row - _BAR + lane * height
            waiting, running, end = _date(submitted), _date(began), _date(ended)
            boxes[job.outcome, _FAINT].append(_box(waiting, running, low, height))
            boxes[job.outcome, 1.0].append(_box(running, end, low, height))
            if job.outcome in palette.PROBLEMS:
                ticks[job.outcome].append([(end, row - _TALL), (end, row + _TALL)])
    for outcome, colour in palette.OUTCOMES.items():
        # Edges keep short jobs visible; those of queued jobs would add up.
        for alpha, width in ((_FAINT, 0.0), (1.0, _MIN_WIDTH)):
            drawn = PolyCollection(boxes[outcome, alpha], color=colour, alpha=alpha, lw=width)
            ax.add_collection(drawn, autolim=False)
        lines = LineCollection(ticks[outcome], colors=colour, linewidths=_TICK)
        ax.add_collection(lines, autolim=False)


def _lanes(bar: SessionBar) -> Iterator[tuple[int, JobMark, tuple[float, float, float]]]:
    """The jobs of a session with their phases, stacked if at the same time."""
    # Heaps, because thousands of jobs may be queued at the same time.
    taken: list[tuple[float, int]] = []
    free: list[int] = []
    timed = [(job.phases(bar.end), job) for job in bar.jobs]
    for phases, job in sorted(timed, key=lambda each: each[0]):
        submitted, _, ended = phases
        while taken and taken[0][0] <= submitted:
            heappush(free, heappop(taken)[1])
        lane = heappop(free) if free else len(taken)
        heappush(taken, (ended, lane))
        yield lane, job, phases


def _box(left: float, right: float, low: float, height: float) -> Sequence[tuple[float, float]]:
    return [(left, low), (right, low), (right, low + height), (left, low + height)]


def _draw_ends(bars: Sequence[SessionBar], ax: Axes) -> None:
    """How each session ended: in words in the margin, with a symbol if the service ended it."""
    for row, bar in enumerate(bars):
        if bar.ending in _SIGNS:
            ax.plot(_date(bar.end), row, **_sign(bar.ending))
        ax.text(1.02, row, bar.summary, transform=ax.get_yaxis_transform(), va="center", size=8)


def _sign(ending: str) -> dict[str, Any]:
    return {
        "marker": _SIGNS[ending],
        "color": palette.ENDINGS[ending],
        "markersize": 8,
        "linestyle": "none",
        "clip_on": False,
        "zorder": 4,
    }


def _label(bars: Sequence[SessionBar], ax: Axes) -> None:
    labels = [drawable(bar.label) for bar in bars]
    ax.set_yticks(range(len(labels)), labels, family="monospace", size=8)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", labelsize=8)
    # Without a round interval for 4 to 8 ticks, as in four minutes, the locator would warn.
    locator = AutoDateLocator(tz=UTC, minticks=3, maxticks=8)
    ax.xaxis.set_major_locator(locator)
    formats = ["%Y", "%b", "%d", "%H:%M", "%H:%M", "%H:%M:%S.%f"]
    formatter = ConciseDateFormatter(
        locator, tz=UTC, formats=formats, zero_formats=["", *formats[:4], formats[5]]
    )
    formatter.show_offset = False
    ax.xaxis.set_major_formatter(formatter)
    ax.set_xlabel(f"{dates_of(bars)} (UTC)", size=8)
    ax.use_sticky_edges = False
    ax.margins(x=0.02)
    ax.grid(axis="x", color=palette.PALE, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["left", "right", "top"]].set_visible(False)
    ax.legend(
        handles=list(_legend(bars)),
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=7,
        frameon=False,
        fontsize=8,
        handletextpad=0.2,
        columnspacing=1.2,
    )


def _legend(bars: Sequence[SessionBar]) -> Iterator[Line2D]:
    """Entries for symbols that are not explained beside the rows."""
    outcomes = {job.outcome for bar in bars for job in bar.jobs}
    for outcome, colour in palette.OUTCOMES.items():
        if outcome in outcomes:
            yield Line2D([], [], marker="s", color=colour, ls="none", ms=6, label=outcome)
    phases = [job.phases(bar.end) for bar in bars for job in bar.jobs]
    if any(submitted < began for submitted, began, _ in phases):
        waiting = Line2D([], [], marker="s", color=palette.QUIET, ls="none", ms=6, alpha=_FAINT)
        waiting.set_label("waiting (faint)")
        yield waiting
    if any(bar.ending == "timed out" for bar in bars):
        yield Line2D([], [], label="session timed out", **_sign("timed out"))
    if any(bar.follows is not None for bar in bars):
        arrow = "$\\downarrow$"
        yield Line2D([], [], marker=arrow, color=palette.QUIET, ls="none", label="reopened")
