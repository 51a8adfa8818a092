"""Random OpenQASM 2 programs of gates, measurements and conditions, against an interpreter of text.

The circuit and the interpreter both follow every outcome, so that probabilities compare exactly.
"""

from __future__ import annotations

import functools
import math
import operator
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import cirq
import numpy as np
import pytest

from cirq_azure_sessions import read_circuit

Array: TypeAlias = np.ndarray[Any, Any]
Bits: TypeAlias = dict[str, int]
# The states that have led to the same bits need not be one.
Branches: TypeAlias = list[tuple[Bits, Array]]

X, Y, Z = (cirq.unitary(gate) for gate in (cirq.X, cirq.Y, cirq.Z))
H = (X + Z) / math.sqrt(2)


def turn(angle: float, *paulis: Array) -> Array:
    """exp(-i angle/2 P) for the product P of Paulis."""
    product = functools.reduce(np.kron, paulis)
    return math.cos(angle / 2) * np.eye(len(product)) - 1j * math.sin(angle / 2) * product


def phase(angle: float) -> Array:
    return np.diag([1, np.exp(1j * angle)])


def u(theta: float, phi: float, lam: float) -> Array:
    return np.exp(0.5j * (phi + lam)) * turn(phi, Z) @ turn(theta, Y) @ turn(lam, Z)


def controlled(matrix: Array, count: int = 1) -> Array:
    size = len(matrix) << count
    result = np.eye(size, dtype=complex)
    result[size - len(matrix) :, size - len(matrix) :] = matrix
    return result


SX = H @ phase(math.pi / 2) @ H
SWAP = np.eye(4)[[0, 2, 1, 3]]

# The number of angles of each gate, and its matrix.
QELIB1: dict[str, tuple[int, Callable[..., Array]]] = {
    "U": (3, u),
    "CX": (0, lambda: controlled(X)),
    "u3": (3, u),
    "u2": (2, lambda phi, lam: u(math.pi / 2, phi, lam)),
    "u1": (1, phase),
    "u0": (1, lambda gamma: np.eye(2)),
    "u": (3, u),
    "p": (1, phase),
    "id": (0, lambda: np.eye(2)),
    "x": (0, lambda: X),
    "y": (0, lambda: Y),
    "z": (0, lambda: Z),
    "h": (0, lambda: H),
    "s": (0, lambda: phase(math.pi / 2)),
    "sdg": (0, lambda: phase(-math.pi / 2)),
    "t": (0, lambda: phase(math.pi / 4)),
    "tdg": (0, lambda: phase(-math.pi / 4)),
    "sx": (0, lambda: SX),
    "sxdg": (0, lambda: SX.conj().T),
    "rx": (1, lambda angle: turn(angle, X)),
    "ry": (1, lambda angle: turn(angle, Y)),
    "rz": (1, lambda angle: turn(angle, Z)),
    "cx": (0, lambda: controlled(X)),
    "cy": (0, lambda: controlled(Y)),
    "cz": (0, lambda: controlled(Z)),
    "ch": (0, lambda: controlled(H)),
    "cs": (0, lambda: controlled(phase(math.pi / 2))),
    "csdg": (0, lambda: controlled(phase(-math.pi / 2))),
    "csx": (0, lambda: controlled(SX)),
    "crx": (1, lambda angle: controlled(turn(angle, X))),
    "cry": (1, lambda angle: controlled(turn(angle, Y))),
    "crz": (1, lambda angle: controlled(turn(angle, Z))),
    "cu1": (1, lambda angle: controlled(phase(angle))),
    "cp": (1, lambda angle: controlled(phase(angle))),
    "cu3": (3, lambda *angles: controlled(u(*angles))),
    "cu": (4, lambda *angles: controlled(np.exp(1j * angles[3]) * u(*angles[:3]))),
    "swap": (0, lambda: SWAP),
    "cswap": (0, lambda: controlled(SWAP)),
    "rxx": (1, lambda angle: turn(angle, X, X)),
    "rzz": (1, lambda angle: turn(angle, Z, Z)),
    "ccx": (0, lambda: controlled(X, 2)),
    "c3x": (0, lambda: controlled(X, 3)),
    "c3sqrtx": (0, lambda: controlled(SX, 3)),
}
HQSLIB1 = QELIB1 | {
    "Rz": (1, lambda angle: turn(angle, Z)),
    "U1q": (2, lambda angle, phi: turn(angle, math.cos(phi) * X + math.sin(phi) * Y)),
    "ZZ": (0, lambda: turn(math.pi / 2, Z, Z)),
    "RZZ": (1, lambda angle: turn(angle, Z, Z)),
    "Rxxyyzz": (3, lambda a, b, c: turn(a, X, X) @ turn(b, Y, Y) @ turn(c, Z, Z)),
}
WIRES = ("a[0]", "a[1]", "b[0]", "b[1]")
BITS = ("c[0]", "c[1]", "d[0]", *(f"out[{wire}]" for wire in range(4)))
# So that every phase shows.
BEGIN = ["u3(1.1, 0.4, 0.2) a", "u3(0.9, -0.7, 1.3) b", "cx a, b"]
END = ["U(1.3, 0.5, -0.8) a", "ry(1.7) b", *(f"measure {WIRES[i]} -> out[{i}]" for i in range(4))]


