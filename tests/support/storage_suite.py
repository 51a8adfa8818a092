"""What every storage account of the emulated workspace does, as the SDK's own storage code sees it.

`emulator/test_storage` runs it on the emulator's account over HTTP, `emulator/test_azurite` on
Azurite, Microsoft's own emulator: where both pass, the emulator's is as true as Azurite. Where
Azure and Azurite give a refusal different codes, only its status is held to here.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import azure.core.exceptions
import pytest
from azure.quantum.storage import upload_blob
from azure.storage.blob import BlobClient, ContainerClient, ContentSettings

from cirq_azure_sessions.emulator.sas import Lifetime
from cirq_azure_sessions.emulator.storage import Storage
from cirq_azure_sessions.emulator.storage_error import StorageError

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Lifetimes:
    """How long the next signatures hold: what a test says, and two weeks otherwise."""

    def __init__(self) -> None:
        self.next = Lifetime()

    def __call__(self, resource: str) -> Lifetime:
        return self.next


def upload(client: ContainerClient, blob: str, content: bytes) -> str:
    return upload_blob(client, blob, "application/json", "", content, return_sas_token=False)


def download(uri: str) -> bytes:
    with BlobClient.from_blob_url(uri) as client:
        return client.download_blob().readall()


class StorageSuite:
    """Needs the fixtures `storage`, `lifetimes` (which the storage signs by) and `run`."""

    @pytest.fixture
    def container(self) -> str:
        return f"job-{uuid.uuid4()}"

    @pytest.fixture
    def client(self, storage: Storage, run: Run, container: str) -> ContainerClient:
        run(storage.create_container(container))
        return ContainerClient.from_container_url(storage.sas_uri(container))

    def test_container_exists_once_the_client_created_it(
        self, storage: Storage, container: str
    ) -> None:
        client = ContainerClient.from_container_url(storage.sas_uri(container))
        assert not client.exists()
        created = client.create_container()
        assert client.exists()
        assert created["etag"] == client.get_container_properties().etag
        with pytest.raises(azure.core.exceptions.ResourceExistsError):
            client.create_container()

    def test_the_workspace_reads_what_a_client_uploaded(
        self, storage: Storage, run: Run, container: str, client: ContainerClient
    ) -> None:
        uri = upload(client, "inputData", b'{"qubits": 1}')
        assert storage.locate(uri) == (container, "inputData")
        assert storage.read(container, "inputData") == b'{"qubits": 1}'

    def test_a_second_upload_is_refused_and_changes_nothing(
        self, storage: Storage, run: Run, container: str, client: ContainerClient
    ) -> None:
        upload(client, "inputData", b"first")
        with pytest.raises(azure.core.exceptions.ResourceExistsError) as refusal:
            upload(client, "inputData", b"second")
        assert refusal.value.status_code == 409
        assert refusal.value.error_code == "BlobAlreadyExists"
        assert storage.read(container, "inputData") == b"first"

    def test_an_upload_before_the_container_is_refused(
        self, storage: Storage, container: str
    ) -> None:
        client = ContainerClient.from_container_url(storage.sas_uri(container))
        with pytest.raises(azure.core.exceptions.ResourceNotFoundError) as refusal:
            upload(client, "inputData", b"early")
        assert refusal.value.error_code == "ContainerNotFound"

    @pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 5120])
    def test_content_of_any_size_is_downloaded_in_ranges(
        self, storage: Storage, run: Run, container: str, size: int
    ) -> None:
        run(storage.create_container(container))
        content = (bytes(range(256)) * 20)[:size]
        client = ContainerClient.from_container_url(
            storage.sas_uri(container),
            max_single_get_size=1000,
            max_chunk_get_size=700,
        )
        blob = client.upload_blob("inputData", content)
        assert blob.download_blob().readall() == content
        assert storage.read(container, "inputData") == content

    def test_a_range_is_answered_with_its_place_in_the_whole(self, client: ContainerClient) -> None:
        blob = client.upload_blob("inputData", b"0123456789")
        part = blob.download_blob(offset=2, length=3)
        assert part.readall() == b"234"
        assert part.properties.content_range == "bytes 2-4/10"

    def test_a_container_lists_its_blobs_in_order_of_names(self, client: ContainerClient) -> None:
        for name in ("b", "a/2", "ä&b", "a/1"):
            client.upload_blob(name, name.encode(), content_settings=ContentSettings("text/plain"))
        listed = [(blob.name, blob.size, blob.blob_type) for blob in client.list_blobs()]
        names = ["a/1", "a/2", "b", "ä&b"]
        assert listed == [(name, len(name.encode()), "BlockBlob") for name in names]
        for blob in client.list_blobs():
            stored = client.get_blob_client(blob.name).get_blob_properties()
            assert blob.content_settings.content_type == "text/plain"
            assert (blob.container, blob.etag) == (stored.container, stored.etag.strip('"'))
            assert blob.last_modified == stored.last_modified

    def test_a_blob_keeps_its_metadata(self, client: ContainerClient) -> None:
        blob = client.upload_blob("inputData", b"{}", metadata={"parts": "3"})
        assert blob.get_blob_properties().metadata == {"parts": "3"}
        assert blob.download_blob().properties.metadata == {"parts": "3"}

    def test_a_result_is_saved_under_the_jobs_name(
        self, storage: Storage, run: Run, container: str
    ) -> None:
        run(storage.create_container(container))
        storage.write(container, "rawOutputData", b"{}", "application/json")
        storage.write(container, "rawOutputData", b'{"histogram": {}}', "application/json")
        uri = storage.sas_uri(container, "rawOutputData", "r", "Job+1-id.output.json")
        properties = BlobClient.from_blob_url(uri).get_blob_properties()
        assert download(uri) == b'{"histogram": {}}'
        assert properties.content_settings.content_type == "application/json"
        disposition = properties.content_settings.content_disposition
        assert disposition == "attachment; filename=Job+1-id.output.json"
        assert storage.locate(uri) == (container, "rawOutputData")

    def test_missing_items_are_named(self, storage: Storage, run: Run, container: str) -> None:
        uri = storage.sas_uri(container, "rawOutputData", "r")
        for code in ("ContainerNotFound", "BlobNotFound"):
            with pytest.raises(StorageError) as refusal:
                storage.read(container, "rawOutputData")
            assert refusal.value.code == code
            with pytest.raises(azure.core.exceptions.ResourceNotFoundError):
                download(uri)
            with pytest.raises(azure.core.exceptions.ResourceNotFoundError):
                BlobClient.from_blob_url(uri).get_blob_properties()
            run(storage.create_container(container))

    def test_dropping_a_container_drops_its_blobs(
        self, storage: Storage, run: Run, container: str, client: ContainerClient
    ) -> None:
        upload(client, "inputData", b"{}")
        run(storage.drop(container))
        run(storage.drop(container))
        assert not client.exists()
        with pytest.raises(StorageError):
            storage.read(container, "inputData")

    def test_a_sas_that_lists_and_reads_does_not_write(
        self, storage: Storage, container: str, client: ContainerClient
    ) -> None:
        upload(client, "inputData", b"{}")
        reader = ContainerClient.from_container_url(storage.sas_uri(container, "", "rl"))
        assert list(reader.list_blob_names()) == ["inputData"]
        assert reader.download_blob("inputData").readall() == b"{}"
        with pytest.raises(azure.core.exceptions.HttpResponseError) as refusal:
            upload(reader, "other", b"{}")
        assert refusal.value.status_code == 403

    def test_a_sas_on_a_blob_gives_no_access_to_other_blobs(
        self, storage: Storage, container: str, client: ContainerClient
    ) -> None:
        upload(client, "inputData", b"{}")
        upload(client, "other", b"{}")
        sas = urlsplit(storage.sas_uri(container, "inputData", "rcw")).query
        with pytest.raises(azure.core.exceptions.HttpResponseError) as refusal:
            download(f"{storage.uri(container, 'other')}?{sas}")
        assert refusal.value.status_code == 403

    def test_a_sas_on_a_container_gives_no_access_to_others(
        self, storage: Storage, run: Run, container: str, client: ContainerClient
    ) -> None:
        other = f"{container}-2"
        run(storage.create_container(other))
        storage.write(other, "inputData", b"{}")
        sas = urlsplit(storage.sas_uri(container, "", "rl")).query
        with pytest.raises(azure.core.exceptions.HttpResponseError) as refusal:
            download(f"{storage.uri(other, 'inputData')}?{sas}")
        assert refusal.value.status_code == 403

    @pytest.mark.parametrize(
        ("field", "value"),
        [("sig", "AAAA"), ("sp", "racwd"), ("se", "2100-01-01T00:00:00Z"), ("rscd", "inline")],
    )
    def test_a_tampered_sas_is_refused(
        self, storage: Storage, container: str, client: ContainerClient, field: str, value: str
    ) -> None:
        upload(client, "inputData", b"{}")
        uri = storage.sas_uri(container, "inputData", "r", "name.json")
        fields = {name: values[0] for name, values in parse_qs(urlsplit(uri).query).items()}
        bare = storage.uri(container, "inputData")
        with pytest.raises(azure.core.exceptions.HttpResponseError) as refusal:
            download(f"{bare}?{urlencode({**fields, field: value})}")
        assert refusal.value.status_code == 403
        assert download(f"{bare}?{urlencode(fields)}") == b"{}"

    def test_an_expired_sas_is_refused(
        self, storage: Storage, lifetimes: Lifetimes, container: str, client: ContainerClient
    ) -> None:
        upload(client, "inputData", b"{}")
        lifetimes.next = Lifetime(announced=0.0)
        uri = storage.sas_uri(container, "inputData", "r")
        with pytest.raises(azure.core.exceptions.HttpResponseError) as refusal:
            download(uri)
        assert refusal.value.status_code == 403
        with pytest.raises(azure.core.exceptions.HttpResponseError) as refusal:
            BlobClient.from_blob_url(uri).get_blob_properties()
        assert refusal.value.status_code == 403

    def test_requests_without_a_sas_are_refused(
        self, storage: Storage, container: str, client: ContainerClient
    ) -> None:
        upload(client, "inputData", b"{}")
        with pytest.raises(azure.core.exceptions.HttpResponseError) as refusal:
            download(storage.uri(container, "inputData"))
        assert refusal.value.status_code in (401, 403)
