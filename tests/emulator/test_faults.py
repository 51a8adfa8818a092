"""Trouble on order: what the emulator does wrong, from Python and over HTTP."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from cirq_azure_sessions.clock import ManualClock
from cirq_azure_sessions.emulator.faults import Faults
from cirq_azure_sessions.emulator.server import EmulatorServer

VERSION = "api-version=2026-01-15-preview"

Order = Callable[[Faults], None]


def test_the_repr_lists_pending_faults() -> None:
    faults = Faults()
    assert repr(faults) == "Faults(latency=0, pending=[])"
    faults.add("submit", status=429, times=3)
    faults.reset("upload")
    faults.take_request("submit", "PUT", "/jobs/1")
    assert repr(faults) == (
        "Faults(latency=0, pending=[{'route': 'submit', 'times': 2, 'status': 429}, "
        "{'route': 'upload', 'reset': True}])"
    )
    faults.clear()
    faults.latency = 0.5
    assert repr(faults) == "Faults(latency=0.5, pending=[])"


ORDERS: list[tuple[Order, dict[str, Any]]] = [
    (
        lambda faults: faults.add("submit", status=429, retry_after=1.5, times=3),
        {"route": "submit", "status": 429, "retry_after": 1.5, "times": 3},
    ),
    (
        lambda faults: faults.add("poll", delay=30),
        {"route": "poll", "delay": 30},
    ),
    (
        lambda faults: faults.add("*/jobs/*", verb="PUT", status=503, delay=2, times=None),
        {"route": "*/jobs/*", "verb": "PUT", "status": 503, "delay": 2, "times": None},
    ),
    (
        lambda faults: faults.reset("upload"),
        {"route": "upload", "reset": True},
    ),
    (
        lambda faults: faults.reset("upload", after=True),
        {"route": "upload", "reset": True, "after": True},
    ),
    (
        lambda faults: faults.garble("job", "}{"),
        {"route": "job", "garbage": "}{"},
    ),
    (
        lambda faults: faults.fail_job("InvalidInputData", "No.", target="ionq.*", times=2),
        {
            "job": "fail",
            "code": "InvalidInputData",
            "message": "No.",
            "target": "ionq.*",
            "times": 2,
        },
    ),
    (lambda faults: faults.hang_job(), {"job": "hang"}),
    (lambda faults: faults.cancel_job(), {"job": "cancel"}),
    (
        lambda faults: faults.time_out_session(),
        {"session": "TimedOut"},
    ),
    (lambda faults: faults.fail_session(), {"session": "Failed"}),
    (lambda faults: faults.expire_sas(), {"sas": "*"}),
    (
        lambda faults: faults.expire_sas("*/rawOutputData", announced=60),
        {"sas": "*/rawOutputData", "announced": 60},
    ),
    (
        lambda faults: faults.expire_sas(after=5.0),
        {"sas": "*", "after": 5.0},
    ),
]


@pytest.mark.parametrize(("order", "document"), ORDERS, ids=[str(each) for _, each in ORDERS])
def test_fault_is_the_same_from_python_and_as_json(order: Order, document: dict[str, Any]) -> None:
    faults = Faults()
    order(faults)
    assert faults.pending() == [document]
    faults.add(**json.loads(json.dumps(document)))
    assert faults.pending() == [document, document]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"route": "submit"},
        {"route": "submits", "status": 500},
        {"route": "submit", "status": 200},
        {"route": "submit", "status": "500"},
        {"route": "submit", "status": True},
        {"route": "submit", "status": 500, "reset": True},
        {"route": "submit", "status": 500, "times": 0},
        {"route": "submit", "status": 500, "times": 1.5},
        {"route": "submit", "status": 500, "retry_after": -1},
        {"route": "submit", "retry_after": 1, "delay": 1},
        {"route": "submit", "delay": float("inf")},
        {"route": "submit", "delay": 1, "after": True},
        {"route": "submit", "status": 500, "verb": "put"},
        {"route": "submit", "status": 429, "rate": 0.5},
        {"route": "submit", "status": 500, "colour": "red"},
        {"route": "submit", "job": "fail"},
        {"route": ["submit"], "status": 500},
        {"job": "explode"},
        {"job": "hang", "code": "InternalError"},
        {"session": "Succeeded"},
        {"sas": "*", "after": -1},
        {"sas": "*", "announced": "soon"},
    ],
    ids=str,
)
def test_invalid_fault_document_is_refused_in_a_sentence(document: dict[str, Any]) -> None:
    faults = Faults()
    with pytest.raises(ValueError, match=r"^(Give|Name|Unknown) .*\.$"):
        faults.add(**document)
    assert faults.pending() == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
MEMBERS = st.sampled_from(sorted({member for _, document in ORDERS for member in document}))


@given(document=st.dictionaries(MEMBERS | st.text(max_size=5), JSON, max_size=5))
def test_any_document_is_a_fault_or_a_value_error(document: dict[str, Any]) -> None:
    faults = Faults()
    with contextlib.suppress(ValueError):
        faults.add(**document)
        assert len(faults.pending()) == 1


def test_one_fault_applies_per_request_oldest_first() -> None:
    faults = Faults()
    faults.add("poll", status=500)
    faults.add("*/jobs/1", status=503)
    taken = [faults.take_request("job", "GET", "/workspaces/w/jobs/1") for _ in range(3)]
    assert [fault and fault.status for fault in taken] == [500, 503, None]


def test_a_fault_lasts_for_its_duration_from_the_first_time_on() -> None:
    clock = ManualClock()
    faults = Faults(clock=clock)
    faults.reset("*", trigger="upload", skip=1, duration=60)

    def is_met(name: str) -> bool:
        return faults.take_request(name, "GET", "/job-1/outputData") is not None

    clock.advance(1000)
    assert not is_met("download")
    assert [is_met("upload") for _ in range(2)] == [False, True]
    assert is_met("download")
    clock.advance(59)
    assert is_met("download")
    clock.advance(1)
    assert not is_met("upload")
    assert faults.pending() == []


def test_fault_with_a_rate_allows_that_many_requests_per_second() -> None:
    clock = ManualClock()
    faults = Faults(clock=clock)
    faults.add("*", status=429, rate=3, times=None)

    def refused(number: int) -> int:
        return sum(faults.take_request("job", "GET", "/jobs/1") is not None for _ in range(number))

    assert refused(5) == 2
    clock.advance(1 / 3)
    assert refused(2) == 1
    # What was not used a minute ago is lost.
    clock.advance(60)
    assert refused(5) == 2


def test_a_fault_of_a_job_waits_for_its_target() -> None:
    faults = Faults()
    faults.hang_job(target="quantinuum.*")
    assert faults.take_job("ionq.simulator") is None
    fault = faults.take_job("quantinuum.sim.h2-1e")
    assert fault is not None
    assert fault.job == "hang"


class Client:
    """Sends requests to a server as any client with the key does."""

    def __init__(self, server: EmulatorServer) -> None:
        self.server = server
        self.session = requests.Session()
        self.session.headers["x-ms-quantum-api-key"] = server.key
        self.workspace = f"{server.endpoint}{server.resource_id}"

    def send(self, verb: str, path: str, document: Any = None) -> requests.Response:
        return self.session.request(
            verb, f"{self.workspace}/{path}?{VERSION}", json=document, timeout=10
        )

    def control(self, verb: str, path: str, document: Any = None) -> requests.Response:
        return self.session.request(
            verb, f"{self.server.endpoint}/emulator/{path}", json=document, timeout=10
        )

    def open_session(self, session_id: str) -> requests.Response:
        document = {"providerId": "ionq", "target": "ionq.simulator", "name": "rehearsal"}
        return self.send("PUT", f"sessions/{session_id}", document)


@pytest.fixture
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer(clock=ManualClock()) as server:
        yield server


@pytest.fixture
def client(server: EmulatorServer) -> Iterator[Client]:
    client = Client(server)
    yield client
    client.session.close()


def test_fault_refuses_the_given_number_of_requests_and_then_ends(
    server: EmulatorServer, client: Client
) -> None:
    server.faults.add("sessions", status=429, retry_after=1, times=2)
    answers = [client.send("GET", "sessions") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert [answer.headers.get("Retry-After") for answer in answers] == ["1", "1", None]
    assert answers[0].json()["error"]["code"] == "TooManyRequests"
    assert server.faults.pending() == []


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, "NotFound"),
        (429, "TooManyRequests"),
        (500, "InternalServerError"),
        (503, "ServiceUnavailable"),
        (599, "Unknown"),
    ],
)
def test_refusal_has_the_code_of_its_status_and_no_retry_after(
    server: EmulatorServer, client: Client, status: int, code: str
) -> None:
    server.faults.add("sessions", status=status)
    answer = client.send("GET", "sessions")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert "Retry-After" not in answer.headers


def test_storage_errors_keep_azures_codes(server: EmulatorServer) -> None:
    server.faults.add("download", status=503)
    answer = requests.get(f"{server.endpoint}/job-1/inputData", timeout=10)
    assert (answer.status_code, answer.headers["x-ms-error-code"]) == (503, "ServerBusy")
    assert answer.headers["Content-Type"] == "application/xml"
    assert ElementTree.fromstring(answer.content).findtext("Code") == "ServerBusy"


def test_refused_request_has_no_effect_unless_requested(
    server: EmulatorServer, client: Client
) -> None:
    lost, kept = str(uuid4()), str(uuid4())
    server.faults.add("open", status=500)
    server.faults.add("open", status=500, after=True)
    assert client.open_session(lost).status_code == 500
    assert client.open_session(kept).status_code == 500
    assert client.send("GET", f"sessions/{lost}").status_code == 404
    assert client.send("GET", f"sessions/{kept}").status_code == 200


def test_a_connection_is_cut_before_or_after_the_request_took_effect(
    server: EmulatorServer, client: Client
) -> None:
    lost, kept = str(uuid4()), str(uuid4())
    server.faults.reset("open")
    server.faults.reset("open", after=True)
    for session_id in (lost, kept):
        with pytest.raises(requests.ConnectionError):
            client.open_session(session_id)
    assert client.send("GET", f"sessions/{lost}").status_code == 404
    assert client.send("GET", f"sessions/{kept}").status_code == 200


def test_garbage_is_not_json(server: EmulatorServer, client: Client) -> None:
    server.faults.garble("sessions")
    answer = client.send("GET", "sessions")
    assert answer.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        answer.json()


def test_a_request_is_late_on_the_servers_clock(server: EmulatorServer, client: Client) -> None:
    server.faults.add("sessions", delay=30)
    assert client.send("GET", "sessions").status_code == 200
    assert server.clock.monotonic() == 30.0
    client.send("GET", "sessions")
    assert server.clock.monotonic() == 30.0


def test_latency_delays_every_request(server: EmulatorServer, client: Client) -> None:
    server.faults.latency = 0.25
    for _ in range(4):
        client.send("GET", "sessions")
    assert server.clock.monotonic() == 1.0
    assert server.requests.total == 4


def test_every_fault_can_be_added_over_http(server: EmulatorServer, client: Client) -> None:
    order = {"route": "sessions", "status": 503, "times": 2}
    assert client.control("POST", "faults", order).json() == {"pending": [order]}
    assert client.send("GET", "sessions").status_code == 503
    assert client.control("GET", "faults").json() == {
        "pending": [{"route": "sessions", "status": 503}]
    }
    assert client.control("DELETE", "faults").json() == {"pending": []}
    assert client.send("GET", "sessions").status_code == 200
    assert client.control("PUT", "latency", {"seconds": 2}).json() == {"seconds": 2.0}
    assert server.faults.latency == 2.0


def test_the_clock_is_moved_over_http(server: EmulatorServer, client: Client) -> None:
    before = client.control("GET", "clock").json()
    after = client.control("POST", "clock", {"advance": 600}).json()
    assert after == {"time": before["time"] + 600, "monotonic": before["monotonic"] + 600}


@pytest.mark.parametrize(
    ("verb", "path", "document"),
    [
        ("POST", "faults", {"route": "nowhere", "status": 500}),
        ("POST", "faults", ["submit"]),
        ("POST", "faults", None),
        ("POST", "clock", {"advance": -1}),
        ("POST", "clock", {"advance": "soon"}),
        ("POST", "clock", {"advance": True}),
        ("POST", "clock", {"advance": 1e300}),
        ("POST", "clock", {}),
        ("PUT", "latency", {"seconds": None}),
        ("PUT", "latency", {"seconds": 10**400}),
    ],
)
def test_invalid_fault_request_is_a_bad_request(
    client: Client, verb: str, path: str, document: Any
) -> None:
    answer = client.control(verb, path, document)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].endswith(".")


@pytest.mark.parametrize("path", ["faults", "clock", "latency", "requests"])
def test_the_controls_need_the_key(client: Client, path: str) -> None:
    client.session.headers["x-ms-quantum-api-key"] = "wrong"
    assert client.control("GET", path).status_code == 401


def test_no_fault_touches_the_controls(server: EmulatorServer, client: Client) -> None:
    server.faults.add("*", status=500)
    assert client.control("GET", "faults").json() == {"pending": [{"route": "*", "status": 500}]}
    assert client.send("GET", "sessions").status_code == 500
