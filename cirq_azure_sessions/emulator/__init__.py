"""An Azure Quantum workspace on loopback HTTP, for rehearsals and tests.

    with EmulatorServer() as server:
        workspace = server.workspace()            # an unmodified azure.quantum.Workspace
        ...
        server.clock.advance(600)                 # sessions time out
        server.faults.add("submit", status=503)   # the next submission fails
        server.requests["job"]                    # how often a job was asked for

Its ground truth is recorded traffic of the service, which `tests/emulator/test_conformance.py`
replays request by request. What still differs there, by the name that the test gives it:

`older-service`
    One recording is of a service of early 2025, under the name of a later API version: without
    `jobPriority` and `lastModifiedTime`, with signed addresses in lists, and with the jobs of a
    session oldest first. The emulator goes by the version that the client names.
`sweep`
    An idle session was found out 2 to 113 s late. The emulator finds it out at once, unless it is
    `realistic`; when exactly is chance in either.
`catalogue`
    Providers and targets came and went between the recordings. The emulator has them all, each with
    the status page that was recorded last.

Two differences no recording shows, and they are there on purpose:

- A SAS that `sasUri` gives for a container opens that container alone. Azure's opens every one of
  the account; so a client that mixes containers up is found out here.
- The targets of Pasqal, Microsoft and Elements are listed and take jobs, which then fail with
  `InvalidInputData`: nothing here runs pulses, estimates resources, or does chemistry.

What the recordings do not show, and the emulator decides:

- A second PUT of a job or session answers what is there. A session that was closed takes no jobs,
  though its last ones may still run; one that fails under Abort cancels those it has.
- Submissions to an unknown provider or target, or an unavailable one, and malformed requests are
  refused with 400, an unknown session or job with 404, a verb that a route does not have with 405,
  jobs beyond the limit on concurrency with 429, beyond a quota with 403.
- A page has at most 100 items, whatever `top` asks for.
- A deleted job leaves its container, with the program and the result, where it is.
- Any subscription, resource group and workspace name in the path will do: the key tells who comes.
- The fields of `2026-01-15-preview`, which nobody recorded, are those of 2025 and, from the SDK's
  source, `priority`, `usage`, `lastUpdatedTime` and a session's `tags`.
- Queue times and noise of hardware targets are made up, within reason; see `pacing` and
  `programs.noise`.
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
