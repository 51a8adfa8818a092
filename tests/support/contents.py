"""What a workspace has, oldest first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

from cirq_azure_sessions.model import Job, Session
from cirq_azure_sessions.workspaces.base import WorkspacePort

T = TypeVar("T")


def jobs(workspace: WorkspacePort) -> list[Job]:
    return asyncio.run(_oldest_first(workspace.list_jobs()))


def sessions(workspace: WorkspacePort) -> list[Session]:
    return asyncio.run(_oldest_first(workspace.list_sessions()))


async def _oldest_first(items: AsyncIterator[T]) -> list[T]:
    return [item async for item in items][::-1]
