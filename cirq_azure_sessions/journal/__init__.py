"""What outlives a run: which jobs were submitted, in which sessions, and what came home.

journal          the record itself
entry            what one job's record holds
job_table        the rows of jobs, and of the places that requests hold
file             the SQLite file
group_commit     many writers, one commit
run_lock         which run is alive
session_journal  the sessions of a pool, and the orphans of dead runs
"""

from cirq_azure_sessions.journal.journal import Journal, open_journal

__all__ = ["Journal", "open_journal"]
