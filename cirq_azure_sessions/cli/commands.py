"""The command `cirq-azure-sessions`, with one file per command group.

Each command imports Cirq, Azure's SDK and the rest only if it needs them, so that `--help` is
instant.
"""

from __future__ import annotations

import click

from cirq_azure_sessions.cli.doctor import doctor
from cirq_azure_sessions.cli.emulate import emulate
from cirq_azure_sessions.cli.jobs import jobs
from cirq_azure_sessions.cli.journal import journal
from cirq_azure_sessions.cli.options import Group
from cirq_azure_sessions.cli.run import cost, run
from cirq_azure_sessions.cli.sessions import sessions
from cirq_azure_sessions.cli.targets import quotas, targets

__all__ = ["main"]


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cirq-azure-sessions")
def main() -> None:
    """Run Cirq circuits on Azure Quantum, in sessions that are kept, reused and reopened.

    On this machine, without an account:

    \b
      cirq-azure-sessions run bell.qasm
      cirq-azure-sessions demo

    On an emulated workspace, served by the first command:

    \b
      cirq-azure-sessions emulate --port 8080 --key my-key
      export CIRQ_AZURE_SESSIONS_EMULATOR_KEY=my-key
      cirq-azure-sessions run bell.qasm --target ionq.simulator \\
          --emulator http://127.0.0.1:8080
      cirq-azure-sessions sessions list --emulator http://127.0.0.1:8080

    On Azure, after `az login`:

    \b
      export AZURE_QUANTUM_WORKSPACE_NAME=my-workspace
      cirq-azure-sessions doctor
      cirq-azure-sessions targets
      cirq-azure-sessions run bell.qasm --target ionq.simulator

    The exit code is 0 for success, 1 for a failure, 2 for a usage error and 130 after Ctrl-C.
    """


for _command in (run, cost, targets, quotas, sessions, jobs, journal, emulate, doctor):
    main.add_command(_command)


@main.command()
def demo() -> None:
    """Run one sweep on three targets; no account is needed."""
    from cirq_azure_sessions.cli.demo import show_demo

    show_demo()
