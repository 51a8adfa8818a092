"""What every workspace keeps to: one suite of rules, told on each implementation of the port.

The rules are the recorded ones. The scenes are the workspace in memory, and
the adapter to Azure over the emulator; on both, one manual clock is everybody's time.
"""

from __future__ import annotations

import asyncio
import json
import math
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Protocol, TypeVar

import pytest

from cirq_azure_sessions.clock import ManualClock
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.errors import ServiceError, SessionNotAvailable, UnsupportedTarget
from cirq_azure_sessions.model import (
    Job,
    JobFailurePolicy,
    JobRequest,
    JobStatus,
    Session,
    SessionRequest,
    SessionStatus,
)
from cirq_azure_sessions.workspaces.azure import AzureWorkspace
from cirq_azure_sessions.workspaces.base import JOBS_PER_PAGE, WorkspacePort
from cirq_azure_sessions.workspaces.filters import ANY, OPEN, ItemFilter
from cirq_azure_sessions.workspaces.local import JobPace, LocalWorkspace, ProgramError

T = TypeVar("T")

TARGET = "ionq.simulator"
OTHER_TARGET = "ionq.qpu.aria-1"
BELL = json.dumps(
    {
        "gateset": "qis",
        "qubits": 2,
        "circuit": [
            {"gate": "h", "targets": [0]},
            {"gate": "cnot", "control": 0, "target": 1},
        ],
    }
).encode()
GARBAGE = b"garbage"
BELL_OUTPUT = {"histogram": {"0": 0.5, "3": 0.5}}


class Queue(Protocol):
    """What the tests do to the queue of the target, behind the workspace's back."""

    def hold(self) -> None:
        """From now on, jobs are accepted and wait."""

    def release(self) -> None:
        """Lets the jobs run that wait, and those that come."""

    def hang_next(self) -> None:
        """The next job will run and not end."""


