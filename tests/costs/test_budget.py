"""The cost cap: never passed, whatever happens, and named when it is reached."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from queue import Queue
from typing import Any

import cirq
import pytest
from circuits import ROTATION, angles
from hypothesis import given, settings
from hypothesis import strategies as st
from services import HANG_TIMEOUT, in_background

from cirq_azure_sessions import AzureSessionSampler as Sampler
from cirq_azure_sessions import (
    CostLimitReached,
    Journal,
    JournalError,
    LocalWorkspace,
    ManualClock,
    Rates,
    ServiceError,
    SessionPool,
    SweepCostLimit,
    SweepError,
    SweepTimeout,
    estimate_cost,
)
from cirq_azure_sessions.costs.budget import Budget, amount_of
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.journal.rows import JournalEntry
from cirq_azure_sessions.model import Cost, Job, JobRequest
from cirq_azure_sessions.workspaces.local import JobPace, ProgramError
from cirq_azure_sessions.workspaces.local.state import Outcome

SWEEP = angles(10)
ARIA = "ionq.qpu.aria-1"
PRICE = 97.50
RATES = Rates(per_job=10.0)


class Service(LocalWorkspace):
    """A workspace whose jobs cost what a test says.

    Attributes:
        script: What the next submissions meet, in order; `ok` for those beyond its end.
        submitted: How many jobs it was asked to take.
    """

    def __init__(
        self,
        bill: Cost | None = None,
        script: Sequence[str] = (),
        pace: JobPace | None = None,
        clock: ManualClock | None = None,
    ) -> None:
        self.clock = clock or ManualClock()
        super().__init__(
            backends={ARIA: _histogram},
            clock=self.clock,
            pace=None if pace is None else lambda request: pace,
        )
        self.bill = bill
        self.script = list(script)
        self.submitted = 0

    async def submit_job(self, request: JobRequest, stored: Any = None) -> Job:
        self.submitted += 1
        meets = self.script.pop(0) if self.script else "ok"
        if meets == "refused":
            raise ServiceError("The job is malformed.", status_code=400, code="InvalidJob")
        job = await super().submit_job(request, stored)
        if meets == "lost after":
            raise ServiceError("The connection was lost.")
        return job

    def _outcome(self, request: JobRequest, run: Future[Any]) -> Outcome:
        return replace(super()._outcome(request, run), cost=self.bill)


def _histogram(request: JobRequest) -> bytes:
    return b'{"histogram": {"1": 1.0}}'


@contextmanager
def capped(service: LocalWorkspace, max_cost: float, **options: Any) -> Iterator[Sampler]:
    """A sampler with a cap, each of whose jobs is estimated to cost 10 USD."""
    with SessionPool(service, clock=getattr(service, "clock", None)) as pool:
        yield Sampler(ARIA, pool=pool, rates=RATES, max_cost=max_cost, **options)


def points_home(error: SweepError) -> list[int]:
    return [point for point, result in enumerate(error.results) if result is not None]


# The cap, against the emulator's bills


@pytest.mark.parametrize("max_concurrent_jobs", [1, 3, 100])
def test_the_cap_holds_with_any_number_of_jobs_in_flight(max_concurrent_jobs: int) -> None:
    with EmulatorServer() as server, SessionPool(server.workspace()) as pool:
        sampler = Sampler(
            ARIA, pool=pool, max_cost=4.5 * PRICE, max_concurrent_jobs=max_concurrent_jobs
        )
        with pytest.raises(SweepCostLimit, match="first at index 4") as raised:
            sampler.run_sweep(ROTATION, SWEEP, 100)
        assert pool.get_stats()["cost"] == 4 * PRICE
        assert server.requests["submit"] == 4
    assert points_home(raised.value) == [0, 1, 2, 3]
    assert sorted(raised.value.failures) == [4, 5, 6, 7, 8, 9]
    assert all(isinstance(why, CostLimitReached) for why in raised.value.failures.values())


def test_the_cap_may_be_in_credits() -> None:
    with EmulatorServer() as server, SessionPool(server.workspace()) as pool:
        sampler = Sampler("quantinuum.sim.h2-1e", pool=pool, max_cost=30.0)
        with pytest.raises(SweepCostLimit, match="EHQC"):
            sampler.run_sweep(ROTATION, SWEEP, 500)
        assert 20 < pool.get_stats()["consumed_ehqc"] <= 30


def test_a_cap_below_a_single_point_sends_no_job() -> None:
    with EmulatorServer() as server, SessionPool(server.workspace()) as pool:
        sampler = Sampler(ARIA, pool=pool, max_cost=PRICE - 0.01)
        with pytest.raises(SweepCostLimit, match=r"next point costs about 97\.50"):
            sampler.run_sweep(ROTATION, SWEEP, 100)
        # A point of three jobs, of which one would fit.
        sampler = Sampler(ARIA, pool=pool, max_cost=2 * PRICE)
        with pytest.raises(SweepCostLimit, match=r"next point costs about 292\.50"):
            sampler.run_sweep(ROTATION, SWEEP, 30_000)
        # Quotas are read, and nothing else is sent.
        assert server.requests.total == server.requests["quotas"]


def test_a_point_of_several_jobs_is_not_paid_for_in_part() -> None:
    service = Service()
    with capped(service, max_cost=50.0) as sampler, pytest.raises(SweepCostLimit) as raised:
        sampler.run_sweep(ROTATION, SWEEP, 20_001)
    assert points_home(raised.value) == [0]
    assert service.submitted == 3


def test_a_sweep_that_costs_exactly_the_cap_runs() -> None:
    with EmulatorServer() as server, SessionPool(server.workspace()) as pool:
        sampler = Sampler(ARIA, pool=pool, max_cost=10 * PRICE)
        assert len(sampler.run_sweep(ROTATION, SWEEP, 100)) == 10


def test_a_rerun_with_a_journal_and_a_larger_cap_pays_nothing_twice(tmp_path: Path) -> None:
    with EmulatorServer() as server:
        for max_cost, home in ((3 * PRICE, 3), (3 * PRICE, 3), (7 * PRICE, 7)):
            with (
                SessionPool(server.workspace(), journal=tmp_path / "journal") as pool,
                pytest.raises(SweepCostLimit) as raised,
            ):
                Sampler(ARIA, pool=pool, max_cost=max_cost).run_sweep(ROTATION, SWEEP, 100)
            assert points_home(raised.value) == list(range(home))
            assert server.requests["submit"] == home
        with SessionPool(server.workspace(), journal=tmp_path / "journal") as pool:
            results = Sampler(ARIA, pool=pool, max_cost=1000).run_sweep(ROTATION, SWEEP, 100)
        assert server.requests["submit"] == len(results) == 10


# What counts


def test_calls_share_the_cap() -> None:
    service = Service()
    with capped(service, max_cost=30.0) as sampler:
        sampler.run_sweep(ROTATION, cirq.Points("theta", [0.1, 0.2]), 100)
        sampler.run(ROTATION, {"theta": 0.3}, 100)
        with pytest.raises(CostLimitReached, match=r"30\.00 of max_cost=30 USD are spent"):
            sampler.run(ROTATION, {"theta": 0.4}, 100)
    assert service.submitted == 3


def test_circuits_of_a_batch_share_the_cap() -> None:
    service = Service()
    with capped(service, max_cost=30.0) as sampler, pytest.raises(SweepCostLimit):
        sampler.run_batch([ROTATION] * 5, [{"theta": 0.1 * k} for k in range(5)], 100)
    assert service.submitted <= 3


def test_threads_share_the_cap() -> None:
    service = Service()

    def call() -> None:
        with pytest.raises(SweepCostLimit):
            sampler.run_sweep(ROTATION, SWEEP, 100)

    with capped(service, max_cost=70.0) as sampler:
        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert service.submitted == 7


def test_a_bill_below_its_estimate_makes_room() -> None:
    service = Service(Cost(4.0))
    with capped(service, max_cost=30.0) as sampler, pytest.raises(SweepCostLimit) as raised:
        sampler.run_sweep(ROTATION, SWEEP, 100)
    # After six bills 24 are spent, and 10 more are too many.
    assert points_home(raised.value) == [0, 1, 2, 3, 4, 5]


def test_a_bill_above_its_estimate_counts_in_full() -> None:
    service = Service(Cost(25.0))
    with capped(service, max_cost=40.0) as sampler:
        sampler.run(ROTATION, {"theta": 0.1}, 100)
        sampler.run(ROTATION, {"theta": 0.2}, 100)
        with pytest.raises(CostLimitReached, match=r"50\.00 of max_cost=40 USD are spent"):
            sampler.run(ROTATION, {"theta": 0.3}, 100)


@pytest.mark.parametrize(
    "bill",
    [
        None,
        Cost(0.0, events=({"dimensionId": "gs1q", "amountConsumed": 100.0},)),
        Cost(4.0, currency="EUR"),
    ],
    ids=["none", "included in a plan", "in another currency"],
)
def test_the_estimate_is_kept_if_the_bill_has_no_price(bill: Cost | None) -> None:
    service = Service(bill)
    with capped(service, max_cost=30.0) as sampler, pytest.raises(SweepCostLimit) as raised:
        sampler.run_sweep(ROTATION, SWEEP, 100)
    assert points_home(raised.value) == [0, 1, 2]


def test_a_refused_job_costs_nothing() -> None:
    service = Service(script=["refused", "ok", "refused"])
    with capped(service, max_cost=30.0) as sampler, pytest.raises(SweepCostLimit) as raised:
        sampler.run_sweep(ROTATION, SWEEP, 100)
    assert len(points_home(raised.value)) == 3


def test_a_job_whose_answer_was_lost_counts_once() -> None:
    service = Service(script=["lost after"] * 2)
    with capped(service, max_cost=30.0) as sampler, pytest.raises(SweepCostLimit) as raised:
        sampler.run_sweep(ROTATION, SWEEP, 100)
    assert points_home(raised.value) == [0, 1, 2]
    assert service.submitted == 3


def test_a_job_that_fails_counts_with_its_estimate() -> None:
    def fail(request: JobRequest) -> bytes:
        raise ProgramError("InvalidInputData", "It is malformed.")

    workspace = LocalWorkspace(backends={ARIA: fail}, clock=ManualClock())
    with capped(workspace, max_cost=30.0) as sampler, pytest.raises(SweepCostLimit) as raised:
        sampler.run_sweep(ROTATION, SWEEP, 100)
    reached = [isinstance(raised.value.failures[point], CostLimitReached) for point in range(10)]
    assert reached == [False] * 3 + [True] * 7


def test_a_job_that_timed_out_counts_with_its_estimate() -> None:
    service = Service(pace=JobPace(queue=1e6), clock=ManualClock(auto_advance=False))

    def call(sampler: Sampler) -> None:
        with pytest.raises(SweepTimeout):
            sampler.run_sweep(ROTATION, cirq.Points("theta", [0.1, 0.2]), 100)

    with capped(service, max_cost=25.0, timeout=100.0) as sampler:
        jobs: Queue[str] = Queue()
        sampler.pool.subscribe(
            lambda event: jobs.put(event.id) if event.counter == "jobs_submitted" else None
        )
        thread = threading.Thread(target=call, args=(sampler,))
        thread.start()
        assert jobs.get(timeout=60) != jobs.get(timeout=60)
        service.clock.advance(101)
        thread.join(60)
        with pytest.raises(CostLimitReached, match=r"20\.00 of max_cost=25 USD are spent"):
            sampler.run(ROTATION, {"theta": 0.3}, 100)
        service.clock.advance(1e6)


# How it is told


def test_a_batch_ends_with_the_cap_though_an_earlier_circuit_failed_otherwise() -> None:
    service = Service(script=["refused"])
    with (
        capped(service, max_cost=10.0, max_concurrent_jobs=1) as sampler,
        pytest.raises(SweepCostLimit) as raised,
    ):
        sampler.run_batch([ROTATION] * 3, [{"theta": 0.1 * k} for k in range(3)], 100)
    assert sorted(raised.value.failures) == [0, 2]


def test_on_error_return_does_not_hide_the_cap() -> None:
    with (
        capped(Service(), max_cost=30.0, on_error="return") as sampler,
        pytest.raises(SweepCostLimit) as raised,
    ):
        sampler.run_sweep(ROTATION, SWEEP, 100)
    assert points_home(raised.value) == [0, 1, 2]


def test_a_stream_yields_paid_results_and_then_raises() -> None:
    arrived: list[int] = []
    with capped(Service(), max_cost=30.0) as sampler:
        stream = sampler.stream_sweep(ROTATION, SWEEP, 100)
        with pytest.raises(SweepCostLimit) as raised:
            arrived.extend(point for point, _ in stream)
    assert sorted(arrived) == [0, 1, 2]
    assert sorted(raised.value.failures) == [3, 4, 5, 6, 7, 8, 9]


def test_free_targets_run_under_any_cap() -> None:
    with Sampler("local.simulator", max_cost=0) as sampler:
        assert len(sampler.run_sweep(ROTATION, SWEEP, 10)) == 10


@pytest.mark.parametrize("max_cost", [-1, float("nan"), "10", True])
def test_invalid_cap_is_refused(max_cost: Any) -> None:
    with pytest.raises(ValueError, match="max_cost must be an amount"):
        Sampler("local.simulator", max_cost=max_cost)


@pytest.mark.parametrize("target", ["rigetti.qpu.ankaa-3", "qci.machine1"])
def test_a_cap_needs_rates(target: str) -> None:
    workspace = LocalWorkspace(backends={target: _histogram})
    with pytest.raises(ValueError, match="rates="):
        Sampler(target, workspace=workspace, max_cost=10)


# The budget alone


def test_a_bill_is_read_in_the_unit_of_the_rates() -> None:
    bill = Cost(0.0, "USD", ({"dimensionId": "ehqc", "amountConsumed": 8.3, "amountBilled": 0.0},))
    assert amount_of(bill, "EHQC") == 8.3
    assert amount_of(bill, "USD") is None
    assert amount_of(Cost(0.0), "USD") == 0.0


async def reserve(budget: Budget, job_id: str, amount: float) -> None:
    """Room for the only job of a point."""
    await budget.reserve(job_id, amount, point=(job_id, 0), point_cost=amount)


def test_a_point_that_was_begun_has_room_for_all_of_its_jobs() -> None:
    async def two_points_side_by_side() -> None:
        budget = Budget(50.0, "USD")
        first = {"point": ("sweep", 0), "point_cost": 30.0}
        second = {"point": ("sweep", 1), "point_cost": 30.0}
        await budget.reserve("a0", 10.0, **first)  # type: ignore[arg-type]
        other = asyncio.ensure_future(budget.reserve("b0", 10.0, **second))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        assert budget.committed == 30.0
        # Cheaper than estimated, so that there is room for the other point in the end.
        for number in range(3):
            if number:
                assert budget.holds(("sweep", 0))
                await budget.reserve(f"a{number}", 10.0, **first)  # type: ignore[arg-type]
            budget.settle(f"a{number}", Cost(1.0), may_cost=True)
        await other
        assert not budget.holds(("sweep", 0))
        assert budget.committed == 33.0
        budget.release({"sweep"})
        assert budget.committed == 13.0

    asyncio.run(two_points_side_by_side())


def test_reservations_of_jobs_that_are_not_submitted_are_released() -> None:
    async def story(first: str) -> None:
        budget = Budget(50.0, "USD")
        point = {"point": ("sweep", 0), "point_cost": 30.0}
        if first == "passed over":
            budget.pass_over(10.0, **point)  # type: ignore[arg-type]
        elif first == "paid":
            await budget.reserve("paid", 10.0, is_paid=True, **point)  # type: ignore[arg-type]
            budget.settle("paid", Cost(10.0), may_cost=True)
        await budget.reserve("new", 10.0, **point)  # type: ignore[arg-type]
        budget.settle("new", Cost(10.0), may_cost=True)
        if first == "new":
            budget.pass_over(10.0, **point)  # type: ignore[arg-type]
        budget.pass_over(10.0, **point)  # type: ignore[arg-type]
        assert not budget.holds(("sweep", 0))
        # Nothing is outstanding: who has no room learns that, and does not wait.
        with pytest.raises(CostLimitReached):
            await reserve(budget, "other", 45.0)

    for first in ("passed over", "paid", "new"):
        asyncio.run(story(first))


class _FailingJournal(Journal):
    """A journal that cannot record the third job, which shows once the fourth is recorded."""

    claims = 0

    async def _claim(self, request: JobRequest) -> JournalEntry:
        self.claims += 1
        number = self.claims
        if number == 1:
            self.may_fail = asyncio.Event()
        if number == 3:
            await self.may_fail.wait()
            raise JournalError("The disk is full.")
        entry = await super()._claim(request)
        if number == 4:
            self.may_fail.set()
        return entry


def test_a_job_that_cannot_be_recorded_keeps_no_other_waiting_for_room(tmp_path: Path) -> None:
    shots, jobs = 25_000, 3
    assert len(estimate_cost(ARIA, ROTATION, SWEEP[:1], shots).jobs) == jobs
    with (
        EmulatorServer() as server,
        _FailingJournal(tmp_path / "journal") as journal,
        SessionPool(server.workspace(), journal=journal) as pool,
    ):
        sampler = Sampler(ARIA, pool=pool, max_cost=jobs + 0.5, rates=Rates(per_job=1.0))
        call = in_background(sampler.run_sweep, ROTATION, SWEEP[:3], shots)
        error = call.exception(HANG_TIMEOUT)
    assert "The disk is full" in str(error)


@given(
    jobs=st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1), st.integers(0, 3)), max_size=30),
    max_cost=st.floats(0, 60),
)
@settings(deadline=None)
def test_no_order_of_bills_passes_the_cap(
    jobs: list[tuple[float, float, int]], max_cost: float
) -> None:
    budget = Budget(max_cost, "USD")
    spent = 0.0

    async def run(number: int, estimate: float, share: float, turns: int) -> None:
        nonlocal spent
        await reserve(budget, str(number), estimate)
        spent += share * estimate
        assert spent <= budget.committed + 1e-6
        assert budget.committed <= max_cost + 1e-6
        for _ in range(turns):
            await asyncio.sleep(0)
        budget.settle(str(number), Cost(share * estimate), may_cost=True)

    async def run_all() -> None:
        tasks = [run(number, *job) for number, job in enumerate(jobs)]
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(end is None or isinstance(end, CostLimitReached) for end in ends)

    asyncio.run(run_all())
    assert spent <= max_cost + 1e-6


def test_a_cancelled_wait_for_room_passes_its_turn_on() -> None:
    async def wait_and_give_up() -> None:
        budget = Budget(10.0, "USD")
        await reserve(budget, "0", 10.0)
        waiting = [asyncio.ensure_future(reserve(budget, str(k), 5.0)) for k in (1, 2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        budget.settle("0", Cost(2.0), may_cost=True)
        await waiting[1]
        assert budget.committed == 7.0

    asyncio.run(wait_and_give_up())


def test_a_job_that_a_later_call_takes_over_counts_once() -> None:
    budget = Budget(10.0, "USD")

    async def story() -> None:
        # As after a timeout, with a journal.
        for point in ("call 1", 0), ("call 2", 0):
            await budget.reserve("job", 6.0, point, 6.0, is_paid=budget.committed > 0)
            assert budget.committed == 6.0
            budget.settle("job", None, may_cost=True)
            assert budget.committed == 6.0

    asyncio.run(story())


def test_after_a_fork_the_parents_jobs_in_flight_count_as_spent() -> None:
    budget = Budget(10.0, "USD")
    asyncio.run(reserve(budget, "the parent's", 6.0))
    budget.after_fork()
    assert budget.committed == 6.0
    # No bill is outstanding, so that nobody waits for one.
    with pytest.raises(CostLimitReached, match=r"6\.00 of max_cost=10"):
        asyncio.run(reserve(budget, "too much", 5.0))
    asyncio.run(reserve(budget, "enough", 4.0))
