"""The providers and targets of the emulated workspace, and their availability.

`providers.json` lists them as `providerStatus` does. Targets, their order, queue times and status
pages are recorded (October and November 2025, and the additional ones of August 2024), or are newer
targets that the SDK and the tests of Azure's command line name. The QIR profile and the number of
qubits, which the service reports for some targets only, are from the SDK (azure.quantum.target in
azure-quantum 3.13). Only the availability differs: some targets were down when recorded; here all
are available until `set_availability` changes that.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from cirq_azure_sessions.emulator.responses import ApiError
from cirq_azure_sessions.options import shortened

__all__ = ["DEGRADED", "Catalog"]

_PROVIDERS: list[dict[str, Any]] = json.loads(
    files(__package__).joinpath("providers.json").read_text(encoding="utf-8")
)

# The provider of each target, in lower case.
_PROVIDER_OF: dict[str, str] = {
    target["id"]: provider["id"].lower()
    for provider in _PROVIDERS
    for target in provider["targets"]
}

# Azure's terms, the best first. A degraded target accepts jobs without running them, an unavailable
# one refuses them.
AVAILABLE, DEGRADED, UNAVAILABLE = _WORDS = ("Available", "Degraded", "Unavailable")


class Catalog:
    """The targets and their availability.

    Args:
        is_realistic: Whether jobs queue for recorded times. If not, they run at once, and no target
            lists a queue time.
    """

    def __init__(self, *, is_realistic: bool = False) -> None:
        self._is_realistic = is_realistic
        # State: the availability of every target. Needs no lock: each access is one dict operation.
        self._availability = dict.fromkeys(_PROVIDER_OF, AVAILABLE)

    @property
    def targets(self) -> tuple[str, ...]:
        """The ids of all targets."""
        return tuple(self._availability)

    def check(self, provider: str, target: str) -> None:
        """Checks that this provider has this target, and that it takes jobs. `ApiError` if not."""
        if provider.lower() not in _PROVIDER_OF.values():
            message = "The provider specified does not exist in this workspace."
        elif _PROVIDER_OF.get(target) != provider.lower():
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
        if word not in _WORDS:
            raise ValueError(f"A target is Available, Degraded or Unavailable, not {availability}.")
        if target not in self._availability:
            raise ValueError(f"There is no target {shortened(target)}; see `targets`.")
        self._availability[target] = word

    def documents(self) -> list[dict[str, Any]]:
        """The entries of `providerStatus`."""
        return [
            {
                **provider,
                # In the recordings a provider is Available while one of its targets is.
                "currentAvailability": min(
                    (self._availability[target["id"]] for target in provider["targets"]),
                    key=_WORDS.index,
                ),
                "targets": [*map(self._target_document, provider["targets"])],
            }
            for provider in _PROVIDERS
        ]

    def _target_document(self, recorded: dict[str, Any]) -> dict[str, Any]:
        now = {"currentAvailability": self._availability[recorded["id"]]}
        return recorded | now | ({} if self._is_realistic else {"averageQueueTime": 0})
