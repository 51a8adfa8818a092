"""Which session a job goes in, and the handles of sessions and jobs."""
