"""Values: frozen, without payloads in their reprs, and read in any case."""

from __future__ import annotations

import dataclasses

import pytest

from cirq_azure_sessions.model import (
    Cost,
    Job,
    JobFailurePolicy,
    JobRequest,
    JobStatus,
    LocalProgram,
    Session,
    SessionRequest,
    SessionStatus,
)


@pytest.mark.parametrize("word", ["Failure(s)", "failure(s)", "FAILURE(S)"])
def test_a_status_is_read_in_any_case(word: str) -> None:
    assert SessionStatus(word) is SessionStatus.FAILURES


def test_an_unknown_status_is_kept_as_a_word_and_is_not_final() -> None:
    status = JobStatus("Sleeping")
    assert status == "Sleeping"
    assert status not in list(JobStatus)
    assert not status.is_final
    assert not status.has_result


def test_a_status_prints_as_the_service_writes_it() -> None:
    assert str(JobFailurePolicy.ABORT) == "Abort"
    assert f"{SessionStatus.TIMED_OUT}" == "TimedOut"


def test_failures_is_no_final_status_of_a_session() -> None:
    final = {status for status in SessionStatus if status.is_final}
    assert final == {SessionStatus.SUCCEEDED, SessionStatus.FAILED, SessionStatus.TIMED_OUT}


def test_a_job_is_final_when_completed_succeeded_failed_or_cancelled() -> None:
    final = {status.value for status in JobStatus if status.is_final}
    assert final == {"Completed", "Succeeded", "Failed", "Cancelled"}


def test_only_a_completed_or_succeeded_job_has_a_result() -> None:
    with_result = {status.value for status in JobStatus if status.has_result}
    assert with_result == {"Completed", "Succeeded"}


@pytest.mark.parametrize(
    "value",
    [
        SessionRequest(id="s", target="t", name="n"),
        Session(id="s", target="t", name="n", status=SessionStatus.WAITING),
        JobRequest(id="j", target="t", name="n", payload=b"", input_format="", output_format=""),
        Job(id="j", target="t", name="n", status=JobStatus.WAITING),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_are_frozen(value: object) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.name = "another"  # type: ignore[attr-defined]  # that it fails is the point


def test_a_repr_has_no_payload_parameters_or_address() -> None:
    secret = "sig=SECRET"
    request = JobRequest(
        id="j",
        target="t",
        name="n",
        payload=secret.encode(),
        input_format="f",
        output_format="g",
        input_params={"token": secret},
        metadata={"note": secret},
    )
    job = Job(
        id="j",
        target="t",
        name="n",
        status=JobStatus.WAITING,
        output_uri=f"https://host/blob?{secret}",
        input_params={"token": secret},
        metadata={"note": secret},
        handle=secret,
    )
    program = LocalProgram(circuit=secret, params=(secret,), repetitions=1)

    assert all("SECRET" not in repr(value) for value in (request, job, program))


def test_the_sdks_object_does_not_affect_equality() -> None:
    first = Job(id="j", target="t", name="n", status=JobStatus.WAITING, handle=object())
    second = Job(id="j", target="t", name="n", status=JobStatus.WAITING, handle=object())
    assert first == second


@pytest.mark.parametrize(
    ("status", "policy", "expected"),
    [
        (SessionStatus.FAILED, JobFailurePolicy.ABORT, True),
        (SessionStatus.FAILED, JobFailurePolicy.CONTINUE, False),
        (SessionStatus.TIMED_OUT, JobFailurePolicy.ABORT, False),
    ],
)
def test_only_a_failed_session_with_the_abort_policy_failed_under_abort(
    status: SessionStatus, policy: JobFailurePolicy, expected: bool
) -> None:
    session = Session(id="s", target="t", name="n", status=status, job_failure_policy=policy)
    assert session.failed_under_abort is expected


def test_consumption_is_added_up_by_dimension() -> None:
    events = (
        {"dimensionId": "gs1q", "amountConsumed": 2.0},
        {"dimensionId": "gs1q", "amountConsumed": 3.0},
        {"dimensionId": "gs2q", "amountConsumed": None},
    )
    assert Cost(1.0, events=events).consumed == {"gs1q": 5.0, "gs2q": 0.0}
