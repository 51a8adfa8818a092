"""Every error that a caller of this package meets.

    AzureSessionsError
    +-- PoolClosed                  the pool was closed before the call
    +-- PoolTimeout                 (TimeoutError) the call's own `timeout` ran out
    +-- SessionNotAvailable         the session is over, or none could be opened
    +-- JobError                    one job did not bring a result: `.job_id`, `.status`
    |   +-- JobFailed               the service reports a failure: `.code`
    |   +-- JobCancelled            it was cancelled, by a person, the service or the Abort policy
    |   +-- JobTimeout              (TimeoutError) it was not over when the caller's time was
    |   +-- ResultNotAvailable      it was accepted, and its result cannot be had: `.status_code`
    +-- SweepError                  some points failed: `.failures`, `.results`
    |   +-- SweepTimeout            (PoolTimeout) because the call's own `timeout` ran out
    |   +-- SweepCostLimit          (CostLimitReached) because `max_cost` was reached
    +-- CostLimitReached            `max_cost` has no room for a job, which was not submitted
    +-- QuotaExceeded               a quota has no room for a sweep, of which nothing was submitted
    +-- UnsupportedTarget           (ValueError) no such target, or not in this workspace
    +-- UnsupportedProgram          (ValueError) the target cannot run this circuit
    +-- ResultFormatError           (ValueError) the result is not what its format promises
    +-- ServiceError                the service answered with an error, or not: `.status_code`
    +-- JournalError                the journal's file cannot be read or written

A message is one sentence that says what to do. No message holds a SAS token, a key or a payload.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import cirq

__all__ = [
    "AzureSessionsError",
    "CostLimitReached",
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
    """The root of every error that this package raises on its own account.

    Attributes:
        retry_after: Seconds that the service asks to wait, or None if it does not say.
    """

    retry_after: float | None = None

    @property
    def may_pass(self) -> bool:
        """Whether the service may do later what it did not do now."""
        return False

    # Keyword-only attributes do not survive the default pickling of exceptions, and executors that
    # run work in other processes send their errors home pickled.
    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(
    cls: type[AzureSessionsError], args: tuple[Any, ...], state: dict[str, Any]
) -> AzureSessionsError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class PoolClosed(AzureSessionsError):
    """The pool was closed; make a new one to go on."""


class PoolTimeout(AzureSessionsError, TimeoutError):
    """The `timeout` of a call ran out before its work was done."""


class CostLimitReached(AzureSessionsError):
    """`max_cost` has no room for a job; what was not submitted costs nothing."""


class QuotaExceeded(AzureSessionsError):
    """What a quota has left does not do for a sweep; nothing was submitted."""


class SessionNotAvailable(AzureSessionsError):
    """A session is over and takes no more jobs, or none could be opened.

    Attributes:
        session_id: The session meant, or None where none was opened.
    """

    def __init__(
        self, message: str, *, session_id: str | None = None, may_pass: bool = False
    ) -> None:
        super().__init__(message)
        self.session_id = session_id
        self._may_pass = may_pass

    @property
    def may_pass(self) -> bool:
        """Whether no session could be opened for lack of an answer, or because of too many."""
        return self._may_pass


class JobError(AzureSessionsError):
    """A job that the service accepted brought no result.

    Attributes:
        job_id: The job's id, with which it can be looked up.
        status: The job's last known status, in the service's word, such as `Failed`.
    """

    def __init__(self, message: str, *, job_id: str, status: str) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.status = status


class JobFailed(JobError):
    """The service reports that the job failed.

    Attributes:
        code: The service's code of the failure, such as `InvalidInputData`; empty if it gave none.
    """

    def __init__(
        self, message: str, *, job_id: str, status: str = "Failed", code: str = ""
    ) -> None:
        super().__init__(message, job_id=job_id, status=status)
        self.code = code


class JobCancelled(JobError):
    """The job was cancelled: by a person, by the service, or by its session's Abort policy."""


class JobTimeout(JobError, TimeoutError):
    """The job was not over when the caller's time was; it may still be running."""


class ResultNotAvailable(JobError):
    """The service accepted the job, and its result is missing, refused or out of reach.

    Attributes:
        status_code: The HTTP status of the last answer, or None where none came.
    """

    def __init__(
        self, message: str, *, job_id: str, status: str, status_code: int | None = None
    ) -> None:
        super().__init__(message, job_id=job_id, status=status)
        self.status_code = status_code


class SweepError(AzureSessionsError):
    """Some points of a sweep brought no result.

    Attributes:
        failures: The error of each point that failed, by the point's index in the sweep.
        results: A list with one entry a point, in the order of the sweep: the results that came
            home, and None where a point failed.
    """

    def __init__(
        self,
        message: str,
        *,
        failures: Mapping[int, Exception],
        results: Sequence[cirq.Result | None],
    ) -> None:
        super().__init__(message)
        self.failures: dict[int, Exception] = dict(failures)
        # As the sampler would have returned it, where it is a list of its own kind.
        self.results: list[cirq.Result | None] = (
            results if isinstance(results, list) else list(results)
        )


class SweepTimeout(SweepError, PoolTimeout):
    """The `timeout` of a sweep ran out; what had come home by then is in `.results`."""


class SweepCostLimit(SweepError, CostLimitReached):
    """`max_cost` was reached in a sweep; what had been paid for by then is in `.results`."""


class UnsupportedTarget(AzureSessionsError, ValueError):
    """No workspace at hand knows this target."""


class UnsupportedProgram(AzureSessionsError, ValueError):
    """The target cannot run this circuit; nothing was sent."""


class ResultFormatError(AzureSessionsError, ValueError):
    """What the service returned is not what the result format promises."""


class ServiceError(AzureSessionsError):
    """The service answered with an error, or did not answer.

    Attributes:
        status_code: The HTTP status, or None where no answer came.
        code: The service's error code, such as `InvalidJobDefinition`; empty if it gave none.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        code: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.code = code
        self.retry_after = retry_after

    @property
    def is_ambiguous(self) -> bool:
        """Whether the request may have taken effect: no answer, or a server's error or timeout."""
        return self.status_code in (None, 408) or self.status_code >= 500

    @property
    def is_throttled(self) -> bool:
        """Whether the service asks for fewer requests or fewer jobs."""
        return self.status_code == 429

    @property
    def may_pass(self) -> bool:
        """Whether no answer came, or one that only asks for time."""
        return self.is_ambiguous or self.is_throttled

    @property
    def is_missing(self) -> bool:
        """Whether the service does not know the thing asked for."""
        return self.status_code == 404


class JournalError(AzureSessionsError):
    """The journal's file cannot be read or written; nothing was submitted that it does not hold."""
