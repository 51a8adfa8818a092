"""IonQ's circuits and histograms."""

from __future__ import annotations

import json
from collections.abc import Sequence

import cirq
import cirq_ionq
import numpy as np
import pytest
import sympy
from formats_lab import (
    IONQ,
    IONQ_HARDWARE,
    SEED,
    assert_exactly,
    assert_same_distribution,
    assert_same_form,
    decode,
    emulate,
    exact_distribution,
    job,
    measured_at_end,
    outcomes,
    payload,
    run,
    simulate,
    translation,
)
from hypothesis import given, settings

from cirq_azure_sessions.errors import ResultFormatError, UnsupportedProgram
from cirq_azure_sessions.formats import format_for
from cirq_azure_sessions.results.azure_result import AzureResult

A, B, C = cirq.LineQubit.range(3)


def body(circuit: cirq.AbstractCircuit, **options: object) -> dict[str, object]:
    document: dict[str, object] = json.loads(payload(IONQ, circuit, **options))
    return document


def histogram(**values: float) -> bytes:
    return json.dumps({"histogram": {key[1:]: value for key, value in values.items()}}).encode()


# Payloads


def test_bell_circuit_is_what_the_recorded_sdk_sent() -> None:
    circuit = cirq.Circuit(
        cirq.H(A), cirq.CNOT(A, B), cirq.measure(A, key="q0"), cirq.measure(B, key="q1")
    )
    sent = job(IONQ, circuit, repetitions=500)
    assert sent.payload == (
        b'{"gateset": "qis", "qubits": 2, "circuit": [{"gate": "h", "targets": [0]}, '
        b'{"gate": "cnot", "control": 0, "target": 1}]}'
    )
    assert sent.input_params == {"shots": 500}
    # session_job_cirq_circuit_ionq.json
    assert sent.metadata["measurement0"] == "q0\x1f0\x1eq1\x1f1"
    assert sent.metadata["qubits"] == "2"


def test_rotations_and_round_values_have_their_own_names() -> None:
    circuit = cirq.Circuit(
        cirq.rx(0.5)(A),
        cirq.X(A) ** 0.5,
        cirq.S(B) ** -1,
        cirq.T(B),
        cirq.ZZ(A, B) ** 0.25,
        cirq.SWAP(A, B),
        cirq.measure(A, B),
    )
    assert body(circuit)["circuit"] == [
        {"gate": "rx", "targets": [0], "rotation": 0.5},
        {"gate": "si", "targets": [1]},
        {"gate": "v", "targets": [0]},
        {"gate": "t", "targets": [1]},
        {"gate": "zz", "targets": [0, 1], "rotation": np.pi / 4},
        {"gate": "swap", "targets": [0, 1]},
    ]


def test_native_gates_stay_native() -> None:
    circuit = cirq.Circuit(
        cirq_ionq.GPIGate(phi=0.1)(A),
        cirq_ionq.GPI2Gate(phi=0.2)(B),
        cirq_ionq.MSGate(phi0=0.1, phi1=0.3)(A, B),
        cirq_ionq.ZZGate(theta=0.2)(A, B),
        cirq.measure(A, B, key="m"),
    )
    assert body(circuit) == {
        "gateset": "native",
        "qubits": 2,
        "circuit": [
            {"gate": "gpi", "target": 0, "phase": 0.1},
            {"gate": "gpi2", "target": 1, "phase": 0.2},
            {"gate": "ms", "targets": [0, 1], "phases": [0.1, 0.3], "angle": 0.25},
            {"gate": "zz", "targets": [0, 1], "phase": 0.2},
        ],
    }
    assert_exactly(run(IONQ, circuit), exact_distribution(circuit))


def test_native_gates_among_others_are_compiled() -> None:
    circuit = cirq.Circuit(
        cirq.H(A), cirq_ionq.MSGate(phi0=0.1, phi1=0.3)(A, B), cirq.measure(B, A, key="m")
    )
    assert body(circuit)["gateset"] == "qis"
    assert_exactly(run(IONQ, circuit), exact_distribution(circuit))


def test_circuit_of_measurements_alone_is_an_empty_qis_circuit() -> None:
    circuit = cirq.Circuit(cirq.measure(A, key="m", invert_mask=(True,)))
    assert body(circuit) == {"gateset": "qis", "qubits": 1, "circuit": []}
    assert run(IONQ, circuit).measurements["m"].tolist() == [[1]]


