"""The noise of the emulated machines: one small model, and its rates for each class of hardware.

Rates are what the makers have published, with source and date beside them; what nobody has
published is a stand-in, and says so.

After every gate, with some probability, a random Pauli error other than the identity hits the
qubits of the gate; a bit read out of a qubit is flipped with some other probability, or the qubit
is found to be lost. Idling, leakage, crosstalk and coherent errors are not modelled.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import cirq
import numpy as np

from cirq_azure_sessions.emulator.programs.limits import invalid_input

__all__ = [
    "NOISELESS",
    "MachineNoise",
    "ionq_noise",
    "is_silent",
    "quantinuum_noise",
    "target_noise",
]


@dataclass(frozen=True)
class MachineNoise(cirq.NoiseModel):
    """The probabilities of errors.

    Attributes:
        one_qubit: That a one-qubit gate is followed by an error.
        two_qubit: That a two-qubit gate is followed by an error. A gate on more qubits puts an
            error on each of them with this probability.
        readout: That a 0 is read as 1, and that a 1 is read as 0.
        loss: That a qubit is lost, in machines of neutral atoms, and found so when it is read out.
    """

    one_qubit: float = 0.0
    two_qubit: float = 0.0
    readout: tuple[float, float] = (0.0, 0.0)
    loss: float = 0.0

    def noisy_operation(self, operation: cirq.Operation) -> Iterator[cirq.Operation]:
        gate, qubits = operation.gate, operation.qubits
        if isinstance(gate, cirq.MeasurementGate) and any(self.readout):
            zero, one = self.readout
            confusion = np.array([[1 - zero, zero], [one, 1 - one]])
            yield cirq.MeasurementGate(1, gate.key, confusion_map={(0,): confusion}).on(*qubits)
            return
        yield operation
        if isinstance(gate, cirq.MeasurementGate | cirq.ResetChannel):
            return
        rate = self.one_qubit if len(qubits) == 1 else self.two_qubit
        if rate and len(qubits) <= 2:
            yield _depolarize(rate, len(qubits)).on(*qubits)
        elif rate:
            yield from _depolarize(rate, 1).on_each(*qubits)


@functools.lru_cache(maxsize=64)
def _depolarize(rate: float, size: int) -> cirq.DepolarizingChannel:
    return cirq.depolarize(rate, n_qubits=size)


NOISELESS = MachineNoise()


def is_silent(noise: cirq.NoiseModel) -> bool:
    """Whether nothing ever goes wrong."""
    return noise in (NOISELESS, cirq.NO_NOISE)


def _ionq(one_qubit: float, two_qubit: float, readout: float = 0.0) -> MachineNoise:
    """IonQ's rates `r` mix with the identity too: 1/4 of it, or 1/16, is no error at all."""
    return MachineNoise(one_qubit * 3 / 4, two_qubit * 15 / 16, (readout, readout))


# docs.ionq.com, "Simulation with noise models"; that page has no rates for harmony's own formula
# nor, yet, for forte-enterprise-1, which is a Forte.
_IONQ_MODELS = {
    "ideal": NOISELESS,
    "aria-1": _ionq(0.0005, 0.0133),
    "aria-2": _ionq(0.000657, 0.01856),
    "forte-1": _ionq(0.000267, 0.00495),
    "forte-enterprise-1": _ionq(0.000267, 0.00495),
}


def _infidelities(one_qubit: float, two_qubit: float, readout: float) -> MachineNoise:
    """The rates that leave gates with these average infidelities.

    An error of probability p, depolarizing in dimension d, costs p d / (d + 1) of the average
    fidelity (Nielsen, Phys. Lett. A 303, 249).
    """
    return MachineNoise(one_qubit * 3 / 2, two_qubit * 5 / 4, (readout, readout))


# No machine publishes how it reads out here: a stand-in of the size that transmons show.
_TRANSMON_READOUT = 3e-2

# The first pattern that fits a target counts, and a target that none fits is free of noise.
#
# IonQ: the rates above, and the errors of preparation and measurement on Azure's page on the
# provider (learn.microsoft.com/azure/quantum/provider-ionq, 2025).
# Quantinuum H1: the parameters of its emulator, p1, p2 and p_meas, on Azure's page on the provider
# (learn.microsoft.com/azure/quantum/provider-quantinuum, 2024).
# Quantinuum H2: one-qubit gates and readout from Moses et al., arXiv:2305.03828 (2023), two-qubit
# gates from DeCross et al., arXiv:2406.02501 (2024).
# Rigetti: the medians of two-qubit gates in its announcements of Ankaa-3 (December 2024, iSWAP) and
# of the 36 qubits that became Cepheus-1 (July 2025). One-qubit gates are a stand-in, as is readout.
# QCI: nothing is published for these targets; all of it is a stand-in.
# Neutral atoms: a stand-in too; what matters is that shots lose qubits.
_TARGETS: tuple[tuple[str, MachineNoise], ...] = (
    ("ionq.qpu.aria-2*", _ionq(0.000657, 0.01856, 0.0039)),
    ("ionq.qpu.aria*", _ionq(0.0005, 0.0133, 0.0039)),
    ("ionq.qpu*", _ionq(0.000267, 0.00495, 0.0044)),
    ("quantinuum.*.*sc", NOISELESS),
    ("quantinuum.*.*sc-preview", NOISELESS),
    ("quantinuum.*.h1-*", MachineNoise(4e-5, 3e-3, (3e-3, 3e-3))),
    ("quantinuum.*.h2-*", _infidelities(2.5e-5, 1.57e-3, 1.6e-3)),
    ("rigetti.qpu.cepheus*", _infidelities(1e-3, 5e-3, _TRANSMON_READOUT)),
    ("rigetti.qpu.*", _infidelities(1e-3, 1e-2, _TRANSMON_READOUT)),
    ("qci.machine*", _infidelities(1e-3, 1e-2, _TRANSMON_READOUT)),
    ("msft.sim.*.physical", replace(_infidelities(1e-3, 5e-3, 2e-3), loss=5e-3)),
    ("qci.simulator.noisy", _infidelities(1e-3, 1e-2, _TRANSMON_READOUT)),
)


def target_noise(target: str) -> MachineNoise:
    """The noise of a target's hardware, or of its own simulator of it."""
    return next((model for pattern, model in _TARGETS if fnmatchcase(target, pattern)), NOISELESS)


def ionq_noise(params: Mapping[str, Any]) -> tuple[MachineNoise, int | None] | None:
    """What IonQ's parameter `noise` asks for: `{"model": "aria-1", "seed": 7}`.

    Returns:
        The model and the seed, or None if the job does not ask.
    """
    noise = params.get("noise")
    if noise is None:
        return None
    fields = noise if isinstance(noise, Mapping) else {}
    model, seed = fields.get("model", "ideal"), fields.get("seed")
    if not isinstance(model, str) or model not in _IONQ_MODELS:
        raise invalid_input(f"The noise model has to be one of {', '.join(_IONQ_MODELS)}.")
    if seed is not None and (type(seed) is not int or not 0 <= seed < 2**63):
        raise invalid_input("The seed of the noise model has to be a non-negative integer.")
    return _IONQ_MODELS[model], seed


def quantinuum_noise(params: Mapping[str, Any], model: cirq.NoiseModel) -> cirq.NoiseModel:
    """`model` as changed by the parameters of Quantinuum's emulators.

    `error-model: false` switches the noise off. `error-params` overrides single rates: `p1`, `p2`
    and `p_meas`, which is a number or a pair; the others that Quantinuum has are not modelled.
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
