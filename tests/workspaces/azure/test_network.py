"""Connections under adverse conditions: no threads left, forks, proxies, logins."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken, AccessTokenInfo, AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError
from azure_suite import (
    SESSION,
    ScriptedServer,
    answer,
    job_request,
    sdk_workspace_at,
    self_signed,
    session_request,
    tell,
    without_proxies,
)
from children import NEEDS_FORK

from cirq_azure_sessions import background
from cirq_azure_sessions.clock import ManualClock
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.workspaces.azure import AzureWorkspace, connections
from cirq_azure_sessions.workspaces.azure.credentials import Credential, Identity, TokenSender

# Nothing listens here.
CLOSED = "https://127.0.0.1:1"


@pytest.fixture(scope="module")
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer() as server:
        yield server


class Login:
    """A credential that counts its tokens, and remembers the threads that asked."""

    def __init__(self, lifetime: float = 3600.0) -> None:
        self.threads: list[threading.Thread] = []
        self._lifetime = lifetime

    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        assert scopes == ("https://quantum.microsoft.com/.default",)
        self.threads.append(threading.current_thread())
        return AccessToken("a-token", int(time.time() + self._lifetime))


class NewerLogin(Login):
    """A credential with azure-core's newer method too, which goes before."""

    def get_token_info(self, *scopes: str, options: object = None) -> AccessTokenInfo:
        token = super().get_token(*scopes)
        return AccessTokenInfo(token.token, token.expires_on)

    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        raise AssertionError


class NoLogin:
    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        raise RuntimeError("the secret is s3cr3t")


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Puts the process in the state that it is in when the interpreter exits."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    return lambda: monkeypatch.setattr(threading.Thread, "start", refuse)


@pytest.mark.parametrize("make", [Login, NewerLogin])
def test_a_login_is_asked_on_a_thread_and_its_token_kept(make: type[Login]) -> None:
    login = make()
    with pytest.raises(ServiceError, match="No connection"):
        tell(lambda workspace: workspace.get_session("s"), sdk_workspace_at(CLOSED, login))
    # Six attempts to connect, one token.
    assert len(login.threads) == 1
    assert login.threads[0] is not threading.current_thread()


def test_a_token_that_is_about_to_expire_is_renewed() -> None:
    login = Login(lifetime=60.0)
    with pytest.raises(ServiceError, match="No connection"):
        tell(lambda workspace: workspace.get_session("s"), sdk_workspace_at(CLOSED, login))
    assert len(login.threads) == 6


def test_login_runs_on_the_calling_thread_at_interpreter_exit(
    no_threads: Callable[[], None],
) -> None:
    login = Login()
    no_threads()
    with pytest.raises(ServiceError, match="No connection"):
        tell(lambda workspace: workspace.get_session("s"), sdk_workspace_at(CLOSED, login))
    assert login.threads == [threading.current_thread()]


def test_a_login_that_fails_says_which_command_to_run() -> None:
    with pytest.raises(ServiceError, match="az login") as failure:
        tell(lambda workspace: workspace.get_session("s"), sdk_workspace_at(CLOSED, NoLogin()))
    assert failure.value.status_code == 401
    assert not failure.value.is_ambiguous
    assert "s3cr3t" not in f"{failure.value} {failure.value.__context__}"


class FlakyLogin(Login):
    """Gives one short-lived token, and then fails `failures` times."""

    def __init__(self, failures: int) -> None:
        super().__init__(lifetime=60.0)
        self._failures = failures

    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        if self.threads and self._failures:
            self._failures -= 1
            # What azure.identity raises for a wrong secret and for a network that is away alike.
            raise ClientAuthenticationError("Authentication failed: cannot connect, s3cr3t")
        return super().get_token(*scopes)


def test_a_token_that_cannot_be_renewed_is_asked_for_again() -> None:
    login = FlakyLogin(failures=2)
    with pytest.raises(ServiceError, match="No connection") as failure:
        tell(lambda workspace: workspace.get_session("s"), sdk_workspace_at(CLOSED, login))
    assert failure.value.may_pass
    assert len(login.threads) == 4


