"""An Azure Quantum workspace on loopback HTTP, for rehearsals and tests.

    with EmulatorServer() as server:
        workspace = server.workspace()            # an unmodified azure.quantum.Workspace
        ...
        server.clock.advance(600)                 # sessions time out
        server.faults.add("submit", status=503)   # the next submission fails
        server.requests["job"]                    # how many times a job was read

It is tested against recorded traffic of the service, which `tests/emulator/test_conformance.py`
replays request by request. The differences that remain, by their names in that test:

`older-service`
    Some recordings are of the service of 2024 and early 2025, under a later API version: without
    `jobPriority` and `lastModifiedTime`, with signed addresses in lists, and with the jobs of a
    session oldest first. The emulator goes by the version that the client names.
`sweep`
    The service ended idle sessions 2 to 113 s late. The emulator ends them on time, or with a
    random delay if it is `realistic`.
`catalogue`
    Providers and targets came and went between the recordings. The emulator has them all, each with
    its most recently recorded status page.

Two further differences are intended:

- A SAS that `sasUri` returns for a container is valid for that container only. Azure's is valid for
  the whole account; the stricter rule exposes clients that mix up containers.
- The targets of Pasqal, Microsoft and Elements are listed and take jobs, which then fail with
  `InvalidInputData`: the emulator runs no pulses, estimates no resources and does no chemistry.

What the emulator does where the recordings show nothing is in the documentation, under "How
faithful it is" (docs/how-to/emulate.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cirq_azure_sessions.emulator.server import EmulatorServer

__all__ = ["EmulatorServer"]


# Hidden from type checkers, which would otherwise accept a misspelt name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        # Importing one part of the package must not load the HTTP server.
        if name == "EmulatorServer":
            from cirq_azure_sessions.emulator.server import EmulatorServer

            return EmulatorServer
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
