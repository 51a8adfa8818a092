"""The sessions that jobs run in, and the handles of sessions and jobs."""
