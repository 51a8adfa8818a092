"""The polling delay for unfinished jobs.

The delay between two polls depends on how long such jobs usually take, and on how long these have
been running.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

__all__ = ["MIN_DELAY", "next_poll"]

# Limits on the seconds between two polls.
MIN_DELAY = 0.05
_MAX_DELAY = 30.0
# Durations and ends that differ by less than this share of a typical duration count as equal.
_ALIKE = 0.1
# Overdue jobs are polled again after this share of the time by which they are overdue.
_OVERDUE = 0.25


def next_poll(durations: Sequence[float], submissions: Iterable[float], last_poll: float) -> float:
    """When to poll again for unfinished jobs; all times are seconds of one clock.

    Jobs that end at about the same time are found by one poll, so that the jobs submitted in their
    slots end together again: if jobs take about equally long, few polls find them all in time.

    `durations` are those of the latest jobs of the target, from submission to end; `submissions`
    are the times of the unfinished ones, at least one; `last_poll` is the time of the last poll,
    or of the first submission.
    """
    step = _ALIKE * statistics.median(durations) if durations else 0.0
    # The shortest, not the median: a long wait for a quick job costs more than an extra poll.
    quickest = min(durations, default=0.0)
    usual = max((each for each in durations if each <= quickest + step), default=0.0)
    times = []
    for submission in submissions:
        due = submission + max(usual, MIN_DELAY)
        if due <= last_poll:
            # It is overdue, and polled less and less often.
            due = last_poll + max(step, _OVERDUE * (last_poll - due))
        times.append(due)
    # A poll is for a quarter of the jobs and any others that end at about the same time.
    times.sort()
    quarter = times[(len(times) - 1) // 4]
    poll = max(each for each in times if each <= quarter + step)
    return min(max(poll, last_poll + MIN_DELAY), last_poll + _MAX_DELAY)
