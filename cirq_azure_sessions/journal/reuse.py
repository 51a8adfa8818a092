"""Which jobs of earlier runs have points that this one asks for, however they were packed then."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cirq_azure_sessions.executor import DaemonExecutor
from cirq_azure_sessions.formats.translation import JobInput, Translation
from cirq_azure_sessions.journal.journal import FindJob, Journal
from cirq_azure_sessions.journal.rows import EntryState, JournalEntry
from cirq_azure_sessions.model import JobRequest

__all__ = ["reuse_jobs"]

logger = logging.getLogger(__name__)

_hashing = DaemonExecutor(name="cirq-azure-sessions-fingerprints")

Key = tuple[int, int]


async def reuse_jobs(
    journal: Journal,
    packed: Translation,
    make_request: Callable[[JobInput, int | None], JobRequest],
    find: FindJob,
) -> Translation:
    """The jobs of a call whose points share jobs: those of earlier runs, and new ones for the rest.

    A point is known again by the job that it would have of its own.

    Args:
        journal: Has the jobs of earlier runs.
        packed: The jobs of the call, a `PackedTranslation`.
        make_request: Makes the request for a job, with its fingerprint.
        find: Asks the service for the job with an id.
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
