"""Local targets: nothing is translated, and nothing is lost."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import cirq
import numpy as np
import pytest
import sympy

from cirq_azure_sessions import AzureSessionSampler
from cirq_azure_sessions.errors import ResultFormatError, UnsupportedProgram, UnsupportedTarget
from cirq_azure_sessions.formats import format_for
from cirq_azure_sessions.formats.translation import TranslationOptions
from cirq_azure_sessions.installation import BUILT_IN_TARGETS

LOCAL = "local.simulator"
Q = cirq.q(0)
CIRCUIT = cirq.Circuit(cirq.X(Q) ** sympy.Symbol("t"), cirq.measure(Q, key="m"))
POINTS = [cirq.ParamResolver({"t": t}) for t in (0, 0.5, 1)]


def test_the_whole_sweep_is_one_job() -> None:
    options = TranslationOptions(LOCAL, seed=(1, 0))
    sweep = format_for(LOCAL).translate(CIRCUIT, POINTS, 10, options)
    assert len(sweep) == 1
    job = sweep.job(0)
    assert job.points == range(3)
    assert job.payload.circuit is CIRCUIT
    assert job.payload.params == tuple(POINTS)
    assert job.payload.repetitions == 10
    assert job.payload.seed == (1, 0)
    with pytest.raises(IndexError):
        sweep.job(1)


def test_results_are_the_simulators_own() -> None:
    job = format_for(LOCAL).translate(CIRCUIT, POINTS, 10, TranslationOptions(LOCAL)).job(0)
    expected = cirq.Simulator(seed=1).run_sweep(CIRCUIT, POINTS, 10)
    reader = format_for(LOCAL)
    results = reader.decode(expected, reader.read_layout(job.metadata))
    assert list(results) == expected
    assert [result.target for result in results] == [LOCAL] * 3
    assert [result.records["m"].dtype for result in results] == [np.int8] * 3


def test_missing_result_is_detected() -> None:
    job = format_for(LOCAL).translate(CIRCUIT, POINTS, 10, TranslationOptions(LOCAL)).job(0)
    expected = cirq.Simulator(seed=1).run_sweep(CIRCUIT, POINTS[:2], 10)
    with pytest.raises(ResultFormatError, match="one result per point, 3, not 2"):
        format_for(LOCAL).decode(expected, job.layout)


def test_circuit_without_measurements_is_refused() -> None:
    with pytest.raises(UnsupportedProgram, match="no measurements"):
        format_for(LOCAL).translate(
            cirq.Circuit(cirq.X(Q)), POINTS[:1], 1, TranslationOptions(LOCAL)
        )


@pytest.mark.parametrize("metadata", [{}, {"cirq-azure-sessions.points": "x"}])
def test_jobs_of_others_are_refused(metadata: dict[str, str]) -> None:
    with pytest.raises(ResultFormatError):
        format_for(LOCAL).read_layout(metadata)


@pytest.mark.parametrize(
    ("target", "input_format"),
    [
        ("local.simulator", "cirq.sweep.v1"),
        ("local.anything", "cirq.sweep.v1"),
        ("ionq.simulator", "ionq.circuit.v1"),
        ("ionq.qpu.forte-enterprise-1", "ionq.circuit.v1"),
        ("quantinuum.sim.h2-1sc", "honeywell.openqasm.v1"),
        ("quantinuum.qpu.helios-1", "honeywell.openqasm.v1"),
        ("rigetti.qpu.cepheus-1-36q", "qir.v1"),
        ("echo-quantinuum", "qir.v1"),
        ("newcomer.qpu.one", "qir.v1"),
        ("rigetti.qpu.cepheus-1-108q", "qir.v1"),
        ("iqm.qpu.garnet", "qir.v1"),
        ("infleqtion.qpu.sqale", "qir.v1"),
        ("msft.sim.ac1000.physical", "qir.v1"),
        ("microsoft.sim.canary-001", "qir.v1"),
    ],
)
def test_every_provider_has_a_format(target: str, input_format: str) -> None:
    assert format_for(target).input_format == input_format
    assert format_for(target) is format_for(target)


@pytest.mark.parametrize("target", ["pasqal.sim.emu-mps", "pasqal.qpu.fresnel-can1"])
def test_pulse_targets_are_refused_with_their_purpose(target: str) -> None:
    with pytest.raises(UnsupportedTarget, match=r"pulse sequences \(pasqal\.pulser\.v1\)"):
        format_for(target)


@pytest.mark.parametrize("target", ["microsoft.estimator", "microsoft.dft", "microsoft.sim."])
def test_microsofts_targets_for_other_things_are_refused(target: str) -> None:
    with pytest.raises(UnsupportedTarget):
        format_for(target)


@pytest.mark.parametrize(
    "target", ["", ".", "ionq.", ".simulator", "ionq simulator", "pasqal.sim.emu-tn", "a..b", None]
)
def test_a_target_without_circuits_is_refused(target: str) -> None:
    with pytest.raises(UnsupportedTarget):
        format_for(target)


@pytest.mark.parametrize(
    "value", [Fraction(1, 2), np.array(0.5), np.float16(0.5), np.complex64(0.5)], ids=repr
)
def test_qsim_takes_numbers_of_every_type_that_cirq_takes(value: Any) -> None:
    pytest.importorskip("qsimcirq")
    a, b = cirq.LineQubit.range(2)
    loop = cirq.CircuitOperation(cirq.FrozenCircuit(cirq.X(a) ** value, cirq.CZ(a, b) ** value))
    for parts in ([loop, loop], [cirq.X(a) ** value, cirq.X(a) ** value]):
        program = cirq.Circuit(parts, cirq.measure(a, key="m"))
        assert AzureSessionSampler("local.qsim").run(program).measurements["m"].tolist() == [[1]]


@pytest.mark.parametrize("target", ["local.qsim", "local.stim"])
def test_a_circuit_that_a_simulator_takes_as_it_is_is_not_copied(target: str) -> None:
    a, b = cirq.LineQubit.range(2)
    program = cirq.Circuit(cirq.H(a), cirq.CNOT(a, b), cirq.measure(a, b, key="m"))
    options = TranslationOptions(target)
    job = format_for(target).translate(program, [cirq.ParamResolver()], 10, options).job(0)
    assert job.payload.circuit is program


class Opaque(cirq.Gate):
    """A gate of the user's own that says nothing of its effect."""

    def _num_qubits_(self) -> int:
        return 1


