"""The command `cirq-azure-sessions`: the only room that prints.

commands        run circuits, the demonstration
cost            what circuits are going to cost
monitor         what a workspace holds: targets, quotas, sessions, jobs
options         options that commands share, and how a command fails
program_options options of the commands that take a circuit
demo            what the demonstration does, without a word printed
tables          results, sweeps and the demonstration as tables
monitor_tables  sessions, jobs, targets and quotas as tables
table_style     what all tables have in common
"""

from cirq_azure_sessions.cli.commands import main

__all__ = ["main"]
