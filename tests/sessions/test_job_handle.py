"""Job handles: looking up, waiting, cancelling, and fetching results."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import cirq
import numpy as np
import pytest
from azure.quantum.job import Job
from circuits import FLIP, SWITCH

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
)
from cirq_azure_sessions.emulator import EmulatorServer


def run(pool: SessionPool, target: str = "ionq.simulator") -> cirq.Result:
    return AzureSessionSampler(target, pool=pool, tags=["mine"]).run(FLIP, repetitions=10)


def test_a_job_shows_what_the_service_reported(pool: SessionPool, clock: ManualClock) -> None:
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
def test_a_result_is_fetched_without_the_circuit(target: str, pool: SessionPool) -> None:
    result = run(pool, target)
    again = pool.get_job(result.job_id).result()
    assert again == result
    assert (again.job_id, again.session_id) == (result.job_id, result.session_id)


def test_job_of_many_points_has_one_result_per_point(pool: SessionPool) -> None:
    sampler = AzureSessionSampler("local.simulator", pool=pool)
    results = sampler.run_sweep(SWITCH, cirq.Points("flip", [0, 1]), repetitions=5)
    job = pool.get_job(results[1].job_id)
    assert [result.measurements["m"].sum() for result in job.results()] == [0, 5]
    for single in (job.result, lambda: sampler.get_result(job.id)):
        with pytest.raises(ResultFormatError, match=r"2 points: read them with results\(\)"):
            single()


@pytest.mark.parametrize("target", ["ionq.simulator", "local.simulator"])
def test_job_is_renamed_tagged_and_deleted(target: str, pool: SessionPool) -> None:
    job = pool.get_job(run(pool, target).job_id)
    assert job.update(name="new", tags=["a", "b"]) is job
    assert (job.name, job.tags) == ("new", ("a", "b"))
    job.update(priority="High")
    assert (job.name, job.tags) == ("new", ("a", "b"))
    job.update(tags=[])
    assert pool.get_job(job.id).tags == ()
    job.delete()
    with pytest.raises(JobError):
        pool.get_job(job.id)


def test_update_request_matches_the_sdks(pool: SessionPool, server: EmulatorServer) -> None:
    job = pool.get_job(run(pool).job_id)
    job.update(name="new", priority="High")
    theirs = server.workspace().get_job(job.id)
    assert (theirs.details.name, theirs.details.priority) == ("new", "High")
    assert server.requests["update"] == 1


@pytest.mark.parametrize("change", [{"name": ""}, {"tags": "ab"}, {"priority": "Urgent"}])
def test_wrong_update_is_refused_before_it_is_sent(
    change: dict[str, Any], pool: SessionPool, server: EmulatorServer
) -> None:
    job = pool.get_job(run(pool).job_id)
    with pytest.raises(ValueError, match=next(iter(change))):
        job.update(**change)
    assert server.requests["update"] == 0


def test_deleting_a_job_whose_first_answer_was_lost(
    pool: SessionPool, server: EmulatorServer
) -> None:
    job = pool.get_job(run(pool).job_id)
    server.faults.reset("delete", after=True)
    job.delete()
    with pytest.raises(JobError):
        pool.get_job(job.id)


def test_attachments_are_those_of_the_sdk(pool: SessionPool) -> None:
    job = pool.get_job(run(pool).job_id)
    job.azure_job.upload_attachment("note.txt", b"hello")
    assert {"inputData", "note.txt"} <= {each.name for each in job.attachments()}
    local = pool.get_job(run(pool, "local.simulator").job_id)
    assert local.attachments() == []


def submit_with_the_sdk(server: EmulatorServer) -> str:
    """Submits a job outside of any session, and waits for nothing; returns its id."""
    program = {"gateset": "qis", "qubits": 1, "circuit": [{"gate": "x", "target": 0}]}
    target = server.workspace().get_targets("ionq.simulator")
    job_id: str = target.submit(program, name="theirs", shots=10).id
    return job_id


def test_a_foreign_job_can_be_waited_for(clock: ManualClock) -> None:
    with (
        EmulatorServer(clock=clock, realistic=True) as server,
        SessionPool(server.workspace(), clock=clock) as pool,
    ):
        job = pool.get_job(submit_with_the_sdk(server))
        assert (job.status, job.session_id, job.name) == ("Waiting", None, "theirs")
        assert job.wait() is job
        assert job.status == "Succeeded"


@pytest.mark.parametrize(
    ("target", "program", "options"),
    [
        (
            "ionq.simulator",
            {"gateset": "qis", "qubits": 1, "circuit": [{"gate": "h", "target": 0}]},
            {},
        ),
        (
            "quantinuum.sim.h2-1e",
            "OPENQASM 2.0; qreg q[1]; creg c[1]; measure q[0] -> c[0];",
            {},
        ),
        ("rigetti.sim.qvm", "DECLARE ro BIT[1]\nX 0\nMEASURE 0 ro[0]\n", {}),
    ],
    ids=["JSON", "OpenQASM", "Quil"],
)
def test_result_of_a_foreign_job_is_the_sdks(
    target: str, program: Any, options: Any, server: EmulatorServer, pool: SessionPool
) -> None:
    theirs = server.workspace().get_targets(target).submit(program, shots=20, **options)
    job = pool.get_job(theirs.id)
    assert job.result() == job.results()[0] == theirs.get_results()


def test_result_of_a_foreign_qir_job_has_its_histogram_and_shots_in_the_sdks_job(
    pool: SessionPool, server: EmulatorServer
) -> None:
    qsharp = pytest.importorskip("qdk.qsharp", reason="the extra qir brings qdk")
    qsharp.init(target_profile=qsharp.TargetProfile.Base)
    qsharp.eval("operation Flip() : Result { use q = Qubit(); X(q); MResetZ(q) }")
    program = qsharp.compile("Flip()")
    theirs = server.workspace().get_targets("ionq.simulator").submit(program, shots=5)
    job = pool.get_job(theirs.id)
    assert job.result() == {"1": 1.0}
    assert job.azure_job.get_results_histogram() == {"1": {"outcome": 1, "count": 5}}
    assert job.azure_job.get_results_shots() == [1] * 5


def test_a_foreign_job_has_no_cirq_result(pool: SessionPool, server: EmulatorServer) -> None:
    sampler = AzureSessionSampler("ionq.simulator", pool=pool)
    with pytest.raises(ResultFormatError, match="was not submitted by this package"):
        sampler.get_result(submit_with_the_sdk(server))


def test_a_job_that_timed_out_can_be_cancelled() -> None:
    with EmulatorServer(realistic=True) as server, SessionPool(server.workspace()) as pool:
        job = pool.get_job(submit_with_the_sdk(server))
        for wait in (job.wait, job.results, job.result):
            with pytest.raises(JobTimeout, match="get_result"):
                wait(timeout=0.0)
        assert job.cancel().wait().status == "Cancelled"
        assert job.refresh().is_final
        with pytest.raises(JobCancelled):
            job.result()


def test_a_failed_job_shows_its_error_code(pool: SessionPool, server: EmulatorServer) -> None:
    server.faults.fail_job(code="InvalidInputData")
    with pytest.raises(JobFailed):
        run(pool)
    (job,) = pool.list_jobs(status="Failed")
    assert job.error_code == "InvalidInputData"
    assert job.wait().error_message
    with pytest.raises(JobFailed, match="InvalidInputData"):
        job.result()
    assert "InvalidInputData" in job._repr_html_()


def test_a_missing_result_is_an_error_that_names_the_job(
    local_pool: SessionPool, workspace: LocalWorkspace
) -> None:
    job = local_pool.get_job(run(local_pool, "local.simulator").job_id)
    workspace.forget_output(job.id)
    with pytest.raises(ResultNotAvailable, match=job.id):
        job.result()


def test_an_unknown_job_is_an_error_that_names_it(pool: SessionPool) -> None:
    with pytest.raises(JobError, match="no job 00000000"):
        pool.get_job("00000000-0000-0000-0000-000000000000")


def test_the_sdks_own_job_is_one_attribute_away(pool: SessionPool) -> None:
    result = run(pool)
    for job in (result.azure_job, pool.get_job(result.job_id).azure_job):
        assert isinstance(job, Job)
        assert job.id == result.job_id
        assert job.get_results() == {"histogram": {"1": 1.0}}
    assert run(pool, "local.simulator").azure_job is None


@pytest.mark.parametrize("timeout", [Fraction(2), np.float32(2), math.inf])
def test_timeout_of_a_wait_may_be_a_number_of_any_type(timeout: Any) -> None:
    clock = ManualClock()
    with SessionPool(LocalWorkspace(clock=clock), clock=clock) as pool:
        AzureSessionSampler("local.simulator", pool=pool).run(FLIP)
        (job,) = pool.list_jobs()
        assert job.wait(timeout).is_final
        assert pool.session("local.simulator").close().wait(timeout).status == "Succeeded"
    assert clock.monotonic() < math.inf
