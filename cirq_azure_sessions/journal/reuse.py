"""Reuse of earlier runs' jobs for the points of a call, regardless of how they were packed."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.executor import DaemonExecutor
from cirq_azure_sessions.formats.layout import layout_as_submitted
from cirq_azure_sessions.formats.packing import PackedTranslation
from cirq_azure_sessions.formats.translation import (
    Format,
    JobInput,
    Part,
    Translation,
    split_repetitions,
)
from cirq_azure_sessions.journal.journal import Journal
from cirq_azure_sessions.journal.rows import EntryState, JournalEntry, Place, repetitions_of
from cirq_azure_sessions.model import Job, JobRequest
from cirq_azure_sessions.workspaces.base import WorkspacePort

__all__ = ["layout_of", "reuse_jobs"]

logger = logging.getLogger(__name__)

_hashing = DaemonExecutor(name="cirq-azure-sessions-fingerprints")


async def reuse_jobs(
    journal: Journal,
    packed: Translation,
    make_request: Callable[[JobInput, int | None], JobRequest],
    held: dict[int, Place],
    workspace: WorkspacePort,
    gate: AbstractAsyncContextManager[Any],
) -> PackedTranslation:
    """The jobs of a call: those of earlier runs, and new ones for what they lack.

    A point is recognized by the job that it would have on its own, with any number of repetitions.
    Its place has all jobs that were ever submitted for it. They are taken in the order of
    submission until there are enough repetitions; what is missing becomes a new part.

    Args:
        journal: The journal with the jobs of earlier runs.
        packed: The jobs of the call, a `PackedTranslation`.
        make_request: Makes the request for a job, with its fingerprint.
        held: Receives the places of the points, which the call holds even if this fails.
        workspace: The workspace in which jobs of earlier runs may be.
        gate: Held during each request to the service.
    """
    translation: Any = packed
    wanted: Sequence[int] = translation.repetitions
    exact: set[int] = set()

    def requests() -> list[tuple[str, list[tuple[str, int]], int]]:
        found: dict[int, list[JobRequest]] = defaultdict(list)
        for (point, _), made in translation.alone_jobs():
            found[point].append(make_request(made, None))
            if made.layout.is_exact:
                exact.add(point)
        return [
            (
                each[0].places[0][0],
                [(job.fingerprint or "", repetitions_of(job.input_params)) for job in each],
                wanted[point],
            )
            for point, each in sorted(found.items())
        ]

    # This makes the program of every point, so it must not block the loop.
    asked = await asyncio.wrap_future(_hashing.submit(requests))
    taken = await journal._take(asked)
    places = [(circuit, nth) for (circuit, *_), (nth, _) in zip(asked, taken, strict=True)]
    held.update(enumerate((*place, 0) for place in places))
    entries: dict[int, JournalEntry] = {}
    # By job and point: the point's number among those of the job, and its part.
    blocks: dict[int, dict[int, tuple[int, Part]]] = defaultdict(dict)
    too_large: set[int] = set()
    for point, (_, jobs) in enumerate(taken):
        have = 0
        for entry in jobs:
            # From exact probabilities any number of samples can be drawn.
            size = wanted[point] if point in exact else entry.repetitions
            have += size
            if have > wanted[point]:
                too_large.add(entry.number)
            entries[entry.number] = entry
            [(_, _, part)], [block] = entry.places, entry.blocks
            blocks[entry.number][point] = block, (part, size)

    async def find(job_id: str) -> Job | None:
        try:
            async with gate:
                return await workspace.get_job(job_id)
        except ServiceError as error:
            if error.is_missing:
                return None
            raise

    async def look_up(entry: JournalEntry) -> tuple[int, bool]:
        """Whether the job answers its points; if not, others are to be submitted."""
        state, job = await journal._look_up(entry, find)
        if state is EntryState.INTENDED:
            # It never arrived: it is submitted again if it is for the same points, and has no more
            # repetitions than requested.
            mine = blocks[entry.number]
            points = sorted(mine, key=mine.__getitem__)
            made = translation.pack(points, mine[points[0]][1])
            is_same = make_request(made, None).fingerprint == entry.fingerprint
            if not is_same or entry.number in too_large:
                state = EntryState.FORGOTTEN
        if state.is_without_result:
            journal._ended(entry, state, job)
        return entry.number, not state.is_without_result

    kept = dict(await asyncio.gather(*map(look_up, entries.values())))
    used: dict[int, list[int]] = defaultdict(list)
    missing: list[tuple[Part, ...]] = []
    for point, (_, jobs) in enumerate(taken):
        left, numbers = wanted[point], set()
        for entry in jobs:
            if left > 0 and kept[entry.number]:
                used[entry.number].append(point)
                _, (part, size) = blocks[entry.number][point]
                numbers.add(part)
                left -= size
        fresh = (number for number in itertools.count() if number not in numbers)
        missing.append(split_repetitions(translation.target, max(left, 0), fresh))
    earlier: list[tuple[list[tuple[int, Part]], JournalEntry]] = []
    for job_number, points in sorted(used.items()):
        # In the order that they have in the job.
        mine = sorted((*blocks[job_number][point], point) for point in points)
        own = tuple((*places[point], part) for _, (part, _), point in mine)
        entry = replace(entries[job_number], places=own, blocks=tuple(each[0] for each in mine))
        earlier.append(([(point, part) for _, part, point in mine], entry))
    resumed: PackedTranslation = translation.resumed(earlier, missing, places)
    logger.info(
        "%s has %d of %d points in %d jobs of earlier runs; new jobs for the others: %d",
        journal,
        sum(not parts for parts in missing),
        len(places),
        len(earlier),
        len(resumed) - len(earlier),
    )
    return resumed


def layout_of(entry: JournalEntry, layout: Any, job_format: Format, is_seeded: bool) -> Any:
    """The layout with which to decode the output of a job, perhaps one of an earlier run.

    Args:
        entry: The job.
        layout: The layout of the job in this run.
        job_format: The format of its target.
        is_seeded: Whether the client draws samples from a seed.
    """
    if entry.is_new:
        return layout
    earlier = job_format.read_layout(entry.metadata)
    return layout_as_submitted(layout, earlier, entry.blocks, is_seeded=is_seeded)
