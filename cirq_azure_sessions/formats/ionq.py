"""IonQ: circuits as JSON in its `qis` or `native` gates, results as a histogram.

A histogram's key is a decimal integer in which bit q is qubit q. A circuit has no measurement keys;
all its qubits are measured at the end.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import cirq
import cirq_ionq
import numpy as np
import numpy.typing as npt

from cirq_azure_sessions.errors import ResultFormatError, UnsupportedProgram
from cirq_azure_sessions.formats.compile import ROTATIONS, Compiler, without_many_turns
from cirq_azure_sessions.formats.layout import (
    fractions,
    read_json,
    settled_fractions,
    whole_counts,
)
from cirq_azure_sessions.formats.open_gates import OpenGate
from cirq_azure_sessions.formats.program import Program, Step, shown
from cirq_azure_sessions.formats.template import Template
from cirq_azure_sessions.formats.translation import (
    Format,
    JobInput,
    Pack,
    TranslationOptions,
    Workload,
)
from cirq_azure_sessions.results.azure_result import AzureResult

__all__ = ["IonQFormat"]

# The shots from which IonQ debiases by default (docs.ionq.com, "Using debiasing with Qiskit").
_MIN_DEBIASED_SHOTS = 500

_NATIVE_GATES = (cirq_ionq.GPIGate, cirq_ionq.GPI2Gate, cirq_ionq.MSGate, cirq_ionq.ZZGate)
_FIXED_GATES = (cirq.HPowGate, cirq.CXPowGate, cirq.SwapPowGate)

_SERIALIZER = cirq_ionq.Serializer()


def _takes(gate: cirq.Gate) -> bool:
    """Whether a gate is one of the `qis` gates once its parameters are resolved."""
    if isinstance(gate, _FIXED_GATES):
        return not cirq.is_parameterized(gate) and gate.exponent % 2 == 1
    return isinstance(gate, ROTATIONS)


_GATESET = cirq_ionq.IonQTargetGateset()
_QIS = Compiler(_takes, _GATESET)
_NATIVE = Compiler(lambda gate: isinstance(gate, _NATIVE_GATES), _GATESET)


class _IonQTemplate(Template):
    """Operations as IonQ's JSON objects, by Cirq's own serializer.

    The gates are `native` if the circuit has only those, and `qis` otherwise.
    """

    has_bit_per_qubit = True

    def __init__(self, program: Program, options: TranslationOptions) -> None:
        program = _measured_at_end(program, options)
        # Waits are not sent, so they do not count.
        gates = [step.gate for step in program.steps if not isinstance(step.gate, cirq.WaitGate)]
        kinds = [gate.kind if isinstance(gate, OpenGate) else type(gate) for gate in gates]
        is_native = bool(kinds) and all(issubclass(kind, _NATIVE_GATES) for kind in kinds)
        self.dialect = "native" if is_native else "qis"
        self.compiler = _NATIVE if is_native else _QIS
        super().__init__(program, options)
        # The ideal simulator returns a distribution, a noisy one counts: IonQ's API
        # reference says of `shots` that they are run "on a QPU or a non-ideal simulator".
        noise = options.input_params.get("noise") or {}
        model = noise.get("model", "ideal") if isinstance(noise, Mapping) else noise
        is_exact = options.target == "ionq.simulator" and model == "ideal"
        self.draft = replace(
            self.draft,
            metadata={**_sdk_metadata(program), **self.draft.metadata},
            layout=replace(self.draft.layout, is_exact=is_exact),
        )

    def write(self, step: Step) -> str:
        gate = step.gate
        if isinstance(gate, ROTATIONS):
            exponent = without_many_turns(gate.exponent)
            if exponent != gate.exponent:
                kind = next(kind for kind in ROTATIONS if isinstance(gate, kind))
                gate = kind(exponent=exponent)
        circuit = cirq.Circuit(gate.on(*map(cirq.LineQubit, step.qubits)))
        serialized = _SERIALIZER.serialize_single_circuit(circuit)
        # The field is `input` since cirq-ionq 1.7, and was `body` before.
        document = serialized.input if hasattr(serialized, "input") else serialized.body
        try:
            # Native gates keep the type of their numbers.
            texts = [
                json.dumps(operation, allow_nan=False, default=float)
                for operation in document["circuit"]
            ]
        except (TypeError, ValueError) as error:
            raise UnsupportedProgram(
                f"{shown(step.source)} holds a number that is not finite and real: correct it."
            ) from error
        return ", ".join(texts)

    def angle(self, half_turns: float) -> str:
        return repr(without_many_turns(half_turns) * math.pi)

    def payload(self, operations: Sequence[str]) -> bytes:
        names = f'"gateset": "{self.dialect}", "qubits": {self.program.num_qubits}'
        return f'{{{names}, "circuit": [{", ".join(operations)}]}}'.encode()


class IonQFormat(Format):
    """IonQ's own circuit format. No qubit is used after its measurement."""

    input_format = "ionq.circuit.v1"
    output_format = "ionq.quantum-results.v1"
    template = _IonQTemplate

    def check_pack(self, pack: Pack, target: str) -> None:
        """Also refuses the simulator, which returns a distribution and is free."""
        super().check_pack(pack, target)
        if target == "ionq.simulator":
            raise ValueError(
                f"{target} is free and returns exact probabilities, which a job of several points "
                "would mix: leave out pack=."
            )

    def pack_caution(self, shots: int, options: TranslationOptions) -> str:
        """A warning about IonQ's debiasing, whose sharpening votes on whole outcomes."""
        mitigation = options.input_params.get("error-mitigation")
        debias = mitigation.get("debias") if isinstance(mitigation, Mapping) else None
        if debias is False or shots < _MIN_DEBIASED_SHOTS:
            return ""
        return (
            f"{options.target} debiases jobs of {_MIN_DEBIASED_SHOTS} shots or more, and its "
            "sharpening votes on whole outcomes, which mixes the points of a job: pass "
            'input_params={"error-mitigation": {"debias": False}} with pack=.'
        )

    def decode(self, payload: Any, layout: Any) -> Sequence[AzureResult]:
        """Samples the exact probabilities of a simulator; uses the counts of a machine.

        Raises:
            ResultFormatError: If the payload is not a histogram over the layout's qubits.
        """
        document = read_json(payload)
        histogram = document.get("histogram") if isinstance(document, dict) else None
        if not isinstance(histogram, dict) or not histogram:
            raise ResultFormatError(
                'The result has no "histogram"; fetch the job\'s output to see it.'
            )
        found = fractions([*histogram.values()])
        outcomes = _outcomes([*histogram], layout.num_bits)
        # Samples must not depend on the order in which the service writes its keys.
        order = sorted(range(len(outcomes)), key=outcomes.__getitem__)
        bits = _bits([outcomes[k] for k in order], layout.num_bits)
        found = found[order]
        if layout.is_pack:
            found = settled_fractions(found, layout.blocks[0].repetitions)
            marginals = (_marginal(bits[:, columns], found) for columns in layout.columns)
            return self.decode_each(({"histogram": each} for each in marginals), layout)
        probabilities = found / found.sum()
        generator = layout.generator()
        if layout.is_exact:
            rows = generator.choice(len(order), size=layout.repetitions, p=probabilities)
        else:
            counts = whole_counts(found, layout.repetitions)
            rows = generator.permutation(np.repeat(np.arange(len(order)), counts))
        return [
            AzureResult(
                params=layout.params,
                records=layout.records(bits[rows], generator),
                target=layout.target,
                probabilities=layout.distribution(bits, probabilities) if layout.is_exact else None,
                lost_shots=layout.repetitions - len(rows),
            )
        ]

    def workload(self, job: JobInput) -> Workload:
        """Counts gates by their qubits; all qubits are prepared and measured, once each."""
        program = json.loads(job.payload)
        two = sum(_width(operation) > 1 for operation in program["circuit"])
        return Workload(
            shots=job.input_params["shots"],
            one_qubit_gates=len(program["circuit"]) - two,
            two_qubit_gates=two,
            spam=2 * program["qubits"],
        )


