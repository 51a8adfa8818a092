"""`local.like:TARGET`: the target's compiled circuit with its noise, for local simulation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import cirq

from cirq_azure_sessions import formats
from cirq_azure_sessions.formats.local import LocalFormat
from cirq_azure_sessions.formats.program import Step, flatten, unrolled
from cirq_azure_sessions.formats.template import Template
from cirq_azure_sessions.formats.translation import (
    JobInput,
    Part,
    Translation,
    TranslationOptions,
    note_dropped_waits,
    resolved,
)
from cirq_azure_sessions.noise import MachineNoise, published_noise

__all__ = ["LikeFormat"]


class LikeFormat(LocalFormat):
    """Compiles a circuit as for the target itself, and adds an error after each of its gates.

    The target's limits apply too, so that a circuit that runs here also runs there.
    """

    def translate(
        self,
        program: cirq.AbstractCircuit,
        resolvers: Sequence[cirq.ParamResolver],
        repetitions: int,
        options: TranslationOptions,
    ) -> Translation:
        """One job per point, since the compilation of a gate depends on its parameters.

        Raises:
            UnsupportedProgram: If the target cannot run the circuit.
            UnsupportedTarget: If the target's noise is not published.
        """
        self.check_input_params(options.input_params)
        target = options.target.partition(":")[2]
        noise = published_noise(target)
        own = replace(options, target=target)
        language = formats.format_for(target).template
        circuits, has_waits = [], False
        for resolver in resolvers:
            circuit = resolved(program, resolver)
            template = language(flatten(circuit, target, compile=options.compile), own)
            has_waits |= template.draft.has_waits
            circuits.append(_noisy(circuit, template, noise, target))
        dropped = note_dropped_waits(options.target) if has_waits else {}

        def job(points: Sequence[int], part: Part) -> JobInput:
            (point,) = points
            # Each job numbers its points from 0.
            seed = None if options.seed is None else (*options.seed, point)
            alone = replace(options, seed=seed)
            whole = LocalFormat.translate(
                self, circuits[point], [resolvers[point]], repetitions, alone
            )
            alone_job = whole.job(0)
            return replace(alone_job, points=points, metadata={**alone_job.metadata, **dropped})

        points = [range(point, point + 1) for point in range(len(resolvers))]
        return Translation([(each, (0, repetitions)) for each in points], 1, job)


def _noisy(
    circuit: cirq.AbstractCircuit, template: Template, noise: MachineNoise, target: str
) -> cirq.Circuit:
    """The circuit in the target's gates, with errors inserted."""
    noisy: list[cirq.Operation] = []
    for whole in circuit.all_operations():
        for operation in unrolled(whole, target):
            plain = operation.without_classical_controls().untagged
            for part in _parts(plain, template, noise):
                noisy.append(part.with_classical_controls(*operation.classical_controls))
    return cirq.Circuit(noisy)


def _parts(
    operation: cirq.Operation, template: Template, noise: MachineNoise
) -> Iterator[cirq.Operation]:
    gate, qubits = operation.gate, operation.qubits
    assert gate is not None
    if isinstance(gate, cirq.MeasurementGate):
        # Published rates do not distinguish 0 from 1. A readout error persists, because ions are
        # prepared again according to the measured value before reuse.
        if noise.readout[0]:
            yield from cirq.bit_flip(noise.readout[0]).on_each(*qubits)
        yield operation
    elif isinstance(gate, cirq.ResetChannel):
        yield operation
    elif qubits:  # one on no qubits is a global phase
        for step in template.taken(Step(gate, tuple(range(len(qubits))), source=operation)):
            own = [qubits[index] for index in step.qubits]
            for part in template.operations(step.gate, own):
                yield from noise.noisy_operation(part)
