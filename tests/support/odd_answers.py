"""Answers of the service with one field odd: dropped, renamed, or of another kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.emulator.requests import route_name

Path = tuple[str | int, ...]

# As JSON, since some have no counterpart in Python. Nesting that Python's own reader refuses, and
# nesting that it takes; half of a pair of surrogates; and the date of .NET that means none.
ODD = {
    "null": "null",
    "a bool": "true",
    "zero": "0",
    "a negative number": "-1.5",
    "a huge integer": "1" + 400 * "0",
    "an integer of 5,000 digits": 5_000 * "9",
    "more than a float": "1e999",
    "NaN": "NaN",
    "an empty string": '""',
    "a word": '"Perhaps"',
    "half a character": '"\\ud83d"',
    "no date": '"0001-01-01T00:00:00Z"',
    "the last date": '"9999-12-31T23:59:59-14:00"',
    "an empty list": "[]",
    "a list": "[null]",
    "an object": '{"a": {}}',
    "some nesting": 400 * '[{"a":' + "1" + 400 * "}]",
    "deep nesting": 1_000 * '[{"a":' + "1" + 1_000 * "}]",
}
DROPPED, RENAMED = "dropped", "renamed"

# Stands in the document where the odd value goes.
_MARK = "the odd value goes here"


def places(document: Any, path: Path = ()) -> Iterator[Path]:
    """The place of every field of a document, and of the first item of every list."""
    fields: Any = document.items() if isinstance(document, dict) else ()
    if isinstance(document, list):
        fields = enumerate(document[:1])
    for name, value in fields:
        yield (*path, name)
        yield from places(value, (*path, name))


def odd_json(document: Any, path: Path, how: str) -> bytes:
    """The document as JSON, with the field at this place odd in this way."""
    document = json.loads(json.dumps(document))
    parent = document
    for step in path[:-1]:
        parent = parent[step]
    if how == DROPPED:
        del parent[path[-1]]
    elif how == RENAMED:
        parent[f"{path[-1]}2"] = parent.pop(path[-1])
    else:
        parent[path[-1]] = _MARK
    return json.dumps(document).replace(json.dumps(_MARK), ODD.get(how, "")).encode()


def oddities(document: Any) -> Iterator[tuple[Path, str]]:
    """Every place of a document, with every way in which it may be odd."""
    for path in places(document):
        yield path, DROPPED
        if isinstance(path[-1], str):
            yield path, RENAMED
        for how in ODD:
            yield path, how


class OddService(EmulatorServer):
    """An emulator of which some answers are odd.

    Attributes:
        spoil: Given the name of a route and the JSON of an answer, returns what is answered
            instead; None for what is answered anyway.
    """

    spoil: Callable[[str, Any], bytes | None] = staticmethod(lambda route, document: None)

    def _application(self, *parts: Any) -> web.Application:
        application = super()._application(*parts)

        @web.middleware
        async def spoil(request: web.Request, handler: Handler) -> web.StreamResponse:
            response = await handler(request)
            if isinstance(response, web.Response) and response.content_type == "application/json":
                route = route_name(request)
                if route != "download" and isinstance(response.body, bytes):
                    odd = self.spoil(route, json.loads(response.body))
                    response.body = response.body if odd is None else odd
            return response

        application.middlewares.insert(0, spoil)
        return application