def test_sparse_qubits_are_numbered_densely() -> None:
    circuit = cirq.Circuit(cirq.X(cirq.LineQubit(30)), cirq.measure(cirq.LineQubit(30), key="m"))
    assert body(circuit)["qubits"] == 1


@pytest.mark.parametrize(
    "gate",
    [
        cirq.PhasedXZGate.from_matrix(cirq.unitary(cirq.H)),
        cirq.MatrixGate(cirq.unitary(cirq.SWAP)),
        cirq.MatrixGate(cirq.unitary(cirq.CNOT)),
        cirq.MatrixGate(cirq.testing.random_unitary(2, random_state=1)),
        cirq.MatrixGate(cirq.testing.random_unitary(8, random_state=1)),
        cirq.MatrixGate(cirq.testing.random_unitary(16, random_state=1)),
        cirq.ControlledGate(cirq.CSWAP),
        cirq.QuantumFourierTransformGate(3),
        cirq.DensePauliString("XYZ"),
        cirq.PauliStringPhasorGate(cirq.DensePauliString("XYZ"), exponent_neg=0.3),
        cirq.IdentityGate(2),
        cirq.H**3.0,
        cirq.UniformSuperpositionGate(7, 3),
    ],
    ids=lambda gate: type(gate).__name__ + str(cirq.num_qubits(gate)),
)
def test_every_gate_compiles_to_what_the_serializer_takes(gate: cirq.Gate) -> None:
    qubits = cirq.LineQubit.range(cirq.num_qubits(gate))
    circuit = cirq.Circuit(
        (cirq.ry(0.3 + k)(q) for k, q in enumerate(qubits)),
        gate.on(*qubits),
        (cirq.rx(0.7 - k)(q) for k, q in enumerate(qubits)),
        cirq.measure(*reversed(qubits), key="m"),
    )
    assert_exactly(run(IONQ, circuit), exact_distribution(circuit))


def test_without_compiling_a_foreign_gate_is_refused() -> None:
    circuit = cirq.Circuit(cirq.H(A), cirq.ISWAP(A, B), cirq.measure(A, B))
    with pytest.raises(UnsupportedProgram, match=r"ISWAP.*use compile=True"):
        payload(IONQ, circuit, compile=False)


def test_circuit_is_sent_unchanged_without_compiling() -> None:
    circuit = cirq.Circuit(cirq.X(A) ** 0.0, cirq.H(A), cirq.H(A), cirq.measure(A))
    assert body(circuit, compile=False)["circuit"] == [
        {"gate": "rx", "targets": [0], "rotation": 0.0},
        {"gate": "h", "targets": [0]},
        {"gate": "h", "targets": [0]},
    ]


def test_keys_too_long_for_the_sdk_still_travel() -> None:
    keys = [f"key-number{k}" for k in range(27)]
    qubits = cirq.LineQubit.range(27)
    circuit = cirq.Circuit(cirq.measure(q, key=k) for q, k in zip(qubits, keys, strict=True))
    sent = job(IONQ, circuit)
    assert "measurement0" not in sent.metadata
    assert list(decode(IONQ, sent, histogram(_0=1.0)).records) == keys


def test_keys_with_paths_are_written_for_the_sdk_too() -> None:
    key = cirq.MeasurementKey.parse_serialized("0:m")
    assert job(IONQ, cirq.Circuit(cirq.measure(A, key=key))).metadata["measurement0"] == "0:m\x1f0"


@pytest.mark.parametrize("key", ["é", "\x1e", "twice"])
def test_measurements_that_the_sdk_cannot_read_are_not_written_for_it(key: str) -> None:
    qubits = [A, A] if key == "twice" else [A]
    circuit = cirq.Circuit(cirq.H(A), [cirq.measure(q, key=key) for q in qubits])
    assert not any(name.startswith("measurement") for name in job(IONQ, circuit).metadata)


def test_the_sdk_reads_our_jobs() -> None:
    circuit = cirq.Circuit(cirq.X(A), cirq.measure(B, A, key="b"), cirq.measure(C, key="a"))
    sent = job(IONQ, circuit)
    found = cirq_ionq.Job(
        client=None,  # type: ignore[arg-type]
        job_dict={"id": "x", "status": "completed", "metadata": dict(sent.metadata)},
    ).measurement_dict()
    assert found == {"b": [1, 0], "a": [2]}


# What is refused


