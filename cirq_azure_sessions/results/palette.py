"""Colours that everybody can tell apart.

Source: M. Okabe and K. Ito, Color Universal Design, https://jfly.uni-koeln.de/color/ (2008).
"""

from __future__ import annotations

__all__ = ["AMISS", "CYCLE", "ENDINGS", "OUTCOMES", "PALE", "QUIET"]

_BLUE = "#0072B2"
_VERMILLION = "#D55E00"
_GREEN = "#009E73"
_PURPLE = "#CC79A7"
_ORANGE = "#E69F00"
_SKY = "#56B4E9"
_BLACK = "#000000"

# Lines of one picture, one after the other.
CYCLE = (_BLUE, _VERMILLION, _GREEN, _PURPLE, _ORANGE, _SKY, _BLACK)
# What the eye may pass over.
PALE = "#D3E0EA"
QUIET = "#6E6E6E"

# Jobs by their outcome, in the order in which a later one hides an earlier one.
OUTCOMES = {
    "unfinished": QUIET,
    "succeeded": _BLUE,
    "cancelled": _PURPLE,
    "failed": _VERMILLION,
}
# What went wrong is drawn larger.
AMISS = ("cancelled", "failed")
# Sessions by how they ended.
ENDINGS = {
    "open": QUIET,
    "closed": QUIET,
    "timed out": _BLACK,
    "failed": _VERMILLION,
    "lost": _VERMILLION,
}
