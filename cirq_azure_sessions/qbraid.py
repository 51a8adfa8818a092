"""A provider for qBraid, and with it for metriq-gym: `load_provider("azure-sessions")`.

Its devices are the targets of a workspace. All jobs of a process on one device run in one session,
which later processes join while it is open.
"""

from __future__ import annotations

import functools
import operator
import os
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import cirq
import numpy as np
from cachetools import TTLCache, cachedmethod
from qbraid.programs import ExperimentType, ProgramSpec
from qbraid.runtime import (
    DeviceStatus,
    GateModelResultData,
    JobStatus,
    QuantumDevice,
    QuantumJob,
    QuantumProvider,
    Result,
    TargetProfile,
)

from cirq_azure_sessions import model, process
from cirq_azure_sessions.errors import UnsupportedProgram, UnsupportedTarget
from cirq_azure_sessions.model import Job, TargetStatus
from cirq_azure_sessions.sampler import AzureSessionSampler
from cirq_azure_sessions.sessions.handles import JobHandle
from cirq_azure_sessions.sessions.pool import SessionPool
from cirq_azure_sessions.spelling import did_you_mean
from cirq_azure_sessions.workspaces.filters import ItemFilter

__all__ = ["AzureSessionsDevice", "AzureSessionsJob", "AzureSessionsProvider"]

# The number of programs of a list that are submitted at the same time.
_MAX_SUBMISSIONS = 16

# The seconds for which a list of a session's jobs is cached; the number of newest jobs to request,
# which is one page of the service; and the number of jobs to cache.
_LIFETIME = 1.0
_MAX_LISTED = 100
_MAX_RECENT = 10_000

_JOB_STATUSES = {
    model.JobStatus.QUEUED: JobStatus.QUEUED,
    model.JobStatus.WAITING: JobStatus.QUEUED,
    model.JobStatus.EXECUTING: JobStatus.RUNNING,
    model.JobStatus.FINISHING: JobStatus.RUNNING,
    model.JobStatus.CANCELLATION_REQUESTED: JobStatus.CANCELLING,
    model.JobStatus.CANCELLING: JobStatus.CANCELLING,
    model.JobStatus.COMPLETED: JobStatus.COMPLETED,
    model.JobStatus.SUCCEEDED: JobStatus.COMPLETED,
    model.JobStatus.FAILED: JobStatus.FAILED,
    model.JobStatus.CANCELLED: JobStatus.CANCELLED,
}


@functools.cache
def _pool_of_environment(process_id: int) -> SessionPool:
    """This process's pool on the workspace or emulator that the environment names."""
    # Imported here so that local targets do not load the SDK.
    from cirq_azure_sessions.workspaces.azure.connect import connect

    endpoint = os.environ.get("CIRQ_AZURE_SESSIONS_EMULATOR")
    key = os.environ.get("CIRQ_AZURE_SESSIONS_EMULATOR_KEY")
    pool = SessionPool(connect(endpoint=endpoint, key=key), name="qbraid-azure-sessions")
    # At exit it also closes its connections, even if it opened no session.
    process.hold(pool)
    return pool


class AzureSessionsProvider(QuantumProvider):
    """The targets of a workspace as qBraid devices.

    Args:
        pool: The pool that runs the jobs. The default is a pool on the workspace named by the
            environment variables of the command line. It is closed when the process ends; its jobs
            continue.
    """

    def __init__(self, pool: SessionPool | None = None) -> None:
        self.pool: SessionPool = pool or _pool_of_environment(os.getpid())

    def get_device(self, device_id: str) -> AzureSessionsDevice:
        """The device for a target.

        Raises:
            UnsupportedTarget: If the workspace does not list it.
            ServiceError: If the service does not list its targets.
        """
        devices = {device.id: device for device in self.get_devices()}
        if device_id not in devices:
            raise UnsupportedTarget(
                f"This workspace has no target {device_id!r}: `cirq-azure-sessions targets` "
                f"lists its targets.{did_you_mean(device_id, devices)}"
            )
        return devices[device_id]

    def get_devices(self, **kwargs: Any) -> list[AzureSessionsDevice]:
        """The devices for all targets that the workspace lists."""
        return [AzureSessionsDevice(target, self.pool) for target in _list_targets(self.pool)]


def _list_targets(pool: SessionPool) -> Sequence[TargetStatus]:
    workspace = pool._given or pool._router.for_target("local.simulator")
    return pool._portal.run(workspace.list_targets)


