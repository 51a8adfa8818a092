"""Runs Quil programs without control flow (`rigetti.quil.v1`) into `rigetti.quil-results.v1`.

Gates, their modifiers DAGGER and CONTROLLED, parameters, DECLARE, MEASURE and RESET are those of
https://github.com/quil-lang/quil. Definitions, jumps and pulses are refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import cirq
import numpy as np

from cirq_azure_sessions.emulator.programs.program import ROW_SIZE, Output, read_shots
from cirq_azure_sessions.openqasm.gates import COMMON, LIBRARIES, LibraryGate
from cirq_azure_sessions.openqasm.tokens import Expression, Tokens, evaluate, read_parameters
from cirq_azure_sessions.workspaces.local.engine import Engine
from cirq_azure_sessions.workspaces.local.program import Budget, Statement, invalid_input

__all__ = ["run"]

# Instructions that have no effect here, and those that need more than a list of gates.
_IGNORED = ("PRAGMA", "NOP", "FENCE", "DELAY")
_REFUSED = re.compile("DEF|JUMP|LABEL|PULSE|CAPTURE|RAW-CAPTURE|SET-|SHIFT-|SWAP-PHASES|CALL")

_MAX_MEMORY = 4_096

# The cost of a run, an instruction, a declared number and a reset, in units of the budget.
_INSTRUCTION = 3_000

_LIBRARY = LIBRARIES["qelib1.inc"]
_GATES = {
    **{name.upper(): _LIBRARY[name] for name in (*COMMON, "cswap")},
    "I": _LIBRARY["id"],
    "PHASE": _LIBRARY["p"],
    "CNOT": _LIBRARY["cx"],
    "CCNOT": _LIBRARY["ccx"],
    "CPHASE": _LIBRARY["cp"],
    "ISWAP": LibraryGate(0, 2, lambda: cirq.ISWAP),
    # exp(i angle/4 (XX + YY)), which turns |01> into |10>.
    "XY": LibraryGate(1, 2, lambda angle: cirq.ISwapPowGate(exponent=angle / math.pi)),
}


def run(engine: Engine, target: str, payload: bytes, params: Mapping[str, Any]) -> Output:
    """Runs a program and returns one row per shot for each BIT register.

    With `substitutions`, values for REAL registers, it runs once for each of them.
    """
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        raise invalid_input("The program is not UTF-8 text.") from error
    shots = read_shots(params, "rigetti")
    results: dict[str, list[Any]] = {}
    for values in _substitutions(params):
        engine.budget.spend(_INSTRUCTION)
        program = _Program(values, engine.budget)
        program.read(text)
        keys = [key for register in program.registers.values() for key in register]
        engine.budget.hold(ROW_SIZE * shots * len(program.registers))
        bits = engine.sample([Statement(program.operations)], keys, shots)
        ends = np.cumsum([len(register) for register in program.registers.values()])
        for name, rows in zip(program.registers, np.hsplit(bits, ends), strict=False):
            results.setdefault(name, []).extend(rows.tolist())
    return Output(json.dumps(results).encode())


def _substitutions(params: Mapping[str, Any]) -> Iterator[dict[str, float]]:
    """The values of each run by memory reference, such as `theta[1]`."""
    given = params.get("substitutions") or {}
    if not isinstance(given, Mapping) or not all(isinstance(runs, list) for runs in given.values()):
        raise invalid_input("substitutions has to give each register a list of vectors.")
    if len({len(runs) for runs in given.values()}) > 1:
        raise invalid_input("All registers in substitutions need as many vectors.")
    for run in zip(*given.values(), strict=True) if given else [()]:
        yield {
            f"{name}[{place}]": _number(value)
            for name, vector in zip(given, run, strict=True)
            for place, value in enumerate(vector if isinstance(vector, list) else [None])
        }


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not -1e15 < value < 1e15:
        raise invalid_input("The values in substitutions have to be numbers.")
    return float(value)


class _Program:
    """A program being read, with its declarations so far."""

    def __init__(self, values: Mapping[str, float], budget: Budget) -> None:
        self._values = dict(values)
        self._budget = budget
        self.operations: list[cirq.Operation] = []
        self._qubits: set[cirq.Qid] = set()
        self.registers: dict[str, list[str]] = {}

    def read(self, text: str) -> None:
        """Reads a whole program."""
        for number, line in enumerate(text.splitlines(), start=1):
            for phrase in line.partition("#")[0].split(";"):
                word = phrase.split(maxsplit=1)[0] if phrase.strip() else "NOP"
                if word == "HALT":
                    return
                if _REFUSED.match(word):
                    raise invalid_input(f"Line {number}: the emulator does not run {word[:20]}.")
                self._budget.spend(_INSTRUCTION)
                if word not in _IGNORED:
                    self._phrase(Tokens(phrase.strip(), self._budget, number), phrase.strip())

    def _phrase(self, tokens: Tokens, phrase: str) -> None:
        match tokens.accept("DECLARE", "MEASURE", "RESET"):
            case "DECLARE":
                self._declare(tokens)
            case "MEASURE":
                self._measure(tokens)
            case "RESET":
                self._reset(tokens)
            case _:
                self._gate(tokens, phrase)
        if not tokens.is_at_end:
            raise tokens.fail("there is more than the instruction takes.")

    def _declare(self, tokens: Tokens) -> None:
        name = tokens.name()
        kind = tokens.expect("BIT", "OCTET", "INTEGER", "REAL")
        size = _index(tokens, default=1)
        if not 1 <= size <= _MAX_MEMORY:
            raise tokens.fail(f"a register has 1 to {_MAX_MEMORY} elements.")
        self._budget.spend(_INSTRUCTION * size)
        elements = [f"{name}[{place}]" for place in range(size)]
        if kind == "REAL":
            for element in elements:
                self._values.setdefault(element, 0.0)
        elif kind == "BIT":
            self.registers[name] = elements

    def _measure(self, tokens: Tokens) -> None:
        qubit = cirq.LineQubit(tokens.integer())
        name = tokens.name()
        index = _index(tokens, default=0)
        if index >= len(self.registers.get(name, ())):
            raise tokens.fail("there is no such BIT.")
        self._append(cirq.measure(qubit, key=self.registers[name][index]))

    def _reset(self, tokens: Tokens) -> None:
        qubits = sorted(self._qubits)
        if not tokens.is_at_end:
            qubits = [cirq.LineQubit(tokens.integer())]
        self._budget.spend(_INSTRUCTION * len(qubits))
        for qubit in qubits:
            self._append(cirq.reset(qubit))

    def _gate(self, tokens: Tokens, phrase: str) -> None:
        modifiers = []
        while modifier := tokens.accept("DAGGER", "CONTROLLED"):
            modifiers.append(modifier)
        name = tokens.name()
        if name not in _GATES:
            # The QVM's recorded error.
            raise invalid_input(
                "QVM reported a problem running your program: error when calling QVM: failed to "
                f"perform multishot: Encountered the invalid instruction\n\n    {phrase[:200]}\n\n"
                f"which could not be executed because the operator {name[:20]} is not known"
            )
        expressions = read_parameters(tokens, self._read_name)
        try:
            params = [evaluate(each, self._values) for each in expressions]
        except ValueError as error:
            raise tokens.fail(str(error)) from error
        num_controls = modifiers.count("CONTROLLED")
        qubits = []
        while not tokens.is_at_end:
            qubits.append(cirq.LineQubit(tokens.integer()))
        kind = _GATES[name]
        if len(params) != kind.num_params or len(qubits) != kind.num_qubits + num_controls:
            raise tokens.fail(f"{name} takes other parameters or qubits.")
        if len(set(qubits)) < len(qubits):
            raise tokens.fail("a gate has to have different qubits.")
        gate = kind.make(*params)
        if modifiers.count("DAGGER") % 2:
            gate = cirq.inverse(gate)
        if num_controls:
            gate = gate.controlled(num_controls)
        self._append(gate.on(*qubits))

    def _append(self, operation: cirq.Operation) -> None:
        self.operations.append(operation)
        self._qubits.update(operation.qubits)

    def _read_name(self, tokens: Tokens, name: str) -> Expression:
        """A memory reference in an expression."""
        place = f"{name}[{_index(tokens, default=0)}]"
        if place not in self._values:
            raise tokens.fail("there is no such REAL.")
        return lambda values: values[place]


def _index(tokens: Tokens, default: int) -> int:
    """A number in brackets, if there is one."""
    if not tokens.accept("["):
        return default
    index = tokens.integer()
    tokens.expect("]")
    return index
