"""What to tell whoever interrupted a call: which jobs run, and how to come back to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

__all__ = ["how_to_come_back"]


def how_to_come_back(
    target: str,
    running: Sequence[str],
    home: Sequence[str],
    *,
    cancelled: bool,
    journal: Path | None,
) -> str:
    """The note on the exception that ended a call early; empty if no job was submitted.

    With a journal, which has the ids of all jobs, they are counted; without one they are named.

    Args:
        target: The target.
        running: The ids of the jobs that were not over.
        home: The ids of the jobs whose results had come home.
        cancelled: Whether the service was asked to cancel those that were not over.
        journal: The file that remembers the jobs, if there is one.
    """
    if not running and not home:
        return ""
    if journal is not None:
        fate = "asked to be cancelled" if cancelled else "possibly still running"
        return (
            f"Jobs on {target}: {len(running)} {fate}, {len(home)} with their results at home."
            f" Run the program again with the journal {journal} to go on where it stopped;"
            f" `cirq-azure-sessions journal show {quote(str(journal))}` lists the jobs."
        )
    parts = []
    if running:
        fate = "was asked to be cancelled" if cancelled else "may still be running"
        parts.append(f"Each of these jobs on {target} {fate}: {', '.join(running)}.")
    if home:
        parts.append(f"The results of these jobs had come home: {', '.join(home)}.")
    parts.append("get_result(job_id) of a sampler for this target brings each result.")
    return " ".join(parts)
