"""What to tell of a job that brings no result."""

from __future__ import annotations

from cirq_azure_sessions.errors import (
    JobCancelled,
    JobError,
    JobFailed,
    JobTimeout,
    ResultNotAvailable,
    ServiceError,
)
from cirq_azure_sessions.model import Job, JobStatus

__all__ = ["check_succeeded", "not_over", "out_of_reach", "unknown_job"]


def check_succeeded(job: Job) -> None:
    """Passes a job that has a result.

    Raises:
        JobFailed, JobCancelled: If a job that is over has none.
    """
    if job.status is JobStatus.FAILED:
        reason = f"{job.error_code}: {job.error_message}" if job.error_code else "no reason given"
        raise JobFailed(
            f"Job {job.id} on {job.target} failed ({reason}).",
            job_id=job.id,
            code=job.error_code,
        )
    if not job.status.has_result:
        raise JobCancelled(
            f"Job {job.id} on {job.target} was cancelled; run the point again to have its result.",
            job_id=job.id,
            status=job.status.value,
        )


def not_over(job_id: str, timeout: float) -> JobTimeout:
    """What to tell of a job whose end did not come in time."""
    return JobTimeout(
        f"Job {job_id} was not over after {timeout:g} s; it may still be running: "
        f"get_result({job_id!r}) brings its result later.",
        job_id=job_id,
        status="Waiting",
    )


def unknown_job(job_id: str) -> JobError:
    """What to tell of an id that names no job."""
    return JobError(
        f"This workspace has no job {job_id}: check the id and the workspace.",
        job_id=job_id,
        status="Missing",
    )


def out_of_reach(job: Job, error: ServiceError) -> ResultNotAvailable:
    """What to tell of an accepted job whose result the service does not hand out."""
    if error.is_missing:
        what = "succeeded and its result is missing: look at the job in the portal"
    else:
        what = f"was accepted: later, get_result({job.id!r}) brings its result"
    failure = ResultNotAvailable(
        f"Job {job.id} on {job.target} {what}. {error}",
        job_id=job.id,
        status=job.status.value,
        status_code=error.status_code,
    )
    failure.__cause__ = error
    return failure
