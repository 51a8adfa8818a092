"""Every gate that Cirq has, with symbols, on every target: what is sent does what Cirq does.

The cases come from Cirq's own namespace, so that a gate of a later Cirq is among them. Payloads are
read by the emulator's readers or, if they are QIR, by the one below, and compared with the state
vector that Cirq computes.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import cirq
import numpy as np
import pytest
import sympy
from formats_lab import IONQ, QIR, REMOTE, decode, emulate, exact_distribution, translation

from cirq_azure_sessions.errors import UnsupportedProgram
from cirq_azure_sessions.formats.translation import JobInput
from cirq_azure_sessions.openqasm import reader
from cirq_azure_sessions.openqasm.circuit import to_circuit

# What a gate takes beside symbols, by the names that Cirq's constructors have for it.
ARGUMENTS: dict[str, Any] = {
    "_clifford_tableau": cirq.CliffordGate.X.clifford_tableau,
    "boolean_strs": ["a ^ b", "a & b"],
    "coefficient": 1j,
    "dense_pauli_string": cirq.DensePauliString("XYZ"),
    "diag_angles_radians": [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8],
    "duration": cirq.Duration(nanos=5),
    "invert0": True,
    "invert1": False,
    "m_value": 3,
    "matrix": cirq.testing.random_unitary(4, random_state=1),
    "num_copies": 2,
    "num_qubits": 3,
    "parameter_names": ["a", "b"],
    "pauli0": cirq.X,
    "pauli1": cirq.Y,
    "pauli_mask": "XYZ",
    "permutation": [2, 0, 1],
    "rads": sympy.Symbol("rads"),
    "sub_gate": cirq.PhasedXPowGate(phase_exponent=sympy.Symbol("phase"), exponent=0.3),
    "theta": 0.3,
}
BY_CLASS: dict[str, dict[str, Any]] = {
    "IdentityGate": {"num_qubits": 2},
    "TwoQubitDiagonalGate": {"diag_angles_radians": [0.1, 0.2, 0.4, 0.8]},
}

ABSTRACT = {"ArithmeticGate", "BaseDensePauliString", "EigenGate", "Gate", "Pauli"}
NOT_UNITARY = {
    "AmplitudeDampingChannel",
    "AsymmetricDepolarizingChannel",
    "BitFlipChannel",
    "DepolarizingChannel",
    "GeneralizedAmplitudeDampingChannel",
    "KrausChannel",
    "MeasurementGate",
    "MixedUnitaryChannel",
    "PauliMeasurementGate",
    "PhaseDampingChannel",
    "PhaseFlipChannel",
    "RandomGateChannel",
    "ResetChannel",
    "StatePreparationChannel",
}


def build(name: str, kind: type[cirq.Gate]) -> cirq.Gate:
    """A gate of this class, with a symbol for every number that may be one."""
    arguments: dict[str, Any] = {}
    for parameter in inspect.signature(kind).parameters.values():
        if re.fullmatch(r".*(TParamVal|sympy\.\w+)", str(parameter.annotation)):
            arguments[parameter.name] = sympy.Symbol(parameter.name)
        elif parameter.default is parameter.empty and parameter.name in ARGUMENTS:
            arguments[parameter.name] = ARGUMENTS[parameter.name]
    return kind(**{**arguments, **BY_CLASS.get(name, {})})


GATES = {
    name: build(name, kind)
    for name, kind in sorted(vars(cirq).items())
    if inspect.isclass(kind) and issubclass(kind, cirq.Gate) and name not in ABSTRACT | NOT_UNITARY
}

QIR_GATES = {
    **{name: getattr(cirq, name.upper()) for name in ("h", "x", "y", "z", "s", "t", "swap")},
    "cx": cirq.CX,
    "cz": cirq.CZ,
    "ccx": cirq.CCX,
}
CALL = re.compile(r"call void @__quantum__qis__(\w+?)__(body|adj)\((?:double ([-.\d]+), )?(.*)\)")
NUMBER = re.compile(r"%(?:Qubit|Result)\* (?:null|inttoptr \(i64 (\d+))")


def read_qir(text: str) -> cirq.Circuit:
    """The circuit of a program without branches, its qubits and bits as the emulator names them."""
    circuit = cirq.Circuit()
    for name, kind, angle, arguments in CALL.findall(text):
        numbers = [int(number or 0) for number in NUMBER.findall(arguments)]
        if name in ("m", "mz", "mresetz"):
            circuit.append(cirq.measure(cirq.LineQubit(numbers[0]), key=f"m{numbers[1]}"))
            continue
        gate = getattr(cirq, name)(float(angle)) if angle else QIR_GATES[name]
        power = -1 if kind == "adj" else 1
        circuit.append(gate.on(*map(cirq.LineQubit, numbers)) ** power)
    return circuit


def distribution(target: str, job: JobInput) -> dict[int, float]:
    """How probable each value of the bits is that the job's program measures."""
    if target == IONQ:
        probabilities = decode(target, job, emulate(target, job)).probabilities
        assert probabilities is not None
        return dict(probabilities)
    text = job.payload.decode()
    circuit = read_qir(text) if target == QIR else to_circuit(reader.read(text))
    measured = {
        cirq.measurement_key_name(op): op.qubits[0]
        for op in circuit.all_operations()
        if cirq.is_measurement(op)
    }
    at_end = cirq.measure(*(measured[key] for key in sorted(measured)), key="m")
    return exact_distribution(cirq.drop_terminal_measurements(circuit) + at_end)


