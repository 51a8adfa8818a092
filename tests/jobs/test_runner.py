"""Jobs are accepted exactly once, whatever is lost, and never more at a time than allowed."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import cirq
import pytest
from circuits import SWITCH
from services import num_waiting

from cirq_azure_sessions import (
    AzureSessionSampler,
    JobCancelled,
    JobFailed,
    LocalWorkspace,
    ManualClock,
    ServiceError,
    SessionNotAvailable,
    SessionPool,
    SweepError,
)
from cirq_azure_sessions.model import Job, JobRequest
from cirq_azure_sessions.workspaces.local import JobPace, ProgramError

TARGET = "ionq.simulator"
# Takes no more than 10,000 repetitions a job.
QPU = "ionq.qpu.aria-1"


class Service(LocalWorkspace):
    """A workspace whose answers to submissions get lost or refused as a test says.

    Attributes:
        script: What the next submissions meet, in order; `ok` for those beyond its end.
        failing: The names of the jobs that fail.
        submitted: The id of each submission.
    """

    def __init__(self, clock: ManualClock, **options: Any) -> None:
        super().__init__(backends=dict.fromkeys([TARGET, QPU], self._run), clock=clock, **options)
        self.script: list[str] = []
        self.failing: set[str] = set()
        self.requests: Counter[str] = Counter()
        self.submitted: list[str] = []

    def _run(self, request: JobRequest) -> bytes:
        if request.name in self.failing:
            raise ProgramError("InvalidInputData", "The program is malformed.")
        return json.dumps({"histogram": {len(json.loads(request.payload)["circuit"]): 1}}).encode()

    async def store_input(self, request: JobRequest) -> None:
        self.requests["store"] += 1
        return await super().store_input(request)

    async def submit_job(self, request: JobRequest, stored: Any = None) -> Job:
        self.submitted.append(request.id)
        meets = self.script.pop(0) if self.script else "ok"
        if meets == "lost before":
            raise ServiceError("The connection was lost.")
        if meets == "throttled":
            raise ServiceError("Too many requests.", status_code=429, retry_after=1.0)
        if meets == "refused":
            raise ServiceError("The job is malformed.", status_code=400, code="InvalidJob")
        if meets == "denied":
            raise ServiceError("The key is wrong.", status_code=401)
        if meets == "session ended":
            raise SessionNotAvailable("The session has ended.", session_id=request.session_id)
        job = await super().submit_job(request, stored)
        if meets == "lost after":
            raise ServiceError("The connection was lost.")
        return job

    async def get_job(self, job_id: str, *, wait: float = 0.0) -> Job:
        self.requests["look up"] += not wait
        return await super().get_job(job_id, wait=wait)


@pytest.fixture
def workspace(clock: ManualClock) -> Service:
    return Service(clock)


@pytest.fixture
def pool(local_pool: SessionPool) -> SessionPool:
    return local_pool


def _bits(count: int) -> list[int]:
    return [point % 2 for point in range(count)]


def _run(pool: SessionPool, count: int, *, limit: int = 100) -> list[Any]:
    """The bit that each point measured, or its error."""
    sampler = AzureSessionSampler(TARGET, pool=pool, max_concurrent_jobs=limit, job_name="job")
    failures: dict[int, Exception] = {}
    try:
        results: Any = sampler.run_sweep(SWITCH, cirq.Points("flip", _bits(count)), 1)
    except SweepError as error:
        results, failures = error.results, error.failures
    return [
        failures[point] if result is None else int(result.measurements["m"].item())
        for point, result in enumerate(results)
    ]


def _outcome(pool: SessionPool) -> Any:
    """The same for a sweep of one point, or the error of the call."""
    try:
        return _run(pool, 1)[0]
    except (ServiceError, SessionNotAvailable) as error:
        return error


def test_every_result_comes_back_at_its_point(pool: SessionPool, workspace: Service) -> None:
    assert _run(pool, 250) == _bits(250)
    assert len(workspace.submitted) == 250


def test_no_more_jobs_are_in_flight_than_allowed(clock: ManualClock) -> None:
    service = Service(clock, max_jobs=5)
    with SessionPool(service, clock=clock) as pool:
        assert _run(pool, 60, limit=5) == _bits(60)
    assert len(service.submitted) == 60, "the service refused none"


def test_free_slots_are_filled_before_outputs_are_fetched() -> None:
    requests: list[str] = []

    class Clock(ManualClock):
        async def sleep(self, seconds: float) -> None:
            # As on the machine's clock: zero seconds take one iteration of the loop, and more than
            # that end after all workers have begun.
            for _ in range(20 if seconds else 1):
                await asyncio.sleep(0)
            if seconds:
                await super().sleep(seconds)

    class Recorder(Service):
        async def submit_job(self, request: JobRequest, stored: Any = None) -> Job:
            requests.append("submit")
            return await super().submit_job(request, stored)

        async def fetch_output(self, job: Job, stored: Any = None) -> Any:
            requests.append("fetch")
            return await super().fetch_output(job, stored)

    clock = Clock()
    service = Recorder(clock, pace=lambda _: JobPace(run=10.0))
    with SessionPool(service, clock=clock) as pool:
        assert _run(pool, 12, limit=4) == _bits(12)
    assert requests == 2 * (4 * ["submit"]) + 4 * ["fetch"] + 4 * ["submit"] + 8 * ["fetch"]


# Lost answers


def test_a_lost_answer_is_looked_up_before_anything_else(
    pool: SessionPool, workspace: Service
) -> None:
    workspace.script = ["lost after"]
    assert _outcome(pool) == 0
    assert len(workspace.submitted) == 1
    assert workspace.requests["look up"] == 1


def test_a_lost_submission_is_repeated_under_the_same_id(
    pool: SessionPool, workspace: Service
) -> None:
    workspace.script = ["lost before", "lost before"]
    assert _outcome(pool) == 0
    assert len(workspace.submitted) == 3
    assert len(set(workspace.submitted)) == 1


def test_a_submission_lost_again_and_again_is_an_error(
    pool: SessionPool, workspace: Service
) -> None:
    workspace.script = ["lost before"] * 4
    assert isinstance(_outcome(pool), ServiceError)
    assert len(workspace.submitted) == 4


def test_a_service_that_has_accepted_a_job_is_waited_for_longer(
    pool: SessionPool, workspace: Service, clock: ManualClock
) -> None:
    workspace.script = ["ok", *["lost before"] * 12]
    assert _run(pool, 2, limit=1) == [0, 1]
    assert 60 < clock.monotonic() < 600


# Refusals


def test_permanent_refusal_is_not_retried(pool: SessionPool, workspace: Service) -> None:
    workspace.script = ["refused"]
    first, *others = _run(pool, 3, limit=1)
    assert str(first) == "The job is malformed."
    assert others == [1, 0]
    assert len(workspace.submitted) == 3


def test_a_refused_key_ends_the_call(pool: SessionPool, workspace: Service) -> None:
    workspace.script = ["denied"]
    with pytest.raises(ServiceError, match="key is wrong"):
        _run(pool, 50, limit=1)
    assert len(workspace.submitted) == 1


def test_throttled_jobs_are_submitted_again(pool: SessionPool, workspace: Service) -> None:
    workspace.script = ["ok", *["throttled"] * 9]
    assert _run(pool, 40) == _bits(40)
    assert len(set(workspace.submitted)) == 40


def test_the_only_job_pauses_as_long_as_the_service_says(
    pool: SessionPool, workspace: Service, clock: ManualClock
) -> None:
    workspace.script = ["throttled"]
    assert _outcome(pool) == 0
    assert clock.monotonic() >= 1.0


def test_the_limit_of_the_service_is_learned(clock: ManualClock) -> None:
    service = Service(clock, max_jobs=8)
    with SessionPool(service, clock=clock) as pool:
        assert _run(pool, 400) == _bits(400)
    assert len(service.submitted) <= 1.3 * 400


# Failures and sessions


def test_a_failed_job_leaves_its_siblings_running(pool: SessionPool, workspace: Service) -> None:
    workspace.failing = {"job-1"}
    first, second, third = _run(pool, 3)
    assert (first, third) == (0, 0)
    assert isinstance(second, JobFailed)
    assert second.code == "InvalidInputData"
    assert second.job_id in workspace.submitted


@pytest.mark.parametrize("limit", [1, 2])
def test_a_failed_part_keeps_the_other_parts_of_its_point_from_being_submitted(
    pool: SessionPool, workspace: Service, limit: int
) -> None:
    workspace.failing = {"job-0"}
    sampler = AzureSessionSampler(QPU, pool=pool, max_concurrent_jobs=limit, job_name="job")
    with pytest.raises(SweepError) as caught:
        # 10,000 repetitions a job: ten parts of the first point, ten of the second.
        sampler.run_sweep(SWITCH, cirq.Points("flip", [0, 1]), 100_000)
    assert isinstance(caught.value.failures[0], JobFailed)
    first, second = caught.value.results
    assert first is None
    assert second is not None
    assert second.repetitions == 100_000
    assert len(workspace.submitted) == limit + 10
    # Inputs are stored ahead.
    assert workspace.requests["store"] <= 2 * limit + 10


def test_a_session_that_times_out_is_replaced_and_no_job_runs_twice(
    workspace: Service, clock: ManualClock
) -> None:
    # The pool's own clock stands still: it believes that the session is fresh.
    with SessionPool(workspace, clock=ManualClock()) as pool:
        _run(pool, 3)
        clock.advance(601)
        assert _run(pool, 27) == _bits(27)
        assert pool.get_stats()["sessions_opened"] == 2
        assert pool.get_stats()["jobs_submitted"] == 30


def test_under_abort_the_failure_is_distinguished_from_its_consequences(
    workspace: Service, clock: ManualClock
) -> None:
    workspace.failing = {"job-0"}
    with SessionPool(workspace, clock=clock, job_failure_policy="Abort") as pool:
        first, second, *others = _run(pool, 4, limit=1)
    assert isinstance(first, JobFailed)
    assert "Abort policy" in str(second)
    assert all(isinstance(each, SessionNotAvailable | JobCancelled) for each in (second, *others))


def test_sessions_that_end_one_after_the_other_are_an_error(
    pool: SessionPool, workspace: Service
) -> None:
    workspace.script = ["session ended"] * 10
    with pytest.raises(SessionNotAvailable, match="5 sessions in a row"):
        _run(pool, 1)
    assert len(workspace.submitted) == 5


# The end of a call


def test_internal_error_keeps_its_type_and_names_the_job(
    pool: SessionPool, workspace: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stumble(request: JobRequest) -> None:
        raise TypeError("This is no number.")

    monkeypatch.setattr(workspace, "store_input", stumble)
    error = _outcome(pool)
    assert isinstance(error, TypeError)
    assert error.__notes__ == [f"while running job {error.__notes__[0].split()[-1]}"]


def test_a_job_that_cannot_be_made_ends_the_call_with_its_error(
    pool: SessionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise TypeError("This is no number.")

    monkeypatch.setattr(AzureSessionSampler, "_job_request", fail)
    with pytest.raises(TypeError, match="no number"):
        _run(pool, 3)


def test_closing_a_stream_leaves_no_slot_taken_and_no_job_counted(pool: SessionPool) -> None:
    sampler = AzureSessionSampler(TARGET, pool=pool, max_concurrent_jobs=4)
    stream = sampler.stream_sweep(SWITCH, cirq.Points("flip", _bits(100)), 1)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    throttle = sampler._runner.throttle
    assert (throttle.inputs.inside, num_waiting(throttle.inputs)) == (0, 0)
    assert (throttle.slots.inside, num_waiting(throttle.slots)) == (0, 0)
    assert (throttle.requests.inside, num_waiting(throttle.requests)) == (0, 0)
    assert pool.get_stats()["jobs_running"] == 0
