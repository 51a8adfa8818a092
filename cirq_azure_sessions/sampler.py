"""`AzureSessionSampler`: a `cirq.Sampler` for Azure Quantum and for local simulators."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from typing import TYPE_CHECKING, Any, cast

import cirq

from cirq_azure_sessions import background, upstream
from cirq_azure_sessions.background import Call
from cirq_azure_sessions.costs import CostEstimate, Rates
from cirq_azure_sessions.costs.budget import Budget
from cirq_azure_sessions.costs.pricing import Pricing
from cirq_azure_sessions.errors import AzureSessionsError, ResultFormatError, SweepError
from cirq_azure_sessions.executor import DaemonExecutor
from cirq_azure_sessions.formats import format_for
from cirq_azure_sessions.formats.checks import as_resolvers, as_seeds, as_sweeps
from cirq_azure_sessions.formats.packing import as_pack
from cirq_azure_sessions.formats.translation import JobInput, TranslationOptions, translate_calls
from cirq_azure_sessions.jobs.runner import JobRunner
from cirq_azure_sessions.jobs.sweep import SweepRun
from cirq_azure_sessions.journal import Journal, fingerprinted, open_journal
from cirq_azure_sessions.model import JobRequest
from cirq_azure_sessions.options import as_json, checked
from cirq_azure_sessions.pickling import PickledAsRecipe
from cirq_azure_sessions.results.azure_result import AzureResult
from cirq_azure_sessions.results.html import table
from cirq_azure_sessions.results.stream import ResultStream
from cirq_azure_sessions.results.sweep_results import (
    SweepResults,
    by_circuit,
    error_of_point,
    warn_of_lost_shots,
)
from cirq_azure_sessions.sessions.pool import SessionPool
from cirq_azure_sessions.watch.interruption import interruption_note
from cirq_azure_sessions.watch.progress import SweepProgress

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AzureSessionSampler"]

# Translates for calls that are awaited, whose event loop goes on. In their order: seeds follow it.
_translator = DaemonExecutor(name="cirq-azure-sessions-translation")


class AzureSessionSampler(PickledAsRecipe, cirq.Sampler):
    """Samples circuits on one target, in a session that the pool keeps for it.

    The same calls serve threads, asyncio and duet: `run_sweep`, or
    `await sampler.run_sweep_async(...)` under either.

    Args:
        target: Where circuits run: `local.*` need no account, `local.like:TARGET` has the published
            noise of a target, and everything else is an Azure id such as `ionq.simulator`.
        pool: The sessions to use. Without one the sampler makes a pool, and closes it when it is
            closed or its `with` block is left; on a `local.*` target neither is needed.
        workspace: For the pool that the sampler makes: an `azure.quantum.Workspace` or one of this
            package's workspaces.
        max_concurrent_jobs: The maximum number of jobs in flight.
        timeout: Seconds that one call may take; None for no limit, since queues may be long.
        seed: The seed of samples drawn on the client: `ionq.simulator` and `local.*` targets.
        compile: Whether circuits are compiled to the gates that the target takes.
        job_name: The jobs' name on the service.
        input_params: Provider options, passed on as Azure's `inputParams`.
        tags: The jobs' tags on the service.
        priority: The jobs' priority on the service: `"Standard"` or `"High"`.
        on_error: What to do on failed points: `"raise"` a `SweepError` with all other results, or
            `"return"` None in their place. Calls that cannot return a gap raise in any case.
        on_interrupt: What to do with unfinished jobs if a call is interrupted by Ctrl-C, SIGTERM or
            cancellation: `"leave"` or `"cancel"` them. A note on the exception names them.
        progress: Whether to show a progress bar on stderr, or below a notebook's cell.
        journal: Path of a file that records this sampler's jobs across runs, or a `Journal`: what
            an earlier run submitted is not submitted again. By default the pool's.
        max_cost: The most that the jobs of this sampler may cost together, in the unit of its
            target's rates: dollars on IonQ, credits on Quantinuum. Nothing is submitted that would
            exceed it: the call then ends with a `SweepCostLimit`, whatever `on_error` says. Jobs,
            those of the journal too, count with what the service reports, or else as estimated.
        rates: What jobs cost, instead of the published `known_rates(target)`.
        pack: How many points share a job, side by side on qubits of their own, so that its minimum
            price is paid once: a number; `"auto"`, as many as fit the published number of qubits;
            or the list of the qubits for each point of a job. Results are as without it, but
            neighbours on a machine may disturb each other, and they fail together.
        executor: A `concurrent.futures.Executor` for sweeps on local targets, without pool=.

    Raises:
        UnsupportedTarget: If no available workspace has the target.
        TypeError: If `pool` is not a `SessionPool`.
        ValueError: If an option is not what it must be, options contradict each other, `max_cost`
            is given where it is not known what jobs cost, or `pack` where points share no job.
        JournalError: If the journal cannot be opened.
    """

    @checked()
    def __init__(
        self,
        target: str,
        *,
        pool: SessionPool | None = None,
        workspace: Any = None,
        max_concurrent_jobs: int = 100,
        timeout: float | None = None,
        seed: cirq.RANDOM_STATE_OR_SEED_LIKE = None,
        compile: bool = True,
        job_name: str | None = None,
        input_params: Mapping[str, Any] | None = None,
        tags: Sequence[str] = (),
        priority: str | None = None,
        on_error: str = "raise",
        on_interrupt: str = "leave",
        progress: bool = False,
        journal: Journal | str | os.PathLike[str] | None = None,
        max_cost: float | None = None,
        rates: Rates | None = None,
        pack: int | str | Sequence[Sequence[int]] | None = None,
        executor: Executor | None = None,
    ) -> None:
        if pool is not None and (workspace is not None or executor is not None):
            raise ValueError(
                "workspace= and executor= belong to the pool: pass them to SessionPool(...), "
                "or leave out pool=."
            )
        if pool is not None and not isinstance(pool, SessionPool):
            raise TypeError(
                f"pool must be a SessionPool, not {type(pool).__name__}: "
                "pass a workspace as workspace=, or make a SessionPool(workspace)."
            )
        params = as_json(input_params or {})
        self._timeout = None if timeout is None else float(timeout)
        self._seeds = as_seeds(seed)
        self._is_seeded = seed is not None
        self._target = target
        self._job_name = job_name or "cirq-azure-sessions"
        self._on_error = on_error
        self._shows_progress = progress
        self._owns_pool = pool is None
        if pool is None:
            pool, journal = SessionPool(workspace, executor=executor, journal=journal), None
        self._pool = pool
        self._journal, self._owns_journal = open_journal(journal, pool._clock)
        try:
            self._format = format_for(target)
            self._workspace = pool._router.for_target(target)
            self._format.check_input_params(params)
            self._pricing = Pricing(target, self._format, rates, params)
            budget = Budget.of(max_cost, self._pricing)
            packs = as_pack(pack, self._format, target)
        except BaseException:
            self.close()
            raise
        self._options = TranslationOptions(target, compile, input_params=params, pack=packs)
        self._tags = tuple(tags)
        self._priority = priority
        # What runs on a workspace that ends with its process need not be recorded.
        records = None if self._workspace.identity is None else self._journal or pool._journal
        cancels = on_interrupt == "cancel"
        self._runner = JobRunner(pool, target, max_concurrent_jobs, records, budget, cancels)

    @property
    def target(self) -> str:
        """The target that circuits run on."""
        return self._target

    @property
    def pool(self) -> SessionPool:
        """The pool that runs the jobs."""
        return self._pool

    # Cirq's interface

    def run_sweep(
        self, program: cirq.AbstractCircuit, params: cirq.Sweepable, repetitions: int = 1
    ) -> Sequence[cirq.Result]:
        """Samples the circuit at every point of a sweep, many points at a time.

        Args:
            program: The circuit, with measurements.
            params: The sweep.
            repetitions: Shots for each point.

        Returns:
            One result per point, in the sweep's order; with `on_error="return"`, None for failures.

        Raises:
            UnsupportedProgram, UnsupportedTarget: If the target cannot run it; no job was sent.
            PoolClosed, SessionNotAvailable: If there is no session to run in.
            SweepError: If points failed, with every other result.
            SweepTimeout: If `timeout` ran out, likewise.
            SweepCostLimit: If `max_cost` was reached, likewise.
            QuotaExceeded: If a quota has no room for the sweep; nothing was submitted then.
        """
        [sweep] = self._translate([program], [params], [repetitions])
        with self._one_call([sweep]):
            self._start([sweep]).result()
        return cast(Sequence[cirq.Result], sweep.results)

    async def run_sweep_async(
        self, program: cirq.AbstractCircuit, params: cirq.Sweepable, repetitions: int = 1
    ) -> Sequence[cirq.Result]:
        """`run_sweep` for asyncio and duet."""
        [sweep] = await _translator.call(self._translate, [program], [params], [repetitions])
        with self._one_call([sweep]):
            await self._start([sweep])
        return cast(Sequence[cirq.Result], sweep.results)

    def run_batch(
        self,
        programs: Sequence[cirq.AbstractCircuit],
        params_list: Sequence[cirq.Sweepable] | None = None,
        repetitions: int | Sequence[int] = 1,
    ) -> Sequence[Sequence[cirq.Result]]:
        """Samples many circuits at once, each as `run_sweep` does.

        Everything is translated before the first submission, and one `timeout`, one progress bar
        and one check of quotas serve all circuits.

        Raises:
            SweepError: If points failed: its `results` has one list for each circuit, and its
                `failures` the error of each circuit that failed, by the circuit's index.
        """
        sweeps = self._translate(programs, params_list, repetitions)
        with self._one_call(sweeps, is_batch=True):
            self._start(sweeps).result()
        return by_circuit((each.results, each.circuits) for each in sweeps)

    async def run_batch_async(
        self,
        programs: Sequence[cirq.AbstractCircuit],
        params_list: Sequence[cirq.Sweepable] | None = None,
        repetitions: int | Sequence[int] = 1,
    ) -> Sequence[Sequence[cirq.Result]]:
        """`run_batch` for asyncio and duet."""
        sweeps = await _translator.call(self._translate, programs, params_list, repetitions)
        with self._one_call(sweeps, is_batch=True):
            await self._start(sweeps)
        return by_circuit((each.results, each.circuits) for each in sweeps)

    def run(
        self,
        program: cirq.AbstractCircuit,
        param_resolver: cirq.ParamResolverOrSimilarType = None,
        repetitions: int = 1,
    ) -> cirq.Result:
        """Samples the circuit once; raises the point's own error, whatever `on_error` says."""
        [resolver, *_] = as_resolvers("param_resolver", param_resolver, min_points=1)
        with error_of_point():
            [result] = self._strict().run_sweep(program, resolver, repetitions)
        return result

    async def run_async(
        self,
        program: cirq.AbstractCircuit,
        param_resolver: cirq.ParamResolverOrSimilarType = None,
        repetitions: int = 1,
    ) -> cirq.Result:
        """`run` for asyncio and duet."""
        [resolver, *_] = as_resolvers("param_resolver", param_resolver, min_points=1)
        with error_of_point():
            [result] = await self._strict().run_sweep_async(program, resolver, repetitions)
        return result

    def sample(
        self, program: cirq.AbstractCircuit, *, repetitions: int = 1, params: cirq.Sweepable = None
    ) -> pd.DataFrame:
        """Cirq's `sample`; raises what `run_sweep` does, whatever `on_error` says."""
        sweeps = as_sweeps("params", params)
        return cirq.Sampler.sample(self._strict(), program, repetitions=repetitions, params=sweeps)

    @checked()
    def sample_expectation_values(
        self,
        program: cirq.AbstractCircuit,
        observables: cirq.PauliSumLike | list[cirq.PauliSumLike],
        *,
        num_samples: int,
        params: cirq.Sweepable = None,
        permit_terminal_measurements: bool = False,
    ) -> Sequence[Sequence[float]]:
        """Cirq's `sample_expectation_values`; raises what `run_sweep` does."""
        return cirq.Sampler.sample_expectation_values(
            self._strict(),
            program,
            observables,
            num_samples=num_samples,
            params=as_resolvers("params", params),
            permit_terminal_measurements=permit_terminal_measurements,
        )

    # Beside Cirq's interface

    def stream_sweep(
        self, program: cirq.AbstractCircuit, params: cirq.Sweepable, repetitions: int = 1
    ) -> Iterator[tuple[int, cirq.Result]]:
        """Samples the circuit at every point of a sweep, and yields results as they arrive.

        No more results are held than there may be jobs in flight. Closing it ends the sweep.

        Returns:
            An iterator of points, by their index in the sweep, and their results.

        Raises:
            SweepError: At the end, if points failed; its `results` are None throughout, since the
                others were yielded.
            SweepTimeout: If `timeout` ran out, likewise.
        """
        return self._stream(*self._translate([program], [params], [repetitions]))

    def stream_sweep_async(
        self, program: cirq.AbstractCircuit, params: cirq.Sweepable, repetitions: int = 1
    ) -> AsyncIterator[tuple[int, cirq.Result]]:
        """`stream_sweep` for asyncio and duet: `async for index, result in ...`."""
        begun = _translator.call(self._translate, [program], [params], [repetitions])
        return self._stream_async(begun)

    def get_result(self, job_id: str) -> cirq.Result:
        """The result of a job that was submitted before, by this process or another.

        Waits for the job; what its result means is in its metadata. Values in `params` are those of
        the sweep, but a formula of more than sums, products and powers comes back as its number.

        Raises:
            JobError: If the job failed or was cancelled, or the workspace does not know it.
            JobTimeout: If it did not finish within `timeout`.
            ResultFormatError: If the job was not submitted by this package, or has several points:
                `pool.get_job(job_id).results()` has them all.
        """
        result = self._pool.get_job(job_id).result(self._timeout)
        if not isinstance(result, cirq.Result):
            raise ResultFormatError(
                f"Job {job_id} was not submitted by this package, and has no Cirq result:"
                f" pool.get_job({job_id!r}).result() has it."
            )
        return result

    def estimate_cost(
        self,
        program: cirq.AbstractCircuit,
        params: cirq.Sweepable = None,
        repetitions: int = 1,
        *,
        rates: Rates | None = None,
    ) -> CostEstimate:
        """Estimates the cost of a sweep. Sends nothing.

        Args:
            program: The circuit; what is counted is what it is compiled to.
            params: The sweep.
            repetitions: Shots for each point.
            rates: What jobs cost, instead of the sampler's own rates.

        Returns:
            The estimate, as a whole and by job and point. Its amount is None where it is not known
            what the target charges; as a string it then says which rates to pass.

        Raises:
            UnsupportedProgram: If a point cannot be run on the target.
        """
        pricing = self._pricing if rates is None else Pricing(self._target, self._format, rates)
        return pricing.estimate_call(program, params, repetitions, self._options)

    def close(self) -> None:
        """Closes the pool if the sampler made it; sessions of a shared pool are left open."""
        self.__exit__(None, None, None)

    def __enter__(self) -> AzureSessionSampler:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        if self._owns_pool:
            self._pool.__exit__(*exc_info)
        self._close_journal()

    async def __aenter__(self) -> AzureSessionSampler:
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        if self._owns_pool:
            await self._pool.__aexit__(*exc_info)
        self._close_journal()

    def _close_journal(self) -> None:
        if self._journal is not None and self._owns_journal:
            self._journal.close()

    def __repr__(self) -> str:
        return f"AzureSessionSampler({self._target!r}, pool={self._pool!r})"

    def _repr_html_(self) -> str:
        return table(f"AzureSessionSampler on {self._target}", [], []) + self._pool._repr_html_()

    def _strict(self) -> AzureSessionSampler:
        """This sampler, for calls that cannot return a gap."""
        if self._on_error == "raise":
            return self
        sampler = type(self).__new__(type(self))
        vars(sampler).update(vars(self))
        sampler._on_error = "raise"
        return sampler

    def __reduce__(self) -> tuple[Any, ...]:
        # Not as one object in a process: what a seed gives must not depend on who else draws there.
        if self._runner.budget is not None:
            raise TypeError(
                "A sampler with max_cost cannot be pickled, since each copy could spend the "
                "whole amount: make one in each process, with its share."
            )
        args, options = self._made_with
        options = {**options, "pool": self._pool, "journal": self._journal}
        options = {name: options[name] for name in options.keys() - {"workspace", "executor"}}
        return partial(type(self), *args, **options), ()

    # From circuits to jobs

    def _translate(
        self,
        programs: Sequence[cirq.AbstractCircuit],
        params_list: Sequence[cirq.Sweepable] | None,
        repetitions: Any,
    ) -> list[SweepRun]:
        """Checks and translates everything; fails before any request."""
        self._pool._table.check_open()
        is_split = None if (journal := self._runner.journal) is None else cache(journal._is_mixed)
        call = self._format, programs, params_list, repetitions, self._options, self._seeds
        return [
            SweepRun(
                self._target,
                translation,
                SweepResults(results),
                self._format,
                self._pricing,
                self._is_seeded,
                self._job_request,
                circuits,
            )
            for translation, results, circuits in translate_calls(*call, is_split)
        ]

    def _job_request(self, job_input: JobInput, number: int | None) -> JobRequest:
        """The request for a job; `number` tells the jobs of a sweep apart."""
        request = JobRequest(
            str(uuid.uuid4()),
            self._target,
            self._job_name if number is None else f"{self._job_name}-{number}",
            job_input.payload,
            self._format.input_format,
            self._format.output_format,
            input_params=job_input.input_params,
            metadata=job_input.metadata,
            tags=self._tags,
            priority=self._priority,
            places=job_input.places,
        )
        is_recorded = self._runner.journal is not None
        return fingerprinted(request, self._workspace.identity) if is_recorded else request

    # One call

    def _start(self, sweeps: Sequence[SweepRun]) -> Call[None]:
        """Starts the jobs of a call on the background loop."""
        run = partial(self._runner.run, sweeps, self._timeout)
        return background.loop.start(self._pool._portal.admit, self._pool._calls, run)

    @contextmanager
    def _one_call(self, sweeps: Sequence[SweepRun], *, is_batch: bool = False) -> Iterator[None]:
        """Reports a call's events and progress, and cleans up if it ends early."""
        # An event callback is refused before the call reports events, which would call it again.
        background.loop.check_not_current()
        clock, events, journal = self._pool._clock, self._pool._events, self._runner.journal
        with SweepProgress(self._target) if self._shows_progress else nullcontext() as progress:
            try:
                events.report_sweeps([each.event("started", clock.time()) for each in sweeps])
                for sweep in sweeps:
                    if progress is not None:
                        progress.add_points(len(sweep.results))
                        sweep.progress = progress
                yield
                if errors := dict(e for run in sweeps for e in run.errors(self._on_error, sweeps)):
                    first = errors[min(errors)]
                    if is_batch and isinstance(first, SweepError):
                        results = by_circuit((each.results, each.circuits) for each in sweeps)
                        first = type(first).of("circuits", errors, results)
                    raise first
                events.report_sweeps([each.event("finished", clock.time()) for each in sweeps])
            except BaseException as error:
                is_interrupted = not isinstance(error, AzureSessionsError)
                ends = []
                for sweep in sweeps:
                    sweep.give_back(journal)
                    kind, reason = "failed", type(error).__name__
                    if is_interrupted:
                        # A signal may have come before the call was there to be cancelled.
                        sweep.stop(AzureSessionsError("The call was interrupted: make it again."))
                        kind = "interrupted"
                    elif isinstance(error, SweepError):
                        # In a batch of which some circuits failed, the others have finished.
                        kind = "failed" if sweep.failures else "finished"
                        reason = next((type(e).__name__ for e in sweep.failures.values()), "")
                    ends.append(sweep.event(kind, clock.time(), reason))
                if is_interrupted:
                    note = interruption_note(
                        self._target,
                        [job_id for sweep in sweeps for job_id in sweep.running()],
                        [job_id for sweep in sweeps for job_id in sweep.fetched],
                        cancelled=self._runner.cancels,
                        journal=None if journal is None else journal.path,
                    )
                    if note:
                        upstream.interrupt_reason(error).add_note(note)
                events.report_sweeps(ends)
                raise
            finally:
                if lost := sum(sweep.lost_shots for sweep in sweeps):
                    warn_of_lost_shots(self._target, lost)
        for sweep in sweeps:
            sweep.give_back(journal, kept=sweep.delivered)

    def _stream(self, sweep: SweepRun) -> Iterator[tuple[int, cirq.Result]]:
        with self._one_call([sweep]):
            stream, call = self._start_stream(sweep)
            try:
                while (item := background.loop.run(stream.get)) is not None:
                    yield item
                    call.check_reachable()
                call.result()
            finally:
                call.cancel()

    async def _stream_async(self, begun: Call[Any]) -> AsyncIterator[tuple[int, cirq.Result]]:
        [sweep] = await begun
        with self._one_call([sweep]):
            stream, call = self._start_stream(sweep)
            try:
                while (item := await background.loop.start(stream.get)) is not None:
                    yield item
                    call.check_reachable()
                await call
            finally:
                await call.acancel()

    def _start_stream(self, sweep: SweepRun) -> tuple[ResultStream, Call[None]]:
        # A sweep without jobs has its results already.
        ready = [] if sweep.num_jobs else enumerate(cast(Sequence[AzureResult], sweep.results))
        sweep.stream = stream = ResultStream(self._runner.max_concurrent_jobs, ready)

        async def feed() -> None:
            # The pool may have been closed since the stream was asked for.
            self._pool._table.check_open()
            run = partial(self._runner.run, [sweep], self._timeout)
            await self._pool._portal.admit(self._pool._calls, run)

        return stream, background.loop.start(stream.feed, feed, self._pool._streams)
