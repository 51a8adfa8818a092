"""OpenQASM 2 programs (`honeywell.openqasm.v1`), into shots (`honeywell.quantum-results.v1`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cirq_azure_sessions.emulator.programs import openqasm
from cirq_azure_sessions.emulator.programs.failure import invalid_input
from cirq_azure_sessions.emulator.programs.instructions import (
    Comparison,
    Conditional,
    Instruction,
)
from cirq_azure_sessions.emulator.programs.noise import NoiseModel, quantinuum_noise
from cirq_azure_sessions.emulator.programs.parameters import check_result_size, read_shots
from cirq_azure_sessions.emulator.programs.simulation import sample

__all__ = ["instructions", "is_syntax_checker", "run"]


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
    try:
        program = openqasm.read(payload.decode())
    except UnicodeDecodeError as error:
        raise invalid_input("The program is not UTF-8 text.") from error
    shots = read_shots(params, "quantinuum")
    noise = quantinuum_noise(params, noise)
    check_result_size(shots, program.num_bits)
    if is_syntax_checker(target):
        bits = np.zeros((shots, program.num_bits), dtype=np.uint8)
    else:
        # One bit more holds whether the last condition was true.
        bits = sample([*instructions(program)], program.num_bits + 1, shots, noise, rng)
    registers = {
        name: _strings(bits[:, register.start : register.stop])
        for name, register in program.bits.items()
    }
    return json.dumps(registers).encode()


def is_syntax_checker(target: str) -> bool:
    """Whether the target only checks programs, like `quantinuum.sim.h2-1sc`."""
    return target.startswith("quantinuum.") and target.removesuffix("-preview").endswith("sc")


def instructions(program: openqasm.Program) -> Iterator[Instruction]:
    """What the program does; the bit after the program's own holds what its conditions come to."""
    holds = program.num_bits
    for statement in program.statements:
        steps = map(_instruction, statement.operations)
        if condition := statement.condition:
            # Compared once, before a broadcast measurement can change the register.
            yield Comparison(condition.bits, condition.comparison, condition.value, holds)
            yield from (Conditional(holds, step) for step in steps)
        else:
            yield from steps


def _instruction(operation: openqasm.Operation) -> Instruction:
    if isinstance(operation, openqasm.Application):
        return operation.gate.instruction(operation.params, operation.qubits)
    return operation


def _strings(bits: NDArray[np.uint8]) -> list[str]:
    """One string of digits for each row, the last column first."""
    digits = (bits[:, ::-1] + np.uint8(ord("0"))).tobytes().decode()
    width = bits.shape[1]
    return [digits[start : start + width] for start in range(0, len(digits), width)]
