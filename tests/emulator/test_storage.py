"""The emulator's own storage account: its blobs, its signatures, its routes."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from xml.etree import ElementTree

import azure.core.exceptions
import pytest
import requests
from aiohttp import web
from azure.core import MatchConditions
from azure.quantum.storage import upload_blob
from azure.quantum.target import IonQ
from azure.storage.blob import BlobClient, ContainerClient
from hypothesis import given, settings
from hypothesis import strategies as st
from shared import SHARED
from storage_suite import Lifetimes, Run, StorageSuite, download, upload

from cirq_azure_sessions.background import EventLoopThread
from cirq_azure_sessions.clock import ManualClock
from cirq_azure_sessions.emulator import blob_store
from cirq_azure_sessions.emulator.blob_store import BlobStore
from cirq_azure_sessions.emulator.sas import Lifetime, SasSigner
from cirq_azure_sessions.emulator.server import EmulatorServer
from cirq_azure_sessions.emulator.storage import LocalStorage, open_storage
from cirq_azure_sessions.emulator.storage_error import StorageError

RECORDINGS = SHARED / "recordings"


@pytest.fixture(scope="module")
def loop() -> Iterator[EventLoopThread]:
    loop = EventLoopThread("storage tests")
    yield loop
    loop.stop()


@pytest.fixture
def run(loop: EventLoopThread) -> Run:
    async def outcome(work: Awaitable[Any]) -> Any:
        return await work

    return partial(loop.run, outcome)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lifetimes() -> Lifetimes:
    return Lifetimes()


@pytest.fixture
def storage(
    loop: EventLoopThread, clock: ManualClock, lifetimes: Lifetimes
) -> Iterator[LocalStorage]:
    """A storage account that listens on a free port of loopback."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    storage = LocalStorage(lambda: f"http://127.0.0.1:{port}", clock, lifetimes)
    app = web.Application(client_max_size=1_000_000)
    storage.add_routes(app.router)
    runner = web.AppRunner(app)

    async def serve() -> None:
        await runner.setup()
        await web.SockSite(runner, listener).start()

    loop.run(serve)
    yield storage
    loop.run(runner.cleanup)
    storage.close()


class TestLocalStorage(StorageSuite):
    """The suite of every storage account, on the emulator's own over HTTP."""


def test_an_account_sas_gives_no_access_elsewhere(storage: LocalStorage, run: Run) -> None:
    run(storage.create_container("job-1"))
    run(storage.create_container("job-2"))
    sas = urlsplit(storage.sas_uri("job-1")).query
    wrong = ContainerClient.from_container_url(f"{storage.uri('job-2')}?{sas}")
    with pytest.raises(azure.core.exceptions.ClientAuthenticationError):
        upload(wrong, "inputData", b"{}")


def test_sas_on_a_container_does_not_create_it(storage: LocalStorage) -> None:
    client = ContainerClient.from_container_url(storage.sas_uri("job-1", "", "rcwl"))
    with pytest.raises(azure.core.exceptions.HttpResponseError) as refusal:
        client.create_container()
    assert (refusal.value.status_code, refusal.value.error_code) == (403, "AuthorizationFailure")


def test_a_sas_that_creates_does_not_replace(storage: LocalStorage, run: Run) -> None:
    run(storage.create_container("job-1"))
    blob = BlobClient.from_blob_url(storage.sas_uri("job-1", "inputData", "c"))
    blob.upload_blob(b"first", overwrite=True)
    with pytest.raises(azure.core.exceptions.HttpResponseError) as refusal:
        blob.upload_blob(b"second", overwrite=True)
    assert refusal.value.error_code == "AuthorizationPermissionMismatch"


def test_a_sas_expires_by_the_clock(
    storage: LocalStorage, run: Run, clock: ManualClock, lifetimes: Lifetimes
) -> None:
    run(storage.create_container("job-1"))
    storage.write("job-1", "inputData", b"{}")
    lifetimes.next = Lifetime(announced=60.0)
    uri = storage.sas_uri("job-1", "inputData", "r")
    clock.advance(59.0)
    assert download(uri) == b"{}"
    clock.advance(1.0)
    with pytest.raises(azure.core.exceptions.ClientAuthenticationError):
        download(uri)


