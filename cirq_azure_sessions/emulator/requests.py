"""Counts of the emulator's requests, by route, and of its connections."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable

from aiohttp import web

from cirq_azure_sessions.emulator.route_names import ALIASES, ROUTE_NAMES

__all__ = ["Requests"]


class Requests:
    """Counts of requests and TCP connections since the last `clear()`.

        with EmulatorServer() as server:
            ...
            server.requests.total         # all routes
            server.requests["sasUri"]     # one route, by its name
            server.requests.connections   # TCP connections accepted

    Thread-safe. Requests to the control routes are not counted.
    """

    def __init__(self) -> None:
        # State: counts since the last clear().
        self._by_route: Counter[str] = Counter()
        self._connections = 0
        # Guards both.
        self._lock = threading.Lock()
        # Tracks the open connections.
        self._server: web.Server | None = None

    @property
    def total(self) -> int:
        """Requests on all routes, including those that a fault answered."""
        return sum(self.by_route.values())

    @property
    def by_route(self) -> dict[str, int]:
        """Requests by the name of their route; see `route_names`."""
        with self._lock:
            return dict(self._by_route)

    @property
    def connections(self) -> int:
        """TCP connections accepted."""
        return self._connections

    @property
    def open_connections(self) -> int:
        """TCP connections that are open now."""
        return 0 if self._server is None else len(self._server.connections)

    def __getitem__(self, route: str) -> int:
        """Requests on one route, or on the routes of an alias such as `poll`.

        Raises:
            KeyError: If no route has this name.
        """
        if route not in ROUTE_NAMES and route not in ALIASES:
            raise KeyError(f"No route is called {route!r}.")
        counts = self.by_route
        return sum(counts.get(name, 0) for name in ALIASES.get(route, {route}))

    def clear(self) -> None:
        """Resets the counts; open connections are still counted as open."""
        with self._lock:
            self._by_route.clear()
            self._connections = 0

    def count(self, route: str) -> None:
        """Counts one request on a route."""
        with self._lock:
            self._by_route[route] += 1

    def counting(self, server: web.Server) -> Callable[[], asyncio.Protocol]:
        """A protocol factory for `loop.create_server` that counts the connections of a server."""
        self._server = server

        def connect() -> asyncio.Protocol:
            with self._lock:
                self._connections += 1
            return server()

        return connect

    def __repr__(self) -> str:
        routes = "".join(f", {name}={count}" for name, count in sorted(self.by_route.items()))
        return (
            f"Requests(total={self.total}, connections={self.connections}, "
            f"open_connections={self.open_connections}{routes})"
        )
