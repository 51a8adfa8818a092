"""What the tests of `azure_workspace` share: stories told on an event loop, jobs, and a server that
answers as it is told to, for answers that no emulator would give."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest
from azure.core.credentials import AzureKeyCredential
from azure.quantum import Workspace

from cirq_azure_sessions.clock import ManualClock
from cirq_azure_sessions.model import Job, JobRequest, SessionRequest
from cirq_azure_sessions.workspaces.azure import AzureWorkspace

T = TypeVar("T")

BELL = json.dumps(
    {
        "gateset": "qis",
        "qubits": 2,
        "circuit": [
            {"gate": "h", "target": 0},
            {"gate": "cnot", "control": 0, "target": 1},
        ],
    }
).encode()

RESOURCE_ID = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg"
    "/providers/Microsoft.Quantum/Workspaces/ws"
)


def tell(
    story: Callable[[AzureWorkspace], Awaitable[T]], sdk_workspace: Workspace, **options: Any
) -> T:
    """Runs a story on an event loop of its own, with a workspace whose waits take no time."""

    async def play() -> T:
        workspace = AzureWorkspace(sdk_workspace, **{"clock": ManualClock(), **options})
        try:
            return await story(workspace)
        finally:
            await workspace.aclose()

    return asyncio.run(play())


def sdk_workspace_at(endpoint: str, credential: Any = None, **options: Any) -> Workspace:
    """The SDK's workspace, for a service at any address."""
    return Workspace(
        resource_id=RESOURCE_ID,
        location="eastus",
        credential=credential or AzureKeyCredential("a-key"),
        _quantum_endpoint=endpoint,
        **options,
    )


def session_request(target: str = "ionq.simulator", name: str = "mine") -> SessionRequest:
    return SessionRequest(str(uuid.uuid4()), target, name)


def job_request(session_id: str | None = None) -> JobRequest:
    return JobRequest(
        id=str(uuid.uuid4()),
        target="ionq.simulator",
        name="bell",
        payload=BELL,
        input_format="ionq.circuit.v1",
        output_format="ionq.quantum-results.v1",
        session_id=session_id,
        input_params={"shots": 100},
        metadata={"layout": "q0"},
        tags=("sweep",),
    )


async def until_over(workspace: AzureWorkspace, job: Job) -> Job:
    """Polls until the job is over, which takes the emulator milliseconds of real time."""
    while not job.is_final:
        await asyncio.sleep(0.01)
        job = await workspace.get_job(job.id)
    return job


class ScriptedServer:
    """Sends one raw answer a connection, in order, and keeps the requests.

    With no answers left it accepts connections and drops them.
    """

    def __init__(self, *answers: bytes, tls: ssl.SSLContext | None = None) -> None:
        self._answers = list(answers)
        self._tls = tls
        self.requests: list[bytes] = []
        self.endpoint = ""

    def add(self, *answers: bytes) -> None:
        """Answers to send after those that are left."""
        self._answers += answers

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        scheme = "https" if self._tls else "http"
        self.endpoint = f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.splitlines()
                if line.lower().startswith(b"content-length:")
            ),
            0,
        )
        self.requests.append(head + await reader.readexactly(length))
        if self._answers:
            writer.write(self._answers.pop(0))
        writer.close()


def answer(body: Any, status: int = 200, **headers: str) -> bytes:
    """A raw HTTP answer; a body that is not bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


SESSION = {
    "id": "s",
    "name": "mine",
    "target": "ionq.simulator",
    "status": "Waiting",
    "jobFailurePolicy": "Continue",
}
JOB = {"id": "j", "name": "bell", "target": "ionq.simulator", "status": "Waiting"}


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A key and a certificate for 127.0.0.1, in a folder as OpenSSL keeps them."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    run = partial(subprocess.run, check=True, capture_output=True, text=True)
    options = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext"
    files = ["-keyout", str(key), "-out", str(certificate)]
    run(["openssl", *options.split(), "subjectAltName=IP:127.0.0.1", *files])
    name = run(["openssl", "x509", "-hash", "-noout", "-in", str(certificate)]).stdout.strip()
    (folder / f"{name}.0").write_bytes(certificate.read_bytes())
    return key, certificate


def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides the proxies of the environment from a test."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
