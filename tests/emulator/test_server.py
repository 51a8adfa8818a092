"""How the emulated workspace behaves: who may come in, what lists show, and what time does."""

from __future__ import annotations

import json
import logging
import socket
import struct
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import requests
from children import NEEDS_FORK

from cirq_azure_sessions.clock import ManualClock
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.emulator.programs import NOISELESS
from cirq_azure_sessions.workspaces.local import JobPace

VERSION = "2025-12-01-preview"
AN_ID = "00000000-0000-0000-0000-00000000000a"
BELL = {
    "qubits": 2,
    "circuit": [{"gate": "h", "target": 0}, {"gate": "cnot", "control": 0, "target": 1}],
}
BELL_QASM = """
OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; creg c[2];
h q[0]; cx q[0],q[1]; measure q -> c;
"""


class Client:
    """A client that speaks HTTP and knows no more of the service than its routes."""

    def __init__(self, server: EmulatorServer, version: str | None = VERSION) -> None:
        self.server = server
        self.version = version
        self.key = server.key
        self.endpoint = server.endpoint

    def send(
        self, method: str, path: str, document: Any = None, host: str | None = None, **query: Any
    ) -> requests.Response:
        if self.version is not None:
            query["api-version"] = self.version
        headers = {"x-ms-quantum-api-key": self.key}
        if host is not None:
            headers["host"] = host
        url = self.endpoint + self.server.resource_id + path
        return requests.request(
            method, url, json=document, params=query, headers=headers, timeout=9
        )

    def get(self, path: str, **query: Any) -> Any:
        response = self.send("GET", path, **query)
        assert response.status_code == 200, response.text
        return response.json()

    def open_session(self, target: str = "ionq.simulator", **fields: Any) -> str:
        session_id = str(uuid4())
        document = {"itemType": "Session", "providerId": target.split(".")[0], "target": target}
        response = self.send("PUT", f"/sessions/{session_id}", document | fields)
        assert response.status_code == 200, response.text
        return session_id

    def submit(
        self,
        target: str = "ionq.simulator",
        program: Any = BELL,
        input_format: str = "ionq.circuit.v1",
        output_format: str = "ionq.quantum-results.v1",
        **fields: Any,
    ) -> requests.Response:
        job_id = str(uuid4())
        names = {"containerName": f"job-{job_id}"}
        newest = Client(self.server, "2026-01-15-preview")
        newest.endpoint = self.endpoint
        container = newest.send("POST", "/storage/sasUri", names).json()["sasUri"]
        address, _, sas = container.partition("?")
        content = program.encode() if isinstance(program, str) else json.dumps(program).encode()
        requests.put(
            f"{address}/inputData?{sas}",
            data=content,
            headers={"x-ms-blob-type": "BlockBlob"},
            timeout=9,
        )
        document = {
            "itemType": "Job",
            "name": "a job",
            "providerId": target.split(".")[0],
            "target": target,
            "containerUri": container,
            "inputDataUri": f"{address}/inputData",
            "inputDataFormat": input_format,
            "outputDataFormat": output_format,
        }
        return self.send("PUT", f"/jobs/{job_id}", document | fields)

    def job(self, submitted: requests.Response) -> Any:
        assert submitted.status_code == 200, submitted.text
        return self.get(f"/jobs/{submitted.json()['id']}")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def serve(clock: ManualClock) -> Iterator[Callable[..., Client]]:
    """Starts servers on the manual clock and stops them after the test."""
    servers: list[EmulatorServer] = []

    def start(**options: Any) -> Client:
        servers.append(EmulatorServer(clock=clock, **options))
        servers[-1].start()
        return Client(servers[-1])

    yield start
    for server in servers:
        server.stop()