def test_sas_may_expire_early_and_the_next_is_valid(
    storage: LocalStorage, run: Run, clock: ManualClock, lifetimes: Lifetimes
) -> None:
    run(storage.create_container("job-1"))
    storage.write("job-1", "inputData", b"{}")
    lifetimes.next = Lifetime(actual=0.0)
    early = storage.sas_uri("job-1", "inputData", "r")
    lifetimes.next = Lifetime()
    good = storage.sas_uri("job-1", "inputData", "r")
    assert dict(parse_qsl(urlsplit(early).query))["se"] > "2026-01-10"
    with pytest.raises(azure.core.exceptions.ClientAuthenticationError):
        download(early)
    assert download(good) == b"{}"


def test_both_forms_of_a_blobs_address_are_served(storage: LocalStorage, run: Run) -> None:
    run(storage.create_container("job-1"))
    client = ContainerClient.from_container_url(storage.sas_uri("job-1"))
    derived = upload_blob(client, "inputData", "text/plain", "", b"{}", return_sas_token=False)
    assert derived == f"{storage.endpoint()}/job-1/inputData"
    assert storage.uri("job-1", "inputData") == f"{storage.endpoint()}/storage/job-1/inputData"
    assert storage.locate(derived) == storage.locate(storage.uri("job-1", "inputData"))
    sas = urlsplit(storage.sas_uri("job-1", "inputData", "r")).query
    for uri in (derived, storage.uri("job-1", "inputData")):
        assert requests.get(f"{uri}?{sas}", timeout=10).content == b"{}"
        assert BlobClient.from_blob_url(uri).container_name == "job-1"


CIRCUIT = {"gateset": "qis", "qubits": 1, "circuit": [{"gate": "x", "targets": [0]}]}


def test_the_sdk_attaches_any_blob_to_a_job() -> None:
    with EmulatorServer() as server:
        workspace = server.workspace()
        job = IonQ(workspace, name="ionq.simulator").submit(CIRCUIT, name="a/b", shots=10)
        uri = job.upload_attachment("notes.txt", b"x marks the qubit")
        assert job.get_results() == {"histogram": {"1": 1.0}}
        again = workspace.get_job(job.id)
        assert again.download_attachment("notes.txt") == b"x marks the qubit"
        assert again.download_data(uri) == b"x marks the qubit"
        names = [blob.name for blob in again.list_attachments()]
        assert names == ["inputData", "notes.txt", "rawOutputData"]


def test_a_server_keeps_its_blobs_in_the_directory_that_it_is_given(tmp_path: Path) -> None:
    with EmulatorServer(store=tmp_path) as server:
        job = IonQ(server.workspace(), name="ionq.simulator").submit(CIRCUIT, shots=10)
        job.wait_until_completed()
    store = BlobStore(ManualClock(), tmp_path)
    assert json.loads(store.read(f"job-{job.id}", "rawOutputData")[1]) == {"histogram": {"1": 1.0}}
    store.close()


