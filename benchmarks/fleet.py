"""`python -m benchmarks.fleet`: many workers on one workspace, simulated.

Each worker is to the service what a process of this package is: its own `Pace`, `Throttle` and
polling delays, and the requests of a sweep in the order in which a sampler sends them. The service
takes a number of requests a second and of jobs at once, and refuses more with 429. Time is that of
an event loop which never waits: it jumps to the next event, so that an hour takes seconds.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.measurements import LATENCY
from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.jobs.throttle import Slot, Throttle
from cirq_azure_sessions.workspaces.azure.pace import Pace
from cirq_azure_sessions.workspaces.base import JOBS_PER_PAGE
from cirq_azure_sessions.workspaces.polling import next_poll


class _NoWaiting(selectors.DefaultSelector):
    """A selector that moves the loop's time instead of waiting for it to pass."""

    elapsed = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.elapsed += timeout or 0.0
        return super().select(0)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop in simulated time. Nothing on it may wait for the outside."""

    def __init__(self) -> None:
        self._selector_in_time = _NoWaiting()
        super().__init__(self._selector_in_time)

    def time(self) -> float:
        return self._selector_in_time.elapsed


class LoopClock:
    """A `Clock` with the time of the running loop."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed).random

    sleep = staticmethod(asyncio.sleep)

    def time(self) -> float:
        return self.monotonic()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


@dataclass
class Service:
    """What the service takes: requests in any one second, and unfinished jobs.

    Attributes:
        max_rate, max_jobs: More are refused with 429, the first with `Retry-After: 1`.
        job_time: Seconds that a job takes.
    """

    max_rate: float
    max_jobs: int
    job_time: float
    requests: int = 0
    refused: int = 0
    _latest: deque[float] = field(default_factory=deque)
    _ends: deque[float] = field(default_factory=deque)

    def answer(self, now: float, *, submits: bool = False) -> None:
        """Takes a request, or raises what its answer would raise."""
        self.requests += 1
        while self._latest and self._latest[0] <= now - 1.0:
            self._latest.popleft()
        while self._ends and self._ends[0] <= now:
            self._ends.popleft()
        if len(self._latest) >= self.max_rate:
            self.refused += 1
            raise ServiceError("Too many requests.", status_code=429, retry_after=1.0)
        self._latest.append(now)
        if submits:
            if len(self._ends) >= self.max_jobs:
                self.refused += 1
                raise ServiceError("Too many jobs.", status_code=429)
            self._ends.append(now + self.job_time)


@dataclass
class Worker:
    """One process with a sampler."""

    service: Service
    clock: LoopClock
    max_concurrent_jobs: int
    running: dict[int, tuple[float, asyncio.Event]] = field(default_factory=dict)
    durations: deque[float] = field(default_factory=partial(deque, maxlen=100))

    def __post_init__(self) -> None:
        self.pace = Pace(self.clock)
        self.throttle = Throttle(self.max_concurrent_jobs, self.clock)

    async def sweep(self, points: int) -> float:
        """Runs as many points in a shared session; when the last result was there."""
        # It looks for the session by its name.
        await self._send()
        await asyncio.gather(*(self._point(number) for number in range(points)))
        return self.clock.monotonic()

    async def _point(self, number: int) -> None:
        async with Slot(self.throttle) as slot:
            await self.throttle.requests.enter(is_urgent=False)
            # The container and the upload.
            await self._send()
            await self._send()
            self.throttle.requests.leave()
            await slot.take()
            while True:
                try:
                    async with self.throttle.requests:
                        sent = self.clock.monotonic()
                        await self._send(submits=True)
                    break
                except ServiceError as error:
                    await slot.refused(error)
            slot.accepted()
            ended = asyncio.Event()
            self.running[number] = (sent + self.clock.monotonic()) / 2, ended
            if len(self.running) == 1:
                self.polling = asyncio.ensure_future(self._poll())
            await ended.wait()
        # Behind the submission of the job that takes the slot.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await self.throttle.requests.enter(is_urgent=False)
        await self._send()
        self.throttle.requests.leave()

    async def _poll(self) -> None:
        last = self.clock.monotonic()
        while self.running:
            due = next_poll(self.durations, [since for since, _ in self.running.values()], last)
            await self.clock.sleep(due - self.clock.monotonic())
            last = max(due, self.clock.monotonic())
            for _ in range(0, len(self.running), JOBS_PER_PAGE):
                async with self.throttle.requests:
                    await self._send()
            now = self.clock.monotonic()
            for number, (since, ended) in list(self.running.items()):
                if since + self.service.job_time <= now - LATENCY / 2:
                    self.durations.append(self.service.job_time)
                    del self.running[number]
                    ended.set()

    async def _send(self, *, submits: bool = False) -> None:
        """One request, repeated until the service does not refuse its rate."""
        while True:
            turn = await self.pace.turn(is_urgent=submits)
            await asyncio.sleep(LATENCY / 2)
            try:
                self.service.answer(self.clock.monotonic(), submits=submits)
            except ServiceError as error:
                await asyncio.sleep(LATENCY / 2)
                if error.retry_after is None:
                    raise
                self.pace.refused(error.retry_after, turn)
                continue
            await asyncio.sleep(LATENCY / 2)
            self.pace.answered()
            return


def simulate(workers: int, points: int, service: Service) -> list[float]:
    """When each of the workers, which begin together, has its share of the points."""
    places = max(1, service.max_jobs // workers)

    async def fleet() -> list[float]:
        return await asyncio.gather(
            *(
                Worker(service, LoopClock(seed), places).sweep(len(range(seed, points, workers)))
                for seed in range(workers)
            )
        )

    loop = SimulatedLoop()
    try:
        return loop.run_until_complete(fleet())
    finally:
        loop.close()


@click.command()
@click.option("--points", default=10_000, help="Points of the sweep, over all workers.")
@click.option("--rate", default=120, help="Requests that the service takes in a second.")
@click.option("--jobs", default=1000, help="Unfinished jobs that it takes.")
@click.option("--job-time", default=10.0, help="Seconds that a job takes.")
def main(points: int, rate: int, jobs: int, job_time: float) -> None:
    """Simulate a sweep that is shared by 1, 10, 100 and 1,000 workers."""
    least = max(4 * points / rate, points / jobs * job_time)
    table = Table(
        "workers", "wall", "to the least", "first done", "requests/point", "refused", box=SIMPLE
    )
    for workers in (1, 10, 100, 1000):
        service = Service(rate, jobs, job_time)
        ends = simulate(workers, points, service)
        table.add_row(
            f"{workers}",
            f"{max(ends):.0f} s",
            f"{max(ends) / least:.2f}",
            f"{min(ends):.0f} s",
            f"{service.requests / points:.2f}",
            f"{100 * service.refused / service.requests:.1f} %",
        )
    Console().print(f"{points} points, at least {least:.0f} s")
    Console().print(table)


if __name__ == "__main__":
    main()
