"""Bills: what jobs cost, as the service writes it into `costEstimate`.

Names, units and the zero prices of simulators are recorded. Programs are counted as this emulator
decodes them, apart from the formats of the package, so that a mistake in either count shows; prices
come from the one table of rates. The recordings also fix how Quantinuum counts: a Bell circuit of
500 shots was 8.3 credits and a GHZ circuit of three qubits 10.5, for which preparations and resets
count as measurements do, and each two-qubit gate as two one-qubit gates beside itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cirq_azure_sessions.costs import Rates, Workload, known_rates
from cirq_azure_sessions.emulator.programs import ionq, openqasm, quantinuum
from cirq_azure_sessions.emulator.programs.instructions import Instruction, Reset
from cirq_azure_sessions.emulator.programs.parameters import read_shots
from cirq_azure_sessions.model import Cost

__all__ = ["estimate_cost"]

# A call of a gate or measurement in the text of a QIR program, with its arguments.
_QIR_CALL = re.compile(rb"call void @__quantum__qis__(\w+?)__(?:body|adj|ctl)\(([^\n]*)\)")
# A qubit or result in them, by its number; number 0 is the null pointer.
_QIR_POINTER = re.compile(rb"(?:%\w+\*|ptr) (?:null|inttoptr \(i64 (\d+))")
_QIR_MEASUREMENTS = (b"m", b"mz", b"mresetz")


@dataclass(frozen=True, slots=True)
class _Census:
    """The number of operations of each kind in a program."""

    one_qubit: int = 0
    two_qubit: int = 0
    measurements: int = 0
    qubits: int = 0


def estimate_cost(
    target: str, input_format: str, payload: bytes, params: Mapping[str, Any]
) -> Cost | None:
    """The bill of a job that ran, or None where nothing is billed.

    Args:
        target: The target's id.
        input_format: Azure's `inputDataFormat`.
        payload: The program, which has been read before.
        params: Azure's `inputParams`.
    """
    provider = target.partition(".")[0]
    rates = known_rates(target, params) or Rates()
    census = _Census() if rates.is_free else _take_census(target, input_format, payload)
    shots = read_shots(params, provider)
    if provider == "ionq":
        return _cost_ionq(rates, census, shots)
    if provider == "quantinuum":
        return _cost_quantinuum(target, rates, census, shots)
    if provider == "rigetti":
        return _cost_rigetti()
    return None


def _cost_ionq(rates: Rates, census: _Census, shots: int) -> Cost:
    singles, pairs = float(census.one_qubit * shots), float(census.two_qubit * shots)
    one_rate, two_rate = rates.per_one_qubit_gate, rates.per_two_qubit_gate
    return Cost(
        total=rates.amount(Workload(shots, census.one_qubit, census.two_qubit)),
        events=(
            _event("gs1q", "1Q Gate Shot", "1q gate shot", singles, one_rate),
            _event("gs2q", "2Q Gate Shot", "2q gate shot", pairs, two_rate),
        ),
    )


def _cost_quantinuum(target: str, rates: Rates, census: _Census, shots: int) -> Cost:
    dimension = "hqc" if ".qpu." in target else "ehqc"
    # Each two-qubit gate counts as two one-qubit gates too, and each qubit is prepared once.
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


def _take_census(target: str, input_format: str, payload: bytes) -> _Census:
    if input_format == "ionq.circuit.v1":
        circuit = ionq.read(payload, ionq.machine_size(target))
        return _count(circuit.gates)
    if input_format == "honeywell.openqasm.v1":
        return _count(quantinuum.instructions(openqasm.read(payload.decode())))
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
