"""HTTP/1.1 connections of one event loop, reused from request to request.

A sweep takes four small requests per point, so what a client does around a request counts: this one
takes half the processor time of a general one. It sends a request exactly once: a job that may have
arrived must be looked up, not sent again. httptools parses the responses.
"""

from __future__ import annotations

import asyncio
import math
import ssl
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import httptools
from aiohappyeyeballs import start_connection
from multidict import CIMultiDict
from yarl import URL

from cirq_azure_sessions.clock import SystemClock, timeout
from cirq_azure_sessions.workspaces.azure.network import (
    CannotConnect,
    NameCache,
    Proxy,
    proxy_for,
    trust,
)

__all__ = ["Answer", "ConnectionPool", "NotSent", "ProxyRefused", "Request", "ResponseLost"]

# Seconds. Idle connections are kept for the next sweep, but closed before Azure closes them.
_KEEP_ALIVE = 60.0
_CONNECT_TIMEOUT = 10.0
# Seconds after which a host's next address is tried at the same time (RFC 8305).
_NEXT_ADDRESS_AFTER = 0.25
# Timeouts are checked this often, and after a tenth of the time without a byte that is allowed.
_CHECK_INTERVAL = 1.0

_MAX_HEAD_BYTES = 2**16
# At most this much is decompressed at a time.
_CHUNK_BYTES = 2**18


class NotSent(OSError):
    """No connection could be made, so that the request certainly had no effect.

    Attributes:
        host: The host and the port that were tried.
        port: Likewise.
    """

    def __init__(self, reason: OSError, host: str, port: int) -> None:
        super().__init__(type(reason).__name__)
        self.is_refused = isinstance(reason, ConnectionRefusedError)
        self.host, self.port = host, port


class ProxyRefused(OSError):
    """The proxy did not connect to the server."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class ResponseLost(OSError):
    """The connection ended before the response did, or the response is not HTTP."""


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request. azure-core's token policy reads the URL and adds headers.

    Attributes:
        label: The method and path, for errors and the log.
        address: The URL. A secret if it is signed.
        max_bytes: The maximum size of the response body.
        timeout: Seconds for the exchange, and as many more as its bodies take at `min_rate`.
        min_rate: Bytes a second.
        is_for_service: Whether it goes to the service, with the workspace's credential, and not to
            storage, whose URLs carry a signature.
    """

    label: str
    method: str
    address: URL = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    content: bytes | None = field(repr=False)
    max_bytes: float
    timeout: float
    min_rate: float
    is_for_service: bool

    @property
    def url(self) -> str:
        """The address as azure-core's policy expects it."""
        return str(self.address)


@dataclass(slots=True)
class Answer:
    """An HTTP response, with the attribute names that azure-core's policy expects.

    Attributes:
        headers: By case-insensitive name.
        is_whole: Whether the content was read completely, and not dropped for its size.
    """

    status_code: int = 0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: bytes = field(default=b"", repr=False)
    is_whole: bool = True