# All symbols of all gates; not every gate of Cirq tells the names of its own.
SYMBOLS = sorted(set(re.findall(r"sympy\.Symbol\('(\w+)'\)", repr(GATES))))
# A point that no gate is special at, and one at which many are.
POINTS = [0.377, 0.5]


@pytest.mark.filterwarnings("ignore::cirq_azure_sessions.errors.DroppedOperationWarning")
@pytest.mark.parametrize("target", REMOTE)
@pytest.mark.parametrize("gate", GATES.values(), ids=GATES)
def test_every_gate_of_cirq_is_sent_as_what_it_is(gate: cirq.Gate, target: str) -> None:
    control, *qubits = cirq.LineQubit.range(1 + cirq.num_qubits(gate))
    circuit = cirq.Circuit(
        [cirq.ry(0.3 + k)(qubit) for k, qubit in enumerate([control, *qubits])],
        gate.on(*qubits),
        [cirq.rx(0.5 + k)(qubit) for k, qubit in enumerate([control, *qubits])],
        gate.on(*qubits).controlled_by(control),
        [cirq.ry(0.7 + k)(qubit) for k, qubit in enumerate([control, *qubits])],
        cirq.measure(control, *qubits, key="m"),
    )
    # qdk takes its time for every form of a program.
    starts = POINTS[:1] if target == QIR else POINTS
    points = [{name: start + k / 8 for k, name in enumerate(SYMBOLS)} for start in starts]
    sweep = translation(target, circuit, points)
    for index, point in enumerate(points):
        ours = distribution(target, sweep.job(index))
        truth = exact_distribution(cirq.resolve_parameters(circuit, point))
        for outcome in {*ours, *truth}:
            assert ours.get(outcome, 0) == pytest.approx(truth.get(outcome, 0), abs=1e-6), point


NOISE: list[cirq.Gate] = [
    *(cirq.amplitude_damp(0.1), cirq.generalized_amplitude_damp(0.3, 0.1), cirq.phase_damp(0.1)),
    *(cirq.depolarize(0.1), cirq.asymmetric_depolarize(0.1, 0.2, 0.1), cirq.bit_flip(0.1)),
    *(cirq.phase_flip(0.1), cirq.X.with_probability(0.3)),
    cirq.KrausChannel(cirq.kraus(cirq.amplitude_damp(0.1))),
    cirq.MixedUnitaryChannel([(0.5, np.eye(2)), (0.5, cirq.unitary(cirq.X))]),
]


def test_every_channel_that_cirq_has_is_among_these() -> None:
    # Their own tests have them run.
    run = {"MeasurementGate", "PauliMeasurementGate", "ResetChannel", "StatePreparationChannel"}
    assert {type(gate).__name__ for gate in NOISE} == NOT_UNITARY - run


@pytest.mark.parametrize("target", REMOTE)
def test_noise_is_refused(target: str) -> None:
    qubit = cirq.LineQubit(0)
    for gate in NOISE:
        with pytest.raises(UnsupportedProgram, match="leave out noise"):
            translation(target, cirq.Circuit(gate(qubit), cirq.measure(qubit, key="m")))
