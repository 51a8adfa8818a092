"""Reads OpenQASM 2 programs, for the emulator and for circuit files.

The reader supports all of OpenQASM 2.0 (https://arxiv.org/abs/1707.03429) and Quantinuum's
extensions: the gates of `hqslib1.inc`, and conditions on single bits and with comparisons other
than `==`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, TypeAlias

import cirq

from cirq_azure_sessions.openqasm.gates import BUILT_IN, LIBRARIES, LibraryGate
from cirq_azure_sessions.openqasm.tokens import (
    EXPRESSION_WORDS,
    Expression,
    Tokens,
    evaluate,
    read_parameters,
)
from cirq_azure_sessions.workspaces.local.program import Budget, Condition, Statement

__all__ = ["Program", "read"]

# The costs of a qubit of a register, an operation, a character of a definition each time that it is
# expanded, and a bit of a condition, in units of the budget.
_QUBIT = 300
_OPERATION = 4_000
_CHARACTER = 100
_COMPARED_BIT = 50

# Reserved names: a parameter called pi would be mistaken for the number.
_STATEMENTS = ("include", "qreg", "creg", "gate", "opaque", "barrier", "if", "measure", "reset")
_RESERVED = frozenset({*_STATEMENTS, "OPENQASM", *EXPRESSION_WORDS})

# Maximum nesting depth of gate definitions.
_MAX_DEPTH = 100

_MAX_BITS = 4_096

# Far more than can be simulated, for programs that use only a few of those declared.
_MAX_QUBITS = 1_000_000


@dataclass(frozen=True, slots=True)
class Program:
    """The statements of a program, in order, and its bits.

    The qubit `q[0]` is `cirq.NamedQubit("q_0")`, and the bit `c[2]` the key `c_2`.

    Attributes:
        bits: The keys of each classical register.
    """

    statements: list[Statement]
    bits: dict[str, tuple[str, ...]]


def read(text: str, budget: Budget | None = None) -> Program:
    """Reads a program.

    Raises:
        ProgramError: If it is invalid or too large; the message names the line and the column.
    """
    budget = budget or Budget()
    return _Reader(Tokens(text, budget), budget).read()


@dataclass(frozen=True, slots=True)
class _Call:
    """A gate applied in a definition, to the parameters and qubits of the definition.

    Attributes:
        length: The number of characters of the call.
    """

    gate: _Gate
    params: list[Expression]
    qubits: list[int]
    length: int


@dataclass(frozen=True, slots=True)
class _DefinedGate:
    """A gate that the program defines, or declares opaque: without a body."""

    params: list[str]
    num_qubits: int
    body: list[_Call] | None

    @property
    def num_params(self) -> int:
        return len(self.params)


_Gate: TypeAlias = LibraryGate | _DefinedGate


class _Reader:
    """The reader of one program, with one method per grammar rule."""

    def __init__(self, tokens: Tokens, budget: Budget) -> None:
        self._tokens = tokens
        self._budget = budget
        # State: the declarations so far, with the elements of each register and their total size,
        # and the program.
        self._gates: dict[str, _Gate] = dict(BUILT_IN)
        self._qubits: dict[str, range] = {}
        self._bits: dict[str, tuple[str, ...]] = {}
        self._sizes = {"qubits": 0, "bits": 0}
        self._statements: list[Statement] = []

    def read(self) -> Program:
        self._tokens.expect("OPENQASM")
        if (version := self._tokens.number()) != 2:
            raise self._tokens.fail(f"this is OpenQASM {version:g}, and the version has to be 2.0.")
        self._tokens.expect(";")
        while not self._tokens.is_at_end:
            self._statement()
        return Program(self._statements, self._bits)

    def _statement(self) -> None:
        match self._tokens.accept("include", "qreg", "creg", "gate", "opaque", "barrier", "if"):
            case "include":
                self._include()
            case "qreg":
                self._declare("qubits", self._qubits, _MAX_QUBITS)
            case "creg":
                self._declare("bits", self._bits, _MAX_BITS)
            case "gate":
                self._definition()
            case "opaque":
                self._opaque_declaration()
            case "barrier":
                self._barrier()
            case "if":
                self._conditional()
            case _:
                self._statements.append(Statement(self._operation()))

    def _include(self) -> None:
        file = self._tokens.text()
        if file not in LIBRARIES:
            raise self._tokens.fail(f"only {' and '.join(LIBRARIES)} can be included.")
        self._tokens.expect(";")
        self._gates |= LIBRARIES[file]

    def _declare(self, kind: str, registers: dict[str, Any], most: int) -> None:
        place = self._tokens.place
        name = self._tokens.name()
        self._tokens.expect("[")
        size = self._tokens.integer()
        if size < 1:
            raise self._tokens.fail(f"the register {name[:20]} has no elements.")
        self._tokens.expect("]")
        self._tokens.expect(";")
        # Programs assembled from parts repeat the declarations of shared registers.
        if name in registers and size == len(registers[name]):
            return
        self._check_new(name, place)
        self._sizes[kind] += size
        if self._sizes[kind] > most:
            raise self._tokens.fail(f"there are more than {most} {kind}.", place)
        is_bits = kind == "bits"
        registers[name] = tuple(_element(name, i) for i in range(size)) if is_bits else range(size)

    def _new_name(self) -> str:
        place = self._tokens.place
        name = self._tokens.name()
        self._check_new(name, place)
        return name

    def _check_new(self, name: str, place: int) -> None:
        if name in self._qubits or name in self._bits or name in BUILT_IN:
            raise self._tokens.fail(f"{name[:20]} is declared already.", place)
        self._check_unreserved(name, place)

    def _check_unreserved(self, name: str, place: int) -> None:
        if name in _RESERVED:
            raise self._tokens.fail(f"{name} is a word of the language; use another name.", place)

    def _definition(self) -> None:
        name = self._new_name()
        params, qubits = self._parameters_and_qubits()
        names = frozenset(params)
        self._tokens.expect("{")
        places = {qubit: place for place, qubit in enumerate(qubits)}
        body: list[_Call] = []
        while not self._tokens.accept("}"):
            if self._tokens.accept("barrier"):
                self._names(";")
            else:
                body.append(self._call(names, places))
        # A program may redefine included gates, as Qiskit's programs do with newer ones.
        self._gates[name] = _DefinedGate(params, len(qubits), body)

    def _opaque_declaration(self) -> None:
        name = self._new_name()
        params, qubits = self._parameters_and_qubits()
        self._tokens.expect(";")
        # For a library gate that a program declares opaque, the library's definition stays.
        self._gates.setdefault(name, _DefinedGate(params, len(qubits), None))

    def _parameters_and_qubits(self) -> tuple[list[str], list[str]]:
        place = self._tokens.place
        params = self._names(")") if self._tokens.accept("(") else []
        qubits = [self._tokens.name()]
        while self._tokens.accept(","):
            qubits.append(self._tokens.name())
        if len({*params, *qubits}) < len(params) + len(qubits):
            raise self._tokens.fail("two parameters or qubits have the same name.")
        for name in (*params, *qubits):
            self._check_unreserved(name, place)
        return params, qubits

    def _names(self, end: str) -> list[str]:
        """A list of names up to `end`, possibly empty."""
        if self._tokens.accept(end):
            return []
        names = [self._tokens.name()]
        while self._tokens.expect(",", end) == ",":
            names.append(self._tokens.name())
        return names

    def _call(self, params: Set[str], places: Mapping[str, int]) -> _Call:
        """Reads a gate in a definition whose qubits have these indices."""
        start = self._tokens.place
        gate = self._gate()
        values = self._parameters(gate, params)
        operands = self._names(";")
        for operand in operands:
            if operand not in places:
                raise self._tokens.fail(f"the definition has no qubit {operand[:20]}.", start)
        indices = [places[operand] for operand in operands]
        self._check_operands(gate, indices, start)
        return _Call(gate, values, indices, self._tokens.place - start)

    def _gate(self) -> _Gate:
        name = self._tokens.name()
        if name not in self._gates:
            files = [file for file, gates in LIBRARIES.items() if name in gates]
            hint = f'; include "{files[0]}" for it' if files else ""
            raise self._tokens.fail(f"there is no gate {name[:20]}{hint}.")
        gate = self._gates[name]
        if isinstance(gate, _DefinedGate) and gate.body is None:
            raise self._tokens.fail(f"the gate {name[:20]} is opaque: it cannot be run.")
        return gate

    def _parameters(self, gate: _Gate, names: Set[str]) -> list[Expression]:
        """A gate's parameters in parentheses, which are optional if there are none."""

        def read_name(tokens: Tokens, name: str) -> Expression:
            if name not in names:
                raise tokens.fail(f"there is no parameter {name[:20]}.")
            return lambda values: values[name]

        params = read_parameters(self._tokens, read_name)
        if len(params) != gate.num_params:
            raise self._tokens.fail(_miscounted(gate.num_params, "parameter", len(params)))
        return params

    def _check_operands(self, gate: _Gate, qubits: Sequence[Any], place: int) -> None:
        if len(qubits) != gate.num_qubits:
            raise self._tokens.fail(_miscounted(gate.num_qubits, "qubit", len(qubits)), place)
        if len(set(qubits)) < len(qubits):
            raise self._tokens.fail("a gate has to have different qubits.", place)

    def _barrier(self) -> None:
        # The emulator does not reorder operations, so a barrier has no effect.
        self._elements(self._qubits)
        while self._tokens.expect(",", ";") == ",":
            self._elements(self._qubits)

    def _conditional(self) -> None:
        self._tokens.expect("(")
        keys = self._keys()
        comparison = self._tokens.expect("==", "!=", "<=", ">=", "<", ">")
        value = self._tokens.integer()
        self._tokens.expect(")")
        self._budget.spend(_COMPARED_BIT * len(keys))
        if self._tokens.accept("barrier"):
            self._barrier()
            return
        self._statements.append(Statement(self._operation(), Condition(keys, comparison, value)))

    def _operation(self) -> list[cirq.Operation]:
        """One quantum operation, expanded for each element of its registers."""
        match self._tokens.accept("measure", "reset"):
            case "measure":
                return self._measurement()
            case "reset":
                qubits = self._operand()
                self._tokens.expect(";")
                self._budget.spend(_OPERATION * len(qubits))
                return [cirq.reset(qubit) for qubit in qubits]
            case _:
                return self._application()

    def _measurement(self) -> list[cirq.Operation]:
        place = self._tokens.place
        qubits = self._operand()
        self._tokens.expect("->")
        keys = self._keys()
        self._tokens.expect(";")
        if len(qubits) != len(keys):
            raise self._tokens.fail("a measurement needs as many bits as qubits.", place)
        self._budget.spend(_OPERATION * len(qubits))
        return [cirq.measure(qubit, key=key) for qubit, key in zip(qubits, keys, strict=True)]

    def _application(self) -> list[cirq.Operation]:
        place = self._tokens.place
        gate = self._gate()
        params = self._parameters(gate, set())
        operands = [self._operand()]
        while self._tokens.expect(",", ";") == ",":
            operands.append(self._operand())
        sizes = {len(operand) for operand in operands} - {1}
        if len(sizes) > 1:
            raise self._tokens.fail("registers given to a gate have to be of the same size.", place)
        count = sizes.pop() if sizes else 1
        operations: list[cirq.Operation] = []
        try:
            values = [evaluate(param, {}) for param in params]
            for index in range(count):
                qubits = [operand[index % len(operand)] for operand in operands]
                self._check_operands(gate, qubits, place)
                operations += self._expand(gate, values, qubits)
        except ValueError as error:
            raise self._tokens.fail(str(error), place) from error
        return operations

    def _expand(
        self, gate: _Gate, params: Sequence[float], qubits: Sequence[cirq.Qid], depth: int = 0
    ) -> Iterator[cirq.Operation]:
        """Expands a gate into library gates."""
        self._budget.spend(_OPERATION)
        if isinstance(gate, LibraryGate):
            yield gate.make(*params).on(*qubits)
            return
        if depth > _MAX_DEPTH:
            raise ValueError("the gate is built on too many definitions.")
        values = dict(zip(gate.params, params, strict=True))
        for call in gate.body or ():
            self._budget.spend(_CHARACTER * call.length)
            inner = [evaluate(param, values) for param in call.params]
            operands = [qubits[index] for index in call.qubits]
            yield from self._expand(call.gate, inner, operands, depth + 1)

    def _operand(self) -> list[cirq.Qid]:
        """The qubits of a register, or one of them if there is an index."""
        name, elements = self._elements(self._qubits)
        self._budget.spend(_QUBIT * len(elements))
        return [cirq.NamedQubit(_element(name, index)) for index in elements]

    def _keys(self) -> tuple[str, ...]:
        """The bits of a register, or one of them if there is an index."""
        keys: tuple[str, ...] = self._elements(self._bits)[1]
        return keys

    def _elements(self, registers: Mapping[str, Any]) -> tuple[str, Any]:
        name = self._tokens.name()
        if name not in registers:
            if name in self._bits or name in self._qubits:
                wanted, found = ("bits", "qubits") if name in self._qubits else ("qubits", "bits")
                raise self._tokens.fail(f"{name[:20]} is a register of {found}, not of {wanted}.")
            raise self._tokens.fail(f"there is no such register as {name[:20]}.")
        register = registers[name]
        if not self._tokens.accept("["):
            return name, register
        index = self._tokens.integer()
        self._tokens.expect("]")
        if index >= len(register):
            raise self._tokens.fail(f"the register {name[:20]} has no element {index}.")
        return name, register[index : index + 1]


def _miscounted(wanted: int, noun: str, found: int) -> str:
    return f"the gate takes {wanted} {noun}{'s' * (wanted != 1)}, not {found}."


def _element(register: str, index: int) -> str:
    return f"{register}_{index}"
