"""The sessions of a pool and every decision on them: no I/O, no waiting, no callbacks."""

from __future__ import annotations

import asyncio
import enum
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.errors import PoolClosed
from cirq_azure_sessions.spelling import counted
from cirq_azure_sessions.workspaces.base import WorkspacePort

if TYPE_CHECKING:
    from cirq_azure_sessions.sessions.handles import SessionHandle

__all__ = ["Generation", "SessionTable", "State", "Step"]


class State(enum.Enum):
    """The state of a generation: OPENING -> OPEN -> DRAINING -> CLOSED, or LOST.

    OPENING: being opened, or checked after a long pause. OPEN: takes jobs. DRAINING: takes no more,
    but its jobs still run. CLOSED: closed by the pool. LOST: ended by the service.
    """

    OPENING = "OPENING"
    OPEN = "OPEN"
    DRAINING = "DRAINING"
    CLOSED = "CLOSED"
    LOST = "LOST"


class Step(enum.Enum):
    """The step that is needed before a generation takes a job."""

    TAKE = enum.auto()
    WAIT = enum.auto()
    OPEN = enum.auto()
    CHECK = enum.auto()


@dataclass(eq=False, repr=False)
class Generation:
    """One session of one target in a pool, from its opening to its end."""

    target: str
    workspace: WorkspacePort
    # Set once it is open.
    session: SessionHandle | None = None
    # Whether another pool opened it.
    adopted: bool = False
    state: State = State.OPENING
    # When it was last used, or seen to be open; within max_idle of that it needs no check.
    used_at: float = -math.inf
    # Counts the uses of the session: requests for it, and jobs submitted to it.
    uses: Iterator[int] = field(default_factory=itertools.count)
    # How many jobs are being submitted or run; the event is set while there are none.
    jobs: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    # Opens or checks it; done when the state is no longer OPENING.
    ready: asyncio.Task[None] | None = None
    # Asks how the service ended it, once that is known to have happened.
    ending: asyncio.Task[bool] | None = None

    def __post_init__(self) -> None:
        self.idle.set()

    @property
    def opened_session(self) -> SessionHandle:
        """The session of a generation that is open."""
        assert self.session is not None, "read only once it is open"
        return self.session

    @property
    def session_id(self) -> str:
        """The session's id; empty until it is open."""
        return "" if self.session is None else self.session.id

    @property
    def is_open(self) -> bool:
        """Whether the session is open on the service, as far as the pool knows."""
        return self.state in (State.OPEN, State.DRAINING)

    @property
    def is_ours_to_close(self) -> bool:
        """Whether the session is open, and was opened by this pool."""
        return self.is_open and not self.adopted

    @property
    def has_ended(self) -> bool:
        """Whether the session has ended, as far as the pool knows."""
        return self.state in (State.CLOSED, State.LOST)

    def overview(self) -> tuple[object, ...]:
        """Target, session, status, state and number of jobs, for a table."""
        status = None if self.session is None else self.session.status.value
        state = f"{self.state.value}{' adopted' if self.adopted else ''}"
        return (self.target, self.session_id or None, status, state, self.jobs)

    def __repr__(self) -> str:
        target, _, _, state, _ = self.overview()
        return f"{target} {state}" + (f" {counted(self.jobs, 'job')}" if self.jobs else "")


