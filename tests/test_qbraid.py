"""The provider for qBraid, on the emulator."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

import cirq
import pytest
from circuits import BELL, FLIP

from cirq_azure_sessions import (
    JobCancelled,
    JobFailed,
    ManualClock,
    SessionPool,
    UnsupportedProgram,
    UnsupportedTarget,
)
from cirq_azure_sessions.emulator import EmulatorServer

pytest.importorskip("qbraid")

from qbraid.runtime import DeviceStatus, JobStatus

from cirq_azure_sessions.qbraid import AzureSessionsJob, AzureSessionsProvider

QASM = """OPENQASM 2.0;
include "qelib1.inc";
qreg q[3];
creg c[3];
x q[0];
measure q[0] -> c[0];
measure q[1] -> c[1];
measure q[2] -> c[2];
"""


@pytest.fixture
def provider(pool: SessionPool) -> AzureSessionsProvider:
    return AzureSessionsProvider(pool)


def test_devices_are_the_targets_of_the_workspace(
    provider: AzureSessionsProvider, server: EmulatorServer
) -> None:
    assert provider.get_device("ionq.simulator").status() == DeviceStatus.ONLINE
    server.set_availability("ionq.simulator", "Unavailable")
    assert provider.get_device("ionq.simulator").status() == DeviceStatus.UNAVAILABLE
    with pytest.raises(UnsupportedTarget, match="no target 'ionq'"):
        provider.get_device("ionq")


def test_device_status_is_requested_at_most_once_per_second(server: EmulatorServer) -> None:
    clock = ManualClock()
    with SessionPool(server.workspace(), clock=clock) as pool:
        device = AzureSessionsProvider(pool).get_device("ionq.simulator")
        server.requests.clear()
        # As `run` does, for each circuit of its list.
        for _ in range(5):
            device.apply_runtime_profile(FLIP)
        assert server.requests["providerStatus"] == 1
        server.set_availability("ionq.simulator", "Unavailable")
        clock.advance(1.5)
        assert device.status() == DeviceStatus.UNAVAILABLE


def test_device_queue_time_is_the_services() -> None:
    with EmulatorServer(realistic=True) as server, SessionPool(server.workspace()) as pool:
        assert AzureSessionsProvider(pool).get_device("ionq.simulator").avg_queue_time() == 3


def test_list_of_programs_runs_in_one_session(
    provider: AzureSessionsProvider, server: EmulatorServer, pool: SessionPool
) -> None:
    device = provider.get_device("ionq.simulator")
    jobs: Any = device.run([FLIP] * 20, shots=50)
    assert [job.result().data.get_counts() for job in jobs] == [{"1": 50}] * 20
    assert all(job.status() == JobStatus.COMPLETED for job in jobs)
    assert server.requests["open"] == 1
    assert server.requests["submit"] == 20
    assert pool.get_stats()["jobs_succeeded"] == 20


def test_jobs_that_are_polled_together_take_one_list(
    provider: AzureSessionsProvider, server: EmulatorServer
) -> None:
    server.faults.hang_job(times=50)
    jobs: Any = provider.get_device("ionq.simulator").run([FLIP] * 50, shots=5)
    server.requests.clear()
    assert {job.status() for job in jobs} <= {JobStatus.QUEUED, JobStatus.RUNNING}
    assert server.requests["job"] == 2
    assert server.requests["sessionJobs"] == 1
    jobs[-1].cancel()
    assert jobs[-1].status() == JobStatus.CANCELLED
    # Leaving the pool would wait for those that hang.
    provider.pool.close(cancel=True)


def test_job_that_has_finished_is_not_requested_again(
    provider: AzureSessionsProvider, server: EmulatorServer
) -> None:
    submitted: Any = provider.get_device("ionq.simulator").run([FLIP] * 20, shots=5)
    # As another process polls them: all statuses, then all results.
    jobs = [AzureSessionsJob(job.id, pool=provider.pool) for job in submitted]
    while any(job.status() != JobStatus.COMPLETED for job in jobs):
        pass
    server.requests.clear()
    assert all(job.is_terminal_state() for job in jobs)
    assert [job.result().data.get_counts() for job in jobs] == [{"1": 5}] * 20
    assert server.requests.total == server.requests["sasUri"] + server.requests["download"]


@pytest.mark.parametrize("target", ["ionq.simulator", "quantinuum.sim.h2-1e"])
def test_first_qubit_is_the_last_bit_of_an_outcome(
    target: str, provider: AzureSessionsProvider
) -> None:
    job: Any = provider.get_device(target).run(QASM, shots=100)
    counts = job.result().data.get_counts()
    # The second target reads a bit in 600 wrongly.
    assert max(counts, key=counts.get) == "001"


def test_job_is_found_by_another_process(provider: AzureSessionsProvider) -> None:
    submitted: Any = provider.get_device("ionq.simulator").run(BELL, shots=200)
    job = AzureSessionsJob(submitted.id, pool=provider.pool)
    counts = job.result().data.get_counts()
    assert set(counts) == {"00", "11"}
    assert sum(counts.values()) == 200


def test_failed_and_cancelled_jobs_are_reported(
    provider: AzureSessionsProvider, server: EmulatorServer
) -> None:
    device = provider.get_device("ionq.simulator")
    server.faults.fail_job(code="InvalidInputData")
    failed: Any = device.run(FLIP)
    with pytest.raises(JobFailed):
        failed.result()
    server.faults.hang_job()
    hanging: Any = device.run(FLIP)
    hanging.cancel()
    assert hanging.status() == JobStatus.CANCELLED
    with pytest.raises(JobCancelled):
        hanging.result()


def test_circuits_that_cannot_run_are_refused_before_anything_is_sent(
    provider: AzureSessionsProvider, server: EmulatorServer
) -> None:
    device = provider.get_device("ionq.simulator")
    noisy = cirq.Circuit(cirq.depolarize(0.1)(cirq.LineQubit(0)), cirq.measure(cirq.LineQubit(0)))
    with pytest.raises(UnsupportedProgram):
        device.run([FLIP, noisy])
    with pytest.raises(UnsupportedProgram, match="20000 shots in one job"):
        provider.get_device("ionq.qpu.aria-1").run(FLIP, shots=20_000)
    assert server.requests["submit"] == 0


def test_environment_names_the_workspace(
    server: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIRQ_AZURE_SESSIONS_EMULATOR", server.endpoint)
    monkeypatch.setenv("CIRQ_AZURE_SESSIONS_EMULATOR_KEY", server.key)
    provider = AzureSessionsProvider()
    with provider.pool:
        submitted: Any = provider.get_device("ionq.simulator").run(FLIP, shots=5)
        assert AzureSessionsJob(submitted.id).result().data.get_counts() == {"1": 5}


def test_entry_points_name_provider_and_job() -> None:
    for group, kind in (("providers", AzureSessionsProvider), ("jobs", AzureSessionsJob)):
        (entry,) = entry_points(group=f"qbraid.{group}", name="azure-sessions")
        assert entry.load() is kind
