"""One session of one target in a pool, from its opening to its end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import enum
from typing import Any

from cirq_azure_sessions.model import Session
from cirq_azure_sessions.pooled.session import PooledSession
from cirq_azure_sessions.workspaces.base import WorkspacePort

__all__ = ["Generation", "State", "settled"]


class State(enum.Enum):
    """Where a generation stands: OPENING -> OPEN -> DRAINING -> CLOSED, or LOST.

    OPENING: being opened, or asked about after a long rest. OPEN: takes jobs. DRAINING: takes no
    more, its jobs still run. CLOSED: closed by the pool. LOST: ended by the service.
    """

    OPENING = "OPENING"
    OPEN = "OPEN"
    DRAINING = "DRAINING"
    CLOSED = "CLOSED"
    LOST = "LOST"


class Generation:
    """A session of the pool together with what the pool knows about it.

    All but `ready` is read and written with the lock of the pool's table held.

    Attributes:
        target: The target.
        workspace: Where the session lives.
        state: Where it stands.
        adopted: Whether another pool opened it.
        session: The session; set once `ready` is.
        ready: Resolved when the generation is OPEN, or with the error that kept it from opening.
        verdict: Resolved, once the service has refused a job, with how the session ended.
        jobs: Jobs that are being submitted or run.
        is_used: Whether anybody has asked for the session, or put a job in it.
    """

    def __init__(self, target: str, workspace: WorkspacePort) -> None:
        self.target = target
        self.workspace = workspace
        self.state = State.OPENING
        self.adopted = False
        self.session: PooledSession | None = None
        self.ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self.verdict: concurrent.futures.Future[Session | None] | None = None
        self.jobs: int = 0
        self.is_used = False
        self._idle: list[concurrent.futures.Future[None]] = []

    @property
    def is_open(self) -> bool:
        """Whether the session is open on the service, as far as the pool knows."""
        return self.state in (State.OPEN, State.DRAINING)

    @property
    def has_ended(self) -> bool:
        """Whether the session has ended, as far as the pool knows."""
        return self.state in (State.CLOSED, State.LOST)

    @property
    def is_over(self) -> bool:
        """Whether the session has ended and none of its jobs is waited for."""
        return self.has_ended and not self.jobs

    @property
    def is_ours_to_close(self) -> bool:
        """Whether closing it is this pool's business."""
        return not self.adopted and self.is_open

    @property
    def opened_session(self) -> PooledSession:
        """The session of a generation that is ready."""
        assert self.session is not None, "read only once `ready` is resolved"
        return self.session

    def remove_job(self) -> list[concurrent.futures.Future[None]]:
        """Counts a job out, and returns those to be told that there is none left."""
        self.jobs -= 1
        if self.jobs:
            return []
        told, self._idle = self._idle, []
        return told

    def when_idle(self) -> concurrent.futures.Future[None]:
        """Resolved once the generation has no job."""
        future: concurrent.futures.Future[None] = concurrent.futures.Future()
        if self.jobs:
            self._idle.append(future)
        else:
            future.set_result(None)
        return future

    def overview(self) -> tuple[object, ...]:
        """Target, session, status, state and number of jobs, for a table."""
        session = self.session
        told = (None, None) if session is None else (session.id, session.status.value)
        state = f"{self.state.value}{' adopted' if self.adopted else ''}"
        return (self.target, *told, state, self.jobs)

    def __repr__(self) -> str:
        jobs = f" {self.jobs} job{'s' if self.jobs != 1 else ''}" if self.jobs else ""
        return f"{self.target} {self.state.value}{' adopted' if self.adopted else ''}{jobs}"


async def settled(future: concurrent.futures.Future[Any]) -> Any:
    """Awaits a shared future; cancelling the waiter leaves the future to the others."""
    waiter = asyncio.wrap_future(future)
    # A waiter that was cancelled never looks at the error, and asyncio would complain of that.
    waiter.add_done_callback(lambda done: done.cancelled() or done.exception())
    return await asyncio.shield(waiter)