class SessionTable:
    """The generations of a pool, by target.

    Changed only on the background loop, so that each method is one critical section. Other threads
    may set `is_closed`, call `take_fresh` and read. Each of these steps is atomic, so they need no
    lock, which could slow many threads down to a fifth of one thread's rate.

    Args:
        max_idle: Idle seconds after which a session must be checked before use.
        clock: The clock for idle time.
    """

    def __init__(self, *, max_idle: float, clock: Clock) -> None:
        self._max_idle = max_idle
        self._clock = clock
        # State: for each target the current generation; every generation that has not ended or
        # still has jobs; whether the table is closed; how often a session was reused, and how often
        # that was read. Any thread may count: `next` is atomic, `+=` is not.
        self._current: dict[str, Generation] = {}
        self._generations: list[Generation] = []
        self.is_closed = False
        self._reused = itertools.count()
        self._reused_reads = itertools.count()

    # Finding a session

    def decide(
        self,
        target: str,
        workspace: WorkspacePort,
        *,
        trusted: Generation | None = None,
        for_job: bool = False,
    ) -> tuple[Step, Generation]:
        """The next step for a job on this target; the whole policy. The caller must execute it.

        `trusted` is a generation that the service has just confirmed to be open. With `for_job` a
        generation that is taken gets a job.
        """
        self.check_open()
        generation = self._current.get(target)
        # 1. The target is new, or its session has ended.
        if generation is None:
            generation = self._current[target] = Generation(target, workspace)
            self._generations.append(generation)
            return Step.OPEN, generation
        # 2. Another caller is opening or checking it.
        if generation.state is State.OPENING:
            return Step.WAIT, generation
        # 3. Used recently, or just confirmed: the service has not timed it out.
        now = self._clock.monotonic()
        if now - generation.used_at < self._max_idle or generation is trusted:
            generation.used_at = now
            if for_job:
                generation.jobs += 1
                generation.idle.clear()
                if next(generation.uses):
                    next(self._reused)
            return Step.TAKE, generation
        # 4. Idle for long: only the service knows whether it is open.
        generation.state = State.OPENING
        return Step.CHECK, generation

    def take_fresh(self, target: str) -> Generation | None:
        """Uses the open generation used within max_idle, whose idle time then starts again.

        One that is retired or becomes due for a check at the same moment may still be returned.
        """
        self.check_open()
        generation = self._current.get(target)
        if generation is None or generation.state is not State.OPEN:
            return None
        now = self._clock.monotonic()
        if now - generation.used_at >= self._max_idle:
            return None
        generation.used_at = now
        if next(generation.uses):
            next(self._reused)
        return generation

    # Outcomes

    def settle(self, generation: Generation, *, is_open: bool | None) -> None:
        """Ends OPENING: the session is open or not; None if the service did not answer."""
        if is_open is False or generation.session is None:
            self.retire(generation)
        elif self._current.get(generation.target) is generation and not self.is_closed:
            # Without an answer it may well be open: the next use checks again.
            if is_open:
                generation.used_at = self._clock.monotonic()
            generation.state = State.OPEN
        elif generation.state is State.OPENING:
            # In the meantime the pool was closed, or the target got another session.
            generation.state = State.DRAINING

    def attach(self, session: SessionHandle, workspace: WorkspacePort, *, adopted: bool) -> None:
        """Sends the target's jobs to this session; its former session takes no more."""
        self.check_open()
        former = self._current.get(session.target)
        generation = self.find(session.id)
        if generation is None:
            generation = Generation(session.target, workspace, session, adopted, State.OPEN)
            self._generations.append(generation)
        if former is not None and former is not generation:
            self.drain(former)
        # One that is being checked is settled when the answer arrives.
        if generation.state is not State.OPENING:
            generation.used_at = self._clock.monotonic()
            generation.state = State.OPEN
        self._current[session.target] = generation

    def drain(self, generation: Generation) -> None:
        """Sends no more jobs to this generation."""
        if self._current.get(generation.target) is generation:
            del self._current[generation.target]
        if generation.is_open:
            generation.state = State.DRAINING

    def retire(self, generation: Generation, state: State = State.LOST) -> bool:
        """Records that the session has ended, LOST or CLOSED; returns whether that is new."""
        if generation.has_ended:
            return False
        self.drain(generation)
        generation.state = state
        if not generation.jobs:
            self._generations.remove(generation)
        return True

    def release(self, generation: Generation) -> None:
        """Records that a job of the generation has finished."""
        generation.jobs -= 1
        if not generation.jobs:
            generation.idle.set()
            if generation.has_ended:
                self._generations.remove(generation)

    # Inspection

    def check_open(self) -> None:
        """Raises `PoolClosed` if the pool is closed."""
        if self.is_closed:
            raise PoolClosed

    def find(self, session_id: str) -> Generation | None:
        """The generation with this session, if it has not ended."""
        for generation in self.generations():
            if generation.session_id == session_id and not generation.has_ended:
                return generation
        return None

    def generations(self) -> Sequence[Generation]:
        """Every generation that has not ended or still has jobs, oldest first."""
        return list(self._generations)

    def open_sessions(self) -> Sequence[SessionHandle]:
        """The sessions that are open, as far as the pool knows, oldest first."""
        return [each.opened_session for each in self.generations() if each.is_open]

    def stats(self) -> dict[str, float]:
        """How often sessions were reused; how many are open now, and how many jobs run."""
        generations = self.generations()
        return {
            # Reading a counter also advances it.
            "sessions_reused": next(self._reused) - next(self._reused_reads),
            "sessions_open": sum(each.is_open for each in generations),
            "jobs_running": sum(each.jobs for each in generations),
        }

    def __repr__(self) -> str:
        return ", ".join(map(repr, self.generations())) or "no session"
