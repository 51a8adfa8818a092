"""IonQ's circuits on the emulator: what each gate does, and what the histograms say.

The gates are held against Cirq's and cirq-ionq's own, up to a global phase.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cirq
import cirq_ionq
import numpy as np
import pytest
import scipy.linalg
from emulated import run_program
from hypothesis import given, settings
from hypothesis import strategies as st

from cirq_azure_sessions.emulator.programs import NOISELESS, ionq
from cirq_azure_sessions.workspaces.local import ProgramError
from cirq_azure_sessions.workspaces.local.engine import Engine
from cirq_azure_sessions.workspaces.local.program import Budget

SIMULATOR, ARIA = "ionq.simulator", "ionq.qpu.aria-1"


def run(
    circuit: Any,
    *,
    qubits: int = 2,
    target: str = SIMULATOR,
    params: Mapping[str, Any] | None = None,
    gateset: str = "qis",
    seed: int = 1,
    **options: Any,
) -> dict[int, float]:
    payload = json.dumps({"gateset": gateset, "qubits": qubits, "circuit": circuit}).encode()
    output = run_program(
        target=target,
        provider="ionq",
        input_format="ionq.circuit.v1",
        output_format="ionq.quantum-results.v1",
        payload=payload,
        input_params=params or {},
        rng=np.random.default_rng(seed),
        **options,
    )
    return {int(key): share for key, share in json.loads(output.content)["histogram"].items()}


def unitary(circuit: Any, qubits: int, gateset: str = "qis") -> np.ndarray[Any, Any]:
    """What the emulator makes of a circuit, qubit 0 being the most significant bit."""
    body = {"gateset": gateset, "qubits": qubits, "circuit": circuit}
    line = cirq.LineQubit.range(qubits)
    _, operations = ionq.read(json.dumps(body).encode(), 29, Budget())
    return cirq.Circuit(operations).unitary(line, line)


def assert_same(actual: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> None:
    assert cirq.allclose_up_to_global_phase(actual, wanted, atol=1e-7)


ANGLE = 0.7

QIS: list[tuple[dict[str, Any], cirq.Gate]] = [
    ({"gate": "x"}, cirq.X),
    ({"gate": "y"}, cirq.Y),
    ({"gate": "z"}, cirq.Z),
    ({"gate": "not"}, cirq.X),
    ({"gate": "h"}, cirq.H),
    ({"gate": "s"}, cirq.S),
    ({"gate": "si"}, cirq.S**-1),
    ({"gate": "t"}, cirq.T),
    ({"gate": "ti"}, cirq.T**-1),
    ({"gate": "v"}, cirq.X**0.5),
    ({"gate": "vi"}, cirq.X**-0.5),
    ({"gate": "rx", "rotation": ANGLE}, cirq.rx(ANGLE)),
    ({"gate": "ry", "rotation": ANGLE}, cirq.ry(ANGLE)),
    ({"gate": "rz", "rotation": ANGLE}, cirq.rz(ANGLE)),
    ({"gate": "x", "rotation": ANGLE}, cirq.X ** (ANGLE / math.pi)),
    ({"gate": "y", "rotation": ANGLE}, cirq.Y ** (ANGLE / math.pi)),
    ({"gate": "z", "rotation": ANGLE}, cirq.Z ** (ANGLE / math.pi)),
]

TWO_QUBIT: list[tuple[dict[str, Any], cirq.Gate]] = [
    ({"gate": "swap"}, cirq.SWAP),
    ({"gate": "xx", "rotation": ANGLE}, cirq.XXPowGate(exponent=ANGLE / math.pi)),
    ({"gate": "yy", "rotation": ANGLE}, cirq.YYPowGate(exponent=ANGLE / math.pi)),
    ({"gate": "zz", "rotation": ANGLE}, cirq.ZZPowGate(exponent=ANGLE / math.pi)),
]

NATIVE: list[tuple[dict[str, Any], cirq.Gate]] = [
    ({"gate": "gpi", "target": 0, "phase": 0.15}, cirq_ionq.GPIGate(phi=0.15)),
    ({"gate": "gpi2", "target": 0, "phase": 0.15}, cirq_ionq.GPI2Gate(phi=0.15)),
    (
        {"gate": "ms", "targets": [0, 1], "phases": [0.1, 0.3]},
        cirq_ionq.MSGate(phi0=0.1, phi1=0.3),
    ),
    (
        {"gate": "ms", "targets": [0, 1], "phases": [0.1, 0.3], "angle": 0.05},
        cirq_ionq.MSGate(phi0=0.1, phi1=0.3, theta=0.05),
    ),
    ({"gate": "zz", "targets": [0, 1], "angle": 0.07}, cirq_ionq.ZZGate(theta=0.07)),
    ({"gate": "zz", "targets": [0, 1], "phase": 0.07}, cirq_ionq.ZZGate(theta=0.07)),
]


def named(cases: Sequence[tuple[dict[str, Any], cirq.Gate]]) -> Callable[..., Any]:
    return pytest.mark.parametrize(
        ("fields", "gate"), cases, ids=[json.dumps(fields) for fields, _ in cases]
    )


@named(QIS)
def test_one_qubit_gate_matches_cirqs(fields: dict[str, Any], gate: cirq.Gate) -> None:
    assert_same(unitary([{**fields, "target": 0}], 1), cirq.unitary(gate))


@named(QIS)
def test_controlled_gate_has_the_phase_of_cirqs(fields: dict[str, Any], gate: cirq.Gate) -> None:
    actual = unitary([{**fields, "target": 0, "control": 1}], 2)
    zero, one = cirq.LineQubit.range(2)
    wanted = cirq.Circuit(gate(zero).controlled_by(one))
    assert_same(actual, wanted.unitary(qubit_order=[zero, one]))


@named(TWO_QUBIT)
def test_two_qubit_gate_matches_cirqs(fields: dict[str, Any], gate: cirq.Gate) -> None:
    assert_same(unitary([{**fields, "targets": [0, 1]}], 2), cirq.unitary(gate))


@named(NATIVE)
def test_native_gate_matches_cirq_ionqs(fields: dict[str, Any], gate: cirq.Gate) -> None:
    assert_same(unitary([fields], gate.num_qubits(), "native"), cirq.unitary(gate))


def test_the_order_of_targets_and_controls_counts() -> None:
    circuit = [
        {"gate": "rx", "target": 2, "rotation": 0.4},
        {"gate": "cnot", "control": 2, "target": 0},
        {"gate": "not", "controls": [0, 3], "target": 1},
        {"gate": "swap", "targets": [3, 1], "control": 2},
        {"gate": "y", "controls": [3, 1, 0], "targets": [2]},
    ]
    a, b, c, d = line = cirq.LineQubit.range(4)
    wanted = cirq.Circuit(
        cirq.rx(0.4)(c),
        cirq.CNOT(c, a),
        cirq.TOFFOLI(a, d, b),
        cirq.CSWAP(c, d, b),
        cirq.Y(c).controlled_by(d, b, a),
    )
    assert_same(unitary(circuit, 4), wanted.unitary(qubit_order=line))


def test_a_one_qubit_gate_acts_on_each_of_its_targets() -> None:
    assert run([{"gate": "x", "targets": [0, 2]}], qubits=3) == {0b101: 1.0}


@pytest.mark.parametrize("terms", [["ZX"], ["YI"], ["XX", "YY", "ZZ"], ["II", "XI"], ["XYZ"]])
def test_pauliexp_is_the_exponential_of_commuting_terms(terms: list[str]) -> None:
    size = len(terms[0])
    coefficients = [0.3 + 0.2 * place for place in range(len(terms))]
    fields = {
        "gate": "pauliexp",
        "targets": list(range(size)),
        "terms": terms,
        "coefficients": coefficients,
        "time": 0.8,
    }
    # IonQ's strings have the first target last, Cirq's have it first.
    generator = sum(
        coefficient * cirq.unitary(cirq.DensePauliString(term[::-1]))
        for coefficient, term in zip(coefficients, terms, strict=True)
    )
    assert_same(unitary([fields], size), scipy.linalg.expm(-0.8j * generator))


def test_a_pauli_string_of_cirq_ionq_acts_on_the_qubits_it_names() -> None:
    a, b, c = line = cirq.LineQubit.range(3)
    # Without qubits that the string leaves alone: Cirq's own unitary is wrong for those.
    phasors = (
        cirq.PauliStringPhasor(cirq.X(a) * cirq.Z(c), exponent_neg=0.3),
        cirq.PauliStringPhasor(cirq.Z(a) * cirq.Y(b) * cirq.X(c), exponent_neg=0.7),
    )
    circuit = cirq.Circuit(cirq.H.on_each(line), phasors, cirq.X(b))
    body = serialized(circuit)
    assert_same(unitary(body["circuit"], 3), circuit.unitary(qubit_order=line))


def serialized(circuit: cirq.Circuit) -> Any:
    program = cirq_ionq.Serializer().serialize_single_circuit(circuit)
    return program.input if hasattr(program, "input") else program.body


def from_cirq(circuit: cirq.Circuit, **options: Any) -> dict[int, float]:
    body = serialized(circuit)
    return run(body["circuit"], qubits=body["qubits"], gateset=body["gateset"], **options)


def cirq_probabilities(circuit: cirq.Circuit) -> np.ndarray[Any, Any]:
    """Cirq's probabilities, qubit q being bit q of the index."""
    line = cirq.LineQubit.range(max(circuit.all_qubits()).x + 1)
    final = cirq.Simulator(dtype=np.complex128).simulate(circuit, qubit_order=line[::-1])
    return np.abs(final.final_state_vector) ** 2


