"""Bills of jobs, in the form of the service's `costEstimate`.

Names, units and the zero prices of simulators are recorded. Gates are counted by the emulator's own
decoders, independently of the package's formats, so that a mistake in either count is noticed;
prices come from the shared table of rates. How Quantinuum counts is recorded too: 500 shots
cost 8.3 credits for a Bell circuit and 10.5 for a GHZ circuit of three qubits, which fits if
preparations and resets count as measurements and each two-qubit gate also as two one-qubit gates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cirq_azure_sessions.costs import Rates, Workload, known_rates
from cirq_azure_sessions.emulator.programs.limits import read_shots
from cirq_azure_sessions.emulator.programs.program import Census
from cirq_azure_sessions.model import Cost

__all__ = ["estimate_cost"]


def estimate_cost(target: str, params: Mapping[str, Any], census: Census) -> Cost | None:
    """The bill of a job that ran, or None if nothing is billed.

    Args:
        target: The target's id.
        params: Azure's `inputParams`.
        census: The gate counts of its program.
    """
    provider = target.partition(".")[0]
    rates = known_rates(target, params) or Rates()
    census = Census() if rates.is_free else census
    shots = read_shots(params, provider)
    if provider == "ionq":
        return _cost_ionq(rates, census, shots)
    if provider == "quantinuum":
        return _cost_quantinuum(target, rates, census, shots)
    if provider == "rigetti":
        return _cost_rigetti()
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
    dimension = "hqc" if ".qpu." in target else "ehqc"
    # Each two-qubit gate also counts as two one-qubit gates, and each qubit is prepared once.
    work = Workload(
        shots,
        one_qubit_gates=census.one_qubit + 2 * census.two_qubit,
        two_qubit_gates=census.two_qubit,
        spam=census.measurements + census.qubits,
    )
    amount = rates.amount(work)
    return Cost(0.0, events=(_event(dimension, dimension.upper(), "hqc", amount),))


def _cost_rigetti() -> Cost:
    unit = "10ms (rounded up)"
    event = _event("qpu_time_centiseconds", "QPU Execution Time", unit, 0.0)
    return Cost(0.0, events=(event,))


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
