"""Waits, and gates on qubits that are never measured: what machines notice is not lost unsaid."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence

import cirq
import cirq_ionq
import pytest
import sympy
from formats_lab import IONQ, payload, translation

from cirq_azure_sessions import AzureSessionSampler, DroppedOperationWarning, SessionPool
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.errors import UnsupportedProgram
from cirq_azure_sessions.formats import format_for
from cirq_azure_sessions.formats.translation import TranslationOptions

A, B, C = cirq.LineQubit.range(3)
T = sympy.Symbol("t")
WAITING = cirq.Circuit(cirq.X(A), cirq.wait(A, millis=100), cirq.measure(A, key="m"))
# Machines, and emulators with the noise of machines.
WITH_TIME = [
    *("ionq.qpu.aria-1", "quantinuum.sim.h2-1e", "quantinuum.qpu.h2-1", "rigetti.qpu.x"),
    *("qci.machine1", "local.like:ionq.qpu.aria-1", "local.like:quantinuum.sim.h2-1e"),
]
WITHOUT_TIME = [IONQ, "quantinuum.sim.h2-1sc", "rigetti.sim.qvm"]


class Relaxation(cirq.Gate):
    """A gate of the user's own that waits."""

    def _num_qubits_(self) -> int:
        return 1

    def _decompose_(self, qubits: Sequence[cirq.Qid]) -> cirq.OP_TREE:
        return [cirq.X(*qubits), cirq.wait(*qubits, micros=1)]


def waiting(wait: cirq.OP_TREE) -> cirq.Circuit:
    return cirq.Circuit(cirq.X(A), wait, cirq.measure(A, key="m"))


NESTED = cirq.FrozenCircuit(cirq.CircuitOperation(cirq.FrozenCircuit(cirq.wait(A, nanos=T))))
WAITS = {
    "plain": WAITING,
    "short": waiting(cirq.wait(A, picos=1)),
    "subcircuit": cirq.Circuit(cirq.CircuitOperation(WAITING.freeze())),
    "loop of subcircuits": waiting(cirq.CircuitOperation(NESTED, repetitions=3)),
    "symbol": waiting(cirq.WaitGate(cirq.Duration(nanos=T)).on(A)),
    "two qubits": cirq.Circuit(cirq.wait(A, B, micros=1), cirq.measure(A, B)),
    "unmeasured qubit": waiting(cirq.wait(B, micros=1)),
    "tag": waiting(cirq.wait(A, micros=1).with_tags("idle")),
    "side by side": waiting(cirq.ParallelGate(cirq.WaitGate(cirq.Duration(nanos=5)), 2).on(A, B)),
    "controlled": waiting(cirq.wait(A, nanos=5).controlled_by(B)),
    "gate of one's own": waiting(Relaxation().on(A)),
}


@pytest.mark.parametrize("target", WITH_TIME)
@pytest.mark.parametrize("circuit", WAITS.values(), ids=WAITS)
def test_a_wait_on_a_target_with_time_is_left_out_with_a_warning(
    circuit: cirq.Circuit, target: str
) -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always", DroppedOperationWarning)
        sweep = translation(target, circuit, [{"t": 5.0}, {"t": 7.0}])
    [warning] = [each for each in shown if each.category is DroppedOperationWarning]
    assert f"{target} is not known to support waits" in str(warning.message)
    assert sweep.job(0).metadata["dropped"] == sweep.job(1).metadata["dropped"] == "waits"


def test_a_wait_under_a_condition_is_left_out_with_a_warning() -> None:
    wait = cirq.wait(A, micros=1).with_classical_controls("k")
    with pytest.warns(DroppedOperationWarning):
        payload("quantinuum.sim.h2-1e", cirq.Circuit(cirq.measure(A, key="k"), waiting(wait)))


@pytest.mark.parametrize("target", WITHOUT_TIME)
def test_a_wait_on_a_target_without_time_is_left_out_in_silence(target: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        payload(target, WAITING)


def test_a_wait_on_a_noisy_simulator_is_left_out_with_a_warning() -> None:
    options = TranslationOptions(IONQ, input_params={"noise": {"model": "aria-1"}})
    with pytest.warns(DroppedOperationWarning):
        format_for(IONQ).translate(WAITING, [cirq.ParamResolver()], 10, options)


@pytest.mark.parametrize("target", WITH_TIME)
def test_a_wait_that_changes_nothing_is_left_out_in_silence(target: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DroppedOperationWarning)
        translation(target, cirq.Circuit(WAITING[::2], cirq.wait(A, millis=1)))
        translation(target, waiting(cirq.wait(A, nanos=0)))


@pytest.mark.parametrize("target", WITH_TIME)
def test_a_wait_is_refused_where_nothing_is_compiled(target: str) -> None:
    with pytest.raises(UnsupportedProgram, match="unchanged; use compile=True"):
        format_for(target).translate(
            WAITING, [cirq.ParamResolver()], 10, TranslationOptions(target, compile=False)
        )


def test_the_result_names_dropped_operations() -> None:
    with EmulatorServer() as server, SessionPool(server.workspace()) as pool:
        sampler = AzureSessionSampler("quantinuum.sim.h2-1e", pool=pool)
        with pytest.warns(DroppedOperationWarning):
            result = sampler.run(WAITING, repetitions=10)
        assert result.dropped == ("waits",)
        assert sampler.get_result(result.job_id).dropped == ("waits",)
        assert sampler.run(WAITING[::2], repetitions=10).dropped == ()
    with pytest.warns(DroppedOperationWarning):
        result = AzureSessionSampler("local.like:ionq.qpu.aria-1").run(WAITING, repetitions=10)
    assert result.dropped == ("waits",)


@pytest.mark.parametrize("compile", [True, False])
def test_gates_on_qubits_that_are_never_measured_are_sent(compile: bool) -> None:
    circuit = cirq.Circuit(cirq.X(A), cirq.X(B), cirq.CNOT(B, C), cirq.measure(A, key="m"))
    translated = format_for(IONQ).translate(
        circuit, [cirq.ParamResolver()], 10, TranslationOptions("ionq.qpu.aria-1", compile=compile)
    )
    gates = json.loads(translated.job(0).payload)["circuit"]
    assert [gate["gate"] for gate in gates] == ["x", "x", "cnot"]


def test_gates_after_a_measurement_are_refused_where_nothing_is_compiled() -> None:
    circuit = cirq.Circuit(cirq.X(A), cirq.measure(A, key="m"), cirq.X(A))
    with pytest.raises(UnsupportedProgram, match="measures only at the end"):
        format_for(IONQ).translate(
            circuit, [cirq.ParamResolver()], 10, TranslationOptions(IONQ, compile=False)
        )


def test_native_gates_stay_native_next_to_a_wait() -> None:
    gate = cirq_ionq.GPIGate(phi=0.25).on(A)
    with pytest.warns(DroppedOperationWarning):
        sent = payload(
            "ionq.qpu.aria-1", cirq.Circuit(gate, cirq.wait(A, nanos=1), cirq.measure(A))
        )
    assert json.loads(sent)["gateset"] == "native"
    assert [operation["gate"] for operation in json.loads(sent)["circuit"]] == ["gpi"]
