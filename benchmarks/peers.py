"""Other ways to run a sweep: the two of the SDK's documentation, and bare requests."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import json
import logging
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp
import cirq
from azure.quantum import Workspace
from azure.quantum.cirq import AzureQuantumService

from benchmarks.service import Service

__all__ = ["RawClient", "raw_flight", "service_run_loop", "target_submit_loop"]

_VERSION = "2026-01-15-preview"
_BELL = {
    "qubits": 2,
    "circuit": [{"gate": "h", "target": 0}, {"gate": "cnot", "control": 0, "target": 1}],
}


def service_run_loop(workspace: Workspace, circuit: cirq.Circuit, sweep: cirq.Sweep) -> int:
    """`AzureQuantumService.run` for one point after the other. Returns the number of results."""
    service = AzureQuantumService(workspace, default_target="ionq.simulator")
    with _quiet():
        results = [
            service.run(cirq.resolve_parameters(circuit, resolver), repetitions=100)
            for resolver in sweep
        ]
    return len(results)


def target_submit_loop(workspace: Workspace, circuit: cirq.Circuit, sweep: cirq.Sweep) -> int:
    """`target.submit` for all points in one session, then `results` for each."""
    target = AzureQuantumService(workspace).get_target("ionq.simulator")
    with _quiet(), target.open_session():
        jobs = [
            target.submit(cirq.resolve_parameters(circuit, resolver), repetitions=100)
            for resolver in sweep
        ]
        results = [job.results() for job in jobs]
    return len(results)


class RawClient:
    """Bare requests on one connection of the standard library, with no more checks than needed."""

    def __init__(self, service: Service) -> None:
        endpoint, key, self._root = service.address
        self._connection = http.client.HTTPConnection(urlsplit(endpoint).netloc)
        self._headers = {"Content-Type": "application/json", "x-ms-quantum-api-key": key}

    def run(self, points: int) -> None:
        """Runs as many jobs, which take no time, and downloads what they bring."""
        outputs = [self.submit()[1] for _ in range(points)]
        for _ in range(0, points, 100):
            self.ask("GET", "/jobs", top=100)
        for output in outputs:
            self._request("GET", output)

    def submit(self) -> tuple[str, str]:
        """The three requests of a new job; its id, and where its output will be."""
        job_id = str(uuid.uuid4())
        signed = self.ask("POST", "/storage/sasUri", {"containerName": f"job-{job_id}"})["sasUri"]
        container, _, sas = signed.partition("?")
        path = urlsplit(container).path
        blob = json.dumps(_BELL)
        self._request("PUT", f"{path}/inputData?{sas}", blob, {"x-ms-blob-type": "BlockBlob"})
        self.ask("PUT", f"/jobs/{job_id}", _document(signed))
        return job_id, f"{path}/rawOutputData?{sas}"

    def open_and_close_session(self, name: str) -> None:
        """The two requests of a session that nobody uses."""
        path = f"/sessions/{uuid.uuid4()}"
        document = {"name": name, "providerId": "ionq", "target": "ionq.simulator"}
        self.ask("PUT", path, document)
        self.ask("POST", f"{path}:close")

    def ask(self, verb: str, path: str, document: Any = None, **query: Any) -> Any:
        """A request to the workspace; the document that comes back."""
        body = None if document is None else json.dumps(document)
        query["api-version"] = _VERSION
        url = f"{self._root}{path}?{urlencode(query)}"
        return json.loads(self._request(verb, url, body, self._headers))

    def _request(
        self, verb: str, url: str, body: str | None = None, headers: dict[str, str] | None = None
    ) -> bytes:
        self._connection.request(verb, url, body, headers or {})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{verb} {url}: HTTP {answer.status}")
        return content


async def raw_flight(service: Service, points: int, in_flight: int, job_time: float) -> None:
    """The requests of as many jobs by concurrent coroutines, which sleep while a job runs.

    Nothing is translated, checked, decoded or retried, and no answer but the first is read.
    """
    endpoint, key, root = service.address
    headers = {"Content-Type": "application/json", "x-ms-quantum-api-key": key}
    url, version = f"{endpoint}{root}", {"api-version": _VERSION}
    blob, remaining = json.dumps(_BELL), iter(range(points))
    connector = aiohttp.TCPConnector(limit=in_flight)

    async with aiohttp.ClientSession(connector=connector) as session:

        async def send(verb: str, to: str, **options: Any) -> bytes:
            async with session.request(verb, to, **options) as answer:
                return await answer.read()

        async def fly() -> None:
            for number in remaining:
                job_id = str(uuid.uuid4())
                asked = {"params": version, "headers": headers}
                body = json.dumps({"containerName": f"job-{job_id}"})
                signed = json.loads(
                    await send("POST", f"{url}/storage/sasUri", data=body, **asked)
                )["sasUri"]
                container, _, sas = signed.partition("?")
                stored = {"x-ms-blob-type": "BlockBlob"}
                await send("PUT", f"{container}/inputData?{sas}", data=blob, headers=stored)
                document = json.dumps(_document(signed))
                await send("PUT", f"{url}/jobs/{job_id}", data=document, **asked)
                await asyncio.sleep(job_time)
                if number % in_flight == 0:
                    await send("GET", f"{url}/jobs", **asked)
                await send("GET", f"{container}/rawOutputData?{sas}")

        await asyncio.gather(*(fly() for _ in range(in_flight)))


def _document(signed: str) -> dict[str, str]:
    """The document of a new job whose container has this address."""
    return {
        "itemType": "Job",
        "name": "job",
        "providerId": "ionq",
        "target": "ionq.simulator",
        "containerUri": signed,
        "inputDataUri": f"{signed.partition('?')[0]}/inputData",
        "inputDataFormat": "ionq.circuit.v1",
        "outputDataFormat": "ionq.quantum-results.v1",
    }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The SDK prints dots while it waits."""
    logging.getLogger("azure").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):
        yield
