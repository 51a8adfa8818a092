"""Asking again, and again, where giving up would lose what was paid for."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.errors import AzureSessionsError

__all__ = ["PATIENCE", "backoff", "insist"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Seconds. A network that is away for longer is not coming back by itself.
PATIENCE = 600.0
_FIRST_BACKOFF = 0.2
_LONGEST_BACKOFF = 60.0


def backoff(attempt: int) -> float:
    """Seconds to wait after the n-th failure in a row, counted from one."""
    return float(min(_FIRST_BACKOFF * 2.0 ** (attempt - 1), _LONGEST_BACKOFF))


async def insist(
    clock: Clock, ask: Callable[[], Awaitable[T]], *, patience: Callable[[], float] | None = None
) -> T:
    """What the service says, once it says something.

    Args:
        clock: On which the waits pass.
        ask: Asks the service. Harmless to repeat.
        patience: For how many seconds to ask again where no answer comes, or one that only asks
            for time; called after each failure, since it may have grown. By default `PATIENCE`.

    Raises:
        AzureSessionsError: If the service refuses, or patience has run out.
    """
    begin = clock.monotonic()
    for attempt in itertools.count(1):
        try:
            return await ask()
        except AzureSessionsError as error:
            deadline = begin + (PATIENCE if patience is None else patience())
            if not error.may_pass or clock.monotonic() >= deadline:
                raise
            pause = error.retry_after or backoff(attempt)
            logger.info("%s Asking again in %.2g s.", error, pause, extra={"pause": pause})
        await clock.sleep(pause)
    raise AssertionError("unreachable")
