"""A recording, sent to the emulator as its client sent it to the service."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import numpy as np
import requests
from earlier import NEWEST, Step, earlier_steps
from emulated import run_program
from recordings import Exchange, times

from cirq_azure_sessions.clock import ManualClock
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.model import JobRequest
from cirq_azure_sessions.workspaces.local import JobPace, ProgramError


class Replay:
    """An emulator on a manual clock, whose jobs take the times that they took when recorded."""

    def __init__(self, exchanges: Sequence[Exchange]) -> None:
        self._exchanges = exchanges
        self._paces = dict(_paces(exchanges))
        self._paces |= {step.item_id: step.pace for step in earlier_steps(exchanges) if step.pace}
        self.clock = ManualClock(_start(exchanges), auto_advance=False)
        self._server = EmulatorServer(clock=self.clock, job_time=self._pace)
        # State: the addresses that the emulator gave for containers and blobs.
        self._containers: dict[str, str] = {}
        self._blobs: dict[tuple[str, str], str] = {}
        self._client = requests.Session()
        self._client.headers["x-ms-quantum-api-key"] = self._server.key

    def __enter__(self) -> Replay:
        _start_reader_of_qir()
        self._server.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._client.close()
        self._server.stop()

    def answers(self) -> Iterator[tuple[Exchange, requests.Response]]:
        """Each exchange with what the emulator answers to it."""
        for step in earlier_steps(self._exchanges):
            self.move_to(step.time)
            self._take(step)
        for exchange in self._exchanges:
            self.move_to(_moment(exchange))
            response = self._send(exchange)
            self._learn(exchange, response)
            yield exchange, response

    def move_to(self, time: float) -> None:
        self.clock.advance(max(time - self.clock.time(), 0.0))

    def send(self, method: str, path: str, document: Any = None) -> requests.Response:
        """Sends a request to the data plane."""
        body = None if document is None else json.dumps(document)
        return self._client.request(
            method,
            self._server.endpoint + path,
            data=body,
            headers={"content-type": "application/json"},
            timeout=30,
        )

    def _take(self, step: Step) -> None:
        """Makes what a recording finds in its workspace, as its makers must have made it."""
        if step.program is not None:
            container = f"job-{step.item_id}"
            names = {"containerName": container}
            # Of this version the service makes the container.
            query = "api-version=2026-01-15-preview"
            answer = self.send("POST", f"{step.workspace}/storage/sasUri?{query}", names).json()
            self._containers[container] = answer["sasUri"]
            address, _, sas = answer["sasUri"].partition("?")
            headers = {"x-ms-blob-type": "BlockBlob"}
            self._client.put(f"{address}/inputData?{sas}", data=step.program, headers=headers)
        document = self._with_own_addresses(step.document)
        answer = self.send(step.method, f"{step.workspace}{step.path}?{NEWEST}", document)
        assert answer.status_code == 200, answer.text

    def _send(self, exchange: Exchange) -> requests.Response:
        if exchange.is_storage:
            return self._send_to_storage(exchange)
        return self.send(
            exchange.method,
            f"{exchange.path}?{exchange.query}",
            self._with_own_addresses(exchange.body),
        )

    def _send_to_storage(self, exchange: Exchange) -> requests.Response:
        container, _, blob = exchange.path.strip("/").partition("/")
        headers = {"content-type": exchange.content_type or "", "x-ms-version": "2024-05-04"}
        if blob:
            headers["x-ms-blob-type"] = "BlockBlob"
        if exchange.method == "GET" and blob:
            headers["x-ms-range"] = "bytes=0-33554431"
        return self._client.request(
            exchange.method,
            self._storage_address(exchange, container, blob),
            data=_as_bytes(exchange.body),
            headers=headers,
            timeout=30,
        )

    def _storage_address(self, exchange: Exchange, container: str, blob: str) -> str:
        if exchange.method == "GET" and blob:
            return self._blobs[container, blob]
        address, _, sas = self._containers[container].partition("?")
        options = urlencode({"restype": "container"}) + "&" if "restype" in exchange.sas else ""
        return f"{address}{'/' if blob else ''}{blob}?{options}{sas}"

    def _with_own_addresses(self, document: Any) -> Any:
        if not isinstance(document, dict) or "containerUri" not in document:
            return document
        container = document["containerUri"].partition("?")[0].rpartition("/")[2]
        address = self._containers[container]
        input_uri = f"{address.partition('?')[0]}/inputData"
        return {**document, "containerUri": address, "inputDataUri": input_uri}

    def _learn(self, exchange: Exchange, response: requests.Response) -> None:
        """Remembers the addresses in an answer."""
        if exchange.is_storage or response.status_code != 200:
            return
        answer = response.json()
        if "sasUri" in answer and "blobName" in exchange.body:
            self._blobs[exchange.body["containerName"], exchange.body["blobName"]] = answer[
                "sasUri"
            ]
        elif "sasUri" in answer:
            self._containers[exchange.body["containerName"]] = answer["sasUri"]
        elif "?" in (answer.get("outputDataUri") or ""):
            address = answer["outputDataUri"].partition("?")[0]
            container, blob = address.split("/")[-2:]
            self._blobs[container, blob] = answer["outputDataUri"]

    def _pace(self, request: JobRequest) -> JobPace:
        return self._paces.get(request.id, JobPace(queue=math.inf))


@functools.cache
def _start_reader_of_qir() -> None:
    """Starts the process that reads QIR: on a busy machine that takes longer than a job may."""
    with suppress(ProgramError):
        run_program(
            target="echo-quantinuum",
            provider="Microsoft.Test.FirstParty",
            input_format="qir.v1",
            output_format="honeywell.qir.v1",
            payload=b"none",
            input_params={},
            rng=np.random.default_rng(1),
        )


def _start(exchanges: Sequence[Exchange]) -> float:
    """A moment before anything in the recording was made."""
    made = (times(item)["creationTime"] for exchange in exchanges for item in exchange.items())
    return min(made, default=1.0) - 1.0


def _moment(exchange: Exchange) -> float:
    """When a request was answered: what it made was made then, and else the latest time named."""
    if exchange.method == "PUT" and isinstance(exchange.answer, dict):
        return times(exchange.answer).get("creationTime", 0.0)
    # A moment later: sums of times of day are exact to a fraction of a microsecond only.
    return exchange.earliest + 1e-4


def _paces(exchanges: Sequence[Exchange]) -> Iterator[tuple[str, JobPace]]:
    """How long each job took, from all that the answers say of it."""
    seen: dict[str, list[dict[str, Any]]] = {}
    for item in (item for exchange in exchanges for item in exchange.items()):
        if item["itemType"] == "Job":
            seen.setdefault(item["id"], []).append(item)
    for job_id, stages in seen.items():
        last = times(stages[-1])
        if "endExecutionTime" in last:
            yield job_id, _pace(stages, last)


def _pace(stages: Sequence[dict[str, Any]], last: dict[str, float]) -> JobPace:
    created, begin, end = (
        last[f"{step}Time"] for step in ("creation", "beginExecution", "endExecution")
    )
    # In 2024 the service did not say when a job was last modified.
    visible = last.get("lastModifiedTime", end)
    finishing = [
        times(stage)["lastModifiedTime"] for stage in stages if stage["status"] == "Finishing"
    ]
    handover = [
        times(stage).get("lastModifiedTime", created)
        for stage in stages
        if stage["quantumComputingData"] is not None
    ]
    return JobPace(
        queue=begin - created,
        run=end - begin,
        visible=visible - end,
        finishing=visible - min(finishing, default=visible),
        handover=min(handover) - created,
    )


def _as_bytes(body: Any) -> bytes | None:
    if body is None:
        return None
    return (body if isinstance(body, str) else json.dumps(body)).encode()
