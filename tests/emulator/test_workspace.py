"""The emulator's workspace: what it has beside the port, and its rules under any order of calls."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from cirq_azure_sessions.clock import Clock, ManualClock
from cirq_azure_sessions.emulator.workspace import EmulatedWorkspace
from cirq_azure_sessions.errors import (
    ServiceError,
    SessionNotAvailable,
)
from cirq_azure_sessions.model import (
    Cost,
    Job,
    JobFailurePolicy,
    JobRequest,
    JobStatus,
    Session,
    SessionRequest,
    SessionStatus,
)
from cirq_azure_sessions.workspaces.local import JobPace, ProgramError

T = TypeVar("T")


def obey(request: JobRequest) -> Cost | None:
    """A backend that does what the payload says, which may be a cost."""
    if request.payload == "fail":
        raise ProgramError("InvalidInputData", "It was asked to fail.")
    if request.payload == "crash":
        raise ZeroDivisionError("It was asked to crash.")
    return request.payload if isinstance(request.payload, Cost) else None


class Desk:
    """A workspace whose verbs are plain calls, on an event loop of its own."""

    def __init__(self, workspace: EmulatedWorkspace, clock: Clock) -> None:
        self.workspace = workspace
        self.clock = clock
        self._runner = asyncio.Runner()
        self._numbers = itertools.count(1)

    def run(self, verb: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(verb)

    def open(
        self,
        target: str = "test.machine",
        policy: JobFailurePolicy = JobFailurePolicy.CONTINUE,
    ) -> Session:
        request = SessionRequest(f"session-{next(self._numbers)}", target, "mine", policy)
        return self.run(self.workspace.open_session(request))

    def request(
        self, session: Session | None, payload: Any = "good", target: str | None = None
    ) -> JobRequest:
        return JobRequest(
            id=f"job-{next(self._numbers)}",
            target=target or (session.target if session else "test.machine"),
            name="a job",
            payload=payload,
            input_format="test.v1",
            output_format="test.v1",
            session_id=session.id if session else None,
        )

    def submit(
        self, session: Session | None = None, payload: Any = "good", target: str | None = None
    ) -> Job:
        return self.run(self.workspace.submit_job(self.request(session, payload, target)))

    def job(self, job: Job) -> Job:
        return self.run(self.workspace.get_job(job.id))

    def see_through(self, job: Job) -> Job:
        """Waits for a job as a watcher does."""
        session_id = job.session_id
        assert session_id is not None
        while not job.is_final:
            looking = self.workspace.list_session_jobs(session_id, wait=1.0, until=[job.id])
            jobs = self.run(looking)
            job = next(other for other in jobs if other.id == job.id)
        return job

    def status(self, session: Session) -> SessionStatus:
        return self.run(self.workspace.get_session(session.id)).status

    def fetch(self, job: Job) -> Any:
        return self.run(self.workspace.fetch_output(job))

    def end(self) -> None:
        self._runner.close()


@pytest.fixture
def desks() -> Iterator[Any]:
    made: list[Desk] = []

    def make(clock: Clock | None = None, **options: Any) -> Desk:
        clock = clock or ManualClock()
        backends = {"test.machine": obey, **options.pop("backends", {})}
        made.append(Desk(EmulatedWorkspace(backends=backends, clock=clock, **options), clock))
        return made[-1]

    yield make
    for desk in made:
        desk.end()


@pytest.fixture
def desk(desks: Any) -> Desk:
    made: Desk = desks()
    return made


class TestCosts:
    def test_costs_add_up_in_the_session(self, desk: Desk) -> None:
        session = desk.open()
        jobs = [desk.job(desk.submit(session, Cost(2.5))) for _ in range(2)]
        assert [job.cost for job in jobs] == [Cost(2.5)] * 2
        assert desk.run(desk.workspace.get_session(session.id)).cost == Cost(5.0)


class TestForTheServer:
    def test_jobs_and_sessions_are_seen_in_the_order_of_their_creation(self, desk: Desk) -> None:
        first, second = desk.open(), desk.open()
        jobs = [desk.submit(session) for session in (first, second, first)]
        desk.run(desk.workspace.settle())
        view, workspace = desk.workspace.jobs(), desk.workspace

        assert [job.id for job in view] == [job.id for job in jobs]
        assert [job.id for job in workspace.jobs(first.id)] == [jobs[0].id, jobs[2].id]
        assert [session.id for session in workspace.sessions()] == [first.id, second.id]
        assert view[1].id == jobs[1].id
        assert [job.id for job in view[1:]] == [job.id for job in jobs[1:]]
        assert [job.id for job in reversed(view)] == [job.id for job in reversed(jobs)]
        assert {job.status for job in view} == {JobStatus.SUCCEEDED}

    def test_a_view_reflects_later_changes(self, desk: Desk) -> None:
        view = desk.workspace.jobs()
        desk.submit()
        assert len(view) == 1

    def test_a_job_shows_its_request(self, desk: Desk) -> None:
        request = desk.request(None)
        job = desk.run(desk.workspace.submit_job(request))
        assert desk.workspace.job_details(job.id).request == request

    def test_a_job_is_given_another_name_priority_and_tags(self, desk: Desk) -> None:
        job = desk.submit()
        job = desk.run(desk.workspace.update_job(job.id, name="renamed", priority="High"))
        assert (job.name, job.tags) == ("renamed", ())
        job = desk.run(desk.workspace.update_job(job.id, tags=["a", "b"]))
        assert (job.name, job.tags) == ("renamed", ("a", "b"))
        assert desk.workspace.job_details(job.id).request.priority == "High"

    def test_a_job_is_deleted_wherever_it_was_listed(self, desks: Any) -> None:
        desk = desks(pace=lambda request: JobPace(queue=10))
        session = desk.open()
        keep, lose = desk.submit(session), desk.submit(session)
        desk.run(desk.workspace.delete_job(lose.id))

        assert [job.id for job in desk.workspace.jobs()] == [keep.id]
        assert [job.id for job in desk.workspace.jobs(session.id)] == [keep.id]
        with pytest.raises(ServiceError) as caught:
            desk.run(desk.workspace.delete_job(lose.id))
        assert caught.value.is_missing

    def test_job_has_its_cancellation_time(self, desks: Any) -> None:
        clock = ManualClock()
        desk = desks(clock, pace=lambda request: JobPace(queue=100))
        job = desk.submit()
        clock.advance(30)
        desk.run(desk.workspace.cancel_job(job.id))
        assert desk.job(job).end_time == pytest.approx(clock.time())

    def test_job_was_last_modified_when_it_was_handed_over_or_finished(self, desks: Any) -> None:
        clock = ManualClock()
        desk = desks(clock, pace=lambda request: JobPace(queue=10, run=5, visible=2, handover=1))
        job, begin = desk.submit(), clock.time()
        seen = []
        for _ in range(3):
            details = desk.workspace.job_details(job.id)
            seen.append((details.last_modified_time - begin, details.was_handed_over))
            clock.advance(9)
            desk.job(job)
        assert seen == [(0, False), (1, True), (17, True)]

    @pytest.mark.parametrize("notice", [30.0, lambda: 30.0], ids=["number", "function"])
    def test_idle_sessions_may_be_noticed_late(self, desks: Any, notice: Any) -> None:
        clock = ManualClock()
        desk = desks(clock, timeout_notice=notice)
        session = desk.open()
        clock.advance(629)
        assert desk.status(session) is SessionStatus.WAITING
        clock.advance(1)
        assert desk.status(session) is SessionStatus.TIMED_OUT


class Rules(RuleBasedStateMachine):
    """Anything anybody may do, in any order, against what must hold whatever happens."""

    sessions: Bundle[str] = Bundle("sessions")
    jobs: Bundle[JobRequest] = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.ends: dict[str, JobStatus] = {}
        self.over: dict[str, SessionStatus] = {}
        self.accepted: set[str] = set()
        self.runs: list[str] = []
        self.numbers = itertools.count()
        self.workspace = EmulatedWorkspace(
            backends={"test.machine": self.run_program},
            clock=self.clock,
            pace=lambda request: request.payload[1],
            max_jobs=10,
        )
        self.runner = asyncio.Runner()

    def run_program(self, request: JobRequest) -> Cost:
        self.runs.append(request.id)
        obey(JobRequest("", "", "", request.payload[0], "", ""))
        return Cost(2.5)

    @rule(target=sessions, policy=st.sampled_from(JobFailurePolicy))
    def open(self, policy: JobFailurePolicy) -> str:
        session_id = f"session-{next(self.numbers)}"
        request = SessionRequest(session_id, "test.machine", "mine", policy)
        session = self.runner.run(self.workspace.open_session(request))
        assert session.status is SessionStatus.WAITING
        return session_id

    @rule(
        target=jobs,
        session_id=st.one_of(st.none(), sessions),
        program=st.sampled_from(["good", "good", "fail", "crash"]),
        queue=st.sampled_from([0.0, 0.0, 1.0, 300.0, math.inf]),
        run=st.sampled_from([0.0, 2.0]),
    )
    def submit(self, session_id: str | None, program: str, queue: float, run: float) -> JobRequest:
        request = JobRequest(
            id=f"job-{next(self.numbers)}",
            target="test.machine",
            name="a job",
            payload=(program, JobPace(queue, run)),
            input_format="",
            output_format="",
            session_id=session_id,
        )
        self.submit_again(request)
        return request

    @rule(request=jobs)
    def submit_again(self, request: JobRequest) -> None:
        try:
            job = self.runner.run(self.workspace.submit_job(request))
        except SessionNotAvailable:
            assert request.id not in self.accepted
            assert request.session_id is not None
            return
        except ServiceError as error:
            refusal = error
        else:
            assert job.id == request.id
            assert request.id in self.accepted or request.session_id not in self.over
            self.accepted.add(request.id)
            return
        assert refusal.is_throttled
        assert request.id not in self.accepted
        assert sum(not job.is_final for job in self.workspace.jobs()) == 10

    @rule(seconds=st.sampled_from([0.5, 1.0, 299.0, 601.0]))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(session_id=sessions)
    def close(self, session_id: str) -> None:
        before = self.over.get(session_id)
        after = self.runner.run(self.workspace.close_session(session_id)).status
        assert before in (None, after)

    @rule(request=jobs)
    def cancel(self, request: JobRequest) -> None:
        if request.id in self.accepted:
            assert self.runner.run(self.workspace.cancel_job(request.id)).is_final

    @rule(session_id=sessions, wait=st.sampled_from([0.0, 1.0, 10.0]))
    def watch(self, session_id: str, wait: float) -> None:
        before = self.clock.monotonic()
        jobs = self.runner.run(self.workspace.list_session_jobs(session_id, wait=wait))
        assert self.clock.monotonic() <= before + wait
        assert {job.session_id for job in jobs} <= {session_id}

    @rule(request=jobs)
    def fetch(self, request: JobRequest) -> None:
        if request.id in self.accepted:
            job = self.runner.run(self.workspace.get_job(request.id))
            if job.status.has_result:
                assert self.runner.run(self.workspace.fetch_output(job)) == Cost(2.5)

    @invariant()
    def what_is_over_stays_over(self) -> None:
        self.runner.run(self.workspace.settle())
        jobs, sessions = list(self.workspace.jobs()), list(self.workspace.sessions())
        for job in jobs:
            assert self.ends.get(job.id) in (None, job.status)
        for session in sessions:
            assert self.over.get(session.id) in (None, session.status)
        self.ends.update({job.id: job.status for job in jobs if job.is_final})
        self.over.update({each.id: each.status for each in sessions if not each.is_open})

    @invariant()
    def every_accepted_job_is_there_and_ran_at_most_once(self) -> None:
        assert {job.id for job in self.workspace.jobs()} == self.accepted
        assert len(self.runs) == len(set(self.runs))
        assert set(self.runs) <= self.accepted

    @invariant()
    def a_job_that_ended_well_was_good(self) -> None:
        for job in self.workspace.jobs():
            program = self.workspace.job_details(job.id).request.payload[0]
            if job.status is JobStatus.SUCCEEDED:
                assert program == "good"
            if job.status is JobStatus.FAILED:
                assert program in ("fail", "crash")

    @invariant()
    def a_session_is_what_its_jobs_make_it(self) -> None:
        for session in self.workspace.sessions():
            ends = [job.status for job in self.workspace.jobs(session.id)]
            aborts = session.job_failure_policy is JobFailurePolicy.ABORT
            if session.status is SessionStatus.WAITING:
                assert not {JobStatus.SUCCEEDED, JobStatus.FAILED} & set(ends)
            if session.status is SessionStatus.EXECUTING:
                assert JobStatus.SUCCEEDED in ends
            if session.status in (SessionStatus.SUCCEEDED, SessionStatus.EXECUTING):
                assert JobStatus.FAILED not in ends
            if session.status in (SessionStatus.FAILURES, SessionStatus.FAILED):
                assert JobStatus.FAILED in ends
            if session.status is SessionStatus.FAILURES:
                assert not aborts
            if not session.is_open:
                assert all(status.is_final for status in ends)

    def teardown(self) -> None:
        for job in self.workspace.jobs():
            self.runner.run(self.workspace.cancel_job(job.id))
        for session in self.workspace.sessions():
            self.runner.run(self.workspace.close_session(session.id))
        assert all(job.is_final for job in self.workspace.jobs())
        assert not any(session.is_open for session in self.workspace.sessions())
        self.runner.close()


def test_invariants_hold_for_any_sequence_of_operations() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]  # hypothesis has no types for it
        Rules, settings=settings(max_examples=10, stateful_step_count=200, deadline=None)
    )
