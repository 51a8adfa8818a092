"""The pool of connections to the service and its storage: aiohttp under azure-core's pipelines.

azure-core's policies sign in and log; aiohttp sends, over connections that it opens when a request
needs one and closes when they have been idle. Their defaults that would do harm here:

- azure-core's own transport calls a lost connection a request that was not sent, asks threads for
  proxies and `.netrc` twice a request, and takes half of a request's time;
- aiohttp sends a PUT again by itself when a connection is lost, also the PUT of a job;
- asyncio resolves names on threads that keep the interpreter from exiting while they wait, and
  that cannot be started any more at exit, when sessions are still to be closed;
- a connector that dies in the child of a fork takes the parent's sockets out of the parent's
  event loop.
"""

from __future__ import annotations

import asyncio
import base64
import math
import os
import socket
import urllib.request
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias, TypeVar

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from azure.core.pipeline import AsyncPipeline
from azure.core.pipeline.policies import (
    AsyncBearerTokenCredentialPolicy,
    AzureKeyCredentialPolicy,
    HttpLoggingPolicy,
)
from azure.core.pipeline.transport import AsyncHttpTransport
from azure.core.rest import HttpRequest
from azure.quantum import Workspace
from yarl import URL

from cirq_azure_sessions.background import DaemonExecutor
from cirq_azure_sessions.errors import ServiceError

__all__ = ["Answer", "Connections"]

T = TypeVar("T")

# Seconds. Idle connections are kept for the next sweep, but not as long as Azure keeps its side.
_KEEP_ALIVE = 60.0
_CONNECT_TIMEOUT = 10.0
_NAME_LIFETIME = 300

# Name lookups and sign-ins that may wait at once. Each opens a way for many requests.
_blocking_calls = DaemonExecutor(8, name="azure-connect")

_API_KEY_HEADER = "x-ms-quantum-api-key"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. The names are those that azure-core's policies look for.

    Attributes:
        headers: By name, in any case.
        is_whole: Whether the content was read to its end, and not dropped for its size.
    """

    status_code: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)
    is_whole: bool = True


_Pipeline: TypeAlias = AsyncPipeline[HttpRequest, Answer]


class Connections:
    """The connections of the running event loop. Its errors are azure-core's and aiohttp's.

    Args:
        workspace: The user's workspace: whose credential to use.
        max_connections: The maximum number of connections at a time, to the service and its
            storage together.
        read_timeout: Seconds without a byte after which an answer counts as lost.
    """

    def __init__(self, workspace: Workspace, max_connections: int, read_timeout: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._session = aiohttp.ClientSession(
            connector=_Connector(
                limit=max_connections,
                keepalive_timeout=_KEEP_ALIVE,
                resolver=_Resolver(),
                ttl_dns_cache=_NAME_LIFETIME,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=_CONNECT_TIMEOUT, sock_read=read_timeout
            ),
            # Only a request with a body has a type, and says itself which.
            skip_auto_headers=("Content-Type",),
            middlewares=(_send_once,),
        )
        _sessions.add(self._session)
        transport = _Transport(self._session)
        # The credential is for the service alone: URLs of storage carry their own.
        log: Any = HttpLoggingPolicy()
        self._service: _Pipeline = AsyncPipeline(transport, [_authentication(workspace), log])
        self._storage: _Pipeline = AsyncPipeline(transport, [log])
        # State: the proxy of each origin; how many requests are in flight, and whether the last of
        # them is to close the connections. Touched on one event loop.
        self._proxies: dict[str, dict[str, Any]] = {}
        self._in_flight = 0
        self._is_closing = False

    @property
    def is_here(self) -> bool:
        """Whether these are the connections of the event loop that runs now."""
        return self._loop is asyncio.get_running_loop()

    async def send_to_service(self, request: HttpRequest, *, max_bytes: float) -> Answer:
        """Sends a request with the workspace's credential."""
        return await self._send(self._service, request, max_bytes)

    async def send_to_storage(self, request: HttpRequest, *, max_bytes: float) -> Answer:
        """Sends a request as it is."""
        return await self._send(self._storage, request, max_bytes)

    async def aclose(self) -> None:
        """Closes the connections: now, or when the requests in flight are finished."""
        self._is_closing = True
        await self._close_if_unused()

    def abandon(self) -> None:
        """Drops connections of another event loop, where they cannot be closed in order."""
        self._session.detach()

    async def _send(self, pipeline: _Pipeline, request: HttpRequest, max_bytes: float) -> Answer:
        origin = request.url[: request.url.find("/", len("https://"))]
        if origin not in self._proxies:
            self._proxies[origin] = _find_proxy(URL(origin))
        options = self._proxies[origin]
        self._in_flight += 1
        try:
            return (await pipeline.run(request, max_bytes=max_bytes, **options)).http_response
        finally:
            self._in_flight -= 1
            await self._close_if_unused()

    async def _close_if_unused(self) -> None:
        if self._is_closing and not self._in_flight:
            await self._session.close()


