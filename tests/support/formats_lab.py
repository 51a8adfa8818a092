"""What the tests of the formats share: a way from a circuit through a payload to a result.

Payloads are run by the emulator's own readers, which know nothing of `formats`, on a noiseless
machine. `cirq.Simulator` is the truth.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cirq
import numpy as np
import pytest
import scipy.stats
from emulated import run_program
from hypothesis import strategies as st
from shared import SHARED

from cirq_azure_sessions.emulator.programs import NOISELESS
from cirq_azure_sessions.formats import format_for
from cirq_azure_sessions.formats.translation import JobInput, Translation, TranslationOptions
from cirq_azure_sessions.results.azure_result import AzureResult

# qdk reports its use unless it is told not to.
os.environ.setdefault("QDK_PYTHON_TELEMETRY", "none")

IONQ = "ionq.simulator"
IONQ_HARDWARE = "ionq.qpu.aria-1"
QUANTINUUM = "quantinuum.sim.h2-1e"
QIR = "rigetti.sim.qvm"
REMOTE = (IONQ, QUANTINUUM, QIR)

SEED = (20_260_101,)


# How often a test of two distributions may fail though they are equal.
FALSE_ALARM = 1e-7

AWKWARD_KEYS = [
    "m",
    "q(0)",
    "two words",
    "a:b",
    "é",
    "ω\N{PILE OF POO}",
    "x,y",
    "M",
    "m0",
    "\n",
    "",
]


def translation(
    target: str,
    circuit: cirq.AbstractCircuit,
    points: Sequence[Mapping[str, float]] = ({},),
    repetitions: int = 1,
    **options: Any,
) -> Translation:
    """The sweep as jobs."""
    return format_for(target).translate(
        circuit,
        [cirq.ParamResolver(dict(point)) for point in points],
        repetitions,
        TranslationOptions(target, **{"seed": SEED, **options}),
    )


def job(target: str, circuit: cirq.AbstractCircuit, **options: Any) -> JobInput:
    """The one job of a circuit without parameters."""
    return translation(target, circuit, **options).job(0)


def payload(target: str, circuit: cirq.AbstractCircuit, **options: Any) -> str:
    """The program that a circuit becomes."""
    text: str = job(target, circuit, **options).payload.decode()
    return text


def emulate(
    target: str,
    job: JobInput,
    seed: int = 1,
    noise: cirq.NoiseModel | None = NOISELESS,
) -> bytes:
    """The bytes that a service answers: without noise, or with the published noise if None."""
    output = run_program(
        target=target,
        provider=target.split(".")[0],
        input_format=format_for(target).input_format,
        output_format=format_for(target).output_format,
        payload=job.payload,
        input_params=job.input_params,
        rng=np.random.default_rng(seed),
        noise=noise,
    )
    return output.content


def decode(target: str, job: JobInput, output: bytes) -> AzureResult:
    """The result of a job of one point, read by another process: from bytes and metadata alone."""
    reader = format_for(target)
    (result,) = reader.decode(output, reader.read_layout(dict(job.metadata)))
    return result


def run(
    target: str, circuit: cirq.AbstractCircuit, repetitions: int = 1, **options: Any
) -> AzureResult:
    """There and back."""
    sent = job(target, circuit, repetitions=repetitions, **options)
    return decode(target, sent, emulate(target, sent))


def simulate(
    circuit: cirq.AbstractCircuit,
    params: cirq.ParamResolverOrSimilarType = None,
    repetitions: int = 1,
    seed: int = 1,
) -> cirq.Result:
    """What cirq itself gives for the same call."""
    return cirq.Simulator(seed=seed).run(circuit, params, repetitions)


def assert_same_form(result: cirq.Result, expected: cirq.Result) -> None:
    """Keys, their order, shapes, dtypes and parameters are those that cirq gives."""
    assert list(result.records) == list(expected.records)
    for key, array in expected.records.items():
        assert result.records[key].shape == array.shape, key
        assert result.records[key].dtype == array.dtype, key
    assert result.params == expected.params


def outcomes(result: cirq.Result) -> Counter[Hashable]:
    """How often each joint value of all records came."""
    rows = [array.reshape(len(array), -1) for array in result.records.values()]
    return Counter(map(tuple, np.concatenate(rows, axis=1).tolist()))


def assert_same_distribution(result: cirq.Result, expected: cirq.Result) -> None:
    """A two-sample chi-square test; it fails on equal distributions once in 10**7 runs."""
    ours, theirs = outcomes(result), outcomes(expected)
    table = np.array([[ours[key], theirs[key]] for key in {*ours, *theirs}])
    # The test is exact enough where about five are expected in a cell; rarer values are pooled.
    rare = table.sum(axis=1) < 10
    pooled = np.vstack([table[~rare], table[rare].sum(axis=0, keepdims=True)])
    pooled = pooled[pooled.sum(axis=1) > 0]
    if len(pooled) > 1:
        assert scipy.stats.chi2_contingency(pooled, correction=False).pvalue > FALSE_ALARM


def assert_cirqs_answer(target: str, circuit: cirq.AbstractCircuit, repetitions: int) -> None:
    """There and back gives the form and the distribution that cirq gives."""
    result, expected = run(target, circuit, repetitions), simulate(circuit, None, repetitions)
    assert_same_form(result, expected)
    assert_same_distribution(result, expected)


def exact_distribution(circuit: cirq.AbstractCircuit) -> dict[int, float]:
    """The probabilities of a circuit with terminal measurements, as `AzureResult` keys them.

    Each qubit may be measured once; inversions are applied.
    """
    measured: dict[str, list[cirq.Qid]] = {}
    for _, operation, _ in circuit.findall_operations_with_gate_type(cirq.MeasurementGate):
        measured.setdefault(cirq.measurement_key_name(operation), []).extend(operation.qubits)
    order = [qubit for qubits in measured.values() for qubit in qubits]
    idle = sorted(circuit.all_qubits() - set(order))
    state = cirq.Simulator(dtype=np.complex128).simulate(
        cirq.drop_terminal_measurements(circuit), qubit_order=[*order, *idle]
    )
    amplitudes = state.final_state_vector.reshape(2 ** len(order), -1)
    return dict(enumerate(np.sum(np.abs(amplitudes) ** 2, axis=1).tolist()))


def assert_exactly(result: AzureResult, expected: Mapping[int, float], atol: float = 1e-6) -> None:
    """The result's probabilities are the expected ones."""
    assert result.probabilities is not None
    for outcome in {*result.probabilities, *expected}:
        ours = result.probabilities.get(outcome, 0.0)
        assert ours == pytest.approx(expected.get(outcome, 0.0), abs=atol), outcome


