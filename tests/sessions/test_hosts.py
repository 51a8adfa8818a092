"""The SDK's own backends and targets, whose jobs go in a pool's sessions."""

from __future__ import annotations

import _thread
import asyncio
import copy
import itertools
import json
import pickle
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

import cirq
import pytest
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.policies import RetryPolicy
from azure.quantum import Job, Workspace
from azure.quantum.cirq import AzureQuantumService
from azure.quantum.target import IonQ
from circuits import FLIP
from services import HANG_TIMEOUT, in_background, is_closed, settle, wait_until

import cirq_azure_sessions
from cirq_azure_sessions import (
    AzureSessionSampler,
    LocalWorkspace,
    ManualClock,
    PoolClosed,
    SessionNotAvailable,
    SessionPool,
    UnsupportedTarget,
)
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.watch.events import AnyEvent

TARGET = "ionq.simulator"
PROGRAM = {"qubits": 1, "circuit": [{"gate": "x", "target": 0}]}
BAD_PROGRAM = {"qubits": "many"}
BELL_QASM = """
    OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; creg c[2];
    h q[0]; cx q[0],q[1]; measure q -> c;
"""
BELL_QUIL = "DECLARE ro BIT[2]\nH 0\nCNOT 0 1\nMEASURE 0 ro[0]\nMEASURE 1 ro[1]\n"
BELL_QSHARP = """
operation Bell(turns : Double[]) : (Result, Result) {
    use (a, b) = (Qubit(), Qubit());
    R(PauliZ, turns[0], a);
    H(a);
    CNOT(a, b);
    return (MResetZ(a), MResetZ(b));
}
"""


@pytest.fixture
def clock() -> ManualClock:
    # By the machine's time the SDK judges the signatures of the emulated storage.
    return ManualClock(start=time.time())


@pytest.fixture
def azure(server: EmulatorServer) -> Iterator[Workspace]:
    """The SDK's workspace that `pool` was made with."""
    with server.workspace() as azure:
        yield azure


@pytest.fixture
def pool(azure: Workspace, clock: ManualClock) -> Iterator[SessionPool]:
    with SessionPool(azure, clock=clock) as pool:
        yield pool


@pytest.fixture
def target(azure: Workspace, pool: SessionPool) -> Any:
    """A hosted target of IonQ's."""
    return pool.host(azure.get_targets(TARGET))


def qiskit_backend(azure: Workspace, name: str = TARGET) -> Any:
    pytest.importorskip("qiskit", reason="the test extra brings qiskit")
    pytest.importorskip("qsharp.interop.qiskit", reason="the SDK's backends need qsharp[qiskit]")
    from azure.quantum.qiskit import AzureQuantumProvider

    return AzureQuantumProvider(azure).get_backend(name)


def bell() -> Any:
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(2, 2, name="Bell")
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    return circuit


def nothing() -> None:
    pass


def disturbed(
    server: EmulatorServer,
    disturb: Callable[[], object],
    afterwards: Callable[[], object] = nothing,
) -> Workspace:
    """A workspace of a class of its own, which calls these before and after each submission."""

    class Disturbed(Workspace):  # type: ignore[misc]
        def submit_job(self, job: Any) -> Any:
            disturb()
            try:
                return super().submit_job(job)
            finally:
                afterwards()

    azure = server.workspace()
    azure.__class__ = Disturbed
    return azure


def stats(pool: SessionPool) -> dict[str, float]:
    """Those that are not zero."""
    return {name: number for name, number in pool.get_stats().items() if number}


# Which session a hosted job goes in


def test_hosted_jobs_share_the_session_of_samplers(target: Any, pool: SessionPool) -> None:
    result = AzureSessionSampler(TARGET, pool=pool).run(FLIP, repetitions=10)
    job = target.submit(PROGRAM, shots=10)
    assert job.details.session_id == result.session_id == pool.session(TARGET).id
    assert pool.get_stats()["sessions_opened"] == 1


def test_nothing_is_opened_before_the_first_job(target: Any, server: EmulatorServer) -> None:
    assert server.requests["open"] == 0
    target.submit(PROGRAM)
    assert server.requests["open"] == 1


