"""Sessions and jobs as their users hold them: what the service told, and how to ask it again.

session     a session: refresh, wait, close, jobs
job         a job: refresh, wait, cancel, results
item        what sessions and jobs have in common
port        what both need of the pool that handed them out
"""