@pytest.mark.parametrize(
    "store",
    ["UseDevelopmentStorage=true", "accountname=devstoreaccount1;accountkey=AAAA"],
)
def test_a_connection_string_is_never_taken_for_a_directory(
    store: str, lifetimes: Lifetimes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = open_storage(store, lambda: "http://127.0.0.1:1", ManualClock(), lifetimes)
    assert "devstoreaccount1" in storage.sas_uri("job-1")
    assert not list(tmp_path.iterdir())
    storage.close()


def test_an_address_of_another_account_is_not_ours(storage: LocalStorage) -> None:
    assert storage.locate("https://mystorage.blob.core.windows.net/job-1/inputData") is None
    assert storage.locate(f"{storage.endpoint()}0/job-1/inputData") is None
    assert storage.locate(storage.endpoint()) is None


def test_a_blob_keeps_any_name(storage: LocalStorage, run: Run) -> None:
    run(storage.create_container("job-1"))
    for name in ("a b", "a/b", "ä", "100%", "a+b", "a?b#c", "inputData.json"):
        client = ContainerClient.from_container_url(storage.sas_uri("job-1"))
        client.upload_blob(name, name.encode())
        uri = storage.sas_uri("job-1", name, "r")
        assert storage.locate(uri) == ("job-1", name)
        assert download(uri) == name.encode()


def test_refusal_has_the_recorded_form(storage: LocalStorage) -> None:
    recording = RECORDINGS / "job_get_results_with_expired_sas_token.json"
    if not recording.exists():
        pytest.skip("the recordings of the service are not here")
    exchanges = json.loads(recording.read_text(encoding="utf-8"))["exchanges"]
    recorded = next(exchange for exchange in exchanges if exchange["status"] == 404)
    uri = storage.sas_uri("job-1").replace("?", "?restype=container&")
    answer = requests.get(uri, timeout=10)
    assert answer.status_code == recorded["status"]
    assert answer.headers["content-type"].startswith(recorded["response_headers"]["content-type"])
    assert without_ids(answer.content.decode()) == without_ids(recorded["response"])


def without_ids(xml: str) -> str:
    xml = re.sub(r"RequestId:[0-9a-f-]{36}", "RequestId:0", xml)
    return re.sub(r"Time:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", "Time:0", xml)


def test_signatures_have_the_recorded_shapes(storage: LocalStorage) -> None:
    shapes = {
        storage.sas_uri("job-1"): "sv ss srt spr st se sp sig",
        storage.sas_uri("job-1", "", "rl"): "sv st se sr sp sig",
        storage.sas_uri("job-1", "outputData", "r", "a.json"): "sv st se sr sp rscd sig",
        storage.sas_uri("job-1", "outputData", "rcw"): "sv st se sr sp sig",
    }
    for uri, shape in shapes.items():
        assert " ".join(name for name, _ in parse_qsl(urlsplit(uri).query)) == shape
    fields = dict(parse_qsl(urlsplit(storage.sas_uri("job-1")).query))
    assert (fields["ss"], fields["srt"], fields["sp"]) == ("b", "co", "rwlac")


def test_response_has_the_ids_that_clients_correlate_by(storage: LocalStorage, run: Run) -> None:
    run(storage.create_container("job-1"))
    headers = {"x-ms-client-request-id": "mine"}
    uri = storage.sas_uri("job-1", "inputData", "r")
    answer = requests.get(uri, headers=headers, timeout=10)
    assert answer.headers["Content-Type"] == "application/xml"
    assert answer.headers["x-ms-error-code"] == "BlobNotFound"
    assert answer.headers["x-ms-client-request-id"] == "mine"
    assert answer.headers["x-ms-request-id"]
    assert ElementTree.fromstring(answer.content).findtext("Code") == "BlobNotFound"


@pytest.mark.parametrize(
    ("verb", "path", "headers", "status", "code"),
    [
        ("DELETE", "/job-1/b", {}, 405, "UnsupportedHttpVerb"),
        ("PUT", "/job-1/b", {"x-ms-blob-type": "PageBlob"}, 400, "UnsupportedHeader"),
        ("PUT", "/job-1/b", {}, 400, "UnsupportedHeader"),
        ("PUT", "/job-1/b?comp=lease", {}, 400, "UnsupportedQueryParameter"),
        ("POST", "/job-1/b", {}, 405, "UnsupportedHttpVerb"),
        ("GET", "/job-1/inputData", {"Range": "bytes=9-1"}, 416, "InvalidRange"),
        ("GET", "/job-1/inputData", {"Range": "bytes=2-"}, 416, "InvalidRange"),
        ("GET", "/job-1/inputData", {"Range": "bytes=4294967296-"}, 416, "InvalidRange"),
        ("GET", "/job-1/inputData", {"Range": "bytes=0-4294967295"}, 206, None),
        ("GET", "/job-1/inputData", {"Range": "bytes=-1"}, 400, "InvalidHeaderValue"),
        ("GET", "/job-1/inputData", {"If-Match": '"0x1"'}, 412, "ConditionNotMet"),
        ("GET", "/job-1/inputData", {"If-Match": "*"}, 200, None),
        ("GET", "/job-1/inputData", {"If-Modified-Since": "now"}, 400, "UnsupportedHeader"),
        ("PUT", "/job-1/inputData", {"If-Unmodified-Since": "now"}, 400, "UnsupportedHeader"),
        ("HEAD", "/job-1/inputData", {"If-Match": '"0x1"'}, 412, "ConditionNotMet"),
        ("PUT", "/job-1/b", {"x-ms-meta-a": "\xe9"}, 400, "InvalidHeaderValue"),
        ("GET", "/job-1/a%07b", {}, 400, "InvalidUri"),
        ("GET", "/job-1?restype=container", {}, 200, None),
        ("GET", "/job-1", {}, 400, "UnsupportedQueryParameter"),
        ("GET", "/job-1?restype=account&comp=list", {}, 400, "UnsupportedQueryParameter"),
    ],
)
def test_a_malformed_request_is_refused_with_its_reason(
    storage: LocalStorage,
    run: Run,
    verb: str,
    path: str,
    headers: dict[str, str],
    status: int,
    code: str | None,
) -> None:
    run(storage.create_container("job-1"))
    storage.write("job-1", "inputData", b"{}")
    sas = urlsplit(storage.sas_uri("job-1")).query
    uri = f"{storage.endpoint()}{path}{'&' if '?' in path else '?'}{sas}"
    answer = requests.request(verb, uri, headers=headers, timeout=10)
    assert (answer.status_code, answer.headers.get("x-ms-error-code")) == (status, code)


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_condition_on_the_version_of_a_blob_holds_for_every_operation(
    storage: LocalStorage, run: Run, is_replaced: bool
) -> None:
    run(storage.create_container("job-1"))
    client = ContainerClient.from_container_url(storage.sas_uri("job-1"))
    blob = client.upload_blob("notes", b"first")
    version = {"etag": blob.get_blob_properties().etag}
    if is_replaced:
        blob.upload_blob(b"second", overwrite=True)
    same = {**version, "match_condition": MatchConditions.IfNotModified}
    other = {**version, "match_condition": MatchConditions.IfModified}
    for held, failed in [(other, same) if is_replaced else (same, other)]:
        assert blob.download_blob(**held).readall() == (b"second" if is_replaced else b"first")
        assert blob.get_blob_properties(**held).name == "notes"
        for operate in (
            blob.download_blob,
            blob.get_blob_properties,
            partial(blob.upload_blob, b"third", overwrite=True),
        ):
            with pytest.raises(azure.core.exceptions.ResourceModifiedError):
                operate(**failed)
        blob.upload_blob(b"third", overwrite=True, **held)


def test_a_browser_that_has_the_blob_is_told_that_it_has_not_changed(
    storage: LocalStorage, run: Run
) -> None:
    run(storage.create_container("job-1"))
    storage.write("job-1", "outputData", b"{}")
    uri = storage.sas_uri("job-1", "outputData", "r")
    seen = requests.get(uri, timeout=10).headers
    versions = {"If-None-Match": seen["ETag"], "If-Modified-Since": seen["Last-Modified"]}
    again = requests.get(uri, headers=versions, timeout=10)
    assert (again.status_code, again.content) == (304, b"")
    storage.write("job-1", "outputData", b"[]")
    assert requests.get(uri, headers=versions, timeout=10).content == b"[]"


def test_a_condition_on_the_version_of_a_missing_blob_fails(
    storage: LocalStorage, run: Run
) -> None:
    run(storage.create_container("job-1"))
    client = ContainerClient.from_container_url(storage.sas_uri("job-1"))
    with pytest.raises(azure.core.exceptions.ResourceModifiedError):
        client.upload_blob(
            "notes",
            b"second",
            overwrite=True,
            etag='"0x1"',
            match_condition=MatchConditions.IfNotModified,
        )
    assert not list(client.list_blobs())


def test_of_two_uploads_at_once_that_create_a_blob_one_is_refused(
    storage: LocalStorage, run: Run
) -> None:
    run(storage.create_container("job-1"))
    sas = urlsplit(storage.sas_uri("job-1")).query
    address = urlsplit(storage.endpoint())
    headers = {"x-ms-blob-type": "BlockBlob", "If-None-Match": "*", "Content-Length": "2"}
    with closing(http.client.HTTPConnection(address.netloc, timeout=10)) as slow:
        slow.putrequest("PUT", f"/job-1/notes?{sas}")
        for name, value in headers.items():
            slow.putheader(name, value)
        slow.endheaders(b"a")
        # By the answer to this one, the server has the first part of the other.
        ContainerClient.from_container_url(storage.sas_uri("job-1")).upload_blob("notes", b"b")
        slow.send(b"a")
        assert slow.getresponse().status == 409
    assert storage.read("job-1", "notes") == b"b"


def test_an_oversize_body_is_refused(storage: LocalStorage, run: Run) -> None:
    run(storage.create_container("job-1"))
    client = ContainerClient.from_container_url(storage.sas_uri("job-1"))
    with pytest.raises(azure.core.exceptions.HttpResponseError) as refusal:
        upload(client, "inputData", bytes(1_000_001))
    assert refusal.value.status_code == 413


LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "operate",
    [
        lambda client: client.get_blob_client("b").stage_block("AAAA", b"{}"),
        lambda client: client.get_blob_client("b").commit_block_list(["AAAA"]),
        lambda client: client.get_blob_client("b").upload_blob(bytes(5)),
        lambda client: client.get_blob_client("b").create_append_blob(),
        lambda client: client.get_blob_client("b").set_blob_metadata({"a": "1"}),
        lambda client: client.get_blob_client("b").upload_blob(b"", if_modified_since=LONG_AGO),
        lambda client: client.delete_blob("inputData"),
        lambda client: list(client.list_blobs(name_starts_with="in")),
        lambda client: list(client.list_blobs(include=["metadata"])),
        lambda client: list(client.list_blobs(results_per_page=1)),
        lambda client: list(client.walk_blobs()),
    ],
)
def test_an_operation_that_no_job_needs_is_refused_with_the_name_of_a_storage_that_has_it(
    storage: LocalStorage, run: Run, operate: Callable[[ContainerClient], Any]
) -> None:
    run(storage.create_container("job-1"))
    storage.write("job-1", "inputData", b"{}")
    client = ContainerClient.from_container_url(
        storage.sas_uri("job-1"), max_single_put_size=4, max_block_size=4
    )
    sentence = r"in Azurite, whose connection string EmulatorServer\(store=...\) and emulate"
    with pytest.raises(azure.core.exceptions.HttpResponseError, match=sentence):
        operate(client)
    assert [blob.name for blob in client.list_blobs()] == ["inputData"]