# Programs


def formula(draw: random.Random, names: Sequence[str] = (), depth: int = 2) -> str:
    """Arithmetic that has a value, whatever the names stand for."""
    inner = functools.partial(formula, draw, names, depth - 1)
    choice = draw.randrange(7 if depth else 2)
    if choice == 0:
        return draw.choice(["pi", "2", ".25", "3.", "1e-1", "12.5E+0", "pi"])
    if choice == 1:
        return draw.choice(names or ["0.7"])
    if choice == 2:
        return f"{draw.choice(['-', '+', '--'])} {inner()}"
    if choice == 3:
        return f"{draw.choice(['sin', 'cos'])}({inner()})"
    if choice == 4:
        power = draw.choice(["2^-1", "-pi^2", "2^3^0.5", "sqrt(2)^ln(3)", "exp(1)^(1/2)", "tan(1)"])
        return f"{power}{draw.choice('+-*/')}{draw.choice(['3', '0.5', 'pi'])}"
    if choice == 5:
        return f"({inner()})"
    return f"{inner()}{draw.choice(['+', '-', ' * ', '/2-'])}{inner()}"


def gate_call(
    draw: random.Random, gates: Mapping[str, tuple[int, int]], qubits: Sequence[str], *names: str
) -> str:
    """A gate on some of the qubits; `gates` has its numbers of angles and qubits."""
    name = draw.choice([each for each, (_, size) in gates.items() if size <= len(qubits)])
    count, size = gates[name]
    angles = ", ".join(formula(draw, names) for _ in range(count))
    return f"{name}{f'({angles})' if count else ''} {','.join(draw.sample(qubits, size))}"


