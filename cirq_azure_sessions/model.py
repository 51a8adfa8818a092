"""Frozen values, in the service's own words; times are seconds since the Unix epoch."""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import cirq

__all__ = [
    "Cost",
    "Job",
    "JobFailurePolicy",
    "JobRequest",
    "JobStatus",
    "LocalProgram",
    "Quota",
    "Session",
    "SessionRequest",
    "SessionStatus",
    "TargetStatus",
]


class JobFailurePolicy(enum.StrEnum):
    """The effect of a failed job on its session."""

    ABORT = "Abort"
    CONTINUE = "Continue"


class _Status(enum.StrEnum):
    """A status, whose case varies between API versions; an unknown one is not a member."""

    @classmethod
    def _missing_(cls, value: object) -> _Status | None:
        if not isinstance(value, str):
            return None
        for status in cls:
            if status.value.lower() == value.lower():
                return status
        unknown = str.__new__(cls, value)
        unknown._name_ = unknown._value_ = value
        return unknown


class SessionStatus(_Status):
    """The status of a session on the service."""

    WAITING = "Waiting"
    EXECUTING = "Executing"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    FAILURES = "Failure(s)"
    TIMED_OUT = "TimedOut"

    @property
    def is_final(self) -> bool:
        """Whether the session permanently takes no more jobs. `Failure(s)` is not final."""
        return self in (self.SUCCEEDED, self.FAILED, self.TIMED_OUT)


class JobStatus(_Status):
    """The status of a job on the service."""

    QUEUED = "Queued"
    WAITING = "Waiting"
    EXECUTING = "Executing"
    FINISHING = "Finishing"
    CANCELLATION_REQUESTED = "CancellationRequested"
    CANCELLING = "Cancelling"
    COMPLETED = "Completed"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the job has finished, successfully or not."""
        return self in (self.COMPLETED, self.SUCCEEDED, self.FAILED, self.CANCELLED)

    @property
    def has_result(self) -> bool:
        """Whether there is a result to fetch."""
        return self in (self.COMPLETED, self.SUCCEEDED)


def _has_ended(item: Session | Job) -> bool:
    """Whether the status is final; for an unknown one, whether there is an end time."""
    is_known = item.status in list(type(item.status))
    return item.status.is_final if is_known else item.end_time is not None


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost that the service reports for a job or session.

    Attributes:
        total: The amount, in `currency`.
        currency: The currency's code, such as `USD`.
        events: The billed quantities, each a mapping with the service's own field names.
    """

    total: float
    currency: str = "USD"
    events: tuple[Mapping[str, Any], ...] = ()

    @property
    def consumed(self) -> Mapping[str, float]:
        """The amount consumed of each dimension, such as `{"ehqc": 8.3}`, billed or not."""
        amounts: dict[str, float] = defaultdict(float)
        for event in self.events:
            amount = event.get("amountConsumed") or 0.0
            if isinstance(amount, int | float):
                amounts[str(event.get("dimensionId", ""))] += amount
        return dict(amounts)


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """A session to open. The id is the client's to choose."""

    id: str
    target: str
    name: str
    job_failure_policy: JobFailurePolicy = JobFailurePolicy.CONTINUE


@dataclass(frozen=True, slots=True)
class Session:
    """A session as the service last described it; `handle` is the SDK's own, if there is one."""

    id: str
    target: str
    name: str
    status: SessionStatus
    job_failure_policy: JobFailurePolicy = JobFailurePolicy.ABORT
    creation_time: float | None = None
    end_time: float | None = None
    cost: Cost | None = None
    handle: Any = field(default=None, repr=False, compare=False)

    @property
    def is_open(self) -> bool:
        """Whether the session still accepted jobs when the service described it."""
        return not _has_ended(self)

    @property
    def failed_under_abort(self) -> bool:
        """Whether a failed job has ended the session under the Abort policy."""
        aborts = self.job_failure_policy is JobFailurePolicy.ABORT
        return aborts and self.status is SessionStatus.FAILED


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job to submit. The id is the client's to choose, and identifies the job permanently.

    Attributes:
        payload: The program: bytes in the input format, or a `LocalProgram`.
        metadata: Strings that stay with the job; the layout of its result is among them.
        fingerprint: A hash of the request, by which a journal recognizes it; None for a job that
            is not journalled.
        places: For each point the hash of its circuit, which request for that it is, 0 for the next
            one, and which part of its repetitions.
    """

    id: str
    target: str
    name: str
    payload: Any = field(repr=False)
    input_format: str
    output_format: str
    session_id: str | None = None
    input_params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    tags: tuple[str, ...] = ()
    priority: str | None = None
    fingerprint: str | None = None
    places: tuple[tuple[str, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class LocalProgram:
    """The payload of a job on a local target: a sweep, as `cirq.Sampler.run_sweep` takes it.

    Samples are drawn from `seed` as `TranslationOptions` says, or with None from fresh entropy.
    """

    circuit: cirq.AbstractCircuit = field(repr=False)
    params: tuple[cirq.ParamResolver, ...] = field(repr=False)
    repetitions: int
    seed: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the service last described it.

    Attributes:
        output_uri: The address of the result, without any SAS token.
        error_code: The code in the service's `errorData` of a failed job.
        error_message: The message there.
        exception: The exception of a local target, with its traceback; None elsewhere.
        handle: The SDK's own `azure.quantum.Job`, if the workspace has one.
    """

    id: str
    target: str
    name: str
    status: JobStatus
    session_id: str | None = None
    output_format: str = ""
    output_uri: str | None = field(default=None, repr=False)
    input_params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    tags: tuple[str, ...] = ()
    creation_time: float | None = None
    begin_time: float | None = None
    end_time: float | None = None
    error_code: str = ""
    error_message: str = ""
    cost: Cost | None = None
    exception: BaseException | None = field(default=None, repr=False, compare=False)
    handle: Any = field(default=None, repr=False, compare=False)

    @property
    def is_final(self) -> bool:
        """Whether the job has finished, successfully or not."""
        return _has_ended(self)


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """A target as the service's `providerStatus` lists it; queue times are in seconds.

    Attributes:
        target_profile: The QIR profile that it takes, such as `Adaptive_RI`; empty if not reported.
        num_qubits: How many qubits it has; None if not reported.
    """

    id: str
    provider: str
    availability: str = "Available"
    average_queue_time: float = 0.0
    target_profile: str = ""
    num_qubits: int | None = None


@dataclass(frozen=True, slots=True)
class Quota:
    """A quota of the workspace, in the fields of the service's `quotas`."""

    dimension: str
    scope: str
    provider: str
    utilization: float
    holds: float
    limit: float
    period: str | None = None
