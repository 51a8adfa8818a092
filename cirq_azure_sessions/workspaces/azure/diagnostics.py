"""Checks of the network and of a workspace, for the command `doctor`.

Their output is for a report that others read: it has no secrets and no subscription ids.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

from azure.identity import (
    ChainedTokenCredential,
    DefaultAzureCredential,
    EnvironmentCredential,
)
from azure.quantum import Workspace
from yarl import URL

from cirq_azure_sessions import upstream
from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.errors import AzureSessionsError
from cirq_azure_sessions.installation import Finding, unexpected
from cirq_azure_sessions.workspaces.azure.connect import connect
from cirq_azure_sessions.workspaces.azure.connections import ConnectionPool, NotSent, Request
from cirq_azure_sessions.workspaces.azure.documents import without_secrets
from cirq_azure_sessions.workspaces.azure.network import (
    call_either,
    proxy_for,
    trust,
    trusted_certificates,
)
from cirq_azure_sessions.workspaces.azure.workspace import AzureWorkspace

__all__ = [
    "check_connection",
    "check_network",
    "check_private_names",
    "check_service",
    "check_sign_in",
    "check_workspace",
]

# One of the service's addresses, for checks without a workspace.
_ANY_ENDPOINT = "https://eastus.quantum.azure.com"
_SCOPE = "https://quantum.microsoft.com/.default"

# Seconds. A clock that is off by minutes makes signatures and tokens invalid; the service's time is
# in whole seconds, and delayed by the network.
_MAX_SKEW = 30.0
_READ_TIMEOUT = 20.0

# The line of `azure.identity` for each credential of a chain that returned no token.
_ATTEMPTS = re.compile(r"^\t(\w+): (.*)$", re.MULTILINE)


def check_private_names() -> Iterator[Finding]:
    """The private names of other packages that this package reads."""
    checks = {
        # This sends no request.
        "azure-quantum": lambda: upstream.service_config(
            connect(endpoint="http://127.0.0.1:1", key="none")
        ),
        "azure-identity": lambda: upstream.answering_credential(
            ChainedTokenCredential(EnvironmentCredential())
        ),
        "duet": upstream.interrupt_class,
    }
    for package, check in checks.items():
        name = f"names in {package}"
        try:
            check()
        except Exception as error:
            yield unexpected(name, error)
        else:
            yield Finding(name, "as expected")


# This machine


def check_network(workspace: Workspace | None = None) -> Iterator[Finding]:
    """Checks the proxy for a workspace, and the trusted certificates."""
    try:
        proxy = proxy_for(_address(workspace))
        login = " with a login" if proxy and proxy.headers else ""
        yield Finding("proxy", f"{proxy.address}{login}" if proxy else "none")
    except Exception as error:
        yield unexpected("proxy", error)
    try:
        trust()
        source, path = trusted_certificates()
        yield Finding("trust", f"{path}, by {source}")
    except Exception as error:
        yield unexpected("trust", error)


# The workspace


def check_workspace(workspace: Workspace) -> Iterator[Finding]:
    """Checks a workspace's settings without a request."""
    config = upstream.service_config(workspace)
    yield Finding("workspace", f"{workspace.name} in {workspace.location}")
    yield Finding("endpoint", f"{_address(workspace)}, API version {config.api_version}")
    account = re.search(r"AccountName=([a-z0-9]+)", workspace.storage or "")
    own = f"your own account, {account[1] if account else 'without a name'}"
    yield Finding("storage", "linked to the workspace" if workspace.storage is None else own)


