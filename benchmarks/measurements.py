"""What is measured, each against its peer or its floor in the same run.

A measurement is a function that takes how much work to do and yields figures. Times are compared
with each other only if they were taken in turn; of repeated ones the median counts.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import statistics
import subprocess
import sys
import threading
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import cirq

from benchmarks.figure import Figure
from benchmarks.peers import RawClient, raw_flight, service_run_loop, target_submit_loop
from benchmarks.programs import ansatz, ghz, heavy, rabi, sweep
from benchmarks.service import Service
from cirq_azure_sessions import AzureSessionSampler, SessionPool
from cirq_azure_sessions.formats import format_for
from cirq_azure_sessions.formats.translation import TranslationOptions

__all__ = ["MEASUREMENTS", "Effort", "floor", "timed_sweep"]

TARGET = "ionq.simulator"
LATENCY = 0.05
JOB_TIME = 0.2
CONNECTIONS = 100


@dataclass(frozen=True, slots=True)
class Effort:
    """How much work to do.

    Attributes:
        is_quick: Whether to keep the whole run to a minute or two.
    """

    is_quick: bool

    def of(self, full: int, quick: int) -> int:
        """The size of a piece of work."""
        return quick if self.is_quick else full


def by_size(
    effort: Effort, sizes: tuple[int, int, int], what: str, measure: Callable[[int], float]
) -> tuple[float, str]:
    """A figure at the middle of three sizes, and in words how it grows; a quick run has only one.

    `what` names the sizes, such as `points`.
    """
    if effort.is_quick:
        return measure(sizes[1]), ""
    figures = [measure(size) for size in sizes]
    shown = ", ".join(f"{figure:.3g}" for figure in figures)
    return figures[1], f"; {shown} for {', '.join(map(str, sizes))} {what}"


def floor(latency: float, job_time: float) -> float:
    """The least seconds that a sweep takes: container, upload, submit, job, status, download.

    That is one after the other: a single point may be a little faster, since its status may be
    asked for while the job still runs.
    """
    return 5 * latency + job_time


def seconds(work: Callable[[], object]) -> float:
    """Seconds that the work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def timed_sweep(service: Service, points: int) -> float:
    """Seconds of a sweep with this package, in a new pool, opening its session included."""
    with SessionPool(service.workspace()) as pool:
        sampler = AzureSessionSampler(TARGET, pool=pool)
        return seconds(lambda: sampler.run_sweep(rabi(), sweep(points), repetitions=100))


def wall_and_requests(effort: Effort) -> Iterator[Figure]:
    """Fifty points behind a network, beside two ways to run them with the SDK."""
    points, peers = 50, effort.of(50, 3)
    with Service(latency=LATENCY, job_time=JOB_TIME) as service:
        timed_sweep(service, 2)
        least = floor(LATENCY, JOB_TIME)

        def to_floor(points: int) -> float:
            walls = [timed_sweep(service, points) for _ in range(effort.of(7, 3))]
            return statistics.median(walls) / least

        ratio, sizes = by_size(effort, (10, points, 100), "points", to_floor)
        ours = ratio * least
        service.forget()
        timed_sweep(service, points)
        counts = service.requests()
        # The SDK's loops take as long for each point as for the one before.
        scale = points / peers
        run = scale * seconds(lambda: service_run_loop(service.workspace(), rabi(), sweep(peers)))
        submit = scale * seconds(
            lambda: target_submit_loop(service.workspace(), rabi(), sweep(peers))
        )
    yield Figure(
        "wall of 50 points, to the floor",
        ratio,
        "times",
        at_most=1.15,
        decides=False,
        detail=f"{ours:.2f} s, floor {least:.2f} s{sizes}",
    )
    yield Figure(
        "AzureQuantumService.run loop, to ours",
        run / ours,
        "times",
        at_least=effort.of(80, 40),
        detail=f"{run:.1f} s" + (f" (from {peers} points)" if peers != points else ""),
    )
    yield Figure(
        "target.submit in a session, to ours",
        submit / ours,
        "times",
        at_least=effort.of(10, 5),
        detail=f"{submit:.1f} s" + (f" (from {peers} points)" if peers != points else ""),
    )
    session = counts.by_route.get("open", 0) + counts.by_route.get("close", 0)
    yield Figure(
        "requests a point, 50 points",
        (counts.total - session) / points,
        "requests",
        at_most=4.2,
        detail=f"{counts.total} requests, {session} of them for the session",
    )
    yield Figure(
        "TCP connections, 50 points", counts.connections, "connections", at_most=CONNECTIONS
    )


