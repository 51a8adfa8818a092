"""IonQ's JSON circuits (`ionq.circuit.v1`), into histograms (`ionq.quantum-results.v1`).

Gates and their fields are those of docs.ionq.com ("Writing quantum programs", "Native gates API")
and of what the SDK's Qiskit backend and cirq-ionq send.
"""

from __future__ import annotations

import cmath
import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cirq_azure_sessions.emulator.programs import gates
from cirq_azure_sessions.emulator.programs.failure import invalid_input
from cirq_azure_sessions.emulator.programs.gates import Matrix
from cirq_azure_sessions.emulator.programs.instructions import Gate, Measurement
from cirq_azure_sessions.emulator.programs.noise import NoiseModel, ionq_noise
from cirq_azure_sessions.emulator.programs.parameters import read_shots
from cirq_azure_sessions.emulator.programs.simulation import probabilities, sample

__all__ = ["histogram", "machine_size", "run"]

# How many qubits a target takes (Azure's page on the provider, and the SDK).
_SIZES = {"ionq.simulator": 29, "ionq.qpu.aria-1": 25, "ionq.qpu.aria-2": 25}
_LARGEST = 36

# IonQ's documented limits.
_MAX_CONTROLS = 7
_MAX_GATES = 100_000

# The terms of one pauliexp; and, where they do not commute, its qubits: the exponential is a
# matrix then.
_MAX_TERMS = 1_000
_MAX_DENSE_QUBITS = 5


def run(
    target: str,
    payload: bytes,
    params: Mapping[str, Any],
    noise: NoiseModel,
    rng: np.random.Generator,
) -> bytes:
    """Runs a circuit, into the bytes of the service's histogram.

    The keys are integers in which bit q is qubit q. A hardware target, or a simulator asked for
    noise, samples: its values are counts divided by shots. The ideal simulator's are exact.
    """
    circuit = read(payload, machine_size(target))
    shares = histogram(circuit.gates, circuit.num_qubits, target, params, noise, rng)
    return json.dumps({"histogram": {str(key): share for key, share in shares.items()}}).encode()


def machine_size(target: str) -> int:
    """How many qubits the target takes."""
    return _SIZES.get(target, _LARGEST)


def histogram(
    operations: Sequence[Gate],
    num_qubits: int,
    target: str,
    params: Mapping[str, Any],
    noise: NoiseModel,
    rng: np.random.Generator,
) -> dict[int, float]:
    """The share of each outcome when all qubits are measured after these gates."""
    shots = read_shots(params, "ionq")
    if asked := ionq_noise(params):
        noise, seed = asked
        rng = rng if seed is None else np.random.default_rng(seed)
    if noise.is_silent and not target.startswith("ionq.qpu"):
        return probabilities(operations)
    measurements = [Measurement(qubit, qubit) for qubit in range(num_qubits)]
    bits = sample([*operations, *measurements], num_qubits, shots, noise, rng)
    outcomes = bits.astype(np.int64) @ (1 << np.arange(num_qubits))
    return {key: count / shots for key, count in sorted(Counter(outcomes.tolist()).items())}


@dataclass(frozen=True, slots=True)
class Circuit:
    """A circuit as IonQ's JSON describes it."""

    num_qubits: int
    gates: list[Gate]


def read(payload: bytes, size: int) -> Circuit:
    """Reads a circuit for a machine of this size.

    Raises:
        ProgramError: If it is not one.
    """
    try:
        body = json.loads(payload)
    # Deep nesting exhausts the stack, and integers of thousands of digits are refused.
    except (ValueError, RecursionError) as error:
        raise invalid_input("The circuit is not JSON.") from error
    if not isinstance(body, dict) or not isinstance(body.get("circuit"), list):
        raise invalid_input("The circuit has to be a JSON object with qubits and a circuit.")
    num_qubits = body.get("qubits")
    if type(num_qubits) is not int or not 1 <= num_qubits <= size:
        raise invalid_input(f"The number of qubits has to be an integer from 1 to {size}.")
    gateset = body.get("gateset", "qis")
    if gateset not in ("qis", "native"):
        raise invalid_input("The gateset has to be qis or native.")
    steps = (
        gate
        for index, fields in enumerate(body["circuit"])
        for gate in _read_gate(_Fields(fields, index, num_qubits), _GATESETS[gateset])
    )
    found = list(itertools.islice(steps, _MAX_GATES + 1))
    if len(found) > _MAX_GATES:
        raise invalid_input(f"The circuit has more than {_MAX_GATES} gates.")
    return Circuit(num_qubits, found)


