"""The emulator's routes by their names, and counts of the requests on each.

    open, session, sessions, close, sessionJobs    sessions: PUT, GET, list, :close, jobs of one
    sasUri                                         POST storage/sasUri
    submit, job, jobs, update, cancel, delete      jobs: PUT, GET, list, PATCH, :cancel, DELETE
    topLevelItems, providerStatus, quotas          the other lists
    upload, download, blob, container              storage: PUT, GET, else of blobs; containers
    other                                          everything else

`poll` is an alias of `job` and `sessionJobs`, the two ways to poll a job.
"""

from __future__ import annotations

import asyncio
import fnmatch
from collections import Counter
from collections.abc import Callable

from aiohttp import web

__all__ = [
    "CONTROL",
    "ROUTES",
    "ROUTE_NAMES",
    "STORAGE_ROUTES",
    "Requests",
    "is_on_route",
    "is_route",
    "route_name",
]

# The name of the control routes, which are neither counted nor subject to faults.
CONTROL = "emulator"

STORAGE_ROUTES = frozenset({"upload", "download", "blob", "container"})

_ALIASES: dict[str, frozenset[str]] = {"poll": frozenset({"job", "sessionJobs"})}

_WORKSPACE = (
    r"/subscriptions/{workspace:[^/]+/(?i:resourceGroups/[^/]+/providers/Microsoft\.Quantum"
    r"/workspaces)/[^/]+}"
)
_ID = "{id:[^/:]+}"

# The data plane: the verb and the path of each name, as aiohttp's router takes them. It tries them
# in this order, so what clients ask most comes first.
ROUTES = {
    name: (verb, f"{_WORKSPACE}/{path}")
    for name, verb, path in (
        ("job", "GET", f"jobs/{_ID}"),
        ("submit", "PUT", f"jobs/{_ID}"),
        ("sasUri", "POST", "storage/sasUri"),
        ("close", "POST", f"sessions/{_ID}:close"),
        ("open", "PUT", f"sessions/{_ID}"),
        ("session", "GET", f"sessions/{_ID}"),
        ("sessions", "GET", "sessions"),
        ("sessionJobs", "GET", f"sessions/{_ID}/jobs"),
        ("cancel", "POST", f"jobs/{_ID}:cancel"),
        ("update", "PATCH", f"jobs/{_ID}"),
        ("delete", "DELETE", f"jobs/{_ID}"),
        ("jobs", "GET", "jobs"),
        ("topLevelItems", "GET", "topLevelItems"),
        ("providerStatus", "GET", "providerStatus"),
        ("quotas", "GET", "quotas"),
    )
}

ROUTE_NAMES = ROUTES.keys() | STORAGE_ROUTES | {"other"}

_BLOB_VERBS = {"PUT": "upload", "GET": "download"}


def route_name(request: web.Request) -> str:
    """The name of the route on which a server has received a request."""
    if request.path.startswith("/emulator/"):
        return CONTROL
    if "blob" in request.match_info:
        return _BLOB_VERBS.get(request.method, "blob")
    if "container" in request.match_info:
        return "container"
    return request.match_info.route.name or "other"


def is_route(route: object) -> bool:
    """Whether this is the name of a route or of an alias, or a glob on paths.

    A glob has a slash or a star, such as `*/jobs/*` or `/job-*/inputData`. `ValueError` with the
    names if it is none of these.
    """
    if isinstance(route, str) and (_is_glob(route) or route in ROUTE_NAMES | _ALIASES.keys()):
        return True
    listed = ", ".join(sorted(ROUTE_NAMES | _ALIASES.keys()))
    raise ValueError(f"Name a route, one of {listed}, or give a glob such as */jobs/*.")


def is_on_route(route: str, name: str, path: str) -> bool:
    """Whether a request on the route of this name, and on this path, is one of `route`."""
    if _is_glob(route):
        return fnmatch.fnmatchcase(path, route)
    return name in _ALIASES.get(route, {route})


def _is_glob(route: str) -> bool:
    return "/" in route or "*" in route


class Requests:
    """Counts of requests and TCP connections since the last `clear()`.

        with EmulatorServer() as server:
            ...
            server.requests.total         # all routes
            server.requests["sasUri"]     # one route, by its name
            server.requests.connections   # TCP connections accepted

    Requests to the control routes are not counted.

    Attributes:
        connections: TCP connections accepted.
    """

    def __init__(self) -> None:
        # State: counts since the last clear(). Only the server's thread counts; any may read, or
        # clear, which makes a new counter.
        self._by_route: Counter[str] = Counter()
        self.connections = 0
        # Tracks the open connections.
        self._server: web.Server | None = None

    @property
    def total(self) -> int:
        """Requests on all routes, including those that a fault answered."""
        return sum(self.by_route.values())

    @property
    def by_route(self) -> dict[str, int]:
        """Requests by the name of their route."""
        return dict(self._by_route)

    @property
    def open_connections(self) -> int:
        """TCP connections that are open now."""
        return 0 if self._server is None else len(self._server.connections)

    def __getitem__(self, route: str) -> int:
        """Requests on one route, or on the routes of an alias such as `poll`.

        Raises:
            KeyError: If no route has this name.
        """
        if route not in ROUTE_NAMES and route not in _ALIASES:
            raise KeyError(f"No route is called {route!r}.")
        counts = self.by_route
        return sum(counts.get(name, 0) for name in _ALIASES.get(route, {route}))

    def clear(self) -> None:
        """Resets the counts; open connections are still counted as open."""
        self._by_route = Counter()
        self.connections = 0

    def count(self, route: str) -> None:
        """Counts one request on a route."""
        self._by_route[route] += 1

    def counting(self, server: web.Server) -> Callable[[], asyncio.Protocol]:
        """A protocol factory for `loop.create_server` that counts the connections of a server."""
        self._server = server

        def connect() -> asyncio.Protocol:
            self.connections += 1
            return server()

        return connect

    def __repr__(self) -> str:
        routes = "".join(f", {name}={count}" for name, count in sorted(self.by_route.items()))
        return (
            f"Requests(total={self.total}, connections={self.connections}, "
            f"open_connections={self.open_connections}{routes})"
        )
