"""Noise of machines: a small Cirq noise model, and its rates for each class of hardware.

The rates are those that the vendors publish, with source and date. Where nothing is published,
placeholders are used, and marked as such. The emulator's machines and the targets
`local.like:TARGET` share the rates.

After every gate, with some probability, a random Pauli error other than the identity affects the
qubits of the gate. With another probability a measured bit is flipped, or the qubit turns out to be
lost. Idling, leakage, crosstalk and coherent errors are not modelled.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import cirq
import numpy as np

from cirq_azure_sessions.errors import UnsupportedTarget
from cirq_azure_sessions.spelling import did_you_mean

__all__ = [
    "IONQ_MODELS",
    "NOISELESS",
    "MachineNoise",
    "is_silent",
    "published_noise",
    "published_targets",
    "target_noise",
]


@dataclass(frozen=True)
class MachineNoise(cirq.NoiseModel):
    """The probabilities of errors.

    Attributes:
        one_qubit: An error after a one-qubit gate.
        two_qubit: An error after a two-qubit gate. After a gate on more qubits, each of them has an
            error with this probability.
        readout: Reading a 0 as 1, and reading a 1 as 0.
        loss: Losing a qubit of a neutral-atom machine, which is detected at readout.
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


class _Depolarizing(cirq.DepolarizingChannel):
    """Cirq's channel, but much faster: Cirq recomputes 16 matrices after each gate."""

    def _act_on_(self, sim_state: Any, qubits: Sequence[cirq.Qid]) -> Any:
        if not isinstance(sim_state, cirq.StateVectorSimulationState):
            return NotImplemented
        # The common case: no error.
        if sim_state.prng.random_sample() < self.p:
            error = sim_state.prng.randint(1, 4**self.n_qubits)
            for qubit in qubits:
                error, pauli = divmod(error, 4)
                if pauli:
                    cirq.act_on((cirq.X, cirq.Y, cirq.Z)[pauli - 1], sim_state, [qubit])
        return True

    def _apply_channel_(self, args: cirq.ApplyChannelArgs) -> Any:
        """Mixes a density matrix with one in which these qubits are maximally mixed.

        In the latter, all Paulis including the identity have equal weight.
        """
        dimension = 2**self.n_qubits
        share = self.p * dimension**2 / (dimension**2 - 1)
        states = list(itertools.product((0, 1), repeat=self.n_qubits))
        blocks: list[Any] = []
        for state in states:
            index: list[Any] = [slice(None)] * args.target_tensor.ndim
            for axes in (args.left_axes, args.right_axes):
                for axis, bit in zip(axes, state, strict=True):
                    index[axis] = bit
            blocks.append(tuple(index))
        rest = sum(args.target_tensor[block] for block in blocks) * (share / dimension)
        mixed = args.target_tensor * (1 - share)
        for block in blocks:
            mixed[block] += rest
        return mixed.astype(args.target_tensor.dtype, copy=False)


@functools.lru_cache(maxsize=64)
def _depolarize(rate: float, size: int) -> cirq.DepolarizingChannel:
    return _Depolarizing(rate, size)


NOISELESS = MachineNoise()


def is_silent(noise: cirq.NoiseModel) -> bool:
    """Whether all error rates are zero."""
    return noise in (NOISELESS, cirq.NO_NOISE)


def _ionq(one_qubit: float, two_qubit: float) -> MachineNoise:
    """IonQ's rates `r` include the identity: 1/4 of it, or 1/16, is no error at all."""
    return MachineNoise(one_qubit * 3 / 4, two_qubit * 15 / 16)


# docs.ionq.com, "Simulation with noise models". The page has no rates for harmony, which has a
# formula of its own, or for forte-enterprise-1, which is a Forte.
IONQ_MODELS = {
    "ideal": NOISELESS,
    "aria-1": _ionq(0.0005, 0.0133),
    "aria-2": _ionq(0.000657, 0.01856),
    "forte-1": _ionq(0.000267, 0.00495),
    "forte-enterprise-1": _ionq(0.000267, 0.00495),
}


def _ionq_machine(model: str, readout: float) -> MachineNoise:
    return replace(IONQ_MODELS[model], readout=(readout, readout))