class InParts(Opaque):
    """A gate that is its parts."""

    def __init__(self, *parts: cirq.Gate) -> None:
        self.parts = parts

    def _decompose_(self, qubits: Sequence[cirq.Qid]) -> cirq.OP_TREE:
        return [part.on(*qubits) for part in self.parts]


class Acting(Opaque):
    """A gate that knows what it does to a simulator's state."""

    def _act_on_(self, state: cirq.SimulationState[Any], qubits: Sequence[cirq.Qid]) -> bool:
        cirq.act_on(cirq.X, state, qubits)
        return True


@pytest.mark.parametrize("target", BUILT_IN_TARGETS)
@pytest.mark.parametrize("gate", [Opaque(), InParts(cirq.X, Opaque())], ids=["gate", "part"])
def test_an_operation_without_an_effect_is_refused_with_cirqs_type(
    gate: cirq.Gate, target: str
) -> None:
    pytest.importorskip(BUILT_IN_TARGETS[target][1])
    operation = gate.on(Q)
    for each in (operation, cirq.CircuitOperation(cirq.FrozenCircuit(operation))):
        circuit = cirq.Circuit(each, cirq.measure(Q, key="m"))
        with pytest.raises(TypeError):
            cirq.Simulator().run(circuit)
        with pytest.raises(TypeError, match=r"Nothing says what .*Opaque.* does"):
            AzureSessionSampler(target).run(circuit)


@pytest.mark.parametrize("gate", [Acting(), InParts(cirq.X)], ids=["acting", "parts"])
def test_an_operation_runs_with_any_protocol_that_defines_its_effect(gate: cirq.Gate) -> None:
    circuit = cirq.Circuit(gate.on(Q), cirq.measure(Q, key="m"))
    assert AzureSessionSampler(LOCAL).run(circuit).measurements["m"].tolist() == [[1]]


def test_a_gate_may_measure_in_its_parts() -> None:
    gate = InParts(cirq.X, cirq.MeasurementGate(1, "inner"))
    circuit = cirq.Circuit(gate.on(Q), cirq.measure(Q, key="m"))
    assert AzureSessionSampler(LOCAL).run(circuit) == cirq.Simulator().run(circuit)


def subcircuit(*operations: cirq.Operation) -> cirq.CircuitOperation:
    return cirq.CircuitOperation(cirq.FrozenCircuit(operations))


@pytest.mark.parametrize(
    "operation",
    [
        cirq.wait(Q, micros=1),
        subcircuit(cirq.wait(Q, micros=1)),
        subcircuit(subcircuit(cirq.wait(Q, micros=1)), cirq.X(Q)).repeat(3).with_tags("tag"),
    ],
    ids=["wait", "subcircuit", "nested"],
)
@pytest.mark.parametrize("condition", ["m", "n"])
def test_a_conditional_wait_runs_on_stim(operation: cirq.Operation, condition: str) -> None:
    pytest.importorskip("stimcirq")
    circuit = cirq.Circuit(
        cirq.measure(Q, key="n"),
        cirq.X(Q),
        cirq.measure(Q, key="m"),
        operation.with_classical_controls(condition),
        cirq.measure(Q, key="end"),
    )
    assert AzureSessionSampler("local.stim").run(circuit) == cirq.Simulator().run(circuit)