def full_flight(effort: Effort) -> Iterator[Figure]:
    """A thousand points, of which 100 are in flight, beside bare requests; not in a quick run."""
    if effort.is_quick:
        return
    points = 1000
    walls: dict[int, tuple[float, float]] = {}
    with Service(latency=LATENCY, job_time=JOB_TIME) as service:
        timed_sweep(service, 100)

        def to_bare(points: int) -> float:
            rounds = [
                (
                    timed_sweep(service, points),
                    seconds(
                        lambda: asyncio.run(raw_flight(service, points, CONNECTIONS, JOB_TIME))
                    ),
                )
                for _ in range(3)
            ]
            ours, bare = (statistics.median(each) for each in zip(*rounds, strict=True))
            walls[points] = ours, bare
            return ours / bare

        ratio, sizes = by_size(effort, (200, points, 2000), "points", to_bare)
    ours, bare = walls[points]
    # A place is taken from the submission of a job until its status has been told.
    least = 3 * LATENCY + points / CONNECTIONS * (JOB_TIME + 2 * LATENCY)
    yield Figure(
        f"wall of {points} points, to bare requests of aiohttp",
        ratio,
        "times",
        at_most=1.15,
        decides=False,
        detail=f"{ours:.2f} s to {bare:.2f} s{sizes}",
    )
    yield Figure(
        f"wall of {points} points, to what {CONNECTIONS} places allow",
        ours / least,
        "times",
        at_most=1.3,
        decides=False,
        detail=f"{least:.2f} s if no place were ever empty; {bare / least:.3g} with bare requests",
    )


def few_connections(effort: Effort) -> Iterator[Figure]:
    """TCP connections of a sweep that may have ten jobs in flight."""
    slots = 10

    def connections(slots: int) -> float:
        service = Service(latency=LATENCY, job_time=JOB_TIME)
        with service, SessionPool(service.workspace()) as pool:
            sampler = AzureSessionSampler(TARGET, pool=pool, max_concurrent_jobs=slots)
            sampler.run_sweep(rabi(), sweep(effort.of(100, 30)), repetitions=100)
            return service.requests().connections

    count, sizes = by_size(effort, (1, slots, 40), "slots", connections)
    yield Figure(
        f"TCP connections, max_concurrent_jobs={slots}",
        count,
        "connections",
        at_most=slots,
        detail=sizes.removeprefix("; "),
    )


def many_points(effort: Effort) -> Iterator[Figure]:
    """A thousand points: polls shared, connections kept from sweep to sweep."""
    points = effort.of(1000, 400)
    service = Service(latency=LATENCY, job_time=JOB_TIME)
    with service, SessionPool(service.workspace()) as pool:
        sampler = AzureSessionSampler(TARGET, pool=pool)
        sampler.run_sweep(rabi(), sweep(200), repetitions=100)
        service.forget()
        sampler.run_sweep(rabi(), sweep(points), repetitions=100)
        counts = service.requests()
    yield Figure(
        f"requests a point, {points} points",
        counts.total / points,
        "requests",
        at_most=4.05 if points >= 1000 else 4.1,
        detail=f"{counts.total} requests",
    )
    yield Figure(
        "new TCP connections of a second sweep", counts.connections, "connections", at_most=0
    )