QIS_DOMAIN: dict[cirq.Gate, int] = {
    cirq.H: 1,
    cirq.S: 1,
    cirq.T**-1: 1,
    cirq.X**0.5: 1,
    cirq.rx(0.3): 1,
    cirq.ry(1.2): 1,
    cirq.Z**0.3: 1,
    cirq.CNOT: 2,
    cirq.SWAP: 2,
    cirq.XX**0.3: 2,
    cirq.YY**0.2: 2,
    cirq.ZZ**0.7: 2,
}
NATIVE_DOMAIN: dict[cirq.Gate, int] = {
    cirq_ionq.GPIGate(phi=0.1): 1,
    cirq_ionq.GPI2Gate(phi=0.2): 1,
    cirq_ionq.GPI2Gate(phi=-0.4): 1,
    cirq_ionq.MSGate(phi0=0.1, phi1=0.6, theta=0.2): 2,
    cirq_ionq.ZZGate(theta=0.1): 2,
}


@pytest.mark.parametrize("domain", [QIS_DOMAIN, NATIVE_DOMAIN], ids=["qis", "native"])
@pytest.mark.parametrize("seed", range(8))
def test_a_random_circuit_has_the_probabilities_that_cirq_gives_it(
    domain: dict[cirq.Gate, int], seed: int
) -> None:
    circuit = cirq.testing.random_circuit(4, 12, 0.7, gate_domain=domain, random_state=seed)
    circuit = cirq.Circuit(
        op.with_qubits(*(cirq.LineQubit(int(q.name)) for q in op.qubits))
        for op in circuit.all_operations()
    )
    histogram = from_cirq(circuit)
    wanted = cirq_probabilities(circuit)
    assert sum(histogram.values()) == pytest.approx(1, abs=1e-9)
    for outcome, probability in enumerate(wanted):
        assert histogram.get(outcome, 0.0) == pytest.approx(probability, abs=1e-9)


