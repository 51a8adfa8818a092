"""Which session takes the next job of a target: the pool's state, and every decision on it.

Nothing here waits, sends a request or calls anybody.
"""

from __future__ import annotations

import concurrent.futures
import enum
import math
import threading
from collections.abc import Sequence

import cachetools

from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.errors import PoolClosed
from cirq_azure_sessions.generation import Generation, State
from cirq_azure_sessions.model import Session
from cirq_azure_sessions.pooled.session import PooledSession
from cirq_azure_sessions.workspaces.base import WorkspacePort

__all__ = ["SessionTable", "Step"]


class Step(enum.Enum):
    """What has to be done before a generation takes a job."""

    TAKE = enum.auto()
    WAIT = enum.auto()
    OPEN = enum.auto()
    CHECK = enum.auto()


class SessionTable:
    """The generations of a pool, by target. Thread-safe: each method is one critical section.

    Args:
        max_idle: Seconds without use after which a session is not trusted to be open.
        clock: Where rest is measured.
    """

    def __init__(self, *, max_idle: float, clock: Clock) -> None:
        # State: for each target the generation that its jobs go to; those of them used within
        # max_idle; every generation that is not over, with what it knows of itself; how often a
        # session was used again; and whether the pool is closed.
        self._current: dict[str, Generation] = {}
        self._fresh: cachetools.TTLCache[str, Generation] = cachetools.TTLCache(
            maxsize=math.inf, ttl=max_idle, timer=clock.monotonic
        )
        self._generations: list[Generation] = []
        self._reused = 0
        self._is_closed = False
        # Guards all of the above. No request is ever sent, and nobody is called, with it held.
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

        Args:
            target: The target.
            workspace: Where it is.
            trusted: A generation that the service has just confirmed to be open.
            for_job: Whether a generation that is taken gets a job.

        Raises:
            PoolClosed: If the pool is closed.
        """
        with self._lock:
            self._refuse_if_closed()
            generation = self._current.get(target)
            # 1. Nobody has needed this target yet, or its session is over.
            if generation is None:
                generation = self._current[target] = Generation(target, workspace)
                self._generations.append(generation)
                return Step.OPEN, generation
            # 2. Somebody else is opening it, or asking about it.
            if generation.state is State.OPENING:
                return Step.WAIT, generation
            # 3. Used a short while ago, or just confirmed: the service will not have timed it out.
            if self._touch(target) is not None or generation is trusted:
                generation.jobs += for_job
                return Step.TAKE, generation
            # 4. At rest for long: the service knows, a timer only guesses.
            generation.state = State.OPENING
            generation.ready = concurrent.futures.Future()
            return Step.CHECK, generation

    def take_fresh(self, target: str) -> Generation | None:
        """Uses the open generation used within max_idle, whose rest now starts again.

        Raises:
            PoolClosed: If the pool is closed.
        """
        with self._lock:
            self._refuse_if_closed()
            generation = self._touch(target)
            if generation is not None:
                self._note_use(generation)
            return generation

    def note_use(self, generation: Generation) -> None:
        """Counts a use of a session; the first is not a reuse."""
        with self._lock:
            self._note_use(generation)

    # What became of it

    def note_session(
        self, generation: Generation, session: PooledSession, *, adopted: bool = False
    ) -> None:
        """The generation has its session now; `adopted` if it is another pool's to close."""
        with self._lock:
            generation.session = session
            generation.adopted = adopted

    def settle(self, generation: Generation, *, is_open: bool) -> None:
        """The generation was opened, or the service has told whether it still is open."""
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
        """The generation could not be opened, or not be asked about."""
        with self._lock:
            if generation.session is None:
                generation.state = State.LOST
                self._retire(generation)
            elif self._current.get(generation.target) is generation:
                # It may well be open: the next use asks again.
                generation.state = State.OPEN
            elif generation.state is State.OPENING:
                generation.state = State.DRAINING

    def attach(
        self, session: PooledSession, workspace: WorkspacePort, *, adopted: bool
    ) -> Generation:
        """The target's jobs go in this session now; the one they went in so far takes no more.

        Returns:
            The generation of the session: a new one, unless the pool has the session already.

        Raises:
            PoolClosed: If the pool is closed.
        """
        with self._lock:
            self._refuse_if_closed()
            former = self._current.get(session.target)
            generation = self._find(session.id)
            if generation is None:
                generation = Generation(session.target, workspace)
                generation.session, generation.adopted = session, adopted
                generation.state = State.OPEN
                generation.ready.set_result(None)
                self._generations.append(generation)
            if former is not None and former is not generation:
                self._drain(former)
            # One that is being asked about becomes open, or not, when the answer is there.
            if generation.state is not State.OPENING:
                generation.state = State.OPEN
                self._fresh[session.target] = generation
            self._current[session.target] = generation
            return generation

    def drain(self, session_id: str) -> Generation | None:
        """Sends no more jobs to this session; returns its generation, if it is the pool's."""
        with self._lock:
            generation = self._find(session_id)
            if generation is not None:
                self._drain(generation)
            return generation

    def condemn(
        self, generation: Generation
    ) -> tuple[concurrent.futures.Future[Session | None], bool]:
        """The service refused a job of this generation because its session is over.

        Returns:
            The generation's verdict, and whether it is the caller's to find out.
        """
        with self._lock:
            if generation.verdict is not None:
                return generation.verdict, False
            generation.verdict = concurrent.futures.Future()
            generation.state = State.LOST
            self._retire(generation)
            return generation.verdict, True

    def remove_job(self, generation: Generation) -> list[concurrent.futures.Future[None]]:
        """Counts a job out, and returns those to be told that there is none left."""
        with self._lock:
            told = generation.remove_job()
            self._forget_if_over(generation)
            return told

    # The end of the pool

    def close(self) -> None:
        """From now on there is no session for anybody. Closing twice is no error."""
        with self._lock:
            self._is_closed = True
            self._fresh.clear()
            self._current.clear()

    def when_idle(self) -> list[concurrent.futures.Future[None]]:
        """One future a generation, resolved once it has no job."""
        with self._lock:
            return [generation.when_idle() for generation in self._generations]

    def is_ours_to_close(self, generation: Generation) -> bool:
        """Whether the session is open, and closing it this pool's business."""
        with self._lock:
            return generation.is_ours_to_close

    def note_end(self, generation: Generation) -> None:
        """The pool is done with the generation."""
        with self._lock:
            if generation.state is not State.LOST:
                generation.state = State.CLOSED
            self._forget_if_over(generation)

    # What there is

    @property
    def is_closed(self) -> bool:
        """Whether the pool is closed."""
        with self._lock:
            return self._is_closed

    def check_open(self) -> None:
        """Raises `PoolClosed` if the pool is closed."""
        with self._lock:
            self._refuse_if_closed()

    def find(self, session_id: str) -> PooledSession | None:
        """The session with this id, if it is one of the pool's and not over."""
        with self._lock:
            generation = self._find(session_id)
            return None if generation is None else generation.session

    def generations(self) -> Sequence[Generation]:
        """Every generation that is not over, oldest first."""
        with self._lock:
            return list(self._generations)

    def open_sessions(self) -> Sequence[PooledSession]:
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

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise PoolClosed("The session pool is closed: make a new SessionPool to go on.")

    def _note_use(self, generation: Generation) -> None:
        self._reused += generation.is_used
        generation.is_used = True

    def _touch(self, target: str) -> Generation | None:
        generation = self._fresh.get(target)
        if generation is not None:
            self._fresh[target] = generation
        return generation

    def _find(self, session_id: str) -> Generation | None:
        for generation in self._generations:
            session = generation.session
            if session is not None and session.id == session_id and not generation.has_ended:
                return generation
        return None

    def _drain(self, generation: Generation) -> None:
        """Sends no more jobs to a generation whose session is not over."""
        self._retire(generation)
        if generation.is_open:
            generation.state = State.DRAINING

    def _retire(self, generation: Generation) -> None:
        """Sends no more jobs to this generation."""
        if self._current.get(generation.target) is generation:
            del self._current[generation.target]
            self._fresh.pop(generation.target, None)
        self._forget_if_over(generation)

    def _forget_if_over(self, generation: Generation) -> None:
        if generation.is_over and generation in self._generations:
            self._generations.remove(generation)