class _Fields:
    """The fields of one gate, each read as what it has to be."""

    def __init__(self, fields: Any, index: int, num_qubits: int) -> None:
        if not isinstance(fields, dict):
            raise invalid_input(f"Gate {index} is not a JSON object.")
        self._fields = fields
        self._index = index
        self._num_qubits = num_qubits

    def fail(self, message: str) -> Exception:
        """An error that names this gate."""
        return invalid_input(f"Gate {self._index}: {message}")

    @property
    def name(self) -> str:
        name = self._fields.get("gate")
        if not isinstance(name, str):
            raise self.fail("it has no name.")
        return name

    def has(self, name: str) -> bool:
        return name in self._fields

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number, in the gate's own units: radians for qis gates, turns for native."""
        return self._number(self._fields.get(name, default), name)

    def numbers(self, name: str) -> list[float]:
        return [self._number(value, name) for value in self._list(name)]

    def strings(self, name: str) -> list[str]:
        values = self._list(name)
        if not all(isinstance(value, str) for value in values):
            raise self.fail(f"{name} has to be a list of strings.")
        return values

    def qubits(self, singular: str, plural: str) -> tuple[int, ...]:
        """Different qubits of the circuit, from either of two fields; none if both are absent."""
        if not self.has(plural):
            values = [self._fields[singular]] if self.has(singular) else []
        else:
            values = self._list(plural)
        if any(type(value) is not int or not 0 <= value < self._num_qubits for value in values):
            raise self.fail(f"{plural} have to be qubits from 0 to {self._num_qubits - 1}.")
        if len(set(values)) < len(values):
            raise self.fail(f"{plural} have to be different qubits.")
        return tuple(values)

    def _list(self, name: str) -> list[Any]:
        values = self._fields.get(name)
        if not isinstance(values, list):
            raise self.fail(f"{name} has to be a list.")
        return values

    def _number(self, value: Any, name: str) -> float:
        # An integer may be too large for a float, and JSON as Python reads it has NaN.
        if type(value) not in (int, float) or not -1e15 < value < 1e15:
            raise self.fail(f"{name} has to be a number.")
        return float(value)


def _power(matrix: Matrix) -> Callable[[_Fields], Matrix]:
    """A Pauli gate, or its power if there is a `rotation`: the SDK sends Qiskit's P as such a z."""

    def build(fields: _Fields) -> Matrix:
        if not fields.has("rotation"):
            return matrix
        # I and the Pauli commute, so the power of the Pauli's eigenvalues 1 and -1 is this.
        share = (1 - cmath.exp(1j * fields.number("rotation"))) / 2
        return (1 - share) * gates.PAULIS["I"] + share * matrix

    return build


def _constant(matrix: Matrix) -> Callable[[_Fields], Matrix]:
    return lambda fields: matrix


def _rotation(paulis: str) -> Callable[[_Fields], Matrix]:
    return lambda fields: gates.pauli_rotation(paulis, fields.number("rotation"))


_QIS: dict[str, Callable[[_Fields], Matrix]] = {
    "x": _power(gates.X),
    "y": _power(gates.Y),
    "z": _power(gates.Z),
    "not": _constant(gates.X),
    "cnot": _constant(gates.X),
    "h": _constant(gates.H),
    "s": _constant(gates.S),
    "si": _constant(gates.inverse(gates.S)),
    "t": _constant(gates.T),
    "ti": _constant(gates.inverse(gates.T)),
    "v": _constant(gates.V),
    "vi": _constant(gates.inverse(gates.V)),
    "swap": _constant(gates.SWAP),
    "rx": _rotation("X"),
    "ry": _rotation("Y"),
    "rz": _rotation("Z"),
    "xx": _rotation("XX"),
    "yy": _rotation("YY"),
    "zz": _rotation("ZZ"),
}


def _equatorial(turns: float) -> Matrix:
    """The Pauli between X and Y at this angle: cos X + sin Y."""
    angle = 2 * math.pi * turns
    return math.cos(angle) * gates.X + math.sin(angle) * gates.Y


def _half_rotation(axis: Matrix, turns: float) -> Matrix:
    """exp(-i pi turns P) for a product of Paulis: a rotation by as many turns."""
    identity = np.eye(len(axis), dtype=np.complex128)
    return math.cos(math.pi * turns) * identity - 1j * math.sin(math.pi * turns) * axis


def _ms(fields: _Fields) -> Matrix:
    phases = fields.numbers("phases")
    if len(phases) != 2:
        raise fields.fail("phases has to hold two numbers.")
    axis = np.kron(_equatorial(phases[0]), _equatorial(phases[1])).astype(np.complex128)
    return _half_rotation(axis, fields.number("angle", 0.25))


def _zz(fields: _Fields) -> Matrix:
    # cirq-ionq writes the angle of this gate as its phase.
    name = "phase" if fields.has("phase") else "angle"
    return _half_rotation(gates.pauli_product("ZZ"), fields.number(name, 0.25))


