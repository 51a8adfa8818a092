"""Noise requested by a job's parameters, which overrides that of its target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import cirq

from cirq_azure_sessions.emulator.programs.limits import invalid_input
from cirq_azure_sessions.noise import IONQ_MODELS, NOISELESS, MachineNoise

__all__ = ["ionq_noise", "quantinuum_noise"]


def ionq_noise(params: Mapping[str, Any]) -> tuple[MachineNoise, int | None] | None:
    """The noise of IonQ's parameter `noise`: `{"model": "aria-1", "seed": 7}`.

    Returns:
        The model and the seed, or None if the job requests none.
    """
    noise = params.get("noise")
    if noise is None:
        return None
    fields = noise if isinstance(noise, Mapping) else {}
    model, seed = fields.get("model", "ideal"), fields.get("seed")
    if not isinstance(model, str) or model not in IONQ_MODELS:
        raise invalid_input(f"The noise model has to be one of {', '.join(IONQ_MODELS)}.")
    if seed is not None and (type(seed) is not int or not 0 <= seed < 2**63):
        raise invalid_input("The seed of the noise model has to be a non-negative integer.")
    return IONQ_MODELS[model], seed


def quantinuum_noise(params: Mapping[str, Any], model: cirq.NoiseModel) -> cirq.NoiseModel:
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
