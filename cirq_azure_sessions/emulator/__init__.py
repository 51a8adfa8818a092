"""An Azure Quantum workspace on loopback HTTP, for rehearsals and tests.

    with EmulatorServer() as server:
        workspace = server.workspace()            # an unmodified azure.quantum.Workspace
        ...
        server.clock.advance(600)                 # sessions time out
        server.faults.add("submit", status=503)   # the next submission fails
        server.requests["job"]                    # how often a job was asked for

It is tested against recorded traffic of the service, which `tests/emulator/test_conformance.py`
replays request by request. The differences that remain, by their names in that test:

`older-service`
    Some recordings are of the service of 2024 and early 2025, under a later API version: without
    `jobPriority` and `lastModifiedTime`, with signed addresses in lists, and with the jobs of a
    session oldest first. The emulator goes by the version that the client names.
`sweep`
    The service ended idle sessions 2 to 113 s late. The emulator ends them at once, or, if it is
    `realistic`, late by a random time.
`catalogue`
    Providers and targets came and went between the recordings. The emulator has them all, each with
    the status page that was recorded last.

Two further differences are intended:

- A SAS that `sasUri` returns for a container is valid for that container alone. Azure's is valid
  for all of the account, so this reveals clients that confuse containers.
- The targets of Pasqal, Microsoft and Elements are listed and take jobs, which then fail with
  `InvalidInputData`: nothing here runs pulses, estimates resources, or does chemistry.

Where the recordings show nothing, the emulator behaves as follows:

- A second PUT of a job or session returns the existing one. A closed session takes no jobs, though
  its last ones may still run; a session that fails under Abort cancels its unfinished jobs.
- Submissions to an unknown provider or target, or an unavailable one, and malformed requests are
  refused with 400, an unknown session or job with 404, a verb that a route does not have with 405,
  jobs beyond the limit on concurrency with 429, beyond a quota with 403.
- A page has at most 100 items, whatever `top` asks for.
- A deleted job leaves its container, with the program and the result, where it is.
- Any subscription, resource group and workspace name in the path is accepted: the key identifies
  the client.
- The fields of `2026-01-15-preview`, of which there is no recording, are those of 2025 and, from
  the SDK's source, `priority`, `usage`, `lastUpdatedTime` and a session's `tags`.
- Queue times of hardware targets are plausible, but invented; see `pacing`. Its noise is a model
  of what the makers publish; see `cirq_azure_sessions.noise`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cirq_azure_sessions.emulator.server import EmulatorServer

__all__ = ["EmulatorServer"]


# Hidden from type checkers, to which a misspelt name would otherwise be one that may exist.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        # Importing the package must not cost an HTTP server to those who want only one of its
        # parts.
        if name == "EmulatorServer":
            from cirq_azure_sessions.emulator.server import EmulatorServer

            return EmulatorServer
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
