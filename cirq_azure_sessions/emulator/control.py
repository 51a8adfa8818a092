"""The emulator's control routes, for tests whose server runs in another process.

    GET, POST, DELETE /emulator/faults     list the pending faults; add one, as JSON; clear them
    GET, POST /emulator/clock              `{"time", "monotonic"}`; `{"advance": seconds}`
    GET, PUT /emulator/latency             `{"seconds"}` of delay for every request
    GET, DELETE /emulator/requests         counts by route and of connections; reset them
    PUT /emulator/targets/TARGET           `{"availability": "Degraded"}`, or another state

They need the server's key, as the workspace does.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from cirq_azure_sessions.emulator.faults import Faults
from cirq_azure_sessions.emulator.requests import Requests
from cirq_azure_sessions.emulator.responses import ApiError
from cirq_azure_sessions.emulator.shifted_clock import MovableClock

__all__ = ["Control"]

# Keeps dates in a range that clients can read: at most a century per step, and never past the year
# 9000.
_MAX_STEP = 100 * 365 * 86400.0
_LATEST_TIME = 7000 * 365 * 86400.0

# Sets a target's availability; `ValueError` if the target or the word is unknown.
SetAvailability = Callable[[str, str], Awaitable[None]]


class Control:
    """Faults, clock, counts and targets over HTTP. Refusals are raised as `ApiError`."""

    def __init__(
        self,
        faults: Faults,
        requests: Requests,
        clock: MovableClock,
        set_availability: SetAvailability,
    ) -> None:
        self._faults = faults
        self._requests = requests
        self._clock = clock
        self._set_availability = set_availability

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Adds the routes under `/emulator/`."""
        router.add_get("/emulator/faults", self._list_faults)
        router.add_post("/emulator/faults", self._add_fault)
        router.add_delete("/emulator/faults", self._clear_faults)
        router.add_get("/emulator/clock", self._tell_time)
        router.add_post("/emulator/clock", self._advance)
        router.add_get("/emulator/latency", self._tell_latency)
        router.add_put("/emulator/latency", self._set_latency)
        router.add_get("/emulator/requests", self._tell_counts)
        router.add_delete("/emulator/requests", self._clear_counts)
        router.add_put("/emulator/targets/{target}", self._change_target)

    async def _list_faults(self, request: web.Request) -> web.Response:
        return web.json_response({"pending": self._faults.pending()})

    async def _add_fault(self, request: web.Request) -> web.Response:
        document = await _json_object(request)
        try:
            self._faults.add(**document)
        except ValueError as error:
            raise _invalid(str(error)) from None
        return await self._list_faults(request)

    async def _clear_faults(self, request: web.Request) -> web.Response:
        self._faults.clear()
        return await self._list_faults(request)

    async def _tell_time(self, request: web.Request) -> web.Response:
        now = {"time": self._clock.time(), "monotonic": self._clock.monotonic()}
        return web.json_response(now)

    async def _advance(self, request: web.Request) -> web.Response:
        seconds = _seconds(await _json_object(request), "advance")
        if self._clock.time() + seconds > _LATEST_TIME:
            raise _invalid("The clock cannot be put past the year 9000.")
        self._clock.advance(seconds)
        return await self._tell_time(request)

    async def _tell_latency(self, request: web.Request) -> web.Response:
        return web.json_response({"seconds": self._faults.latency})

    async def _set_latency(self, request: web.Request) -> web.Response:
        self._faults.latency = _seconds(await _json_object(request), "seconds")
        return await self._tell_latency(request)

    async def _tell_counts(self, request: web.Request) -> web.Response:
        counts = self._requests.snapshot()
        return web.json_response(
            {
                "total": counts.total,
                "byRoute": dict(counts.by_route),
                "connections": counts.connections,
                "openConnections": counts.open_connections,
            }
        )

    async def _clear_counts(self, request: web.Request) -> web.Response:
        self._requests.clear()
        return await self._tell_counts(request)

    async def _change_target(self, request: web.Request) -> web.Response:
        target, document = request.match_info["target"], await _json_object(request)
        availability = str(document.get("availability"))
        try:
            await self._set_availability(target, availability)
        except ValueError as error:
            raise _invalid(str(error)) from None
        return web.json_response({"target": target, "availability": availability})


async def _json_object(request: web.Request) -> Mapping[str, Any]:
    body = await request.read()
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise _invalid("Send a JSON object.") from None
    if not isinstance(document, dict):
        raise _invalid("Send a JSON object.")
    return document


def _seconds(document: Mapping[str, Any], name: str) -> float:
    value = document.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid(f"Send a JSON object with a number of seconds called {name}.")
    if not (math.isfinite(value) and 0 <= value <= _MAX_STEP):
        raise _invalid(f"{name} is 0 or more seconds, and less than a century.")
    return float(value)


def _invalid(message: str) -> ApiError:
    return ApiError(400, "InvalidRequest", message)
