"""The command `cirq-azure-sessions`: the only room that prints.

circuit_file  `read_circuit`: circuits from Cirq JSON and OpenQASM 2
commands    the command itself, and which file has which of its commands
options     options that commands share, and how commands fail
tables      results, sessions, jobs, targets and quotas as tables and as JSON
"""

from cirq_azure_sessions.cli.commands import main

__all__ = ["main"]
