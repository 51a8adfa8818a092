"""What jobs cost, in the events that the service writes into `costEstimate`.

Names, units and the zero prices of simulators are recorded. The recordings also fix how Quantinuum
counts: a Bell circuit of 500 shots was 8.3 credits and a GHZ circuit of three qubits 10.5, which is

    5 + shots (N1 + 10 N2 + 5 M) / 5000

where M counts preparations and resets as well as measurements, and each two-qubit gate two
one-qubit gates beside itself. The rates of hardware are those of Azure's page on pricing of
September 2025, in USD.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cirq_azure_sessions.emulator.programs import ionq, openqasm
from cirq_azure_sessions.emulator.programs.instructions import Instruction, Reset
from cirq_azure_sessions.model import Cost

__all__ = ["estimate_cost"]

# A call of a gate or measurement in the text of a QIR program, with its arguments.
_QIR_CALL = re.compile(rb"call void @__quantum__qis__(\w+?)__(?:body|adj|ctl)\(([^\n]*)\)")
# A qubit or result in them, by its number; number 0 is the null pointer.
_QIR_POINTER = re.compile(rb"(?:%\w+\*|ptr) (?:null|inttoptr \(i64 (\d+))")
_QIR_MEASUREMENTS = (b"m", b"mz", b"mresetz")

# target: rate of a one-qubit gate and shot, of a two-qubit gate and shot, and the least of a job,
# with error mitigation and without.
_IONQ_RATES = {
    "ionq.qpu.aria-1": (0.000220, 0.000975, 97.50, 12.4166),
    "ionq.qpu.aria-2": (0.000220, 0.000975, 97.50, 12.4166),
    "ionq.qpu.forte-1": (0.0001645, 0.001121, 168.195, 25.7899),
    "ionq.qpu.forte-enterprise-1": (0.0001645, 0.001121, 168.195, 25.7899),
}


@dataclass(frozen=True, slots=True)
class _Census:
    """How many operations of each kind a program has."""

    one_qubit: int = 0
    two_qubit: int = 0
    measurements: int = 0
    qubits: int = 0

    @property
    def credits_a_shot(self) -> float:
        """Quantinuum's credits for one shot, beyond the five for the job."""
        singles = self.one_qubit + 2 * self.two_qubit
        ends = self.measurements + self.qubits
        return (singles + 10 * self.two_qubit + 5 * ends) / 5000


def estimate_cost(
    target: str, input_format: str, payload: bytes, params: Mapping[str, Any]
) -> Cost | None:
    """What a job that ran costs, or None where nothing is billed.

    Args:
        target: The target's id.
        input_format: Azure's `inputDataFormat`.
        payload: The program, which has been read before.
        params: Azure's `inputParams`.
    """
    provider = target.partition(".")[0]
    if provider == "ionq":
        return _cost_ionq(target, input_format, payload, params)
    if provider == "quantinuum":
        return _cost_quantinuum(target, input_format, payload, _shots(params, 500))
    if provider == "rigetti":
        return _cost_rigetti()
    return None


def _cost_ionq(target: str, input_format: str, payload: bytes, params: Mapping[str, Any]) -> Cost:
    census = _Census()
    shots = _shots(params, 500)
    one_rate = two_rate = least = 0.0
    if target in _IONQ_RATES:
        one_rate, two_rate, mitigated, plain = _IONQ_RATES[target]
        least = mitigated if _mitigates_errors(params) else plain
        census = _take_census(target, input_format, payload)
    singles, pairs = float(census.one_qubit * shots), float(census.two_qubit * shots)
    return Cost(
        total=max(least, singles * one_rate + pairs * two_rate),
        events=(
            _event("gs1q", "1Q Gate Shot", "1q gate shot", singles, one_rate),
            _event("gs2q", "2Q Gate Shot", "2q gate shot", pairs, two_rate),
        ),
    )


def _cost_quantinuum(target: str, input_format: str, payload: bytes, shots: int) -> Cost:
    dimension = "hqc" if ".qpu." in target else "ehqc"
    amount = 0.0
    if not openqasm.is_syntax_checker(target):
        census = _take_census(target, input_format, payload)
        amount = round(5 + shots * census.credits_a_shot, 6)
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


def _mitigates_errors(params: Mapping[str, Any]) -> bool:
    """Whether a job mitigates errors: unless it says `{"error-mitigation": {"debias": false}}`."""
    wish = params.get("error-mitigation")
    return not (isinstance(wish, dict) and wish.get("debias") is False)


def _shots(params: Mapping[str, Any], default: int) -> int:
    shots = params.get("shots", params.get("count"))
    return shots if isinstance(shots, int) else default


def _take_census(target: str, input_format: str, payload: bytes) -> _Census:
    if input_format == "ionq.circuit.v1":
        circuit = ionq.read(payload, ionq.machine_size(target))
        return _count(circuit.gates)
    if input_format == "honeywell.openqasm.v1":
        return _count(openqasm.read(payload).instructions)
    return _count_calls(payload)


def _count(instructions: Iterable[Instruction]) -> _Census:
    one_qubit = two_qubit = measurements = 0
    qubits: set[int] = set()
    for instruction in instructions:
        qubits.update(instruction.qubits)
        if instruction.is_measurement or isinstance(instruction, Reset):
            measurements += 1
        elif len(instruction.qubits) == 1:
            one_qubit += 1
        # A comparison acts on none.
        elif instruction.qubits:
            two_qubit += 1
    return _Census(one_qubit, two_qubit, measurements, len(qubits))


def _count_calls(qir: bytes) -> _Census:
    """Counts in the text of a QIR program; bitcode has none, and costs as if it were empty."""
    one_qubit = two_qubit = measurements = 0
    qubits: set[bytes] = set()
    for name, arguments in _QIR_CALL.findall(qir):
        pointers = [number or b"0" for number in _QIR_POINTER.findall(arguments)]
        is_measurement = name in _QIR_MEASUREMENTS
        # The second argument of a measurement is a result.
        qubits.update(pointers[:1] if is_measurement else pointers)
        if is_measurement:
            measurements += 1
        elif len(pointers) == 1:
            one_qubit += 1
        else:
            two_qubit += 1
    return _Census(one_qubit, two_qubit, measurements, len(qubits))
