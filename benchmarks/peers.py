"""The SDK's own two ways to run a sweep, as its documentation shows them."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator

import cirq
from azure.quantum import Workspace
from azure.quantum.cirq import AzureQuantumService

__all__ = ["service_run_loop", "target_submit_loop"]


def service_run_loop(workspace: Workspace, circuit: cirq.Circuit, sweep: cirq.Sweep) -> int:
    """`AzureQuantumService.run` for one point after the other. Returns the number of results."""
    service = AzureQuantumService(workspace, default_target="ionq.simulator")
    with _quiet():
        results = [
            service.run(cirq.resolve_parameters(circuit, resolver), repetitions=100)
            for resolver in sweep
        ]
    return len(results)


def target_submit_loop(workspace: Workspace, circuit: cirq.Circuit, sweep: cirq.Sweep) -> int:
    """`target.submit` for all points in one session, then `results` for each."""
    target = AzureQuantumService(workspace).get_target("ionq.simulator")
    with _quiet(), target.open_session():
        jobs = [
            target.submit(cirq.resolve_parameters(circuit, resolver), repetitions=100)
            for resolver in sweep
        ]
        results = [job.results() for job in jobs]
    return len(results)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The SDK prints dots while it waits."""
    logging.getLogger("azure").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):
        yield