def test_qubit_q_is_bit_q_of_the_key() -> None:
    assert run([{"gate": "x", "target": 1}], qubits=3) == {2: 1.0}


def test_impossible_outcomes_are_left_out_and_halves_are_exact() -> None:
    ghz = [
        {"gate": "h", "target": 0},
        *({"gate": "cnot", "control": q, "target": q + 1} for q in (0, 1)),
    ]
    assert run(ghz, qubits=3) == {0: 0.5, 7: 0.5}


def test_an_empty_circuit_leaves_all_qubits_at_zero() -> None:
    assert run([]) == {0: 1.0}


def test_a_qubit_with_a_high_number_costs_nothing() -> None:
    assert run([{"gate": "x", "target": 28}], qubits=29) == {1 << 28: 1.0}


def test_the_number_of_shots_does_not_show_in_exact_probabilities() -> None:
    circuit = [{"gate": "ry", "target": 0, "rotation": 0.5}]
    assert run(circuit, params={"shots": 1}) == run(circuit, params={"shots": 1000})


PLUS = [{"gate": "h", "target": 0}]


def test_machine_returns_sampled_counts_divided_by_shots() -> None:
    histogram = run(PLUS, target=ARIA, params={"shots": 37}, noise=NOISELESS)
    assert sum(histogram.values()) == pytest.approx(1)
    assert all(share * 37 == pytest.approx(round(share * 37)) for share in histogram.values())
    assert set(histogram) <= {0, 1}


def test_a_machine_runs_500_shots_by_default() -> None:
    assert all((share * 500).is_integer() for share in run(PLUS, target=ARIA).values())


