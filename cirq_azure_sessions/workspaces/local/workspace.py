"""A workspace in memory: sessions, jobs and timeouts as on the service; programs run locally."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from cirq_azure_sessions.clock import Clock, SystemClock
from cirq_azure_sessions.errors import ServiceError, SessionNotAvailable, UnsupportedTarget
from cirq_azure_sessions.installation import BUILT_IN_TARGETS, check_installed
from cirq_azure_sessions.model import (
    Job,
    JobRequest,
    JobStatus,
    Quota,
    Session,
    SessionRequest,
    TargetStatus,
)
from cirq_azure_sessions.options import checked, shortened
from cirq_azure_sessions.pickling import PickledAsRecipe
from cirq_azure_sessions.spelling import counted, did_you_mean
from cirq_azure_sessions.workspaces.base import JOBS_PER_PAGE
from cirq_azure_sessions.workspaces.filters import ANY, ItemFilter
from cirq_azure_sessions.workspaces.local import callers
from cirq_azure_sessions.workspaces.local.callers import JobThreads, calling_jobs
from cirq_azure_sessions.workspaces.local.live_schedule import REAL_TIME, LiveSchedule
from cirq_azure_sessions.workspaces.local.samplers import (
    LIKE,
    Machine,
    SamplerFactory,
    local_machines,
)
from cirq_azure_sessions.workspaces.local.schedule import Schedule
from cirq_azure_sessions.workspaces.local.state import (
    JobPace,
    JobRecord,
    Ledger,
    Outcome,
    SessionRecord,
)

if TYPE_CHECKING:
    import cirq

__all__ = ["Backend", "LocalWorkspace"]

V = TypeVar("V", Session, Job)

# Runs a job of some target and returns its output; called on a worker thread.
Backend = Callable[[JobRequest], Any]


class LocalWorkspace(PickledAsRecipe):
    """A workspace in memory, with the states and timeouts of the service.

    Sessions and jobs follow the rules in recorded traffic of Azure Quantum. Beyond the recordings:
    the idle timer of a session restarts when a job is accepted or ends, and is stopped while any is
    unfinished; Abort cancels every unfinished job of the session, as documented; a closed session
    accepts no jobs, even while its last ones run; a second request under a known id returns the
    existing item.

    A job's program runs on a worker thread as soon as the job is accepted, and the job finishes
    according to its pace on the clock: the status is a function of the clock and of whether the
    program has finished. Under a manual clock, verbs that report states first give programs that
    are due up to a second of real time to finish, so that instant jobs are instant there too.

    Thread-safe, and may be used from several event loops. It keeps the last 10,000 finished
    jobs and sessions, and the programs and outputs of the last 1,000 jobs that were fetched, so
    that a process may run jobs forever.

    Args:
        samplers: Samplers to run `local.*` targets, besides the built-in `local.simulator`,
            `local.density-matrix`, `local.clifford`, `local.qsim`, `local.stim` and
            `local.like:TARGET` for the targets whose noise is published. Either a sampler, which
            draws from its own generator, or a function that makes one and takes the keyword
            `seed`, such as a simulator's class.
        session_timeout: Seconds without activity after which a session times out.
        clock: The clock; by default the machine's.
        executor: Where to run sweeps of `local.*` targets, split over their points; functions
            among the `samplers` must then be picklable if the executor is one of processes.
        backends: For tests and rehearsals: functions that run the jobs of other targets, by target.
            Each maps a `JobRequest` to the job's output; it is called on several threads, and may
            raise `ProgramError` to choose the code of the failure.
        pace: For tests and rehearsals: a function that gives a job's times on the clock, zero by
            default. It is called with the workspace locked.
        max_jobs: For tests and rehearsals: how many jobs may be unfinished at once, in total or by
            target; further ones are refused with status 429.
    """

    @checked()
    def __init__(
        self,
        samplers: Mapping[str, cirq.Sampler | SamplerFactory] | None = None,
        *,
        session_timeout: float = 600.0,
        clock: Clock | None = None,
        executor: Executor | None = None,
        backends: Mapping[str, Backend] | None = None,
        pace: Callable[[JobRequest], JobPace] | None = None,
        max_jobs: int | Mapping[str, int] | None = None,
    ) -> None:
        self._pace = pace
        self._max_jobs = max_jobs
        self._machines = local_machines(samplers or {}, executor)
        self._uninstalled = BUILT_IN_TARGETS.keys() - (samplers or {}).keys()
        threads = JobThreads((os.cpu_count() or 1) + 4, name="local-backend")
        for target, backend in (backends or {}).items():
            self._machines[target] = partial(_start_backend, threads, backend)
        # State: the schedule of all sessions and jobs.
        self._schedule = Schedule(session_timeout)
        # Guards it: only lookups of an id are done outside `deciding`.
        self._live = LiveSchedule(self._schedule, clock or SystemClock())

    # Sessions.

    @property
    def identity(self) -> None:
        """None: the workspace ends with the process."""
        return None

    @property
    def announces_ends(self) -> bool:
        """True: the jobs run in this process."""
        return True

    def takes(self, target: str) -> bool:
        """Whether the workspace accepts jobs for this target.

        Raises:
            UnsupportedTarget: If it needs a package that is not installed, or unpublished noise.
        """
        if target in self._uninstalled:
            check_installed(target)
        # Messages and logs repeat it as it is.
        return target.isprintable() and self._machine_name(target) in self._machines

    async def open_session(self, request: SessionRequest) -> Session:
        self._machine(request.target)
        with self._live.deciding() as now:
            return self._schedule.open_session(request, now).describe(self._live.epoch, now)

    async def get_session(self, session_id: str) -> Session:
        await self.settle(session_id)
        with self._live.deciding() as now:
            return self._session(session_id).describe(self._live.epoch, now)

    async def close_session(self, session_id: str) -> Session:
        await self.settle(session_id)
        with self._live.deciding() as now:
            session = self._session(session_id)
            session.close(now)
            return session.describe(self._live.epoch, now)

    def list_sessions(self, where: ItemFilter = ANY) -> AsyncIterator[Session]:
        return where.apply(self._newest_first(self.sessions()))

    def sessions(self) -> Sequence[Session]:
        """All sessions in order of creation: a view with cheap slices."""
        return self._live.view(self._schedule.session_order)

    # Jobs.

    async def store_input(self, request: JobRequest) -> None:
        """Does nothing: the request keeps its program."""

    async def submit_job(self, request: JobRequest, stored: Any = None) -> Job:
        machine = self._machine(request.target)
        callers.wait_for(request.id, (self, request.target))
        if request.session_id is not None:
            session = self._session(request.session_id)
            await self._live.notice_idleness(session.ledger)
        with self._live.deciding() as now:
            known = self._schedule.jobs.get(request.id)
            job = known or self._accept(request, now)
            answer = job.describe(self._live.epoch, now)
        if known is not None:
            return answer
        self._start(job, machine)
        # However fast the job is, it had not begun when it was accepted.
        return replace(answer, status=JobStatus.WAITING, begin_time=None)

    async def get_job(self, job_id: str, *, wait: float = 0.0) -> Job:
        job = self._job(job_id)
        ledger = self._schedule.ledgers(job)[-1]
        if wait > 0:
            await self._live.wait_for_news(
                ledger, lambda: job.final is not None, lambda: job.is_late, wait
            )
        else:
            await self._live.let_finish(ledger, lambda: job.is_late)
        with self._live.deciding() as now:
            return job.describe(self._live.epoch, now)

    async def list_session_jobs(
        self,
        session_id: str,
        *,
        skip: int = 0,
        top: int = JOBS_PER_PAGE,
        wait: float = 0.0,
        until: Collection[str] = (),
    ) -> Sequence[Job]:
        ledger = self._session(session_id).ledger
        if wait > 0:
            await self._live.wait_for_news(
                ledger, self._news(ledger, until), lambda: ledger.is_late, wait
            )
        else:
            await self._live.let_finish(ledger, lambda: ledger.is_late)
        with self._live.deciding() as now:
            end = max(len(ledger.jobs) - skip, 0)
            page = ledger.jobs[max(end - top, 0) : end]
            return [job.describe(self._live.epoch, now) for job in reversed(page)]

    def _news(self, ledger: Ledger, until: Collection[str]) -> Callable[[], bool]:
        """A check for whether one of these jobs has finished; without ids, any job from now on."""
        if not until:
            known = ledger.ended
            return lambda: ledger.ended > known
        # Unfinished jobs are in the ledger; deleted jobs do not come back.
        return lambda: not all(job_id in ledger.unfinished for job_id in until)

    def list_jobs(
        self, where: ItemFilter = ANY, *, session_id: str | None = None
    ) -> AsyncIterator[Job]:
        return where.apply(self._newest_first(self.jobs(session_id)))

    @checked()
    def jobs(self, session_id: str | None = None) -> Sequence[Job]:
        """The jobs of a session, or all, in order of creation: also a view.

        Unlike the verbs of the port it does not wait for programs that are due: call
        `await settle()` first.
        """
        return self._live.view(self._ledger(session_id).jobs)

    async def cancel_job(self, job_id: str) -> Job:
        with self._live.deciding() as now:
            job = self._job(job_id)
            self._schedule.cancel(job, now)
            return job.describe(self._live.epoch, now)

    async def update_job(
        self,
        job_id: str,
        *,
        name: str | None = None,
        tags: Sequence[str] | None = None,
        priority: str | None = None,
    ) -> Job:
        changes: dict[str, Any] = {"name": name, "priority": priority}
        changes["tags"] = None if tags is None else tuple(tags)
        with self._live.deciding() as now:
            job = self._job(job_id)
            job.change(**{field: value for field, value in changes.items() if value is not None})
            return job.describe(self._live.epoch, now)

    async def delete_job(self, job_id: str) -> None:
        with self._live.deciding() as now:
            job = self._job(job_id)
            self._schedule.cancel(job, now)
            self._schedule.remove(job)

    async def fetch_output(self, job: Job, stored: Any = None) -> Any:
        with self._live.deciding():
            record = self._job(job.id)
            has_result = record.final is not None and record.final.has_result
            if not has_result or record.is_forgotten or record.outcome is None:
                raise ServiceError(
                    f"Job {job.id} has no result to fetch, or it was dropped.", status_code=404
                )
            self._schedule.note_fetched(record)
            return record.outcome.output

    @checked()
    def forget_output(self, job_id: str) -> None:
        """Drops the program of a finished job, and its output or exception, to save memory."""
        with self._live.deciding():
            job = self._job(job_id)
            if job.final is not None:
                self._schedule.forget_output(job)

    # The workspace.

    async def list_targets(self, *, retries: bool = True) -> Sequence[TargetStatus]:
        return [TargetStatus(id=target, provider=target.split(".")[0]) for target in self.targets]

    async def list_quotas(self) -> Sequence[Quota]:
        return []

    async def aclose(self) -> None:
        """Does nothing: worker threads end when their work is done."""

    @checked()
    async def settle(self, session_id: str | None = None) -> None:
        """Gives programs that are due by the clock a moment of real time to finish.

        Args:
            session_id: The session of the jobs, or None for all jobs.
        """
        ledger = self._ledger(session_id)
        await self._live.let_finish(ledger, lambda: ledger.is_late)

    def __repr__(self) -> str:
        with self._live.deciding() as now:
            sessions = Counter(session.status for session in self._schedule.session_order)
            jobs = Counter(job.status(now) for job in self._schedule.ledger.jobs)
        return f"LocalWorkspace({_count('session', sessions)}; {_count('job', jobs)})"

    # Lookups.

    def _machine(self, target: str) -> Machine:
        name = self._machine_name(target)
        if name not in self._machines:
            names = self.targets
            raise UnsupportedTarget(
                f"This workspace has no target {target!r}: use one of {', '.join(names)}."
                f"{did_you_mean(target, names)}"
            )
        if target in self._uninstalled:
            check_installed(target)
        return self._machines[name]

    def _machine_name(self, target: str) -> str:
        """The key of the target's machine: a single one serves all of `local.like:`.

        Raises:
            UnsupportedTarget: If the noise it names is not published.
        """
        if not target.startswith(LIKE) or (target in self._machines and target != LIKE):
            return target
        # Imported here, as elsewhere, so that this module does not load cirq.
        from cirq_azure_sessions.noise import published_noise

        published_noise(target.removeprefix(LIKE))
        return LIKE

    @property
    def targets(self) -> Sequence[str]:
        """The ids of all targets, including those whose packages are not installed."""
        from cirq_azure_sessions.noise import published_targets

        like = {LIKE + target for target in published_targets()}
        return sorted(like.union(self._machines) - {LIKE})

    def _session(self, session_id: str) -> SessionRecord:
        try:
            return self._schedule.sessions[session_id]
        except KeyError:
            raise ServiceError(
                f"There is no session {shortened(session_id)}.", status_code=404
            ) from None

    def _ledger(self, session_id: str | None) -> Ledger:
        """The jobs of a session, or all."""
        return self._schedule.ledger if session_id is None else self._session(session_id).ledger

    def _job(self, job_id: str) -> JobRecord:
        try:
            return self._schedule.jobs[job_id]
        except KeyError:
            raise ServiceError(f"There is no job {shortened(job_id)}.", status_code=404) from None

    # Decisions, and their effects.

    def _accept(self, request: JobRequest, now: float) -> JobRecord:
        session = None if request.session_id is None else self._session(request.session_id)
        if session is not None and not session.takes_jobs:
            raise SessionNotAvailable(
                f"Session {request.session_id} has ended: submit the job in a new one.",
                session_id=request.session_id,
            )
        self._check_limits(request.target)
        pace = self._pace(request) if self._pace else JobPace()
        return self._schedule.accept(request, pace, session, now, started=REAL_TIME.monotonic())

    def _calling_jobs(self) -> list[JobRequest]:
        return [job for job in calling_jobs() if job.id in self._schedule.jobs]

    def _check_limits(self, target: str) -> None:
        # The limits do not count jobs within a job, for which it waits.
        if self._max_jobs is None or self._calling_jobs():
            return
        if isinstance(self._max_jobs, Mapping):
            count, limit = self._schedule.unfinished[target], self._max_jobs.get(target, math.inf)
        else:
            count, limit = len(self._schedule.ledger.unfinished), self._max_jobs
        if count >= limit:
            jobs = "1 job is" if count == 1 else f"{count} jobs are"
            raise ServiceError(
                f"{jobs} unfinished: wait until some of them finish, then submit again.",
                status_code=429,
                code="TooManyRequests",
            )

    def _start(self, job: JobRecord, machine: Machine) -> None:
        """Runs the job's program."""
        callers.begin(job.request.id, (self, job.request.target))
        try:
            run = machine(job.request)
        except Exception as error:
            run = Future()
            run.set_exception(error)
        job.run = run
        run.add_done_callback(partial(self._finish, job))
        if job.final is not None:
            # It ended before there was a program to drop, most likely by a cancellation.
            job.run = None
            run.cancel()

    def _finish(self, job: JobRecord, run: Future[Any]) -> None:
        """Records that the program has finished; called on the thread that ran it."""
        callers.end(job.request.id)
        if run.cancelled():
            return
        outcome = self._outcome(job.request, run)
        with self._live.deciding() as now:
            duration = REAL_TIME.monotonic() - job.started
            self._schedule.resolve(job, outcome, now, duration)

    def _outcome(self, request: JobRequest, run: Future[Any]) -> Outcome:
        """The outcome of a job's program."""
        return Outcome.of(run)

    async def _newest_first(self, view: Sequence[V]) -> AsyncIterator[V]:
        await self.settle()
        end = len(view)
        while end > 0:
            start = max(end - JOBS_PER_PAGE, 0)
            for value in reversed(view[start:end]):
                yield value
            end = start


def _start_backend(threads: JobThreads, run: Backend, request: JobRequest) -> Future[Any]:
    return threads.submit(request, run, request)


def _count(noun: str, states: Counter[Any]) -> str:
    """A count such as `3 jobs: 1 Executing, 2 Succeeded`."""
    total = sum(states.values())
    parts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return counted(total, noun) + (f": {parts}" if parts else "")
