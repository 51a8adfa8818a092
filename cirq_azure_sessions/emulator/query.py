"""Parameters of list requests: `filter`, `orderby`, `skip` and `top`, without OData's `$`.

The grammar covers every form that the SDK writes, and their combinations:

    filter     = all ("or" all)*
    all        = one ("and" one)*
    one        = "(" filter ")" | "startswith" "(" field "," string ")" | field operator value
    operator   = "eq" | "ne" | "ge" | "gt" | "le" | "lt"
    value      = string | date | date and time
    orderby    = field ["asc" | "desc"]

Anything else is refused. Fields are read through a function, so that this module depends on neither
jobs nor sessions.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from cirq_azure_sessions.emulator.responses import ApiError
from cirq_azure_sessions.openqasm.tokens import Tokens
from cirq_azure_sessions.workspaces.base import JOBS_PER_PAGE
from cirq_azure_sessions.workspaces.local.program import Budget, ProgramError

__all__ = ["FIELDS", "parse_filter", "select"]

T = TypeVar("T")

# Reads a field of an item: a string, or seconds since the Unix epoch for CreationTime.
Reader = Callable[[str], Any]
Predicate = Callable[[Reader], bool]

FIELDS = ("Name", "ItemType", "JobType", "ProviderId", "Target", "State", "CreationTime")
_FIELD_NAMES = {name.lower(): name for name in FIELDS}

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    name: getattr(operator, name) for name in ("eq", "ne", "ge", "gt", "le", "lt")
}

# The words that join conditions, loosest first.
_LEVELS: tuple[tuple[str, Callable[[Iterable[bool]], bool]], ...] = (("or", any), ("and", all))

_TOKEN = re.compile(
    r"""(?P<text>'(?:[^']|'')*') | (?P<name>[A-Za-z]\w*)
      | (?P<date>\d[\d:.TZ+-]*) | (?P<sign>[(),])""",
    re.VERBOSE | re.ASCII,
)

# Nested parentheses: far more than the SDK writes, far fewer than Python's stack allows.
_MAX_DEPTH = 16


def select(
    items: Sequence[T],
    parameters: Mapping[str, str],
    read: Callable[[T, str], Any],
    *,
    newest_first: bool = False,
) -> tuple[list[T], str | None]:
    """The requested page of `items`, and the query string that asks for the page after it, if any.

    In creation order it looks at no more items than it takes to fill the page. At worst it looks at
    all of them: 20,000 take some hundredths of a second.

    Args:
        items: Oldest first.
        read: Reads a field of an item by name.
        newest_first: The default order, used if the request names none.
    """
    texts = {name: parameters[name] for name in ("filter", "orderby") if parameters.get(name)}
    matches = parse_filter(texts["filter"]) if "filter" in texts else None
    order, backwards = "CreationTime", newest_first
    if "orderby" in texts:
        order, backwards = _parse("orderby", texts["orderby"], _read_order)
    skip = _parse_count(parameters, "skip", default=0, least=0)
    top = min(_parse_count(parameters, "top", default=JOBS_PER_PAGE, least=1), JOBS_PER_PAGE)
    if order != "CreationTime":
        items = sorted(items[:], key=lambda item: read(item, order), reverse=backwards)
        backwards = False
    if matches is None:
        page = list(islice(_walk(items, backwards, skip), top + 1))
    else:
        found = (item for item in _walk(items, backwards) if matches(partial(read, item)))
        page = list(islice(found, skip, skip + top + 1))
    if len(page) <= top:
        return page, None
    following = {"top": str(top), "skip": str(skip + top), "api-version": parameters["api-version"]}
    link = urlencode({**texts, **following}, quote_via=quote, safe="()")
    # As .NET writes it.
    return page[:top], re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), link)


def _walk(items: Sequence[T], backwards: bool, skip: int = 0) -> Iterator[T]:
    """The items after the first `skip`, read a page at a time: each reading makes their values."""
    for start in range(skip, len(items), JOBS_PER_PAGE + 1):
        end = min(start + JOBS_PER_PAGE + 1, len(items))
        if backwards:
            yield from reversed(items[len(items) - end : len(items) - start])
        else:
            yield from items[start:end]


def parse_filter(text: str) -> Predicate:
    """Compiles a filter. `ApiError` if it is not in the grammar."""
    return _parse("filter", text, _read_level)


def _parse(name: str, text: str, read: Callable[[Tokens], T]) -> T:
    try:
        tokens = Tokens(text, Budget(), pattern=_TOKEN)
        value = read(tokens)
        tokens.read("end", "the end")
    except ProgramError as error:
        raise _invalid(f"The {name} is not understood. {error.message}") from None
    return value


def _read_order(tokens: Tokens) -> tuple[str, bool]:
    """A field, and whether its order is reversed."""
    return _read_field(tokens), tokens.accept("asc", "desc") == "desc"


def _read_level(tokens: Tokens, depth: int = 0, level: int = 0) -> Predicate:
    if level == len(_LEVELS):
        return _read_one(tokens, depth)
    word, combine = _LEVELS[level]
    parts = [_read_level(tokens, depth, level + 1)]
    while tokens.accept(word):
        parts.append(_read_level(tokens, depth, level + 1))
    return parts[0] if len(parts) == 1 else lambda read: combine(part(read) for part in parts)


def _read_one(tokens: Tokens, depth: int) -> Predicate:
    if tokens.accept("("):
        if depth == _MAX_DEPTH:
            raise tokens.fail("it is nested too deeply.")
        inner = _read_level(tokens, depth + 1)
        tokens.expect(")")
        return inner
    if tokens.accept("startswith"):
        tokens.expect("(")
        field = _read_field(tokens)
        if field == "CreationTime":
            raise tokens.fail("a time has no prefix.")
        tokens.expect(",")
        prefix = _read_string(tokens)
        tokens.expect(")")
        return lambda read: str(read(field)).startswith(prefix)
    field = _read_field(tokens)
    compare = _OPERATORS[tokens.expect(*_OPERATORS)]
    if field == "CreationTime":
        is_quoted = tokens.next_word.startswith("'")
        time = _parse_time(tokens.text() if is_quoted else tokens.read("date", "a date"))
        return lambda read: compare(read(field), time)
    value = _read_string(tokens)
    if field == "Name":
        return lambda read: compare(read(field), value)
    # The rest are words of the service, whose case varies between its versions.
    fold = _letters if field == "State" else str.lower
    expected = fold(value)
    return lambda read: compare(fold(read(field)), expected)


def _read_field(tokens: Tokens) -> str:
    name = _FIELD_NAMES.get(tokens.name().lower())
    if name is None:
        raise tokens.fail(f"there is no such field; there are {', '.join(FIELDS)}.")
    return name


def _read_string(tokens: Tokens) -> str:
    return tokens.text().replace("''", "'")


@lru_cache(maxsize=64)
def _letters(state: str) -> str:
    """The letters of a state, in lower case.

    From Python 3.11 on the SDK formats an enum member by its Python name, as in
    `State eq 'SessionStatus.FAILURE_S_'`.
    """
    return re.sub("[^a-z]", "", state.rpartition(".")[2].lower())


def _parse_count(query: Mapping[str, str], name: str, *, default: int, least: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or int(text) < least:
        raise _invalid(f"The parameter {name} takes a whole number from {least} on.")
    return int(text)


def _parse_time(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _invalid("A CreationTime is compared with a date such as 2024-04-01.") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _invalid(message: str) -> ApiError:
    return ApiError(400, "InvalidQueryParameter", message)
