"""An Azure Quantum workspace on loopback HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import secrets
import socket
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from cirq_azure_sessions.background import EventLoopThread
from cirq_azure_sessions.emulator.billing import Quotas
from cirq_azure_sessions.emulator.blob_store import MAX_BLOB_BYTES
from cirq_azure_sessions.emulator.catalog import Catalog
from cirq_azure_sessions.emulator.control import Control
from cirq_azure_sessions.emulator.faults import Faults, fault_middleware
from cirq_azure_sessions.emulator.program_runner import ProgramRunner
from cirq_azure_sessions.emulator.requests import Requests
from cirq_azure_sessions.emulator.responses import gate_middleware
from cirq_azure_sessions.emulator.routes import WorkspaceRoutes
from cirq_azure_sessions.emulator.shifted_clock import MovableClock, ShiftedClock
from cirq_azure_sessions.emulator.storage import open_storage
from cirq_azure_sessions.emulator.workspace import EmulatedWorkspace
from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.model import JobRequest
from cirq_azure_sessions.options import LIMITS, STRING, WHOLE, checked
from cirq_azure_sessions.upstream import endpoint_argument
from cirq_azure_sessions.workspaces.local import JobPace

if TYPE_CHECKING:
    from typing import Self

    import azure.quantum
    import cirq

__all__ = ["EmulatorServer"]

# Malformed requests are not logged: the message would quote their headers.
_logger = logging.getLogger(__name__)
_logger.addFilter(
    lambda record: not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))
)

# When the server stops, seconds that pending requests have to finish, and again once they are
# cancelled. (0 means no limit to aiohttp.)
_STOP_TIMEOUT = 0.05

_SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
_RESOURCE_GROUP = "myresourcegroup"
_WORKSPACE = "myworkspace"
_LOCATION = "eastus"

# A host name or address with an optional port, as in the Host header.
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\])(:\d{1,5})?", re.ASCII)
# The address that the client of the current request used.
_REACHED_AS: ContextVar[str] = ContextVar("reached_as")


class EmulatorServer:
    """A server on a background thread that behaves like an Azure Quantum workspace.

        with EmulatorServer() as server:
            pool = SessionPool(server.workspace())

    Args:
        host: The address to listen on. On anything but loopback, others who know the key can
            connect. 0.0.0.0 listens on all addresses, and gives each client the one it used.
        port: The port to listen on; 0 picks a free one.
        key: The key that clients send as `x-ms-quantum-api-key`; by default a new one.
        clock: The service's clock; by default the machine's, which `clock.advance` moves forward.
        latency: Delay of every request in seconds on the clock.
        realistic: Whether jobs take recorded times and idle sessions end late; otherwise jobs take
            `job_time`, and sessions end when they time out.
        job_time: Unless realistic, the seconds that every job runs, or a function that gives each
            job's times.
        slots: How many jobs a target runs at once, for all targets or by target; further jobs wait
            in its queue. None for no limit.
        max_concurrent_jobs: How many jobs may be unfinished at once, in total or by target;
            further ones are refused with 429. None for no limit.
        quotas: How much jobs may consume, by dimension, such as `{"ehqc": 100.0}`.
        session_timeout: Seconds of idleness after which a session times out.
        store: Where programs and results are kept: a directory, or the connection string of an
            Azurite or Azure storage account, which alone takes uploads in blocks. None keeps them
            in memory, up to 2 GiB; an upload beyond that is refused with 413.
        max_stored_jobs: The number of finished jobs whose programs and results are kept; those of
            the oldest are dropped. None keeps all.
        noise: The noise of all targets, such as `programs.NOISELESS`; None gives each its own. Any
            Cirq noise model, except that QIR with branches needs a `programs.MachineNoise`.
        seed: Makes results and times of jobs reproducible.

    Attributes:
        endpoint: The address of the service for this machine, such as `http://127.0.0.1:8080`.
        key: The key of the workspace. A secret.
        clock: The service's clock.
        faults: The faults to inject.
        requests: Counts of requests and connections.
    """

    @checked(max_concurrent_jobs=LIMITS, seed=WHOLE)
    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        key: str | None = None,
        clock: MovableClock | None = None,
        latency: float = 0.0,
        realistic: bool = False,
        job_time: float | Callable[[JobRequest], JobPace] = 0.0,
        slots: int | Mapping[str, int] | None = None,
        max_concurrent_jobs: int | Mapping[str, int] | None = None,
        quotas: Mapping[str, float] | None = None,
        session_timeout: float = 600.0,
        store: str | Path | None = None,
        max_stored_jobs: int | None = None,
        noise: cirq.NoiseModel | None = None,
        seed: int | None = None,
    ) -> None:
        self.key: str = key or secrets.token_urlsafe(32)
        self.clock: MovableClock = clock or ShiftedClock()
        self.faults: Faults = Faults(latency, self.clock)
        self.requests: Requests = Requests()
        self._catalog = Catalog(is_realistic=realistic, job_time=job_time, seed=seed)
        budget = Quotas(quotas)
        # The socket listens from the start, so that the endpoint is known before `start`.
        self._socket = _listen(host, port)
        self._address = _Address(*self._socket.getsockname()[:2])
        self.endpoint: str = self._address.local
        self._loop = EventLoopThread("emulator")
        self._storage = open_storage(
            store, self._address.public, self.clock, self.faults.sas_lifetime
        )
        runner = ProgramRunner(storage=self._storage, quotas=budget, noise=noise, seed=seed)
        self._workspace = EmulatedWorkspace(
            backends=dict.fromkeys(self._catalog.targets, runner),
            session_timeout=session_timeout,
            clock=self.clock,
            pace=self._catalog.pace,
            timeout_notice=self._catalog.timeout_notice,
            max_jobs=max_concurrent_jobs,
            slots=slots,
        )
        self._runner = web.AppRunner(
            self._application(budget, max_stored_jobs),
            access_log=None,
            logger=_logger,
            # Compressed bodies are stored as sent.
            auto_decompress=False,
            shutdown_timeout=_STOP_TIMEOUT,
        )
        self._process = os.getpid()
        self._listener: asyncio.Server | None = None

    @property
    def resource_id(self) -> str:
        """The workspace's resource id, as `azure.quantum.Workspace` takes it."""
        return (
            f"/subscriptions/{_SUBSCRIPTION}/resourceGroups/{_RESOURCE_GROUP}"
            f"/providers/Microsoft.Quantum/Workspaces/{_WORKSPACE}"
        )

    @property
    def connection_string(self) -> str:
        """The argument of `Workspace.from_connection_string`, in this server's `environment`.

        It names an Azure address, because the SDK accepts no other.
        """
        return (
            f"SubscriptionId={_SUBSCRIPTION};ResourceGroupName={_RESOURCE_GROUP};"
            f"WorkspaceName={_WORKSPACE};ApiKey={self.key};"
            f"QuantumEndpoint=https://{_LOCATION}.quantum.azure.com/;"
        )

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that connect an unmodified Python program to this server."""
        others = os.environ.get("PYTHONPATH")
        paths = [str(Path(__file__).with_name("preload")), *([others] if others else [])]
        return {
            "AZURE_QUANTUM_EMULATOR": self.endpoint,
            "AZURE_QUANTUM_CONNECTION_STRING": self.connection_string,
            "PYTHONPATH": os.pathsep.join(paths),
        }

    def workspace(self, **options: Any) -> azure.quantum.Workspace:
        """A new, unmodified `azure.quantum.Workspace` connected to this server.

        Args:
            **options: Further arguments of `azure.quantum.Workspace`, such as `storage`.
        """
        from azure.core.credentials import AzureKeyCredential
        from azure.quantum import Workspace

        return Workspace(
            resource_id=self.resource_id,
            location=_LOCATION,
            credential=AzureKeyCredential(self.key),
            **{endpoint_argument(Workspace): self.endpoint},
            **options,
        )

    @checked(target=STRING)
    def set_availability(self, target: str, availability: str) -> None:
        """Makes a target `Available`, `Degraded` (its jobs wait) or `Unavailable`.

        Raises:
            ValueError: If the target or the availability is unknown.
        """
        self._loop.run(self._change_availability, target, availability)

    async def _change_availability(self, target: str, availability: str) -> None:
        for request in self._catalog.set_availability(target, availability):
            with contextlib.suppress(ServiceError):
                await self._workspace.change_pace(request.id, self._catalog.pace(request))

    def start(self) -> None:
        """Starts the server; it is ready on return."""
        self._loop.run(self._start)

    def stop(self) -> None:
        """Stops the server and drops its state; does nothing if it has not started.

        In a forked child, which has the server but not its thread, it only releases the port.
        """
        if os.getpid() != self._process:
            self._socket.close()
            return
        self._loop.run(self._stop)
        self._loop.stop()
        self._socket.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    async def _start(self) -> None:
        await self._runner.setup()
        assert self._runner.server is not None
        self._listener = await asyncio.get_running_loop().create_server(
            self.requests.counting(self._runner.server), sock=self._socket
        )

    async def _stop(self) -> None:
        if self._listener is not None:
            self._listener.close()
            await self._runner.cleanup()
            self._storage.close()

    def _application(self, quotas: Quotas, max_stored_jobs: int | None) -> web.Application:
        routes = WorkspaceRoutes(
            self._address.public,
            self._workspace,
            self._storage,
            self._catalog,
            quotas,
            self.faults,
            max_stored_jobs,
        )
        application = web.Application(
            client_max_size=MAX_BLOB_BYTES,
            middlewares=[
                self._address.note,
                fault_middleware(self.faults, self.requests, self.clock),
                gate_middleware(self.key),
            ],
        )
        routes.add_routes(application.router)
        control = Control(self.faults, self.requests, self.clock, self._change_availability)
        control.add_routes(application.router)
        self._storage.add_routes(application.router)
        return application

    def __repr__(self) -> str:
        return f"EmulatorServer({self.endpoint!r})"


class _Address:
    """The address of a listening server.

    A server on a wildcard address such as 0.0.0.0 gives each client the address that the client
    used to reach it.
    """

    def __init__(self, host: str, port: int) -> None:
        self._is_wildcard = host in ("0.0.0.0", "::")
        if self._is_wildcard:
            host = "127.0.0.1" if host == "0.0.0.0" else "::1"
        # For clients on this machine.
        self.local = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def public(self) -> str:
        """The address for the client of the current request."""
        return _REACHED_AS.get(self.local) if self._is_wildcard else self.local

    @web.middleware
    async def note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A middleware that records the address that each client used."""
        host = request.headers.get("Host", "")
        _REACHED_AS.set(f"http://{host}" if _HOST.fullmatch(host) else self.local)
        return await handler(request)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=1024)