QUERY_NAMES = st.sampled_from(
    ["restype", "comp", "prefix", "marker", "maxresults", "include", "sig", "sp"]
)
QUERY_VALUES = st.text(st.characters(codec="utf-8"), max_size=5) | st.sampled_from(
    ["container", "list", "block", "metadata", "1"]
)
HEADER_NAMES = st.sampled_from(
    ["Range", "x-ms-range", "If-Match", "If-None-Match", "x-ms-blob-type", "Content-Type"]
) | st.sampled_from(
    ["x-ms-blob-content-type", "x-ms-blob-content-encoding", "x-ms-meta-a", "x-ms-meta-1"]
)
HEADER_VALUES = st.text("abc =-,;/0123456789\xe9", max_size=8).map(str.strip) | st.sampled_from(
    ["bytes=0-3", "bytes=3-", "bytes=99-100", "*", "BlockBlob", "gzip", "text/plain"]
)


def test_no_request_causes_an_internal_error(storage: LocalStorage, run: Run) -> None:
    run(storage.create_container("job-1"))
    storage.write("job-1", "inputData", b"0123456789")
    sas = urlsplit(storage.sas_uri("job-1")).query

    @settings(max_examples=200, deadline=None)
    @given(
        verb=st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"]),
        path=st.sampled_from(["", "/", "/inputData", "/%00", "/%ff", "/a%2Fb", "//", "/new"]),
        query=st.dictionaries(QUERY_NAMES, QUERY_VALUES, max_size=4),
        headers=st.dictionaries(HEADER_NAMES, HEADER_VALUES, max_size=4),
        body=st.binary(max_size=30),
    )
    def send(
        verb: str, path: str, query: dict[str, str], headers: dict[str, str], body: bytes
    ) -> None:
        uri = f"{storage.uri('job-1')}{path}?{urlencode(query)}&{sas}"
        answer = client.request(verb, uri, headers=headers, data=body, timeout=10)
        assert answer.status_code < 500
        # What was stored, whatever it is, can be told again.
        assert client.get(f"{listing}&{sas}", timeout=10).status_code == 200

    listing = f"{storage.uri('job-1')}?restype=container&comp=list"
    with requests.Session() as client:
        send()


