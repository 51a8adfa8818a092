"""The emulated service, in a process of its own, as the measurements see it."""

from __future__ import annotations

import multiprocessing
import sys
import time
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, NamedTuple

from azure.core.credentials import AzureKeyCredential
from azure.quantum import Workspace

__all__ = ["Service"]


class RequestCounts(NamedTuple):
    """Requests in all and by route, and TCP connections."""

    total: int
    by_route: dict[str, int]
    connections: int


class Service:
    """An `EmulatorServer` in another process, so that its work is not counted as the client's.

    Args:
        latency: Seconds that every request waits.
        job_time: Seconds that a job takes.
        max_concurrent_jobs: Maximum number of unfinished jobs; more are refused with 429.
        fault: The members of a `Fault` of every request; None for no fault.

    Attributes:
        address: The endpoint, the key and the resource id of the workspace.
    """

    address: tuple[str, str, str]

    def __init__(
        self,
        *,
        latency: float = 0.0,
        job_time: float = 0.0,
        max_concurrent_jobs: int | None = None,
        fault: dict[str, Any] | None = None,
    ) -> None:
        self._fault = fault
        self._options = {
            "latency": latency,
            "job_time": job_time,
            "max_concurrent_jobs": max_concurrent_jobs,
        }

    def __enter__(self) -> Service:
        # A fresh interpreter: a forked one would share the client's threads and connections.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, self._options, self._fault), daemon=True
        )
        self._process.start()
        # Held here too, it would keep `recv` waiting for a process that could not start.
        theirs.close()
        self.address = self._pipe.recv()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ask("stop")
        self._process.join()

    def workspace(self) -> Workspace:
        """A new, unmodified `azure.quantum.Workspace` connected to the service."""
        endpoint, key, resource_id = self.address
        return Workspace(
            resource_id=resource_id,
            location="eastus",
            credential=AzureKeyCredential(key),
            _quantum_endpoint=endpoint,
        )

    def requests(self) -> RequestCounts:
        """The counts of requests by route, and of TCP connections, since `forget`."""
        counts: RequestCounts = self._ask("requests")
        return counts

    def memory(self) -> int:
        """The peak memory of the service's process, in bytes."""
        size: int = self._ask("memory")
        return size

    def cpu(self) -> float:
        """The seconds of processor time that the service's process has used."""
        used: float = self._ask("cpu")
        return used

    def forget(self) -> None:
        """Resets the counts."""
        self._ask("forget")

    def _ask(self, question: str) -> Any:
        self._pipe.send(question)
        return self._pipe.recv()


def _serve(pipe: Connection, options: dict[str, Any], fault: dict[str, Any] | None) -> None:
    from cirq_azure_sessions.emulator import EmulatorServer

    with EmulatorServer(**options, seed=1) as server:
        if fault is not None:
            server.faults.add("*", times=None, **fault)
        pipe.send((server.endpoint, server.key, server.resource_id))
        while (question := pipe.recv()) != "stop":
            if question in ("memory", "cpu"):
                pipe.send(_peak_memory() if question == "memory" else time.process_time())
                continue
            if question == "forget":
                server.requests.clear()
            counts = server.requests
            pipe.send(RequestCounts(counts.total, counts.by_route, counts.connections))
    pipe.send(None)


def _peak_memory() -> int:
    # Unix alone has the module; Linux counts in units of 1,024 bytes, macOS in bytes.
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
