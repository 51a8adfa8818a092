"""What the checks of `doctor` find, where something is wrong and where nothing is."""

from __future__ import annotations

import asyncio
import re
import shutil
import ssl
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import certifi
import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ChainedTokenCredential, CredentialUnavailableError
from azure_suite import ScriptedServer, answer, sdk_workspace_at, self_signed, without_proxies

from cirq_azure_sessions import background
from cirq_azure_sessions.clock import ManualClock
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.installation import Finding
from cirq_azure_sessions.workspaces.azure import AzureWorkspace, diagnostics

# Nothing listens here.
CLOSED = "https://127.0.0.1:1"
NO_TARGETS = {"value": [], "nextLink": None}
SECRET = "a-very-secret-secret"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    without_proxies(monkeypatch)
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer() as server:
        yield server


def by_check(findings: list[Finding] | Iterator[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


def check_connection(endpoint: str, clock: ManualClock | None = None) -> dict[str, Finding]:
    workspace = sdk_workspace_at(endpoint)
    checks = diagnostics.check_connection(workspace, clock or ManualClock(time.time()))
    return by_check(asyncio.run(checks))


def check_service(endpoint: str) -> Finding:
    async def story() -> Finding:
        clock = ManualClock()
        port = AzureWorkspace(sdk_workspace_at(endpoint), clock=clock)
        try:
            return await diagnostics.check_service(port, clock)
        finally:
            await port.aclose()

    return asyncio.run(story())


def sign_in(credential: object) -> list[Finding]:
    return asyncio.run(diagnostics.check_sign_in(sdk_workspace_at(CLOSED, credential)))


# The installation


def test_private_names_are_there() -> None:
    assert {finding.status for finding in diagnostics.check_private_names()} == {"ok"}


def test_one_private_name_that_is_gone_does_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr("azure.quantum.Workspace._QUANTUM_ENDPOINT_PARAM")
    found = by_check(diagnostics.check_private_names())
    assert found["names in azure-quantum"].status == "failed"
    assert "install azure-quantum 3.13" in found["names in azure-quantum"].text
    assert found["names in duet"].status == "ok"


# This machine


def test_proxy_is_shown_without_its_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", f"http://user:{SECRET}@proxy.invalid:8080")
    found = by_check(diagnostics.check_network())
    assert found["proxy"] == Finding("proxy", "http://proxy.invalid:8080 with a login")


def test_proxy_and_certificates_that_cannot_be_used_are_both_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("https_proxy", f"socks5://user:{SECRET}@proxy.invalid")
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")
    found = by_check(diagnostics.check_network())
    assert (found["proxy"].status, found["trust"].status) == ("failed", "failed")
    assert "name an http:// proxy" in found["proxy"].text
    assert "correct SSL_CERT_FILE" in found["trust"].text
    assert SECRET not in found["proxy"].text


def test_trust_names_the_bundle_and_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert by_check(diagnostics.check_network())["trust"].text.endswith("cacert.pem, by certifi")
    path = certifi.where()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", path)
    assert by_check(diagnostics.check_network())["trust"].text == f"{path}, by REQUESTS_CA_BUNDLE"


# The workspace


def test_workspace_is_described_without_ids_or_keys() -> None:
    storage = f"DefaultEndpointsProtocol=https;AccountName=mine;AccountKey={SECRET}"
    workspace = sdk_workspace_at(f"https://user:{SECRET}@quantum.invalid", storage=storage)
    found = by_check(diagnostics.check_workspace(workspace))
    assert found["workspace"].text == "ws in eastus"
    assert found["endpoint"].text.startswith("https://quantum.invalid, API version 20")
    assert found["storage"].text == "your own account, mine"
    linked = by_check(diagnostics.check_workspace(sdk_workspace_at(CLOSED)))
    assert linked["storage"].text == "linked to the workspace"


class Unavailable:
    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        raise CredentialUnavailableError("It is not set up.")


class Refused:
    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        raise ClientAuthenticationError(f"AADSTS7000215: Invalid client secret. sig={SECRET}")


class Answering:
    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        assert scopes == ("https://quantum.microsoft.com/.default",)
        return AccessToken(SECRET, int(time.time()) + 3600)


class AsyncAnswering:
    async def get_token(self, *scopes: str, **options: object) -> AccessToken:
        return Answering().get_token(*scopes)


def test_each_credential_that_was_tried_is_reported_with_its_reason() -> None:
    credential, *tried = sign_in(ChainedTokenCredential(Unavailable(), Refused(), Answering()))
    assert credential.status == "failed"
    assert "az login" in credential.text
    assert [finding.text for finding in tried] == [
        "Unavailable: It is not set up.",
        "Refused: AADSTS7000215: Invalid client secret. sig=...",
    ]


def test_the_credential_that_answered_is_named_and_its_token_is_not() -> None:
    found = sign_in(ChainedTokenCredential(Unavailable(), Answering()))
    words = "Answering of ChainedTokenCredential gave a token, after Unavailable"
    assert found == [Finding("credential", words)]


@pytest.mark.parametrize("credential", [Answering(), AsyncAnswering()])
def test_a_single_credential_is_asked(credential: object) -> None:
    name = type(credential).__name__
    assert sign_in(credential) == [Finding("credential", f"{name} gave a token")]


def test_a_credential_that_fails_is_not_quoted() -> None:
    [found] = sign_in(Refused())
    assert found.status == "failed"
    assert SECRET not in found.text


def test_a_key_is_not_shown() -> None:
    [found] = asyncio.run(diagnostics.check_sign_in(sdk_workspace_at(CLOSED)))
    assert found.status == "ok"
    assert "a-key" not in found.text


def test_doctor_finds_no_fault_with_an_emulator(server: EmulatorServer) -> None:
    found = check_connection(server.endpoint)
    assert {finding.status for finding in found.values()} == {"ok"}
    port = AzureWorkspace(server.workspace())
    service = background.loop.run(diagnostics.check_service, port, server.clock)
    background.loop.run(port.aclose)
    assert service.status == "ok"
    assert "ionq" not in service.text


@pytest.mark.parametrize(("skew", "words"), [(400.0, "ahead of"), (-400.0, "behind")])
def test_a_skewed_clock_is_found_even_where_the_service_refuses(skew: float, words: str) -> None:
    async def story() -> list[Finding]:
        refusal = answer(b"", 401, Date=formatdate(clock.time() - skew, usegmt=True))
        async with ScriptedServer(refusal, refusal) as server:
            return await diagnostics.check_connection(sdk_workspace_at(server.endpoint), clock)

    clock = ManualClock()
    found = by_check(asyncio.run(story()))
    assert found["round trip"].status == "ok"
    assert found["clock"].status == "failed"
    assert f"400 s {words} the service" in found["clock"].text


def test_clock_is_compared_without_a_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> list[Finding]:
        said = answer(b"", 404, Date=formatdate(clock.time() + 3600, usegmt=True))
        async with ScriptedServer(said, said) as server:
            monkeypatch.setattr(diagnostics, "_ANY_ENDPOINT", server.endpoint)
            return await diagnostics.check_connection(None, clock)

    clock = ManualClock()
    assert "3600 s behind the service" in by_check(asyncio.run(story()))["clock"].text


@pytest.mark.parametrize("date", ["", "yesterday", "Thu, 99 Jan 2026 00:00:00 GMT"])
def test_service_without_a_date_header_is_not_compared(date: str) -> None:
    async def story() -> list[Finding]:
        said = answer(b"", 404, Date=date)
        async with ScriptedServer(said, said) as server:
            workspace = sdk_workspace_at(server.endpoint)
            return await diagnostics.check_connection(workspace, ManualClock())

    assert by_check(asyncio.run(story()))["clock"].status == "skipped"


def test_unreachable_server_is_reported() -> None:
    found = check_connection(CLOSED)
    assert found["round trip"].status == "failed"
    assert found["clock"].status == "skipped"
    assert "check the network and the endpoint" in check_service(CLOSED).text


def test_a_wrong_key_is_reported(server: EmulatorServer) -> None:
    found = check_service(server.endpoint)
    assert found.status == "failed"
    assert "HTTP 401: check the key" in found.text
    assert re.search(r"\(Request [\w-]+\.\)$", found.text)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_refuses_is_distinguished_from_the_service(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    async def story() -> tuple[dict[str, Finding], Finding]:
        clock = ManualClock()
        async with ScriptedServer(*[answer(b"", 407)] * 3) as proxy:
            login = f"http://user:{SECRET}@"
            monkeypatch.setenv(f"{scheme}_proxy", proxy.endpoint.replace("http://", login))
            workspace = sdk_workspace_at(f"{scheme}://quantum.invalid")
            found = by_check(await diagnostics.check_connection(workspace, clock))
            port = AzureWorkspace(workspace, clock=clock)
            service = await diagnostics.check_service(port, clock)
            await port.aclose()
        return found, service

    found, service = asyncio.run(story())
    assert (found["round trip"].status, found["clock"].status) == ("failed", "skipped")
    assert service.status == "failed"
    assert "the proxy, not the service" in service.text
    assert SECRET not in f"{found} {service}"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_a_certificate_that_is_not_trusted_is_reported(tmp_path: Path) -> None:
    key, certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def story() -> tuple[dict[str, Finding], Finding]:
        clock = ManualClock()
        async with ScriptedServer(tls=context) as server:
            workspace = sdk_workspace_at(server.endpoint)
            found = by_check(await diagnostics.check_connection(workspace, clock))
            port = AzureWorkspace(workspace, clock=clock)
            service = await diagnostics.check_service(port, clock)
            await port.aclose()
        return found, service

    found, service = asyncio.run(story())
    assert "CertVerification" in found["round trip"].text
    assert "not trusted" in service.text
    assert "REQUESTS_CA_BUNDLE" in service.text


def test_a_workspace_without_targets_says_what_to_do() -> None:
    async def story() -> Finding:
        clock = ManualClock()
        async with ScriptedServer(answer(NO_TARGETS)) as server:
            port = AzureWorkspace(sdk_workspace_at(server.endpoint), clock=clock)
            try:
                return await diagnostics.check_service(port, clock)
            finally:
                await port.aclose()

    found = asyncio.run(story())
    assert found.status == "failed"
    assert "add a provider" in found.text
