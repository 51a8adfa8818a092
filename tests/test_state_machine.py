"""Whatever can finish, finishes: calls at once on one pool, in every order hypothesis can think of.

Two samplers share one pool and one target, a third has a charged target and a quota, and where the
pool has a journal, a fourth has a cap on its costs and a fifth packs two points in a job. The rules
start calls, drop streams, look at jobs, wait, cancel, interrupt, close, attach, misbehave in event
callbacks, start again with the same journal and move the clock; the service refuses, loses answers
and ends sessions. No step takes time: the clock is the test's. Whatever is still in flight is then
given a week of that clock, and what has not finished by then hangs. Every result is checked, and
nothing is paid twice.

A long run, with 2,000 examples on each service:

    CIRQ_AZURE_SESSIONS_STATE_MACHINE=2000 pytest tests/test_state_machine.py --timeout 0
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import math
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import cache
from typing import Any

import cirq
import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from services import (
    CHARGED,
    FLIP,
    REMOTE,
    ROTATION,
    Counted,
    InterruptedByTest,
    Interruptible,
    in_background,
    jobs_in,
    num_waiting,
    sessions_in,
    wait_until,
)

from cirq_azure_sessions import (
    AzureSessionSampler,
    AzureSessionsError,
    LocalWorkspace,
    ManualClock,
    QuotaExceeded,
    ServiceError,
    SessionPool,
    background,
)
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.model import (
    Job,
    JobRequest,
    JobStatus,
    Quota,
    Session,
    SessionRequest,
    SessionStatus,
)
from cirq_azure_sessions.workspaces.local import JobPace

_EXAMPLES = int(os.environ.get("CIRQ_AZURE_SESSIONS_STATE_MACHINE", "0"))
_HAS_ASYNCIO = hasattr(AzureSessionSampler, "stream_sweep_async")
_SLOTS = {"first": 2, "second": 1, "charged": 2}
_SHOTS = 1000
# Of the sampler with a cap, by which its jobs are counted.
_CAPPED_SHOTS = 900
# How many circuits the quota has room for.
_QUOTA = 8
# What a job costs, and how many of them the cap has room for.
_PRICE, _CAP = 97.5, 3
# Seconds of the clock for everything to finish, and of real time without any progress after that.
_MANUAL_LIMIT = 7 * 86400.0
_HANG_TIMEOUT = float(os.environ.get("CIRQ_AZURE_SESSIONS_HANG_TIMEOUT", "10"))

_VERBS = ["open_session", "get_session", "store_input", "submit_job", "get_job", "fetch_output"]


def _shots(sampler: str) -> int:
    return _CAPPED_SHOTS if sampler == "capped" else _SHOTS


def _shots_of(points: Counter[tuple[str, int, int]]) -> Counter[tuple[str, int]]:
    """Shots by target and bit: a call that asks for more than an earlier one pays for the rest."""
    shots: Counter[tuple[str, int]] = Counter()
    for (target, each, bit), times in points.items():
        shots[target, bit] += each * times
    return shots


def turns(count: int) -> cirq.Sweep:
    """A sweep of `ROTATION` whose points always give 0, 1, 0, 1, ..."""
    return cirq.Points("angle", [math.pi * (point % 2) for point in range(count)])


def _bits(request: JobRequest) -> list[int]:
    """What the qubits of a job of such points are found in."""
    program = json.loads(request.payload)
    flips = Counter(qubit for gate in program["circuit"] for qubit in gate["targets"])
    assert {gate["gate"] for gate in program["circuit"]} <= {"x"}
    return [flips[qubit] % 2 for qubit in range(program["qubits"])]


def _answer(request: JobRequest) -> bytes:
    outcome = sum(bit << qubit for qubit, bit in enumerate(_bits(request)))
    return json.dumps({"histogram": {str(outcome): 1.0}}).encode()


def _is_right(result: cirq.Result, bit: int) -> bool:
    # The emulated machine has noise.
    return bool(abs(result.measurements["m"].mean() - bit) < 0.2)


def _leave_by(error: BaseException) -> None:
    raise error


# What a subscriber may do on the background loop.
_ACTS: dict[str, Callable[[_PoolMachine], object]] = {
    "raises": lambda machine: _leave_by(ValueError()),
    "exits": lambda machine: sys.exit(3),
    "is interrupted": lambda machine: _leave_by(KeyboardInterrupt()),
    "is cancelled": lambda machine: _leave_by(asyncio.CancelledError()),
    "asks for a session": lambda machine: machine.pool.session(REMOTE),
    "runs": lambda machine: machine.samplers["first"].run(FLIP),
    "closes": lambda machine: machine.pool.close(),
    "closes and cancels": lambda machine: machine.pool.close(cancel=True),
}


@cache
def _consumption() -> float:
    """What one circuit consumes of the quota, as the error of a sweep that is refused tells."""
    workspace = Counted()
    workspace.quotas = [Quota("gs1q", "Workspace", "ionq", 0.0, 0.0, limit=0.5)]
    with SessionPool(workspace) as pool, pytest.raises(QuotaExceeded) as refused:
        AzureSessionSampler(CHARGED, pool=pool).run(FLIP, repetitions=_SHOTS)
    words = str(refused.value).split()
    return float(words[words.index("about") + 1])


class _Service(Counted):
    """A workspace that does what the machine's rules ask for.

    Attributes:
        refusals: How many submissions are refused yet, and with which Retry-After.
        losses: The verbs whose next answer is lost, before or after it took effect.
        accepted: How often each job was accepted as a new one.
        requests: The request of each of these jobs.
        answered: Ids that the client knows to be accepted, and submitted all the same.
    """

    def __init__(self, clock: ManualClock) -> None:
        backends = dict.fromkeys([REMOTE, CHARGED], _answer)
        super().__init__(clock=clock, pace=lambda request: JobPace(run=30.0), backends=backends)
        self.refusals = 0
        self.retry_after: float | None = None
        self.losses: list[tuple[str, bool, int | None]] = []
        self.accepted: Counter[str] = Counter()
        self.requests: dict[str, JobRequest] = {}
        self.resubmitted: list[str] = []
        self.uploads: Counter[str] = Counter()
        self.too_many_uploads = ""
        self._known: set[str] = set()
        # Learned here, since nothing may wait on the background loop.
        self._unit = _consumption()

    async def list_quotas(self) -> Sequence[Quota]:
        await super().list_quotas()
        used = self.charged()
        limit = _QUOTA * self._unit
        return [Quota("gs1q", "Workspace", "ionq", used * self._unit, 0.0, limit=limit)]

    def charged(self) -> int:
        """The circuits that consumed of the quota: one without a gate does not."""
        jobs = [job for job in jobs_in(self) if job.target == CHARGED]
        return sum(any(_bits(self.requests[job.id])) for job in jobs)

    def _lose(self, verb: str, *, after: bool) -> None:
        for loss in self.losses:
            if loss[:2] == (verb, after):
                self.losses.remove(loss)
                raise ServiceError("The answer was lost.", status_code=loss[2])

    async def store_input(self, request: JobRequest) -> Any:
        self._lose("store_input", after=False)
        self.uploads[request.name] += 1
        if self.uploads[request.name] > _SLOTS.get(request.name, 100):
            self.too_many_uploads = f"{request.name}: {self.uploads[request.name]} at once"
        try:
            return await super().store_input(request)
        finally:
            self.uploads[request.name] -= 1

    async def submit_job(self, request: JobRequest, stored: Any = None) -> Job:
        if self.refusals:
            self.refusals -= 1
            raise ServiceError("Too many.", status_code=429, retry_after=self.retry_after)
        self._lose("submit_job", after=False)
        if request.id in self._known:
            self.resubmitted.append(request.id)
        is_new = request.id not in self._schedule.jobs
        self.requests[request.id] = request
        job = await super().submit_job(request, stored)
        self.accepted[request.id] += is_new
        self._lose("submit_job", after=True)
        self._known.add(request.id)
        return job

    async def open_session(self, request: SessionRequest) -> Session:
        self._lose("open_session", after=False)
        session = await super().open_session(request)
        self._lose("open_session", after=True)
        return session

    async def get_session(self, session_id: str) -> Session:
        self._lose("get_session", after=False)
        return await super().get_session(session_id)

    async def get_job(self, job_id: str, *, wait: float = 0.0) -> Job:
        self._lose("get_job", after=False)
        return await super().get_job(job_id, wait=wait)

    async def fetch_output(self, job: Job, stored: Any = None) -> Any:
        self._lose("fetch_output", after=False)
        return await super().fetch_output(job, stored)


class _AsyncioCall:
    """A call awaited on an asyncio loop of its own, which a test can interrupt."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._started: Future[Callable[[], None]] = Future()
        self.outcome = in_background(asyncio.run, self._story(call))

    async def _story(self, call: Callable[[], Any]) -> Any:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None, "asyncio.run made it"
        self._started.set_result(lambda: loop.call_soon_threadsafe(task.cancel))
        return await call()

    def interrupt(self) -> None:
        # It may have ended by itself.
        with suppress(RuntimeError):
            self._started.result()()
        wait([self.outcome], timeout=_HANG_TIMEOUT)


