"""The durable record of submitted jobs, their sessions and their results.

journal  `Journal`: what is recorded, and what later runs reuse
reuse    jobs of earlier runs for the points of a call
rows     runs, jobs and sessions as values, and the SQL of jobs
file     the SQLite file: schema, transactions and group commit
lock     a lock that shows which runs are alive
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
