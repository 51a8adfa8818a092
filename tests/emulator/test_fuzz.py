"""Whatever a client sends, the emulator answers it or refuses it, and has no error of its own."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cirq_azure_sessions.emulator import EmulatorServer

WORKSPACE = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/myresourcegroup"
    "/providers/Microsoft.Quantum/workspaces/myworkspace"
)
SESSION, JOB = "00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b"
VERSIONS = ("2024-10-01-preview", "2025-12-01-preview", "2026-01-15-preview")

fuzzing = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

texts = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["", "\ud800", "x" * 5000, "\r\nX: y", "../..", "%00", "ionq.simulator"]),
)
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), texts, st.just(10**400), st.just([])
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
ids = st.one_of(st.sampled_from([SESSION, JOB, JOB.upper(), "x", "", "a/b", JOB + "0"]), texts)


def documents(*fields: str) -> st.SearchStrategy[bytes]:
    """Bodies: objects with these fields, good or bad, and what is no object at all."""
    good = {
        "itemType": "Job",
        "name": "a job",
        "providerId": "ionq",
        "target": "ionq.simulator",
        "containerUri": "http://127.0.0.1/job-1",
        "inputDataUri": "http://127.0.0.1/job-1/inputData",
        "inputDataFormat": "ionq.circuit.v1",
        "outputDataFormat": "ionq.quantum-results.v1",
        "sessionId": SESSION,
        "containerName": "job-1",
        "blobName": "inputData",
        "jobFailurePolicy": "Abort",
    }
    fields_of = {name: st.one_of(st.just(good.get(name)), values) for name in fields}
    objects = st.fixed_dictionaries({}, optional=fields_of).map(json.dumps).map(str.encode)
    nested = st.sampled_from([b"[" * 100_000, b'{"a":' * 5000 + b"1" + b"}" * 5000])
    return st.one_of(objects, values.map(json.dumps).map(str.encode), st.binary(), nested)


items = st.sampled_from(["sessions", "jobs"])
lists = st.sampled_from(
    ["sessions", "jobs", "topLevelItems", f"sessions/{SESSION}/jobs", "providerStatus", "quotas"]
)
list_parameters = st.fixed_dictionaries(
    {},
    optional={
        "filter": st.one_of(
            texts,
            st.sampled_from(
                [
                    "startswith(Name, 'a')",
                    "(State eq 'Failed')",
                    "CreationTime le 0001-01-01",
                    "CreationTime ge 9999-12-31T23:59:59-23:59",
                    "(" * 1000,
                ]
            ),
        ),
        "orderby": st.one_of(texts, st.sampled_from(["Name desc", "CreationTime asc"])),
        "skip": st.one_of(st.integers().map(str), texts),
        "top": st.one_of(st.integers().map(str), texts),
    },
)
versions = st.one_of(st.sampled_from(VERSIONS), texts, st.none())
job_fields = (
    *("itemType", "name", "providerId", "target", "containerUri", "inputDataUri", "sessionId"),
    *("inputDataFormat", "outputDataFormat", "inputParams", "metadata", "tags", "priority"),
)


@pytest.fixture(scope="module")
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer() as server:
        session = {"providerId": "ionq", "target": "ionq.simulator", "name": "a session"}
        send(server, "PUT", f"/sessions/{SESSION}", VERSIONS[2], json.dumps(session).encode())
        yield server


def send(
    server: EmulatorServer,
    method: str,
    path: str,
    version: str | None,
    body: bytes = b"",
    **parameters: str,
) -> int:
    """Sends a request to the data plane and returns the status, once the answer is looked at."""
    if version is not None:
        parameters["api-version"] = version
    query = urlencode(parameters, errors="surrogatepass")
    return send_raw(server, method, f"{WORKSPACE}{_quoted(path)}?{query}", body)


def send_raw(server: EmulatorServer, method: str, target: str, body: bytes) -> int:
    address = urlsplit(server.endpoint)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
    try:
        headers = {"x-ms-quantum-api-key": server.key, "Content-Type": "application/json"}
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        content = response.read()
        is_json = response.getheader("content-type", "").startswith("application/json")
        if response.status >= 400 and is_json and method != "HEAD":
            assert set(json.loads(content)["error"]) == {"code", "message"}
        return response.status
    finally:
        connection.close()


def _quoted(path: str) -> str:
    return quote(path, safe="/:", errors="surrogatepass")


def check(status: int) -> None:
    assert status < 500


@fuzzing
@given(items, ids, versions, documents(*job_fields, "jobFailurePolicy"))
def test_any_put_is_answered_without_an_internal_error(
    server: EmulatorServer, item: str, item_id: str, version: str | None, body: bytes
) -> None:
    check(send(server, "PUT", f"/{item}/{item_id}", version, body))
    # What was accepted can be told again.
    check(send(server, "GET", f"/{item}/{item_id}", VERSIONS[1]))


@fuzzing
@given(st.sampled_from(["GET", "POST", "DELETE", "PATCH", "HEAD", "BREW"]), items, ids, versions)
def test_any_item_request_is_answered_without_an_internal_error(
    server: EmulatorServer, method: str, item: str, item_id: str, version: str | None
) -> None:
    for verb in ("", ":close", ":cancel", ":open", "/jobs"):
        check(send(server, method, f"/{item}/{item_id}{verb}", version))


@fuzzing
@given(ids, versions, documents("name", "priority", "tags"))
def test_any_update_is_answered_without_an_internal_error(
    server: EmulatorServer, job_id: str, version: str | None, body: bytes
) -> None:
    check(send(server, "PATCH", f"/jobs/{job_id}", version, body))


@fuzzing
@given(versions, documents("containerName", "blobName"))
def test_any_signature_request_is_answered_without_an_internal_error(
    server: EmulatorServer, version: str | None, body: bytes
) -> None:
    check(send(server, "POST", "/storage/sasUri", version, body))


@fuzzing
@given(lists, versions, list_parameters)
@example("jobs", VERSIONS[2], {"filter": "CreationTime ge 9999-12-31T23:59:59-23:59"})
@example("jobs", VERSIONS[2], {"top": "9" * 5000})
def test_any_list_request_is_answered_without_an_internal_error(
    server: EmulatorServer, listed: str, version: str | None, parameters: dict[str, str]
) -> None:
    check(send(server, "GET", f"/{listed}", version, **parameters))


@fuzzing
@given(
    st.sampled_from(["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD"]),
    st.one_of(
        texts,
        st.sampled_from(
            ["job-1", "storage/job-1/inputData", "subscriptions/x", "emulator/x", "a/b/c/d"]
        ),
    ),
    st.dictionaries(st.sampled_from(["restype", "comp", "sig", "sp", "se", "st", "sr"]), texts),
    st.binary(max_size=50),
)
def test_any_other_request_is_answered_without_an_internal_error(
    server: EmulatorServer, method: str, path: str, parameters: dict[str, str], body: bytes
) -> None:
    query = urlencode(parameters, errors="surrogatepass")
    check(send_raw(server, method, f"/{_quoted(path)}?{query}", body))


@fuzzing
@given(
    st.sampled_from(["GET", "PUT", "POST", "DELETE"]),
    st.sampled_from(["faults", "clock", "latency", "requests", "targets", "x"]),
    documents("route", "status", "times", "advance", "seconds", "delay", "target", "availability"),
)
def test_any_control_request_is_answered_without_an_internal_error(
    server: EmulatorServer, method: str, control: str, body: bytes
) -> None:
    try:
        check(send_raw(server, method, f"/emulator/{control}", body))
    finally:
        server.faults.clear()
        server.faults.latency = 0.0
