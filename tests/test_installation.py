"""What is found of an installation and its environment, and what is said of it."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from cirq_azure_sessions import installation, upstream
from cirq_azure_sessions.installation import Finding

SECRET = "a-very-secret-secret"


def by_check(findings: Iterable[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


def test_tested_versions_pass() -> None:
    found = by_check(installation.check_versions())
    assert {"cirq-azure-sessions", *upstream.TESTED_VERSIONS} == found.keys()
    assert {finding.status for finding in found.values()} <= {"ok", "warning", "skipped"}


@pytest.mark.parametrize(
    ("package", "version", "status", "text"),
    [
        ("azure-quantum", "4.0.0", "warning", "4.0.0: not tested; .* try azure-quantum 3.13"),
        ("azure-quantum", None, "failed", "install azure-quantum"),
        ("qdk", None, "skipped", "not installed; needed for QIR"),
    ],
)
def test_untested_versions_name_the_tested_ones(
    monkeypatch: pytest.MonkeyPatch, package: str, version: str | None, status: str, text: str
) -> None:
    monkeypatch.setattr(upstream, "installed_version", lambda name: version)
    found = by_check(installation.check_versions())[package]
    assert found.status == status
    assert re.search(text, found.text)


def test_environment_is_shown_by_names_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", SECRET)
    monkeypatch.setenv("https_proxy", f"http://user:{SECRET}@proxy.invalid")
    text = installation.check_environment().text
    assert {"AZURE_CLIENT_SECRET", "https_proxy"} <= set(text.split(", "))
    assert SECRET not in text


def test_error_of_any_kind_is_a_finding_without_its_message() -> None:
    found = installation.unexpected("clock", RuntimeError(SECRET))
    assert found == Finding("clock", "The check raised RuntimeError: please report this.", "failed")


def test_secrets_are_known_wherever_they_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "secret-of-the-client")
    monkeypatch.setenv("AZURE_QUANTUM_CONNECTION_STRING", "WorkspaceName=mine;ApiKey=key+of=it;")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:pass%2Fword@proxy")
    found = installation.known_secrets(["given-key", None], addresses=["http://me:mine99@there"])
    expected = {"secret-of-the-client", "key+of=it", "key%2Bof%3Dit", "pass%2Fword", "given-key"}
    expected |= {"pass/word"}
    assert expected | {"mine99", "me:mine99"} <= set(found)
    assert found == sorted(found, key=len, reverse=True)
