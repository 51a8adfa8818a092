"""What holds for every test, and a pool on an emulated workspace for those that want no other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from cirq_azure_sessions import ManualClock, SessionPool
from cirq_azure_sessions.emulator import EmulatorServer

# No test asserts on time: a machine that is busy with something else fails none.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def server(clock: ManualClock) -> Iterator[EmulatorServer]:
    with EmulatorServer(clock=clock) as server:
        yield server


@pytest.fixture
def pool(server: EmulatorServer, clock: ManualClock) -> Iterator[SessionPool]:
    with SessionPool(server.workspace(), clock=clock) as pool:
        yield pool