def _width(operation: Mapping[str, Any]) -> int:
    """The number of qubits of an operation."""
    return len(operation.get("targets", [0])) + ("control" in operation)


def _measured_at_end(program: Program, options: TranslationOptions) -> Program:
    """The program as IonQ runs it: all qubits are measured at the end, each into its own bit.

    Gates after a measurement are omitted if they affect no later measurement, but not with
    `compile=False`. Gates on qubits that are never measured are sent: a machine may notice them.

    Raises:
        UnsupportedProgram: If a measurement may not be moved there.
    """
    target = options.target
    noticed: set[int] = set()
    is_noticed: list[bool] = []
    for step in reversed(program.steps):
        is_noticed.append(step.bit is not None or not noticed.isdisjoint(step.qubits))
        if is_noticed[-1]:
            noticed.update(step.qubits)
    measured: dict[int, Step] = {}
    qubit_of_bit: dict[int, int] = {}
    before: list[Step] = []
    for step, matters in zip(program.steps, reversed(is_noticed), strict=True):
        if step.bit is not None:
            measured.setdefault(step.qubits[0], step)
            qubit_of_bit[step.bit] = step.qubits[0]
            continue
        used = [measured[qubit] for qubit in step.qubits if qubit in measured]
        is_dynamic = step.condition is not None or step.is_reset
        if (is_dynamic or used) and not matters and options.compile:
            continue
        if is_dynamic:
            what = "reset a qubit" if step.is_reset else "act on measured results"
            raise UnsupportedProgram(
                f"{target} measures only at the end and cannot {what}: {shown(step.source)}; run "
                "it on a target that can, such as quantinuum.sim.h2-1e or local.simulator."
            )
        if used:
            raise UnsupportedProgram(
                f"{target} measures only at the end, but {shown(step.source)} comes after "
                f"{shown(used[0].source)}; defer the measurement (cirq.defer_measurements), or run "
                "on a target with mid-circuit measurements, such as quantinuum.sim.h2-1e."
            )
        before.append(step)
    measurements = tuple(
        replace(measurement, bits=tuple(qubit_of_bit[bit] for bit in measurement.bits))
        for measurement in program.measurements
    )
    return replace(
        program, steps=tuple(before), measurements=measurements, num_bits=program.num_qubits
    )


