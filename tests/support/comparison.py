"""What differs between a recorded answer and the emulator's, field by field.

Ids, secrets and hosts differ by nature and are not compared. What is left is: the status, the names
of fields, the types of values, and the values themselves, as far as they can be the same.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from recordings import Exchange, parse_time

# Seconds. The service ends a session some milliseconds after the job that ends it.
_TIME_TOLERANCE = 0.02

_LIVE_VALUES = ("currentAvailability", "averageQueueTime")
_SHAPE_OF_SAS = ("sp", "sr", "srt", "ss", "rscd")


def differences(exchange: Exchange, response: requests.Response) -> Iterator[str]:
    """Each difference as `field: what was recorded, what the emulator says`."""
    if response.status_code != exchange.status:
        yield f"status: {exchange.status}, {response.status_code}"
        return
    recorded_type = exchange.answer_type
    if exchange.answer is None:
        if response.content:
            yield f"body: empty, {len(response.content)} bytes"
        return
    emulated_type = response.headers.get("content-type", "")
    if emulated_type != recorded_type:
        yield f"content-type: {recorded_type}, {emulated_type}"
    if recorded_type == "application/xml":
        yield from _compare_xml(exchange.answer, response.text)
    elif exchange.is_storage:
        yield from _compare_results(exchange.answer, response.content)
    else:
        yield from _compare(exchange.answer, response.json(), "")


def _compare(recorded: Any, emulated: Any, field: str) -> Iterator[str]:
    if _kind(recorded) != _kind(emulated):
        yield f"{field}: {_short(recorded)}, {_short(emulated)}"
    elif isinstance(recorded, dict):
        yield from _compare_objects(recorded, emulated, field)
    elif isinstance(recorded, list):
        yield from _compare_lists(recorded, emulated, field)
    elif not _is_same(field.rpartition(".")[2], recorded, emulated):
        yield f"{field}: {_short(recorded)}, {_short(emulated)}"


def _compare_objects(
    recorded: dict[str, Any], emulated: dict[str, Any], field: str
) -> Iterator[str]:
    prefix = f"{field}." if field else ""
    for name in recorded.keys() - emulated.keys():
        yield f"{prefix}{name}: {_short(recorded[name])}, missing"
    for name in emulated.keys() - recorded.keys():
        yield f"{prefix}{name}: missing, {_short(emulated[name])}"
    for name in recorded.keys() & emulated.keys():
        yield from _compare(recorded[name], emulated[name], f"{prefix}{name}")


def _compare_lists(recorded: list[Any], emulated: list[Any], field: str) -> Iterator[str]:
    if recorded and all(isinstance(item, dict) and "id" in item for item in recorded):
        yield from _compare_items(recorded, emulated, field)
        return
    if len(recorded) != len(emulated):
        yield f"{field}: {len(recorded)} items, {len(emulated)}"
    for index, (one, other) in enumerate(zip(recorded, emulated, strict=False)):
        yield from _compare(one, other, f"{field}[{index}]")


def _compare_items(recorded: list[Any], emulated: list[Any], field: str) -> Iterator[str]:
    """Compares items of the same id, and their order."""
    by_id = {item["id"]: item for item in emulated}
    known = [item["id"] for item in recorded if item["id"] in by_id]
    if known != [item["id"] for item in emulated if item["id"] in set(known)]:
        yield f"{field}: in this order, in another"
    for item in recorded:
        if item["id"] not in by_id:
            yield f"{field}[{item['id']}]: there, missing"
        else:
            yield from _compare(item, by_id[item["id"]], f"{field}[{item['id']}]")
    for extra in by_id.keys() - {item["id"] for item in recorded}:
        yield f"{field}[{extra}]: missing, there"


def _kind(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return type(value).__name__
    return "number"


def _is_same(name: str, recorded: Any, emulated: Any) -> bool:
    if name in _LIVE_VALUES:
        return True
    compare = _COMPARISONS.get(name.partition("[")[0], lambda one, other: bool(one == other))
    return compare(recorded, emulated)


def _same_time(recorded: str, emulated: str) -> bool:
    if recorded is None:
        return True
    same_zone = recorded.endswith("Z") == emulated.endswith("Z")
    return same_zone and abs(parse_time(recorded) - parse_time(emulated)) <= _TIME_TOLERANCE


def _same_step(recorded: str, emulated: str) -> bool:
    """Between its creation and its end a job is modified at times that nobody can know."""
    return recorded.endswith("Z") == emulated.endswith("Z")


def _same_address(recorded: str, emulated: str) -> bool:
    return _address(recorded) == _address(emulated)


def _address(uri: str) -> tuple[Any, ...]:
    parts = urlsplit(uri)
    sas = parse_qs(parts.query)
    shape = {name: sas[name] for name in _SHAPE_OF_SAS if name in sas}
    container, _, blob = parts.path.removeprefix("/storage").strip("/").partition("/")
    # Letters of permissions come in any order.
    shape["sp"] = sorted("".join(shape.get("sp", [])))
    return container, blob, set(sas), shape


def _same_amount(recorded: float, emulated: float) -> bool:
    return math.isclose(recorded, emulated, rel_tol=1e-9)


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "creationTime": _same_time,
    "beginExecutionTime": _same_time,
    "endExecutionTime": _same_time,
    "lastModifiedTime": _same_step,
    "containerUri": _same_address,
    "inputDataUri": _same_address,
    "outputDataUri": _same_address,
    "sasUri": _same_address,
    "amountBilled": _same_amount,
    "amountConsumed": _same_amount,
}


def _compare_xml(recorded: str, emulated: str) -> Iterator[str]:
    codes = [re.findall("<Code>(.*?)</Code>", text) for text in (recorded, emulated)]
    if codes[0] != codes[1]:
        yield f"Code: {codes[0]}, {codes[1]}"


def _compare_results(recorded: Any, content: bytes) -> Iterator[str]:
    """Compares results: exact ones value by value, sampled ones by their shape."""
    if isinstance(recorded, str):
        if recorded.encode() != content:
            yield "result: another"
    elif "histogram" in recorded:
        yield from _compare(recorded, json.loads(content), "result")
    else:
        yield from _compare_shape(recorded, json.loads(content), "result")


def _compare_shape(recorded: Any, emulated: Any, field: str) -> Iterator[str]:
    """Compares results that chance may have a part in: names, kinds and the number of shots."""
    if _kind(recorded) != _kind(emulated):
        yield f"{field}: {_short(recorded)}, {_short(emulated)}"
    elif isinstance(recorded, dict):
        for name in recorded.keys() ^ emulated.keys():
            yield f"{field}.{name}: in one of them only"
        # Which outcomes a histogram has is chance.
        for name in recorded.keys() & emulated.keys() - {"Histogram"}:
            yield from _compare_shape(recorded[name], emulated[name], f"{field}.{name}")
    elif isinstance(recorded, list):
        if len(recorded) != len(emulated):
            yield f"{field}: {len(recorded)} entries, {len(emulated)}"
        for one, other in zip(recorded, emulated, strict=False):
            yield from _compare_shape(one, other, f"{field}[]")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 120 else f"{text[:117]}..."
