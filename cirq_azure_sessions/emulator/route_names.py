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
import re
from collections.abc import Iterator

__all__ = [
    "ALIASES",
    "CONTROL",
    "ROUTE_NAMES",
    "STORAGE_ROUTES",
    "allowed_verbs",
    "check_route",
    "is_on_route",
    "route_name",
]

# The name of the control routes, which are neither counted nor subject to faults.
CONTROL = "emulator"

STORAGE_ROUTES = frozenset({"upload", "download", "blob", "container"})

ALIASES: dict[str, frozenset[str]] = {"poll": frozenset({"job", "sessionJobs"})}

_WORKSPACE = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Quantum/workspaces/[^/]+/(.*)",
    re.IGNORECASE,
)

_ROUTES = tuple(
    (name, verb, re.compile(path))
    for name, verb, path in (
        ("sasUri", "POST", "storage/sasUri"),
        ("close", "POST", "sessions/[^/:]+:close"),
        ("open", "PUT", "sessions/[^/:]+"),
        ("session", "GET", "sessions/[^/:]+"),
        ("sessions", "GET", "sessions"),
        ("sessionJobs", "GET", "sessions/[^/:]+/jobs"),
        ("cancel", "POST", "jobs/[^/:]+:cancel"),
        ("submit", "PUT", "jobs/[^/:]+"),
        ("job", "GET", "jobs/[^/:]+"),
        ("update", "PATCH", "jobs/[^/:]+"),
        ("delete", "DELETE", "jobs/[^/:]+"),
        ("jobs", "GET", "jobs"),
        ("topLevelItems", "GET", "topLevelItems"),
        ("providerStatus", "GET", "providerStatus"),
        ("quotas", "GET", "quotas"),
    )
)

ROUTE_NAMES = frozenset(name for name, *_ in _ROUTES) | STORAGE_ROUTES | {"other"}

_BLOB_VERBS = {"PUT": "upload", "GET": "download"}


def route_name(verb: str, path: str) -> str:
    """The name of the route that serves `verb` on `path`, a path without a query."""
    if path.startswith("/emulator/"):
        return CONTROL
    if _WORKSPACE.fullmatch(path) is None:
        return _storage_name(verb, path)
    return dict(_routes_at(path)).get(verb, "other")


def allowed_verbs(path: str) -> list[str]:
    """The verbs that the data plane supports on this path."""
    return [verb for verb, _ in _routes_at(path)]


def _routes_at(path: str) -> Iterator[tuple[str, str]]:
    """The verb and name of each data plane route on this path."""
    workspace = _WORKSPACE.fullmatch(path)
    if workspace is None:
        return
    for name, verb, its_path in _ROUTES:
        if its_path.fullmatch(workspace[1].rstrip("/")):
            yield verb, name


def _storage_name(verb: str, path: str) -> str:
    segments = path.removeprefix("/storage/").strip("/").split("/")
    if segments[0] in ("", "subscriptions"):
        return "other"
    return "container" if len(segments) == 1 else _BLOB_VERBS.get(verb, "blob")


def check_route(route: str, verb: str | None = None) -> None:
    """Checks that a route is valid: a name of this module's table, or a glob on the path.

    A glob has a slash or a star, such as `*/jobs/*` or `/job-*/inputData`.

    Raises:
        ValueError: If `route` is neither, or `verb` is not an HTTP verb.
    """
    names = ROUTE_NAMES | ALIASES.keys()
    if not _is_glob(route) and route not in names:
        listed = ", ".join(sorted(names))
        raise ValueError(f"Name a route, one of {listed}, or give a glob such as */jobs/*.")
    if verb is not None and not (verb.isascii() and verb.isupper()):
        raise ValueError(f"Give the verb in capitals, such as PUT, not {verb!r}.")


def is_on_route(route: str, verb: str, path: str) -> bool:
    """Whether a request matches `route`; `path` has no query."""
    if _is_glob(route):
        return fnmatch.fnmatchcase(path, route)
    return route_name(verb, path) in ALIASES.get(route, {route})


def _is_glob(route: str) -> bool:
    return "/" in route or "*" in route
