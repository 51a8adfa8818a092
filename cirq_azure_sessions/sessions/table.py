"""The sessions of a pool and every decision on them: no I/O, no waiting, no callbacks."""

from __future__ import annotations

import asyncio
import enum
import math
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cachetools

from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.errors import PoolClosed
from cirq_azure_sessions.workspaces.base import WorkspacePort

if TYPE_CHECKING:
    from cirq_azure_sessions.sessions.handles import SessionHandle

__all__ = ["CLOSED_MESSAGE", "Generation", "SessionTable", "State", "Step"]

CLOSED_MESSAGE = "The session pool is closed: open a new SessionPool to go on."


class State(enum.Enum):
    """The state of a generation: OPENING -> OPEN -> DRAINING -> CLOSED, or LOST.

    OPENING: being opened, or checked after a long rest. OPEN: takes jobs. DRAINING: takes no more,
    but its jobs still run. CLOSED: closed by the pool. LOST: ended by the service.
    """

    OPENING = "OPENING"
    OPEN = "OPEN"
    DRAINING = "DRAINING"
    CLOSED = "CLOSED"
    LOST = "LOST"


class Step(enum.Enum):
    """What has to be done before a generation takes a job."""

    TAKE = enum.auto()
    WAIT = enum.auto()
    OPEN = enum.auto()
    CHECK = enum.auto()


class Generation:
    """One session of one target in a pool, from its opening to its end.

    State and jobs are read and written with the table's lock held; the tasks and `idle` belong to
    the background loop.

    Attributes:
        target: The target.
        workspace: Where the session lives.
        state: Its state.
        adopted: Whether another pool opened it.
        session: The session; set once it is open.
        jobs: The number of jobs that are being submitted or run.
        is_used: Whether anybody has asked for the session, or put a job in it.
        session_id: The session's id, once it is open.
        ready: The task that opens or checks it; done when the state is no longer OPENING.
        ending: The task that asks how the service ended it, once that is known to have happened.
        idle: Set while it has no jobs.
    """

    def __init__(self, target: str, workspace: WorkspacePort) -> None:
        self.target = target
        self.workspace = workspace
        self.state = State.OPENING
        self.adopted = False
        self.session: SessionHandle | None = None
        self.session_id = ""
        self.jobs = 0
        self.is_used = False
        self.ready: asyncio.Task[None] | None = None
        self.ending: asyncio.Task[None] | None = None
        self.idle = asyncio.Event()
        self.idle.set()

    @property
    def is_open(self) -> bool:
        """Whether the session is open on the service, as far as the pool knows."""
        return self.state in (State.OPEN, State.DRAINING)

    @property
    def has_ended(self) -> bool:
        """Whether the session has ended, as far as the pool knows."""
        return self.state in (State.CLOSED, State.LOST)

    @property
    def opened_session(self) -> SessionHandle:
        """The session of a generation that is open."""
        assert self.session is not None, "read only once it is open"
        return self.session

    def overview(self) -> tuple[object, ...]:
        """Target, session, status, state and number of jobs, for a table."""
        session = self.session
        described = (None, None) if session is None else (session.id, session.status.value)
        state = f"{self.state.value}{' adopted' if self.adopted else ''}"
        return (self.target, *described, state, self.jobs)

    def __repr__(self) -> str:
        jobs = f" {self.jobs} job{'s' if self.jobs != 1 else ''}" if self.jobs else ""
        return f"{self.target} {self.state.value}{' adopted' if self.adopted else ''}{jobs}"


