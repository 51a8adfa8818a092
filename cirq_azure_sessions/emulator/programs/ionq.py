"""Runs IonQ's JSON circuits (`ionq.circuit.v1`); results are `ionq.quantum-results.v1` histograms.

Gates and their fields are from docs.ionq.com ("Writing quantum programs", "Native gates API") and
from the requests of the SDK's Qiskit backend and cirq-ionq.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cirq
import numpy as np

from cirq_azure_sessions.emulator.programs.program import Output, read_shots, take_census
from cirq_azure_sessions.noise import IONQ_MODELS, MachineNoise, is_silent
from cirq_azure_sessions.openqasm.gates import LIBRARIES
from cirq_azure_sessions.workspaces.local.engine import Engine
from cirq_azure_sessions.workspaces.local.program import Budget, Statement, invalid_input

__all__ = ["histogram", "machine_size", "run"]

# The qubits of each target (Azure's page on the provider, and the SDK).
_SIZES = {"ionq.simulator": 29, "ionq.qpu.aria-1": 25, "ionq.qpu.aria-2": 25}
_MAX_SIZE = 36

# IonQ's documented limit.
_MAX_CONTROLS = 7

# The costs of reading a gate and of comparing two terms of a pauliexp, in units of the budget.
_GATE = 8_000
_PAIR = 300


def run(engine: Engine, target: str, payload: bytes, params: Mapping[str, Any]) -> Output:
    """Runs a circuit and returns the bytes of the service's histogram.

    The keys are integers in which bit q is qubit q. Hardware targets, and the simulator with noise,
    sample: their values are counts divided by shots. The values of the ideal simulator are exact.
    """
    num_qubits, operations = read(payload, machine_size(target), engine.budget)
    shares = histogram(engine, operations, num_qubits, target, params)
    named = {str(key): share for key, share in shares.items()}
    return Output(json.dumps({"histogram": named}).encode(), take_census(operations))


def machine_size(target: str) -> int:
    """The target's number of qubits."""
    return _SIZES.get(target, _MAX_SIZE)


def histogram(
    engine: Engine,
    operations: Sequence[cirq.Operation],
    num_qubits: int,
    target: str,
    params: Mapping[str, Any],
) -> dict[int, float]:
    """The relative frequency of each outcome of measuring all line qubits after these gates."""
    shots = read_shots(params, "ionq")
    if asked := _read_noise(params):
        noise, seed = asked
        rng = engine.rng if seed is None else np.random.default_rng(seed)
        engine = replace(engine, noise=noise, rng=rng)
    if is_silent(engine.noise) and not target.startswith("ionq.qpu"):
        return engine.probabilities(operations)
    keys = [str(number) for number in range(num_qubits)]
    measurements = [cirq.measure(cirq.LineQubit(int(key)), key=key) for key in keys]
    bits = engine.sample([Statement([*operations, *measurements])], keys, shots)
    outcomes = bits.astype(np.int64) @ (1 << np.arange(num_qubits))
    return {key: count / shots for key, count in sorted(Counter(outcomes.tolist()).items())}


def _read_noise(params: Mapping[str, Any]) -> tuple[MachineNoise, int | None] | None:
    """The model and the seed of IonQ's parameter `noise`: `{"model": "aria-1", "seed": 7}`."""
    noise = params.get("noise")
    if noise is None:
        return None
    fields = noise if isinstance(noise, Mapping) else {}
    model, seed = fields.get("model", "ideal"), fields.get("seed")
    if not isinstance(model, str) or model not in IONQ_MODELS:
        raise invalid_input(f"The noise model has to be one of {', '.join(IONQ_MODELS)}.")
    if seed is not None and (type(seed) is not int or not 0 <= seed < 2**63):
        raise invalid_input("The seed of the noise model has to be a non-negative integer.")
    return IONQ_MODELS[model], seed


