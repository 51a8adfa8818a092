"""Programs in processes of their own, and the emulated workspace that they connect to."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import dataclass
from typing import Any

import pytest

from cirq_azure_sessions.emulator.server import EmulatorServer

__all__ = ["NEEDS_FORK", "PROCESSES", "Address"]

NEEDS_FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

# Children are forked from a process that has imported everything and holds nothing open.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "pytest",
        "cirq_azure_sessions.workspaces.azure",
        "cirq_azure_sessions.emulator.server",
        "cirq_azure_sessions.formats.ionq",
        "cirq_azure_sessions.sampler",
    ]
)


@dataclass(frozen=True)
class Address:
    """What a child needs to find the server."""

    endpoint: str
    resource_id: str
    key: str

    @classmethod
    def of(cls, server: EmulatorServer) -> Address:
        return cls(server.endpoint, server.resource_id, server.key)

    def workspace(self) -> Any:
        """The SDK's workspace on the server."""
        from azure.core.credentials import AzureKeyCredential
        from azure.quantum import Workspace

        return Workspace(
            resource_id=self.resource_id,
            location="eastus",
            credential=AzureKeyCredential(self.key),
            _quantum_endpoint=self.endpoint,
        )
