"""The durable record of submitted jobs, their sessions and their results.

journal  `Journal`: what is recorded, and what later runs reuse
rows     runs, jobs and sessions as values, and the SQL of jobs
file     the SQLite file: its schema, its transactions, many writes in one commit
lock     which run is alive
"""

from cirq_azure_sessions.journal.journal import Journal, open_journal
from cirq_azure_sessions.journal.rows import (
    EntryState,
    JournalEntry,
    JournalSession,
    Place,
    fingerprint,
    fingerprinted,
)

__all__ = [
    "EntryState",
    "Journal",
    "JournalEntry",
    "JournalSession",
    "Place",
    "fingerprint",
    "fingerprinted",
    "open_journal",
]