def shared_circuits() -> list[Path]:
    """The public circuits, where they are at hand."""
    return sorted((SHARED / "circuits").glob("*.qasm"))


needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is not at hand")


# Circuits, for hypothesis

_QUBITS = [
    cirq.LineQubit(30),
    cirq.LineQubit(-2),
    cirq.GridQubit(1, 7),
    cirq.NamedQubit("q\n; x q[0];"),
    cirq.NamedQubit("ψ"),
]

_ONE = [cirq.H, cirq.X, cirq.Y, cirq.Z, cirq.S, cirq.T**-1, cirq.I, cirq.X**0.5, cirq.Y**-0.5]
_TWO = [cirq.CNOT, cirq.CZ, cirq.SWAP, cirq.ISWAP, cirq.CNOT**0.5, cirq.XX**0.25, cirq.CZ**-0.3]
_THREE = [cirq.CCX, cirq.CCZ, cirq.CSWAP, cirq.CCZ**0.4]

_turns = st.floats(-3, 3, allow_nan=False).map(lambda turns: round(turns, 4))


@st.composite
def gates(draw: st.DrawFn, most: int = 3) -> cirq.Gate:
    """Any of cirq's gates on up to `most` qubits."""
    turn = draw(_turns)
    one: list[cirq.Gate] = [
        *_ONE,
        cirq.rx(turn),
        cirq.ry(turn),
        cirq.Z**turn,
        cirq.H**turn,
        cirq.PhasedXPowGate(phase_exponent=turn, exponent=0.3),
        cirq.PhasedXZGate(x_exponent=turn, z_exponent=0.25, axis_phase_exponent=-turn),
        cirq.MatrixGate(cirq.unitary(cirq.H)),
    ]
    two: list[cirq.Gate] = [
        *_TWO,
        cirq.ZZ**turn,
        cirq.YY**turn,
        cirq.CZ**turn,
        cirq.FSimGate(turn, 0.2),
        cirq.ControlledGate(cirq.ry(turn)),
        cirq.MatrixGate(cirq.unitary(cirq.SWAP)),
    ]
    choices = [one, [*one, *two], [*one, *two, *_THREE]][most - 1]
    return draw(st.sampled_from(choices))