class ConnectionPool:
    """The connections of the running event loop, opened on demand.

    Args:
        max_connections: The maximum number of requests at a time, to all servers together.
        read_timeout: Seconds without a byte after which a response counts as lost.
    """

    def __init__(self, max_connections: int, read_timeout: float) -> None:
        self.loop = asyncio.get_running_loop()
        self._read_timeout = read_timeout
        self._slots = asyncio.Semaphore(max_connections)
        self._names = NameCache()
        # State: the servers by scheme and authority; the connections in use; whether the last one
        # closes all; and whether the next check of the timeouts is scheduled. Accessed on one event
        # loop.
        self._servers: dict[tuple[str, str], _Server] = {}
        self._in_use: set[_Connection] = set()
        self._in_flight = 0
        self.is_closing = False
        self._is_checking = False

    @property
    def num_idle(self) -> int:
        """The number of idle connections."""
        return sum(len(server.idle) for server in self._servers.values())

    async def send(self, request: Request) -> Answer:
        """Sends a request once.

        Raises:
            CannotConnect: If this machine's settings prevent it.
            OSError: If there is no response. `NotSent`, `ProxyRefused` and `ssl.CertificateError`
                if the request was not sent, `TimeoutError` if it took too long, else any other.
        """
        address = request.address
        key = address.scheme, address.raw_authority
        server = self._servers.get(key)
        if server is None:
            server = self._servers[key] = _Server(address, proxy_for(address))
        head = server.head(request)
        self._in_flight += 1
        try:
            async with self._slots:
                connection = server.take_idle() or await self._open(server)
                self._in_use.add(connection)
                self._schedule_check()
                is_reusable = False
                try:
                    answer, is_reusable = await connection.exchange(head, request)
                    return answer
                finally:
                    self._in_use.discard(connection)
                    if is_reusable and not connection.is_lost:
                        connection.expires_at = SystemClock.monotonic() + _KEEP_ALIVE
                        server.idle.append(connection)
                    else:
                        connection.transport.abort()
        finally:
            self._in_flight -= 1
            if self.is_closing and not self._in_flight:
                self._close_idle()

    def close(self) -> None:
        """Closes the connections, now or after the requests in flight."""
        self.is_closing = True
        # Those of another loop are not touched: it is closed, or the parent process's.
        if self.loop is asyncio.get_running_loop() and not self._in_flight:
            self._close_idle()

    def _close_idle(self) -> None:
        for server in self._servers.values():
            while server.idle:
                server.idle.pop().transport.abort()

    async def _open(self, server: _Server) -> _Connection:
        host, port = server.peer.raw_host or "", server.peer.port or 0
        try:
            work = self._connect(server, host, port)
            return await timeout(SystemClock(), _CONNECT_TIMEOUT, work)
        except (ssl.CertificateError, ProxyRefused):
            raise
        except OSError as error:
            # The name may resolve to another address by now.
            self._names.clear()
            reason = NotSent(error, host, port)
        raise reason

    async def _connect(self, server: _Server, host: str, port: int) -> _Connection:
        addresses = await self._names.look_up(host, port)
        socket = await start_connection(
            addresses, happy_eyeballs_delay=_NEXT_ADDRESS_AFTER, interleave=1
        )
        transport, connection = await self.loop.create_connection(
            lambda: _Connection(self._read_timeout),
            sock=socket,
            ssl=server.peer_tls,
            server_hostname=None if server.peer_tls is None else host,
        )
        if server.proxy is not None and server.tls is not None:
            try:
                await connection.open_tunnel(server, server.proxy)
                secured = await self.loop.start_tls(
                    transport, connection, server.tls, server_hostname=server.address.raw_host
                )
                assert secured is not None, "as it was not closed in the meantime"
                connection.transport = secured
            except BaseException:
                transport.abort()
                raise
        return connection

    def _schedule_check(self) -> None:
        if not self._is_checking:
            self._is_checking = True
            interval = min(_CHECK_INTERVAL, self._read_timeout / 10, _KEEP_ALIVE)
            SystemClock._call_later(interval, self._check_timeouts)

    def _check_timeouts(self) -> None:
        """Ends exchanges that take too long, and closes connections that were idle for long.

        One timer for all connections costs less than one for each request.
        """
        self._is_checking = False
        now = SystemClock.monotonic()
        for connection in self._in_use:
            connection.check_timeout(now)
        for server in self._servers.values():
            # The last to become idle is the first to be used again, so these are in order.
            while server.idle and server.idle[0].expires_at <= now:
                server.idle.pop(0).transport.abort()
        if self._in_use or self.num_idle:
            self._schedule_check()