def test_a_token_that_is_not_renewed_for_long_is_reported_as_transient() -> None:
    login = FlakyLogin(failures=99)
    with pytest.raises(ServiceError, match="Renewing the Azure sign-in failed") as failure:
        tell(lambda workspace: workspace.get_session("s"), sdk_workspace_at(CLOSED, login))
    assert failure.value.may_pass
    assert "s3cr3t" not in str(failure.value)


def test_message_of_the_identity_service_is_kept() -> None:
    class Expired(Login):
        def get_token(self, *scopes: str, **options: object) -> AccessToken:
            raise ClientAuthenticationError(
                "Authentication failed: AADSTS7000222: The provided client secret keys for app "
                "'me' are expired. Visit the portal. Trace ID: 1 s3cr3t"
            )

    with pytest.raises(ServiceError, match="AADSTS7000222: The provided client secret") as failure:
        tell(lambda workspace: workspace.get_session("s"), sdk_workspace_at(CLOSED, Expired()))
    assert failure.value.status_code == 401
    assert "s3cr3t" not in str(failure.value)


def test_a_token_that_is_refused_is_replaced_once() -> None:
    sent: list[str] = []

    class Sent:
        url, headers = "https://quantum.invalid/", {}

    class Refused:
        status_code, headers = 401, {}

    async def refuse(request: Sent) -> Refused:
        sent.append(request.headers["Authorization"])
        return Refused()

    async def story() -> int:
        credential = Credential(sdk_workspace_at(CLOSED, login), Identity(ManualClock()))
        return (await TokenSender(credential, refuse).send(Sent())).status_code

    login = Login()
    assert asyncio.run(story()) == 401
    assert (len(sent), len(login.threads)) == (2, 2)


def test_an_asynchronous_credential_is_awaited() -> None:
    class AsyncLogin:
        asked = 0

        async def get_token(self, *scopes: str, **options: object) -> AccessToken:
            await asyncio.sleep(0)
            self.asked += 1
            return AccessToken("a-token", int(time.time() + 3600))

    login = AsyncLogin()
    with pytest.raises(ServiceError, match="No connection"):
        tell(lambda workspace: workspace.get_session("s"), sdk_workspace_at(CLOSED, login))
    assert login.asked == 1


def test_names_are_resolved_with_and_without_threads(
    server: EmulatorServer, no_threads: Callable[[], None]
) -> None:
    port = server.endpoint.rpartition(":")[2]
    sdk_workspace = sdk_workspace_at(f"http://localhost:{port}", AzureKeyCredential(server.key))

    async def story(workspace: AzureWorkspace) -> None:
        assert await workspace.list_targets()
        await workspace.aclose()
        no_threads()
        assert await workspace.list_targets()

    tell(story, sdk_workspace)


def test_lookups_and_logins_run_on_daemon_threads() -> None:
    login = Login()
    with pytest.raises(ServiceError, match="No connection"):
        tell(lambda workspace: workspace.get_session("s"), sdk_workspace_at(CLOSED, login))
    assert all(thread.daemon for thread in login.threads)


def test_invalid_host_name_is_reported() -> None:
    with pytest.raises(ServiceError, match="check the network and the endpoint"):
        tell(
            lambda workspace: workspace.get_session("s"),
            sdk_workspace_at(f"http://{'x' * 70}.example"),
        )


def test_closing_lets_requests_in_flight_finish(server: EmulatorServer) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        session = await workspace.open_session(session_request())
        looks = [asyncio.ensure_future(workspace.get_session(session.id)) for _ in range(5)]
        await asyncio.sleep(0)
        await workspace.aclose()
        assert {(await look).id for look in looks} == {session.id}
        # And the next request opens a connection again.
        assert (await workspace.get_session(session.id)).id == session.id

    tell(story, server.workspace())


def test_closing_while_a_login_waits_does_no_harm(server: EmulatorServer) -> None:
    asked, answered = threading.Event(), threading.Event()

    class SlowLogin(Login):
        def get_token(self, *scopes: str, **options: object) -> AccessToken:
            asked.set()
            assert answered.wait(30)
            return super().get_token(*scopes)

    async def story(workspace: AzureWorkspace) -> None:
        look = asyncio.ensure_future(workspace.get_session("s"))
        while not asked.is_set():
            await asyncio.sleep(0)
        await workspace.aclose()
        answered.set()
        with pytest.raises(ServiceError, match="No connection"):
            await look

    tell(story, sdk_workspace_at(CLOSED, SlowLogin()))


