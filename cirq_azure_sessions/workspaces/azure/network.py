"""Connections: name resolution, certificates, proxies, threads and shutdown.

aiohttp opens connections as requests need them, and closes idle ones. Some of its defaults, and of
asyncio's, would do harm here:

- asyncio resolves names on threads that keep the interpreter from exiting while they wait, and that
  cannot be started during exit, when sessions are still to be closed;
- aiohttp looks up proxies and `.netrc` on threads twice per request;
- a connector that is collected in a forked child removes the parent's sockets from the parent's
  event loop.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import os
import socket
import ssl
import urllib.request
import weakref
from collections.abc import Callable
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, TypeVar

import aiohttp
import certifi
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.executor import DaemonExecutor

__all__ = [
    "CannotConnect",
    "call_either",
    "connection_options",
    "in_thread",
    "open_session",
    "proxy_options",
    "timeouts",
    "trust",
    "trusted_certificates",
]

T = TypeVar("T")

# Seconds. Idle connections are kept for the next sweep, but closed before Azure closes them.
_KEEP_ALIVE = 60.0
_CONNECT_TIMEOUT = 10.0
_NAME_LIFETIME = 300

# Concurrent name lookups and sign-ins. Each serves many requests.
_blocking_calls = DaemonExecutor(8, name="azure-connect")

# The sessions of this process; aiohttp warns about unclosed ones.
_sessions: weakref.WeakSet[aiohttp.ClientSession] = weakref.WeakSet()


def open_session(
    max_connections: int, read_timeout: float, middleware: aiohttp.ClientMiddlewareType
) -> tuple[aiohttp.ClientSession, aiohttp.TCPConnector]:
    """A pool of connections for the running event loop; it opens them on demand."""
    connector = _Connector(
        limit=max_connections,
        keepalive_timeout=_KEEP_ALIVE,
        resolver=_Resolver(),
        ttl_dns_cache=_NAME_LIFETIME,
    )
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=timeouts(read_timeout),
        # A request with a body sets its own content type; others have none.
        skip_auto_headers=("Content-Type",),
        middlewares=(middleware,),
    )
    _sessions.add(session)
    return session, connector


# Timeouts of storage requests depend on the size of the body; too many to cache.
@functools.lru_cache(maxsize=128)
def timeouts(read_timeout: float, total: float | None = None) -> aiohttp.ClientTimeout:
    """The timeouts of a request: to connect, between bytes, and in total."""
    return aiohttp.ClientTimeout(total=total, sock_connect=_CONNECT_TIMEOUT, sock_read=read_timeout)


class CannotConnect(ServiceError):
    """This machine's settings prevent a connection; nothing was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        # A retry would not help.
        self.is_ambiguous = self.may_pass = False


def connection_options(address: URL) -> dict[str, Any]:
    """aiohttp's options for a server: trusted certificates and proxy.

    Raises:
        CannotConnect: If the environment names a proxy or certificates that cannot be used.
    """
    trusted = {"ssl": trust()} if address.scheme == "https" else {}
    return {**trusted, **proxy_options(address)}


def proxy_options(address: URL) -> dict[str, Any]:
    """aiohttp's options for the proxy to a server; empty without a proxy.

    Raises:
        CannotConnect: If the environment names a proxy that cannot be used.
    """
    proxies = urllib.request.getproxies()
    proxy = proxies.get(address.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(f"{address.host}:{address.port}"):
        return {}
    try:
        url = URL(proxy if "://" in proxy else f"http://{proxy}")
        login = f"{url.user}:{url.password or ''}" if url.user else ""
        server = url.with_user(None)
    except ValueError:
        raise CannotConnect(
            f"The proxy address for {address.scheme} is malformed: correct the environment "
            f"variable {address.scheme.upper()}_PROXY or ALL_PROXY."
        ) from None
    if url.scheme not in ("http", "https"):
        raise CannotConnect(
            f"The proxy {server} is not supported: name an http:// proxy in "
            f"{address.scheme.upper()}_PROXY, or the service in NO_PROXY."
        )
    options: dict[str, Any] = {"proxy": str(server)}
    if login:
        token = base64.b64encode(login.encode()).decode()
        options["proxy_headers"] = {"Proxy-Authorization": f"Basic {token}"}
    return options


def trusted_certificates() -> tuple[str, str]:
    """The source and the path of the trusted certificates.

    The choice is that of the SDK's transport: an environment variable, or else certifi.
    """
    for variable in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        if path := os.environ.get(variable):
            return variable, path
    return "certifi", certifi.where()


def trust() -> ssl.SSLContext:
    """A TLS context that trusts these certificates.

    Raises:
        CannotConnect: If they cannot be read.
    """
    variable, path = trusted_certificates()
    try:
        if os.path.isdir(path):
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except OSError as error:
        reason = type(error).__name__
    raise CannotConnect(
        f"No certificates can be read from {path!r} ({reason}): correct {variable}."
    )


async def in_thread(call: Callable[[], T]) -> T:
    """Runs a blocking call on a daemon thread, or inline during interpreter exit."""
    result: T = await asyncio.wrap_future(_blocking_calls.submit(call))
    return result


async def call_either(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Calls a function, sync or async; a sync one runs on a daemon thread."""
    if iscoroutinefunction(call):
        return await call(*args, **options)
    return await in_thread(partial(call, *args, **options))


class _Resolver(AbstractResolver):
    """Resolves names on daemon threads."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        look_up = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
        try:
            found = await in_thread(look_up)
        except UnicodeError as error:
            # getaddrinfo raises this for invalid names.
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


class _Connector(aiohttp.TCPConnector):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._made_by = os.getpid()
        self._made_on = asyncio.get_running_loop()

    def __del__(self, *args: Any) -> None:
        # A forked child shares the parent's epoll object: closing a connection here would remove it
        # from the parent's event loop.
        if os.getpid() == self._made_by and not self._made_on.is_closed():
            super().__del__(*args)


def _leave_to_parent() -> None:
    for session in list(_sessions):
        session.detach()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
