"""OpenQASM 3 programs that qdk would read with reversed bits."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cirq_azure_sessions.workspaces.azure.bit_order import misread_place

DECLARATIONS = "bit[3] c; bit[3] d; creg g[2]; bit[1] one; bit e; int i; qubit[8] q;\n"


@pytest.mark.parametrize(
    ("statement", "column"),
    [
        ("if (c == 2) { x q[0]; }", 5),
        ("if (2 > c) { x q[0]; }", 9),
        ("if (g != 1) { x q[0]; }", 5),
        ("if (c[0:1] == 2) { x q[0]; }", 5),
        ('if (c == "001") { x q[0]; }', 5),
        ("if ((c & 4) == 4) { x q[0]; }", 6),
        ("i = int[3](c);", 12),
        ("uint[3] u = c;", 13),
        ("i = c;", 5),
        ("i += c;", 6),
        ("i = c + 1;", 5),
        ("d = c << 1;", 5),
        ("c >>= 1;", 1),
        ("c = 5;", 1),
        ("d = bit[3](i);", 5),
        ('bit[4] h = "0001";', 12),
        ("switch (c) { case 1 { x q[0]; } }", 9),
        ("x q[c];", 5),
    ],
)
def test_bits_that_stand_for_a_number_are_found(statement: str, column: int) -> None:
    assert misread_place(DECLARATIONS + statement) == (2, column)


@pytest.mark.parametrize(
    "statement",
    [
        "c = measure q[0:2];",
        "c[0:1] = measure q[0:1];",
        "measure q[0] -> c[0];",
        "measure q[0:2] -> c;",
        "d = c;",
        "let a = c;",
        "d = ~c & d;",
        "c ^= d;",
        "if (c) { x q[0]; }",
        "bool b = c;",
        "if (c[0] == 1 && c[2] == 0) { x q[0]; }",
        "for uint j in [0:2] { if (c[j] == 1) { x q[j+1]; } }",
        "if (one == 1 || e == 1) { x q[0]; }",
        'bit[4] h = "01_10";',
        "int cc = 1; if (cc == 1) { rx(2*pi/3) q[i+1]; }",
    ],
)
def test_programs_without_such_bits_pass(statement: str) -> None:
    assert misread_place(f'include "stdgates.inc"; {DECLARATIONS}{statement}') is None


def test_qdk_reads_the_first_bit_as_the_highest() -> None:
    """Once this fails, the check is no longer needed."""
    pytest.importorskip("qdk")
    program = (
        "qubit q; bit[2] c; U(pi, 0, pi) q; c[0] = measure q; output bool is_one; is_one = c == 1;"
    )
    script = f"from qdk import openqasm; print(openqasm.run({program!r}, shots=1))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[False]", done.stderr
