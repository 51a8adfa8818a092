"""The jobs that wait for the code that runs in this context, because their samplers called it."""

from __future__ import annotations

from collections.abc import Callable, Set
from contextvars import ContextVar
from dataclasses import replace
from typing import TypeVar

from cirq_azure_sessions.model import JobRequest

__all__ = ["calling_jobs", "is_called_in", "run_for", "with_callers"]

T = TypeVar("T")

# From the outermost one to the innermost, without their programs. A call takes its caller's context
# along to the background loop.
_calling: ContextVar[tuple[JobRequest, ...]] = ContextVar("calling_jobs", default=())


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
