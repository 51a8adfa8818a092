"""Each fault on order, as the unmodified SDK meets it.

What the SDK does with a fault was measured with the plain SDK. Its
waits are not slept through but noted.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import azure.core.exceptions
import pytest
import requests
from azure.core.credentials import AzureKeyCredential
from azure.core.pipeline.transport import HttpTransport
from azure.quantum import Job, Workspace
from azure.quantum.target import IonQ

from cirq_azure_sessions.emulator.server import EmulatorServer

CIRCUIT = {
    "gateset": "qis",
    "qubits": 2,
    "circuit": [{"gate": "h", "targets": [0]}, {"gate": "cnot", "control": 0, "target": 1}],
}
HISTOGRAM = {"histogram": {"0": 0.5, "3": 0.5}}


@pytest.fixture
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer() as server:
        yield server


@pytest.fixture
def workspace(server: EmulatorServer) -> Workspace:
    return server.workspace()


@pytest.fixture
def target(workspace: Workspace) -> IonQ:
    return IonQ(workspace, name="ionq.simulator")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the SDK's retries would have slept."""
    waits: list[float] = []
    monkeypatch.setattr(HttpTransport, "sleep", lambda self, seconds: waits.append(seconds))
    return waits


def submit(target: IonQ) -> Job:
    return target.submit(CIRCUIT, name="rehearsal", shots=100)


def test_a_throttled_request_is_repeated_when_the_service_says(
    server: EmulatorServer, target: IonQ, waits: list[float]
) -> None:
    server.faults.add("sasUri", status=429, retry_after=1, times=2)
    assert submit(target).get_results() == HISTOGRAM
    assert waits == [1.0, 1.0]
    assert server.requests["sasUri"] == 3


def test_a_throttled_post_without_a_hint_is_not_repeated(
    server: EmulatorServer, target: IonQ, waits: list[float]
) -> None:
    server.faults.add("sasUri", status=429)
    with pytest.raises(azure.core.exceptions.HttpResponseError) as refusal:
        submit(target)
    assert refusal.value.status_code == 429
    assert (waits, server.requests.total) == ([], 1)


@pytest.mark.parametrize("status", [500, 503])
def test_a_data_plane_error_is_retried_immediately(
    server: EmulatorServer, target: IonQ, waits: list[float], status: int
) -> None:
    server.faults.add("submit", status=status)
    assert submit(target).get_results() == HISTOGRAM
    assert (waits, server.requests["submit"]) == ([], 2)


def test_a_busy_storage_is_retried_after_fifteen_seconds(
    server: EmulatorServer, target: IonQ, waits: list[float]
) -> None:
    server.faults.add("upload", status=503)
    assert submit(target).get_results() == HISTOGRAM
    assert len(waits) == 1
    # 15 s, more or less by chance: from 12 to somewhat over 20 were seen.
    assert 10 <= waits[0] <= 30
    assert server.requests["upload"] == 2


def test_an_upload_that_was_lost_before_it_was_stored_is_repeated(
    server: EmulatorServer, target: IonQ, waits: list[float]
) -> None:
    server.faults.reset("upload")
    assert submit(target).get_results() == HISTOGRAM
    assert (len(waits), server.requests["upload"]) == (1, 2)


def test_an_upload_whose_answer_was_lost_collides_with_itself(
    server: EmulatorServer, target: IonQ, waits: list[float]
) -> None:
    server.faults.reset("upload", after=True)
    with pytest.raises(azure.core.exceptions.ResourceExistsError) as refusal:
        submit(target)
    assert refusal.value.error_code == "BlobAlreadyExists"
    assert (len(waits), server.requests["upload"]) == (1, 2)


def test_a_post_with_a_lost_connection_is_not_repeated(
    server: EmulatorServer, target: IonQ, waits: list[float]
) -> None:
    server.faults.reset("sasUri")
    with pytest.raises(azure.core.exceptions.ServiceResponseError):
        submit(target)
    assert (waits, server.requests.total) == ([], 1)


@pytest.mark.parametrize("after", [False, True])
def test_a_submission_with_a_lost_connection_makes_one_job(
    server: EmulatorServer, workspace: Workspace, target: IonQ, waits: list[float], after: bool
) -> None:
    server.faults.reset("submit", after=after)
    job = submit(target)
    assert server.requests["submit"] == 2
    assert [listed.id for listed in workspace.list_jobs()] == [job.id]
    assert job.get_results() == HISTOGRAM


def test_garbage_is_distinguished_from_an_answer(server: EmulatorServer, target: IonQ) -> None:
    job = submit(target)
    server.faults.garble("job")
    with pytest.raises(azure.core.exceptions.DecodeError):
        job.refresh()
    job.refresh()