class AzureSessionsDevice(QuantumDevice):
    """A target as a qBraid device; programs in other languages are converted to Cirq circuits."""

    def __init__(self, target: TargetStatus, pool: SessionPool) -> None:
        profile = TargetProfile(
            device_id=target.id,
            simulator="sim" in target.id,
            experiment_type=ExperimentType.GATE_MODEL,
            num_qubits=target.num_qubits,
            program_spec=ProgramSpec(cirq.Circuit, alias="cirq"),
            provider_name="Azure Quantum",
        )
        super().__init__(profile=profile)
        self._pool = pool
        self._descriptions: TTLCache[Any, TargetStatus] = TTLCache(
            1, _LIFETIME, pool._clock.monotonic
        )

    def status(self) -> DeviceStatus:
        """Whether the target accepts jobs; at most a second old."""
        is_online = self._described().availability == "Available"
        return DeviceStatus.ONLINE if is_online else DeviceStatus.UNAVAILABLE

    def avg_queue_time(self) -> int:
        """The average seconds in the target's queue, as reported by the service."""
        return round(self._described().average_queue_time)

    @cachedmethod(operator.attrgetter("_descriptions"))
    def _described(self) -> TargetStatus:
        """The target's status; at most a second old.

        qBraid's `run` checks for each circuit of a list whether the device is online.
        """
        return next(each for each in _list_targets(self._pool) if each.id == self.id)

    def submit(
        self, run_input: cirq.Circuit | list[cirq.Circuit], shots: int = 1000, **options: Any
    ) -> AzureSessionsJob | list[AzureSessionsJob]:
        """Submits circuits without waiting for them.

        Args:
            run_input: A circuit or a list of circuits.
            shots: The repetitions of each circuit.
            options: Further options of an `AzureSessionSampler`, such as `input_params`.

        Raises:
            UnsupportedProgram: If a circuit cannot be run on the target; nothing is submitted then.
            ServiceError, SessionNotAvailable: If the service does not accept a circuit.
        """
        sampler = AzureSessionSampler(self.id, pool=self._pool, **options)
        is_list = isinstance(run_input, list)
        circuits: list[cirq.Circuit] = run_input if isinstance(run_input, list) else [run_input]
        sweeps = sampler._translate(circuits, None, shots)
        if any(sweep.num_jobs != 1 for sweep in sweeps):
            raise UnsupportedProgram(f"{self.id} does not take {shots} shots in one job.")
        workspace, portal = sampler._workspace, self._pool._portal

        def send(sweep: Any) -> AzureSessionsJob:
            (run,) = sweep.jobs()
            stored = portal.run(workspace.store_input, run.request)

            def send_in(session_id: str) -> Job:
                request = replace(run.request, session_id=session_id)
                return portal.run(workspace.submit_job, request, stored)

            job = self._pool._hosts.submit(self.id, send_in)
            return AzureSessionsJob(job.id, device=self, pool=self._pool)

        with ThreadPoolExecutor(_MAX_SUBMISSIONS) as threads:
            jobs = list(threads.map(send, sweeps))
        return jobs if is_list else jobs[0]


class AzureSessionsJob(QuantumJob):
    """A job of a workspace as a qBraid job, whichever process submitted it.

    Args:
        job_id: Its id on the service.
        device: The device that it runs on.
        pool: As for `AzureSessionsProvider`.
    """

    def __init__(
        self,
        job_id: str,
        device: AzureSessionsDevice | None = None,
        pool: SessionPool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(job_id=job_id, device=device, **kwargs)
        self._pool = pool or _pool_of_environment(os.getpid())
        # State: the job as last requested. A finished one does not change.
        self._job: JobHandle | None = None

    def status(self) -> JobStatus:
        """The job's status; at most a second old.

        If the statuses of several jobs of a session are read together, one request is enough.
        """
        job = self._described()
        # The pool counts a job as finished when the program has seen it finish.
        self._pool._hosts.saw(job._item)
        return _JOB_STATUSES[job.status]

    def result(self) -> Result[GateModelResultData]:
        """Waits for the job and returns its counts; the first qubit is the last bit of an outcome.

        Raises:
            JobError: If the job failed or was cancelled.
        """
        job = self._described()
        found = job.result()
        keys = sorted(found.measurements, key=_natural)
        bits = np.hstack([found.measurements[key] for key in keys])
        counts = Counter("".join(map(str, row)) for row in bits[:, ::-1].astype(int))
        data = GateModelResultData(measurement_counts=dict(counts))
        return Result(device_id=job.target, job_id=job.id, success=True, data=data)

    def cancel(self) -> None:
        """Asks the service to cancel the job."""
        with _lock:
            for _, listed in _recent.values():
                listed.pop(str(self.id), None)
        self._pool.get_job(str(self.id)).cancel()

    def _described(self) -> JobHandle:
        if self._job is None or not self._job.is_final:
            self._job = _look_up(self._pool, str(self.id))
        return self._job


# State, by pool: for each session, the job that was requested last, and the jobs that were listed
# with it, each of which is returned once.
_recent: WeakKeyDictionary[SessionPool, tuple[TTLCache[str, str], TTLCache[str, JobHandle]]] = (
    WeakKeyDictionary()
)
# Guards it. Never held during a request.
_lock = Lock()


def _look_up(pool: SessionPool, job_id: str) -> JobHandle:
    """Reads a job from the service, alone or together with the newest jobs of its session."""
    with _lock:
        if pool not in _recent:
            timer = pool._clock.monotonic
            _recent[pool] = (
                TTLCache(_MAX_RECENT, _LIFETIME, timer),
                TTLCache(_MAX_RECENT, _LIFETIME, timer),
            )
        asked, listed = _recent[pool]
        if found := listed.pop(job_id, None):
            return found
    job = pool.get_job(job_id)
    session_id = job.session_id
    if session_id is None:
        return job
    with _lock:
        is_among_others = asked.get(session_id, job_id) != job_id
        asked[session_id] = job_id
    if is_among_others:
        where = ItemFilter(limit=_MAX_LISTED)

        async def collect() -> list[Job]:
            return [each async for each in job._workspace.list_jobs(where, session_id=session_id)]

        others = pool._portal.run(collect)
        with _lock:
            listed.update((each.id, JobHandle(each, job._workspace, pool)) for each in others)
            listed.pop(job_id, None)
    return job


def _natural(key: str) -> list[int | str]:
    """Sorts `c_10` after `c_9`: circuits that Cirq reads from OpenQASM have a key per bit."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", key)]
