"""The words of a program text, one after the other: what OpenQASM and Quil have in common."""

from __future__ import annotations

import re
from typing import NoReturn

from cirq_azure_sessions.emulator.programs.failure import ProgramError, invalid_input

__all__ = ["Tokens"]

_WORD = re.compile(
    r"""
      (?P<blank> \s+ | //[^\n]* )
    | (?P<real>  (?: \d+\.\d* | \.\d+ ) (?: [eE][+-]?\d+ )? | \d+[eE][+-]?\d+ )
    | (?P<integer> \d+ )
    | (?P<name>  [A-Za-z_]\w* )
    | (?P<text>  "[^"\n]*" )
    | (?P<sign>  -> | [=!<>]= | [-+*/^()\[\]{},;<>] )
    """,
    re.VERBOSE | re.ASCII,
)

# Longer numbers are no sensible register sizes or values, and cost quadratic time to read.
_MAX_DIGITS = 100


class Tokens:
    """A program's words, and how far it has been read.

    All methods raise a `ProgramError`, with the line, if the text is not as it has to be.

    Args:
        text: The text.
        line: The number of its first line.
    """

    def __init__(self, text: str, line: int = 1) -> None:
        self._text = text
        self._line = line
        # State: the words with their kinds and places, the last being an empty one, and the
        # index of the next to read.
        self._words: list[tuple[str, str, int]] = []
        self._next = 0
        end = 0
        for match in _WORD.finditer(text):
            if match.start() != end:
                break
            end = match.end()
            if match.lastgroup != "blank":
                self._words.append((str(match.lastgroup), match.group(), match.start()))
        # The word after the last is reported as what cannot be read.
        self._words.append(("end", "", end))
        if end != len(text):
            self._next = len(self._words) - 1
            raise self.fail("there is a character that the language does not have.")

    def fail(self, message: str) -> ProgramError:
        """An error at the word that is next."""
        line = self._line + self._text.count("\n", 0, self._words[self._next][2])
        return invalid_input(f"Line {line}: {message}")

    @property
    def is_at_end(self) -> bool:
        return self._words[self._next][0] == "end"

    @property
    def next_word(self) -> str:
        """The word that is next, without reading it; empty at the end."""
        return self._words[self._next][1]

    def accept(self, *words: str) -> str:
        """Reads the next word if it is one of these, and else gives an empty string."""
        word = self._words[self._next][1]
        if word not in words or not word:
            return ""
        self._next += 1
        return word

    def expect(self, *words: str) -> str:
        """Reads the next word, which has to be one of these."""
        return self.accept(*words) or self._miss(" or ".join(map(repr, words)))

    def name(self) -> str:
        return self._read("name", "a name")

    def text(self) -> str:
        return self._read("text", "a file's name in quotes")[1:-1]

    def integer(self) -> int:
        word = self._read("integer", "an integer")
        if len(word) > _MAX_DIGITS:
            raise self.fail("an integer is too long.")
        return int(word)

    def accept_name(self) -> str:
        """Reads the next word if it is a name, and else gives an empty string."""
        return self.name() if self._words[self._next][0] == "name" else ""

    def number(self) -> float:
        kind, word, _ = self._words[self._next]
        if kind not in ("real", "integer"):
            self._miss("a number")
        self._next += 1
        return float(word)

    def _read(self, kind: str, description: str) -> str:
        if self._words[self._next][0] != kind:
            self._miss(description)
        self._next += 1
        return self._words[self._next - 1][1]

    def _miss(self, description: str) -> NoReturn:
        # A word may be as long as the payload.
        found = repr(self.next_word[:20]) if self.next_word else "the end"
        raise self.fail(f"there should be {description} instead of {found}.")
