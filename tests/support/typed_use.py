"""What a program that uses the package looks like to a type checker; see `test_typing.py`.

It is checked and not run. `assert_type` says what the checkers must find out by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import assert_type

import cirq
import numpy as np

import cirq_azure_sessions
from cirq_azure_sessions import (
    AzureResult,
    AzureSessionSampler,
    AzureSessionsError,
    AzureWorkspace,
    CostEstimate,
    JobError,
    JobEvent,
    JobFailed,
    JobHandle,
    JobTimeout,
    Journal,
    LocalWorkspace,
    ManualClock,
    PoolTimeout,
    Rates,
    ServiceError,
    SessionEvent,
    SessionHandle,
    SessionPool,
    SweepError,
    SweepEvent,
    SweepTimeout,
    SystemClock,
    UnsupportedProgram,
    estimate_cost,
)
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.watch import telemetry


def sample(circuit: cirq.Circuit, sweep: cirq.Sweep) -> Sequence[cirq.Result]:
    with AzureSessionSampler("local.simulator", seed=1, progress=True) as sampler:
        assert_type(sampler, AzureSessionSampler)
        assert_type(sampler.run(circuit, repetitions=10), cirq.Result)
        assert_type(sampler.target, str)
        assert_type(sampler.pool, SessionPool)
        assert_type(sampler.get_result("id"), cirq.Result)
        assert_type(sampler.stream_sweep(circuit, sweep, 10), Iterator[tuple[int, cirq.Result]])
        return sampler.run_sweep(circuit, sweep, 10)


def takes_any_sampler(sampler: cirq.Sampler) -> None:
    assert isinstance(sampler, cirq.Sampler)


def look_at(result: AzureResult) -> None:
    assert_type(result.job_id, str | None)
    assert_type(result.job_ids, tuple[str, ...])
    assert_type(result.session_id, str | None)
    assert_type(result.target, str)
    assert_type(result.lost_shots, int)
    # Every result of this package is also Cirq's.
    plain: cirq.ResultDict = result
    assert plain.records["m"].dtype == np.uint8


def keep_sessions(local: LocalWorkspace, azure: AzureWorkspace) -> None:
    for workspace in (local, azure, None):
        with SessionPool(workspace, name="mine", max_idle=300, journal="run.journal") as pool:
            assert_type(pool, SessionPool)
            session = pool.session("local.simulator")
            assert_type(session, SessionHandle)
            assert_type((session.id, session.target, session.name), tuple[str, str, str])
            assert_type(pool.sessions(), Sequence[SessionHandle])
            assert_type(pool.get_stats(), dict[str, float])
            takes_any_sampler(AzureSessionSampler("local.simulator", pool=pool))


def look_after(pool: SessionPool) -> None:
    for session in pool.list_sessions(target="ionq.*", max_age=3600):
        assert_type(session, SessionHandle)
        assert_type(session.refresh().wait(), SessionHandle)
    job = pool.get_job("id")
    assert_type(job, JobHandle)
    assert_type(job.status.is_final, bool)
    assert_type(pool.attach("id"), SessionHandle)


def count_the_cost(circuit: cirq.Circuit, sampler: AzureSessionSampler) -> float | None:
    estimate = estimate_cost(
        "ionq.qpu.aria-1", circuit, None, 500, rates=Rates(unit="EUR", per_job=1.0)
    )
    assert_type(estimate, CostEstimate)
    assert_type(sampler.estimate_cost(circuit, None, 500), CostEstimate)
    return estimate.amount


def follow(pool: SessionPool) -> Callable[[], None]:
    def show(event: SessionEvent | JobEvent | SweepEvent) -> None:
        assert_type(event.kind, str)
        assert_type(event.target, str)
        assert_type(event.time, float)
        assert_type(event.cost, float | None)
        if event.subject == "sweep":
            assert_type(event, SweepEvent)
            assert_type(event.jobs, int)

    assert_type(telemetry.instrument(pool), Callable[[], None])
    return pool.subscribe(show)


def rehearse(clock: ManualClock | SystemClock) -> None:
    assert_type(clock.time(), float)
    with EmulatorServer(clock=ManualClock(), seed=1) as server:
        assert_type(server, EmulatorServer)
        assert_type(server.endpoint, str)
        server.clock.advance(600)
        server.faults.add("submit", status=503, times=2)
        with Journal("run.journal") as journal, SessionPool(server.workspace(), journal=journal):
            pass


def handle(work: Callable[[], None]) -> str:
    try:
        work()
    except SweepTimeout as error:
        timeout: TimeoutError = error
        return str(timeout)
    except SweepError as error:
        assert_type(error.failures, dict[int, Exception])
        assert_type(error.results, list[cirq.Result | None])
    except JobFailed as error:
        assert_type(error.code, str)
    except (JobTimeout, PoolTimeout) as error:
        return str(error)
    except JobError as error:
        assert_type((error.job_id, error.status), tuple[str, str])
    except ServiceError as error:
        assert_type(error.status_code, int | None)
    except UnsupportedProgram as error:
        wrong: ValueError = error
        return str(wrong)
    except AzureSessionsError as error:
        return str(error)
    return ""


names: list[str] = cirq_azure_sessions.__all__
