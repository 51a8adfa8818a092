"""The cap on what a sampler spends, and what it has spent."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from cirq_azure_sessions.costs.estimate import how_to_know
from cirq_azure_sessions.costs.pricing import Pricing
from cirq_azure_sessions.errors import CostLimitReached
from cirq_azure_sessions.model import Cost, JobRequest

__all__ = ["Budget"]

# Sums of floats may miss a cap by their last digits.
_TOLERANCE = 1e-9


class Budget:
    """What the jobs of a sampler may cost together.

    A job counts with its estimate from before it is submitted until its bill comes. Where there is
    no room for the next job, it waits for bills that may be lower than their estimates; when none
    is outstanding any more, the cap is reached. So the cap is never passed, whatever the number of
    jobs in flight, unless a bill is above its estimate; and where a sweep stops does not depend on
    how fast its jobs are. A point that stands in several jobs is not begun without room for all.

    Lives on the pool's event loop, and needs no lock.

    Args:
        max_cost: The cap, in the unit of the target's rates; None for none.
        unit: That unit.
    """

    def __init__(self, max_cost: float | None = None, unit: str = "") -> None:
        self._max_cost = math.inf if max_cost is None else max_cost
        self._unit = unit
        # State: what jobs have cost whose bills are in, or will not come; the estimates of all
        # others; the one job that is next, and whether a bill has come in since it looked.
        self._spent = 0.0
        self._open: dict[str, float] = {}
        self._turn = asyncio.Lock()
        self._change = asyncio.Event()

    @classmethod
    def of(cls, max_cost: Any, pricing: Pricing) -> Budget:
        """The budget of a sampler whose user gave `max_cost`.

        Raises:
            ValueError: If it is no amount, or the target's rates are not known.
        """
        if max_cost is None:
            return cls()
        if not (isinstance(max_cost, int | float) and max_cost >= 0) or isinstance(max_cost, bool):
            raise ValueError(f"max_cost must be an amount of 0 or more, or None, not {max_cost!r}.")
        rates = pricing.rates
        if rates is None or not rates.is_complete:
            reason = how_to_know(pricing.target, rates)
            raise ValueError(f"max_cost cannot be kept where costs are not known: {reason}")
        return cls(max_cost, rates.unit)

    @property
    def committed(self) -> float:
        """What is spent, and what the jobs without a bill are estimated to cost."""
        return self._spent + sum(self._open.values())

    def check(self, amount: float) -> None:
        """Refuses a sweep whose first point would never fit, before anything is sent.

        Raises:
            CostLimitReached: If the point's amount alone is more than the cap.
        """
        if amount > self._max_cost * (1 + _TOLERANCE):
            raise CostLimitReached(
                f"One point costs about {amount:,.2f} {self._unit}, more than "
                f"max_cost={self._max_cost:g}: give a larger one, or take fewer repetitions."
            )

    async def reserve(self, request: JobRequest, *, is_paid: bool = False) -> None:
        """Makes room for a job that is about to be submitted; jobs take turns.

        Args:
            request: The job.
            is_paid: Whether an earlier run has submitted it, so that it counts in any case.

        Raises:
            CostLimitReached: If there is no room, and will not be.
        """
        if self._max_cost == math.inf:
            return
        async with self._turn:
            needed = request.estimated_cost + request.estimated_rest
            while not (is_paid or self._fits(needed)):
                if not self._open:
                    raise self._limit_reached(needed)
                self._change.clear()
                await self._change.wait()
            self._open[request.id] = request.estimated_cost

    def settle(self, job_id: str, bill: Cost | None, *, may_cost: bool = True) -> None:
        """Puts a job's bill in the place of its estimate, which stands where there is no bill.

        Args:
            job_id: The job; nothing happens if no room was made for it.
            bill: What the service says.
            may_cost: Whether the service has the job, or may have it.
        """
        estimate = self._open.pop(job_id, None)
        if estimate is None:
            return
        billed = None if bill is None else amount_of(bill, self._unit)
        if may_cost:
            self._spent += estimate if billed is None else billed
        self._change.set()

    def disown(self) -> None:
        """In the child of a fork: what the parent has under way is spent; its bills go there."""
        self._spent, self._open = self.committed, {}
        self._turn, self._change = asyncio.Lock(), asyncio.Event()

    def _fits(self, amount: float) -> bool:
        return self.committed + amount <= self._max_cost * (1 + _TOLERANCE)

    def _limit_reached(self, amount: float) -> CostLimitReached:
        return CostLimitReached(
            f"{self.committed:,.2f} of max_cost={self._max_cost:g} {self._unit} are spent, and the "
            f"next point costs about {amount:,.2f}: give a larger max_cost to go on, and a journal "
            "to keep what is paid for."
        )


def amount_of(bill: Cost, unit: str) -> float | None:
    """What the service says that a job cost, in this unit; None if it does not say so.

    A total of nothing for a job that consumed something is no price: plans that include the use
    report it.
    """
    consumed = bill.consumed
    if unit.lower() in consumed:
        return consumed[unit.lower()]
    if bill.currency != unit or (any(consumed.values()) and not bill.total):
        return None
    return bill.total
