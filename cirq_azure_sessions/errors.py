"""Errors of the package, and their construction from jobs and HTTP answers.

AzureSessionsError
+-- PoolClosed                  the pool was closed before or during the call
+-- PoolTimeout                 (TimeoutError) the call's own `timeout` ran out
+-- SessionNotAvailable         the session has ended, or none could be opened
+-- JobError                    one job brought no result: `.job_id`, `.status`
|   +-- JobFailed               the service reports a failure: `.code`
|   +-- JobCancelled            it was cancelled: by a person, the service or the Abort policy
|   +-- JobTimeout              (TimeoutError) it had not finished when the timeout ran out
|   +-- ResultNotAvailable      it was accepted, and its result cannot be fetched: `.status_code`
+-- SweepError                  some points failed: `.failures`, `.results`
|   +-- SweepTimeout            (PoolTimeout) because the call's own `timeout` ran out
|   +-- SweepCostLimit          (CostLimitReached) because `max_cost` was reached
+-- CostLimitReached            `max_cost` leaves no room for a job, which was not submitted
+-- QuotaExceeded               a quota leaves no room for a sweep; nothing of it was submitted
+-- UnsupportedTarget           (ValueError) no such target, or not in this workspace
+-- UnsupportedProgram          (ValueError) the target cannot run this circuit
+-- ResultFormatError           (ValueError) the result does not conform to its format
+-- ServiceError                the service returned an error, or did not answer: `.status_code`
+-- JournalError                the journal cannot be read or written

A message is one sentence, and says what to do if anything can be done. No message contains
a SAS token, a key or a payload.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from cirq_azure_sessions.model import Job, JobStatus

if TYPE_CHECKING:
    import cirq

__all__ = [
    "AzureSessionsError",
    "CostLimitReached",
    "DroppedOperationWarning",
    "JobCancelled",
    "JobError",
    "JobFailed",
    "JobTimeout",
    "JournalError",
    "PoolClosed",
    "PoolTimeout",
    "QuotaExceeded",
    "ResultFormatError",
    "ResultNotAvailable",
    "ServiceError",
    "SessionNotAvailable",
    "SweepCostLimit",
    "SweepError",
    "SweepTimeout",
    "UnsupportedProgram",
    "UnsupportedTarget",
]


class AzureSessionsError(Exception):
    """The base class of every error that this package raises.

    Attributes:
        may_pass: Whether the error is transient, so that another attempt may succeed.
        retry_after: Seconds after which the service asks to try again; None if it does not say.
    """

    may_pass: bool = False
    retry_after: float | None = None

    # Keyword-only attributes do not survive the default pickling of exceptions, and executors that
    # run work in other processes send their errors home pickled.
    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).__new__, (type(self),), {**vars(self), "args": self.args}


class PoolClosed(AzureSessionsError):
    """The pool was closed; open a new one."""

    def __init__(self) -> None:
        super().__init__("The session pool is closed: open a new SessionPool.")


class PoolTimeout(AzureSessionsError, TimeoutError):
    """The `timeout` of a call ran out before it finished."""


class CostLimitReached(AzureSessionsError):
    """`max_cost` leaves no room for a job; it was not submitted and costs nothing."""


class QuotaExceeded(AzureSessionsError):
    """A quota of the workspace leaves no room for a sweep; nothing was submitted."""


class SessionNotAvailable(AzureSessionsError):
    """A session has ended and takes no more jobs, or none could be opened.

    Attributes:
        session_id: The session's id; None if none was opened.
    """

    def __init__(
        self, message: str, *, session_id: str | None = None, may_pass: bool = False
    ) -> None:
        super().__init__(message)
        self.session_id = session_id
        self.may_pass = may_pass


class JobError(AzureSessionsError):
    """A job that the service accepted brought no result.

    Attributes:
        job_id: The job's id; `get_result(job_id)` looks it up again.
        status: The job's last known status on the service, such as `Failed`.
    """

    def __init__(self, message: str, *, job_id: str, status: str) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.status = status


class JobFailed(JobError):
    """The service reports that the job failed.

    Attributes:
        code: The service's error code, such as `InvalidInputData`; empty if it gave none.
    """

    def __init__(self, message: str, *, job_id: str, code: str = "") -> None:
        super().__init__(message, job_id=job_id, status="Failed")
        self.code = code


class JobCancelled(JobError):
    """The job was cancelled: by a person, by the service, or by its session's Abort policy."""


class JobTimeout(JobError, TimeoutError):
    """The job did not finish before the timeout; it may still be running."""


class ResultNotAvailable(JobError):
    """The service accepted the job, but its result is missing, refused or out of reach.

    Attributes:
        status_code: The HTTP status of the last response; None if there was none.
    """

    def __init__(self, message: str, *, job_id: str, status: str, status_code: int | None) -> None:
        super().__init__(message, job_id=job_id, status=status)
        self.status_code = status_code