def test_a_measured_qubit_cannot_be_used_again() -> None:
    circuit = cirq.Circuit(cirq.measure(A, key="m"), cirq.H(A), cirq.measure(A, key="n"))
    with pytest.raises(UnsupportedProgram, match=r"H\(cirq.LineQubit\(0\)\) comes after .*measure"):
        payload(IONQ, circuit)


def test_classical_control_and_reset_are_refused() -> None:
    controlled = cirq.Circuit(
        cirq.measure(A, key="m"), cirq.X(B).with_classical_controls("m"), cirq.measure(B, key="n")
    )
    with pytest.raises(UnsupportedProgram, match=r"act on measured results: .*quantinuum"):
        payload(IONQ, controlled)
    reset = cirq.Circuit(cirq.H(A), cirq.reset(A), cirq.measure(A, key="n"))
    with pytest.raises(UnsupportedProgram, match="cannot reset a qubit"):
        payload(IONQ, reset)


@pytest.mark.parametrize(
    "operation",
    [cirq.depolarize(0.1)(A), cirq.X(A).with_probability(0.5), cirq.amplitude_damp(0.2)(A)],
    ids=["depolarize", "with_probability", "amplitude_damp"],
)
def test_noise_is_refused(operation: cirq.Operation) -> None:
    circuit = cirq.Circuit(operation, cirq.measure(A))
    with pytest.raises(
        UnsupportedProgram, match=r"leave out noise and random channels.*local.simulator"
    ):
        payload(IONQ, circuit)


def test_more_qubits_than_the_simulator_has_are_refused() -> None:
    def measured(count: int) -> cirq.Circuit:
        return cirq.Circuit(cirq.measure(*cirq.LineQubit.range(count)))

    payload(IONQ, measured(29))
    with pytest.raises(UnsupportedProgram, match="at most 29 qubits and the circuit needs 30"):
        payload(IONQ, measured(30))


def test_qudits_are_refused() -> None:
    circuit = cirq.Circuit(cirq.measure(cirq.LineQid(0, dimension=3)))
    with pytest.raises(UnsupportedProgram, match="3 levels"):
        payload(IONQ, circuit)


def test_native_gates_with_parameters_are_refused() -> None:
    circuit = cirq.Circuit(cirq_ionq.GPIGate(phi=sympy.Symbol("t"))(A), cirq.measure(A))
    with pytest.raises(UnsupportedProgram, match="give every parameter a number"):
        payload(IONQ, circuit)


def test_circuit_without_measurements_is_refused() -> None:
    with pytest.raises(UnsupportedProgram, match="no measurements"):
        payload(IONQ, cirq.Circuit(cirq.H(A)))


# What may follow a measurement all the same


def test_unobservable_gates_are_omitted() -> None:
    circuit = cirq.Circuit(
        cirq.X(A), cirq.measure(A, key="m"), cirq.H(A), cirq.CNOT(A, B), cirq.reset(B)
    )
    assert body(circuit) == {
        "gateset": "qis",
        "qubits": 2,
        "circuit": [{"gate": "x", "targets": [0]}],
    }


def test_reset_of_a_fresh_qubit_is_left_out() -> None:
    circuit = cirq.Circuit(cirq.reset(A), cirq.X(A), cirq.measure(A, key="m"))
    assert run(IONQ, circuit).measurements["m"].tolist() == [[1]]


@pytest.mark.parametrize(
    "gates",
    [
        [
            cirq.PhasedISwapPowGate(phase_exponent=phase, exponent=0.5)
            for phase in (0.1, -0.3, 0.25)
        ],
        [
            cirq.PauliInteractionGate(pauli, inverted, cirq.X, False, exponent=0.3)
            for pauli in (cirq.X, cirq.Y, cirq.Z)
            for inverted in (False, True)
        ],
    ],
    ids=["PhasedISwapPowGate", "PauliInteractionGate"],
)
def test_gates_of_one_exponent_that_differ_otherwise_are_not_confused(
    gates: list[cirq.Gate],
) -> None:
    circuit = cirq.Circuit(
        cirq.ry(0.7)(A),
        cirq.rx(0.4)(B),
        [[gate(A, B), cirq.T(A), cirq.H(B)] for gate in gates],
        cirq.measure(A, B, key="m"),
    )
    assert_exactly(run(IONQ, circuit), exact_distribution(circuit))


def test_a_state_is_prepared_on_fresh_qubits() -> None:
    prepare = cirq.StatePreparationChannel(np.array([0.6, 0, 0.48j, 0.64]))
    circuit = cirq.Circuit(prepare(B, A), cirq.measure(B, A, key="m"))
    result = run(IONQ, circuit, repetitions=5)
    assert_exactly(result, {0: 0.36, 2: 0.2304, 3: 0.4096})
    assert_same_form(result, simulate(circuit, repetitions=5))