class _Transport(AsyncHttpTransport[HttpRequest, Answer]):
    """Where azure-core's pipelines end."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def send(
        self, request: HttpRequest, *, max_bytes: float = math.inf, **options: Any
    ) -> Answer:
        async with self._session.request(
            request.method,
            request.url,
            headers=request.headers,
            data=request.content,
            allow_redirects=False,
            **options,
        ) as response:
            parts, size = [], 0
            # Counted unpacked: a small answer may unpack to any size.
            async for part in response.content.iter_any():
                parts.append(part)
                size += len(part)
                if size > max_bytes:
                    return Answer(response.status, response.headers, b"", is_whole=False)
            return Answer(response.status, response.headers, b"".join(parts))

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def __aexit__(self, *exc_info: object) -> None:
        pass


class _Connector(aiohttp.TCPConnector):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._process = os.getpid()

    def __del__(self, *args: Any) -> None:
        # In the child of a fork the event loop's epoll object is the parent's: closing a connection
        # here would make the parent deaf to it.
        if os.getpid() == self._process and not self._loop.is_closed():
            super().__del__(*args)


# The sessions of this process; aiohttp complains of those that are not closed.
_sessions: weakref.WeakSet[aiohttp.ClientSession] = weakref.WeakSet()


def _leave_to_parent() -> None:
    for session in list(_sessions):
        session.detach()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


async def _send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keeps aiohttp from resending a request whose connection was lost: it may have arrived."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        lost = aiohttp.ClientConnectionError(type(error).__name__)
    raise lost


class _Resolver(AbstractResolver):
    """Resolves names on daemon threads."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        look_up = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
        try:
            found = await _in_thread(look_up)
        except UnicodeError as error:
            # What getaddrinfo says of names that cannot be names.
            raise socket.gaierror(socket.EAI_NONAME, str(error)) from None
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for family, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        pass


def _find_proxy(origin: URL) -> dict[str, Any]:
    """The proxy that the environment names for a server, as options for aiohttp."""
    proxy = urllib.request.getproxies().get(origin.scheme)
    if proxy is None or urllib.request.proxy_bypass(origin.host or ""):
        return {}
    url = URL(proxy)
    options: dict[str, Any] = {"proxy": str(url.with_user(None))}
    if url.user:
        login = base64.b64encode(f"{url.user}:{url.password or ''}".encode()).decode()
        options["proxy_headers"] = {"Proxy-Authorization": f"Basic {login}"}
    return options


def _authentication(workspace: Workspace) -> Any:
    """The policy for the credential that the workspace's own client uses."""
    config = workspace._client._config
    if not hasattr(config.credential, "get_token"):
        return AzureKeyCredentialPolicy(config.credential, _API_KEY_HEADER)
    credential: Any = _Credential(config.credential)
    return AsyncBearerTokenCredentialPolicy(credential, *config.credential_scopes)


class _Credential:
    """A credential of the user's whose calls do not hold up the event loop."""

    def __init__(self, credential: Any) -> None:
        self.get_token = partial(_ask, credential.get_token)
        # azure-core asks for this newer method if it is there.
        if hasattr(credential, "get_token_info"):
            self.get_token_info = partial(_ask, credential.get_token_info)


async def _ask(get_token: Callable[..., T], *scopes: str, **options: Any) -> T:
    try:
        return await _in_thread(partial(get_token, *scopes, **options))
    except Exception as error:
        reason = type(error).__name__
    raise ServiceError(
        f"Signing in to Azure failed ({reason}): run `az login`, or set AZURE_TENANT_ID, "
        "AZURE_CLIENT_ID and AZURE_CLIENT_SECRET.",
        status_code=401,
    )


async def _in_thread(call: Callable[[], T]) -> T:
    """Runs a blocking call on a daemon thread; at interpreter exit, without threads, in place."""
    result: T = await asyncio.wrap_future(_blocking_calls.submit(call))
    return result
