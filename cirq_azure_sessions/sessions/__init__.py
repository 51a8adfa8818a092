"""Which session a job goes in.

pool        `SessionPool`, the public face: listing, statistics, closing
table       state, and every decision on it
lifecycle   open, check, adopt, close: what is asked of the service
watcher     one poller for all jobs of a session
handles     `SessionHandle` and `JobHandle`, which users hold
"""
