"""IonQ: circuits as JSON in its `qis` or `native` gates, results as a histogram.

A histogram's key is a decimal integer in which bit q is qubit q. Measurement keys are not part of
a circuit; all its qubits are measured at its end.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import cirq
import cirq_ionq
import numpy as np
import numpy.typing as npt

from cirq_azure_sessions.errors import ResultFormatError, UnsupportedProgram
from cirq_azure_sessions.formats.compile import ROTATIONS, Compiler
from cirq_azure_sessions.formats.decoding import (
    bits_of_integers,
    fractions,
    read_json,
    whole_counts,
)
from cirq_azure_sessions.formats.layout import Layout, Measurement, read_layout
from cirq_azure_sessions.formats.program import Program, Step, shown
from cirq_azure_sessions.formats.sweep import Envelope, translate_sweep
from cirq_azure_sessions.formats.template import Template
from cirq_azure_sessions.formats.translation import (
    JobInput,
    Translation,
    TranslationOptions,
    Workload,
)
from cirq_azure_sessions.results.azure_result import AzureResult

__all__ = ["IonQFormat"]

_NATIVE_GATES = (cirq_ionq.GPIGate, cirq_ionq.GPI2Gate, cirq_ionq.MSGate, cirq_ionq.ZZGate)
_FIXED_GATES = (cirq.HPowGate, cirq.CXPowGate, cirq.SwapPowGate)


class _Json:
    """Single operations as IonQ's JSON objects, by Cirq's own serializer."""

    def __init__(self, native: bool) -> None:
        self._native = native
        self._serializer = cirq_ionq.Serializer()

    def takes(self, gate: cirq.Gate) -> bool:
        if self._native:
            return isinstance(gate, _NATIVE_GATES)
        if isinstance(gate, _FIXED_GATES):
            return not cirq.is_parameterized(gate) and gate.exponent % 2 == 1
        return isinstance(gate, ROTATIONS)

    def write(self, step: Step) -> str:
        circuit = cirq.Circuit(step.operation)
        operations = self._serializer.serialize_single_circuit(circuit).body["circuit"]
        return ", ".join(json.dumps(operation) for operation in operations)

    def angle(self, half_turns: float) -> str:
        return repr(half_turns * math.pi)


class _IonQWriter:
    """A circuit as IonQ takes it."""

    def __init__(self, program: Program, options: TranslationOptions) -> None:
        steps = _before_measurement(program, options.target)
        gates = [step.gate for step in steps]
        self._native = bool(gates) and all(isinstance(gate, _NATIVE_GATES) for gate in gates)
        self._num_qubits = program.num_qubits
        dialect = _Json(self._native)
        gateset = cirq_ionq.IonQTargetGateset() if options.compile else None
        self.template = Template(steps, dialect, Compiler(options.target, dialect.takes, gateset))
        layout = Layout(
            target=options.target,
            repetitions=0,
            measurements=_on_qubits(program),
            num_bits=program.num_qubits,
            samples_at_end=program.samples_at_end,
            is_exact=_is_exact(options),
        )
        metadata = {**_sdk_metadata(layout), "qubits": str(program.num_qubits)}
        self.envelope = Envelope(layout, ("shots",), metadata=metadata)

    def payload(self, operations: Sequence[str]) -> bytes:
        gateset = "native" if self._native else "qis"
        circuit = ", ".join(operation for operation in operations if operation)
        return (
            f'{{"gateset": "{gateset}", "qubits": {self._num_qubits}, "circuit": [{circuit}]}}'
        ).encode()


class IonQFormat:
    """IonQ's own circuit format."""

    input_format = "ionq.circuit.v1"
    output_format = "ionq.quantum-results.v1"

    def translate(
        self,
        program: cirq.AbstractCircuit,
        resolvers: Sequence[cirq.ParamResolver],
        repetitions: int,
        options: TranslationOptions,
    ) -> Translation:
        """One job a point, in `native` gates if the circuit is in nothing else, in `qis` otherwise.

        Raises:
            UnsupportedProgram: If a qubit is used after its measurement, among other things.
        """
        return translate_sweep(program, resolvers, repetitions, options, _IonQWriter)

    def decode(self, payload: Any, layout: Any) -> Sequence[AzureResult]:
        """Samples the exact probabilities of a simulator; takes the counts of a machine as counts.

        Raises:
            ResultFormatError: If the payload is not a histogram over the layout's qubits.
        """
        outcomes, probabilities = _histogram(read_json(payload), layout.num_bits)
        bits = bits_of_integers(outcomes, layout.num_bits)
        generator = layout.generator()
        if layout.is_exact:
            rows = generator.choice(len(outcomes), size=layout.repetitions, p=probabilities)
        else:
            counts = whole_counts(probabilities, layout.repetitions)
            rows = generator.permutation(np.repeat(np.arange(len(outcomes)), counts))
        return [
            AzureResult(
                params=layout.params,
                records=layout.records(bits[rows], generator),
                target=layout.target,
                probabilities=layout.distribution(bits, probabilities) if layout.is_exact else None,
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

    def read_layout(self, metadata: Mapping[str, str]) -> Layout:
        """The layout from the metadata of a job of this package.

        Raises:
            ResultFormatError: If there is none, or it is damaged.
        """
        return read_layout(metadata)


def _width(operation: Mapping[str, Any]) -> int:
    """How many qubits an operation acts on."""
    return len(operation.get("targets", [0])) + ("control" in operation)


def _is_exact(options: TranslationOptions) -> bool:
    """Whether the answer is a distribution: the ideal simulator's is, a noisy one's are counts.

    IonQ's API reference says of `shots` that they are run "on a QPU or a non-ideal simulator".
    """
    noise = options.input_params.get("noise") or {}
    model = noise.get("model", "ideal") if isinstance(noise, Mapping) else noise
    return options.target == "ionq.simulator" and model == "ideal"


def _before_measurement(program: Program, target: str) -> Sequence[Step]:
    """The steps of a program whose measurements may all be made at its end.

    Raises:
        UnsupportedProgram: If one may not.
    """
    measured: dict[int, Step] = {}
    steps = []
    for step in _that_matter(program.steps):
        if step.is_measurement:
            measured.setdefault(step.qubits[0], step)
            continue
        if step.condition is not None or step.is_reset:
            what = "reset a qubit" if step.is_reset else "act on measured results"
            raise UnsupportedProgram(
                f"{target} measures at the end and cannot {what}: {shown(step.source)}; run it on "
                "a target that can, such as quantinuum.sim.h2-1e or local.simulator."
            )
        used = [measured[qubit] for qubit in step.qubits if qubit in measured]
        if used:
            raise UnsupportedProgram(
                f"{target} measures at the end, and {shown(step.source)} comes after "
                f"{shown(used[0].source)}; measure into further qubits (cirq.defer_measurements), "
                "or run on a target that measures in between, such as quantinuum.sim.h2-1e."
            )
        steps.append(step)
    return steps


def _that_matter(steps: Sequence[Step]) -> Sequence[Step]:
    """Leaves out the steps that no later measurement can notice."""
    watched: set[int] = set()
    kept: list[Step] = []
    for step in reversed(steps):
        if step.is_measurement or not watched.isdisjoint(step.qubits):
            watched.update(step.qubits)
            kept.append(step)
    return kept[::-1]


def _on_qubits(program: Program) -> tuple[Measurement, ...]:
    """The measurements with each bit found where IonQ puts it: at the number of its qubit."""
    qubit_of = {step.bit: step.qubits[0] for step in program.steps if step.is_measurement}
    return tuple(m.with_bits([qubit_of[bit] for bit in m.bits]) for m in program.measurements)


def _sdk_metadata(layout: Layout) -> dict[str, str]:
    """The measurements as `cirq_ionq` writes them, for the SDK's own Cirq service to read.

    It knows no repeated key, inversion or confusion, and little room; where they would be needed,
    nothing is written, rather than half the truth.
    """
    qubits = cirq.LineQubit.range(layout.num_bits)
    keys = [measurement.key for measurement in layout.measurements]
    is_plain = all(not m.inverted and not m.confusion for m in layout.measurements)
    if not is_plain or len(set(keys)) < len(keys) or not "".join(keys).isascii():
        return {}
    circuit = cirq.Circuit(
        cirq.MeasurementGate(len(m.bits), cirq.MeasurementKey.parse_serialized(m.key)).on(
            *(qubits[bit] for bit in m.bits)
        )
        for m in layout.measurements
    )
    try:
        return dict(cirq_ionq.Serializer().serialize_single_circuit(circuit).metadata)
    except ValueError:
        return {}


def _histogram(document: Any, num_bits: int) -> tuple[list[int], npt.NDArray[np.float64]]:
    """The outcomes, ascending, and their probabilities, which sum to one."""
    histogram = document.get("histogram") if isinstance(document, dict) else None
    if not isinstance(histogram, dict) or not histogram:
        raise ResultFormatError('The result has no "histogram"; fetch the job\'s output to see it.')
    probabilities = fractions([*histogram.values()])
    outcomes = _outcomes([*histogram], num_bits)
    # Samples must not depend on the order in which the service writes its keys.
    order = sorted(range(len(outcomes)), key=outcomes.__getitem__)
    return [outcomes[k] for k in order], probabilities[order]


def _outcomes(keys: Sequence[str], num_bits: int) -> list[int]:
    """A histogram's keys as integers of `num_bits` bits."""
    # A decimal digit says more than three bits.
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
