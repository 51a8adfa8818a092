"""What jobs are going to cost: published examples to the digit, and the emulator's bills."""

from __future__ import annotations

import dataclasses
import math
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import cirq
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from cirq_azure_sessions import (
    AzureSessionSampler,
    LocalWorkspace,
    Rates,
    SessionPool,
    UnsupportedProgram,
    UnsupportedTarget,
    estimate_cost,
    known_rates,
)
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.formats.translation import Workload
from cirq_azure_sessions.model import Cost

A, B, C = cirq.LineQubit.range(3)
BELL = cirq.Circuit(cirq.H(A), cirq.CNOT(A, B), cirq.measure(A, B, key="m"))
GHZ = cirq.Circuit(cirq.H(A), cirq.CNOT(A, B), cirq.CNOT(B, C), cirq.measure(A, B, C, key="m"))
THETA = sympy.Symbol("theta")
RABI = cirq.Circuit(cirq.rx(THETA)(A), cirq.CNOT(A, B), cirq.measure(A, B, key="m"))
SWEEP = cirq.Linspace("theta", 0.1, 3, 6)

ARIA = "ionq.qpu.aria-1"
FORTE = "ionq.qpu.forte-1"
EMULATOR = "quantinuum.sim.h2-1e"
MACHINE = "quantinuum.qpu.h2-1"
UNMITIGATED = {"error-mitigation": {"debias": False}}


def rates_of(target: str) -> Rates:
    rates = known_rates(target)
    assert rates is not None
    return rates


# What others have published


@pytest.mark.parametrize(("circuit", "credits"), [(BELL, 8.3), (GHZ, 10.5)])
def test_credits_are_those_of_recorded_bills(circuit: cirq.Circuit, credits: float) -> None:
    estimate = estimate_cost(EMULATOR, circuit, 500)
    assert (estimate.amount, estimate.unit) == (credits, "EHQC")


def test_the_formula_for_credits_is_the_one_of_the_sdk() -> None:
    # azure-quantum-python, tests/unit/test_quantinuum.py: a teleportation of 7 one-qubit gates,
    # 2 two-qubit gates and 3 measurements.
    assert rates_of(MACHINE).amount(Workload(100_000, 7, 2, 3)) == 845.0


@pytest.mark.parametrize(
    ("shots", "one_qubit_gates", "dollars"),
    [(1024, 2, 1.0), (100_000, 2, 66.0), (100_000, 1, 63.0)],
)
def test_gate_shots_are_priced_as_the_sdk_did(
    shots: int, one_qubit_gates: int, dollars: float
) -> None:
    # azure-quantum-python, tests/unit/test_qiskit.py and test_ionq.py, with the prices of 2022.
    harmony = Rates(per_one_qubit_gate=0.00003, per_two_qubit_gate=0.0003, minimum=1.0)
    assert harmony.amount(Workload(shots, one_qubit_gates, 2)) == dollars


@pytest.mark.parametrize(
    ("target", "mitigated", "plain"), [(ARIA, 97.50, 12.4166), (FORTE, 168.195, 25.7899)]
)
def test_the_least_of_a_job_depends_on_error_mitigation(
    target: str, mitigated: float, plain: float
) -> None:
    estimate = estimate_cost(target, BELL, 100)
    assert (estimate.amount, estimate.unit, estimate.minimum_applied) == (mitigated, "USD", True)
    assert estimate_cost(target, BELL, 100, input_params=UNMITIGATED).amount == plain


def test_a_job_above_the_minimum_costs_its_gate_shots() -> None:
    circuit = cirq.Circuit([cirq.H(A), cirq.CNOT(A, B)] * 100, cirq.measure(A, B, key="m"))
    estimate = estimate_cost(ARIA, circuit, 10_000)
    assert estimate.amount == pytest.approx(10_000 * 100 * (0.000220 + 0.000975))
    assert not estimate.minimum_applied


# What the emulator bills, which counts and prices with code and figures of its own


