"""Queue and run times of jobs: zero, fixed, or as recorded.

Recorded times are the minimum, median and maximum over a few jobs on simulators. Half of the drawn
times lie below the median, spread evenly, and half above it, concentrated near it: one or two jobs
in a hundred come close to the maximum.

No recording has a hardware target. Their times are invented: a queue of minutes to an hour.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from cirq_azure_sessions.emulator.catalog import DEGRADED, Catalog
from cirq_azure_sessions.emulator.program_runner import StoredProgram
from cirq_azure_sessions.model import JobRequest
from cirq_azure_sessions.workspaces.local import JobPace

__all__ = ["Pacing"]


# The minimum, median and maximum of a time, in seconds.
_Spread: TypeAlias = tuple[float, float, float]

# Times from creation to begin, from begin to end, and from end to its report.
_TIMES: dict[str, tuple[_Spread, _Spread, _Spread]] = {
    "ionq.simulator": ((1.6, 3.5, 280), (0, 0, 1), (1.0, 2.3, 3.9)),
    "quantinuum.sim.h2-1sc": ((2.6, 3.9, 7.7), (0, 0, 0), (1.5, 12.6, 13.8)),
    "quantinuum.sim.h2-1e": ((94, 127, 187), (1.1, 1.9, 4.3), (1.1, 2.1, 3.0)),
    "rigetti.sim.qvm": ((2.5, 4.8, 24), (0.7, 0.7, 0.9), (0.1, 0.9, 2.1)),
    "echo-quantinuum": ((2.7, 3.5, 5.2), (1.1, 23, 30), (0.2, 1.2, 2.1)),
}
_HARDWARE: tuple[_Spread, _Spread, _Spread] = ((60, 600, 3600), (1, 5, 60), (1, 2, 4))

# The service looks for idle sessions periodically: nine ended 602 to 713 s after their last
# activity.
_SWEEP_DELAY = (2.0, 113.0)

# From creation to `quantumComputingData`, of 14 jobs on all targets.
_HANDOVER = (0.15, 0.7, 3.7)

# `Finishing` was seen in one of the 71 recorded jobs, for about a second.
_FINISHING_SHARE = 1 / 71
_FINISHING_SECONDS = 1.0


class Pacing:
    """The queue and run times of jobs.

    Lives on the server's event loop, and needs no lock.

    Args:
        catalog: The availability of targets.
        is_realistic: Whether to draw recorded times.
        job_time: If not, the seconds that every job runs, or a function that gives a job's times.
        seed: Makes the times reproducible.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        is_realistic: bool = False,
        job_time: float | Callable[[JobRequest], JobPace] = 0.0,
        seed: int | None = None,
    ) -> None:
        self._catalog = catalog
        self._is_realistic = is_realistic
        self._job_time = job_time if callable(job_time) else lambda _: JobPace(run=job_time)
        self._rng = np.random.default_rng(seed)
        # State: the jobs waiting for a degraded target.
        self._held: dict[str, list[JobRequest]] = defaultdict(list)

    def pace(self, request: JobRequest) -> JobPace:
        """The times of this job, from now on."""
        if self._catalog.availability(request.target) == DEGRADED:
            self._held[request.target].append(request)
            return JobPace(queue=math.inf)
        pace = self._draw(request.target) if self._is_realistic else self._job_time(request)
        program: StoredProgram = request.payload
        # It runs until it is cancelled, by the client or by the service.
        if program.fault is not None and program.fault.job in ("hang", "cancel"):
            pace = replace(pace, run=math.inf)
        return pace

    def release(self, target: str) -> list[JobRequest]:
        """The jobs whose target is available again; they need a new pace."""
        return self._held.pop(target, [])

    def timeout_notice(self) -> float:
        """The delay in seconds before an idle session's timeout is noticed; thread-safe."""
        return float(self._rng.uniform(*_SWEEP_DELAY)) if self._is_realistic else 0.0

    def _draw(self, target: str) -> JobPace:
        queue, run, visible = map(self._seconds, _times(target))
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


def _times(target: str) -> tuple[_Spread, _Spread, _Spread]:
    """The recorded times of a target, or of the most similar one."""
    if target in _TIMES:
        return _TIMES[target]
    if ".qpu" in target:
        return _HARDWARE
    if target.startswith("quantinuum.sim"):
        return _TIMES["quantinuum.sim.h2-1sc" if "sc" in target else "quantinuum.sim.h2-1e"]
    return _TIMES["echo-quantinuum"]
