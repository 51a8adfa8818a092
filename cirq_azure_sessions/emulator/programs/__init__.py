"""The languages of programs, each run by a pure function of the job, the noise and random numbers.

Programs are parsed by separate code, not that of `formats`: a mistake on both sides would cancel
out.
"""

from cirq_azure_sessions.noise import NOISELESS, MachineNoise

__all__ = ["NOISELESS", "MachineNoise"]