def _infidelities(one_qubit: float, two_qubit: float, readout: float) -> MachineNoise:
    """The rates that give gates these average infidelities.

    A depolarizing error of probability p in dimension d reduces the average fidelity by p d / (d +
    1) (Nielsen, Phys. Lett. A 303, 249).
    """
    return MachineNoise(one_qubit * 3 / 2, two_qubit * 5 / 4, (readout, readout))


# No readout error is published for these machines: a placeholder, typical of transmons.
_TRANSMON_READOUT = 3e-2


class _Row(NamedTuple):
    """The noise of the targets that match a pattern.

    Attributes:
        targets: The targets whose rates are published; none if all rates are placeholders.
        source: The source and date of publication.
    """

    pattern: str
    noise: MachineNoise
    targets: tuple[str, ...] = ()
    source: str = ""


_IONQ = (
    "docs.ionq.com, Simulation with noise models; readout: "
    "learn.microsoft.com/azure/quantum/provider-ionq (2025)"
)
_H1 = "p1, p2 and p_meas of learn.microsoft.com/azure/quantum/provider-quantinuum (2024)"
_H2 = "arXiv:2305.03828 (2023); two qubits: arXiv:2406.02501 (2024)"
_RIGETTI = (
    "two qubits: the median in Rigetti's announcement of {}; one qubit and readout: placeholders"
)

# The first pattern that matches a target applies; a target that matches none has no noise. For
# neutral atoms nothing is published; what matters is that shots lose qubits.
_TARGETS = (
    _Row("ionq.qpu.aria-2*", _ionq_machine("aria-2", 0.0039), ("ionq.qpu.aria-2",), _IONQ),
    _Row("ionq.qpu.aria*", _ionq_machine("aria-1", 0.0039), ("ionq.qpu.aria-1",), _IONQ),
    _Row(
        "ionq.qpu*",
        _ionq_machine("forte-1", 0.0044),
        ("ionq.qpu.forte-1", "ionq.qpu.forte-enterprise-1"),
        _IONQ,
    ),
    _Row("quantinuum.*.*sc", NOISELESS),
    _Row("quantinuum.*.*sc-preview", NOISELESS),
    _Row(
        "quantinuum.*.h1-*",
        MachineNoise(4e-5, 3e-3, (3e-3, 3e-3)),
        ("quantinuum.qpu.h1-1", "quantinuum.sim.h1-1e"),
        _H1,
    ),
    _Row(
        "quantinuum.*.h2-*",
        _infidelities(2.5e-5, 1.57e-3, 1.6e-3),
        (
            "quantinuum.qpu.h2-1",
            "quantinuum.qpu.h2-2",
            "quantinuum.sim.h2-1e",
            "quantinuum.sim.h2-2e",
        ),
        _H2,
    ),
    _Row(
        "rigetti.qpu.cepheus*",
        _infidelities(1e-3, 5e-3, _TRANSMON_READOUT),
        ("rigetti.qpu.cepheus-1-36q",),
        _RIGETTI.format("the 36 qubits that became Cepheus-1 (July 2025)"),
    ),
    _Row(
        "rigetti.qpu.*",
        _infidelities(1e-3, 1e-2, _TRANSMON_READOUT),
        ("rigetti.qpu.ankaa-3",),
        _RIGETTI.format("Ankaa-3 (December 2024)"),
    ),
    _Row("qci.machine*", _infidelities(1e-3, 1e-2, _TRANSMON_READOUT)),
    _Row("msft.sim.*.physical", replace(_infidelities(1e-3, 5e-3, 2e-3), loss=5e-3)),
    _Row("qci.simulator.noisy", _infidelities(1e-3, 1e-2, _TRANSMON_READOUT)),
)


def _row(target: str) -> _Row | None:
    return next((row for row in _TARGETS if fnmatchcase(target, row.pattern)), None)


def target_noise(target: str) -> MachineNoise:
    """The noise of a target's hardware, or of the hardware that the target emulates."""
    row = _row(target)
    return row.noise if row else NOISELESS


def published_targets() -> dict[str, str]:
    """The targets with published noise, with source and date."""
    return {target: row.source for row in _TARGETS for target in row.targets}


def published_noise(target: str) -> MachineNoise:
    """The published noise of a target.

    Raises:
        UnsupportedTarget: If there is none.
    """
    names = sorted(published_targets())
    if target not in names:
        raise UnsupportedTarget(
            f"No noise of {target!r} is published; local.like:TARGET takes {', '.join(names)}."
            f"{did_you_mean(target, names)}"
        )
    return target_noise(target)
