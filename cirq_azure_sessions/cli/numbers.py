"""Numbers in options: their types, and errors in plain English."""

from __future__ import annotations

import math
from typing import Any

import click

__all__ = ["Number", "WholeNumber", "parse_whole_number"]


class Number(click.ParamType):  # type: ignore[type-arg]  # generic in new versions only
    """A number within limits.

    Args:
        minimum: The smallest number; without it, the number is positive.
        maximum: The largest number.
    """

    name = "number"
    _kind = "number"

    def __init__(self, minimum: float | None = None, maximum: float = math.inf) -> None:
        self._minimum, self._maximum = minimum, maximum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            number = self._parse(value)
        except ValueError:
            in_seconds = param is not None and param.metavar == "SECONDS"
            unit = " of seconds" if in_seconds else ""
            self.fail(f"{value!r} is not a {self._kind}{unit}.", param, ctx)
        if self._minimum is None and not number > 0:
            self.fail(f"{value} is too small: give more than 0.", param, ctx)
        if self._minimum is not None and number < self._minimum:
            self.fail(f"{value} is too small: give at least {self._minimum:g}.", param, ctx)
        if number > self._maximum:
            self.fail(f"{value} is too large: give at most {self._maximum:g}.", param, ctx)
        return number

    def _parse(self, value: Any) -> float:
        number = float(value)
        if math.isnan(number):
            raise ValueError
        return number


class WholeNumber(Number):
    """A whole number within limits."""

    _kind = "whole number"

    def _parse(self, value: Any) -> int:
        return parse_whole_number(value)


def parse_whole_number(text: str) -> int:
    """The value of a whole number, which may be written as `1e4`.

    Raises:
        ValueError: If it is no number, or not a whole one.
    """
    try:
        return int(text)
    except ValueError:
        number = float(text)
    if not number.is_integer():
        raise ValueError(f"{text!r} is not a whole number.")
    return int(number)
