"""The SDK's workspace from what a person has at hand, and what is said when that is not enough.

Without network: whatever would need it is refused before, or by a login that fails.
"""

from __future__ import annotations

import azure.quantum
import pytest
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError
from azure.quantum._workspace_connection_params import WorkspaceConnectionParams
from azure_suite import RESOURCE_ID, tell

from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.errors import AzureSessionsError, ServiceError
from cirq_azure_sessions.workspaces.azure import connect

KEY = "a-very-secret-key"
CONNECTION_STRING = (
    "SubscriptionId=00000000-0000-0000-0000-000000000000;ResourceGroupName=rg;"
    f"WorkspaceName=mine;ApiKey={KEY};QuantumEndpoint=https://eastus.quantum.azure.com/;"
)


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AZURE_QUANTUM_CONNECTION_STRING",
        "AZURE_QUANTUM_WORKSPACE_NAME",
        "AZURE_QUANTUM_WORKSPACE_LOCATION",
    ):
        monkeypatch.delenv(name, raising=False)


def test_nothing_named_says_what_to_set() -> None:
    with pytest.raises(AzureSessionsError, match="AZURE_QUANTUM_CONNECTION_STRING"):
        connect()


def test_a_connection_string_is_enough() -> None:
    workspace = connect(connection_string=CONNECTION_STRING)
    assert (workspace.name, workspace.location) == ("mine", "eastus")


def test_a_connection_string_of_the_environment_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_QUANTUM_CONNECTION_STRING", CONNECTION_STRING)
    assert connect().name == "mine"


@pytest.mark.parametrize("name", ["resource_id", "location", "connection_string", "endpoint"])
def test_an_empty_argument_does_not_stand_for_the_environments_workspace(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_QUANTUM_CONNECTION_STRING", CONNECTION_STRING)
    with pytest.raises(AzureSessionsError, match="is empty: set it, or leave it out"):
        connect(**{name: ""}, key=KEY)


SAME_WORKSPACE = RESOURCE_ID.replace("Workspaces/ws", "Workspaces/MINE")


@pytest.mark.parametrize("location", [None, "westus"])
def test_a_resource_id_wins_over_another_workspace_in_the_environment(
    location: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Azure's management service, which knows where each workspace is.
    def describe(client: object, params: WorkspaceConnectionParams) -> None:
        params.location = "northeurope"
        params.quantum_endpoint = "https://northeurope.quantum.azure.com"

    monkeypatch.setattr(
        "azure.quantum._mgmt_client.WorkspaceMgmtClient.load_workspace_from_arm", describe
    )
    monkeypatch.setenv("AZURE_QUANTUM_CONNECTION_STRING", CONNECTION_STRING)
    workspace = connect(RESOURCE_ID, location=location)
    assert (workspace.name, workspace.location) == ("ws", "northeurope")
    assert workspace._client._config.endpoint == "https://northeurope.quantum.azure.com"
    assert not isinstance(workspace.credential, AzureKeyCredential)


@pytest.mark.parametrize("is_given", [False, True])
def test_a_connection_string_of_the_same_workspace_is_used(
    is_given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_given:
        monkeypatch.setenv("AZURE_QUANTUM_CONNECTION_STRING", CONNECTION_STRING)
    given = CONNECTION_STRING if is_given else None
    workspace = connect(SAME_WORKSPACE, connection_string=given)
    assert (workspace.name, workspace.location) == ("mine", "eastus")
    assert isinstance(workspace.credential, AzureKeyCredential)


def test_a_resource_id_and_a_connection_string_of_different_workspaces_are_refused() -> None:
    with pytest.raises(AzureSessionsError, match="different workspaces") as refusal:
        connect(RESOURCE_ID, connection_string=CONNECTION_STRING)
    assert KEY not in str(refusal.value)


def test_the_workspace_of_qdk_is_the_sdks() -> None:
    qdk_azure = pytest.importorskip("qdk.azure", reason="qdk is not installed")
    assert qdk_azure.Workspace is azure.quantum.Workspace
    with EmulatorServer() as server:
        workspace = qdk_azure.Workspace(
            resource_id=server.resource_id,
            location="eastus",
            credential=AzureKeyCredential(server.key),
            _quantum_endpoint=server.endpoint,
        )
        assert tell(lambda workspace: workspace.list_targets(), workspace)


def test_a_broken_connection_string_is_not_repeated() -> None:
    with pytest.raises(AzureSessionsError, match="copy it from the portal") as refusal:
        connect(connection_string=CONNECTION_STRING.replace("https://", "ftp://"))
    assert KEY not in f"{refusal.value} {refusal.value.__context__}"


def test_an_emulator_is_found_by_its_endpoint_and_key() -> None:
    with EmulatorServer() as server:
        workspace = connect(endpoint=server.endpoint, key=server.key)
        assert tell(lambda workspace: workspace.list_targets(), workspace)


def test_an_emulator_without_its_key_is_refused() -> None:
    with pytest.raises(AzureSessionsError, match="needs a key"):
        connect(endpoint="http://127.0.0.1:1")


def test_a_broken_resource_id_is_refused() -> None:
    with pytest.raises(AzureSessionsError, match="check its resource id"):
        connect("/subscriptions/mine")


def test_a_missing_login_says_which_command_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object, *scopes: str, **options: object) -> None:
        raise ClientAuthenticationError("DefaultAzureCredential found nothing, at great length.")

    monkeypatch.setattr("azure.identity.DefaultAzureCredential.get_token", refuse)
    monkeypatch.setattr("azure.identity.DefaultAzureCredential.get_token_info", refuse)
    for arguments in ({"resource_id": RESOURCE_ID}, {"resource_id": None}):
        monkeypatch.setenv("AZURE_QUANTUM_WORKSPACE_NAME", "mine")
        with pytest.raises(ServiceError, match="run `az login`") as refusal:
            connect(**arguments)
        assert refusal.value.status_code == 401
