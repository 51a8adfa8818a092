"""OpenQASM 2 programs (`honeywell.openqasm.v1`), into shots (`honeywell.quantum-results.v1`).

The reader is complete for OpenQASM 2.0 (https://arxiv.org/abs/1707.03429), and takes what
Quantinuum's machines take beyond it: the gates of `hqslib1.inc`, and conditions on single bits and
with other comparisons than `==`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cirq_azure_sessions.emulator.programs.expressions import (
    Expression,
    evaluate,
    read_expression,
)
from cirq_azure_sessions.emulator.programs.failure import invalid_input
from cirq_azure_sessions.emulator.programs.instructions import (
    Comparison,
    Conditional,
    Gate,
    Instruction,
    Measurement,
    Reset,
)
from cirq_azure_sessions.emulator.programs.noise import NoiseModel, quantinuum_noise
from cirq_azure_sessions.emulator.programs.parameters import check_result_size, read_shots
from cirq_azure_sessions.emulator.programs.qasm_gates import BUILT_IN, LIBRARIES
from cirq_azure_sessions.emulator.programs.simulation import sample
from cirq_azure_sessions.emulator.programs.tokens import Tokens

__all__ = ["Program", "is_syntax_checker", "read", "run"]

# Gates, measurements and resets after all definitions and broadcasts are written out.
_MAX_SIZE = 100_000

# How far gates may be defined by gates that are defined by gates.
_MAX_DEPTH = 100

_MAX_BITS = 4_096

# The bit that holds whether the last condition was true; those of the program come after it.
_CONDITION = 0


def run(
    target: str,
    payload: bytes,
    params: Mapping[str, Any],
    noise: NoiseModel,
    rng: np.random.Generator,
) -> bytes:
    """Runs a program, into one string a shot and classical register.

    A string has the bit with the highest index first, as pytket and the SDK's Qiskit plugin read
    it. A syntax checker checks the program and answers nothing but zeros, as documented.
    """
    program = read(payload)
    shots = read_shots(params, "quantinuum")
    noise = quantinuum_noise(params, noise)
    check_result_size(shots, program.num_bits)
    if is_syntax_checker(target):
        bits = np.zeros((shots, program.num_bits), dtype=np.uint8)
    else:
        bits = sample(program.instructions, program.num_bits, shots, noise, rng)
    registers = {
        name: _strings(bits[:, register.start : register.stop])
        for name, register in program.registers.items()
    }
    return json.dumps(registers).encode()


def is_syntax_checker(target: str) -> bool:
    """Whether the target only checks programs, like `quantinuum.sim.h2-1sc`."""
    return target.startswith("quantinuum.") and target.removesuffix("-preview").endswith("sc")


def _strings(bits: NDArray[np.uint8]) -> list[str]:
    """One string of digits for each row, the last column first."""
    digits = (bits[:, ::-1] + np.uint8(ord("0"))).tobytes().decode()
    width = bits.shape[1]
    return [digits[start : start + width] for start in range(0, len(digits), width)]


@dataclass(frozen=True, slots=True)
class Program:
    """A program, and where its classical registers lie among its bits.

    Attributes:
        num_bits: How many bits there are, those outside of all registers included.
    """

    instructions: list[Instruction]
    registers: dict[str, range]
    num_bits: int


def read(payload: bytes) -> Program:
    """Reads a program.

    Raises:
        ProgramError: If it is not one, or too large; the message names the line.
    """
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        raise invalid_input("The program is not UTF-8 text.") from error
    return _Reader(Tokens(text)).read()


class _GateDefinition(Protocol):
    """A gate that can be called: one of a library's or one that the program defines.

    Attributes:
        size: How many applications of gates one call comes to, empty ones included.
        depth: How many definitions lie on top of each other.
    """

    @property
    def num_params(self) -> int: ...

    @property
    def num_qubits(self) -> int: ...

    @property
    def size(self) -> int: ...

    @property
    def depth(self) -> int: ...

    def apply(self, params: list[float], qubits: list[int]) -> list[Gate]: ...


@dataclass(frozen=True, slots=True)
class _Call:
    """A gate applied in a definition, to the definition's own parameters and qubits."""

    gate: _GateDefinition
    params: list[Expression]
    qubits: list[int]


@dataclass(frozen=True, slots=True)
class _DefinedGate:
    params: list[str]
    num_qubits: int
    body: list[_Call]
    size: int
    depth: int

    @property
    def num_params(self) -> int:
        return len(self.params)

    def apply(self, params: list[float], qubits: list[int]) -> list[Gate]:
        values = dict(zip(self.params, params, strict=True))
        return [
            gate
            for call in self.body
            for gate in call.gate.apply(
                [evaluate(param, values) for param in call.params],
                [qubits[index] for index in call.qubits],
            )
        ]


