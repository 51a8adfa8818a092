"""The note on an exception that interrupted a sampler's call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

__all__ = ["interruption_note"]

# The number of ids that fit into a line or two of a traceback.
_MAX_NAMED = 5


def interruption_note(
    target: str,
    running: Sequence[str],
    fetched: Sequence[str],
    *,
    cancelled: bool,
    journal: Path | None,
) -> str:
    """How to get back to the jobs of an interrupted call; empty if none was submitted.

    With a journal, which has the ids of all jobs, they are counted; without one they are named.

    Args:
        target: The target.
        running: The ids of the jobs that may still be running, or whose results were not fetched.
        fetched: The ids of the jobs whose results were fetched.
        cancelled: Whether the service was asked to cancel the running jobs.
        journal: The path of the journal, if there is one.
    """
    if not running and not fetched:
        return ""
    if journal is not None:
        fate = "being cancelled" if cancelled else "possibly still running"
        return (
            f"Jobs on {target}: {len(running)} {fate}, {len(fetched)} with results fetched."
            f" Run the program again with the journal {journal} to continue where it stopped;"
            f" `cirq-azure-sessions journal show {quote(str(journal))}` lists the jobs."
        )
    parts = []
    if running and cancelled:
        parts.append(f"Cancellation was requested for these jobs on {target}: {_named(running)}.")
    elif running:
        parts.append(f"These jobs on {target} may still be running: {_named(running)}.")
    if fetched:
        parts.append(f"The results of these jobs were fetched: {_named(fetched)}.")
    if max(len(running), len(fetched)) > _MAX_NAMED:
        parts.append(f"`cirq-azure-sessions jobs list --target {quote(target)}` lists all.")
    parts.append("get_result(job_id) of a sampler for this target fetches each result.")
    return " ".join(parts)


def _named(job_ids: Sequence[str]) -> str:
    rest = len(job_ids) - _MAX_NAMED
    return ", ".join(job_ids[:_MAX_NAMED]) + (f" and {rest} more" if rest > 0 else "")