def client_cpu(effort: Effort) -> Iterator[Figure]:
    """Processor time of the client, with no network in the way."""
    points, peers = effort.of(500, 300), effort.of(40, 15)
    with Service() as service, SessionPool(service.workspace()) as pool:
        sampler = AzureSessionSampler(TARGET, pool=pool)
        workspace, raw = service.workspace(), RawClient(service)
        sampler.run_sweep(rabi(), sweep(100), repetitions=100)
        target_submit_loop(workspace, rabi(), sweep(2))
        rounds = [
            (
                _cpu(lambda: sampler.run_sweep(rabi(), sweep(points), repetitions=100)) / points,
                _cpu(lambda: raw.run(points)) / points,
                _cpu(lambda: target_submit_loop(workspace, rabi(), sweep(peers))) / peers,
            )
            for _ in range(3)
        ]
        ours, bare, peer = (statistics.median(each) for each in zip(*rounds, strict=True))

        def cost(count: int) -> float:
            if count == points:
                return 1e3 * ours
            work = partial(sampler.run_sweep, rabi(), sweep(count), repetitions=100)
            return 1e3 * statistics.median(_cpu(work) / count for _ in range(3))

        middle, sizes = by_size(effort, (100, points, 2000), "points", cost)
    yield Figure(
        "client CPU a point",
        middle,
        "ms",
        at_most=1.3,
        decides=False,
        detail=f"{points} points{sizes}",
    )
    yield Figure(
        "client CPU a point, to bare requests of http.client",
        ours / bare,
        "times",
        at_most=2.0,
        decides=False,
        detail=f"{1e3 * bare:.2f} ms a point, nothing translated, checked or decoded",
    )
    yield Figure(
        "client CPU of target.submit, to ours",
        peer / ours,
        "times",
        # 3 ms here for each 15 ms of the SDK.
        at_least=effort.of(5, 4),
        detail=f"{1e3 * peer:.1f} ms a point",
    )


def many_circuits(effort: Effort) -> Iterator[Figure]:
    """Batches of different circuits, of which each is translated alone; not in a quick run."""
    if effort.is_quick:
        return
    with Service() as service, SessionPool(service.workspace()) as pool:
        sampler = AzureSessionSampler(TARGET, pool=pool)

        def cost(count: int) -> float:
            circuits = [cirq.resolve_parameters(rabi(), each) for each in sweep(count)]
            return _cpu(lambda: sampler.run_batch(circuits, repetitions=100)) / count

        cost(50)
        sizes = 100, 500, 2000
        costs = [statistics.median(cost(size) for _ in range(3)) for size in sizes]
    few, some, many = (1e3 * each for each in costs)
    detail = f"{few:.2f}, {some:.2f} and {many:.2f} ms for {', '.join(map(str, sizes))} circuits"
    yield Figure(
        f"client CPU a circuit, run_batch of {sizes[1]}",
        some,
        "ms",
        at_most=2.5,
        decides=False,
        detail=detail,
    )


def named_pool(effort: Effort) -> Iterator[Figure]:
    """Opening a session by name, where old ones bear that name too; not in a quick run."""
    if effort.is_quick:
        return
    old = 2_000, 20_000

    def requests(service: Service) -> int:
        service.forget()
        with SessionPool(service.workspace(), name="nightly") as pool:
            pool.session(TARGET)
            return service.requests().total

    with Service() as service:
        counts = [requests(service)]
        raw = RawClient(service)
        for more in (old[0], old[1] - old[0]):
            for _ in range(more):
                raw.open_and_close_session("nightly")
            counts.append(requests(service))
    empty, some, full = counts
    yield Figure(
        f"requests of a named pool, {old[1]} old sessions, more than none",
        full - empty,
        "requests",
        at_most=2,
        detail=f"{empty}, {some}, {full} for 0, {old[0]}, {old[1]} sessions",
    )


def _cpu(work: Callable[[], object]) -> float:
    return _wall_and_cpu(work)[1]


def _wall_and_cpu(work: Callable[[], object]) -> tuple[float, float]:
    cpu = time.process_time()
    wall = seconds(work)
    return wall, time.process_time() - cpu


