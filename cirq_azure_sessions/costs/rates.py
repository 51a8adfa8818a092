"""Rates of providers, including the published ones with their source and date.

IonQ and Rigetti publish prices in dollars. Quantinuum bills credits; a plan includes some, and the
price of a credit is not public. Azure's page gives IonQ's minimum both as a term of a sum and as a
"minimum price per program execution". Here it is a minimum, as in the page's tables, Azure's page
on billing and the SDK's `estimate_cost` (until 2025).
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from decimal import Decimal
from numbers import Real
from typing import Any

from cirq_azure_sessions.clock import SystemClock
from cirq_azure_sessions.formats.translation import Workload
from cirq_azure_sessions.options import STRING, check_option, checked, shown
from cirq_azure_sessions.results.html import table

__all__ = ["Rates", "known_rates"]

# Quantinuum's units, which are also the dimensions of its bills and quotas.
_CREDITS = ("HQC", "EHQC")
# Seconds. Older rates may have changed.
_YEAR = 365 * 24 * 3600.0

# The fields of rates that are not numbers.
_WORDS = ("unit", "source", "date")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Rates:
    """The rates of one target.

    A job costs the sum of the charges below, but at least `minimum`. To use your own rates, make a
    `Rates`, or change known ones with `dataclasses.replace(known_rates(target), ...)`. Any real
    number is accepted, including `decimal.Decimal` and NumPy's types, and stored as a float.

    Attributes:
        unit: The unit of amounts: a currency such as `USD`, or a provider's credits, `HQC` on
            Quantinuum's machines and `EHQC` on their emulators.
        per_job: Per job.
        per_shot: Per shot.
        per_one_qubit_gate: Per one-qubit gate and shot.
        per_two_qubit_gate: Per two-qubit gate and shot.
        per_spam: Per state preparation, reset or measurement and shot.
        per_centisecond: Per 10 ms of the job's time on the machine, rounded up.
        seconds_per_shot: The duration of a shot, where time is billed. No provider publishes it.
        minimum: The minimum price of a job.
        source: The source of the rates.
        date: When they were published, as `YYYY-MM-DD`.

    Raises:
        ValueError: If a rate is negative or not a finite number, another field is not a string, or
            the date is invalid.
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
    source: str = "the given rates"
    date: str = ""

    def __post_init__(self) -> None:
        for name, rate in self._numbers().items():
            if not _is_amount(rate):
                raise ValueError(
                    f"The rate {name} must be a number of 0 or more, not {shown(rate)}."
                )
            object.__setattr__(self, name, float(rate))
        for name in _WORDS:
            check_option(name, getattr(self, name), kind=STRING)
        if self.date and not _is_date(self.date):
            raise ValueError(f"The date must have the form YYYY-MM-DD, not {shown(self.date)}.")

    def _numbers(self) -> dict[str, float]:
        """The rates by name, without an unknown `seconds_per_shot`."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _WORDS}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def is_free(self) -> bool:
        """Whether all jobs are free."""
        return not any(self._numbers().values())

    @property
    def is_in_credits(self) -> bool:
        """Whether amounts are in a provider's credits, as in the service's bills and quotas."""
        return self.unit in _CREDITS

    @property
    def is_complete(self) -> bool:
        """Whether the rates determine a job's cost: billed time needs `seconds_per_shot`."""
        return not self.per_centisecond or self.seconds_per_shot is not None

    def centiseconds(self, work: Workload) -> int:
        """The job's time on the machine in units of 10 ms, rounded up."""
        # Less than a nanosecond is rounding error.
        return math.ceil(round(100 * work.shots * (self.seconds_per_shot or 0.0), 7))

    def of_shot(self, work: Workload) -> float:
        """The cost of one shot, without time."""
        return (
            self.per_shot
            + self.per_one_qubit_gate * work.one_qubit_gates
            + self.per_two_qubit_gate * work.two_qubit_gates
            + self.per_spam * work.spam
        )

    def amount(self, work: Workload) -> float:
        """The cost of a job in `unit`, if the rates are complete."""
        time = self.per_centisecond * self.centiseconds(work)
        total = self.per_job + work.shots * self.of_shot(work) + time
        # Amounts are compared with caps: 5 + 3.3 is 8.3, not 8.300000000000001.
        return round(max(self.minimum, total), 9)

    def is_minimum(self, work: Workload) -> bool:
        """Whether a job costs the minimum, because its workload would cost less."""
        return self.minimum > 0 and self.amount(work) == self.minimum

    def usage(self, works: Sequence[Workload]) -> Mapping[str, float]:
        """The consumption of jobs, in the recorded dimensions of the service's bills and quotas."""
        if self.is_in_credits:
            return {self.unit.lower(): round(sum(self.amount(work) for work in works), 9)}
        if self.per_centisecond:
            return {"qpu_time_centiseconds": sum(self.centiseconds(work) for work in works)}
        return {
            "gs1q": sum(work.shots * work.one_qubit_gates for work in works),
            "gs2q": sum(work.shots * work.two_qubit_gates for work in works),
        }

    def __repr__(self) -> str:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        given = [f"{name}={value!r}" for name, value in values.items() if value or name == "unit"]
        return f"Rates({', '.join(given)})"

    def _provenance(self) -> str:
        """The source and the date, with a note if it is more than a year ago."""
        if not self.date:
            return self.source
        age = SystemClock().time() - datetime.fromisoformat(f"{self.date}T00Z").timestamp()
        note = ", more than a year old" if age > _YEAR else ""
        return f"{self.source} ({self.date}{note})"

    def _repr_html_(self) -> str:
        rows = [(name.replace("_", " "), rate) for name, rate in self._numbers().items() if rate]
        source = self._provenance()
        below = f"according to {source}" if source else ""
        return table(f"Rates in {self.unit}" if rows else "Free", [], rows, below=below)