@pytest.mark.parametrize("target", [ARIA, FORTE, EMULATOR, MACHINE])
def test_a_sweep_costs_what_was_estimated(target: str) -> None:
    deep = cirq.Circuit([RABI[:2]] * 40, RABI[2:])
    with EmulatorServer() as server, SessionPool(server.workspace()) as pool:
        sampler = AzureSessionSampler(target, pool=pool)
        for circuit, repetitions in ((RABI, 100), (deep, 5000)):
            before = pool.get_stats()
            estimate = sampler.estimate_cost(circuit, repetitions, SWEEP)
            sampler.run_sweep(circuit, SWEEP, repetitions)
            after = pool.get_stats()
            for dimension, amount in estimate.usage.items():
                name = f"consumed_{dimension}"
                assert after[name] - before.get(name, 0.0) == pytest.approx(amount)
            if estimate.unit == "USD":
                assert after["cost_USD"] - before["cost"] == pytest.approx(estimate.amount)


# What is in an estimate


def test_an_estimate_tells_points_and_jobs_apart() -> None:
    estimate = estimate_cost(ARIA, RABI, 25_000, SWEEP)
    assert [job.workload.shots for job in estimate.jobs[:3]] == [10_000, 10_000, 5_000]
    assert len(estimate.jobs) == 18
    assert estimate.points == dict.fromkeys(range(6), 3 * 97.50)
    assert estimate.amount == 18 * 97.50


def test_points_may_differ() -> None:
    # At theta = 0 the rotation is left out.
    estimate = estimate_cost(EMULATOR, RABI, 5000, cirq.Points("theta", [0, 0.1]))
    assert [job.workload.one_qubit_gates for job in estimate.jobs] == [2, 3]
    assert estimate.points[1] - estimate.points[0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "target", ["local.simulator", "ionq.simulator", "quantinuum.sim.h2-1sc", "rigetti.sim.qvm"]
)
def test_simulators_are_free_and_say_so(target: str) -> None:
    estimate = estimate_cost(target, RABI, 500, SWEEP)
    assert (estimate.amount, estimate.is_free) == (0.0, True)
    assert "free of charge" in str(estimate)


def test_an_estimate_reads_as_a_sentence() -> None:
    estimate = estimate_cost(ARIA, RABI, 500, SWEEP)
    amount, jobs = estimate.amount, len(estimate.jobs)
    assert repr(estimate) == (
        f"CostEstimate(target={ARIA!r}, amount={amount}, unit='USD', jobs={jobs})"
    )
    assert str(estimate) == (
        "585.00 USD for 6 jobs on ionq.qpu.aria-1, 6 at the minimum of 97.5, "
        "by https://learn.microsoft.com/azure/quantum/pricing of 2025-09-17."
    )


@pytest.mark.parametrize(("target", "missing"), [("qci.machine1", "per_job="), (MACHINE, "")])
def test_where_nothing_is_published_the_amount_is_none_and_it_says_what_to_give(
    target: str, missing: str
) -> None:
    estimate = estimate_cost(target, BELL, 100)
    assert (estimate.amount is None) == bool(missing)
    assert missing in str(estimate)


def test_time_on_the_machine_needs_the_time_of_a_shot() -> None:
    target = "rigetti.qpu.ankaa-3"
    unknown = estimate_cost(target, BELL, 1000)
    assert unknown.amount is None
    assert "seconds_per_shot" in str(unknown)
    rates = dataclasses.replace(rates_of(target), seconds_per_shot=20e-6)
    # 20 ms are two begun tens of milliseconds, and one shot more begins a third.
    assert estimate_cost(target, BELL, 1000, rates=rates).amount == pytest.approx(0.04)
    assert estimate_cost(target, BELL, 1001, rates=rates).amount == pytest.approx(0.06)


def test_nothing_to_run_costs_nothing() -> None:
    assert estimate_cost(ARIA, BELL, 0).amount == 0.0
    assert estimate_cost(ARIA, RABI, 100, []).amount == 0.0


