"""The workspace's storage in Azurite: Microsoft's own emulator vouches for ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from azurite import running_azurite
from storage_suite import Lifetimes, Run, StorageSuite

from cirq_azure_sessions.emulator.azure_storage import AzureStorage
from cirq_azure_sessions.loop_thread import LoopThread

# The first run installs Azurite.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def connection_string() -> Iterator[str]:
    with running_azurite() as connection_string:
        yield connection_string


@pytest.fixture(scope="module")
def loop() -> Iterator[LoopThread]:
    loop = LoopThread("azurite tests")
    yield loop
    loop.stop()


@pytest.fixture
def run(loop: LoopThread) -> Run:
    return loop.run


@pytest.fixture
def lifetimes() -> Lifetimes:
    return Lifetimes()


@pytest.fixture
def storage(
    connection_string: str, lifetimes: Lifetimes, loop: LoopThread
) -> Iterator[AzureStorage]:
    storage = AzureStorage(connection_string, lifetimes=lifetimes)
    yield storage
    loop.run(storage.aclose())


class TestAzureStorage(StorageSuite):
    """The suite of every storage account, on Azurite."""