class SessionTable:
    """The generations of a pool, by target. Thread-safe: each method is one critical section.

    Args:
        max_idle: Seconds without use after which a session is not trusted to be open.
        clock: Where idle time is measured.
    """

    def __init__(self, *, max_idle: float, clock: Clock) -> None:
        # State: for each target the generation that its jobs go to; those of them used within
        # max_idle; every generation that has not ended or still has jobs; how often a session was
        # used again; and whether the pool is closed.
        self._current: dict[str, Generation] = {}
        self._fresh: cachetools.TTLCache[str, Generation] = cachetools.TTLCache(
            maxsize=math.inf, ttl=max_idle, timer=clock.monotonic
        )
        self._generations: list[Generation] = []
        self._reused = 0
        self._is_closed = False
        # Guards all of the above. No request is sent, and nobody is called, with it held.
        self._lock = threading.Lock()

    # Finding a session

    def decide(
        self,
        target: str,
        workspace: WorkspacePort,
        *,
        trusted: Generation | None = None,
        for_job: bool = False,
    ) -> tuple[Step, Generation]:
        """What a job for this target needs; the whole policy. Whoever is told to act, must.

        `trusted` is a generation that the service has just confirmed to be open. With `for_job` a
        generation that is taken gets a job.
        """
        with self._lock:
            if self._is_closed:
                raise PoolClosed(CLOSED_MESSAGE)
            generation = self._current.get(target)
            # 1. Nobody has needed this target yet, or its session has ended.
            if generation is None:
                generation = self._current[target] = Generation(target, workspace)
                self._generations.append(generation)
                return Step.OPEN, generation
            # 2. Somebody else is opening or checking it.
            if generation.state is State.OPENING:
                return Step.WAIT, generation
            # 3. Used a short while ago, or just confirmed: the service has not timed it out.
            if self._fresh.get(target) is generation or generation is trusted:
                self._fresh[target] = generation
                if for_job:
                    generation.jobs += 1
                    generation.idle.clear()
                    self._reused += generation.is_used
                    generation.is_used = True
                return Step.TAKE, generation
            # 4. Idle for long: the service knows whether it is open, a timer only guesses.
            generation.state = State.OPENING
            return Step.CHECK, generation

    def take_fresh(self, target: str) -> Generation | None:
        """Uses the open generation used within max_idle, whose idle time then starts again."""
        with self._lock:
            if self._is_closed:
                raise PoolClosed(CLOSED_MESSAGE)
            generation = self._fresh.get(target)
            if generation is not None:
                self._fresh[target] = generation
                self._reused += generation.is_used
                generation.is_used = True
            return generation

    # What became of it

    def set_session(
        self, generation: Generation, session: SessionHandle, *, adopted: bool = False
    ) -> None:
        """Gives the generation its session; `adopted` if it is another pool's to close."""
        with self._lock:
            generation.session, generation.session_id = session, session.id
            generation.adopted = adopted

    def settle(self, generation: Generation, *, is_open: bool) -> None:
        """Ends OPENING: the session was opened, or the service has said whether it is open."""
        with self._lock:
            if not is_open:
                generation.state = State.LOST
                self._retire(generation)
            elif self._current.get(generation.target) is generation:
                generation.state = State.OPEN
                self._fresh[generation.target] = generation
            elif generation.state is State.OPENING:
                # Meanwhile the pool was closed, or the target given another session.
                generation.state = State.DRAINING

    def give_up(self, generation: Generation) -> None:
        """Ends OPENING: the session could not be opened, or not be checked."""
        with self._lock:
            if generation.session is None:
                generation.state = State.LOST
                self._retire(generation)
            elif self._current.get(generation.target) is generation:
                # It may well be open: the next use checks again.
                generation.state = State.OPEN
            elif generation.state is State.OPENING:
                generation.state = State.DRAINING

    def attach(self, session: SessionHandle, workspace: WorkspacePort, *, adopted: bool) -> None:
        """Sends the target's jobs to this session; the one they went to so far takes no more."""
        with self._lock:
            if self._is_closed:
                raise PoolClosed(CLOSED_MESSAGE)
            former = self._current.get(session.target)
            generation = self._find(session.id)
            if generation is None:
                generation = Generation(session.target, workspace)
                generation.session, generation.session_id = session, session.id
                generation.adopted = adopted
                generation.state = State.OPEN
                self._generations.append(generation)
            if former is not None and former is not generation:
                self._drain(former)
            # One that is being checked is settled when the answer is there.
            if generation.state is not State.OPENING:
                generation.state = State.OPEN
                self._fresh[session.target] = generation
            self._current[session.target] = generation

    def drain(self, session_id: str) -> Generation | None:
        """Sends no more jobs to this session; returns its generation if it is the pool's."""
        with self._lock:
            generation = self._find(session_id)
            if generation is not None:
                self._drain(generation)
            return generation

    def retire(self, generation: Generation) -> bool:
        """Notes that the service has ended the session; returns whether that is news."""
        with self._lock:
            if generation.has_ended:
                return False
            generation.state = State.LOST
            self._retire(generation)
            return True

    def release(self, generation: Generation) -> None:
        """Counts a job of the generation out."""
        with self._lock:
            generation.jobs -= 1
            if not generation.jobs:
                generation.idle.set()
                if generation.has_ended:
                    self._forget_if_done(generation)

    # The end of the pool

    def close(self) -> None:
        """Hands out no more sessions. Closing twice is no error."""
        with self._lock:
            self._is_closed = True
            self._fresh.clear()
            self._current.clear()

    def is_ours_to_close(self, generation: Generation) -> bool:
        """Whether the session is open, and closing it this pool's business."""
        with self._lock:
            return generation.is_open and not generation.adopted

    def note_end(self, generation: Generation) -> None:
        """Notes that the pool has closed the session, or has left it to its opener."""
        with self._lock:
            if generation.state is not State.LOST:
                generation.state = State.CLOSED
            self._forget_if_done(generation)

    # What there is

    @property
    def is_closed(self) -> bool:
        """Whether the pool is closed."""
        with self._lock:
            return self._is_closed

    def check_open(self) -> None:
        """Raises `PoolClosed` if the pool is closed."""
        with self._lock:
            if self._is_closed:
                raise PoolClosed(CLOSED_MESSAGE)

    def find(self, session_id: str) -> SessionHandle | None:
        """The session with this id, if it is the pool's and has not ended."""
        with self._lock:
            generation = self._find(session_id)
            return None if generation is None else generation.session

    def generations(self) -> Sequence[Generation]:
        """Every generation that has not ended or still has jobs, oldest first."""
        with self._lock:
            return list(self._generations)

    def open_sessions(self) -> Sequence[SessionHandle]:
        """The sessions that are open, as far as the pool knows, oldest first."""
        with self._lock:
            return [
                generation.session
                for generation in self._generations
                if generation.session is not None and generation.is_open
            ]

    def stats(self) -> dict[str, float]:
        """How often sessions were used again; how many are open now, and how many jobs run."""
        with self._lock:
            return {
                "sessions_reused": self._reused,
                "sessions_open": sum(generation.is_open for generation in self._generations),
                "jobs_running": sum(generation.jobs for generation in self._generations),
            }

    def __repr__(self) -> str:
        with self._lock:
            return ", ".join(map(repr, self._generations)) or "no session"

    # With the lock held

    def _find(self, session_id: str) -> Generation | None:
        for generation in self._generations:
            if generation.session_id == session_id and not generation.has_ended:
                return generation
        return None

    def _drain(self, generation: Generation) -> None:
        """Sends no more jobs to a generation whose session has not ended."""
        self._retire(generation)
        if generation.is_open:
            generation.state = State.DRAINING

    def _retire(self, generation: Generation) -> None:
        """Sends no more jobs to this generation."""
        if self._current.get(generation.target) is generation:
            del self._current[generation.target]
            self._fresh.pop(generation.target, None)
        self._forget_if_done(generation)

    def _forget_if_done(self, generation: Generation) -> None:
        if generation.has_ended and not generation.jobs and generation in self._generations:
            self._generations.remove(generation)