def test_pauli_measurements_are_measured_in_their_basis() -> None:
    circuit = cirq.Circuit(
        cirq.H(A),
        cirq.S(A),
        cirq.X(B),
        cirq.measure_single_paulistring(cirq.Y(A), key="y"),
        cirq.measure_single_paulistring(-1 * cirq.Z(B), key="z"),
    )
    result = run(IONQ, circuit, repetitions=20)
    assert_same_form(result, simulate(circuit, repetitions=20))
    assert outcomes(result) == outcomes(simulate(circuit, repetitions=20)) == {(0, 0): 20}


def test_repeated_key_keeps_all_its_records() -> None:
    circuit = cirq.Circuit(
        cirq.X(A),
        cirq.measure(A, key="m"),
        cirq.measure(B, key="m"),
        cirq.measure(A, key="m", invert_mask=(True,)),
    )
    result = run(IONQ, circuit, repetitions=2)
    assert result.records["m"].tolist() == [[[1], [0], [0]]] * 2
    assert_same_form(result, simulate(circuit, repetitions=2))


# Results


def test_exact_probabilities_are_kept_and_sampled_once() -> None:
    circuit = cirq.Circuit(cirq.ry(1.0)(A), cirq.measure(A, key="m"))
    result = run(IONQ, circuit, repetitions=100)
    assert_exactly(result, exact_distribution(circuit))
    assert outcomes(result) == outcomes(run(IONQ, circuit, repetitions=100))
    assert outcomes(result) != outcomes(run(IONQ, circuit, repetitions=100, seed=(2,)))


def test_points_draw_on_their_own_in_any_order_of_arrival() -> None:
    circuit = cirq.Circuit(cirq.H(A), cirq.rz(sympy.Symbol("t"))(A), cirq.measure(A, key="m"))
    sweep = translation(IONQ, circuit, [{"t": 0.1}, {"t": 0.2}], repetitions=64)
    forwards = [decode(IONQ, sweep.job(k), histogram(_0=0.5, _1=0.5)) for k in (0, 1)]
    backwards = [decode(IONQ, sweep.job(k), histogram(_0=0.5, _1=0.5)) for k in (1, 0)]
    assert forwards == backwards[::-1]
    first, second = (result.measurements["m"].tolist() for result in forwards)
    assert first != second


def test_no_seed_is_fresh_entropy_that_travels_with_the_job() -> None:
    circuit = cirq.Circuit(cirq.H(A), cirq.measure(A, key="m"))
    one = job(IONQ, circuit, repetitions=64, seed=None)
    other = job(IONQ, circuit, repetitions=64, seed=None)
    assert one.layout.entropy != other.layout.entropy
    output = emulate(IONQ, one)
    assert decode(IONQ, one, output) == format_for(IONQ).decode(output, one.layout)[0]


def test_hardware_counts_are_kept_as_they_are() -> None:
    circuit = cirq.Circuit(cirq.H(A), cirq.measure(A, key="m"))
    for seed in range(20):
        sent = job(IONQ_HARDWARE, circuit, repetitions=1000, seed=(seed,))
        result = decode(IONQ_HARDWARE, sent, histogram(_0=0.5, _1=0.5))
        assert outcomes(result) == {(0,): 500, (1,): 500}
        assert result.probabilities is None


def test_hardware_fractions_become_as_many_rows_as_repetitions() -> None:
    circuit = cirq.Circuit(cirq.H(A), cirq.H(B), cirq.measure(A, B, key="m"))
    sent = job(IONQ_HARDWARE, circuit, repetitions=10)
    result = decode(IONQ_HARDWARE, sent, histogram(_0=0.35, _1=0.35, _2=0.3))
    assert result.repetitions == 10
    counts = outcomes(result)
    assert counts[0, 1] == 3
    assert sorted([counts[0, 0], counts[1, 0]]) == [3, 4]


def test_rows_of_hardware_counts_are_shuffled_not_sorted() -> None:
    circuit = cirq.Circuit(cirq.H(A), cirq.measure(A, key="m"))
    sent = job(IONQ_HARDWARE, circuit, repetitions=1000)
    column = decode(IONQ_HARDWARE, sent, histogram(_0=0.5, _1=0.5)).measurements["m"][:, 0]
    # Sorted rows would have one change; 500 are expected, with a standard deviation of 16.
    assert 400 < np.count_nonzero(np.diff(column)) < 600


