"""What a provider asks for a job, as numbers that a user can replace."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from cirq_azure_sessions.formats.translation import Workload

__all__ = ["Rates"]

# Quantinuum's units, which are also the dimensions of its bills and quotas.
_CREDITS = ("HQC", "EHQC")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Rates:
    """The rates of one target.

    A job costs the sum of what is below, and never less than `minimum`. To use rates of your own,
    make a `Rates`, or change known ones with `dataclasses.replace(known_rates(target), ...)`.

    Attributes:
        unit: What amounts are in: a currency such as `USD`, or a provider's credits, `HQC` on
            Quantinuum's machines and `EHQC` on their emulators.
        per_job: For every job, whatever it does.
        per_shot: For every run of the program.
        per_one_qubit_gate: For every gate on one qubit, of every shot.
        per_two_qubit_gate: For every gate on two qubits, of every shot.
        per_spam: For every state preparation, reset and measurement of every shot.
        per_centisecond: For every 10 ms of the job's time on the machine, rounded up.
        seconds_per_shot: How long a shot takes, where time is billed. No provider publishes it.
        minimum: The least that a job costs.
        source: Where the rates are from.
        date: When they were published, as `YYYY-MM-DD`.

    Raises:
        ValueError: If a rate is negative or no number.
    """

    unit: str = "USD"
    per_job: float = 0.0
    per_shot: float = 0.0
    per_one_qubit_gate: float = 0.0
    per_two_qubit_gate: float = 0.0
    per_spam: float = 0.0
    per_centisecond: float = 0.0
    seconds_per_shot: float | None = None
    minimum: float = 0.0
    source: str = "the caller"
    date: str = ""

    def __post_init__(self) -> None:
        for name, rate in self._numbers().items():
            if not (isinstance(rate, int | float) and math.isfinite(rate) and rate >= 0):
                raise ValueError(f"The rate {name} must be a number of 0 or more, not {rate!r}.")

    def _numbers(self) -> dict[str, float]:
        """The numbers among the attributes; the time of a shot is one once it is known."""
        words = {"unit", "source", "date"}
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in words}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def is_free(self) -> bool:
        """Whether no job costs anything."""
        return not any(self._numbers().values())

    @property
    def is_in_credits(self) -> bool:
        """Whether amounts are a provider's credits, of which the service keeps count."""
        return self.unit in _CREDITS

    @property
    def is_complete(self) -> bool:
        """Whether they tell what a job costs; the time on the machine may be missing."""
        return not self.per_centisecond or self.seconds_per_shot is not None

    def centiseconds(self, work: Workload) -> int:
        """The job's time on the machine in tens of milliseconds, begun ones counted whole."""
        # Less than a nanosecond is the arithmetic's.
        return math.ceil(round(100 * work.shots * (self.seconds_per_shot or 0.0), 7))

    def of_shot(self, work: Workload) -> float:
        """What one shot costs, without time."""
        return (
            self.per_shot
            + self.per_one_qubit_gate * work.one_qubit_gates
            + self.per_two_qubit_gate * work.two_qubit_gates
            + self.per_spam * work.spam
        )

    def amount(self, work: Workload) -> float:
        """What a job costs, in `unit`, if the rates are complete."""
        time = self.per_centisecond * self.centiseconds(work)
        total = self.per_job + work.shots * self.of_shot(work) + time
        # Amounts are compared with caps: 5 + 3.3 is 8.3, not 8.300000000000001.
        return round(max(self.minimum, total), 9)

    def is_minimum(self, work: Workload) -> bool:
        """Whether a job costs the minimum, because what it does would cost less."""
        return self.minimum > 0 and self.amount(work) == self.minimum

    def __repr__(self) -> str:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        given = [f"{name}={value!r}" for name, value in values.items() if value or name == "unit"]
        return f"Rates({', '.join(given)})"