def test_blobs_on_disk_outlive_the_store(tmp_path: Path, clock: ManualClock) -> None:
    store = BlobStore(clock, tmp_path / "blobs")
    store.create_container("job-1")
    store.put("job-1", "outputData", b"{}", {"x-ms-meta-a": "1"})
    before = store.properties("job-1", "outputData")
    store.close()
    reopened = BlobStore(clock, tmp_path / "blobs")
    assert reopened.read("job-1", "outputData") == (before, b"{}")
    reopened.close()


def test_an_upload_beyond_the_memory_limit_is_refused(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob_store, "_MAX_MEMORY_BYTES", 4 << 20)
    store = BlobStore(clock)
    store.create_container("job-1")
    store.put("job-1", "kept", bytes(3 << 20))
    with pytest.raises(StorageError, match=r"RequestBodyTooLarge.* emulate --store") as refusal:
        store.put("job-1", "b", bytes(1 << 20))
    assert refusal.value.status == 413
    with pytest.raises(StorageError, match="RequestBodyTooLarge"):
        store.create_container("j" * (1 << 20))
    # What was there is still there, and what is dropped makes room.
    assert len(store.read("job-1", "kept")[1]) == 3 << 20
    store.delete_container("job-1")
    store.create_container("job-new")
    store.put("job-new", "b", bytes(3 << 20))
    store.close()


