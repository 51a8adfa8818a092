"""Requests to Azure that go wrong in ways that an emulator's do not, and what errors may say."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gzip
import logging
import math
import re
import socket
import ssl
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from azure.core.exceptions import AzureError
from azure_suite import (
    SESSION,
    ScriptedServer,
    answer,
    job_request,
    sdk_workspace_at,
    session_request,
    tell,
    until_over,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from services import HANG_TIMEOUT, in_background

from cirq_azure_sessions.clock import ManualClock
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.emulator.requests import ROUTE_NAMES
from cirq_azure_sessions.errors import ServiceError, SessionNotAvailable
from cirq_azure_sessions.model import Job, JobStatus
from cirq_azure_sessions.redaction import printable
from cirq_azure_sessions.sessions.pool import SessionPool
from cirq_azure_sessions.workspaces.azure import AzureWorkspace, http
from cirq_azure_sessions.workspaces.azure.connections import ProxyRefused, ResponseLost
from cirq_azure_sessions.workspaces.azure.documents import without_secrets
from cirq_azure_sessions.workspaces.azure.storage import SignedUrl
from cirq_azure_sessions.workspaces.base import JOBS_PER_PAGE


def ask(*answers: bytes, clock: ManualClock | None = None) -> Any:
    """What `get_session` makes of raw answers."""
    clock = clock or ManualClock()

    async def play() -> Any:
        async with ScriptedServer(*answers) as server:
            workspace = AzureWorkspace(sdk_workspace_at(server.endpoint), clock=clock)
            try:
                return await workspace.get_session("s")
            finally:
                await workspace.aclose()

    return asyncio.run(play())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


# Garbage


GARBAGE = {
    "no JSON": b"<html>",
    "an empty body": b"",
    "not UTF-8": b'{"id": "\xff"}',
    "nested beyond all measure": b"[" * 100_000,
    "a text of quotes that is cut off": b'{"text": "' + rb"\"" * 500_000,
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "no status": answer({**SESSION, "status": None}).partition(b"\r\n\r\n")[2],
}


@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_retried_and_then_reported(body: bytes) -> None:
    assert ask(answer(body), answer(SESSION)).id == "s"
    with pytest.raises(ServiceError, match="is not the expected JSON") as failure:
        ask(*[answer(body)] * 6)
    assert failure.value.is_ambiguous


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*SESSION, "creationTime", "costEstimate"]), inner)
    ),
    max_leaves=8,
)


@given(document=JSON_VALUES | st.fixed_dictionaries(dict.fromkeys(SESSION, JSON_VALUES)))
@settings(max_examples=40, deadline=None)
def test_any_json_is_a_session_or_a_service_error(document: Any) -> None:
    with contextlib.suppress(ServiceError):
        assert ask(*[answer(document)] * 6).id is not None


BROKEN = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "half a body": answer(SESSION)[:-10],
    "gzip that is none": answer(b"no gzip", Content_Encoding="gzip"),
    "half of gzip": answer(gzip.compress(b"{}" * 500)[:20], Content_Encoding="gzip"),
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
def test_a_broken_answer_is_retried_and_then_reported(raw: bytes) -> None:
    assert ask(raw, answer(SESSION)).id == "s"
    with pytest.raises(ServiceError) as failure:
        ask(*[raw] * 6)
    assert failure.value.is_ambiguous
    assert failure.value.__context__ is None


def fetch(*answers: bytes, description: Mapping[str, Any] | None = None, **options: Any) -> bytes:
    """What `fetch_output` makes of raw answers."""

    async def play() -> bytes:
        async with ScriptedServer(*answers) as server:
            container = SignedUrl.parse(
                f"{server.endpoint}/job-j?se=2099-01-01T00%3A00%3A00Z&sig=secret"
            )
            job = Job("j", "t", "n", JobStatus.SUCCEEDED, output_uri=f"{container.url}/output")
            job = dataclasses.replace(job, **description or {})
            workspace = AzureWorkspace(
                sdk_workspace_at(server.endpoint), clock=ManualClock(), **options
            )
            try:
                return await workspace.fetch_output(job, container)
            finally:
                await workspace.aclose()

    return asyncio.run(play())


def test_a_storage_firewall_is_distinguished_from_a_bad_signature() -> None:
    async def story() -> None:
        refusal = answer(b"", 403, x_ms_error_code="AuthorizationFailure")
        async with ScriptedServer(refusal) as server:
            workspace = AzureWorkspace(sdk_workspace_at(server.endpoint))
            with pytest.raises(ServiceError, match="firewall blocks this machine"):
                await workspace._client.store("GET", f"{server.endpoint}/job-j/output?sig=x")
            await workspace.aclose()

    asyncio.run(story())


def test_a_truncated_result_is_fetched_again_and_then_reported() -> None:
    whole = answer(b'{"histogram": {"0": 1.0}}')
    assert fetch(whole[:-5], whole) == b'{"histogram": {"0": 1.0}}'
    with pytest.raises(ServiceError, match="was lost") as failure:
        fetch(*[whole[:-5]] * 6)
    assert "secret" not in str(failure.value)


ENDLESS = {
    "gzip": answer(gzip.compress(b" " * 20_000_000), Content_Encoding="gzip"),
    "plain": answer(b" " * 20_000_000),
}


@pytest.mark.parametrize("packing", ENDLESS)
def test_result_of_any_size_is_fetched_whole(packing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_MAX_DOCUMENT_BYTES", 1_000_000)
    assert len(fetch(ENDLESS[packing])) == 20_000_000


@pytest.mark.parametrize("packing", ENDLESS)
def test_result_over_max_result_bytes_is_refused_with_advice(packing: str) -> None:
    with pytest.raises(ServiceError, match=r"1,000,000 bytes: .* larger max_result_bytes") as error:
        fetch(ENDLESS[packing], max_result_bytes=1_000_000)
    assert not error.value.may_pass
    whole = answer(b" " * 1_000_000)
    assert fetch(whole, max_result_bytes=1_000_000) == b" " * 1_000_000


def test_result_beyond_what_its_shots_and_bits_can_take_is_refused_unless_asked_for() -> None:
    few = {"input_params": {"shots": 100}, "metadata": {"bits": "2"}}
    with pytest.raises(ServiceError, match="larger max_result_bytes"):
        fetch(ENDLESS["gzip"], description=few)
    assert len(fetch(ENDLESS["gzip"], description=few, max_result_bytes=math.inf)) == 20_000_000
    many = {"input_params": {"shots": 10_000}, "metadata": {"bits": "2"}}
    assert len(fetch(ENDLESS["plain"], description=many)) == 20_000_000


@pytest.mark.parametrize("packing", ENDLESS)
def test_endless_json_does_not_fill_the_memory(
    packing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_MAX_DOCUMENT_BYTES", 1_000_000)
    with pytest.raises(ServiceError, match="is not the expected JSON"):
        ask(*[ENDLESS[packing]] * 6)


def test_error_of_our_own_is_neither_translated_nor_retried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def send(*args: object, **options: object) -> object:
        raise TypeError("a mistake of ours")

    monkeypatch.setattr(http._Connections, "send", send)
    clock = ManualClock()
    with pytest.raises(TypeError, match="a mistake of ours"):
        ask(clock=clock)
    assert clock.monotonic() == 0.0


TRANSPORT_ERRORS = [
    ResponseLost("it is not HTTP"),
    ProxyRefused(502),
    TimeoutError(),
    ConnectionResetError(),
    ssl.SSLError(),
    AzureError("no TLS"),
]


@pytest.mark.parametrize("raised", TRANSPORT_ERRORS, ids=lambda error: type(error).__name__)
def test_transport_error_becomes_service_error(
    raised: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def send(*args: object, **options: object) -> object:
        raise raised

    monkeypatch.setattr(http._Connections, "send", send)
    with pytest.raises(ServiceError) as failure:
        ask()
    assert type(failure.value) is ServiceError


def test_a_list_with_dead_links_ends() -> None:
    def page(number: int) -> bytes:
        link = f"http://elsewhere.example/sessions?skip={100 * number}&top=100"
        return answer({"value": [SESSION], "nextLink": link})

    async def play() -> None:
        async with ScriptedServer(*map(page, range(1, 9))) as server:
            listing = AzureWorkspace(sdk_workspace_at(server.endpoint)).list_sessions()
            assert (await anext(listing)).id == "s"
            with pytest.raises(ServiceError, match="same page"):
                await anext(listing)

    asyncio.run(play())


def test_cyclic_list_ends() -> None:
    link = "http://elsewhere.example/sessions?skip=0&top=100&orderby=CreationTime%20desc"
    page = answer({"value": [SESSION], "nextLink": link})

    async def play() -> None:
        async with ScriptedServer(*[page] * 9) as server:
            workspace = AzureWorkspace(sdk_workspace_at(server.endpoint))
            listing = workspace.list_sessions()
            assert (await anext(listing)).id == "s"
            with pytest.raises(ServiceError, match="same page"):
                await anext(listing)
            # The link's host has been told nothing: the key is for the endpoint alone.
            assert len(server.requests) == 1
            await workspace.aclose()

    asyncio.run(play())


def test_list_of_targets_that_trickles_in_times_out() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def write() -> None:
            if not writer.is_closing():
                writer.write(b" ")
                asyncio.get_running_loop().call_later(0.02, write)

        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 1000000\r\n\r\n")
        write()

    async def play() -> None:
        async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
            host, port = server.sockets[0].getsockname()
            workspace = AzureWorkspace(sdk_workspace_at(f"http://{host}:{port}"), read_timeout=0.2)
            with pytest.raises(ServiceError, match="not answered in time"):
                await workspace.list_targets(retries=False)
            await workspace.aclose()

    asyncio.run(play())


@pytest.mark.parametrize("pause", [0.005, 3600.0], ids=["byte by byte", "stopped in the middle"])
def test_no_exchange_waits_for_a_body_without_an_end(
    monkeypatch: pytest.MonkeyPatch, pause: float
) -> None:
    with EmulatorServer() as server:
        # Waits advance the client's clock, so that retries take no time.
        clock = ManualClock()
        pool = SessionPool(AzureWorkspace(server.workspace(), clock=clock), clock=clock)
        pool.session("ionq.simulator")
        have_all = asyncio.run(_prepared_exchanges(AzureWorkspace(server.workspace())))
        monkeypatch.setattr(http, "_EXCHANGE_TIMEOUT", 0.15)
        monkeypatch.setitem(http.HttpClient.ask.__kwdefaults__, "timeout", 0.15)
        # The first page of a list arrives, and its next link does not.
        server.faults.add("jobs", drip=pause, skip=1, times=None)
        for route in ROUTE_NAMES - {"other", "jobs", "topLevelItems", "blob", "container"}:
            server.faults.add(route, drip=pause, times=None)
        workspace = AzureWorkspace(server.workspace(), clock=clock, read_timeout=0.15)
        ended = asyncio.run(have_all(workspace))
        with pytest.raises(SessionNotAvailable, match="did not close"):
            in_background(pool.close).result(HANG_TIMEOUT)
    for name, error in ended.items():
        assert isinstance(error, ServiceError), (name, error)
        assert "not answered in time" in str(error), (name, error)


async def _prepared_exchanges(
    workspace: AzureWorkspace,
) -> Callable[[AzureWorkspace], Awaitable[dict[str, object]]]:
    """Makes what every kind of exchange needs; returns a function that has all of them at once."""
    session = await workspace.open_session(session_request())
    requests = [job_request(session_id=session.id) for _ in range(JOBS_PER_PAGE + 1)]
    stored = await workspace.store_input(requests[0])
    blob = stored.sign(f"{stored.url}/inputData")
    jobs = await asyncio.gather(*(workspace.submit_job(each, stored) for each in requests))
    await workspace.aclose()

    async def have_all(workspace: AzureWorkspace) -> dict[str, object]:
        async def listed(items: AsyncIterator[Any]) -> None:
            async for _ in items:
                pass

        client = workspace._client
        exchanges = {
            "open": workspace.open_session(session_request()),
            "session": workspace.get_session(session.id),
            "sessions": listed(workspace.list_sessions()),
            "sessionJobs": workspace.list_session_jobs(session.id, skip=0, top=9),
            "close": workspace.close_session(session.id),
            "sasUri": workspace.store_input(job_request()),
            "upload": client.store("PUT", blob, b"{}", {"x-ms-blob-type": "BlockBlob"}),
            "download": client.store("GET", blob),
            "submit": workspace.submit_job(job_request(), stored),
            "job": workspace.get_job(jobs[0].id),
            "jobs, next link": listed(workspace.list_jobs()),
            "update": workspace.update_job(jobs[0].id, name="n", tags=None, priority=None),
            "cancel": workspace.cancel_job(jobs[0].id),
            "delete": workspace.delete_job(jobs[0].id),
            "providerStatus": workspace.list_targets(),
            "quotas": workspace.list_quotas(),
        }
        ends = await asyncio.gather(*exchanges.values(), return_exceptions=True)
        await workspace.aclose()
        return dict(zip(exchanges, ends, strict=True))

    return have_all


def test_endless_list_of_targets_costs_a_job_one_request() -> None:
    first = {"id": "ionq", "targets": [{"id": "ionq.simulator"}]}
    pages = [
        answer({"value": [first], "nextLink": f"http://x.example/providerStatus?skip={skip}"})
        for skip in range(9)
    ]

    async def play() -> None:
        async with ScriptedServer(*pages) as server:
            workspace = AzureWorkspace(sdk_workspace_at(server.endpoint))
            listed = await workspace.list_targets(retries=False)
            assert [target.id for target in listed] == ["ionq.simulator"]
            assert len(server.requests) == 1
            await workspace.aclose()

    asyncio.run(play())


# Waiting


@pytest.mark.parametrize(
    ("header", "waited"),
    [
        ({"Retry_After": "12"}, 12.0),
        ({"Retry_After": "0.5"}, 0.5),
        ({"x_ms_retry_after_ms": "1500"}, 1.5),
        ({"Retry_After": format_datetime(datetime.fromtimestamp(1_767_225_640, UTC))}, 40.0),
    ],
)
def test_the_service_says_how_long_to_wait(header: dict[str, str], waited: float) -> None:
    clock = ManualClock(1_767_225_600.0)
    ask(answer({}, 503, **header), answer(SESSION), clock=clock)
    assert clock.monotonic() == waited


@pytest.mark.parametrize(
    "value",
    [
        *("soon", "nan", "inf", "", "Fri, 99 Foo 2026 00:00:00 GMT"),
        # A wait that is over: the host would be asked again and again without a pause.
        *("0", "-3", "Thu, 01 Jan 1970 00:00:00 GMT", "Mon, 01 Jan 0001 00:00:00 -0000"),
    ],
)
def test_invalid_retry_after_is_replaced_by_the_default(value: str) -> None:
    clock = ManualClock()
    ask(answer({}, 503, Retry_After=value), answer(SESSION), clock=clock)
    assert 0.1 <= clock.monotonic() <= 0.2


@pytest.mark.parametrize(
    "value", ["61", "86400", "1e300", format_datetime(datetime.fromtimestamp(1_767_229_200, UTC))]
)
def test_retry_after_over_a_minute_is_capped(value: str) -> None:
    clock = ManualClock(1_767_225_600.0)
    ask(answer({}, 503, Retry_After=value), answer(SESSION), clock=clock)
    assert clock.monotonic() == 60.0


def test_service_that_keeps_throttling_fails_after_minutes() -> None:
    clock = ManualClock()
    with pytest.raises(ServiceError, match="send fewer requests") as refusal:
        ask(*[answer({}, 429, Retry_After="86400")] * 9, clock=clock)
    assert refusal.value.is_throttled
    assert clock.monotonic() == 300.0


@pytest.mark.parametrize("status", [302, 307])
def test_redirect_is_a_transient_network_error(status: int) -> None:
    redirect = answer(b"", status, Location="http://login.example/?user=me")
    assert ask(redirect, answer(SESSION)).id == "s"
    with pytest.raises(ServiceError, match=f"HTTP {status}.*login page") as failure:
        ask(*[redirect] * 6)
    assert failure.value.is_ambiguous
    assert "example" not in str(failure.value)


def test_web_page_is_not_read_as_a_result() -> None:
    page = answer(b"<html>Please sign in", Content_Type="text/html; charset=utf-8")

    async def play(*answers: bytes) -> bytes:
        async with ScriptedServer(*answers) as server:
            workspace = AzureWorkspace(sdk_workspace_at(server.endpoint), clock=ManualClock())
            try:
                return await workspace._client.store(
                    "GET", f"{server.endpoint}/job-j/rawOutputData"
                )
            finally:
                await workspace.aclose()

    assert asyncio.run(play(page, answer(b"{}"))) == b"{}"
    with pytest.raises(ServiceError, match="web page, not a blob") as failure:
        asyncio.run(play(*[page] * 6))
    assert failure.value.is_ambiguous


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_a_refusal_is_not_retried(status: int) -> None:
    clock = ManualClock()
    error = {"error": {"code": "Nope", "message": "Because."}}
    with pytest.raises(ServiceError, match=rf"HTTP {status} \(Nope\).*Because\.") as refusal:
        ask(answer(error, status), clock=clock)
    assert (refusal.value.status_code, refusal.value.code) == (status, "Nope")
    assert clock.monotonic() == 0.0


def test_every_attempt_has_an_id_and_every_error_the_services(log: list[str]) -> None:
    async def story() -> None:
        busy = answer({}, 503)
        refusal = answer({}, 400, x_ms_request_id="the-services-id")
        async with ScriptedServer(busy, refusal) as server:
            workspace = AzureWorkspace(sdk_workspace_at(server.endpoint), clock=ManualClock())
            with pytest.raises(ServiceError) as failure:
                await workspace.get_session("s")
            assert failure.value.request_id == "the-services-id"
            ids = re.findall(rb"x-ms-client-request-id: (\S{36})", b"".join(server.requests))
            assert len(set(ids)) == 2
            with pytest.raises(ServiceError) as lost:
                await workspace.submit_job(
                    job_request(), SignedUrl.parse(f"{server.endpoint}/job-x?se=2099-01-01")
                )
            assert lost.value.request_id.encode() in server.requests[-1]
            await workspace.aclose()

    asyncio.run(story())
    assert "GET sessions/s: HTTP 400, request the-services-id" in " ".join(log)


def test_control_characters_in_an_id_of_a_request_are_not_logged(log: list[str]) -> None:
    ask(answer(SESSION, x_ms_request_id="\u009b31m\u202ex"))
    assert r"HTTP 200, request \x9b31m\u202ex" in " ".join(log)


@pytest.mark.parametrize("options", [{}, {"user_agent": "my-program"}], ids=["plain", "named"])
def test_user_agent_is_our_name_before_the_sdks(options: dict[str, str]) -> None:
    async def story() -> list[str]:
        async with ScriptedServer(answer(SESSION), answer(SESSION), answer(b"")) as server:
            sdk = sdk_workspace_at(server.endpoint, **options)
            await asyncio.to_thread(sdk.get_session, "s")
            workspace = AzureWorkspace(sdk)
            await workspace.get_session("s")
            with contextlib.suppress(ServiceError):
                await workspace.store_input(job_request())
            await workspace.aclose()
            assert all(b"x-ms-client-request-id: " in request for request in server.requests)
            return re.findall(r"(?i)user-agent: (.*)\r", b"".join(server.requests).decode())

    of_sdk, *ours = asyncio.run(story())
    assert "azsdk-python-quantum/" in of_sdk
    assert set(ours) == {f"cirq-azure-sessions {of_sdk}"}


def test_pauses_between_retries_have_the_jitter_of_the_clock() -> None:
    pauses = []
    for number in (0.0, 0.5, 1.0):
        clock = ManualClock()
        clock.random = lambda number=number: number
        ask(answer({}, 500), answer({}, 500), answer(SESSION), clock=clock)
        pauses.append(clock.monotonic())
    assert pauses == pytest.approx([0.3, 0.45, 0.6])


# Connections that cannot be made


class RepairClock(ManualClock):
    """A clock on which something is mended while somebody waits."""

    def __init__(self, mend: Callable[[], object]) -> None:
        super().__init__()
        self._mend = mend

    async def sleep(self, seconds: float) -> None:
        self._mend()
        await super().sleep(seconds)


def test_even_a_submission_is_repeated_when_it_was_not_sent() -> None:
    port = free_port()
    request = job_request()
    stored = SignedUrl.parse(f"http://127.0.0.1:{port}/job-x?se=2099-01-01T00%3A00%3A00Z")
    with contextlib.ExitStack() as stack:
        servers: list[EmulatorServer] = []

        def start() -> None:
            server = EmulatorServer(port=port, key="a-key")
            servers.append(stack.enter_context(server))

        job = tell(
            lambda workspace: workspace.submit_job(request, stored),
            sdk_workspace_at(f"http://0.0.0.0:{port}"),
            clock=RepairClock(start),
        )
        assert job.id == request.id
        assert [server.requests["submit"] for server in servers] == [1]


def test_a_service_that_cannot_be_reached_is_named() -> None:
    clock = ManualClock()
    with pytest.raises(ServiceError, match="check the network and the endpoint") as failure:
        tell(
            lambda workspace: workspace.get_session("s"),
            # An address that is this machine's, and that no emulator is known to have.
            sdk_workspace_at(f"http://0.0.0.0:{free_port()}"),
            clock=clock,
        )
    assert failure.value.status_code is None
    assert 3.0 < clock.monotonic() < 6.5


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_an_emulator_that_does_not_run_is_reported_at_once(host: str) -> None:
    clock = ManualClock()
    with pytest.raises(ServiceError, match="is `cirq-azure-sessions emulate` running"):
        tell(
            lambda workspace: workspace.get_session("s"),
            sdk_workspace_at(f"http://{host}:{free_port()}"),
            clock=clock,
        )
    assert clock.monotonic() == 0.0


# Secrets


@pytest.fixture
def log() -> Iterator[list[str]]:
    """Every message of every logger of the process, at every level."""
    messages: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(f"{record.getMessage()} {record.exc_text or ''}")

    root, collector = logging.getLogger(), Collector()
    before = root.level
    root.addHandler(collector)
    root.setLevel(logging.DEBUG)
    yield messages
    root.removeHandler(collector)
    root.setLevel(before)


def words_of(error: BaseException) -> str:
    """All that an error can say, and all that it was raised from."""
    chain = [error, error.__cause__, error.__context__]
    parts = [f"{link} {link!r} {vars(link)}" for link in chain if link is not None]
    return " ".join([*parts, *traceback.format_exception(error)])


def test_no_secret_is_in_logs_reprs_or_errors(log: list[str]) -> None:
    secrets: set[str] = set()
    said: list[str] = []

    async def story(workspace: AzureWorkspace, server: EmulatorServer) -> None:
        async def fails(work: Awaitable[Any]) -> None:
            with pytest.raises((ServiceError, SessionNotAvailable)) as failure:
                await work
            said.append(words_of(failure.value))

        session = await workspace.open_session(session_request())
        request = job_request(session.id)
        stored = await workspace.store_input(request)
        secrets.update({server.key, parse_qs(stored.sas)["sig"][0], stored.sas})
        job = await workspace.submit_job(request, stored)
        job = await until_over(workspace, job)
        secrets.update(parse_qs(urlsplit(job.handle.details.output_data_uri).query)["sig"])
        await workspace.fetch_output(job, stored)
        said.append(f"{workspace!r} {stored!r} {session!r} {job!r} {request!r}")

        for fault in (
            lambda route: server.faults.add(
                route, status=403, message=stored.sign(stored.url), times=9
            ),
            lambda route: server.faults.reset(route, times=9),
            lambda route: server.faults.garble(route, stored.sign(stored.url), times=9),
        ):
            for route, call in (
                ("sasUri", lambda: workspace.store_input(job_request())),
                ("job", lambda: workspace.get_job(job.id)),
                ("submit", lambda: workspace.submit_job(job_request(), stored)),
            ):
                fault(route)
                await fails(call())
                server.faults.clear()
        server.faults.reset("download", times=9)
        await fails(workspace.fetch_output(job, stored))
        server.faults.clear()
        server.faults.expire_sas("*", times=None)
        await fails(workspace.store_input(job_request()))

    with EmulatorServer() as server:
        tell(lambda workspace: story(workspace, server), server.workspace())
        said += log

    text = " ".join(said)
    assert "GET jobs" in text
    assert "PUT jobs" in text
    quoted = {quote(secret, safe="") for secret in secrets}
    assert [secret for secret in secrets | quoted if secret in text] == []
    assert "gateset" not in text
    assert re.findall(r"sig=(?!REDACTED|\.\.\.)", text) == []


def test_a_key_that_is_refused_is_not_repeated_to_the_user() -> None:
    with EmulatorServer() as server:
        with pytest.raises(ServiceError, match="check the key, or run `az login`") as refusal:
            tell(lambda workspace: workspace.list_targets(), sdk_workspace_at(server.endpoint))
        assert refusal.value.status_code == 401
        assert "a-key" not in words_of(refusal.value)
        assert server.requests.total == 1


def test_service_message_of_any_length_is_shortened() -> None:
    assert without_secrets("http://" * 200_000) == "http://" * 71 + "htt..."


@given(before=st.text(max_size=20), query=st.text("abcXYZ019%&=+/-._~"), after=st.text(max_size=20))
def test_service_messages_lose_the_queries_of_urls(before: str, query: str, after: str) -> None:
    url = "https://account.blob.core.windows.net/job-1/x"
    shown = without_secrets(f"{before} {url}?{query} {after}")
    assert shown == printable(" ".join(f"{before} {url} {after}".split()))
