"""How long jobs take, and so when it is worth a request to look for their ends."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterable

__all__ = ["JobDurations"]

# Seconds between two looks.
_SHORTEST_DELAY = 0.05
_LONGEST_DELAY = 30.0
# Durations, and ends, that differ by less than this share of a usual duration are alike.
_ALIKE = 0.1
# Jobs that are overdue are looked for after this share of the time that they are overdue.
_OVERDUE = 0.25


class JobDurations:
    """How long the latest jobs of a target took, each from its submission to its end.

    Lives on one event loop, and needs no lock.
    """

    def __init__(self) -> None:
        # State: seconds, the latest last.
        self._latest: deque[float] = deque(maxlen=32)

    def learn(self, duration: float) -> None:
        """Takes note of one job's duration, in seconds."""
        self._latest.append(duration)

    def next_look(self, submissions: Iterable[float], last_look: float) -> float:
        """When to ask again about unfinished jobs; all times are of one clock, in seconds.

        Jobs that end together are seen together, so that those submitted in their places end
        together again: where jobs take about equally long, few looks find them all, and in time.

        Args:
            submissions: When each of them was submitted; at least one.
            last_look: When they were last asked about, or when the first of them was submitted.

        Returns:
            A time between a twentieth of a second and half a minute after the last look.
        """
        step = _ALIKE * statistics.median(self._latest) if self._latest else 0.0
        # The quickest, not the median: a long wait for a quick job costs more than a look too many.
        quickest = min(self._latest, default=0.0)
        usual = max((each for each in self._latest if each <= quickest + step), default=0.0)

        def worth_a_look(submission: float) -> float:
            due = submission + max(usual, _SHORTEST_DELAY)
            # 1. It was too early to expect its end at the last look.
            if due > last_look:
                return due
            # 2. It is overdue, and looked for less and less often.
            return last_look + max(step, _OVERDUE * (last_look - due))

        # A look is for a quarter of the jobs, and for those that end at about the same time.
        times = sorted(map(worth_a_look, submissions))
        quarter = times[(len(times) - 1) // 4]
        look = max(each for each in times if each <= quarter + step)
        return min(max(look, last_look + _SHORTEST_DELAY), last_look + _LONGEST_DELAY)
