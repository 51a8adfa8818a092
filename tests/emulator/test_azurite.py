"""The workspace's storage in Azurite: Microsoft's own emulator vouches for ours."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from functools import partial
from typing import Any

import cirq
import pytest
import sympy
from azure.core.credentials import AzureKeyCredential
from azure.quantum import Workspace
from azure.quantum.target import IonQ
from azurite import ACCOUNT, KEY, running_azurite
from storage_suite import Lifetimes, Run, StorageSuite

from cirq_azure_sessions import AzureSessionSampler
from cirq_azure_sessions.background import EventLoopThread
from cirq_azure_sessions.emulator.azure_storage import AzureStorage
from cirq_azure_sessions.emulator.server import EmulatorServer

# The first run installs Azurite.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def connection_string() -> Iterator[str]:
    with running_azurite() as connection_string:
        yield connection_string


@pytest.fixture(scope="module")
def loop() -> Iterator[EventLoopThread]:
    loop = EventLoopThread("azurite tests")
    yield loop
    loop.stop()


@pytest.fixture
def run(loop: EventLoopThread) -> Run:
    async def outcome(work: Awaitable[Any]) -> Any:
        return await work

    return partial(loop.run, outcome)


@pytest.fixture
def lifetimes() -> Lifetimes:
    return Lifetimes()


@pytest.fixture
def storage(
    connection_string: str, lifetimes: Lifetimes, loop: EventLoopThread
) -> Iterator[AzureStorage]:
    storage = AzureStorage(connection_string, lifetimes)
    yield storage
    storage.close()


class TestAzureStorage(StorageSuite):
    """The suite of every storage account, on Azurite."""


CIRCUIT = {"gateset": "qis", "qubits": 1, "circuit": [{"gate": "x", "targets": [0]}]}


@pytest.fixture(params=["the service's", "the client's"])
def workspace(connection_string: str, request: pytest.FixtureRequest) -> Iterator[Workspace]:
    """A workspace whose storage account is named to the service only, or to the client too."""
    with EmulatorServer(store=connection_string) as server:
        yield Workspace(
            resource_id=server.resource_id,
            location="eastus",
            credential=AzureKeyCredential(server.key),
            storage=connection_string if request.param == "the client's" else None,
            _quantum_endpoint=server.endpoint,
        )


def test_jobs_run_from_azurite_into_azurite(workspace: Workspace) -> None:
    target = IonQ(workspace, name="ionq.simulator")
    with target.open_session(name="rehearsal") as session:
        jobs = [target.submit(CIRCUIT, name=f"point {number}", shots=10) for number in range(3)]
        assert [job.get_results() for job in jobs] == [{"histogram": {"1": 1.0}}] * 3
    assert {job.id for job in session.list_jobs()} == {job.id for job in jobs}
    for job in jobs:
        assert f"/{ACCOUNT}/job-{job.id}" in job.details.container_uri
        again = workspace.get_job(job.id)
        assert again.download_data(again.details.input_data_uri).startswith(b"{")


@pytest.mark.parametrize("target", ["ionq.simulator", "quantinuum.sim.h2-1e", "rigetti.sim.qvm"])
def test_a_sweep_goes_through_azurite(workspace: Workspace, target: str) -> None:
    qubit = cirq.LineQubit(0)
    circuit = cirq.Circuit(cirq.X(qubit) ** sympy.Symbol("t"), cirq.measure(qubit, key="m"))
    with AzureSessionSampler(target, workspace=workspace, seed=0) as sampler:
        results = sampler.run_sweep(circuit, cirq.Points("t", [0, 1]), repetitions=50)
    # The noise of a target flips about one bit in a hundred: 25 of 50, once in 1e36 runs.
    assert [round(result.measurements["m"].mean()) for result in results] == [0, 1]


def test_the_accounts_key_is_never_shown(connection_string: str) -> None:
    with EmulatorServer(store=connection_string) as server:
        assert KEY not in repr(server)
