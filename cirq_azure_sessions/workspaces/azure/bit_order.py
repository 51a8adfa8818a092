"""What qdk reads in another bit order than OpenQASM 3."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["misread_place"]

_REGISTER = re.compile(r"\bbit\s*\[(?P<size>[^\]]*)\]\s*(?P<name>\w+)|\bcreg\s+(?P<old>\w+)\s*\[")
_STRING = re.compile(r'"(?P<bits>[01_]+)"')
_NUMBER = r"(?:u?int|float|angle)\s*(?:\[[^\]]*\])?"


def misread_place(program: str) -> tuple[int, int] | None:
    """The line and column of the first bits that qdk would read backwards, if any.

    For qdk, the first bit of a register has the highest value when the register is used as a
    number, and is the first character of a string; in OpenQASM 3 it is the lowest bit and the last
    character. A register is not taken for a number where it is only copied, measured, combined with
    another or tested for zero.

    Args:
        program: The program without comments.
    """
    places = list(_places(program))
    if not places:
        return None
    before = program[: min(places)]
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _places(program: str) -> Iterator[int]:
    for string in _STRING.finditer(program):
        bits = string["bits"].replace("_", "")
        if bits != bits[::-1]:
            yield string.start()
    found = [m for m in _REGISTER.finditer(program) if (m["size"] or "").strip() != "1"]
    if not found:
        return
    names = "|".join({match["name"] or match["old"] for match in found})
    # The whole register, or several of its bits.
    bits = rf"(?P<bits>\b(?:{names})\b(?!\s*\[)|\b(?:{names})\s*\[[^\]]*:[^\]]*\])"
    for use in (
        # Compared, shifted or calculated with, or combined with a number.
        rf"{bits}\s*(?:[=!<>]=|[<>+*/%-]|[&|^]?=?\s*\d)",
        rf"(?:[=!<>]=|(?<!-)>|[<+*/%-]|\d\s*[&|^])\s*{bits}",
        # Cast, whether written or by an assignment.
        rf"\b{_NUMBER}\s*\(\s*{bits}\s*\)",
        rf"(?<!\blet )(?<!\bbool )\b(?!(?:{names})\b)\w+\s*[+*/%-]?=\s*{bits}",
        # A case or an index.
        rf"(?:\bswitch\s*\(|\w\s*\[)\s*{bits}\s*[)\]]",
    ):
        yield from (match.start("bits") for match in re.finditer(use, program))
    # A number as bits.
    yield from (match.start() for match in re.finditer(r"\bbit\s*\[[^\]]*\]\s*\(", program))
