"""The jobs that wait for the code that runs in this context, because their samplers called it."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Set
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, TypeVar

from cirq_azure_sessions.executor import DaemonExecutor
from cirq_azure_sessions.model import JobRequest

__all__ = [
    "JobThreads",
    "begin",
    "calling_jobs",
    "check_wait",
    "end",
    "is_called_in",
    "run_for",
    "wait_for",
    "with_callers",
]

T = TypeVar("T")
# A target of a workspace, whose jobs may run one after another.
Queue = tuple[object, str]

# From the outermost one to the innermost, without their programs. A call takes its caller's context
# along to the background loop.
_calling: ContextVar[tuple[JobRequest, ...]] = ContextVar("calling_jobs", default=())

# The queues of the jobs whose programs have not ended, and of those that a job waits for; by id.
# Several threads change them, so they are copied before they are searched.
_queues: dict[str, Queue] = {}
_awaited: dict[str, dict[str, Queue]] = {}
if hasattr(os, "register_at_fork"):
    # The child has none of the threads that run them.
    os.register_at_fork(after_in_child=_queues.clear)
    os.register_at_fork(after_in_child=_awaited.clear)


def calling_jobs() -> tuple[JobRequest, ...]:
    """The jobs that cannot finish before the caller returns: waiting for one would deadlock."""
    return _calling.get()


def is_called_in(session_ids: Set[str]) -> bool:
    """Whether the caller runs for a job in one of these sessions."""
    return any(job.session_id in session_ids for job in _calling.get())


def with_callers(request: JobRequest) -> tuple[JobRequest, ...]:
    """The calling jobs of a job that is submitted here, itself included."""
    return *_calling.get(), replace(request, payload=None)


def run_for(callers: tuple[JobRequest, ...], function: Callable[..., T], *args: object) -> T:
    """Runs a function for these jobs, on any thread."""
    token = _calling.set(callers)
    try:
        return function(*args)
    finally:
        _calling.reset(token)


class JobThreads:
    """Daemon threads that run the programs of jobs.

    Nested jobs have threads of their own, for each depth: their callers may occupy all others.
    """

    def __init__(self, threads: int, *, name: str) -> None:
        self._at_depth = defaultdict[int, DaemonExecutor](
            lambda: DaemonExecutor(threads, name=name)
        )

    def submit(
        self,
        request: JobRequest,
        function: Callable[..., Any],
        *args: Any,
        future: Future[Any] | None = None,
    ) -> Future[Any]:
        """Queues `function(*args)` for a job; its outcome goes to a new or the given future."""
        callers = with_callers(request)
        threads = self._at_depth[len(callers)]
        return threads.submit(run_for, callers, function, *args, future=future)


def begin(job_id: str, queue: Queue) -> None:
    """Records that a job is in a queue; `end` removes it."""
    _queues[job_id] = queue


def end(job_id: str) -> None:
    """Records that the program of a job has ended, or will not begin."""
    _queues.pop(job_id, None)
    _awaited.pop(job_id, None)
    for awaited in _awaited.copy().values():
        awaited.pop(job_id, None)


def check_wait(job_id: str) -> None:
    """Refuses to wait for a job that, in this process, waits for the caller: see `wait_for`."""
    if _calling.get() and (queue := _queues.get(job_id)):
        wait_for(job_id, queue)


def wait_for(job_id: str, queue: Queue) -> None:
    """Records that the innermost calling job, if there is one, waits for a job in a queue.

    Raises:
        RuntimeError: If the queue's jobs wait, directly or not, for the calling job's queue.
    """
    # A calling job may end meanwhile, when it is cancelled or leaves a thread behind.
    calling = [(job, held) for job in _calling.get() if (held := _queues.get(job.id))]
    if not calling:
        return
    job, held = calling[-1]
    # Noted first: of two jobs that begin to wait for each other, at least one sees the other.
    awaited = _awaited.setdefault(job.id, {})
    awaited[job_id] = queue
    reached: set[Queue] = set()
    following = {queue}
    while following:
        reached |= following
        edges = ((_queues.get(each), waits) for each, waits in _awaited.copy().items())
        nearby = (waits.copy().values() for source, waits in edges if source in following)
        following = set().union(*nearby) - reached
    if held in reached:
        awaited.pop(job_id, None)
        raise RuntimeError(
            f"The sampler of {job.target!r} would wait for a job on {queue[1]!r}, which may wait "
            "for it in turn: call another target there, or wait later."
        )
