"""What comes of a run, and what a record lets go of."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from cirq_azure_sessions.model import JobRequest, JobStatus
from cirq_azure_sessions.workspaces.local.state import (
    JobPace,
    JobRecord,
    Outcome,
    ProgramError,
    remove,
)


def run_of(result: Any) -> Future[Any]:
    future: Future[Any] = Future()
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
    return future


def record(number: int = 0) -> JobRecord:
    request = JobRequest(f"job-{number}", "target", "name", b"payload", "", "")
    return JobRecord(request, number, JobPace(), None, 0.0, started=0.0)


def test_a_run_that_returns_succeeds_with_its_output() -> None:
    assert Outcome.of(run_of("output")) == Outcome(JobStatus.SUCCEEDED, "output")


def test_a_run_may_fail_with_a_code_of_the_service() -> None:
    outcome = Outcome.of(run_of(ProgramError("InvalidInputData", "No JSON.")))
    assert outcome == Outcome(JobStatus.FAILED, None, "InvalidInputData", "No JSON.")


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt("no"), SystemExit("no")])
def test_any_other_error_of_a_run_is_a_runtime_error(error: BaseException) -> None:
    outcome = Outcome.of(run_of(error))
    assert (outcome.status, outcome.code) == (JobStatus.FAILED, "RuntimeError")
    assert outcome.message == f"{type(error).__name__}: no"


def test_an_outcome_s_repr_does_not_show_its_output() -> None:
    assert "secret" not in repr(Outcome(JobStatus.SUCCEEDED, "secret"))


def test_record_without_its_program_keeps_status_and_error() -> None:
    job = record()
    job.resolve(Outcome(JobStatus.FAILED, "output", "code", "message"), 0.0, 0.0)
    job.end(JobStatus.FAILED, 0.0)
    job.forget()
    described = job.describe(0.0, 0.0)
    assert (described.status, described.error_code, described.error_message) == (
        JobStatus.FAILED,
        "code",
        "message",
    )
    assert job.outcome is not None
    assert (job.outcome.output, job.request.payload) == (None, None)


def test_a_record_is_taken_out_of_its_list_by_its_number() -> None:
    records = [record(number) for number in (1, 4, 9)]
    remove(records, records[1])
    assert [other.number for other in records] == [1, 9]
