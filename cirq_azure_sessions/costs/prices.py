"""The published rates: data with their sources and dates, and nothing else.

IonQ and Rigetti publish prices in dollars; Quantinuum bills credits, of which a plan buys so many,
and what a credit costs is between Quantinuum and its customer. The page states IonQ's minimum both
as a term of a sum and as a "minimum price per program execution"; it is taken as a minimum, as the
page's tables, Azure's page on billing and the SDK's own `estimate_cost` (until 2025) do.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cirq_azure_sessions.costs.rates import Rates

__all__ = ["known_rates"]

_PAGE = "https://learn.microsoft.com/azure/quantum/pricing"
_DATE = "2025-09-17"

_FREE = Rates(source=_PAGE, date=_DATE)
_HERE = Rates(source="this machine")
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

# The first row that fits counts. IonQ's machines mitigate errors unless they are told not to.
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


def known_rates(target: str, input_params: Mapping[str, Any] | None = None) -> Rates | None:
    """The published rates of a target; None where none are known.

    Args:
        target: The target's id.
        input_params: The provider options of the jobs. IonQ's jobs cost less without error
            mitigation, which is on unless `{"error-mitigation": {"debias": False}}` is given.
    """
    rows = _RATES
    if _is_without_mitigation(input_params or {}):
        rows = _WITHOUT_MITIGATION + _RATES
    return next((rates for pattern, rates in rows if fnmatch.fnmatchcase(target, pattern)), None)


def _is_without_mitigation(input_params: Mapping[str, Any]) -> bool:
    """Whether IonQ is told not to mitigate errors (Azure's page on IonQ, "Error mitigation")."""
    wish = input_params.get("error-mitigation")
    return isinstance(wish, Mapping) and wish.get("debias") is False
