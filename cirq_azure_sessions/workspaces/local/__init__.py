"""A workspace in memory: sessions, jobs and timeouts, run by Cirq's own simulators.

workspace      the verbs
state          what the workspace holds: sessions and jobs
schedule       when what happens: idle timeouts, paces, queues
target_queue   which jobs of a target have a slot, and which wait for one
live_schedule  the schedule as the clock moves
samplers       the samplers behind `local.*` targets
"""

from cirq_azure_sessions.workspaces.local.state import JobPace, ProgramError
from cirq_azure_sessions.workspaces.local.workspace import Backend, LocalWorkspace

__all__ = ["Backend", "JobPace", "LocalWorkspace", "ProgramError"]