class Scene:
    """A workspace with its clock, its verbs as plain calls, and a hand on its queue."""

    def __init__(self, workspace: WorkspacePort, clock: ManualClock, queue: Queue) -> None:
        self.workspace = workspace
        self.clock = clock
        self.queue = queue
        self._runner = asyncio.Runner()

    def run(self, verb: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(verb)

    def open(
        self,
        policy: JobFailurePolicy = JobFailurePolicy.CONTINUE,
        *,
        session_id: str | None = None,
        target: str = TARGET,
        name: str = "mine",
    ) -> Session:
        request = SessionRequest(session_id or new_id(), target, name, policy)
        return self.run(self.workspace.open_session(request))

    def refresh(self, session: Session) -> Session:
        return self.run(self.workspace.get_session(session.id))

    def status(self, session: Session) -> SessionStatus:
        return self.refresh(session).status

    def close(self, session: Session) -> Session:
        return self.run(self.workspace.close_session(session.id))

    def submit(
        self, session: Session | None = None, payload: bytes = BELL, *, job_id: str | None = None
    ) -> Job:
        return self.submit_request(job_request(session, payload, job_id=job_id))

    def submit_request(self, request: JobRequest) -> Job:
        async def store_and_submit() -> Job:
            stored = await self.workspace.store_input(request)
            return await self.workspace.submit_job(request, stored)

        return self.run(store_and_submit())

    def succeed(self, session: Session) -> Job:
        """Submits a good job and sees it through."""
        job = self.job(self.submit(session))
        assert job.status is JobStatus.SUCCEEDED
        return job

    def fail(self, session: Session) -> Job:
        """Submits a bad job and sees it through."""
        job = self.job(self.submit(session, GARBAGE))
        assert job.status is JobStatus.FAILED
        return job

    def job(self, job: Job) -> Job:
        return self.run(self.workspace.get_job(job.id))

    def cancel(self, job: Job) -> Job:
        return self.run(self.workspace.cancel_job(job.id))

    def page(self, session: Session, skip: int = 0) -> list[str]:
        jobs = self.run(self.workspace.list_session_jobs(session.id, skip=skip))
        return [job.id for job in jobs]

    def jobs(self, session: Session | None = None) -> list[str]:
        return self.find_jobs(ANY, session)

    def sessions(self, target: str | None = None) -> list[str]:
        return self.find(ItemFilter(target=target))

    def find(self, where: ItemFilter) -> list[str]:
        return [session.id for session in self._collect(self.workspace.list_sessions(where))]

    def find_jobs(self, where: ItemFilter, session: Session | None = None) -> list[str]:
        session_id = session.id if session else None
        found = self._collect(self.workspace.list_jobs(where, session_id=session_id))
        return [job.id for job in found]

    def fetch(self, job: Job) -> Any:
        return self.run(self.workspace.fetch_output(job))

    def end(self) -> None:
        self.run(self.workspace.aclose())
        self._runner.close()

    def _collect(self, listing: AsyncIterator[T]) -> list[T]:
        async def collect() -> list[T]:
            return [item async for item in listing]

        return self.run(collect())


def new_id() -> str:
    return str(uuid.uuid4())


def job_request(
    session: Session | None = None, payload: bytes = BELL, *, job_id: str | None = None
) -> JobRequest:
    return JobRequest(
        id=job_id or new_id(),
        target=session.target if session else TARGET,
        name="bell",
        payload=payload,
        input_format="ionq.circuit.v1",
        output_format="ionq.quantum-results.v1",
        session_id=session.id if session else None,
        input_params={"shots": 100},
        metadata={"layout": "a,b"},
        tags=("sweep",),
    )


def run_ionq(request: JobRequest) -> bytes:
    """Runs the two programs of this suite."""
    if request.payload != BELL:
        raise ProgramError("InvalidInputData", "The program is no JSON.")
    return json.dumps(BELL_OUTPUT).encode()


class LocalQueue:
    """A queue in front of a `LocalWorkspace`: it gives the jobs their pace."""

    def __init__(self) -> None:
        self.workspace: LocalWorkspace
        self._held: list[str] | None = None
        self._hangs = False

    def pace(self, request: JobRequest) -> JobPace:
        if self._hangs:
            self._hangs = False
            return JobPace(run=math.inf)
        if self._held is None:
            return JobPace()
        self._held.append(request.id)
        return JobPace(queue=math.inf)

    def hold(self) -> None:
        self._held = []

    def release(self) -> None:
        held, self._held = self._held or [], None
        for job_id in held:
            with self.workspace._live.deciding() as now:
                job = self.workspace._job(job_id)
                self.workspace._schedule.change_pace(job, JobPace(), now)

    def hang_next(self) -> None:
        self._hangs = True


def local_scene() -> Iterator[Scene]:
    clock, queue = ManualClock(), LocalQueue()
    backends = {TARGET: run_ionq, OTHER_TARGET: run_ionq}
    queue.workspace = LocalWorkspace(clock=clock, backends=backends, pace=queue.pace)
    scene = Scene(queue.workspace, clock, queue)
    yield scene
    scene.end()


class AzureQueue:
    """The queue of the emulator's target."""

    def __init__(self, server: EmulatorServer) -> None:
        self._server = server

    def hold(self) -> None:
        self._server.set_availability(TARGET, "Degraded")

    def release(self) -> None:
        self._server.set_availability(TARGET, "Available")

    def hang_next(self) -> None:
        self._server.faults.hang_job()


def azure_scene() -> Iterator[Scene]:
    clock = ManualClock()
    with EmulatorServer(clock=clock) as server:
        workspace = AzureWorkspace(server.workspace(), clock=clock)
        scene = Scene(workspace, clock, AzureQueue(server))
        yield scene
        scene.end()


@pytest.fixture(params=[local_scene, azure_scene], ids=["local", "azure"])
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    yield from request.param()


class TestOpeningASession:
    def test_it_waits(self, scene: Scene) -> None:
        session = scene.open(name="a sweep")

        assert session.status is SessionStatus.WAITING
        assert session.is_open
        assert (session.target, session.name) == (TARGET, "a sweep")
        assert scene.refresh(session) == session

    @pytest.mark.parametrize("policy", list(JobFailurePolicy))
    def test_it_keeps_its_failure_policy(self, scene: Scene, policy: JobFailurePolicy) -> None:
        assert scene.open(policy).job_failure_policy is policy

    def test_it_is_dated_by_the_clock(self, scene: Scene) -> None:
        scene.clock.advance(90)
        session = scene.open()
        assert session.creation_time == pytest.approx(scene.clock.time(), abs=1e-3)
        assert session.end_time is None

    def test_twice_under_one_id_it_is_one_session(self, scene: Scene) -> None:
        session = scene.open(name="first")
        again = scene.open(session_id=session.id, name="second")

        assert again.name == "first"
        assert scene.sessions() == [session.id]

    def test_final_status_is_permanent(self, scene: Scene) -> None:
        session = scene.open()
        scene.close(session)
        assert scene.open(session_id=session.id).status is SessionStatus.SUCCEEDED

    def test_an_unknown_target_is_refused(self, scene: Scene) -> None:
        with pytest.raises((UnsupportedTarget, ServiceError)):
            scene.open(target="ionq.simulation")
        assert scene.sessions() == []


class TestAJob:
    def test_waits_and_then_succeeds(self, scene: Scene) -> None:
        session = scene.open()
        scene.queue.hold()
        job = scene.submit(session)
        assert job.status is JobStatus.WAITING
        assert scene.job(job).status is JobStatus.WAITING
        scene.queue.release()
        assert scene.job(job).status is JobStatus.SUCCEEDED

    def test_keeps_its_constructor_arguments(self, scene: Scene) -> None:
        session = scene.open()
        request = job_request(session)
        job = scene.job(scene.submit_request(request))

        assert (job.id, job.target, job.name) == (request.id, TARGET, "bell")
        assert job.session_id == session.id
        assert job.output_format == "ionq.quantum-results.v1"
        assert dict(job.input_params) == {"shots": 100}
        assert dict(job.metadata) == {"layout": "a,b"}
        assert job.tags == ("sweep",)

    def test_is_dated_by_the_clock(self, scene: Scene) -> None:
        session = scene.open()
        scene.clock.advance(30)
        job = scene.succeed(session)

        assert job.creation_time == pytest.approx(scene.clock.time(), abs=1e-3)
        assert job.creation_time is not None
        assert job.begin_time is not None
        assert job.end_time is not None
        assert job.creation_time <= job.begin_time <= job.end_time

    def test_output_is_returned(self, scene: Scene) -> None:
        job = scene.succeed(scene.open())
        assert json.loads(scene.fetch(job)) == BELL_OUTPUT

    def test_output_is_returned_every_time(self, scene: Scene) -> None:
        job = scene.succeed(scene.open())
        assert scene.fetch(job) == scene.fetch(job)

    def test_that_is_invalid_is_accepted_and_then_fails(self, scene: Scene) -> None:
        job = scene.fail(scene.open())

        assert job.error_code == "InvalidInputData"
        assert job.error_message

    def test_that_failed_has_no_output(self, scene: Scene) -> None:
        job = scene.fail(scene.open())
        with pytest.raises(ServiceError) as caught:
            scene.fetch(job)
        assert caught.value.is_missing

    def test_needs_no_session(self, scene: Scene) -> None:
        job = scene.job(scene.submit())

        assert job.status is JobStatus.SUCCEEDED
        assert job.session_id is None
        assert scene.jobs() == [job.id]

    def test_submitted_twice_under_one_id_is_one_job(self, scene: Scene) -> None:
        session = scene.open()
        request = job_request(session)
        first, second = scene.submit_request(request), scene.submit_request(request)

        assert first.id == second.id
        assert scene.page(session) == [request.id]
        assert scene.job(first).status is JobStatus.SUCCEEDED

    def test_once_accepted_is_known_after_its_session_ended(self, scene: Scene) -> None:
        session = scene.open()
        request = job_request(session)
        job = scene.job(scene.submit_request(request))
        scene.close(session)

        assert scene.submit_request(request) == job

    def test_for_an_unknown_target_is_refused(self, scene: Scene) -> None:
        session = scene.open(target=TARGET)
        request = job_request(Session(session.id, "nobody.nothing", "", session.status))
        with pytest.raises((UnsupportedTarget, ServiceError)):
            scene.submit_request(request)
        assert scene.jobs() == []


class TestASessionAtWork:
    def test_executes_once_a_job_has_succeeded(self, scene: Scene) -> None:
        session = scene.open()
        scene.queue.hold()
        scene.submit(session)
        assert scene.status(session) is SessionStatus.WAITING
        scene.queue.release()
        assert scene.status(session) is SessionStatus.EXECUTING

    def test_with_continue_reports_a_failure_and_stays_open(self, scene: Scene) -> None:
        session = scene.open(JobFailurePolicy.CONTINUE)
        scene.succeed(session)
        scene.fail(session)
        assert scene.status(session) is SessionStatus.FAILURES
        assert scene.refresh(session).is_open

        scene.succeed(session)
        assert scene.status(session) is SessionStatus.FAILURES

    def test_with_abort_fails_at_the_first_failure(self, scene: Scene) -> None:
        session = scene.open(JobFailurePolicy.ABORT)
        scene.succeed(session)
        scene.fail(session)

        session = scene.refresh(session)
        assert session.status is SessionStatus.FAILED
        assert session.end_time is not None

    def test_with_abort_cancels_unfinished_jobs(self, scene: Scene) -> None:
        session = scene.open(JobFailurePolicy.ABORT)
        good = scene.succeed(session)
        scene.queue.hang_next()
        running = scene.submit(session)
        scene.fail(session)

        assert scene.job(running).status is JobStatus.CANCELLED
        assert scene.job(good).status is JobStatus.SUCCEEDED

    def test_with_continue_leaves_unfinished_jobs_running(self, scene: Scene) -> None:
        session = scene.open(JobFailurePolicy.CONTINUE)
        scene.queue.hang_next()
        running = scene.submit(session)
        scene.fail(session)

        assert scene.job(running).status is JobStatus.EXECUTING

    def test_that_fails_leaves_other_sessions_alone(self, scene: Scene) -> None:
        session, other = scene.open(JobFailurePolicy.ABORT), scene.open(JobFailurePolicy.ABORT)
        scene.queue.hang_next()
        running = scene.submit(other)
        scene.fail(session)

        assert scene.job(running).status is JobStatus.EXECUTING
        assert scene.refresh(other).is_open

    def test_cancelled_job_is_not_a_failure(self, scene: Scene) -> None:
        session = scene.open(JobFailurePolicy.ABORT)
        scene.queue.hold()
        scene.cancel(scene.submit(session))
        scene.queue.release()
        assert scene.status(session) is SessionStatus.WAITING
        scene.succeed(session)
        assert scene.status(session) is SessionStatus.EXECUTING


class TestClosingASession:
    def test_without_jobs_ends_it_at_once(self, scene: Scene) -> None:
        session = scene.close(scene.open())

        assert session.status is SessionStatus.SUCCEEDED
        assert session.end_time == pytest.approx(scene.clock.time(), abs=1e-3)

    def test_after_its_jobs_ends_it_at_once(self, scene: Scene) -> None:
        session = scene.open()
        scene.succeed(session)
        assert scene.close(session).status is SessionStatus.SUCCEEDED

    def test_with_a_job_waiting_ends_it_with_that_job(self, scene: Scene) -> None:
        session = scene.open()
        scene.succeed(session)
        scene.queue.hold()
        scene.submit(session)
        assert scene.close(session).status is SessionStatus.EXECUTING
        scene.queue.release()
        assert scene.status(session) is SessionStatus.SUCCEEDED

    def test_with_its_first_job_waiting_leaves_it_waiting(self, scene: Scene) -> None:
        session = scene.open()
        scene.queue.hold()
        scene.submit(session)
        assert scene.close(session).status is SessionStatus.WAITING
        scene.queue.release()
        assert scene.status(session) is SessionStatus.SUCCEEDED

    def test_with_its_last_job_cancelled_ends_it(self, scene: Scene) -> None:
        session = scene.open()
        scene.queue.hold()
        job = scene.submit(session)
        scene.close(session)
        scene.cancel(job)
        assert scene.status(session) is SessionStatus.SUCCEEDED

    def test_with_failures_makes_it_failed(self, scene: Scene) -> None:
        session = scene.open()
        scene.fail(session)
        scene.succeed(session)
        assert scene.close(session).status is SessionStatus.FAILED

    def test_whose_last_job_fails_makes_it_failed(self, scene: Scene) -> None:
        session = scene.open()
        scene.queue.hold()
        scene.submit(session, GARBAGE)
        scene.close(session)
        scene.queue.release()
        assert scene.status(session) is SessionStatus.FAILED

    def test_twice_is_no_error(self, scene: Scene) -> None:
        session = scene.open()
        assert scene.close(session) == scene.close(session)

    def test_twice_with_a_job_waiting_is_no_error(self, scene: Scene) -> None:
        session = scene.open()
        scene.queue.hold()
        scene.submit(session)
        assert scene.close(session) == scene.close(session)

    def test_that_is_over_already_changes_nothing(self, scene: Scene) -> None:
        session = scene.open()
        scene.clock.advance(601)
        assert scene.close(session).status is SessionStatus.TIMED_OUT


class TestAnIdleSession:
    def test_times_out_after_ten_minutes(self, scene: Scene) -> None:
        session = scene.open()
        scene.clock.advance(599)
        assert scene.status(session) is SessionStatus.WAITING
        scene.clock.advance(1)
        session = scene.refresh(session)
        assert session.status is SessionStatus.TIMED_OUT
        assert session.end_time == pytest.approx(scene.clock.time(), abs=1e-3)

    def test_times_out_unobserved(self, scene: Scene) -> None:
        session = scene.open()
        ends = scene.clock.time() + 600
        scene.clock.advance(86_400)
        assert scene.refresh(session).end_time == pytest.approx(ends, abs=1e-3)

    @pytest.mark.parametrize("payload", [BELL, GARBAGE], ids=["good", "bad"])
    def test_is_kept_by_a_job(self, scene: Scene, payload: bytes) -> None:
        session = scene.open()
        for _ in range(3):
            scene.clock.advance(599)
            scene.job(scene.submit(session, payload))
        assert scene.refresh(session).is_open
        scene.clock.advance(601)
        assert scene.status(session) is SessionStatus.TIMED_OUT

    def test_is_not_idle_while_a_job_waits(self, scene: Scene) -> None:
        session = scene.open()
        scene.queue.hold()
        scene.submit(session)
        scene.clock.advance(7200)
        assert scene.refresh(session).is_open
        scene.queue.release()
        assert scene.status(session) is SessionStatus.EXECUTING
        scene.clock.advance(601)
        assert scene.status(session) is SessionStatus.TIMED_OUT

    def test_that_nobody_looked_at_times_out_after_its_last_job(self, scene: Scene) -> None:
        session = scene.open()
        scene.submit(session)
        scene.clock.advance(700)
        with pytest.raises(SessionNotAvailable):
            scene.submit(session)
        assert scene.status(session) is SessionStatus.TIMED_OUT

    def test_reading_does_not_restart_the_idle_timer(self, scene: Scene) -> None:
        session = scene.open()
        for _ in range(6):
            scene.clock.advance(100)
            scene.page(session)
            scene.refresh(session)
        assert scene.status(session) is SessionStatus.TIMED_OUT


def timed_out(scene: Scene) -> Session:
    session = scene.open()
    scene.clock.advance(601)
    return session


def closed(scene: Scene) -> Session:
    return scene.close(scene.open())


def failed(scene: Scene) -> Session:
    session = scene.open(JobFailurePolicy.ABORT)
    scene.fail(session)
    return session


def closing(scene: Scene) -> Session:
    session = scene.open()
    scene.queue.hold()
    scene.submit(session)
    scene.close(session)
    return session


@pytest.mark.parametrize("end", [timed_out, closed, failed, closing], ids=lambda end: end.__name__)
class TestASessionThatTakesNoMoreJobs:
    def test_refuses_a_job(self, scene: Scene, end: Callable[[Scene], Session]) -> None:
        session = end(scene)
        with pytest.raises(SessionNotAvailable) as caught:
            scene.submit(session)
        assert caught.value.session_id == session.id

    def test_does_not_know_the_job_that_it_refused(
        self, scene: Scene, end: Callable[[Scene], Session]
    ) -> None:
        session = end(scene)
        request = job_request(session)
        with pytest.raises(SessionNotAvailable):
            scene.submit_request(request)
        with pytest.raises(ServiceError) as caught:
            scene.run(scene.workspace.get_job(request.id))
        assert caught.value.is_missing

    def test_leaves_the_job_s_id_free_for_another_session(
        self, scene: Scene, end: Callable[[Scene], Session]
    ) -> None:
        job_id = new_id()
        with pytest.raises(SessionNotAvailable):
            scene.submit(end(scene), job_id=job_id)
        scene.queue.release()
        another = scene.open()
        scene.submit(another, job_id=job_id)
        assert scene.page(another) == [job_id]


class TestCancelling:
    def test_ends_a_job_that_waits(self, scene: Scene) -> None:
        session = scene.open()
        scene.queue.hold()
        job = scene.submit(session)
        scene.cancel(job)
        assert scene.job(job).status is JobStatus.CANCELLED
        scene.queue.release()
        assert scene.job(job).status is JobStatus.CANCELLED

    def test_ends_a_job_that_runs(self, scene: Scene) -> None:
        session = scene.open()
        scene.queue.hang_next()
        job = scene.submit(session)
        assert scene.job(job).status is JobStatus.EXECUTING
        scene.cancel(job)
        assert scene.job(job).status is JobStatus.CANCELLED

    def test_leaves_other_jobs_unchanged(self, scene: Scene) -> None:
        session = scene.open()
        scene.queue.hold()
        job, other = scene.submit(session), scene.submit(session)
        scene.cancel(job)
        scene.queue.release()
        assert scene.job(other).status is JobStatus.SUCCEEDED

    def test_is_harmless_for_a_finished_job(self, scene: Scene) -> None:
        job = scene.succeed(scene.open())
        scene.cancel(job)
        assert scene.job(job).status is JobStatus.SUCCEEDED

    def test_is_harmless_twice(self, scene: Scene) -> None:
        session = scene.open()
        scene.queue.hold()
        job = scene.submit(session)
        scene.cancel(job)
        scene.cancel(job)
        assert scene.job(job).status is JobStatus.CANCELLED

    def test_leaves_no_output(self, scene: Scene) -> None:
        session = scene.open()
        scene.queue.hold()
        job = scene.submit(session)
        scene.cancel(job)
        with pytest.raises(ServiceError) as caught:
            scene.fetch(scene.job(job))
        assert caught.value.is_missing


class TestLists:
    def test_show_jobs_newest_first(self, scene: Scene) -> None:
        session, other = scene.open(), scene.open()
        first, theirs, last = scene.submit(session), scene.submit(other), scene.submit(session)

        assert scene.page(session) == [last.id, first.id]
        assert scene.jobs(session) == [last.id, first.id]
        assert scene.jobs() == [last.id, theirs.id, first.id]

    def test_show_jobs_as_they_stand(self, scene: Scene) -> None:
        session = scene.open()
        good, bad = scene.submit(session), scene.submit(session, GARBAGE)
        jobs = scene.run(scene.workspace.list_session_jobs(session.id))

        assert [job.status for job in jobs] == [JobStatus.FAILED, JobStatus.SUCCEEDED]
        assert [job.id for job in jobs] == [bad.id, good.id]
        assert json.loads(scene.fetch(jobs[1])) == BELL_OUTPUT

    def test_have_pages_of_a_hundred(self, scene: Scene) -> None:
        session = scene.open()
        newest_first = [scene.submit(session).id for _ in range(JOBS_PER_PAGE + 1)][::-1]

        assert scene.page(session) == newest_first[:JOBS_PER_PAGE]
        assert scene.page(session, skip=JOBS_PER_PAGE) == newest_first[JOBS_PER_PAGE:]
        assert scene.page(session, skip=1) == newest_first[1:]
        assert scene.page(session, skip=JOBS_PER_PAGE + 1) == []
        assert scene.jobs(session) == newest_first

    def test_show_sessions_newest_first(self, scene: Scene) -> None:
        first, second = scene.open(), scene.open(target=OTHER_TARGET)
        third = scene.open()
        scene.close(first)

        assert scene.sessions() == [third.id, second.id, first.id]
        assert scene.sessions(TARGET) == [third.id, first.id]
        assert scene.sessions(OTHER_TARGET) == [second.id]

    def test_are_filtered_by_target_name_status_and_age(self, scene: Scene) -> None:
        old = scene.open(name="mine")
        scene.clock.advance(100)
        closed, other, new = scene.open(), scene.open(name="other"), scene.open(name="mine too")
        scene.close(closed)

        recent = scene.clock.time() - 50
        assert scene.find(ItemFilter(name="mine")) == [new.id, closed.id, old.id]
        assert scene.find(ItemFilter(name="mine", statuses=OPEN)) == [new.id, old.id]
        assert scene.find(ItemFilter(target="ionq.*", created_after=recent)) == [
            new.id,
            other.id,
            closed.id,
        ]
        assert scene.find(ItemFilter(statuses=frozenset(["Succeeded"]))) == [closed.id]
        assert scene.find(ItemFilter(target=OTHER_TARGET)) == []

    @pytest.mark.parametrize("limit", [0, 1, 2, 3])
    def test_end_at_the_limit(self, scene: Scene, limit: int) -> None:
        newest_first = [scene.open().id for _ in range(3)][::-1]
        assert scene.find(ItemFilter(target=TARGET, limit=limit)) == newest_first[:limit]

    def test_of_jobs_are_filtered(self, scene: Scene) -> None:
        session = scene.open()
        good, bad = scene.succeed(session), scene.fail(session)
        failed = ItemFilter(statuses=frozenset(["Failed"]))
        assert scene.find_jobs(failed, session) == scene.find_jobs(failed) == [bad.id]
        assert scene.find_jobs(ItemFilter(limit=1), session) == [bad.id]
        assert scene.find_jobs(ItemFilter(target="*.simulator"), session) == [bad.id, good.id]

    def test_wait_for_given_jobs_only(self, scene: Scene) -> None:
        session = scene.open()
        finished = scene.succeed(session)
        listing = scene.workspace.list_session_jobs(session.id, wait=30, until=[finished.id])
        assert [job.id for job in scene.run(listing)] == [finished.id]

    def test_may_be_empty(self, scene: Scene) -> None:
        assert scene.sessions() == []
        assert scene.jobs() == []
        assert scene.page(scene.open()) == []

    def test_wait_on_the_clock_where_nothing_happens(self, scene: Scene) -> None:
        session = scene.open()
        scene.queue.hold()
        scene.submit(session)
        jobs = scene.run(scene.workspace.list_session_jobs(session.id, wait=30))

        assert [job.status for job in jobs] == [JobStatus.WAITING]
        assert scene.clock.monotonic() == pytest.approx(30)

    def test_of_one_job_waits_on_the_clock_where_nothing_happens(self, scene: Scene) -> None:
        scene.queue.hold()
        job = scene.submit(scene.open())
        assert scene.run(scene.workspace.get_job(job.id, wait=30)).status is JobStatus.WAITING
        assert scene.clock.monotonic() == pytest.approx(30)

    def test_name_the_targets(self, scene: Scene) -> None:
        targets = {target.id: target for target in scene.run(scene.workspace.list_targets())}

        assert {TARGET, OTHER_TARGET} <= set(targets)
        assert targets[TARGET].provider == "ionq"
        assert targets[TARGET].availability == "Available"


class TestWhatIsNotThere:
    @pytest.mark.parametrize(
        "ask",
        [
            lambda workspace: workspace.get_session(new_id()),
            lambda workspace: workspace.close_session(new_id()),
            lambda workspace: workspace.list_session_jobs(new_id()),
            lambda workspace: workspace.get_job(new_id()),
            lambda workspace: workspace.cancel_job(new_id()),
            lambda workspace: workspace.fetch_output(
                Job(new_id(), TARGET, "bell", JobStatus.SUCCEEDED)
            ),
        ],
        ids=["get_session", "close_session", "list_session_jobs", "get_job", "cancel", "fetch"],
    )
    def test_is_missing(
        self, scene: Scene, ask: Callable[[WorkspacePort], Coroutine[Any, Any, Any]]
    ) -> None:
        with pytest.raises(ServiceError) as caught:
            scene.run(ask(scene.workspace))
        assert caught.value.is_missing

    def test_takes_no_jobs(self, scene: Scene) -> None:
        nowhere = Session(new_id(), TARGET, "mine", SessionStatus.WAITING)
        with pytest.raises(ServiceError):
            scene.submit(nowhere)
        assert scene.jobs() == []


def test_workspace_may_be_used_again_after_closing(scene: Scene) -> None:
    session = scene.open()
    scene.run(scene.workspace.aclose())
    assert scene.succeed(session).session_id == session.id


def test_a_workspace_knows_its_own_targets(scene: Scene) -> None:
    assert scene.workspace.takes(TARGET)
    assert not scene.workspace.takes("local.nothing")
