"""Quil programs without control flow (`rigetti.quil.v1`), into `rigetti.quil-results.v1`.

Gates, their modifiers DAGGER and CONTROLLED, parameters, DECLARE, MEASURE and RESET are those of
https://github.com/quil-lang/quil. Definitions, jumps and pulses are refused.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from cirq_azure_sessions.emulator.programs.expressions import (
    Expression,
    evaluate,
    read_expression,
)
from cirq_azure_sessions.emulator.programs.failure import ProgramError, invalid_input
from cirq_azure_sessions.emulator.programs.gates import (
    ISWAP,
    Matrix,
    inverse,
    pauli_rotation,
)
from cirq_azure_sessions.emulator.programs.instructions import (
    Gate,
    Instruction,
    Measurement,
    Reset,
)
from cirq_azure_sessions.emulator.programs.noise import NoiseModel
from cirq_azure_sessions.emulator.programs.parameters import read_shots
from cirq_azure_sessions.emulator.programs.qasm_gates import LIBRARIES, LibraryGate
from cirq_azure_sessions.emulator.programs.simulation import sample
from cirq_azure_sessions.emulator.programs.tokens import Tokens

__all__ = ["run"]

_QELIB1 = LIBRARIES["qelib1.inc"]

_NAMES = {
    "I": "id",
    "PHASE": "p",
    "CNOT": "cx",
    "CCNOT": "ccx",
    "CPHASE": "cp",
}
_SAME_NAMES = ("x", "y", "z", "h", "s", "t", "rx", "ry", "rz", "cz", "swap", "cswap")


def _xy(angle: float) -> Matrix:
    """exp(i angle/4 (XX + YY)), which turns |01> into |10>."""
    return pauli_rotation("XX", -angle / 2) @ pauli_rotation("YY", -angle / 2)


_GATES = {
    **{name.upper(): _QELIB1[name] for name in _SAME_NAMES},
    **{name: _QELIB1[qelib1_name] for name, qelib1_name in _NAMES.items()},
    "ISWAP": LibraryGate(0, 2, lambda: ISWAP),
    "XY": LibraryGate(1, 2, _xy),
}

# Words that change nothing here, and those that would need more than a list of gates.
_IGNORED = ("PRAGMA", "NOP", "FENCE", "DELAY")
_REFUSED = re.compile("DEF|JUMP|LABEL|PULSE|CAPTURE|RAW-CAPTURE|SET-|SHIFT-|SWAP-PHASES|CALL")

_MAX_LINES = 100_000
_MAX_MEMORY = 4_096
_MAX_RUNS = 1_000


def run(
    target: str,
    payload: bytes,
    params: Mapping[str, Any],
    noise: NoiseModel,
    rng: np.random.Generator,
) -> bytes:
    """Runs a program, into one row a shot for each BIT register.

    With `substitutions`, values for REAL registers, it is run with each of them in turn.
    """
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        raise invalid_input("The program is not UTF-8 text.") from error
    shots = read_shots(params, "rigetti")
    results: dict[str, list[Any]] = {}
    for values in _substitutions(params):
        program = _Program(values)
        program.read(text)
        bits = sample(program.instructions, program.num_bits, shots, noise, rng)
        for name, register in program.registers.items():
            rows = bits[:, register.start : register.stop].tolist()
            results.setdefault(name, []).extend(rows)
    return json.dumps(results).encode()


def _substitutions(params: Mapping[str, Any]) -> Iterator[dict[str, float]]:
    """The values of each run by their places in memory, such as `theta[1]`."""
    given = params.get("substitutions") or {}
    if not isinstance(given, Mapping) or not all(isinstance(runs, list) for runs in given.values()):
        raise invalid_input("substitutions has to give each register a list of vectors.")
    if len({len(runs) for runs in given.values()}) > 1:
        raise invalid_input("All registers in substitutions need as many vectors.")
    for run in itertools.islice(zip(*given.values(), strict=True), _MAX_RUNS) if given else [()]:
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
    """A program while it is read, with what has been declared so far."""

    def __init__(self, values: Mapping[str, float]) -> None:
        self._values = dict(values)
        self.instructions: list[Instruction] = []
        self.registers: dict[str, range] = {}
        self.num_bits = 0

    def read(self, text: str) -> None:
        """Reads a whole program."""
        for number, line in enumerate(itertools.islice(text.splitlines(), _MAX_LINES), start=1):
            for phrase in line.partition("#")[0].split(";"):
                word = phrase.split(maxsplit=1)[0] if phrase.strip() else "NOP"
                if word == "HALT":
                    return
                if _REFUSED.match(word):
                    raise invalid_input(f"Line {number}: the emulator does not run {word[:20]}.")
                if word not in _IGNORED:
                    self._phrase(Tokens(phrase.strip(), number), phrase.strip())

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
        if kind == "REAL":
            for place in range(size):
                self._values.setdefault(f"{name}[{place}]", 0.0)
        elif kind == "BIT":
            self.registers[name] = range(self.num_bits, self.num_bits + size)
            self.num_bits += size
        if self.num_bits > _MAX_MEMORY:
            raise tokens.fail(f"there are more than {_MAX_MEMORY} bits.")

    def _measure(self, tokens: Tokens) -> None:
        qubit = tokens.integer()
        name = tokens.name()
        index = _index(tokens, default=0)
        if index >= len(self.registers.get(name, ())):
            raise tokens.fail("there is no such BIT.")
        self.instructions.append(Measurement(qubit, self.registers[name][index]))

    def _reset(self, tokens: Tokens) -> None:
        used = {qubit for step in self.instructions for qubit in step.qubits}
        qubits = sorted(used) if tokens.is_at_end else [tokens.integer()]
        self.instructions += map(Reset, qubits)

    def _gate(self, tokens: Tokens, phrase: str) -> None:
        modifiers = []
        while modifier := tokens.accept("DAGGER", "CONTROLLED"):
            modifiers.append(modifier)
        name = tokens.name()
        if name not in _GATES:
            raise _unknown(phrase, name)
        params = self._params(tokens)
        num_controls = modifiers.count("CONTROLLED")
        qubits = []
        while not tokens.is_at_end:
            qubits.append(tokens.integer())
        gate = _GATES[name]
        if len(params) != gate.num_params or len(qubits) != gate.num_qubits + num_controls:
            raise tokens.fail(f"{name} takes other parameters or qubits.")
        if len(set(qubits)) < len(qubits):
            raise tokens.fail("a gate has to have different qubits.")
        plain = gate.instruction(params, qubits[num_controls:])
        matrix = inverse(plain.matrix) if modifiers.count("DAGGER") % 2 else plain.matrix
        controls = (*qubits[:num_controls], *plain.controls)
        self.instructions.append(Gate(matrix, plain.targets, controls))

    def _params(self, tokens: Tokens) -> list[float]:
        if not tokens.accept("("):
            return []
        params = [read_expression(tokens, _read_name)]
        while tokens.expect(",", ")") == ",":
            params.append(read_expression(tokens, _read_name))
        try:
            return [evaluate(param, self._values) for param in params]
        except ValueError as error:
            raise tokens.fail(str(error)) from error


def _index(tokens: Tokens, default: int) -> int:
    """A number in brackets, if there is one."""
    if not tokens.accept("["):
        return default
    index = tokens.integer()
    tokens.expect("]")
    return index


def _read_name(tokens: Tokens, name: str) -> Expression:
    """An element of memory in an expression."""
    place = f"{name}[{_index(tokens, default=0)}]"
    unknown = tokens.fail("there is no such REAL.")

    def look_up(values: Mapping[str, float]) -> float:
        if place not in values:
            raise unknown
        return values[place]

    return look_up


def _unknown(phrase: str, name: str) -> ProgramError:
    """What the QVM was recorded to say of a word that it does not know."""
    return invalid_input(
        "QVM reported a problem running your program: error when calling QVM: failed to perform "
        f"multishot: Encountered the invalid instruction\n\n    {phrase[:200]}\n\nwhich could not "
        f"be executed because the operator {name[:20]} is not known"
    )