def random_program(draw: random.Random) -> list[str]:
    """Statements, the definitions of gates among them."""
    library, included = draw.choice([("qelib1", QELIB1), ("hqslib1", HQSLIB1)])
    gates = {
        name: (count, len(make(*[0.1] * count)).bit_length() - 1)
        for name, (count, make) in included.items()
    }
    program = ["OPENQASM 2.0", f'include "{library}.inc"', "opaque magic(t) x,y"]
    for number in range(3):
        # Parameters and qubits may have the names of gates and registers.
        names, qubits = (
            draw.sample(["a", "t", "u"], number),
            draw.sample(["b", "x", "h"], number + 1),
        )
        body = [gate_call(draw, gates, qubits, *names) for _ in range(draw.randrange(4))]
        body.append(f"barrier {','.join(qubits)}")
        head = f"g{number}({','.join(names)}) {','.join(qubits)}"
        program.append(f"gate {head} {{ {'; '.join(body)}; }}")
        gates[f"g{number}"] = (len(names), len(qubits))
    program += ["qreg a[2]", "qreg b[2]", "creg c[2]", "creg d[1]", "creg out[4]", *BEGIN]
    for _ in range(12):
        statement = gate_call(draw, gates, WIRES)
        choice = draw.randrange(10)
        if choice == 0:
            statement = draw.choice(["reset a", f"reset {draw.choice(WIRES)}", "barrier a, b[1]"])
        elif choice in (1, 3, 4):
            statement = f"measure {draw.choice(WIRES)} -> {draw.choice(BITS[:3])}"
        elif choice == 2:
            statement = draw.choice(["measure b -> c", "cx a,b", "h b", "cu1(pi/3) a[1],b", "s a"])
        if draw.randrange(2):
            comparison = draw.choice(["==", "==", "==", "!=", "<", "<=", ">", ">="])
            condition = draw.choice(["c", "d", *BITS[:3]]) + comparison + str(draw.randrange(4))
            statement = f"if ({condition}) {statement}"
        program.append(statement)
    return program + END


# Their meaning


def apply(state: Array, matrix: Array, qubits: Sequence[int]) -> Array:
    blocks = matrix.reshape([2] * (2 * len(qubits)))
    inner = range(len(qubits), 2 * len(qubits))
    return np.moveaxis(np.tensordot(blocks, state, (inner, qubits)), range(len(qubits)), qubits)


def collapse(state: Array, qubit: int) -> Iterator[tuple[int, Array]]:
    """The outcomes of a measurement that can happen, with the states after them."""
    for outcome in (0, 1):
        after = apply(state, np.diag([1 - outcome, outcome]), [qubit])
        if np.linalg.norm(after) > 1e-6:
            yield outcome, after


def after_reset(branches: Branches, qubit: int) -> Branches:
    return [
        (bits, apply(after, X, [qubit]) if outcome else after)
        for bits, state in branches
        for outcome, after in collapse(state, qubit)
    ]


def after_measurement(branches: Branches, qubit: int, bit: str) -> Branches:
    return [
        ({**bits, bit: outcome}, after)
        for bits, state in branches
        for outcome, after in collapse(state, qubit)
    ]


def start(num_qubits: int) -> Branches:
    state = np.zeros([2] * num_qubits, complex)
    state.flat[0] = 1
    return [({}, state)]


def probabilities(branches: Branches) -> dict[tuple[int, ...], float]:
    """What the bits hold at the end; those that nothing has measured are zero."""
    found: dict[tuple[int, ...], float] = defaultdict(float)
    for bits, state in branches:
        found[tuple(bits.get(bit, 0) for bit in BITS)] += np.linalg.norm(state) ** 2
    return found