def test_noisy_simulation_is_counts_too() -> None:
    circuit = cirq.Circuit(cirq.H(A), cirq.measure(A, key="m"))
    noisy = {"noise": {"model": "aria-1"}}
    sent = job(IONQ, circuit, repetitions=10, input_params=noisy)
    assert sent.input_params == {"shots": 10, **noisy}
    assert outcomes(decode(IONQ, sent, histogram(_0=0.5, _1=0.5))) == {(0,): 5, (1,): 5}
    ideal = job(IONQ, circuit, input_params={"noise": {"model": "ideal"}})
    assert ideal.layout.is_exact


def test_provider_options_override_our_own() -> None:
    circuit = cirq.Circuit(cirq.H(A), cirq.measure(A, key="m"))
    options = {"error-mitigation": {"debias": False}}
    sent = job(IONQ_HARDWARE, circuit, repetitions=5, input_params=options)
    assert sent.input_params == {"shots": 5, "error-mitigation": {"debias": False}}


def test_probabilities_may_be_rounded() -> None:
    circuit = cirq.Circuit(cirq.H(A), cirq.measure(A, key="m"))
    sent = job(IONQ, circuit, repetitions=100)
    result = decode(IONQ, sent, histogram(_0=0.4999, _1=0.5))
    assert result.probabilities == pytest.approx({0: 0.49995, 1: 0.50005})


def test_bits_keep_their_order_in_every_key() -> None:
    circuit = cirq.Circuit(
        cirq.X(A), cirq.X(C), cirq.measure(C, B, A, key="cba"), cirq.measure(B, key="b")
    )
    result = run(IONQ, circuit)
    assert result.measurements["cba"].tolist() == [[1, 0, 1]]
    asymmetric = cirq.Circuit(cirq.X(A), cirq.measure(A, B, C, key="abc"), cirq.I(B), cirq.I(C))
    assert run(IONQ, asymmetric).measurements["abc"].tolist() == [[1, 0, 0]]


def test_outcomes_of_more_than_sixty_four_qubits() -> None:
    qubits = cirq.LineQubit.range(70)
    circuit = cirq.Circuit(cirq.X(qubits[69]), cirq.measure(*qubits, key="m"))
    # Larger than any of today's, whose simulator is refused as many.
    target = "ionq.qpu.tempo-1"
    result = decode(target, job(target, circuit), histogram(**{f"_{2**69}": 1.0}))
    assert result.measurements["m"].tolist() == [[0] * 69 + [1]]


@pytest.mark.parametrize("is_inverted", [False, True])
def test_confusion_map_is_applied_as_cirq_applies_it(is_inverted: bool) -> None:
    # Always read 0, and swap two bits with the probability of one third.
    swap = np.eye(4) * 2 / 3 + np.eye(4)[[0, 2, 1, 3]] / 3
    measurement = cirq.measure(
        A,
        B,
        C,
        key="m",
        invert_mask=(is_inverted, False, is_inverted),
        confusion_map={(2,): np.array([[1, 0], [0.9, 0.1]]), (0, 1): swap},
    )
    circuit = cirq.Circuit(cirq.X(A), cirq.ry(0.8)(C), measurement)
    result = run(IONQ, circuit, repetitions=3000)
    assert_same_form(result, simulate(circuit, repetitions=3000))
    assert_same_distribution(result, simulate(circuit, repetitions=3000))


@pytest.mark.parametrize(
    "matrix", [[[1, 0]], [[0.5, 0.6], [0, 1]], [[2, -1], [0, 1]]], ids=["shape", "sum", "negative"]
)
def test_invalid_confusion_maps_are_refused(matrix: list[list[float]]) -> None:
    measurement = cirq.measure(A, key="m", confusion_map={(0,): np.array(matrix)})
    with pytest.raises(UnsupportedProgram, match="not a confusion matrix"):
        payload(IONQ, cirq.Circuit(measurement))


@settings(max_examples=60, derandomize=True, deadline=None)
@given(measured_at_end())
def test_any_circuit_measured_at_its_end_has_cirqs_probabilities(circuit: cirq.Circuit) -> None:
    result = run(IONQ, circuit, repetitions=3)
    assert_exactly(result, exact_distribution(circuit))
    assert_same_form(result, simulate(circuit, repetitions=3))