def read(payload: bytes, size: int, budget: Budget) -> tuple[int, list[cirq.Operation]]:
    """Reads a circuit for a machine of this size: its number of qubits and its gates."""
    try:
        body = json.loads(payload)
    # Deep nesting exhausts the stack, and Python refuses integers of thousands of digits.
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
    operations: list[cirq.Operation] = []
    for index, fields in enumerate(body["circuit"]):
        if not isinstance(fields, dict):
            raise invalid_input(f"Gate {index} is not a JSON object.")
        for operation in _read_gate(_Entry(fields, index, num_qubits), _GATESETS[gateset], budget):
            budget.spend(_GATE)
            operations.append(operation)
    return num_qubits, operations


@dataclass(slots=True)
class _Entry:
    """A gate of a circuit, whose fields are read with type checks."""

    fields: Mapping[str, Any]
    index: int
    num_qubits: int

    def fail(self, message: str) -> Exception:
        """An error that names this gate."""
        return invalid_input(f"Gate {self.index}: {message}")

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number, in radians for qis gates and in turns for native ones."""
        return self._number(self.fields.get(name, default), name)

    def numbers(self, name: str) -> list[float]:
        return [self._number(value, name) for value in self.array(name)]

    def qubits(self, singular: str, plural: str) -> list[cirq.LineQubit]:
        """Distinct qubits of the circuit, from either of two fields; none if both are absent."""
        if plural in self.fields:
            values = self.array(plural)
        else:
            values = [self.fields[singular]] if singular in self.fields else []
        if any(type(value) is not int or not 0 <= value < self.num_qubits for value in values):
            raise self.fail(f"{plural} have to be qubits from 0 to {self.num_qubits - 1}.")
        if len(set(values)) < len(values):
            raise self.fail(f"{plural} have to be different qubits.")
        return [*map(cirq.LineQubit, values)]

    def array(self, name: str) -> list[Any]:
        values = self.fields.get(name)
        if not isinstance(values, list):
            raise self.fail(f"{name} has to be a list.")
        return values

    def _number(self, value: Any, name: str) -> float:
        # An integer may be too large for a float, and Python's JSON parser accepts NaN.
        if type(value) not in (int, float) or not -1e15 < value < 1e15:
            raise self.fail(f"{name} has to be a number.")
        return float(value)


def _power(kind: Callable[..., cirq.Gate]) -> Callable[[_Entry], cirq.Gate]:
    """A Pauli gate, or its power if it has a `rotation`: the SDK sends Qiskit's P as such a z."""
    return lambda entry: kind(exponent=entry.number("rotation", math.pi) / math.pi)


def _of_library(name: str) -> Callable[[_Entry], cirq.Gate]:
    """A gate of the OpenQASM libraries, whose angle, if it has one, is the `rotation`."""
    gate = LIBRARIES["hqslib1.inc"][name]
    return lambda entry: gate.make(*[entry.number("rotation") for _ in range(gate.num_params)])


_QIS: dict[str, Callable[[_Entry], cirq.Gate]] = {
    "x": _power(cirq.XPowGate),
    "y": _power(cirq.YPowGate),
    "z": _power(cirq.ZPowGate),
    **{name: _of_library(name) for name in ("h", "s", "t", "swap", "rx", "ry", "rz")},
    **{name: _of_library("x") for name in ("not", "cnot")},
    **{name: _of_library(f"r{name}") for name in ("xx", "yy", "zz")},
    "si": _of_library("sdg"),
    "ti": _of_library("tdg"),
    "v": _of_library("sx"),
    "vi": _of_library("sxdg"),
}


def _gpi(turns: float, exponent: float = 1.0) -> cirq.Gate:
    """The Pauli between X and Y at this angle, or its power."""
    return cirq.PhasedXPowGate(exponent=exponent, phase_exponent=2 * turns)


def _ms(entry: _Entry) -> cirq.Gate:
    phases = entry.numbers("phases")
    if len(phases) != 2:
        raise entry.fail("phases has to hold two numbers.")
    angle = math.pi * entry.number("angle", 0.25)
    # The product of the two `_gpi`, from their entries: Cirq takes much longer to make it.
    first, second = phases
    turns = np.array([-first - second, second - first, first - second, first + second])
    axis = np.fliplr(np.diag(np.exp(2j * math.pi * turns)))
    return cirq.MatrixGate(math.cos(angle) * np.eye(4) - 1j * math.sin(angle) * axis)


