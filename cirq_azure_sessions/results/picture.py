"""Figures, and picture files that name their creator."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import ref

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["is_picture", "new_axes", "save_picture"]

# The metadata fields that name the creator. Without a date, equal pictures give equal files.
_FIELDS = {
    ".png": ("Software", {}),
    ".svg": ("Creator", {"Date": None}),
    ".pdf": ("Creator", {"CreationDate": None}),
}

# State: our figures that pyplot keeps open, oldest first. It warns about more than 20.
_figures: deque[ref[Figure]] = deque()
_MAX_FIGURES = 10


def new_axes(**options: Any) -> Axes:
    """The axes of a new pyplot figure, which is shown in a notebook or a window.

    Beyond ten figures the oldest is closed in pyplot; it remains usable for whoever holds it.

    Args:
        **options: Passed on to `pyplot.figure`.
    """
    from matplotlib import pyplot as plt

    while len(_figures) >= _MAX_FIGURES:
        if (oldest := _figures.popleft()()) is not None:
            plt.close(oldest)
    figure = plt.figure(layout="constrained", **options)
    _figures.append(ref(figure))
    return figure.add_subplot()


def save_picture(
    path: str | os.PathLike[str],
    maker: str,
    draw: Callable[[Axes], object],
    figsize: tuple[float, float] | None = None,
) -> None:
    """Draws a figure to a PNG, SVG or PDF file, without a display.

    Args:
        path: The file; its extension decides the format.
        maker: The creator to name in the file.
        draw: Draws on the given axes.
        figsize: Width and height in inches; matplotlib's own by default.

    Raises:
        ValueError: If the file has another extension.
        OSError: If the file cannot be written.
    """
    if Path(path).suffix.lower() not in _FIELDS:
        raise ValueError(
            f"A picture is written as .png, .svg or .pdf, not as {Path(path).name}: "
            "choose one of these endings."
        )
    field, undated = _FIELDS[Path(path).suffix.lower()]
    figure = Figure(figsize=figsize, layout="constrained")
    draw(figure.add_subplot())
    # Text stays text in SVG, and equal pictures give equal files.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": maker}):
        figure.savefig(path, dpi=150, metadata={field: maker, **undated})


def is_picture(path: Path, maker: str) -> bool:
    """Whether a file was written by `save_picture` for this creator."""
    return maker.encode() in path.read_bytes()
