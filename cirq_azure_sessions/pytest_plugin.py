"""Fixtures for tests of circuits that run on Azure Quantum, without an account.

pytest loads this module if the package is installed. It imports nothing until a fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cirq_azure_sessions import AzureSessionSampler, ManualClock, SessionPool
    from cirq_azure_sessions.emulator import EmulatorServer

__all__ = [
    "azure_clock",
    "azure_emulator",
    "azure_sampler",
    "azure_workspace",
    "session_pool",
]

_DEFAULT_TARGET = "local.simulator"
_MARK = "azure"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("cirq-azure-sessions")
    group.addoption(
        "--azure-target",
        action="append",
        metavar="NAME",
        help=f"A target for azure_sampler, by default {_DEFAULT_TARGET}; may be repeated.",
    )
    group.addoption(
        "--azure-resource-id",
        metavar="ID",
        help=f"Resource id of a real workspace for tests marked {_MARK}. Jobs may cost money.",
    )
    group.addoption(
        "--azure-location", metavar="REGION", help="Region of that workspace, such as eastus."
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", f"{_MARK}: runs on the workspace of --azure-resource-id, else is skipped"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marks = metafunc.definition.iter_markers("parametrize")
    names_its_own = any("azure_sampler" in (*mark.args, *mark.kwargs.values())[0] for mark in marks)
    if "azure_sampler" in metafunc.fixturenames and not names_its_own:
        targets = metafunc.config.getoption("--azure-target") or [_DEFAULT_TARGET]
        metafunc.parametrize("azure_sampler", list(dict.fromkeys(targets)), indirect=True)


def _is_real(request: pytest.FixtureRequest) -> bool:
    """Whether the test is marked to run on a real workspace; skips it if none is named."""
    if request.node.get_closest_marker(_MARK) is None:
        return False
    if not request.config.getoption("--azure-resource-id"):
        pytest.skip("needs a real workspace: name one with --azure-resource-id")
    return True


@pytest.fixture
def azure_clock() -> ManualClock:
    """The time of the emulated workspace and of the pool on it: `advance(601)` ends a session."""
    from cirq_azure_sessions import ManualClock

    return ManualClock()


@pytest.fixture
def azure_emulator(azure_clock: ManualClock) -> Iterator[EmulatorServer]:
    """An emulated Azure Quantum workspace for this test alone."""
    from cirq_azure_sessions.emulator import EmulatorServer

    with EmulatorServer(clock=azure_clock) as server:
        yield server


@pytest.fixture
def azure_workspace(request: pytest.FixtureRequest) -> Any:
    """The `azure.quantum.Workspace` of `azure_emulator`; in a marked test the real one."""
    if not _is_real(request):
        return request.getfixturevalue("azure_emulator").workspace()
    from cirq_azure_sessions.workspaces.azure import connect

    option = request.config.getoption
    return connect(option("--azure-resource-id"), location=option("--azure-location"))


@pytest.fixture
def session_pool(request: pytest.FixtureRequest, azure_workspace: Any) -> Iterator[SessionPool]:
    """A pool on `azure_workspace`, whose sessions are closed after the test."""
    from cirq_azure_sessions import SessionPool

    clock = None if _is_real(request) else request.getfixturevalue("azure_clock")
    with SessionPool(azure_workspace, clock=clock) as pool:
        yield pool


@pytest.fixture
def azure_sampler(request: pytest.FixtureRequest) -> Iterator[AzureSessionSampler]:
    """A sampler on each `--azure-target`, in `session_pool` unless the target is local."""
    from cirq_azure_sessions import AzureSessionSampler

    target, pool = request.param, None
    if _is_real(request) or not target.startswith("local."):
        pool = request.getfixturevalue("session_pool")
    with AzureSessionSampler(target, pool=pool) as sampler:
        yield sampler
