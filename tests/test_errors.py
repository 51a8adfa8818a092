"""The tree of errors, and how answers become errors."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import pytest

from cirq_azure_sessions import errors
from cirq_azure_sessions.errors import (
    AzureSessionsError,
    CostLimitReached,
    JobCancelled,
    JobError,
    JobFailed,
    JobTimeout,
    PoolTimeout,
    ResultFormatError,
    ResultNotAvailable,
    ServiceError,
    SessionNotAvailable,
    SweepCostLimit,
    SweepError,
    SweepTimeout,
    UnsupportedProgram,
    UnsupportedTarget,
    check_succeeded,
    result_unavailable,
)
from cirq_azure_sessions.model import Job, JobStatus

KINDS = [
    kind
    for kind in map(errors.__dict__.get, errors.__all__)
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, Warning)
]


# The tree


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_one_root(kind: type[Exception]) -> None:
    assert issubclass(kind, AzureSessionsError)


def test_the_tree_in_the_docstring_shows_every_error_once() -> None:
    drawn = re.findall(r"^[|+\- ]*(\w+)(?: |$)", errors.__doc__ or "", re.MULTILINE)
    names = sorted(kind.__name__ for kind in KINDS)
    assert sorted(name for name in drawn if name in names) == names


@pytest.mark.parametrize(
    ("kind", "base"),
    [
        (PoolTimeout, TimeoutError),
        (JobTimeout, TimeoutError),
        (UnsupportedTarget, ValueError),
        (UnsupportedProgram, ValueError),
        (ResultFormatError, ValueError),
        (JobFailed, JobError),
        (JobCancelled, JobError),
        (JobTimeout, JobError),
        (ResultNotAvailable, JobError),
        (SweepTimeout, PoolTimeout),
        (SweepCostLimit, CostLimitReached),
    ],
)
def test_an_error_is_caught_by_its_other_base(kind: type[Exception], base: type[Exception]) -> None:
    assert issubclass(kind, base)


@pytest.mark.parametrize(
    "error",
    [
        AzureSessionsError("It went wrong."),
        SessionNotAvailable("It is over.", session_id="s"),
        JobFailed("It failed.", job_id="j", code="InvalidInputData"),
        JobCancelled("It was cancelled.", job_id="j", status="Cancelled"),
        ServiceError("It refused.", status_code=429, code="TooManyRequests", retry_after=2.0),
        SweepError("Some failed.", failures={1: ValueError("no")}, results=[None, None]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_pickling(error: AzureSessionsError) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert repr(vars(twin)) == repr(vars(error))


@pytest.mark.parametrize(
    ("status_code", "is_ambiguous", "is_throttled", "is_missing"),
    [
        (None, True, False, False),
        (400, False, False, False),
        (404, False, False, True),
        (408, True, False, False),
        (429, False, True, False),
        (500, True, False, False),
        (503, True, False, False),
    ],
)
def test_the_status_code_says_whether_the_request_may_have_taken_effect(
    status_code: int | None, is_ambiguous: bool, is_throttled: bool, is_missing: bool
) -> None:
    error = ServiceError("No.", status_code=status_code)

    assert error.is_ambiguous is is_ambiguous
    assert error.is_throttled is is_throttled
    assert error.is_missing is is_missing
    assert error.may_pass is (is_ambiguous or is_throttled)


# How a job becomes an error


def _job(status: JobStatus, **fields: Any) -> Job:
    return Job("j", "ionq.simulator", "n", status, **fields)


@pytest.mark.parametrize("status", [JobStatus.SUCCEEDED, JobStatus.COMPLETED])
def test_a_job_with_a_result_is_no_error(status: JobStatus) -> None:
    check_succeeded(_job(status))


def test_a_failed_job_is_raised_with_the_services_code() -> None:
    job = _job(JobStatus.FAILED, error_code="QubitLost", error_message="It got away.")
    with pytest.raises(JobFailed, match="QubitLost: It got away") as caught:
        check_succeeded(job)
    assert (caught.value.job_id, caught.value.code) == ("j", "QubitLost")


def test_the_exception_of_a_local_target_is_the_cause() -> None:
    exception = ZeroDivisionError("no")
    words = {"error_code": "RuntimeError", "error_message": "ZeroDivisionError: no"}
    with pytest.raises(JobFailed, match=r"failed \(ZeroDivisionError: no\)") as caught:
        check_succeeded(_job(JobStatus.FAILED, exception=exception, **words))
    assert caught.value.__cause__ is exception


def test_a_cancelled_job_is_raised_with_its_status() -> None:
    with pytest.raises(JobCancelled) as caught:
        check_succeeded(_job(JobStatus.CANCELLED))
    assert (caught.value.job_id, caught.value.status) == ("j", "Cancelled")


@pytest.mark.parametrize(
    ("status_code", "advice"), [(404, "inspect it in the Azure portal"), (503, "get_result")]
)
def test_an_unavailable_result_is_named_with_how_to_fetch_it(status_code: int, advice: str) -> None:
    answer = ServiceError("No.", status_code=status_code)
    error = result_unavailable(_job(JobStatus.SUCCEEDED), answer)
    assert advice in str(error)
    assert (error.job_id, error.status_code, error.__cause__) == ("j", status_code, answer)