async def check_sign_in(workspace: Workspace | None = None) -> list[Finding]:
    """Asks a workspace's credential for a token, or the default credential without a workspace."""
    if workspace is None:
        credential, scopes = DefaultAzureCredential(), [_SCOPE]
    else:
        config = upstream.service_config(workspace)
        credential, scopes = config.credential, config.credential_scopes
    if not hasattr(credential, "get_token"):
        return [Finding("credential", "an access key; it is tested below")]
    kind = type(credential).__name__
    try:
        await call_either(credential.get_token, *scopes)
    except Exception as error:
        tried = _ATTEMPTS.findall(str(error))
        advice = (
            "run `az login`, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or "
            "use a connection string"
        )
        text = f"{kind} gave no token ({type(error).__name__}): {advice}."
        return [
            Finding("credential", text, "failed"),
            *(
                Finding("tried", without_secrets(f"{name}: {reason}"), "skipped")
                for name, reason in tried
            ),
        ]
    if not isinstance(credential, ChainedTokenCredential):
        return [Finding("credential", f"{kind} gave a token")]
    answering = upstream.answering_credential(credential)
    names = [type(each).__name__ for each in credential.credentials]
    before = names[: names.index(answering)] if answering in names else []
    after = f", after {', '.join(before)}" if before else ""
    return [Finding("credential", f"{answering} of {kind} gave a token{after}")]


async def check_connection(workspace: Workspace | None, clock: Clock) -> list[Finding]:
    """Measures a round trip to the service, without a credential, and reads the service's time.

    Even a refusal has the time. A wrong clock makes tokens invalid, and so may be why there is no
    workspace.
    """
    address = _address(workspace)
    times = []
    try:
        connections = ConnectionPool(1, _READ_TIMEOUT)
        request = Request("GET /", "GET", address, {}, None, 2**16, _READ_TIMEOUT, math.inf, False)
        for _ in range(2):
            began = clock.monotonic()
            answer = await connections.send(request)
            times.append(clock.monotonic() - began)
        connections.close()
    except (OSError, AzureSessionsError) as error:
        # It has the name of the error that prevented the connection.
        reason = error if isinstance(error, NotSent) else type(error).__name__
        text = (
            f"no answer from {address} ({reason}): check the network, the proxy and the "
            "certificates"
        )
        return [Finding("round trip", text, "failed"), Finding("clock", "not checked", "skipped")]
    if answer.status_code == 407:
        text = "the proxy refused (HTTP 407): add a user name and a password to its address"
        return [Finding("round trip", text, "failed"), Finding("clock", "not checked", "skipped")]
    first, second = times
    return [
        Finding(
            "round trip",
            f"{1000 * second:.0f} ms to {address}, {1000 * first:.0f} ms with the connection",
        ),
        _compare_clocks(answer.headers.get("Date", ""), clock.time()),
    ]


def _compare_clocks(date: str, now: float) -> Finding:
    try:
        skew = now - parsedate_to_datetime(date).timestamp()
    except ValueError:
        return Finding("clock", "the service does not report its time", "skipped")
    if abs(skew) <= _MAX_SKEW:
        return Finding("clock", f"within {_MAX_SKEW:.0f} s of the service's")
    direction = "ahead of" if skew > 0 else "behind"
    text = f"this machine's clock is {abs(skew):.0f} s {direction} the service's: correct it"
    return Finding("clock", f"{text}, because tokens and signatures depend on it", "failed")


async def check_service(port: AzureWorkspace, clock: Clock) -> Finding:
    """Asks the service for the workspace's targets, with its credential."""
    began = clock.monotonic()
    try:
        targets = await port.list_targets()
    except Exception as error:
        return unexpected("service", error)
    seconds = clock.monotonic() - began
    providers = len({target.provider for target in targets})
    text = f"lists {len(targets)} targets of {providers} providers, in {seconds:.2f} s"
    if not targets:
        text += ": add a provider to the workspace in the portal"
    return Finding("service", text, "ok" if targets else "failed")


def _address(workspace: Workspace | None) -> URL:
    """The address of the service, without user name, password or query."""
    if workspace is None:
        return URL(_ANY_ENDPOINT)
    return URL(upstream.service_config(workspace).endpoint).origin()
