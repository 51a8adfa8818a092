"""A workspace in memory: sessions, jobs and timeouts, over Cirq's simulators.

workspace      the verbs
state          the state machines of sessions and jobs
schedule       past and future events: idle timeouts, paces, queues
target_queue   which jobs of a target have a slot, and which wait for one
live_schedule  the schedule on a clock
samplers       the samplers behind `local.*` targets
noisy          that of circuits with noise
engine         shots on shared state vectors, for circuits with noise and for the emulator
program        what the engine runs, with its limits and errors
"""

from cirq_azure_sessions.workspaces.local.state import JobPace, ProgramError
from cirq_azure_sessions.workspaces.local.workspace import Backend, LocalWorkspace

__all__ = ["Backend", "JobPace", "LocalWorkspace", "ProgramError"]