def test_a_result_that_has_no_room_fails_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob_store, "_MAX_MEMORY_BYTES", 1 << 20)
    program = "OPENQASM 2.0; qreg q[50]; creg c[50]; measure q->c;"
    with EmulatorServer() as server:
        target = server.workspace().get_targets("quantinuum.sim.h2-1sc")
        job = target.submit(program, shots=50_000)
        job.wait_until_completed()
    assert job.details.error_data.code == "InternalError"
    assert "The result cannot be stored. The request body is too large" in str(
        job.details.error_data.message
    )


@given(content=st.binary(max_size=60), start=st.integers(0, 70), length=st.integers(0, 70))
def test_a_part_of_a_blob_is_a_slice_of_it(content: bytes, start: int, length: int) -> None:
    store = BlobStore(ManualClock())
    store.create_container("job-1")
    store.put("job-1", "b", content)
    assert store.read("job-1", "b", start, length)[1] == content[start : start + length]
    store.close()


SAS_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)


@given(
    container=SAS_TEXT,
    blob=SAS_TEXT.filter(bool),
    filename=SAS_TEXT,
    other=st.fixed_dictionaries({}, optional=dict.fromkeys(("sp", "se", "rscd", "sig"), SAS_TEXT)),
)
def test_a_signature_covers_every_field_and_the_resource(
    container: str, blob: str, filename: str, other: dict[str, str]
) -> None:
    signer = SasSigner(ManualClock(), Lifetimes())
    query = dict(parse_qsl(signer.sign(container, blob, "r", filename), strict_parsing=True))
    signer.check(query, container=container, blob=blob, permissions="r")
    for wrong in (query | other, {name: query[name] for name in query if name != "rscd"}):
        if wrong != query:
            with pytest.raises(StorageError, match="AuthenticationFailed"):
                signer.check(wrong, container=container, blob=blob, permissions="r")
    with pytest.raises(StorageError, match="AuthenticationFailed"):
        signer.check(query, container=container + blob[:1], blob=blob[1:], permissions="r")


def test_the_store_serves_two_threads_at_once(clock: ManualClock) -> None:
    store = BlobStore(clock)
    store.create_container("job-1")

    async def write_from_threads() -> None:
        writes = (
            asyncio.to_thread(store.put, "job-1", f"blob-{number}", bytes([number]))
            for number in range(50)
        )
        await asyncio.gather(*writes)

    asyncio.run(write_from_threads())
    assert [blob.size for blob in store.list_blobs("job-1")] == [1] * 50
    store.close()