@st.composite
def operations(draw: st.DrawFn, qubits: Sequence[cirq.Qid]) -> cirq.Operation:
    """A gate on some of the qubits, perhaps tagged or in a subcircuit."""
    gate = draw(gates(most=min(3, len(qubits))))
    chosen = draw(st.permutations(qubits))[: cirq.num_qubits(gate)]
    operation = gate.on(*chosen)
    wrapping = draw(st.integers(0, 9))
    if wrapping == 0:
        return operation.with_tags("tag")
    if wrapping == 1:
        return cirq.CircuitOperation(cirq.FrozenCircuit(operation), repetitions=2)
    return operation


def _key(written: str) -> cirq.MeasurementKey:
    return cirq.MeasurementKey.parse_serialized(written)


@st.composite
def measured_at_end(draw: st.DrawFn) -> cirq.Circuit:
    """A circuit on awkward qubits whose awkward keys measure some of them at the end."""
    qubits = draw(st.permutations(_QUBITS))[: draw(st.integers(1, 4))]
    circuit = cirq.Circuit(draw(st.lists(operations(qubits), min_size=1, max_size=8)))
    measured = draw(st.permutations(qubits))[: draw(st.integers(1, len(qubits)))]
    cut = draw(st.integers(1, len(measured)))
    keys = draw(st.permutations(AWKWARD_KEYS))
    for part, key in zip((measured[:cut], measured[cut:]), keys, strict=False):
        if part:
            mask = tuple(draw(st.lists(st.booleans(), max_size=len(part))))
            circuit.append(cirq.measure(*part, key=_key(key), invert_mask=mask))
    return circuit


@st.composite
def measured_in_between(draw: st.DrawFn) -> cirq.Circuit:
    """A circuit that measures, resets and acts on what it measured, keys repeated."""
    qubits = draw(st.permutations(_QUBITS))[: draw(st.integers(2, 3))]
    keys = draw(st.permutations(AWKWARD_KEYS[:6]))[:2]
    widths = dict(zip(keys, draw(st.tuples(st.integers(1, 2), st.just(1))), strict=True))
    circuit = cirq.Circuit(draw(operations(qubits)))
    measured: list[str] = []
    for _ in range(draw(st.integers(2, 6))):
        kind = draw(st.sampled_from(["gate", "measure", "reset", "control", "control"]))
        if kind == "measure" or (kind == "control" and not measured):
            key = draw(st.sampled_from(keys))
            chosen = draw(st.permutations(qubits))[: widths[key]]
            mask = tuple(draw(st.lists(st.booleans(), max_size=len(chosen))))
            circuit.append(cirq.measure(*chosen, key=_key(key), invert_mask=mask))
            measured.append(key)
        elif kind == "reset":
            circuit.append(cirq.reset(draw(st.sampled_from(qubits))))
        elif kind == "control":
            controls = draw(st.lists(st.sampled_from(measured), min_size=1, max_size=2))
            gate = draw(gates(most=1))
            qubit = draw(st.sampled_from(qubits))
            circuit.append(gate.on(qubit).with_classical_controls(*controls))
        else:
            circuit.append(draw(operations(qubits)))
    circuit.append(cirq.measure(*qubits, key="end"))
    return circuit
