"""The pool of processes that read and run QIR; see `qir_worker`."""

from __future__ import annotations

import importlib.util
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Any

from cirq_azure_sessions.clock import SystemClock
from cirq_azure_sessions.emulator import qir_worker
from cirq_azure_sessions.workspaces.local.program import Budget, ProgramError, invalid_input

__all__ = ["QirPool"]

# Seconds after which an abandoned process kills itself.
_GRACE = 1.0


class QirPool:
    """Runs QIR, in as many processes as the machine has processors. Thread-safe.

    Each process has its own executor, so that one that crashes or is abandoned affects no other
    program. Processes are reused, and end with the interpreter.
    """

    def __init__(self) -> None:
        # Real time, regardless of the emulator's clock.
        self._clock = SystemClock()
        self._forget()
        if hasattr(os, "register_at_fork"):
            # A forked child has the executors, but none of their threads.
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._places = threading.BoundedSemaphore(os.cpu_count() or 1)
        # State: the idle executors; one in use belongs to its caller.
        self._idle: queue.SimpleQueue[ProcessPoolExecutor] = queue.SimpleQueue()

    def run(self, budget: Budget, work: Callable[..., Any], *arguments: Any) -> Any:
        """Runs a function of `qir_worker`, and spends its time from the budget.

        `ProgramError` if the program is at fault, or takes too long.
        """
        if importlib.util.find_spec("qdk") is None:
            raise invalid_input("QIR needs qdk: run pip install '.[emulator]' in your checkout.")
        with self._places:
            # Twice, because the process may have died while it was idle.
            for _ in range(2):
                with suppress(BrokenProcessPool):
                    return self._exchange(budget, work, *arguments)
        raise invalid_input("The QIR program cannot be run: the simulator crashed.")

    def _exchange(self, budget: Budget, *work: Any) -> Any:
        try:
            executor = self._idle.get_nowait()
        except queue.Empty:
            executor = ProcessPoolExecutor(1, qir_worker.Context(), qir_worker.start)
            # The program is not charged for the start of a process.
            executor.submit(int).result()
        is_usable = False
        began, limit = self._clock.monotonic(), budget.seconds
        try:
            future = executor.submit(qir_worker.guard, limit + _GRACE, *work)
            value = future.result(limit)
            is_usable = True
            return value
        except TimeoutError:
            raise ProgramError(
                "ProviderTimeout", "The QIR program takes more time than one job may."
            ) from None
        except ValueError as error:
            is_usable = True
            raise invalid_input(f"The QIR program cannot be run: {error}") from None
        finally:
            if is_usable:
                self._idle.put(executor)
            else:
                executor.shutdown(wait=False)
            budget.spend_seconds(min(self._clock.monotonic() - began, limit))