class _Call:
    """What a rule started.

    Attributes:
        what: For messages.
        outcome: Its end.
        expected: The bit that each point of a sampler's call gives.
        interrupt: How to interrupt it, if that is possible.
    """

    def __init__(
        self,
        what: str,
        outcome: Future[Any],
        expected: Sequence[int] = (),
        interrupt: Callable[[], None] | None = None,
    ) -> None:
        self.what = what
        self.outcome = outcome
        self.expected = expected
        self.interrupt = interrupt
        self.is_interrupted = False

    def check(self) -> None:
        """Whether it ended in a way that it may."""
        try:
            error = self.outcome.exception(0)
        except concurrent.futures.CancelledError as cancelled:
            error = cancelled
        results = getattr(error, "results", ()) if error else self.outcome.result()
        if self.expected and results:
            assert len(results) == len(self.expected), self.what
            for result, bit in zip(results, self.expected, strict=True):
                [result] = result if isinstance(result, list) else [result]
                assert result is not None or error, f"{self.what} lacks a result"
                assert result is None or _is_right(result, bit), self.what
        if error is None:
            return
        expected: tuple[type[BaseException], ...] = (AzureSessionsError,)
        if self.is_interrupted:
            expected += (
                InterruptedByTest,
                asyncio.CancelledError,
                concurrent.futures.CancelledError,
            )
        assert isinstance(error, expected), f"{self.what} ended with {error!r}"


