"""A `cirq.Sampler` whose circuits run on Azure Quantum, or on this machine."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import aclosing, suppress
from typing import Any

import cirq
from duet.futuretools import AwaitableFuture

from cirq_azure_sessions.calls import Calls
from cirq_azure_sessions.checks import (
    check_call,
    check_choice,
    check_labels,
    check_limits,
    check_pool,
    check_seed,
)
from cirq_azure_sessions.clock import within
from cirq_azure_sessions.costs import CostEstimate, Rates, estimate_cost
from cirq_azure_sessions.costs.budget import Budget
from cirq_azure_sessions.costs.pricing import Pricing
from cirq_azure_sessions.errors import PoolClosed
from cirq_azure_sessions.formats import format_for
from cirq_azure_sessions.formats.translation import TranslationOptions
from cirq_azure_sessions.job_batch import Delivery, JobBatch
from cirq_azure_sessions.jobs import JobRunner
from cirq_azure_sessions.journal import Journal, open_journal
from cirq_azure_sessions.results.azure_result import AzureResult
from cirq_azure_sessions.results.sweep_results import SweepResults
from cirq_azure_sessions.session_pool import SessionPool
from cirq_azure_sessions.sweep import JobLabels, Sweep

__all__ = ["AzureSessionSampler"]

_DEFAULT_NAME = "cirq-azure-sessions"


class AzureSessionSampler(cirq.Sampler):
    """Samples circuits on one target, in a session that the pool keeps for it.

    Args:
        target: Where circuits run: `local.simulator` and other `local.*` targets need no account,
            everything else is an Azure target id such as `ionq.simulator`.
        pool: The sessions to use. Without one the sampler makes and owns a pool; close the sampler,
            or use it as a context manager, to close that pool's sessions.
        workspace: For the pool that the sampler makes: an `azure.quantum.Workspace` or one of this
            package's workspaces.
        max_concurrent_jobs: The most jobs in flight at a time.
        timeout: Seconds that one call may take; None for no limit, since queues may be long.
        seed: Where the client draws the samples (on `ionq.simulator` and local targets), what they
            are drawn from.
        compile: Whether circuits are compiled to the gates that the target takes.
        job_name: The name of the jobs on the service.
        input_params: Provider options, passed on as Azure's `inputParams`.
        tags: Tags for the jobs on the service.
        priority: The jobs' priority on the service: `"Standard"` or `"High"`.
        on_error: What a failed point does: `"raise"` a `SweepError` that carries all results that
            came home, or `"return"` None in its place.
        on_interrupt: What becomes of jobs that still run when a call is interrupted, by Ctrl-C,
            SIGTERM or cancellation: `"leave"` them, or `"cancel"` them. The exception has a note
            that names them.
        progress: Whether to show a progress bar on stderr, or as a widget in a notebook: the jobs
            that are done, submitted, queued, running and failed, the session, and the time left.
        journal: Path of a file that remembers this sampler's jobs across runs, or a `Journal`: what
            an earlier run brought home is read from it, and what that run submitted is waited for
            and not submitted again. By default the pool's.
        max_cost: The most that the jobs of this sampler may cost together, in the unit of its
            target's rates: dollars on IonQ, credits on Quantinuum. Nothing is submitted that would
            pass it: the call then ends with a `SweepCostLimit`, whatever `on_error` says. Jobs
            count with what the service reports, or else with their estimates; so do those of an
            earlier run that the journal brings back.
        rates: What jobs cost, instead of the published `known_rates(target)`.
        executor: For the pool that the sampler makes: a `concurrent.futures.Executor` over which
            sweeps on local targets are split.

    Raises:
        UnsupportedTarget: If no workspace at hand knows the target.
        TypeError: If the pool is none.
        ValueError: If the options contradict each other, or `max_cost` is given where it is not
            known what jobs cost.
        JournalError: If the journal cannot be opened.
    """

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
        executor: Executor | None = None,
    ) -> None:
        if pool is not None and (workspace is not None or executor is not None):
            raise ValueError(
                "workspace= and executor= belong to the pool: give them to SessionPool(...), "
                "or leave out pool=."
            )
        check_limits(max_concurrent_jobs, timeout)
        check_labels(job_name, tags, input_params or {})
        check_choice("on_error", on_error, "raise", "return")
        check_choice("on_interrupt", on_interrupt, "leave", "cancel")
        if priority is not None:
            check_choice("priority", priority, "Standard", "High")
        seed = check_seed(seed)
        self._random_state = None if seed is None else cirq.value.parse_random_state(seed)
        self._target = target
        self._owns_pool = pool is None
        if pool is None:
            self._pool = SessionPool(workspace, executor=executor, journal=journal)
            journal = None
        else:
            check_pool(pool)
            self._pool = pool
        self._journal, self._owns_journal = open_journal(journal, self._pool.clock)
        try:
            self._pool.workspace_for(target)
            self._format = format_for(target)
            self._pricing = Pricing(target, self._format, rates, input_params)
            self._budget = Budget.of(max_cost, self._pricing)
        except BaseException:
            self.close()
            raise
        journal = self._journal or self._pool.journal
        self._runner = JobRunner(self._pool, target, max_concurrent_jobs, journal, self._budget)
        self._timeout = timeout
        self._seed = seed if isinstance(seed, int) else None
        self._numbers = itertools.count()
        self._compile = compile
        self._labels = JobLabels(
            target,
            job_name or _DEFAULT_NAME,
            tuple(tags),
            priority,
            None if journal is None else self._pool.workspace_for(target).identity,
        )
        self._input_params = dict(input_params or {})
        self._on_error = on_error
        self._calls = Calls(
            self._pool,
            target,
            self._runner,
            shows_progress=progress,
            cancels=on_interrupt == "cancel",
            is_journalled=self._labels.workspace is not None,
        )

    @property
    def target(self) -> str:
        """The target that circuits run on."""
        return self._target

    @property
    def pool(self) -> SessionPool:
        """The sessions that jobs go in."""
        return self._pool

    # cirq's interface

    async def run_sweep_async(
        self, program: cirq.AbstractCircuit, params: cirq.Sweepable, repetitions: int = 1
    ) -> Sequence[cirq.Result]:
        """Samples the circuit at every point of a sweep, many points at a time.

        Args:
            program: The circuit, with measurements.
            params: The sweep.
            repetitions: How often to sample each point.

        Returns:
            One result a point, in the order of the sweep; with `on_error="return"`, None where a
            point failed.

        Raises:
            UnsupportedProgram: If a point cannot be run on the target; nothing was sent then.
            UnsupportedTarget: If the workspace has no such target; no job was sent then.
            PoolClosed, SessionNotAvailable: If there is no session to run in.
            SweepError: If points failed, with every result that came home.
            SweepTimeout: If `timeout` ran out, likewise.
            SweepCostLimit: If `max_cost` was reached, likewise.
            CostLimitReached: If it has no room for a single point; nothing was sent then.
            QuotaExceeded: If a quota has no room for the sweep; nothing was submitted then.
        """
        sweep = self._translate(program, params, repetitions)
        if sweep is None:
            return cirq.Simulator().run_sweep(program, params, repetitions)
        results = SweepResults([None] * len(sweep))
        batch = sweep.batch()
        with self._calls.one(batch):
            # duet cancels what it waits for, and calls are to be cancelled in order.
            is_over = AwaitableFuture[None]()
            call = self._pool.loop.start(
                self._collect(sweep, batch, results), lambda: is_over.try_set_result(None)
            )
            try:
                await is_over
            except BaseException:
                # What interrupts one call of several is about to interrupt them all.
                self._calls.submit_no_more(batch)
                call.cancel()
                raise
            timed_out = call.result()
            is_cut_short = timed_out or sweep.is_over_budget
            if sweep.failures and (is_cut_short or self._on_error == "raise"):
                raise _error_of(sweep, batch, results, timed_out=timed_out)
        return results  # type: ignore[return-value]  # None only where on_error asks for it

    async def run_batch_async(
        self,
        programs: Sequence[cirq.AbstractCircuit],
        params_list: Sequence[cirq.Sweepable] | None = None,
        repetitions: int | Sequence[int] = 1,
    ) -> Sequence[Sequence[cirq.Result]]:
        """Samples many circuits at once, each as `run_sweep_async` does."""
        with self._calls.together():
            return await super().run_batch_async(programs, params_list, repetitions)

    # Beside cirq's interface

    def stream_sweep(
        self, program: cirq.AbstractCircuit, params: cirq.Sweepable, repetitions: int = 1
    ) -> Iterator[tuple[int, cirq.Result]]:
        """Samples the circuit at every point of a sweep, and yields results as they arrive.

        No more results are held than the jobs in flight. Closing the iterator ends the sweep.

        Yields:
            The index of a point in the sweep, and its result.

        Raises:
            SweepError: In the end, if points failed; its `results` are None throughout, since all
                that came home were yielded.
            SweepTimeout: If `timeout` ran out, likewise.
        """
        sweep = self._translate(program, params, repetitions)
        if sweep is None:
            yield from enumerate(cirq.Simulator().run_sweep(program, params, repetitions))
            return
        batch = sweep.batch()
        deliveries = self._runner.run(batch)
        yielded: list[bool | None] = [None] * len(sweep)
        deadline = self._pool.clock.monotonic() + (self._timeout or 0.0)
        with self._calls.one(batch):
            try:
                while (delivery := self._take_next(deliveries, deadline)) is not None:
                    for point, result in sweep.take(delivery):
                        yielded[point] = True
                        yield point, result
            except TimeoutError:
                sweep.time_out(yielded, batch.running, self._timeout or 0.0)
                raise _error_of(sweep, batch, [None] * len(sweep), timed_out=True) from None
            finally:
                # Where the pool has been closed meanwhile, this is done; and where a signal came
                # while the next delivery was being asked for, somebody else is still at it.
                with suppress(PoolClosed, RuntimeError):
                    self._pool.loop.run(deliveries.aclose())
            if sweep.is_over_budget or (sweep.failures and self._on_error == "raise"):
                raise _error_of(sweep, batch, [None] * len(sweep), timed_out=False)

    def _take_next(
        self, deliveries: AsyncGenerator[Delivery, None], deadline: float
    ) -> Delivery | None:
        """The next delivery of a stream, or None after the last one."""
        clock = self._pool.clock
        left = None if self._timeout is None else max(deadline - clock.monotonic(), 0.0)
        return self._pool.loop.run(within(clock, left, _next(deliveries)))

    def get_result(self, job_id: str) -> cirq.Result:
        """The result of a job that was submitted before, by this process or another.

        Waits for the job if it is not over. The circuit is not needed: what its result means is
        written in the job's metadata. Values in `params` are those of the sweep, save that an
        expression with more in it than sums, products and powers comes back as its number.

        Raises:
            JobError: If the job failed or was cancelled, or the workspace does not know it.
            JobTimeout: If it was not over within `timeout`.
            ResultFormatError: If the job was not submitted by this package, or is one of several
                points: `pool.get_job(job_id).results()` has them all.
        """
        return self._pool.get_job(job_id).result(self._timeout)

    def estimate_cost(
        self,
        program: cirq.AbstractCircuit,
        repetitions: int = 1,
        params: cirq.Sweepable = None,
        *,
        rates: Rates | None = None,
    ) -> CostEstimate:
        """What a sweep is going to cost. Sends nothing.

        Args:
            program: The circuit; what is counted is what it is compiled to.
            repetitions: How often to sample each point.
            params: The sweep.
            rates: What jobs cost, instead of the sampler's own rates.

        Returns:
            The estimate, as a whole and by job and point. Its amount is None where it is not known
            what the target charges; as a string it then says which rates to give.

        Raises:
            UnsupportedProgram: If a point cannot be run on the target.
        """
        return estimate_cost(
            self._target,
            program,
            repetitions,
            params,
            rates=rates if rates is not None else self._pricing.rates,
            compile=self._compile,
            input_params=self._input_params,
        )

    def close(self) -> None:
        """Closes the pool if the sampler made it; sessions of a shared pool are left open."""
        if self._owns_pool:
            self._pool.close()
        self._close_journal()

    def __enter__(self) -> AzureSessionSampler:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        if self._owns_pool:
            self._pool.__exit__(*exc_info)
        self._close_journal()

    def _close_journal(self) -> None:
        if self._journal is not None and self._owns_journal:
            self._journal.close()

    def __repr__(self) -> str:
        return f"AzureSessionSampler({self._target!r}, pool={self._pool!r})"

    # From a sweep to results

    def _translate(
        self, program: cirq.AbstractCircuit, params: cirq.Sweepable, repetitions: int
    ) -> Sweep | None:
        """Checks and translates everything; None if there is nothing to send."""
        self._pool.check_open()
        resolvers = list(cirq.to_resolvers(params))
        program, repetitions = check_call(program, resolvers, repetitions)
        if not resolvers or not repetitions:
            return None
        options = TranslationOptions(
            target=self._target,
            compile=self._compile,
            seed=self._entropy(next(self._numbers)),
            input_params=self._input_params,
            random_state=self._random_state,
        )
        translation = self._format.translate(program, resolvers, repetitions, options)
        self._budget.check(self._pricing.first_point(translation))
        return Sweep(len(resolvers), translation, self._format, self._labels, self._pricing)

    def _entropy(self, call: int) -> tuple[int, ...] | None:
        """What the samples of this sampler's n-th call are drawn from."""
        if self._random_state is None:
            return None
        if self._seed is not None:
            return (self._seed % 2**64, call)
        return (int(self._random_state.randint(2**31)), call)

    async def _collect(
        self, sweep: Sweep, batch: JobBatch, results: list[AzureResult | None]
    ) -> bool:
        """Fills in the results; returns whether the time ran out."""

        async def fill() -> None:
            async with aclosing(self._runner.run(batch)) as deliveries:
                async for delivery in deliveries:
                    for point, result in sweep.take(delivery):
                        results[point] = result

        try:
            await within(self._pool.clock, self._timeout, fill())
        except TimeoutError:
            sweep.time_out(results, batch.running, self._timeout or 0.0)
            return True
        return False


async def _next(deliveries: AsyncGenerator[Delivery, None]) -> Delivery | None:
    return await anext(deliveries, None)


def _error_of(
    sweep: Sweep, batch: JobBatch, results: list[AzureResult | None], *, timed_out: bool
) -> Exception:
    """What stopped the sweep before its first job, or else an error with all that came home."""
    if batch.never_started and batch.stopped_by is not None:
        return batch.stopped_by
    return sweep.error(results, timed_out=timed_out)
