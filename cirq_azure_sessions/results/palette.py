"""Colours for plots, which readers with colour vision deficiencies can tell apart.

Source: M. Okabe and K. Ito, Color Universal Design, https://jfly.uni-koeln.de/color/ (2008).
"""

from __future__ import annotations

__all__ = ["CYCLE", "ENDINGS", "OUTCOMES", "PALE", "PROBLEMS", "QUIET"]

_BLUE = "#0072B2"
_VERMILLION = "#D55E00"
_GREEN = "#009E73"
_PURPLE = "#CC79A7"
_ORANGE = "#E69F00"
_SKY = "#56B4E9"
_BLACK = "#000000"

# The lines of a plot, in order.
CYCLE = (_BLUE, _VERMILLION, _GREEN, _PURPLE, _ORANGE, _SKY, _BLACK)
# Background and secondary marks.
PALE = "#D3E0EA"
QUIET = "#6E6E6E"

# Jobs by outcome; later ones are drawn over earlier ones.
OUTCOMES = {
    "unfinished": QUIET,
    "succeeded": _BLUE,
    "cancelled": _PURPLE,
    "failed": _VERMILLION,
}
# Outcomes that are drawn larger because something went wrong.
PROBLEMS = ("cancelled", "failed")
# Sessions by how they ended.
ENDINGS = {
    "open": QUIET,
    "closed": QUIET,
    "timed out": _BLACK,
    "failed": _VERMILLION,
    "lost": _VERMILLION,
}