def _counters(sampler: AzureSessionSampler) -> dict[str, int]:
    """The jobs of a sampler that run and wait for a slot, and its requests: all 0 when idle."""
    throttle = getattr(sampler._runner, "throttle", None)
    if throttle is None:
        places = sampler._runner._places
        return {"running": places._taken, "waiting": len(places._queue)}
    return {
        "running": throttle.slots.inside,
        "storing": throttle.inputs.inside + num_waiting(throttle.inputs),
        "waiting": num_waiting(throttle.slots),
        "requesting": throttle.requests.inside + num_waiting(throttle.requests),
    }


def _take(sampler: AzureSessionSampler, points: int, count: int, end: str) -> None:
    """Takes `count` results of a stream, and closes it, here or on another thread, or drops it."""
    stream = sampler.stream_sweep(ROTATION, turns(points), _SHOTS)
    try:
        for _, (point, result) in zip(range(count), stream, strict=False):
            assert _is_right(result, point % 2), point
    finally:
        if end == "close":
            stream.close()  # type: ignore[attr-defined]  # a generator
        elif end == "close elsewhere":
            in_background(stream.close).result(_HANG_TIMEOUT)  # type: ignore[attr-defined]
        del stream


def _tasks() -> set[asyncio.Task[Any]]:
    """What runs on the background loop; some of it may just be ending."""
    serving = background.loop._serving
    return asyncio.all_tasks(serving[0]) if serving else set()


samplers = st.sampled_from(sorted(_SLOTS))
points = st.integers(1, 5)
ways = st.sampled_from(["thread", "duet", "asyncio" if _HAS_ASYNCIO else "duet"])


