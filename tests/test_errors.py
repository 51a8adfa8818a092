"""The hierarchy of errors: who catches what, and that errors survive a trip between processes."""

from __future__ import annotations

import pickle

import pytest

from cirq_azure_sessions import errors
from cirq_azure_sessions.errors import (
    AzureSessionsError,
    JobCancelled,
    JobError,
    JobFailed,
    JobTimeout,
    PoolTimeout,
    ResultFormatError,
    ServiceError,
    SessionNotAvailable,
    SweepError,
    UnsupportedProgram,
    UnsupportedTarget,
)

KINDS = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_of_the_package_has_one_root(kind: type[Exception]) -> None:
    assert issubclass(kind, AzureSessionsError)


@pytest.mark.parametrize("name", errors.__all__)
def test_the_tree_in_the_docstring_shows_every_error(name: str) -> None:
    assert errors.__doc__ is not None
    assert name in errors.__doc__


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (PoolTimeout, TimeoutError),
        (JobTimeout, TimeoutError),
        (UnsupportedTarget, ValueError),
        (UnsupportedProgram, ValueError),
        (ResultFormatError, ValueError),
    ],
)
def test_some_are_python_s_own_kind_as_well(
    kind: type[Exception], builtin: type[Exception]
) -> None:
    assert issubclass(kind, builtin)


def test_everything_that_can_befall_one_job_is_a_job_error() -> None:
    assert all(issubclass(kind, JobError) for kind in (JobFailed, JobCancelled, JobTimeout))


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
def test_an_error_comes_home_whole_from_another_process(error: AzureSessionsError) -> None:
    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert repr(vars(copy)) == repr(vars(error))


@pytest.mark.parametrize(
    ("status_code", "is_ambiguous", "is_throttled", "is_missing"),
    [
        (None, True, False, False),
        (400, False, False, False),
        (404, False, False, True),
        (429, False, True, False),
        (500, True, False, False),
        (503, True, False, False),
    ],
)
def test_a_service_error_says_what_it_means_for_the_request(
    status_code: int | None, is_ambiguous: bool, is_throttled: bool, is_missing: bool
) -> None:
    error = ServiceError("No.", status_code=status_code)

    assert error.is_ambiguous is is_ambiguous
    assert error.is_throttled is is_throttled
    assert error.is_missing is is_missing


def test_a_sweep_error_keeps_what_came_home_in_the_order_of_the_sweep() -> None:
    failures = {1: JobFailed("It failed.", job_id="j")}
    error = SweepError("One point failed.", failures=failures, results=(None, None, None))

    assert error.failures == failures
    assert error.results == [None, None, None]
