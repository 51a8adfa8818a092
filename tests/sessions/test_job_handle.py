"""Jobs in the hands of a user: found, waited for, cancelled and brought home."""

from __future__ import annotations

import cirq
import pytest
import sympy
from azure.quantum.job import Job

from cirq_azure_sessions import (
    AzureSessionSampler,
    JobCancelled,
    JobError,
    JobFailed,
    JobTimeout,
    LocalWorkspace,
    ManualClock,
    ResultFormatError,
    ResultNotAvailable,
    SessionPool,
    SweepError,
)
from cirq_azure_sessions.emulator import EmulatorServer

QUBIT = cirq.LineQubit(0)
CIRCUIT = cirq.Circuit(cirq.X(QUBIT), cirq.measure(QUBIT, key="m"))
ROTATION = cirq.Circuit(cirq.X(QUBIT) ** sympy.Symbol("t"), cirq.measure(QUBIT, key="m"))
SWEEP = cirq.Points("t", [0.0, 1.0])


def run(pool: SessionPool, target: str = "ionq.simulator") -> cirq.Result:
    return AzureSessionSampler(target, pool=pool, tags=["mine"]).run(CIRCUIT, repetitions=10)


def test_a_job_tells_what_the_service_told(pool: SessionPool, clock: ManualClock) -> None:
    result = run(pool)
    job = pool.get_job(result.job_id)
    assert (job.id, job.session_id, job.target) == (result.job_id, result.session_id, result.target)
    assert (job.status, job.is_final, job.tags) == ("Succeeded", True, ("mine",))
    assert job.creation_time <= job.begin_time <= job.end_time
    assert (job.error_code, job.error_message) == ("", "")
    assert job.cost == result.cost
    assert repr(job).startswith(f"JobHandle(id='{job.id}', target='ionq.simulator'")
    assert {job} == set(pool.list_jobs())


@pytest.mark.parametrize("target", ["ionq.simulator", "quantinuum.sim.h2-1e", "local.simulator"])
def test_a_job_brings_its_result_without_the_circuit(target: str, pool: SessionPool) -> None:
    result = run(pool, target)
    again = pool.get_job(result.job_id).result()
    assert again == result
    assert (again.job_id, again.session_id) == (result.job_id, result.session_id)


def test_the_job_of_a_sweep_brings_a_result_a_point(pool: SessionPool) -> None:
    sampler = AzureSessionSampler("local.simulator", pool=pool)
    results = sampler.run_sweep(ROTATION, SWEEP, repetitions=5)
    job = pool.get_job(results[1].job_id)
    assert [result.measurements["m"].sum() for result in job.results()] == [0, 5]
    for single in (job.result, lambda: sampler.get_result(job.id)):
        with pytest.raises(ResultFormatError, match=r"2 points: read them with results\(\)"):
            single()


def submit_with_the_sdk(server: EmulatorServer) -> str:
    """Submits a job outside of any session, and waits for nothing; returns its id."""
    program = {"gateset": "qis", "qubits": 1, "circuit": [{"gate": "x", "target": 0}]}
    target = server.workspace().get_targets("ionq.simulator")
    job_id: str = target.submit(program, name="theirs", shots=10).id
    return job_id


def test_a_job_of_anybody_is_waited_for_until_it_is_over(clock: ManualClock) -> None:
    with (
        EmulatorServer(clock=clock, realistic=True) as server,
        SessionPool(server.workspace(), clock=clock) as pool,
    ):
        job = pool.get_job(submit_with_the_sdk(server))
        assert (job.status, job.session_id, job.name) == ("Waiting", None, "theirs")
        assert job.wait() is job
        assert job.status == "Succeeded"
        with pytest.raises(ResultFormatError, match="submitted"):
            job.result()


def test_who_waits_in_vain_is_told_how_to_come_back_and_may_cancel() -> None:
    with EmulatorServer(realistic=True) as server, SessionPool(server.workspace()) as pool:
        job = pool.get_job(submit_with_the_sdk(server))
        for wait in (job.wait, job.results, job.result):
            with pytest.raises(JobTimeout, match="get_result"):
                wait(timeout=0.0)
        assert job.cancel().wait().status == "Cancelled"
        assert job.refresh().is_final
        with pytest.raises(JobCancelled):
            job.result()


def test_a_failed_job_says_why(pool: SessionPool, server: EmulatorServer) -> None:
    server.faults.fail_job(code="InvalidInputData")
    with pytest.raises(SweepError):
        run(pool)
    (job,) = pool.list_jobs(status="Failed")
    assert job.error_code == "InvalidInputData"
    assert job.wait().error_message
    with pytest.raises(JobFailed, match="InvalidInputData"):
        job.result()
    assert "InvalidInputData" in job._repr_html_()


def test_a_result_that_is_gone_is_named(clock: ManualClock) -> None:
    workspace = LocalWorkspace(clock=clock)
    with SessionPool(workspace, clock=clock) as pool:
        job = pool.get_job(run(pool, "local.simulator").job_id)
        workspace.forget_output(job.id)
        with pytest.raises(ResultNotAvailable, match=job.id):
            job.result()


def test_a_job_that_is_not_there_is_named(pool: SessionPool) -> None:
    with pytest.raises(JobError, match="no job 00000000"):
        pool.get_job("00000000-0000-0000-0000-000000000000")


def test_the_sdks_own_job_is_one_attribute_away(pool: SessionPool) -> None:
    result = run(pool)
    for job in (result.azure_job, pool.get_job(result.job_id).azure_job):
        assert isinstance(job, Job)
        assert job.id == result.job_id
        assert job.get_results() == {"histogram": {"1": 1.0}}
    assert run(pool, "local.simulator").azure_job is None
