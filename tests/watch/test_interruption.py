"""The note on an exception that interrupted a sampler's call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cirq_azure_sessions.watch.interruption import interruption_note

TARGET = "ionq.simulator"


def _note(
    running: Sequence[str],
    fetched: Sequence[str],
    *,
    cancelled: bool = False,
    journal: Path | None = None,
) -> str:
    return interruption_note(TARGET, running, fetched, cancelled=cancelled, journal=journal)


def test_without_a_submitted_job_there_is_no_note() -> None:
    assert _note([], []) == ""


def test_the_note_lists_running_and_fetched_jobs() -> None:
    assert _note(["j1", "j3"], ["j2"]) == (
        f"These jobs on {TARGET} may still be running: j1, j3. "
        "The results of these jobs were fetched: j2. "
        "get_result(job_id) of a sampler for this target fetches each result."
    )


def test_the_note_says_that_cancellation_was_requested() -> None:
    assert _note(["j1"], [], cancelled=True) == (
        f"Cancellation was requested for these jobs on {TARGET}: j1. "
        "get_result(job_id) of a sampler for this target fetches each result."
    )


def test_the_note_names_five_jobs_and_says_how_to_list_the_rest() -> None:
    note = _note([f"j{number}" for number in range(20)], [])
    assert f"These jobs on {TARGET} may still be running: j0, j1, j2, j3, j4 and 15 more. " in note
    assert f"`cirq-azure-sessions jobs list --target {TARGET}` lists all." in note


def test_the_note_with_a_journal_counts_jobs_and_quotes_its_path() -> None:
    note = _note(["j1", "j3"], ["j2"], cancelled=True, journal=Path("my runs.db"))
    assert "2 being cancelled, 1 with results fetched" in note
    assert "journal show 'my runs.db'" in note
