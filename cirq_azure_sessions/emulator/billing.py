"""Bills of jobs, in the form of the service's `costEstimate`, and quotas on what they consume.

Names, units and the zero prices of simulators are recorded. Programs are counted as this emulator
decodes them, apart from the formats of the package, so that a mistake in either count shows; prices
come from the one table of rates. The recordings also fix how Quantinuum counts, to two decimals: in
OpenQASM a Bell circuit of 500 shots was 8.3 credits and a GHZ circuit of three qubits 10.5, so
preparations and resets count as measurements do, and each two-qubit gate also counts as two
one-qubit gates. In QIR each two-qubit gate counts twice: the GHZ circuit and a Hadamard gate on a
fourth qubit was 13.5 credits, against 11.1 in OpenQASM. Other QIR jobs cost 3 % more on one day
than on another, so the service counts what it has compiled.

By default the workspace lists the two recorded quotas, of providers whose jobs the emulator does
not run. A limit applies to a dimension of `costEstimate`, and each job uses the amount of its
estimate. How the service refuses a job over its quota is not recorded.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cirq_azure_sessions.costs import Rates, Workload, known_rates
from cirq_azure_sessions.emulator.programs.program import Census, read_shots
from cirq_azure_sessions.emulator.programs.quantinuum import is_syntax_checker
from cirq_azure_sessions.emulator.responses import ApiError
from cirq_azure_sessions.model import Cost

__all__ = ["Quotas", "estimate_cost"]

# The provider whose jobs consume each dimension.
_PROVIDERS = {
    "gs1q": "ionq",
    "gs2q": "ionq",
    "hqc": "quantinuum",
    "ehqc": "quantinuum",
    "qpu_time_centiseconds": "rigetti",
}


def estimate_cost(
    target: str, input_format: str, params: Mapping[str, Any], census: Census
) -> Cost | None:
    """The bill of a job that ran with these gate counts, or None if nothing is billed."""
    provider = target.partition(".")[0]
    rates = known_rates(target, params) or Rates()
    census = Census() if rates.is_free else census
    shots = read_shots(params, provider)
    if provider == "ionq":
        return _cost_ionq(rates, census, shots)
    if provider == "quantinuum":
        if input_format == "qir.v1":
            census = replace(census, two_qubit=2 * census.two_qubit)
        return _cost_quantinuum(target, rates, census, shots)
    if provider == "rigetti":
        dimension, unit = "qpu_time_centiseconds", "10ms (rounded up)"
        return Cost(0.0, events=(_event(dimension, "QPU Execution Time", unit, 0.0),))
    return None


def _cost_ionq(rates: Rates, census: Census, shots: int) -> Cost:
    singles, pairs = float(census.one_qubit * shots), float(census.two_qubit * shots)
    one_rate, two_rate = rates.per_one_qubit_gate, rates.per_two_qubit_gate
    return Cost(
        total=rates.amount(Workload(shots, census.one_qubit, census.two_qubit)),
        events=(
            _event("gs1q", "1Q Gate Shot", "1q gate shot", singles, one_rate),
            _event("gs2q", "2Q Gate Shot", "2q gate shot", pairs, two_rate),
        ),
    )


def _cost_quantinuum(target: str, rates: Rates, census: Census, shots: int) -> Cost:
    # The emulators' credits are counted apart, but not those of the syntax checkers (recorded).
    dimension = "hqc" if ".qpu." in target or is_syntax_checker(target) else "ehqc"
    # Each two-qubit gate also counts as two one-qubit gates, and each qubit is prepared once.
    work = Workload(
        shots,
        one_qubit_gates=census.one_qubit + 2 * census.two_qubit,
        two_qubit_gates=census.two_qubit,
        spam=census.measurements + census.qubits,
    )
    amount = round(rates.amount(work), 2)
    return Cost(0.0, events=(_event(dimension, dimension.upper(), "hqc", amount),))


def _event(
    dimension: str, name: str, unit: str, amount: float, price: float = 0.0
) -> Mapping[str, Any]:
    return {
        "dimensionId": dimension,
        "dimensionName": name,
        "measureUnit": unit,
        "amountBilled": amount,
        "amountConsumed": amount,
        "unitPrice": price,
    }


class Quotas:
    """Monthly limits on the consumption of jobs, and the amounts used.

    Args:
        limits: By dimension, such as `{"ehqc": 100.0}`.

    Raises:
        ValueError: If no job is billed in one of the dimensions.
    """

    def __init__(self, limits: Mapping[str, float] | None = None) -> None:
        self._limits = dict(limits or {})
        unknown = self._limits.keys() - _PROVIDERS.keys()
        if unknown:
            known = ", ".join(_PROVIDERS)
            raise ValueError(f"Limit {known}; no job consumes {', '.join(sorted(unknown))}.")
        # State: how much of each dimension is used up.
        self._used: Counter[str] = Counter()
        # Guards the sums, since jobs end on worker threads.
        self._lock = threading.Lock()

    def charge(self, cost: Cost | None) -> None:
        """Adds a job's consumption."""
        with self._lock:
            for event in cost.events if cost is not None else ():
                self._used[event["dimensionId"]] += event["amountConsumed"]

    def check(self, provider: str) -> None:
        """Checks that a provider's jobs may run. `ApiError` if a quota is used up."""
        for dimension, limit in self._limits.items():
            if _PROVIDERS[dimension] == provider and self._used[dimension] >= limit:
                message = f"The quota of {dimension} is used up until the next month."
                raise ApiError(403, "QuotaExceeded", message)

    def documents(self) -> list[dict[str, Any]]:
        """The entries of `quotas`."""
        # The service gives a concurrency quota the period "None".
        quotas = [
            ("concurrent_dft_jobs", "Subscription", "microsoft-elements", 5.0, "None"),
            ("concurrent_resource_estimator_jobs", "Workspace", "microsoft-qc", 10.0, "None"),
            *(
                (dimension, "Workspace", _PROVIDERS[dimension], float(limit), "Monthly")
                for dimension, limit in self._limits.items()
            ),
        ]
        return [
            {
                "dimension": dimension,
                "scope": scope,
                "providerId": provider,
                "utilization": float(self._used[dimension]),
                "holds": 0.0,
                "limit": limit,
                "period": period,
            }
            for dimension, scope, provider, limit, period in quotas
        ]