def _sdk_metadata(program: Program) -> dict[str, str]:
    """The measurements in the form of `cirq_ionq`, for the SDK's own Cirq service.

    It does not support repeated keys, inversions, confusion maps or long lists; if the circuit has
    any, nothing is written, since a part would be misleading.
    """
    qubits = cirq.LineQubit.range(program.num_qubits)
    keys = [measurement.key for measurement in program.measurements]
    is_plain = all(not m.inverted and not m.confusion for m in program.measurements)
    if not is_plain or len(set(keys)) < len(keys) or not "".join(keys).isascii():
        return {}
    circuit = cirq.Circuit(
        cirq.MeasurementGate(len(m.bits), cirq.MeasurementKey.parse_serialized(m.key)).on(
            *(qubits[bit] for bit in m.bits)
        )
        for m in program.measurements
    )
    try:
        return dict(_SERIALIZER.serialize_single_circuit(circuit).metadata)
    except ValueError:
        return {}


def _outcomes(keys: Sequence[str], num_bits: int) -> list[int]:
    """A histogram's keys as integers of `num_bits` bits."""
    # A decimal digit has more than three bits.
    if max(map(len, keys)) <= num_bits // 3 + 1:
        with contextlib.suppress(ValueError):
            outcomes = [*map(int, keys)]
            is_plain = [*map(str, outcomes)] == keys and min(outcomes) >= 0
            if is_plain and not max(outcomes) >> num_bits:
                return outcomes
    raise ResultFormatError(
        f"The histogram's keys are not all outcomes of {num_bits} qubits; "
        "fetch the job's output to see it."
    )


def _marginal(bits: npt.NDArray[np.uint8], found: npt.NDArray[np.float64]) -> dict[str, float]:
    """The histogram of some of the qubits: their bits in each outcome, and its fraction."""
    rows, places = np.unique(bits, axis=0, return_inverse=True)
    sums = np.bincount(places.reshape(-1), weights=found)
    keys = (str(sum(1 << k for k, bit in enumerate(row) if bit)) for row in rows.tolist())
    return dict(zip(keys, sums.tolist(), strict=True))


def _bits(integers: Sequence[int], num_bits: int) -> npt.NDArray[np.uint8]:
    """The binary digits of each integer, the least significant first.

    Returns:
        An array of shape (integers, `num_bits`), for any number of bits.
    """
    if num_bits <= 64:
        rows = np.array(integers, dtype="<u8").view(np.uint8).reshape(-1, 8)
    else:
        width = -(-num_bits // 8)
        data = b"".join(integer.to_bytes(width, "little") for integer in integers)
        rows = np.frombuffer(data, dtype=np.uint8).reshape(-1, width)
    return np.unpackbits(rows, axis=1, bitorder="little")[:, :num_bits]
