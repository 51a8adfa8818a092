"""A real Dask cluster: tasks that share a sampler, local sweeps over its workers, dead workers."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cirq
import pytest
from services import FLIP, HANG_TIMEOUT, LOCAL, REMOTE, ROTATION, angles, in_background, wait_until

from cirq_azure_sessions import AzureSessionSampler, LocalWorkspace, SessionPool, SystemClock
from cirq_azure_sessions.emulator import EmulatorServer

distributed = pytest.importorskip("distributed")


@pytest.fixture
def clock() -> SystemClock:
    """The machine's own time, which the workers have too."""
    return SystemClock()


@contextmanager
def started() -> Iterator[Any]:
    """The client of a new cluster, which ends with the block."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A cluster that the tests share which leave its workers as they are."""
    with started() as client:
        yield client


def test_a_local_sweep_gives_the_same_samples_on_a_cluster(client: Any) -> None:
    sampler = AzureSessionSampler(LOCAL, seed=7)
    here = sampler.run_sweep(ROTATION, angles(40), 100)
    with AzureSessionSampler(LOCAL, seed=7, executor=client.get_executor()) as spread:
        assert spread.run_sweep(ROTATION, angles(40), 100) == here


def test_a_local_sweep_pickles_names_that_only_this_process_can_import(client: Any) -> None:
    """As a notebook defines it: the workers cannot import it."""

    class Flip(cirq.Gate):
        def _num_qubits_(self) -> int:
            return 1

        def _unitary_(self) -> Any:
            return cirq.unitary(cirq.X)

    def make(seed: Any) -> cirq.Sampler:
        return cirq.Simulator(seed=seed)

    qubit = cirq.LineQubit(0)
    circuit = cirq.Circuit(Flip()(qubit), cirq.measure(qubit, key="m"))
    workspace = LocalWorkspace({"local.mine": make}, executor=client.get_executor())
    with AzureSessionSampler("local.mine", workspace=workspace) as sampler:
        results = sampler.run_sweep(circuit, [None] * 4, 3)
    assert [result.histogram(key="m") for result in results] == [{1: 3}] * 4


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_a_local_sweep_outlives_a_worker_that_is_killed() -> None:
    sampler = AzureSessionSampler(LOCAL, seed=7)
    here = sampler.run_sweep(ROTATION, angles(200), 100)
    with started() as client:
        spread = AzureSessionSampler(LOCAL, seed=7, executor=client.get_executor())
        call = in_background(spread.run_sweep, ROTATION, angles(200), 100)
        victim = min(client.run(os.getpid).values())
        os.kill(victim, signal.SIGKILL)
        assert call.result(4 * HANG_TIMEOUT) == here


def test_named_tasks_share_a_session_and_unnamed_ones_have_one_per_worker(
    server: EmulatorServer,
) -> None:
    azure = server.workspace()
    with started() as client:
        for name, most in (("shared", 1), (None, 2)):
            with SessionPool(azure, name=name) as pool:
                sampler = AzureSessionSampler(REMOTE, pool=pool)
                # Dask would take calls with equal arguments for one.
                results = client.gather(client.map(sampler.run, [FLIP] * 20, pure=False))
                assert [result.histogram(key="m") for result in results] == [{1: 1}] * 20
                assert 1 <= len({result.session_id for result in results}) <= most
    # Workers that end have closed what they opened.
    wait_until(lambda: server.requests["open"] == server.requests["close"])
