"""One session of one target in a pool, from its opening to its end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import enum
from typing import Any

from cirq_azure_sessions.model import JobFailurePolicy, Session, SessionStatus
from cirq_azure_sessions.workspace import WorkspacePort

__all__ = ["Generation", "PooledSession", "State"]


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


class PooledSession:
    """A session that a pool keeps for one target.

    What it tells is what the service last told the pool. Leaving a `with` block round it leaves it
    open: sessions are closed by their pool.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def id(self) -> str:
        """The session's id on the service."""
        return self._session.id

    @property
    def target(self) -> str:
        """The target that its jobs run on."""
        return self._session.target

    @property
    def name(self) -> str:
        """The session's name on the service."""
        return self._session.name

    @property
    def status(self) -> SessionStatus:
        """The status that the service last told, such as `SessionStatus.EXECUTING`."""
        return self._session.status

    @property
    def job_failure_policy(self) -> JobFailurePolicy:
        """What a failed job does to the session."""
        return self._session.job_failure_policy

    @property
    def azure_session(self) -> Any:
        """The SDK's own `azure.quantum.Session`; None for a local target."""
        return self._session.handle

    def update(self, session: Session) -> None:
        """Takes over a newer description of the same session."""
        self._session = session

    def __enter__(self) -> PooledSession:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None

    def __repr__(self) -> str:
        return (
            f"PooledSession(id={self.id!r}, target={self.target!r}, name={self.name!r}, "
            f"status={self.status.value!r})"
        )


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
        self.jobs = 0
        self.is_used = False
        self._idle: list[concurrent.futures.Future[None]] = []

    @property
    def is_open(self) -> bool:
        """Whether the session is open on the service, as far as the pool knows."""
        return self.state in (State.OPEN, State.DRAINING)

    @property
    def is_over(self) -> bool:
        """Whether the session has ended and none of its jobs is waited for."""
        return self.state in (State.CLOSED, State.LOST) and not self.jobs

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

    def __repr__(self) -> str:
        jobs = f" {self.jobs} job{'s' if self.jobs != 1 else ''}" if self.jobs else ""
        return f"{self.target} {self.state.value}{' adopted' if self.adopted else ''}{jobs}"


async def settled(future: concurrent.futures.Future[Any]) -> Any:
    """Awaits a shared future; cancelling the waiter leaves the future to the others."""
    waiter = asyncio.wrap_future(future)
    # A waiter that was cancelled never looks at the error, and asyncio would complain of that.
    waiter.add_done_callback(lambda done: done.cancelled() or done.exception())
    return await asyncio.shield(waiter)
