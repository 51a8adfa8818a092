"""What 20,000 finished jobs in the emulated workspace cost: its requests, and its memory."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

from benchmarks.figure import Figure
from benchmarks.measurements import TARGET, Effort, seconds
from benchmarks.peers import RawClient
from benchmarks.programs import rabi, sweep
from benchmarks.service import Service
from cirq_azure_sessions import AzureSessionSampler, SessionPool

__all__ = ["emulator_with_many_jobs"]

FEW, HALF, MANY = 10, 10_000, 20_000


def emulator_with_many_jobs(effort: Effort) -> Iterator[Figure]:
    """Requests on a workspace with 20,000 jobs and on one with ten, in turn; not in a quick run."""
    if effort.is_quick:
        return
    with Service() as empty, Service() as full:
        _run_jobs(empty, FEW)
        _run_jobs(full, HALF)
        before = full.memory()
        _run_jobs(full, MANY - HALF)
        grown = full.memory() - before
        few, many = _Client(empty), _Client(full)
        for name in few.works:
            yield _compare(name, few.works[name], many.works[name])
        busy = [_rate(full) for _ in range(3)]
        nothing = [seconds(many.find_nothing) for _ in range(50)]
    requests, cpu = max(busy)
    yield Figure(
        f"emulator: requests of a sweep a second of its processor, {MANY} jobs",
        requests,
        "requests",
        at_least=2000,
        decides=False,
        detail=f"{cpu:.1f} s for 1,000 points",
    )
    yield Figure(
        f"emulator: a filter that no job of {MANY} matches",
        1e3 * statistics.median(nothing),
        "ms",
        at_most=100,
        decides=False,
        detail="looks at every job",
    )
    yield Figure(
        f"emulator: memory a finished job, up to {MANY}",
        grown / (MANY - HALF) / 1024,
        "KB",
        at_most=10,
        detail="its program and result in memory included",
    )


def _run_jobs(service: Service, count: int) -> None:
    with SessionPool(service.workspace()) as pool:
        sampler = AzureSessionSampler(TARGET, pool=pool)
        for _ in sampler.stream_sweep(rabi(), sweep(count), repetitions=100):
            pass


def _rate(service: Service) -> tuple[float, float]:
    """Requests of a sweep of a thousand points a second of the service's processor time; both."""
    service.forget()
    before = service.cpu()
    _run_jobs(service, 1000)
    used = service.cpu() - before
    return service.requests().total / used, used


def _compare(name: str, few: Callable[[], object], many: Callable[[], object]) -> Figure:
    pairs = [(seconds(few), seconds(many)) for _ in range(200)]
    small, large = (statistics.median(each) for each in zip(*pairs, strict=True))
    return Figure(
        f"emulator: {name}, {MANY} jobs to {FEW}",
        large / small,
        "times",
        at_most=1.5,
        detail=f"{1e3 * large:.2f} ms to {1e3 * small:.2f} ms",
    )


class _Client(RawClient):
    """Requests to a workspace; `works` has those to compare by name."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        job_id, _ = self.submit()
        self.works: dict[str, Callable[[], object]] = {
            "submission of a job": self.submit,
            "GET of a job": lambda: self.ask("GET", f"/jobs/{job_id}"),
            # Ten jobs are what both workspaces have.
            "a page of ten jobs": lambda: self.ask("GET", "/jobs", top=10),
        }

    def find_nothing(self) -> None:
        self.ask("GET", "/jobs", filter="(State eq 'Failed')")