def test_delayed_response_is_late_on_the_servers_clock(
    server: EmulatorServer, target: IonQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(target)
    delays: list[float] = []

    async def note(seconds: float) -> None:
        delays.append(seconds)

    monkeypatch.setattr(server.clock, "sleep", note)
    server.faults.add("poll", delay=30)
    job.refresh()
    assert 30.0 in delays


def test_job_fails_with_the_injected_code(server: EmulatorServer, target: IonQ) -> None:
    server.faults.fail_job("InvalidInputData", "The program is not one.")
    job = submit(target)
    with pytest.raises(RuntimeError, match="InvalidInputData"):
        job.get_results()
    assert job.details.status == "Failed"
    assert job.details.error_data.code == "InvalidInputData"
    assert submit(target).get_results() == HISTOGRAM


def test_a_job_hangs_until_it_is_cancelled(
    server: EmulatorServer, workspace: Workspace, target: IonQ
) -> None:
    server.faults.hang_job()
    job = submit(target)
    with pytest.raises(TimeoutError):
        job.wait_until_completed(timeout_secs=0.1)
    server.clock.advance(86_400.0)
    job.refresh()
    assert job.details.status == "Executing"
    workspace.cancel_job(job)
    job.wait_until_completed()
    assert job.details.status == "Cancelled"


def test_the_service_cancels_a_job(server: EmulatorServer, target: IonQ) -> None:
    server.faults.cancel_job()
    job = submit(target)
    job.wait_until_completed()
    assert job.details.status == "Cancelled"


@pytest.mark.parametrize("ending", ["TimedOut", "Failed"])
def test_a_submission_finds_its_session_ended(
    server: EmulatorServer, target: IonQ, ending: str
) -> None:
    session = target.open_session(name="rehearsal")
    assert submit(target).get_results() == HISTOGRAM
    if ending == "TimedOut":
        server.faults.time_out_session()
    else:
        server.faults.fail_session()
    with pytest.raises(azure.core.exceptions.HttpResponseError) as refusal:
        submit(target)
    assert refusal.value.status_code == 400
    assert refusal.value.error.code == "InvalidJobDefinition"
    assert "Session is already in a terminal state." in refusal.value.message
    session.refresh()
    assert session.details.status == ending


def test_an_upload_meets_a_sas_that_expired_early(server: EmulatorServer, target: IonQ) -> None:
    server.faults.expire_sas("job-*")
    with pytest.raises(azure.core.exceptions.ClientAuthenticationError) as refusal:
        submit(target)
    assert refusal.value.error_code == "AuthenticationFailed"
    assert submit(target).get_results() == HISTOGRAM


def test_a_sas_that_is_about_to_expire_is_renewed(server: EmulatorServer, target: IonQ) -> None:
    server.faults.expire_sas("*/rawOutputData", announced=60, times=None)
    job = submit(target)
    assert server.requests["sasUri"] == 1
    assert job.get_results() == HISTOGRAM
    assert server.requests["sasUri"] == 2


def test_a_result_whose_sas_expired_early_is_refused_once(
    server: EmulatorServer, target: IonQ
) -> None:
    job = submit(target)
    job.wait_until_completed()
    server.faults.expire_sas("*/rawOutputData")
    job.refresh()
    with pytest.raises(azure.core.exceptions.ClientAuthenticationError):
        job.get_results()
    job.refresh()
    assert job.get_results() == HISTOGRAM


@pytest.fixture
def elsewhere() -> Iterator[tuple[Workspace, str]]:
    """A workspace served by another process, and the address of its controls."""
    command = [sys.executable, "-m", "cirq_azure_sessions", "emulate", "--key", "secret"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            printed = "".join(iter(process.stdout.readline, "Stop it with Ctrl-C.\n"))
            (resource_id,) = re.findall(r'resource_id="(.*)"', printed)
            (endpoint,) = re.findall(r'_quantum_endpoint="(.*)"', printed)
            workspace = Workspace(
                resource_id=resource_id,
                location="eastus",
                credential=AzureKeyCredential("secret"),
                _quantum_endpoint=endpoint,
            )
            yield workspace, f"{endpoint}/emulator"
        finally:
            process.terminate()


def test_server_in_another_process_is_controlled_over_http(
    elsewhere: tuple[Workspace, str],
) -> None:
    workspace, url = elsewhere
    target = IonQ(workspace, name="ionq.simulator")
    with requests.Session() as control:
        control.headers["x-ms-quantum-api-key"] = "secret"
        fault = {"job": "fail", "code": "RuntimeError", "message": "Lost in another process"}
        control.post(f"{url}/faults", json=fault, timeout=10).raise_for_status()
        with pytest.raises(RuntimeError, match="Lost in another process"):
            submit(target).get_results()
        session = target.open_session()
        control.post(f"{url}/clock", json={"advance": 3600}, timeout=10).raise_for_status()
        session.refresh()
        assert session.details.status == "TimedOut"
        counts = control.get(f"{url}/requests", timeout=10).json()
        assert (counts["byRoute"]["submit"], counts["byRoute"]["open"]) == (1, 1)
