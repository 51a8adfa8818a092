"""The providers and targets of the emulated workspace, their availability, and their jobs' times.

`providers.json` lists them as `providerStatus` does. Targets, their order, queue times and status
pages are recorded (October and November 2025, and the additional ones of August 2024), or are newer
targets that the SDK and the tests of Azure's command line name. The QIR profile and the number of
qubits, which the service reports for some targets only, are from the SDK (azure.quantum.target in
azure-quantum 3.13). Only the availability differs: some targets were down when recorded; here all
are available until `set_availability` changes that.

Queue and run times of jobs are zero, fixed, or as recorded: the minimum, median and maximum over a
few jobs on simulators. Half of the drawn times lie below the median, spread evenly, and half above
it, concentrated near it: one or two jobs in a hundred come close to the maximum. No recording has a
hardware target. Their times are invented: a queue of minutes to an hour.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from importlib.resources import files
from typing import Any, TypeAlias

import numpy as np

from cirq_azure_sessions.emulator.program_runner import StoredProgram
from cirq_azure_sessions.emulator.responses import ApiError
from cirq_azure_sessions.model import JobRequest
from cirq_azure_sessions.options import shortened
from cirq_azure_sessions.workspaces.local import JobPace

__all__ = ["Catalog"]

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

# The minimum, median and maximum of a time, in seconds.
_Spread: TypeAlias = tuple[float, float, float]

# Times from creation to begin, from begin to end, and from end to its report, by the first pattern
# that matches the target: similar targets share the times of one that was recorded.
_TIMES: dict[str, tuple[_Spread, _Spread, _Spread]] = {
    "*.qpu*": ((60, 600, 3600), (1, 5, 60), (1, 2, 4)),
    "ionq.simulator": ((1.6, 3.5, 280), (0, 0, 1), (1.0, 2.3, 3.9)),
    "quantinuum.sim.*sc*": ((2.6, 3.9, 7.7), (0, 0, 0), (1.5, 12.6, 13.8)),
    "quantinuum.sim.*": ((94, 127, 187), (1.1, 1.9, 4.3), (1.1, 2.1, 3.0)),
    "rigetti.sim.qvm": ((2.5, 4.8, 24), (0.7, 0.7, 0.9), (0.1, 0.9, 2.1)),
    "*": ((2.7, 3.5, 5.2), (1.1, 23, 30), (0.2, 1.2, 2.1)),
}

# The service looks for idle sessions periodically: nine ended 602 to 713 s after their last
# activity.
_SWEEP_DELAY = (2.0, 113.0)

# From creation to `quantumComputingData`, of 14 jobs on all targets.
_HANDOVER = (0.15, 0.7, 3.7)

# `Finishing` was seen in one of the 71 recorded jobs, for about a second.
_FINISHING_SHARE = 1 / 71
_FINISHING_SECONDS = 1.0


class Catalog:
    """The targets, their availability, and the queue and run times of their jobs.

    Lives on the server's event loop, and needs no lock.

    Args:
        is_realistic: Whether jobs take recorded times, and targets list recorded queue times.
        job_time: If not, the seconds that every job runs, or a function that gives a job's times.
        seed: Makes the times reproducible.
    """

    def __init__(
        self,
        *,
        is_realistic: bool = False,
        job_time: float | Callable[[JobRequest], JobPace] = 0.0,
        seed: int | None = None,
    ) -> None:
        self._is_realistic = is_realistic
        self._job_time = job_time if callable(job_time) else lambda _: JobPace(run=job_time)
        self._rng = np.random.default_rng(seed)
        # State: the availability of every target, and the jobs waiting for a degraded one.
        self._availability = dict.fromkeys(_PROVIDER_OF, AVAILABLE)
        self._held: dict[str, list[JobRequest]] = defaultdict(list)

    @property
    def targets(self) -> tuple[str, ...]:
        """The ids of all targets."""
        return tuple(self._availability)

    def check(self, provider: str, target: str) -> None:
        """Checks that this provider has this target, and that it takes jobs. `ApiError` if not."""
        if provider not in _PROVIDER_OF.values():
            message = "The provider specified does not exist in this workspace."
        elif _PROVIDER_OF.get(target) != provider:
            message = "The target specified does not exist at this provider."
        elif self._availability[target] == UNAVAILABLE:
            message = "The target is unavailable and takes no jobs now."
        else:
            return
        raise ApiError(400, "InvalidJobDefinition", message)

    def set_availability(self, target: str, availability: str) -> list[JobRequest]:
        """Sets the availability of a target. `ValueError` if it or the target is unknown.

        Returns:
            The jobs that waited for the target, which need a new pace.
        """
        word = availability.capitalize()
        if word not in _WORDS:
            raise ValueError(f"A target is Available, Degraded or Unavailable, not {availability}.")
        if target not in self._availability:
            raise ValueError(f"There is no target {shortened(target)}; see `targets`.")
        self._availability[target] = word
        return self._held.pop(target, [])

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

    def pace(self, request: JobRequest) -> JobPace:
        """The times of this job, from now on."""
        if self._availability[request.target] == DEGRADED:
            self._held[request.target].append(request)
            return JobPace(queue=math.inf)
        pace = self._draw(request.target) if self._is_realistic else self._job_time(request)
        program: StoredProgram = request.payload
        # It runs until it is cancelled, by the client or by the service.
        if program.fault is not None and program.fault.job in ("hang", "cancel"):
            pace = replace(pace, run=math.inf)
        return pace

    def timeout_notice(self) -> float:
        """The delay in seconds before an idle session's timeout is noticed; thread-safe."""
        return float(self._rng.uniform(*_SWEEP_DELAY)) if self._is_realistic else 0.0

    def _draw(self, target: str) -> JobPace:
        spreads = next(times for pattern, times in _TIMES.items() if fnmatchcase(target, pattern))
        queue, run, visible = map(self._seconds, spreads)
        is_seen_finishing = self._rng.random() < _FINISHING_SHARE
        return JobPace(
            queue=queue,
            run=run,
            visible=visible,
            finishing=min(visible, _FINISHING_SECONDS) if is_seen_finishing else 0.0,
            handover=min(queue, self._seconds(_HANDOVER)),
        )

    def _seconds(self, spread: _Spread) -> float:
        least, median, most = spread
        position = 2 * self._rng.random() - 1
        if position < 0 or median == 0:
            return median + abs(position) * (least - median)
        return float(median * (most / median) ** (position**3))