def test_connections_are_opened_on_demand_reused_and_bounded(server: EmulatorServer) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        server.requests.clear()
        assert server.requests.connections == 0
        session = await workspace.open_session(session_request())
        for _ in range(5):
            await workspace.get_session(session.id)
        assert server.requests.connections == 1
        await asyncio.gather(*(workspace.get_session(session.id) for _ in range(30)))
        assert server.requests.connections <= 3

    tell(story, server.workspace(), max_connections=3)


def test_idle_connections_are_dropped_after_the_keep_alive_time(
    server: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_KEEP_ALIVE", 0.01)

    async def story(workspace: AzureWorkspace) -> None:
        await workspace.list_targets()
        held = workspace._client._connections
        assert held is not None
        assert held.pool.num_idle == 1
        while held.pool.num_idle:
            await asyncio.sleep(0.001)

    tell(story, server.workspace())


def test_workspaces_of_several_threads_share_the_background_loop(server: EmulatorServer) -> None:
    workspaces = [AzureWorkspace(server.workspace()) for _ in range(3)]

    def use(workspace: AzureWorkspace) -> str:
        session = background.loop.run(workspace.open_session, session_request())
        background.loop.run(workspace.aclose)
        return background.loop.run(workspace.get_session, session.id).id

    with ThreadPoolExecutor(6) as threads:
        assert len(set(threads.map(use, workspaces * 4))) == 12
    for workspace in workspaces:
        background.loop.run(workspace.aclose)


def test_an_unresolvable_name_is_reported() -> None:
    with pytest.raises(ServiceError, match="check the network and the endpoint"):
        tell(
            lambda workspace: workspace.get_session("s"),
            sdk_workspace_at("http://no-such-host.invalid"),
        )


def test_the_proxy_of_the_environment_is_used(
    server: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.endpoint.replace("://", "://user:pass@"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    key = AzureKeyCredential(server.key)
    # This name does not exist: only the proxy answers to it.
    sdk_workspace = sdk_workspace_at("http://quantum.invalid", key)
    assert tell(lambda workspace: workspace.list_targets(), sdk_workspace)
    tell(lambda workspace: workspace.store_input(job_request()), server.workspace())


def test_no_proxy_is_asked_for_an_emulator_on_this_machine(
    server: EmulatorServer, no_proxies: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:8080")
    tell(lambda workspace: workspace.store_input(job_request()), server.workspace())


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    without_proxies(monkeypatch)


def ask_through(proxy_answer: bytes, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> bytes:
    """The request that a proxy at `user:p%40ss` sees first, whatever then becomes of it."""

    async def story() -> bytes:
        async with ScriptedServer(proxy_answer) as proxy:
            monkeypatch.setenv("ALL_PROXY", proxy.endpoint.replace("http://", "user:p%40ss@"))
            workspace = AzureWorkspace(sdk_workspace_at(endpoint), clock=ManualClock())
            try:
                await workspace.get_session("s")
            finally:
                await workspace.aclose()
                seen.extend(proxy.requests)
            return b""

    seen: list[bytes] = []
    with contextlib.suppress(ServiceError):
        asyncio.run(story())
    return seen[0]


def test_proxy_may_lack_a_scheme_and_have_a_login(
    no_proxies: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = ask_through(answer(SESSION), monkeypatch, "http://quantum.invalid")
    assert seen.startswith(b"GET http://quantum.invalid/")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"user:p@ss") in seen


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxy_that_wants_a_login_is_distinguished_from_the_service(
    no_proxies: None, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    async def story() -> None:
        async with ScriptedServer(answer(b"", 407)) as proxy:
            monkeypatch.setenv(f"{scheme}_proxy", proxy.endpoint)
            workspace = AzureWorkspace(sdk_workspace_at(f"{scheme}://quantum.invalid"))
            with pytest.raises(ServiceError, match="the proxy, not the service") as failure:
                await workspace.get_session("s")
            assert (failure.value.status_code, len(proxy.requests)) == (407, 1)
            await workspace.aclose()

    asyncio.run(story())


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "http://[", "ftp://there"])
def test_proxy_that_cannot_be_used_is_refused_at_once(
    no_proxies: None, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("all_proxy", proxy)
    clock = ManualClock()
    with pytest.raises(ServiceError, match=r"HTTPS_PROXY") as failure:
        tell(lambda workspace: workspace.get_session("s"), sdk_workspace_at(CLOSED), clock=clock)
    assert not failure.value.may_pass
    assert clock.monotonic() == 0.0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_certificates_of_the_environment_are_trusted(
    no_proxies: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    key, certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def story() -> None:
        async with ScriptedServer(answer(SESSION), tls=context) as server:
            clock = ManualClock()
            workspace = AzureWorkspace(sdk_workspace_at(server.endpoint), clock=clock)
            with pytest.raises(ServiceError, match=r"not trusted.*REQUESTS_CA_BUNDLE") as failure:
                await workspace.get_session("s")
            assert not failure.value.may_pass
            assert clock.monotonic() == 0.0
            await workspace.aclose()
            monkeypatch.setenv(
                variable, str(certificate.parent if "DIR" in variable else certificate)
            )
            assert (await workspace.get_session("s")).id == "s"
            await workspace.aclose()

    asyncio.run(story())


def test_certificates_that_cannot_be_read_are_named(
    no_proxies: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/file")
    with pytest.raises(ServiceError, match=r"/no/such/file.*correct REQUESTS_CA_BUNDLE") as failure:
        tell(lambda workspace: workspace.get_session("s"), sdk_workspace_at(CLOSED))
    assert not failure.value.may_pass


def test_names_are_resolved_again_when_a_connection_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    resolve = socket.getaddrinfo

    def count(host: str, *options: Any, **more: Any) -> Any:
        asked.append(host)
        return resolve(host, *options, **more)

    monkeypatch.setattr(socket, "getaddrinfo", count)
    with pytest.raises(ServiceError, match="No connection"):
        tell(lambda workspace: workspace.get_session("s"), sdk_workspace_at("https://localhost:1"))
    assert asked == ["localhost"] * 6


@NEEDS_FORK
def test_the_child_of_a_fork_leaves_the_parents_connections_alone(server: EmulatorServer) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        session = await workspace.open_session(session_request())
        server.requests.clear()
        child = os.fork()
        if child == 0:
            workspace._client._connections = None
            gc.collect()
            os._exit(0)
        assert os.waitpid(child, 0) == (child, 0)
        await asyncio.wait_for(workspace.get_session(session.id), 10)
        assert server.requests.connections == 0

    tell(story, server.workspace())


@NEEDS_FORK
def test_the_child_of_a_fork_makes_connections_of_its_own(server: EmulatorServer) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        session = await workspace.open_session(session_request())
        server.requests.clear()
        child = os.fork()
        if child == 0:
            # In the child of a real program a new event loop runs, on a new thread.
            worker = threading.Thread(target=lambda: asyncio.run(use(workspace, session.id)))
            worker.start()
            worker.join()
            os._exit(0)
        assert os.waitpid(child, 0) == (child, 0)
        assert server.requests["session"] == 1
        assert server.requests.connections == 1
        await workspace.get_session(session.id)
        assert server.requests.connections == 1

    async def use(workspace: AzureWorkspace, session_id: str) -> None:
        await workspace.get_session(session_id)
        await workspace.aclose()

    tell(story, server.workspace())


_AT_EXIT = """
import asyncio, atexit, sys, threading
from azure_suite import sdk_workspace_at
from azure.core.credentials import AzureKeyCredential
from cirq_azure_sessions.workspaces.azure import AzureWorkspace

endpoint, key, session_id = sys.argv[1:]
workspace = AzureWorkspace(sdk_workspace_at(endpoint, AzureKeyCredential(key)))
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()


async def close():
    print((await workspace.close_session(session_id)).status.value)
    await workspace.aclose()


@atexit.register
def leave():
    asyncio.run_coroutine_threadsafe(close(), loop).result(10)
"""


def test_a_session_is_closed_at_interpreter_exit(server: EmulatorServer) -> None:
    request = session_request()
    tell(lambda workspace: workspace.open_session(request), server.workspace())
    endpoint = server.endpoint.replace("127.0.0.1", "localhost")
    ended = subprocess.run(
        [sys.executable, "-c", _AT_EXIT, endpoint, server.key, request.id],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert (ended.stdout.strip(), ended.stderr, ended.returncode) == ("Succeeded", "", 0)