def _is_date(text: str) -> bool:
    """Whether a text is a date such as 2025-09-17."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _is_amount(value: Any) -> bool:
    """Whether a value is a finite, nonnegative real number of any type except bool."""
    if isinstance(value, bool) or not isinstance(value, Real | Decimal):
        return False
    try:
        return 0 <= float(value) < math.inf
    except (OverflowError, ValueError):
        return False


_PAGE = "https://learn.microsoft.com/azure/quantum/pricing"
_DATE = "2025-09-17"

_FREE = Rates(source=_PAGE, date=_DATE)
_HERE = Rates(source="")
_TEST = Rates(source="jobs of Azure's test provider, which carry no cost")

_ARIA = Rates(
    per_one_qubit_gate=0.000220,
    per_two_qubit_gate=0.000975,
    minimum=97.50,
    source=_PAGE,
    date=_DATE,
)
_FORTE = Rates(
    per_one_qubit_gate=0.0001645,
    per_two_qubit_gate=0.001121,
    minimum=168.195,
    source=_PAGE,
    date=_DATE,
)
# HQC = 5 + C (N1q + 10 N2q + 5 Nm) / 5000, where Nm counts preparations, resets and measurements.
_HQC = Rates(
    unit="HQC",
    per_job=5.0,
    per_one_qubit_gate=1 / 5000,
    per_two_qubit_gate=10 / 5000,
    per_spam=5 / 5000,
    source=_PAGE,
    date=_DATE,
)
_RIGETTI = Rates(per_centisecond=0.02, source=_PAGE, date=_DATE)

# The first row that matches applies. IonQ's machines mitigate errors by default.
_RATES: tuple[tuple[str, Rates], ...] = (
    ("local.*", _HERE),
    ("echo-*", _TEST),
    ("sparse-sim-*", _TEST),
    ("ionq.simulator", _FREE),
    ("ionq.qpu.aria-*", _ARIA),
    ("ionq.qpu.forte-*", _FORTE),
    ("quantinuum.sim.*sc", _FREE),
    ("quantinuum.sim.*sc-preview", _FREE),
    ("quantinuum.sim.*", replace(_HQC, unit="EHQC")),
    ("quantinuum.qpu.*", _HQC),
    ("rigetti.sim.*", _FREE),
    ("rigetti.qpu.*", _RIGETTI),
)

_WITHOUT_MITIGATION: tuple[tuple[str, Rates], ...] = (
    ("ionq.qpu.aria-*", replace(_ARIA, minimum=12.4166)),
    ("ionq.qpu.forte-*", replace(_FORTE, minimum=25.7899)),
)


@checked(target=STRING)
def known_rates(target: str, input_params: Mapping[str, Any] | None = None) -> Rates | None:
    """The published rates of a target, or None if none are known.

    Args:
        target: The target's id.
        input_params: The provider options of the jobs. IonQ's minimum is lower without error
            mitigation, which is on unless `{"error-mitigation": {"debias": False}}` is passed.
    """
    rows = _RATES
    if _is_without_mitigation(input_params or {}):
        rows = _WITHOUT_MITIGATION + _RATES
    return next((rates for pattern, rates in rows if fnmatch.fnmatchcase(target, pattern)), None)


def _is_without_mitigation(input_params: Mapping[str, Any]) -> bool:
    """Whether IonQ's error mitigation is off (Azure's page on IonQ, "Error mitigation")."""
    options = input_params.get("error-mitigation")
    return isinstance(options, Mapping) and options.get("debias") is False
