"""Runs OpenQASM 2 programs (`honeywell.openqasm.v1`); shots are `honeywell.quantum-results.v1`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import cirq
import numpy as np
from numpy.typing import NDArray

from cirq_azure_sessions.emulator.programs import openqasm
from cirq_azure_sessions.emulator.programs.engine import sample
from cirq_azure_sessions.emulator.programs.limits import (
    ROW_SIZE,
    Budget,
    invalid_input,
    read_shots,
)
from cirq_azure_sessions.emulator.programs.noise_params import quantinuum_noise
from cirq_azure_sessions.emulator.programs.program import Output, take_census

__all__ = ["is_syntax_checker", "run"]


def run(
    target: str,
    payload: bytes,
    params: Mapping[str, Any],
    noise: cirq.NoiseModel,
    rng: np.random.Generator,
    budget: Budget,
) -> Output:
    """Runs a program and returns one string per shot and classical register.

    A string has the bit with the highest index first, as pytket and the SDK's Qiskit plugin read
    it. A syntax checker checks the program and returns only zeros, as documented.
    """
    try:
        program = openqasm.read(payload.decode(), budget)
    except UnicodeDecodeError as error:
        raise invalid_input("The program is not UTF-8 text.") from error
    shots = read_shots(params, "quantinuum")
    noise = quantinuum_noise(params, noise)
    statements = [] if is_syntax_checker(target) else program.statements
    keys = [key for register in program.bits.values() for key in register]
    budget.hold(ROW_SIZE * shots * len(program.bits))
    bits = sample(statements, keys, shots, noise, rng, budget)
    registers, start = {}, 0
    for name, register in program.bits.items():
        registers[name] = _strings(bits[:, start : start + len(register)])
        start += len(register)
    census = take_census(each for step in program.statements for each in step.operations)
    return Output(json.dumps(registers).encode(), census)


def is_syntax_checker(target: str) -> bool:
    """Whether the target only checks programs, such as `quantinuum.sim.h2-1sc`."""
    return target.startswith("quantinuum.") and target.removesuffix("-preview").endswith("sc")


def _strings(bits: NDArray[np.uint8]) -> list[str]:
    """One string of digits per row, the last column first."""
    digits = (bits[:, ::-1] + np.uint8(ord("0"))).tobytes().decode()
    width = bits.shape[1]
    return [digits[start : start + width] for start in range(0, len(digits), width)]
