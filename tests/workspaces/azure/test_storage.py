"""Signatures that open storage: what they open, how long, and whom they are shown."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.core.credentials import AzureKeyCredential
from azure_suite import (
    BELL,
    JOB,
    ScriptedServer,
    answer,
    job_request,
    sdk_workspace_at,
    tell,
    until_over,
)
from azurite import running_azurite

from cirq_azure_sessions.clock import ManualClock, SystemClock
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.model import Job, JobStatus
from cirq_azure_sessions.workspaces.azure import AzureWorkspace
from cirq_azure_sessions.workspaces.azure.storage import SignedUrl

SAS = "sv=2024-05-04&ss=b&srt=co&se=2026-01-01T00%3A00%3A00Z&sp=rwlac&sig=a%2Bb%3D"
EXPIRY = 1_767_225_600.0
HOST = "https://account.blob.core.windows.net"


def test_container_repr_hides_its_signature() -> None:
    container = SignedUrl.parse(f"{HOST}/job-1?{SAS}")
    assert "sig" not in repr(container)
    assert container.url == f"{HOST}/job-1"
    assert container.sign(f"{HOST}/job-1/x") == f"{HOST}/job-1/x?{SAS}"


@pytest.mark.parametrize(
    ("url", "held"),
    [
        (f"{HOST}/job-1/rawOutputData", True),
        (f"{HOST}:443/job-1/rawOutputData", True),
        (f"{HOST}/storage/job-1/rawOutputData", True),
        (f"{HOST}/job-11/rawOutputData", False),
        (f"{HOST}/other/job-1", False),
        ("https://attacker.example/job-1/rawOutputData", False),
        (f"{HOST}:8443/job-1/rawOutputData", False),
        (f"{HOST.replace('https', 'http')}/job-1/rawOutputData", False),
    ],
)
def test_a_signature_is_sent_only_to_its_own_container(url: str, held: bool) -> None:
    assert SignedUrl.parse(f"{HOST}/job-1?{SAS}").holds(url) is held


@pytest.mark.parametrize("is_linked", [True, False])
def test_a_result_in_another_account_is_shown_no_signature(is_linked: bool) -> None:
    async def story() -> None:
        async with ScriptedServer() as server, ScriptedServer(answer(b"other")) as foreign:
            storage = None if is_linked else connection_string(server.endpoint)
            # The linked account has a blob of the same name.
            server.add(answer({"sasUri": f"{server.endpoint}/job-1/outputData?{SAS}"}))
            workspace = AzureWorkspace(sdk_workspace_at(server.endpoint, storage=storage))
            uri = f"{foreign.endpoint}/job-1/outputData"
            job = Job("1", "ionq.simulator", "n", JobStatus.SUCCEEDED, output_uri=uri)
            stored = SignedUrl.parse(f"{server.endpoint}/job-1?{SAS}")
            with pytest.raises(ServiceError, match=r"account 127\.0\.0\.1, .* storage="):
                await workspace.fetch_output(job, stored)
            await workspace.aclose()
            assert foreign.requests == []

    asyncio.run(story())


def test_a_signature_is_renewed_five_minutes_before_it_expires() -> None:
    assert SignedUrl.parse(f"{HOST}/job-1?{SAS}").renewal == EXPIRY - 300.0


@pytest.mark.parametrize("sas", ["", "sv=1&sig=x", "se=soon", "se=", "use=2099-01-01"])
def test_a_signature_that_does_not_say_when_it_expires_is_not_fresh(sas: str) -> None:
    assert SignedUrl.parse(f"{HOST}/job-1?{sas}").renewal == 0.0


# An account that the user brings


def connection_string(endpoint: str) -> str:
    return (
        "DefaultEndpointsProtocol=http;AccountName=mine;AccountKey=c2VjcmV0;"
        f"BlobEndpoint={endpoint}/mine;"
    )


def target_of(request: bytes) -> tuple[str, str, dict[str, str]]:
    """The method, path and query of a raw request."""
    method, url, _ = request.decode().split("\r\n")[0].split(" ")
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    return method, urlsplit(url).path, query


def test_own_storage_account_is_signed_for_locally() -> None:
    clock = ManualClock(EXPIRY)
    request = job_request()

    async def story() -> None:
        async with ScriptedServer(answer(b"", 201), answer(b"", 201)) as server:
            server.add(answer(JOB), answer(b"result"))
            sdk_workspace = sdk_workspace_at(
                server.endpoint, storage=connection_string(server.endpoint)
            )
            workspace = AzureWorkspace(sdk_workspace, clock=clock)
            stored = await workspace.store_input(request)
            await workspace.submit_job(request, stored)
            output_uri = f"{server.endpoint}/mine/job-{request.id}/outputData"
            job = Job(request.id, "t", "n", JobStatus.SUCCEEDED, output_uri=output_uri)
            assert await workspace.fetch_output(job) == b"result"
            await workspace.aclose()
            creation, upload, submission, download = server.requests
            assert b"c2VjcmV0" not in b"".join(server.requests)

            path = f"/mine/job-{request.id}"
            method, url, query = target_of(creation)
            assert (method, url, query["restype"]) == ("PUT", path, "container")
            # What makes containers makes nothing else, and not for long.
            assert (query["srt"], query["sp"], query["se"]) == ("c", "c", "2026-01-01T01:00:00Z")
            method, url, query = target_of(upload)
            assert (method, url) == ("PUT", f"{path}/inputData")
            assert upload.endswith(BELL)
            assert (query["sr"], query["sp"], query["se"]) == ("c", "racw", "2026-01-15T00:00:00Z")
            # The service is shown the signature of the container, and no more.
            assert b"sr=c" in submission
            assert b"srt=" not in submission
            method, url, query = target_of(download)
            assert (method, url, query["sr"]) == ("GET", f"{path}/outputData", "c")

    asyncio.run(story())


def test_existing_container_is_used() -> None:
    async def story() -> None:
        there = answer(b"", 409, x_ms_error_code="ContainerAlreadyExists")
        async with ScriptedServer(there, answer(b"", 201)) as server:
            sdk_workspace = sdk_workspace_at(
                server.endpoint, storage=connection_string(server.endpoint)
            )
            workspace = AzureWorkspace(sdk_workspace)
            await workspace.store_input(job_request())
            await workspace.aclose()

    asyncio.run(story())


def test_a_connection_string_without_a_key_is_refused_at_once() -> None:
    string = f"BlobEndpoint={HOST};SharedAccessSignature={SAS}"
    with pytest.raises(ValueError, match="no AccountKey") as refusal:
        AzureWorkspace(sdk_workspace_at("http://127.0.0.1:1", storage=string))
    assert "sig" not in str(refusal.value)


@pytest.mark.timeout(600)  # The first run installs Azurite.
def test_azurite_takes_the_signatures_for_an_account_of_the_users_own() -> None:
    with running_azurite() as string, EmulatorServer(store=string) as server:
        key = AzureKeyCredential(server.key)
        sdk_workspace = sdk_workspace_at(server.endpoint, key, storage=string)

        async def story(workspace: AzureWorkspace) -> None:
            request = job_request()
            stored = await workspace.store_input(request)
            job = await until_over(workspace, await workspace.submit_job(request, stored))
            expected = b'{"histogram": {"0": 0.5, "3": 0.5}}'
            assert await workspace.fetch_output(job, stored) == expected
            assert await workspace.fetch_output(job) == expected
            assert server.requests["sasUri"] == 0

        tell(story, sdk_workspace, clock=SystemClock())