def code_of(response: requests.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


# Who may come in.


def test_it_listens_only_on_loopback(serve: Callable[..., Client]) -> None:
    assert serve().server.endpoint.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("key", [b"wrong", b"", "schlüssel".encode(), b"\xff\xfe"])
def test_a_wrong_key_is_refused_as_recorded(serve: Callable[..., Client], key: bytes) -> None:
    client = serve()
    for path in (client.server.resource_id + "/jobs", "/emulator/clock"):
        response = requests.get(
            client.server.endpoint + path,
            headers={"x-ms-quantum-api-key": key},
            timeout=9,
        )
        assert response.status_code == 401
        assert response.content == b""
        assert response.headers["www-authenticate"] == 'Bearer error="invalid_token"'


def test_each_server_generates_a_key(serve: Callable[..., Client]) -> None:
    keys = {serve().key, serve().key}
    assert len(keys) == 2
    assert all(len(key) >= 32 for key in keys)


def test_no_secret_is_shown(serve: Callable[..., Client], caplog: pytest.LogCaptureFixture) -> None:
    client = serve()
    with caplog.at_level(logging.DEBUG):
        answer = client.job(client.submit())
    signature = answer["outputDataUri"].partition("sig=")[2]
    for secret in (client.key, signature):
        assert secret not in repr(client.server)
        assert secret not in caplog.text


def test_oversize_bodies_are_refused(serve: Callable[..., Client]) -> None:
    huge = {"name": "x" * 5_000_000, "target": "ionq.simulator", "providerId": "ionq"}
    response = serve().send("PUT", f"/sessions/{uuid4()}", huge)
    assert code_of(response) == (413, "RequestBodyTooLarge")


def test_compressed_body_is_not_parsed_as_json(serve: Callable[..., Client]) -> None:
    server = serve().server
    response = requests.put(
        f"{server.endpoint}{server.resource_id}/sessions/{uuid4()}?api-version={VERSION}",
        data=b"no gzip",
        headers={"x-ms-quantum-api-key": server.key, "content-encoding": "gzip"},
        timeout=9,
    )
    assert code_of(response) == (400, "InvalidRequest")


def test_wrong_host_header_is_not_followed(serve: Callable[..., Client]) -> None:
    client = serve()
    for _ in range(2):
        client.open_session()
    answer = requests.get(
        f"{client.server.endpoint}{client.server.resource_id}/sessions",
        params={"api-version": VERSION, "top": 1},
        headers={"x-ms-quantum-api-key": client.key, "host": "[evil"},
        timeout=9,
    ).json()
    assert answer["nextLink"].startswith(client.server.endpoint)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_server_on_all_addresses_gives_those_by_which_it_is_reached(
    serve: Callable[..., Client], name: str
) -> None:
    client = serve(host="0.0.0.0")
    assert client.server.endpoint.startswith("http://127.0.0.1:")
    reached = client.server.endpoint.replace("127.0.0.1", name)
    client.endpoint = reached
    jobs = [client.job(client.submit()) for _ in range(2)]
    assert jobs[0]["status"] == "Succeeded"
    for address in ("containerUri", "inputDataUri", "outputDataUri"):
        assert jobs[0][address].startswith(f"{reached}/")
    assert client.get("/jobs", top=1)["nextLink"].startswith(f"{reached}/")
    assert requests.get(jobs[0]["outputDataUri"], timeout=9).status_code == 200


def test_invalid_host_is_not_repeated(serve: Callable[..., Client]) -> None:
    client = serve(host="0.0.0.0")
    for host in ("[evil", "a/b", "user@elsewhere", ""):
        job = client.send("GET", f"/jobs/{client.submit().json()['id']}", host=host).json()
        assert job["containerUri"].startswith(f"{client.server.endpoint}/")


def test_client_that_disconnects_during_an_upload_causes_no_traceback(
    serve: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(serve().server, "2026-01-15-preview")
    uri = client.send("POST", "/storage/sasUri", {"containerName": "job-1"}).json()["sasUri"]
    parts = urlsplit(uri)
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        head = f"PUT {parts.path}/inputData?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        kind = "x-ms-blob-type: BlockBlob\r\nContent-Length: 1000\r\n\r\n"
        connection.sendall(f"{head}{kind}only so much".encode())
        while client.server.requests["upload"] == 0:
            pass
        # A connection that is closed with a linger of no seconds is reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.server.stop()
    assert not caplog.records


def test_delayed_request_does_not_delay_the_servers_stop() -> None:
    # The clock stands still, so that the answer would never come.
    server = EmulatorServer(clock=ManualClock(auto_advance=False))
    server.start()
    server.faults.add("jobs", delay=60)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(Client(server).send, "GET", "/jobs")
        while server.requests.total == 0:
            assert not waiting.done()
        server.stop()
        with pytest.raises(requests.ConnectionError):
            waiting.result()


def test_a_server_that_cannot_be_made_leaves_its_port_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # The error keeps what its frames hold, as a notebook does after a cell has failed.
    with pytest.raises(ValueError, match="no job consumes hours") as refusal:
        EmulatorServer(port=port, quotas={"hours": 1.0})
    with EmulatorServer(port=port) as server:
        assert server.endpoint.endswith(f":{port}")
    assert refusal.traceback


@NEEDS_FORK
def test_a_forked_child_leaves_the_server_to_its_parent() -> None:
    program = """
        import os, sys, urllib.error, urllib.request
        from cirq_azure_sessions.emulator import EmulatorServer
        with EmulatorServer() as server:
            child = os.fork()
            if child:
                assert os.waitpid(child, 0)[1] == 0
                try:
                    urllib.request.urlopen(server.endpoint + "/emulator/clock", timeout=9)
                except urllib.error.HTTPError as error:
                    print(error.code)
        sys.stdout.flush()
        os._exit(0)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "401\n", done.stderr


def test_a_request_names_its_api_version(serve: Callable[..., Client]) -> None:
    client = Client(serve().server, version=None)
    assert code_of(client.send("GET", "/jobs")) == (400, "MissingApiVersionParameter")


@pytest.mark.parametrize("path", ["/sessions", "/jobs"])
def test_unknown_items_are_missing(serve: Callable[..., Client], path: str) -> None:
    assert code_of(serve().send("GET", f"{path}/{uuid4()}")) == (404, "NotFound")


@pytest.mark.parametrize(
    ("method", "path", "verbs"),
    [
        ("POST", "/jobs", "GET"),
        ("HEAD", "/sessions", "GET"),
        ("DELETE", f"/sessions/{AN_ID}", "GET, PUT"),
        ("POST", f"/jobs/{AN_ID}", "DELETE, GET, PATCH, PUT"),
        ("GET", f"/jobs/{AN_ID}:cancel", "POST"),
        ("OPTIONS", "/storage/sasUri", "POST"),
    ],
)
def test_route_lists_its_verbs(
    serve: Callable[..., Client], method: str, path: str, verbs: str
) -> None:
    response = serve().send(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == verbs


@pytest.mark.parametrize("path", ["", "/nothing", f"/sessions/{AN_ID}:open", "/jobs/a/b"])
def test_an_unknown_route_is_not_found(serve: Callable[..., Client], path: str) -> None:
    assert code_of(serve().send("GET", path)) == (404, "NotFound")


# Sessions and jobs. That they look as recorded is held by the conformance test.


def test_second_put_returns_the_existing_item(serve: Callable[..., Client]) -> None:
    client = serve()
    submitted = client.submit(name="the first")
    job = client.job(submitted)
    assert job["status"] == "Succeeded"
    again = client.send(
        "PUT",
        f"/jobs/{job['id']}",
        {
            "name": "the second",
            "providerId": "ionq",
            "target": "ionq.simulator",
            "containerUri": job["containerUri"],
        },
    )
    assert again.status_code == 200
    assert (again.json()["name"], again.json()["status"]) == ("the first", "Succeeded")


def test_the_newest_version_has_priorities_and_tags(serve: Callable[..., Client]) -> None:
    client = Client(serve().server, "2026-01-15-preview")
    session_id = client.open_session(priority="High", tags=["mine"])
    session = client.get(f"/sessions/{session_id}")
    assert (session["priority"], session["tags"]) == ("High", ["mine"])
    job = client.job(client.submit(tags=["a", "b"], sessionId=session_id))
    assert (job["priority"], job["tags"]) == ("Standard", ["a", "b"])
    changes = {"name": "renamed", "priority": "High", "tags": ["c"]}
    updated = client.send("PATCH", f"/jobs/{job['id']}", changes).json()
    assert {name: updated[name] for name in changes} == changes
    client.version = VERSION
    assert "priority" not in client.get(f"/jobs/{job['id']}")


@pytest.mark.parametrize(
    "fields",
    [
        {"priority": "Urgent"},
        {"priority": 1},
        {"itemType": "Job"},
        {"jobFailurePolicy": "Explode"},
        {"tags": "mine"},
        {"tags": [1]},
        {"name": 7},
        {"providerId": None},
        {"target": ""},
    ],
    ids=str,
)
def test_field_of_the_wrong_type_is_refused(
    serve: Callable[..., Client], fields: dict[str, Any]
) -> None:
    document = {"itemType": "Session", "providerId": "ionq", "target": "ionq.simulator"}
    response = serve().send("PUT", f"/sessions/{uuid4()}", document | fields)
    assert code_of(response) == (400, "InvalidRequest")
    assert next(iter(fields)) in response.json()["error"]["message"]


def test_status_words_are_accepted_in_any_case(serve: Callable[..., Client]) -> None:
    client = Client(serve().server, "2026-01-15-preview")
    session_id = client.open_session(
        providerId="IonQ", priority="high", jobFailurePolicy="CONTINUE"
    )
    session = client.get(f"/sessions/{session_id}")
    assert (session["providerId"], session["priority"]) == ("ionq", "High")
    assert session["jobFailurePolicy"] == "Continue"


def test_a_deleted_job_is_gone_from_every_list(serve: Callable[..., Client]) -> None:
    client = serve()
    kept, gone = (client.job(client.submit())["id"] for _ in range(2))
    assert client.send("DELETE", f"/jobs/{gone}").status_code == 204
    assert client.send("GET", f"/jobs/{gone}").status_code == 404
    for listed in ("/jobs", "/topLevelItems"):
        assert [item["id"] for item in client.get(listed)["value"]] == [kept]


@pytest.mark.parametrize("version", ["2022-09-12-preview", "2024-10-01-preview", "2025-06-01"])
def test_delete_cancels_in_earlier_versions(serve: Callable[..., Client], version: str) -> None:
    client = serve(job_time=60)
    job_id = client.submit().json()["id"]
    client.version = version
    assert client.send("DELETE", f"/jobs/{job_id}").status_code == 204
    assert client.get(f"/jobs/{job_id}")["status"] == "Cancelled"


def test_cancelled_job_is_reported_as_cancelled(serve: Callable[..., Client]) -> None:
    client = serve(job_time=60)
    job_id = client.submit().json()["id"]
    job = client.send("POST", f"/jobs/{job_id}:cancel").json()
    assert (job["status"], job["errorData"]) == ("Cancelled", None)
    assert job["cancellationTime"] is not None
    assert job["outputDataUri"].partition("?")[0].endswith("/outputData")


def test_data_of_early_jobs_is_dropped_on_request(
    serve: Callable[..., Client], clock: ManualClock
) -> None:
    client = serve(max_stored_jobs=2, job_time=lambda request: JobPace(run=paces.pop(0)))
    paces = [1000.0, 1.0, 1.0, 1.0, 1.0]
    submitted = []
    for _ in range(5):
        submitted.append(client.submit())
        clock.advance(1)
    jobs = [client.job(each) for each in submitted]
    assert [job["status"] for job in jobs] == ["Executing", *["Succeeded"] * 4]
    kept = {
        job["id"] for job in jobs if requests.get(job["inputDataUri"], timeout=9).status_code == 200
    }
    running, *_, second_last, last = (job["id"] for job in jobs)
    assert kept == {running, second_last, last}


def test_missing_program_fails_its_job(serve: Callable[..., Client]) -> None:
    client = serve()
    document = {
        "providerId": "ionq",
        "target": "ionq.simulator",
        "containerUri": "https://elsewhere.blob.core.windows.net/job-1?sig=x",
    }
    job_id = str(uuid4())
    assert client.send("PUT", f"/jobs/{job_id}", document).status_code == 200
    job = client.get(f"/jobs/{job_id}")
    assert (job["status"], job["errorData"]["code"]) == ("Failed", "InvalidInputData")
    assert "sig=" not in job["containerUri"]


# Lists.


def test_pages_link_to_the_next_one(serve: Callable[..., Client]) -> None:
    client = serve()
    session_ids = [client.open_session() for _ in range(7)]
    page = client.get("/sessions", top=3, filter="(Target eq 'ionq.simulator')")
    found = [item["id"] for item in page["value"]]
    while page["nextLink"]:
        assert page["nextLink"].startswith(client.server.endpoint)
        headers = {"x-ms-quantum-api-key": client.key}
        page = requests.get(page["nextLink"], headers=headers, timeout=9).json()
        found += [item["id"] for item in page["value"]]
    assert found == session_ids


def test_jobs_of_a_session_come_newest_first_and_others_oldest_first(
    serve: Callable[..., Client],
) -> None:
    client = serve()
    session_id = client.open_session()
    job_ids = [client.submit(sessionId=session_id).json()["id"] for _ in range(3)]
    listed = client.get(f"/sessions/{session_id}/jobs")["value"]
    assert [job["id"] for job in listed] == job_ids[::-1]
    assert [job["id"] for job in client.get("/jobs")["value"]] == job_ids


def test_top_level_items_are_sessions_and_the_jobs_outside_them(
    serve: Callable[..., Client],
) -> None:
    client = serve()
    alone = client.submit().json()["id"]
    session_id = client.open_session()
    client.submit(sessionId=session_id)
    items = client.get("/topLevelItems")["value"]
    assert [(item["itemType"], item["id"]) for item in items] == [
        ("Job", alone),
        ("Session", session_id),
    ]
    jobs = client.get("/topLevelItems", filter="(ItemType eq 'Job')")["value"]
    assert [item["id"] for item in jobs] == [alone]


def test_a_filter_that_is_not_understood_is_refused(serve: Callable[..., Client]) -> None:
    assert code_of(serve().send("GET", "/jobs", filter="Name like 'x'")) == (
        400,
        "InvalidQueryParameter",
    )


# Targets and quotas.


def test_an_unavailable_target_takes_no_jobs(serve: Callable[..., Client]) -> None:
    client = serve()
    client.server.set_availability("ionq.simulator", "Unavailable")
    assert code_of(client.submit()) == (400, "InvalidJobDefinition")
    provider = client.get("/providerStatus")["value"][0]
    statuses = {target["id"]: target["currentAvailability"] for target in provider["targets"]}
    assert (statuses["ionq.simulator"], statuses["ionq.qpu.forte-1"]) == (
        "Unavailable",
        "Available",
    )


def test_a_degraded_target_holds_its_jobs_until_it_is_up_again(
    serve: Callable[..., Client], clock: ManualClock
) -> None:
    client = serve()
    client.server.set_availability("ionq.simulator", "Degraded")
    submitted = client.submit()
    clock.advance(3600)
    assert client.job(submitted)["status"] == "Waiting"
    headers = {"x-ms-quantum-api-key": client.key}
    url = f"{client.server.endpoint}/emulator/targets/ionq.simulator"
    requests.put(url, json={"availability": "Available"}, headers=headers, timeout=9)
    assert client.job(submitted)["status"] == "Succeeded"


def test_an_unknown_target_is_refused(serve: Callable[..., Client]) -> None:
    client = serve()
    with pytest.raises(ValueError, match="There is no target"):
        client.server.set_availability("ionq.imaginary", "Degraded")
    assert code_of(client.submit(target="ionq.imaginary")) == (400, "InvalidJobDefinition")


@pytest.mark.parametrize("provider", ["honeywell", "quantinuum", "Microsoft.Test.FirstParty"])
def test_target_belongs_to_its_provider_only(serve: Callable[..., Client], provider: str) -> None:
    client = serve()
    assert code_of(client.submit(providerId=provider)) == (400, "InvalidJobDefinition")
    document = {"providerId": provider, "target": "ionq.simulator"}
    refused = client.send("PUT", f"/sessions/{uuid4()}", document)
    assert code_of(refused) == (400, "InvalidJobDefinition")


def test_a_quota_is_used_up_by_what_jobs_cost(serve: Callable[..., Client]) -> None:
    client = serve(quotas={"ehqc": 10.0})
    program = {
        "target": "quantinuum.sim.h2-1e",
        "program": BELL_QASM,
        "input_format": "honeywell.openqasm.v1",
        "output_format": "honeywell.quantum-results.v1",
        "inputParams": {"shots": 500},
    }
    for used in (8.3, 16.6):
        cost = client.job(client.submit(**program))["costEstimate"]
        assert [event["amountConsumed"] for event in cost["events"]] == [8.3]
        quotas = {quota["dimension"]: quota for quota in client.get("/quotas")["value"]}
        assert quotas["ehqc"]["utilization"] == pytest.approx(used)
    assert code_of(client.submit(**program)) == (403, "QuotaExceeded")
    assert client.submit().status_code == 200


def test_jobs_beyond_the_limit_on_concurrency_are_refused(
    serve: Callable[..., Client], clock: ManualClock
) -> None:
    client = serve(max_concurrent_jobs=2, job_time=60)
    assert [client.submit().status_code for _ in range(3)] == [200, 200, 429]
    clock.advance(60)
    assert client.submit().status_code == 200


# Time.


def test_a_target_with_slots_queues_further_jobs(
    serve: Callable[..., Client], clock: ManualClock
) -> None:
    client = serve(slots={"ionq.simulator": 1}, job_time=60)
    jobs = [client.submit() for _ in range(3)]
    clock.advance(61)
    assert [client.job(job)["status"] for job in jobs] == ["Succeeded", "Executing", "Waiting"]
    clock.advance(120)
    assert [client.job(job)["status"] for job in jobs] == ["Succeeded"] * 3


def test_a_session_times_out_when_it_is_idle(
    serve: Callable[..., Client], clock: ManualClock
) -> None:
    client = serve()
    session_id = client.open_session()
    clock.advance(599)
    assert client.get(f"/sessions/{session_id}")["status"] == "Waiting"
    clock.advance(1)
    assert client.get(f"/sessions/{session_id}")["status"] == "TimedOut"
    assert code_of(client.submit(sessionId=session_id)) == (400, "InvalidJobDefinition")


def test_realistic_sessions_are_found_idle_late(
    serve: Callable[..., Client], clock: ManualClock
) -> None:
    client = serve(realistic=True, seed=1)
    session_ids = [client.open_session() for _ in range(20)]
    clock.advance(601)
    assert {client.get(f"/sessions/{one}")["status"] for one in session_ids} == {"Waiting"}
    clock.advance(113)
    sessions = [client.get(f"/sessions/{one}") for one in session_ids]
    assert {session["status"] for session in sessions} == {"TimedOut"}
    assert len({session["endExecutionTime"] for session in sessions}) == 20


def test_realistic_jobs_take_the_recorded_times(
    serve: Callable[..., Client], clock: ManualClock
) -> None:
    client = serve(realistic=True, seed=1)
    submitted = client.submit()
    assert client.job(submitted)["status"] == "Waiting"
    clock.advance(1.5)
    assert client.job(submitted)["status"] == "Waiting"
    clock.advance(285)
    assert client.job(submitted)["status"] == "Succeeded"


def test_only_a_realistic_server_lists_queue_times(serve: Callable[..., Client]) -> None:
    def queue_times(client: Client) -> set[int]:
        providers = client.get("/providerStatus")["value"]
        return {target["averageQueueTime"] for each in providers for target in each["targets"]}

    assert queue_times(serve()) == {0}
    assert 199773 in queue_times(serve(realistic=True))


def test_the_answer_to_a_submission_never_counts_the_programs(
    serve: Callable[..., Client],
) -> None:
    client = serve()
    submitted = client.submit()
    assert submitted.json()["quantumComputingData"] is None
    assert client.job(submitted)["quantumComputingData"] == {"count": 1}
    # Nor does it when it is asked again and the job has long run.
    document = {**submitted.json(), "containerUri": submitted.json()["containerUri"]}
    again = client.send("PUT", f"/jobs/{document['id']}", document)
    assert again.json()["quantumComputingData"] is None


def test_a_function_may_give_each_job_its_times(
    serve: Callable[..., Client], clock: ManualClock
) -> None:
    client = serve(job_time=lambda request: JobPace(queue=10, run=10, visible=10, finishing=2))
    submitted = client.submit()
    seen, blobs = [], []
    for seconds in (0, 10, 10, 8, 2):
        clock.advance(seconds)
        job = client.job(submitted)
        seen.append(job["status"])
        blobs.append(job["outputDataUri"].partition("?")[0].rpartition("/")[2])
    assert seen == ["Waiting", "Executing", "Executing", "Finishing", "Succeeded"]
    # A provider's own result is there once the job is finishing (recorded).
    assert blobs == ["outputData"] * 3 + ["rawOutputData"] * 2


def test_the_default_clock_runs_and_can_be_advanced() -> None:
    with EmulatorServer() as server:
        client = Client(server)
        session_id = client.open_session()
        server.clock.advance(600)
        assert client.get(f"/sessions/{session_id}")["status"] == "TimedOut"


def test_hardware_noise_can_be_disabled(serve: Callable[..., Client]) -> None:
    client = serve(noise=NOISELESS)
    job = client.job(client.submit("ionq.qpu.aria-1", inputParams={"shots": 1000}))
    histogram = requests.get(job["outputDataUri"], timeout=9).json()["histogram"]
    assert histogram.keys() == {"0", "3"}


def test_results_repeat_with_a_seed(serve: Callable[..., Client]) -> None:
    def counts(seed: int) -> Any:
        client = serve(seed=seed)
        document = {"id": "00000000-0000-0000-0000-00000000000a"}
        job_id = document["id"]
        names = {"containerName": "job-1"}
        newest = Client(client.server, "2026-01-15-preview")
        container = newest.send("POST", "/storage/sasUri", names).json()["sasUri"]
        address, _, sas = container.partition("?")
        upload = {"x-ms-blob-type": "BlockBlob"}
        url = f"{address}/inputData?{sas}"
        requests.put(url, data=json.dumps(BELL).encode(), headers=upload, timeout=9)
        client.send(
            "PUT",
            f"/jobs/{job_id}",
            {
                "providerId": "ionq",
                "target": "ionq.qpu.aria-1",
                "containerUri": container,
                "inputDataFormat": "ionq.circuit.v1",
                "outputDataFormat": "ionq.quantum-results.v1",
            },
        )
        job = client.get(f"/jobs/{job_id}")
        return requests.get(job["outputDataUri"], timeout=9).json()

    assert counts(1) == counts(1)
    assert counts(1) != counts(2)
