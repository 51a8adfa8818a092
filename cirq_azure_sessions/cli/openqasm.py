"""Reads OpenQASM 2 with Cirq's importer, and mends what that importer of Cirq 1.6 gets wrong.

The program is rewritten first, into the part of the language that the importer reads rightly:

- barriers and opaque gates, which say nothing about the result, are left out, and so are registers
  that are declared once more as they were;
- gates that the program defines are written out, because the importer loses the angles of `u1`,
  `u2` and `u3` in them, and so are `cu1`, `cu3` and `cu`, whose phases it gets wrong;
- a conditional gate on a whole register is written out for each qubit, of which the importer takes
  the first alone, and one whose register is too short for its number is left out.

In the circuit, conditions on bits that nothing has measured yet are settled: such bits are zero.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cirq

__all__ = ["read_openqasm"]

_COMMENT = re.compile(r"//[^\n]*")
_STATEMENT = re.compile(r"gate\b[^{}]*\{[^{}]*\}|[^\s;{}][^;{}]*;")
_SILENT = re.compile(r"(?:barrier|opaque)\b")
_REGISTER = re.compile(r"([qc])reg\s+(\w+)\s*\[\s*(\d+)\s*\]\s*;")
_DEFINITION = re.compile(r"gate\s+(\w+)\s*(?:\(([^)]*)\))?([^{]*)\{([^}]*)\}")
_CALL = re.compile(r"(if\s*\([^)]*\))?\s*(\w+)\s*(?:\((.*)\))?([^()]*);", re.DOTALL)
_CONDITION = re.compile(r"if\s*\(\s*(\w+)\s*==\s*(\d+)\s*\)")
_NAME = re.compile(r"[A-Za-z_]\w*")

# Gates of qelib1.inc (arXiv:1707.03429) that the importer gets wrong, as that file defines them.
_LIBRARY = """
gate cu1(a) c, t { cp(a) c, t; }
gate cu3(a, b, d) c, t {
    u1((d + b) / 2) c; u1((d - b) / 2) t; cx c, t;
    u3(-a / 2, 0, -(b + d) / 2) t; cx c, t; u3(a / 2, b, 0) t;
}
gate cu(a, b, d, e) c, t { p(e) c; cu3(a, b, d) c, t; }
"""


def read_openqasm(text: str) -> cirq.Circuit:
    """The circuit of a program.

    The names are the importer's: the classical bit `c[2]` is the measurement key `c_2`, and the
    qubit `q[0]` is `cirq.NamedQubit("q_0")`. A bit that is measured several times has one record
    for each time.

    Raises:
        ValueError: If the text is not a program, or not one that Cirq can express.
    """
    # The importer needs a parser library, which takes a moment to load.
    from cirq.contrib.qasm_import import QasmException, circuit_from_qasm

    try:
        circuit = circuit_from_qasm(_Rewriter().rewrite(text))
    except (QasmException, ArithmeticError) as error:
        raise ValueError(" ".join(str(error).split())) from error
    return cirq.Circuit(_settle_conditions(circuit))


@dataclass(frozen=True, slots=True)
class _Gate:
    """A gate as it is written: its name, its angles as formulas, and its qubits by name."""

    name: str
    angles: Sequence[str]
    qubits: Sequence[str]

    @classmethod
    def parse(cls, name: str, angles: str, qubits: str) -> _Gate:
        return cls(name, _items(angles), _items(qubits))

    def __str__(self) -> str:
        angles = f"({','.join(self.angles)})" if self.angles else ""
        return f"{self.name}{angles} {','.join(self.qubits)};"


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


@dataclass(frozen=True, slots=True)
class _Definition:
    """A gate made of others, which are not made of others again."""

    head: _Gate
    body: Sequence[_Gate]

    def apply(self, gate: _Gate) -> Iterator[_Gate]:
        """The body, with the angles and qubits of `gate` in place of the names in the head."""
        if len(gate.angles) != len(self.head.angles) or len(gate.qubits) != len(self.head.qubits):
            raise ValueError(f"'{gate}' does not fit the definition of '{self.head}'")
        qubits = dict(zip(self.head.qubits, gate.qubits, strict=True))
        angles = {
            name: f"({angle})" for name, angle in zip(self.head.angles, gate.angles, strict=True)
        }
        for inner in self.body:
            yield _Gate(
                inner.name,
                [_NAME.sub(lambda name: angles.get(name[0], name[0]), a) for a in inner.angles],
                [qubits.get(name, name) for name in inner.qubits],
            )


class _Rewriter:
    """Rewrites a program statement by statement, each in its old line."""

    def __init__(self) -> None:
        # State: how each register was declared, and the gates that were defined so far.
        self._registers: dict[str, tuple[str, int]] = {}
        self._definitions: dict[str, _Definition] = {}
        self.rewrite(_LIBRARY)

    def rewrite(self, text: str) -> str:
        lines = "\n".join(text.splitlines())
        return _STATEMENT.sub(self._rewrite_in_line, _COMMENT.sub("", lines))

    def _rewrite_in_line(self, match: re.Match[str]) -> str:
        rewritten = self._rewrite_statement(match[0])
        return rewritten + "\n" * (match[0].count("\n") - rewritten.count("\n"))

    def _rewrite_statement(self, statement: str) -> str:
        if _SILENT.match(statement):
            return ""
        if register := _REGISTER.fullmatch(statement):
            return "" if self._is_repeated(*register.groups()) else statement
        if definition := _DEFINITION.fullmatch(statement):
            self._define(*definition.groups(""))
            return ""
        if call := _CALL.fullmatch(statement):
            condition, *gate = call.groups("")
            return self._rewrite_call(statement, condition, _Gate.parse(*gate))
        return statement

    def _is_repeated(self, kind: str, name: str, size: str) -> bool:
        """Whether the register was declared just so before; a new one is noted."""
        known = self._registers.get(name)
        self._registers.setdefault(name, (kind, int(size)))
        return known == (kind, int(size))

    def _define(self, name: str, angles: str, qubits: str, body: str) -> None:
        statements = (s for s in _STATEMENT.findall(body) if not _SILENT.match(s))
        calls = (call for call in map(_CALL.fullmatch, statements) if call)
        gates = self._expand(_Gate.parse(*call.groups("")[1:]) for call in calls)
        self._definitions[name] = _Definition(_Gate.parse(name, angles, qubits), list(gates))

    def _rewrite_call(self, statement: str, condition: str, gate: _Gate) -> str:
        if not condition and gate.name not in self._definitions:
            return statement
        if self._never_holds(condition):
            return ""
        return " ".join(f"{condition} {each}" for each in self._expand(self._spread(gate)))

    def _never_holds(self, condition: str) -> bool:
        """Whether a register is compared with a number that it is too short for."""
        match = _CONDITION.fullmatch(condition)
        if match is None or match[1] not in self._registers:
            return False
        return int(match[2]) >> self._registers[match[1]][1] > 0

    def _spread(self, gate: _Gate) -> Iterator[_Gate]:
        """The gate for each qubit of the registers that it names as a whole."""
        sizes = [self._registers[name][1] for name in gate.qubits if name in self._registers]
        for index in range(max(sizes, default=1)):
            qubits = [f"{q}[{index}]" if q in self._registers else q for q in gate.qubits]
            yield _Gate(gate.name, gate.angles, qubits)

    def _expand(self, gates: Iterable[_Gate]) -> Iterator[_Gate]:
        """The gates, and in place of each that is defined what it is made of."""
        for gate in gates:
            definition = self._definitions.get(gate.name)
            yield from definition.apply(gate) if definition else [gate]


def _settle_conditions(circuit: cirq.Circuit) -> Iterator[cirq.Operation]:
    """Leaves out conditions on bits that are still zero, and what waits for a one in them."""
    written: set[str] = set()
    for operation in circuit.all_operations():
        written |= cirq.measurement_key_names(operation)
        wanted = [_bit_and_value(condition) for condition in operation.classical_controls]
        if any(value for bit, value in wanted if bit not in written):
            continue
        # These are evaluated faster, shot by shot, than the formulas that the importer writes.
        conditions = [
            cirq.BitMaskKeyCondition(bit, target_value=value, equal_target=True)
            for bit, value in wanted
            if bit in written
        ]
        yield operation.without_classical_controls().with_classical_controls(*conditions)


def _bit_and_value(condition: cirq.Condition) -> tuple[str, int]:
    """What a condition compares; the importer writes `Eq(bit, value)` for each bit."""
    assert isinstance(condition, cirq.SympyCondition)
    return str(condition.expr.lhs), int(condition.expr.rhs)