FUNCTIONS = {name: getattr(math, name) for name in ("pi", "sin", "cos", "tan", "exp", "sqrt")}
COMPARISONS = {"==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le}
COMPARISONS |= {">": operator.gt, ">=": operator.ge}


def elements(operand: str) -> list[str]:
    """A bit or qubit, or those of a register."""
    return [each for each in (*WIRES, *BITS) if each == operand or each[:-3] == operand]


def parse_call(text: str, values: Mapping[str, float]) -> tuple[str, list[float], list[str]]:
    """The name of a gate, its angles and its operands."""
    match = re.fullmatch(r"(\w+)(?:\((.*)\))? (.*)", text)
    assert match, text
    formulas = f"[{match[2] or ''}]".replace("^", "**")
    angles = eval(formulas, {**FUNCTIONS, "ln": math.log, **values})
    return match[1], angles, re.split(", *", match[3])


def interpret(program: Sequence[str]) -> Branches:
    branches, definitions = start(len(WIRES)), {}

    def run_gate(state: Array, name: str, angles: Sequence[float], qubits: Sequence[int]) -> Array:
        if name not in definitions:
            return apply(state, HQSLIB1[name][1](*angles), qubits)
        names, operands, body = definitions[name]
        numbers = dict(zip(operands, qubits, strict=True))
        for statement in filter(None, body.split("; ")):
            if not statement.startswith("barrier"):
                inner, values, own = parse_call(statement, dict(zip(names, angles, strict=True)))
                state = run_gate(state, inner, values, [numbers[each] for each in own])
        return state

    def run_statement(branches: Branches, statement: str) -> Branches:
        kind, _, rest = statement.partition(" ")
        if kind == "barrier":
            return branches
        if kind == "reset":
            for wire in elements(rest):
                branches = after_reset(branches, WIRES.index(wire))
            return branches
        if kind == "measure":
            for wire, bit in zip(*map(elements, rest.split(" -> ")), strict=True):
                branches = after_measurement(branches, WIRES.index(wire), bit)
            return branches
        name, angles, operands = parse_call(statement, {})
        columns = [[WIRES.index(wire) for wire in elements(operand)] for operand in operands]
        for place in range(max(map(len, columns))):
            row = [column[place % len(column)] for column in columns]
            branches = [(bits, run_gate(state, name, angles, row)) for bits, state in branches]
        return branches

    for statement in program:
        if match := re.fullmatch(r"gate (\w+)\((.*?)\) (\S+) { (.*); }", statement):
            names = match[2].split(",") if match[2] else []
            definitions[match[1]] = (names, match[3].split(","), match[4])
        if statement.split()[0] in ("OPENQASM", "include", "opaque", "gate", "qreg", "creg"):
            continue
        condition = re.match(r"if \(([^=!<>]+)(\W+?)(\d)\) ", statement)
        after: Branches = []
        for bits, state in branches:
            holds = True
            if condition:
                number = sum(bits.get(bit, 0) << i for i, bit in enumerate(elements(condition[1])))
                holds = COMPARISONS[condition[2]](number, int(condition[3]))
            action = statement[condition.end() :] if condition else statement
            after += run_statement([(bits, state)], action) if holds else [(bits, state)]
        branches = after
    return branches


def follow(circuit: cirq.Circuit) -> Branches:
    """The branches of a circuit, whose last record of the key `c_0` is the bit `c[0]`."""
    qubits = sorted(circuit.all_qubits())
    branches = start(len(qubits))
    for operation in circuit.all_operations():
        after: Branches = []
        for bits, state in branches:
            records = cirq.ClassicalDataDictionaryStore()
            for bit, value in bits.items():
                key = cirq.MeasurementKey(bit[:-1].replace("[", "_"))
                records.record_measurement(key, [value], [cirq.LineQubit(0)])
            plain, own = operation.without_classical_controls(), [(bits, state)]
            places = [qubits.index(qubit) for qubit in operation.qubits]
            if not all(each.resolve(records) for each in operation.classical_controls):
                pass
            elif isinstance(plain.gate, cirq.MeasurementGate):
                register, index = plain.gate.key.split("_")
                own = after_measurement(own, places[0], f"{register}[{index}]")
            elif isinstance(plain.gate, cirq.ResetChannel):
                own = after_reset(own, places[0])
            else:
                own = [(bits, apply(state, cirq.unitary(plain), places))]
            after += own
        branches = after
    return branches


@pytest.mark.parametrize("seed", range(40))
def test_a_random_program_has_the_probabilities_of_its_text(seed: int) -> None:
    program = random_program(random.Random(seed))
    text = "".join(f"{each}{'' if each.startswith('gate') else ';'}\n" for each in program)
    wanted, found = probabilities(interpret(program)), probabilities(follow(read_circuit(text)))
    assert sum(wanted.values()) == pytest.approx(1)
    for outcome in {*wanted, *found}:
        assert found[outcome] == pytest.approx(wanted[outcome], abs=1e-6)
