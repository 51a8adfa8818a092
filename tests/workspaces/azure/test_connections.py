"""Connections under adverse conditions: no threads left, forks, proxies, logins."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from azure.core.credentials import AccessToken, AccessTokenInfo, AzureKeyCredential
from azure_suite import job_request, sdk_workspace_at, session_request, tell

from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.workspaces.azure import AzureWorkspace

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


async def lose_all_threads() -> None:
    """Puts the event loop in the state that it is in when the interpreter exits."""
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    asyncio.get_running_loop().set_default_executor(executor)


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


def test_a_login_is_asked_in_place_when_there_are_no_threads_any_more() -> None:
    login = Login()

    async def story(workspace: AzureWorkspace) -> None:
        await lose_all_threads()
        with pytest.raises(ServiceError, match="No connection"):
            await workspace.get_session("s")

    tell(story, sdk_workspace_at(CLOSED, login))
    assert login.threads == [threading.current_thread()]


def test_a_login_that_fails_says_which_command_to_run() -> None:
    with pytest.raises(ServiceError, match="az login") as failure:
        tell(lambda workspace: workspace.get_session("s"), sdk_workspace_at(CLOSED, NoLogin()))
    assert failure.value.status_code == 401
    assert not failure.value.is_ambiguous
    assert "s3cr3t" not in f"{failure.value} {failure.value.__context__}"


def test_names_are_resolved_with_and_without_threads(server: EmulatorServer) -> None:
    port = server.endpoint.rpartition(":")[2]
    sdk_workspace = sdk_workspace_at(f"http://localhost:{port}", AzureKeyCredential(server.key))

    async def story(workspace: AzureWorkspace) -> None:
        assert await workspace.list_targets()
        await workspace.aclose()
        await lose_all_threads()
        assert await workspace.list_targets()

    tell(story, sdk_workspace)


def test_a_name_that_nobody_knows_is_reported() -> None:
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_the_child_of_a_fork_leaves_the_parents_connections_alone(server: EmulatorServer) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        session = await workspace.open_session(session_request())
        server.requests.clear()
        child = os.fork()
        if child == 0:
            workspace._channel._connections = None
            gc.collect()
            os._exit(0)
        assert os.waitpid(child, 0) == (child, 0)
        await asyncio.wait_for(workspace.get_session(session.id), 10)
        assert server.requests.connections == 0

    tell(story, server.workspace())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
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
