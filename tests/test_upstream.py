"""What is read of other packages' private names, and what is said when a release lacks one."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import duet
import pytest
from azure.core.credentials import AzureKeyCredential
from azure.identity import ChainedTokenCredential
from azure.quantum import Workspace
from azure_suite import sdk_workspace_at

from cirq_azure_sessions import upstream
from cirq_azure_sessions.errors import AzureSessionsError
from cirq_azure_sessions.workspaces.azure import AzureWorkspace, connect

ENDPOINT = "http://127.0.0.1:1"


def test_the_sdk_has_the_names_that_are_read() -> None:
    config = upstream.service_config(sdk_workspace_at(ENDPOINT))
    assert config.endpoint == ENDPOINT
    assert isinstance(config.credential, AzureKeyCredential)
    assert upstream.endpoint_argument(Workspace) == "_quantum_endpoint"


def test_a_release_of_the_sdk_without_the_configuration_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workspace = sdk_workspace_at(ENDPOINT)
    monkeypatch.setattr(upstream, "installed_version", lambda package: "3.14.0")
    del workspace._client._config
    sentence = (
        "azure-quantum 3.14.0 has no Workspace._client._config, which cirq-azure-sessions reads: "
        "install azure-quantum 3.13, or a newer cirq-azure-sessions."
    )
    with pytest.raises(AzureSessionsError) as refusal:
        AzureWorkspace(workspace)
    assert str(refusal.value) == sentence


@pytest.mark.parametrize("field", ["endpoint", "api_version", "credential", "user_agent_policy"])
def test_a_release_of_the_sdk_without_a_field_is_named(field: str) -> None:
    workspace = sdk_workspace_at(ENDPOINT)
    delattr(workspace._client._config, field)
    with pytest.raises(AzureSessionsError, match=rf"has no Workspace\._client\._config\.{field}"):
        upstream.service_config(workspace)


@pytest.mark.parametrize("name", ["_connection_params", "_on_new_client_request"])
def test_sdk_release_without_the_expected_user_agent_is_named(name: str) -> None:
    workspace = sdk_workspace_at(ENDPOINT)
    bare = SimpleNamespace(**{key: value for key, value in vars(workspace).items() if key != name})
    with pytest.raises(AzureSessionsError, match=r"has no Workspace\._"):
        upstream.separate_user_agent(bare)


def test_sdk_release_with_other_session_host_names_is_named() -> None:
    with pytest.raises(AzureSessionsError, match=r"has no SessionHost\._get_azure_workspace"):
        upstream.session_host(object())


@pytest.mark.parametrize("name", [None, "_endpoint"])
def test_an_endpoint_is_given_to_no_release_of_the_sdk_that_would_ignore_it(
    monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    if name is None:
        monkeypatch.delattr(Workspace, "_QUANTUM_ENDPOINT_PARAM")
    else:
        monkeypatch.setattr(Workspace, "_QUANTUM_ENDPOINT_PARAM", name)
    with pytest.raises(AzureSessionsError, match=r"azure-quantum .* has no Workspace\(_quan"):
        connect(endpoint=ENDPOINT, key="a-key")


def test_the_credential_that_answered_is_known() -> None:
    class Answering:
        def get_token(self, *scopes: str, **options: object) -> SimpleNamespace:
            return SimpleNamespace(token="a-token", expires_on=0)

    chain = ChainedTokenCredential(Answering())
    chain.get_token("a-scope")
    assert upstream.answering_credential(chain) == "Answering"
    with pytest.raises(AzureSessionsError, match=r"azure-identity .* has no ChainedTokenCred"):
        upstream.answering_credential(object())


def test_the_reason_of_an_interruption_is_found() -> None:
    reason = KeyboardInterrupt()
    interruption = upstream.interrupt_class()(None, reason)
    assert upstream.interrupt_reason(interruption) is reason
    assert upstream.interrupt_reason(reason) is reason


def test_qdk_without_the_expected_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("qdk")
    monkeypatch.setitem(sys.modules, "qdk._native", None)
    with pytest.raises(AzureSessionsError, match=r"qdk .* has no qdk\._native\.compile_qasm"):
        upstream.qasm_compiler()


def test_an_interruption_passes_where_duet_has_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(duet.impl, "Interrupt")
    with pytest.raises(AzureSessionsError, match=r"duet .* has no duet\.impl\.Interrupt"):
        upstream.interrupt_class()
    reason = KeyboardInterrupt()
    assert upstream.interrupt_reason(reason) is reason


@pytest.mark.parametrize(
    ("package", "installed", "expected"),
    [
        ("azure-quantum", "3.13.0", True),
        ("azure-quantum", "3.13.7.post1", True),
        ("azure-quantum", "3.14.0", False),
        ("azure-quantum", "3.9", False),
        ("cirq-core", "1.6.0", False),
        ("cirq-core", "1.7.2", True),
        ("cirq-core", "1.8.0.dev20260101", False),
        ("duet", "unknown", False),
    ],
)
def test_a_version_is_compared_with_those_that_were_tested(
    package: str, installed: str, expected: bool
) -> None:
    assert upstream.is_tested(package, installed) is expected


def test_a_package_that_is_not_installed_has_no_version() -> None:
    assert upstream.installed_version("cirq-azure-sessions-of-nobody") is None
