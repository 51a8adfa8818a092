"""What a workspace says of one target."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.model import TargetStatus
from cirq_azure_sessions.workspaces.base import WorkspacePort

__all__ = ["find_target"]


async def find_target(
    workspace: WorkspacePort, target: str, gate: AbstractAsyncContextManager[Any]
) -> TargetStatus | None:
    """The target as the workspace lists it; None if it does not, or gives no list.

    Args:
        workspace: The workspace.
        target: The target's id.
        gate: Admits the request.
    """
    with suppress(ServiceError):
        async with gate:
            listed = await workspace.list_targets()
        return next((each for each in listed if each.id == target), None)
    return None
