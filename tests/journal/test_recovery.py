"""What a run that is started again finds, pays and leaves open, wherever the last one stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cirq
import pytest
import sympy
from children import PROCESSES, Address

from cirq_azure_sessions import (
    AzureSessionSampler,
    AzureWorkspace,
    Journal,
    JournalError,
    SessionPool,
    SweepError,
)
from cirq_azure_sessions.emulator.server import EmulatorServer
from cirq_azure_sessions.errors import (
    JobCancelled,
    JobFailed,
    ResultFormatError,
    ResultNotAvailable,
)
from cirq_azure_sessions.model import Job, JobStatus, Session, SessionRequest

TARGET = "ionq.simulator"
THETA = sympy.Symbol("theta")
QUBITS = cirq.LineQubit.range(2)
CIRCUIT = cirq.Circuit(
    cirq.ry(THETA)(QUBITS[0]), cirq.CNOT(*QUBITS), cirq.measure(*QUBITS, key="m")
)
POINTS = cirq.Linspace("theta", 0.1, 3.0, 12)


@pytest.fixture
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer() as server:
        yield server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def jobs_of(server: EmulatorServer) -> list[Job]:
    return asyncio.run(_listed(AzureWorkspace(server.workspace()), lambda w: w.list_jobs()))


def open_sessions_of(server: EmulatorServer) -> list[str]:
    sessions: list[Session] = asyncio.run(
        _listed(AzureWorkspace(server.workspace()), lambda w: w.list_sessions())
    )
    return [session.id for session in sessions if session.is_open]


async def _listed(workspace: AzureWorkspace, listing: Callable[[AzureWorkspace], Any]) -> list[Any]:
    try:
        return [item async for item in listing(workspace)]
    finally:
        await workspace.aclose()


def sweep(server: EmulatorServer, **options: Any) -> Sequence[cirq.Result]:
    with AzureSessionSampler(TARGET, workspace=server.workspace(), **options) as sampler:
        return sampler.run_sweep(CIRCUIT, POINTS, repetitions=100)


# Processes that are killed


def _sweep(address: Address, path: Path, name: str | None) -> Sequence[cirq.Result]:
    with SessionPool(address.workspace(), name=name, journal=path) as pool:
        sampler = AzureSessionSampler(TARGET, pool=pool, seed=7, max_concurrent_jobs=3)
        return sampler.run_sweep(CIRCUIT, POINTS, repetitions=100)


def _loop(address: Address, path: Path, name: str | None) -> Sequence[cirq.Result]:
    """A search whose every step depends on what the steps before it measured."""
    results: list[cirq.Result] = []
    theta = 0.3
    with SessionPool(address.workspace(), name=name, journal=path) as pool:
        sampler = AzureSessionSampler(TARGET, pool=pool)
        for _ in range(8):
            results.append(sampler.run(CIRCUIT, {"theta": theta}, repetitions=50))
            theta += 0.01 * float(results[-1].measurements["m"].sum())
    return results


Program = Callable[[Address, Path, str | None], Sequence[cirq.Result]]


def _child(pipe: Any, program: Program, address: Address, path: Path, name: str | None) -> None:
    pipe.send("begun")
    pipe.send(program(address, path, name))


def _start(program: Program, server: EmulatorServer, path: Path, name: str | None) -> Any:
    address = Address.of(server)
    ours, theirs = PROCESSES.Pipe()
    child = PROCESSES.Process(target=_child, args=(theirs, program, address, path, name))
    child.start()
    theirs.close()
    assert ours.poll(60)
    assert ours.recv() == "begun"
    return child, ours


def _finish(child: Any, pipe: Any) -> Sequence[cirq.Result]:
    assert pipe.poll(60), "the program ends by itself"
    results: Sequence[cirq.Result] = pipe.recv()
    child.join(60)
    assert child.exitcode == 0
    return results


def _run_with_kills(
    program: Program,
    server: EmulatorServer,
    path: Path,
    name: str | None,
    kills: Sequence[float],
    end: signal.Signals = signal.SIGKILL,
) -> Sequence[cirq.Result]:
    """Starts the program again after each kill; `kills` are seconds after the start."""
    for delay in kills:
        child, pipe = _start(program, server, path, name)
        child.join(delay)
        # It may end by itself in between: the fork server reaps it before it reports the end.
        with contextlib.suppress(ProcessLookupError):
            if child.is_alive():
                os.kill(child.pid, end)
        child.join()
        pipe.close()
    return _finish(*_start(program, server, path, name))


@pytest.mark.parametrize(
    ("seed", "name", "end"),
    [
        (0, None, signal.SIGKILL),
        (1, "rehearsal", signal.SIGKILL),
        (2, None, signal.SIGINT),
        (3, "rehearsal", signal.SIGTERM),
    ],
)
def test_a_sweep_that_is_ended_at_any_instant_is_paid_once_and_comes_out_as_if_undisturbed(
    server: EmulatorServer, path: Path, seed: int, name: str | None, end: signal.Signals
):
    server.faults.latency = 0.01
    child = _start(_sweep, server, path.with_name("other.db"), None)
    began = time.monotonic()
    undisturbed = _finish(*child)
    took = time.monotonic() - began
    draw = random.Random(seed)
    kills = [draw.uniform(0.0, took) for _ in range(3)]
    assert _run_with_kills(_sweep, server, path, name, kills, end) == undisturbed
    assert len(jobs_of(server)) == 2 * len(POINTS)
    assert open_sessions_of(server) == []
    with Journal(path) as journal:
        assert journal.summary()["finished"] == len(list(journal.entries())) == len(POINTS)
        assert journal.summary()["sessions_open"] == 0


def test_a_killed_loop_replays_its_jobs_and_continues(server: EmulatorServer, path: Path):
    server.faults.latency = 0.01
    draw = random.Random(0)
    kills = [draw.uniform(0.05, 0.6) for _ in range(3)]
    results = _run_with_kills(_loop, server, path, None, kills)
    assert len(jobs_of(server)) == len(results) == 8
    assert open_sessions_of(server) == []
    requests = server.requests.total
    assert _run_with_kills(_loop, server, path, None, []) == results
    assert server.requests.total == requests


def test_two_processes_on_one_journal_run_jobs_of_their_own(server: EmulatorServer, path: Path):
    children = [_start(_sweep, server, path, None) for _ in range(2)]
    results = [_finish(*child) for child in children]
    assert results[0] == results[1]
    with Journal(path) as journal:
        # One may be over before the other asks, and then they share.
        assert len(POINTS) <= len(list(journal.entries())) <= 2 * len(POINTS)
        assert len(list(journal.entries())) == len(jobs_of(server))
    assert open_sessions_of(server) == []


def _sweep_on_full_disk(
    address: Address, path: Path, name: str | None
) -> Sequence[cirq.Result | None]:
    import resource

    # Room for the schema and a few records.
    resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, 250_000))
    try:
        return _sweep(address, path, name)
    except SweepError as error:
        kinds = {type(failure) for failure in error.failures.values()}
        return error.results if kinds == {JournalError} else []


def test_on_a_full_disk_nothing_is_submitted_that_is_not_recorded(
    server: EmulatorServer, path: Path
):
    partial = _finish(*_start(_sweep_on_full_disk, server, path, None))
    home = [result for result in partial if result is not None]
    assert 0 < len(home) < len(POINTS)
    undisturbed = _finish(*_start(_sweep, server, path, None))
    assert len(jobs_of(server)) == len(POINTS)
    assert [result for result in undisturbed if result in home] == home


# Runs that come back in good order


def test_recorded_results_are_read_without_network(server: EmulatorServer, path: Path):
    first = sweep(server, journal=path)
    requests = server.requests.total
    again = sweep(server, journal=path)
    assert server.requests.total == requests
    assert again == first
    assert [result.job_id for result in again] == [result.job_id for result in first]
    assert again[0].cost == first[0].cost


def test_a_journal_of_the_sampler_covers_its_own_calls_only(server: EmulatorServer, path: Path):
    with SessionPool(server.workspace()) as pool:
        with AzureSessionSampler(TARGET, pool=pool, journal=path) as sampler:
            sampler.run(CIRCUIT, {"theta": 1.0}, repetitions=10)
        AzureSessionSampler(TARGET, pool=pool).run(CIRCUIT, {"theta": 2.0}, repetitions=10)
    with Journal(path) as journal:
        assert journal.summary()["finished"] == 1
        assert list(journal.sessions()) == []


def test_a_journal_of_the_pool_covers_all_of_its_samplers_and_sessions(
    server: EmulatorServer, path: Path
):
    with Journal(path) as journal:
        with SessionPool(server.workspace(), journal=journal) as pool:
            for target in (TARGET, "quantinuum.sim.h2-1e"):
                sampler = AzureSessionSampler(target, pool=pool)
                sampler.run(CIRCUIT, {"theta": 1.0}, repetitions=10)
        assert [entry.target for entry in journal.entries()] == [TARGET, "quantinuum.sim.h2-1e"]
        assert all(session.closed is not None for session in journal.sessions())


def test_other_targets_and_other_angles_are_other_jobs(server: EmulatorServer, path: Path):
    for target, theta in [(TARGET, 1.0), (TARGET, 1.1), ("ionq.qpu.aria-1", 1.0)]:
        with AzureSessionSampler(target, workspace=server.workspace(), journal=path) as sampler:
            sampler.run(CIRCUIT, {"theta": theta}, repetitions=10)
    assert len(jobs_of(server)) == 3


def test_new_names_tags_and_a_longer_sweep_reuse_paid_jobs(server: EmulatorServer, path: Path):
    sweep(server, journal=path)
    with AzureSessionSampler(
        TARGET, workspace=server.workspace(), journal=path, job_name="again", tags=["second"]
    ) as sampler:
        longer = [{"theta": 3.5}, *cirq.to_resolvers(POINTS)]
        assert len(sampler.run_sweep(CIRCUIT, longer, repetitions=100)) == len(longer)
    assert len(jobs_of(server)) == len(longer)


def test_the_same_circuit_requested_twice_is_two_jobs_in_every_run(
    server: EmulatorServer, path: Path
):
    runs = []
    for _ in range(2):
        with AzureSessionSampler(TARGET, workspace=server.workspace(), journal=path) as sampler:
            runs.append(
                [sampler.run(CIRCUIT, {"theta": 1.5}, repetitions=50).job_id for _ in range(3)]
            )
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == len(jobs_of(server)) == 3


def test_local_targets_are_not_journalled(path: Path):
    with Journal(path) as journal:
        with AzureSessionSampler("local.simulator", journal=journal) as sampler:
            sampler.run(CIRCUIT, {"theta": 1.0}, repetitions=10)
        assert list(journal.entries()) == list(journal.sessions()) == []


# Jobs without a result


def test_only_the_points_that_failed_are_submitted_by_the_next_run(
    server: EmulatorServer, path: Path
):
    server.faults.fail_job(code="InternalError", message="Lost.", times=2)
    with pytest.raises(SweepError) as caught:
        sweep(server, journal=path)
    assert {type(error) for error in caught.value.failures.values()} == {JobFailed}
    with Journal(path) as journal:
        assert journal.summary()["failed"] == 2
        failed = [entry for entry in journal.entries() if entry.state == "failed"]
        assert {(entry.code, entry.message) for entry in failed} == {("InternalError", "Lost.")}
    assert None not in sweep(server, journal=path)
    assert len(jobs_of(server)) == len(POINTS) + 2


def test_after_an_error_the_same_call_in_the_same_run_pays_for_what_is_missing_only(
    server: EmulatorServer, path: Path
):
    server.faults.fail_job(times=2)
    with AzureSessionSampler(TARGET, workspace=server.workspace(), journal=path) as sampler:
        with pytest.raises(SweepError) as caught:
            sampler.run_sweep(CIRCUIT, POINTS, repetitions=100)
        results = sampler.run_sweep(CIRCUIT, POINTS, repetitions=100)
        kept = [result for result in caught.value.results if result is not None]
        assert [result for result in results if result in kept] == kept
        assert len(jobs_of(server)) == len(POINTS) + 2
        # What has been returned is used up: asked for again it is run again.
        sampler.run_sweep(CIRCUIT, POINTS, repetitions=100)
        assert len(jobs_of(server)) == 2 * len(POINTS) + 2


def test_stream_resumes_one_that_was_left_early(server: EmulatorServer, path: Path):
    with AzureSessionSampler(
        TARGET, workspace=server.workspace(), journal=path, max_concurrent_jobs=2
    ) as sampler:
        for _ in sampler.stream_sweep(CIRCUIT, POINTS, repetitions=100):
            break
        assert len(dict(sampler.stream_sweep(CIRCUIT, POINTS, repetitions=100))) == len(POINTS)
    assert len(jobs_of(server)) == len(POINTS)


def test_call_after_a_timeout_resumes_its_jobs(server: EmulatorServer, path: Path):
    server.faults.hang_job(times=1)
    with SessionPool(server.workspace(), journal=path, clock=server.clock) as pool:
        hasty = AzureSessionSampler(TARGET, pool=pool, timeout=1.0)
        with pytest.raises(SweepError, match="did not finish within 1 s"):
            hasty.run_sweep(CIRCUIT, POINTS, repetitions=100)
        (stuck,) = [job for job in jobs_of(server) if not job.is_final]
        _cancel(server, stuck.id)
        # It is found cancelled, and another one takes its place.
        patient = AzureSessionSampler(TARGET, pool=pool)
        assert len(patient.run_sweep(CIRCUIT, POINTS, repetitions=100)) == len(POINTS)
    assert len(jobs_of(server)) == len(POINTS) + 1
    with Journal(path) as journal:
        assert journal.summary()["cancelled"] == 1
        assert journal.summary()["finished"] == len(POINTS)


def test_a_job_that_is_cancelled_while_it_is_waited_for_is_an_error_this_time(
    server: EmulatorServer, path: Path
):
    server.faults.cancel_job()
    with pytest.raises(SweepError) as caught:
        sweep(server, journal=path)
    assert isinstance(caught.value.failures[min(caught.value.failures)], JobCancelled)
    sweep(server, journal=path)
    assert len(jobs_of(server)) == len(POINTS) + 1


def test_invalid_result_is_fetched_again_and_not_paid_again(server: EmulatorServer, path: Path):
    server.faults.garble("download")
    with pytest.raises(SweepError) as caught:
        sweep(server, journal=path)
    assert {type(error) for error in caught.value.failures.values()} == {ResultFormatError}
    with Journal(path) as journal:
        assert journal.summary()["unavailable"] == 1
    sweep(server, journal=path)
    assert len(jobs_of(server)) == len(POINTS)


def test_a_result_that_is_missing_is_reported_by_the_journal_and_at_once_by_every_run(
    server: EmulatorServer, path: Path
):
    server.faults.add("download", status=404, times=1)
    with pytest.raises(SweepError) as caught:
        sweep(server, journal=path)
    (missing,) = caught.value.failures.values()
    assert isinstance(missing, ResultNotAvailable)
    for _ in range(2):
        with Journal(path) as journal:
            (told,) = [entry for entry in journal.entries() if entry.state == "unavailable"]
        assert (told.job_id, told.status, told.code) == (
            missing.job_id,
            "Succeeded",
            "ResultNotAvailable",
        )
        assert "its result is missing" in told.message
        server.faults.add("download", status=404, times=1)
        requests = server.requests.total
        with pytest.raises(SweepError) as caught:
            sweep(server, journal=path)
        assert [error.job_id for error in caught.value.failures.values()] == [missing.job_id]
        # The job, a signature, the result that is not there, and nothing else.
        assert server.requests.total <= requests + 4
    assert None not in sweep(server, journal=path)
    assert len(jobs_of(server)) == len(POINTS)


def test_accepted_job_that_is_not_yet_visible_is_not_paid_again(server: EmulatorServer, path: Path):
    server.faults.add("download", status=404, times=1)
    with pytest.raises(SweepError) as caught:
        sweep(server, journal=path)
    (missing,) = caught.value.failures.values()
    assert getattr(missing, "status_code", None) == 404
    assert isinstance(missing, ResultNotAvailable)
    server.faults.add("job", status=404, times=1)
    assert None not in sweep(server, journal=path)
    assert len(jobs_of(server)) == len(POINTS)


def _cancel(server: EmulatorServer, job_id: str) -> None:
    async def cancel() -> None:
        workspace = AzureWorkspace(server.workspace())
        job = await workspace.cancel_job(job_id)
        assert job.status is JobStatus.CANCELLED
        await workspace.aclose()

    asyncio.run(cancel())


# Sessions that dead runs left open


def _leave_sessions_open(address: Address, path: Path, name: str | None) -> Sequence[cirq.Result]:
    pool = SessionPool(address.workspace(), name=name, journal=path)
    pool.session(TARGET)
    os.kill(os.getpid(), signal.SIGKILL)
    return []


def _leave_orphan(server: EmulatorServer, path: Path, name: str | None) -> str:
    child, _ = _start(_leave_sessions_open, server, path, name)
    child.join()
    (orphan,) = open_sessions_of(server)
    return orphan


def test_a_session_that_a_dead_run_left_open_is_closed_when_a_pool_opens_its_first(
    server: EmulatorServer, path: Path
):
    orphan = _leave_orphan(server, path, None)
    told = []
    with SessionPool(server.workspace(), journal=path) as pool:
        pool.subscribe(lambda event: told.append((event.kind, event.session_id)))
        AzureSessionSampler(TARGET, pool=pool).run(CIRCUIT, {"theta": 1.0}, repetitions=10)
        assert pool.session(TARGET).id != orphan
    assert ("closed", orphan) in told
    assert open_sessions_of(server) == []


def test_pool_with_the_name_of_a_dead_run_adopts_and_closes_its_session(
    server: EmulatorServer, path: Path
):
    orphan = _leave_orphan(server, path, "vqe")
    with SessionPool(server.workspace(), name="vqe", journal=path) as pool:
        assert pool.session(TARGET).id == orphan
        assert repr(pool) == "<SessionPool 'vqe': ionq.simulator OPEN>"
    assert open_sessions_of(server) == []


def test_orphans_are_closed_on_request_and_at_the_latest_with_the_pool(
    server: EmulatorServer, path: Path
):
    orphan = _leave_orphan(server, path, "vqe")
    with SessionPool(server.workspace(), name="vqe", journal=path) as pool:
        assert pool.close_orphans() == [orphan]
        assert pool.close_orphans() == []
    _leave_orphan(server, path, "vqe")
    SessionPool(server.workspace(), name="vqe", journal=path).close()
    assert open_sessions_of(server) == []


def test_sessions_of_live_runs_and_of_other_journals_are_not_orphans(
    server: EmulatorServer, path: Path, tmp_path: Path
):
    with SessionPool(server.workspace(), journal=path) as first:
        session = first.session(TARGET)
        for journal in (path, tmp_path / "other.db", None):
            with SessionPool(server.workspace(), journal=journal) as second:
                assert second.close_orphans() == []
        assert open_sessions_of(server) == [session.id]


def test_an_orphan_that_cannot_be_closed_now_stays_an_orphan(
    server: EmulatorServer, path: Path, caplog: pytest.LogCaptureFixture
):
    orphan = _leave_orphan(server, path, None)
    server.faults.add("close", status=403, times=2)
    with SessionPool(server.workspace(), journal=path) as pool:
        assert pool.close_orphans() == []
    assert f"Session {orphan} could not be closed and may still be open" in caplog.text
    SessionPool(server.workspace(), journal=path).close()
    assert open_sessions_of(server) == []


def test_session_recorded_but_never_opened_is_dropped(server: EmulatorServer, path: Path):
    identity = AzureWorkspace(server.workspace()).identity
    with Journal(path) as journal:
        asyncio.run(journal._opening(SessionRequest(str(uuid.uuid4()), TARGET, "never"), identity))
    SessionPool(server.workspace(), journal=path).close()
    with Journal(path) as journal:
        assert journal.summary()["sessions_open"] == 0


# Secrets


def test_no_secret_and_no_program_is_in_the_file(server: EmulatorServer, path: Path):
    secret = cirq.Circuit(cirq.ry(0.123456789)(QUBITS[0]), cirq.measure(*QUBITS, key="m"))
    with Journal(path) as journal:
        with AzureSessionSampler(TARGET, workspace=server.workspace(), journal=journal) as sampler:
            sampler.run(secret, repetitions=10)
        journal.flush()
        text = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"histogram" in text
    for word in (b"sig=", b"sv=", server.key.encode(), b'"circuit"', b"gateset", b"0.1234"):
        assert word not in text
