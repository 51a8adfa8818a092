"""The emulator's control routes, for tests whose server runs in another process.

    GET, POST, DELETE /emulator/faults     list the pending faults; add one, as JSON; clear them
    GET, POST /emulator/clock              `{"time", "monotonic"}`; `{"advance": seconds}`
    GET, PUT /emulator/latency             `{"seconds"}` of delay for every request
    GET, DELETE /emulator/requests         counts by route and of connections; reset them
    PUT /emulator/targets/TARGET           `{"availability": "Degraded"}`, or another state

They need the server's key, as the workspace does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from cirq_azure_sessions.emulator.faults import Faults
from cirq_azure_sessions.emulator.reading import read_json
from cirq_azure_sessions.emulator.requests import Requests
from cirq_azure_sessions.emulator.responses import ApiError
from cirq_azure_sessions.emulator.shifted_clock import MovableClock

__all__ = ["Control"]


@dataclass(frozen=True, eq=False, repr=False)
class Control:
    """Faults, clock, counts and targets over HTTP. Refusals are raised as `ApiError`."""

    faults: Faults
    requests: Requests
    clock: MovableClock
    set_availability: Callable[[str, str], Awaitable[None]]

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Adds the routes under `/emulator/`."""
        router.add_route("*", "/emulator/{resource:faults|clock|latency|requests}", self._serve)
        router.add_put("/emulator/targets/{target}", self._change_target)

    async def _serve(self, request: web.Request) -> web.Response:
        """Changes a resource, unless the verb is GET, and returns its state."""
        resource = request.match_info["resource"]
        try:
            match request.method, resource:
                case "GET", _:
                    pass
                case "POST", "faults":
                    self.faults.add(**await read_json(request))
                case "DELETE", "faults":
                    self.faults.clear()
                case "POST", "clock":
                    self.clock.advance(await _read_field(request, "advance"))
                case "PUT", "latency":
                    self.faults.latency = await _read_field(request, "seconds")
                case "DELETE", "requests":
                    self.requests.clear()
                case _:
                    raise ApiError(405, "MethodNotAllowed", f"{resource} has no such verb.")
        except ValueError as error:
            raise ApiError(400, "InvalidRequest", str(error)) from None
        return web.json_response(self._state(resource))

    def _state(self, resource: str) -> dict[str, Any]:
        match resource:
            case "faults":
                return {"pending": self.faults.pending()}
            case "clock":
                return {"time": self.clock.time(), "monotonic": self.clock.monotonic()}
            case "latency":
                return {"seconds": self.faults.latency}
            case _:
                return {
                    "total": self.requests.total,
                    "byRoute": self.requests.by_route,
                    "connections": self.requests.connections,
                    "openConnections": self.requests.open_connections,
                }

    async def _change_target(self, request: web.Request) -> web.Response:
        target = request.match_info["target"]
        availability = str(await _read_field(request, "availability"))
        try:
            await self.set_availability(target, availability)
        except ValueError as error:
            raise ApiError(400, "InvalidRequest", str(error)) from None
        return web.json_response({"target": target, "availability": availability})


async def _read_field(request: web.Request, name: str) -> Any:
    return (await read_json(request)).get(name)