def _zz(entry: _Entry) -> cirq.Gate:
    # cirq-ionq sends the angle of this gate as `phase`.
    name = "phase" if "phase" in entry.fields else "angle"
    return cirq.ZZPowGate(exponent=2 * entry.number(name, 0.25))


_NATIVE: dict[str, Callable[[_Entry], cirq.Gate]] = {
    "gpi": lambda entry: _gpi(entry.number("phase")),
    "gpi2": lambda entry: _gpi(entry.number("phase"), 0.5),
    "ms": _ms,
    "zz": _zz,
}

_GATESETS = {"qis": _QIS, "native": _NATIVE}


def _read_gate(
    entry: _Entry, gateset: Mapping[str, Callable[[_Entry], cirq.Gate]], budget: Budget
) -> Iterator[cirq.Operation]:
    name = entry.fields.get("gate")
    if name == "pauliexp" and gateset is _QIS:
        yield from _pauli_exponential(entry, budget)
        return
    if not isinstance(name, str) or name not in gateset:
        raise entry.fail("the gateset has no such gate.")
    gate = gateset[name](entry)
    targets = entry.qubits("target", "targets")
    controls = entry.qubits("control", "controls")
    if controls and gateset is _NATIVE:
        raise entry.fail("native gates cannot be controlled.")
    if name == "cnot" and not controls:
        raise entry.fail("it needs a control.")
    if len(controls) > _MAX_CONTROLS:
        raise entry.fail(f"it has more than {_MAX_CONTROLS} controls.")
    if not set(controls).isdisjoint(targets):
        raise entry.fail("a qubit cannot control itself.")
    size = gate.num_qubits()
    if not targets or (size > 1 and len(targets) != size):
        raise entry.fail("it has too few or too many targets.")
    if controls:
        gate = gate.controlled(len(controls))
    for group in [targets] if size > 1 else [[target] for target in targets]:
        yield gate.on(*controls, *group)


def _pauli_exponential(entry: _Entry, budget: Budget) -> Iterator[cirq.Operation]:
    """exp(-i time sum(coefficient * term)); the last letter of a term is for the first target.

    This is IonQ's order of the letters, as cirq-ionq's serializer explains. Terms have to commute:
    cirq-ionq sends one alone, and the SDK's Qiskit backend refuses others too.
    """
    targets = entry.qubits("target", "targets")
    terms = entry.array("terms")
    coefficients = entry.numbers("coefficients")
    time = entry.number("time")
    if time < 0 or len(coefficients) != len(terms):
        raise entry.fail("it needs a time of 0 or more, and a coefficient for each term.")
    is_term = re.compile(f"[IXYZ]{{{len(targets)}}}").fullmatch
    if not targets or not all(isinstance(term, str) and is_term(term) for term in terms):
        raise entry.fail("a term needs one of I, X, Y and Z for each target.")
    budget.spend(_PAIR * len(terms) ** 2)
    paulis = [cirq.DensePauliString(term[::-1]) for term in terms]
    # In a mask I, X, Y and Z are 0 to 3. Two terms commute if they differ on an even number of
    # qubits, not counting those where one is I; `cirq.commutes` is far slower.
    masks = np.array([pauli.pauli_mask for pauli in paulis])
    products = np.isin(masks, (1, 2)).astype(int) @ (masks >= 2).T
    if ((products + products.T) % 2).any():
        raise entry.fail("its terms have to commute with each other.")
    for pauli, coefficient in zip(paulis, coefficients, strict=True):
        yield from cirq.decompose_once(
            cirq.PauliStringPhasor(
                pauli.on(*targets),
                exponent_neg=time * coefficient / math.pi,
                exponent_pos=-time * coefficient / math.pi,
            )
        )