_NATIVE: dict[str, Callable[[_Fields], Matrix]] = {
    "gpi": lambda fields: _equatorial(fields.number("phase")),
    "gpi2": lambda fields: _half_rotation(_equatorial(fields.number("phase")), 0.25),
    "ms": _ms,
    "zz": _zz,
}

_GATESETS = {"qis": _QIS, "native": _NATIVE}


def _read_gate(fields: _Fields, gateset: Mapping[str, Callable[[_Fields], Matrix]]) -> list[Gate]:
    if fields.name == "pauliexp" and gateset is _QIS:
        return list(_pauli_exponential(fields))
    if fields.name not in gateset:
        raise fields.fail("the gateset has no such gate.")
    matrix = gateset[fields.name](fields)
    targets = fields.qubits("target", "targets")
    controls = fields.qubits("control", "controls")
    if controls and gateset is _NATIVE:
        raise fields.fail("native gates cannot be controlled.")
    if fields.name == "cnot" and not controls:
        raise fields.fail("it needs a control.")
    if len(controls) > _MAX_CONTROLS:
        raise fields.fail(f"it has more than {_MAX_CONTROLS} controls.")
    if not set(controls).isdisjoint(targets):
        raise fields.fail("a qubit cannot control itself.")
    if len(matrix) == 2 and targets:
        return [Gate(matrix, (target,), controls) for target in targets]
    if len(matrix) != 1 << len(targets):
        raise fields.fail("it has too few or too many targets.")
    return [Gate(matrix, targets, controls)]


def _pauli_exponential(fields: _Fields) -> Iterator[Gate]:
    """exp(-i time sum(coefficient * term)), the last letter of a term being for the first target.

    The order of the letters is IonQ's, as cirq-ionq's serializer explains.
    """
    targets = fields.qubits("target", "targets")
    terms = [term[::-1] for term in fields.strings("terms")]
    coefficients = fields.numbers("coefficients")
    time = fields.number("time")
    if time < 0 or len(coefficients) != len(terms):
        raise fields.fail("it needs a time of 0 or more, and a coefficient for each term.")
    if not targets or any(len(term) != len(targets) or set(term) - set("IXYZ") for term in terms):
        raise fields.fail("a term needs one of I, X, Y and Z for each target.")
    if len(terms) > _MAX_TERMS:
        raise fields.fail(f"it has more than {_MAX_TERMS} terms.")
    if _commute(terms):
        for term, coefficient in zip(terms, coefficients, strict=True):
            yield from _string_rotation(term, targets, 2 * time * coefficient)
    elif len(targets) <= _MAX_DENSE_QUBITS:
        generator = sum(
            coefficient * gates.pauli_product(term)
            for term, coefficient in zip(terms, coefficients, strict=True)
        )
        energies, states = np.linalg.eigh(generator)
        yield Gate((states * np.exp(-1j * time * energies)) @ states.conj().T, targets)
    else:
        raise fields.fail(
            f"terms that do not commute are limited to {_MAX_DENSE_QUBITS} qubits here."
        )


def _commute(terms: Sequence[str]) -> bool:
    """Whether products of Paulis commute, all with each other."""
    has_x = np.array([[pauli in "XY" for pauli in term] for term in terms], dtype=np.int64)
    has_z = np.array([[pauli in "YZ" for pauli in term] for term in terms], dtype=np.int64)
    # Two commute if they differ, without an I, on an even number of qubits.
    product = has_x @ has_z.T
    return not ((product + product.T) % 2).any()


def _string_rotation(term: str, targets: Sequence[int], angle: float) -> Iterator[Gate]:
    """exp(-i angle/2 P) for a product P of any length, in gates on one and two qubits."""
    support = [(qubit, pauli) for qubit, pauli in zip(targets, term, strict=True) if pauli != "I"]
    if not support:
        return
    # Each of these takes its Pauli to Z, and its inverse takes it back.
    basis = {"X": gates.H, "Y": gates.V, "Z": gates.PAULIS["I"]}
    qubits = [qubit for qubit, _ in support]
    turns = [(qubit, basis[pauli]) for qubit, pauli in support if pauli != "Z"]
    ladder = [Gate(gates.X, (after,), (qubit,)) for qubit, after in itertools.pairwise(qubits)]
    yield from (Gate(matrix, (qubit,)) for qubit, matrix in turns)
    yield from ladder
    yield Gate(gates.pauli_rotation("Z", angle), (qubits[-1],))
    yield from reversed(ladder)
    yield from (Gate(gates.inverse(matrix), (qubit,)) for qubit, matrix in turns)
