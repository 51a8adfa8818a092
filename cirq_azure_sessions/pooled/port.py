"""What the sessions and jobs that a pool hands out need of it."""

from __future__ import annotations

from typing import Protocol

from cirq_azure_sessions.background import LoopThread
from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.model import Job, Session
from cirq_azure_sessions.workspaces.base import WorkspacePort

__all__ = ["PoolPort"]


class PoolPort(Protocol):
    """The pool, as far as its sessions and jobs know it."""

    @property
    def loop(self) -> LoopThread:
        """The event loop on which requests are sent; `PoolClosed` once it has ended."""

    @property
    def clock(self) -> Clock:
        """Where waits pass."""

    async def watch(self, job: Job, workspace: WorkspacePort) -> Job:
        """Waits until the job is over, with few requests for many jobs."""

    async def close_session(self, session_id: str, workspace: WorkspacePort) -> Session:
        """Closes any session of the workspace; no job goes in it any more."""
