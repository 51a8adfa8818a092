"""Benchmark harnesses as they are, and with the few lines of `cirq_azure_sessions.harness`."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Iterator

from benchmarks.figure import Figure
from benchmarks.measurements import JOB_TIME, LATENCY, TARGET, Effort, seconds
from benchmarks.service import Service
from cirq_azure_sessions import AzureSessionSampler, SessionPool
from cirq_azure_sessions.harness import run_experiment

__all__ = ["harnesses"]


def harnesses(effort: Effort) -> Iterator[Figure]:
    """Interleaved randomized benchmarking of supermarq, where that is installed."""
    if importlib.util.find_spec("supermarq") is None:
        return
    from supermarq.qcvv import IRB

    with (
        Service(latency=LATENCY, job_time=JOB_TIME) as service,
        SessionPool(service.workspace()) as pool,
        # Its progress bars.
        contextlib.redirect_stderr(io.StringIO()),
    ):
        experiment = IRB(effort.of(10, 5), cycle_depths=[1, 4, 8], random_seed=7)
        sampler = AzureSessionSampler(TARGET, pool=pool)
        pool.session(TARGET)
        service.forget()
        batched = seconds(lambda: run_experiment(experiment, sampler, 1000))
        few = service.requests().total
        service.forget()
        unedited = seconds(lambda: experiment.run_with_simulator(sampler, 1000))
        many = service.requests().total
    count = len(experiment.samples)
    yield Figure(
        f"supermarq's IRB, {count} circuits: unedited to run_experiment",
        unedited / batched,
        "times",
        at_least=4,
        detail=f"{unedited:.2f} s to {batched:.2f} s",
    )
    yield Figure(
        "supermarq's IRB: requests a circuit", few / count, "", at_most=5, detail=f"{many} unedited"
    )
