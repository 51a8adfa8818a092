"""Local targets: the whole sweep is one job, and its results are those of cirq, unchanged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cirq

from cirq_azure_sessions.errors import ResultFormatError, UnsupportedProgram
from cirq_azure_sessions.formats.gate_numbers import with_plain_numbers
from cirq_azure_sessions.formats.program import shown
from cirq_azure_sessions.formats.translation import (
    Format,
    JobInput,
    Pack,
    Translation,
    TranslationOptions,
    Workload,
)
from cirq_azure_sessions.installation import BUILT_IN_TARGETS
from cirq_azure_sessions.model import JobRequest, LocalProgram, TargetStatus
from cirq_azure_sessions.results.azure_result import AzureResult

__all__ = ["LocalFormat", "LocalLayout"]

# Methods by which a gate or an operation tells the simulators what it does.
_EFFECTS = ("_act_on_", "_stim_conversion_")

_POINTS = "cirq-azure-sessions.points"
_TARGET = "cirq-azure-sessions.target"


@dataclass(frozen=True, slots=True)
class LocalLayout:
    """The layout of a local job's result.

    Attributes:
        target: The target's id.
        points: The number of sweep points, and so of results.
    """

    target: str
    points: int


class UnknownOperation(UnsupportedProgram, TypeError):
    """Nothing says what an operation does: Cirq's simulators fail with a `TypeError`."""


class LocalFormat(Format):
    """Passes a circuit to a `cirq.Sampler` unchanged; the sampler decides what it can run."""

    input_format = "cirq.sweep.v1"
    output_format = "cirq.results.v1"

    def check_target(self, request: JobRequest, status: TargetStatus) -> None:
        """Accepts any target."""

    def check_pack(self, pack: Pack, target: str) -> None:
        """Refuses packing, since a sweep already is one job."""
        raise ValueError(f"{target} runs a sweep in one free job: leave out pack=.")

    def translate(
        self,
        program: cirq.AbstractCircuit,
        resolvers: Sequence[cirq.ParamResolver],
        repetitions: int,
        options: TranslationOptions,
    ) -> Translation:
        """One job for the whole sweep.

        Raises:
            UnsupportedProgram: If the circuit has no measurements, or a built-in simulator cannot
                know what an operation does.
        """
        if not program.has_measurements():
            raise UnsupportedProgram("Circuit has no measurements to sample; add cirq.measure.")
        self.check_input_params(options.input_params)
        # What the samplers of users run, only they know.
        if options.target in BUILT_IN_TARGETS:
            for operation in _distinct(program):
                try:
                    _check_known(operation)
                except UnknownOperation:
                    raise
                except Exception:
                    # An error in a gate's own methods is raised again in its job.
                    pass
        if options.target == "local.stim":
            program = _changed(program, _for_stim)
        if options.target == "local.qsim":
            # qsim takes no fractions, arrays or complex numbers, which Cirq does.
            program = _changed(program, with_plain_numbers)
        layout = LocalLayout(options.target, len(resolvers))
        payload = LocalProgram(program, tuple(resolvers), repetitions, options.seed)
        job = JobInput(
            points=range(len(resolvers)),
            payload=payload,
            input_params={"shots": repetitions, **options.input_params},
            metadata={_TARGET: layout.target, _POINTS: str(layout.points)},
            layout=layout,
        )
        return Translation([(job.points, (0, repetitions))], 1, lambda points, part: job)

    def decode(self, payload: Any, layout: LocalLayout) -> Sequence[AzureResult]:
        """The sampler's results, unchanged.

        Raises:
            ResultFormatError: If there are more or fewer results than points.
        """
        results = list(payload)
        if len(results) != layout.points:
            raise ResultFormatError(
                f"The sampler of {layout.target} must return one result per point, "
                f"{layout.points}, not {len(results)}."
            )
        return [AzureResult.from_result(result, target=layout.target) for result in results]

    def workload(self, job: JobInput) -> Workload:
        """Counts the operations of the uncompiled circuit and the shots of all points."""
        circuit = job.payload.circuit
        gates = [op for op in circuit.all_operations() if not cirq.is_measurement(op)]
        measured = [op.qubits for op in circuit.all_operations() if cirq.is_measurement(op)]
        two = sum(len(op.qubits) > 1 for op in gates)
        return Workload(
            shots=job.payload.repetitions * len(job.points),
            one_qubit_gates=len(gates) - two,
            two_qubit_gates=two,
            spam=sum(map(len, measured)) + len(circuit.all_qubits()),
        )

    def read_layout(self, metadata: Mapping[str, str]) -> LocalLayout:
        """The layout of a local job.

        Raises:
            ResultFormatError: If the job was not submitted by this package.
        """
        try:
            return LocalLayout(metadata[_TARGET], int(metadata[_POINTS]))
        except (KeyError, ValueError) as error:
            raise ResultFormatError(
                "The job has no layout of cirq-azure-sessions; only jobs that it submitted can "
                "be read back."
            ) from error


def _distinct(program: cirq.AbstractCircuit) -> Collection[cirq.Operation]:
    """The operations, but one for each gate of those that have nothing else."""
    # Most operations of a circuit share few gates.
    return {
        id(op.gate if type(op) is cirq.GateOperation else op): op for op in program.all_operations()
    }.values()


def _changed(
    program: cirq.AbstractCircuit, change: Callable[[cirq.Operation], cirq.OP_TREE]
) -> cirq.AbstractCircuit:
    """The circuit with each operation changed, those of subcircuits included."""
    # A copy costs more than all else that is done here.
    if all(type(op) is cirq.GateOperation and change(op) is op for op in _distinct(program)):
        return program
    return cirq.map_operations(program, lambda operation, _: change(operation), deep=True)


def _check_known(operation: cirq.Operation) -> None:
    if operation.classical_controls:
        return  # Cirq runs it if the condition never holds
    plain = operation.untagged
    acting = plain if plain.gate is None else plain.gate
    if isinstance(plain, cirq.CircuitOperation):
        for inner in plain.circuit.all_operations():
            _check_known(inner)
    elif not (
        type(acting).__module__.startswith(("cirq.", "cirq_", "stimcirq", "qsimcirq"))
        or any(hasattr(acting, name) for name in _EFFECTS)
        or cirq.is_parameterized(plain)
        or cirq.is_measurement(plain)
        or cirq.has_kraus(plain)
    ):
        parts = cirq.decompose_once(plain, default=None)
        if parts is None:
            raise UnknownOperation(
                f"Nothing says what {shown(plain)} does: give it a method `_unitary_`, `_kraus_` "
                "or `_decompose_`."
            )
        for part in parts:
            _check_known(part)


def _for_stim(operation: cirq.Operation) -> cirq.OP_TREE:
    """The operation without conditional subcircuits and waits, which Stim does not have."""
    if not operation.classical_controls:
        return operation
    plain = operation.without_classical_controls().untagged
    if isinstance(plain.gate, cirq.WaitGate):
        return plain  # nothing happens in either case
    if (
        not isinstance(plain, cirq.CircuitOperation)
        or plain.repeat_until is not None
        or cirq.is_parameterized(plain.repetitions)
        or cirq.is_measurement(plain)  # it might change what the condition reads
    ):
        return operation
    return [_for_stim(part) for part in cirq.decompose_once(operation.untagged)]
