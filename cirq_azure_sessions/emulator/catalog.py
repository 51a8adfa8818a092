"""The providers and targets of the emulated workspace, and their availability.

Targets, their order, queue times and status pages are those of the recordings (`providerStatus` in
October and November 2025, and the additional ones of August 2024), and newer targets that the SDK
and the tests of Azure's command line name. Only the availability differs: some targets were down
when recorded; here all are available until `set_availability` changes that.
"""

from __future__ import annotations

from typing import Any

from cirq_azure_sessions.emulator.responses import ApiError
from cirq_azure_sessions.options import shortened

__all__ = ["DEGRADED", "Catalog"]

_TEST_PROVIDER = "Microsoft.Test.FirstParty"

# Azure's terms. A degraded target accepts jobs without running them, an unavailable one refuses
# them.
AVAILABLE, DEGRADED, UNAVAILABLE = "Available", "Degraded", "Unavailable"

# Average queue times in seconds, by provider and target.
_TARGETS: dict[str, dict[str, int]] = {
    "ionq": {
        "ionq.qpu": 0,
        "ionq.qpu.aria-1": 0,
        "ionq.qpu.aria-2": 0,
        "ionq.simulator": 3,
        "ionq.qpu.forte-1": 0,
        "ionq.qpu.forte-enterprise-1": 0,
    },
    "pasqal": {"pasqal.sim.emu-tn": 0, "pasqal.qpu.fresnel": 0},
    "quantinuum": {
        "quantinuum.qpu.h1-1": 93331,
        "quantinuum.sim.h1-1sc": 52,
        "quantinuum.sim.h1-1e": 7324,
        "quantinuum.qpu.h2-1": 248309,
        "quantinuum.sim.h2-1sc": 1,
        "quantinuum.sim.h2-1e": 199773,
        "quantinuum.qpu.h2-2": 0,
        "quantinuum.sim.h2-2sc": 14,
        "quantinuum.sim.h2-2e": 987,
        "quantinuum.sim.h1-1sc-preview": 52,
        "quantinuum.sim.h1-1e-preview": 7324,
        "quantinuum.sim.h1-2e-preview": 0,
        "quantinuum.qpu.h1-1-preview": 93331,
        "quantinuum.qpu.helios-1": 0,
        "quantinuum.sim.helios-1sc": 0,
        "quantinuum.sim.helios-1e": 0,
    },
    "rigetti": {
        "rigetti.sim.qvm": 5,
        "rigetti.qpu.ankaa-2": 5,
        "rigetti.qpu.ankaa-3": 5,
        "rigetti.qpu.cepheus-1-36q": 5,
        "rigetti.qpu.cepheus-1-108q": 5,
    },
    # A neutral-atom machine whose name does not contain the provider's id.
    "atom-boulder": {"msft.sim.ac1000.physical": 0},
    "microsoft-qc": {"microsoft.estimator": 0},
    "qci": {"qci.simulator": 0, "qci.machine1": 0, "qci.simulator.noisy": 0},
    "Microsoft.ChemistryHpc": {"microsoft.hpc": 0},
    _TEST_PROVIDER: {
        "echo-rigetti": 1,
        "echo-quantinuum": 1,
        "echo-qci": 1,
        "echo-ionq": 1,
        "echo-aquarius": 1,
        "sparse-sim-rigetti": 1,
        "sparse-sim-quantinuum": 1,
        "sparse-sim-qci": 1,
        "sparse-sim-ionq": 1,
        "echo-output": 1,
    },
}

# The QIR profile and the number of qubits, which the service reports for some targets only. These
# values are from the SDK (azure.quantum.target in azure-quantum 3.13).
_CAPABILITIES: dict[str, dict[str, Any]] = {
    "quantinuum.qpu.helios-1": {"targetProfile": "Adaptive_RIF"},
    "quantinuum.sim.helios-1sc": {"targetProfile": "Adaptive_RIF"},
    "quantinuum.sim.helios-1e": {"targetProfile": "Adaptive_RIF"},
    "rigetti.qpu.cepheus-1-108q": {"targetProfile": "Base", "numQubits": 108},
}

_PROVIDER_IDS = {provider.lower() for provider in _TARGETS}
_PROVIDERS = {target: provider for provider, targets in _TARGETS.items() for target in targets}

_STATUS_PAGES: dict[str, str | None] = {
    "ionq": "https://status.ionq.co",
    "quantinuum": "https://calendar.qapi.quantinuum.com/?target={machine}&key=PLACEHOLDER",
    "rigetti": "https://rigetti.statuspage.io/",
    "pasqal": "",
    _TEST_PROVIDER: "",
}


class Catalog:
    """The targets and their availability.

    Args:
        is_realistic: Whether jobs queue for recorded times. If not, they run at once, and no target
            lists a queue time.
    """

    def __init__(self, *, is_realistic: bool = False) -> None:
        self._is_realistic = is_realistic
        # State: the availability of every target. Needs no lock: each access is one dict operation.
        self._availability = {
            target: AVAILABLE for targets in _TARGETS.values() for target in targets
        }

    @property
    def targets(self) -> tuple[str, ...]:
        """The ids of all targets."""
        return tuple(self._availability)

    def check(self, provider: str, target: str) -> None:
        """Checks that this provider has this target, and that it takes jobs. `ApiError` if not."""
        if provider.lower() not in _PROVIDER_IDS:
            message = "The provider specified does not exist in this workspace."
        elif _PROVIDERS.get(target, "").lower() != provider.lower():
            message = "The target specified does not exist at this provider."
        elif self._availability[target] == UNAVAILABLE:
            message = "The target is unavailable and takes no jobs now."
        else:
            return
        raise ApiError(400, "InvalidJobDefinition", message)

    def availability(self, target: str) -> str | None:
        """`Available`, `Degraded` or `Unavailable`; None for a target that does not exist."""
        return self._availability.get(target)

    def set_availability(self, target: str, availability: str) -> None:
        """Sets the availability of a target. `ValueError` if it or the target is unknown."""
        word = availability.capitalize()
        if word not in (AVAILABLE, DEGRADED, UNAVAILABLE):
            raise ValueError(f"A target is Available, Degraded or Unavailable, not {availability}.")
        if target not in self._availability:
            raise ValueError(f"There is no target {shortened(target)}; see `targets`.")
        self._availability[target] = word

    def documents(self) -> list[dict[str, Any]]:
        """The entries of `providerStatus`."""
        return [
            {
                "id": provider,
                "currentAvailability": self._provider_availability(targets),
                "targets": [
                    self._target_document(provider, target, seconds)
                    for target, seconds in targets.items()
                ],
            }
            for provider, targets in _TARGETS.items()
        ]

    def _target_document(self, provider: str, target: str, queue_time: int) -> dict[str, Any]:
        # The preview of a listed machine has that machine's status page.
        listed = target.removesuffix("-preview")
        machine = (listed if listed in _PROVIDERS else target).rpartition(".")[2].upper()
        page = _STATUS_PAGES.get(provider)
        return {
            "id": target,
            "currentAvailability": self._availability[target],
            "averageQueueTime": queue_time if self._is_realistic else 0,
            "statusPage": page.format(machine=machine) if page else page,
            **_CAPABILITIES.get(target, {}),
        }

    def _provider_availability(self, targets: dict[str, int]) -> str:
        found = {self._availability[target] for target in targets}
        if found == {UNAVAILABLE}:
            return UNAVAILABLE
        # In the recordings a provider is Available while one of its targets is.
        return AVAILABLE if AVAILABLE in found else DEGRADED