class _PoolMachine(RuleBasedStateMachine):
    """The rules that hold for every service; a subclass makes the service."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock(auto_advance=False)
        self.calls: list[_Call] = []
        self.others = _tasks()
        # Circuits that samplers were asked for with a charge, and how many such calls there were.
        self.charged_calls = 0
        self.is_closed = False
        self.start_service()
        self.helper = SessionPool(self.workspace(), clock=self.clock)
        self.open_pool()

    # What a service has to do

    brain: LocalWorkspace

    def start_service(self) -> None:
        raise NotImplementedError

    def stop_service(self) -> None:
        pass

    def workspace(self) -> Any:
        return self.brain

    def refuse(self, times: int, retry_after: float | None) -> None:
        raise NotImplementedError

    # What all of them do

    def open_pool(self) -> None:
        self.started = 0
        self.pool = self.make_pool()
        self.pool.subscribe(self._count)
        # An earlier version has a door of its own for events of sweeps.
        if hasattr(self.pool, "subscribe_sweeps"):
            self.pool.subscribe_sweeps(self._count)
        self.acts_at = self.act = ""
        self.samplers = {
            name: AzureSessionSampler(
                CHARGED if name == "charged" else REMOTE,
                pool=self.pool,
                max_concurrent_jobs=slots,
                job_name=name,
                on_interrupt="leave" if name == "first" else "cancel",
            )
            for name, slots in _SLOTS.items()
        }
        self.is_closed = False

    def _count(self, event: Any) -> None:
        if event.counter == "sweeps_started":
            self.started += 1
        if event.counter == self.acts_at:
            self.acts_at = ""
            _ACTS[self.act](self)

    def make_pool(self) -> SessionPool:
        return SessionPool(self.workspace(), clock=self.clock)

    def ask(self, sampler: str, bits: Sequence[int]) -> None:
        """Counts what a sampler is asked for."""
        self.charged_calls += sampler == "charged"

    def settle(self) -> None:
        """Lets everything happen that can happen at this time of the clock."""
        seen = None
        while seen != (seen := self._activity()):
            for _ in range(self.roundtrips):
                with suppress(AzureSessionsError):
                    in_background(self.helper.list_jobs, limit=1).result(_HANG_TIMEOUT)

    roundtrips = 8

    def _activity(self) -> Any:
        stats = self.pool.get_stats()
        return (
            sorted(stats.items()),
            [_counters(sampler) for sampler in self.samplers.values()],
            [call.outcome.done() for call in self.calls],
            len(jobs_in(self.brain)),
        )

    def begin(self, call: _Call, started: int | None = None) -> None:
        self.calls.append(call)
        if started is not None:
            wait_until(lambda: self.started > started or call.outcome.done())
        self.settle()

    def begin_call(
        self, way: str, sampler: str, bits: Sequence[int], name: str, *args: Any
    ) -> None:
        one_of = self.samplers[sampler]
        self.ask(sampler, bits)
        before = self.started
        if way == "thread":
            outcome, interrupt = in_background(getattr(one_of, name), *args), None
        else:
            kind = Interruptible if way == "duet" else _AsyncioCall
            running = kind(lambda: getattr(one_of, f"{name}_async")(*args))
            outcome, interrupt = running.outcome, running.interrupt
        self.begin(_Call(f"{name} of {sampler}", outcome, bits, interrupt), before)

    # Calls

    @rule(sampler=samplers, size=points, way=ways)
    def run_sweep(self, sampler: str, size: int, way: str) -> None:
        self.run_sweep_of(sampler, size, way)

    def run_sweep_of(self, sampler: str, size: int, way: str) -> None:
        args = (ROTATION, turns(size), _shots(sampler))
        self.begin_call(way, sampler, [point % 2 for point in range(size)], "run_sweep", *args)

    @rule(sampler=samplers, size=points, way=ways)
    def run_batch(self, sampler: str, size: int, way: str) -> None:
        args = ([FLIP] * size, None, _SHOTS)
        self.begin_call(way, sampler, [1] * size, "run_batch", *args)

    @rule(
        sampler=samplers,
        size=points,
        count=st.integers(1, 5),
        end=st.sampled_from(["close", "close elsewhere", "drop"]),
    )
    def stream_sweep(self, sampler: str, size: int, count: int, end: str) -> None:
        before = self.started
        self.ask(sampler, [point % 2 for point in range(size)])
        outcome = in_background(_take, self.samplers[sampler], size, count, end)
        self.begin(_Call(f"stream_sweep of {sampler}", outcome), before)

    @precondition(lambda self: any(call.interrupt for call in self.calls))
    @rule(choice=st.integers(0, 20))
    def interrupt(self, choice: int) -> None:
        calls = [call for call in self.calls if call.interrupt and not call.outcome.done()]
        if calls:
            call = calls[choice % len(calls)]
            call.is_interrupted = True
            with suppress(AssertionError, concurrent.futures.TimeoutError):
                assert call.interrupt is not None, "chosen for it"
                call.interrupt()
            self.settle()

    # Jobs

    def some_job(self, choice: int) -> str | None:
        jobs = [job for job in jobs_in(self.brain) if not job.is_final] or jobs_in(self.brain)
        return jobs[choice % len(jobs)].id if jobs else None

    @rule(choice=st.integers(0, 20))
    def look_at_job(self, choice: int) -> None:
        if job_id := self.some_job(choice):
            look = in_background(lambda: self.pool.get_job(job_id).refresh())
            self.begin(_Call("look at a job", look))

    @rule()
    def list_jobs(self) -> None:
        self.begin(_Call("list jobs", in_background(self.pool.list_jobs)))

    @rule(choice=st.integers(0, 20), timeout=st.sampled_from([1.0, 10.0, 100.0, None]))
    def wait_for_job(self, choice: int, timeout: float | None) -> None:
        if job_id := self.some_job(choice):
            waiting = in_background(lambda: self.pool.get_job(job_id).wait(timeout))
            self.begin(_Call(f"wait {timeout} s for a job", waiting))

    @rule(choice=st.integers(0, 20))
    def cancel_job(self, choice: int) -> None:
        if job_id := self.some_job(choice):
            cancelling = in_background(lambda: self.pool.get_job(job_id).cancel())
            self.begin(_Call("cancel a job", cancelling))

    # Sessions

    @rule()
    def attach_session(self) -> None:
        def attach() -> None:
            self.pool.attach(self.helper.session(REMOTE).id)

        self.begin(_Call("attach a session", in_background(attach)))

    @rule(choice=st.integers(0, 5))
    def end_session(self, choice: int) -> None:
        """Somebody closes a session on the service."""
        sessions = self.pool.sessions()
        if sessions:
            session_id = sessions[choice % len(sessions)].id
            closing = in_background(lambda: self.helper.get_session(session_id).close())
            self.begin(_Call("close a session by hand", closing))

    # The pool

    @rule(cancel=st.booleans(), times=st.integers(1, 2))
    def close_pool(self, cancel: bool, times: int) -> None:
        for _ in range(times):
            closing = in_background(self.pool.close, cancel=cancel)
            self.begin(_Call(f"close the pool, cancel={cancel}", closing))
        self.is_closed = True

    @rule(
        counter=st.sampled_from(["jobs_submitted", "jobs_succeeded", "sessions_opened"]),
        act=st.sampled_from([*_ACTS]),
    )
    def misbehave_in_callback(self, counter: str, act: str) -> None:
        self.acts_at, self.act = counter, act

    @precondition(lambda self: self.is_closed)
    @rule()
    def open_another_pool(self) -> None:
        self.finish()
        self.open_pool()

    # Time and the service

    @rule(seconds=st.sampled_from([0.1, 1.0, 10.0, 31.0, 545.0, 601.0]))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.settle()

    @rule(times=st.integers(1, 3), retry_after=st.sampled_from([None, 5.0]))
    def refuse_submissions(self, times: int, retry_after: float | None) -> None:
        self.refuse(times, retry_after)

    # What holds

    @rule()
    def finish(self) -> None:
        """Whatever can finish, finishes."""
        self._finish()
        for call in self.calls:
            call.check()
        self.calls.clear()
        self.settle()
        stats = self.pool.get_stats()
        assert stats["jobs_running"] == 0
        samplers = self.samplers.values()
        wait_until(lambda: not any(any(_counters(each).values()) for each in samplers))

    def _finish(self) -> None:
        end = self.clock.monotonic() + _MANUAL_LIMIT
        step, left, deadline = 1.0, -1, 0.0
        while pending := [call for call in self.calls if not call.outcome.done()]:
            if len(pending) != left:
                left, deadline = len(pending), time.monotonic() + _HANG_TIMEOUT
            if self.clock.monotonic() < end:
                self.clock.advance(step)
                step *= 1.1
                deadline = time.monotonic() + _HANG_TIMEOUT
            else:
                assert time.monotonic() < deadline, f"hangs: {[call.what for call in pending]}"
                self.clock.advance(60.0)
            wait([call.outcome for call in pending], timeout=0.002)

    @invariant()
    def every_job_is_submitted_once(self) -> None:
        ids = [job.id for job in jobs_in(self.brain)]
        assert len(ids) == len(set(ids))

    def teardown(self) -> None:
        try:
            self.finish()
            self.acts_at = ""
            self.calls.append(_Call("close the pool", in_background(self.pool.close)))
            self._finish()
            self.calls.append(_Call("close the helper", in_background(self.helper.close)))
            self._finish()
            for session in sessions_in(self.brain):
                assert not self.brain._session(session.id).takes_jobs, session
            wait_until(lambda: _tasks() <= self.others)
        finally:
            self.stop_service()


class _LocalMachine(_PoolMachine):
    """On a workspace in memory."""

    brain: _Service

    def start_service(self) -> None:
        self.brain = _Service(self.clock)

    def refuse(self, times: int, retry_after: float | None) -> None:
        self.brain.refusals, self.brain.retry_after = times, retry_after

    def _activity(self) -> Any:
        service = self.brain
        return (
            super()._activity(),
            service.stored,
            len(service.submitted),
            service.quotas_read,
            sum(service.uploads.values()),
        )

    @invariant()
    def no_accepted_job_is_submitted_again(self) -> None:
        assert self.brain.resubmitted == []
        assert all(count == 1 for count in self.brain.accepted.values() if count)

    @invariant()
    def uploads_stay_within_the_slots(self) -> None:
        assert self.brain.too_many_uploads == ""

    @invariant()
    def quotas_are_kept_and_read_once_a_call(self) -> None:
        assert self.brain.charged() <= _QUOTA, "more was submitted than the quota has room for"
        assert self.brain.quotas_read <= 2 * self.charged_calls, "quotas are read too often"


class _FaultyMachine(_LocalMachine):
    """On one that loses answers and fails jobs."""

    @rule(
        verb=st.sampled_from(_VERBS),
        after=st.booleans(),
        status=st.sampled_from([None, 500, 503]),
        times=st.integers(1, 3),
    )
    def lose_answers(self, verb: str, after: bool, status: int | None, times: int) -> None:
        is_final = after and verb in ("open_session", "submit_job")
        self.brain.losses += [(verb, is_final, status)] * times

    @rule(choice=st.integers(0, 5), status=st.sampled_from(["Failed", "TimedOut"]))
    def break_off_session(self, choice: int, status: str) -> None:
        sessions = self.pool.sessions()
        if sessions:
            session_id = sessions[choice % len(sessions)].id
            session = self.brain._session(session_id)
            with self.brain._live.deciding() as now:
                self.brain._schedule.break_off(session, SessionStatus(status), now)
            self.settle()


class _LastingService(_Service):
    """A workspace that outlives its pools, so that their jobs are worth a record."""

    identity = "lasting"  # type: ignore[assignment]


class _JournalMachine(_FaultyMachine):
    """On one that outlives its pools, which share a journal."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        # What calls asked for, as `paid` has it: in this run, and the most in one of all runs.
        self.asked: Counter[tuple[str, int, int]] = Counter()
        self.bound: Counter[tuple[str, int, int]] = Counter()
        super().__init__()

    def start_service(self) -> None:
        self.brain = _LastingService(self.clock)

    def stop_service(self) -> None:
        self.folder.cleanup()

    def make_pool(self) -> SessionPool:
        journal = f"{self.folder.name}/jobs.journal"
        return SessionPool(self.workspace(), clock=self.clock, journal=journal)

    def open_pool(self) -> None:
        super().open_pool()
        self.asked.clear()
        self.capped_before = self.capped_jobs()
        for name, options in {
            "capped": {"max_cost": _PRICE * _CAP},
            "packed": {"pack": 2},
        }.items():
            self.samplers[name] = AzureSessionSampler(
                CHARGED, pool=self.pool, job_name=name, **options
            )

    def capped_jobs(self) -> int:
        # The name of a job that another call wrote down first is that of its sampler.
        return sum(shots == _CAPPED_SHOTS for _, shots, _ in self.paid())

    def paid(self) -> list[tuple[str, int, int]]:
        """Target, shots and bit of every point of a job that has not failed."""
        asked = [
            self.brain.requests[job.id]
            for job in jobs_in(self.brain)
            if job.status not in (JobStatus.FAILED, JobStatus.CANCELLED)
        ]
        return [
            (request.target, request.input_params["shots"], bit)
            for request in asked
            for bit in _bits(request)
        ]

    def ask(self, sampler: str, bits: Sequence[int]) -> None:
        super().ask(sampler, bits)
        target = self.samplers[sampler].target
        self.asked.update((target, _shots(sampler), bit) for bit in bits)
        self.bound |= self.asked

    @rule(sampler=st.sampled_from(["capped", "packed"]), size=points, way=ways)
    def run_sweep_with_cap_or_packs(self, sampler: str, size: int, way: str) -> None:
        self.run_sweep_of(sampler, size, way)

    @rule(how=st.sampled_from(["close", "cancel", "interrupt"]))
    def restart(self, how: str) -> None:
        """A run ends, with jobs in flight or not, and the next one has its journal."""
        if how == "interrupt":
            ending = in_background(self.pool.__exit__, KeyboardInterrupt, None, None)
        else:
            ending = in_background(self.pool.close, cancel=how == "cancel")
        self.begin(_Call(f"end the run: {how}", ending))
        self.finish()
        self.open_pool()

    @invariant()
    def quotas_are_kept_and_read_once_a_call(self) -> None:
        """Not here: with a journal a call goes as far as a quota does."""

    @invariant()
    def uploads_stay_within_the_slots(self) -> None:
        """Not here: they are counted by name, which an earlier call may have given the job."""

    @invariant()
    def no_point_is_paid_twice(self) -> None:
        paid, bound = _shots_of(Counter(self.paid())), _shots_of(self.bound)
        assert paid <= bound, (paid, bound)

    @invariant()
    def cap_is_kept(self) -> None:
        assert self.capped_jobs() - self.capped_before <= _CAP