@pytest.mark.parametrize("seed", range(10))
def test_cirqs_random_circuits_have_cirqs_probabilities(seed: int) -> None:
    circuit = cirq.testing.random_circuit(5, 12, 0.7, random_state=seed)
    circuit.append(cirq.measure(*sorted(circuit.all_qubits(), reverse=True), key="m"))
    assert_exactly(run(IONQ, circuit), exact_distribution(circuit))


# Broken results


BROKEN: Sequence[bytes] = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b'{"histogram": []}',
    b'{"histogram": {}}',
    b'{"histogram": {"0": 0.5}}',
    b'{"histogram": {"0": 2.0}}',
    b'{"histogram": {"0": 1.5, "1": -0.5}}',
    b'{"histogram": {"0": NaN, "1": 1}}',
    b'{"histogram": {"0": 1e999}}',
    b'{"histogram": {"0": "1.0"}}',
    b'{"histogram": {"0": true}}',
    b'{"histogram": {"0": null, "1": 1.0}}',
    b'{"histogram": {"4": 1.0}}',
    b'{"histogram": {"-1": 1.0}}',
    b'{"histogram": {"01": 1.0}}',
    b'{"histogram": {" 1": 1.0}}',
    b'{"histogram": {"1.0": 1.0}}',
    b'{"histogram": {"": 1.0}}',
    b'{"histogram": {"x": 1.0}}',
    '{"histogram": {"\u0661": 1.0}}'.encode(),
    b'{"histogram": {"' + b"9" * 10_000 + b'": 1.0}}',
    b'{"histogram": {"0": ' + b"9" * 10_000 + b"}}",
    b'{"histogram": {"0": 0.5, "0": 0.5}}',
    b'{"histogram": {"0": 1.0}',
    b"[" * 100_000,
    b"\xff\xfe\x00",
    b"<?xml version='1.0'?><Error/>",
]


@pytest.mark.parametrize("output", BROKEN, ids=lambda output: repr(output[:40]))
def test_broken_results_are_refused(output: bytes) -> None:
    sent = job(IONQ, cirq.Circuit(cirq.H(A), cirq.H(B), cirq.measure(A, B, key="m")))
    with pytest.raises(ResultFormatError):
        format_for(IONQ).decode(output, sent.layout)


ONE_QUBIT = cirq.Circuit(cirq.H(A), cirq.measure(A, key="m"))


def read(target: str, histogram: dict[str, float], repetitions: int) -> AzureResult:
    sent = job(target, ONE_QUBIT, repetitions=repetitions)
    output = json.dumps({"histogram": histogram}).encode()
    (result,) = format_for(target).decode(output, sent.layout)
    return result


@pytest.mark.parametrize("histogram", [{"0": 0.5, "1": 0.492}, {"0": 1.0, "1": 0.009}])
def test_probabilities_that_rounding_keeps_from_one_are_read(histogram: dict[str, float]) -> None:
    result = read(IONQ, histogram, repetitions=5)
    assert result.repetitions == 5
    assert result.probabilities is not None
    assert sum(result.probabilities.values()) == pytest.approx(1)


def test_a_probability_that_rounding_takes_below_zero_is_zero() -> None:
    assert read(IONQ, {"0": 1.0, "1": -1e-17}, 5).measurements["m"].tolist() == [[0]] * 5


@pytest.mark.parametrize(
    ("histogram", "counts", "lost"),
    [
        ({"0": 0.498, "1": 0.5}, {(0,): 498, (1,): 500}, 2),
        ({"0": 0.5, "1": 0.5}, {(0,): 500, (1,): 500}, 0),
        ({"0": 0.33304, "1": 0.66698}, {(0,): 333, (1,): 667}, 0),
        ({"0": 0.4987654, "1": 0.5}, {(0,): 499, (1,): 501}, 0),
    ],
    ids=["two were lost", "all", "rounded", "mitigated"],
)
def test_machines_histogram_has_the_requested_shots(
    histogram: dict[str, float], counts: dict[tuple[int], int], lost: int
) -> None:
    result = read(IONQ_HARDWARE, histogram, repetitions=1000)
    assert outcomes(result) == counts
    assert result.lost_shots == lost


def test_jobs_of_others_are_refused() -> None:
    with pytest.raises(ResultFormatError, match="has no layout"):
        format_for(IONQ).read_layout({"measurement0": "m\x1f0", "qubits": "1"})


def test_seed_of_the_tests_is_fixed() -> None:
    assert job(IONQ, cirq.Circuit(cirq.measure(A))).layout.entropy == SEED