class _Server:
    """A server: how to reach it, and its idle connections.

    Attributes:
        peer: The address to connect to: the server's, or its proxy's.
        peer_tls: The TLS context for that; `tls` is that for the server.
    """

    def __init__(self, address: URL, proxy: Proxy | None) -> None:
        self.address = address
        self.proxy = proxy
        self.peer = address if proxy is None else proxy.address
        self.tls = trust() if address.scheme == "https" else None
        self.peer_tls = trust() if self.peer.scheme == "https" else None
        host = address.host_subcomponent or ""
        self.authority = host if address.is_default_port() else f"{host}:{address.port}"
        self.idle: list[_Connection] = []
        self._prefix = ""
        self._lines = f" HTTP/1.1\r\nHost: {self.authority}\r\nAccept-Encoding: gzip\r\n"
        if proxy is not None and self.tls is None:
            self._prefix = f"http://{self.authority}"
            self._lines += _lines(proxy.headers)

    def take_idle(self) -> _Connection | None:
        """The connection that was used last, if it is still open."""
        while self.idle:
            connection = self.idle.pop()
            if not connection.is_lost:
                return connection
        return None

    def head(self, request: Request) -> bytes:
        """The head of a request, and its content."""
        fields = _lines(request.headers)
        if not fields.replace("\r\n", "").isprintable() or fields.count("\n") != len(
            request.headers
        ):
            raise CannotConnect(
                f"A header of {request.label} has a line break or another control character: "
                "copy the key again."
            )
        if request.content is not None or request.method != "GET":
            fields += f"Content-Length: {len(request.content or b'')}\r\n"
        target = f"{request.method} {self._prefix}{request.address.raw_path_qs}"
        return f"{target}{self._lines}{fields}\r\n".encode() + (request.content or b"")


def _lines(headers: Mapping[str, str]) -> str:
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])


class _Connection(asyncio.Protocol):
    """One connection, which has one exchange at a time. httptools parses what it receives.

    Attributes:
        is_lost: Whether the server or the network closed it, or what it sent is not HTTP.
        expires_at: When to close it if it is idle.
    """

    transport: asyncio.Transport

    def __init__(self, read_timeout: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._read_timeout = read_timeout
        self._parser = httptools.HttpResponseParser(self)
        self.is_lost = False
        self.expires_at = 0.0
        # State: the response to the request that was sent; who waits for more of it and until when;
        # and whether the request waits to be sent.
        self._response: _Response | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._wakes_at = 0.0
        self._is_sending = False
        # The bytes received since the last head or part of a body: a head may have no end.
        self._num_pending = 0

    async def exchange(self, content: bytes, request: Request) -> tuple[Answer, bool]:
        """Sends a request and reads the response; also returns whether to reuse the connection."""
        # Real time: a manual clock has no influence on the network.
        began = SystemClock.monotonic()
        self._response = response = _Response(request.max_bytes)
        self.transport.write(content)
        while not (response.is_complete or response.is_too_large):
            self._check(response)
            size = len(content) + response.size
            now = SystemClock.monotonic()
            self._wakes_at = began + request.timeout + size / request.min_rate
            if now >= self._wakes_at:
                raise TimeoutError
            if not self._is_sending:
                self._wakes_at = min(self._wakes_at, now + self._read_timeout)
            await self._wait()
        self._response = None
        if response.is_too_large:
            return Answer(response.status, response.headers, is_whole=False), False
        answer = Answer(response.status, response.headers, response.content())
        return answer, response.leaves_open and not self._is_sending

    async def open_tunnel(self, server: _Server, proxy: Proxy) -> None:
        """Asks the proxy for a connection to the server."""
        address = server.address
        target = f"{address.host_subcomponent}:{address.port}"
        head = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{_lines(proxy.headers)}\r\n"
        self._response = response = _Response(math.inf)
        self.transport.write(head.encode())
        # A response to CONNECT has no body.
        while not response.has_head:
            self._check(response)
            # The pool limits the time.
            await self._wait()
        self._response = None
        if response.status != 200:
            raise ProxyRefused(response.status)
        self._parser = httptools.HttpResponseParser(self)

    def check_timeout(self, now: float) -> None:
        """Ends the wait if it has taken too long."""
        if now >= self._wakes_at and self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimeoutError())

    def _check(self, response: _Response) -> None:
        if response.error or self.is_lost:
            raise ResponseLost(response.error or "the connection was closed")

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # Called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not an instance of it in uvloop, whose transports are classes of their own.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._num_pending += len(data)
        error = ""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            error = "it is not HTTP"
        if self._num_pending > _MAX_HEAD_BYTES:
            error = "its head is too long"
        if error:
            self._end(error)
        else:
            self._wake()

    def eof_received(self) -> None:
        response = self._response
        if response is not None and response.has_head and response.ends_with_connection:
            response.is_complete = True
        self._end("")

    def connection_lost(self, error: Exception | None) -> None:
        self._end("")

    def _end(self, error: str) -> None:
        self.is_lost = True
        if (response := self._response) is not None and not response.is_complete:
            response.error = response.error or error
        self._wake()

    def pause_writing(self) -> None:
        self._is_sending = True

    def resume_writing(self) -> None:
        self._is_sending = False
        self._wake()

    # Called by httptools

    def on_message_begin(self) -> None:
        # Nobody asked for a second response.
        if self._response is None or self._response.is_complete:
            self.is_lost = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if (response := self._response) is not None and not response.has_head:
            text = value.decode(errors="surrogateescape")
            response.headers.add(name.decode(errors="surrogateescape"), text)

    def on_headers_complete(self) -> None:
        self._num_pending = 0
        if (response := self._response) is not None and not response.has_head:
            response.read_head(self._parser.get_status_code(), self._parser.should_keep_alive())

    def on_body(self, part: bytes) -> None:
        self._num_pending = 0
        if (response := self._response) is not None:
            response.read(part)

    def on_message_complete(self) -> None:
        # An interim response announces another.
        if (response := self._response) is not None and response.has_head:
            response.is_complete = True


