"""Reuse of earlier runs' jobs whose points this run needs, however they were packed."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.executor import DaemonExecutor
from cirq_azure_sessions.formats.layout import layout_as_submitted
from cirq_azure_sessions.formats.translation import (
    Format,
    JobInput,
    Part,
    Translation,
    split_repetitions,
)
from cirq_azure_sessions.journal.journal import Journal
from cirq_azure_sessions.journal.rows import EntryState, JournalEntry, Place
from cirq_azure_sessions.model import Job, JobRequest
from cirq_azure_sessions.workspaces.base import WorkspacePort

__all__ = ["layout_of", "reuse_jobs"]

logger = logging.getLogger(__name__)

_hashing = DaemonExecutor(name="cirq-azure-sessions-fingerprints")

Key = tuple[int, Part]


async def reuse_jobs(
    journal: Journal,
    packed: Translation,
    make_request: Callable[[JobInput, int | None], JobRequest],
    workspace: WorkspacePort,
    gate: AbstractAsyncContextManager[Any],
) -> Any:
    """The jobs of a call whose points may share jobs: those of earlier runs, then new ones.

    A point is known again by the job that it would have of its own, and if there is none, by those
    with fewer repetitions: the largest first, as they fit. Where the answer is exact, one job of
    any number will do.

    Args:
        journal: Has the jobs of earlier runs.
        packed: The jobs of the call, a `PackedTranslation`.
        make_request: Makes the request for a job, with its fingerprint.
        workspace: Where the jobs of earlier runs may be.
        gate: Held while the service is asked for one.
    """
    translation: Any = packed
    places: dict[Key, Place] = {}
    shared: dict[int, list[tuple[int, Key, JournalEntry]]] = defaultdict(list)

    async def take(keys: list[Key]) -> set[Key]:
        # Makes the program of every point; the loop has other calls to serve meanwhile.
        hashing = _hashing.submit(translation.fingerprints, keys, make_request)
        fingerprints = await asyncio.wrap_future(hashing)
        taken = await journal._take(fingerprints)
        for key, fingerprint, entry in zip(keys, fingerprints, taken, strict=True):
            places[key] = fingerprint, 0
            if entry is not None:
                [places[key]], [block] = entry.places, entry.blocks
                shared[entry.number].append((block, key, entry))
        return {key for key, entry in zip(keys, taken, strict=True) if entry is not None}

    keys = translation.keys()
    found = await take(keys)
    parts = await _parts_of_earlier(translation, [key for key in keys if key not in found], take)
    for point, part in found:
        if point in parts:
            parts[point].append(part)
    earlier: list[tuple[list[Key], JournalEntry]] = []

    async def find(job_id: str) -> Job | None:
        try:
            async with gate:
                return await workspace.get_job(job_id)
        except ServiceError as error:
            if error.is_missing:
                return None
            raise

    async def look_up(those: list[tuple[int, Key, JournalEntry]]) -> None:
        those.sort(key=lambda each: each[0])
        keys = [key for _, key, _ in those]
        entry = replace(
            those[0][2],
            places=tuple(places[key] for key in keys),
            blocks=tuple(block for block, _, _ in those),
        )
        state, job = await journal._look_up(entry, find)
        is_kept = not state.is_without_result
        if state is EntryState.INTENDED:
            # It never arrived: it is submitted again if it is for the same points.
            made = translation.pack([point for point, _ in keys], keys[0][1])
            is_kept = make_request(made, None).fingerprint == entry.fingerprint
        if is_kept:
            earlier.append((keys, entry))
        else:
            is_over = state.is_without_result
            journal._give_up(entry, state if is_over else EntryState.FORGOTTEN, job)

    await asyncio.gather(*map(look_up, shared.values()))
    # A point whose repetitions are in several jobs has them in the order of submission.
    earlier.sort(key=lambda each: each[1].number)
    resumed = translation.resumed(earlier, places, parts)
    logger.info(
        "%s has %d of %d points in %d jobs of earlier runs; the others go in %d new ones",
        journal,
        sum(len(keys) for keys, _ in earlier),
        sum(len(resumed.points(index)) for index in range(len(resumed))),
        len(earlier),
        len(resumed) - len(earlier),
    )
    return resumed


async def _parts_of_earlier(
    translation: Any, missing: list[Key], take: Callable[[list[Key]], Awaitable[set[Key]]]
) -> dict[int, list[Part]]:
    """What becomes of the missing repetitions of points of which earlier runs have some.

    Args:
        translation: The jobs of the call, a `PackedTranslation`.
        missing: The points and parts for which there is no job.
        take: Has jobs of earlier runs answer what they can; returns what they do.
    """
    options = translation.options
    parts: dict[int, list[Part]] = {}
    lacking: dict[int, int] = defaultdict(int)
    for point, (_, count) in missing:
        lacking[point] += count
    counts = options.earlier_repetitions - {count for _, (_, count) in missing}
    # No earlier job has parts of these numbers, so the samples drawn for new ones are new.
    first = secrets.randbits(26)
    is_exact = any(translation.alone(*key).layout.is_exact for key in missing[:1])
    for count in sorted(counts, reverse=True):
        least = 1 if is_exact else count
        points = [*lacking]
        while points := [point for point in points if lacking[point] >= least]:
            keys = [(point, (first + len(parts.get(point, ())), count)) for point in points]
            taken = await take(keys)
            points = [point for point, part in keys if (point, part) in taken]
            for point, part in taken:
                parts.setdefault(point, []).append(part)
                lacking[point] = 0 if is_exact else lacking[point] - count
    rest: list[Key] = []
    for point, known in parts.items():
        new = split_repetitions(options.target, lacking[point], first + len(known))
        known += new
        rest += [(point, part) for part in new]
    await take(rest)
    return parts


def layout_of(entry: JournalEntry, layout: Any, job_format: Format, is_seeded: bool) -> Any:
    """How to read the output of a job, which an earlier run may have submitted.

    Args:
        entry: The job.
        layout: What its output means to this run.
        job_format: The format of its target.
        is_seeded: Whether samples that the client draws follow from a seed.
    """
    if entry.is_new:
        return layout
    earlier = job_format.read_layout(entry.metadata)
    return layout_as_submitted(layout, earlier, entry.blocks, is_seeded=is_seeded)
