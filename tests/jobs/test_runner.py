"""Jobs are accepted exactly once, whatever is lost, and never more at a time than asked."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from cirq_azure_sessions.job_batch import Delivery, JobBatch

from cirq_azure_sessions.clock import ManualClock
from cirq_azure_sessions.errors import JobCancelled, JobFailed, ServiceError, SessionNotAvailable
from cirq_azure_sessions.jobs import JobRunner
from cirq_azure_sessions.model import Job, JobRequest
from cirq_azure_sessions.sessions.pool import SessionPool
from cirq_azure_sessions.workspaces.local import LocalWorkspace, ProgramError

TARGET = "ionq.simulator"


def _double(request: JobRequest) -> bytes:
    number = json.loads(request.payload)
    if number < 0:
        raise ProgramError("InvalidInputData", "The number is negative.")
    return json.dumps(2 * number).encode()


class Service(LocalWorkspace):
    """A workspace whose answers to submissions get lost or refused as a test says.

    Attributes:
        script: What the next submissions meet, in order; `ok` for those beyond its end.
    """

    def __init__(self, clock: ManualClock, **options: Any) -> None:
        super().__init__(backends={TARGET: _double}, clock=clock, **options)
        self.clock = clock
        self.script: list[str] = []
        self.requests: Counter[str] = Counter()
        self.submitted: list[str] = []

    async def store_input(self, request: JobRequest) -> Any:
        self.requests["store"] += 1
        return await super().store_input(request)

    async def submit_job(self, request: JobRequest, stored: Any) -> Job:
        self.requests["submit"] += 1
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
        job = await super().submit_job(request, stored)
        if meets == "lost after":
            raise ServiceError("The connection was lost.")
        return job

    async def get_job(self, job_id: str, *, wait: float = 0.0) -> Job:
        self.requests["look up"] += not wait
        return await super().get_job(job_id, wait=wait)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def service(clock: ManualClock) -> Service:
    return Service(clock)


@pytest.fixture
def pool(service: Service, clock: ManualClock) -> Iterator[SessionPool]:
    with SessionPool(service, clock=clock) as pool:
        yield pool


def _requests(numbers: range | list[int]) -> Iterator[JobRequest]:
    for number in numbers:
        yield JobRequest(
            id=f"job-{number}",
            target=TARGET,
            name=f"double {number}",
            payload=json.dumps(number).encode(),
            input_format="number",
            output_format="number",
        )


def _run(pool: SessionPool, numbers: range | list[int], *, limit: int = 100) -> list[Delivery]:
    runner = JobRunner(pool, TARGET, limit)

    async def collect() -> list[Delivery]:
        deliveries = [
            delivery async for delivery in runner.run(JobBatch(_requests(numbers), len(numbers)))
        ]
        return sorted(deliveries, key=lambda delivery: delivery.index)

    return pool.loop.run(collect())


def _outputs(deliveries: list[Delivery]) -> list[Any]:
    return [delivery.error or json.loads(delivery.record.output) for delivery in deliveries]


def test_every_job_comes_home_under_its_index(pool: SessionPool, service: Service):
    assert _outputs(_run(pool, range(250))) == [2 * number for number in range(250)]
    assert service.requests["submit"] == 250


def test_no_more_jobs_are_in_flight_than_allowed(clock: ManualClock):
    service = Service(clock, max_jobs=5)
    with SessionPool(service, clock=clock) as pool:
        assert _outputs(_run(pool, range(60), limit=5)) == [2 * n for n in range(60)]
    assert service.requests["submit"] == 60


def test_a_lost_answer_is_looked_up_before_anything_else(pool: SessionPool, service: Service):
    service.script = ["lost after"]
    assert _outputs(_run(pool, [7])) == [14]
    assert service.submitted == ["job-7"]
    assert service.requests["look up"] == 1


def test_a_lost_submission_is_sent_again_under_the_same_id(pool: SessionPool, service: Service):
    service.script = ["lost before", "lost before"]
    assert _outputs(_run(pool, [7])) == [14]
    assert service.submitted == ["job-7"] * 3


def test_a_submission_that_is_lost_again_and_again_is_an_error(pool: SessionPool, service: Service):
    service.script = ["lost before"] * 4
    (error,) = _outputs(_run(pool, [7]))
    assert isinstance(error, ServiceError)
    assert service.requests["submit"] == 4


def test_a_refusal_for_a_reason_is_not_repeated(pool: SessionPool, service: Service):
    service.script = ["refused"]
    deliveries = _outputs(_run(pool, [1, 2, 3], limit=1))
    assert [str(d) for d in deliveries] == ["The job is malformed.", "4", "6"]
    assert service.requests["submit"] == 3


def test_a_refused_key_stops_the_batch(pool: SessionPool, service: Service):
    service.script = ["denied"]
    deliveries = _run(pool, range(50), limit=1)
    assert all(isinstance(delivery.error, ServiceError) for delivery in deliveries)
    assert service.requests["submit"] == 1


def test_throttled_jobs_all_come_home(pool: SessionPool, service: Service):
    service.script = ["ok", *["throttled"] * 9]
    assert _outputs(_run(pool, range(40))) == [2 * number for number in range(40)]


def test_with_nothing_in_flight_a_throttled_job_waits_as_long_as_the_service_says(
    pool: SessionPool, service: Service, clock: ManualClock
):
    service.script = ["throttled"]
    started = clock.monotonic()
    assert _outputs(_run(pool, [7])) == [14]
    assert clock.monotonic() - started >= 1.0


def test_the_limit_of_the_service_is_learned(clock: ManualClock):
    service = Service(clock, max_jobs=8)
    with SessionPool(service, clock=clock) as pool:
        assert _outputs(_run(pool, range(400))) == [2 * number for number in range(400)]
    assert service.requests["submit"] <= 1.3 * 400


def test_a_failed_job_does_not_stop_its_siblings(pool: SessionPool, service: Service):
    first, second, third = _outputs(_run(pool, [1, -2, 3]))
    assert (first, third) == (2, 6)
    assert isinstance(second, JobFailed)
    assert second.code == "InvalidInputData"
    assert second.job_id == "job--2"


def test_a_session_that_times_out_in_mid_batch_is_replaced_and_no_job_runs_twice(
    service: Service, clock: ManualClock
):
    with SessionPool(service, clock=ManualClock()) as pool:
        _run(pool, range(3))
        clock.advance(601)
        assert _outputs(_run(pool, range(3, 30))) == [2 * number for number in range(3, 30)]
        assert pool.get_stats()["sessions_opened"] == 2
        assert pool.get_stats()["jobs_submitted"] == 30


def test_under_abort_the_failure_is_told_apart_from_what_it_cancelled(clock: ManualClock):
    service = Service(clock)
    with SessionPool(service, clock=clock, job_failure_policy="Abort") as pool:
        deliveries = _outputs(_run(pool, [-1, 2, 3, 4], limit=1))
    assert isinstance(deliveries[0], JobFailed)
    assert all(isinstance(d, SessionNotAvailable | JobCancelled) for d in deliveries[1:])
    assert "Abort policy" in str(deliveries[1])


def test_sessions_that_end_one_after_the_other_are_an_error(clock: ManualClock):
    class Hopeless(Service):
        async def submit_job(self, request: JobRequest, stored: Any) -> Job:
            raise SessionNotAvailable("The session is over.", session_id=request.session_id)

    with SessionPool(Hopeless(clock), clock=clock) as pool:
        (error,) = _outputs(_run(pool, [7]))
        assert isinstance(error, SessionNotAvailable)
        assert "5 sessions in a row" in str(error)


def test_a_job_that_cannot_even_be_made_ends_the_batch_with_its_error(pool: SessionPool):
    def requests() -> Iterator[JobRequest]:
        yield from _requests([1])
        raise TypeError("This is no number.")

    async def collect() -> None:
        async for _ in JobRunner(pool, TARGET, 4).run(JobBatch(requests(), 3)):
            pass

    with pytest.raises(TypeError, match="no number"):
        pool.loop.run(collect())


def test_abandoning_a_batch_leaves_no_task_behind(pool: SessionPool):
    async def story() -> int:
        deliveries = JobRunner(pool, TARGET, 4).run(JobBatch(_requests(range(100)), 100))
        await anext(deliveries)
        await deliveries.aclose()
        for _ in range(5):
            await asyncio.sleep(0)
        return len(asyncio.all_tasks())

    assert pool.loop.run(story()) == 1