class _Reader:
    """Reads one program. Each method reads one kind of phrase, and says so in its name."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        # State: what is declared so far, and the program so far with its size.
        self._gates: dict[str, _GateDefinition] = dict(BUILT_IN)
        self._opaque: set[str] = set()
        self._qubits: dict[str, range] = {}
        self._bits: dict[str, range] = {}
        self._instructions: list[Instruction] = []
        self._size = 0

    def read(self) -> Program:
        self._tokens.expect("OPENQASM")
        if self._tokens.number() != 2:
            raise self._tokens.fail("the version has to be 2.0.")
        self._tokens.expect(";")
        while not self._tokens.is_at_end:
            self._statement()
        num_bits = _CONDITION + 1 + sum(map(len, self._bits.values()))
        return Program(self._instructions, self._bits, num_bits)

    def _statement(self) -> None:
        match self._tokens.accept("include", "qreg", "creg", "gate", "opaque", "barrier", "if"):
            case "include":
                self._include()
            case "qreg":
                self._declare(self._qubits, first=0)
            case "creg":
                self._declare(self._bits, first=_CONDITION + 1)
                if sum(map(len, self._bits.values())) > _MAX_BITS:
                    raise self._tokens.fail(f"there are more than {_MAX_BITS} bits.")
            case "gate":
                self._definition()
            case "opaque":
                self._opaque_declaration()
            case "barrier":
                self._barrier()
            case "if":
                self._conditional()
            case _:
                self._instructions.extend(self._operation())

    def _include(self) -> None:
        file = self._tokens.text()
        if file not in LIBRARIES:
            raise self._tokens.fail(f"only {' and '.join(LIBRARIES)} can be included.")
        self._tokens.expect(";")
        self._gates |= LIBRARIES[file]

    def _declare(self, registers: dict[str, range], first: int) -> None:
        name = self._new_name()
        self._tokens.expect("[")
        size = self._tokens.integer()
        self._tokens.expect("]")
        self._tokens.expect(";")
        if size < 1:
            raise self._tokens.fail(f"the register {name} has no elements.")
        start = next(reversed(registers.values())).stop if registers else first
        registers[name] = range(start, start + size)

    def _new_name(self) -> str:
        name = self._tokens.name()
        if name in self._qubits or name in self._bits or name in BUILT_IN:
            raise self._tokens.fail(f"{name[:20]} is declared already.")
        return name

    def _definition(self) -> None:
        name = self._new_name()
        params, qubits = self._parameters_and_qubits()
        self._tokens.expect("{")
        body: list[_Call] = []
        while not self._tokens.accept("}"):
            if self._tokens.accept("barrier"):
                self._names(";")
            else:
                body.append(self._call(params, qubits))
        size = 1 + sum(call.gate.size for call in body)
        depth = 1 + max((call.gate.depth for call in body), default=0)
        if depth > _MAX_DEPTH:
            raise self._tokens.fail(f"{name[:20]} is built on too many definitions.")
        # A program may define anew what it included, as Qiskit's programs do with newer gates.
        self._gates[name] = _DefinedGate(params, len(qubits), body, size, depth)

    def _opaque_declaration(self) -> None:
        self._opaque.add(self._new_name())
        self._parameters_and_qubits()
        self._tokens.expect(";")

    def _parameters_and_qubits(self) -> tuple[list[str], list[str]]:
        params = self._names(")") if self._tokens.accept("(") else []
        qubits = [self._tokens.name()]
        while self._tokens.accept(","):
            qubits.append(self._tokens.name())
        if len({*params, *qubits}) < len(params) + len(qubits):
            raise self._tokens.fail("two parameters or qubits have the same name.")
        return params, qubits

    def _names(self, end: str) -> list[str]:
        """Names up to `end`, or none."""
        if self._tokens.accept(end):
            return []
        names = [self._tokens.name()]
        while self._tokens.expect(",", end) == ",":
            names.append(self._tokens.name())
        return names

    def _call(self, params: list[str], qubits: list[str]) -> _Call:
        """A gate in a definition."""
        gate = self._gate()
        values = self._parameters(gate, params)
        places = {qubit: place for place, qubit in enumerate(qubits)}
        operands = self._names(";")
        if any(operand not in places for operand in operands):
            raise self._tokens.fail("the definition has no such qubit.")
        indices = [places[operand] for operand in operands]
        self._check_operands(gate, indices)
        return _Call(gate, values, indices)

    def _gate(self) -> _GateDefinition:
        name = self._tokens.name()
        if name in self._opaque:
            raise self._tokens.fail(f"the gate {name[:20]} is opaque: it cannot be run.")
        if name not in self._gates:
            raise self._tokens.fail(f"there is no gate {name[:20]}.")
        return self._gates[name]

    def _parameters(self, gate: _GateDefinition, names: list[str]) -> list[Expression]:
        """A gate's parameters in parentheses, which may be missing if there are none."""

        def read_name(tokens: Tokens, name: str) -> Expression:
            if name not in names:
                raise tokens.fail(f"there is no parameter {name[:20]}.")
            return lambda values: values[name]

        params: list[Expression] = []
        if self._tokens.accept("(") and not self._tokens.accept(")"):
            params.append(read_expression(self._tokens, read_name))
            while self._tokens.expect(",", ")") == ",":
                params.append(read_expression(self._tokens, read_name))
        if len(params) != gate.num_params:
            raise self._tokens.fail(f"the gate takes {gate.num_params} parameters.")
        return params

    def _check_operands(self, gate: _GateDefinition, qubits: list[int]) -> None:
        if len(qubits) != gate.num_qubits:
            raise self._tokens.fail(f"the gate takes {gate.num_qubits} qubits.")
        if len(set(qubits)) < len(qubits):
            raise self._tokens.fail("a gate has to have different qubits.")

    def _barrier(self) -> None:
        # Nothing is reordered here, so a barrier changes nothing.
        self._operand(self._qubits)
        while self._tokens.expect(",", ";") == ",":
            self._operand(self._qubits)

    def _conditional(self) -> None:
        self._tokens.expect("(")
        bits = self._operand(self._bits)
        comparison = self._tokens.expect("==", "!=", "<=", ">=", "<", ">")
        value = self._tokens.integer()
        self._tokens.expect(")")
        # The comparison is made once, before a broadcast measurement can change the register.
        self._instructions.append(Comparison(tuple(bits), comparison, value, _CONDITION))
        self._instructions += [Conditional(_CONDITION, step) for step in self._operation()]

    def _operation(self) -> list[Instruction]:
        """One quantum operation, written out for each element of the registers it is given."""
        match self._tokens.accept("measure", "reset"):
            case "measure":
                return list(self._measurement())
            case "reset":
                qubits = self._operand(self._qubits)
                self._tokens.expect(";")
                self._grow(len(qubits))
                return [Reset(qubit) for qubit in qubits]
            case _:
                return list(self._application())

    def _measurement(self) -> Iterator[Measurement]:
        qubits = self._operand(self._qubits)
        self._tokens.expect("->")
        bits = self._operand(self._bits)
        self._tokens.expect(";")
        if len(qubits) != len(bits):
            raise self._tokens.fail("a measurement needs as many bits as qubits.")
        self._grow(len(qubits))
        return map(Measurement, qubits, bits)

    def _application(self) -> Iterator[Gate]:
        gate = self._gate()
        params = [evaluate(param, {}) for param in self._parameters(gate, [])]
        operands = [self._operand(self._qubits)]
        while self._tokens.expect(",", ";") == ",":
            operands.append(self._operand(self._qubits))
        sizes = {len(operand) for operand in operands} - {1}
        if len(sizes) > 1:
            raise self._tokens.fail("registers given to a gate have to be of the same size.")
        count = sizes.pop() if sizes else 1
        self._grow(count * gate.size)
        for index in range(count):
            qubits = [operand[index % len(operand)] for operand in operands]
            self._check_operands(gate, qubits)
            yield from gate.apply(params, qubits)

    def _operand(self, registers: Mapping[str, range]) -> range:
        """A register, or with an index one element of it."""
        name = self._tokens.name()
        if name not in registers:
            raise self._tokens.fail(f"there is no such register as {name[:20]}.")
        register = registers[name]
        if not self._tokens.accept("["):
            return register
        index = self._tokens.integer()
        self._tokens.expect("]")
        if index >= len(register):
            raise self._tokens.fail(f"the register {name[:20]} has no element {index}.")
        return register[index : index + 1]

    def _grow(self, size: int) -> None:
        """Counts what is about to be written out."""
        self._size += size
        if self._size > _MAX_SIZE:
            raise self._tokens.fail(f"the program comes to more than {_MAX_SIZE} operations.")
