"""Runs OpenQASM 2 programs (`honeywell.openqasm.v1`); shots are `honeywell.quantum-results.v1`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import cirq
import numpy as np
from numpy.typing import NDArray

from cirq_azure_sessions.emulator.programs.program import ROW_SIZE, Output, read_shots, take_census
from cirq_azure_sessions.noise import NOISELESS, MachineNoise
from cirq_azure_sessions.openqasm import reader
from cirq_azure_sessions.workspaces.local.engine import Engine
from cirq_azure_sessions.workspaces.local.program import invalid_input

__all__ = ["is_syntax_checker", "read_noise", "run"]


def run(engine: Engine, target: str, payload: bytes, params: Mapping[str, Any]) -> Output:
    """Runs a program and returns one string per shot and classical register.

    A string has the bit with the highest index first, as pytket and the SDK's Qiskit plugin read
    it. A syntax checker checks the program and returns only zeros, as documented.
    """
    try:
        program = reader.read(payload.decode(), engine.budget)
    except UnicodeDecodeError as error:
        raise invalid_input("The program is not UTF-8 text.") from error
    shots = read_shots(params, "quantinuum")
    engine = replace(engine, noise=read_noise(params, engine.noise))
    statements = [] if is_syntax_checker(target) else program.statements
    keys = [key for register in program.bits.values() for key in register]
    engine.budget.hold(ROW_SIZE * shots * len(program.bits))
    bits = engine.sample(statements, keys, shots)
    registers, start = {}, 0
    for name, register in program.bits.items():
        registers[name] = _strings(bits[:, start : start + len(register)])
        start += len(register)
    census = take_census(each for step in program.statements for each in step.operations)
    return Output(json.dumps(registers).encode(), census)


def read_noise(params: Mapping[str, Any], model: cirq.NoiseModel) -> cirq.NoiseModel:
    """`model` as changed by the parameters of Quantinuum's emulators.

    `error-model: false` switches the noise off. `error-params` overrides single rates: `p1`, `p2`
    and `p_meas`, which is a number or a pair; Quantinuum's others are not modelled.
    """
    if params.get("error-model") is False:
        return NOISELESS
    given = params.get("error-params")
    if given is None:
        return model
    if not isinstance(given, Mapping):
        raise invalid_input("error-params has to be an object of error rates.")
    rates = model if isinstance(model, MachineNoise) else NOISELESS
    readout = given.get("p_meas", rates.readout)
    zero, one = (
        readout if isinstance(readout, list | tuple) and len(readout) == 2 else [readout] * 2
    )
    return replace(
        rates,
        one_qubit=_rate(given.get("p1", rates.one_qubit)),
        two_qubit=_rate(given.get("p2", rates.two_qubit)),
        readout=(_rate(zero), _rate(one)),
    )


def _rate(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise invalid_input("An error rate has to be a number from 0 to 1.")
    return float(value)


def is_syntax_checker(target: str) -> bool:
    """Whether the target only checks programs, such as `quantinuum.sim.h2-1sc`."""
    return target.startswith("quantinuum.") and target.removesuffix("-preview").endswith("sc")


def _strings(bits: NDArray[np.uint8]) -> list[str]:
    """One string of digits per row, the last column first."""
    digits = (bits[:, ::-1] + np.uint8(ord("0"))).tobytes().decode()
    width = bits.shape[1]
    return [digits[start : start + width] for start in range(0, len(digits), width)]
