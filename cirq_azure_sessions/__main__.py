"""`python -m cirq_azure_sessions` is the command `cirq-azure-sessions`."""

from cirq_azure_sessions.cli import main

if __name__ == "__main__":
    main(prog_name="cirq-azure-sessions")
