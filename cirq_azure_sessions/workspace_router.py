"""Which workspace a target's jobs go to: the user's own, or one in memory for `local.*`."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any, cast

from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.errors import UnsupportedTarget
from cirq_azure_sessions.workspaces.base import WorkspacePort

__all__ = ["WorkspaceRouter"]


class WorkspaceRouter:
    """The workspaces of a pool: the one that was given, then a `LocalWorkspace` of its own.

    Args:
        workspace: An `azure.quantum.Workspace`, one of this package's workspaces, or None.
        executor: Where local sweeps run, if not on threads of this process.
        clock: The pool's clock.
    """

    def __init__(self, workspace: Any, *, executor: Executor | None, clock: Clock) -> None:
        # Imported here so that importing the package costs little; so is the adapter below.
        from cirq_azure_sessions.workspaces.local import LocalWorkspace

        self._given = None if workspace is None else _as_port(workspace, clock)
        self._local: WorkspacePort = LocalWorkspace(executor=executor, clock=clock)

    @property
    def given(self) -> WorkspacePort | None:
        """The user's workspace, as a port."""
        return self._given

    @property
    def all(self) -> Sequence[WorkspacePort]:
        """Every workspace, those first that need no request to be looked at."""
        return [self._local] if self._given is None else [self._local, self._given]

    def find(self, target: str) -> WorkspacePort:
        """The workspace that takes jobs for this target.

        Raises:
            UnsupportedTarget: If there is none.
        """
        if not isinstance(target, str):
            raise UnsupportedTarget(
                f"A target is a string such as 'ionq.simulator', not {target!r}."
            )
        if self._given is not None and self._given.takes(target):
            return self._given
        if self._local.takes(target):
            return self._local
        if self._given is None and not target.startswith("local."):
            raise UnsupportedTarget(
                f"{target!r} is not a local target: pass workspace= (an azure.quantum.Workspace) "
                "or use a local.* target such as 'local.simulator'."
            )
        raise UnsupportedTarget(
            f"No workspace here knows the target {target!r}: check its spelling, "
            "or list the targets of your workspace with `cirq-azure-sessions targets`."
        )

    async def aclose(self) -> None:
        """Lets go of the connections and threads of every workspace."""
        for workspace in self.all:
            await workspace.aclose()


def _as_port(workspace: Any, clock: Clock) -> WorkspacePort:
    """The workspace itself if it is a port already, else the adapter round the SDK's."""
    if hasattr(workspace, "store_input"):
        return cast(WorkspacePort, workspace)
    from cirq_azure_sessions.workspaces.azure import AzureWorkspace

    return AzureWorkspace(workspace, clock=clock)