def growth(effort: Effort) -> Iterator[Figure]:
    """Whether a point of a large sweep costs what a point of a small one costs."""
    sizes = effort.of(1000, 200), effort.of(3000, 400), effort.of(10_000, 800)
    small, _, large = sizes
    with Service() as service, SessionPool(service.workspace()) as pool:
        sampler = AzureSessionSampler(TARGET, pool=pool)
        _consume(sampler, small)
        # From the smallest to the largest and back again.
        order = (*sizes, *sizes[-2::-1])
        times: dict[int, list[float]] = defaultdict(list)
        for points in order * effort.of(3, 1):
            times[points].append(1e3 * _consume(sampler, points) / points)
        memory = _peak(lambda: _consume(sampler, large)) / large
    few, some, many = (statistics.median(times[points]) for points in sizes)
    yield Figure(
        f"time a point, {large} points to {small}",
        many / few,
        "times",
        at_most=1.1,
        decides=False,
        detail=f"{few:.2f}, {some:.2f}, {many:.2f} ms for {', '.join(map(str, sizes))} points",
    )
    yield Figure(f"memory a point of a stream, {large} points", memory / 1024, "KB", at_most=20)


def _consume(sampler: AzureSessionSampler, points: int) -> float:
    def work() -> None:
        for _ in sampler.stream_sweep(rabi(), sweep(points), repetitions=100):
            pass

    return seconds(work)


