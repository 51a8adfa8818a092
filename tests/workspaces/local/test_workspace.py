"""The workspace in memory, beside the contract: its programs, waits, limits, memory and threads."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

import cirq
import pytest

from cirq_azure_sessions.clock import Clock, ManualClock, SystemClock
from cirq_azure_sessions.emulator.shifted_clock import ShiftedClock
from cirq_azure_sessions.errors import (
    JobFailed,
    ServiceError,
    SessionNotAvailable,
    UnsupportedTarget,
    check_succeeded,
)
from cirq_azure_sessions.model import (
    Job,
    JobFailurePolicy,
    JobRequest,
    JobStatus,
    LocalProgram,
    Session,
    SessionRequest,
    SessionStatus,
)
from cirq_azure_sessions.workspaces.filters import ANY, ItemFilter
from cirq_azure_sessions.workspaces.local import JobPace, LocalWorkspace, ProgramError, schedule

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
            looking = self.workspace.list_session_jobs(session_id, wait=1.0, until=[job.id])
            jobs = self.run(looking)
            job = next(other for other in jobs if other.id == job.id)
        return job

    def status(self, session: Session) -> SessionStatus:
        return self.run(self.workspace.get_session(session.id)).status

    def fetch(self, job: Job) -> Any:
        return self.run(self.workspace.fetch_output(job))

    def jobs(self, session: Session | None = None, where: ItemFilter = ANY) -> list[Job]:
        """The jobs, oldest first."""
        session_id = session.id if session else None
        return self.run(collect(self.workspace.list_jobs(where, session_id=session_id)))[::-1]

    def sessions(self, where: ItemFilter = ANY) -> list[Session]:
        """The sessions, oldest first."""
        return self.run(collect(self.workspace.list_sessions(where)))[::-1]

    def end(self) -> None:
        self._runner.close()


async def collect(items: AsyncIterator[T]) -> list[T]:
    return [item async for item in items]


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


def test_repr_shows_each_state_in_turn(desk: Desk) -> None:
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
    def test_a_local_target_gives_the_same_samples_for_the_same_seed(self, desk: Desk) -> None:
        # Different seeds agree on 100 fair coins with a probability below 1e-30.
        session = desk.open("local.simulator")
        outputs = [
            desk.fetch(
                desk.see_through(desk.submit(session, LocalProgram(COIN, POINT, 100, (seed,))))
            )
            for seed in (7, 7, 8)
        ]
        assert outputs[0] == outputs[1] != outputs[2]

    def test_a_bad_circuit_is_a_failed_job(self, desk: Desk) -> None:
        program = LocalProgram(cirq.Circuit(cirq.H(QUBIT)), POINT, 10)
        job = desk.job(desk.submit(desk.open("local.simulator"), program))
        assert (job.status, job.error_code) == (JobStatus.FAILED, "RuntimeError")
        assert job.error_message.startswith("ValueError: Circuit has no measurements")

    def test_payload_that_is_not_a_program_fails_its_job(self, desk: Desk) -> None:
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

    @pytest.mark.parametrize("verb", ["get", "close", "list"])
    def test_program_started_before_the_clock_was_advanced_keeps_no_session_open(
        self, desks: Any, verb: str
    ) -> None:
        gate, clock = Gate(), ShiftedClock()
        desk = desks(clock, backends={"test.gate": gate})
        session = desk.open("test.gate")
        desk.submit(session)
        clock.advance(601)

        async def look_and_open() -> Session:
            looking = asyncio.ensure_future(
                {
                    "get": lambda: desk.workspace.get_session(session.id),
                    "close": lambda: desk.workspace.close_session(session.id),
                    "list": lambda: anext(desk.workspace.list_sessions()),
                }[verb]()
            )
            await asyncio.sleep(0)
            gate.open()
            return await looking

        assert desk.run(look_and_open()).status is SessionStatus.TIMED_OUT

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
            "import sys, cirq_azure_sessions.workspaces.local as local\n"
            "local.LocalWorkspace()\n"
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

    def test_job_that_finished_before_the_call_ends_the_wait(self, desk: Desk) -> None:
        session = desk.open()
        job = desk.job(desk.submit(session))
        for _ in range(2):
            desk.run(desk.workspace.list_session_jobs(session.id, wait=100.0, until=[job.id]))
        assert desk.clock.monotonic() == 0

    def test_two_watchers_of_one_session_learn_of_the_same_job(self, desks: Any) -> None:
        desk = desks(pace=lambda request: JobPace(run=request.payload))
        session = desk.open()
        quick, slow = desk.submit(session, 5), desk.submit(session, 500)
        for _ in range(2):
            listing = desk.workspace.list_session_jobs(
                session.id, wait=100.0, until=[slow.id, quick.id]
            )
            assert [job.status.value for job in desk.run(listing)] == ["Executing", "Succeeded"]
        assert desk.clock.monotonic() == 5

    def test_deleted_job_ends_the_wait(self, desk: Desk) -> None:
        session = desk.open()
        desk.run(desk.workspace.list_session_jobs(session.id, wait=100.0, until=["gone"]))
        assert desk.clock.monotonic() == 0

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

    def test_other_sessions_jobs_do_not_end_the_wait(self, desks: Any) -> None:
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
    def test_of_the_workspace_refuse_jobs_over_the_limit(self, desks: Any) -> None:
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

    def test_known_job_is_not_refused(self, desks: Any) -> None:
        desk = desks(max_jobs=1, pace=lambda request: JobPace(queue=10))
        request = desk.request(None)
        first = desk.run(desk.workspace.submit_job(request))
        assert desk.run(desk.workspace.submit_job(request)) == first

    def test_are_reported_after_the_end_of_the_session(self, desks: Any) -> None:
        desk = desks(max_jobs=1, pace=lambda request: JobPace(queue=10))
        session = desk.open()
        desk.submit(session)
        desk.run(desk.workspace.close_session(session.id))
        with pytest.raises(SessionNotAvailable):
            desk.submit(session)


class TestExceptions:
    def test_exception_of_a_local_sampler_is_the_cause_of_the_failure(self, desks: Any) -> None:
        class Broken(cirq.Sampler):
            def run_sweep(self, *args: Any, **options: Any) -> Any:
                raise ZeroDivisionError("inside")

        desk = desks(samplers={"local.broken": Broken()})
        job = desk.job(desk.submit(None, LocalProgram(COIN, POINT, 1), "local.broken"))
        with pytest.raises(JobFailed, match="ZeroDivisionError: inside") as failure:
            check_succeeded(job)
        cause = failure.value.__cause__
        assert isinstance(cause, ZeroDivisionError)
        assert "run_sweep" in [frame.name for frame in traceback.extract_tb(cause.__traceback__)]

    def test_exception_from_another_process_is_kept(self, desks: Any) -> None:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
            desk = desks(executor=processes)
            too_large = cirq.Circuit(cirq.measure(*cirq.LineQubit.range(80), key="m"))
            too_large.insert(0, cirq.H.on_each(*cirq.LineQubit.range(80)))
            too_large.insert(1, cirq.QuantumFourierTransformGate(80).on(*cirq.LineQubit.range(80)))
            program = LocalProgram(too_large, POINT, 1)
            submitted = desk.submit(desk.open("local.clifford"), program)
            job = desk.see_through(submitted)
        assert job.status is JobStatus.FAILED
        assert job.exception is not None
        assert type(job.exception).__name__ in job.error_message

    def test_exception_is_dropped_with_the_output(self, desk: Desk) -> None:
        job = desk.job(desk.submit(None, "crash"))
        assert isinstance(job.exception, ZeroDivisionError)
        desk.workspace.forget_output(job.id)
        forgotten = desk.job(job)
        assert (forgotten.exception, forgotten) == (None, job)


BAD_RESULTS = {
    "none": (None, "TypeError: Bad.run_sweep returned NoneType, not a list."),
    "too few": ([], "ValueError: Bad.run_sweep must return one result per point, 1, not 0."),
    "numbers": ([7], "TypeError: Bad.run_sweep returned a list with int, not cirq.Result."),
}


@pytest.mark.parametrize(("results", "message"), BAD_RESULTS.values(), ids=BAD_RESULTS)
@pytest.mark.parametrize("in_chunks", [False, True])
def test_sampler_with_bad_results_fails_its_job(
    desks: Any, results: Any, message: str, in_chunks: bool
) -> None:
    class Bad(cirq.Sampler):
        def __init__(self, seed: Any = None) -> None:
            pass

        def run_sweep(self, *args: Any, **options: Any) -> Any:
            return results

    with ThreadPoolExecutor(1) as executor:
        desk = desks(samplers={"local.bad": Bad}, executor=executor if in_chunks else None)
        submitted = desk.submit(None, LocalProgram(COIN, POINT, 1), "local.bad")
        while not (job := desk.job(submitted)).is_final:
            pass
    assert (job.status, job.error_message) == (JobStatus.FAILED, message)


class TestFilters:
    def test_lists_are_filtered(self, desk: Desk) -> None:
        session = desk.open()
        desk.open("local.simulator")
        jobs = [desk.submit(session, payload) for payload in ("good", "fail", "good")]
        failed = frozenset(["Failed"])
        assert [job.id for job in desk.jobs(where=ItemFilter(statuses=failed))] == [jobs[1].id]
        newest = ItemFilter(limit=1, target="test.*")
        assert [job.id for job in desk.jobs(session, newest)] == [jobs[2].id]
        assert [each.id for each in desk.sessions(ItemFilter(target="test.machine"))] == [
            session.id
        ]

    def test_items_that_are_too_old_end_the_list(self, desk: Desk) -> None:
        desk.open()
        asyncio.run(desk.clock.sleep(100))
        recent = desk.open()
        where = ItemFilter(created_after=desk.clock.time() - 50)
        assert [session.id for session in desk.sessions(where)] == [recent.id]


class TestMemory:
    def test_fetched_outputs_are_kept_up_to_a_bound(
        self, desks: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(schedule, "MAX_OUTPUTS", 2)
        desk = desks()
        jobs = [desk.job(desk.submit()) for _ in range(4)]
        for job in jobs[:3]:
            desk.fetch(job)
        assert [desk.fetch(job) for job in jobs[1:]] == ["good"] * 3
        with pytest.raises(ServiceError, match="dropped") as caught:
            desk.fetch(jobs[0])
        assert caught.value.is_missing

    def test_unfetched_output_is_kept(self, desks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(schedule, "MAX_OUTPUTS", 1)
        desk = desks()
        jobs = [desk.job(desk.submit()) for _ in range(10)]
        assert [desk.fetch(job) for job in jobs] == ["good"] * 10

    @pytest.mark.parametrize("payload", ["good", "fail", "crash"])
    def test_programs_and_exceptions_of_many_jobs_are_dropped(
        self, desks: Any, monkeypatch: pytest.MonkeyPatch, payload: str
    ) -> None:
        monkeypatch.setattr(schedule, "MAX_OUTPUTS", 3)
        monkeypatch.setattr(schedule, "MAX_HISTORY", 8)
        desk = desks()
        session = desk.open()
        for _ in range(20):
            job = desk.see_through(desk.submit(session, payload))
            if job.status.has_result:
                desk.fetch(job)
        records = desk.workspace._schedule.jobs.values()
        assert len(records) == 8
        assert sum(record.request.payload is not None for record in records) == 3
        assert sum(job.exception is not None for job in desk.jobs()) in (0, 3)

    def test_an_output_may_be_dropped(self, desk: Desk) -> None:
        job = desk.job(desk.submit())
        desk.workspace.forget_output(job.id)
        with pytest.raises(ServiceError, match="dropped"):
            desk.fetch(job)
        assert desk.job(job).status is JobStatus.SUCCEEDED
        assert desk.workspace._schedule.jobs[job.id].request.payload is None

    def test_the_output_of_an_unfinished_job_is_not_dropped(self, desks: Any) -> None:
        desk = desks(pace=lambda request: JobPace(queue=10))
        job = desk.submit()
        desk.workspace.forget_output(job.id)
        desk.clock.advance(10)
        assert desk.fetch(desk.job(job)) == "good"

    def test_old_jobs_are_forgotten(self, desks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(schedule, "MAX_HISTORY", 5)
        desk = desks()
        session = desk.open()
        jobs = [desk.see_through(desk.submit(session)) for _ in range(8)]
        assert [job.id for job in desk.jobs()] == [job.id for job in jobs[3:]]
        with pytest.raises(ServiceError) as caught:
            desk.job(jobs[0])
        assert caught.value.is_missing


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
        assert len(desk.sessions()) == 1

    def test_run_a_job_once_however_often_it_is_submitted(self, desks: Any) -> None:
        runs: list[str] = []
        desk = desks(backends={"test.counting": lambda request: runs.append(request.id)})
        start, request = threading.Barrier(16), desk.request(None, target="test.counting")

        def submit() -> Job:
            start.wait()
            job: Job = asyncio.run(desk.workspace.submit_job(request))
            return job

        with ThreadPoolExecutor(16) as threads:
            ids = {work.result().id for work in [threads.submit(submit) for _ in range(16)]}
        assert ids == {request.id}
        assert desk.job(desk.jobs()[0]).status is JobStatus.SUCCEEDED
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
        assert len(desk.jobs(session)) == 200
        assert all(job.is_final for job in desk.jobs())
        desk.run(desk.workspace.close_session(session.id))
        assert desk.status(session) is SessionStatus.SUCCEEDED


def test_json_output_is_unchanged(desk: Desk) -> None:
    payload = json.dumps({"histogram": {"0": 1.0}}).encode()
    assert desk.fetch(desk.job(desk.submit(None, payload))) == payload