def test_the_same_random_numbers_give_the_same_result() -> None:
    first, again, other = (run(PLUS, target=ARIA, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_machine_has_the_error_rates_of_its_table() -> None:
    # 20 X gates on one qubit: each has an error that flips it with probability 2/3 of the rate,
    # and then the readout flips it.
    shots, flip, readout = 100_000, 0.75 * 0.0005 * 2 / 3, 0.0039
    histogram = run(
        [{"gate": "x", "target": 0}] * 20, qubits=1, target=ARIA, params={"shots": shots}
    )
    odd = (1 - (1 - 2 * flip) ** 20 * (1 - 2 * readout)) / 2
    # Six standard deviations: one false alarm in 5e8.
    assert abs(histogram[1] - odd) < 6 * math.sqrt(odd * (1 - odd) / shots)


def test_noise_can_be_switched_off() -> None:
    histogram = run([{"gate": "x", "target": 0}] * 50, qubits=1, target=ARIA, noise=NOISELESS)
    assert histogram == {0: 1.0}


def test_the_simulator_is_noisy_on_request_and_then_samples() -> None:
    params = {"noise": {"model": "aria-1"}, "shots": 1000}
    circuit = [{"gate": "cnot", "control": 0, "target": 1}] * 40
    histogram = run(circuit, params=params)
    assert len(histogram) > 1
    assert all((share * 1000) == pytest.approx(round(share * 1000)) for share in histogram.values())
    assert run(circuit, params={"noise": {"model": "ideal"}}) == {0: 1.0}


def test_noise_model_with_a_seed_is_reproducible_regardless_of_the_emulators_seed() -> None:
    params = {"noise": {"model": "forte-1", "seed": 7}}
    assert run(PLUS, params=params, seed=1) == run(PLUS, params=params, seed=2)


UNREADABLE = {
    "not json": b"{",
    "not an object": b"[]",
    "nested": b"[" * 100_000,
    "a number of many digits": b'{"qubits": ' + b"9" * 5_000 + b', "circuit": []}',
    "no circuit": b'{"qubits": 1}',
    "no qubits": b'{"circuit": []}',
    "nan": b'{"qubits": 1, "circuit": [{"gate": "rx", "target": 0, "rotation": NaN}]}',
    "infinite": b'{"qubits": 1, "circuit": [{"gate": "rx", "target": 0, "rotation": 1e999}]}',
    "unknown gateset": b'{"gateset": "x", "qubits": 1, "circuit": []}',
    "not text": b"\xff\xfe",
}


@pytest.mark.parametrize("payload", UNREADABLE.values(), ids=UNREADABLE)
def test_garbage_fails_as_invalid_input(payload: bytes) -> None:
    with pytest.raises(ProgramError) as caught:
        ionq.read(payload, 29, Budget())
    assert caught.value.code == "InvalidInputData"


BAD_GATES = [
    None,
    {},
    {"gate": 3},
    {"gate": "wiggle", "target": 0},
    {"gate": "gpi", "target": 0, "phase": 0.1},
    {"gate": "x"},
    {"gate": "x", "target": 2},
    {"gate": "x", "target": -1},
    {"gate": "x", "target": True},
    {"gate": "x", "target": "0"},
    {"gate": "x", "targets": 0},
    {"gate": "x", "targets": [0, 0]},
    {"gate": "rx", "target": 0},
    {"gate": "rx", "target": 0, "rotation": "pi"},
    {"gate": "rx", "target": 0, "rotation": 10**400},
    {"gate": "cnot", "target": 0},
    {"gate": "cnot", "target": 0, "control": 0},
    {"gate": "swap", "targets": [0]},
    {"gate": "zz", "targets": [0, 1]},
    {"gate": "pauliexp", "targets": [0, 1], "terms": ["XX"], "coefficients": [], "time": 1},
    {"gate": "pauliexp", "targets": [0, 1], "terms": ["XA"], "coefficients": [1], "time": 1},
    {"gate": "pauliexp", "targets": [0, 1], "terms": ["X"], "coefficients": [1], "time": 1},
    {"gate": "pauliexp", "targets": [0, 1], "terms": ["XX"], "coefficients": [1], "time": -1},
    {"gate": "pauliexp", "targets": [0], "terms": ["X", "Z"], "coefficients": [1, 1], "time": 1},
]


@pytest.mark.parametrize("gate", BAD_GATES, ids=str)
def test_invalid_gate_fails_as_invalid_input(gate: Any) -> None:
    with pytest.raises(ProgramError, match="Gate 0") as caught:
        run([gate])
    assert caught.value.code == "InvalidInputData"


@pytest.mark.parametrize("params", [{"shots": 0}, {"shots": -1}, {"shots": 10**9}, {"shots": "5"}])
def test_invalid_shots_fail_as_invalid_input(params: dict[str, Any]) -> None:
    with pytest.raises(ProgramError, match="shots"):
        run(PLUS, params=params)


@pytest.mark.parametrize(
    "noise", [{"model": "none"}, {"model": []}, {"model": "aria-1", "seed": -1}]
)
def test_a_noise_model_that_does_not_exist_fails(noise: dict[str, Any]) -> None:
    with pytest.raises(ProgramError, match="noise model"):
        run(PLUS, params={"noise": noise})


def test_more_qubits_than_the_machine_has_fail() -> None:
    with pytest.raises(ProgramError, match="1 to 25"):
        run([], qubits=26, target=ARIA)


def test_more_qubits_than_can_be_simulated_fail_before_any_memory_is_taken() -> None:
    chain = [{"gate": "cnot", "control": qubit, "target": qubit + 1} for qubit in range(28)]
    with pytest.raises(ProgramError, match="up to 22 qubits that depend on each other"):
        run(chain, qubits=29)


def test_too_many_gates_and_too_much_work_end_as_a_timeout() -> None:
    body = [{"gate": "x", "targets": list(range(20))}] * 20_000
    with pytest.raises(ProgramError) as caught:
        run(body, qubits=20)
    assert caught.value.code == "ProviderTimeout"
    engine = Engine(NOISELESS, np.random.default_rng(1), Budget(work=50_000))
    with pytest.raises(ProgramError) as caught:
        engine.probabilities([cirq.H(cirq.LineQubit(0))] * 60)
    assert caught.value.code == "ProviderTimeout"


def test_a_histogram_of_too_many_outcomes_is_refused() -> None:
    blocks = [{"gate": "h", "targets": list(range(28))}]
    with pytest.raises(ProgramError, match="more memory"):
        run(blocks, qubits=28)


@pytest.mark.parametrize("target", [SIMULATOR, ARIA])
def test_small_blocks_fill_a_machine(target: str) -> None:
    """The joint distribution of twelve Bell pairs is the product of theirs."""
    pairs = [(2 * block, 2 * block + 1) for block in range(12)]
    circuit = [
        step
        for first, second in pairs
        for step in (
            {"gate": "h", "target": first},
            {"gate": "cnot", "control": first, "target": second},
        )
    ]
    shares = run(circuit, qubits=24, target=target, noise=NOISELESS, params={"shots": 4_000})
    assert sum(shares.values()) == pytest.approx(1)
    for first, second in pairs:
        assert all(key >> first & 1 == key >> second & 1 for key in shares)
        # Of 4,000 shots, six standard deviations: one false alarm in 5e8.
        assert abs(sum(shares[key] for key in shares if key >> first & 1) - 0.5) < 6 * 0.0079
    if target == SIMULATOR:
        assert all(share == pytest.approx(2**-12) for share in shares.values())


def test_other_output_format_cannot_be_translated() -> None:
    with pytest.raises(ProgramError) as caught:
        run_program(
            target=SIMULATOR,
            provider="ionq",
            input_format="ionq.circuit.v1",
            output_format="invalid_output_format",
            payload=b'{"qubits": 1, "circuit": []}',
            input_params={},
            rng=np.random.default_rng(),
        )
    assert caught.value.code == "CannotTranslateOutputData"
    assert "returned by 'ionq' cannot be translated" in caught.value.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = ("gate", "target", "targets", "control", "controls", "rotation", "phase", "phases")
NAMES = st.sampled_from([*(fields["gate"] for fields, _ in QIS + TWO_QUBIT + NATIVE), "pauliexp"])
GATES = st.fixed_dictionaries(
    {"gate": NAMES | JSON},
    optional={
        name: st.integers(-1, 3) | st.lists(st.integers(-1, 3), max_size=3) | JSON
        for name in FIELDS[1:]
    },
)


@settings(max_examples=150, deadline=None)
@given(st.lists(GATES | JSON, max_size=4), st.sampled_from(["qis", "native"]))
def test_any_payload_runs_or_fails_with_a_program_error(circuit: list[Any], gateset: str) -> None:
    with contextlib.suppress(ProgramError):
        assert sum(run(circuit, qubits=3, gateset=gateset).values()) == pytest.approx(1)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
def test_arbitrary_bytes_are_refused(payload: bytes) -> None:
    with pytest.raises(ProgramError):
        ionq.read(payload, 29, Budget())


def test_every_pair_of_controls_and_targets_may_be_given_in_singular_or_plural() -> None:
    for target, control in itertools.product(
        [{"target": 1}, {"targets": [1]}], [{"control": 0}, {"controls": [0]}]
    ):
        assert run([{"gate": "x", "target": 0}, {"gate": "cnot", **target, **control}]) == {3: 1.0}
