"""Nothing that opens a door is written anywhere, and nothing that comes through one is trusted."""

from __future__ import annotations

import json
import logging
import re
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cirq
import pytest
from circuits import SWITCH

from cirq_azure_sessions import (
    AzureSessionSampler,
    AzureSessionsError,
    AzureWorkspace,
    ResultFormatError,
    ServiceError,
    SessionPool,
    SweepError,
    background,
)
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.model import JobRequest

TARGET = "ionq.simulator"
POINTS = cirq.Points("flip", [0, 1, 0])


@pytest.fixture
def said() -> Iterator[list[str]]:
    """Every record of every logger of the process, at every level; and what a test adds."""
    words: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            words.append(self.format(record))
            # With whatever structured logs would write.
            words.append(repr(vars(record)))

    root, collector = logging.getLogger(), Collector()
    loggers = [root, *map(logging.getLogger, list(root.manager.loggerDict))]
    levels = [(logger, logger.level) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    root.addHandler(collector)
    yield words
    root.removeHandler(collector)
    for logger, level in levels:
        logger.setLevel(level)


class Watched(AzureWorkspace):
    """Notes the signatures that are used, so that they can be searched for."""

    def __init__(self, server: EmulatorServer) -> None:
        super().__init__(server.workspace(), clock=server.clock)
        self.secrets = {server.key}

    async def store_input(self, request: JobRequest) -> Any:
        stored = await super().store_input(request)
        signature = stored.sas.partition("sig=")[2].partition("&")[0]
        self.secrets |= {stored.sas, signature}
        return stored


def _all_of(error: BaseException) -> Iterator[str]:
    """All that an error can say, and all that it was made from."""
    yield from traceback.format_exception(error)
    pending: list[BaseException | None] = [error]
    while pending:
        link = pending.pop()
        if link is None:
            continue
        yield f"{link} {link!r} {vars(link)}"
        pending += [link.__cause__, link.__context__, *getattr(link, "failures", {}).values()]


LEAK = "https://account.blob.core.windows.net/job-1/x?sv=2024&sig=THE%2BSIGNATURE&se=2030"

TROUBLE: dict[str, Callable[[EmulatorServer], None]] = {
    "none": lambda server: None,
    "cut connections": lambda server: server.faults.reset("*", times=12),
    "no uploads": lambda server: server.faults.reset("upload", times=None),
    "no downloads": lambda server: server.faults.add("download", status=503, times=None),
    "expired signatures": lambda server: server.faults.expire_sas("*", times=None),
    "a service that quotes": lambda server: server.faults.add(
        "submit", status=403, message=f"Not with {LEAK} you do not.", times=None
    ),
    "a storage that quotes": lambda server: server.faults.add(
        "upload", status=403, message=f"String to sign: {LEAK}", times=None
    ),
    "answers that quote": lambda server: server.faults.garble("poll", LEAK, times=None),
    "results that quote": lambda server: server.faults.garble("download", LEAK, times=None),
    "good results that quote": lambda server: server.faults.garble(
        "download", json.dumps({"histogram": {"0": 1.0}, "log": f"Read {LEAK}."}), times=None
    ),
    "jobs that quote": lambda server: server.faults.fail_job(
        code="InvalidInputData", message=f"Cannot read {LEAK}.", times=None
    ),
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_no_secret_is_logged_shown_or_written(
    server: EmulatorServer, said: list[str], tmp_path: Path, trouble: str
) -> None:
    workspace = Watched(server)
    with SessionPool(workspace, clock=server.clock, journal=tmp_path / "journal.db") as pool:
        pool.subscribe(lambda event: said.append(repr(event)))
        sampler = AzureSessionSampler(TARGET, pool=pool)
        sampler.run_sweep(SWITCH, POINTS, 5)
        TROUBLE[trouble](server)
        try:
            results = sampler.run_sweep(SWITCH, POINTS, 6)
            said.append(repr(results))
        except AzureSessionsError as error:
            said += _all_of(error)
        server.faults.clear()
        said += [repr(thing) for thing in (pool, sampler, workspace, pool.sessions())]
    background.loop.run(workspace.aclose)
    text = " ".join(said)
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir()).decode(errors="replace")
    # The trial is real: requests were logged, signatures used and results written down.
    assert "POST storage/sasUri" in text
    assert len(workspace.secrets) > 4
    assert "histogram" in files
    secrets = workspace.secrets | {"THE%2BSIGNATURE", "THE+SIGNATURE"}
    secrets |= {quote(secret, safe="") for secret in secrets}
    assert {secret for secret in secrets if secret in text} == set()
    assert {secret for secret in secrets if secret in files} == set()
    assert re.findall(r"sig=(?!REDACTED|\.\.\.)", text) == []
    assert "gateset" not in text
    assert "gateset" not in files


def test_token_that_must_not_be_sent_is_not_in_the_error(
    server: EmulatorServer, said: list[str]
) -> None:
    """The emulator speaks plain HTTP, over which no bearer token may go."""

    class Credential:
        def get_token(self, *scopes: str, **options: Any) -> Any:
            from azure.core.credentials import AccessToken

            return AccessToken("a-bearer-token", 2**40)

    from azure.quantum import Workspace

    workspace = Workspace(
        resource_id=server.resource_id,
        location="eastus",
        credential=Credential(),
        _quantum_endpoint=server.endpoint,
    )
    with SessionPool(workspace, clock=server.clock) as pool:
        with pytest.raises(AzureSessionsError) as failure:
            pool.session(TARGET)
        said += [*_all_of(failure.value), repr(pool)]
    assert isinstance(failure.value.__cause__, ServiceError)
    assert "a-bearer-token" not in " ".join(said)


# Results that nobody would send in good faith

HOSTILE = {
    "nothing": "",
    "null": "null",
    "a list": "[]",
    "no histogram": "{}",
    "a histogram that is a list": '{"histogram": []}',
    "an empty histogram": '{"histogram": {}}',
    "not a number": '{"histogram": {"0": NaN}}',
    "an infinity": '{"histogram": {"0": Infinity}}',
    "a number beyond all floats": '{"histogram": {"0": 1e999}}',
    "a negative chance": '{"histogram": {"0": -0.5, "1": 1.5}}',
    "chances of ten": '{"histogram": {"0": 5, "1": 5}}',
    "text for a chance": '{"histogram": {"0": "1"}}',
    "a qubit that is not there": '{"histogram": {"2": 1.0}}',
    "a key of a hundred thousand digits": '{"histogram": {"%s": 1.0}}' % ("9" * 100_000),
    "a negative key": '{"histogram": {"-1": 1.0}}',
    "a key that only Python reads": '{"histogram": {"0_1": 1.0}}',
    "a hundred thousand brackets": "[" * 100_000,
    "a hundred thousand objects": '{"a":' * 100_000,
    "half of an answer": '{"histogram": {"0": 0.5, "1"',
    "a page of a proxy": "<html><body>Please sign in.</body></html>",
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("payload", HOSTILE)
def test_a_hostile_result_fails_its_own_point_only(server: EmulatorServer, payload: str) -> None:
    with AzureSessionSampler(TARGET, workspace=server.workspace()) as sampler:
        server.faults.garble("download", HOSTILE[payload])
        with pytest.raises(SweepError) as caught:
            sampler.run_sweep(SWITCH, POINTS, 5)
    ((point, error),) = caught.value.failures.items()
    assert isinstance(error, ResultFormatError)
    others = [result for result in caught.value.results if result is not None]
    assert len(others) == 2
    assert caught.value.results[point] is None
    # The message does not carry the payload on.
    assert len(str(error)) < 500