class SweepError(AzureSessionsError):
    """Some points of a sweep brought no result.

    Attributes:
        failures: The error of each point that failed, by the point's index in the sweep.
        results: One entry per point, in the sweep's order: its result, or None if it failed.
    """

    def __init__(
        self,
        message: str,
        *,
        failures: Mapping[int, Exception],
        results: Sequence[cirq.Result | None],
    ) -> None:
        super().__init__(message)
        self.failures = dict(failures)
        # A list of the caller's type, such as SweepResults, is kept.
        kept = results if isinstance(results, list) else list(results)
        self.results: list[cirq.Result | None] = kept

    @classmethod
    def of(
        cls, parts: str, failures: Mapping[int, Exception], results: Sequence[Any], advice: str = ""
    ) -> Self:
        """The error of a call of which some `parts` failed; the first failure is its cause."""
        first = min(failures)
        error = cls(
            f"{len(failures)} of {len(results)} {parts} failed, the first at index {first}: "
            f"{failures[first]}{advice}",
            failures=failures,
            results=results,
        )
        error.__cause__ = failures[first]
        return error


class SweepTimeout(SweepError, PoolTimeout):
    """The `timeout` of a sweep ran out; results that arrived in time are in `.results`."""


class SweepCostLimit(SweepError, CostLimitReached):
    """`max_cost` was reached in a sweep; the points that were paid for are in `.results`."""


class UnsupportedTarget(AzureSessionsError, ValueError):
    """No available workspace has this target."""


class UnsupportedProgram(AzureSessionsError, ValueError):
    """The target cannot run this circuit; no job was submitted."""


class DroppedOperationWarning(UserWarning):
    """A part of the circuit that might affect a machine, such as a wait, was omitted."""


class ResultFormatError(AzureSessionsError, ValueError):
    """The service returned a result that does not conform to its format."""


class ServiceError(AzureSessionsError):
    """The service answered with an error, or did not answer.

    Attributes:
        status_code: The HTTP status; None if there was no response.
        code: The service's error code, such as `InvalidJobDefinition`; empty if it gave none.
        request_id: The service's id of the request, for its support; without a response, the id
            that was sent with it. Empty if no request was sent.
        is_ambiguous: Whether the request may have taken effect: no answer, 2xx, 408 or 5xx.
        is_throttled: Whether the service asks for fewer requests or fewer jobs: 429.
        is_missing: Whether the service does not know the session, job or blob: 404.
        is_unreadable: Whether the request succeeded but the response is incomplete: 2xx.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        code: str = "",
        retry_after: float | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.code = code
        self.retry_after = retry_after
        self.request_id = request_id
        self.is_unreadable = status_code is not None and status_code < 300
        self.is_ambiguous = status_code in (None, 408) or not 300 <= status_code < 500
        self.is_throttled = status_code == 429
        self.is_missing = status_code == 404
        self.may_pass = (self.is_ambiguous and not self.is_unreadable) or self.is_throttled


class JournalError(AzureSessionsError):
    """The journal cannot be read or written; nothing was submitted that it does not record."""


def check_succeeded(job: Job) -> None:
    """Raises `JobFailed` or `JobCancelled` unless a finished job has a result.

    The error that a local target raised is the cause. With an unknown status there may be one.
    """
    if job.status is JobStatus.FAILED:
        code = job.error_code if job.exception is None else ""  # the message begins with it
        reason = ": ".join(filter(None, [code, job.error_message])) or "no reason given"
        raise JobFailed(
            f"Job {job.id} on {job.target} failed ({reason}).", job_id=job.id, code=job.error_code
        ) from job.exception
    if job.status is JobStatus.CANCELLED:
        raise JobCancelled(
            f"Job {job.id} on {job.target} was cancelled; run the point again to get its result.",
            job_id=job.id,
            status=job.status.value,
        )


def not_finished(job_id: str, seconds: float) -> JobTimeout:
    """The error for a job that did not finish in time."""
    return JobTimeout(
        f"Job {job_id} did not finish within {seconds:g} s and may still be running: "
        f"get_result({job_id!r}) fetches its result later.",
        job_id=job_id,
        status="Waiting",
    )


def result_unavailable(job: Job, error: ServiceError) -> ResultNotAvailable:
    """The error for an accepted job whose result is not available."""
    if error.is_missing:
        state = f"ended ({job.status}), but its result is missing; inspect it in the Azure portal"
    else:
        state = f"was accepted; get_result({job.id!r}) fetches its result later"
    failure = ResultNotAvailable(
        f"Job {job.id} on {job.target} {state}. {error}",
        job_id=job.id,
        status=job.status.value,
        status_code=error.status_code,
    )
    failure.__cause__ = error
    return failure