class _Response:
    """A response, as its bytes arrive.

    Attributes:
        size: The bytes of the body so far. The decompressed size counts: a small response may
            expand to any size.
        ends_with_connection: Whether the body has no length, and ends when the server closes.
        leaves_open: Whether the connection can be used again.
        error: Why the rest cannot be read, if it cannot.
    """

    def __init__(self, max_bytes: float) -> None:
        self.status = 0
        self.headers: CIMultiDict[str] = CIMultiDict()
        self.size = 0
        self.has_head = self.is_complete = self.is_too_large = False
        self.ends_with_connection = self.leaves_open = False
        self.error = ""
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._inflater: Any = None

    def read_head(self, status: int, leaves_open: bool) -> None:
        """Reads the head, unless it is that of an interim response."""
        headers = self.headers
        if status < 200:
            headers.clear()
            return
        self.status, self.leaves_open, self.has_head = status, leaves_open, True
        if headers.get("Content-Encoding", "").lower() in ("gzip", "x-gzip", "deflate"):
            # With the header of gzip or of zlib.
            self._inflater = zlib.decompressobj(47)
        coding = headers.get("Transfer-Encoding")
        self.ends_with_connection = coding is None and "Content-Length" not in headers
        if coding is not None and coding.lower() != "chunked":
            self.error = "its transfer encoding is unknown"

    def read(self, part: bytes) -> None:
        """Reads a part of the body."""
        if self._inflater is None:
            self._append(part)
            return
        inflated = b""
        try:
            while (part or len(inflated) == _CHUNK_BYTES) and not self.is_too_large:
                inflated = self._inflater.decompress(part, _CHUNK_BYTES)
                part = self._inflater.unconsumed_tail
                self._append(inflated)
        except zlib.error:
            self.error = "it cannot be decompressed"

    def _append(self, part: bytes) -> None:
        self.size += len(part)
        self.is_too_large = self.size > self._max_bytes
        if not self.is_too_large:
            self._parts.append(part)

    def content(self) -> bytes:
        """The body, once it is complete.

        Raises:
            ResponseLost: If it cannot be read.
        """
        if self._inflater is not None and not self._inflater.eof and not self.error:
            self.error = "its compressed body is not complete"
        if self.error:
            raise ResponseLost(self.error)
        return b"".join(self._parts)
