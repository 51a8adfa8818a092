"""Workspaces that are held up, counted and disturbed; calls that are bounded and interrupted."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import Any, TypeVar

import cirq
import duet
import sympy

from cirq_azure_sessions import (
    LocalWorkspace,
    ManualClock,
    PoolClosed,
    ServiceError,
    SessionPool,
)
from cirq_azure_sessions.jobs.throttle import Gate
from cirq_azure_sessions.model import Job, JobRequest, Session

T = TypeVar("T")

LOCAL = "local.simulator"
# Its samples are drawn on the client from one histogram, and each point is a job of its own.
REMOTE = "ionq.simulator"
CHARGED = "ionq.qpu.aria-1"
QUBIT = cirq.LineQubit(0)
FLIP = cirq.Circuit(cirq.X(QUBIT), cirq.measure(QUBIT, key="m"))
ROTATION = cirq.Circuit(cirq.rx(sympy.Symbol("angle"))(QUBIT), cirq.measure(QUBIT, key="m"))

# Seconds of real time after which a call is taken to hang.
HANG_TIMEOUT = 40.0
# Seconds of a manual clock within which whatever can finish has finished.
_MANUAL_LIMIT = 7 * 86400.0


def angles(count: int) -> cirq.Sweep:
    return cirq.Linspace("angle", 0.1, 3.0, count)


def one(request: JobRequest) -> bytes:
    """The output of every job on a target of IonQ's: the qubit is found in 1."""
    return b'{"histogram": {"1": 1.0}}'


def in_background(function: Callable[..., T], *args: Any, **kwargs: Any) -> Future[T]:
    """Calls a function on a daemon thread of its own; `result(HANG_TIMEOUT)` bounds it."""
    outcome: Future[T] = Future()

    def call() -> None:
        try:
            outcome.set_result(function(*args, **kwargs))
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return outcome


def drive(clock: ManualClock, *calls: Future[Any], step: float = 1.0) -> None:
    """Moves the clock until all calls have ended.

    Raises:
        AssertionError: If they have not within a week of the clock and some seconds of ours.
    """
    end = clock.monotonic() + _MANUAL_LIMIT
    deadline = time.monotonic() + HANG_TIMEOUT
    while wait(calls, timeout=0.01).not_done:
        if clock.monotonic() < end:
            clock.advance(step)
            step *= 1.2
        else:
            assert time.monotonic() < deadline, "a call hangs"


def settle(pool: SessionPool) -> None:
    """Lets the background loop get on with what it can do at once."""
    for _ in range(30):
        pool.list_jobs(limit=1)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + HANG_TIMEOUT
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "this does not become true"
        pause.wait(0.001)


def is_closed(pool: SessionPool, target: str = LOCAL) -> bool:
    """Whether the pool hands out no more sessions; the one for `target` is open before."""
    try:
        pool.session(target)
    except PoolClosed:
        return True
    return False


def jobs_in(workspace: LocalWorkspace) -> list[Job]:
    """The jobs of a workspace in memory, as they stand now, the oldest first."""
    return list(workspace._live.view(workspace._schedule.ledger.jobs))


def sessions_in(workspace: LocalWorkspace) -> list[Session]:
    """The sessions of a workspace in memory, as they stand now, the oldest first."""
    return list(workspace._live.view(workspace._schedule.session_order))


def open_sessions(workspace: LocalWorkspace) -> list[str]:
    """The sessions that nobody has closed and that have not ended."""
    return [
        session.id
        for session in sessions_in(workspace)
        if workspace._session(session.id).takes_jobs
    ]


class InterruptedByTest(Exception):
    pass


class Interruptible:
    """A call under duet on a thread of its own, which a test can interrupt.

    Attributes:
        outcome: Its result, or the error that ended it; `error` is what interrupts it.
    """

    def __init__(self, call: Callable[[], Any]) -> None:
        self.error = InterruptedByTest()
        self._stop: duet.AwaitableFuture[None] = duet.AwaitableFuture()
        self._call = call
        self.outcome = in_background(duet.run, self._story)

    async def _story(self) -> Any:
        async def call() -> None:
            results.append(await self._call())
            self._stop.try_set_result(None)

        results: list[Any] = []
        async with duet.new_scope() as scope:
            scope.spawn(call)
            await self._stop
            if not results:
                raise self.error
        return results[0]

    def interrupt(self) -> None:
        """Interrupts the call and waits until it has ended."""
        self._stop.try_set_result(None)
        assert self.outcome.exception(HANG_TIMEOUT) is self.error


def num_waiting(gate: Gate) -> int:
    """How many wait at a gate."""
    return len(gate._urgent) + len(gate._others)


class Counted(LocalWorkspace):
    """A workspace that counts what is in flight.

    Attributes:
        stored: Calls of `store_input`.
        most_uploads: The most of these at once.
        quotas_read: Calls of `list_quotas`.
        submitted: The ids of the jobs it was given, accepted or not.
    """

    def __init__(self, **options: Any) -> None:
        options.setdefault("backends", dict.fromkeys([REMOTE, CHARGED], one))
        super().__init__(**options)
        self.stored = 0
        self.most_uploads = 0
        self.quotas: Sequence[Any] = ()
        self.quotas_read = 0
        self.submitted: list[str] = []
        self._uploads = 0

    async def store_input(self, request: JobRequest) -> Any:
        self.stored += 1
        self._uploads += 1
        self.most_uploads = max(self.most_uploads, self._uploads)
        try:
            await _take_turns()
            return await super().store_input(request)
        finally:
            self._uploads -= 1

    async def list_quotas(self) -> Sequence[Any]:
        self.quotas_read += 1
        await _take_turns()
        return self.quotas

    async def submit_job(self, request: JobRequest, stored: Any = None) -> Job:
        self.submitted.append(request.id)
        return await super().submit_job(request, stored)


async def _take_turns() -> None:
    """Lets whatever else is ready go first, as a request does."""
    for _ in range(20):
        await asyncio.sleep(0)


class Refusing(LocalWorkspace):
    """A workspace that answers 429 to one submission, when the test lets it.

    Args:
        number: Which one, counted from 0.

    Attributes:
        is_asked: Set once that submission has come.
    """

    def __init__(self, *, number: int = 0, retry_after: float | None = 5.0, **options: Any) -> None:
        options.setdefault("backends", {REMOTE: one})
        super().__init__(**options)
        self.is_asked = threading.Event()
        self._number = number
        self._retry_after = retry_after
        self._answer: Future[None] = Future()
        self._answered = threading.Event()

    async def submit_job(self, request: JobRequest, stored: Any = None) -> Job:
        self._number -= 1
        if self._number == -1:
            self.is_asked.set()
            await asyncio.wrap_future(self._answer)
            self._answered.set()
            raise ServiceError("Too many.", status_code=429, retry_after=self._retry_after)
        return await super().submit_job(request, stored)

    def refuse(self) -> None:
        """Answers, at once if the submission has come."""
        self._answer.set_result(None)
        if self.is_asked.is_set():
            assert self._answered.wait(HANG_TIMEOUT)
