"""Reuse of earlier runs' jobs whose points this run needs, however they were packed."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.executor import DaemonExecutor
from cirq_azure_sessions.formats.layout import layout_as_submitted
from cirq_azure_sessions.formats.translation import Format, JobInput, Translation
from cirq_azure_sessions.journal.journal import Journal
from cirq_azure_sessions.journal.rows import EntryState, JournalEntry
from cirq_azure_sessions.model import Job, JobRequest
from cirq_azure_sessions.workspaces.base import WorkspacePort

__all__ = ["layout_of", "reuse_jobs"]

logger = logging.getLogger(__name__)

_hashing = DaemonExecutor(name="cirq-azure-sessions-fingerprints")

Key = tuple[int, int]


async def reuse_jobs(
    journal: Journal,
    packed: Translation,
    make_request: Callable[[JobInput, int | None], JobRequest],
    workspace: WorkspacePort,
    gate: AbstractAsyncContextManager[Any],
) -> Translation:
    """The jobs of a call whose points share jobs: those of earlier runs, and new ones for the rest.

    A point is known again by the job that it would have of its own.

    Args:
        journal: Has the jobs of earlier runs.
        packed: The jobs of the call, a `PackedTranslation`.
        make_request: Makes the request for a job, with its fingerprint.
        workspace: Where the jobs of earlier runs may be.
        gate: Held while the service is asked for one.
    """
    translation: Any = packed
    # Makes the program of every point; the loop has other calls to serve meanwhile.
    fingerprints = _hashing.submit(translation.places, make_request)
    places: dict[Key, tuple[str, int]] = await asyncio.wrap_future(fingerprints)
    taken = await journal._take([fingerprint for fingerprint, _ in places.values()])
    shared: dict[int, list[tuple[int, Key, JournalEntry]]] = defaultdict(list)
    for key, entry in zip([*places], taken, strict=True):
        if entry is not None:
            [places[key]], [block] = entry.places, entry.blocks
            shared[entry.number].append((block, key, entry))
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
    resumed: Translation = translation.resumed(earlier, places)
    logger.info(
        "%s has %d of %d points in %d jobs of earlier runs; the others go in %d new ones",
        journal,
        sum(len(keys) for keys, _ in earlier),
        len(places),
        len(earlier),
        len(resumed) - len(earlier),
    )
    return resumed


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
