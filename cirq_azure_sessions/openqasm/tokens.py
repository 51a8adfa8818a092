"""Tokens and arithmetic, shared by the readers of OpenQASM and Quil."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import NoReturn, TypeAlias

from cirq_azure_sessions.workspaces.local.program import Budget, ProgramError, invalid_input

__all__ = ["EXPRESSION_WORDS", "Expression", "Tokens", "evaluate", "read_parameters"]

_BLANK = re.compile(r"(?: \s++ | //[^\n]*+ )*+", re.VERBOSE | re.ASCII)

_WORD = re.compile(
    r"""
      (?P<real>  (?: \d+\.\d* | \.\d+ ) (?: [eE][+-]?\d+ )? | \d+[eE][+-]?\d+ )
    | (?P<integer> \d+ )
    | (?P<name>  [A-Za-z_]\w* )
    | (?P<text>  "[^"\n]*" )
    | (?P<sign>  -> | [=!<>]= | [-+*/^()\[\]{},;<>] )
    """,
    re.VERBOSE | re.ASCII,
)

# The cost of reading a token, in units of the budget.
_WORK = 500

# No sensible register size is longer, but conditions may compare with longer numbers.
_MAX_DIGITS = 1_300


class Tokens:
    """The tokens of a program, and the reading position.

    Tokens are found one at a time, so that a long program takes no extra memory. All methods raise
    a `ProgramError`, with line and column, on a syntax error.

    Args:
        text: The program.
        budget: The budget for reading it.
        line: The number of its first line.
        pattern: The tokens of its language: groups named by their kinds.
    """

    def __init__(
        self, text: str, budget: Budget, line: int = 1, pattern: re.Pattern[str] = _WORD
    ) -> None:
        self._pattern = pattern
        self._text = text
        self._budget = budget
        self._line = line
        # State: the next token with its kind and position, and the position of the one before it.
        self._kind = self._word = ""
        self._start = self._end = self._last = 0
        self._advance()

    def fail(self, message: str, place: int | None = None) -> ProgramError:
        """An error at a position, by default that of the token read last."""
        place = self._last if place is None else place
        line = self._line + self._text.count("\n", 0, place)
        column = place - self._text.rfind("\n", 0, place)
        return invalid_input(f"Line {line}, column {column}: {message}")

    @property
    def place(self) -> int:
        """The position of the next token."""
        return self._start

    @property
    def is_at_end(self) -> bool:
        return self._kind == "end"

    @property
    def next_word(self) -> str:
        """The next token, which stays unread; empty at the end."""
        return self._word

    def accept(self, *words: str) -> str:
        """Reads the next token if it is one of these, else returns an empty string."""
        return self._advance() if self._word and self._word in words else ""

    def expect(self, *words: str) -> str:
        """Reads the next token, which has to be one of these."""
        return self.accept(*words) or self._miss(" or ".join(map(repr, words)))

    def name(self) -> str:
        return self.read("name", "a name")

    def text(self) -> str:
        return self.read("text", "a text in quotes")[1:-1]

    def integer(self) -> int:
        word = self.read("integer", "an integer")
        if len(word) > _MAX_DIGITS:
            raise self.fail("an integer is too long.")
        return int(word)

    def accept_name(self) -> str:
        """Reads the next token if it is a name, else returns an empty string."""
        return self.name() if self._kind == "name" else ""

    def number(self) -> float:
        if self._kind not in ("real", "integer"):
            self._miss("a number")
        return float(self._advance())

    def read(self, kind: str, description: str) -> str:
        """Reads the next token, which has to be of this kind."""
        if self._kind != kind:
            self._miss(description)
        return self._advance()

    def _advance(self) -> str:
        """Reads the next token, and finds the one after it."""
        word, self._last = self._word, self._start
        self._budget.spend(_WORK)
        blank = _BLANK.match(self._text, self._end)
        assert blank is not None
        self._start = blank.end()
        match = self._pattern.match(self._text, self._start)
        if match is not None:
            self._kind, self._word, self._end = str(match.lastgroup), match.group(), match.end()
        elif self._start == len(self._text):
            self._kind, self._word = "end", ""
        else:
            raise self.fail(f"unexpected character {self._text[self._start]!r}.", self._start)
        return word

    def _miss(self, description: str) -> NoReturn:
        # A token may be as long as the payload.
        found = repr(self.next_word[:20]) if self.next_word else "the end"
        raise self.fail(f"there should be {description} instead of {found}.", self._start)


# Evaluates an expression for the values of its names. May raise ArithmeticError or ValueError.
Expression: TypeAlias = Callable[[Mapping[str, float]], float]

# Reads a name other than a function or pi, and anything after it, such as an index.
ReadName: TypeAlias = Callable[[Tokens, str], Expression]

_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "exp": math.exp,
    "ln": math.log,
    "sqrt": math.sqrt,
}

# Not in OpenQASM 2, but Cirq and Qiskit read them; a parameter may have such a name.
_INVERSE_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "asin": math.asin,
    "acos": math.acos,
    "atan": math.atan,
}

# Names with the same meaning in every expression.
EXPRESSION_WORDS = frozenset({"pi", *_FUNCTIONS})

# Binary operators, loosest first.
_LEVELS: tuple[dict[str, Callable[[float, float], float]], ...] = (
    {"+": operator.add, "-": operator.sub},
    {"*": operator.mul, "/": operator.truediv},
)

_MAX_DEPTH = 50


def evaluate(expression: Expression, values: Mapping[str, float]) -> float:
    """The value of an expression.

    Raises:
        ValueError: If it has no finite value.
    """
    try:
        value = expression(values)
    except (ArithmeticError, ValueError) as error:
        raise ValueError("a parameter cannot be computed.") from error
    if not math.isfinite(value):
        raise ValueError("a parameter is not finite.")
    return value


def read_parameters(tokens: Tokens, read_name: ReadName) -> list[Expression]:
    """Reads expressions in parentheses, which are optional if there are none."""
    if not tokens.accept("(") or tokens.accept(")"):
        return []
    params = [_read_operations(tokens, read_name)]
    while tokens.expect(",", ")") == ",":
        params.append(_read_operations(tokens, read_name))
    return params


def _read_operations(
    tokens: Tokens, read_name: ReadName, depth: int = 0, level: int = 0
) -> Expression:
    """Reads operators of this level and above: `^` binds tighter than a sign, a sign than `*`."""
    if depth > _MAX_DEPTH:
        raise tokens.fail("an expression is nested too deeply.")
    if level == len(_LEVELS):
        return _read_signed(tokens, read_name, depth)
    first = _read_operations(tokens, read_name, depth, level + 1)
    # A list, not a tree, so that a long sum does not become a deep recursion.
    others: list[tuple[Callable[[float, float], float], Expression]] = []
    while sign := tokens.accept(*_LEVELS[level]):
        operand = _read_operations(tokens, read_name, depth, level + 1)
        others.append((_LEVELS[level][sign], operand))

    def compute(values: Mapping[str, float]) -> float:
        result = first(values)
        for operate, operand in others:
            result = operate(result, operand(values))
        return result

    return compute if others else first


def _read_signed(tokens: Tokens, read_name: ReadName, depth: int) -> Expression:
    negative = False
    while sign := tokens.accept("+", "-"):
        negative ^= sign == "-"
    power = _read_power(tokens, read_name, depth)
    return (lambda values: -power(values)) if negative else power


def _read_power(tokens: Tokens, read_name: ReadName, depth: int) -> Expression:
    base = _read_operand(tokens, read_name, depth)
    if not tokens.accept("^"):
        return base
    if depth > _MAX_DEPTH:
        raise tokens.fail("an expression is nested too deeply.")
    # The exponent may have a sign and be a power itself: 2^-3^2 is 2^(-(3^2)).
    exponent = _read_signed(tokens, read_name, depth + 1)
    # Unlike integers, floats overflow before they fill the memory.
    return lambda values: math.pow(base(values), exponent(values))


def _read_operand(tokens: Tokens, read_name: ReadName, depth: int) -> Expression:
    if tokens.accept("("):
        inner = _read_operations(tokens, read_name, depth + 1)
        tokens.expect(")")
        return inner
    name = tokens.accept_name()
    if not name:
        number = tokens.number()
        return lambda values: number
    if name == "pi":
        return lambda values: math.pi
    if name in _FUNCTIONS:
        function = _FUNCTIONS[name]
        tokens.expect("(")
    elif name in _INVERSE_FUNCTIONS and tokens.accept("("):
        function = _INVERSE_FUNCTIONS[name]
    else:
        return read_name(tokens, name)
    argument = _read_operations(tokens, read_name, depth + 1)
    tokens.expect(")")
    return lambda values: function(argument(values))
