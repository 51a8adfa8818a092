"""The command `cirq-azure-sessions`; the only package that prints.

circuit_file  `read_circuit`: circuits from Cirq JSON and OpenQASM 2
commands    the command itself, and the module of each subcommand
numbers     numbers in options
options     shared options and error handling
tables      tables and JSON of results, sessions, jobs, targets and quotas
"""

from cirq_azure_sessions.cli.commands import main

__all__ = ["main"]
