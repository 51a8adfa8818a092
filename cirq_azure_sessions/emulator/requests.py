"""Counts of the emulator's requests, by route, and of its connections."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from aiohttp import web

from cirq_azure_sessions.emulator.route_names import ALIASES, ROUTE_NAMES

__all__ = ["RequestCounts", "Requests"]


@dataclass(frozen=True, slots=True)
class RequestCounts:
    """The counts at one moment.

    Attributes:
        total: Requests on all routes, including those that a fault answered.
        by_route: Requests by the name of their route; see `route_names`.
        connections: TCP connections accepted.
        open_connections: TCP connections that are open now.
    """

    total: int
    by_route: Mapping[str, int] = field(default_factory=dict)
    connections: int = 0
    open_connections: int = 0


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
        """Requests on all routes."""
        return self.snapshot().total

    @property
    def connections(self) -> int:
        """TCP connections accepted."""
        return self.snapshot().connections

    @property
    def open_connections(self) -> int:
        """TCP connections that are open now."""
        return self.snapshot().open_connections

    def __getitem__(self, route: str) -> int:
        """Requests on one route, or on the routes of an alias such as `poll`.

        Raises:
            KeyError: If no route has this name.
        """
        if route not in ROUTE_NAMES and route not in ALIASES:
            raise KeyError(f"No route is called {route!r}.")
        counts = self.snapshot().by_route
        return sum(counts.get(name, 0) for name in ALIASES.get(route, {route}))

    def snapshot(self) -> RequestCounts:
        """All counts at this moment."""
        with self._lock:
            by_route = dict(self._by_route)
            return RequestCounts(
                sum(by_route.values()),
                MappingProxyType(by_route),
                self._connections,
                0 if self._server is None else len(self._server.connections),
            )

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
        now = self.snapshot()
        routes = "".join(f", {name}={count}" for name, count in sorted(now.by_route.items()))
        return (
            f"Requests(total={now.total}, connections={now.connections}, "
            f"open_connections={now.open_connections}{routes})"
        )
