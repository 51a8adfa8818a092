"""What holds for every test, and the workspaces and pools that most of them need."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from cirq_azure_sessions import LocalWorkspace, ManualClock, SessionPool
from cirq_azure_sessions.emulator import EmulatorServer

# No test asserts on time: a machine that is busy with something else fails none.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")


def pytest_collection_finish() -> None:
    """Leaves what was collected out of garbage collections, which the tests for leaks force."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def sigterm() -> Iterator[None]:
    """Restores how SIGTERM is handled: by commands, which forked workers would inherit."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def workspace(clock: ManualClock) -> LocalWorkspace:
    """A workspace in memory, which ages with `clock`."""
    return LocalWorkspace(clock=clock)


@pytest.fixture
def server(clock: ManualClock) -> Iterator[EmulatorServer]:
    """An emulated Azure workspace, which ages with `clock`."""
    with EmulatorServer(clock=clock) as server:
        yield server


@pytest.fixture
def pool(server: EmulatorServer, clock: ManualClock) -> Iterator[SessionPool]:
    """A pool on `server`; its local targets run in memory."""
    with SessionPool(server.workspace(), clock=clock) as pool:
        yield pool


@pytest.fixture
def local_pool(workspace: LocalWorkspace, clock: ManualClock) -> Iterator[SessionPool]:
    """A pool on `workspace`."""
    with SessionPool(workspace, clock=clock) as pool:
        yield pool
