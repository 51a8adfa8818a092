"""`WorkspaceRouter`: finds the workspace of a target, a session or a job."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from fnmatch import fnmatchcase
from typing import Any, TypeVar, cast

from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.errors import (
    AzureSessionsError,
    JobError,
    ServiceError,
    SessionNotAvailable,
    UnsupportedTarget,
)
from cirq_azure_sessions.installation import BUILT_IN_TARGETS
from cirq_azure_sessions.model import Job, Session, TargetStatus
from cirq_azure_sessions.options import TEXT, checked, shortened, shown
from cirq_azure_sessions.spelling import did_you_mean
from cirq_azure_sessions.workspaces.base import WorkspacePort
from cirq_azure_sessions.workspaces.filters import ItemFilter, target_pattern
from cirq_azure_sessions.workspaces.local import LocalWorkspace

__all__ = ["WorkspaceRouter"]

Item = TypeVar("Item", Session, Job)
# An item and its workspace.
Located = tuple[Item, WorkspacePort]


class WorkspaceRouter:
    """The user's own workspace, if there is one, and one in memory for local targets.

    Args:
        workspace: An `azure.quantum.Workspace`, a workspace of this package, or None.
        executor: The executor for sweeps on targets in memory.
        clock: The clock of both.

    Attributes:
        given: The user's own workspace as a port.
    """

    def __init__(self, workspace: Any, executor: Executor | None, clock: Clock) -> None:
        self.given: WorkspacePort | None = None if workspace is None else _as_port(workspace, clock)
        in_memory: WorkspacePort = LocalWorkspace(executor=executor, clock=clock)
        # Local first, since it needs no request.
        self._workspaces = [in_memory] if self.given is None else [in_memory, self.given]

    def for_target(self, target: str) -> WorkspacePort:
        """The workspace that accepts jobs for this target, preferably the user's own.

        Raises:
            UnsupportedTarget: If there is none.
        """
        for workspace in reversed(self._workspaces):
            if isinstance(target, str) and workspace.takes(target):
                return workspace
        name = target if isinstance(target, str) else ""
        if self.given is None and not name.startswith("local."):
            raise UnsupportedTarget(
                f"{shown(target)} is not a local target: pass workspace= (an "
                "azure.quantum.Workspace) or use a local.* target such as 'local.simulator'."
            )
        local = [each for each in self._workspaces if isinstance(each, LocalWorkspace)]
        names = [*BUILT_IN_TARGETS, *(target for each in local for target in each.targets)]
        raise UnsupportedTarget(
            f"No workspace here has the target {shown(target)}: check its spelling, "
            "or list the targets of your workspace with `cirq-azure-sessions targets`."
            f"{did_you_mean(name, names)}"
        )

    @checked()
    async def get_session(self, session_id: str) -> Located[Session]:
        """The session with this id; `SessionNotAvailable` if there is none."""
        missing = SessionNotAvailable(
            f"This workspace has no session {shortened(session_id)}: check the id and the "
            "workspace.",
            session_id=session_id,
        )
        return await self._get(lambda workspace: workspace.get_session(session_id), missing)

    @checked()
    async def get_job(self, job_id: str) -> Located[Job]:
        """The job with this id; `JobError` if there is none."""
        missing = JobError(
            f"This workspace has no job {shortened(job_id)}: check the id and the workspace.",
            job_id=job_id,
            status="Missing",
        )
        return await self._get(lambda workspace: workspace.get_job(job_id), missing)

    async def list_sessions(self, where: ItemFilter) -> list[Located[Session]]:
        """The sessions that match, newest first."""
        found = [
            (session, workspace)
            for workspace in self._workspaces
            async for session in workspace.list_sessions(where)
        ]
        return _newest(found, where.limit)

    async def list_jobs(self, where: ItemFilter) -> list[Located[Job]]:
        """The jobs that match, newest first."""
        found = [
            (job, workspace)
            for workspace in self._workspaces
            async for job in workspace.list_jobs(where)
        ]
        return _newest(found, where.limit)

    @checked(target=TEXT)
    async def least_busy(self, target: str, *, is_asked_for: bool = False) -> TargetStatus:
        """The available target with the shortest queue; `UnsupportedTarget` if there is none.

        It is a target of the user's workspace or, without one, of that in memory. One chosen by
        name may be unavailable.
        """
        listed = await self._workspaces[-1].list_targets()
        known = [each for each in listed if fnmatchcase(each.id, target_pattern(target))]
        fitting = [each for each in known if is_asked_for or each.availability == "Available"]
        if not fitting:
            hint = "" if known else did_you_mean(target, [each.id for each in listed])
            raise UnsupportedTarget(
                f"No target {shown(target)} is available now: `cirq-azure-sessions targets` lists "
                f"those of your workspace.{hint}"
            )
        return min(fitting, key=lambda each: each.average_queue_time)

    async def _get(
        self, get: Callable[[WorkspacePort], Awaitable[Item]], missing: AzureSessionsError
    ) -> Located[Item]:
        """The result of the first workspace that has one."""
        for workspace in self._workspaces:
            try:
                return await get(workspace), workspace
            except ServiceError as error:
                if not error.is_missing:
                    raise
        raise missing


def _newest(found: list[Located[Item]], limit: int | None) -> list[Located[Item]]:
    found.sort(key=lambda located: located[0].creation_time or -math.inf, reverse=True)
    return found[:limit]


def _as_port(workspace: Any, clock: Clock) -> WorkspacePort:
    """The workspace itself if it is a port already, else the adapter round the SDK's."""
    if hasattr(workspace, "store_input"):
        return cast(WorkspacePort, workspace)
    # Imported here so that local targets do not load the SDK.
    from cirq_azure_sessions.workspaces.azure import AzureWorkspace

    return AzureWorkspace(workspace, clock=clock)
