"""The workspace in memory, beside the contract: its programs, waits, limits, memory and threads."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import cirq
import numpy as np
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

from cirq_azure_sessions.clock import Clock, ManualClock, SystemClock
from cirq_azure_sessions.errors import ServiceError, SessionNotAvailable, UnsupportedTarget
from cirq_azure_sessions.model import (
    Cost,
    Job,
    JobFailurePolicy,
    JobRequest,
    JobStatus,
    LocalProgram,
    Session,
    SessionRequest,
    SessionStatus,
)
from cirq_azure_sessions.workspaces.local import JobPace, LocalWorkspace, ProgramError

T = TypeVar("T")

QUBIT = cirq.LineQubit(0)
COIN = cirq.Circuit(cirq.H(QUBIT), cirq.measure(QUBIT, key="m"))
POINT = (cirq.ParamResolver(),)


class Gate:
    """A backend whose programs do not end before the gate is opened."""

    def __init__(self) -> None:
        self._is_open = threading.Event()

    def __call__(self, request: JobRequest) -> str:
        if not self._is_open.wait(30):
            raise TimeoutError("Nobody opened the gate.")
        return f"output of {request.id}"

    def open(self) -> None:
        self._is_open.set()


def obey(request: JobRequest) -> Any:
    """A backend that does what the payload says."""
    if request.payload == "fail":
        raise ProgramError("InvalidInputData", "It was asked to fail.")
    if request.payload == "crash":
        raise ZeroDivisionError("It was asked to crash.")
    return request.payload


class Desk:
    """A workspace whose verbs are plain calls, on an event loop of its own."""

    def __init__(self, workspace: LocalWorkspace, clock: Clock) -> None:
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
            jobs = self.run(self.workspace.list_session_jobs(session_id, wait=1.0))
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
        made.append(Desk(LocalWorkspace(clock=clock, backends=backends, **options), clock))
        return made[-1]

    yield make
    for desk in made:
        desk.end()


@pytest.fixture
def desk(desks: Any) -> Desk:
    made: Desk = desks()
    return made


def test_a_story_shows_in_the_repr(desk: Desk) -> None:
    assert repr(desk.workspace) == "LocalWorkspace(0 sessions; 0 jobs)"
    first = desk.open()
    assert repr(desk.workspace) == "LocalWorkspace(1 session: 1 Waiting; 0 jobs)"
    for _ in range(2):
        desk.job(desk.submit(first))
    assert repr(desk.workspace) == "LocalWorkspace(1 session: 1 Executing; 2 jobs: 2 Succeeded)"
    desk.job(desk.submit(first, "fail"))
    assert (
        repr(desk.workspace)
        == "LocalWorkspace(1 session: 1 Failure(s); 3 jobs: 1 Failed, 2 Succeeded)"
    )
    assert isinstance(desk.clock, ManualClock)
    desk.clock.advance(600)
    desk.open()
    assert repr(desk.workspace) == (
        "LocalWorkspace(2 sessions: 1 TimedOut, 1 Waiting; 3 jobs: 1 Failed, 2 Succeeded)"
    )


class TestRunningPrograms:
    def test_a_local_target_gives_what_cirq_gives_with_the_seed(self, desk: Desk) -> None:
        session = desk.open("local.simulator")
        random_state, simulator = np.random.RandomState(7), cirq.Simulator(seed=7)
        for _ in range(3):
            program = LocalProgram(COIN, POINT, 100, random_state)
            job = desk.see_through(desk.submit(session, program))
            assert desk.fetch(job) == [simulator.run(COIN, repetitions=100)]

    def test_a_bad_circuit_is_a_failed_job(self, desk: Desk) -> None:
        program = LocalProgram(cirq.Circuit(cirq.H(QUBIT)), POINT, 10)
        job = desk.job(desk.submit(desk.open("local.simulator"), program))
        assert (job.status, job.error_code) == (JobStatus.FAILED, "RuntimeError")
        assert job.error_message.startswith("ValueError: Circuit has no measurements")

    def test_a_payload_that_is_no_program_is_a_failed_job(self, desk: Desk) -> None:
        job = desk.job(desk.submit(desk.open("local.simulator"), b"garbage"))
        assert job.status is JobStatus.FAILED

    def test_a_sweep_may_run_on_an_executor(self, desks: Any) -> None:
        with ThreadPoolExecutor(2) as threads:
            desk = desks(executor=threads)
            program = LocalProgram(COIN, POINT * 100, 10)
            job = desk.see_through(desk.submit(desk.open("local.simulator"), program))
            assert len(desk.fetch(job)) == 100

    def test_an_executor_that_was_shut_down_fails_the_job(self, desks: Any) -> None:
        threads = ThreadPoolExecutor(2)
        threads.shutdown()
        desk = desks(executor=threads)
        job = desk.job(desk.submit(desk.open("local.simulator"), LocalProgram(COIN, POINT, 10)))
        assert (job.status, job.error_code) == (JobStatus.FAILED, "RuntimeError")

    def test_a_backend_that_crashes_fails_its_job_and_no_other(self, desk: Desk) -> None:
        session = desk.open()
        crashed, good = desk.submit(session, "crash"), desk.submit(session)
        crashed = desk.job(crashed)
        assert (crashed.status, crashed.error_code) == (JobStatus.FAILED, "RuntimeError")
        assert crashed.error_message == "ZeroDivisionError: It was asked to crash."
        assert desk.job(good).status is JobStatus.SUCCEEDED

    def test_a_cost_that_cannot_be_told_fails_the_job(self, desks: Any) -> None:
        desk = desks(cost=lambda request, output: 1 / 0)
        job = desk.job(desk.submit())
        assert (job.status, job.error_code) == (JobStatus.FAILED, "RuntimeError")

    def test_costs_add_up_in_the_session(self, desks: Any) -> None:
        desk = desks(cost=lambda request, output: Cost(2.5))
        session = desk.open()
        jobs = [desk.job(desk.submit(session)) for _ in range(2)]
        assert [job.cost for job in jobs] == [Cost(2.5)] * 2
        assert desk.run(desk.workspace.get_session(session.id)).cost == Cost(5.0)

    def test_the_event_loop_never_runs_a_program(self, desks: Any) -> None:
        threads: list[int] = []
        backends = {"test.other": lambda request: threads.append(threading.get_ident())}
        desk = desks(backends=backends)
        desk.see_through(desk.submit(desk.open("test.other")))
        assert threads != [threading.get_ident()]

    def test_a_slow_program_is_executing(self, desks: Any) -> None:
        gate = Gate()
        desk = desks(SystemClock(), backends={"test.gate": gate})
        job = desk.submit(desk.open("test.gate"))
        assert desk.job(job).status is JobStatus.EXECUTING
        gate.open()
        assert desk.fetch(desk.see_through(job)) == f"output of {job.id}"

    def test_a_slow_program_holds_the_idle_clock(self, desks: Any) -> None:
        gate, clock = Gate(), ManualClock()
        desk = desks(clock, backends={"test.gate": gate})
        session = desk.open("test.gate")
        job = desk.submit(session)
        clock.advance(7200)
        assert desk.status(session) is SessionStatus.WAITING
        gate.open()
        desk.see_through(job)

    def test_a_cancelled_program_leaves_no_output(self, desks: Any) -> None:
        gate = Gate()
        desk = desks(backends={"test.gate": gate})
        job = desk.submit(desk.open("test.gate"))
        desk.run(desk.workspace.cancel_job(job.id))
        gate.open()
        assert desk.job(job).status is JobStatus.CANCELLED

    def test_an_unknown_target_is_refused_with_those_there_are(self, desk: Desk) -> None:
        with pytest.raises(UnsupportedTarget, match=r"local\.simulator.*test\.machine"):
            desk.open("local.simulater")
        with pytest.raises(UnsupportedTarget):
            desk.submit(None, target="local.simulater")

    def test_its_targets_are_listed(self, desk: Desk) -> None:
        targets = {target.id: target.provider for target in desk.run(desk.workspace.list_targets())}
        assert targets["local.simulator"] == "local"
        assert targets["test.machine"] == "test"
        assert desk.run(desk.workspace.list_quotas()) == []

    def test_importing_it_does_not_import_cirq(self) -> None:
        program = (
            "import sys, cirq_azure_sessions.workspaces.local as room\n"
            "room.LocalWorkspace()\n"
            "assert not {'cirq', 'numpy'} & set(sys.modules), 'slow to import'\n"
        )
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


class TestWaitingForNews:
    def test_a_list_answers_as_soon_as_a_job_ends(self, desks: Any) -> None:
        gate = Gate()
        desk = desks(SystemClock(), backends={"test.gate": gate})
        session = desk.open("test.gate")
        desk.submit(session)

        async def wait_and_open() -> list[Job]:
            listing = asyncio.ensure_future(
                desk.workspace.list_session_jobs(session.id, wait=3600.0)
            )
            await asyncio.sleep(0)
            gate.open()
            return list(await listing)

        assert [job.status for job in desk.run(wait_and_open())] == [JobStatus.SUCCEEDED]

    def test_a_job_that_ended_before_the_call_is_news(self, desk: Desk) -> None:
        session = desk.open()
        desk.job(desk.submit(session))
        desk.run(desk.workspace.list_session_jobs(session.id, wait=100.0))
        assert desk.clock.monotonic() == 0

    def test_the_same_news_is_told_once(self, desk: Desk) -> None:
        session = desk.open()
        desk.job(desk.submit(session))
        for _ in range(2):
            desk.run(desk.workspace.list_session_jobs(session.id, wait=100.0))
        assert desk.clock.monotonic() == 100

    def test_an_instant_job_costs_a_manual_clock_no_time(self, desk: Desk) -> None:
        session = desk.open()
        for _ in range(20):
            desk.see_through(desk.submit(session))
        assert desk.clock.monotonic() == 0

    def test_a_manual_clock_goes_to_the_end_of_the_next_job(self, desks: Any) -> None:
        desk = desks(pace=lambda request: JobPace(queue=request.payload))
        session = desk.open()
        for seconds in (20, 7):
            desk.submit(session, seconds)
        jobs = desk.run(desk.workspace.list_session_jobs(session.id, wait=100.0))
        assert desk.clock.monotonic() == 7
        assert [job.status.value for job in jobs] == ["Succeeded", "Waiting"]

    def test_another_session_s_jobs_are_no_news(self, desks: Any) -> None:
        desk = desks(pace=lambda request: JobPace(queue=request.payload))
        session, other = desk.open(), desk.open()
        desk.submit(session, 50)
        desk.submit(other, 5)
        desk.run(desk.workspace.list_session_jobs(session.id, wait=100.0))
        assert desk.clock.monotonic() == 50

    def test_a_wait_may_be_cancelled(self, desks: Any) -> None:
        desk = desks(SystemClock(), backends={"test.gate": Gate()})
        session = desk.open("test.gate")
        desk.submit(session)

        async def wait_and_cancel() -> None:
            listing = asyncio.ensure_future(
                desk.workspace.list_session_jobs(session.id, wait=3600.0)
            )
            await asyncio.sleep(0)
            listing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await listing

        desk.run(wait_and_cancel())

    def test_two_loops_may_wait_for_the_same_job(self, desks: Any) -> None:
        gate = Gate()
        desk = desks(SystemClock(), backends={"test.gate": gate})
        session = desk.open("test.gate")
        desk.submit(session)

        def wait() -> list[JobStatus]:
            listing = desk.workspace.list_session_jobs(session.id, wait=5.0)
            return [job.status for job in asyncio.run(listing)]

        with ThreadPoolExecutor(2) as threads:
            waits = [threads.submit(wait) for _ in range(2)]
            gate.open()
            assert [wait.result() for wait in waits] == [[JobStatus.SUCCEEDED]] * 2


class TestLimits:
    def test_of_the_workspace_refuse_one_job_too_many(self, desks: Any) -> None:
        desk = desks(max_jobs=2, pace=lambda request: JobPace(queue=10))
        session = desk.open()
        desk.submit(session)
        desk.submit(session)
        with pytest.raises(ServiceError, match="2 jobs are unfinished") as caught:
            desk.submit(session)
        assert caught.value.is_throttled
        desk.clock.advance(10)
        desk.submit(session)

    def test_of_one_target_leave_the_others_alone(self, desks: Any) -> None:
        desk = desks(max_jobs={"test.machine": 1}, pace=lambda request: JobPace(queue=10))
        desk.submit()
        with pytest.raises(ServiceError, match="unfinished"):
            desk.submit()
        desk.submit(target="local.simulator")

    def test_do_not_refuse_a_job_that_is_known(self, desks: Any) -> None:
        desk = desks(max_jobs=1, pace=lambda request: JobPace(queue=10))
        request = desk.request(None)
        first = desk.run(desk.workspace.submit_job(request))
        assert desk.run(desk.workspace.submit_job(request)) == first

    def test_are_told_after_the_end_of_the_session(self, desks: Any) -> None:
        desk = desks(max_jobs=1, pace=lambda request: JobPace(queue=10))
        session = desk.open()
        desk.submit(session)
        desk.run(desk.workspace.close_session(session.id))
        with pytest.raises(SessionNotAvailable):
            desk.submit(session)


class TestMemory:
    def test_a_fetched_output_is_kept_for_a_while(self, desks: Any) -> None:
        desk = desks(max_outputs=2)
        jobs = [desk.job(desk.submit()) for _ in range(4)]
        for job in jobs[:3]:
            desk.fetch(job)
        assert [desk.fetch(job) for job in jobs[1:]] == ["good"] * 3
        with pytest.raises(ServiceError, match="dropped") as caught:
            desk.fetch(jobs[0])
        assert caught.value.is_missing

    def test_an_output_that_nobody_fetched_is_kept(self, desks: Any) -> None:
        desk = desks(max_outputs=1)
        jobs = [desk.job(desk.submit()) for _ in range(10)]
        assert [desk.fetch(job) for job in jobs] == ["good"] * 10

    def test_an_output_may_be_dropped(self, desk: Desk) -> None:
        job = desk.job(desk.submit())
        desk.workspace.forget_output(job.id)
        with pytest.raises(ServiceError, match="dropped"):
            desk.fetch(job)
        assert desk.job(job).status is JobStatus.SUCCEEDED
        assert desk.workspace.job_details(job.id).request.payload is None

    def test_the_output_of_a_job_that_is_not_over_is_not_dropped(self, desks: Any) -> None:
        desk = desks(pace=lambda request: JobPace(queue=10))
        job = desk.submit()
        desk.workspace.forget_output(job.id)
        desk.clock.advance(10)
        assert desk.fetch(desk.job(job)) == "good"

    def test_old_jobs_are_forgotten(self, desks: Any) -> None:
        desk = desks(max_history=5)
        session = desk.open()
        jobs = [desk.see_through(desk.submit(session)) for _ in range(8)]
        assert [job.id for job in desk.workspace.jobs()] == [job.id for job in jobs[3:]]
        with pytest.raises(ServiceError) as caught:
            desk.job(jobs[0])
        assert caught.value.is_missing


class TestForAnHttpSkin:
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

    def test_a_view_grows_with_what_it_shows(self, desk: Desk) -> None:
        view = desk.workspace.jobs()
        desk.submit()
        assert len(view) == 1

    def test_a_job_tells_what_was_asked_for(self, desk: Desk) -> None:
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

    def test_a_job_tells_when_it_was_cancelled(self, desks: Any) -> None:
        clock = ManualClock()
        desk = desks(clock, pace=lambda request: JobPace(queue=100))
        job = desk.submit()
        clock.advance(30)
        desk.run(desk.workspace.cancel_job(job.id))
        assert desk.workspace.job_details(job.id).cancellation_time == pytest.approx(clock.time())

    @pytest.mark.parametrize("notice", [30.0, lambda: 30.0], ids=["number", "function"])
    def test_idle_sessions_may_be_found_out_late(self, desks: Any, notice: Any) -> None:
        clock = ManualClock()
        desk = desks(clock, timeout_notice=notice)
        session = desk.open()
        clock.advance(629)
        assert desk.status(session) is SessionStatus.WAITING
        clock.advance(1)
        assert desk.status(session) is SessionStatus.TIMED_OUT


class TestManyThreads:
    def test_open_one_session_under_one_id(self, desk: Desk) -> None:
        start = threading.Barrier(16)
        request = SessionRequest("one", "test.machine", "mine")

        def open_session() -> Session:
            start.wait()
            return asyncio.run(desk.workspace.open_session(request))

        with ThreadPoolExecutor(16) as threads:
            opened = [work.result() for work in [threads.submit(open_session) for _ in range(16)]]
        assert opened == opened[:1] * 16
        assert len(desk.workspace.sessions()) == 1

    def test_run_a_job_once_however_often_it_is_submitted(self, desks: Any) -> None:
        runs: list[str] = []
        desk = desks(backends={"test.counting": lambda request: runs.append(request.id)})
        start, request = threading.Barrier(16), desk.request(None, target="test.counting")

        def submit() -> Job:
            start.wait()
            return asyncio.run(desk.workspace.submit_job(request))

        with ThreadPoolExecutor(16) as threads:
            ids = {work.result().id for work in [threads.submit(submit) for _ in range(16)]}
        assert ids == {request.id}
        assert desk.job(desk.workspace.jobs()[0]).status is JobStatus.SUCCEEDED
        assert runs == [request.id]

    def test_submit_list_and_cancel_without_losing_a_job(self, desk: Desk) -> None:
        session, start = desk.open(), threading.Barrier(8)
        requests = [[desk.request(session) for _ in range(25)] for _ in range(8)]

        async def work(mine: list[JobRequest]) -> None:
            start.wait()
            for number, request in enumerate(mine):
                await desk.workspace.submit_job(request)
                await desk.workspace.list_session_jobs(session.id)
                if number % 5 == 0:
                    await desk.workspace.cancel_job(request.id)

        with ThreadPoolExecutor(8) as threads:
            for future in [threads.submit(asyncio.run, work(mine)) for mine in requests]:
                future.result()
        desk.run(desk.workspace.settle())
        assert len(desk.workspace.jobs(session.id)) == 200
        assert all(job.is_final for job in desk.workspace.jobs())
        desk.run(desk.workspace.close_session(session.id))
        assert desk.status(session) is SessionStatus.SUCCEEDED


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
        self.workspace = LocalWorkspace(
            clock=self.clock,
            backends={"test.machine": self.run_program},
            pace=lambda request: request.payload[1],
            max_jobs=10,
        )
        self.runner = asyncio.Runner()

    def run_program(self, request: JobRequest) -> str:
        self.runs.append(request.id)
        return str(obey(JobRequest("", "", "", request.payload[0], "", "")))

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
                assert self.runner.run(self.workspace.fetch_output(job)) == "good"

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


def test_whatever_anybody_does_the_rules_hold() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]  # hypothesis has no types for it
        Rules, settings=settings(max_examples=10, stateful_step_count=200, deadline=None)
    )


def test_an_output_of_json_is_left_as_it_is(desk: Desk) -> None:
    payload = json.dumps({"histogram": {"0": 1.0}}).encode()
    assert desk.fetch(desk.job(desk.submit(None, payload))) == payload
