"""A timeline as a page of HTML that a reader can zoom into; needs the extra `plots`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from cirq_azure_sessions.results import palette
from cirq_azure_sessions.watch.timeline import Timeline

try:
    from plotly import graph_objects as go
except ImportError as error:
    raise ImportError(
        "A page of HTML is drawn by plotly: pip install 'cirq-azure-sessions[plots]'."
    ) from error

__all__ = ["save_page"]

# In pixels: what a row takes, and what is above and below all rows.
_ROW = 36
_MARGINS = 140

# How sessions ended that the service ended, in plotly's words.
_SIGNS = {"timed out": "hourglass", "failed": "x", "lost": "x"}


def save_page(timeline: Timeline, path: str | os.PathLike[str]) -> None:
    """Writes one file that needs no other and no network; it takes some five megabytes.

    Pointing at a bar or a tick shows the whole id, the times and what became of it.

    Raises:
        OSError: If the file cannot be written.
    """
    figure = go.Figure([_bars(timeline), *_jobs(timeline), _ends(timeline)])
    figure.update_layout(
        template="plotly_white",
        height=_MARGINS + _ROW * len(timeline.sessions),
        barmode="overlay",
        hovermode="closest",
        margin={"t": 60, "r": 260},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        annotations=list(_reopenings(timeline)),
    )
    figure.update_xaxes(title=f"{timeline.dates} (UTC)", type="date")
    figure.update_yaxes(
        tickvals=list(range(len(timeline.sessions))),
        ticktext=[bar.label for bar in timeline.sessions],
        tickfont={"family": "monospace"},
        range=[len(timeline.sessions) - 0.4, -0.6],
        showgrid=False,
        zeroline=False,
    )
    figure.write_html(path, include_plotlyjs=True, config={"displaylogo": False})


def _date(time: float) -> datetime:
    return datetime.fromtimestamp(time, UTC)


def _bars(timeline: Timeline) -> Any:
    return go.Bar(
        base=[_date(bar.begin) for bar in timeline.sessions],
        # Lengths on an axis of dates are milliseconds.
        x=[1e3 * (bar.end - bar.begin) for bar in timeline.sessions],
        y=list(range(len(timeline.sessions))),
        orientation="h",
        width=0.6,
        marker={"color": palette.PALE},
        hovertext=[
            f"session {bar.session_id}<br>{bar.target}<br>{bar.summary}<br>"
            f"{_date(bar.begin):%F %T} to {_date(bar.end):%F %T}"
            for bar in timeline.sessions
        ],
        hoverinfo="text",
        showlegend=False,
    )


def _jobs(timeline: Timeline) -> Iterator[Any]:
    """One trace an outcome, which the legend switches on and off."""
    for outcome, colour in palette.OUTCOMES.items():
        jobs = [
            (row, job)
            for row, bar in enumerate(timeline.sessions)
            for job in bar.jobs
            if job.outcome == outcome
        ]
        if jobs:
            yield go.Scatter(
                x=[_date(job.time) for _, job in jobs],
                y=[row for row, _ in jobs],
                mode="markers",
                marker={
                    "symbol": "line-ns-open",
                    "color": colour,
                    "size": 26 if outcome in palette.AMISS else 18,
                    "line": {"width": 1.5},
                },
                name=outcome,
                hovertext=[
                    f"job {job.job_id}<br>{outcome}, {_date(job.time):%F %T}" for _, job in jobs
                ],
                hoverinfo="text",
            )


def _ends(timeline: Timeline) -> Any:
    """How each session ended, as a sign and in words."""
    return go.Scatter(
        x=[_date(bar.end) for bar in timeline.sessions],
        y=list(range(len(timeline.sessions))),
        mode="markers+text",
        marker={
            "symbol": [_SIGNS.get(bar.ending, "line-ns") for bar in timeline.sessions],
            "color": [palette.ENDINGS[bar.ending] for bar in timeline.sessions],
            "size": 12,
        },
        text=[f"  {bar.summary}" for bar in timeline.sessions],
        textposition="middle right",
        cliponaxis=False,
        hoverinfo="skip",
        showlegend=False,
    )


def _reopenings(timeline: Timeline) -> Iterator[dict[str, Any]]:
    """An arrow from each session that the service ended to the one that took its place."""
    for row, bar in enumerate(timeline.sessions):
        if bar.follows is not None:
            yield {
                "x": _date(bar.begin),
                "y": row - 0.3,
                "ax": _date(timeline.sessions[bar.follows].end),
                "ay": bar.follows + 0.3,
                "axref": "x",
                "ayref": "y",
                "text": "",
                "arrowhead": 2,
                "arrowcolor": palette.QUIET,
                "hovertext": "reopened",
            }
