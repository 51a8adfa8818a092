"""Values at the borders: frozen, quiet about payloads, and forgiving about the service's case."""

from __future__ import annotations

import dataclasses

import pytest

from cirq_azure_sessions.model import (
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
def test_the_service_s_words_are_read_in_any_case(word: str) -> None:
    assert SessionStatus(word) is SessionStatus.FAILURES


def test_an_unknown_word_is_refused() -> None:
    with pytest.raises(ValueError, match="Sleeping"):
        JobStatus("Sleeping")


def test_a_word_is_written_as_the_service_writes_it() -> None:
    assert str(JobFailurePolicy.ABORT) == "Abort"
    assert f"{SessionStatus.TIMED_OUT}" == "TimedOut"


def test_a_session_with_failures_still_takes_jobs() -> None:
    final = {status for status in SessionStatus if status.is_final}
    assert final == {SessionStatus.SUCCEEDED, SessionStatus.FAILED, SessionStatus.TIMED_OUT}


def test_a_job_is_over_when_it_completed_succeeded_failed_or_was_cancelled() -> None:
    final = {status.value for status in JobStatus if status.is_final}
    assert final == {"Completed", "Succeeded", "Failed", "Cancelled"}


def test_only_a_job_that_went_well_has_a_result() -> None:
    with_result = {status.value for status in JobStatus if status.has_result}
    assert with_result == {"Completed", "Succeeded"}


@pytest.mark.parametrize("status", list(SessionStatus))
def test_a_session_is_open_until_its_status_is_final(status: SessionStatus) -> None:
    session = Session(id="s", target="t", name="n", status=status)
    assert session.is_open is not status.is_final


@pytest.mark.parametrize("status", list(JobStatus))
def test_a_job_is_over_when_its_status_says_so(status: JobStatus) -> None:
    assert Job(id="j", target="t", name="n", status=status).is_final is status.is_final


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
def test_values_at_borders_do_not_change(value: object) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.name = "another"  # type: ignore[attr-defined]  # that it fails is the point


def test_a_repr_holds_no_payload_no_parameters_and_no_address() -> None:
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
    program = LocalProgram(circuit=secret, params=(secret,), repetitions=1, random_state=secret)

    assert all("SECRET" not in repr(value) for value in (request, job, program))


def test_the_sdk_s_own_object_does_not_make_two_jobs_differ() -> None:
    first = Job(id="j", target="t", name="n", status=JobStatus.WAITING, handle=object())
    second = Job(id="j", target="t", name="n", status=JobStatus.WAITING, handle=object())
    assert first == second
