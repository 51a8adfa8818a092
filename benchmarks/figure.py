"""One measured figure and what it must reach."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Figure"]


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure, and the bound it is held to.

    Attributes:
        name: What was measured.
        value: The figure.
        unit: Its unit; `times`, `%` and counts compare across machines, seconds do not.
        at_most, at_least: The bound, if there is one.
        decides: Whether a missed bound fails the run: only ratios and counts do, never seconds.
        detail: The figures behind it.
    """

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    decides: bool = True
    detail: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the figure keeps within its bound."""
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )

    @property
    def bound(self) -> str:
        """The bound in words."""
        if self.at_most is not None:
            return f"<= {self.at_most:g}"
        return "" if self.at_least is None else f">= {self.at_least:g}"

    @property
    def verdict(self) -> str:
        """Whether the bound is met, in a word; in small letters where that fails no run."""
        if not self.bound:
            return ""
        return "met" if self.is_met else "MISSED" if self.decides else "missed"

    def as_json(self) -> dict[str, Any]:
        """All fields, for a file."""
        return asdict(self) | {"is_met": self.is_met}
