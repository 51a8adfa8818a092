"""Redirects the SDK's workspaces in this process to the emulator named by the environment.

The SDK takes no other address than Azure's from a connection string or a variable. Python imports
this module when it starts, because `EmulatorServer.environment` puts its folder on PYTHONPATH. It
changes nothing but the workspaces, once the program imports `azure.quantum`, and lets no proxy of
the environment come between.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

__all__: list[str] = []


class _Redirection(MetaPathFinder):
    """Changes the SDK's parameters of a connection as they are imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        if name != "azure.quantum._workspace_connection_params":
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            _redirect(module.WorkspaceConnectionParams)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _redirect(parameters: Any) -> None:
    endpoint = os.environ["AZURE_QUANTUM_EMULATOR"]
    key = re.search("ApiKey=([^;]+)", os.environ["AZURE_QUANTUM_CONNECTION_STRING"])
    complete = parameters.default_from_env_vars

    def default_from_env_vars(self: Any) -> Any:
        named = urlsplit(self.quantum_endpoint or "").hostname
        complete(self)
        # The program serves an emulator of its own.
        if named in ("127.0.0.1", "::1", "localhost"):
            return self
        # Whatever the program says: nothing that it does may reach Azure, and cost money there.
        self.quantum_endpoint = endpoint
        self.api_key = key and key[1]
        self.location = self.location or "eastus"
        return self

    parameters.default_from_env_vars = default_from_env_vars


def _run_next() -> None:
    """Runs the system's own module of this name, which this one hides."""
    here = Path(__file__).parent
    spec = PathFinder.find_spec("sitecustomize", [p for p in sys.path if Path(p) != here])
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(module_from_spec(spec))


if "AZURE_QUANTUM_EMULATOR" in os.environ:
    sys.meta_path.insert(0, _Redirection())
    # Libraries read the name in lower case first. A star stands for all hosts only if it is alone.
    hosts = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    if hosts != "*":
        host = urlsplit(os.environ["AZURE_QUANTUM_EMULATOR"]).hostname
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(filter(None, (hosts, host)))
_run_next()