def test_an_estimate_survives_pickling() -> None:
    estimate = estimate_cost(ARIA, RABI, 500, SWEEP)
    assert pickle.loads(pickle.dumps(estimate)) == estimate


def test_what_cannot_run_has_no_price() -> None:
    with pytest.raises(UnsupportedTarget):
        estimate_cost("no such target", BELL)
    with pytest.raises(UnsupportedProgram):
        estimate_cost(ARIA, RABI)


def test_an_estimate_takes_no_numbers_from_the_samples_to_come() -> None:
    with (
        AzureSessionSampler("local.simulator", seed=3) as one,
        AzureSessionSampler("local.simulator", seed=3) as other,
    ):
        one.estimate_cost(BELL, 100)
        assert one.run(BELL, repetitions=20) == other.run(BELL, repetitions=20)


# What the service reported, added up


def test_the_pool_adds_up_no_more_than_has_a_sum() -> None:
    bills = [Cost(2.0, "USD"), Cost(0.0, "USD", ({"dimensionId": "ehqc", "amountConsumed": 8.3},))]
    with reporting(bills) as stats:
        assert (stats["cost"], stats["cost_USD"], stats["consumed_ehqc"]) == (2.0, 2.0, 8.3)
    with reporting([Cost(2.0, "USD"), Cost(3.0, "EUR"), None]) as stats:
        assert math.isnan(stats["cost"])
        assert (stats["cost_USD"], stats["cost_EUR"]) == (2.0, 3.0)
    with reporting([None]) as stats:
        assert stats["cost"] == 0.0


@contextmanager
def reporting(bills: Sequence[Cost | None]) -> Iterator[dict[str, float]]:
    """The statistics of a pool whose jobs were billed so, one after the other."""
    left = iter(bills)
    workspace = LocalWorkspace(
        backends={ARIA: lambda request: b'{"histogram": {"0": 1}}'}, cost=lambda *_: next(left)
    )
    with AzureSessionSampler(ARIA, workspace=workspace) as sampler:
        for _ in bills:
            sampler.run(BELL, repetitions=10)
        yield sampler.pool.get_stats()


# Rates of one's own


def test_rates_are_the_users_to_give() -> None:
    rates = Rates(unit="EUR", per_job=1.0, per_shot=0.01)
    estimate = estimate_cost(ARIA, RABI, 100, SWEEP, rates=rates)
    assert (estimate.amount, estimate.unit) == (12.0, "EUR")
    assert str(estimate).endswith("by the caller.")


def test_a_sampler_has_rates_and_a_call_may_have_others() -> None:
    with AzureSessionSampler("local.simulator", rates=Rates(per_shot=0.5)) as sampler:
        assert sampler.estimate_cost(BELL, 10).amount == 5.0
        assert sampler.estimate_cost(BELL, 10, rates=Rates(per_shot=2.0)).amount == 20.0


def test_published_rates_have_a_source_and_a_date() -> None:
    for target in (ARIA, FORTE, EMULATOR, MACHINE, "ionq.simulator", "rigetti.qpu.ankaa-3"):
        assert rates_of(target).source.startswith("https://")
        assert rates_of(target).date > "2025"


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf"), "1"])
def test_rates_that_are_none_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="per_job"):
        Rates(per_job=rate)


def test_rates_show_what_they_charge_for() -> None:
    assert repr(Rates(per_shot=0.1)) == "Rates(unit='USD', per_shot=0.1, source='the caller')"


amounts = st.floats(0, 100)


@given(
    rates=st.builds(Rates, per_job=amounts, per_two_qubit_gate=amounts, minimum=amounts),
    work=st.builds(Workload, st.integers(1, 10_000), two_qubit_gates=st.integers(0, 100)),
)
def test_more_shots_never_cost_less_and_no_job_less_than_the_minimum(
    rates: Rates, work: Workload
) -> None:
    more = dataclasses.replace(work, shots=work.shots + 1)
    assert rates.minimum - 1e-9 <= rates.amount(work) <= rates.amount(more)