def test_two_submissions_at_once_open_one_session(azure: Workspace, pool: SessionPool) -> None:
    ready = threading.Barrier(2)

    def submit(target: Any) -> Any:
        ready.wait(HANG_TIMEOUT)
        return target.submit(PROGRAM)

    hosted = [pool.host(azure.get_targets(TARGET)) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        jobs = list(threads.map(submit, hosted))
    assert len({job.details.session_id for job in jobs}) == 1
    assert pool.get_stats()["sessions_opened"] == 1


def test_session_that_timed_out_while_idle_is_replaced(
    target: Any, pool: SessionPool, clock: ManualClock, server: EmulatorServer
) -> None:
    first = target.submit(PROGRAM)
    clock.advance(601)
    second = target.submit(PROGRAM)
    assert second.details.session_id != first.details.session_id
    # It was checked before anything was submitted in it.
    assert server.requests["submit"] == 2
    counts = pool.get_stats()
    assert (counts["sessions_checked"], counts["sessions_timed_out"]) == (1, 1)


def test_submission_that_is_refused_is_repeated_once_in_a_new_session(
    azure: Workspace, clock: ManualClock, server: EmulatorServer
) -> None:
    # The pool trusts the session for longer than the service keeps it.
    with SessionPool(azure, clock=clock, max_idle=10_000) as pool:
        target = pool.host(azure.get_targets(TARGET))
        first = target.submit(PROGRAM)
        clock.advance(601)
        second = target.submit(PROGRAM)
        assert second.details.session_id == pool.session(TARGET).id != first.details.session_id
        # The program was not uploaded again.
        assert (server.requests["submit"], server.requests["upload"]) == (3, 2)
        counts = pool.get_stats()
        assert (counts["sessions_timed_out"], counts["sessions_reopened"]) == (1, 1)
        assert counts["jobs_submitted"] == 2


def test_many_refusals_make_one_new_session(azure: Workspace, clock: ManualClock) -> None:
    with SessionPool(azure, clock=clock, max_idle=10_000) as pool, ThreadPoolExecutor(4) as threads:
        hosted = [pool.host(azure.get_targets(TARGET)) for _ in range(4)]
        hosted[0].submit(PROGRAM)
        clock.advance(601)
        jobs = threads.map(lambda target: target.submit(PROGRAM), hosted)
        assert {job.details.session_id for job in jobs} == {pool.session(TARGET).id}
        counts = pool.get_stats()
        assert (counts["sessions_opened"], counts["sessions_timed_out"]) == (2, 1)


def test_second_refusal_in_a_row_ends_the_submission(
    target: Any, pool: SessionPool, server: EmulatorServer
) -> None:
    server.faults.add(
        "submit",
        status=400,
        times=2,
        code="InvalidJobDefinition",
        message="Session is already in a terminal state.",
    )
    with pytest.raises(SessionNotAvailable, match="has ended: submit the job again") as caught:
        target.submit(PROGRAM)
    assert isinstance(caught.value.__cause__, HttpResponseError)
    assert server.requests["submit"] == 2
    assert target.submit(PROGRAM).details.session_id == pool.session(TARGET).id


def test_each_submission_restarts_the_idle_time_of_its_session(
    target: Any, pool: SessionPool, clock: ManualClock
) -> None:
    session_ids = set()
    for _ in range(4):
        session_ids.add(target.submit(PROGRAM).details.session_id)
        clock.advance(400)
    assert len(session_ids) == 1
    assert pool.get_stats()["sessions_checked"] == 0


def test_second_pool_of_the_name_adopts_the_session(azure: Workspace, clock: ManualClock) -> None:
    with SessionPool(azure, clock=clock, name="shared") as first:
        opened = first.host(azure.get_targets(TARGET)).submit(PROGRAM).details.session_id
        with SessionPool(azure, clock=clock, name="shared") as second:
            job = second.host(azure.get_targets(TARGET)).submit(PROGRAM)
            assert job.details.session_id == opened
        assert first.get_session(opened).is_open


def test_own_session_takes_precedence_until_it_is_closed(target: Any, pool: SessionPool) -> None:
    pools = target.submit(PROGRAM).details.session_id
    with target.open_session(name="by hand") as own:
        assert target.latest_session is own
        assert target.submit(PROGRAM).details.session_id == own.id
    assert own.is_in_terminal_state()
    assert target.submit(PROGRAM).details.session_id == pools
    # The jobs of the session that was opened by hand are not the pool's.
    assert pool.get_stats()["jobs_submitted"] == 2


def test_own_session_that_was_set_takes_precedence(target: Any, azure: Workspace) -> None:
    target.latest_session = azure.get_targets(TARGET).open_session()
    assert target.submit(PROGRAM).details.session_id == target.latest_session.id


def test_refusal_of_own_session_is_the_sdks(target: Any, clock: ManualClock) -> None:
    target.open_session()
    clock.advance(601)
    with pytest.raises(HttpResponseError, match="already in a terminal state"):
        target.submit(PROGRAM)


def test_session_that_is_closed_by_hand_on_the_original_gives_its_jobs_back(
    azure: Workspace, pool: SessionPool
) -> None:
    original = azure.get_targets(TARGET)
    own = original.open_session(name="by hand")
    target = pool.host(original)
    assert target.submit(PROGRAM).details.session_id == own.id
    own.close()
    assert target.latest_session.id == own.id
    jobs = [target.submit(PROGRAM) for _ in range(2)]
    assert {job.details.session_id for job in jobs} == {pool.session(TARGET).id}
    assert pool.get_stats()["jobs_submitted"] == 2


def test_copy_of_an_original_drops_its_closed_session(
    azure: Workspace, pool: SessionPool, server: EmulatorServer
) -> None:
    original = azure.get_targets(TARGET)
    with original.open_session():
        original.submit(PROGRAM)
    job = pool.host(original).submit(PROGRAM)
    assert job.details.session_id == pool.session(TARGET).id
    # Nothing was submitted in vain.
    assert server.requests["submit"] == 2


@pytest.mark.parametrize("policy", ["Abort", "Continue"])
def test_own_session_in_which_a_job_failed_is_replaced_only_when_it_was_closed(
    azure: Workspace, pool: SessionPool, policy: str
) -> None:
    original = azure.get_targets(TARGET)
    own = original.open_session(job_failure_policy=policy)
    target = pool.host(original)
    target.submit(BAD_PROGRAM).wait_until_completed(print_progress=False)
    if policy == "Abort":
        with pytest.raises(HttpResponseError, match="already in a terminal state"):
            target.submit(PROGRAM)
    else:
        assert target.submit(PROGRAM).details.session_id == own.id
    # Through the copy it is known to be closed, whatever ended it.
    target.latest_session.close()
    assert target.submit(PROGRAM).details.session_id == pool.session(TARGET).id


# What a failing job does


def test_continue_keeps_the_session_of_a_failed_job(target: Any, pool: SessionPool) -> None:
    failed = target.submit(BAD_PROGRAM)
    with pytest.raises(RuntimeError, match="InvalidInputData"):
        failed.get_results()
    assert target.submit(PROGRAM).details.session_id == failed.details.session_id
    assert pool.session(TARGET).refresh().status == "Failure(s)"
    assert pool.get_stats()["jobs_failed"] == 1


def test_job_after_one_that_failed_under_abort_opens_a_fresh_session(
    azure: Workspace, clock: ManualClock
) -> None:
    with SessionPool(azure, clock=clock, job_failure_policy="Abort") as pool:
        target = pool.host(azure.get_targets("echo-quantinuum"))
        garbage = {"input_data_format": "qir.v1", "output_data_format": "none"}
        failed = target.submit("garbage", **garbage)
        assert azure.get_session(failed.details.session_id).details.status == "Failed"
        again = target.submit("garbage", **garbage)
        assert again.details.session_id != failed.details.session_id
        assert pool.get_stats()["sessions_failed"] == 1


def test_submission_errors_are_the_sdks(
    target: Any, pool: SessionPool, server: EmulatorServer
) -> None:
    server.faults.add("submit", status=403)
    with pytest.raises(HttpResponseError) as caught:
        target.submit(PROGRAM)
    assert caught.value.status_code == 403
    counts = pool.get_stats()
    assert (counts["jobs_submitted"], counts["jobs_running"]) == (0, 0)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the SDK try again without delay."""
    monkeypatch.setattr(RetryPolicy, "sleep", lambda *args, **options: None)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("is_answered", [True, False], ids=["500", "no answer"])
def test_job_that_arrived_although_its_submission_failed_is_not_lost(
    target: Any, pool: SessionPool, server: EmulatorServer, is_answered: bool
) -> None:
    # Also each time that the SDK tries again.
    if is_answered:
        server.faults.add("submit", status=500, after=True, times=50)
    else:
        server.faults.reset("submit", after=True, times=50)
    job = target.submit(PROGRAM)
    assert job.get_results() == {"histogram": {"1": 1.0}}
    assert job.details.session_id == pool.session(TARGET).id
    counts = pool.get_stats()
    assert (counts["jobs_submitted"], counts["jobs_succeeded"]) == (1, 1)
    assert len(pool.list_jobs()) == 1


@pytest.mark.usefixtures("at_once")
def test_job_that_did_not_arrive_fails_with_the_sdks_error(
    target: Any, pool: SessionPool, server: EmulatorServer
) -> None:
    server.faults.add("submit", status=500, times=50)
    with pytest.raises(HttpResponseError, match="InternalServerError"):
        target.submit(PROGRAM)
    assert stats(pool) == {"sessions_opened": 1, "sessions_open": 1}


def test_job_whose_submission_failed_is_still_without_a_session(
    target: Any, pool: SessionPool, server: EmulatorServer
) -> None:
    job = Job.from_input_data(
        target.workspace,
        name="later",
        target=TARGET,
        input_data=json.dumps(PROGRAM).encode(),
        provider_id="ionq",
        input_data_format="ionq.circuit.v1",
        output_data_format="ionq.quantum-results.v1",
        submit_job=False,
    )
    server.faults.add("submit", status=403)
    with pytest.raises(HttpResponseError):
        job.submit()
    assert job.details.session_id is None
    job.submit()
    assert job.details.session_id == pool.session(TARGET).id


# What the pool knows of hosted jobs


def test_hosted_job_is_counted_when_it_is_submitted_and_when_it_is_seen_to_finish(
    target: Any, pool: SessionPool
) -> None:
    events: list[AnyEvent] = []
    pool.subscribe(events.append)
    job = target.submit(PROGRAM, name="hosted")
    assert stats(pool) == {
        "sessions_opened": 1,
        "sessions_open": 1,
        "jobs_submitted": 1,
        "jobs_running": 1,
    }
    job.refresh()
    job.wait_until_completed(print_progress=False)
    assert job.get_results() == {"histogram": {"1": 1.0}}
    assert stats(pool) == {
        "sessions_opened": 1,
        "sessions_open": 1,
        "jobs_submitted": 1,
        "jobs_succeeded": 1,
    }
    assert [(event.subject, event.kind) for event in events] == [
        ("session", "opened"),
        ("job", "submitted"),
        ("job", "succeeded"),
    ]
    assert [found.id for found in pool.list_jobs(name="hosted")] == [job.id]
    (bar,) = pool._timeline().sessions
    assert [(mark.job_id, mark.outcome) for mark in bar.jobs] == [(job.id, "succeeded")]


def test_job_that_is_waited_for_through_the_pool_is_counted(target: Any, pool: SessionPool) -> None:
    pool.get_job(target.submit(PROGRAM).id).wait()
    counts = pool.get_stats()
    assert (counts["jobs_succeeded"], counts["jobs_running"]) == (1, 0)


def test_job_that_is_refreshed_in_a_callback_is_no_deadlock(target: Any, pool: SessionPool) -> None:
    job = target.submit(PROGRAM)

    refreshed = []

    def refresh(event: AnyEvent) -> None:
        if event.kind == "submitted":
            job.refresh()
            refreshed.append(job.details.status)

    pool.subscribe(refresh)
    in_background(target.submit, PROGRAM).result(HANG_TIMEOUT)
    settle(pool)
    assert refreshed == ["Succeeded"]
    assert pool.get_stats()["jobs_succeeded"] == 1


def test_cancelled_and_deleted_jobs_are_counted() -> None:
    with EmulatorServer(realistic=True) as server, SessionPool(server.workspace()) as pool:
        azure = server.workspace()
        target = pool.host(azure.get_targets(TARGET))
        cancelled, deleted = target.submit(PROGRAM), target.submit(PROGRAM)
        target.workspace.cancel_job(cancelled)
        # Nobody can wait for it any more.
        deleted.delete()
        counts = pool.get_stats()
        assert (counts["jobs_cancelled"], counts["jobs_running"]) == (2, 0)


# Closing the pool


def test_closing_pool_waits_for_hosted_jobs_without_waiters(clock: ManualClock) -> None:
    with EmulatorServer(clock=clock, realistic=True) as server:
        azure = server.workspace()
        with SessionPool(azure, clock=clock) as pool:
            job = pool.host(azure.get_targets(TARGET)).submit(PROGRAM)
            session = pool.session(TARGET)
            assert job.details.status == "Waiting"
        job.refresh()
        assert job.details.status == "Succeeded"
        assert session.status == "Succeeded"
        assert pool.get_stats()["jobs_succeeded"] == 1


def test_close_with_cancel_cancels_hosted_jobs() -> None:
    with EmulatorServer(realistic=True) as server:
        azure = server.workspace()
        pool = SessionPool(azure)
        job = pool.host(azure.get_targets(TARGET)).submit(PROGRAM)
        pool.close(cancel=True)
        job.refresh()
        assert job.details.status == "Cancelled"
        assert pool.get_stats()["jobs_cancelled"] == 1


def test_closing_pool_waits_for_a_pending_submission(
    server: EmulatorServer, clock: ManualClock
) -> None:
    begun, released = threading.Event(), threading.Event()

    def hold_up() -> None:
        begun.set()
        assert released.wait(HANG_TIMEOUT)

    azure = disturbed(server, hold_up)
    pool = SessionPool(azure, clock=clock)
    submission = in_background(pool.host(azure.get_targets(TARGET)).submit, PROGRAM)
    assert begun.wait(HANG_TIMEOUT)
    closing = in_background(pool.close)
    wait_until(lambda: is_closed(pool, TARGET))
    assert not closing.done()
    released.set()
    job = submission.result(HANG_TIMEOUT)
    closing.result(HANG_TIMEOUT)
    assert azure.get_session(job.details.session_id).details.status == "Succeeded"
    counts = pool.get_stats()
    assert (counts["jobs_succeeded"], counts["jobs_running"]) == (1, 0)


def test_submission_that_fails_in_any_way_holds_nothing_up(
    server: EmulatorServer, clock: ManualClock
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    azure = disturbed(server, interrupt)
    pool = SessionPool(azure, clock=clock)
    with pytest.raises(KeyboardInterrupt):
        pool.host(azure.get_targets(TARGET)).submit(PROGRAM)
    assert pool.get_stats()["jobs_running"] == 0
    in_background(pool.close).result(HANG_TIMEOUT)


# Ctrl-C


@pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(), reason="needs Ctrl-C"
)
@pytest.mark.parametrize("moment", ["before the service accepts it", "before its answer is read"])
def test_job_whose_submission_is_interrupted_while_it_is_sent_is_counted(
    server: EmulatorServer, clock: ManualClock, moment: str
) -> None:
    interrupted = threading.Event()

    def interrupt() -> None:
        _thread.interrupt_main()
        assert interrupted.wait(HANG_TIMEOUT)

    is_early = moment == "before the service accepts it"
    azure = disturbed(server, *((interrupt, nothing) if is_early else (nothing, interrupt)))
    with SessionPool(azure, clock=clock) as pool:
        with pytest.raises(KeyboardInterrupt) as caught:
            pool.host(azure.get_targets(TARGET)).submit(PROGRAM)
        assert pool.get_stats()["jobs_running"] == 1
        interrupted.set()
    (job,) = azure.list_jobs()
    assert f"Job {job.id} on {TARGET} may have been submitted" in caught.value.__notes__[0]
    counts = pool.get_stats()
    assert (counts["jobs_submitted"], counts["jobs_succeeded"]) == (1, 1)
    assert counts["jobs_running"] == 0


_PACKAGE = str(Path(cirq_azure_sessions.__file__).parent)


class _Interruption:
    """A trace function that raises KeyboardInterrupt at one of the package's lines in a submission.

    Attributes:
        has_struck: Whether there were so many.
    """

    def __init__(self, line: int) -> None:
        self._lines_left = line
        self._submission: FrameType | None = None
        self.has_struck = False

    def __call__(self, frame: FrameType, event: str, arg: object) -> _Interruption | None:
        if not frame.f_code.co_filename.startswith(_PACKAGE):
            return None
        if frame.f_code.co_name == "submit_job" and self._submission is None:
            self._submission = frame
        if self._submission is not None and event == "line":
            self._lines_left -= 1
            if not self._lines_left:
                self.has_struck = True
                raise KeyboardInterrupt
        if frame is self._submission and event == "return":
            # What follows is the SDK's.
            self._lines_left = 0
        return self


# What is interrupted before it begins is never awaited.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_interruption_at_any_line_of_a_submission_is_harmless(
    azure: Workspace, server: EmulatorServer, clock: ManualClock
) -> None:
    original = azure.get_targets(TARGET)
    accepted = 0
    for line in itertools.count(1):
        pool = SessionPool(azure, clock=clock)
        target = pool.host(original)
        target.submit(PROGRAM)
        interruption, before = _Interruption(line), sys.gettrace()
        sys.settrace(interruption)
        try:
            target.submit(PROGRAM)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        in_background(pool.close).result(HANG_TIMEOUT)
        counts = pool.get_stats()
        on_service = len(azure.list_jobs())
        assert counts["jobs_submitted"] == on_service - accepted
        assert (counts["jobs_running"], counts["sessions_open"]) == (0, 0)
        accepted = on_service
        if not interruption.has_struck:
            break
    assert line > 20


def test_closed_pool_takes_no_more_jobs_and_leaves_results(
    target: Any, pool: SessionPool, azure: Workspace
) -> None:
    job = target.submit(PROGRAM)
    pool.close()
    assert job.get_results() == {"histogram": {"1": 1.0}}
    with pytest.raises(PoolClosed):
        target.submit(PROGRAM)
    with pytest.raises(PoolClosed):
        pool.host(azure.get_targets(TARGET))


# What is hosted


def test_original_and_its_workspace_are_unchanged(azure: Workspace, pool: SessionPool) -> None:
    service = AzureQuantumService(azure)
    original = service.get_target(TARGET)
    before = dict(vars(original))
    agent, client, workspace = azure.user_agent, azure._client, dict(vars(azure))
    hosted = pool.host(original)
    hosted.submit(cirq.Circuit(cirq.H(cirq.q(0)), cirq.measure(cirq.q(0), key="m")))
    assert vars(original) == before
    assert (azure.user_agent, azure._client) == (agent, client)
    assert vars(azure) == workspace
    assert hosted.workspace.user_agent != agent
    job = original.submit(cirq.Circuit(cirq.measure(cirq.q(0), key="m")))
    assert azure.get_job(job.job_id()).details.session_id is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_qiskit_original_keeps_its_provider_and_options(
    azure: Workspace, pool: SessionPool
) -> None:
    original = qiskit_backend(azure)
    hosted = pool.host(original)
    hosted.set_options(shots=7)
    assert original.options.shots != 7
    assert original.provider.get_workspace() is azure
    # Whatever is reached from the copy is hosted too.
    sibling = hosted.provider.get_backend("rigetti.sim.qvm")
    job = sibling.run(bell())
    assert azure.get_job(job.id()).details.session_id == pool.session("rigetti.sim.qvm").id


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", [TARGET, "quantinuum.sim.h2-1e", "qci.simulator"])
def test_qiskit_backend_runs_circuits(azure: Workspace, pool: SessionPool, name: str) -> None:
    backend = qiskit_backend(azure, name)
    hosted = pool.host(backend)
    assert type(hosted) is type(backend)
    from qiskit import transpile

    job = hosted.run(transpile(bell(), hosted), shots=100)
    counts = job.result().get_counts()
    assert sum(counts.values()) == 100
    assert azure.get_job(job.id()).details.session_id == pool.session(name).id
    assert hosted.retrieve_job(job.id()).result().get_counts() == counts
    assert pool.get_stats()["jobs_succeeded"] == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_qiskits_sampler_and_estimator_run_in_one_session(
    azure: Workspace, pool: SessionPool
) -> None:
    backend = pool.host(qiskit_backend(azure))
    from qiskit import transpile
    from qiskit.circuit import QuantumCircuit
    from qiskit.primitives import BackendEstimatorV2, BackendSamplerV2
    from qiskit.quantum_info import SparsePauliOp

    state = QuantumCircuit(2)
    state.h(0)
    state.cx(0, 1)
    prepared = transpile(state, backend)
    estimate = BackendEstimatorV2(backend=backend).run([(prepared, SparsePauliOp("ZZ"))])
    assert estimate.result()[0].data.evs == pytest.approx(1.0, abs=0.1)
    sampled = BackendSamplerV2(backend=backend).run([transpile(bell(), backend)], shots=50)
    assert sum(sampled.result()[0].data.c.get_counts().values()) == 50
    counts = pool.get_stats()
    assert (counts["sessions_opened"], counts["jobs_succeeded"]) == (1, 2)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ten_minutes_in_an_optimization_with_qiskit_cost_one_session_and_no_job(
    server: EmulatorServer, clock: ManualClock
) -> None:
    pauses: list[float] = []
    azure = disturbed(server, lambda: clock.advance(pauses.pop() if pauses else 0))
    with SessionPool(azure, clock=clock) as pool:
        backend = pool.host(qiskit_backend(azure))
        from qiskit import transpile
        from qiskit.circuit import Parameter, QuantumCircuit
        from qiskit.primitives import BackendEstimatorV2
        from qiskit.quantum_info import SparsePauliOp

        state = QuantumCircuit(1)
        state.ry(Parameter("theta"), 0)
        prepared = transpile(state, backend)
        estimator = BackendEstimatorV2(backend=backend)
        sampler = AzureSessionSampler(TARGET, pool=pool)
        for theta in (0.0, 1.0, 2.0):
            if theta == 1.0:
                clock.advance(601)
            elif theta == 2.0:
                # Its input has been uploaded by then.
                pauses.append(601)
            estimator.run([(prepared, SparsePauliOp("Z"), theta)]).result()
            sampler.run_sweep(FLIP, [{"x": 0}, {"x": 1}], repetitions=10)
    counts = pool.get_stats()
    on_service = Counter(job.details.session_id for job in azure.list_jobs())
    # One estimate and two points of a sweep in each session.
    assert sorted(on_service.values()) == [3, 3, 3]
    assert counts["jobs_submitted"] == counts["jobs_succeeded"] == 9
    sessions = [session.details.status for session in azure.list_sessions()]
    assert sorted(sessions) == ["Succeeded", "TimedOut", "TimedOut"]
    assert (counts["sessions_opened"], counts["sessions_timed_out"]) == (3, 2)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", [TARGET, "quantinuum.sim.h2-1e"])
def test_cirq_target_runs_circuits(azure: Workspace, pool: SessionPool, name: str) -> None:
    hosted = pool.host(AzureQuantumService(azure).get_target(name))
    job = hosted.submit(FLIP, repetitions=10)
    job.results()
    assert azure.get_job(job.job_id()).details.session_id == pool.session(name).id
    counts = pool.get_stats()
    assert (counts["jobs_submitted"], counts["jobs_succeeded"]) == (1, 1)


@pytest.mark.parametrize(
    ("name", "program", "outcomes"),
    [
        ("quantinuum.sim.h2-1e", BELL_QASM, lambda result: result["c"]),
        ("rigetti.sim.qvm", BELL_QUIL, lambda result: result["ro"]),
    ],
    ids=["OpenQASM", "Quil"],
)
def test_texts_of_programs_run(
    azure: Workspace,
    pool: SessionPool,
    name: str,
    program: str,
    outcomes: Callable[[Any], list[object]],
) -> None:
    job = pool.host(azure.get_targets(name)).submit(program, shots=20)
    assert len(outcomes(job.get_results())) == 20
    assert job.details.session_id == pool.session(name).id


def test_qsharp_with_arguments_runs_in_three_jobs(azure: Workspace, pool: SessionPool) -> None:
    qsharp = pytest.importorskip("qdk.qsharp", reason="the extra qir brings qdk")
    qsharp.init(target_profile=qsharp.TargetProfile.Base)
    qsharp.eval(BELL_QSHARP)
    target = pool.host(azure.get_targets("quantinuum.sim.h2-1e"))
    agent = azure.user_agent
    jobs = [
        target.submit(qsharp.compile(f"Bell([{angle}])"), name=f"Job {number}", shots=20)
        for number, angle in enumerate((0.0, 1.0, 2.0))
    ]
    assert [len(job.get_results_shots()) for job in jobs] == [20, 20, 20]
    assert azure.user_agent == agent
    names = [job.name for job in pool.session("quantinuum.sim.h2-1e").jobs()]
    assert sorted(names) == ["Job 0", "Job 1", "Job 2"]


def test_submission_blocks_only_its_asyncio_caller(target: Any) -> None:
    async def submit() -> str:
        return str(target.submit(PROGRAM).details.session_id)

    async def submit_twice() -> set[str]:
        return {await submit(), await asyncio.to_thread(asyncio.run, submit())}

    assert len(asyncio.run(submit_twice())) == 1


def test_hosting_twice_is_harmless(target: Any, pool: SessionPool, clock: ManualClock) -> None:
    again = pool.host(target)
    assert again.submit(PROGRAM).details.session_id == target.submit(PROGRAM).details.session_id
    assert pool.get_stats()["jobs_submitted"] == 2


def test_hosting_in_another_pool_moves_the_copy(
    target: Any, pool: SessionPool, azure: Workspace, clock: ManualClock
) -> None:
    with SessionPool(azure, clock=clock) as other:
        job = other.host(target).submit(PROGRAM)
        assert job.details.session_id == other.session(TARGET).id
        assert pool.sessions() == []


def test_copies_share_the_pool(target: Any, pool: SessionPool) -> None:
    for duplicate in (copy.copy(target), copy.deepcopy(target)):
        assert type(duplicate) is type(target)
        assert duplicate.submit(PROGRAM).details.session_id == pool.session(TARGET).id


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "original",
    [
        lambda azure: azure.get_targets(TARGET),
        lambda azure: AzureQuantumService(azure).get_target(TARGET),
    ],
    ids=["azure.quantum", "azure.quantum.cirq"],
)
def test_pickled_copy_has_a_pool_with_the_same_options(
    original: Callable[[Workspace], Any], azure: Workspace, server: EmulatorServer
) -> None:
    with SessionPool(azure, name="shared") as pool:
        session = pool.session(TARGET)
        hosted = pool.host(original(azure))
        hosted.workspace.list_jobs()
        there = pickle.loads(pickle.dumps(hosted))
        assert type(there) is type(hosted)
        with there.workspace._jobs._pool as other:
            assert other is not pool
            job = there.workspace.get_targets(TARGET).submit(PROGRAM)
            assert job.details.session_id == other.session(TARGET).id == session.id


def test_subclass_of_workspace_keeps_its_own_methods(
    server: EmulatorServer, clock: ManualClock
) -> None:
    calls: list[str] = []
    azure = disturbed(server, lambda: calls.append("submit"))
    with SessionPool(azure, clock=clock) as pool:
        target = pool.host(azure.get_targets(TARGET))
        assert isinstance(target.workspace, type(azure))
        assert target.submit(PROGRAM).details.session_id == pool.session(TARGET).id
    assert calls == ["submit"]


# What is refused


def test_target_of_another_workspace_is_refused(pool: SessionPool) -> None:
    with EmulatorServer() as other, pytest.raises(UnsupportedTarget, match="not the pool's"):
        pool.host(other.workspace().get_targets(TARGET))


def test_another_object_for_the_same_workspace_is_the_pools(
    server: EmulatorServer, pool: SessionPool
) -> None:
    job = pool.host(server.workspace().get_targets(TARGET)).submit(PROGRAM)
    assert job.details.session_id == pool.session(TARGET).id


@pytest.mark.parametrize(
    ("address", "is_hosted"),
    [("https://mine.eastus.quantum.azure.com/", True), ("https://127.0.0.1:8080", False)],
)
def test_workspace_is_known_by_its_resource_at_every_address_of_azure(
    address: str, is_hosted: bool
) -> None:
    def connect(endpoint: str) -> Workspace:
        return Workspace(
            subscription_id="00000000-0000-0000-0000-000000000000",
            resource_group="group",
            name="mine",
            location="eastus",
            credential=AzureKeyCredential("key"),
            _quantum_endpoint=endpoint,
        )

    target = IonQ(connect(address), TARGET)
    with SessionPool(connect("https://eastus.quantum.azure.com")) as pool:
        if is_hosted:
            assert pool.host(target).name == TARGET
        else:
            with pytest.raises(UnsupportedTarget):
                pool.host(target)


@pytest.mark.parametrize("workspace", [None, LocalWorkspace()], ids=["none", "in memory"])
def test_pool_without_an_azure_workspace_hosts_nothing(
    workspace: LocalWorkspace | None, azure: Workspace
) -> None:
    with (
        SessionPool(workspace) as pool,
        pytest.raises(UnsupportedTarget, match="not the pool's"),
    ):
        pool.host(azure.get_targets(TARGET))


@pytest.mark.parametrize("nothing", [None, TARGET, object()])
def test_anything_but_a_backend_or_target_is_refused(nothing: object, pool: SessionPool) -> None:
    with pytest.raises(TypeError, match="a Qiskit backend of an AzureQuantumProvider or a target"):
        pool.host(nothing)
