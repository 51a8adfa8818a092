"""Asking again for as long as there is reason to."""

import asyncio

import pytest

from cirq_azure_sessions.clock import ManualClock
from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.patience import PATIENCE, insist


class _Lost:
    """Has no answer until a given time."""

    def __init__(self, clock: ManualClock, until: float) -> None:
        self._clock = clock
        self._until = until

    async def ask(self) -> str:
        if self._clock.monotonic() < self._until:
            raise ServiceError("The answer was lost.")
        return "an answer"


def test_an_answer_is_waited_for_minutes():
    clock = ManualClock()
    assert asyncio.run(insist(clock, _Lost(clock, until=300.0).ask)) == "an answer"


def test_patience_ends():
    clock = ManualClock()
    with pytest.raises(ServiceError, match="lost"):
        asyncio.run(insist(clock, _Lost(clock, until=2 * PATIENCE).ask))


def test_without_patience_the_first_failure_is_told():
    clock = ManualClock()
    with pytest.raises(ServiceError, match="lost"):
        asyncio.run(insist(clock, _Lost(clock, until=1.0).ask, patience=lambda: 0.0))
    assert clock.monotonic() == 0.0


def test_patience_that_has_grown_since_the_first_attempt_counts():
    clock = ManualClock()
    lost = _Lost(clock, until=1.0)
    patience = 0.0

    async def ask() -> str:
        nonlocal patience
        patience = 10.0
        return await lost.ask()

    assert asyncio.run(insist(clock, ask, patience=lambda: patience)) == "an answer"