class _EmulatorMachine(_PoolMachine):
    """On the service over HTTP."""

    roundtrips = 3

    def start_service(self) -> None:
        self.server = EmulatorServer(clock=self.clock, job_time=30.0)
        self.server.start()
        self.brain = self.server._workspace

    def stop_service(self) -> None:
        self.server.stop()

    def workspace(self) -> Any:
        return self.server.workspace()

    def refuse(self, times: int, retry_after: float | None) -> None:
        self.server.faults.add("submit", status=429, retry_after=retry_after, times=times)

    @rule(
        route=st.sampled_from(["open", "sasUri", "upload", "submit", "poll", "download"]),
        after=st.booleans(),
    )
    def reset_connection(self, route: str, after: bool) -> None:
        self.server.faults.reset(route, after=after)

    @rule(route=st.sampled_from(["open", "submit", "poll", "download"]))
    def break_route(self, route: str) -> None:
        self.server.faults.add(route, status=503)


def _test(machine: type[_PoolMachine], examples: int, steps: int) -> Any:
    test = machine.TestCase
    test.settings = settings(
        max_examples=_EXAMPLES or examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=not _EXAMPLES,
        suppress_health_check=list(HealthCheck),
    )
    return test


TestOnLocalWorkspace = _test(_LocalMachine, 12, 20)
TestOnFaultyWorkspace = _test(_FaultyMachine, 12, 20)
TestWithJournal = _test(_JournalMachine, 12, 20)
TestOnEmulator = _test(_EmulatorMachine, 5, 12)
