"""Waits, and gates on qubits that are never measured: what machines notice is not lost unsaid."""

from __future__ import annotations

import json
import warnings

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
WITH_TIME = ["ionq.qpu.aria-1", "quantinuum.sim.h2-1e", "quantinuum.qpu.h2-1", "rigetti.qpu.x"]
WITHOUT_TIME = [IONQ, "quantinuum.sim.h2-1sc", "rigetti.sim.qvm"]


@pytest.mark.parametrize("target", WITH_TIME)
@pytest.mark.parametrize(
    "circuit",
    [
        WAITING,
        cirq.Circuit(cirq.CircuitOperation(WAITING.freeze())),
        cirq.Circuit(cirq.X(A), cirq.WaitGate(cirq.Duration(nanos=T)).on(A), cirq.measure(A)),
        cirq.Circuit(cirq.wait(A, B, micros=1), cirq.measure(A, B)),
    ],
    ids=["plain", "subcircuit", "symbol", "two qubits"],
)
def test_a_wait_on_a_target_with_time_is_left_out_with_a_warning(
    circuit: cirq.Circuit, target: str
) -> None:
    with pytest.warns(DroppedOperationWarning, match=f"{target} is not known to support waits"):
        translation(target, circuit, [{"t": 5.0}])


@pytest.mark.parametrize("target", WITHOUT_TIME)
def test_a_wait_on_a_target_without_time_is_left_out_in_silence(target: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        payload(target, WAITING)


def test_a_wait_on_a_noisy_simulator_is_left_out_with_a_warning() -> None:
    options = TranslationOptions(IONQ, input_params={"noise": {"model": "aria-1"}})
    with pytest.warns(DroppedOperationWarning):
        format_for(IONQ).translate(WAITING, [cirq.ParamResolver()], 10, options)


def test_a_wait_that_no_measurement_follows_is_left_out_in_silence() -> None:
    circuit = cirq.Circuit(cirq.X(A), cirq.measure(A, key="m"), cirq.wait(A, millis=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        payload("ionq.qpu.aria-1", circuit)


@pytest.mark.parametrize("target", WITH_TIME)
def test_a_wait_is_refused_where_nothing_is_compiled(target: str) -> None:
    with pytest.raises(UnsupportedProgram, match="as it is; leave compile=True"):
        format_for(target).translate(
            WAITING, [cirq.ParamResolver()], 10, TranslationOptions(target, compile=False)
        )


def test_the_result_says_what_was_left_out() -> None:
    with EmulatorServer() as server, SessionPool(server.workspace()) as pool:
        sampler = AzureSessionSampler("quantinuum.sim.h2-1e", pool=pool)
        with pytest.warns(DroppedOperationWarning):
            result = sampler.run(WAITING, repetitions=10)
        assert result.dropped == ("waits",)
        assert sampler.get_result(result.job_id).dropped == ("waits",)
        assert sampler.run(WAITING[::2], repetitions=10).dropped == ()


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
    with pytest.raises(UnsupportedProgram, match="measures at the end"):
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
