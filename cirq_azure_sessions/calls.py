"""The calls of a sampler: who is told of them, and what becomes of their jobs if they end early."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field

from duet.impl import Interrupt

from cirq_azure_sessions.errors import AzureSessionsError
from cirq_azure_sessions.interruption import how_to_come_back
from cirq_azure_sessions.job_batch import JobBatch
from cirq_azure_sessions.jobs import JobRunner
from cirq_azure_sessions.model import SweepEvent
from cirq_azure_sessions.session_pool import SessionPool
from cirq_azure_sessions.watch.progress import SweepProgress

__all__ = ["Calls"]


@dataclass(frozen=True, slots=True)
class _Together:
    """Calls of which one error tells, and that one error ends.

    Attributes:
        progress: The bar that they share, if there is one.
        batches: Their jobs.
    """

    progress: SweepProgress | None
    batches: list[JobBatch] = field(default_factory=list)


# A call learns from its context, not from cirq, which calls it is one of.
_together: ContextVar[_Together | None] = ContextVar("together", default=None)


class Calls:
    """Tells how the calls of one sampler go, and ends those that are interrupted in good order.

    Args:
        pool: Whose subscribers are told.
        target: Where the jobs run.
        runner: Runs them.
        shows_progress: Whether there is a bar for each call.
        cancels: Whether the jobs of a call that is interrupted are cancelled.
        is_journalled: Whether the next run goes on where a call was interrupted.
    """

    def __init__(
        self,
        pool: SessionPool,
        target: str,
        runner: JobRunner,
        *,
        shows_progress: bool,
        cancels: bool,
        is_journalled: bool,
    ) -> None:
        self._pool = pool
        self._target = target
        self._runner = runner
        self._shows_progress = shows_progress
        self._cancels = cancels
        self._is_journalled = is_journalled

    @contextmanager
    def together(self) -> Iterator[None]:
        """Several calls at once, as of a batch."""
        with self._new_progress() as progress:
            together = _Together(progress)
            token = _together.set(together)
            try:
                yield
            except BaseException as error:
                self._note(error, together.batches)
                raise
            finally:
                _together.reset(token)

    @contextmanager
    def one(self, batch: JobBatch) -> Iterator[None]:
        """One call, from its first job to whatever ends it."""
        together = _together.get()
        if together is not None:
            together.batches.append(batch)
        self._tell("started", batch)
        try:
            with nullcontext(together.progress) if together else self._new_progress() as progress:
                if progress is not None:
                    progress.expect(batch.size)
                    batch.follower = progress
                yield
        except BaseException as error:
            is_interrupted = not isinstance(error, AzureSessionsError)
            if is_interrupted:
                self._runner.stop(batch)
            # Its jobs are not used up: the journal offers them again.
            self._runner.give_back(batch)
            if is_interrupted:
                if together is None:
                    self._note(error, [batch])
                if self._cancels:
                    self._runner.cancel(batch)
            self._tell("interrupted" if is_interrupted else "failed", batch, error)
            raise
        self._tell("finished", batch)

    def submit_no_more(self, batch: JobBatch) -> None:
        """The call is being interrupted: nothing more is submitted, of it or of those with it."""
        together = _together.get()
        for each in together.batches if together else [batch]:
            each.submit_no_more()

    def _new_progress(self) -> AbstractContextManager[SweepProgress | None]:
        return SweepProgress(self._target) if self._shows_progress else nullcontext()

    def _tell(self, kind: str, batch: JobBatch, error: BaseException | None = None) -> None:
        """Tells those who follow sweeps what became of a call."""
        self._pool.report_sweep(
            SweepEvent(
                kind,
                batch.id,
                self._target,
                time=self._pool.clock.time(),
                jobs=batch.size,
                reason=type(error).__name__ if error is not None else "",
            )
        )

    def _note(self, error: BaseException, batches: Sequence[JobBatch]) -> None:
        """Notes on an error how to come back to the jobs of the calls that it ended."""
        note = how_to_come_back(
            self._target,
            [job_id for batch in batches for job_id in batch.running.values()],
            [job_id for batch in batches for job_id in batch.home],
            cancelled=self._cancels,
            journal=self._runner.journal_path if self._is_journalled else None,
        )
        # duet hands on what interrupted it in a wrapping of its own.
        reason = error.error if isinstance(error, Interrupt) else error
        if note:
            reason.add_note(note)
