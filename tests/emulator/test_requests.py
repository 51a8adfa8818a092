"""Counting requests by route, and TCP connections."""

from __future__ import annotations

import pytest
import requests

from cirq_azure_sessions.emulator.requests import ROUTE_NAMES, Requests, is_on_route, is_route
from cirq_azure_sessions.emulator.server import EmulatorServer

WS = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Quantum/workspaces/w"

ROUTES = [
    ("POST", f"{WS}/storage/sasUri", "sasUri"),
    ("PUT", f"{WS}/sessions/1", "open"),
    ("GET", f"{WS}/sessions/1", "session"),
    ("POST", f"{WS}/sessions/1:close", "close"),
    ("GET", f"{WS}/sessions", "sessions"),
    ("GET", f"{WS}/sessions/1/jobs", "sessionJobs"),
    ("PUT", f"{WS}/jobs/1", "submit"),
    ("GET", f"{WS}/jobs/1", "job"),
    ("PATCH", f"{WS}/jobs/1", "update"),
    ("POST", f"{WS}/jobs/1:cancel", "cancel"),
    ("DELETE", f"{WS}/jobs/1", "delete"),
    ("GET", f"{WS}/jobs", "jobs"),
    ("GET", f"{WS}/topLevelItems", "topLevelItems"),
    ("GET", f"{WS}/providerStatus", "providerStatus"),
    ("GET", f"{WS}/quotas", "quotas"),
    ("GET", f"{WS}/nothing", "other"),
    ("DELETE", f"{WS}/sessions/1", "other"),
    ("GET", "/subscriptions/s", "other"),
    ("GET", "/", "other"),
    ("PUT", "/job-1", "container"),
    ("GET", "/storage/job-1", "container"),
    ("PUT", "/job-1/inputData", "upload"),
    ("PUT", "/storage/job-1/inputData", "upload"),
    ("GET", "/storage/job-1/a/b", "download"),
    ("HEAD", "/job-1/inputData", "blob"),
]


def test_requests_are_counted_under_their_route() -> None:
    with EmulatorServer() as server, requests.Session() as client:
        for verb, path, name in ROUTES:
            before = server.requests[name]
            client.request(verb, server.endpoint + path, timeout=10)
            assert server.requests[name] == before + 1, (verb, path)
        assert server.requests.total == len(ROUTES)


def test_every_route_has_an_example_above() -> None:
    assert {name for *_, name in ROUTES} == ROUTE_NAMES


@pytest.mark.parametrize(
    ("route", "meant"),
    [
        ("submit", ["submit"]),
        ("poll", ["sessionJobs", "job"]),
        ("*/jobs/*", ["submit", "job", "update", "cancel", "delete"]),
        ("/job-?", ["container"]),
    ],
)
def test_a_name_or_glob_means_these_routes(route: str, meant: list[str]) -> None:
    assert is_route(route)
    assert [name for _, path, name in ROUTES if is_on_route(route, name, path)] == meant


@pytest.mark.parametrize("route", ["submits", "", None])
def test_invalid_route_is_refused(route: object) -> None:
    with pytest.raises(ValueError, match=r"^Name a route"):
        is_route(route)


def test_requests_are_counted_by_route_until_the_counts_are_cleared() -> None:
    counts = Requests()
    for route in ("sasUri", "submit", "job", "job", "sessionJobs"):
        counts.count(route)
    assert (counts.total, counts["job"], counts["poll"], counts["close"]) == (5, 2, 3, 0)
    assert counts.by_route == {"sasUri": 1, "submit": 1, "job": 2, "sessionJobs": 1}
    counts.clear()
    assert (counts.total, counts.by_route) == (0, {})
    assert repr(counts) == "Requests(total=0, connections=0, open_connections=0)"


def test_unknown_route_raises_key_error() -> None:
    with pytest.raises(KeyError, match="sasUrl"):
        Requests()["sasUrl"]


def test_a_server_counts_requests_and_the_connections_they_came_over() -> None:
    with EmulatorServer() as server:
        headers = {"x-ms-quantum-api-key": server.key}
        url = f"{server.endpoint}{WS}/sessions?api-version=2026-01-15-preview"
        with requests.Session() as first, requests.Session() as second:
            for client in (first, first, second):
                assert client.get(url, headers=headers, timeout=10).status_code == 200
            assert server.requests["sessions"] == server.requests.total == 3
            assert server.requests.connections == server.requests.open_connections == 2
            server.requests.clear()
            assert server.requests.connections == 0
            assert server.requests.open_connections == 2
            assert first.get(url, timeout=10).status_code == 401
            assert server.requests["sessions"] == 1
    assert server.requests.open_connections == 0


def test_counts_are_reported_over_http_and_do_not_count_themselves() -> None:
    with EmulatorServer() as server, requests.Session() as client:
        client.headers["x-ms-quantum-api-key"] = server.key
        client.get(f"{server.endpoint}{WS}/sessions?api-version=2025-12-01-preview", timeout=10)
        told = client.get(f"{server.endpoint}/emulator/requests", timeout=10).json()
        assert told == {
            "total": 1,
            "byRoute": {"sessions": 1},
            "connections": 1,
            "openConnections": 1,
        }
        cleared = client.delete(f"{server.endpoint}/emulator/requests", timeout=10).json()
        assert (cleared["total"], cleared["openConnections"]) == (0, 1)
