"""Circuits that many tests run, and the sweeps that go with them."""

from __future__ import annotations

import cirq
import sympy

Q0, Q1 = cirq.LineQubit.range(2)

# 00 or 11, half each.
BELL = cirq.Circuit(cirq.H(Q0), cirq.CNOT(Q0, Q1), cirq.measure(Q0, Q1, key="m"))

# Always 1.
FLIP = cirq.Circuit(cirq.X(Q0), cirq.measure(Q0, key="m"))

# 1 as often as theta says.
ROTATION = cirq.Circuit(cirq.rx(sympy.Symbol("theta"))(Q0), cirq.measure(Q0, key="m"))

# What `flip` says, 0 or 1.
SWITCH = cirq.Circuit(cirq.X(Q0) ** sympy.Symbol("flip"), cirq.measure(Q0, key="m"))

# What `a` and `b` say: each point has one possible outcome, and no two have the same.
TWO_SWITCHES = cirq.Circuit(
    cirq.X(Q0) ** sympy.Symbol("a"), cirq.X(Q1) ** sympy.Symbol("b"), cirq.measure(Q0, Q1, key="m")
)


def angles(count: int) -> cirq.Sweep:
    """So many points for `ROTATION`."""
    return cirq.Linspace("theta", 0.1, 3.0, count)
