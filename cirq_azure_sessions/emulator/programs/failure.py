"""How a program fails: with the codes that the service was recorded to give (`errorData`)."""

from __future__ import annotations

from cirq_azure_sessions.workspaces.local import ProgramError

__all__ = ["ProgramError", "invalid_input", "took_too_long", "untranslatable"]


def invalid_input(message: str) -> ProgramError:
    """The error of a program, or of its parameters, that cannot be read or run."""
    return ProgramError("InvalidInputData", message)


def took_too_long() -> ProgramError:
    """The error of a program that would keep the emulator busy for minutes."""
    return ProgramError(
        "ProviderTimeout",
        "The program takes more work than the emulator gives one job: use fewer gates, qubits or "
        "shots.",
    )


def untranslatable(provider: str) -> ProgramError:
    """The error of an `outputDataFormat` that the provider's results cannot be brought into."""
    return ProgramError(
        "CannotTranslateOutputData",
        f"The output returned by '{provider}' cannot be translated as specified by "
        "'outputDataFormat'. Please ensure that 'outputDataFormat' is correct.",
    )
