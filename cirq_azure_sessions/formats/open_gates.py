"""Gates whose symbols Cirq does not see.

IonQ's native gates in `cirq_ionq` accept a symbol for a number, but neither report it nor resolve
it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import cirq
import sympy

__all__ = ["PACKAGE", "OpenGate", "opened", "with_open_gates"]

# The package of these gates.
PACKAGE = "cirq_ionq"


@cirq.value_equality
class OpenGate(cirq.Gate):
    """A gate with unresolved numbers, which becomes the actual gate when they are resolved.

    Args:
        kind: The class of the gate.
        numbers: The arguments of the class, which may be symbols and formulas.
    """

    def __init__(self, kind: type[cirq.Gate], numbers: Mapping[str, Any]) -> None:
        self.kind = kind
        self._numbers = dict(numbers)
        self._num_qubits = cirq.num_qubits(kind(**numbers))

    def _num_qubits_(self) -> int:
        return self._num_qubits

    def _parameter_names_(self) -> set[str]:
        return {name for value in self._numbers.values() for name in cirq.parameter_names(value)}

    def _is_parameterized_(self) -> bool:
        return True

    def _resolve_parameters_(self, resolver: cirq.ParamResolver, recursive: bool) -> cirq.Gate:
        numbers = {k: resolver.value_of(v, recursive) for k, v in self._numbers.items()}
        return opened(self.kind(**numbers))

    def _value_equality_values_(self) -> Any:
        return self.kind, tuple(sorted(self._numbers.items(), key=lambda item: item[0]))

    def __repr__(self) -> str:
        return repr(self.kind(**self._numbers))


def opened(gate: cirq.Gate) -> cirq.Gate:
    """The gate, as an `OpenGate` if it holds symbols that Cirq does not see.

    SymPy's numbers become floats.
    """
    if type(gate).__module__.partition(".")[0] != PACKAGE or cirq.is_parameterized(gate):
        return gate
    # The arguments from which JSON restores a gate.
    numbers = {k: v for k, v in gate._json_dict_().items() if k != "cirq_type"}
    if not any(isinstance(value, sympy.Basic) for value in numbers.values()):
        return gate
    if any(getattr(value, "free_symbols", None) for value in numbers.values()):
        return OpenGate(type(gate), numbers)
    return type(gate)(**{name: float(value) for name, value in numbers.items()})


def with_open_gates(circuit: cirq.AbstractCircuit) -> cirq.AbstractCircuit:
    """The circuit, with all its symbols visible to Cirq."""
    if PACKAGE not in sys.modules:
        return circuit
    return cirq.map_operations(circuit, lambda operation, _: _opened(operation), deep=True)


def _opened(operation: cirq.Operation) -> cirq.Operation:
    plain = operation.without_classical_controls().untagged
    gate = plain.gate
    if gate is None or (open_gate := opened(gate)) is gate:
        return operation
    controls = operation.classical_controls
    changed = open_gate.on(*plain.qubits).with_tags(*operation.tags)
    return changed.with_classical_controls(*controls) if controls else changed
