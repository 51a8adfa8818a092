"""The network's settings: name resolution, certificates, proxies, and threads for what blocks.

asyncio resolves names on threads that keep the interpreter from exiting while they wait, and that
cannot be started during exit, when sessions are still to be closed. So these threads are our own.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from inspect import iscoroutinefunction
from ipaddress import ip_address
from typing import Any, TypeVar

import certifi
from aiohappyeyeballs import AddrInfoType
from yarl import URL

from cirq_azure_sessions.clock import SystemClock
from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.executor import DaemonExecutor

__all__ = [
    "CannotConnect",
    "NameCache",
    "NothingListens",
    "Proxy",
    "call_either",
    "check_listening",
    "in_thread",
    "is_loopback",
    "proxy_for",
    "trust",
    "trusted_certificates",
]

T = TypeVar("T")

_NAME_LIFETIME = 300.0
_LOOPBACK_TIMEOUT = 1.0

# Concurrent name lookups and sign-ins. Each serves many requests.
_blocking_calls = DaemonExecutor(8, name="azure-connect")


class CannotConnect(ServiceError):
    """This machine's settings prevent a connection; nothing was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        # A retry would not help.
        self.is_ambiguous = self.may_pass = False


class NothingListens(CannotConnect):
    """A port of this machine refuses connections, as where an emulator does not run."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            f"Nothing listens on {host}:{port}: is `cirq-azure-sessions emulate` running?"
        )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def check_listening(url: str) -> None:
    """Checks that something listens at a URL, if it is on this machine.

    Raises:
        CannotConnect: If nothing does.
    """
    address = URL(url)
    host, port = address.host, address.port
    if host is None or port is None or not is_loopback(host) or proxy_for(address):
        return
    try:
        socket.create_connection((host, port), _LOOPBACK_TIMEOUT).close()
    except ConnectionRefusedError:
        raise NothingListens(host, port) from None
    except OSError:
        # The first request is retried, and reports it.
        pass


@dataclass(frozen=True, slots=True)
class Proxy:
    """The proxy to a server.

    Attributes:
        address: Its address, without a user name and a password.
        headers: The headers with its user name and password, if it needs them.
    """

    address: URL
    headers: Mapping[str, str] = field(repr=False)


def proxy_for(address: URL) -> Proxy | None:
    """The proxy that the environment names for a server, if any.

    Raises:
        CannotConnect: If it cannot be used.
    """
    if address.scheme == "http" and is_loopback(address.host or ""):
        return None  # an emulator, which no proxy on another machine can reach
    proxies = urllib.request.getproxies()
    proxy = proxies.get(address.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(f"{address.host}:{address.port}"):
        return None
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
    token = base64.b64encode(login.encode()).decode()
    return Proxy(server, {"Proxy-Authorization": f"Basic {token}"} if login else {})


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


class NameCache:
    """The addresses of hosts, looked up on daemon threads. Lives on one event loop."""

    def __init__(self) -> None:
        # State: each lookup and when it began, also while it lasts, so that connections opened
        # together share it.
        self._found: dict[tuple[str, int], tuple[asyncio.Task[list[AddrInfoType]], float]] = {}

    async def look_up(self, host: str, port: int) -> list[AddrInfoType]:
        """The addresses of a host."""
        now = SystemClock.monotonic()
        lookup, began = self._found.get((host, port), (None, now))
        if lookup is None or now - began > _NAME_LIFETIME:
            lookup = asyncio.ensure_future(_look_up(host, port))
            self._found[host, port] = lookup, now
        return await asyncio.shield(lookup)

    def clear(self) -> None:
        """Forgets all addresses, since one of them may have changed."""
        self._found.clear()


async def _look_up(host: str, port: int) -> list[AddrInfoType]:
    try:
        return [*await in_thread(partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM))]
    except UnicodeError as error:
        # getaddrinfo raises this for invalid names.
        raise socket.gaierror(socket.EAI_NONAME, str(error)) from None
