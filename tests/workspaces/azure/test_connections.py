"""The framing of HTTP/1.1 responses, and tunnels through proxies."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import ssl
from pathlib import Path

import pytest
from azure.core.credentials import AzureKeyCredential
from azure_suite import (
    SESSION,
    answer,
    sdk_workspace_at,
    self_signed,
    tell,
    without_proxies,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.workspaces.azure import AzureWorkspace
from cirq_azure_sessions.workspaces.azure.connections import Request, ResponseLost, _Connection

BODY = b'{"histogram": {"0": 0.5}}' * 9
PACKED = gzip.compress(BODY)


def chunked(body: bytes) -> bytes:
    parts = [body[at : at + 7] for at in range(0, len(body), 7)]
    chunks = b"".join(b"%x;a=b\r\n%b\r\n" % (len(part), part) for part in parts)
    return chunks + b"0\r\nTrailer: x\r\n\r\n"


RESPONSES = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY),
    "chunks": b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(BODY),
    "gzip": b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
    % (len(PACKED), PACKED),
    "gzip in chunks": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n" + chunked(PACKED),
    "after interim responses": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY),
    "until the end": b"HTTP/1.1 200 OK\r\n\r\n" + BODY,
}
REQUEST = Request("GET x", "GET", URL("http://x"), {}, None, 1e6, 10.0, 1e6, False)


class Wire(asyncio.Transport):
    """A transport that answers a request part by part, and then closes."""

    def __init__(self, connection: _Connection, parts: list[bytes]) -> None:
        super().__init__()
        self.connection = connection
        self.parts = iter(parts)

    def write(self, data: object) -> None:
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        if (part := next(self.parts, None)) is None:
            self.connection.eof_received()
        else:
            self.connection.data_received(part)
            asyncio.get_running_loop().call_soon(self._next)


@pytest.mark.parametrize("name", RESPONSES)
@given(cuts=st.sets(st.integers(1, 300)))
@settings(max_examples=20, deadline=None)
def test_a_response_is_read_however_its_bytes_arrive(name: str, cuts: set[int]) -> None:
    raw = RESPONSES[name]
    places = [0, *sorted(cut for cut in cuts if cut < len(raw)), len(raw)]
    parts = [raw[a:b] for a, b in itertools.pairwise(places)]

    async def read() -> tuple[bytes, bool]:
        connection = _Connection(10.0)
        connection.connection_made(Wire(connection, parts))
        found, is_reusable = await connection.exchange(b"", REQUEST)
        return found.content, is_reusable

    assert asyncio.run(read()) == (BODY, name != "until the end")


MALFORMED = {
    "size of a chunk": b"Transfer-Encoding: chunked\r\n\r\nx\r\n",
    "chunk longer than it says": b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    "length": b"Content-Length: -1\r\n\r\n",
    "transfer encoding": b"Transfer-Encoding: br\r\n\r\n",
    "header": b"Content-Length : 2\r\n\r\n{}",
    "endless head": b"X: " + b"x" * 100_000,
}


@pytest.mark.parametrize("rest", MALFORMED.values(), ids=MALFORMED)
def test_malformed_responses_count_as_lost(rest: bytes) -> None:
    async def story() -> None:
        async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n" + rest)

        async with await asyncio.start_server(respond, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            workspace = AzureWorkspace(sdk_workspace_at(f"http://127.0.0.1:{port}"))
            with pytest.raises(ServiceError, match="was lost"):
                await workspace.list_targets(retries=False)
            await workspace.aclose()

    asyncio.run(story())


def test_a_change_of_protocol_counts_as_lost_and_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    change = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"

    async def read() -> None:
        connection = _Connection(10.0)
        connection.connection_made(Wire(connection, [change]))
        await connection.exchange(b"", REQUEST)

    with pytest.raises(ResponseLost):
        asyncio.run(read())
    assert caplog.messages == []


def test_a_key_with_a_line_break_is_refused_before_it_is_sent() -> None:
    sdk_workspace = sdk_workspace_at("http://127.0.0.1:1", AzureKeyCredential("s3cr3t\r\nX: y"))
    with pytest.raises(ServiceError, match="copy the key again") as failure:
        tell(lambda workspace: workspace.get_session("s"), sdk_workspace)
    assert "s3cr3t" not in str(failure.value)


@pytest.mark.parametrize("proxy_scheme", ["http", "https"])
def test_tls_goes_through_the_tunnel_of_a_proxy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, proxy_scheme: str
) -> None:
    without_proxies(monkeypatch)
    key, certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(SESSION))
        writer.close()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        host, port = heads[0].split()[1].decode().rsplit(":", 1)
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(2**16):
                sink.write(data)
            sink.close()

        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    async def story() -> str:
        async with (
            await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server,
            await asyncio.start_server(
                tunnel, "127.0.0.1", 0, ssl=context if proxy_scheme == "https" else None
            ) as proxy,
        ):
            ports = [each.sockets[0].getsockname()[1] for each in (server, proxy)]
            monkeypatch.setenv("https_proxy", f"{proxy_scheme}://me:pw@127.0.0.1:{ports[1]}")
            workspace = AzureWorkspace(sdk_workspace_at(f"https://127.0.0.1:{ports[0]}"))
            found = await workspace.get_session("s")
            await workspace.aclose()
            return found.id

    assert asyncio.run(asyncio.wait_for(story(), 20)) == "s"
    assert b"Proxy-Authorization: Basic bWU6cHc=" in heads[0]