def _peak(work: Callable[[], object]) -> int:
    """Bytes that Python allocated at the peak of the work, beyond what stood before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def translation(effort: Effort) -> Iterator[Figure]:
    """A circuit compiled once for the sweep, beside one resolved and translated at each point."""
    points = effort.of(200, 60)
    circuit = ansatz()
    resolvers = list(sweep(points))
    options = TranslationOptions(TARGET, seed=(1,))
    format_ = format_for(TARGET)

    def once() -> list[bytes]:
        jobs = format_.translate(circuit, resolvers, 100, options)
        return [jobs.job(index).payload for index in range(points)]

    def each() -> list[bytes]:
        return [
            format_.translate(
                cirq.resolve_parameters(circuit, resolver), [cirq.ParamResolver({})], 100, options
            )
            .job(0)
            .payload
            for resolver in resolvers
        ]

    same = once() == each()
    ratio = statistics.median(seconds(each) / seconds(once) for _ in range(3))
    yield Figure(
        "resolve and serialize each point, to compile once",
        ratio,
        "times",
        at_least=10,
        detail="10 qubits, 100 gates",
    )
    yield Figure("payloads that differ between the two", 0 if same else 1, "payloads", at_most=0)


def throttled(effort: Effort) -> Iterator[Figure]:
    """A service that takes eight jobs at once and refuses more with 429."""
    points, job_time, limit = 200, effort.of(2, 1) * 0.25, 8
    walls: dict[int, float] = {}
    requests: dict[int, int] = {}

    def to_limit(points: int) -> float:
        service = Service(job_time=job_time, max_concurrent_jobs=limit)
        with service, SessionPool(service.workspace()) as pool:
            sampler = AzureSessionSampler(TARGET, pool=pool)
            walls[points] = seconds(partial(sampler.run_sweep, rabi(), sweep(points), 100))
            requests[points] = service.requests().total
        return walls[points] / (points / limit * job_time)

    ratio, sizes = by_size(effort, (50, points, 400), "points", to_limit)
    least = points / limit * job_time
    yield Figure(
        "wall under a limit of 8 jobs, to the limit",
        ratio,
        "times",
        at_most=1.1,
        decides=not effort.is_quick,
        detail=f"{walls[points]:.1f} s, {least:.1f} s if no place were ever empty{sizes}",
    )
    yield Figure(
        "requests under the limit, to the least possible",
        requests[points] / (4 * points),
        "times",
        at_most=1.3,
        detail=f"{requests[points]} requests for {points} points, four each at the least",
    )


def request_rate(effort: Effort) -> Iterator[Figure]:
    """A service that refuses what is beyond 120 requests a second; not in a quick run."""
    if effort.is_quick:
        return
    for jobs, pause in itertools.product((None, 8), (1, None)):
        yield from _within(120, jobs, pause, effort)


def _within(rate: int, jobs: int | None, pause: int | None, effort: Effort) -> Iterator[Figure]:
    """Sweeps within a rate of requests and, if given, a limit on jobs, which both answer 429."""
    runs: dict[int, tuple[float, int, int]] = {}

    def to_rate(points: int) -> float:
        fault = {"status": 429, "rate": rate, "retry_after": pause}
        service = Service(job_time=JOB_TIME, max_concurrent_jobs=jobs, fault=fault)
        with service, SessionPool(service.workspace()) as pool:
            sampler = AzureSessionSampler(TARGET, pool=pool)
            # Whoever misses a point raises.
            wall = seconds(partial(sampler.run_sweep, rabi(), sweep(points), 100))
            least = 4 * points + points // 100
            runs[points] = wall, service.requests().total, least
        return least / wall / rate

    ratio, sizes = by_size(effort, (200, 600, 1200), "points", to_rate)
    wall, total, least = runs[600]
    where = f"{rate} requests/s, {'Retry-After: 1' if pause else 'no Retry-After'}"
    where += f", {jobs} jobs" if jobs else ""
    yield Figure(
        f"{where}: requests a second, to the rate",
        ratio,
        "times",
        at_least=0.9,
        decides=False,
        detail=f"{wall:.1f} s, {least / rate:.1f} s for {least} requests{sizes}",
    )
    yield Figure(f"{where}: requests, to the least", total / least, "times", at_most=1.3)


def local(effort: Effort) -> Iterator[Figure]:
    """`local.simulator` beside the simulator itself, and over two processes."""
    circuit, points = heavy(), effort.of(24, 8)
    simulator = cirq.Simulator()
    by_cpu: dict[int, float] = {}
    with AzureSessionSampler("local.simulator") as sampler:

        def more(points: int) -> float:
            calls = (each.run_sweep for each in (sampler, simulator))
            pair = [partial(call, circuit, sweep(points), 100) for call in calls]
            wall, by_cpu[points] = _more(*pair, effort.of(360 // max(points, 24), 7))
            return wall

        wall, sizes = by_size(effort, (6, points, 96), "points", more)
    yield Figure(
        "local.simulator, more than cirq.Simulator",
        wall,
        "%",
        at_most=1,
        decides=False,
        detail=f"{points} points; by processor time {by_cpu[points]:+.1f} %{sizes}",
    )
    with ProcessPoolExecutor(2) as executor:
        yield _speedup("two processes", executor, effort)


def _speedup(workers: str, executor: Executor, effort: Effort) -> Figure:
    """How much faster a sweep is on two workers than without."""
    circuit, simulator = heavy(), cirq.Simulator()
    with AzureSessionSampler("local.simulator", executor=executor) as sampler:
        sampler.run_sweep(circuit, sweep(4), repetitions=10)

        def speedup(points: int) -> float:
            ratios = [
                seconds(partial(simulator.run_sweep, circuit, sweep(points), 100))
                / seconds(partial(sampler.run_sweep, circuit, sweep(points), 100))
                for _ in range(3)
            ]
            return statistics.median(ratios)

        factor, sizes = by_size(effort, (24, effort.of(96, 16), 240), "points", speedup)
    return Figure(
        f"speed of {workers}, to one",
        factor,
        "times",
        at_least=1.75,
        decides=False,
        detail=sizes.removeprefix("; "),
    )


def other_simulators(effort: Effort) -> Iterator[Figure]:
    """`local.qsim` and `local.stim` beside the packages themselves, where they are installed."""
    for target, package, name, circuits in (
        ("local.qsim", "qsimcirq", "QSimSimulator", (ansatz(), heavy())),
        ("local.stim", "stimcirq", "StimSampler", (ghz(20), ghz(200))),
    ):
        if effort.is_quick or importlib.util.find_spec(package) is None:
            continue
        plain = getattr(importlib.import_module(package), name)()
        for circuit in circuits:
            yield _beside(target, package, plain, circuit, effort)


def _beside(
    target: str, package: str, plain: cirq.Sampler, circuit: cirq.Circuit, effort: Effort
) -> Figure:
    """What a local target takes more than its package itself."""
    by_cpu: dict[int, float] = {}
    with AzureSessionSampler(target) as sampler:

        def more(count: int) -> float:
            points = sweep(count) if cirq.is_parameterized(circuit) else [{}] * count
            pair = [partial(each.run_sweep, circuit, points, 1000) for each in (sampler, plain)]
            wall, by_cpu[count] = _more(*pair, 360 // max(count, 24))
            return wall

        wall, sizes = by_size(effort, (6, 24, 96), "points", more)
    return Figure(
        f"{target}, more than {package}, {len(circuit.all_qubits())} qubits",
        wall,
        "%",
        at_most=2,
        decides=False,
        detail=f"24 points; by processor time {by_cpu[24]:+.1f} %{sizes}",
    )


def cluster(effort: Effort) -> Iterator[Figure]:
    """`local.simulator` on two workers of a Dask cluster, which takes long to start."""
    if effort.is_quick:
        return
    import dask
    from distributed import Client, LocalCluster

    # As docs/how-to/processes.md recommends for large circuits.
    dask.config.set({"distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 32 * 2**20})
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as workers,
        Client(workers) as client,
    ):
        yield _speedup("two Dask workers", client.get_executor(), effort)


def _more(
    ours: Callable[[], object], plain: Callable[[], object], pairs: int
) -> tuple[float, float]:
    """By how many per cent one work takes more wall time and processor time than another.

    The medians of pairs; which of the two goes first alternates.
    """
    ratios = []
    for number in range(pairs + 1):
        first, second = (ours, plain) if number % 2 else (plain, ours)
        costs = {work: _wall_and_cpu(work) for work in (first, second)}
        pair = zip(costs[ours], costs[plain], strict=True)
        ratios.append([mine / theirs for mine, theirs in pair])
    # The first pair warms up.
    wall, cpu = (statistics.median(each) for each in zip(*ratios[1:], strict=True))
    return 100 * (wall - 1), 100 * (cpu - 1)


def imports(effort: Effort) -> Iterator[Figure]:
    """What importing costs, in fresh interpreters, in turn."""
    runs = effort.of(9, 3)
    ratios = [
        _python("import cirq, cirq_azure_sessions") / _python("import cirq") for _ in range(runs)
    ]
    yield Figure(
        "import, more than import cirq",
        100 * (statistics.median(ratios) - 1),
        "%",
        at_most=5,
        decides=False,
    )
    helps = [
        _python("from cirq_azure_sessions.cli import main; main(['--help'])") for _ in range(runs)
    ]
    yield Figure(
        "cirq-azure-sessions --help", statistics.median(helps), "s", at_most=0.3, decides=False
    )
    lists = [
        _python("from cirq_azure_sessions.cli import main; main(['journal', 'show', 'none'])")
        for _ in range(runs)
    ]
    yield Figure(
        "cirq-azure-sessions journal show",
        statistics.median(lists),
        "s",
        at_most=0.5,
        decides=False,
    )
    probe = (
        "import sys; from cirq_azure_sessions.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: sys.exit('cirq' in sys.modules)"
    )
    imported = subprocess.run([sys.executable, "-c", probe], capture_output=True, check=False)
    yield Figure("--help imports cirq", imported.returncode, "times", at_most=0)


def _python(code: str) -> float:
    return seconds(
        lambda: subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    )


def pool_session(effort: Effort) -> Iterator[Figure]:
    """`pool.session(target)` on an open session, from one thread and from 32."""
    calls = effort.of(100_000, 20_000)
    with SessionPool() as pool:
        pool.session("local.simulator")

        def use(times: int) -> None:
            for _ in range(times):
                pool.session("local.simulator")

        def together() -> None:
            threads = [threading.Thread(target=use, args=(calls // 32,)) for _ in range(32)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        rounds = range(7)
        alone = statistics.median(seconds(lambda: use(calls)) / calls for _ in rounds)
        crowded = statistics.median(seconds(together) / calls for _ in rounds)
    yield Figure("pool.session on an open session", 1e6 * alone, "us", at_most=10, decides=False)
    yield Figure(
        "pool.session, the rate of 32 threads to that of one",
        alone / crowded,
        "times",
        # All threads wait for the interpreter's lock.
        at_least=1 / 3,
        decides=False,
        detail=f"{1e6 * crowded:.1f} us a call",
    )


MEASUREMENTS: tuple[Callable[[Effort], Iterator[Figure]], ...] = (
    wall_and_requests,
    full_flight,
    few_connections,
    many_points,
    client_cpu,
    many_circuits,
    named_pool,
    growth,
    translation,
    throttled,
    request_rate,
    local,
    other_simulators,
    cluster,
    imports,
    pool_session,
)
