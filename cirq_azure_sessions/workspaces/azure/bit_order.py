"""What qdk reads in another bit order than OpenQASM 3."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["misread_place"]

_REGISTER = re.compile(r"\bbit\s*\[(?P<size>[^\]]*)\]\s*(?P<name>\w+)|\bcreg\s+(?P<old>\w+)\s*\[")
_STRING = re.compile(r'"(?P<bits>[01_]+)"')
_NUMBER = r"(?:u?int|float|angle)\s*+(?:\[[^\]]*\])?"
# Stands for each letter of a register's name; OpenQASM has no names with it.
_MARK = "²"


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
    names = {match["name"] or match["old"] for match in found}
    # One mark for all: thousands of names would each be compared with every word.
    program = re.sub(
        r"\w+", lambda word: _MARK * len(word[0]) if word[0] in names else word[0], program
    )
    # The whole register, or several of its bits.
    whole = rf"\b{_MARK}++(?!\s*\[)|\b{_MARK}++\s*\[[^][;]*:[^][;]*\]"
    bits = f"(?P<bits>{whole})"
    # Equal registers are equal in any order.
    program = re.sub(
        rf"(?:{whole})\s*[=!]=\s*(?:{whole})", lambda equal: re.sub(".", " ", equal[0]), program
    )
    takers = "|".join(re.findall(rf"\bdef\s+(\w+)\s*\([^)]*\b{_NUMBER}", program)) or r"(?!)"
    for use in (
        # Compared, shifted or calculated with, or combined with a number.
        rf"{bits}\s*(?:[=!<>]=|[<>+*/%-]|[&|^]?=?\s*\d)",
        rf"(?:[=!<>]=|(?<!-)>|[<+*/%-]|\d\s*[&|^])\s*{bits}",
        # Cast, whether written, or by an assignment, a call or a return.
        rf"\b{_NUMBER}\s*\(\s*{bits}\s*\)",
        rf"(?<!\blet )(?<!\bbool )\b(?!{_MARK})\w+\s*[+*/%-]?=\s*{bits}",
        rf"\b(?:{takers})\s*\((?:[^()]*,)?\s*{bits}\s*[,)]",
        rf"(?s:->\s*{_NUMBER}\s*\{{(?:(?!->\s*{_NUMBER}).)*?\breturn\s+{bits}\s*;)",
        # A case or an index.
        rf"(?:\bswitch\s*\(|\w\s*\[)\s*{bits}\s*[)\]]",
    ):
        yield from (match.start("bits") for match in re.finditer(use, program))
    # A number as bits.
    yield from (match.start() for match in re.finditer(r"\bbit\s*\[[^\]]*\]\s*\(", program))
