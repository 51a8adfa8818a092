"""An Azure Quantum workspace on loopback HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cirq_azure_sessions.emulator.server import EmulatorServer

__all__ = ["EmulatorServer"]


def __getattr__(name: str) -> Any:
    # Importing the package must not cost an HTTP server to those who want only one of its parts.
    if name == "EmulatorServer":
        from cirq_azure_sessions.emulator.server import EmulatorServer

        return EmulatorServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
