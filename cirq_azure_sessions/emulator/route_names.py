"""Short names of the emulator's routes, for counting requests and for choosing which to disturb.

    open, session, sessions, close, sessionJobs    sessions: PUT, GET, list, :close, jobs of one
    sasUri                                         POST storage/sasUri
    submit, job, jobs, update, cancel, delete      jobs: PUT, GET, list, PATCH, :cancel, DELETE
    topLevelItems, providerStatus, quotas          the other lists
    upload, download, blob, container              storage: PUT, GET, else of blobs; containers
    other                                          what is none of these

`poll` stands for `job` and `sessionJobs` together, the two ways to watch a job.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = [
    "ALIASES",
    "CONTROL",
    "ROUTE_NAMES",
    "STORAGE_ROUTES",
    "RoutePattern",
    "allowed_verbs",
    "route_name",
]

# The name of the emulator's own controls, which are neither counted nor disturbed.
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
    """The name of the route that serves `verb` on `path`; the path is without a query."""
    if path.startswith("/emulator/"):
        return CONTROL
    if _WORKSPACE.fullmatch(path) is None:
        return _storage_name(verb, path)
    return dict(_routes_at(path)).get(verb, "other")


def allowed_verbs(path: str) -> list[str]:
    """The verbs that the data plane takes on this path."""
    return [verb for verb, _ in _routes_at(path)]


def _routes_at(path: str) -> Iterator[tuple[str, str]]:
    """Verb and name of each route of the data plane that has this path."""
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


@dataclass(frozen=True, slots=True)
class RoutePattern:
    """Which requests are meant.

    Attributes:
        route: A name of this module's table, or a glob on the path, which has a slash or a star,
            such as `*/jobs/*` or `/job-*/inputData`.
        verb: An HTTP verb, or None for any.

    Raises:
        ValueError: If `route` is neither, or `verb` is no verb.
    """

    route: str
    verb: str | None = None

    def __post_init__(self) -> None:
        if not self._is_glob and self.route not in ROUTE_NAMES | set(ALIASES):
            names = ", ".join(sorted(ROUTE_NAMES | set(ALIASES)))
            raise ValueError(f"Name a route, one of {names}, or give a glob such as */jobs/*.")
        if self.verb is not None and not (self.verb.isascii() and self.verb.isupper()):
            raise ValueError(f"Give the verb in capitals, such as PUT, not {self.verb!r}.")

    @property
    def _is_glob(self) -> bool:
        return "/" in self.route or "*" in self.route

    def matches(self, verb: str, path: str) -> bool:
        """Whether a request is meant; the path is without a query."""
        if self.verb not in (None, verb):
            return False
        if self._is_glob:
            return fnmatch.fnmatchcase(path, self.route)
        return route_name(verb, path) in ALIASES.get(self.route, {self.route})

    def __str__(self) -> str:
        return self.route if self.verb is None else f"{self.verb} {self.route}"
