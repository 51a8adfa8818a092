"""Short names of the emulator's routes, for request counts and faults.

    open, session, sessions, close, sessionJobs    sessions: PUT, GET, list, :close, jobs of one
    sasUri                                         POST storage/sasUri
    submit, job, jobs, update, cancel, delete      jobs: PUT, GET, list, PATCH, :cancel, DELETE
    topLevelItems, providerStatus, quotas          the other lists
    upload, download, blob, container              storage: PUT, GET, else of blobs; containers
    other                                          everything else

`poll` is an alias of `job` and `sessionJobs`, the two ways to poll a job.
"""

from __future__ import annotations

import fnmatch

from aiohttp import web

__all__ = [
    "ALIASES",
    "CONTROL",
    "ROUTES",
    "ROUTE_NAMES",
    "STORAGE_ROUTES",
    "is_on_route",
    "is_route",
    "route_name",
]

# The name of the control routes, which are neither counted nor subject to faults.
CONTROL = "emulator"

STORAGE_ROUTES = frozenset({"upload", "download", "blob", "container"})

ALIASES: dict[str, frozenset[str]] = {"poll": frozenset({"job", "sessionJobs"})}

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

    A glob has a slash or a star, such as `*/jobs/*` or `/job-*/inputData`.

    Raises:
        ValueError: If it is none of these, with the names.
    """
    if isinstance(route, str) and (_is_glob(route) or route in ROUTE_NAMES | ALIASES.keys()):
        return True
    listed = ", ".join(sorted(ROUTE_NAMES | ALIASES.keys()))
    raise ValueError(f"Name a route, one of {listed}, or give a glob such as */jobs/*.")


def is_on_route(route: str, name: str, path: str) -> bool:
    """Whether a request on the route of this name, and on this path, is one of `route`."""
    if _is_glob(route):
        return fnmatch.fnmatchcase(path, route)
    return name in ALIASES.get(route, {route})


def _is_glob(route: str) -> bool:
    return "/" in route or "*" in route
