"""Counts of the emulator's requests, by route, and of its connections."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from cirq_azure_sessions.emulator.route_names import ALIASES, ROUTE_NAMES

__all__ = ["RequestCounts", "Requests"]


@dataclass(frozen=True, slots=True)
class RequestCounts:
    """The counts at one moment.

    Attributes:
        total: Requests on all routes, those that a fault answered among them.
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

    Thread-safe. The emulator's own controls are not counted.
    """

    def __init__(self) -> None:
        # State: counts since the last clear(), and the connections that are open.
        self._by_route: Counter[str] = Counter()
        self._connections = 0
        self._open_connections = 0
        # Guards all of the above.
        self._lock = threading.Lock()

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
        """Requests on one route, or on those that an alias such as `poll` stands for.

        Raises:
            KeyError: If no route has this name.
        """
        if route not in ROUTE_NAMES and route not in ALIASES:
            raise KeyError(f"No route is called {route!r}.")
        counts = self.snapshot().by_route
        return sum(counts.get(name, 0) for name in ALIASES.get(route, {route}))

    def snapshot(self) -> RequestCounts:
        """All counts of one moment."""
        with self._lock:
            by_route = dict(self._by_route)
            return RequestCounts(
                sum(by_route.values()),
                MappingProxyType(by_route),
                self._connections,
                self._open_connections,
            )

    def clear(self) -> None:
        """Sets the counts to zero; connections that are open stay counted as open."""
        with self._lock:
            self._by_route.clear()
            self._connections = 0

    def count(self, route: str) -> None:
        """Counts one request on the route of this name."""
        with self._lock:
            self._by_route[route] += 1

    def counting(self, factory: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """The protocol factory of a server, with every connection it accepts counted.

        For `loop.create_server`: `create_server(requests.counting(runner.server), ...)`.
        """

        def make() -> asyncio.Protocol:
            return _CountedConnection(self, factory())

        return make

    def _opened(self) -> None:
        with self._lock:
            self._connections += 1
            self._open_connections += 1

    def _closed(self) -> None:
        with self._lock:
            self._open_connections -= 1

    def __repr__(self) -> str:
        now = self.snapshot()
        routes = "".join(f", {name}={count}" for name, count in sorted(now.by_route.items()))
        return (
            f"Requests(total={now.total}, connections={now.connections}, "
            f"open_connections={now.open_connections}{routes})"
        )


class _CountedConnection(asyncio.Protocol):
    """Passes everything on to a connection's protocol, and tells when it begins and ends."""

    def __init__(self, requests: Requests, protocol: asyncio.Protocol) -> None:
        self._requests = requests
        self._protocol = protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._requests._opened()
        self._protocol.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._requests._closed()
        self._protocol.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
